//! What outlives a restart, as a document. Names are short, since there are many of them.

use serde::{Deserialize, Serialize};

use crate::{
    ack::Ack,
    alerts::Alert,
    flap::Changes,
    labels::Fingerprint,
    log::{Slot, SlotKey},
    silence::Silence,
    way::Way,
    window::Window,
};

/// The state of one [`Manager`](crate::Manager). What a later version adds is optional, so that
/// this one's documents stay readable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) alerts: Vec<Alert>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) silences: Vec<Silence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) windows: Vec<Window>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) acks: Vec<Ack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) flaps: Vec<(Fingerprint, Changes)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) budgets: Vec<(Way, Vec<i64>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) log: Vec<(SlotKey, Slot)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<KeptGroup>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) held: Vec<KeptHeld>,
}

impl Keep {
    /// Without alerts and what is due of them; what people made and what was told stays.
    #[must_use]
    pub fn without_alerts(self) -> Self {
        Self {
            alerts: Vec::new(),
            groups: Vec::new(),
            held: Vec::new(),
            ..self
        }
    }

    /// Silences, windows and acknowledgements, which people made.
    #[must_use]
    pub fn people(&self) -> (&[Silence], &[Window], &[Ack]) {
        (&self.silences, &self.windows, &self.acks)
    }
}

/// When a group is told of next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptGroup {
    #[serde(rename = "k")]
    pub(crate) key: String,
    #[serde(rename = "r")]
    pub(crate) receiver: String,
    #[serde(rename = "n")]
    pub(crate) next_flush_ms: i64,
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_flushed: bool,
    /// Those that are over and that somebody is still to be told of.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) over: Vec<Fingerprint>,
}

/// What waits for a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptHeld {
    pub(crate) way: Way,
    pub(crate) due_ms: i64,
    pub(crate) since_ms: i64,
    pub(crate) groups: Vec<String>,
}
