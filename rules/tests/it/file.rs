//! Rule files as people have them.

use pulseboard_rules::{
    Clear, GroupSpec, Missing, Period,
    check::check,
    file::{parse, write},
};

use crate::support::{alert, record, spec};

fn errors(text: &str) -> Vec<String> {
    match parse("rules.yml", text) {
        Ok(file) => panic!("taken: {file:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn everything_in_a_file_is_read() {
    let text = "
groups:
  - name: all
    interval: 30s
    query_offset: 1m
    limit: 10
    labels: {team: core}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - &down
        alert: Down
        expr: |
          up == 0
        for: 5m
        keep_firing_for: 10m
        labels:
          severity: page
          tier: 1
        annotations:
          summary: '{{ $labels.instance }} is down'
      - <<: *down
        alert: AlsoDown
";
    let file = parse("rules.yml", text).expect("a file");
    assert_eq!(file.warnings, Vec::<String>::new());
    let group = &file.groups[0];
    assert_eq!(
        (group.interval, group.query_offset, group.limit),
        (
            Some(Period::from_millis(30_000)),
            Some(Period::from_millis(60_000)),
            10
        )
    );
    assert_eq!(group.labels["team"], "core");
    assert_eq!(group.rules[0].record, "job:up:sum");
    let down = &group.rules[1];
    assert_eq!(
        (
            down.alert.as_str(),
            down.expr.as_str(),
            down.hold.as_millis(),
            down.keep_firing_for.as_millis()
        ),
        ("Down", "up == 0\n", 300_000, 600_000)
    );
    assert_eq!(
        (
            down.labels["tier"].as_str(),
            down.annotations["summary"].as_str()
        ),
        ("1", "{{ $labels.instance }} is down")
    );
    assert_eq!(
        (group.rules[2].alert.as_str(), &group.rules[2].labels),
        ("AlsoDown", &down.labels)
    );
    for nothing in ["", "# a comment\n", "groups:\n", "groups: []\n", "---\n"] {
        assert_eq!(parse("f", nothing).expect(nothing).groups, []);
    }
}

#[test]
fn all_errors_are_told_with_their_places() {
    let text = "
groups:
  - name: a
    intervall: 5m
    limit: many
    rules:
      - alert: X
        expr: up ==
        fro: 5m
      - alert: Y
        expr: up ==
        for: 5
      - alert: Z
        expr: up ==
        labels:
          sev-erity: page
        annotations:
          summary: '{{ $labels.x '
      - record: a b
        alert: c
        expr: rate(up)
        for: 1m
      - expr: up
      - record: x
        expr: up
        clear: 5
        labels: [a]
  - name: a
    rules: {}
rules: []
";
    let found = errors(text);
    for (index, (place, words)) in [
        ("4:5", "unknown field \"intervall\""),
        ("5:12", "limit: !!str `many` is no whole number"),
        ("8:15", "group \"a\", rule 1, \"X\": could not parse expression"),
        ("9:9", "unknown field \"fro\"; there are record, alert, expr, for"),
        ("12:14", "for: not a valid duration string: \"5\""),
        ("14:15", "group \"a\", rule 3, \"Z\": could not parse expression: 1:6: parse error: unexpected end of input"),
        ("16:11", "group \"a\", rule 3, \"Z\": invalid label name: sev-erity"),
        ("18:20", "group \"a\", rule 3, \"Z\": annotation \"summary\": template: __alert_Z:1: "),
        ("19:17", "group \"a\", rule 4, \"c\": only one of 'record' and 'alert' must be set"),
        ("19:17", "group \"a\", rule 4, \"c\": invalid recording rule name: a b"),
        ("21:15", "group \"a\", rule 4, \"c\": could not parse expression: 1:"),
        ("22:14", "group \"a\", rule 4, \"c\": invalid field 'for' in recording rule"),
        ("23:9", "group \"a\", rule 5, \"\": one of 'record' or 'alert' must be set"),
        ("26:9", "unknown field \"clear\"; it is for rules that are made here, not for files"),
        ("27:17", "labels: !!seq where names with texts were expected"),
        ("28:5", "groupname: \"a\" is repeated in the same file"),
        ("29:12", "rules must be a list"),
        ("30:1", "unknown field \"rules\"; there are groups"),
    ]
    .into_iter()
    .enumerate()
    {
        let error = found.get(index).unwrap_or_else(|| panic!("{words} in {found:#?}"));
        assert!(error.starts_with(&format!("rules.yml:{place}: {words}")), "{error}\nwanted {place}: {words}\n{found:#?}");
    }
    assert_eq!(found.len(), 18, "{found:#?}");
}

#[test]
fn what_is_no_yaml_is_told_once() {
    for text in [
        "groups:\n  - name: a\n   rules: []\n",
        "a: [",
        "groups: {a: b\n",
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("rules.yml:") && found[0].contains("no YAML: "),
            "{found:?}"
        );
    }
    assert_eq!(errors("- a\n").len(), 1);
    assert_eq!(errors("text\n").len(), 1);
}

const RESOURCES: &str = "
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: one
  labels: {role: alerts}
spec:
  groups:
    - name: a
      partial_response_strategy: warn
      rules:
        - alert: Down
          expr: up == 0
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: two
spec:
  groups:
    - name: a
      rules:
        - record: x
          expr: up
---
apiVersion: v1
kind: ConfigMap
";

#[test]
fn resources_of_the_operator_are_taken_as_they_are() {
    let file = parse("k8s.yml", RESOURCES).expect("a file");
    let names: Vec<_> = file
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert_eq!(names, ["a", "a (two)"]);
    assert_eq!(file.warnings.len(), 2, "{:?}", file.warnings);
    assert!(
        file.warnings[0].starts_with("k8s.yml:21:7: a second group \"a\""),
        "{:?}",
        file.warnings
    );
    assert_eq!(
        check("k8s.yml", RESOURCES).out,
        "Checking k8s.yml\n  SUCCESS: 2 rules found\n\n"
    );
    let broken = RESOURCES.replace("up == 0", "up ==");
    let found = errors(&broken);
    assert!(
        found[0].starts_with("rules.yml:13:17: group \"a\", rule 1, \"Down\": could not parse"),
        "{found:?}"
    );
    let list = "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: PrometheusRule\n    spec: {groups: [{name: a, rules: [{record: a, expr: b}]}]}\n";
    assert_eq!(
        parse("list.yml", list).expect("a list").groups[0]
            .rules
            .len(),
        1
    );
    let second = parse("f", "groups: []\n---\ngroups: []\n").expect("the first");
    assert_eq!(second.warnings.len(), 1);
}

fn texts() -> Vec<GroupSpec> {
    let mut one = alert("Down", "up == 0\n  and on (x) y > 1\n", 300);
    for (name, text) in [
        ("plain", "simple"),
        ("number", "5"),
        ("bool", "true"),
        ("empty", ""),
        ("quotes", "it's \"so\": {{ $value }} # no"),
        ("lines", "one\ntwo\n\n  three"),
        ("ends", "one\ntwo\n\n\n"),
        ("begins", "  one\ntwo"),
        ("tab", "a\tb\u{7}\u{2028}"),
        ("wide", "größer ✓ 😀"),
        ("dash", "- a"),
        ("colon", "a: b"),
        ("space", " a "),
        ("tilde", "~"),
    ] {
        one.annotations.insert(name.to_owned(), text.to_owned());
    }
    one.keep_firing_for = Period::from_millis(90_000);
    one.labels.insert("no".to_owned(), "yes".to_owned());
    let mut first = spec(vec![
        one,
        record("a:b", "sum(\"x\" == bool 1) or vector(1)"),
        record("a:c", "sum(up{a=\"b\"})"),
    ]);
    first.rules.remove(1);
    let mut second = spec(vec![]);
    second.name = "second: 'group'".to_owned();
    second.limit = 5;
    vec![first, second]
}

#[test]
fn what_is_written_is_read_again() {
    let groups = texts();
    let text = write(&groups);
    let read = parse("w.yml", &text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    assert_eq!(read.groups, groups, "{text}");
    assert_eq!(parse("w.yml", &write(&[])).expect("nothing").groups, []);
}

#[test]
fn what_files_do_not_have_is_a_comment() {
    let mut one = alert("A", "a > 90", 0);
    one.clear = Some(Clear::Number(80.0));
    one.missing = Missing::Keep;
    let mut off = alert("B", "b > 1", 60);
    off.enabled = false;
    let mut every = spec(vec![one, off]);
    every.interval = Some(Period::default());
    let text = write(&[every]);
    assert_eq!(
        text,
        "groups:
  - name: g
    # left out: evaluated at each tick
    rules:
      # left out: clear: 80, missing: keep
      - alert: A
        expr: 'a > 90'
      # left out: enabled: false, and the rule with it
      # - alert: B
      #   expr: 'b > 1'
      #   for: 1m
"
    );
    assert_eq!(
        parse("w.yml", &text).expect("a file").groups[0].rules.len(),
        1
    );
}

#[test]
fn large_files_are_read() {
    let rules = (0..1000).map(|index| {
        let mut rule = alert(
            &format!("A{index}"),
            "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) > 5",
            60,
        );
        rule.annotations
            .insert("summary".to_owned(), "a text".to_owned());
        rule
    });
    let text = write(&[spec(rules.collect())]);
    let start = std::time::Instant::now();
    let file = parse("large.yml", &text).expect("a file");
    eprintln!("1000 rules, {} bytes: {:?}", text.len(), start.elapsed());
    assert_eq!(file.groups[0].rules.len(), 1000);
}
