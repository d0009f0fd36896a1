//! Groups over a storage: what is written, said and kept.

use pulseboard_rules::{
    Clear, Event, Group, Missing, Period, RuleSpec, Sample, State,
    group::{FOR_GRACE_MS, Health, OUTAGE_TOLERANCE_MS, eval_timestamp, next_iteration},
    keep::KeptGroup,
};

use crate::support::{DEFAULTS, Store, alert, env, evaluate, group, labels, record, spec, told};

const T: i64 = 1_700_000_000_000;

/// One rule over a series `a{x="1"}` that takes these values (NaN: no sample), one each 15 s: what
/// happens, as `second:event`.
fn events(rule: &RuleSpec, values: &[f64]) -> Vec<String> {
    let mut group = group(&spec(vec![rule.clone()]));
    let mut store = Store::default();
    let mut events = Vec::new();
    for (step, value) in values.iter().enumerate() {
        let second = step as i64 * 15;
        let at_ms = T + second * 1000;
        // A series that is not there is stale at once.
        let value = if value.is_nan() {
            f64::from_bits(pulseboard_series::STALE_MARKER_BITS)
        } else {
            *value
        };
        store.push("a{x=\"1\"}", at_ms, value);
        for outcome in evaluate(&mut group, at_ms, &mut store) {
            assert_eq!(outcome.error, None);
            for change in outcome.changes {
                events.push(format!(
                    "{second}:{}",
                    serde_json::to_value(change.event)
                        .unwrap()
                        .as_str()
                        .unwrap()
                ));
            }
        }
    }
    events
}

const NONE: f64 = f64::NAN;

#[test]
fn an_alert_is_written_said_and_over() {
    let mut rule = alert("High", "a > 5", 30);
    rule.labels.insert("severity".to_owned(), "page".to_owned());
    let mut group = group(&spec(vec![rule]));
    let mut store = Store::default();
    let mut step = |second: i64, value: f64| {
        let at_ms = T + second * 1000;
        store.push("a{x=\"1\"}", at_ms, value);
        evaluate(&mut group, at_ms, &mut store).remove(0)
    };
    let first = step(0, 9.0);
    assert_eq!(
        told(&first.samples),
        [
            "ALERTS{alertname=\"High\", alertstate=\"pending\", severity=\"page\", x=\"1\"} 1"
                .to_owned(),
            "ALERTS_FOR_STATE{alertname=\"High\", severity=\"page\", x=\"1\"} 1700000000"
                .to_owned(),
        ]
    );
    assert_eq!(first.changes[0].event, Event::Pending);
    assert!(first.due.is_empty(), "what is pending is not said");
    step(15, 9.0);
    let fired = step(30, 7.5);
    assert_eq!(
        told(&fired.samples),
        [
            "ALERTS{alertname=\"High\", alertstate=\"firing\", severity=\"page\", x=\"1\"} 1"
                .to_owned(),
            "ALERTS_FOR_STATE{alertname=\"High\", severity=\"page\", x=\"1\"} 1700000000"
                .to_owned(),
            "ALERTS{alertname=\"High\", alertstate=\"pending\", severity=\"page\", x=\"1\"} stale"
                .to_owned(),
        ]
    );
    let due = &fired.due[0];
    assert_eq!(
        (due.state, due.value, due.active_at_ms, due.fired_at_ms),
        (State::Firing, 7.5, T, Some(T + 30_000))
    );
    assert_eq!(due.valid_until_ms, Some(T + 30_000 + 4 * 60_000));
    assert!(step(45, 7.5).due.is_empty(), "said not long ago");
    let over = step(60, 1.0);
    assert_eq!(told(&over.samples).len(), 2, "both series are over");
    assert!(over.samples.iter().all(Sample::is_stale));
    assert_eq!(
        (over.due[0].state, over.due[0].resolved_at_ms),
        (State::Inactive, Some(T + 60_000))
    );
    assert!(step(75, 1.0).samples.is_empty());
    assert_eq!(step(135, 1.0).due.len(), 1, "that it is over is said again");
    assert!(
        step(60 + 15 * 60 + 15, 1.0).due.is_empty(),
        "and after a quarter of an hour no more"
    );
}

