//! Rules: those of files, those that are made while it runs and the built-in ones, which are one
//! thing; when each is evaluated, and what becomes of what it finds.
//!
//! ```text
//!   files ──┐
//!   made ───┼──▶ groups ──due──▶ a thread that may block ──▶ samples ──▶ engine
//!   built in┘                                  └──▶ alerts ──▶ the one order of all alerts
//! ```
//!
//! **A rule slows no other**: each has a time, a number of samples and memory of its own
//! ([`evaluate`]); groups that took long are evaluated one at a time, beside the
//! others. **Bounds**: [`MADE_MAX`] rules are made, [`FILE_RULES_MAX`] come from files; alerts of
//! one rule as its group's `limit` says, and as many as its memory, its tenant's and that of all
//! have room for ([`alert_bytes`]).
//!
//! Of several servers one evaluates a tenant's groups and writes what they make ([`several`]); the
//! others have its state, and one of them goes on with it.
//!
//! A group's state outlives a restart: it is kept as a document whenever an alert becomes something
//! else, and at the end. Incidents are the alerts' own (`alerting`), which the journal keeps; a
//! rule that finds its alert still there goes on with the incident.

mod alert_bytes;
mod built_in;
mod evaluate;
mod fast_series;
mod fast_written;
mod files;
mod made;
mod say;
mod schedule;
mod several;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use pulseboard_alerting::AlertEvent;
use pulseboard_engine::{DEFAULT_TENANT, Engine};
use pulseboard_rules::{Group, GroupStatus, Period, RuleSpec, group::Defaults, keep::KeptGroup};
use tokio::sync::Notify;

use self::{
    alert_bytes::{AlertBytes, Share},
    built_in::BuiltIn,
    fast_written::Written,
    made::Made,
    say::Incident,
    wanted::{GroupId, Wanted},
};
pub use self::{
    files::check,
    made::{MADE_MAX, MakeError},
    say::severity_of,
    wanted::{BUILT_IN_GROUP, FILE_RULES_MAX, FromConfig, Source, hash},
};
use crate::{
    alerts::Alerts,
    archive::Archive,
    base::{
        clock::Clock,
        documents::{Documents, Expected},
        telemetry::Telemetry,
    },
    cluster::alike::Alike,
    expressions::{Evaluating, KnownSelectors},
    settings::Settings,
};

/// A group that took this long is evaluated beside the others.
const SLOW: Duration = Duration::from_millis(500);

/// So long after a group should have been evaluated, and none was, something is wrong.
const SILENT_MS_MAX: i64 = 60_000;

/// What came in at other servers, and this one has not, is in the archive by then: stores show the
/// first samples of a series seconds after they took them. Rules of a service that is so parted
/// look at the time so far back, unless their group says otherwise.
const ARCHIVED_AFTER_MS: i64 = 30_000;

/// A group that is there.
struct Held {
    wanted: Wanted,
    /// `None` for a moment, while a newer one takes it over.
    group: Mutex<Option<Group>>,
    /// A leaf lock.
    status: Mutex<Arc<GroupStatus>>,
    /// A leaf lock.
    incidents: Mutex<HashMap<(String, u64), Incident>>,
    every_ms: i64,
    /// Tells those apart that are due at one time.
    number: u64,
    is_slow: AtomicBool,
    /// Whether its state is to be kept.
    is_dirty: AtomicBool,
    /// Evaluations since it was made; what was before is looked up after the second.
    evaluated: AtomicI64,
    /// Whether it began without what was kept.
    is_new: AtomicBool,
    /// What its alerts take.
    alert_bytes: Share,
    /// By which right it was evaluated here last, of several servers.
    term: AtomicU64,
    /// Which of the states that its evaluators wrote is known here.
    seen: AtomicU64,
    /// When its state was told to the others last, by the steady clock.
    told_ms: AtomicI64,
}

/// A group as others see it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose.
    pub tenant: Arc<str>,
    /// Where its rules come from.
    pub source: Source,
    /// The file; empty where there is none.
    pub file: String,
    /// How it and its rules are.
    pub status: Arc<GroupStatus>,
    /// Of each of its rules.
    pub rule_ids: Vec<String>,
}

