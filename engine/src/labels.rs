//! Which series have a label with a value, for questions that name a few of many: without it each of a
//! tenant's series is looked at.
//!
//! It is made label by label, and not before questions have looked at as many series in vain as making
//! it does; series that are made afterwards are told to it, which is all that it costs who appends.
//! What is found is compared with the selector all the same: a hash in place of a value, and series that
//! have gone, do no harm, as long as none is missing. It is bounded, and where it would take more there
//! is none and each series is looked at, as before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pulseboard_series::key::hash_key;

use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    selector::Selector,
    slot::SlotRef,
    tenant::Tenant,
};

/// Where no more series are asked for, each is looked at: that takes less than a millisecond.
const WALKED_MAX: u64 = 2_048;

/// Labels of one tenant; the one that was not asked for longest goes first.
const LABELS_MAX: usize = 16;

/// Bytes of all tenants', and of one's. A series takes 16 for each label.
const BYTES_MAX: usize = 64 << 20;
const TENANT_BYTES_MAX: usize = 32 << 20;

/// Series that were made since it was asked; where there are more, it is made anew.
const NEWCOMERS_MAX: usize = 64 * 1_024;

/// So many of them are compared one by one before they are sorted in.
const UNSORTED_MAX: usize = 1_024;

/// What nobody asked for so long goes.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// A series that has a label, by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Posting {
    /// Of the value.
    hash: u32,
    place: SlotRef,
}

/// Those of one label.
#[derive(Debug)]
struct OfLabel {
    label: Box<str>,
    /// Without the newcomers.
    sorted: Vec<Posting>,
    asked: Instant,
    counted: Counted,
}

/// Bytes that are counted among all; given back when dropped.
#[derive(Debug)]
struct Counted {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A tenant's labels that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    /// Taken before any shard's lock, and never under one.
    index: Mutex<Index>,
    /// Leaf lock, taken under the names'.
    newcomers: Mutex<Newcomers>,
}

#[derive(Debug, Default)]
struct Index {
    of: Vec<OfLabel>,
    /// Somebody makes some of it: newcomers stay where they are.
    is_made: bool,
    /// How many series were looked at since it was made, one by one.
    walked: u64,
}

#[derive(Debug, Default)]
struct Newcomers {
    is_wanted: bool,
    /// There were too many: it is to be made anew.
    is_behind: bool,
    places: Vec<SlotRef>,
}

impl Labels {
    /// A series was made. To be called under the names' lock, so that none is missed.
    pub(crate) fn tell(&self, place: SlotRef) {
        let mut newcomers = self.newcomers.lock();
        if !newcomers.is_wanted {
            return;
        }
        if newcomers.places.len() < NEWCOMERS_MAX {
            newcomers.places.push(place);
        } else {
            *newcomers = Newcomers {
                is_behind: true,
                ..Newcomers::default()
            };
        }
    }

    /// Lets go what nobody asks for any more.
    pub(crate) fn tidy(&self) {
        self.tidy_after(UNUSED_MAX);
    }

    fn tidy_after(&self, unused_max: Duration) {
        let Some(mut index) = self.index.try_lock() else {
            return;
        };
        index.of.retain(|of| of.asked.elapsed() < unused_max);
        if index.of.is_empty() && !index.is_made {
            *self.newcomers.lock() = Newcomers::default();
        }
    }
}

impl Engine {
    /// The series among which all are that a selector names, each once and in no order, where that is
    /// known and fewer than `walked`, which there are to look at else; some of them may have gone.
    ///
    /// # Errors
    /// The cost of making it.
    pub(crate) fn candidates(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        walked: u64,
        cost: &Cost,
    ) -> Result<Option<Vec<SlotRef>>, Spent> {
        if walked <= WALKED_MAX || selector.listed_labels().next().is_none() {
            return Ok(None);
        }
        let series = tenant.series.load(Ordering::Relaxed);
        let found = {
            let mut index = tenant.labels.index.lock();
            // What was there is mostly gone.
            let is_stale = |of: &OfLabel| of.sorted.len() as u64 > 2 * series + WALKED_MAX;
            index.of.retain(|of| !is_stale(of));
            let found = self.smallest(tenant, &mut index, selector, walked);
            let is_few = |found: &Vec<SlotRef>| found.len() as u64 <= walked / 8;
            if found.as_ref().is_some_and(is_few) || index.has_all(selector) {
                return Ok(found);
            }
            index.walked = index.walked.saturating_add(walked);
            if index.is_made || index.walked < series {
                return Ok(found);
            }
            index.is_made = true;
            index.walked = 0;
            found
        };
        let made = self.make_labels(tenant, selector, cost);
        let mut index = tenant.labels.index.lock();
        index.is_made = false;
        let made = made?;
        for of in made {
            index.of.retain(|known| known.label != of.label);
            index.of.push(of);
        }
        while index.of.len() > LABELS_MAX {
            index.drop_oldest();
        }
        let better = self.smallest(tenant, &mut index, selector, walked);
        Ok(better.or(found))
    }

