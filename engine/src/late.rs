//! Samples of one series that are older than what its window holds: back-fill, and what senders
//! kept while they were cut off.
//!
//! ```text
//! fresh ──sealing begins──▶ sealed ──some seconds after the history has them──▶ gone
//! ```
//!
//! They are kept apart from the window, whose packed blocks would have to be unpacked for each of
//! them, and only until the history has them: appending one costs a push. Readers see both parts
//! all the time; those that opened their view of the history before a sealing find what was sealed
//! here for longer than any view lasts.

use std::sync::Arc;

use crate::window::Sample;

/// What was sealed stays readable for so many milliseconds after the history took it: longer than a
/// view of the history is used (`query/range.rs`, 2 s).
const SEALED_STAYS_MS: u64 = 3_000;

/// Bytes of one sample here.
pub(crate) const LATE_SAMPLE_BYTES: u64 = size_of::<Sample>() as u64;

/// Samples that came late and are not, or not for long, in the history.
#[derive(Debug)]
pub(crate) struct Late {
    /// Those that are in the log alone, as they came.
    fresh: Vec<Sample>,
    /// Whether `fresh` is in order, no time twice: so most senders bring them.
    is_sorted: bool,
    /// When the first of `fresh` came.
    since_ms: i64,
    /// On their way into the history, or there since a moment; in the order in which they came.
    sealed: Arc<[Sample]>,
    sealed_at_ms: Option<i64>,
    /// The least and the greatest time of all, and the latter's value.
    oldest_ms: i64,
    newest: Sample,
}

impl Late {
    /// With its first sample.
    pub(crate) fn new(sample: Sample, now_ms: i64) -> Self {
        let mut late = Self {
            fresh: Vec::new(),
            is_sorted: true,
            since_ms: now_ms,
            sealed: Arc::default(),
            sealed_at_ms: None,
            oldest_ms: sample.0,
            newest: sample,
        };
        late.push(sample, now_ms);
        late
    }

    /// Takes one in. O(1).
    pub(crate) fn push(&mut self, sample: Sample, now_ms: i64) {
        if self.fresh.is_empty() {
            self.since_ms = now_ms;
            self.is_sorted = true;
        }
        self.is_sorted &= self.fresh.last().is_none_or(|last| last.0 < sample.0);
        self.fresh.push(sample);
        self.oldest_ms = self.oldest_ms.min(sample.0);
        if sample.0 >= self.newest.0 {
            self.newest = sample;
        }
    }