/// What is told of the files.
#[derive(Clone, Debug, Default)]
pub struct FilesState {
    /// Whether they could be read the last time.
    pub is_good: bool,
    /// When they were read with success.
    pub loaded_ms: i64,
    /// What is wrong with them, a line each.
    pub problems: Vec<String>,
}

struct Groups {
    by_id: BTreeMap<GroupId, Arc<Held>>,
    files: Vec<Wanted>,
    made: BTreeMap<String, Made>,
    built_in: Vec<BuiltIn>,
    config: FromConfig,
    state: FilesState,
}

/// All rules.
pub struct Rules {
    engine: Arc<Engine>,
    clock: Clock,
    alerts: Arc<Alerts>,
    documents: Arc<Documents>,
    /// Where there are other servers.
    alike: Option<Arc<Alike>>,
    /// Where those have samples that this one has not.
    archive: Option<Arc<Archive>>,
    globs: Vec<String>,
    interval_ms: i64,
    tick_ms: i64,
    repeat_ms: i64,
    external_url: String,
    evaluating: Evaluating,
    /// What rules ask for, each time the same.
    selectors: KnownSelectors,
    timeout: Duration,
    /// Held while rules are changed, so that all changes have one order; taken before `groups`.
    changing: Mutex<()>,
    groups: Mutex<Groups>,
    /// What alerts of all rules take.
    alert_bytes: Arc<AlertBytes>,
    /// Which of the built-in rules over ticks fired last. Taken before a shard of the engine.
    fast_written: Mutex<Written>,
    /// Incidents of a run before this one that no rule has found again. A leaf lock.
    orphans: Mutex<HashMap<(String, u64), AlertEvent>>,
    /// When groups are due; those that are evaluated now are not among them. A leaf lock.
    dues: Mutex<BTreeMap<(i64, u64), Weak<Held>>>,
    next_number: AtomicU64,
    /// When a group was evaluated last, by the steady clock, and how often the most frequent one
    /// is.
    evaluated_ms: AtomicI64,
    shortest_ms: AtomicI64,
    more: Notify,
    evaluations: Counter,
    failures: Counter,
    missed: Counter,
}

impl Rules {
    /// No rules yet; see [`Rules::start`].
    #[must_use]
    pub fn new(
        settings: &Settings,
        engine: &Arc<Engine>,
        clock: Clock,
        alerts: &Arc<Alerts>,
        (documents, alike): (&Arc<Documents>, Option<&Arc<Alike>>),
        archive: Option<&Arc<Archive>>,
        (telemetry, evaluating): (&Telemetry, Evaluating),
    ) -> Arc<Self> {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Arc::new(Self {
            engine: Arc::clone(engine),
            clock,
            alerts: Arc::clone(alerts),
            documents: Arc::clone(documents),
            alike: alike.cloned(),
            archive: archive
                .filter(|archive| archive.has_what_others_have())
                .cloned(),
            globs: settings.rule_files.clone(),
            interval_ms: millis(settings.rule_interval),
            tick_ms: millis(settings.metric_interval),
            repeat_ms: millis(settings.alert_check),
            external_url: settings.external_address(),
            evaluating,
            selectors: KnownSelectors::default(),
            timeout: settings.query_timeout,
            changing: Mutex::new(()),
            groups: Mutex::new(Groups {
                by_id: BTreeMap::new(),
                files: Vec::new(),
                made: BTreeMap::new(),
                built_in: built_in::defaults(),
                config: FromConfig::default(),
                state: FilesState {
                    is_good: true,
                    ..FilesState::default()
                },
            }),
            alert_bytes: Arc::default(),
            fast_written: Mutex::default(),
            orphans: Mutex::default(),
            dues: Mutex::default(),
            next_number: AtomicU64::new(0),
            evaluated_ms: AtomicI64::new(0),
            shortest_ms: AtomicI64::new(i64::MAX),
            more: Notify::new(),
            evaluations: telemetry.counter("pulseboard_rule_evaluations", "Rules evaluated."),
            failures: telemetry.counter(
                "pulseboard_rule_evaluation_failures",
                "Rules whose evaluation failed.",
            ),
            missed: telemetry.counter(
                "pulseboard_rule_group_iterations_missed",
                "Evaluations of groups that were left out, since the one before took too long.",
            ),
        })
    }

