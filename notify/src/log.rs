//! The notification log: what each way was told last about each group, and what is on its way.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::{labels::Fingerprint, way::Way};

/// An entry is kept at most so long.
const RETENTION_MS: i64 = 120 * 3_600_000;

/// What is on its way and not answered for after so long is taken to have failed.
const IN_FLIGHT_MS: i64 = 86_400_000;

type Set = BTreeSet<Fingerprint>;

/// What was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "f", default, skip_serializing_if = "Set::is_empty")]
    pub(crate) firing: Set,
    #[serde(rename = "r", default, skip_serializing_if = "Set::is_empty")]
    pub(crate) resolved: Set,
    /// Those that were told to fire and not yet to be over.
    #[serde(rename = "t", default, skip_serializing_if = "Set::is_empty")]
    pub(crate) told: Set,
    /// Those that were told to flap.
    #[serde(rename = "w", default, skip_serializing_if = "Set::is_empty")]
    pub(crate) flapping: Set,
    #[serde(rename = "a")]
    pub(crate) at_ms: i64,
    #[serde(rename = "x")]
    pub(crate) expires_ms: i64,
}

impl Entry {
    /// Told at a time, kept for two repeats.
    pub(crate) fn at(at_ms: i64, repeat_ms: i64) -> Self {
        let kept = repeat_ms.saturating_mul(2).min(RETENTION_MS);
        Self {
            at_ms,
            expires_ms: at_ms.saturating_add(kept),
            ..Self::default()
        }
    }
}

/// What is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InFlight {
    #[serde(rename = "k")]
    pub(crate) key: String,
    /// What is written when it has arrived.
    #[serde(rename = "n")]
    pub(crate) next: Entry,
    /// Those that are over with it, and when they were last updated.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) over: Vec<(Fingerprint, i64)>,
}

/// A group's key, and the way.
pub(crate) type SlotKey = (String, Way);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<Entry>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<InFlight>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    slots: HashMap<SlotKey, Slot>,
    by_key: HashMap<String, Vec<SlotKey>>,
}

impl Log {
    pub(crate) fn get(&self, slot: &SlotKey) -> Option<&Slot> {
        self.slots.get(slot)
    }

    /// Nothing is sent, and what was told is over.
    pub(crate) fn record(&mut self, slot: SlotKey, entry: Entry) {
        self.slots.entry(slot).or_default().entry = Some(entry);
    }

    /// Something is on its way.
    pub(crate) fn send(&mut self, slot: SlotKey, in_flight: InFlight) {
        let slots = self.by_key.entry(in_flight.key.clone()).or_default();
        slots.push(slot.clone());
        self.slots.entry(slot).or_default().in_flight = Some(in_flight);
    }

    /// What became of it: the slots that it was about, and what was on its way there. A key that is
    /// not known is nobody's.
    /// What has arrived was told now, however long it was on its way: a repeat waits from here on.
    pub(crate) fn settle(
        &mut self,
        key: &str,
        has_arrived: bool,
        now_ms: i64,
    ) -> Vec<(SlotKey, InFlight)> {
        let mut settled = Vec::new();
        for slot_key in self.by_key.remove(key).unwrap_or_default() {
            let Some(slot) = self.slots.get_mut(&slot_key) else {
                continue;
            };
            let Some(in_flight) = slot.in_flight.take_if(|one| one.key == key) else {
                continue;
            };
            if has_arrived {
                let mut entry = in_flight.next.clone();
                let late_ms = now_ms.saturating_sub(entry.at_ms).max(0);
                entry.at_ms += late_ms;
                entry.expires_ms = entry.expires_ms.saturating_add(late_ms);
                slot.entry = Some(entry);
            }
            settled.push((slot_key, in_flight));
        }
        settled
    }

    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// Keys that nobody answered for in a day.
    pub(crate) fn lost(&self, now_ms: i64) -> Vec<String> {
        let slots = self.slots.values();
        let mut lost: Vec<String> = slots
            .filter_map(|slot| slot.in_flight.as_ref())
            .filter(|one| one.next.at_ms.saturating_add(IN_FLIGHT_MS) <= now_ms)
            .map(|one| one.key.clone())
            .collect();
        lost.sort();
        lost.dedup();
        lost
    }

    /// Lets go what is too old.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.slots.retain(|_, slot| {
            slot.in_flight.is_some()
                || slot
                    .entry
                    .as_ref()
                    .is_some_and(|entry| entry.expires_ms > now_ms)
        });
    }

    /// The clock was set back by so much.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        for slot in self.slots.values_mut() {
            let next = slot.in_flight.as_mut().map(|one| &mut one.next);
            for entry in slot.entry.iter_mut().chain(next) {
                entry.at_ms -= by_ms;
                entry.expires_ms -= by_ms;
            }
        }
    }

    pub(crate) fn keep(&self) -> Vec<(SlotKey, Slot)> {
        let slots = self.slots.iter();
        slots
            .map(|(key, slot)| (key.clone(), slot.clone()))
            .collect()
    }

    pub(crate) fn restore(&mut self, kept: Vec<(SlotKey, Slot)>) {
        for (key, slot) in kept {
            if let Some(in_flight) = &slot.in_flight {
                let slots = self.by_key.entry(in_flight.key.clone()).or_default();
                slots.push(key.clone());
            }
            self.slots.insert(key, slot);
        }
    }
}
