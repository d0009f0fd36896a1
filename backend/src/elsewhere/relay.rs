//! What comes in here of a selector that other servers want, on its way to them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_bus::{Bus, FeedKey, wanted};
use pulseboard_engine::{Cancel, Cost, Engine, Selector, SeriesTap, Tenant, tap::Wake};

use super::frame;
use crate::live_query::flush::{Flushable, LastFlush};

/// Looks at what appeared are given up after this, and go on after others'.
const SEATING_TIME: Duration = Duration::from_millis(250);

/// One selector of one tenant.
pub(super) struct Relay {
    key: FeedKey,
    me: Arc<str>,
    bus: Arc<dyn Bus>,
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    tap: Arc<SeriesTap>,
    /// Whether its series have been found.
    is_seated: AtomicBool,
    flushed: LastFlush,
    /// Nobody wants it after this unless somebody says so again, in steady milliseconds.
    until_ms: AtomicI64,
    /// Held while what was gathered becomes frames.
    flushing: Mutex<()>,
}

impl Relay {
    pub(super) fn new(
        (bus, me): (Arc<dyn Bus>, Arc<str>),
        engine: &Arc<Engine>,
        tenant: Arc<Tenant>,
        selector: Selector,
        wake: Wake,
    ) -> Self {
        Self {
            key: wanted::feed_of(&tenant.name, &selector.to_string()),
            me,
            bus,
            engine: Arc::clone(engine),
            tenant,
            tap: Arc::new(SeriesTap::new(selector, wake)),
            is_seated: AtomicBool::new(false),
            flushed: LastFlush::default(),
            until_ms: AtomicI64::new(0),
            flushing: Mutex::default(),
        }
    }

    /// Finds its series, after which it gathers. Blocks. What fails is done again the next time.
    pub(super) fn seat(&self) {
        if self.is_seated.load(Ordering::SeqCst) {
            return;
        }
        let cost = Cost::new(SEATING_TIME, u64::MAX, Cancel::default());
        match self.engine.tap(&self.tenant, &self.tap, &cost) {
            Ok(_) => self.is_seated.store(true, Ordering::SeqCst),
            Err(refused) => tracing::debug!(
                selector = %self.tap.selector,
                tenant = %self.tenant.name,
                "what other servers want is not sent to them: {refused}"
            ),
        }
    }

    pub(super) fn pattern_bytes(&self) -> usize {
        self.tap.selector.compiled_bytes()
    }

    pub(super) fn is_wanted_until(&self, steady_ms: i64) {
        self.until_ms.fetch_max(steady_ms, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self, steady_ms: i64) -> bool {
        self.until_ms.load(Ordering::Relaxed) < steady_ms
    }

    /// Costs its own series alone.
    pub(super) fn close(&self) {
        self.engine.untap(&self.tenant, &self.tap);
    }
}

impl Flushable for Relay {
    fn flushed(&self) -> &LastFlush {
        &self.flushed
    }

    fn has_newcomers(&self) -> bool {
        self.tap.has_newcomers()
    }

    fn attach_newcomers(&self) {
        let cost = Cost::new(SEATING_TIME, u64::MAX, Cancel::default());
        let seated = self.engine.attach_newcomers(&self.tenant, &self.tap, &cost);
        if seated.is_err() {
            tracing::debug!(selector = %self.tap.selector, "series that appeared wait to be sent on");
        }
    }

    fn flush(&self) {
        let _flushing = self.flushing.lock();
        let gain = self.tap.take();
        // Who is away has the archive; nothing waits for whoever is not there.
        if gain.samples.is_empty() || self.bus.state().borrow().is_alone() {
            return;
        }
        for frame in frame::frames(&self.me, &gain.samples) {
            if let Err(error) = self.bus.publish(&self.key, None, frame) {
                tracing::debug!(selector = %self.tap.selector, %error, "samples are not sent on");
            }
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({})", self.tap.selector)
    }
}
