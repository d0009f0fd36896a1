//! When a rule would have fired: over a stretch of history, with the state machine that runs live.
//!
//! The expressions are evaluated once, over all steps ([`pulseboard_promql::range`]); what they
//! come to at each step goes through a [`Machine`].
//!
//! Notifications are counted as an Alertmanager with one route sends them: the alerts of the rule
//! are one group; `group_wait` 30 s after its first alert fires and then every `group_interval` of
//! 5 min it looks; it sends where an alert fires that was not said, where one is over that was, and
//! where `repeat_interval` of 4 h is over while something fires. One message with several alerts
//! counts once. What has happened and is not yet said at the end of the stretch counts as one more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use pulseboard_promql::{
    Expr, Labels,
    ast::{At, ExprKind},
    range,
};
use pulseboard_shared::figure;
use serde::Serialize;

use crate::{
    condition::is_usable,
    env::Env,
    expand::Expander,
    group::vector,
    rule::Rule,
    state::{ALERTS_BYTES_MAX, Annotations, Event, Expand, Machine, Seen, State},
    template::is_template,
};

/// Evaluations of an expression with `@ start()` or `@ end()`, which is evaluated one by one.
const SINGLY_MAX: usize = 2_000;

const GROUP_WAIT_MS: i64 = 30_000;
const GROUP_INTERVAL_MS: i64 = 300_000;
const REPEAT_INTERVAL_MS: i64 = 4 * 3_600_000;

/// How much one rehearsal may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Evaluations.
    pub steps: usize,
    /// Alerts whose spans are told; of the others only the notifications are counted.
    pub series: usize,
    /// Spans of all of them.
    pub spans: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            steps: 50_000,
            series: 200,
            spans: 20_000,
        }
    }
}

/// A stretch during which an alert was one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// `pending` or `firing`.
    pub state: State,
    /// Unix milliseconds.
    pub start: i64,
    /// When it became something else, or the end of the rehearsal.
    pub end: i64,
    /// At its beginning; none where it is no number.
    #[serde(with = "figure::option")]
    pub value: Option<f64>,
}

/// The spans of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Spans {
    /// Its labels.
    pub labels: Labels,
    /// In order.
    pub spans: Vec<Span>,
}

/// What a rule would have done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rehearsal {
    /// Alerts in the order of their labels.
    pub series: Vec<Spans>,
    /// Messages that would have been sent.
    pub notifications: u64,
    /// Whether there is more than `bounds` lets be told.
    pub truncated: bool,
    /// How many evaluations would have failed: the limit, or two series with the same labels.
    pub failed: u64,
    /// The first of those errors.
    pub error: Option<String>,
}

/// Rehearses an alerting rule at `start_ms` and every `interval_ms` up to `end_ms`;
/// `query_offset_ms` and `limit` are its group's.
///
/// # Errors
/// It is no alerting rule, there are too many steps, or the expression fails as a whole; in words.
pub fn rehearse(
    rule: &Rule,
    (start_ms, end_ms, interval_ms): (i64, i64, i64),
    (query_offset_ms, limit): (i64, usize),
    env: &Env<'_>,
    bounds: Bounds,
) -> Result<Rehearsal, String> {
    if !rule.is_alert() {
        return Err("only a rule with alert fires; this one records".to_owned());
    }
    if interval_ms <= 0 || end_ms < start_ms {
        return Err("a rehearsal needs a beginning, an end after it and an interval".to_owned());
    }
    let steps = usize::try_from(end_ms.saturating_sub(start_ms) / interval_ms)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    if steps > bounds.steps {
        return Err(format!(
            "{steps} evaluations are more than one rehearsal may have ({}); take a shorter stretch or a longer interval",
            bounds.steps
        ));
    }
    let grid = Grid {
        start_ms: start_ms.saturating_sub(query_offset_ms),
        interval_ms,
        steps,
    };
    let found = Columns::of(rule.expr(), grid, env)?;
    let asked = |expr: Option<&Expr>| expr.map(|expr| Columns::of(expr, grid, env)).transpose();
    let subject = asked(rule.subject())?;
    let cleared = asked(rule.clear())?;
    let mut machine = Machine::new();
    let mut told = Told::new(bounds);
    let mut labels = Cached::new(rule, env);
    let mut rehearsal = Rehearsal::default();
    let (mut named, mut names_held) = (BTreeSet::new(), 0);
    for step in 0..steps {
        let at_ms = start_ms + interval_ms * step as i64;
        let is_quiet =
            rule.condition.is_plain() && found.is_empty_at(step) && machine.active.is_empty();
        if is_quiet {
            continue;
        }
        env.guard.spend(1).map_err(|error| error.to_string())?;
        labels.at_ms = at_ms;
        let seen = Seen {
            vector: found.at(step),
            subject: subject.as_ref().map(|one| one.at(step)).unwrap_or_default(),
            cleared: cleared
                .as_ref()
                .map(|one| one.at(step).into_iter().map(|(labels, _)| labels).collect())
                .unwrap_or_default(),
        };
        let changes = match machine.step(rule, at_ms, seen, limit, &mut labels) {
            Ok(changes) => changes,
            Err((error, _)) if labels.ended.is_some() => return Err(error),
            Err((error, changes)) => {
                rehearsal.failed += 1;
                rehearsal.error.get_or_insert(error);
                changes
            }
        };
        for change in changes {
            // What is told of an alert names it; each name is there once.
            let labels = &change.alert.labels;
            if named.insert(labels.clone()) {
                let bytes = labels.whole_bytes();
                env.guard.hold(bytes).map_err(|error| error.to_string())?;
                names_held += bytes;
            }
            told.take(at_ms, &change);
        }
    }
    env.guard.let_go(names_held);
    for columns in [Some(found), subject, cleared].into_iter().flatten() {
        env.guard.let_go(columns.held);
    }
    told.end(start_ms + interval_ms * (steps as i64 - 1), &mut rehearsal);
    Ok(rehearsal)
}

