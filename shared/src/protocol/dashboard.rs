//! `GET /dashboard/stream` and `POST /metrics/track`: items that applications count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was tracked under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemTotals {
    /// Items.
    pub count: u64,
    /// Sum of their values.
    pub total: f64,
    /// When the newest came, Unix milliseconds.
    #[serde(rename = "lastUpdate")]
    pub last_update_ms: i64,
}

/// Names to what was tracked under them.
pub type TotalsByName = BTreeMap<String, ItemTotals>;

/// `event: init`, and the `stats` of each update: what clients read is in the same place in both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// By name.
    pub metrics: TotalsByName,
    /// Streams of this tenant that are open now, this one included.
    #[serde(rename = "connectedClients")]
    pub connected_clients: u64,
}

/// `event: init` of the event stream. Clients hand `init` and `update` to the same code, which
/// reads `stats.metrics`; so what an update has is here too, beside what is `init`'s own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Opening {
    /// What is `init`'s own.
    #[serde(flatten)]
    pub init: Init,
    /// As an update has it.
    #[serde(flatten)]
    pub update: Update,
}

/// What fell into one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Items.
    pub count: u64,
    /// Sum of their values.
    pub sum: f64,
    /// Its beginning, Unix milliseconds.
    #[serde(rename = "timestamp")]
    pub start_ms: i64,
}

/// `event: update`, every two seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// How things stand.
    pub stats: Init,
    /// The newest ten buckets of the asked name that hold data, newest first.
    #[serde(rename = "timeSeries")]
    pub time_series: Vec<Bucket>,
    /// The server's clock, Unix milliseconds.
    #[serde(rename = "timestamp")]
    pub now_ms: i64,
}
