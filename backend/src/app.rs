//! Builds everything from the settings, starts it, and stops it in order.

use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_engine::DEFAULT_TENANT;
use salvo::Depot;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    alerting::{Alerts, default_rules},
    clock::Clock,
    error::AppError,
    feed::{Epoch, Fanout},
    http::{access::Access, router},
    ingest::Ingest,
    live::Live,
    operator::Operator,
    own::{OwnSeries, keep_counts},
    questions::Questions,
    refusals::Refusals,
    rooms::Rooms,
    scheduler::{self, Ticker},
    serve,
    settings::{DataDir, Settings, SourceKind},
    source::{self, Source},
    statsd,
    storage::Storage,
    stream::registry::{Registry, StreamLimits},
    tallies::Tallies,
    telemetry::Telemetry,
    watching::{self, Due, Watching},
};

/// Ticks kept for viewers that read slowly, at most, whatever the interval.
const TICKS_RETAINED_MAX: usize = 10_000;
/// How long viewers have to take their last bytes.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long everything has to end after that.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Reconnecting viewers are spread over this time.
const RECONNECT_SPREAD_MS: u64 = 5_000;

/// Handles to everything, for handlers and tasks; shared by `Arc`.
pub struct App {
    /// As the server was started, but for the tokens, which only `access` knows.
    pub settings: Settings,
    /// The one clock.
    pub clock: Clock,
    /// This server's counters.
    pub telemetry: Arc<Telemetry>,
    /// The built-in tick: window and feed.
    pub live: Arc<Live>,
    /// Rules and incidents.
    pub alerts: Arc<Alerts>,
    /// Totals and threshold.
    pub operator: Operator,
    /// What applications track item by item.
    pub tallies: Tallies,
    /// What bodies of samples share.
    pub ingest: Ingest,
    /// What was refused lately, by tenant.
    pub refusals: Refusals,
    /// Who may ask how much of the engine.
    pub questions: Arc<Questions>,
    /// Series, history and journal.
    pub storage: Storage,
    /// The series that this server measures itself.
    pub own: Arc<OwnSeries>,
    /// Selectors that somebody watches.
    pub watching: Watching,
    /// For the task that makes frames of what is watched; taken once.
    watch_dues: Mutex<Option<mpsc::Receiver<Due>>>,
    /// Rooms and their members.
    pub rooms: Rooms,
    /// Tokens, sessions and tickets.
    pub access: Arc<Access>,
    /// Open streams.
    pub registry: Arc<Registry>,
    /// Every task of the server; empty when it has ended.
    pub tasks: TaskTracker,
    /// Cancelled when the server is to stop: no new work.
    pub stopping: CancellationToken,
    /// Cancelled when the streams have ended: the rest may go.
    stopped: CancellationToken,
    started_ms: i64,
}

