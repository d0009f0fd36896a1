//! What is said beside an answer, in Prometheus' words.

use pulseboard_promql::{Options, instant, parse, storage::Unguarded};

use crate::support::Memory;

const MINUTE: i64 = 60_000;

#[test]
fn what_is_likely_not_meant_is_said() {
    let memory = Memory::load(
        MINUTE,
        r#"
        requests 0+1x10
        requests_total 0+1x10
        h_bucket{le="1"} 5x10
        h_bucket{le="2"} 3x10
        h_bucket{le="+Inf"} 9x10
        h_bucket{le="high"} 9x10
        "#,
    );
    let no_counter = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"requests\"";
    let no_quantile = "PromQL warning: quantile value should be between 0 and 1, got";
    let no_bound = "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"high\" for metric name \"h_bucket\"";
    let falls = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
    for (query, warnings, infos) in [
        ("rate(requests_total[5m])", vec![], vec![]),
        (
            "rate(requests[5m])",
            vec![],
            vec![format!("{no_counter} (1:6)")],
        ),
        (
            "1 +\n  increase(requests[5m])",
            vec![],
            vec![format!("{no_counter} (2:12)")],
        ),
        // Nothing is said of what has no answer, and nothing of gauges.
        ("rate(requests[30s])", vec![], vec![]),
        ("delta(requests[5m])", vec![], vec![]),
        // A name that is gone is no name.
        ("rate((requests + 1)[5m:1m])", vec![], vec![]),
        (
            "quantile(1.5, requests)",
            vec![format!("{no_quantile} 1.5 (1:10)")],
            vec![],
        ),
        (
            "quantile_over_time(NaN, requests[5m])",
            vec![format!("{no_quantile} NaN (1:20)")],
            vec![],
        ),
        ("quantile_over_time(-1, missing[5m])", vec![], vec![]),
        (
            "histogram_quantile(-0.5, missing)",
            vec![format!("{no_quantile} -0.5 (1:20)")],
            vec![],
        ),
        (
            "histogram_quantile(0.5, h_bucket)",
            vec![format!("{no_bound} (1:25)")],
            vec![format!("{falls} (1:25)")],
        ),
    ] {
        let expr = parse(query).expect(query);
        let answer = instant(&expr, 9 * MINUTE, &memory, &Unguarded, Options::default());
        let (_, notes) = answer.expect(query);
        assert_eq!(notes.texts(query), (warnings, infos), "{query}");
    }
}

/// Of many only ten are told, and how many more there are.
#[test]
fn many_are_counted() {
    let lines: Vec<String> = (0..14)
        .map(|at| format!("metric_{at}{{n=\"{at}\"}} 0+1x10"))
        .collect();
    let memory = Memory::load(MINUTE, &lines.join("\n"));
    let query = "sum(rate({__name__=~\"metric_.*\"}[5m]))";
    let expr = parse(query).expect(query);
    let answer = instant(&expr, 9 * MINUTE, &memory, &Unguarded, Options::default());
    let (warnings, infos) = answer.expect(query).1.texts(query);
    assert!(warnings.is_empty());
    assert_eq!(infos.len(), 11);
    assert_eq!(infos[10], "4 more info annotations omitted");
}
