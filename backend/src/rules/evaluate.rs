//! One evaluation of a group, on a thread that may block.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use pulseboard_alerting::AlertEvent;
use pulseboard_engine::{Cancel, Cost, Spent};
use pulseboard_promql::{
    EvalError, Labels, Rolled, Samples, Storage,
    ast::{MatchOp, Matcher},
    labels::NAME,
    storage::{Each, Hints},
};
use pulseboard_rules::{Env, Group, Outcome, Sample};
use pulseboard_series::{Batch, Kind};

use super::{Held, Rules, SLOW, say, several::Right};
use crate::expressions::TenantSeries;

/// Memory of one rule's answer.
const RULE_BYTES_MAX: usize = 64 << 20;

/// A rule has so long at least, however often it is evaluated.
const RULE_TIME_MIN: Duration = Duration::from_secs(1);

/// What rules have made is handed over once it has waited so long for what the next ones of their
/// group make, and one of those asks or has ended.
const WAITING_MAX: Duration = Duration::from_millis(50);

/// And takes no more than this.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Where a rule has more alerts than this, those that go on are not said again and again: only when
/// they begin and when they end.
const REPEATED_MAX: usize = 200;

impl Rules {
    /// What one rule may cost.
    pub(super) fn cost(&self) -> Cost {
        self.cost_within(self.timeout)
    }

    fn cost_within(&self, time: Duration) -> Cost {
        Cost::new(
            time,
            self.evaluating.options().samples_max,
            Cancel::default(),
        )
        .reserving(|bytes| match bytes <= RULE_BYTES_MAX {
            true => Ok(()),
            false => Err(Spent::TooLarge {
                max: RULE_BYTES_MAX,
                whose: "one rule",
            }),
        })
    }