    /// Takes up what was made before, and the files. Blocks for the disk.
    ///
    /// # Errors
    /// A file cannot be read, in one line.
    pub fn start(&self, config: FromConfig) -> Result<(), String> {
        let changing = self.changing.lock();
        let files = files::read(&config, &self.globs, self.defaults(&config))
            .map_err(|problems| problems.join("; "))?;
        self.find_fast();
        for event in self.alerts.manager().told() {
            if let Some(key) = say::key_of(&event) {
                self.orphans.lock().insert(key, event);
            }
        }
        {
            let mut groups = self.groups.lock();
            groups.made = made::all(&self.documents, built_in::is_one);
            built_in::restore(&mut groups.built_in, &self.documents);
            groups.config = config;
            groups.files = files;
            groups.state = FilesState {
                is_good: true,
                loaded_ms: self.clock.now_ms(),
                problems: Vec::new(),
            };
        }
        self.apply(true);
        // Of several servers somebody else may have gone on with them.
        if self.alike.is_none() {
            self.end_strangers();
        }
        drop(changing);
        Ok(())
    }

    /// Reads the files again and goes on by them. Blocks for the disk.
    ///
    /// # Errors
    /// All that is wrong with them, a line each; everything then is as before.
    pub fn reload(&self, config: FromConfig) -> Result<(), Vec<String>> {
        let _changing = self.changing.lock();
        match files::read(&config, &self.globs, self.defaults(&config)) {
            Ok(files) => {
                {
                    let mut groups = self.groups.lock();
                    groups.config = config;
                    groups.files = files;
                    groups.state = FilesState {
                        is_good: true,
                        loaded_ms: self.clock.now_ms(),
                        problems: Vec::new(),
                    };
                }
                self.apply(false);
                Ok(())
            }
            Err(problems) => {
                for problem in problems.iter().take(20) {
                    tracing::error!("rule files are not taken: {problem}");
                }
                let mut groups = self.groups.lock();
                groups.state.is_good = false;
                groups.state.problems.clone_from(&problems);
                Err(problems)
            }
        }
    }

    /// How the files are.
    #[must_use]
    pub fn files_state(&self) -> FilesState {
        self.groups.lock().state.clone()
    }

    /// Whether there are files to be read again.
    #[must_use]
    pub fn has_files(&self) -> bool {
        !self.globs.is_empty()
    }

    fn defaults(&self, config: &FromConfig) -> Defaults {
        Defaults {
            interval_ms: config.interval_ms.unwrap_or(self.interval_ms),
            query_offset_ms: match &self.archive {
                Some(_) => config.query_offset_ms.max(ARCHIVED_AFTER_MS),
                None => config.query_offset_ms,
            },
        }
    }

    /// Makes the groups what is wanted: what has not changed goes on as it is. `changing` is held.
    fn apply(&self, is_start: bool) {
        let now_ms = self.clock.now_ms();
        let (wanted, before, fast) = {
            let groups = self.groups.lock();
            let defaults = self.defaults(&groups.config);
            let made = groups.made.values().map(|made| made.wanted(defaults));
            let built_in = groups
                .built_in
                .iter()
                .filter_map(|rule| rule.wanted(defaults));
            let files = groups.files.iter().cloned();
            let wanted: Vec<Wanted> = files.chain(made).chain(built_in).collect();
            let fast: Vec<_> = groups.built_in.iter().filter_map(BuiltIn::fast).collect();
            (wanted, groups.by_id.clone(), fast)
        };
        let (error_rate, fast) = built_in::split(fast);
        self.alerts.manager().set_rules(fast, now_ms);
        self.alerts.manager().set_error_rate(error_rate, now_ms);
        // What is switched off, or a rule as any other from now on, is over here.
        self.write_fast(now_ms);
        self.write_error_rates(now_ms);
        let mut after = BTreeMap::new();
        let mut left = before;
        for wanted in wanted {
            let old = left.remove(&wanted.id);
            let is_same = old.as_ref().is_some_and(|old| {
                old.wanted.spec == wanted.spec && old.wanted.defaults == wanted.defaults
            });
            let id = wanted.id.clone();
            let held = match old {
                Some(old) if is_same => old,
                old => match self.make(wanted, old.as_deref(), is_start, now_ms) {
                    Some(held) => held,
                    None => continue,
                },
            };
            after.insert(id, held);
        }
        for gone in left.into_values() {
            self.end(&gone, now_ms);
        }
        let shortest_ms = after.values().map(|held| held.every_ms).min();
        // What was just made has not been late yet.
        self.evaluated_ms
            .store(self.clock.steady_ms(), Ordering::Relaxed);
        self.shortest_ms
            .store(shortest_ms.unwrap_or(i64::MAX), Ordering::Relaxed);
        self.groups.lock().by_id = after;
    }

