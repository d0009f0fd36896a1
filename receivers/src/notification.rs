//! What travels from where it is decided that somebody is told to where it is sent: one group of
//! alerts for one receiver.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// One notification. It is handed to the outbox once and sent as often as it takes, each time with
/// the same key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The same for each try and for each of the receiver's ways out, so that who receives can drop
    /// doubles: at most 128 characters of `A-Z a-z 0-9 - _`, a UUID as a rule.
    pub key: String,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// The name of the receiver as its configuration has it.
    pub receiver: String,
    /// Which group, as text (`{}/{severity="page"}:{alertname="Down"}`). What is sent to one
    /// receiver about one group keeps its order.
    pub group_key: String,
    pub group_labels: BTreeMap<String, String>,
    /// Firing ones and resolved ones, in the order in which they are told.
    pub alerts: Vec<NotifiedAlert>,
    /// Alerts of the group that were left out.
    #[serde(default)]
    pub truncated: u64,
    /// Where this server is found, for links.
    pub external_url: String,
    /// Unix ms.
    pub created_ms: i64,
    /// What is said beside the alerts: that this is a digest, that something flaps, that it is a
    /// test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Where the page shows what it is about, behind and with the `#` of the page's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// One alert of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Unix ms.
    pub starts_at_ms: i64,
    /// Unix ms; of a firing one nothing, or when it is taken to be over unless it is said again.
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
    /// Prometheus' fingerprint of the labels, 16 hexadecimal digits ([`fingerprint`]).
    pub fingerprint: String,
    pub status: AlertStatus,
}

/// Whether an alert is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

impl AlertStatus {
    /// `firing` or `resolved`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl Notification {
    /// Firing while one of its alerts is.
    #[must_use]
    pub fn status(&self) -> AlertStatus {
        match self.firing().next() {
            Some(_) => AlertStatus::Firing,
            None => AlertStatus::Resolved,
        }
    }

    /// Those that fire.
    pub fn firing(&self) -> impl Iterator<Item = &NotifiedAlert> {
        self.of(AlertStatus::Firing)
    }

    /// Those that are over.
    pub fn resolved(&self) -> impl Iterator<Item = &NotifiedAlert> {
        self.of(AlertStatus::Resolved)
    }

    fn of(&self, status: AlertStatus) -> impl Iterator<Item = &NotifiedAlert> {
        self.alerts
            .iter()
            .filter(move |alert| alert.status == status)
    }

    /// Labels that all alerts have with the same value.
    #[must_use]
    pub fn common_labels(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// Likewise annotations.
    #[must_use]
    pub fn common_annotations(&self) -> BTreeMap<String, String> {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }
}

fn common<'a>(
    mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let Some(first) = maps.next() else {
        return BTreeMap::new();
    };
    let mut common = first.clone();
    for map in maps {
        common.retain(|name, value| map.get(name) == Some(value));
    }
    common
}

/// Prometheus' fingerprint of labels: FNV-1a of 64 bits over names and values in the order of their
/// names, each followed by the byte 255. 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = OFFSET;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        // The first is FNV-1a's own start; the second by hand from its definition.
        assert_eq!(fingerprint(&labels(&[])), "cbf29ce484222325");
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in b"a\xffb\xff" {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(fingerprint(&labels(&[("a", "b")])), format!("{hash:016x}"));
    }

    #[test]
    fn what_is_common_is_what_all_have() {
        let all = [
            labels(&[("a", "1"), ("b", "2")]),
            labels(&[("a", "1"), ("b", "3")]),
            labels(&[("a", "1"), ("c", "3")]),
        ];
        assert_eq!(common(all.iter()), labels(&[("a", "1")]));
    }
}
