//! Live queries: a feed for each selector that somebody watches, and one for each tenant's series
//! that come and go (see `pulseboard_shared::protocol::watch`).
//!
//! ```text
//! engine ──gathers──▶ SeriesTap ──wakes──▶ flusher ──▶ feed ──▶ cursors of all who watch the same
//! ```
//!
//! What is appended in one stretch of [`PACE_MS`] is one frame, the first of them at once: a lone
//! sample is on every page within milliseconds, and a thousand bodies a second are twenty frames.
//!
//! Who watches what, and the bytes of compiled patterns that this takes, is shared out
//! ([`crate::shares`]). A feed is entered under the map's lock, and its series are found outside of
//! it. One that was never written to goes with its last viewer; one that was stays for a minute, at
//! the expense of whoever left last.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_engine::{
    Cancel, Catalog, Changes, Cost, Engine, Gain, Selector, SeriesName, SeriesTap, Spent, Tenant,
    tap::{TAPPED_SERIES_MAX, TapRefused},
    tenant::TENANTS_MAX,
};
use pulseboard_feed::{
    Bounds, Epoch, Fanout, Feed, Frame, MemberGuard, Payload, Subscriber, Subscription, wire::ws,
};
use pulseboard_series::is_stale_marker;
use pulseboard_shared::{
    codec::Encoding,
    protocol::{
        series::{SeriesInfo, SeriesState},
        watch::{SampleRun, WatchMessage},
    },
};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    base::{
        clock::Clock,
        telemetry::{Limit, Telemetry},
    },
    shares::{CallerKeys, Refused, Share, ShareLimits, Shares},
    ticks::builtin_series::OwnSeries,
};

/// Selectors watched at once, each by each of its viewers and once more while it is kept for who
/// comes back; a further one is refused.
pub const WATCHED_MAX: usize = 4_096;

/// Of these, by one connection.
pub const WATCHED_PER_CLIENT_MAX: usize = 32;

/// Bytes of the compiled patterns of all of them, counted for each viewer.
const PATTERN_BYTES_MAX: usize = 16 << 20;

/// Of these, of one connection: what four selectors may have.
const PATTERN_BYTES_PER_CLIENT_MAX: usize = 256 * 1024;

/// Catalogs that somebody follows, or did until lately: one for each tenant. A further one is
/// refused.
const CATALOGS_MAX: usize = 4_096;

/// Of these, made by one connection, which speaks for one tenant.
const CATALOGS_PER_CLIENT_MAX: usize = 2;

/// Looks at what appeared are given up after this, and go on after others'.
const SEATING_TIME: Duration = Duration::from_millis(250);

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
pub struct LiveQueries {
    engine: Arc<Engine>,
    own: Arc<OwnSeries>,
    clock: Clock,
    fanout: Fanout,
    watched: Arc<Map>,
    /// Who watches how many selectors, and with how many bytes of compiled patterns.
    selectors: Arc<Shares>,
    pattern_bytes: Arc<Shares>,
    /// By tenant.
    catalogs: Mutex<HashMap<Box<str>, Arc<CatalogFeed>>>,
    /// Who has had how many of them made.
    catalog_shares: Arc<Shares>,
    next_id: AtomicU64,
    /// To the flusher: at most one entry for each feed is on its way.
    due: mpsc::Sender<Due>,
}

/// A tenant and a canonical selector.
type LiveQueryKey = (Box<str>, String);

/// By tenant and canonical selector. Leaf lock, held for look-ups.
type Map = Mutex<HashMap<LiveQueryKey, Arc<LiveQuery>>>;

/// What the flusher is to look at.
#[derive(Debug)]
pub enum Due {
    /// A selector's feed.
    LiveQuery(Weak<LiveQuery>),
    /// A tenant's catalog.
    Catalog(Weak<CatalogFeed>),
}

