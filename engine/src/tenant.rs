//! One tenant: a name that keeps series, watches, limits and counts apart from all others'.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_series::Reason;

use crate::{
    table::SlotRef,
    watch::{Catalog, Watch},
};

/// The tenant of whoever names none.
pub const DEFAULT_TENANT: &str = "default";

/// Tenants at once; a further name is refused.
pub const TENANTS_MAX: usize = 10_000;

/// See the module. Shared by everything that acts for the tenant; lives as long as the engine.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: Box<str>,
    /// Its place among the tenants of this process; tells equal keys of different tenants apart.
    pub(crate) number: u32,
    /// Series in memory now.
    pub(crate) series: AtomicU64,
    /// Its series by metric name. Leaf lock, taken under a shard's.
    pub(crate) names: Mutex<BTreeMap<Box<str>, Named>>,
    /// Selectors that somebody watches. Leaf lock, taken under a shard's.
    pub(crate) watches: Mutex<Vec<Arc<Watch>>>,
    /// Who is told of series that come and go. Leaf lock.
    pub(crate) catalog: Mutex<Option<Arc<Catalog>>>,
    /// Whether there ever was a series of it: then its name is kept.
    pub(crate) has_past: AtomicBool,
    accepted: AtomicU64,
    replaced: AtomicU64,
    refused: [AtomicU64; Reason::CODES.len()],
}

/// The series of one metric name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// A set, since a million of them may go one by one.
    pub(crate) places: HashSet<SlotRef>,
    /// No series of the name has, or had, more labels.
    pub(crate) labels_max: usize,
}

/// What a tenant sent, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantCounts {
    /// Samples taken.
    pub accepted: u64,
    /// Of these, samples that replaced another value for the same time.
    pub replaced: u64,
    /// Samples not taken, by [`Reason::CODES`].
    pub refused: [u64; Reason::CODES.len()],
    /// Series in memory now.
    pub series: u64,
}

impl Tenant {
    pub(crate) fn new(name: &str, number: u32) -> Self {
        Self {
            name: name.into(),
            number,
            series: AtomicU64::default(),
            names: Mutex::default(),
            watches: Mutex::default(),
            catalog: Mutex::default(),
            has_past: AtomicBool::default(),
            accepted: AtomicU64::default(),
            replaced: AtomicU64::default(),
            refused: Default::default(),
        }
    }

    /// The hash of one of its keys among all tenants' keys.
    pub(crate) fn place(&self, hash: u64) -> u64 {
        hash ^ u64::from(self.number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Counts what one body brought.
    pub(crate) fn count(&self, accepted: u64, replaced: u64, refused: &[u64]) {
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        if replaced > 0 {
            self.replaced.fetch_add(replaced, Ordering::Relaxed);
        }
        for (counter, count) in self.refused.iter().zip(refused) {
            if *count > 0 {
                counter.fetch_add(*count, Ordering::Relaxed);
            }
        }
    }

    /// Counts a body of which nothing was read, as one.
    pub fn count_refused(&self, reason: &Reason) {
        if let Some(counter) = self.refused.get(reason.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether nothing was ever taken in its name; what was refused does not keep a name.
    pub(crate) fn is_unused(&self) -> bool {
        !self.has_past.load(Ordering::Acquire) && self.accepted.load(Ordering::Relaxed) == 0
    }

    /// What it sent, since the start.
    #[must_use]
    pub fn counts(&self) -> TenantCounts {
        let mut refused = [0; Reason::CODES.len()];
        for (count, counter) in refused.iter_mut().zip(&self.refused) {
            *count = counter.load(Ordering::Relaxed);
        }
        TenantCounts {
            accepted: self.accepted.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
            refused,
            series: self.series.load(Ordering::Relaxed),
        }
    }
}
