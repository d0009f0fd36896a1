//! A group of rules, evaluated one after the other over a storage.

use std::sync::Arc;

use foldhash::{HashSet, HashSetExt};
use pulseboard_promql::{
    Answer, EvalError, Expr, Labels, Samples,
    ast::{MatchOp, Matcher},
    instant,
    labels::NAME,
    storage::Hints,
};
use pulseboard_series::{STALE_MARKER_BITS, is_stale_marker};
use serde::{Deserialize, Serialize};

pub use crate::env::Env;
use crate::{
    expand::Expander,
    rule::Rule,
    spec::{GroupSpec, Problem, RuleSpec, is_label_name},
    state::{ALERTS_BYTES_MAX, Alert, Change, Machine, Seen, State, fingerprint, labels_of},
    template::ALERT_NAME,
};

/// How long ago a run before this one may have ended for its pending alerts to go on.
pub const OUTAGE_TOLERANCE_MS: i64 = 3_600_000;

/// What an alert waits at least after a restart; rules with a shorter `for` begin anew.
pub const FOR_GRACE_MS: i64 = 600_000;

/// Series that one rule may record, or alerts that it may have; more are an error of the rule.
pub const SERIES_MAX: usize = 50_000;

/// What groups take that say nothing themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `evaluation_interval`; 0 for each tick.
    pub interval_ms: i64,
    /// `rule_query_offset`.
    pub query_offset_ms: i64,
}

/// A sample that a rule made.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of which series.
    pub labels: Labels,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// A stale marker where the series is over.
    pub value: f64,
}

impl Sample {
    /// Whether it says that its series is over.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale_marker(self.value)
    }
}

/// What one evaluation of one rule came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// To be written, in this order, before the next rule is evaluated: those that were recorded,
    /// or `ALERTS` and `ALERTS_FOR_STATE`; then stale markers of what was there before.
    pub samples: Vec<Sample>,
    /// Alerts that became something else.
    pub changes: Vec<Change>,
    /// Alerts that are to be said now: those that fire and were not said for the resend delay, and
    /// those that are over.
    pub due: Vec<Alert>,
    /// Why there is no answer; then nothing else has changed.
    pub error: Option<String>,
    /// Warnings of the expression, with line and column.
    pub warnings: Vec<String>,
    /// Infos, likewise.
    pub infos: Vec<String>,
}

/// How a rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not yet evaluated.
    #[default]
    Unknown,
    /// Evaluated.
    Ok,
    /// Failed.
    Err,
}

impl Health {
    /// As the API says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// A rule as others see it.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// As it is written, its group's labels among its own.
    pub spec: Arc<RuleSpec>,
    /// Its expression, as Prometheus prints it.
    pub query: Arc<str>,
    /// How it is.
    pub health: Health,
    /// Empty where there is none.
    pub last_error: String,
    /// When it was evaluated last.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// The state of an alerting rule: the highest of its alerts'.
    pub state: State,
    /// Pending and firing alerts, in the order of their labels.
    pub alerts: Vec<Alert>,
}

/// A group as others see it.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The file it comes from, or whatever tells groups of one name apart.
    pub file: String,
    /// 0: each tick.
    pub interval_ms: i64,
    /// See [`GroupSpec::query_offset`].
    pub query_offset_ms: i64,
    /// 0: any number.
    pub limit: usize,
    /// When it was evaluated last.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// Its rules.
    pub rules: Vec<RuleStatus>,
}

/// A rule of a group, and what it is doing.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) rule: Rule,
    pub(crate) machine: Machine,
    /// Series of the last evaluation, in the order in which they were made.
    pub(crate) written: Vec<Labels>,
    /// What those of an alerting rule were made for, two for each; nothing where that is not known.
    said: Vec<(Labels, State)>,
    /// What the expression called the series that were recorded, and what they are called; nothing
    /// where they are many.
    recorded: Vec<(Labels, Labels)>,
    /// Whether its `ALERTS` may be written: what they were has been looked up.
    is_restored: bool,
    pub(crate) health: Health,
    pub(crate) last_error: String,
    pub(crate) last_evaluation_ms: Option<i64>,
    pub(crate) evaluation_seconds: f64,
}

