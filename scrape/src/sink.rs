//! Where samples go, and what time it is.

use std::{fmt, sync::Arc};

use pulseboard_series::Batch;

/// Takes samples. Called for one scrape after the other and from several threads at once; it must
/// not wait for a disk or for anybody's reading.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Takes all rows of a batch; each has its time. What is refused is the sink's to count;
    /// returned is how many were.
    fn append(&self, batch: &Batch) -> u64;
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