#[test]
fn for_and_keep_firing_for_have_their_edges() {
    let mut rule = alert("A", "a > 5", 30);
    assert_eq!(
        events(&rule, &[9.0, 9.0, 1.0, 9.0, 9.0, 9.0, 1.0]),
        [
            "0:pending",
            "30:dropped",
            "45:pending",
            "75:firing",
            "90:resolved"
        ]
    );
    rule.keep_firing_for = Period::from_millis(30_000);
    assert_eq!(
        events(&rule, &[9.0, 9.0, 9.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0]),
        ["0:pending", "30:firing", "120:resolved"]
    );
    rule.hold = Period::default();
    assert_eq!(
        events(&rule, &[9.0, 1.0, 1.0, 1.0]),
        ["0:firing", "45:resolved"]
    );
}

#[test]
fn clear_ends_a_firing_and_nothing_else_does() {
    let mut rule = alert("A", "a > 90", 0);
    rule.clear = Some(Clear::Number(80.0));
    assert_eq!(
        events(&rule, &[85.0, 95.0, 85.0, 81.0, 80.0, 85.0, 91.0]),
        ["15:firing", "60:resolved", "90:firing"]
    );
    // A series that is gone is over, as without it.
    assert_eq!(
        events(&rule, &[95.0, 85.0, NONE]),
        ["0:firing", "30:resolved"]
    );
    rule.hold = Period::from_millis(30_000);
    assert_eq!(
        events(&rule, &[95.0, 85.0, 95.0, 95.0, 95.0, 85.0, 70.0]),
        [
            "0:pending",
            "15:dropped",
            "30:pending",
            "60:firing",
            "90:resolved"
        ]
    );

    let mut rule = alert("A", "a > 90", 0);
    rule.clear = Some(Clear::Expr("a < 50".to_owned()));
    assert_eq!(
        events(&rule, &[95.0, 60.0, 49.0]),
        ["0:firing", "30:resolved"]
    );
    rule.clear = Some(Clear::Expr("vector(1) and on () a < 50".to_owned()));
    assert_eq!(
        events(&rule, &[95.0, 60.0, 49.0]),
        ["0:firing", "30:resolved"]
    );
    rule.clear = Some(Clear::Expr("a{x=\"other\"} < 50".to_owned()));
    assert_eq!(events(&rule, &[95.0, 60.0, 49.0]), ["0:firing"]);
    // Where the expression compares nothing, only `clear` ends it.
    rule.expr = "a".to_owned();
    rule.clear = Some(Clear::Expr("vector(1) and on () absent(a)".to_owned()));
    assert_eq!(events(&rule, &[95.0, NONE]), ["0:firing", "15:resolved"]);
}

#[test]
fn a_firing_that_is_held_says_the_value_that_is_there() {
    let mut rule = alert("A", "a > 90", 0);
    rule.clear = Some(Clear::Number(80.0));
    let mut group = group(&spec(vec![rule]));
    let mut store = Store::default();
    for (second, value) in [(0, 95.0), (15, 84.0)] {
        store.push("a", T + second * 1000, value);
        evaluate(&mut group, T + second * 1000, &mut store);
    }
    assert_eq!(group.status().rules[0].alerts[0].value, 84.0);
}

#[test]
fn a_missing_series_is_what_the_rule_says() {
    let rule = |missing, hold_s| RuleSpec {
        missing,
        ..alert("A", "a > 5", hold_s)
    };
    let values = [9.0, NONE, NONE, 9.0, 1.0];
    assert_eq!(
        events(&rule(Missing::Resolve, 0), &values),
        ["0:firing", "15:resolved", "45:firing", "60:resolved"]
    );
    assert_eq!(
        events(&rule(Missing::Keep, 0), &values),
        ["0:firing", "60:resolved"]
    );
    // It does not become firing by being missed.
    assert_eq!(
        events(&rule(Missing::Keep, 30), &[9.0, NONE, NONE, NONE, 9.0, 1.0]),
        ["0:pending", "60:firing", "75:resolved"]
    );
    assert_eq!(
        events(&rule(Missing::Keep, 0), &[1.0, NONE, 1.0]),
        Vec::<String>::new()
    );
    assert_eq!(
        events(&rule(Missing::Alert, 0), &[1.0, NONE, 1.0]),
        ["15:firing", "30:resolved"]
    );
    assert_eq!(
        events(&rule(Missing::Alert, 30), &[1.0, NONE, NONE, NONE, 1.0]),
        ["15:pending", "45:firing", "60:resolved"]
    );
    assert_eq!(
        events(&rule(Missing::Alert, 0), &values),
        ["0:firing", "60:resolved"]
    );
    // A series that has never been there is missed too, by the labels that are asked for.
    let mut never = rule(Missing::Alert, 0);
    never.expr = "b{y=\"2\"} > 5".to_owned();
    assert_eq!(events(&never, &[1.0, 1.0]), ["0:firing"]);
}