/// A group of rules and their state.
#[derive(Debug)]
pub struct Group {
    name: String,
    file: String,
    interval_ms: i64,
    query_offset_ms: i64,
    limit: usize,
    pub(crate) runners: Vec<Runner>,
    pub(crate) last_evaluation_ms: Option<i64>,
    pub(crate) evaluation_seconds: f64,
}

impl Group {
    /// A group of `file` (or of whatever tells groups of one name apart). None of its rules has
    /// been evaluated.
    ///
    /// # Errors
    /// What is wrong with its rules: the number of each from 0, and the problem; `None` for the
    /// group.
    pub fn new(
        file: &str,
        spec: &GroupSpec,
        defaults: Defaults,
    ) -> Result<Self, Vec<(Option<usize>, Problem)>> {
        let mut problems = Vec::new();
        if spec.name.is_empty() {
            problems.push((
                None,
                Problem {
                    field: "name".to_owned(),
                    what: "Groupname must not be empty".to_owned(),
                },
            ));
        }
        for name in spec.labels.keys() {
            if !is_label_name(name) || name == NAME {
                problems.push((
                    None,
                    Problem {
                        field: format!("labels.{name}"),
                        what: format!("invalid label name: {name}"),
                    },
                ));
            }
        }
        let mut runners = Vec::with_capacity(spec.rules.len());
        for (index, rule) in spec.rules.iter().enumerate() {
            let mut rule = rule.clone();
            for (name, text) in &spec.labels {
                let set = rule.labels.entry(name.clone());
                set.or_insert_with(|| text.clone());
            }
            match Rule::new(rule) {
                Ok(rule) => runners.push(Runner::new(rule)),
                Err(found) => {
                    problems.extend(found.into_iter().map(|problem| (Some(index), problem)));
                }
            }
        }
        match problems.is_empty() {
            true => Ok(Self {
                name: spec.name.clone(),
                file: file.to_owned(),
                interval_ms: spec
                    .interval
                    .map_or(defaults.interval_ms, |interval| interval.as_millis()),
                query_offset_ms: spec
                    .query_offset
                    .map_or(defaults.query_offset_ms, |offset| offset.as_millis()),
                limit: usize::try_from(spec.limit).unwrap_or_default(),
                runners,
                last_evaluation_ms: None,
                evaluation_seconds: 0.0,
            }),
            false => Err(problems),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it comes from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How often it is evaluated; 0 for each tick.
    #[must_use]
    pub const fn interval_ms(&self) -> i64 {
        self.interval_ms
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runners.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runners.is_empty()
    }

    /// Its rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.runners.iter().map(|runner| &runner.rule)
    }

    /// What labels and annotations of all its alerts take, in bytes.
    #[must_use]
    pub fn alert_bytes(&self) -> usize {
        let runners = self.runners.iter();
        runners.map(|runner| runner.machine.bytes()).sum()
    }

    /// How much they may take of each rule, where that is less than
    /// [`crate::state::ALERTS_BYTES_MAX`]: a rule that would need more fails.
    pub fn hold_alerts_within(&mut self, bytes: usize) {
        for runner in &mut self.runners {
            runner.machine.bytes_max = bytes.min(ALERTS_BYTES_MAX);
        }
    }

    /// The last time, up to `start_ms`, at which it is evaluated: times of groups lie apart by what
    /// their names and files come to. Then every interval. A group of each tick: `start_ms`.
    #[must_use]
    pub fn eval_timestamp(&self, start_ms: i64) -> i64 {
        eval_timestamp(&self.file, &self.name, self.interval_ms, start_ms)
    }

    /// Evaluates one rule at a time. What comes is written, samples first, before the next one is
    /// evaluated. A rule that there is not: nothing.
    pub fn evaluate_rule(&mut self, index: usize, at_ms: i64, env: &Env<'_>) -> Outcome {
        let (offset_ms, limit, interval_ms) = (self.query_offset_ms, self.limit, self.interval_ms);
        match self.runners.get_mut(index) {
            Some(runner) => runner.evaluate(at_ms, (offset_ms, limit, interval_ms), env),
            None => Outcome::default(),
        }
    }

    /// Keeps how long a rule took.
    pub fn rule_evaluated(&mut self, index: usize, seconds: f64) {
        if let Some(runner) = self.runners.get_mut(index) {
            runner.evaluation_seconds = seconds;
        }
    }

    /// Keeps how long all of it took.
    pub fn evaluated(&mut self, at_ms: i64, seconds: f64) {
        self.last_evaluation_ms = Some(at_ms);
        self.evaluation_seconds = seconds;
    }

    /// As others see it now; its texts are shared.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        GroupStatus {
            name: self.name.clone(),
            file: self.file.clone(),
            interval_ms: self.interval_ms,
            query_offset_ms: self.query_offset_ms,
            limit: self.limit,
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_seconds: self.evaluation_seconds,
            rules: self.runners.iter().map(Runner::status).collect(),
        }
    }

    /// Goes on where an older version of the group is: alerts and series of rules with the same
    /// name and labels. What comes is to be written: stale markers for the series of the others.
    pub fn take_over(&mut self, mut old: Self, at_ms: i64) -> Vec<Sample> {
        self.last_evaluation_ms = old.last_evaluation_ms;
        self.evaluation_seconds = old.evaluation_seconds;
        for runner in &mut self.runners {
            let same = old
                .runners
                .iter()
                .position(|one| one.is_same(runner.rule.spec()));
            let Some(same) = same else { continue };
            let one = old.runners.swap_remove(same);
            runner.machine = one.machine;
            runner.written = one.written;
            runner.is_restored = one.is_restored;
            runner.health = one.health;
            runner.last_error = one.last_error;
            runner.last_evaluation_ms = one.last_evaluation_ms;
            runner.evaluation_seconds = one.evaluation_seconds;
        }
        let kept: HashSet<&Labels> = self
            .runners
            .iter()
            .flat_map(|runner| &runner.written)
            .collect();
        let gone = old.runners.iter().flat_map(|runner| &runner.written);
        gone.filter(|labels| !kept.contains(labels))
            .map(|labels| stale(labels.clone(), at_ms))
            .collect()
    }

    /// Stale markers for all its series, where it is no more, and the alerts that are over by that.
    #[must_use]
    pub fn end(mut self, at_ms: i64, env: &Env<'_>) -> (Vec<Sample>, Vec<Change>, Vec<Alert>) {
        let (mut samples, mut changes, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for runner in &mut self.runners {
            let ended = runner.end(at_ms - self.query_offset_ms);
            samples.extend(ended.0);
            changes.extend(ended.1);
            due.extend(
                runner
                    .machine
                    .due(at_ms, env.resend_delay_ms, self.interval_ms),
            );
        }
        (samples, changes, due)
    }

    /// From here to [`Group::restore`] no `ALERTS` are written, so that what they were is still to
    /// be found. For groups that begin without [`crate::keep`].
    pub fn await_restore(&mut self) {
        for runner in &mut self.runners {
            runner.is_restored = false;
        }
    }

    /// Looks for the pending time that alerts had before, in `ALERTS_FOR_STATE`: as Prometheus
    /// does, after a second evaluation. [`OUTAGE_TOLERANCE_MS`] and [`FOR_GRACE_MS`] are its
    /// defaults.
    ///
    /// # Errors
    /// The storage cannot be read; then pending alerts begin anew.
    pub fn restore(
        &mut self,
        at_ms: i64,
        env: &Env<'_>,
        outage_tolerance_ms: i64,
        for_grace_ms: i64,
    ) -> Result<(), EvalError> {
        let mut restored = Ok(());
        for runner in &mut self.runners {
            let hold_ms = runner.rule.spec().hold.as_millis();
            if runner.rule.is_alert() && hold_ms >= for_grace_ms && restored.is_ok() {
                restored = runner.restore(at_ms, env, outage_tolerance_ms, for_grace_ms);
            }
            runner.is_restored = true;
        }
        restored
    }
}

