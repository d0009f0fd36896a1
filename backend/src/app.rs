//! Handles to everything, built from the settings; nothing here runs.

use std::{
    collections::HashSet,
    fmt, io,
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::Mutex;
use pulseboard_alerting::default_rules;
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_feed::{Epoch, Fanout};
use pulseboard_host::processes::Recent;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    access::{Access, token::Given},
    agents::Agents,
    alertmanagers::Alertmanagers,
    alerts::Alerts,
    archive::{Archive, Parted},
    base::{clock::Clock, documents::Documents, telemetry::Telemetry},
    certificate::Certificate,
    cluster::{Cluster, alike::Alike},
    elsewhere::{self, Elsewhere},
    expressions::Evaluating,
    incidents::Incidents,
    ingest::Ingest,
    ingest_log::{IngestLog, Places},
    live_expression::{LiveExpressions, Others},
    live_query::{LiveQueries, flush::Due},
    notifying::Notifying,
    operator::Operator,
    questions::Questions,
    refusals::Refusals,
    rooms::Rooms,
    rules::Rules,
    scraping::Scraping,
    settings::{ClusterMode, DataDir, Settings, SourceKind},
    storage::{Storage, journal::State},
    stream::registry::{Registry, StreamLimits},
    ticks::{
        builtin_series::{BuiltInSeries, keep_counts},
        live::Live,
    },
    told::Told,
    tracking::{TrackedItems, track::Tracking},
};

/// Ticks kept for viewers that read slowly, at most, whatever the interval.
const TICKS_RETAINED_MAX: usize = 10_000;

/// Handles to everything, for handlers and tasks; shared by `Arc`.
#[derive(Debug)]
pub struct App(Parts);

// Said here and not left to be derived: whether it may go to another thread is asked for every
// handler's future, and was found out anew each time from some hundreds of types, which was half of
// the time that this crate took to be compiled.
// SAFETY: its one field is both, or the constant below would not compile.
unsafe impl Send for App {}
// SAFETY: as above.
unsafe impl Sync for App {}

const _: fn() = {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Parts>
};

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What [`App`] is made of.
pub struct Parts {
    /// As the server was started, but for the tokens, which only `access` knows.
    pub settings: Settings,
    /// The one clock.
    pub clock: Clock,
    /// The other servers of the service, where there may be some.
    pub cluster: Option<Arc<Cluster>>,
    /// What all of them have alike, and who does what one does for all.
    pub alike: Option<Arc<Alike>>,
    /// Held while what they changed is taken in.
    following: tokio::sync::Mutex<()>,
    /// This server's counters.
    pub telemetry: Arc<Telemetry>,
    /// The built-in tick: window and feed.
    pub live: Arc<Live>,
    /// Rules and incidents.
    pub alerts: Arc<Alerts>,
    /// What became of every incident.
    pub incidents: Arc<Incidents>,
    /// Who is told of them.
    pub notifying: Arc<Notifying>,
    /// Alertmanagers of others that are told of them, too.
    pub alertmanagers: Arc<Alertmanagers>,
    /// Totals and threshold.
    pub operator: Operator,
    /// What applications track item by item.
    pub tracked: TrackedItems,
    /// What bodies of samples share.
    pub ingest: Arc<Ingest>,
    /// Samples that all servers have, where there may be several.
    pub ingest_log: Option<Arc<IngestLog>>,
    /// What was refused lately, by tenant.
    pub refusals: Arc<Refusals>,
    /// What senders say of their metrics.
    pub told: Told,
    /// Which agents spoke lately.
    pub agents: Agents,
    /// Targets of `PROMETHEUS_CONFIG`.
    pub scraping: Scraping,
    /// The store that keeps what the history does not, where there is one.
    pub archive: Option<Arc<Archive>>,
    /// Rules, and what they are doing.
    pub rules: Arc<Rules>,
    /// Who may ask how much of the engine.
    pub questions: Arc<Questions>,
    /// What holds for every expression.
    pub evaluating: Evaluating,
    /// Series, history and journal.
    pub storage: Storage,
    /// The series that this server measures itself.
    pub own: Arc<BuiltInSeries>,
    /// This machine's processes that use most; a leaf lock.
    pub processes: Mutex<Recent>,
    /// Samples of other servers, where each has what came in at it.
    pub elsewhere: Option<Arc<Elsewhere>>,
    /// Selectors that somebody watches.
    pub live_queries: LiveQueries,
    /// Expressions that somebody watches.
    pub live_expressions: Arc<LiveExpressions>,
    /// For the task that makes frames of what is watched; taken once.
    watch_dues: Mutex<Option<mpsc::Receiver<Due>>>,
    /// Rooms and their members.
    pub rooms: Arc<Rooms>,
    /// Tokens, sessions and tickets.
    pub access: Arc<Access>,
    /// What the server shows where it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// What is set up at run time and outlives a restart.
    pub documents: Arc<Documents>,
    /// Open streams.
    pub registry: Arc<Registry>,
    /// Every task of the server; empty when it has ended.
    pub tasks: TaskTracker,
    /// Cancelled when whoever chooses between servers is to choose others; this one goes on serving
    /// until they have.
    pub draining: CancellationToken,
    /// Cancelled when the server is to begin anew, with what another one had.
    pub again: CancellationToken,
    /// Cancelled when the server is to stop: no new work.
    pub stopping: CancellationToken,
    /// Cancelled when the streams have ended: the rest may go.
    pub(crate) stopped: CancellationToken,
    started_ms: i64,
}

