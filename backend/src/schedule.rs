//! Periodic work, aligned to the wall clock: the tick of the built-in source, and the sweep that
//! keeps the streams' deadlines. Late work is skipped and counted, never piled up.

mod admitting;
mod alike;
mod common;
mod counting;
mod node;
mod own_rows;
mod pace;
mod pushed;
mod shared;

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use pulseboard_bus::{Spread, Work};
use pulseboard_engine::{DEFAULT_TENANT, Tenant};
use pulseboard_host::{Source, Traffic};
use pulseboard_outbound::Secret;
use pulseboard_receivers::Heartbeat;
use pulseboard_series::Batch;
use pulseboard_shared::{BUILT_IN, BuiltIn};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::{
    admitting::{keep_credentials, keep_limits, keep_links},
    alike::{hear_alerts, keep_alike},
    common::keep_common,
    counting::keep_counting,
    node::{keep_node, keep_processes},
};
use self::{
    own_rows::keep_rows,
    pace::{Pace, every, next_aligned},
    pushed::PushedSamples,
    shared::SharedTicks,
};
use crate::{
    alerts::OwnTick,
    app::App,
    base::{aside::Aside, telemetry::RequestTotals},
    cluster::report::Report,
    settings::SourceKind,
    storage::MAINTENANCE_MS,
    ticks::{
        builtin_series,
        window::{Series, Tick, built_in_series},
    },
    tracking::track::Item,
};

/// How often deadlines are looked at.
const SWEEP_MS: i64 = 1_000;

/// Rounds of maintenance that somebody waits for are so far apart at least.
const MAINTENANCE_APART_MS: i64 = 500;

/// A first tick comes at once where the next aligned moment is further away than this, so that a
/// page opened right after the start has figures.
const FIRST_TICK_WITHIN_MS: i64 = 400;

/// Owns the built-in source; the one task that publishes ticks.
pub struct Ticker {
    app: Arc<App>,
    source: Box<dyn Source>,
    /// Whose series the host's are; held, so that it is there before its first sample.
    tenant: Option<Arc<Tenant>>,
    /// What was answered up to the last tick, and when that was, by the steady clock.
    answered: (RequestTotals, i64),
    /// The series of the last tick, kept as long as the same things are measured.
    series: Arc<[Series]>,
    /// The same as they are kept.
    measured: Arc<[Series]>,
    /// What a tick is handed to the engine in.
    batch: Batch,
    /// Finds what was pushed and is subscribed to.
    pushed: PushedSamples,
    /// Where several servers have one tick.
    shared: Option<SharedTicks>,
    /// A source that all have alike has one server make the figures.
    made_up: Option<Arc<Work>>,
}

impl Ticker {
    /// A ticker over `source`.
    #[must_use]
    pub fn new(app: Arc<App>, source: Box<dyn Source>) -> Self {
        let answered = (app.telemetry.answered(), app.clock.steady_ms());
        let series: Arc<[Series]> = built_in_series().collect();
        app.own.learn(&series);
        let tenant = app.storage.engine.tenant(DEFAULT_TENANT).ok();
        if let Some(tenant) = &tenant {
            builtin_series::reserve(&app.storage.engine, tenant, series.iter());
        }
        let cluster = app.cluster.as_ref();
        let shared = cluster.map(|cluster| SharedTicks::begin(&app, cluster));
        let is_made_up = app.settings.metric_source == SourceKind::Simulator;
        let made_up = cluster
            .filter(|_| is_made_up)
            .map(|cluster| cluster.bus().leases().work("sim", Spread::One));
        Self {
            app,
            source,
            tenant,
            answered,
            measured: Arc::clone(&series),
            series,
            batch: Batch::new(),
            pushed: PushedSamples::default(),
            shared,
            made_up,
        }
    }

