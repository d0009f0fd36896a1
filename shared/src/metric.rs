//! One sample as it travels, and the four series that are always there.

use serde::{Deserialize, Serialize};

use crate::{Labels, Timestamp};

/// One sample of one series at one time.
///
/// In JSON a NaN is `null`, which statistics skip and charts draw as a gap, and infinities are
/// `"+Inf"` and `"-Inf"` (see [`crate::figure`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name, such as `cpu_usage`.
    pub name: String,
    /// The figure, in `unit`.
    #[serde(with = "crate::figure::or_null")]
    pub value: f64,
    /// What the figure counts, such as `%`; empty when unknown.
    pub unit: String,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// What tells this series from others of its name; left out on the wire when empty.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// One of the four series that every tick carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// `cpu_usage`, percent of all cores, 0–100.
    Cpu,
    /// `memory_usage`, percent of physical memory, 0–100.
    Memory,
    /// `requests_per_sec`, HTTP requests answered a second.
    Requests,
    /// `avg_latency`, mean milliseconds to answer an HTTP request.
    Latency,
}

/// Names of the series that rules write of their alerts, as Prometheus calls them.
pub const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// All four, in the order in which every tick carries them.
pub const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn::Cpu,
    BuiltIn::Memory,
    BuiltIn::Requests,
    BuiltIn::Latency,
];

impl BuiltIn {
    /// The metric's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_usage",
            Self::Memory => "memory_usage",
            Self::Requests => "requests_per_sec",
            Self::Latency => "avg_latency",
        }
    }

    /// The unit on the wire.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::Memory => "%",
            Self::Requests => "req/s",
            Self::Latency => "ms",
        }
    }

    /// Position in [`BUILT_IN`] and in every tick.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The built-in metric called `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        BUILT_IN.into_iter().find(|metric| metric.name() == name)
    }
}