#[test]
fn a_value_that_is_no_number_is_missing() {
    let mut group = group(&spec(vec![RuleSpec {
        missing: Missing::Keep,
        ..alert("A", "a > 5", 0)
    }]));
    let mut store = Store::default();
    for (second, value, firing) in [(0, 9.0, 1), (15, f64::NAN, 1), (30, 2.0, 0)] {
        store.push("a", T + second * 1000, value);
        evaluate(&mut group, T + second * 1000, &mut store);
        assert_eq!(group.status().rules[0].alerts.len(), firing, "at {second}");
    }
}

#[test]
fn a_limit_is_an_error_and_ends_all() {
    let mut limited = spec(vec![alert("A", "a > 5", 0), record("b", "a * 2")]);
    limited.limit = 2;
    let mut group = group(&limited);
    let mut store = Store::default();
    for x in 0..2 {
        store.push(&format!("a{{x=\"{x}\"}}"), T, 9.0);
    }
    let outcomes = evaluate(&mut group, T, &mut store);
    assert!(outcomes.iter().all(|outcome| outcome.error.is_none()));
    for x in 0..3 {
        store.push(&format!("a{{x=\"{x}\"}}"), T + 15_000, 9.0);
    }
    let outcomes = evaluate(&mut group, T + 15_000, &mut store);
    assert_eq!(
        outcomes[0].error.as_deref(),
        Some("exceeded limit of 2 with 3 alerts")
    );
    assert_eq!(
        outcomes[1].error.as_deref(),
        Some("exceeded limit of 2 with 3 series")
    );
    assert!(outcomes.iter().all(|outcome| outcome.samples.is_empty()));
    let status = group.status();
    assert_eq!(
        (status.rules[0].health, status.rules[0].alerts.len()),
        (Health::Err, 0)
    );
    assert_eq!(
        status.rules[1].last_error,
        "exceeded limit of 2 with 3 series"
    );
}

#[test]
fn series_that_become_one_are_an_error() {
    let mut same = alert("A", "a > 5", 0);
    same.labels.insert("x".to_owned(), "all".to_owned());
    let mut recorded = record("b", "a");
    recorded.labels.insert("x".to_owned(), "all".to_owned());
    let mut group = group(&spec(vec![
        same,
        recorded,
        record("c", "a[5m]"),
        record("d", "\"text\""),
    ]));
    let mut store = Store::default();
    store.push("a{x=\"1\"}", T, 9.0);
    store.push("a{x=\"2\"}", T, 9.0);
    let errors: Vec<_> = evaluate(&mut group, T, &mut store)
        .into_iter()
        .map(|outcome| outcome.error.unwrap())
        .collect();
    assert_eq!(
        errors,
        [
            "vector contains metrics with the same labelset after applying alert labels",
            "vector contains metrics with the same labelset after applying rule labels",
            "rule result is not a vector or scalar",
            "rule result is not a vector or scalar",
        ]
    );
}

