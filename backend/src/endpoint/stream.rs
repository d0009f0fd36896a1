//! The endpoints that stay open: WebSockets and event streams, a file each.

pub mod follow;
pub mod open;
pub mod sse_alerts;
pub mod sse_dashboard;
pub mod sse_metrics;
pub mod sse_operator;
pub mod ws_chat;
pub mod ws_control;
pub mod ws_metrics;
pub mod ws_rooms;
mod ws_watch;