    /// A group, with what it was before.
    fn make(
        &self,
        wanted: Wanted,
        old: Option<&Held>,
        is_start: bool,
        now_ms: i64,
    ) -> Option<Arc<Held>> {
        let mut group = match Group::new(&wanted.id.file, &wanted.spec, wanted.defaults) {
            Ok(group) => group,
            Err(problems) => {
                // What is checked where it comes in; a document of another version may differ.
                tracing::error!(
                    group = wanted.id.name,
                    ?problems,
                    "a group of rules is left out"
                );
                return None;
            }
        };
        let mut incidents = HashMap::new();
        let mut is_new = false;
        let mut stale = Vec::new();
        if let Some(old) = old {
            if let Some(before) = old.group.lock().take() {
                stale = group.take_over(before, now_ms);
            }
            incidents = std::mem::take(&mut *old.incidents.lock());
        } else if is_start {
            match self.documents.get::<KeptGroup>(&wanted.id.document()) {
                Some((_, kept)) => {
                    stale = group.take_back(&kept, now_ms);
                    self.adopt(&group, &wanted, &mut incidents);
                }
                None => {
                    group.await_restore();
                    is_new = true;
                }
            }
        }
        if !stale.is_empty() && self.writes_for(&wanted.id.tenant) {
            self.write(&wanted.id.tenant, &stale);
        }
        let every_ms = match group.interval_ms() {
            0 => self.tick_ms,
            every => every,
        };
        let due_ms = match group.interval_ms() {
            // With the tick.
            0 => now_ms.div_euclid(every_ms) * every_ms + every_ms,
            _ => {
                let last_ms = group.eval_timestamp(now_ms);
                // A rule that was just made says at once how it is.
                if is_start {
                    last_ms + every_ms
                } else {
                    last_ms
                }
            }
        };
        let held = Arc::new(Held {
            status: Mutex::new(Arc::new(group.status())),
            group: Mutex::new(Some(group)),
            incidents: Mutex::new(incidents),
            every_ms,
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            // Until it has shown that it is not.
            is_slow: AtomicBool::new(old.is_some_and(|old| old.is_slow.load(Ordering::Relaxed))),
            is_dirty: AtomicBool::new(true),
            evaluated: AtomicI64::new(0),
            is_new: AtomicBool::new(is_new),
            alert_bytes: self.alert_bytes.share(&wanted.id.tenant),
            term: AtomicU64::new(old.map_or(0, |old| old.term.load(Ordering::Relaxed))),
            seen: AtomicU64::new(old.map_or(0, |old| old.seen.load(Ordering::Relaxed))),
            told_ms: AtomicI64::new(i64::MIN / 2),
            wanted,
        });
        // Rules that are gone or were renamed cannot end their alerts any more.
        let known: BTreeSet<&String> = held.wanted.rule_ids.iter().collect();
        let ended: Vec<_> = {
            let mut incidents = held.incidents.lock();
            let gone: Vec<_> = incidents
                .keys()
                .filter(|(rule, _)| !known.contains(rule))
                .cloned()
                .collect();
            gone.iter()
                .filter_map(|key| incidents.remove(key))
                .collect()
        };
        for incident in ended {
            self.tell_for(&held.wanted.id.tenant, incident.ended(now_ms));
        }
        self.schedule(&held, due_ms);
        Some(held)
    }

