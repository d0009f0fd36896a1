//! Series in memory, and rules made of few words.

use std::collections::BTreeMap;

use pulseboard_promql::{
    EvalError, Labels, Options, Samples, Storage,
    ast::{MatchOp, Matcher},
    parse_any_selector,
    pattern::regex,
    storage::{Hints, Unguarded},
};
use pulseboard_rules::{Env, Group, GroupSpec, Outcome, Period, RuleSpec, Sample, group::Defaults};

/// Labels as PromQL writes them.
pub(crate) fn labels(text: &str) -> Labels {
    let selector = parse_any_selector(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let matchers = selector.matchers.into_iter();
    matchers.map(|one| (one.name, one.value)).collect()
}

#[derive(Debug, Default)]
pub(crate) struct Store(pub(crate) BTreeMap<Labels, Vec<(i64, f64)>>);

impl Store {
    pub(crate) fn push(&mut self, series: &str, at_ms: i64, value: f64) {
        self.write(&labels(series), at_ms, value);
    }

    /// As `push`, for many: the labels are read once.
    pub(crate) fn push_points(&mut self, series: &str, at_ms: i64, value: f64) {
        match self.0.len() {
            1 => self
                .0
                .values_mut()
                .for_each(|points| points.push((at_ms, value))),
            _ => self.push(series, at_ms, value),
        }
    }

    pub(crate) fn write(&mut self, labels: &Labels, at_ms: i64, value: f64) {
        self.0
            .entry(labels.clone())
            .or_default()
            .push((at_ms, value));
    }

    pub(crate) fn take(&mut self, samples: &[Sample]) {
        for sample in samples {
            self.write(&sample.labels, sample.at_ms, sample.value);
        }
    }
}

fn takes(one: &Matcher, labels: &Labels) -> bool {
    let value = labels.get(&one.name);
    let matches = || regex(&one.value).expect("a pattern").is_match(value);
    match one.op {
        MatchOp::Equal => value == &*one.value,
        MatchOp::NotEqual => value != &*one.value,
        MatchOp::Regex => matches(),
        MatchOp::NotRegex => !matches(),
    }
}

impl Storage for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        for (labels, points) in &self.0 {
            if matchers.iter().all(|one| takes(one, labels)) {
                let mut samples = Samples::default();
                for (at_ms, value) in points {
                    if (hints.after_ms + 1..=hints.until_ms).contains(at_ms) {
                        samples.push(*at_ms, *value);
                    }
                }
                if !samples.times.is_empty() {
                    each(labels.clone(), &samples)?;
                }
            }
        }
        Ok(())
    }
}

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

pub(crate) fn env(store: &Store) -> Env<'_> {
    Env {
        storage: store,
        guard: &Unguarded,
        options: Options::default(),
        external_labels: &NO_LABELS,
        external_url: "http://here",
        resend_delay_ms: 60_000,
    }
}

pub(crate) fn alert(name: &str, expr: &str, hold_s: i64) -> RuleSpec {
    RuleSpec {
        alert: name.to_owned(),
        expr: expr.to_owned(),
        hold: Period::from_millis(hold_s * 1000),
        ..RuleSpec::default()
    }
}

pub(crate) fn record(name: &str, expr: &str) -> RuleSpec {
    RuleSpec {
        record: name.to_owned(),
        expr: expr.to_owned(),
        ..RuleSpec::default()
    }
}

pub(crate) fn spec(rules: Vec<RuleSpec>) -> GroupSpec {
    GroupSpec {
        name: "g".to_owned(),
        interval: Some(Period::from_millis(15_000)),
        rules,
        ..GroupSpec::default()
    }
}

pub(crate) const DEFAULTS: Defaults = Defaults {
    interval_ms: 60_000,
    query_offset_ms: 0,
};

pub(crate) fn group(spec: &GroupSpec) -> Group {
    Group::new("rules.yml", spec, DEFAULTS).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Evaluates all rules, each with what those before it wrote.
pub(crate) fn evaluate(group: &mut Group, at_ms: i64, store: &mut Store) -> Vec<Outcome> {
    (0..group.len())
        .map(|index| {
            let outcome = group.evaluate_rule(index, at_ms, &env(store));
            store.take(&outcome.samples);
            outcome
        })
        .collect()
}

/// Samples in words: labels and value.
pub(crate) fn told(samples: &[Sample]) -> Vec<String> {
    let shown = samples.iter().map(|sample| match sample.is_stale() {
        true => format!("{} stale", sample.labels),
        false => format!("{} {}", sample.labels, sample.value),
    });
    shown.collect()
}
