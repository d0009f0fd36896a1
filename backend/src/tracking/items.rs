//! What was tracked under each name: counts, sums, buckets of time. Pure; times are the caller's.

use std::collections::{BTreeMap, VecDeque};

use pulseboard_shared::protocol::dashboard::{Bucket, ItemTotals, TotalsByName};
use serde::{Deserialize, Serialize};

/// Names of one tenant; an item of a further one is refused.
pub const NAMES_MAX: usize = 1_000;

/// Buckets with data that an update carries, and that are kept per length.
pub(super) const BUCKETS_KEPT: usize = 10;

/// Length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLength {
    /// A minute.
    #[default]
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
}

impl BucketLength {
    pub(super) const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Hour];

    /// From `?window=`.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|length| length.seconds() == seconds)
    }

    const fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
        }
    }
}

/// Everything that was tracked by one tenant; also the form in which it is kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Items(pub(super) BTreeMap<String, Item>);

/// What was tracked under one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Kept by the name that it has had since the first journal.
    #[serde(rename = "tally")]
    pub(super) totals: ItemTotals,
    /// The newest buckets that hold data, oldest first, in the order of [`BucketLength::ALL`].
    pub(super) buckets: [VecDeque<Bucket>; 3],
}

/// The tenant has [`NAMES_MAX`] names already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this type would be new, and the tenant has {NAMES_MAX} types already")]
pub struct TooManyNames;

impl Items {
    /// The same in parts of at most `names` each.
    pub(crate) fn in_parts(self, names: usize) -> impl Iterator<Item = Self> {
        let mut items = self.0.into_iter();
        std::iter::from_fn(move || {
            let part: BTreeMap<String, Item> = items.by_ref().take(names.max(1)).collect();
            (!part.is_empty()).then_some(Self(part))
        })
    }

    /// Puts a part back; of a name that is there, too, the part's counts.
    pub(crate) fn take_in(&mut self, part: Self) {
        self.0.extend(part.0);
    }

    /// Counts one item.
    ///
    /// # Errors
    /// It would be a name too many.
    pub fn add(&mut self, name: &str, value: f64, at_ms: i64) -> Result<ItemTotals, TooManyNames> {
        if !self.0.contains_key(name) && self.0.len() >= NAMES_MAX {
            return Err(TooManyNames);
        }
        let item = match self.0.get_mut(name) {
            Some(item) => item,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        item.totals.count += 1;
        item.totals.total = sum(item.totals.total, value);
        // Not the greatest: the clock may have been set back.
        item.totals.last_update_ms = at_ms;
        for (length, buckets) in BucketLength::ALL.into_iter().zip(&mut item.buckets) {
            let length_ms = i64::from(length.seconds()) * 1000;
            let start_ms = at_ms.div_euclid(length_ms) * length_ms;
            let known = buckets
                .iter()
                .rposition(|bucket| bucket.start_ms <= start_ms);
            match known {
                Some(index) if buckets[index].start_ms == start_ms => {
                    buckets[index].count += 1;
                    buckets[index].sum = sum(buckets[index].sum, value);
                    continue;
                }
                // Older than all that is kept: it would go at once.
                None if buckets.len() == BUCKETS_KEPT => continue,
                _ => {}
            }
            let bucket = Bucket {
                count: 1,
                sum: value,
                start_ms,
            };
            buckets.insert(known.map_or(0, |index| index + 1), bucket);
            if buckets.len() > BUCKETS_KEPT {
                buckets.pop_front();
            }
        }
        Ok(item.totals)
    }

    /// Adds what was counted elsewhere under the same names.
    pub(super) fn add_all(&mut self, others: &Self) {
        for (name, other) in &others.0 {
            match self.0.get_mut(name) {
                Some(item) => item.add_all(other),
                None => drop(self.0.insert(name.clone(), other.clone())),
            }
        }
    }

    /// Lets buckets go that have not begun yet: the clock has been set back since they were made.
    pub(super) fn forget_after(&mut self, now_ms: i64) {
        let all = self.0.values_mut().flat_map(|item| &mut item.buckets);
        for buckets in all {
            while buckets
                .back()
                .is_some_and(|newest| newest.start_ms > now_ms)
            {
                buckets.pop_back();
            }
        }
    }

    pub(super) fn table(&self) -> TotalsByName {
        let totals = |(name, item): (&String, &Item)| (name.clone(), item.totals);
        self.0.iter().map(totals).collect()
    }

    /// Newest first.
    pub(super) fn series(&self, name: &str, length: BucketLength) -> Vec<Bucket> {
        let item = self.0.get(name);
        item.map(|item| {
            item.buckets[length as usize]
                .iter()
                .rev()
                .copied()
                .collect()
        })
        .unwrap_or_default()
    }
}

impl Item {
    pub(super) fn add_all(&mut self, other: &Self) {
        self.totals.count = self.totals.count.saturating_add(other.totals.count);
        self.totals.total = sum(self.totals.total, other.totals.total);
        let newest = self.totals.last_update_ms.max(other.totals.last_update_ms);
        self.totals.last_update_ms = newest;
        for (buckets, others) in self.buckets.iter_mut().zip(&other.buckets) {
            let mut by_start: BTreeMap<i64, Bucket> = buckets
                .drain(..)
                .map(|bucket| (bucket.start_ms, bucket))
                .collect();
            for other in others {
                let bucket = by_start.entry(other.start_ms).or_insert(Bucket {
                    start_ms: other.start_ms,
                    ..Bucket::default()
                });
                bucket.count = bucket.count.saturating_add(other.count);
                bucket.sum = sum(bucket.sum, other.sum);
            }
            let beyond = by_start.len().saturating_sub(BUCKETS_KEPT);
            buckets.extend(by_start.into_values().skip(beyond));
        }
    }
}

/// A sum that stays a number that JSON has, whatever finite values come.
fn sum(so_far: f64, value: f64) -> f64 {
    (so_far + value).clamp(f64::MIN, f64::MAX)
}
