//! The tick of several servers: each says what it measured, whoever completes the set makes the
//! tick of it, and all get it back from the bus with its place.
//!
//! ```text
//! t          every server measures and reports; the report that completes the set makes the tick
//! t + 120 ms … + 40 ms × rank   who finds that there is none yet makes it of what was reported
//!            the bus takes the first one of a moment, and gives it an offset
//!            ──▶ journal, window, viewers, engine: the same on every server
//! ```
//!
//! There is no leader: whichever server ends, the next tick comes, a little later at most. A server
//! that cannot reach the others makes its ticks of what it measured itself, under an epoch of its
//! own.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::{FeedKey, FeedSink, Kind, Subscription};
use pulseboard_engine::{DEFAULT_TENANT, Tenant};
use pulseboard_feed::{At, Epoch, Portable, portable};
use pulseboard_series::Batch;
use pulseboard_shared::Labels;
use tokio::sync::watch;

use super::own_rows::keep_rows;
use crate::{
    app::App,
    cluster::{
        Cluster,
        report::{Report, compose},
    },
    storage::journal::State,
    ticks::{
        payload::TickPayload,
        window::{Pushed, Series, Tick, built_in_series},
    },
};

/// The first byte of a tick on the bus: what is of another version is passed over.
const VERSION: u8 = 1;

/// How long the others are waited for, and how much longer by each server after the first.
const WAIT_MS: i64 = 120;
const WAIT_EACH_MS: i64 = 40;

/// Makes ticks together with the other servers, and takes them in.
pub(super) struct SharedTicks {
    app: Arc<App>,
    cluster: Arc<Cluster>,
    key: FeedKey,
    sink: Arc<Sink>,
    /// Processors and bytes of memory of this machine.
    size: (f64, f64),
    _subscription: Subscription,
}

/// Takes in what comes from the bus.
struct Sink {
    app: Weak<App>,
    /// The series of every tick, the same for all.
    series: Arc<[Series]>,
    /// What was pushed under names that viewers here asked for: each server has its own viewers.
    pushed: Mutex<Arc<[Pushed]>>,
    /// Held while a tick is taken in: they come one after the other.
    taking: Mutex<Taking>,
    /// The moment of the newest tick, for whoever tells others of it.
    newest: watch::Sender<Option<Arc<Tick>>>,
}

struct Taking {
    /// What this server's offsets are ahead of those of the bus, in an epoch of its own: there it
    /// goes on behind the ticks that it has.
    ahead: u64,
    /// The moment of the newest tick that the engine has.
    kept_ms: i64,
    tenant: Option<Arc<Tenant>>,
    batch: Batch,
}

impl SharedTicks {
    /// Takes part from now on.
    pub(super) fn begin(app: &Arc<App>, cluster: &Arc<Cluster>) -> Self {
        let errors = Series::new("errors_per_sec", "err/s", Labels::new());
        let series: Arc<[Series]> = built_in_series().chain([errors]).collect();
        app.own.learn(&series);
        let newest = app.live.with_window(|window| window.newest().cloned());
        let sink = Arc::new(Sink {
            app: Arc::downgrade(app),
            series,
            pushed: Mutex::default(),
            taking: Mutex::new(Taking {
                ahead: 0,
                kept_ms: newest.as_ref().map_or(i64::MIN, |tick| tick.sampled_ms),
                tenant: app.storage.engine.tenant(DEFAULT_TENANT).ok(),
                batch: Batch::new(),
            }),
            newest: watch::Sender::new(newest),
        });
        let key = FeedKey::own(Kind::Tick);
        // What a run before this one had goes on where the bus still knows its place.
        let at = app.live.newest();
        let after = (at.offset > 0).then_some((at.epoch, at.offset));
        let bus = cluster.bus();
        let subscription = bus.subscribe_after(key.clone(), after, Arc::clone(&sink) as Arc<_>);
        Self {
            size: pulseboard_host::host::size(),
            app: Arc::clone(app),
            cluster: Arc::clone(cluster),
            key,
            sink,
            _subscription: subscription,
        }
    }

    /// The newest tick, as it changes.
    pub(super) fn newest(&self) -> watch::Receiver<Option<Arc<Tick>>> {
        self.sink.newest.subscribe()
    }

    /// The series that every tick has.
    pub(super) fn series(&self) -> &Arc<[Series]> {
        &self.sink.series
    }

    /// What was pushed, for the ticks that come.
    pub(super) fn set_pushed(&self, pushed: Arc<[Pushed]>) {
        *self.sink.pushed.lock() = pushed;
    }

    /// What this machine may use.
    pub(super) fn size(&self) -> (f64, f64) {
        self.size
    }