    /// Incidents of a run before this one whose alerts still fire go on: of what was said lately
    /// nothing is said for a while.
    fn adopt(
        &self,
        group: &Group,
        wanted: &Wanted,
        incidents: &mut HashMap<(String, u64), Incident>,
    ) {
        let mut orphans = self.orphans.lock();
        for (rule, id) in group.status().rules.iter().zip(&wanted.rule_ids) {
            for alert in rule.alerts.iter().filter(|alert| say::fires(alert)) {
                let key = (id.clone(), alert.fingerprint());
                if let Some(event) = orphans.remove(&key) {
                    incidents.insert(key, Incident::of(event));
                }
            }
        }
    }

    /// A group that is no more: its series and alerts end.
    fn end(&self, gone: &Held, now_ms: i64) {
        let tenant = &gone.wanted.id.tenant;
        if let Some(group) = gone.group.lock().take()
            && self.writes_for(tenant)
        {
            let cost = self.cost();
            let samples = self.with_env(tenant, &cost, |env| group.end(now_ms, env).0);
            self.write(tenant, &samples.unwrap_or_default());
        }
        let incidents = std::mem::take(&mut *gone.incidents.lock());
        for incident in incidents.into_values() {
            self.tell_for(tenant, incident.ended(now_ms));
        }
        self.forget_state(gone);
        if let Err(error) = self
            .documents
            .delete(&gone.wanted.id.document(), Expected::Any)
        {
            tracing::warn!(%error, "the state of rules that are gone could not be removed");
        }
    }

    /// Incidents of a run before this one whose rules are gone end now.
    fn end_strangers(&self) {
        let known: BTreeSet<String> = {
            let groups = self.groups.lock();
            let held = groups.by_id.values();
            held.flat_map(|held| held.wanted.rule_ids.iter().cloned())
                .collect()
        };
        let now_ms = self.clock.now_ms();
        let strangers: Vec<AlertEvent> = {
            let mut orphans = self.orphans.lock();
            let gone: Vec<_> = orphans
                .keys()
                .filter(|(rule, _)| !known.contains(rule) && !say::is_foreign(rule))
                .cloned()
                .collect();
            gone.iter().filter_map(|key| orphans.remove(key)).collect()
        };
        for event in strangers {
            self.alerts.manager().tell(say::ended(event, now_ms));
        }
    }

    /// Every group that a caller of this tenant may see, in the order of files, then names. The
    /// built-in rules that are evaluated with the tick are in [`Rules::built_in`].
    #[must_use]
    pub fn shown(&self, tenant: &str) -> Vec<Shown> {
        let groups = self.groups.lock();
        let seen = groups.by_id.values().filter(|held| held.is_seen_by(tenant));
        seen.map(|held| held.shown()).collect()
    }

    /// The built-in rules: id, as it is written, and whether it is one that every tick is compared
    /// with.
    #[must_use]
    pub fn built_in(&self) -> Vec<(&'static str, RuleSpec, bool)> {
        let groups = self.groups.lock();
        let rules = groups.built_in.iter();
        rules
            .map(|rule| {
                (
                    rule.id(),
                    rule.spec.clone(),
                    rule.wanted(self.defaults(&groups.config)).is_none(),
                )
            })
            .collect()
    }

    /// A rule that was made, as it is written.
    #[must_use]
    pub fn made(&self, id: &str) -> Option<RuleSpec> {
        let groups = self.groups.lock();
        groups.made.get(id).map(|made| made.spec.clone())
    }

    /// The group of a rule that a caller of this tenant may see, and its place there.
    #[must_use]
    pub fn find(&self, tenant: &str, id: &str) -> Option<(Shown, usize)> {
        let groups = self.groups.lock();
        let mut seen = groups.by_id.values().filter(|held| held.is_seen_by(tenant));
        seen.find_map(|held| {
            let mut ids = held.wanted.rule_ids.iter();
            let index = ids.position(|own| own == id)?;
            Some((held.shown(), index))
        })
    }

    /// The revision of a built-in rule that was changed.
    #[must_use]
    pub fn revision(&self, id: &str) -> u64 {
        let document = made::document(id);
        let all = self.documents.list(&document);
        all.into_iter()
            .find(|(name, _)| *name == document)
            .map_or(0, |(_, revision)| revision.0)
    }

