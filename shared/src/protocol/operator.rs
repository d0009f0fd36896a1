//! The operator's figures: `GET /api/metrics`, and `metrics` events of `GET /api/metrics/stream`.

use serde::{Deserialize, Serialize};

/// Six figures at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Newest `cpu_usage`, percent 0–100; 0 before the first tick.
    pub cpu_percent: f64,
    /// Newest `memory_usage`, percent 0–100; 0 before the first tick.
    pub memory_percent: f64,
    /// Requests since the start or the last reset.
    pub requests_total: u64,
    /// Of these, the failed ones.
    pub errors_total: u64,
    /// Control sockets open now.
    pub active_connections: u64,
    /// Percent of cpu above which the operator's stream raises its alert.
    pub alert_threshold: f64,
}
