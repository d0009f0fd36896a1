//! `GET /events/alerts`: unnamed events carry a firing [`crate::Alert`] or a [`Heartbeat`];
//! events named [`RESOLVED_EVENT`] carry an alert whose state is `resolved`.

use serde::{Deserialize, Serialize};

use crate::{Alert, Timestamp};

/// The name of the event that ends an incident.
pub const RESOLVED_EVENT: &str = "resolved";

/// Says that the stream is alive while nothing happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "heartbeat", rename_all = "lowercase")]
pub struct Heartbeat {
    /// When it was sent.
    pub timestamp: Timestamp,
}

/// What an unnamed event can carry; told apart by `type`, which only the heartbeat has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum UnnamedEvent {
    /// A rule fires or goes on firing.
    Alert(Box<Alert>),
    /// The stream is alive.
    Heartbeat(Heartbeat),
}
