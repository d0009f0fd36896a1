//! Jobs and their targets: started from the file, changed by discovery, kept across a reload.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::Mutex;
use pulseboard_outbound::secret::hide_password;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod job;

use self::job::job;
use crate::{
    active::{ActiveTarget, Status},
    config::{Config, JobConfig},
    context::{Context, Job},
    discovery::{self, Source},
    finding::{Finding, News, Told},
    labels::LabelSet,
    metadata::{Metadata, Metric},
    scheduler::Scheduler,
    sink::{Sink, Turns, WallClock},
    target::{self, Endpoint, Found},
};

/// Targets of one job; what is found past it is not scraped, and told.
const TARGETS_MAX: usize = 100_000;
/// Targets that a rule dropped and that are shown, of one job.
const DROPPED_KEPT_MAX: usize = 1000;

/// Of what is new and wrong with the targets of a job, so much goes to the log.
const PROBLEMS_LOGGED: usize = 10;

/// Metrics of which it is told what they are.
const FAMILIES_MAX: usize = 20_000;
/// Of each so many that differ.
const DIFFERENT_MAX: usize = 10;

/// Everything that is scraped.
#[derive(Debug)]
pub struct Manager {
    context: Arc<Context>,
    scheduler: Arc<Scheduler>,
    pools: Mutex<BTreeMap<String, Pool>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One job.
#[derive(Debug)]
struct Pool {
    config: JobConfig,
    folder: PathBuf,
    job: Arc<Job>,
    sources: Vec<Finding>,
    targets: HashMap<u64, Arc<ActiveTarget>>,
    dropped: Vec<LabelSet>,
    dropped_count: usize,
    problems: Vec<String>,
}

/// A target and what is known of it.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// The job's name in the file.
    pub pool: String,
    pub endpoint: Arc<Endpoint>,
    pub status: Status,
    /// What it says of its metrics.
    pub metadata: Option<Metadata>,
}

/// All targets at one moment, by job.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub active: Vec<TargetView>,
    /// What relabelling dropped: job, and labels before it. The first thousand of each job.
    pub dropped: Vec<(String, LabelSet)>,
    /// How many were dropped, of each job.
    pub dropped_counts: BTreeMap<String, usize>,
    /// What is wrong with how targets are found, of each job, in words.
    pub problems: BTreeMap<String, Vec<String>>,
}

impl Manager {
    /// Scrapes nothing yet. Its tasks are put into `tasks` and end when `stop` is cancelled; series
    /// are not marked as ended then.
    #[must_use]
    pub fn start(
        sink: Arc<dyn Sink>,
        clock: WallClock,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Self::start_among(sink, clock, Turns::all(), tasks, stop)
    }

