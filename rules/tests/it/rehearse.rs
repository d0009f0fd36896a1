//! Rehearsals beside the same rule evaluated step by step.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;
use pulseboard_promql::{EvalError, Guard, Labels};
use pulseboard_rules::{
    Clear, Env, Event, Group, GroupSpec, Missing, Period, Rule, RuleSpec, State,
    group::Defaults,
    rehearse::{Bounds, Rehearsal, Span, rehearse},
};

use crate::support::{Store, alert, env, evaluate, group, spec};

const T: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;

fn rehearsed(rule: &RuleSpec, store: &Store, steps: i64) -> Rehearsal {
    let rule = Rule::new(rule.clone()).expect("a rule");
    rehearse(
        &rule,
        (T, T + (steps - 1) * STEP, STEP),
        (0, 0),
        &env(store),
        Bounds::default(),
    )
    .expect("a rehearsal")
}

/// The same, by evaluating it at each step.
fn live(rule: &RuleSpec, store: &Store, steps: i64) -> BTreeMap<Labels, Vec<Span>> {
    let mut group = group(&spec(vec![rule.clone()]));
    let mut store = Store(store.0.clone());
    let mut open: BTreeMap<Labels, Span> = BTreeMap::new();
    let mut all: BTreeMap<Labels, Vec<Span>> = BTreeMap::new();
    for step in 0..steps {
        let at_ms = T + step * STEP;
        for change in evaluate(&mut group, at_ms, &mut store).remove(0).changes {
            if let Some(mut span) = open.remove(&change.alert.labels) {
                span.end = at_ms;
                all.entry(change.alert.labels.clone())
                    .or_default()
                    .push(span);
            }
            let state = match change.event {
                Event::Pending => State::Pending,
                Event::Firing => State::Firing,
                _ => continue,
            };
            let value = Some(change.alert.value).filter(|value| !value.is_nan());
            open.insert(
                change.alert.labels,
                Span {
                    state,
                    start: at_ms,
                    end: at_ms,
                    value,
                },
            );
        }
    }
    for (labels, mut span) in open {
        span.end = T + (steps - 1) * STEP;
        all.entry(labels).or_default().push(span);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rehearsal_is_what_would_have_been(
        series in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.8, 0..100_i32), 1..40), 1..4),
        hold in 0..4_i64,
        keep in 0..3_i64,
        kind in 0..6,
        templated in any::<bool>(),
    ) {
        let mut store = Store::default();
        let mut steps = 1;
        for (index, values) in series.iter().enumerate() {
            for (step, value) in values.iter().enumerate() {
                let stale = f64::from_bits(pulseboard_series::STALE_MARKER_BITS);
                store.push(&format!("a{{x=\"{index}\"}}"), T + step as i64 * STEP, value.map_or(stale, f64::from));
                steps = steps.max(step as i64 + 3);
            }
        }
        let mut rule = alert("A", "a > 60", hold * 15);
        rule.keep_firing_for = Period::from_millis(keep * STEP);
        match kind {
            0 => rule.clear = Some(Clear::Number(30.0)),
            1 => rule.clear = Some(Clear::Expr("a < 20".to_owned())),
            2 => rule.missing = Missing::Keep,
            3 => rule.missing = Missing::Alert,
            4 => rule.expr = "sum(a) > 100".to_owned(),
            _ => {}
        }
        if templated {
            rule.labels.insert("level".to_owned(), "fixed".to_owned());
        }
        let told: BTreeMap<Labels, Vec<Span>> = rehearsed(&rule, &store, steps).series.into_iter().map(|one| (one.labels, one.spans)).collect();
        prop_assert_eq!(told, live(&rule, &store, steps));
    }
}

#[test]
fn a_week_of_one_series_is_soon_there() {
    let mut store = Store::default();
    let steps = 7 * 24 * 240;
    for step in 0..steps {
        store.push_points(
            "a{x=\"1\"}",
            T + step * STEP,
            if step / 240 % 2 == 0 { 90.0 } else { 10.0 },
        );
    }
    let start = std::time::Instant::now();
    let rehearsal = rehearsed(&alert("A", "a > 60", 30), &store, steps);
    eprintln!(
        "{steps} steps, {} spans, {} notifications: {:?}",
        rehearsal.series[0].spans.len(),
        rehearsal.notifications,
        start.elapsed()
    );
    // Each of 84 firings of an hour is said, and that it is over.
    assert_eq!(rehearsal.notifications, 168);
    assert!(!rehearsal.truncated);
}

