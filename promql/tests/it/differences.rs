//! What a real Prometheus was once found to answer otherwise than this crate did, each with the
//! answer of Prometheus 3. How expressions are read is in `parse.rs`.

use crate::support::Memory;

const MINUTE: i64 = 60_000;

#[test]
fn what_differed_from_prometheus_once() {
    let memory = Memory::load(
        MINUTE,
        r#"
        half{sign="minus"} -0.5x10
        up{job="api"} 1x10
        up{job="web"} 1x10
        even{n="1"} 1x10
        even{n="2"} 1x10
        even{n="3"} 2x10
        "#,
    );
    for (query, expected) in [
        // Half a second before 1970 is cut off to its first second.
        ("year(half)", "{sign=\"minus\"} 1970"),
        // The label of the value goes with those that `without` takes away.
        ("count_values without (job) (\"job\", up)", "{} 2"),
        ("count_values by (job) (\"job\", up)", "{job=\"1\"} 2"),
        // Of equal ones the first goes where a better one comes.
        ("topk(2, even)", "even{n=\"3\"} 2; even{n=\"2\"} 1"),
        // A window without a time of its subquery is computed all the same where it is always the
        // same.
        (
            "count_over_time((up @ 60 * on () up @ 60)[1s:7m])",
            "error: found duplicate series for the match group {} on the right hand-side",
        ),
    ] {
        let said = memory.say(query, 5 * MINUTE);
        assert!(said.starts_with(expected), "{query}: {said}");
    }
    // The time of what is computed is that of the step, whatever it is computed of.
    let times = |text: &str| {
        let series = memory.range(text, (0, 2 * MINUTE, MINUTE)).expect("series");
        series[0].1.iter().map(|point| point.1).collect::<Vec<_>>()
    };
    assert_eq!(times("timestamp(half @ 60 + 0)"), [0.0, 60.0, 120.0]);
    assert_eq!(times("timestamp(half @ 60)"), [60.0, 60.0, 60.0]);
}

#[test]
fn a_minus_takes_the_names_of_whole_series() {
    let memory = Memory::load(
        MINUTE,
        r#"
        early{job="api"} 1 1 stale
        late{job="api"} _ _ _ 5 5
        "#,
    );
    let whole = (0, 4 * MINUTE, MINUTE);
    // At no time are there two of one name, and yet there are in the range.
    let refused = memory.range("-(early or late)", whole);
    let error = refused.expect_err("two of one name").to_string();
    assert_eq!(
        error,
        "vector cannot contain metrics with the same labelset"
    );
    for at_ms in [0, MINUTE] {
        assert_eq!(memory.say("-(early or late)", at_ms), "{job=\"api\"} -1");
    }
    assert_eq!(
        memory.say("-(early or late)", 4 * MINUTE),
        "{job=\"api\"} -5"
    );
    // What is done step by step puts them together.
    let series = memory.range("abs(early or late)", whole).expect("series");
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].1.len(), 4);
}