#[test]
fn what_is_recorded_has_its_labels_and_is_there_for_the_next_rule() {
    let mut labelled = spec(vec![
        record("b:sum", "sum by (x) (a)"),
        record("c", "b:sum * 2"),
        record("d", "42"),
        alert("A", "c > 5", 0),
    ]);
    labelled.labels.insert("team".to_owned(), "x".to_owned());
    labelled.rules[1]
        .labels
        .insert("team".to_owned(), "own".to_owned());
    labelled.rules[0]
        .labels
        .insert("x".to_owned(), String::new());
    let mut group = group(&labelled);
    let mut store = Store::default();
    store.push("a{x=\"1\"}", T, 3.0);
    let all: Vec<_> = evaluate(&mut group, T, &mut store)
        .iter()
        .flat_map(|outcome| told(&outcome.samples))
        .collect();
    assert_eq!(
        all,
        [
            "b:sum{team=\"x\"} 3",
            "c{team=\"own\"} 6",
            "d{team=\"x\"} 42",
            "ALERTS{alertname=\"A\", alertstate=\"firing\", team=\"x\"} 1",
            "ALERTS_FOR_STATE{alertname=\"A\", team=\"x\"} 1700000000",
        ]
    );
    // Gone: everything is over.
    store.push(
        "a{x=\"1\"}",
        T + 1,
        f64::from_bits(pulseboard_series::STALE_MARKER_BITS),
    );
    let next: Vec<_> = evaluate(&mut group, T + 15_000, &mut store)
        .iter()
        .flat_map(|outcome| told(&outcome.samples))
        .collect();
    assert_eq!(next[0], "b:sum{team=\"x\"} stale");
    assert_eq!(next[1], "c{team=\"own\"} stale");
}

#[test]
fn an_offset_looks_back_and_writes_there() {
    let mut late = spec(vec![record("b", "a")]);
    late.query_offset = Some(Period::from_millis(60_000));
    let mut group = group(&late);
    let mut store = Store::default();
    store.push("a", T - 60_000, 1.0);
    store.push("a", T, 2.0);
    let outcome = evaluate(&mut group, T, &mut store).remove(0);
    assert_eq!(
        (outcome.samples[0].value, outcome.samples[0].at_ms),
        (1.0, T - 60_000)
    );
}

#[test]
fn what_is_switched_off_is_over() {
    let on = spec(vec![alert("A", "a > 5", 0), record("b", "a")]);
    let mut off = on.clone();
    for rule in &mut off.rules {
        rule.enabled = false;
    }
    let mut store = Store::default();
    store.push("a", T, 9.0);
    let mut old = group(&on);
    evaluate(&mut old, T, &mut store);
    let mut new = group(&off);
    assert!(new.take_over(old, T).is_empty(), "the rules are the same");
    let outcomes = evaluate(&mut new, T + 15_000, &mut store);
    assert_eq!(outcomes[0].changes[0].event, Event::Resolved);
    assert_eq!(outcomes[0].due.len(), 1);
    assert!(
        outcomes
            .iter()
            .flat_map(|one| &one.samples)
            .all(Sample::is_stale)
    );
    assert_eq!(
        outcomes.iter().map(|one| one.samples.len()).sum::<usize>(),
        3
    );
    let next = evaluate(&mut new, T + 30_000, &mut store);
    assert!(
        next.iter()
            .all(|one| one.samples.is_empty() && one.changes.is_empty())
    );
}

#[test]
fn a_new_version_goes_on_and_says_what_is_gone() {
    let mut store = Store::default();
    store.push("a", T, 9.0);
    let mut old = group(&spec(vec![alert("A", "a > 5", 30), record("gone", "a")]));
    evaluate(&mut old, T, &mut store);
    let mut new = group(&spec(vec![alert("B", "a > 1", 0), alert("A", "a > 6", 30)]));
    assert_eq!(told(&new.take_over(old, T + 1)), ["gone stale"]);
    store.push("a", T + 30_000, 9.0);
    let outcomes = evaluate(&mut new, T + 30_000, &mut store);
    assert_eq!(
        outcomes[1].due[0].active_at_ms, T,
        "its pending time counts"
    );
    let (samples, changes, due) = new.end(T + 45_000, &env(&store));
    assert_eq!((samples.len(), changes.len(), due.len()), (4, 2, 2));
}