    /// Ticks until the server stops.
    pub async fn run(mut self, interval: Duration, stopping: CancellationToken) {
        let interval_ms = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .max(1);
        let app = Arc::clone(&self.app);
        if let Some(shared) = &self.shared {
            let telling = tell_shared_ticks(Arc::clone(&app), shared.newest(), stopping.clone());
            app.tasks.spawn(telling);
        }
        let now_ms = app.clock.now_ms();
        // Moments that all servers have alike are the aligned ones.
        if self.shared.is_none()
            && next_aligned(now_ms, interval_ms) - now_ms > FIRST_TICK_WITHIN_MS
        {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = app.clock.sleep_until(now_ms + FIRST_TICK_WITHIN_MS / 2) => {}
            }
            self.tick(app.clock.now_ms()).await;
        }
        let mut pace = Pace::new(&app.clock, interval_ms, &stopping);
        while let Some((due_ms, skipped)) = pace.next().await {
            app.telemetry.ticks_skipped.inc_by(skipped);
            self.tick(due_ms).await;
        }
    }

    /// Measures, publishes, and lets the rules look.
    async fn tick(&mut self, due_ms: i64) {
        let app = Arc::clone(&self.app);
        let now_ms = app.clock.now_ms();
        let in_tick = self
            .shared
            .as_ref()
            .map_or(&self.series, SharedTicks::series);
        self.pushed.begin(&app, in_tick, now_ms);
        let answered = app.telemetry.answered();
        let steady_ms = app.clock.steady_ms();
        let (before, since_ms) = std::mem::replace(&mut self.answered, (answered, steady_ms));
        let traffic = Traffic {
            requests: answered.requests - before.requests,
            errors: answered.errors - before.errors,
            latency_sum: answered.latency.saturating_sub(before.latency),
            elapsed: Duration::from_millis((steady_ms - since_ms).max(1).unsigned_abs()),
        };
        let reading = self.source.read(traffic);
        let is_ours = self
            .made_up
            .as_ref()
            .is_none_or(|work| work.token_of_one().is_some() || app.is_alone());
        if let Some((requests, errors)) = reading.totals.filter(|_| is_ours) {
            app.operator.add(requests, errors);
        }

        let mut values = Vec::with_capacity(BUILT_IN.len() + reading.extras.len());
        values.extend(BUILT_IN.map(|metric| match metric {
            BuiltIn::Cpu => reading.cpu,
            BuiltIn::Memory => reading.memory,
            BuiltIn::Requests => reading.requests,
            BuiltIn::Latency => reading.latency,
        }));
        values.extend(reading.extras.iter().map(|extra| extra.value));
        let known = &self.series[BUILT_IN.len()..];
        let same = known.len() == reading.extras.len()
            && known.iter().zip(&reading.extras).all(|(series, extra)| {
                *series.name == *extra.name
                    && *series.unit == *extra.unit
                    && series.labels == extra.labels
            });
        if !same {
            let extras = reading
                .extras
                .iter()
                .map(|extra| Series::new(&extra.name, &extra.unit, extra.labels.clone()));
            self.series = built_in_series().chain(extras).collect();
            let measured = self.measured();
            app.own.learn(&measured);
            if let Some(tenant) = &self.tenant {
                let known = if self.shared.is_some() {
                    0
                } else {
                    BUILT_IN.len()
                };
                let rows = builtin_series::rows_of(measured[known..].iter());
                let engine = &app.storage.engine;
                app.own.take_over(engine, tenant, &rows, due_ms.min(now_ms));
            }
            self.measured = measured;
        }
        let pushed = self.pushed.newest(&app).await;
        if let Some(shared) = &self.shared {
            shared.set_pushed(pushed);
            let report = Report::of(&reading, &traffic, shared.size());
            match self.made_up.is_some() {
                true if is_ours => shared.publish(due_ms, &[report]),
                true => return,
                false => shared.report(due_ms, report),
            }
            self.take_own(due_ms, values.into());
            return;
        }
        let tick = Tick {
            sampled_ms: due_ms,
            sent_ms: app.clock.now_ms(),
            series: Arc::clone(&self.series),
            values: values.into(),
            pushed,
        };
        // On its way to the disk before anybody sees it: after a crash its offset is not given out
        // again.
        let tick = match &app.storage.journal {
            Some(journal) => {
                let offset = app.live.with_window(|window| window.newest_offset()) + 1;
                let totals = app.operator.totals();
                journal.tick(offset, tick, totals, |tick| app.live.publish(tick))
            }
            None => app.live.publish(tick),
        };
        if let Some(tenant) = &self.tenant {
            let rows = tick.series.iter().zip(tick.values.iter().copied());
            keep_rows(&app, tenant, &mut self.batch, tick.sampled_ms, rows);
        }
        app.telemetry.ticks.inc();
        app.telemetry.ticked_ms.store(steady_ms, Ordering::Relaxed);
        app.operator.tell_tick();
        tell_rooms(&app, &tick);
        app.alerts.observe(&OwnTick {
            tick: &tick,
            instance: None,
        });
        app.rules.write_fast(tick.sampled_ms);
    }

    /// This machine's series as they are kept: among several servers each says whose they are.
    fn measured(&self) -> Arc<[Series]> {
        let Some(cluster) = &self.app.cluster else {
            return Arc::clone(&self.series);
        };
        let labelled = self.series.iter().map(|series| {
            let mut labels = series.labels.clone();
            labels.insert(INSTANCE.to_owned(), cluster.instance().to_owned());
            Series::new(&series.name, &series.unit, labels)
        });
        labelled.collect()
    }

    /// Keeps what this machine measured beside the service's tick, and lets the rules look at it: a
    /// machine that is hot does not hide behind the others.
    fn take_own(&mut self, due_ms: i64, values: Box<[f64]>) {
        let app = Arc::clone(&self.app);
        let is_measured = self.made_up.is_none();
        if let Some(tenant) = self.tenant.as_ref().filter(|_| is_measured) {
            let rows = self.measured.iter().zip(values.iter().copied());
            keep_rows(&app, tenant, &mut self.batch, due_ms, rows);
        }
        let tick = Tick {
            sampled_ms: due_ms,
            sent_ms: app.clock.now_ms(),
            series: Arc::clone(&self.series),
            values,
            pushed: Arc::default(),
        };
        let cluster = app.cluster.as_ref();
        // Where there is one, it need not be said which.
        let several = cluster.filter(|cluster| is_measured && cluster.view().count() > 1);
        app.alerts.observe(&OwnTick {
            tick: &tick,
            instance: several.map(|cluster| cluster.instance()),
        });
        app.rules.write_fast(due_ms);
    }
}

