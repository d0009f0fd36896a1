//! Unit tests of rules, as people write them.

use std::collections::BTreeMap;

use pulseboard_rules::unit_test::{Files, Report, test};

/// Files in memory.
#[derive(Debug, Default)]
pub(crate) struct Texts(pub(crate) BTreeMap<String, String>);

impl Files for Texts {
    fn read(&mut self, path: &str) -> Result<String, String> {
        let text = self.0.get(path).cloned();
        text.ok_or_else(|| format!("open {path}: no such file or directory"))
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        let all = self.0.keys();
        Ok(match pattern.split_once('*') {
            None => all.filter(|path| *path == pattern).cloned().collect(),
            Some((start, end)) => all
                .filter(|path| path.starts_with(start) && path.ends_with(end))
                .cloned()
                .collect(),
        })
    }
}

fn run(files: &[(&str, &str)]) -> Report {
    let texts = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    test(files[0].0, &mut Texts(texts.collect()))
}

const RULES: &str = "
groups:
  - name: a
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: up == 0
        for: 2m
        labels: {severity: page}
        annotations: {summary: 'down'}
";

#[test]
fn tests_pass_and_fail_as_they_should() {
    let tests = "
rule_files: [../rules/*.yml]
tests:
  - interval: 1m
    name: one
    input_series:
      - series: up{job=\"a\"}
        values: 1 0x5
    alert_rule_test:
      - eval_time: 2m
        alertname: Down
      - eval_time: 4m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: page, job: a}
            exp_annotations: {summary: down}
    promql_expr_test:
      - expr: job:up:sum
        eval_time: 1m
        exp_samples: [{labels: 'job:up:sum{job=\"a\"}', value: 0}]
      - expr: ALERTS{alertstate=\"pending\"}
        eval_time: 2m
        exp_samples: [{labels: 'ALERTS{alertname=\"Down\",alertstate=\"pending\",job=\"a\",severity=\"page\"}', value: 1}]
";
    let report = run(&[("tests/t.yml", tests), ("rules/r.yml", RULES)]);
    assert_eq!(
        report,
        Report {
            out: "Unit Testing:  tests/t.yml\n  SUCCESS\n\n".to_owned(),
            err: String::new(),
            ok: true
        }
    );

    let wrong = tests
        .replace("severity: page, job: a", "severity: mail")
        .replace("value: 0", "value: 1.5");
    let report = run(&[("tests/t.yml", &wrong), ("rules/r.yml", RULES)]);
    assert_eq!(
        (report.out.as_str(), report.err.as_str(), report.ok),
        (
            "Unit Testing:  tests/t.yml\n\n\n\n",
            "  FAILED:
    name: one,
    alertname: Down, time: 4m, 
        exp:[
            0:
              Labels:{alertname=\"Down\", severity=\"mail\"}
              Annotations:{summary=\"down\"}
            ], 
        got:[
            0:
              Labels:{alertname=\"Down\", job=\"a\", severity=\"page\"}
              Annotations:{summary=\"down\"}
            ]
    expr: \"job:up:sum\", time: 1m,
        exp: {__name__=\"job:up:sum\", job=\"a\"} 1.5E+00
        got: {__name__=\"job:up:sum\", job=\"a\"} 0E+00
",
            false
        )
    );
}

#[test]
fn what_is_wrong_with_a_test_is_said() {
    let errors = |tests: &str| {
        let report = run(&[
            ("t.yml", tests),
            ("r.yml", RULES),
            (
                "bad.yml",
                "groups: [{name: a, rules: [{alert: x, expr: up ==}]}]\n",
            ),
        ]);
        assert!(!report.ok, "{report:?}");
        report.err
    };
    for (tests, words) in [
        (
            "tests: [{foo: 1}]",
            "line 1: field foo not found in type main.testGroup",
        ),
        (
            "rule_files: [r.yml]\ntests: [{input_series: [{series: up, values: '{{schema:1}}'}]}]",
            "a native histogram: they are not supported",
        ),
        (
            "tests: [{input_series: [{series: 'up{', values: '1'}]}]",
            "1:4: parse error: ",
        ),
        (
            "tests: [{alert_rule_test: [{eval_time: 5m}]}]",
            "an item under alert_rule_test misses required attribute alertname at eval_time 5m",
        ),
        (
            "tests: [{alert_rule_test: [{eval_time: 5}]}]",
            "not a valid duration string: \"5\"",
        ),
        (
            "rule_files: [bad.yml]\ntests: [{}]",
            "bad.yml: 1:45: group \"a\", rule 1, \"x\": could not parse expression",
        ),
        (
            "group_eval_order: [a, a]",
            "group name repeated in evaluation order: a",
        ),
        (
            "tests: [{promql_expr_test: [{expr: 'up[5m]'}]}]",
            "err: rule result is not a vector or scalar",
        ),
        (
            "tests: [{promql_expr_test: [{expr: 'up('}]}]",
            "expr: \"up(\", time: 0s, err: 1:",
        ),
        (
            "tests: [{promql_expr_test: [{expr: vector(1), exp_samples: [{histogram: '{{}}'}]}]}]",
            "they are not supported",
        ),
        (
            "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: '1', eval_time: 100d}]}]",
            "evaluations",
        ),
        ("a: [", "yaml: line "),
    ] {
        let err = errors(tests);
        assert!(err.contains(words), "{tests}: {err}");
    }
    let missing = run(&[("t.yml", "rule_files: [none.yml]\ntests: [{}]")]);
    assert_eq!(
        (missing.ok, missing.err.as_str()),
        (true, "  WARNING: no file match pattern none.yml\n")
    );
    let unread = test("nope.yml", &mut Texts::default());
    assert_eq!(
        unread.err,
        "  FAILED:\nopen nope.yml: no such file or directory\n"
    );
}

#[test]
fn a_test_can_begin_at_a_time_and_be_near() {
    let tests = "
fuzzy_compare: true
start_timestamp: 2024-01-01T00:00:00Z
tests:
  - interval: 1m
    promql_expr_test:
      - {expr: time(), eval_time: 1m, exp_samples: [{value: 1704067260}]}
      - {expr: vector(0.1) + 0.2, eval_time: 1m, exp_samples: [{value: 0.3}]}
  - start_timestamp: 1000
    promql_expr_test:
      - {expr: time(), eval_time: 0, exp_samples: [{value: 1000}]}
";
    assert_eq!(run(&[("t.yml", tests)]).err, "");
    assert!(!run(&[("t.yml", &tests.replace("fuzzy_compare: true", ""))]).ok);
}

#[test]
fn of_two_series_with_the_same_labels_the_later_one_is_it() {
    let tests = |second: &str, value: u8| {
        format!(
            "
tests:
  - interval: 1m
    input_series:
      - {{series: 'm{{a=\"1\"}}', values: 1 2 3}}
      - {{series: 'm{{a=\"1\"}}', values: {second}}}
    promql_expr_test:
      - {{expr: m, eval_time: 2m, exp_samples: [{{labels: 'm{{a=\"1\"}}', value: {value}}}]}}
"
        )
    };
    for (second, value) in [("1 2 3", 3), ("4 5 6", 6), ("_ _ 6", 6), ("1", 1)] {
        let report = run(&[("t.yml", &tests(second, value))]);
        assert!(report.ok, "{second}: {}", report.err);
    }
    let report = run(&[("t.yml", &tests("_ _ _ _ 6", 3))]);
    assert!(
        !report.ok && report.err.contains("got: nil"),
        "{}",
        report.err
    );
}