    /// As [`Self::start`], beside others who scrape by the same file: of what is found only what
    /// `turns` gives to this one is scraped, and everything is shown.
    #[must_use]
    pub fn start_among(
        sink: Arc<dyn Sink>,
        clock: WallClock,
        turns: Turns,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let manager = Arc::new(Self {
            context: Arc::new(Context::new(sink, clock, turns)),
            scheduler: Arc::default(),
            pools: Mutex::default(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        let scheduler = Arc::clone(&manager.scheduler);
        let context = Arc::clone(&manager.context);
        let all = tasks.clone();
        tasks.spawn(async move { scheduler.run(context, all, stop).await });
        manager
    }

    /// Scrapes what `config` says from now on. What it has in common with what was scraped before
    /// goes on undisturbed; series of targets that are gone are marked as ended. Returned is what
    /// cannot be done, in words.
    pub fn apply(self: &Arc<Self>, config: &Config) -> Vec<String> {
        let mut warnings = config.warnings();
        let mut pools = self.pools.lock();
        let mut before = std::mem::take(&mut *pools);
        for wanted in &config.scrape_configs {
            let name = wanted.job_name.clone();
            let old = before.remove(&name);
            if let Some(old) = old
                .as_ref()
                .filter(|old| old.config == *wanted && old.folder == config.folder)
            {
                warnings.extend(old.problems.iter().cloned());
            }
            match self.pool(wanted, config, old) {
                Ok(pool) => {
                    if let Some(problem) = pool.job.client.problem() {
                        warnings.push(format!(
                            "job {name:?}: {problem}; its targets are down until that is mended"
                        ));
                    }
                    pools.insert(name, pool);
                }
                Err(problem) => warnings.push(format!("job {name:?}: {problem}")),
            }
        }
        for pool in before.into_values() {
            self.end(pool);
        }
        warnings
    }

    /// A pool for a job, with all of `old` that still fits.
    fn pool(
        self: &Arc<Self>,
        wanted: &JobConfig,
        config: &Config,
        old: Option<Pool>,
    ) -> Result<Pool, String> {
        let folder = config.folder.clone();
        let old = match old {
            Some(old) if old.config == *wanted && old.folder == folder => return Ok(old),
            other => other,
        };
        let job = match job(wanted, config) {
            Ok(job) => Arc::new(job),
            Err(problem) => {
                old.into_iter().for_each(|old| self.end(old));
                return Err(problem);
            }
        };
        let (mut sources, targets, problems) = old
            .map(|old| (old.sources, old.targets, old.problems))
            .unwrap_or_default();
        let mut pool = Pool {
            config: wanted.clone(),
            folder: folder.clone(),
            job,
            sources: Vec::new(),
            targets,
            dropped: Vec::new(),
            dropped_count: 0,
            problems,
        };
        for source in discovery::sources(&wanted.finders(), &folder) {
            pool.sources
                .push(match Finding::take(&mut sources, &source) {
                    Some(known) => known,
                    None => self.find(&wanted.job_name, source),
                });
        }
        self.renew(&mut pool);
        Ok(pool)
    }

    /// Starts to look for targets.
    fn find(self: &Arc<Self>, pool: &str, source: Source) -> Finding {
        let (pool, manager) = (pool.to_owned(), Arc::downgrade(self));
        Finding::start(source, &self.tasks, &self.stop, move |told| {
            if let Some(manager) = manager.upgrade() {
                manager.publish(&pool, told);
            }
        })
    }

    fn publish(&self, pool: &str, (number, found): Told) {
        let mut pools = self.pools.lock();
        let Some(pool) = pools.get_mut(pool) else {
            return;
        };
        let mut sources = pool.sources.iter_mut();
        let Some(source) = sources.find(|source| source.number() == number) else {
            return;
        };
        match source.hear(found) {
            News::Nothing => {}
            News::Groups => self.renew(pool),
            News::Problem => {
                let (job, problem) = (&pool.config.job_name, source.problem());
                tracing::warn!(job, problem, "targets are not found");
            }
        }
    }

    /// Makes targets of what was found: begins with the new ones and ends those that are gone.
    fn renew(&self, pool: &mut Pool) {
        let mut before = std::mem::take(&mut pool.targets);
        pool.dropped.clear();
        pool.dropped_count = 0;
        let told: HashSet<String> = std::mem::take(&mut pool.problems).into_iter().collect();
        let groups = pool.sources.iter().flat_map(Finding::groups);
        for found in groups.flat_map(|group| target::targets(&pool.config, group)) {
            let endpoint = match found {
                Found::Kept(endpoint) => Arc::new(endpoint),
                Found::Dropped(labels) => {
                    pool.dropped_count += 1;
                    if pool.dropped.len() < kept_max(&pool.config) {
                        pool.dropped.push(labels);
                    }
                    continue;
                }
                Found::Wrong(labels, why) => {
                    pool.problems.push(format!(
                        "{}: {why}",
                        hide_password(labels.get("__address__"))
                    ));
                    continue;
                }
            };
            if pool.targets.contains_key(&endpoint.identity) {
                continue;
            }
            if pool.targets.len() >= TARGETS_MAX {
                pool.problems
                    .push(format!("more than {TARGETS_MAX} targets"));
                break;
            }
            let identity = endpoint.identity;
            let target = match before.remove(&identity) {
                Some(target) => {
                    if target.update(endpoint, Arc::clone(&pool.job)) {
                        self.scheduler.plan(&target, self.context.clock.now_ms());
                    }
                    target
                }
                None => {
                    let target = ActiveTarget::new(endpoint, Arc::clone(&pool.job));
                    self.scheduler.plan(&target, self.context.clock.now_ms());
                    target
                }
            };
            pool.targets.insert(identity, target);
        }
        log_new(&pool.config.job_name, &told, &pool.problems);
        pool.job.found.store(pool.targets.len(), Ordering::Relaxed);
        for target in before.into_values() {
            target.retire(&self.context);
        }
    }

    fn end(&self, pool: Pool) {
        for target in pool.targets.into_values() {
            target.retire(&self.context);
        }
    }

    /// What targets say of their metrics, of one metric or of all, by name; what differs stands
    /// beside each other. So many metrics at most.
    #[must_use]
    pub fn families(&self, only: Option<&str>) -> BTreeMap<String, Vec<Metric>> {
        let pools = self.pools.lock();
        let targets = pools.values().flat_map(|pool| pool.targets.values());
        // Most targets of a job share one text.
        let mut texts: Vec<Metadata> = targets.filter_map(|target| target.metadata()).collect();
        drop(pools);
        let mut seen = HashSet::new();
        texts.retain(|text| seen.insert(Arc::as_ptr(text)));
        let mut families: BTreeMap<String, Vec<Metric>> = BTreeMap::new();
        let wanted = |told: &&Metric| only.is_none_or(|only| only == told.metric);
        for told in texts.iter().flat_map(|text| text.iter()).filter(wanted) {
            if families.len() >= FAMILIES_MAX && !families.contains_key(&told.metric) {
                continue;
            }
            let known = families.entry(told.metric.clone()).or_default();
            if known.len() < DIFFERENT_MAX && !known.contains(told) {
                known.push(told.clone());
            }
        }
        families
    }

    /// Names of all jobs.
    #[must_use]
    pub fn pools(&self) -> Vec<String> {
        self.pools.lock().keys().cloned().collect()
    }

    /// All targets, of one job or of all; by job, then by address.
    #[must_use]
    pub fn snapshot(&self, only: Option<&str>) -> Snapshot {
        let pools = self.pools.lock();
        let mut snapshot = Snapshot::default();
        for (name, pool) in pools
            .iter()
            .filter(|(name, _)| only.is_none_or(|o| o == *name))
        {
            let from = snapshot.active.len();
            snapshot
                .active
                .extend(pool.targets.values().map(|target| TargetView {
                    pool: name.clone(),
                    endpoint: target.endpoint(),
                    status: target.status(),
                    metadata: target.metadata(),
                }));
            snapshot.active[from..].sort_by(|a, b| {
                (&a.endpoint.url, &a.endpoint.labels).cmp(&(&b.endpoint.url, &b.endpoint.labels))
            });
            let dropped = pool.dropped.iter().cloned();
            snapshot
                .dropped
                .extend(dropped.map(|labels| (name.clone(), labels)));
            snapshot
                .dropped_counts
                .insert(name.clone(), pool.dropped_count);
            let mut problems = pool.problems.clone();
            problems.extend(
                pool.sources
                    .iter()
                    .filter_map(|source| source.problem().cloned()),
            );
            problems.extend(
                pool.config
                    .unsupported()
                    .iter()
                    .map(|kind| format!("{kind} is not supported")),
            );
            if !problems.is_empty() {
                snapshot.problems.insert(name.clone(), problems);
            }
        }
        snapshot
    }
}

/// Says once what cannot be scraped: the rest of a job's targets go on, and nobody may look at
/// them.
fn log_new(job: &str, told: &HashSet<String>, problems: &[String]) {
    let mut new = problems.iter().filter(|problem| !told.contains(*problem));
    for problem in new.by_ref().take(PROBLEMS_LOGGED) {
        tracing::warn!(job, problem, "a target cannot be scraped");
    }
    let more = new.count();
    if more > 0 {
        tracing::warn!(job, "{more} more targets cannot be scraped");
    }
}

fn kept_max(config: &JobConfig) -> usize {
    match usize::try_from(config.keep_dropped_targets) {
        Ok(0) | Err(_) => DROPPED_KEPT_MAX,
        Ok(limit) => limit.min(DROPPED_KEPT_MAX),
    }
}
