//! Where samples go, and what time it is.

use std::{fmt, sync::Arc};

use pulseboard_series::{Batch, batch::Refused};

use crate::{labels::LabelSet, target::Endpoint};

/// What one scrape of one target hands on.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// Rows, each with its time; and what was left out of the body before, with its lines.
    pub batch: &'a Batch,
    /// Rows from this place on tell of the target itself: `up` and `scrape_…`.
    pub own_from: usize,
    /// Labels of the target.
    pub target: &'a LabelSet,
}

/// What of it is not taken, what was left out before among it.
#[derive(Debug, Default)]
pub struct NotTaken {
    /// How many samples.
    pub total: u64,
    /// The first of them.
    pub first: Vec<Refused>,
}

/// Takes samples. Called for one scrape after the other and from several threads at once; it must
/// not wait for a disk or for anybody's reading.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Takes all rows of a batch. What is not taken is the sink's to count.
    fn append(&self, handed: Handed<'_>) -> NotTaken;
}

/// Whose turn a target is, where several scrape by the same file. Asked at each of a target's
/// moments, which are the same for all of them, and so must not wait.
#[derive(Clone)]
pub struct Turns(Arc<dyn Fn(&Endpoint) -> bool + Send + Sync>);

impl Turns {
    /// A target is ours at this moment where `is_ours` says so.
    pub fn new(is_ours: impl Fn(&Endpoint) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_ours))
    }

    /// Nobody else scrapes.
    #[must_use]
    pub fn all() -> Self {
        Self::new(|_| true)
    }

    pub(crate) fn is_ours(&self, endpoint: &Endpoint) -> bool {
        (self.0)(endpoint)
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}

/// Unix milliseconds now.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl WallClock {
    /// A clock that is read by this.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Unix milliseconds now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
