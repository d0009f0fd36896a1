//! Scraping by `PROMETHEUS_CONFIG`: the file as it was read last, who scrapes by it, to whom it has
//! samples sent on, and whom it has told of alerts. What is scraped goes to the default tenant.
//!
//! A reload that fails changes nothing: what was scraped goes on, and the error is told.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_bus::{Partition, Spread};
use pulseboard_engine::{DEFAULT_TENANT, Engine};
use pulseboard_forward::Forwarding;
use pulseboard_scrape::{
    Alertmanagers, Config, Handed, Health, LabelSet, Manager, NotTaken, Sink, Snapshot, Status,
    Turns, WallClock, config, metadata::Metric,
};
use pulseboard_series::Batch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    archive::Archive,
    base::clock::Clock,
    cluster::Cluster,
    expressions::Evaluating,
    forwarding,
    refusals::{Refusals, Sent},
    rules::FromConfig,
    settings::Settings,
};

/// What was told of a target before this is no longer how it is.
const SEEN_MS: i64 = 5 * 60_000;

/// The file and what is scraped by it.
#[derive(Debug)]
pub struct Scraping {
    file: Option<PathBuf>,
    engine: Arc<Engine>,
    refusals: Arc<Refusals>,
    clock: Clock,
    cluster: Option<Arc<Cluster>>,
    loaded: Mutex<Loaded>,
    started: Arc<OnceLock<Started>>,
    forwarding: Arc<Forwarding>,
    evaluating: Evaluating,
    alertmanagers: Arc<Alertmanagers>,
}

/// What runs from the start on.
#[derive(Debug)]
struct Started {
    manager: Arc<Manager>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What became of the file.
#[derive(Clone, Debug, Default)]
struct Loaded {
    config: Option<Arc<Config>>,
    state: FileState,
}

/// What is told of the file.
#[derive(Clone, Debug)]
pub struct FileState {
    /// Whether the newest reading of it succeeded.
    pub is_good: bool,
    /// When it was last read with success, in Unix milliseconds; 0 without a file.
    pub loaded_ms: i64,
    /// What it asks for that cannot be done.
    pub warnings: Vec<String>,
}

impl Default for FileState {
    fn default() -> Self {
        Self {
            is_good: true,
            loaded_ms: 0,
            warnings: Vec::new(),
        }
    }
}

/// Reads a file without using it.
///
/// # Errors
/// One line that names the setting, the file, the place in it and what is wrong.
pub fn check(file: Option<&Path>) -> Result<Option<Config>, String> {
    file.map(config::load)
        .transpose()
        .map_err(|error| format!("PROMETHEUS_CONFIG={error}"))
}

/// Whose turn a target is, of several servers: whoever holds the lease of the part that it falls
/// into. One that reaches nobody scrapes all: it cannot know who else lives.
fn turns(cluster: Option<&Arc<Cluster>>) -> Turns {
    let Some(cluster) = cluster.cloned() else {
        return Turns::all();
    };
    let work = cluster.bus().leases().work("scrape", Spread::Partitions);
    Turns::new(move |endpoint| {
        cluster.is_alone() || work.token(Partition::of(&endpoint.name())).is_some()
    })
}

fn millis(period: config::Period) -> i64 {
    i64::try_from(period.as_millis()).unwrap_or(i64::MAX)
}

/// `evaluation_interval`; none at all, and 0, is a minute, as in Prometheus.
fn evaluation_ms(config: &Config) -> i64 {
    let interval = config.global.evaluation_interval;
    match interval.is_zero() {
        true => 60_000,
        false => millis(interval),
    }
}

/// What a file says of rules: its globs are relative to its folder.
#[must_use]
pub fn from_config(config: &Config) -> FromConfig {
    let global = &config.global;
    FromConfig {
        globs: config
            .rule_files
            .iter()
            .map(|glob| config.folder.join(glob).display().to_string())
            .collect(),
        interval_ms: Some(evaluation_ms(config)),
        query_offset_ms: millis(global.rule_query_offset),
        external_labels: Arc::new(global.external_labels.clone()),
    }
}

impl Scraping {
    /// Nothing is read and nobody scraped yet.
    #[must_use]
    pub fn new(
        settings: &Settings,
        engine: &Arc<Engine>,
        refusals: &Arc<Refusals>,
        clock: Clock,
        evaluating: Evaluating,
        (cluster, archive): (Option<Arc<Cluster>>, Option<Arc<Archive>>),
    ) -> Self {
        let started: Arc<OnceLock<Started>> = Arc::default();
        let told = Arc::downgrade(&started);
        let describe = Arc::new(move || {
            let told = told.upgrade();
            let manager = told.as_ref().and_then(|started| started.get());
            let families = manager.map(|started| started.manager.families(None));
            let first =
                |(name, told): (String, Vec<Metric>)| Some((name, told.into_iter().next()?));
            families.into_iter().flatten().filter_map(first).collect()
        });
        Self {
            file: settings.prometheus_config.clone(),
            engine: Arc::clone(engine),
            refusals: Arc::clone(refusals),
            forwarding: forwarding::begin(settings, engine, clock.clone(), describe, archive),
            alertmanagers: Alertmanagers::new(),
            clock,
            cluster,
            loaded: Mutex::default(),
            started,
            evaluating,
        }
    }

