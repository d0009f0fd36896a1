//! Alerts that come and go: told once, then quiet until they are calm.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::labels::Fingerprint;

/// So many changes within so long are too many; so long without one is calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapOptions {
    pub changes: usize,
    pub within_ms: i64,
}

impl Default for FlapOptions {
    fn default() -> Self {
        Self {
            changes: 5,
            within_ms: 300_000,
        }
    }
}

/// One alert's changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Newest last, no more than are looked at.
    times: VecDeque<i64>,
    is_firing: bool,
    is_flapping: bool,
}

/// Changes of all alerts.
#[derive(Clone, Debug)]
pub(crate) struct Flaps {
    options: Option<FlapOptions>,
    all: HashMap<Fingerprint, Changes>,
}

impl Flaps {
    /// `None`: nothing flaps.
    pub(crate) fn new(options: Option<FlapOptions>) -> Self {
        Self {
            options,
            all: HashMap::new(),
        }
    }

    /// An alert fires, or does not, at a time.
    pub(crate) fn observe(&mut self, fingerprint: Fingerprint, is_firing: bool, at_ms: i64) {
        let Some(options) = self.options else {
            return;
        };
        let changes = self.all.entry(fingerprint).or_default();
        if changes.is_firing == is_firing {
            return;
        }
        changes.is_firing = is_firing;
        if let Some(last) = changes.times.back()
            && at_ms - last >= options.within_ms
        {
            changes.is_flapping = false;
        }
        changes.times.push_back(at_ms);
        while changes.times.len() > options.changes {
            changes.times.pop_front();
        }
        let is_full = changes.times.len() == options.changes;
        let oldest = changes.times.front();
        if is_full && oldest.is_some_and(|oldest| at_ms - oldest <= options.within_ms) {
            changes.is_flapping = true;
        }
    }

    /// When it is calm again unless it changes, of one that flaps now.
    pub(crate) fn calm_at(&self, fingerprint: Fingerprint, now_ms: i64) -> Option<i64> {
        let options = self.options?;
        let changes = self.all.get(&fingerprint)?;
        let calm = changes.times.back()?.saturating_add(options.within_ms);
        (changes.is_flapping && now_ms < calm).then_some(calm)
    }

    pub(crate) fn options(&self) -> Option<FlapOptions> {
        self.options
    }

    pub(crate) fn forget(&mut self, fingerprint: Fingerprint) {
        self.all.remove(&fingerprint);
    }

    /// The clock was set back by so much.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        for time in self.all.values_mut().flat_map(|one| &mut one.times) {
            *time -= by_ms;
        }
    }

    pub(crate) fn keep(&self) -> Vec<(Fingerprint, Changes)> {
        let all = self.all.iter();
        all.map(|(fingerprint, changes)| (*fingerprint, changes.clone()))
            .collect()
    }

    pub(crate) fn restore(&mut self, kept: Vec<(Fingerprint, Changes)>) {
        if self.options.is_some() {
            self.all = kept.into_iter().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint(1);

    fn observed(times: &[i64]) -> Flaps {
        let mut flaps = Flaps::new(Some(FlapOptions::default()));
        for (number, at) in times.iter().enumerate() {
            flaps.observe(ONE, number % 2 == 0, *at);
            // said again, it is no change
            flaps.observe(ONE, number % 2 == 0, *at + 1);
        }
        flaps
    }

    #[test]
    fn five_changes_within_five_minutes_flap_until_five_minutes_without_one() {
        assert_eq!(
            observed(&[0, 60_000, 120_000, 180_000]).calm_at(ONE, 180_000),
            None
        );
        let flaps = observed(&[0, 60_000, 120_000, 180_000, 300_000]);
        assert_eq!(flaps.calm_at(ONE, 300_000), Some(600_000));
        assert_eq!(flaps.calm_at(ONE, 599_999), Some(600_000));
        assert_eq!(flaps.calm_at(ONE, 600_000), None);
        let slow = observed(&[0, 60_000, 120_000, 180_000, 300_001]);
        assert_eq!(slow.calm_at(ONE, 300_001), None);
    }

    #[test]
    fn while_it_flaps_each_change_puts_the_calm_off() {
        let flaps = observed(&[0, 1, 2, 3, 4, 250_000, 500_000]);
        assert_eq!(flaps.calm_at(ONE, 600_000), Some(800_000));
        let calm_between = observed(&[0, 1, 2, 3, 4, 300_004]);
        assert_eq!(calm_between.calm_at(ONE, 300_004), None);
    }

    #[test]
    fn where_it_is_off_nothing_flaps() {
        let mut flaps = Flaps::new(None);
        for at in 0..20 {
            flaps.observe(ONE, at % 2 == 0, at);
        }
        assert_eq!(flaps.calm_at(ONE, 20), None);
        assert!(flaps.keep().is_empty());
    }
}
