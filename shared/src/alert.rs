//! An alert as it travels: something began, goes on, or ended.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Labels, Timestamp};

/// How bad it is; ordered, `Low` < `Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Something is not as it should be.
    Warning,
    /// Users may notice.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// The name on the wire and in CSS classes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::Warning => "warning",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Low,
            Self::Medium,
            Self::Warning,
            Self::High,
            Self::Critical,
        ]
        .into_iter()
        .find(|severity| severity.as_str() == text)
        .ok_or(())
    }
}

/// Whether the rule's condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The condition holds.
    Firing,
    /// The condition held and ended.
    Resolved,
}

/// One sending of one incident: a rule that keeps firing sends several alerts with different
/// `id`s and one `incident`, and a last one with `state` [`AlertState::Resolved`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Names this sending.
    pub id: Uuid,
    /// One line for people, such as `CPU usage critical: 93.4%`.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// When this sending happened.
    pub timestamp: Timestamp,
    /// Names the firing that this sending belongs to.
    pub incident: Uuid,
    /// The rule that fired, such as `cpu_high`.
    pub rule: String,
    /// Whether it still holds.
    pub state: AlertState,
    /// The value that was compared; NaN where it is no number, or there is none.
    #[serde(with = "crate::figure::there")]
    pub value: f64,
    /// What it was compared with; NaN, `null` on the wire, where that is no number.
    #[serde(with = "crate::figure::or_null")]
    pub threshold: f64,
    /// When this incident began.
    pub started: Timestamp,
    /// The labels of the series, when it has some.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}