    /// Says what was measured at `due_ms`, and sees to it that there is a tick of it.
    pub(super) fn report(&self, due_ms: i64, own: Report) {
        if self.cluster.is_alone() {
            return self.publish(due_ms, &[own]);
        }
        let making = Making {
            app: Arc::clone(&self.app),
            cluster: Arc::clone(&self.cluster),
            key: self.key.clone(),
            newest: self.newest(),
            series: Arc::clone(&self.sink.series),
            due_ms,
        };
        self.app.tasks.spawn(making.make(own));
    }

    /// A source whose figures are nobody's in particular makes them for all.
    pub(super) fn publish(&self, due_ms: i64, reports: &[Report]) {
        let frame = frame_of(&self.sink.series, due_ms, self.app.clock.now_ms(), reports);
        send(&self.cluster, &self.key, due_ms, frame);
    }
}

/// One tick that is being made.
struct Making {
    app: Arc<App>,
    cluster: Arc<Cluster>,
    key: FeedKey,
    newest: watch::Receiver<Option<Arc<Tick>>>,
    series: Arc<[Series]>,
    due_ms: i64,
}

impl Making {
    async fn make(mut self, own: Report) {
        let stopping = self.app.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.run(own) => {}
        }
    }

    async fn run(&mut self, own: Report) {
        let text = own.to_text();
        let asked = self
            .cluster
            .common()
            .report(self.due_ms, text.as_bytes())
            .await;
        let complete = asked
            .as_ref()
            .ok()
            .filter(|said| said.reports.len() >= said.live);
        if let Some(said) = complete {
            return self.publish(&read(&said.reports));
        }
        let rank = self.rank();
        let patience_ms = WAIT_MS + WAIT_EACH_MS * rank - (self.app.clock.now_ms() - self.due_ms);
        if self.comes_within(patience_ms).await {
            return;
        }
        // Once more: others may have said theirs meanwhile.
        let reports = match self
            .cluster
            .common()
            .report(self.due_ms, text.as_bytes())
            .await
        {
            Ok(said) => read(&said.reports),
            Err(error) => {
                tracing::debug!(%error, "what the others measured was not heard");
                // Whoever is reached by nobody is alone soon; then it is told what it has.
                vec![own]
            }
        };
        self.publish(&reports);
    }

    /// Our place among those that live.
    fn rank(&self) -> i64 {
        let view = self.cluster.view();
        let own = self.cluster.member();
        let place = view.live.iter().position(|member| *member.id == **own);
        i64::try_from(place.unwrap_or(view.live.len())).unwrap_or_default()
    }

    /// Whether the tick comes within so long.
    async fn comes_within(&mut self, patience_ms: i64) -> bool {
        let due_ms = self.due_ms;
        let is_there = |newest: &Option<Arc<Tick>>| {
            newest
                .as_ref()
                .is_some_and(|tick| tick.sampled_ms >= due_ms)
        };
        let patience = Duration::from_millis(u64::try_from(patience_ms).unwrap_or_default());
        tokio::time::timeout(patience, self.newest.wait_for(is_there))
            .await
            .is_ok()
    }

    fn publish(&self, reports: &[Report]) {
        let frame = frame_of(&self.series, self.due_ms, self.app.clock.now_ms(), reports);
        send(&self.cluster, &self.key, self.due_ms, frame);
    }
}

fn read(reports: &[(String, Bytes)]) -> Vec<Report> {
    let read = reports.iter().filter_map(|(who, text)| {
        let report = Report::from_text(text);
        if report.is_none() {
            tracing::debug!(who, "what a server measured cannot be read");
        }
        report
    });
    read.collect()
}

fn frame_of(series: &Arc<[Series]>, due_ms: i64, sent_ms: i64, reports: &[Report]) -> Bytes {
    let (figures, errors) = compose(reports);
    let tick = Tick {
        sampled_ms: due_ms,
        sent_ms,
        series: Arc::clone(series),
        values: figures.into_iter().chain([errors]).collect(),
        pushed: Arc::default(),
    };
    portable::versioned(VERSION, &TickPayload(Arc::new(tick)).to_bytes())
}

fn send(cluster: &Cluster, key: &FeedKey, due_ms: i64, frame: Bytes) {
    let once = u64::try_from(due_ms).ok();
    if let Err(refused) = cluster.bus().publish(key, once, frame) {
        tracing::warn!(%refused, "a tick was not sent to the other servers");
    }
}