    /// Does something over a tenant's series; nothing where there is no such tenant.
    pub(super) fn with_env<T>(
        &self,
        tenant: &Arc<str>,
        cost: &Cost,
        work: impl FnOnce(&Env<'_>) -> T,
    ) -> Option<T> {
        self.with_waiting(&Waiting::new(self, tenant), cost, work)
    }

    /// The same, over what waits as well.
    fn with_waiting<T>(
        &self,
        waiting: &Waiting<'_>,
        cost: &Cost,
        work: impl FnOnce(&Env<'_>) -> T,
    ) -> Option<T> {
        let tenant = self.engine.tenant(waiting.tenant).ok()?;
        let external_labels = Arc::clone(&self.groups.lock().config.external_labels);
        let stored = TenantSeries::new(&self.engine, &tenant, cost)
            .knowing(&self.selectors)
            .with_others(self.archive.as_ref());
        Some(work(&Env {
            storage: &Series {
                stored: &stored,
                waiting,
            },
            guard: &stored,
            options: self.evaluating.options(),
            external_labels: &external_labels,
            external_url: &self.external_url,
            // Prometheus says it again when more than this has gone by, and here it is said at the
            // first evaluation at which `ALERT_CHECK_SEC` is over.
            resend_delay_ms: self.repeat_ms.saturating_sub(1),
        }))
    }

    /// Evaluates a group at one time. Blocks.
    pub(super) fn evaluate(&self, held: &Held, at_ms: i64) {
        let Some(right) = self.right(held) else {
            return;
        };
        let began = Instant::now();
        let mut group = held.group.lock();
        let Some(group) = group.as_mut() else { return };
        self.take_over(held, group, right, at_ms);
        let (mut events, mut has_changed) = (Vec::new(), false);
        let every = Duration::from_millis(held.every_ms.unsigned_abs());
        let time = self.timeout.min(every.max(RULE_TIME_MIN));
        if held.is_new.load(Ordering::Relaxed) && held.evaluated.load(Ordering::Relaxed) == 1 {
            self.look_back(held, group, at_ms, time);
            held.is_new.store(false, Ordering::Relaxed);
        }
        group.hold_alerts_within(held.alert_bytes.room());
        let waiting = Waiting::new(self, &held.wanted.id.tenant);
        for index in 0..group.len() {
            let cost = self.cost_within(time);
            let began = Instant::now();
            let outcome = self.with_waiting(&waiting, &cost, |env| {
                group.evaluate_rule(index, at_ms, env)
            });
            let Some(outcome) = outcome else { continue };
            group.rule_evaluated(index, began.elapsed().as_secs_f64());
            self.evaluations.inc();
            if let Some(error) = &outcome.error {
                self.failures.inc();
                tracing::debug!(group = group.name(), rule = index, error, "a rule failed");
            }
            waiting.add(&outcome.samples);
            if !outcome.changes.is_empty() {
                // Whoever hears of it may look.
                waiting.hand_over();
            }
            has_changed |= !outcome.changes.is_empty();
            events.extend(self.said(held, index, &outcome, group, at_ms));
            if matches!(right, Right::Only) {
                for event in events.drain(..) {
                    self.alerts.manager().tell(event);
                }
            }
        }
        waiting.hand_over();
        held.alert_bytes.set(group.alert_bytes());
        let took = began.elapsed();
        group.evaluated(at_ms, took.as_secs_f64());
        held.is_slow.store(took > SLOW, Ordering::Relaxed);
        *held.status.lock() = Arc::new(group.status());
        if held.evaluated.fetch_add(1, Ordering::Relaxed) >= 2 {
            let ended = self.ended_orphans(held, group, at_ms);
            match right {
                Right::Only => {
                    for event in ended {
                        self.alerts.manager().tell(event);
                    }
                }
                Right::Term(_) => events.extend(ended),
            }
        }
        self.tell_found(held, group, right, (events, has_changed));
    }

    /// Pending time of a run before this one, of which nothing was kept.
    fn look_back(&self, held: &Held, group: &mut Group, at_ms: i64, time: Duration) {
        let cost = self.cost_within(time);
        let restored = self.with_env(&held.wanted.id.tenant, &cost, |env| {
            let (outage_ms, grace_ms) = (
                pulseboard_rules::group::OUTAGE_TOLERANCE_MS,
                pulseboard_rules::group::FOR_GRACE_MS,
            );
            group.restore(at_ms, env, outage_ms, grace_ms)
        });
        if let Some(Err(error)) = restored {
            tracing::warn!(group = group.name(), %error, "pending times could not be looked up");
        }
    }

    /// Hands samples of rules to the engine. Nobody waits for them to be safe.
    pub(super) fn write(&self, tenant: &Arc<str>, samples: &[Sample]) {
        let waiting = Waiting::new(self, tenant);
        waiting.add(samples);
        waiting.hand_over();
    }

    /// What is to be published of what became of a rule's alerts.
    fn said(
        &self,
        held: &Held,
        index: usize,
        outcome: &Outcome,
        group: &Group,
        at_ms: i64,
    ) -> Vec<AlertEvent> {
        if outcome.due.is_empty() && outcome.changes.is_empty() {
            return Vec::new();
        }
        if !outcome.changes.is_empty() {
            held.is_dirty.store(true, Ordering::Relaxed);
        }
        let Some((rule, id)) = group
            .rules()
            .nth(index)
            .zip(held.wanted.rule_ids.get(index))
        else {
            return Vec::new();
        };
        let firing = outcome.due.iter().filter(|alert| say::fires(alert)).count();
        let mut incidents = held.incidents.lock();
        let mut orphans = self.orphans.lock();
        let due = outcome.due.iter();
        due.filter_map(|alert| {
            let key = (id.clone(), alert.fingerprint());
            if !say::fires(alert) {
                let incident = incidents.remove(&key).or_else(|| {
                    let event = orphans.remove(&key)?;
                    Some(say::Incident::of(event))
                })?;
                return Some(incident.ended_as(alert, at_ms));
            }
            match incidents.get_mut(&key) {
                Some(incident) => {
                    let event = incident.goes_on(alert, rule, at_ms);
                    (firing <= REPEATED_MAX).then_some(event)
                }
                None => {
                    let (incident, event) = match orphans.remove(&key) {
                        // Somebody was told of it already.
                        Some(before) => {
                            let mut incident = say::Incident::of(before);
                            let event = incident.goes_on(alert, rule, at_ms);
                            (incident, event)
                        }
                        None => {
                            say::Incident::begin(&held.wanted.id.tenant, id, alert, rule, at_ms)
                        }
                    };
                    incidents.insert(key, incident);
                    Some(event)
                }
            }
        })
        .collect()
    }

    /// Incidents of a run before this one end that a rule has not found again by now.
    fn ended_orphans(&self, held: &Held, group: &Group, at_ms: i64) -> Vec<AlertEvent> {
        if self.orphans.lock().is_empty() {
            return Vec::new();
        }
        let holds: HashMap<&str, i64> = held
            .wanted
            .rule_ids
            .iter()
            .zip(group.rules())
            .map(|(id, rule)| (id.as_str(), rule.spec().hold.as_millis()))
            .collect();
        let evaluated_ms = held
            .evaluated
            .load(Ordering::Relaxed)
            .saturating_mul(held.every_ms);
        let mut orphans = self.orphans.lock();
        let gone: Vec<_> = orphans
            .keys()
            .filter(|(rule, _)| {
                let hold_ms = holds.get(rule.as_str());
                hold_ms.is_some_and(|hold_ms| evaluated_ms > hold_ms + 2 * held.every_ms)
            })
            .cloned()
            .collect();
        let ended = gone.iter().filter_map(|key| orphans.remove(key));
        ended.map(|event| say::ended(event, at_ms)).collect()
    }
}

/// What rules of a group have made and the engine has not got yet. It gets that in one, and before
/// anything asks for some of it: each record of the log costs more than what is in it.
struct Waiting<'a> {
    rules: &'a Rules,
    tenant: &'a Arc<str>,
    made: RefCell<Made>,
}

#[derive(Default)]
struct Made {
    batch: Batch,
    /// Names of metrics in it.
    names: BTreeSet<String>,
    /// Since when the first of it waits.
    since: Option<Instant>,
}

impl<'a> Waiting<'a> {
    fn new(rules: &'a Rules, tenant: &'a Arc<str>) -> Self {
        Self {
            rules,
            tenant,
            made: RefCell::default(),
        }
    }

