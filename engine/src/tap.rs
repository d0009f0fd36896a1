//! Selectors that somebody watches: what is appended to their series is handed on at once.
//!
//! A tap gathers; whoever made it is woken once and takes everything gathered (see
//! [`SeriesTap::take`]), so that a body of thousands of samples makes one frame and not thousands.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_series::{KeyRef, Kind};

use crate::{cost::Spent, selector::Selector, slot::SlotRef, window::Sample};

/// Series of one tap; a selector that names more is refused.
pub const TAPPED_SERIES_MAX: usize = 1_000;

/// Samples gathered by a tap that nobody takes, at most; further ones are counted only.
const GATHERED_MAX: usize = 100_000;

/// Series that appeared and wait to be compared with a tap; past it all of them are looked through.
const NEWCOMERS_MAX: usize = 4_096;

/// Series that come or go and wait to be told; further ones are counted only.
const TOLD_MAX: usize = 1_000;

/// Called when something was gathered and nobody has been told yet. Must not block.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A series as a tap names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesName {
    /// Its key, see [`KeyRef`].
    pub key: Box<[u8]>,
    /// Unit of its values; empty where nobody said.
    pub unit: Arc<str>,
    /// How it grows.
    pub kind: Kind,
}

impl SeriesName {
    /// Name and labels.
    #[must_use]
    pub fn key(&self) -> KeyRef<'_> {
        KeyRef::new(&self.key)
    }
}

/// An entry's place in a tap.
#[derive(Clone, Debug)]
pub(crate) struct TapSlot {
    pub(crate) tap: Arc<SeriesTap>,
    /// Its number among the tap's series.
    pub(crate) number: u32,
}

/// Gathers what is appended to the series of a selector, and wakes whoever made it once.
pub struct SeriesTap {
    /// What is watched.
    pub selector: Selector,
    gathered: Mutex<Gathered>,
    /// Whether comparing it with a series may take long: then that is not done where samples come
    /// in.
    pub(crate) is_dear: bool,
    /// Samples that may wait to be taken; further ones are counted only.
    gathered_max: usize,
    /// Series that appeared and are still to be compared with it. Leaf lock.
    newcomers: Mutex<Newcomers>,
    /// Whether `wake` was called since the last `take`.
    is_awake: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
struct Newcomers {
    places: Vec<SlotRef>,
    /// There were too many, or the last look at them was broken off: all are to be looked at.
    is_behind: bool,
}

#[derive(Default)]
struct Gathered {
    /// `None` where a number is free.
    series: Vec<Option<Arc<SeriesName>>>,
    /// Numbers that can be given out again.
    free: Vec<u32>,
    /// Numbers of series that went; their last samples may still be gathered.
    left: Vec<u32>,
    samples: Vec<(u32, Sample)>,
    missed: u64,
    unseated: u64,
    forgotten: u64,
    /// It has ended: nothing is seated or gathered any more.
    is_over: bool,
}

/// Why a selector is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapRefused {
    /// It names so many series.
    #[error("it names {0} series; at most {TAPPED_SERIES_MAX} can be watched together")]
    Series(u64),
    /// Finding its series cost too much.
    #[error(transparent)]
    Spent(#[from] Spent),
}

/// What a tap gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gain {
    /// Samples in the order they came, each with its series.
    pub samples: Vec<(Arc<SeriesName>, Sample)>,
    /// Samples that were not gathered because nobody took the ones before.
    pub missed: u64,
    /// Series that appeared and are not watched, since there are [`TAPPED_SERIES_MAX`] already.
    pub unseated: u64,
    /// Series that have gone.
    pub gone: u64,
    /// How often samples of a series were deleted that may have been gathered before.
    pub forgotten: u64,
}

impl SeriesTap {
    /// A tap that calls `wake`.
    #[must_use]
    pub fn new(selector: Selector, wake: Wake) -> Self {
        Self::bounded(selector, wake, GATHERED_MAX)
    }

    /// As [`SeriesTap::new`], with at most `gathered_max` samples that nobody takes.
    #[must_use]
    pub fn bounded(selector: Selector, wake: Wake, gathered_max: usize) -> Self {
        Self {
            is_dear: selector.has_patterns(),
            gathered_max: gathered_max.min(GATHERED_MAX),
            selector,
            gathered: Mutex::default(),
            newcomers: Mutex::default(),
            is_awake: AtomicBool::new(false),
            wake,
        }
    }

    /// A series appeared that is to be compared with it later.
    pub(crate) fn announce(&self, place: SlotRef) {
        {
            let mut newcomers = self.newcomers.lock();
            if newcomers.places.len() < NEWCOMERS_MAX {
                newcomers.places.push(place);
            } else {
                newcomers.is_behind = true;
            }
        }
        self.wake();
    }

