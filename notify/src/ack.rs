//! Acknowledgements: somebody has one incident in hand. It ends with the incident, or before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::labels::Fingerprint;

/// A comment, and who it is by, are at most so long.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Somebody has an incident in hand: what it says again is not sent while it stands. What is new in
/// the group is, and so is that it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub fingerprint: Fingerprint,
    pub by: String,
    pub comment: String,
    /// Unix ms.
    pub at_ms: i64,
    /// When it ends though the incident does not; Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// What was asked for cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// A 404.
    #[error("no alert of that fingerprint is firing")]
    NotFiring,
    /// A 400, in words.
    #[error("{0}")]
    Invalid(String),
}

/// One for each incident at most, so no more than there are alerts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acks(BTreeMap<Fingerprint, Ack>);

impl Acks {
    /// Whoever says it last has it.
    pub(crate) fn set(&mut self, now_ms: i64, ack: Ack) -> Result<(), AckError> {
        for (what, text) in [("comment", &ack.comment), ("name", &ack.by)] {
            if text.len() > TEXT_BYTES_MAX {
                return Err(AckError::Invalid(format!(
                    "the {what} is longer than {TEXT_BYTES_MAX} bytes"
                )));
            }
        }
        if ack.until_ms.is_some_and(|until| until <= now_ms) {
            return Err(AckError::Invalid("its end is in the past".to_owned()));
        }
        self.0.insert(ack.fingerprint, ack);
        Ok(())
    }

    pub(crate) fn get(&self, now_ms: i64, fingerprint: Fingerprint) -> Option<&Ack> {
        let ack = self.0.get(&fingerprint)?;
        ack.until_ms
            .is_none_or(|until| now_ms < until)
            .then_some(ack)
    }

    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) -> Option<Ack> {
        self.0.remove(&fingerprint)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Ack> {
        self.0.values()
    }

    /// Those that ended by themselves or with their incident.
    pub(crate) fn end(&mut self, now_ms: i64, is_over: impl Fn(Fingerprint) -> bool) -> Vec<Ack> {
        let ended = |ack: &Ack| {
            ack.until_ms.is_some_and(|until| until <= now_ms) || is_over(ack.fingerprint)
        };
        let ended: Vec<Ack> = self.0.values().filter(|ack| ended(ack)).cloned().collect();
        for ack in &ended {
            self.0.remove(&ack.fingerprint);
        }
        ended
    }

    pub(crate) fn restore(&mut self, kept: Vec<Ack>) {
        self.0 = kept.into_iter().map(|ack| (ack.fingerprint, ack)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_until_its_end_or_that_of_the_incident() {
        let one = Fingerprint(1);
        let ack = |by: &str, until_ms: Option<i64>| Ack {
            fingerprint: one,
            by: by.to_owned(),
            comment: "on it".to_owned(),
            at_ms: 0,
            until_ms,
        };
        let mut acks = Acks::default();
        acks.set(0, ack("a", Some(5000))).expect("taken");
        acks.set(0, ack("b", Some(9000))).expect("taken");
        assert_eq!(acks.get(8999, one).map(|ack| ack.by.as_str()), Some("b"));
        assert_eq!(acks.get(9000, one), None);
        assert!(acks.end(8999, |_| false).is_empty());
        assert_eq!(acks.end(9000, |_| false).len(), 1);
        acks.set(0, ack("c", None)).expect("taken");
        assert_eq!(acks.end(i64::MAX, |_| true).len(), 1);
        assert_eq!(acks.iter().count(), 0);
        assert!(acks.set(5000, ack("d", Some(5000))).is_err());
        let long = ack(&"x".repeat(TEXT_BYTES_MAX + 1), None);
        let told = acks.set(0, long).expect_err("long").to_string();
        assert!(told.contains("8192 bytes"), "{told}");
    }
}
