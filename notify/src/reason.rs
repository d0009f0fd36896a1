//! Why somebody was not told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::labels::Fingerprint;

/// Why an alert was not sent. As JSON `{"kind":"silenced","ids":[…]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// By silences of these identities.
    Silenced { ids: Vec<String> },
    /// By maintenance windows of these identities.
    Maintenance { ids: Vec<String> },
    /// By another alert that fires.
    Inhibited { by: Fingerprint },
    /// The time is within a mute interval.
    Muted { intervals: Vec<String> },
    /// The time is within none of the active intervals.
    OutsideHours { intervals: Vec<String> },
    /// Somebody has it in hand.
    Acknowledged {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<i64>,
    },
    /// Its group is told of at this time.
    Waiting { until_ms: i64 },
    /// Nothing is new; it is repeated after this time.
    Repeat { due_ms: i64 },
    /// The receiver has had enough; there is room, and a digest, at this time.
    Budget { until_ms: i64 },
    /// It comes and goes, which was said; calm after this time.
    Flapping { calm_ms: i64 },
    /// The notification of this key about its group is still on its way.
    Delivering { key: String },
    /// It is over, and nobody was told that it fired.
    Untold,
    /// It is over, and the receiver does not want to hear of that.
    ResolvedUnwanted,
    /// The receiver has no way out.
    NoWay,
}

impl Reason {
    /// As the JSON's `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Silenced { .. } => "silenced",
            Self::Maintenance { .. } => "maintenance",
            Self::Inhibited { .. } => "inhibited",
            Self::Muted { .. } => "muted",
            Self::OutsideHours { .. } => "outside_hours",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Waiting { .. } => "waiting",
            Self::Repeat { .. } => "repeat",
            Self::Budget { .. } => "budget",
            Self::Flapping { .. } => "flapping",
            Self::Delivering { .. } => "delivering",
            Self::Untold => "untold",
            Self::ResolvedUnwanted => "resolved_unwanted",
            Self::NoWay => "no_way",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silenced { ids } => write!(f, "silenced by {}", ids.join(", ")),
            Self::Maintenance { ids } => write!(f, "maintenance window {}", ids.join(", ")),
            Self::Inhibited { by } => write!(f, "inhibited by {by}"),
            Self::Muted { intervals } => write!(f, "muted by {}", intervals.join(", ")),
            Self::OutsideHours { intervals } => {
                write!(f, "outside the hours of {}", intervals.join(", "))
            }
            Self::Acknowledged { by, .. } => write!(f, "acknowledged by {by}"),
            Self::Waiting { .. } => f.write_str("grouped, its group is told of later"),
            Self::Repeat { .. } => f.write_str("nothing is new, and it is not repeated yet"),
            Self::Budget { .. } => f.write_str("the receiver's budget is used up"),
            Self::Flapping { .. } => f.write_str("it flaps, which was said"),
            Self::Delivering { .. } => f.write_str("one about its group is still on its way"),
            Self::Untold => f.write_str("over, and nobody was told that it fired"),
            Self::ResolvedUnwanted => f.write_str("over, which the receiver does not want to hear"),
            Self::NoWay => f.write_str("the receiver has no way out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_json_with_its_kind() {
        for reason in [
            Reason::Silenced {
                ids: vec!["s".to_owned()],
            },
            Reason::Inhibited { by: Fingerprint(1) },
            Reason::Acknowledged {
                by: "me".to_owned(),
                until_ms: None,
            },
            Reason::Untold,
            Reason::NoWay,
            Reason::ResolvedUnwanted,
            Reason::OutsideHours {
                intervals: vec!["day".to_owned()],
            },
        ] {
            let json = serde_json::to_value(&reason).expect("json");
            assert_eq!(json["kind"], reason.kind());
            assert_eq!(
                serde_json::from_value::<Reason>(json).expect("the same"),
                reason
            );
            assert!(!reason.to_string().is_empty());
        }
    }
}