/// The label that says whose figures they are.
const INSTANCE: &str = "instance";

/// Says in rooms what a tick is.
fn tell_rooms(app: &App, tick: &Tick) {
    let stats = app.live.with_window(|window| window.stats());
    let rooms = &app.rooms;
    rooms.tell_tick(tick.sampled_ms, stats, || operations_figures(tick));
}

/// Tells rooms of every tick that comes from the bus.
async fn tell_shared_ticks(
    app: Arc<App>,
    mut newest: watch::Receiver<Option<Arc<Tick>>>,
    stopping: CancellationToken,
) {
    // What was there before is told already.
    newest.mark_unchanged();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
        let tick = newest.borrow_and_update().clone();
        if let Some(tick) = tick {
            tell_rooms(&app, &tick);
        }
    }
}

/// What `operations` is told at each tick; a figure that could not be measured is 0 there.
fn operations_figures(tick: &Tick) -> serde_json::Value {
    let figure = |metric: BuiltIn, max: f64| {
        let value = tick.built_in(metric);
        if value.is_finite() {
            value.clamp(0.0, max)
        } else {
            0.0
        }
    };
    let errors = tick
        .series
        .iter()
        .zip(&tick.values)
        .find(|(series, _)| &*series.name == "errors_per_sec");
    json!({
        "cpu": figure(BuiltIn::Cpu, 100.0),
        "memory": figure(BuiltIn::Memory, 100.0),
        "requests": figure(BuiltIn::Requests, f64::MAX),
        "errors": errors.map_or(0.0, |(_, value)| value.max(0.0)),
        "latency": figure(BuiltIn::Latency, f64::MAX),
    })
}

impl std::fmt::Debug for Ticker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticker")
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}

/// Keeps the deadlines of sessions and streams until the streams are told to go.
pub async fn sweep_streams(app: Arc<App>, stopped: CancellationToken) {
    every(&app.clock, SWEEP_MS, &stopped, |_, _| {
        let steady_ms = app.clock.steady_ms();
        app.access.sweep(steady_ms);
        app.registry.sweep(steady_ms, app.clock.now_ms());
        app.rooms.sweep(steady_ms);
        app.live_queries.sweep(steady_ms);
    })
    .await;
}

/// What is told at its own pace: updates of what is tracked, error rates that end, and the host's
/// two `performance` items.
pub async fn tell_regularly(app: Arc<App>, stopping: CancellationToken) {
    every(&app.clock, SECOND_MS, &stopping, |due_ms, _| {
        app.alerts.observe_time(due_ms);
        app.rules.write_error_rates(due_ms);
        if due_ms % UPDATE_MS == 0 {
            app.tracked.tell(app.clock.now_ms());
        }
        if due_ms % FORGET_MS == 0 {
            app.ingest.tenants.forget_idle();
        }
        if due_ms % PERFORMANCE_MS == 0 {
            app.tasks.spawn(track_performance(Arc::clone(&app), due_ms));
        }
    })
    .await;
}