impl Sink {
    /// The tick in a frame. One that cannot be read has its place all the same, without figures.
    fn read(&self, frame: &Bytes) -> Tick {
        let form = portable::of_version(VERSION, frame);
        let read = form.and_then(|form| TickPayload::from_bytes(form).ok());
        let tick = read.map(|payload| Arc::unwrap_or_clone(payload.0));
        let Some(tick) = tick.filter(|tick| tick.series.len() == tick.values.len()) else {
            tracing::warn!("a tick of another server cannot be read here");
            let newest = self
                .newest
                .borrow()
                .as_ref()
                .map_or(0, |tick| tick.sampled_ms);
            return Tick {
                sampled_ms: newest,
                sent_ms: newest,
                series: Arc::clone(&self.series),
                values: vec![f64::NAN; self.series.len()].into(),
                pushed: Arc::default(),
            };
        };
        // One list of series for all ticks, not one each.
        let is_usual = *tick.series == *self.series;
        Tick {
            series: if is_usual {
                Arc::clone(&self.series)
            } else {
                tick.series
            },
            ..tick
        }
    }

    fn keep(&self, app: &App, taking: &mut Taking, tick: &Tick) {
        if tick.sampled_ms <= taking.kept_ms {
            return;
        }
        taking.kept_ms = tick.sampled_ms;
        if let Some(tenant) = &taking.tenant {
            let rows = tick.series.iter().zip(tick.values.iter().copied());
            keep_rows(app, tenant, &mut taking.batch, tick.sampled_ms, rows);
        }
    }

    fn told(&self, app: &App, tick: Option<Arc<Tick>>) {
        app.telemetry
            .ticked_ms
            .store(app.clock.steady_ms(), std::sync::atomic::Ordering::Relaxed);
        if tick.is_some() {
            self.newest.send_replace(tick);
        }
    }
}

impl FeedSink for Sink {
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
        let Some(app) = self.app.upgrade() else {
            return;
        };
        let mut taking = self.taking.lock();
        let tick = Tick {
            pushed: Arc::clone(&self.pushed.lock()),
            ..self.read(&frame)
        };
        let at = At {
            epoch,
            offset: offset + taking.ahead,
        };
        let publish = |tick: Tick| {
            let tick = Arc::new(tick);
            let is_new = app.live.publish_at(at, Arc::clone(&tick));
            (is_new, tick)
        };
        // On its way to the disk before anybody sees it, as on one server.
        let (is_new, tick) = match &app.storage.journal {
            Some(journal) => journal.tick(at.offset, tick, app.operator.totals(), publish),
            None => publish(tick),
        };
        if !is_new {
            tracing::error!(%epoch, offset, "a tick does not follow on the one before it");
            return;
        }
        self.keep(&app, &mut taking, &tick);
        drop(taking);
        app.telemetry.ticks.inc();
        app.operator.tell_tick_at(at);
        self.told(&app, Some(tick));
    }

    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
        let Some(app) = self.app.upgrade() else {
            return;
        };
        let mut taking = self.taking.lock();
        taking.ahead = 0;
        let ticks: Vec<Arc<Tick>> = frames
            .iter()
            .map(|frame| Arc::new(self.read(frame)))
            .collect();
        self.begin_anew(&app, epoch, first_offset, ticks.clone());
        for tick in &ticks {
            self.keep(&app, &mut taking, tick);
        }
        drop(taking);
        self.told(&app, ticks.last().cloned());
    }

    /// What is known goes on under the own epoch, and the ticks that come behind it.
    fn reset_alone(&self, epoch: Epoch, first_offset: u64) {
        let Some(app) = self.app.upgrade() else {
            return;
        };
        let mut taking = self.taking.lock();
        let (held, newest) = app.live.with_window(|window| {
            let held: Vec<Arc<Tick>> = window.ticks().cloned().collect();
            (held, window.newest_offset())
        });
        taking.ahead = (newest + 1).saturating_sub(first_offset);
        let first = (newest + 1).saturating_sub(held.len() as u64);
        self.begin_anew(&app, epoch, first, held);
    }
}

impl Sink {
    fn begin_anew(&self, app: &App, epoch: Epoch, first: u64, ticks: Vec<Arc<Tick>>) {
        let newest_offset = (first + ticks.len() as u64).saturating_sub(1);
        let next = newest_offset + 1;
        let size = app.live.with_window(|window| window.capacity());
        let state = State {
            ticks: ticks[ticks.len().saturating_sub(size)..].to_vec(),
            newest_offset,
            totals: app.operator.totals(),
            alerts: app.alerts.held(),
            active: Vec::new(),
        };
        let publish = || {
            app.live.reset(epoch, first, ticks);
            app.operator.begin_anew(epoch, next);
        };
        match &app.storage.journal {
            Some(journal) => journal.restart(epoch, state, publish),
            None => publish(),
        }
    }
}

impl fmt::Debug for SharedTicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTicks")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