impl App {
    /// Everything built, nothing running. `link`: the secret of the start's admin link.
    ///
    /// # Errors
    /// The operating system refuses the fan-out threads, a room's event schema is none, or what is
    /// stored cannot be read.
    pub fn new(mut settings: Settings, link: Option<&str>, clock: Clock) -> io::Result<Arc<Self>> {
        let telemetry = Arc::new(Telemetry::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let fanout = Fanout::start((cores / 2).clamp(1, 4), &telemetry)?;
        let epoch = Epoch(u64::try_from(clock.now_ms()).unwrap_or_default());
        let (storage, restored) = Storage::open(&settings, epoch, clock.now_ms())?;
        let epoch = restored.epoch.unwrap_or(epoch);
        // Whoever has a token for a tenant finds it, however many names others have used, and with
        // it what was refused before a first sample was taken.
        let tokens = settings.tokens.iter();
        let named = tokens.filter_map(|token| token.tenant.as_deref());
        let anonymous = settings.anonymous_tenants.iter().map(String::as_str);
        for tenant in named.chain(anonymous).chain([DEFAULT_TENANT]) {
            storage.engine.keep_tenant(tenant);
        }
        let interval_ms = u64::try_from(settings.metric_interval.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let limits = StreamLimits::of(&settings);
        // A viewer may stand still until the write deadline and then still get a true summary.
        let retained = usize::try_from(2 * limits.write_ms.unsigned_abs() / interval_ms)
            .unwrap_or(TICKS_RETAINED_MAX)
            .clamp(1_024, TICKS_RETAINED_MAX);
        let folder = match &settings.data_dir {
            DataDir::Memory => None,
            DataDir::Path(path) => Some(path.clone()),
        };
        let registry = Registry::new(limits, Arc::clone(&telemetry));
        let access = Arc::new(Access::new(
            &mut settings,
            link,
            folder.as_deref(),
            Arc::clone(&registry),
            clock.clone(),
            Arc::clone(&telemetry),
        )?);
        let live = Live::new(
            epoch,
            settings.window_size,
            retained,
            interval_ms,
            &telemetry,
            &fanout,
        );
        if settings.metric_source == SourceKind::None {
            live.expect_nothing();
        }
        let alerts = Alerts::new(
            epoch,
            default_rules(),
            settings.alert_check,
            storage.journal.clone(),
            Arc::clone(&telemetry),
            &fanout,
        );
        let operator = Operator::new(
            Arc::clone(&live),
            Arc::clone(&telemetry),
            folder,
            epoch,
            &fanout,
        );
        let tallies = Tallies::new(epoch, &fanout);
        if let (Some((first, _)), Some((newest, _))) =
            (restored.ticks.front(), restored.ticks.back())
        {
            operator.restore(restored.totals, *newest);
            let first = *first;
            live.restore(first, restored.ticks.into_iter().map(|(_, tick)| tick));
        }
        alerts.restore(restored.alerts, restored.active);
        tallies.restore(restored.tallies);
        let own = Arc::new(OwnSeries::default());
        own.keep_names(&storage.engine);
        keep_counts(&storage.engine, &tallies);
        let (watching, watch_dues) = Watching::new(
            Arc::clone(&storage.engine),
            Arc::clone(&own),
            clock.clone(),
            &fanout,
            &telemetry,
        );
        Ok(Arc::new(Self {
            own,
            watching,
            watch_dues: Mutex::new(Some(watch_dues)),
            operator,
            tallies,
            refusals: Refusals::default(),
            questions: Questions::new(&settings, &telemetry),
            ingest: Ingest::new(settings.max_body_bytes, &telemetry),
            storage,
            rooms: Rooms::new(&settings.rooms, clock.clone(), &fanout, &telemetry)
                .map_err(io::Error::other)?,
            access,
            registry,
            live,
            alerts,
            telemetry,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            started_ms: clock.steady_ms(),
            clock,
            settings,
        }))
    }

    /// The app that serves this request.
    ///
    /// # Errors
    /// 500 outside the server's own frame, which the router rules out.
    pub fn of(depot: &Depot) -> Result<Arc<Self>, AppError> {
        depot
            .get_typed::<Arc<Self>>()
            .cloned()
            .ok()
            .ok_or_else(AppError::internal)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_seconds(&self) -> i64 {
        (self.clock.steady_ms() - self.started_ms) / 1000
    }

    /// Whether the built-in source has ticked within three intervals, or there is none.
    #[must_use]
    pub fn ticking(&self) -> bool {
        if self.settings.metric_source == SourceKind::None {
            return true;
        }
        let bound_ms = i64::try_from(self.live.interval_ms())
            .unwrap_or(i64::MAX)
            .saturating_mul(3)
            .max(3_000);
        let ticked_ms = self.telemetry.ticked_ms.load(Ordering::Relaxed);
        self.clock.steady_ms() - ticked_ms <= bound_ms
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

/// Serves on `listener` until `stop` is cancelled, then stops in order: no new connections,
/// viewers are told, requests in flight end, everything is joined; within 10 s. `link`: the secret
/// of the admin link that was printed, if one was.
///
/// # Errors
/// The operating system refuses the fan-out threads.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    link: Option<&str>,
    clock: Clock,
    stop: CancellationToken,
) -> io::Result<()> {
    let source = source::build(settings.metric_source);
    run_with(listener, settings, link, clock, source, stop).await
}

/// [`run`] over a source of the caller's; tests bring one that says what they need.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    listener: TcpListener,
    settings: Settings,
    link: Option<&str>,
    clock: Clock,
    source: Option<Box<dyn Source>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let app = App::new(settings, link, clock)?;
    let service = router::service(Arc::clone(&app));
    if let Some(source) = source {
        let ticker = Ticker::new(Arc::clone(&app), source);
        app.tasks
            .spawn(ticker.run(app.settings.metric_interval, app.stopping.clone()));
    }
    app.tasks.spawn(scheduler::sweep_streams(
        Arc::clone(&app),
        app.stopped.clone(),
    ));
    if let Some(dues) = app.watch_dues.lock().take() {
        app.tasks.spawn(watching::flush(
            app.clock.clone(),
            dues,
            app.stopping.clone(),
        ));
    }
    if let Some(address) = app.settings.statsd_addr {
        let socket = statsd::bind(address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("STATSD_ADDR={address}: cannot listen there: {error}"),
            )
        })?;
        app.tasks
            .spawn(statsd::run(Arc::clone(&app), socket, app.stopping.clone()));
    }
    app.tasks.spawn(scheduler::keep_tallies(
        Arc::clone(&app),
        app.stopping.clone(),
    ));
    app.tasks.spawn(scheduler::keep_house(
        Arc::clone(&app),
        app.stopping.clone(),
    ));
    let accepting = app
        .tasks
        .spawn(serve::accept(Arc::clone(&app), listener, service));

    stop.cancelled().await;
    tracing::info!(
        streams.open = app.registry.open(),
        "stopping: telling viewers, finishing requests"
    );
    app.stopping.cancel();
    // The listener is closed before viewers are told, so none comes back to this process.
    if accepting.await.is_err() {
        tracing::error!("the accepting task panicked");
    }
    app.registry.tell_stopping(RECONNECT_SPREAD_MS);
    app.tasks.close();
    app.stopped.cancel();
    if tokio::time::timeout(FAREWELL, app.tasks.wait())
        .await
        .is_err()
    {
        app.registry.abort_all();
        if tokio::time::timeout(STOP_DEADLINE, app.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks.left = app.tasks.len(),
                "some connections did not end in time"
            );
        }
    }
    // Nobody asks for anything any more: what is left goes to the disk.
    let last = Arc::clone(&app);
    let closed = tokio::task::spawn_blocking(move || last.storage.close(&last)).await;
    if closed.is_err() {
        tracing::error!("closing the history panicked");
    }
    tracing::info!("stopped");
    Ok(())
}
