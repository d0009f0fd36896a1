//! The feed of one selector: what its series got, as frames for all who watch it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::{
    Cancel, Cost, Engine, Gain, SeriesName, SeriesTap, Tenant,
    tap::{TAPPED_SERIES_MAX, TapRefused},
};
use pulseboard_feed::{At, Feed, Frame, Payload, Spot, wire::ws};
use pulseboard_series::is_stale_marker;
use pulseboard_shared::protocol::watch::{SampleRun, WatchMessage};

use super::flush::{Flushable, LastFlush};
use crate::{
    elsewhere::Want,
    shares::Share,
    watchable::{Viewers, WatchView, Watchable},
};

/// Looks at what appeared are given up after this, and go on after others'.
const SEATING_TIME: Duration = Duration::from_millis(250);

/// A tenant and a canonical selector.
pub type LiveQueryKey = (Box<str>, String);

/// One selector's feed.
pub struct LiveQuery {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    pub(super) key: LiveQueryKey,
    pub(super) engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) tap: Arc<SeriesTap>,
    /// Where other servers have samples of it.
    pub(super) guests: Option<Guests>,
    /// Whether its series have been found.
    pub(super) is_seated: AtomicBool,
    pub(super) feed: Arc<Feed<WatchPayload>>,
    pub(super) viewers: Viewers,
    pub(super) flushed: LastFlush,
    /// What it takes while it is kept for nobody; leaf lock.
    pub(super) kept_by: Mutex<Vec<Share>>,
    /// Held while what was gathered becomes a frame, by the flusher and whoever opens: frames come
    /// in the order of their samples.
    pub(super) flushing: Mutex<()>,
}

/// Samples of a selector that came in at other servers.
pub(super) struct Guests {
    pub(super) engine: Arc<Engine>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) tap: Arc<SeriesTap>,
    pub(super) _want: Arc<Want>,
}

impl LiveQuery {
    /// Sees to it that its series are found, after which it gathers. Blocks.
    ///
    /// # Errors
    /// They are too many, or finding them took too long.
    pub(super) fn seat(&self, cost: &Cost) -> Result<(), TapRefused> {
        self.kept_by.lock().clear();
        // Two who come at once may both look for the series: each is seated once.
        if !self.is_seated.load(Ordering::SeqCst) {
            self.engine.tap(&self.tenant, &self.tap, cost)?;
            if let Some(guests) = &self.guests
                && let Err(error) = guests.engine.tap(&guests.tenant, &guests.tap, cost)
            {
                self.engine.untap(&self.tenant, &self.tap);
                return Err(error);
            }
            self.is_seated.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Where a new viewer's cursor starts: behind everything gathered so far. A history that is
    /// read after this has all of it.
    #[must_use]
    pub fn end(&self) -> (Spot, At) {
        self.flush();
        self.feed.end_at()
    }

    /// Whether a frame was ever made.
    fn is_written(&self) -> bool {
        self.feed.next_offset() > 1
    }
}

impl Watchable for LiveQuery {
    type Key = LiveQueryKey;
    type Payload = WatchPayload;

    fn key(&self) -> &LiveQueryKey {
        &self.key
    }

    fn viewers(&self) -> &Viewers {
        &self.viewers
    }

    fn feed(&self) -> &Arc<Feed<WatchPayload>> {
        &self.feed
    }

    /// Where there is something to come back for, at the expense of whoever left last.
    fn stays(&self, shares: &mut Vec<Share>) -> bool {
        let stays = self.is_seated.load(Ordering::SeqCst) && self.is_written();
        if stays {
            *self.kept_by.lock() = std::mem::take(shares);
        }
        stays
    }

    /// Costs its own series alone.
    fn close(&self) {
        self.engine.untap(&self.tenant, &self.tap);
        if let Some(guests) = &self.guests {
            guests.engine.untap(&guests.tenant, &guests.tap);
        }
    }
}

impl Flushable for LiveQuery {
    fn flushed(&self) -> &LastFlush {
        &self.flushed
    }

    fn has_newcomers(&self) -> bool {
        let guests = self.guests.as_ref();
        self.tap.has_newcomers() || guests.is_some_and(|guests| guests.tap.has_newcomers())
    }

    fn attach_newcomers(&self) {
        let cost = Cost::new(SEATING_TIME, u64::MAX, Cancel::default());
        let mut seated = self.engine.attach_newcomers(&self.tenant, &self.tap, &cost);
        if let (Ok(()), Some(guests)) = (&seated, &self.guests) {
            let engine = &guests.engine;
            seated = engine.attach_newcomers(&guests.tenant, &guests.tap, &cost);
        }
        if seated.is_err() {
            tracing::debug!(selector = %self.tap.selector, "series that appeared wait to be watched");
        }
    }

    fn flush(&self) {
        let _flushing = self.flushing.lock();
        let mut gain = self.tap.take();
        if let Some(guests) = &self.guests {
            let more = guests.tap.take();
            gain.samples.extend(more.samples);
            gain.missed += more.missed;
            gain.unseated += more.unseated;
        }
        if gain.missed > 0 {
            tracing::warn!(
                selector = %self.tap.selector,
                samples = gain.missed,
                "samples came faster than a watch could hand them on"
            );
        }
        if gain.unseated > 0 {
            tracing::warn!(
                selector = %self.tap.selector,
                series = gain.unseated,
                "series that appeared are not watched: the selector has {TAPPED_SERIES_MAX} already"
            );
        }
        if !gain.samples.is_empty() {
            self.feed.append(WatchPayload::new(gain));
        }
    }
}

/// New samples of a selector's series.
#[derive(Debug)]
pub struct WatchPayload {
    runs: Vec<SampleRun>,
    held_bytes: usize,
}

impl WatchPayload {
    /// One run for each series, in the order of their first samples.
    fn new(gain: Gain) -> Self {
        let mut runs: Vec<SampleRun> = Vec::new();
        let mut places: HashMap<*const SeriesName, usize> = HashMap::new();
        let mut held_bytes = 0;
        for (name, (at_ms, value)) in gain.samples {
            let place = *places.entry(Arc::as_ptr(&name)).or_insert_with(|| {
                let key = name.key();
                runs.push(SampleRun {
                    key: key.to_string(),
                    name: key.name().to_owned(),
                    labels: key
                        .labels()
                        .map(|(label, value)| (label.to_owned(), value.to_owned()))
                        .collect(),
                    unit: name.unit.to_string(),
                    points: Vec::new(),
                });
                held_bytes += 2 * name.key.len() + 64;
                runs.len() - 1
            });
            if let Some(run) = runs.get_mut(place) {
                // The marker says that the series has ended, and is no value.
                let value = (!is_stale_marker(value)).then_some(value);
                run.points.push((at_ms, value));
                held_bytes += size_of::<(i64, Option<f64>)>();
            }
        }
        Self { runs, held_bytes }
    }
}

impl Payload for WatchPayload {
    type View = WatchView;

    fn encode(&self, at: At, view: &WatchView) -> Bytes {
        let message = WatchMessage::Samples {
            selector: view.asked.to_string(),
            epoch: at.epoch.to_string(),
            offset: at.offset,
            series: self.runs.clone(),
        };
        ws::message(view.form, &message)
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn merge(_held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &WatchView) -> Bytes {
        view.merged("match", first, last)
    }
}

impl fmt::Debug for LiveQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveQuery({})", self.tap.selector)
    }
}
