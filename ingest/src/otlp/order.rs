//! Differences of one request in the order of time, whatever order they came in: a difference that
//! begins before what is counted already is refused, and one request has nothing to do with that.
//!
//! Nearly every request is in order as it is, and nothing is kept of it. In one that is not, the
//! differences wait until the rest is written; points without a time have their place.

/// Points that wait for those before them in time.
#[derive(Debug)]
pub(super) struct Later<P>(Vec<Waiting<P>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    time_ns: u64,
    /// Its number in the request.
    pub(super) number: u64,
    pub(super) point: P,
}

impl<P> Later<P> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, time_ns: u64, number: u64, point: P) {
        self.0.push(Waiting {
            time_ns,
            number,
            point,
        });
    }

    /// By time; those of one time as they came.
    pub(super) fn into_order(mut self) -> impl Iterator<Item = Waiting<P>> {
        self.0.sort_by_key(|waiting| waiting.time_ns);
        self.0.into_iter()
    }
}

/// Whether times come in order.
#[derive(Debug, Default)]
pub(super) struct Order {
    newest_ns: u64,
    is_broken: bool,
}

impl Order {
    pub(super) fn see(&mut self, time_ns: u64) {
        self.is_broken |= time_ns > 0 && time_ns < self.newest_ns;
        self.newest_ns = self.newest_ns.max(time_ns);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }
}