    /// Makes a rule. Blocks for the disk.
    ///
    /// # Errors
    /// There are too many, it is not in order, or the disk refuses.
    pub fn make_rule(&self, tenant: &Arc<str>, spec: RuleSpec) -> Result<String, MakeError> {
        let _changing = self.changing.lock();
        made::check(&spec)?;
        {
            let groups = self.groups.lock();
            let of_tenant = groups.made.values();
            let of_tenant = of_tenant.filter(|made| made.tenant == *tenant).count();
            made::room(groups.made.len(), of_tenant)?;
        }
        let made_ms = self.clock.now_ms();
        let id = pulseboard_alerting::new_id(made_ms).to_string();
        let made = Made {
            id: id.clone(),
            tenant: Arc::clone(tenant),
            spec,
            made_ms,
        };
        self.documents
            .put(&made::document(&id), Expected::New, &made)?;
        self.groups.lock().made.insert(id.clone(), made);
        self.apply(false);
        Ok(id)
    }

    /// Changes a rule that was made, or a built-in one. Blocks for the disk.
    ///
    /// # Errors
    /// It is not in order, somebody has changed it meanwhile, or the disk refuses.
    pub fn change_rule(
        &self,
        id: &str,
        spec: RuleSpec,
        expected: Expected,
    ) -> Result<(), MakeError> {
        let _changing = self.changing.lock();
        made::check(&spec)?;
        let is_built_in = built_in::is_one(id);
        if is_built_in {
            built_in::check(&spec)?;
        }
        let tenant = {
            let groups = self.groups.lock();
            match groups.made.get(id) {
                Some(made) => Arc::clone(&made.tenant),
                None if is_built_in => DEFAULT_TENANT.into(),
                None => return Err(MakeError::Unknown),
            }
        };
        let made = Made {
            id: id.to_owned(),
            tenant,
            spec: spec.clone(),
            made_ms: self.clock.now_ms(),
        };
        self.documents.put(&made::document(id), expected, &made)?;
        {
            let mut groups = self.groups.lock();
            if is_built_in {
                built_in::set(&mut groups.built_in, id, spec);
            } else {
                groups.made.insert(id.to_owned(), made);
            }
        }
        self.apply(false);
        Ok(())
    }

    /// Removes a rule that was made; makes a built-in one what it was. Blocks for the disk.
    ///
    /// # Errors
    /// There is none, or the disk refuses.
    pub fn remove_rule(&self, id: &str, expected: Expected) -> Result<(), MakeError> {
        let _changing = self.changing.lock();
        let is_built_in = built_in::is_one(id);
        if !is_built_in && !self.groups.lock().made.contains_key(id) {
            return Err(MakeError::Unknown);
        }
        self.documents.delete(&made::document(id), expected)?;
        {
            let mut groups = self.groups.lock();
            groups.made.remove(id);
            if is_built_in {
                built_in::reset(&mut groups.built_in, id);
            }
        }
        self.apply(false);
        Ok(())
    }

    /// Whether groups are evaluated: where there are some, one was when it should have been.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let silent_ms = self.clock.steady_ms() - self.evaluated_ms.load(Ordering::Relaxed);
        let shortest_ms = self.shortest_ms.load(Ordering::Relaxed);
        silent_ms <= shortest_ms.saturating_add(SILENT_MS_MAX)
    }

    /// What a rule without `every` is evaluated at.
    #[must_use]
    pub fn every(&self, spec: &RuleSpec) -> i64 {
        let groups = self.groups.lock();
        let every = spec.every.map(Period::as_millis);
        match every {
            Some(0) => self.tick_ms,
            Some(every_ms) => every_ms,
            None => self.defaults(&groups.config).interval_ms,
        }
    }
}

impl Held {
    /// Whether it is of a tenant, or the server's.
    fn is_seen_by(&self, tenant: &str) -> bool {
        &*self.wanted.id.tenant == tenant || self.wanted.source == Source::BuiltIn
    }

    fn shown(&self) -> Shown {
        Shown {
            tenant: Arc::clone(&self.wanted.id.tenant),
            source: self.wanted.source,
            file: match self.wanted.source {
                Source::File => self.wanted.id.file.clone(),
                _ => String::new(),
            },
            status: Arc::clone(&self.status.lock()),
            rule_ids: self.wanted.rule_ids.clone(),
        }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("groups", &self.groups.lock().by_id.len())
            .finish_non_exhaustive()
    }
}