#[test]
fn a_restart_changes_nothing() {
    let mut store = Store::default();
    store.push("a", T, 9.0);
    let spec = spec(vec![
        alert("A", "a > 5", 30),
        record("b", "a"),
        RuleSpec {
            missing: Missing::Alert,
            ..alert("C", "a > 100", 0)
        },
    ]);
    let mut before = group(&spec);
    evaluate(&mut before, T, &mut store);
    let kept = serde_json::to_string(&before.kept()).unwrap();
    let kept: KeptGroup = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, before.kept());
    let mut after = group(&spec);
    assert!(after.take_back(&kept, T).is_empty());
    assert_eq!(after.kept(), before.kept());
    store.push(
        "a",
        T + 30_000,
        f64::from_bits(pulseboard_series::STALE_MARKER_BITS),
    );
    let (one, other) = (
        evaluate(&mut before, T + 30_000, &mut Store(store.0.clone())),
        evaluate(&mut after, T + 30_000, &mut store),
    );
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(told(&one.samples), told(&other.samples));
        assert_eq!(format!("{:?}", one.changes), format!("{:?}", other.changes));
        assert_eq!(format!("{:?}", one.due), format!("{:?}", other.due));
    }
    assert_eq!(
        one[2].changes[0].event,
        Event::Firing,
        "the series that was there is missed"
    );
    let fewer = Group::new(
        "rules.yml",
        &crate::support::spec(vec![record("b", "a")]),
        DEFAULTS,
    );
    assert_eq!(told(&fewer.unwrap().take_back(&kept, T)).len(), 2);
}

#[test]
fn pending_time_is_found_in_what_a_prometheus_wrote() {
    // (hold, when it went down, since when it was active) → since when it is active
    let now = T;
    for (hold_min, down_min, active_min, expected) in [
        // Long pending: the outage does not count.
        (60, -20, -30, Some(-10)),
        // Almost there: the grace period is left.
        (60, -20, -75, Some(10 - 60)),
        // It fired before.
        (60, -20, -100, Some(-100)),
        // Shorter than the grace period: anew.
        (5, -20, -22, None),
        // Down for longer than is tolerated.
        (60, -61, -70, None),
    ] {
        let mut group = group(&spec(vec![alert("A", "a > 5", hold_min * 60)]));
        group.await_restore();
        let mut store = Store::default();
        store.push(
            "ALERTS_FOR_STATE{alertname=\"A\", x=\"1\"}",
            now + down_min * 60_000,
            ((now + active_min * 60_000) / 1000) as f64,
        );
        store.push("a{x=\"1\"}", now, 9.0);
        let outcome = evaluate(&mut group, now, &mut store).remove(0);
        assert!(
            outcome.samples.is_empty(),
            "what was there is still to be looked for"
        );
        group
            .restore(now, &env(&store), OUTAGE_TOLERANCE_MS, FOR_GRACE_MS)
            .unwrap();
        let active = group.status().rules[0].alerts[0].active_at_ms;
        assert_eq!(
            active,
            expected.map_or(now, |minutes: i64| now + minutes * 60_000),
            "{hold_min} {down_min} {active_min}"
        );
        store.push("a{x=\"1\"}", now + 15_000, 9.0);
        assert_eq!(
            evaluate(&mut group, now + 15_000, &mut store)[0]
                .samples
                .len(),
            2
        );
    }
}

#[test]
fn times_of_evaluation_lie_on_a_grid_of_their_own() {
    let one = eval_timestamp("f", "a", 15_000, T);
    assert!(one <= T && one > T - 15_000);
    for later in [one, one + 1, one + 14_999] {
        assert_eq!(eval_timestamp("f", "a", 15_000, later), one);
    }
    assert_eq!(eval_timestamp("f", "a", 15_000, one + 15_000), one + 15_000);
    let offsets: std::collections::BTreeSet<i64> = (0..20)
        .map(|index| eval_timestamp("f", &format!("g{index}"), 15_000, T))
        .collect();
    assert!(offsets.len() > 15, "groups do not all come at once");
    assert_eq!(eval_timestamp("f", "a", 0, T), T);
    assert_eq!(next_iteration(T, T + 15_100, 15_000), (0, T + 15_000));
    assert_eq!(next_iteration(T, T + 46_000, 15_000), (2, T + 45_000));
}