/// One selector's feed.
pub struct LiveQuery {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    key: LiveQueryKey,
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    tap: Arc<SeriesTap>,
    /// Whether its series have been found.
    is_seated: AtomicBool,
    feed: Arc<Feed<WatchPayload>>,
    use_: Use,
    /// What it takes while it is kept for nobody; leaf lock.
    kept_by: Mutex<Vec<Share>>,
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
    _share: Share,
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

/// A viewer's place at a selector's feed; leaving is dropping it.
pub struct LiveQueryGuard {
    /// Names the viewer's cursor.
    pub id: u64,
    /// The feed.
    pub watched: Arc<LiveQuery>,
    map: Arc<Map>,
    clock: Clock,
    shares: Vec<Share>,
    seat: Option<MemberGuard>,
}

/// A viewer's place at a catalog; leaving is dropping it.
#[derive(Debug)]
pub struct CatalogPlace {
    catalog: Arc<CatalogFeed>,
    clock: Clock,
    _seat: MemberGuard,
}

impl Drop for LiveQueryGuard {
    fn drop(&mut self) {
        self.seat = None;
        let watched = &self.watched;
        let mut map = self.map.lock();
        watched
            .use_
            .left_ms
            .store(self.clock.steady_ms(), Ordering::SeqCst);
        if watched.use_.members.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        if watched.is_seated.load(Ordering::SeqCst) && watched.is_written() {
            *watched.kept_by.lock() = std::mem::take(&mut self.shares);
            return;
        }
        let is_it = map
            .get(&watched.key)
            .is_some_and(|known| Arc::ptr_eq(known, watched));
        if is_it {
            map.remove(&watched.key);
        }
        drop(map);
        watched.engine.untap(&watched.tenant, &watched.tap);
    }
}

impl Drop for CatalogPlace {
    fn drop(&mut self) {
        let use_ = &self.catalog.use_;
        use_.left_ms.store(self.clock.steady_ms(), Ordering::SeqCst);
        use_.members.fetch_sub(1, Ordering::SeqCst);
    }
}

impl LiveQueryGuard {
    /// Has the viewer told of what comes.
    pub fn sit(&mut self, viewer: Arc<dyn Subscriber>) {
        self.seat = Some(self.watched.feed.members().join(viewer));
    }
}

/// Why a selector cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It names too many series.
    #[error("The selector names {0} series; at most {TAPPED_SERIES_MAX} can be watched together")]
    Series(u64),
    /// Its watcher, or somebody whom it is part of, watches too many.
    #[error(transparent)]
    Share(#[from] Refused),
    /// Finding its series took too long or too much memory, or nobody waits for it.
    #[error("The selector's series could not be found: {0}")]
    Spent(#[from] Spent),
}

impl LiveQueries {
    /// Nothing watched yet; the receiver is for [`flush`].
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        own: Arc<OwnSeries>,
        clock: Clock,
        fanout: &Fanout,
        telemetry: &Arc<Telemetry>,
    ) -> (Self, mpsc::Receiver<Due>) {
        let (due, dues) = mpsc::channel(DUES_MAX);
        let shares =
            |what, limits| Shares::new(what, |_| Limit::Watches, limits, Arc::clone(telemetry));
        let selectors = ShareLimits::of(WATCHED_MAX).each_client(WATCHED_PER_CLIENT_MAX);
        let bytes = ShareLimits::of(PATTERN_BYTES_MAX).each_client(PATTERN_BYTES_PER_CLIENT_MAX);
        let live_queries = Self {
            engine,
            own,
            clock,
            fanout: fanout.clone(),
            watched: Arc::default(),
            selectors: shares("watched selectors", selectors),
            pattern_bytes: shares("bytes of watched patterns", bytes),
            catalogs: Mutex::default(),
            catalog_shares: Shares::new(
                "lists of series",
                |_| Limit::Catalogs,
                ShareLimits::of(CATALOGS_MAX).each_client(CATALOGS_PER_CLIENT_MAX),
                Arc::clone(telemetry),
            ),
            // Rooms count from one; these share a viewer with them.
            next_id: AtomicU64::new(1 << 32),
            due,
        };
        (live_queries, dues)
    }

    /// A share of what may be watched, for one selector.
    ///
    /// # Errors
    /// There is none left for its watcher.
    pub fn share(&self, keys: &CallerKeys) -> Result<Share, Refused> {
        self.selectors.acquire(keys, 1)
    }

    /// A place at the feed of a selector, which is made where nobody watches it yet. Blocks while
    /// its series are found.
    ///
    /// # Errors
    /// It names too many series, its patterns are past somebody's share, or finding them takes too much.
    pub fn enter(
        &self,
        tenant: &Arc<Tenant>,
        selector: &Selector,
        keys: &CallerKeys,
        share: Share,
        cost: &Cost,
    ) -> Result<LiveQueryGuard, WatchError> {
        let patterns = self
            .pattern_bytes
            .acquire(keys, selector.compiled_bytes())?;
        let key = (tenant.name.clone(), selector.to_string());
        let watched = {
            let mut map = self.watched.lock();
            let watched = match map.get(&key) {
                Some(known) => Arc::clone(known),
                None => {
                    let made = self.make(tenant, selector, key.clone());
                    map.insert(key, Arc::clone(&made));
                    made
                }
            };
            watched.use_.members.fetch_add(1, Ordering::SeqCst);
            watched
        };
        // From here on whatever goes wrong is undone by leaving.
        let place = LiveQueryGuard {
            id: watched.id,
            map: Arc::clone(&self.watched),
            clock: self.clock.clone(),
            shares: vec![share, patterns],
            seat: None,
            watched,
        };
        let watched = &place.watched;
        watched.kept_by.lock().clear();
        // Two who come at once may both look for the series: each is seated once.
        if !watched.is_seated.load(Ordering::SeqCst) {
            let seated = self.engine.tap(tenant, &watched.tap, cost);
            seated.map_err(|refused| match refused {
                TapRefused::Series(series) => WatchError::Series(series),
                TapRefused::Spent(spent) => WatchError::Spent(spent),
            })?;
            watched.is_seated.store(true, Ordering::SeqCst);
        }
        Ok(place)
    }

    fn make(&self, tenant: &Arc<Tenant>, selector: &Selector, key: LiveQueryKey) -> Arc<LiveQuery> {
        let now_ms = self.clock.now_ms();
        Arc::new_cyclic(|weak: &Weak<LiveQuery>| {
            let (weak, due) = (Weak::clone(weak), self.due.clone());
            let wake = move || {
                // There is room for all feeds; without a flusher the server is stopping.
                drop(due.try_send(Due::LiveQuery(Weak::clone(&weak))));
            };
            LiveQuery {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                key,
                engine: Arc::clone(&self.engine),
                tenant: Arc::clone(tenant),
                tap: Arc::new(SeriesTap::new(selector.clone(), Box::new(wake))),
                is_seated: AtomicBool::new(false),
                feed: Feed::of_tenant(&tenant.name, epoch_at(now_ms), WATCH_LOG, &self.fanout),
                use_: Use::new(now_ms),
                kept_by: Mutex::default(),
                flushing: Mutex::default(),
            }
        })
    }

    /// The feed of a tenant's series that come and go; it counts for whoever asked first.
    ///
    /// # Errors
    /// It would be made, and there is none left for whoever asks.
    pub fn catalog(
        &self,
        tenant: &Arc<Tenant>,
        keys: &CallerKeys,
    ) -> Result<Arc<CatalogFeed>, Refused> {
        let mut catalogs = self.catalogs.lock();
        if let Some(known) = catalogs.get(&tenant.name) {
            return Ok(Arc::clone(known));
        }
        // It is its tenant's alone, so that no tenant can have too many.
        let maker = CallerKeys {
            tenant: None,
            ..keys.clone()
        };
        let share = self.catalog_shares.acquire(&maker, 1)?;
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
                feed: Feed::of_tenant(&tenant.name, epoch_at(now_ms), WATCH_LOG, &self.fanout),
                use_: Use::new(now_ms),
                _share: share,
            }
        });
        self.engine
            .tell_catalog(tenant, Some(Arc::clone(&made.catalog)));
        catalogs.insert(tenant.name.clone(), Arc::clone(&made));
        Ok(made)
    }

    /// A viewer's place at a catalog.
    #[must_use]
    pub fn seat_at_catalog(
        &self,
        catalog: Arc<CatalogFeed>,
        viewer: Arc<dyn Subscriber>,
    ) -> CatalogPlace {
        catalog.use_.members.fetch_add(1, Ordering::SeqCst);
        CatalogPlace {
            _seat: catalog.feed.members().join(viewer),
            catalog,
            clock: self.clock.clone(),
        }
    }

    /// Ends what nobody has watched for a while; called about once a second. Ending a watch costs
    /// its own series alone.
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
            self.engine.untap(&watched.tenant, &watched.tap);
        }
        self.catalogs.lock().retain(|_, catalog| {
            let is_over = catalog.use_.is_over(now_ms);
            if is_over {
                self.engine.tell_catalog(&catalog.tenant, None);
            }
            !is_over
        });
    }

    /// Bytes that the logs of all feeds that callers have made hold.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.fanout.ledgers().bytes()
    }

    /// Bytes of the patterns of what is watched now, counted for each viewer.
    #[must_use]
    pub fn pattern_bytes(&self) -> usize {
        self.pattern_bytes.taken()
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

impl LiveQuery {
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
        form: Encoding,
        viewer: u64,
    ) -> Subscription<WatchPayload> {
        let view = WatchView {
            selector: selector.into(),
            form,
        };
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
    }

    /// Whether a frame was ever made.
    fn is_written(&self) -> bool {
        self.feed.with_log(|log| log.next_offset() > 1)
    }

    /// Whether series appeared that are still to be compared with the selector.
    fn has_newcomers(&self) -> bool {
        self.tap.has_newcomers()
    }

    /// Compares what appeared with the selector, for a bounded time. Blocks.
    fn attach_newcomers(&self) {
        let cost = Cost::new(SEATING_TIME, u64::MAX, Cancel::default());
        let seated = self.engine.attach_newcomers(&self.tenant, &self.tap, &cost);
        if seated.is_err() {
            tracing::debug!(selector = %self.tap.selector, "series that appeared wait to be watched");
        }
    }

    /// Makes a frame of what has been gathered.
    fn flush(&self) {
        let _flushing = self.flushing.lock();
        let gain = self.tap.take();
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
            self.feed.append(WatchPayload::new(self.feed.epoch(), gain));
        }
    }
}

