//! What comes out. Expected values are Prometheus' (its documentation and its semantics).

use std::cell::Cell;

use pulseboard_promql::{Answer, EvalError, Options, instant, parse, range, storage::Unguarded};

use crate::support::{Holds, Memory, Stops, is_named};

const MINUTE: i64 = 60_000;

fn requests() -> Memory {
    Memory::load(
        MINUTE,
        r#"
        requests_total{job="api",instance="0"} 0+10x10
        requests_total{job="api",instance="1"} 0+20x10
        requests_total{job="web",instance="0"} 0+30x10
        requests_total{job="web",instance="1"} 0+40x10
        limits{job="api"} 100x10
        limits{job="web"} 200x10
        counter_reset 0+10x4 0+10x5
        gauge 5 4 3 2 1 0 -1 -2 -3 -4 -5
        gone 1 1 1 stale
        odd{kind="nan"} NaNx10
        odd{kind="inf"} +Infx10
        odd{kind="one"} 1x10
        "#,
    )
}

/// Expression, minute at which it is asked, and the answer.
#[test]
fn instant_answers() {
    let memory = requests();
    for (query, minute, expected) in [
        ("1 + 2 * 3 ^ 2", 0, "19"),
        ("-2 ^ 2", 0, "-4"),
        ("2 ^ 3 ^ 2", 0, "512"),
        ("7 % -3", 0, "1"),
        ("1 == bool 1", 0, "1"),
        ("time()", 2, "120"),
        ("gauge", 3, "gauge 2"),
        ("+gauge", 3, "gauge 2"),
        ("+(gauge) - -gauge", 3, "{} 4"),
        ("asinh(1.7e308 * vector(1))", 0, "{} 710.4199840737881"),
        (
            "gauge > bool ignoring(h) group_right(__name__) gauge",
            3,
            "{} 0",
        ),
        (
            "gauge + ignoring(h) group_right(__name__) gauge",
            3,
            "gauge 4",
        ),
        ("gauge offset 1m", 3, "gauge 3"),
        ("gauge @ 60", 9, "gauge 4"),
        ("gauge @ 60 offset 1m", 9, "gauge 5"),
        // Open to the left: what is exactly the look-back old is not seen.
        ("gauge", 15, ""),
        ("gauge", 14, "gauge -5"),
        ("gone", 2, "gone 1"),
        ("gone", 3, ""),
        ("rate(counter_reset[10m])", 10, "{} 0.14814814814814814"),
        (
            "increase(requests_total{job=\"api\",instance=\"0\"}[5m])",
            10,
            "{instance=\"0\", job=\"api\"} 50",
        ),
        ("delta(gauge[4m])", 4, "{} -4"),
        ("idelta(gauge[4m])", 4, "{} -1"),
        ("irate(counter_reset[2m])", 5, "{} 0"),
        ("resets(counter_reset[10m])", 10, "{} 1"),
        ("changes(gauge[5m])", 5, "{} 4"),
        ("count_over_time(gauge[5m])", 5, "{} 5"),
        ("count_over_time(gauge[5m])", 20, ""),
        ("sum_over_time(gauge[5m])", 5, "{} 10"),
        ("avg_over_time(gauge[5m])", 5, "{} 2"),
        ("min_over_time(gauge[5m])", 5, "{} 0"),
        ("max_over_time(gauge[5m])", 5, "{} 4"),
        ("last_over_time(gauge[5m])", 5, "gauge 0"),
        ("stddev_over_time(gauge[5m])", 5, "{} 1.4142135623730951"),
        ("quantile_over_time(0.5, gauge[5m])", 5, "{} 2"),
        ("deriv(gauge[5m])", 5, "{} -0.016666666666666666"),
        ("predict_linear(gauge[5m], 60)", 5, "{} -1"),
        ("present_over_time(gauge[5m])", 5, "{} 1"),
        (
            "absent_over_time(nothing{a=\"b\",c=~\"d\"}[5m])",
            5,
            "{a=\"b\"} 1",
        ),
        ("absent(nothing{a=\"b\",a=\"c\"})", 5, "{} 1"),
        ("absent(gauge)", 5, ""),
        ("sum(requests_total)", 10, "{} 1000"),
        (
            "sum by (job) (requests_total)",
            10,
            "{job=\"api\"} 300; {job=\"web\"} 700",
        ),
        (
            "sum without (instance) (requests_total)",
            10,
            "{job=\"api\"} 300; {job=\"web\"} 700",
        ),
        ("avg(requests_total)", 10, "{} 250"),
        ("min(requests_total)", 10, "{} 100"),
        ("max(requests_total)", 10, "{} 400"),
        ("count(requests_total)", 10, "{} 4"),
        ("group(requests_total)", 10, "{} 1"),
        ("stdvar(requests_total)", 10, "{} 12500"),
        ("quantile(0.5, requests_total)", 10, "{} 250"),
        (
            "topk(2, requests_total)",
            10,
            "requests_total{instance=\"1\", job=\"web\"} 400; requests_total{instance=\"0\", job=\"web\"} 300",
        ),
        (
            "bottomk(1, requests_total)",
            10,
            "requests_total{instance=\"0\", job=\"api\"} 100",
        ),
        ("topk(1, odd)", 1, "odd{kind=\"inf\"} inf"),
        (
            "count_values(\"v\", limits)",
            1,
            "{v=\"100\"} 1; {v=\"200\"} 1",
        ),
        ("max(odd{kind!=\"inf\"})", 1, "{} 1"),
        (
            "sum by (job) (requests_total) / on (job) limits",
            10,
            "{job=\"api\"} 3; {job=\"web\"} 3.5",
        ),
        (
            "requests_total / on (job) group_left limits",
            10,
            "{instance=\"0\", job=\"api\"} 1; {instance=\"1\", job=\"api\"} 2; {instance=\"0\", job=\"web\"} 1.5; {instance=\"1\", job=\"web\"} 2",
        ),
        ("limits > 150", 1, "limits{job=\"web\"} 200"),
        ("150 < limits", 1, "limits{job=\"web\"} 200"),
        ("limits > bool 150", 1, "{job=\"api\"} 0; {job=\"web\"} 1"),
        (
            "limits and on (job) requests_total{job=\"web\"}",
            1,
            "limits{job=\"web\"} 200",
        ),
        (
            "limits unless on (job) requests_total{job=\"web\"}",
            1,
            "limits{job=\"api\"} 100",
        ),
        (
            "limits{job=\"api\"} or limits",
            1,
            "limits{job=\"api\"} 100; limits{job=\"web\"} 200",
        ),
        ("requests_total + limits", 1, ""),
        ("abs(gauge)", 10, "{} 5"),
        ("clamp(gauge, -1, 1)", 10, "{} -1"),
        ("clamp(gauge, 1, -1)", 10, ""),
        ("round(gauge / 3, 0.1)", 10, "{} -1.7"),
        ("sgn(gauge)", 10, "{} -1"),
        ("scalar(gauge)", 10, "-5"),
        ("scalar(limits)", 10, "NaN"),
        ("vector(1)", 10, "{} 1"),
        ("timestamp(gauge)", 12, "{} 600"),
        ("timestamp(gauge + 0)", 12, "{} 720"),
        ("hour(vector(3600 * 13))", 0, "{} 13"),
        ("day_of_week()", 0, "{} 4"),
        ("year(vector(9007199254740992))", 0, "{} 285428751"),
        ("minute(vector(-9007199254740992))", 0, "{} 23"),
        ("hour(vector(1e18))", 0, "{} 1"),
        ("month(vector(NaN))", 0, "{} NaN"),
        (
            "label_replace(limits, \"team\", \"$1-x\", \"job\", \"(a).*\")",
            1,
            "limits{job=\"api\", team=\"a-x\"} 100; limits{job=\"web\"} 200",
        ),
        (
            "label_join(limits, \"both\", \"/\", \"job\", \"none\", \"job\")",
            1,
            "limits{both=\"api//api\", job=\"api\"} 100; limits{both=\"web//web\", job=\"web\"} 200",
        ),
        (
            "sort_desc(limits)",
            1,
            "limits{job=\"web\"} 200; limits{job=\"api\"} 100",
        ),
        ("max_over_time(sum(requests_total)[5m:1m])", 10, "{} 1000"),
        ("count_over_time(vector(1)[5m:1m])", 10, "{} 5"),
        ("sum_over_time(gauge[2m] offset 1m)", 4, "{} 5"),
        ("\"text\"", 1, "text"),
        ("gauge[2m]", 4, "gauge [(180000, 2.0), (240000, 1.0)]"),
    ] {
        assert_eq!(
            memory.say(query, minute * MINUTE),
            expected,
            "{query} at minute {minute}"
        );
    }
}