#[test]
fn templates_are_rendered_and_what_fails_is_said_in_the_text() {
    let mut rule = alert("A", "a > 5", 0);
    for (name, text) in [
        ("plain", "nothing"),
        (
            "both",
            "{{ $labels.x }} is {{ $value }} at {{ $externalURL }}",
        ),
        (
            "asked",
            "{{ with query \"sum(a)\" }}{{ . | first | value }}{{ end }}",
        ),
        ("broken", "{{ query \"sum(\" }}"),
    ] {
        rule.annotations.insert(name.to_owned(), text.to_owned());
    }
    rule.labels.insert(
        "level".to_owned(),
        "{{ if gt $value 8.0 }}high{{ else }}low{{ end }}".to_owned(),
    );
    let mut group = group(&spec(vec![rule]));
    let mut store = Store::default();
    store.push("a{x=\"1\"}", T, 9.0);
    store.push("a{x=\"2\"}", T, 6.5);
    evaluate(&mut group, T, &mut store);
    let alerts = group.status().rules.remove(0).alerts;
    let levels: Vec<_> = alerts
        .iter()
        .map(|alert| alert.labels.get("level").to_owned())
        .collect();
    assert_eq!(levels, ["high", "low"]);
    let texts = &alerts[0].annotations;
    assert_eq!(texts["plain"], "nothing");
    assert_eq!(texts["both"], "1 is 9 at http://here");
    assert_eq!(texts["asked"], "15.5");
    assert!(
        texts["broken"]
            .starts_with("<error expanding template: error executing template __alert_A: template: __alert_A:1:115: executing \"__alert_A\" at <query \"sum(\">: error calling query: "),
        "{}",
        texts["broken"]
    );
    assert_eq!(
        alerts[0].labels,
        labels("{alertname=\"A\",level=\"high\",x=\"1\"}")
    );
}

#[test]
fn json_has_the_fields_of_a_file_and_ours() {
    let rule: RuleSpec = serde_json::from_str(
        r#"{"group":"g","alert":"A","expr":"a > 90","for":"5m","keep_firing_for":"1m","labels":{"a":"b"},
            "annotations":{"summary":"s"},"clear":80,"every":"1s","missing":"keep","enabled":false}"#,
    )
    .unwrap();
    assert_eq!(rule.problems(), []);
    assert_eq!(
        (rule.hold.as_millis(), rule.every.unwrap().as_millis()),
        (300_000, 1_000)
    );
    assert_eq!(
        (&rule.clear, rule.missing, rule.enabled),
        (&Some(Clear::Number(80.0)), Missing::Keep, false)
    );
    let again: RuleSpec = serde_json::from_value(serde_json::to_value(&rule).unwrap()).unwrap();
    assert_eq!(again, rule);
    let short: RuleSpec = serde_json::from_str(r#"{"record":"a","expr":"b"}"#).unwrap();
    assert_eq!(
        serde_json::to_string(&short).unwrap(),
        r#"{"record":"a","expr":"b"}"#
    );
    serde_json::from_str::<RuleSpec>(r#"{"alert":"a","expr":"b","fro":"5m"}"#)
        .expect_err("an unknown field");
    let bad: RuleSpec =
        serde_json::from_str(r#"{"alert":"a","expr":"b >","clear":"c <","labels":{"x-y":"z"}}"#)
            .unwrap();
    let problems: Vec<_> = bad
        .problems()
        .iter()
        .map(|problem| problem.field.clone())
        .collect();
    assert_eq!(problems, ["expr", "labels.x-y"]);
}

#[test]
fn a_rule_that_is_too_wide_is_an_error() {
    let mut group = group(&spec(vec![alert("A", "a > 5", 0), record("b", "a")]));
    let mut store = Store::default();
    for x in 0..=pulseboard_rules::group::SERIES_MAX {
        let name = std::sync::Arc::from("__name__");
        let one = [
            (name, std::sync::Arc::from("a")),
            (
                std::sync::Arc::from("x"),
                std::sync::Arc::from(x.to_string()),
            ),
        ];
        store.write(&one.into_iter().collect(), T, 9.0);
    }
    for outcome in evaluate(&mut group, T, &mut store) {
        let error = outcome.error.unwrap_or_default();
        assert!(
            error.starts_with("50001 series are more than one rule may have"),
            "{error}"
        );
        assert!(outcome.samples.is_empty() && outcome.changes.is_empty());
    }
}
