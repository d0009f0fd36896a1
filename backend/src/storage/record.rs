//! The records of the journal, as they lie on the disk. Ticks are numbers alone, see
//! `Journal::put_tick`; everything else is JSON.

use pulseboard_alerting::AlertEvent;
use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::tracking::Snapshot;

/// Record types.
pub(super) mod kind {
    pub(crate) const RUN: u8 = 1;
    pub(crate) const CLOSED: u8 = 2;
    pub(crate) const SNAPSHOT: u8 = 3;
    pub(crate) const SERIES: u8 = 4;
    pub(crate) const TICK: u8 = 5;
    pub(crate) const ALERT: u8 = 6;
    pub(crate) const ITEM: u8 = 7;
    /// Some of a snapshot's tracked names; counts when the snapshot follows.
    pub(crate) const TALLIES: u8 = 8;
}

/// Which run of the server wrote what follows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) epoch: u64,
    /// Changes when the machine starts.
    pub(super) boot: String,
}

/// What the values of the ticks that follow are of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SeriesRecord {
    pub(super) name: String,
    pub(super) unit: String,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(super) labels: Labels,
}

/// An alert that was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AlertRecord {
    pub(super) offset: u64,
    /// It is there to be replayed to viewers alone, and may be another server's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_held: bool,
    #[serde(flatten)]
    pub(super) kept: AlertEvent,
}

/// An item that was tracked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ItemRecord<'a> {
    pub(super) tenant: &'a str,
    pub(super) name: &'a str,
    pub(super) value: f64,
    pub(super) at_ms: i64,
}

/// What ends a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    /// By the name that it has had since the first journal.
    #[serde(rename = "tallies")]
    pub(super) tracked: Snapshot,
    pub(super) active: Vec<AlertEvent>,
}