/// See [`Group::eval_timestamp`].
#[must_use]
pub fn eval_timestamp(file: &str, name: &str, interval_ms: i64, start_ms: i64) -> i64 {
    if interval_ms <= 0 {
        return start_ms;
    }
    let hash = fingerprint(&labels_of([("file", file), ("name", name)]));
    let offset_ms = i64::try_from(hash % interval_ms.unsigned_abs()).unwrap_or_default();
    let from_ms = start_ms.saturating_sub(offset_ms);
    from_ms.saturating_sub(from_ms.rem_euclid(interval_ms)) + offset_ms
}

/// When a group is evaluated after `previous_ms`, where it is `now_ms`: how many evaluations were
/// missed, and the time of the next one.
#[must_use]
pub fn next_iteration(previous_ms: i64, now_ms: i64, interval_ms: i64) -> (i64, i64) {
    if interval_ms <= 0 {
        return (0, now_ms);
    }
    let missed = (now_ms.saturating_sub(previous_ms) / interval_ms - 1).max(0);
    (missed, previous_ms + (missed + 1) * interval_ms)
}

/// Where a rule records no more series than this, what they are called is remembered.
const REMEMBERED_MAX: usize = 64;

fn enough(series: usize) -> Result<(), String> {
    match series > SERIES_MAX {
        true => Err(format!(
            "{series} series are more than one rule may have ({SERIES_MAX}); aggregate them, or choose fewer"
        )),
        false => Ok(()),
    }
}