impl App {
    /// Everything built, nothing running. `given`: the tokens that were taken out of the settings;
    /// `link`: the secret of the start's admin link.
    ///
    /// # Errors
    /// The operating system refuses the fan-out threads, a room's event schema is not a valid one,
    /// or what is stored cannot be read.
    pub fn new(
        settings: Settings,
        (given, link): (Given, Option<&str>),
        clock: Clock,
    ) -> io::Result<Arc<Self>> {
        let certificate = Certificate::open(&settings, clock.clone()).map_err(io::Error::other)?;
        let telemetry = Arc::new(Telemetry::default());
        let cluster = Cluster::new(&settings)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let fanout = Fanout::start((cores / 2).clamp(1, 4), &telemetry.feed)?;
        let epoch = Epoch::at(clock.now_ms());
        let (storage, restored) = Storage::open(&settings, epoch, clock.now_ms())?;
        let epoch = restored.epoch.unwrap_or(epoch);
        // Whoever has a token for a tenant finds it, however many names others have used, and with
        // it what was refused before a first sample was taken.
        let anonymous = settings.anonymous_tenants.iter().map(String::as_str);
        for tenant in given.tenants().chain(anonymous).chain([DEFAULT_TENANT]) {
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
        let documents = Arc::new(match &folder {
            Some(folder) => Documents::open(folder)?,
            None => Documents::in_memory(),
        });
        let alike = cluster.as_ref().map(|cluster| {
            let alone = settings.alerts_alone;
            Alike::new(cluster.redis(), &documents, alone, &telemetry)
        });
        let voice = alike.as_ref().map(|alike| Arc::clone(alike.voice()));
        let registry = Registry::new(limits, Arc::clone(&telemetry), cluster.clone());
        let access = Arc::new(Access::new(
            &settings,
            (given, link),
            Arc::clone(&documents),
            folder.as_deref(),
            Arc::clone(&registry) as Arc<_>,
            (clock.clone(), Arc::clone(&telemetry)),
            cluster.as_ref(),
        )?);
        let live = Live::new(
            epoch,
            settings.window_size,
            retained,
            interval_ms,
            clock.clone(),
            &telemetry,
            &fanout,
        );
        if settings.metric_source == SourceKind::None {
            live.expect_nothing();
        }
        let shared = cluster.as_ref();
        let shared = shared.map(|all| (Arc::clone(all.bus()), Arc::clone(all.member())));
        let rooms = Rooms::new(
            &settings.rooms,
            clock.clone(),
            (&fanout, shared),
            &telemetry,
        )
        .map(Arc::new)
        .map_err(io::Error::other)?;
        let journal = storage.journal.clone();
        let incidents = Incidents::open(folder, &telemetry, voice.clone())?;
        let notifying = Notifying::new(
            &settings,
            (&documents, alike.as_ref()),
            &incidents,
            clock.clone(),
            &telemetry,
        )?;
        let alertmanagers = Alertmanagers::new(&settings, clock.clone(), alike.clone());
        let alerts = Alerts::new(
            epoch,
            default_rules(),
            settings.alert_check,
            journal.map(|journal| journal as Arc<_>),
            vec![
                Arc::clone(&rooms) as Arc<_>,
                Arc::clone(&incidents) as Arc<_>,
                Arc::clone(&notifying) as Arc<_>,
                Arc::clone(&alertmanagers) as Arc<_>,
            ],
            &telemetry,
            (
                &fanout,
                cluster
                    .as_ref()
                    .map(|cluster| Arc::clone(cluster.bus()))
                    .zip(voice),
            ),
        );
        let counts = settings.metric_source != SourceKind::Simulator;
        let operator = Operator::new(
            (counts, cluster.is_some()),
            Arc::clone(&live),
            Arc::clone(&telemetry),
            Arc::clone(&documents),
            epoch,
            &fanout,
        );
        let tracked = TrackedItems::new(epoch, &fanout);
        let tracked = match cluster.is_some() {
            true => tracked.together(),
            false => tracked,
        };
        if let (Some((first, _)), Some((newest, _))) =
            (restored.ticks.front(), restored.ticks.back())
        {
            operator.restore(restored.totals, *newest);
            let first = *first;
            live.restore(first, restored.ticks.into_iter().map(|(_, tick)| tick));
        }
        alerts.restore(restored.alerts, restored.active);
        let (active, ()) = alerts.manager().with_active(|| ());
        for event in &active {
            incidents.adopt(event);
            alertmanagers.adopt(event);
        }
        let going_on: HashSet<Uuid> = active.iter().map(|event| event.alert.incident).collect();
        incidents.end_others(clock.now_ms(), |id| going_on.contains(&id));
        tracked.restore(restored.tracked);
        let source = settings.metric_source.name();
        let own = Arc::new(BuiltInSeries::new(&documents, source, clock.now_ms()));
        own.keep_names(&storage.engine);
        keep_counts(&storage.engine, &tracked);
        let (live_queries, watch_dues) = LiveQueries::new(
            Arc::clone(&storage.engine),
            Arc::clone(&own),
            clock.clone(),
            &fanout,
            &telemetry,
        );
        let is_parted = settings.cluster_mode == ClusterMode::Sharded;
        let parted = cluster.as_ref().filter(|_| is_parted);
        let parted = parted.map(|cluster| Parted {
            cluster: Arc::clone(cluster),
            guests: elsewhere::guests(),
        });
        let archive = Archive::open(
            &settings,
            &storage.engine,
            (cluster.as_ref(), parted.clone()),
            &clock,
            &telemetry,
        )?;
        let elsewhere = parted.map(|Parted { cluster, guests }| {
            let engines = (&storage.engine, guests);
            let due = live_queries.dues();
            Elsewhere::new(&cluster, engines, clock.clone(), due, &telemetry)
        });
        let live_queries = live_queries.with(elsewhere.clone());
        let others = archive.clone().zip(elsewhere.clone());
        let others = others.map(|(archive, elsewhere)| Others { archive, elsewhere });
        let questions = Questions::new(&settings, &telemetry);
        let evaluating = Evaluating::new(settings.query_max_samples);
        let live_expressions = LiveExpressions::new(
            Arc::clone(&storage.engine),
            clock.clone(),
            &fanout,
            Arc::clone(&questions),
            evaluating.clone(),
        )
        .with(others);
        let refusals = Arc::<Refusals>::default();
        let ingest = Ingest::new(
            settings.max_body_bytes,
            &storage.engine,
            clock.clone(),
            &telemetry,
        );
        let again = CancellationToken::new();
        let ingest_log = match &cluster {
            Some(cluster) if !is_parted => Some(IngestLog::open(
                &settings,
                cluster,
                &storage.engine,
                &ingest,
                (clock.clone(), &again),
            )?),
            _ => None,
        };
        if let (true, DataDir::Path(folder)) = (is_parted, &settings.data_dir) {
            Places::forget(folder)?;
        }
        if let Some(alike) = &alike {
            documents.share(Arc::clone(alike) as Arc<_>);
        }
        let scraped_by = cluster.clone();
        Ok(Arc::new(Self(Parts {
            own,
            processes: Mutex::default(),
            elsewhere,
            live_queries,
            watch_dues: Mutex::new(Some(watch_dues)),
            cluster,
            operator,
            tracked,
            scraping: Scraping::new(
                &settings,
                &storage.engine,
                &refusals,
                clock.clone(),
                evaluating.clone(),
                (scraped_by, archive.clone()),
            ),
            archive: archive.clone(),
            refusals,
            told: Told::default(),
            agents: Agents::default(),
            live_expressions: Arc::new(live_expressions),
            rules: Rules::new(
                &settings,
                &storage.engine,
                clock.clone(),
                &alerts,
                (&documents, alike.as_ref()),
                archive.as_ref(),
                (&telemetry, evaluating.clone()),
            ),
            evaluating,
            questions,
            ingest,
            ingest_log,
            storage,
            rooms,
            incidents,
            notifying,
            alertmanagers,
            access,
            certificate,
            documents,
            registry,
            live,
            alerts,
            telemetry,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            again,
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
            started_ms: clock.steady_ms(),
            alike,
            following: tokio::sync::Mutex::default(),
            clock,
            settings,
        })))
    }

    /// What the task that makes frames of what is watched reads; there once.
    #[must_use]
    pub fn take_watch_dues(&self) -> Option<mpsc::Receiver<Due>> {
        self.watch_dues.lock().take()
    }

    /// Has what other servers have changed be known here. Nothing where there are none.
    ///
    /// # Errors
    /// They cannot be reached; in words.
    pub async fn catch_up(self: &Arc<Self>) -> Result<(), String> {
        let Some(alike) = &self.alike else {
            return Ok(());
        };
        alike.copy().await.map_err(|error| error.to_string())?;
        // What somebody else is taking in is waited for.
        let _following = self.following.lock().await;
        let changed = alike.take_changed();
        let is_known = self.notifying.knows_people();
        if is_known && changed.documents.is_empty() && changed.states.is_empty() && !changed.is_new
        {
            return Ok(());
        }
        let (app, alike) = (Arc::clone(self), Arc::clone(alike));
        let followed = tokio::task::spawn_blocking(move || {
            if changed
                .documents
                .iter()
                .any(|name| name.starts_with("rules/"))
            {
                app.rules.follow_documents();
            }
            app.notifying.follow(&alike, &changed);
            app.rules
                .follow_states(&alike, |name| changed.states.contains(name));
        });
        followed.await.map_err(|error| error.to_string())
    }

    /// What an item is counted in.
    #[must_use]
    pub fn tracking(&self) -> Tracking<'_> {
        Tracking {
            tracked: &self.tracked,
            journal: self.storage.journal.as_deref().map(|journal| journal as _),
            engine: &self.storage.engine,
            ingest: &self.ingest,
            alerts: &self.alerts,
            own: &self.own,
        }
    }