#[test]
fn what_cannot_be_computed_is_said() {
    let memory = requests();
    for (query, error) in [
        (
            "requests_total / on (job) limits",
            "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        ),
        (
            "limits / on (job) requests_total",
            "error: found duplicate series for the match group {job=",
        ),
        ("topk(NaN, limits)", "error: Parameter value is NaN"),
        (
            "label_replace(requests_total, \"instance\", \"\", \"instance\", \".*\")",
            "error: vector cannot contain metrics with the same labelset",
        ),
        (
            "rate({__name__=~\"limits|gauge\", job=\"\"}[5m]) + abs({__name__=~\"gauge|counter_reset\"})",
            "error: vector cannot contain metrics with the same labelset",
        ),
    ] {
        let said = memory.say(query, 5 * MINUTE);
        assert!(said.starts_with(error), "{query}: {said}");
    }
}

#[test]
fn classic_histograms() {
    let memory = Memory::load(
        MINUTE,
        r#"
        h_bucket{le="0.1",job="a"} 50x10
        h_bucket{le="0.5",job="a"} 80x10
        h_bucket{le="1",job="a"} 100x10
        h_bucket{le="+Inf",job="a"} 100x10
        h_bucket{le="1",job="no_inf"} 100x10
        h_bucket{le="0.1",job="falls"} 50x10
        h_bucket{le="0.5",job="falls"} 49.99999999999999x10
        h_bucket{le="+Inf",job="falls"} 60x10
        "#,
    );
    for (query, expected) in [
        (
            "histogram_quantile(0.5, h_bucket{job=\"a\"})",
            "{job=\"a\"} 0.1",
        ),
        (
            "histogram_quantile(0.9, h_bucket{job=\"a\"})",
            "{job=\"a\"} 0.75",
        ),
        (
            "histogram_quantile(0.25, h_bucket{job=\"a\"})",
            "{job=\"a\"} 0.05",
        ),
        (
            "histogram_quantile(1.1, h_bucket{job=\"a\"})",
            "{job=\"a\"} inf",
        ),
        (
            "histogram_quantile(0.5, h_bucket{job=\"no_inf\"})",
            "{job=\"no_inf\"} NaN",
        ),
        (
            "histogram_quantile(0.99, h_bucket{job=\"falls\"})",
            "{job=\"falls\"} 0.5",
        ),
        (
            "histogram_fraction(0, 0.5, h_bucket{job=\"a\"})",
            "{job=\"a\"} 0.8",
        ),
        ("histogram_count(h_bucket)", ""),
    ] {
        assert_eq!(memory.say(query, MINUTE), expected, "{query}");
    }
}

/// A range is at each step what an instant is there.
#[test]
fn a_range_is_its_instants() {
    let memory = requests();
    for query in [
        "requests_total",
        "rate(requests_total[3m])",
        "sum by (job) (rate(requests_total[90s]))",
        "requests_total / on (job) group_left limits",
        "gone or gauge",
        "absent(gone)",
        "absent_over_time(gone[2m])",
        "max_over_time(rate(counter_reset[2m])[3m:30s])",
        "counter_reset > 20",
        "gauge @ end()",
        "topk(2, requests_total)",
        "quantile(0.3, requests_total)",
        "time() - timestamp(gauge)",
        "predict_linear(gauge[3m] @ 240, 60)",
        "count_values(\"v\", gauge > -2)",
        "vector(scalar(gauge)) and hour() < 1",
    ] {
        let (start, end, step) = (0, 12 * MINUTE, 45_000);
        let series = memory.range(query, (start, end, step)).expect(query);
        let query_at_end = query.replace("end()", "720");
        let mut found = 0;
        for at in (start..=end).step_by(45_000) {
            let mut expected = match memory.instant(&query_at_end, at).expect(query) {
                pulseboard_promql::Answer::Vector(series) => series,
                other => panic!("{query}: {other:?}"),
            };
            expected.sort_by(|one, other| one.0.cmp(&other.0));
            let there: Vec<_> = series
                .iter()
                .filter_map(|(labels, points)| {
                    let point = points.iter().find(|(time, _)| *time == at)?;
                    Some((labels.clone(), *point))
                })
                .collect();
            found += there.len();
            assert_eq!(
                format!("{there:?}"),
                format!("{expected:?}"),
                "{query} at {at}"
            );
        }
        assert!(found > 0, "{query} has an answer");
    }
}

#[test]
fn names_go_where_another_quantity_comes() {
    let memory = requests();
    for (query, keeps) in [
        ("limits", true),
        ("limits > 1", true),
        ("last_over_time(limits[5m])", true),
        ("topk(1, limits)", true),
        ("limits + 1", false),
        ("-limits", false),
        ("limits > bool 1", false),
        ("avg_over_time(limits[5m])", false),
        ("abs(limits)", false),
    ] {
        match memory.instant(query, MINUTE).expect(query) {
            pulseboard_promql::Answer::Vector(series) => {
                assert!(!series.is_empty(), "{query}");
                assert!(
                    series.iter().all(|(labels, _)| is_named(labels) == keeps),
                    "{query}"
                );
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn work_and_samples_are_bounded() {
    let memory = requests();
    let expr = parse("max_over_time(rate(requests_total[10m])[1y:1s])").expect("it");
    let at = 10 * MINUTE;
    let stops = Stops(Cell::new(100_000));
    let said = instant(&expr, at, &memory, &stops, Options::default());
    assert_eq!(said, Err(EvalError::Timeout));
    let options = Options {
        samples_max: 20,
        ..Options::default()
    };
    let expr = parse("sum(requests_total[10m:10s])");
    assert!(expr.is_err(), "a range is no vector");
    let expr = parse("sum(count_over_time(requests_total[10m]))").expect("it");
    let unstopped = Stops(Cell::new(u64::MAX));
    let said = instant(&expr, at, &memory, &unstopped, options);
    assert_eq!(said, Err(EvalError::TooManySamples));
    // Of all that its look-back reaches, an instant selector loads one sample a series and step.
    let at_most = |samples_max| Options {
        samples_max,
        lookback_ms: at,
        ..Options::default()
    };
    let expr = parse("requests_total").expect("it");
    let said = instant(&expr, at, &memory, &unstopped, at_most(4));
    assert!(said.is_ok(), "{said:?}");
    let said = instant(&expr, at, &memory, &unstopped, at_most(3));
    assert_eq!(said, Err(EvalError::TooManySamples));
    let times = (at - 2 * MINUTE, at, MINUTE);
    let said = range(&expr, times, &memory, &unstopped, at_most(12));
    assert!(said.is_ok(), "{said:?}");
    let said = range(&expr, times, &memory, &unstopped, at_most(11));
    assert_eq!(said, Err(EvalError::TooManySamples));
    // A step without a value is none that is loaded.
    let expr = parse("gone").expect("it");
    let said = range(&expr, (0, at, MINUTE), &memory, &unstopped, at_most(3));
    assert!(said.is_ok(), "{said:?}");
}

/// Memory is asked for before it is taken, also where nothing but numbers is computed.
#[test]
fn memory_is_asked_for() {
    let memory = requests();
    for query in [
        "max_over_time((1 + 1 + vector(1))[1y:1s])",
        "count_over_time(vector(time())[1y:1s])",
        "sum_over_time(vector(-pi())[1y:1s])",
        "count_over_time(hour()[1y:1s])",
        "max_over_time(vector(scalar(limits))[1y:1s])",
        "max_over_time((limits > bool 3)[1y:1s])",
        "absent_over_time(absent(limits)[1y:1s])",
    ] {
        let expr = parse(query).expect(query);
        let holds = Holds(Cell::new(1 << 20));
        let said = instant(&expr, 10 * MINUTE, &memory, &holds, Options::default());
        assert!(
            matches!(said, Err(EvalError::NoMemory(_))),
            "{query}: {said:?}"
        );
        assert!(
            holds.0.get() > 1 << 19,
            "{query} is refused before much is made"
        );
    }
}

/// An empty name is no label, wherever one is named.
#[test]
fn labels_without_a_name_are_refused() {
    let memory = requests();
    for query in [
        "label_join(gauge, \"dst\", \"\", \"zone\", \"\", \"floor\")",
        "label_join(gauge, \"\", \"\", \"zone\")",
        "label_replace(gauge, \"\", \"x\", \"zone\", \"\")",
    ] {
        let expr = parse(query).expect(query);
        let said = instant(&expr, MINUTE, &memory, &Unguarded, Options::default());
        let Err(EvalError::Execution(said)) = said else {
            panic!("{query}: {said:?}");
        };
        assert!(said.contains("label name in label_"), "{said}");
    }
}

/// As many texts as an expression holds, also where the pattern is compiled.
#[test]
fn label_replace_takes_long_alternatives() {
    let memory = requests();
    let texts: Vec<String> = (0..2_100).map(|one| format!("n{one:05}")).collect();
    let texts = texts.join("|");
    let query = format!("label_replace(limits, \"d\", \"$1\", \"job\", \"({texts}|api)\")");
    let expr = parse(&query).expect("it");
    let (answer, _) = instant(&expr, MINUTE, &memory, &Unguarded, Options::default()).expect("it");
    let Answer::Vector(series) = answer else {
        panic!("no vector");
    };
    let mut found = series.iter().filter(|(labels, _)| labels.get("d") == "api");
    assert!(found.next().is_some() && found.next().is_none());
}
