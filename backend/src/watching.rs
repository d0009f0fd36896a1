//! Live queries: a feed for each selector that somebody watches, and one for each tenant's series
//! that come and go (see `pulseboard_shared::protocol::watch`).
//!
//! ```text
//! engine ──gathers──▶ Watch ──wakes──▶ flusher ──▶ feed ──▶ cursors of all who watch the same
//! ```
//!
//! What is appended in one stretch of [`PACE_MS`] is one frame, the first of them at once: a lone
//! sample is on every page within milliseconds, and a thousand bodies a second are twenty frames.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::{
    Catalog, Changes, Engine, Gain, Selector, SeriesName, Tenant, Watch, tenant::TENANTS_MAX,
    watch::WATCHED_SERIES_MAX,
};
use pulseboard_series::is_stale_marker;
use pulseboard_shared::{
    codec::Form,
    protocol::{
        series::{SeriesInfo, SeriesState},
        watch::{SampleRun, WatchMessage},
    },
};
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    feed::{Bounds, Epoch, Fanout, Feed, Frame, Payload, Pump, Seat, Subscription},
    own::OwnSeries,
    stream::ws,
};

/// Selectors watched at once, of all tenants; a further one is refused.
pub const WATCHED_MAX: usize = 4_096;

/// Feeds that can be due at once: all selectors and all tenants' catalogs, and as many again that
/// have ended while they were due.
const DUES_MAX: usize = 2 * (WATCHED_MAX + TENANTS_MAX);

/// Frames of one feed are at least this far apart.
const PACE_MS: i64 = 50;

/// What a viewer that reads slowly, or comes back, can still get.
const WATCH_LOG: Bounds = Bounds {
    frames: 4_096,
    bytes: 2 * 1024 * 1024,
    lag: 1_024,
};

/// How long a feed that nobody watches is kept, so that a client whose connection dropped can
/// resume.
const UNWATCHED_KEPT_MS: i64 = 60_000;

/// Series named in one message of a catalog.
const NAMED_MAX: usize = 100;

/// All feeds of selectors and catalogs.
pub struct Watching {
    engine: Arc<Engine>,
    own: Arc<OwnSeries>,
    clock: Clock,
    fanout: Fanout,
    /// By tenant and canonical selector. Leaf lock but for the engine's under it.
    watched: Mutex<HashMap<WatchedKey, Arc<Watched>>>,
    /// By tenant.
    catalogs: Mutex<HashMap<Box<str>, Arc<CatalogFeed>>>,
    next_id: AtomicU64,
    /// To the flusher: at most one entry for each feed is on its way.
    due: mpsc::Sender<Due>,
}

/// A tenant and a canonical selector.
type WatchedKey = (Box<str>, String);

/// What the flusher is to look at.
#[derive(Debug)]
pub enum Due {
    /// A selector's feed.
    Watched(Weak<Watched>),
    /// A tenant's catalog.
    Catalog(Weak<CatalogFeed>),
}

/// One selector's feed.
pub struct Watched {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    tenant: Arc<Tenant>,
    watch: Arc<Watch>,
    feed: Arc<Feed<WatchPayload>>,
    use_: Use,
    /// Names of series that the feed's frames have spoken of; leaf lock, held by the flusher and
    /// whoever opens.
    flushing: Mutex<()>,
}

/// A tenant's catalog.
pub struct CatalogFeed {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    tenant: Arc<Tenant>,
    own: Arc<OwnSeries>,
    catalog: Arc<Catalog>,
    feed: Arc<Feed<CatalogPayload>>,
    use_: Use,
}

/// Who is there, and when a feed was last written.
#[derive(Debug)]
struct Use {
    members: AtomicUsize,
    /// When the last one left, Unix milliseconds.
    left_ms: AtomicI64,
    flushed_ms: AtomicI64,
}

impl Use {
    fn new(now_ms: i64) -> Self {
        Self {
            members: AtomicUsize::new(0),
            left_ms: AtomicI64::new(now_ms),
            flushed_ms: AtomicI64::new(i64::MIN / 2),
        }
    }

    fn is_over(&self, now_ms: i64) -> bool {
        self.members.load(Ordering::SeqCst) == 0
            && now_ms - self.left_ms.load(Ordering::SeqCst) >= UNWATCHED_KEPT_MS
    }
}

/// A viewer's place at a feed; leaving is dropping it.
#[derive(Debug)]
pub struct Place {
    /// Names the viewer's cursor.
    pub id: u64,
    left: Left,
    clock: Clock,
    _seat: Seat,
}

