//! Notifications on their way to people: what each receiver is sent, what its answers mean, and the
//! outbox that nothing is lost from.

pub mod config;
mod notification;

pub use notification::{AlertStatus, NotifiedAlert, Notification, fingerprint};
