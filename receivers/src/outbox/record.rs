//! What stands on disk. Records are JSON and may come in any order: what is done is done wherever
//! that is said, so that old segments can be written anew while others go on.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::delivery::Delivery;
use crate::{config::WayName, notification::Notification};

/// A notification that was taken over, with the ways that it has to go.
pub(super) const ACCEPTED: u8 = 1;
/// A try that did not go.
pub(super) const TRIED: u8 = 2;
/// A way that was gone, or given up.
pub(super) const DONE: u8 = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) number: u64,
    pub(super) ways: Vec<WayName>,
    pub(super) notification: Arc<Notification>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) number: u64,
    pub(super) way: WayName,
    pub(super) tries: u32,
    pub(super) next_ms: i64,
    pub(super) why: String,
}

/// What a folder of records comes to.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    accepted: BTreeMap<u64, Accepted>,
    tried: BTreeMap<(u64, WayName), Tried>,
    done: BTreeMap<(u64, WayName), Delivery>,
    /// Records that are none.
    pub(super) unreadable: u64,
}

/// One notification that has ways to go yet.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) notification: Arc<Notification>,
    pub(super) ways: Vec<(WayName, Option<Tried>)>,
}

impl Replayed {
    pub(super) fn take(&mut self, kind: u8, payload: &[u8]) {
        fn read<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
            serde_json::from_slice(payload).ok()
        }
        let taken = match kind {
            ACCEPTED => read::<Accepted>(payload).map(|record| {
                self.accepted.insert(record.number, record);
            }),
            TRIED => read::<Tried>(payload).map(|record| {
                let at = (record.number, record.way.clone());
                let known = self.tried.get(&at).map_or(0, |known| known.tries);
                if record.tries >= known {
                    self.tried.insert(at, record);
                }
            }),
            DONE => read::<Delivery>(payload).map(|record| {
                self.done
                    .insert((record.number, record.way.clone()), record);
            }),
            _ => None,
        };
        self.unreadable += u64::from(taken.is_none());
    }

    /// The number that the next notification gets: no number is given twice.
    pub(super) fn next_number(&self) -> u64 {
        let accepted = self.accepted.keys().next_back().copied();
        let done = self.done.keys().next_back().map(|(number, _)| *number);
        accepted.max(done).map_or(1, |last| last + 1)
    }

    /// What is to be sent yet, the oldest first, and what is done, the oldest first.
    pub(super) fn finish(mut self) -> (Vec<Open>, Vec<Delivery>) {
        let mut open = Vec::new();
        for (number, accepted) in self.accepted {
            let left = accepted
                .ways
                .into_iter()
                .filter(|way| !self.done.contains_key(&(number, way.clone())));
            let ways: Vec<_> = left
                .map(|way| {
                    let tried = self.tried.remove(&(number, way.clone()));
                    (way, tried)
                })
                .collect();
            if !ways.is_empty() {
                open.push(Open {
                    number,
                    notification: accepted.notification,
                    ways,
                });
            }
        }
        let mut done: Vec<Delivery> = self.done.into_values().collect();
        done.sort_by_key(|delivery| delivery.at_ms);
        (open, done)
    }
}