const SECOND_MS: i64 = 1_000;

/// How often `HEARTBEAT_URL` is called.
const BEAT_MS: u64 = 60_000;

/// How often streams hear how what is tracked stands.
const UPDATE_MS: i64 = 2_000;

/// How often the host's load and memory are tracked as items.
const PERFORMANCE_MS: i64 = 30_000;

/// Totals of differences that nothing was added to for this long go.
const FORGET_MS: i64 = 3_600_000;

/// The host's load and memory, whatever the source of the built-in metrics.
async fn track_performance(app: Arc<App>, now_ms: i64) {
    let Ok(tenant) = app.storage.engine.tenant(DEFAULT_TENANT) else {
        return;
    };
    let memory = match app.settings.metric_source {
        // Of the same reading as the metric.
        SourceKind::Host => {
            let newest = app.live.with_window(|window| window.newest().cloned());
            newest.map(|tick| tick.built_in(BuiltIn::Memory))
        }
        SourceKind::Simulator | SourceKind::None => Some(pulseboard_host::host::memory_now()),
    };
    let load = sysinfo::System::load_average().ok().map(|load| load.one);
    for (metric, value) in builtin_series::TRACKED_METRICS
        .into_iter()
        .zip([load, memory])
    {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            continue;
        };
        let item = Item {
            name: builtin_series::PERFORMANCE.to_owned(),
            value,
            metric: Some(metric.to_owned()),
            is_own: true,
        };
        match app.tracking().track(&tenant, item, now_ms).await {
            Ok(counted) => {
                if let Some(error) = counted.not_durable {
                    tracing::debug!(%error, "an item of our own is in memory alone");
                }
            }
            Err(error) => tracing::debug!(%error, "an item of our own was refused"),
        }
    }
}

/// Calls an address while the server ticks, rules are evaluated and notifications are delivered:
/// whoever is there notices when they are not.
pub async fn beat(app: Arc<App>, url: String, stopping: CancellationToken) {
    let url = Secret::new(url);
    let mut heart = Heartbeat::new(BEAT_MS);
    let mut pace = Pace::new(&app.clock, SECOND_MS, &stopping);
    while pace.next().await.is_some() {
        let is_well = app.ticking() && app.rules.is_well() && app.notifying.is_well();
        if !heart.is_due(app.clock.now_ms(), is_well) {
            continue;
        }
        let outcome = tokio::select! {
            () = stopping.cancelled() => return,
            outcome = app.notifying.call(&url) => outcome,
        };
        heart.answered(app.clock.now_ms(), &outcome);
        // once, until it is answered again
        if let Some((1, why)) = heart.trouble() {
            tracing::warn!(why, "HEARTBEAT_URL does not answer");
        }
    }
}

fn keep_house_once(app: &App, stopping: &CancellationToken) {
    app.ingest.tenants.recount();
    let (now_ms, telemetry) = (app.clock.now_ms(), &app.telemetry);
    app.storage.maintain(
        now_ms,
        telemetry,
        &app.tracked,
        || app.journal_state(),
        &|| !stopping.is_cancelled(),
    );
}

/// Looks after the engine and its history until the server stops; a round that takes long has the
/// next one come later, never beside it.
pub async fn maintain(app: Arc<App>, stopping: CancellationToken) {
    let aside = match Aside::start("maintenance") {
        Ok(aside) => aside,
        Err(error) => {
            tracing::error!(%error, "there is no thread for maintenance: memory and disk will fill up");
            return;
        }
    };
    loop {
        let now_ms = app.clock.now_ms();
        let due_ms = next_aligned(now_ms, MAINTENANCE_MS);
        let soon_ms = (now_ms + MAINTENANCE_APART_MS).min(due_ms);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = app.clock.sleep_until(due_ms) => {}
            () = async {
                app.clock.sleep_until(soon_ms).await;
                app.ingest.late.wanted().await;
            } => {}
        }
        let (worker, ending) = (Arc::clone(&app), stopping.clone());
        let kept = aside.run(move || keep_house_once(&worker, &ending)).await;
        if kept.is_none() {
            app.telemetry.panics.inc();
            tracing::error!("a round of maintenance panicked; the next round comes");
        }
        app.ingest.late.done();
    }
}