#[derive(Debug)]
enum Left {
    Watched(Arc<Watched>),
    Catalog(Arc<CatalogFeed>),
}

impl Drop for Place {
    fn drop(&mut self) {
        let use_ = match &self.left {
            Left::Watched(watched) => &watched.use_,
            Left::Catalog(catalog) => &catalog.use_,
        };
        use_.left_ms.store(self.clock.steady_ms(), Ordering::SeqCst);
        use_.members.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why a selector cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It names too many series.
    #[error("The selector names {0} series; at most {WATCHED_SERIES_MAX} can be watched together")]
    Series(u64),
    /// Too many selectors are watched.
    #[error("Too many selectors are watched: at most {WATCHED_MAX} at once")]
    Selectors,
}

impl Watching {
    /// Nothing watched yet; the receiver is for [`flush`].
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        own: Arc<OwnSeries>,
        clock: Clock,
        fanout: &Fanout,
    ) -> (Self, mpsc::Receiver<Due>) {
        let (due, dues) = mpsc::channel(DUES_MAX);
        let watching = Self {
            engine,
            own,
            clock,
            fanout: fanout.clone(),
            watched: Mutex::default(),
            catalogs: Mutex::default(),
            // Rooms count from one; these share a viewer with them.
            next_id: AtomicU64::new(1 << 32),
            due,
        };
        (watching, dues)
    }

    /// The feed of a selector, made where nobody watches it yet.
    ///
    /// # Errors
    /// It names too many series, or too many selectors are watched.
    pub fn watched(
        &self,
        tenant: &Arc<Tenant>,
        selector: &Selector,
    ) -> Result<Arc<Watched>, WatchError> {
        let key = (tenant.name.clone(), selector.to_string());
        let mut watched = self.watched.lock();
        if let Some(known) = watched.get(&key) {
            return Ok(Arc::clone(known));
        }
        if watched.len() >= WATCHED_MAX {
            return Err(WatchError::Selectors);
        }
        let now_ms = self.clock.now_ms();
        let made = Arc::new_cyclic(|weak: &Weak<Watched>| {
            let (weak, due) = (Weak::clone(weak), self.due.clone());
            let wake = move || {
                // There is room for all feeds; without a flusher the server is stopping.
                drop(due.try_send(Due::Watched(Weak::clone(&weak))));
            };
            Watched {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                tenant: Arc::clone(tenant),
                watch: Arc::new(Watch::new(selector.clone(), Box::new(wake))),
                feed: Feed::new(epoch_at(now_ms), WATCH_LOG, &self.fanout),
                use_: Use::new(now_ms),
                flushing: Mutex::default(),
            }
        });
        self.engine
            .watch(tenant, &made.watch)
            .map_err(WatchError::Series)?;
        watched.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// The feed of a tenant's series that come and go.
    #[must_use]
    pub fn catalog(&self, tenant: &Arc<Tenant>) -> Arc<CatalogFeed> {
        let mut catalogs = self.catalogs.lock();
        if let Some(known) = catalogs.get(&tenant.name) {
            return Arc::clone(known);
        }
        let now_ms = self.clock.now_ms();
        let made = Arc::new_cyclic(|weak: &Weak<CatalogFeed>| {
            let (weak, due) = (Weak::clone(weak), self.due.clone());
            let wake = move || {
                drop(due.try_send(Due::Catalog(Weak::clone(&weak))));
            };
            CatalogFeed {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                tenant: Arc::clone(tenant),
                own: Arc::clone(&self.own),
                catalog: Arc::new(Catalog::new(Box::new(wake))),
                feed: Feed::new(epoch_at(now_ms), WATCH_LOG, &self.fanout),
                use_: Use::new(now_ms),
            }
        });
        self.engine
            .tell_catalog(tenant, Some(Arc::clone(&made.catalog)));
        catalogs.insert(tenant.name.clone(), Arc::clone(&made));
        made
    }

    /// A viewer's place at a selector's feed.
    #[must_use]
    pub fn seat(&self, watched: Arc<Watched>, viewer: Arc<dyn Pump>) -> Place {
        watched.use_.members.fetch_add(1, Ordering::SeqCst);
        Place {
            id: watched.id,
            _seat: watched.feed.roster().join(viewer),
            left: Left::Watched(watched),
            clock: self.clock.clone(),
        }
    }

    /// A viewer's place at a catalog.
    #[must_use]
    pub fn seat_at_catalog(&self, catalog: Arc<CatalogFeed>, viewer: Arc<dyn Pump>) -> Place {
        catalog.use_.members.fetch_add(1, Ordering::SeqCst);
        Place {
            id: catalog.id,
            _seat: catalog.feed.roster().join(viewer),
            left: Left::Catalog(catalog),
            clock: self.clock.clone(),
        }
    }

    /// Ends what nobody has watched for a while; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        let mut over = Vec::new();
        self.watched.lock().retain(|_, watched| {
            let is_over = watched.use_.is_over(now_ms);
            if is_over {
                over.push(Arc::clone(watched));
            }
            !is_over
        });
        for watched in over {
            self.engine.unwatch(&watched.tenant, &watched.watch);
        }
        self.catalogs.lock().retain(|_, catalog| {
            let is_over = catalog.use_.is_over(now_ms);
            if is_over {
                self.engine.tell_catalog(&catalog.tenant, None);
            }
            !is_over
        });
    }

