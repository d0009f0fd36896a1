//! Which series have a label with a value, for questions that name a few of many: without it each
//! of a tenant's series is looked at.
//!
//! It is made label by label, and not before questions have looked at as many series in vain as
//! making it does; series that are made afterwards are told to it, which is all that it costs who
//! appends. What is found is compared with the selector all the same: a hash in place of a value,
//! and series that have gone, do no harm, as long as none is missing. It is bounded, and where it
//! would take more there is none and each series is looked at, as before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pulseboard_series::key::hash_key;

use crate::{selector::Selector, slot::SlotRef};

/// Where no more series are asked for, each is looked at: that takes less than a millisecond.
pub(crate) const WALKED_MAX: u64 = 2_048;

/// Labels of one tenant; the one that was not asked for longest goes first.
pub(crate) const LABELS_MAX: usize = 16;

/// Bytes of all tenants', and of one's. A series takes 16 for each label.
pub(crate) const BYTES_MAX: usize = 64 << 20;
pub(crate) const TENANT_BYTES_MAX: usize = 32 << 20;

/// Series that were made since it was asked; where there are more, it is made anew.
const NEWCOMERS_MAX: usize = 64 * 1_024;

/// So many of those that came lately are kept beside the others before they are sorted in. More:
/// more is moved for each that comes. Fewer: all of them are more often.
pub(crate) const RECENT_MAX: usize = 1_024;

/// What nobody asked for so long goes.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// A series that has a label, by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Posting {
    /// Of the value.
    pub(crate) hash: u32,
    pub(crate) place: SlotRef,
}

/// Those of one label.
#[derive(Debug)]
pub(crate) struct OfLabel {
    pub(crate) label: Box<str>,
    /// Without those that came lately.
    pub(crate) sorted: Vec<Posting>,
    /// Those, in order, too; [`RECENT_MAX`] at most.
    pub(crate) recent: Vec<Posting>,
    pub(crate) asked: Instant,
    pub(crate) counted: Counted,
}

/// Bytes that are counted among all; given back when dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) all: Arc<AtomicUsize>,
    pub(crate) bytes: usize,
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
    pub(crate) index: Mutex<Index>,
    /// Leaf lock, taken under the names'.
    pub(crate) newcomers: Mutex<Newcomers>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) of: Vec<OfLabel>,
    /// Somebody makes some of it: newcomers stay where they are.
    pub(crate) is_made: bool,
    /// How many series were looked at since it was made, one by one.
    pub(crate) walked: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    pub(crate) is_wanted: bool,
    /// There were too many: it is to be made anew.
    pub(crate) is_behind: bool,
    pub(crate) places: Vec<SlotRef>,
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

    pub(crate) fn tidy_after(&self, unused_max: Duration) {
        let Some(mut index) = self.index.try_lock() else {
            return;
        };
        index.of.retain(|of| of.asked.elapsed() < unused_max);
        if index.of.is_empty() && !index.is_made {
            *self.newcomers.lock() = Newcomers::default();
        }
    }
}

impl Index {
    pub(crate) fn has_all(&self, selector: &Selector) -> bool {
        let mut labels = selector.listed_labels();
        labels.all(|(label, _)| self.of.iter().any(|of| &*of.label == label))
    }

    pub(crate) fn drop_oldest(&mut self) {
        let oldest = (0..self.of.len()).min_by_key(|at| self.of.get(*at).map(|of| of.asked));
        if let Some(oldest) = oldest {
            self.of.swap_remove(oldest);
        }
    }
}

impl OfLabel {
    /// Those with a value of this hash; one may be there twice.
    pub(crate) fn having(&self, hash: u32) -> impl Iterator<Item = &Posting> {
        let (sorted, recent) = (having(&self.sorted, hash), having(&self.recent, hash));
        sorted.iter().chain(recent)
    }

    /// Takes in one that came.
    pub(crate) fn push(&mut self, posting: Posting) {
        let at = self.recent.partition_point(|known| *known < posting);
        self.recent.insert(at, posting);
        if self.recent.len() > RECENT_MAX {
            self.sorted.append(&mut self.recent);
            // It is in order but for its end.
            self.sorted.sort();
            self.sorted.dedup();
        }
    }
}

/// Of those in order, those with this hash.
fn having(sorted: &[Posting], hash: u32) -> &[Posting] {
    let from = sorted.partition_point(|posting| posting.hash < hash);
    let rest = sorted.get(from..).unwrap_or_default();
    let length = rest.partition_point(|posting| posting.hash == hash);
    rest.get(..length).unwrap_or_default()
}

pub(crate) fn hash_of(value: &str) -> u32 {
    (hash_key(value.as_bytes()) >> 32) as u32
}