    /// Whether series appeared that are to be compared with it, by
    /// [`crate::Engine::attach_newcomers`].
    #[must_use]
    pub fn has_newcomers(&self) -> bool {
        let newcomers = self.newcomers.lock();
        newcomers.is_behind || !newcomers.places.is_empty()
    }

    /// What is to be compared, and whether that is all series.
    pub(crate) fn take_newcomers(&self) -> (Vec<SlotRef>, bool) {
        let newcomers = std::mem::take(&mut *self.newcomers.lock());
        (newcomers.places, newcomers.is_behind)
    }

    /// The comparison was broken off.
    pub(crate) fn stay_behind(&self) {
        self.newcomers.lock().is_behind = true;
        self.wake();
    }

    /// Ends it; the keys of its series.
    pub(crate) fn end(&self) -> Vec<Box<[u8]>> {
        let mut gathered = self.gathered.lock();
        gathered.is_over = true;
        drop(std::mem::take(&mut *self.newcomers.lock()));
        let series = gathered.series.iter().flatten();
        series.map(|series| series.key.clone()).collect()
    }

    /// Gives a series a number; `None` when there are too many.
    pub(crate) fn admit(&self, name: SeriesName) -> Option<u32> {
        let mut gathered = self.gathered.lock();
        if gathered.is_over {
            return None;
        }
        if let Some(number) = gathered.free.pop() {
            gathered.series[number as usize] = Some(Arc::new(name));
            return Some(number);
        }
        if gathered.series.len() >= TAPPED_SERIES_MAX {
            gathered.unseated += 1;
            drop(gathered);
            self.wake();
            return None;
        }
        gathered.series.push(Some(Arc::new(name)));
        u32::try_from(gathered.series.len() - 1).ok()
    }

    /// The series of this number has gone: another may have it.
    pub(crate) fn leave(&self, number: u32) {
        let mut gathered = self.gathered.lock();
        if gathered.is_over {
            return;
        }
        gathered.left.push(number);
        drop(gathered);
        // So that the number is free even if nothing else comes.
        self.wake();
    }

    fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    pub(crate) fn gather(&self, number: u32, sample: Sample) {
        let mut gathered = self.gathered.lock();
        if gathered.is_over {
            return;
        }
        if gathered.samples.len() < self.gathered_max {
            gathered.samples.push((number, sample));
        } else {
            gathered.missed += 1;
        }
        drop(gathered);
        self.wake();
    }

    /// Samples of one of its series were deleted.
    pub(crate) fn forget(&self) {
        self.gathered.lock().forgotten += 1;
    }

    /// Takes everything that came since the last time.
    #[must_use]
    pub fn take(&self) -> Gain {
        // Before the samples: what comes from now on wakes again.
        self.is_awake.store(false, Ordering::Release);
        let mut gathered = self.gathered.lock();
        let samples = std::mem::take(&mut gathered.samples);
        let named = samples.into_iter().filter_map(|(number, sample)| {
            let name = gathered.series.get(number as usize)?.as_ref()?;
            Some((Arc::clone(name), sample))
        });
        let samples = named.collect();
        let mut gone = 0;
        for number in std::mem::take(&mut gathered.left) {
            if let Some(place) = gathered.series.get_mut(number as usize)
                && place.take().is_some()
            {
                gathered.free.push(number);
                gone += 1;
            }
        }
        Gain {
            samples,
            missed: std::mem::take(&mut gathered.missed),
            unseated: std::mem::take(&mut gathered.unseated),
            gone,
            forgotten: std::mem::take(&mut gathered.forgotten),
        }
    }
}

impl fmt::Debug for SeriesTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesTap({})", self.selector)
    }
}

/// A tenant's series that came and went, until somebody takes them.
pub struct Catalog {
    changes: Mutex<Changes>,
    is_awake: AtomicBool,
    wake: Wake,
}

/// What changed among a tenant's series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New series.
    pub appeared: Vec<SeriesName>,
    /// Series that are gone.
    pub vanished: Vec<SeriesName>,
    /// Changes that are not named because there were too many.
    pub unnamed: u64,
}

impl Catalog {
    /// A catalog that calls `wake`.
    #[must_use]
    pub fn new(wake: Wake) -> Self {
        Self {
            changes: Mutex::default(),
            is_awake: AtomicBool::new(false),
            wake,
        }
    }

    pub(crate) fn tell(&self, name: SeriesName, appeared: bool) {
        let mut changes = self.changes.lock();
        let list = if appeared {
            &mut changes.appeared
        } else {
            &mut changes.vanished
        };
        if list.len() < TOLD_MAX {
            list.push(name);
        } else {
            changes.unnamed += 1;
        }
        drop(changes);
        if !self.is_awake.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Takes everything that changed since the last time.
    #[must_use]
    pub fn take(&self) -> Changes {
        self.is_awake.store(false, Ordering::Release);
        std::mem::take(&mut self.changes.lock())
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalog")
    }
}
