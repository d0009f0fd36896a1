//! A target that is scraped: how, what is known of it, and which series it has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use pulseboard_series::{Batch, STALE_MARKER_BITS};

use crate::{
    context::{Context, Job},
    metadata::Metadata,
    own::{Outcome, own, push_own},
    sink::Handed,
    target::Endpoint,
    times::Times,
    tracked::{Tracked, push_key_row},
};

/// Whether a target answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is known of a target from its last scrape.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub health: Health,
    /// In words; empty when all is well.
    pub last_error: String,
    /// Unix milliseconds; 0 before the first scrape.
    pub last_scrape_ms: i64,
    pub last_duration: Duration,
    /// Samples of the last scrape, before and after relabelling.
    pub scraped: usize,
    pub kept: usize,
    /// Samples that are too long to be stored, or that the sink did not take; they count among
    /// those scraped.
    pub refused: u64,
    /// Another one scraped it at its last moment; nothing of the above is said then.
    pub is_elsewhere: bool,
}

/// A target that is scraped.
#[derive(Debug)]
pub(crate) struct ActiveTarget {
    pub(crate) endpoint: RwLock<(Arc<Endpoint>, Arc<Job>)>,
    pub(crate) status: Mutex<Status>,
    /// Held while samples are handed on, so that they come in order.
    pub(crate) series: Mutex<Series>,
    is_busy: AtomicBool,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) tracked: Tracked,
    /// Types and helps, and the hash of the comments that they are from.
    pub(crate) metadata: Option<(u64, Metadata)>,
    /// Codes of reasons, a bit each, for which something was left out and of which the log knows.
    pub(crate) told: u32,
    pub(crate) is_retired: bool,
    pub(crate) was_scraped: bool,
}

impl ActiveTarget {
    pub(crate) fn new(endpoint: Arc<Endpoint>, job: Arc<Job>) -> Arc<Self> {
        Arc::new(Self {
            endpoint: RwLock::new((endpoint, job)),
            status: Mutex::default(),
            series: Mutex::default(),
            is_busy: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        })
    }

    pub(crate) fn endpoint(&self) -> Arc<Endpoint> {
        Arc::clone(&self.endpoint.read().0)
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().clone()
    }

    pub(crate) fn metadata(&self) -> Option<Metadata> {
        let series = self.series.lock();
        series.metadata.as_ref().map(|(_, text)| Arc::clone(text))
    }

    /// Goes on as the same target under what a reload says; whether it is due at other times now.
    pub(crate) fn update(&self, endpoint: Arc<Endpoint>, job: Arc<Job>) -> bool {
        let mut current = self.endpoint.write();
        let is_changed = current.0.interval != endpoint.interval;
        *current = (endpoint, job);
        is_changed
    }

    pub(crate) fn times(&self) -> Times {
        let endpoint = self.endpoint();
        Times::new(endpoint.interval.as_millis(), endpoint.identity)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Begins a scrape, unless one is under way.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let is_free = !self.is_busy.swap(true, Ordering::AcqRel);
        is_free.then(|| Busy(Arc::clone(self)))
    }

    /// Another one scrapes it, and says when its series end. What was known of them is forgotten:
    /// it would be wrong by the time that it is ours again.
    pub(crate) fn leave_to_others(&self) {
        // Whoever has it still hands on what it asked for before.
        if let Some(mut series) = self.series.try_lock() {
            series.tracked = Tracked::default();
            series.was_scraped = false;
        }
        let mut status = self.status.lock();
        if !status.is_elsewhere {
            *status = Status {
                is_elsewhere: true,
                ..Status::default()
            };
        }
    }

    /// Ends its series: it is scraped no more.
    pub(crate) fn retire(&self, context: &Context) {
        self.next_generation();
        let mut series = self.series.lock();
        series.is_retired = true;
        if !series.was_scraped {
            return;
        }
        let at_ms = context.clock.now_ms();
        let mut batch = Batch::new();
        let stale = f64::from_bits(STALE_MARKER_BITS);
        for key in series.tracked.take_all() {
            push_key_row(&mut batch, &key, at_ms, stale);
        }
        let own_from = batch.rows().len();
        let labels = &self.endpoint().labels;
        for (name, unit, _) in own(&Outcome::default()) {
            push_own(&mut batch, (name, unit, stale), labels, at_ms);
        }
        context.sink.append(Handed {
            batch: &batch,
            own_from,
            target: labels,
        });
    }
}

/// A target that is being scraped; however that ends, it may be scraped again.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) Arc<ActiveTarget>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}