    /// Takes samples. Too many, and what waits for too long, are handed over.
    fn add(&self, samples: &[Sample]) {
        let made = &mut *self.made.borrow_mut();
        if samples.is_empty() {
            return self.append_late(made);
        }
        made.since.get_or_insert_with(Instant::now);
        for sample in samples {
            if let Err(reason) = write_row(&mut made.batch, sample) {
                made.batch.refuse(0, reason);
            }
            let name = sample.labels.get(NAME);
            if !made.names.contains(name) {
                made.names.insert(name.to_owned());
            }
            if made.batch.capacity_bytes() > WAITING_BYTES_MAX {
                self.append(made);
            }
        }
        self.append_late(made);
    }

    fn append_late(&self, made: &mut Made) {
        let is_late = |since: Instant| since.elapsed() > WAITING_MAX;
        if made.since.is_some_and(is_late) {
            self.append(made);
        }
    }

    fn hand_over(&self) {
        self.append(&mut self.made.borrow_mut());
    }

    /// Hands over what waits where some of it may be asked for.
    fn hand_over_for(&self, matchers: &[Matcher]) {
        let mut made = self.made.borrow_mut();
        if made.names.is_empty() {
            return;
        }
        let named = matchers
            .iter()
            .find(|one| &*one.name == NAME && one.op == MatchOp::Equal);
        match named.is_none_or(|one| made.names.contains(&*one.value)) {
            true => self.append(&mut made),
            false => self.append_late(&mut made),
        }
    }

    fn append(&self, made: &mut Made) {
        if made.names.is_empty() {
            return;
        }
        let batch = &mut made.batch;
        if let Ok(tenant) = self.rules.engine.tenant(self.tenant) {
            let now_ms = self.rules.clock.now_ms();
            let appended = self.rules.engine.append(&tenant, batch, now_ms);
            if appended.refused_total > 0 || batch.refused_total() > 0 {
                tracing::debug!(refused = ?appended.refused, "samples of rules were refused");
            }
        }
        batch.clear();
        made.names.clear();
        made.since = None;
    }
}

/// A tenant's series, and what waits to be among them.
struct Series<'a> {
    stored: &'a TenantSeries<'a>,
    waiting: &'a Waiting<'a>,
}

impl Storage for Series<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        self.waiting.hand_over_for(matchers);
        self.stored.select(matchers, hints, each)
    }

    fn select_named(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut Each<'_>,
    ) -> Result<(), EvalError> {
        self.waiting.hand_over_for(matchers);
        self.stored.select_named(matchers, hints, each)
    }

    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        self.stored.rolled(after_ms, until_ms)
    }
}

fn write_row(batch: &mut Batch, sample: &Sample) -> Result<(), pulseboard_series::Reason> {
    let name = sample.labels.get(NAME);
    batch.begin(&[name])?;
    for (label, value) in sample.labels.iter() {
        if label != NAME {
            batch.label(label, value)?;
        }
    }
    batch.describe(Kind::Gauge, "");
    batch.finish(1, Some(sample.at_ms), sample.value)
}