#[derive(Clone, Copy)]
struct Grid {
    start_ms: i64,
    interval_ms: i64,
    steps: usize,
}

/// What an expression came to, step by step.
struct Columns {
    series: Vec<Labels>,
    /// Where each step begins in `values`; one more than there are steps.
    starts: Vec<usize>,
    /// Of which series, and what.
    values: Vec<(u32, f64)>,
    held: usize,
}

impl Columns {
    fn of(expr: &Expr, grid: Grid, env: &Env<'_>) -> Result<Self, String> {
        if !is_usable(expr) {
            return Err("rule result is not a vector or scalar".to_owned());
        }
        let end_ms = grid.start_ms + grid.interval_ms * (grid.steps as i64 - 1);
        let matrix = match names_the_ends(expr) {
            false => {
                let times = (grid.start_ms, end_ms, grid.interval_ms);
                range(expr, times, env.storage, env.guard, env.options)
                    .map_err(|error| error.to_string())?
                    .0
            }
            // At each evaluation they are its own time.
            true if grid.steps > SINGLY_MAX => {
                return Err(format!(
                    "an expression with @ start() or @ end() is evaluated one by one: at most {SINGLY_MAX} times, not {}",
                    grid.steps
                ));
            }
            true => {
                let mut all: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
                for step in 0..grid.steps {
                    let at_ms = grid.start_ms + grid.interval_ms * step as i64;
                    for (labels, value) in vector(expr, at_ms, env)?.0 {
                        all.entry(labels).or_default().push((at_ms, value));
                    }
                }
                all.into_iter().collect()
            }
        };
        let count: usize = matrix.iter().map(|(_, points)| points.len()).sum();
        let held = count * size_of::<(u32, f64)>() + grid.steps * size_of::<usize>();
        env.guard.hold(held).map_err(|error| error.to_string())?;
        // A counting sort: how many each step has, where it begins, and then each to its place.
        let step_of = |at_ms: i64| {
            usize::try_from((at_ms - grid.start_ms) / grid.interval_ms).unwrap_or_default()
        };
        let mut starts = vec![0_usize; grid.steps + 1];
        for (at_ms, _) in matrix.iter().flat_map(|(_, points)| points) {
            if let Some(count) = starts.get_mut(step_of(*at_ms) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut values = vec![(0_u32, 0.0_f64); count];
        let mut series = Vec::with_capacity(matrix.len());
        for (index, (labels, points)) in matrix.into_iter().enumerate() {
            series.push(labels);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            for (at_ms, value) in points {
                if let Some(place) = next.get_mut(step_of(at_ms)) {
                    if let Some(one) = values.get_mut(*place) {
                        *one = (index, value);
                    }
                    *place += 1;
                }
            }
        }
        Ok(Self {
            series,
            starts,
            values,
            held,
        })
    }

    fn slice(&self, step: usize) -> &[(u32, f64)] {
        let start = self.starts.get(step).copied().unwrap_or_default();
        let end = self.starts.get(step + 1).copied().unwrap_or_default();
        self.values.get(start..end).unwrap_or_default()
    }

    fn is_empty_at(&self, step: usize) -> bool {
        self.slice(step).is_empty()
    }

    fn at(&self, step: usize) -> Vec<(Labels, f64)> {
        self.slice(step)
            .iter()
            .filter_map(|(index, value)| {
                let labels = self.series.get(*index as usize)?;
                Some((labels.clone(), *value))
            })
            .collect()
    }
}

/// Whether an expression names the first or the last time of a question.
fn names_the_ends(expr: &Expr) -> bool {
    let is_end = |at: Option<At>| matches!(at, Some(At::Start | At::End));
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => false,
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => is_end(selector.when.at),
        ExprKind::Subquery { expr, when, .. } => is_end(when.at) || names_the_ends(expr),
        ExprKind::Call { args, .. } => args.iter().any(names_the_ends),
        ExprKind::Aggregate(aggregate) => {
            names_the_ends(&aggregate.expr) || aggregate.param.as_ref().is_some_and(names_the_ends)
        }
        ExprKind::Binary(binary) => names_the_ends(&binary.lhs) || names_the_ends(&binary.rhs),
        ExprKind::Negative(inner) | ExprKind::Positive(inner) | ExprKind::Paren(inner) => {
            names_the_ends(inner)
        }
    }
}

/// Labels of series, rendered once where they do not depend on the value; no annotations.
struct Cached<'a> {
    env: &'a Env<'a>,
    at_ms: i64,
    is_fixed: bool,
    known: BTreeMap<Labels, Labels>,
    bytes: usize,
    none: Annotations,
    ended: Option<String>,
}