#[test]
fn bounds_are_said() {
    let mut store = Store::default();
    for x in 0..20 {
        for step in 0..10 {
            store.push(
                &format!("a{{x=\"{x}\"}}"),
                T + step * STEP,
                f64::from(step as i32 % 2),
            );
        }
    }
    let rule = Rule::new(alert("A", "a > 0", 0)).unwrap();
    let times = (T, T + 9 * STEP, STEP);
    let bounds = Bounds {
        series: 5,
        spans: 12,
        ..Bounds::default()
    };
    let told = rehearse(&rule, times, (0, 0), &env(&store), bounds).unwrap();
    assert!(told.truncated);
    assert_eq!(told.series.len(), 5);
    assert_eq!(
        told.series.iter().map(|one| one.spans.len()).sum::<usize>(),
        12
    );

    let limited = rehearse(&rule, times, (0, 10), &env(&store), Bounds::default()).unwrap();
    assert_eq!(
        (limited.failed, limited.error.as_deref()),
        (5, Some("exceeded limit of 10 with 20 alerts"))
    );

    for (times, words) in [
        ((T, T - 1, STEP), "a beginning"),
        ((T, T + 1, 0), "a beginning"),
        ((0, T, STEP), "more than one rehearsal may have"),
    ] {
        let what = rehearse(&rule, times, (0, 0), &env(&store), Bounds::default()).unwrap_err();
        assert!(what.contains(words), "{what}");
    }
    let record = Rule::new(crate::support::record("b", "a")).unwrap();
    assert!(rehearse(&record, times, (0, 0), &env(&store), Bounds::default()).is_err());
    let ends = Rule::new(alert("A", "a > on (x) a @ end() - 1", 0)).unwrap();
    assert!(
        !rehearse(&ends, times, (0, 0), &env(&store), Bounds::default())
            .unwrap()
            .series
            .is_empty()
    );
    let what = rehearse(
        &ends,
        (T, T + 5000 * STEP, STEP),
        (0, 0),
        &env(&store),
        Bounds::default(),
    )
    .unwrap_err();
    assert!(what.contains("one by one"), "{what}");
}

#[test]
fn what_a_label_says_has_a_bound() {
    let mut store = Store::default();
    store.push("a", T, 1.0);
    let mut large = alert("A", "a > 0", 0);
    large.labels.insert(
        "text".to_owned(),
        "{{ printf \"%60000s\" \"x\" }}".to_owned(),
    );
    let told = rehearsed(&large, &store, 1);
    let text = told.series[0].labels.get("text").to_owned();
    assert!(text.len() < 1_000, "{} bytes", text.len());
    assert!(text.contains("error expanding template"), "{text}");
}

/// Lets so much be done, and then says once in a while that it is to end.
struct Leaving {
    left: Cell<u64>,
    asked: Cell<u64>,
}

impl Guard for Leaving {
    fn spend(&self, _: u64) -> Result<(), EvalError> {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return Ok(());
        }
        self.asked.set(self.asked.get() + 1);
        match self.asked.get() % 64 {
            1 => Err(EvalError::Canceled),
            _ => Ok(()),
        }
    }

    fn take(&self, _: u64) -> Result<(), EvalError> {
        Ok(())
    }

    fn hold(&self, _: usize) -> Result<(), EvalError> {
        Ok(())
    }

    fn let_go(&self, _: usize) {}
}

#[test]
fn it_ends_when_nobody_waits_any_more() {
    let mut store = Store::default();
    for number in 0..50 {
        store.push(&format!("a{{n=\"{number}\"}}"), T, 1.0);
    }
    let mut rule = alert("A", "a > 0", 0);
    for number in 0..50 {
        rule.labels
            .insert(format!("l{number}"), "{{ $value }}".to_owned());
    }
    let rule = Rule::new(rule).unwrap();
    let leaving = Leaving {
        left: Cell::new(200),
        asked: Cell::new(0),
    };
    let env = Env {
        guard: &leaving,
        ..env(&store)
    };
    let what = rehearse(
        &rule,
        (T, T + 10 * STEP, STEP),
        (0, 0),
        &env,
        Bounds::default(),
    );
    assert!(what.is_err(), "{what:?}");
    assert_eq!(leaving.asked.get(), 1, "nothing is rendered after that");

    // A rule that is evaluated has no alerts by halves.
    let spec = GroupSpec {
        name: "g".to_owned(),
        rules: vec![(**rule.spec()).clone()],
        ..GroupSpec::default()
    };
    let defaults = Defaults {
        interval_ms: STEP,
        query_offset_ms: 0,
    };
    let mut group = Group::new("", &spec, defaults).unwrap();
    leaving.left.set(200);
    leaving.asked.set(0);
    let outcome = group.evaluate_rule(0, T, &env);
    assert!(
        outcome.error.is_some() && outcome.samples.is_empty(),
        "{outcome:?}"
    );
    assert!(group.status().rules[0].alerts.is_empty());
    assert_eq!(leaving.asked.get(), 1);
}
