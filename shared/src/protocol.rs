//! The messages, one module a door.

pub mod alerts;
pub mod chat;
pub mod metrics;
pub mod operator;
pub mod rooms;