impl<'a> Cached<'a> {
    fn new(rule: &Rule, env: &'a Env<'a>) -> Self {
        Self {
            env,
            at_ms: 0,
            is_fixed: !rule.spec().labels.values().any(|text| is_template(text)),
            known: BTreeMap::new(),
            bytes: 0,
            none: Arc::default(),
            ended: None,
        }
    }
}

impl Expand for Cached<'_> {
    fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    fn labels(&mut self, rule: &Rule, source: &Labels, value: f64) -> Labels {
        if let Some(labels) = self.known.get(source) {
            return labels.clone();
        }
        let mut expander = Expander::new(self.env, self.at_ms);
        let labels = expander.labels(rule, source, value);
        if let Some(why) = expander.ended() {
            self.ended = Some(why.to_owned());
            return labels;
        }
        if self.is_fixed {
            self.bytes += source.whole_bytes() + labels.whole_bytes();
            if self.bytes > ALERTS_BYTES_MAX {
                self.known.clear();
                self.bytes = 0;
            }
            self.known.insert(source.clone(), labels.clone());
        }
        labels
    }

    fn annotations(&mut self, _: &Rule, _: &Labels, _: f64) -> Annotations {
        Arc::clone(&self.none)
    }
}

/// What is told of the changes.
struct Told {
    bounds: Bounds,
    series: BTreeMap<Labels, Vec<Span>>,
    spans: usize,
    truncated: bool,
    open: BTreeMap<Labels, Span>,
    messages: Messages,
}

impl Told {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            series: BTreeMap::new(),
            spans: 0,
            truncated: false,
            open: BTreeMap::new(),
            messages: Messages::default(),
        }
    }

    fn take(&mut self, at_ms: i64, change: &crate::state::Change) {
        let labels = &change.alert.labels;
        self.close(labels, at_ms);
        let state = match change.event {
            Event::Pending => State::Pending,
            Event::Firing => {
                self.messages.fires(at_ms, labels);
                State::Firing
            }
            Event::Resolved => {
                self.messages.is_over(at_ms, labels);
                return;
            }
            Event::Dropped => {
                if change.alert.fired_at_ms.is_some() {
                    self.messages.is_over(at_ms, labels);
                }
                return;
            }
        };
        let span = Span {
            state,
            start: at_ms,
            end: at_ms,
            value: Some(change.alert.value).filter(|value| !value.is_nan()),
        };
        self.open.insert(labels.clone(), span);
    }

    fn close(&mut self, labels: &Labels, at_ms: i64) {
        let Some(mut span) = self.open.remove(labels) else {
            return;
        };
        span.end = at_ms;
        let has_room = self.spans < self.bounds.spans
            && (self.series.len() < self.bounds.series || self.series.contains_key(labels));
        match has_room {
            true => {
                self.spans += 1;
                self.series.entry(labels.clone()).or_default().push(span);
            }
            false => self.truncated = true,
        }
    }

    fn end(mut self, end_ms: i64, rehearsal: &mut Rehearsal) {
        let open: Vec<Labels> = self.open.keys().cloned().collect();
        for labels in open {
            self.close(&labels, end_ms);
        }
        rehearsal.notifications = self.messages.end(end_ms);
        rehearsal.truncated = self.truncated;
        rehearsal.series = self
            .series
            .into_iter()
            .map(|(labels, spans)| Spans { labels, spans })
            .collect();
    }
}

