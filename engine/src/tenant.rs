//! One tenant: a name that keeps series, taps, limits and counts apart from all others'.

use std::{
    any::Any,
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_series::Reason;

use crate::{
    labels::Labels,
    slot::SlotRef,
    tap::{Catalog, SeriesTap},
};

/// The tenant of whoever names none.
pub const DEFAULT_TENANT: &str = "default";

/// Tenants of which something is stored, at once, besides those that are kept; samples of a further
/// one are refused.
pub const TENANTS_MAX: usize = 10_000;

/// A name that keeps series, taps, limits and counts apart from all others'. Shared by everything
/// that acts for the tenant, each of its series among that; lives as long as it is held.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: Box<str>,
    /// Its place among the tenants of this process; tells equal keys of different tenants apart.
    pub(crate) number: u64,
    /// Series in memory now.
    pub(crate) series: AtomicU64,
    /// How many have come to it since the start. Changed under the lock of names, when the newest
    /// is among them.
    pub(crate) came: AtomicU64,
    /// How many have left it.
    pub(crate) vanished: AtomicU64,
    /// Its series by metric name. Leaf lock, taken under a shard's.
    pub(crate) names: Mutex<BTreeMap<Box<str>, Named>>,
    /// Those that have a label, where that was asked for.
    pub(crate) labels: Labels,
    /// Selectors that somebody watches. Leaf lock, taken under a shard's.
    pub(crate) taps: Mutex<Vec<Arc<SeriesTap>>>,
    /// Who is told of series that come and go. Leaf lock.
    pub(crate) catalog: Mutex<Option<Arc<Catalog>>>,
    /// Keys that only [`crate::Engine::append_own`] may write to; grows with what the server itself
    /// measures. Leaf lock, taken under a shard's where a series is made.
    pub(crate) reserved: Mutex<HashSet<Box<[u8]>>>,
    /// Whether it is one of all: a series of it was made, or it is kept.
    pub(crate) is_listed: AtomicBool,
    /// Whether it is never forgotten.
    pub(crate) is_kept: AtomicBool,
    /// What others keep with it; see [`Tenant::attached`].
    attached: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Bytes of its series, as the last round of maintenance counted them, and of those made
    /// since.
    pub(crate) held_bytes: AtomicU64,
    /// The same while they are counted.
    pub(crate) counted_bytes: AtomicU64,
    /// How far back its windows reach now, in milliseconds, where they are shortened; else the
    /// greatest number.
    pub(crate) window_ms: AtomicU64,
    /// When it last sent something older than its windows, Unix milliseconds.
    late_ms: AtomicI64,
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
    /// The tenant's count of series that came, with the last one of this name.
    pub(crate) came: u64,
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
    pub(crate) fn new(name: &str, number: u64) -> Self {
        Self {
            name: name.into(),
            number,
            series: AtomicU64::default(),
            came: AtomicU64::default(),
            vanished: AtomicU64::default(),
            names: Mutex::default(),
            labels: Labels::default(),
            taps: Mutex::default(),
            catalog: Mutex::default(),
            reserved: Mutex::default(),
            is_listed: AtomicBool::default(),
            is_kept: AtomicBool::default(),
            attached: OnceLock::new(),
            held_bytes: AtomicU64::default(),
            counted_bytes: AtomicU64::default(),
            window_ms: AtomicU64::new(u64::MAX),
            late_ms: AtomicI64::new(i64::MIN),
            accepted: AtomicU64::default(),
            replaced: AtomicU64::default(),
            refused: Default::default(),
        }
    }

    /// The hash of one of its keys among all tenants' keys.
    pub(crate) fn place(&self, hash: u64) -> u64 {
        hash ^ self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// How many series have come to it since the start.
    pub(crate) fn came(&self) -> u64 {
        self.came.load(Ordering::Acquire)
    }

    /// The same, up to the last one of a name; 0 where there is none of it.
    pub(crate) fn came_to(&self, name: Option<&str>) -> u64 {
        let names = self.names.lock();
        let named = name.and_then(|name| names.get(name));
        named.map_or(0, |named| named.came)
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

    /// Something came that is older than its windows.
    pub(crate) fn note_late(&self, now_ms: i64) {
        self.late_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether it sent something older than its windows in the last minute.
    #[must_use]
    pub fn brings_late(&self, now_ms: i64) -> bool {
        let late_ms = self.late_ms.load(Ordering::Relaxed);
        late_ms.abs_diff(now_ms) <= 60_000
    }

    /// Counts a body of which nothing was read, as one.
    pub fn count_refused(&self, reason: &Reason) {
        if let Some(counter) = self.refused.get(reason.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether its windows are shortened, since memory is short and it has more than its part.
    pub(crate) fn is_short(&self) -> bool {
        self.window_ms.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether it has a place among all tenants.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.is_listed.load(Ordering::Acquire)
    }

    /// What somebody keeps with the tenant, for as long as the tenant lives: made by the first who
    /// asks. There is one such thing; `None` where it is of another type.
    pub fn attached<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let attached = self.attached.get_or_init(|| Arc::new(make()));
        Arc::clone(attached).downcast().ok()
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

    /// Keeps a key for [`crate::Engine::append_own`]; whether it was not kept before. Asked for
    /// each tracked item, so one that is kept costs a look-up.
    pub(crate) fn reserve_key(&self, key: &[u8]) -> bool {
        let mut reserved = self.reserved.lock();
        !reserved.contains(key) && reserved.insert(key.into())
    }
}