    /// Whether there is a file.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// Begins to scrape by the file, if there is one. Tasks go into `tasks` and end with `stop`.
    ///
    /// # Errors
    /// As [`check`].
    pub fn start(&self, tasks: TaskTracker, stop: CancellationToken) -> Result<(), String> {
        if !self.is_wanted() {
            return Ok(());
        }
        let config = check(self.file.as_deref())?;
        let clock = self.clock.clone();
        let sink = EngineSink {
            engine: Arc::clone(&self.engine),
            refusals: Arc::clone(&self.refusals),
            clock: self.clock.clone(),
        };
        self.started.get_or_init(|| {
            let now = WallClock::new(move || clock.now_ms());
            Started {
                manager: Manager::start_among(
                    Arc::new(sink),
                    now,
                    turns(self.cluster.as_ref()),
                    tasks.clone(),
                    stop.clone(),
                ),
                tasks,
                stop,
            }
        });
        if let Some(config) = config {
            self.apply(config);
        }
        Ok(())
    }

    /// Reads the file again and goes on by it. Blocks for the disk.
    ///
    /// # Errors
    /// As [`check`]; everything then is as before.
    pub fn reload(&self) -> Result<(), String> {
        match check(self.file.as_deref()) {
            Ok(Some(config)) => {
                self.apply(config);
                tracing::info!("the configuration of scraping was read again");
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.loaded.lock().state.is_good = false;
                tracing::error!(error, "the configuration of scraping is not taken");
                Err(error)
            }
        }
    }

    fn apply(&self, config: Config) {
        let mut loaded = self.loaded.lock();
        self.evaluating.set_subquery_step(evaluation_ms(&config));
        let mut warnings = Vec::new();
        if let Some(started) = self.started.get() {
            // Before anything is scraped that is to be sent on.
            let of_sending = self
                .forwarding
                .apply(&config, &started.tasks, &started.stop);
            warnings = started.manager.apply(&config);
            warnings.extend(of_sending);
            let (tasks, stop) = (&started.tasks, &started.stop);
            warnings.extend(self.alertmanagers.apply(&config, tasks, stop));
        }
        for warning in &warnings {
            tracing::warn!("PROMETHEUS_CONFIG: {warning}");
        }
        *loaded = Loaded {
            config: Some(Arc::new(config)),
            state: FileState {
                is_good: true,
                loaded_ms: self.clock.now_ms(),
                warnings,
            },
        };
    }

    /// The file as it is used; none where there is none.
    #[must_use]
    pub fn config(&self) -> Option<Arc<Config>> {
        self.loaded.lock().config.clone()
    }

    /// What the file says of rules.
    #[must_use]
    pub fn for_rules(&self) -> FromConfig {
        self.config()
            .map_or_else(FromConfig::default, |config| from_config(&config))
    }

    /// How the file is.
    #[must_use]
    pub fn state(&self) -> FileState {
        self.loaded.lock().state.clone()
    }