/// One group of an Alertmanager, see above.
#[derive(Default)]
struct Messages {
    /// Alerts of the group, and whether each fires.
    alerts: BTreeMap<Labels, bool>,
    next_ms: Option<i64>,
    /// What was said last: what fires, what is over, and when.
    firing: BTreeSet<Labels>,
    resolved: BTreeSet<Labels>,
    sent_ms: Option<i64>,
    /// Whether something has happened since it looked last.
    is_news: bool,
    count: u64,
}

impl Messages {
    fn fires(&mut self, at_ms: i64, labels: &Labels) {
        self.run(at_ms);
        self.alerts.insert(labels.clone(), true);
        self.is_news = true;
        self.next_ms.get_or_insert(at_ms + GROUP_WAIT_MS);
    }

    fn is_over(&mut self, at_ms: i64, labels: &Labels) {
        self.run(at_ms);
        if let Some(fires) = self.alerts.get_mut(labels) {
            *fires = false;
            self.is_news = true;
        }
    }

    /// Looks at each of its times before this one.
    fn run(&mut self, until_ms: i64) {
        while let Some(at_ms) = self.next_ms.filter(|at_ms| *at_ms < until_ms) {
            self.look(at_ms);
        }
    }

    fn look(&mut self, at_ms: i64) {
        self.next_ms = Some(at_ms + GROUP_INTERVAL_MS);
        if self.is_news {
            self.is_news = false;
            let of = |wanted: bool| -> BTreeSet<Labels> {
                let all = self.alerts.iter().filter(|(_, fires)| **fires == wanted);
                all.map(|(labels, _)| labels.clone()).collect()
            };
            let (firing, resolved) = (of(true), of(false));
            let sends = match self.sent_ms {
                None => !firing.is_empty(),
                Some(_) if !firing.is_subset(&self.firing) => true,
                Some(_) if firing.is_empty() => !self.firing.is_empty(),
                Some(sent_ms) => {
                    !resolved.is_subset(&self.resolved) || sent_ms < at_ms - REPEAT_INTERVAL_MS
                }
            };
            self.alerts.retain(|_, fires| *fires);
            if sends {
                self.count += 1;
                self.sent_ms = Some(at_ms);
                self.firing = firing;
                self.resolved = resolved;
            }
        } else if self
            .sent_ms
            .is_some_and(|sent_ms| sent_ms < at_ms - REPEAT_INTERVAL_MS)
            && !self.alerts.is_empty()
        {
            self.count += 1;
            self.sent_ms = Some(at_ms);
        }
        if self.alerts.is_empty() {
            self.next_ms = None;
        }
    }

    fn end(mut self, end_ms: i64) -> u64 {
        self.run(end_ms.saturating_add(1));
        if self.is_news
            && let Some(at_ms) = self.next_ms
        {
            self.look(at_ms);
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Labels {
        crate::state::labels_of([("alertname", text)])
    }

    const MINUTE: i64 = 60_000;

    #[test]
    fn messages_are_those_of_an_alertmanager() {
        let mut one = Messages::default();
        one.fires(0, &name("a"));
        one.is_over(10 * MINUTE, &name("a"));
        assert_eq!(one.end(100 * MINUTE), 2, "it fires, it is over");

        let mut short = Messages::default();
        short.fires(0, &name("a"));
        short.is_over(20_000, &name("a"));
        assert_eq!(short.end(MINUTE), 0, "it was over before anybody looked");

        let mut long = Messages::default();
        long.fires(0, &name("a"));
        // Said at 30 s; every 5 minutes it looks whether 4 hours are over: at 4:05:30, at 8:10:30.
        assert_eq!(long.end(9 * 60 * MINUTE), 3);

        let mut flapping = Messages::default();
        for minute in 0..20 {
            match minute % 2 {
                0 => flapping.fires(minute * MINUTE, &name("a")),
                _ => flapping.is_over(minute * MINUTE, &name("a")),
            }
        }
        let count = flapping.end(20 * MINUTE);
        // At 0:30, at 5:30 that it is over; a new group at 6:30, and so on.
        assert_eq!(count, 8, "the interval keeps it quiet");

        let mut two = Messages::default();
        two.fires(0, &name("a"));
        two.fires(15_000, &name("b"));
        two.is_over(4 * MINUTE, &name("a"));
        two.is_over(6 * MINUTE, &name("b"));
        assert_eq!(
            two.end(60 * MINUTE),
            3,
            "both, the one that is over, the other"
        );

        let mut last = Messages::default();
        last.fires(0, &name("a"));
        assert_eq!(last.end(0), 1, "what has happened is said");
    }
}