    /// Looks at all of a tenant's series for the labels of a selector that are not there yet; for none
    /// where there is no room.
    fn make_labels(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        cost: &Cost,
    ) -> Result<Vec<OfLabel>, Spent> {
        let series = usize::try_from(tenant.series.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let bytes = series.saturating_mul(size_of::<Posting>());
        let mut made: Vec<OfLabel> = Vec::new();
        {
            let mut index = tenant.labels.index.lock();
            for (label, _) in selector.listed_labels() {
                let is_there = |of: &OfLabel| &*of.label == label;
                if index.of.iter().any(is_there) || made.iter().any(is_there) {
                    continue;
                }
                let of_tenant = |index: &Index, made: &[OfLabel]| -> usize {
                    let all = index.of.iter().chain(made);
                    all.map(|of| of.counted.bytes).sum()
                };
                while !index.of.is_empty() && of_tenant(&index, &made) + bytes > TENANT_BYTES_MAX {
                    index.drop_oldest();
                }
                if of_tenant(&index, &made) + bytes > TENANT_BYTES_MAX {
                    break;
                }
                let all = Arc::clone(&self.label_bytes);
                if all.fetch_add(bytes, Ordering::Relaxed) + bytes > BYTES_MAX {
                    all.fetch_sub(bytes, Ordering::Relaxed);
                    break;
                }
                made.push(OfLabel {
                    label: label.into(),
                    sorted: Vec::new(),
                    asked: Instant::now(),
                    counted: Counted { all, bytes },
                });
            }
        }
        if made.is_empty() {
            return Ok(made);
        }
        {
            // From now on all that are made are told; those before are among the names.
            let _names = tenant.names.lock();
            let mut newcomers = tenant.labels.newcomers.lock();
            newcomers.is_wanted = true;
        }
        let mut groups = Self::groups(tenant, &Selector::all(), None);
        while let Some((last_name, _)) = groups.last() {
            let last_name = last_name.clone();
            for (_, places) in std::mem::take(&mut groups) {
                for place in places {
                    cost.step(1)?;
                    self.post(place, &mut made);
                }
            }
            groups = Self::groups(tenant, &Selector::all(), Some(&last_name));
        }
        for of in &mut made {
            of.sorted.sort_unstable();
            of.sorted.shrink_to_fit();
        }
        Ok(made)
    }

    fn post(&self, place: SlotRef, into: &mut [OfLabel]) {
        self.table.with(place, |entry| {
            for of in &mut *into {
                if let Some(value) = entry.key().label(&of.label) {
                    let hash = hash_of(value);
                    of.sorted.push(Posting { hash, place });
                }
            }
        });
    }

    /// The series of that label of a selector that has fewest, and those that came since, if they are
    /// fewer than `walked`.
    fn smallest(
        &self,
        tenant: &Tenant,
        index: &mut Index,
        selector: &Selector,
        walked: u64,
    ) -> Option<Vec<SlotRef>> {
        let newcomers = {
            let mut newcomers = tenant.labels.newcomers.lock();
            if newcomers.is_behind {
                index.of.clear();
                // Who makes some of it is to learn of this, too.
                newcomers.is_behind = index.is_made;
                return None;
            }
            if newcomers.places.len() > UNSORTED_MAX && !index.is_made {
                let places = std::mem::take(&mut newcomers.places);
                drop(newcomers);
                for place in places {
                    self.post(place, &mut index.of);
                }
                for of in &mut index.of {
                    // It is in order but for its end.
                    of.sorted.sort();
                    of.sorted.dedup();
                }
                Vec::new()
            } else {
                newcomers.places.clone()
            }
        };
        let now = Instant::now();
        let mut best: Option<(usize, Vec<u32>, usize)> = None;
        for (label, values) in selector.listed_labels() {
            let at = index.of.iter().position(|of| &*of.label == label);
            let Some((at, of)) = at.and_then(|at| Some((at, index.of.get_mut(at)?))) else {
                continue;
            };
            of.asked = now;
            let hashes: Vec<u32> = values.into_iter().map(hash_of).collect();
            let count = hashes.iter().map(|hash| of.having(*hash).len()).sum();
            if best.as_ref().is_none_or(|best| count < best.2) {
                best = Some((at, hashes, count));
            }
        }
        let (at, hashes, count) = best?;
        if (count + newcomers.len()) as u64 >= walked {
            return None;
        }
        let of = index.of.get(at)?;
        let having = hashes.iter().flat_map(|hash| of.having(*hash));
        let having = having.map(|posting| posting.place);
        let mut places: Vec<SlotRef> = having.chain(newcomers).collect();
        places.sort_unstable();
        places.dedup();
        Some(places)
    }
}

impl Index {
    fn has_all(&self, selector: &Selector) -> bool {
        let mut labels = selector.listed_labels();
        labels.all(|(label, _)| self.of.iter().any(|of| &*of.label == label))
    }

    fn drop_oldest(&mut self) {
        let oldest = (0..self.of.len()).min_by_key(|at| self.of.get(*at).map(|of| of.asked));
        if let Some(oldest) = oldest {
            self.of.swap_remove(oldest);
        }
    }
}

impl OfLabel {
    /// Those with a value of this hash.
    fn having(&self, hash: u32) -> &[Posting] {
        let from = self.sorted.partition_point(|posting| posting.hash < hash);
        let rest = self.sorted.get(from..).unwrap_or_default();
        let length = rest.partition_point(|posting| posting.hash == hash);
        rest.get(..length).unwrap_or_default()
    }
}

fn hash_of(value: &str) -> u32 {
    (hash_key(value.as_bytes()) >> 32) as u32
}

#[cfg(test)]
mod tests;
