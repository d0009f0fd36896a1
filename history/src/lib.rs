//! The durable history.
pub mod log;