    /// How many there are in memory; a time that came twice counts twice.
    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.sealed.len()
    }

    /// How many of them the history does not have.
    pub(crate) fn unsealed(&self) -> usize {
        self.fresh.len()
    }

    /// When the first came of those that the history does not have.
    pub(crate) fn since_ms(&self) -> Option<i64> {
        (!self.fresh.is_empty()).then_some(self.since_ms)
    }

    /// Least time of all in memory.
    pub(crate) fn oldest_ms(&self) -> i64 {
        self.oldest_ms
    }

    /// The latest of all in memory, by time.
    pub(crate) fn newest(&self) -> Sample {
        self.newest
    }

    /// Appends those of `from_ms..to_ms` to `into` in the order in which they came, so that of one
    /// time the last holds. O(all) where they came in no order.
    pub(crate) fn copy(&self, from_ms: i64, to_ms: i64, into: &mut Vec<Sample>) {
        if to_ms <= self.oldest_ms || from_ms > self.newest.0 {
            return;
        }
        let is_in = |sample: &&Sample| (from_ms..to_ms).contains(&sample.0);
        into.extend(self.sealed.iter().filter(is_in));
        if self.is_sorted {
            let start = self.fresh.partition_point(|sample| sample.0 < from_ms);
            let end = self.fresh.partition_point(|sample| sample.0 < to_ms);
            into.extend_from_slice(self.fresh.get(start..end).unwrap_or_default());
        } else {
            into.extend(self.fresh.iter().filter(is_in));
        }
    }

    /// What the history does not have is on its way there from now on.
    pub(crate) fn begin_sealing(&mut self) -> Arc<[Sample]> {
        if !self.fresh.is_empty() {
            let mut all = self.sealed.to_vec();
            all.append(&mut self.fresh);
            self.fresh = Vec::new();
            self.sealed = all.into();
        }
        self.sealed_at_ms = None;
        Arc::clone(&self.sealed)
    }

    /// The history has them.
    pub(crate) fn end_sealing(&mut self, now_ms: i64) {
        self.sealed_at_ms = Some(now_ms);
    }

    /// The history did not take them: they are as before, in front of what came since.
    pub(crate) fn undo_sealing(&mut self, now_ms: i64) {
        let mut all = self.sealed.to_vec();
        all.append(&mut self.fresh);
        self.sealed = Arc::default();
        self.is_sorted = all.is_sorted_by(|one, next| one.0 < next.0);
        self.fresh = all;
        self.since_ms = self.since_ms.min(now_ms);
    }

    /// Lets the samples of a stretch go, both ends included; whether none is left. Nothing of them
    /// is on its way into the history.
    pub(crate) fn remove(&mut self, (from_ms, to_ms): (i64, i64)) -> bool {
        let is_kept = |sample: &Sample| !(from_ms..=to_ms).contains(&sample.0);
        self.fresh.retain(is_kept);
        let sealed: Vec<Sample> = self.sealed.iter().copied().filter(is_kept).collect();
        self.sealed = sealed.into();
        let all = self.sealed.iter().chain(&self.fresh).copied();
        let oldest_ms = all.clone().map(|sample| sample.0).min();
        let newest = all.max_by_key(|sample| sample.0);
        self.oldest_ms = oldest_ms.unwrap_or(i64::MAX);
        self.newest = newest.unwrap_or(self.newest);
        self.fresh.is_empty() && self.sealed.is_empty()
    }

    /// Lets go what every reader finds in the history by now; how many, and whether nothing is
    /// left.
    pub(crate) fn let_go(&mut self, now_ms: i64) -> (usize, bool) {
        let is_over = self
            .sealed_at_ms
            .is_some_and(|sealed_ms| now_ms.abs_diff(sealed_ms) >= SEALED_STAYS_MS);
        if !is_over {
            return (0, false);
        }
        let gone = std::mem::take(&mut self.sealed).len();
        self.sealed_at_ms = None;
        let times = self.fresh.iter().map(|sample| sample.0);
        self.oldest_ms = times.min().unwrap_or(i64::MAX);
        let newest = self.fresh.iter().max_by_key(|sample| sample.0);
        self.newest = newest.copied().unwrap_or(self.newest);
        (gone, self.fresh.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use pulseboard_history::sort_last_wins;

    use super::*;

    proptest! {
        /// Whatever comes in which order, and however often sealing begins, ends or fails: what the
        /// history has and what is here are together all that came, the last of each time.
        #[test]
        fn nothing_is_missing_at_any_moment(
            steps in prop::collection::vec((0_u8..6, 0_i64..40), 1..80),
        ) {
            let mut late = Late::new((7, 0.0), 0);
            let mut naive = BTreeMap::from([(7, 0.0)]);
            let mut history: BTreeMap<i64, f64> = BTreeMap::new();
            let mut now_ms = 0;
            let mut going: Option<Arc<[Sample]>> = None;
            for (number, (step, at_ms)) in (1_u32..).zip(steps) {
                match step {
                    0 if going.is_none() => going = Some(late.begin_sealing()),
                    1 => if let Some(sealed) = going.take() {
                        history.extend(sealed.iter().copied());
                        late.end_sealing(now_ms);
                    },
                    2 => if going.take().is_some() {
                        late.undo_sealing(0);
                    },
                    3 => {
                        now_ms += 3_000;
                        late.let_go(now_ms);
                    }
                    _ => {
                        late.push((at_ms, f64::from(number)), 0);
                        naive.insert(at_ms, f64::from(number));
                    }
                }
                let mut read: Vec<Sample> = history.iter().map(|(at, value)| (*at, *value)).collect();
                late.copy(i64::MIN, i64::MAX, &mut read);
                sort_last_wins(&mut read);
                let expected: Vec<Sample> = naive.iter().map(|(at, value)| (*at, *value)).collect();
                prop_assert_eq!(read, expected);
                let mut some = Vec::new();
                late.copy(10, 20, &mut some);
                prop_assert!(some.iter().all(|sample| (10..20).contains(&sample.0)));
            }
        }
    }
}