impl CatalogFeed {
    /// A cursor for a viewer, for what comes and goes from now on.
    #[must_use]
    pub fn cursor(&self, form: Encoding, viewer: u64) -> Subscription<CatalogPayload> {
        let next = self.feed.with_log(|log| log.next_offset());
        let view = CatalogView {
            form,
            tenant: Arc::clone(&self.tenant),
        };
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
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
    // One after the other, in the order in which they were due: however dear a selector is, it
    // takes one core, and others have their turn between.
    let seating = Arc::new(Semaphore::new(1));
    loop {
        let due = tokio::select! {
            () = stopping.cancelled() => return,
            due = dues.recv() => due,
        };
        let Some(due) = due else { return };
        let flushed_ms = match &due {
            Due::LiveQuery(watched) => watched.upgrade().map(|watched| watched.use_.last_flush()),
            Due::Catalog(catalog) => catalog.upgrade().map(|catalog| catalog.use_.last_flush()),
        };
        let Some(flushed_ms) = flushed_ms else {
            continue;
        };
        let at_ms = flushed_ms + PACE_MS;
        if clock.steady_ms() >= at_ms && !due.is_dear() {
            due.flush(clock.steady_ms());
        } else {
            // One for each feed at most: it is not due again before it has been flushed.
            let (clock, stopping) = (clock.clone(), stopping.clone());
            let seating = Arc::clone(&seating);
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = clock.sleep_until_steady(at_ms) => {}
                }
                if !due.is_dear() {
                    return due.flush(clock.steady_ms());
                }
                // Never closed.
                let turn = seating.acquire_owned().await;
                let seat = move || {
                    due.attach_newcomers();
                    due.flush(clock.steady_ms());
                    drop(turn);
                };
                if let Err(error) = tokio::task::spawn_blocking(seat).await {
                    tracing::error!(%error, "comparing new series with a selector panicked");
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
    /// Whether flushing it takes comparing series first, which may take long.
    fn is_dear(&self) -> bool {
        match self {
            Self::LiveQuery(watched) => watched
                .upgrade()
                .is_some_and(|watched| watched.has_newcomers()),
            Self::Catalog(_) => false,
        }
    }

    fn attach_newcomers(&self) {
        if let Self::LiveQuery(watched) = self
            && let Some(watched) = watched.upgrade()
        {
            watched.attach_newcomers();
        }
    }

    fn flush(&self, now_ms: i64) {
        match self {
            Self::LiveQuery(watched) => {
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
    form: Encoding,
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

/// How a viewer gets what comes and goes.
#[derive(Clone, Debug)]
pub struct CatalogView {
    form: Encoding,
    /// Whose series they are.
    tenant: Arc<Tenant>,
}

impl PartialEq for CatalogView {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form && Arc::ptr_eq(&self.tenant, &other.tenant)
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
    type View = CatalogView;

    fn encode(&self, _offset: u64, view: &CatalogView) -> Bytes {
        ws::message(view.form, &self.0)
    }

    fn held_bytes(&self) -> usize {
        match &self.0 {
            WatchMessage::Appeared { series, .. } => {
                let bytes = |info: &SeriesInfo| 2 * info.key.len() + size_of::<SeriesInfo>();
                series.iter().map(bytes).sum()
            }
            WatchMessage::Vanished { keys, .. } => {
                keys.iter().map(|key| key.len() + size_of::<String>()).sum()
            }
            _ => 0,
        }
    }

    /// How many there are; the list has their names.
    fn merge(_held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &CatalogView) -> Bytes {
        let total = view.tenant.counts().series;
        ws::message(view.form, &WatchMessage::Catalog { total })
    }
}

impl fmt::Debug for LiveQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveQueries")
            .field("selectors", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LiveQueryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveQueryGuard({:?})", self.watched)
    }
}

impl fmt::Debug for LiveQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveQuery({})", self.tap.selector)
    }
}

impl fmt::Debug for CatalogFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CatalogFeed({})", self.tenant.name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use pulseboard_engine::EngineOptions;

    use super::*;

    #[tokio::test]
    async fn catalogs_count_for_who_had_them_made_and_others_can_have_theirs() {
        let telemetry = Arc::new(Telemetry::default());
        let fanout = Fanout::start(1, &telemetry.feed).expect("a thread");
        let engine = Arc::new(Engine::new(EngineOptions::default(), None));
        let (live_queries, _dues) = LiveQueries::new(
            Arc::clone(&engine),
            Arc::default(),
            Clock::manual(1_000),
            &fanout,
            &telemetry,
        );
        let keys = |client: u64, address: u8| CallerKeys {
            client: Some(client),
            address: Some(IpAddr::from([192, 0, 2, address])),
            token: None,
            tenant: Some("t".into()),
        };
        let ask = |client: u64, address: u8, tenant: usize| {
            let tenant = engine.tenant(&format!("t{tenant}")).expect("a tenant");
            live_queries
                .catalog(&tenant, &keys(client, address))
                .map(|_| ())
        };
        let made = (0..CATALOGS_MAX)
            .take_while(|&number| ask(number as u64, 1, number).is_ok())
            .count();
        assert_eq!(made, CATALOGS_MAX / 2, "of one address without a token");
        assert!(telemetry.text().contains("{limit=\"catalogs\"} 1\n"));
        assert_eq!(ask(9_999, 1, 0), Ok(()), "one that is there costs nothing");
        assert_eq!(ask(9_999, 2, CATALOGS_MAX), Ok(()), "others have theirs");
        for number in 1..CATALOGS_PER_CLIENT_MAX {
            assert_eq!(ask(9_999, 2, CATALOGS_MAX + number), Ok(()));
        }
        assert!(ask(9_999, 2, 2 * CATALOGS_MAX).is_err(), "past its own");
        // Those that nobody follows go, and their shares with them.
        live_queries.sweep(1_000 + UNWATCHED_KEPT_MS);
        assert_eq!(live_queries.catalog_shares.taken(), 0);
        assert_eq!(ask(1, 1, CATALOGS_MAX - 1), Ok(()));
    }
}