    /// Reads the files again that the settings name; whether there is one. Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong with one; it then changes nothing, and the others are taken all the same.
    pub fn reload(&self) -> Result<bool, String> {
        let is_wanted = self.scraping.is_wanted()
            || self.notifying.is_wanted()
            || self.rules.has_files()
            || self.certificate.is_some();
        let scraped = self.scraping.reload();
        self.follow_labels();
        let rules = self.rules.reload(self.scraping.for_rules());
        let rules = rules.map_err(|problems| problems.join("; "));
        let certificate = self.certificate.as_ref();
        let certificate = certificate.map_or(Ok(()), |certificate| certificate.reload());
        let read = [scraped, rules, self.notifying.reload(), certificate];
        let wrong: Vec<String> = read.into_iter().filter_map(Result::err).collect();
        match wrong.is_empty() {
            true => Ok(is_wanted),
            false => Err(wrong.join("; ")),
        }
    }

    /// Alerts are told under the labels that `PROMETHEUS_CONFIG` asks for.
    pub(crate) fn follow_labels(&self) {
        if self.incidents.labelling().follow(self.scraping.config()) {
            self.notifying.look_anew();
        }
    }

    /// What the journal's snapshot holds besides tracked items.
    #[must_use]
    pub fn journal_state(&self) -> State {
        let (alerts, active) = self.alerts.state();
        self.live.with_window(|window| State {
            ticks: window.ticks().cloned().collect(),
            newest_offset: window.newest_offset(),
            totals: self.operator.totals(),
            alerts,
            active,
        })
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_seconds(&self) -> i64 {
        (self.clock.steady_ms() - self.started_ms) / 1000
    }

    /// Whether it answers and ticks, and is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let cluster = self.cluster.as_ref();
        self.ticking()
            && !self.is_leaving()
            && cluster.is_none_or(|cluster| cluster.readiness().is_ok())
    }

    /// Whether there may be other servers of the same service.
    #[must_use]
    pub fn is_one_of_several(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether there are other servers, and this one cannot reach them.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.cluster
            .as_ref()
            .is_some_and(|cluster| cluster.is_alone())
    }

    /// Whether it stops, or is about to.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.draining.is_cancelled() || self.stopping.is_cancelled()
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

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