fn stale(labels: Labels, at_ms: i64) -> Sample {
    Sample {
        labels,
        at_ms,
        value: f64::from_bits(STALE_MARKER_BITS),
    }
}

/// The vector of an expression; a scalar is one series.
pub(crate) fn vector(
    expr: &Expr,
    at_ms: i64,
    env: &Env<'_>,
) -> Result<(Vec<(Labels, f64)>, pulseboard_promql::Notes), String> {
    let (answer, notes) = instant(expr, at_ms, env.storage, env.guard, env.options)
        .map_err(|error| error.to_string())?;
    match answer {
        Answer::Vector(series) => Ok((
            series
                .into_iter()
                .map(|(labels, (_, value))| (labels, value))
                .collect(),
            notes,
        )),
        Answer::Scalar((_, value)) => Ok((vec![(Labels::default(), value)], notes)),
        Answer::Text(..) | Answer::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}

impl Runner {
    fn new(rule: Rule) -> Self {
        Self {
            rule,
            machine: Machine::new(),
            written: Vec::new(),
            said: Vec::new(),
            recorded: Vec::new(),
            is_restored: true,
            health: Health::Unknown,
            last_error: String::new(),
            last_evaluation_ms: None,
            evaluation_seconds: 0.0,
        }
    }

    /// Whether it goes on as a rule that is written so.
    pub(crate) fn is_same(&self, spec: &RuleSpec) -> bool {
        let own = self.rule.spec();
        own.alert == spec.alert && own.record == spec.record && own.labels == spec.labels
    }

    fn evaluate(
        &mut self,
        at_ms: i64,
        (offset_ms, limit, interval_ms): (i64, usize, i64),
        env: &Env<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let looked_ms = at_ms.saturating_sub(offset_ms);
        let made = match (self.rule.spec().enabled, self.rule.is_alert()) {
            (false, _) => {
                let (samples, changes) = self.end(looked_ms);
                outcome.samples = samples;
                outcome.changes = changes;
                Ok(Vec::new())
            }
            (true, true) => self.alerts(at_ms, looked_ms, limit, env, &mut outcome),
            (true, false) => self.recorded(looked_ms, limit, env, &mut outcome),
        };
        self.last_evaluation_ms = Some(at_ms);
        match made {
            Err(error) => {
                self.health = Health::Err;
                self.last_error.clone_from(&error);
                outcome.error = Some(error);
            }
            Ok(samples) => {
                self.health = Health::Ok;
                self.last_error.clear();
                outcome.due = self.machine.due(at_ms, env.resend_delay_ms, interval_ms);
                let written: Vec<Labels> =
                    samples.iter().map(|sample| sample.labels.clone()).collect();
                outcome.samples.extend(samples);
                let before = std::mem::replace(&mut self.written, written);
                // Most often they are the same, in the same order.
                if before != self.written {
                    let now: HashSet<&Labels> = self.written.iter().collect();
                    let gone = before.into_iter().filter(|labels| !now.contains(labels));
                    outcome
                        .samples
                        .extend(gone.map(|labels| stale(labels, looked_ms)));
                }
            }
        }
        outcome
    }

    fn alerts(
        &mut self,
        at_ms: i64,
        looked_ms: i64,
        limit: usize,
        env: &Env<'_>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Sample>, String> {
        let before = std::mem::take(&mut self.said);
        let seen = self.see(looked_ms, env, outcome)?;
        enough(seen.vector.len().max(seen.subject.len()))?;
        let mut expander = Expander::new(env, at_ms);
        match self
            .machine
            .step(&self.rule, at_ms, seen, limit, &mut expander)
        {
            Ok(changes) => outcome.changes = changes,
            Err((error, changes)) => {
                outcome.changes = changes;
                return Err(error);
            }
        }
        if !self.is_restored {
            return Ok(Vec::new());
        }
        let active = self.machine.alerts();
        let active = active.filter(|alert| alert.state != State::Inactive);
        let (mut said, mut samples) = (Vec::new(), Vec::new());
        for (at, alert) in active.enumerate() {
            let is_known = before
                .get(at)
                .is_some_and(|(labels, state)| *state == alert.state && *labels == alert.labels);
            let known = self.written.get(2 * at).zip(self.written.get(2 * at + 1));
            let (state, since) = match known.filter(|_| is_known) {
                // Nothing is made of what goes on.
                Some((state, since)) => (state.clone(), since.clone()),
                None => (
                    alert
                        .labels
                        .with(NAME, "ALERTS")
                        .with("alertstate", alert.state.name()),
                    alert.labels.with(NAME, "ALERTS_FOR_STATE"),
                ),
            };
            let sample = |labels: Labels, value: f64| Sample {
                labels,
                at_ms: looked_ms,
                value,
            };
            samples.push(sample(state, 1.0));
            samples.push(sample(since, alert.active_at_ms.div_euclid(1000) as f64));
            said.push((alert.labels.clone(), alert.state));
        }
        self.said = said;
        Ok(samples)
    }

    fn see(&self, looked_ms: i64, env: &Env<'_>, outcome: &mut Outcome) -> Result<Seen, String> {
        let (found, notes) = vector(self.rule.expr(), looked_ms, env)?;
        (outcome.warnings, outcome.infos) = notes.texts(&self.rule.spec().expr);
        let asked = |expr: Option<&Expr>| -> Result<Vec<(Labels, f64)>, String> {
            expr.map_or(Ok(Vec::new()), |expr| {
                vector(expr, looked_ms, env).map(|(found, _)| found)
            })
        };
        let subject = asked(self.rule.subject())?;
        let cleared = asked(self.rule.clear())?;
        Ok(Seen {
            vector: found,
            subject,
            cleared: cleared.into_iter().map(|(labels, _)| labels).collect(),
        })
    }

    fn recorded(
        &mut self,
        looked_ms: i64,
        limit: usize,
        env: &Env<'_>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Sample>, String> {
        let (found, notes) = vector(self.rule.expr(), looked_ms, env)?;
        (outcome.warnings, outcome.infos) = notes.texts(&self.rule.spec().expr);
        enough(found.len())?;
        let before = std::mem::take(&mut self.recorded);
        let mut recorded = Vec::with_capacity(found.len().min(REMEMBERED_MAX));
        let mut samples = Vec::with_capacity(found.len());
        // Those that are as they were are as different from each other as they were.
        let mut is_same = before.len() == found.len();
        let is_few = found.len() <= REMEMBERED_MAX;
        for (at, (source, value)) in found.into_iter().enumerate() {
            let known = before.get(at).filter(|(known, _)| *known == source);
            is_same &= known.is_some();
            let labels = match known {
                Some((_, labels)) => labels.clone(),
                None => self.recorded_labels(&source),
            };
            if is_few {
                recorded.push((source, labels.clone()));
            }
            samples.push(Sample {
                labels,
                at_ms: looked_ms,
                value,
            });
        }
        if !is_same {
            let mut seen = HashSet::with_capacity(samples.len());
            if !samples.iter().all(|sample| seen.insert(&sample.labels)) {
                return Err(
                    "vector contains metrics with the same labelset after applying rule labels"
                        .to_owned(),
                );
            }
        }
        self.recorded = recorded;
        if limit > 0 && samples.len() > limit {
            return Err(format!(
                "exceeded limit of {limit} with {} series",
                samples.len()
            ));
        }
        Ok(samples)
    }

    /// What a series of the expression is called that is recorded.
    fn recorded_labels(&self, source: &Labels) -> Labels {
        let set = self.rule.set.iter();
        let set = set.map(|set| (Arc::clone(&set.name), Arc::clone(&set.text)));
        let own = source.shared().iter().cloned();
        own.chain(set).chain([self.rule.named.clone()]).collect()
    }

    /// All is over.
    fn end(&mut self, at_ms: i64) -> (Vec<Sample>, Vec<Change>) {
        self.said.clear();
        let written = std::mem::take(&mut self.written);
        let samples = written.into_iter().map(|labels| stale(labels, at_ms));
        (samples.collect(), self.machine.end(at_ms))
    }

    fn restore(
        &mut self,
        at_ms: i64,
        env: &Env<'_>,
        outage_tolerance_ms: i64,
        for_grace_ms: i64,
    ) -> Result<(), EvalError> {
        let hold_ms = self.rule.spec().hold.as_millis();
        for alert in self.machine.active.values_mut() {
            if alert.state == State::Inactive {
                continue;
            }
            let after_ms = at_ms.saturating_sub(outage_tolerance_ms);
            let Some((down_ms, active_s)) = for_state(alert, (after_ms, at_ms), env)? else {
                continue;
            };
            let mut active_ms = (active_s as i64).saturating_mul(1000);
            let left_ms = hold_ms - (down_ms - active_ms);
            if left_ms > 0 {
                active_ms = match left_ms < for_grace_ms {
                    true => at_ms + for_grace_ms - hold_ms,
                    false => active_ms + (at_ms - down_ms),
                };
            }
            alert.active_at_ms = active_ms;
        }
        Ok(())
    }

    fn status(&self) -> RuleStatus {
        let alerts = self.machine.alerts();
        let alerts: Vec<Alert> = alerts
            .filter(|alert| alert.state != State::Inactive)
            .cloned()
            .collect();
        RuleStatus {
            spec: Arc::clone(self.rule.spec()),
            query: Arc::clone(self.rule.query()),
            health: self.health,
            last_error: self.last_error.clone(),
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_seconds: self.evaluation_seconds,
            state: alerts
                .iter()
                .map(|alert| alert.state)
                .max()
                .unwrap_or_default(),
            alerts,
        }
    }
}

/// The newest `ALERTS_FOR_STATE` of an alert within a stretch: its time and its value.
fn for_state(
    alert: &Alert,
    (after_ms, until_ms): (i64, i64),
    env: &Env<'_>,
) -> Result<Option<(i64, f64)>, EvalError> {
    let wanted = alert.labels.with(NAME, "ALERTS_FOR_STATE");
    debug_assert!(!wanted.get(ALERT_NAME).is_empty());
    let matchers: Vec<Matcher> = wanted
        .iter()
        .map(|(name, value)| Matcher {
            name: Arc::from(name),
            op: MatchOp::Equal,
            value: Arc::from(value),
        })
        .collect();
    let hints = Hints {
        after_ms: after_ms.saturating_sub(1),
        until_ms,
        step_ms: 0,
        range_ms: until_ms.saturating_sub(after_ms),
        function: "",
        is_instant: false,
        is_unordered: false,
    };
    let mut newest = None;
    let mut each = |labels: Labels, samples: &Samples| {
        if labels == wanted
            && let Some((at_ms, value)) = samples.times.last().zip(samples.values.last())
        {
            newest = (!is_stale_marker(*value) && value.is_finite()).then_some((*at_ms, *value));
        }
        Ok(())
    };
    env.storage.select(&matchers, &hints, &mut each)?;
    Ok(newest)
}