    /// Selectors watched now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watched.lock().len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Watched {
    /// Where a new viewer's cursor starts: behind everything gathered so far. A history that is
    /// read after this has all of it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.flush();
        self.feed.with_log(|log| log.next_offset())
    }

    /// Where the cursor of a viewer starts that has seen `offset` of the run called `epoch`;
    /// `None` where that is no longer held.
    #[must_use]
    pub fn resume(&self, epoch: &str, offset: u64) -> Option<u64> {
        if epoch != self.epoch() {
            return None;
        }
        self.feed.with_log(|log| {
            let next = offset.checked_add(1)?;
            (log.first_offset()..=log.next_offset())
                .contains(&next)
                .then_some(next)
        })
    }

    /// Names this run of the feed.
    #[must_use]
    pub fn epoch(&self) -> String {
        self.feed.epoch().to_string()
    }

    /// A cursor for a viewer; `selector` as it wrote it.
    #[must_use]
    pub fn cursor(
        &self,
        next: u64,
        selector: &str,
        form: Form,
        viewer: u64,
    ) -> Subscription<WatchPayload> {
        let view = WatchView {
            selector: selector.into(),
            form,
        };
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
    }

    /// Makes a frame of what has been gathered.
    fn flush(&self) {
        let _flushing = self.flushing.lock();
        let gain = self.watch.take();
        if gain.missed > 0 {
            tracing::warn!(
                selector = %self.watch.selector,
                samples = gain.missed,
                "samples came faster than a watch could hand them on"
            );
        }
        if gain.unseated > 0 {
            tracing::warn!(
                selector = %self.watch.selector,
                series = gain.unseated,
                "series that appeared are not watched: the selector has {WATCHED_SERIES_MAX} already"
            );
        }
        if !gain.samples.is_empty() {
            self.feed.append(WatchPayload::new(self.feed.epoch(), gain));
        }
    }
}

impl CatalogFeed {
    /// A cursor for a viewer, for what comes and goes from now on.
    #[must_use]
    pub fn cursor(&self, form: Form, viewer: u64) -> Subscription<CatalogPayload> {
        let next = self.feed.with_log(|log| log.next_offset());
        Subscription::new(Arc::clone(&self.feed), next, form, viewer)
    }

    fn flush(&self) {
        let changes = self.catalog.take();
        let total = self.tenant.counts().series;
        let is_own = |key: &str| self.own.has(&self.tenant.name, key);
        for payload in CatalogPayload::of(changes, total, is_own) {
            self.feed.append(payload);
        }
    }
}

/// Makes frames of what is gathered, as it comes, until `stopping`; see the module.
pub async fn flush(
    clock: Clock,
    mut dues: mpsc::Receiver<Due>,
    stopping: tokio_util::sync::CancellationToken,
) {
    loop {
        let due = tokio::select! {
            () = stopping.cancelled() => return,
            due = dues.recv() => due,
        };
        let Some(due) = due else { return };
        let flushed_ms = match &due {
            Due::Watched(watched) => watched.upgrade().map(|watched| watched.use_.last_flush()),
            Due::Catalog(catalog) => catalog.upgrade().map(|catalog| catalog.use_.last_flush()),
        };
        let Some(flushed_ms) = flushed_ms else {
            continue;
        };
        let at_ms = flushed_ms + PACE_MS;
        if clock.steady_ms() >= at_ms {
            due.flush(clock.steady_ms());
        } else {
            // One for each feed at most: it is not due again before it has been flushed.
            let (clock, stopping) = (clock.clone(), stopping.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = clock.sleep_until_steady(at_ms) => due.flush(clock.steady_ms()),
                }
            });
        }
    }
}

