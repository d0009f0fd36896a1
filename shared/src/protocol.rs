//! The messages, one module a door.

pub mod alerts;
pub mod metrics;
pub mod operator;