    /// Targets of one job or of all. Of one that another server scrapes, what its samples say.
    #[must_use]
    pub fn snapshot(&self, pool: Option<&str>) -> Snapshot {
        let started = self.started.get();
        let mut snapshot = started
            .map(|started| started.manager.snapshot(pool))
            .unwrap_or_default();
        for target in &mut snapshot.active {
            if target.status.is_elsewhere {
                target.status = self.seen(&target.endpoint.labels);
            }
        }
        snapshot
    }

    /// How a target is by the newest samples that tell of it.
    fn seen(&self, labels: &LabelSet) -> Status {
        let mut status = Status {
            is_elsewhere: true,
            ..Status::default()
        };
        let since_ms = self.clock.now_ms() - SEEN_MS;
        let newest = |name| self.newest(name, labels).filter(|(at, _)| *at >= since_ms);
        let Some((at_ms, up)) = newest("up") else {
            return status;
        };
        status.last_scrape_ms = at_ms;
        if up > 0.0 {
            status.health = Health::Up;
        } else {
            status.health = Health::Down;
            status.last_error = "another server scrapes it, and knows why it is down".to_owned();
        }
        if let Some((_, seconds)) = newest("scrape_duration_seconds") {
            status.last_duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        }
        status
    }

    /// The newest sample of what is told of a target.
    fn newest(&self, name: &str, labels: &LabelSet) -> Option<(i64, f64)> {
        let tenant = self.engine.known_tenant(DEFAULT_TENANT)?;
        let mut batch = Batch::new();
        let row = batch.begin(&[name]).and_then(|()| {
            labels
                .iter()
                .try_for_each(|(name, value)| batch.label(name, value))?;
            batch.finish(1, None, 0.0)
        });
        row.ok()?;
        let key = batch.key(batch.rows().first()?);
        let newest = self.engine.last_of(&tenant, key.as_bytes())?;
        newest.1.is_finite().then_some(newest)
    }

    /// Names of the jobs.
    #[must_use]
    pub fn pools(&self) -> Vec<String> {
        let started = self.started.get();
        started
            .map(|started| started.manager.pools())
            .unwrap_or_default()
    }

    /// What targets say of one metric or of all, by name.
    #[must_use]
    pub fn families(&self, only: Option<&str>) -> BTreeMap<String, Vec<Metric>> {
        let started = self.started.get();
        started
            .map(|started| started.manager.families(only))
            .unwrap_or_default()
    }

    /// Who is to be told of alerts.
    #[must_use]
    pub fn alertmanagers(&self) -> &Alertmanagers {
        &self.alertmanagers
    }

    /// To whom samples are sent on.
    #[must_use]
    pub fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }
}

/// Takes what is scraped into the engine. Nobody waits for the disk: a target is asked again soon.
#[derive(Debug)]
struct EngineSink {
    engine: Arc<Engine>,
    refusals: Arc<Refusals>,
    clock: Clock,
}

impl Sink for EngineSink {
    fn append(&self, handed: Handed<'_>) -> NotTaken {
        let now_ms = self.clock.now_ms();
        let tenant = match self.engine.tenant(DEFAULT_TENANT) {
            Ok(tenant) => tenant,
            Err(_full) => {
                return NotTaken {
                    total: handed.batch.rows().len() as u64,
                    first: Vec::new(),
                };
            }
        };
        let (batch, from) = (handed.batch, handed.own_from);
        let appended = self.engine.append_scraped(&tenant, batch, now_ms, from);
        if !appended.refused.is_empty() {
            let endpoint = told(handed.target);
            let of = Sent {
                tenant: DEFAULT_TENANT,
                endpoint: &endpoint,
                sender: None,
                at_ms: now_ms,
            };
            let lines = appended.refused.iter();
            let lines = lines.map(|refused| (Some(refused.line), refused.reason.to_string()));
            self.refusals.note(&of, lines);
        }
        NotTaken {
            total: appended.refused_total,
            first: appended.refused,
        }
    }
}

/// What a target is called among refusals.
fn told(target: &LabelSet) -> String {
    let (job, instance) = (target.get("job"), target.get("instance"));
    format!("scrape {{job={job:?},instance={instance:?}}}")
}