impl Use {
    fn last_flush(&self) -> i64 {
        self.flushed_ms.load(Ordering::Relaxed)
    }
}

impl Due {
    fn flush(&self, now_ms: i64) {
        match self {
            Self::Watched(watched) => {
                if let Some(watched) = watched.upgrade() {
                    watched.use_.flushed_ms.store(now_ms, Ordering::Relaxed);
                    watched.flush();
                }
            }
            Self::Catalog(catalog) => {
                if let Some(catalog) = catalog.upgrade() {
                    catalog.use_.flushed_ms.store(now_ms, Ordering::Relaxed);
                    catalog.flush();
                }
            }
        }
    }
}

fn epoch_at(now_ms: i64) -> Epoch {
    Epoch(u64::try_from(now_ms).unwrap_or_default())
}

/// New samples of a selector's series.
#[derive(Debug)]
pub struct WatchPayload {
    epoch: Epoch,
    runs: Vec<SampleRun>,
    held_bytes: usize,
}

/// How a viewer gets them.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchView {
    /// The selector as this viewer wrote it.
    selector: Arc<str>,
    form: Form,
}

impl WatchPayload {
    /// One run for each series, in the order of their first samples.
    fn new(epoch: Epoch, gain: Gain) -> Self {
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
        Self {
            epoch,
            runs,
            held_bytes,
        }
    }
}

impl Payload for WatchPayload {
    type View = WatchView;

    fn encode(&self, offset: u64, view: &WatchView) -> Bytes {
        let message = WatchMessage::Samples {
            selector: view.selector.to_string(),
            epoch: self.epoch.to_string(),
            offset,
            series: self.runs.clone(),
        };
        ws::message(view.form, &message)
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Says which frames are left out; the viewer asks for the stretch again.
    fn merge(_held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &WatchView) -> Bytes {
        let notice = serde_json::json!({
            "type": "merged",
            "match": &*view.selector,
            "offset": last,
            "first_offset": first,
            "last_offset": last,
        });
        ws::message(view.form, &notice)
    }
}

/// Series that came or went.
#[derive(Debug)]
pub struct CatalogPayload(WatchMessage);

impl CatalogPayload {
    fn of(changes: Changes, total: u64, is_own: impl Fn(&str) -> bool) -> Vec<Self> {
        let mut payloads = Vec::new();
        for names in changes.appeared.chunks(NAMED_MAX) {
            payloads.push(Self(WatchMessage::Appeared {
                total,
                series: names.iter().map(|name| info(name, &is_own)).collect(),
            }));
        }
        for names in changes.vanished.chunks(NAMED_MAX) {
            payloads.push(Self(WatchMessage::Vanished {
                total,
                keys: names.iter().map(|name| name.key().to_string()).collect(),
            }));
        }
        if changes.unnamed > 0 {
            payloads.push(Self(WatchMessage::Catalog { total }));
        }
        payloads
    }
}

fn info(name: &SeriesName, is_own: impl Fn(&str) -> bool) -> SeriesInfo {
    let key = name.key();
    let text = key.to_string();
    SeriesInfo {
        own: is_own(&text),
        key: text,
        name: key.name().to_owned(),
        labels: key
            .labels()
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect(),
        unit: name.unit.to_string(),
        kind: name.kind.name().to_owned(),
        state: SeriesState::Live,
        ..SeriesInfo::default()
    }
}

impl Payload for CatalogPayload {
    type View = Form;

    fn encode(&self, _offset: u64, view: &Form) -> Bytes {
        ws::message(*view, &self.0)
    }

    /// How many there are is in the newest; the list has their names.
    fn merge(held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &Form) -> Bytes {
        let total = held.last().map(|frame| match frame.payload().0 {
            WatchMessage::Appeared { total, .. }
            | WatchMessage::Vanished { total, .. }
            | WatchMessage::Catalog { total } => total,
            _ => 0,
        });
        let total = total.unwrap_or_default();
        ws::message(*view, &WatchMessage::Catalog { total })
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching")
            .field("selectors", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.watch.selector)
    }
}

impl fmt::Debug for CatalogFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogFeed({})", self.tenant.name)
    }
}
