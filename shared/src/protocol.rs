//! The messages, one module an endpoint.

pub mod alerts;
pub mod chat;
pub mod dashboard;
pub mod follow;
pub mod metrics;
pub mod operator;
pub mod rooms;
pub mod series;
pub mod watch;
