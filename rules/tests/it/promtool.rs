//! The same files before promtool: what it prints, and its exit code. Without one, nothing is
//! compared, and that is printed.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pulseboard_rules::{
    Clear, Missing, Period, RuleSpec,
    check::check,
    file::write,
    unit_test::{Files, Report, test},
};

use crate::support::{alert, record, spec};

struct Promtool(tempfile::TempDir);

impl Promtool {
    fn new() -> Option<Self> {
        let found = Command::new("promtool").arg("--version").output();
        match found.is_ok_and(|output| output.status.success()) {
            true => Some(Self(tempfile::tempdir().expect("a folder"))),
            false => {
                eprintln!("skipped: there is no promtool");
                None
            }
        }
    }

    fn write(&self, files: &[(String, String)]) {
        for (name, text) in files {
            fs::write(self.0.path().join(name), text).expect("written");
        }
    }

    fn run(&self, what: &str, files: &[(String, String)]) -> Report {
        let mut command = Command::new("promtool");
        command.current_dir(self.0.path()).args([what, "rules"]);
        let output = command
            .args(files.iter().map(|(name, _)| name))
            .output()
            .expect("promtool runs");
        Report {
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
            ok: output.status.success(),
        }
    }
}

fn all(reports: impl Iterator<Item = Report>) -> Report {
    let mut all = Report {
        ok: true,
        ..Report::default()
    };
    for report in reports {
        all.out.push_str(&report.out);
        all.err.push_str(&report.err);
        all.ok &= report.ok;
    }
    all
}

/// Errors of each file in any order; of what comes from the parsers of expressions, templates and
/// YAML that it is there.
fn plain(err: &str) -> Vec<Vec<String>> {
    let mut files: Vec<Vec<String>> = Vec::new();
    for line in err.lines() {
        if line == "  FAILED:" {
            files.push(Vec::new());
            continue;
        }
        let mut line = line.to_owned();
        for word in [
            "could not parse expression: ",
            ": template: ",
            ": yaml: line ",
        ] {
            if let Some(at) = line.find(word) {
                line.truncate(at + word.len());
            }
        }
        // One rule has one place for its expression, and one error each.
        files.last_mut().expect("a file").push(line);
    }
    for file in &mut files {
        file.sort();
        file.dedup();
    }
    files
}

/// What was printed of each file.
fn by_file(out: &str) -> Vec<String> {
    out.split("Checking ").map(str::to_owned).collect()
}

fn compare_checks(files: &[(String, String)]) {
    let Some(promtool) = Promtool::new() else {
        return;
    };
    promtool.write(files);
    let theirs = promtool.run("check", files);
    let ours = all(files.iter().map(|(name, text)| check(name, text)));
    let mut differences = String::new();
    let outs = by_file(&ours.out).into_iter().zip(by_file(&theirs.out));
    for (index, (one, other)) in outs.enumerate().filter(|(_, (one, other))| one != other) {
        let text = files
            .get(index.wrapping_sub(1))
            .map_or("", |(_, text)| text);
        let _infallible = writeln!(differences, "{text}ours: {one:?}\ntheirs: {other:?}\n");
    }
    assert!(differences.is_empty(), "{differences}");
    let (ours_plain, theirs_plain) = (plain(&ours.err), plain(&theirs.err));
    for (one, other) in ours_plain.iter().zip(&theirs_plain) {
        if one != other {
            let _infallible = writeln!(differences, "ours: {one:#?}\ntheirs: {other:#?}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(ours_plain.len(), theirs_plain.len());
    assert_eq!(ours.ok, theirs.ok);
    eprintln!(
        "{} files, {} of them refused, are answered as promtool does",
        files.len(),
        theirs_plain.len()
    );
}

/// Lines of a rule, some of which are wrong.
const LINES: &[&str] = &[
    "alert: A",
    "record: a:b",
    "record: a b",
    "record: ''",
    "alert: ''",
    "record: '0'",
    "expr: up == 0",
    "expr: up ==",
    "expr: |\n          up\n            == )",
    "expr: 0x10",
    "expr: ''",
    "for: 5m",
    "for: 5",
    "for: 0",
    "for: ''",
    "for: ~",
    "keep_firing_for: 1h",
    "labels: {severity: page}",
    "labels: {sev-erity: page}",
    "labels: {__name__: page}",
    "labels: {a: 1, b: true, c: ~, d: 1.50}",
    "labels: {a: '{{ nothing }}'}",
    "labels: [a]",
    "labels: {a: [b]}",
    "labels:",
    "annotations: {summary: '{{ $labels.x | printf \"%s\" }} {{ $value }}'}",
    "annotations: {summary: '{{ $labels.x '}",
    "annotations: {summary: '{{ if }}'}",
    "annotations: {summary: '{{ end }}', b: '{{ $nothing }}'}",
    "annotations: {b-d: text}",
    "fro: 5m",
    "expr: up",
];

fn rules() -> Vec<String> {
    let mut rules = Vec::new();
    for (index, one) in LINES.iter().enumerate() {
        for other in LINES.iter().skip(index + 1) {
            rules.push(format!("      - {one}\n        {other}\n"));
        }
        for head in ["alert: A\n        expr: up", "record: a\n        expr: up"] {
            rules.push(format!("      - {head}\n        {one}\n"));
        }
    }
    rules
}

/// Whether a key stands twice: which of the other errors are told then is Go's own.
fn is_double(rule: &str) -> bool {
    let mut keys: Vec<&str> = rule
        .lines()
        .filter_map(|line| line.get(8..).filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .collect();
    keys.sort_unstable();
    let count = keys.len();
    keys.dedup();
    keys.len() < count
}

#[test]
fn rules_of_all_kinds_are_checked_as_promtool_does() {
    let files: Vec<(String, String)> = rules()
        .into_iter()
        .filter(|rule| !is_double(rule))
        .enumerate()
        .map(|(index, rule)| {
            (
                format!("r{index}.yml"),
                format!("groups:\n  - name: a\n    rules:\n{rule}"),
            )
        })
        .collect();
    compare_checks(&files);
}

#[test]
fn files_of_all_kinds_are_checked_as_promtool_does() {
    let texts = [
        "",
        "# nothing\n",
        "groups:\n",
        "groups: []\n",
        "groups: []\n---\nfoo: 1\n",
        "groups:\n  - name: a\n    name: b\n    rules: []\n",
        "groups:\n  - name: a\n  - name: a\n  - name: ''\n  - rules: []\n",
        "groups:\n  - name: a\n    foo: 1\n    rules:\n      - alert: X\n        expr: up ==\n        bar: 2\n",
        "groups:\n  - name: a\n    limit: abc\n",
        "groups:\n  - name: a\n    limit: 1_000\n",
        "groups:\n  - name: a\n    limit: 0x10\n",
        "groups:\n  - name: a\n    limit: 1.5\n",
        "groups:\n  - name: a\n    limit: '5'\n",
        "groups:\n  - name: a\n    limit: -5\n",
        "groups:\n  - name: a\n    limit: 5.0\n",
        "groups:\n  - name: a\n    interval: 5\n    limit: x\n",
        "groups:\n  - name: a\n    interval: 1h30m\n",
        "groups:\n  - name: 5\n    interval: 0\n",
        "groups:\n  - name: [a]\n",
        "groups:\n  - name: a\n    limit: abcdefghijklmnop\n    rules:\n      - labels: foo\n      - 5\n  - 7\n",
        "groups:\n  - name: a\n    rules: 5\n",
        "groups:\n  - name: a\n    rules: {}\n",
        "groups: 5\n",
        "groups: {a: b}\n",
        "groups:\n  - name: a\n    rules:\n",
        "groups:\n  - name: a\n    rules: [~]\n",
        "rules: []\n",
        "groups:\n  - name: a\n   rules: []\n",
        "a: [\n",
        "groups:\n  - name: a\n    rules:\n    - {record: a, expr: up}\n    - {record: a, expr: sum(up)}\n    - {record: b, expr: up, labels: {x: y, a: b}}\n    - {record: b, expr: up, labels: {x: y, a: b}}\n    - {record: b, expr: up, labels: {x: y, a: b}}\n    - {alert: b, expr: up, labels: {x: y, a: c}}\n",
        "groups:\n  - name: a\n    rules:\n    - &x {alert: y, expr: up}\n    - <<: *x\n      alert: z\n    - *x\n",
        "groups:\n  - name: a\n    rules:\n    - alert: A\n      expr: >-\n        up\n        ==\n        0\n    - alert: B\n      expr: \"up\\n ==\"\n    - alert: C\n      expr: |+\n        up\n\n",
        "groups:\n- name: a\n  rules:\n  - alert: ÄÖ\n    expr: up{a=\"ü\"} == 0\n    labels: {a: ü}\n  - record: ä\n    expr: up\n",
        "{\"groups\": [{\"name\": \"json\", \"rules\": [{\"record\": \"a\", \"expr\": \"1\"}]}]}\n",
    ];
    let files: Vec<(String, String)> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("f{index}.yml"), (*text).to_owned()))
        .collect();
    compare_checks(&files);
}

#[test]
fn what_is_written_is_taken_by_promtool() {
    let mut texts = alert("Down", "up == 0\n  and on (x) y > 1\n", 300);
    for (name, text) in [
        ("a", "it's \"so\": {{ $value }} # no"),
        ("b", "one\ntwo\n\n  three"),
        ("c", "one\ntwo\n\n\n"),
        ("d", "  one\ntwo"),
        ("e", "a\tb\u{7}\u{2028}\\"),
        ("f", "größer ✓ 😀"),
        ("g", "- a"),
        ("h", ""),
        ("i", "yes"),
        ("j", "5m"),
        ("k", "0x10"),
        ("l", "1:30"),
        ("m", "%d @a !b &c *d |e >f ?g"),
    ] {
        texts.annotations.insert(name.to_owned(), text.to_owned());
    }
    texts.labels.insert("no".to_owned(), "~".to_owned());
    let mut ours = RuleSpec {
        clear: Some(Clear::Number(5.0)),
        missing: Missing::Keep,
        ..alert("B", "up > 7", 0)
    };
    ours.every = Some(Period::from_millis(1000));
    let off = RuleSpec {
        enabled: false,
        ..alert("C", "up ==\n1", 0)
    };
    let mut tick = spec(vec![off.clone()]);
    tick.interval = Some(Period::default());
    tick.name = "second: 'group'".to_owned();
    let text = write(&[
        spec(vec![texts, ours, off, record("a:b", "sum(\"x\")")]),
        tick,
    ]);
    let text = text.replace("sum(\"x\")", "sum(x)");
    compare_checks(&[("w.yml".to_owned(), text.clone())]);
    let report = check("w.yml", &text);
    assert_eq!(
        report.out, "Checking w.yml\n  SUCCESS: 3 rules found\n\n",
        "{}",
        report.err
    );
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&mut self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.0.join(path))
            .map_err(|_error| format!("open {path}: no such file or directory"))
    }

    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(match pattern.split_once('*') {
            None => Vec::from_iter(self.0.join(pattern).is_file().then(|| pattern.to_owned())),
            Some((start, end)) => {
                let mut found: Vec<String> = fs::read_dir(&self.0)
                    .expect("a folder")
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .filter(|name| name.starts_with(start) && name.ends_with(end))
                    .collect();
                found.sort();
                found
            }
        })
    }
}

fn compare_tests(rules: &[(String, String)], tests: &[(String, String)]) {
    let Some(promtool) = Promtool::new() else {
        return;
    };
    promtool.write(rules);
    promtool.write(tests);
    let folder: &Path = promtool.0.path();
    let mut failed = 0;
    for one in tests {
        let theirs = promtool.run("test", std::slice::from_ref(one));
        let ours = test(&one.0, &mut Folder(folder.to_owned()));
        assert_eq!(ours.err, theirs.err, "{}", one.1);
        assert_eq!((ours.out, ours.ok), (theirs.out, theirs.ok), "{}", one.1);
        failed += usize::from(!theirs.ok);
    }
    eprintln!(
        "{} tests, {failed} of them fail, are answered as promtool does",
        tests.len()
    );
}

/// Values of series, minute by minute.
const VALUES: &[&str] = &[
    "1 1 0 0 0 0 1 1 0 0",
    "0x9",
    "0 _ 0 _ _ _ _ 0 _ 0",
    "0 0 stale 0 0 _ stale _ _ 0",
    "5-1x5 0x3",
    "NaN Inf -Inf 0 0 0.5 1e3 1e-7 0",
    "_ _ 0 0 0 stale",
    "0+1x3 0 0 0 0",
    "1x3 0x3 1 0",
];

#[test]
fn every_state_is_as_in_promtool() {
    let mut rules = String::from("groups:\n");
    let mut names = Vec::new();
    for hold in ["0s", "1m", "3m"] {
        for keep in ["0s", "1m", "2m"] {
            let name = format!("For{hold}Keep{keep}");
            let _infallible = writeln!(
                rules,
                "  - name: {name}\n    rules:\n      - alert: {name}\n        expr: a == 0\n        for: {hold}\n        keep_firing_for: {keep}\n        labels: {{level: page, x: set}}\n        annotations: {{text: plain}}\n      - record: a:{}\n        expr: count(ALERTS{{alertname=\"{name}\"}}) or vector(0)",
                name.to_lowercase()
            );
            names.push(name);
        }
    }
    let mut tests = Vec::new();
    for (index, values) in VALUES.iter().enumerate() {
        let mut text = format!(
            "rule_files: [rules.yml]\nevaluation_interval: {}\ntests:\n  - interval: 1m\n    name: values {index}\n    input_series:\n      - series: a{{x=\"own\",y=\"1\"}}\n        values: '{values}'\n      - series: a{{y=\"2\"}}\n        values: '1x20'\n    alert_rule_test:\n",
            if index % 2 == 0 { "1m" } else { "30s" }
        );
        for name in &names {
            for minute in 0..12 {
                let _infallible = writeln!(
                    text,
                    "      - {{eval_time: {minute}m, alertname: {name}, exp_alerts: [{{exp_labels: {{never: \"1\"}}}}]}}"
                );
            }
            let _infallible = writeln!(text, "      - {{eval_time: 11m, alertname: {name}}}");
        }
        text.push_str("    promql_expr_test:\n");
        for minute in 0..12 {
            for expr in ["ALERTS", "ALERTS_FOR_STATE", "{__name__=~\"a:.*\"}", "a"] {
                let _infallible = writeln!(
                    text,
                    "      - {{expr: '{expr}', eval_time: {minute}m, exp_samples: [{{labels: none, value: 1}}]}}"
                );
            }
        }
        tests.push((format!("t{index}.yml"), text));
    }
    compare_tests(&[("rules.yml".to_owned(), rules)], &tests);
}

#[test]
fn tests_of_all_kinds_are_as_in_promtool() {
    let rules = "groups:\n  - name: second\n    rules:\n      - {record: b, expr: a * 2}\n  - name: first\n    rules:\n      - {record: a, expr: in + 1}\n      - {alert: X, expr: b > 2, labels: {a: b}}\n";
    let twice =
        "groups:\n  - name: g\n    rules:\n      - {record: r, expr: in, labels: {x: all}}\n";
    let bad = "groups:\n  - name: g\n    rules:\n      - {record: r x, expr: in}\n";
    let input = "    input_series:\n      - {series: 'in{x=\"1\"}', values: 1+1x5}\n      - {series: 'in{x=\"2\"}', values: 1 2 3}\n";
    let exprs = |all: &[(&str, &str, &str)]| {
        let mut text = String::from("    promql_expr_test:\n");
        for (expr, at, samples) in all {
            let _infallible = writeln!(
                text,
                "      - {{expr: '{expr}', eval_time: {at}, exp_samples: [{samples}]}}"
            );
        }
        text
    };
    let some = exprs(&[
        ("b", "1m", "{labels: 'b{x=\"1\"}', value: 6}"),
        (
            "b",
            "1m",
            "{labels: 'b{x=\"2\"}', value: 6}, {labels: 'b{x=\"1\"}', value: 6}",
        ),
        (
            "in",
            "90s",
            "{labels: 'in{x=\"1\"}', value: 2}, {labels: 'in{x=\"2\"}', value: 2}",
        ),
        ("in", "2m", ""),
        ("1 + 1", "0s", "{labels: '{}', value: 2}"),
        ("vector(2)", "0s", "{value: 2}"),
        ("nothing", "0s", ""),
        ("vector(NaN)", "0s", "{value: .NaN}"),
        ("vector(Inf)", "0s", "{value: .inf}"),
        ("vector(255)", "0s", "{value: 0xff}"),
        ("vector(0.1) + 0.2", "0s", "{value: 0.3}"),
        ("max_over_time(in[90s])", "1m", "{value: 1}"),
        ("sum_over_time(in[5m:])", "3m30s", "{value: 1}"),
        ("-vector(1e21)", "0s", ""),
        ("topk(1, in)", "3m", "{labels: 'in{x=\"2\"}', value: 2}"),
    ]);
    // Without an order promtool takes groups in any.
    let head = "rule_files: [r.yml]\ngroup_eval_order: [second, first]\n";
    let tests: Vec<(String, String)> = [
        format!("{head}tests:\n  - interval: 1m\n{input}{some}"),
        format!("rule_files: [r.yml]\ngroup_eval_order: [first, second]\ntests:\n  - interval: 1m\n{input}{some}"),
        format!("{head}evaluation_interval: 15s\ntests:\n  - interval: 30s\n    name: quick\n{input}{some}"),
        format!("rule_files: ['r*.yml', none.yml]\ngroup_eval_order: [second, first]\ntests:\n  - interval: 1m\n{input}{some}"),
        format!("rule_files: [twice.yml]\ntests:\n  - interval: 1m\n{input}{some}"),
        format!("rule_files: [bad.yml]\ntests:\n  - interval: 1m\n{input}{some}"),
        "tests: []\n".to_owned(),
        String::new(),
        "group_eval_order: [a, b, a]\ntests: []\n".to_owned(),
        "tests:\n  - foo: 1\n    interval: 1m\n".to_owned(),
        "foo: 1\ntests:\n  - interval: x\n".to_owned(),
        format!("{head}tests:\n  - interval: 1m\n    alert_rule_test:\n      - eval_time: 5m\n        exp_alerts: []\n"),
        format!("{head}tests:\n  - interval: 1m\n    name: named\n    alert_rule_test:\n      - eval_time: 65s\n"),
        format!("{head}tests:\n  - interval: 1m\n{input}    alert_rule_test:\n      - {{eval_time: 1m, alertname: X, exp_alerts: [{{exp_labels: {{a: b, x: '1'}}}}, {{exp_labels: {{a: b, x: '2'}}}}]}}\n      - {{eval_time: 1m, alertname: Y}}\n      - {{eval_time: 1m30s, alertname: X}}\n"),
        format!("{head}tests:\n  - interval: 1m\n{input}    external_labels: {{e: f}}\n    external_url: http://x\n{some}"),
    ]
    .into_iter()
    // A series that stands there twice.
    .chain(
        [
            ("1 2 3", "1 2 3"),
            ("1 2 3", "4 5 6"),
            ("1 2", "_ _ 6"),
            ("1 2", "_ _ _ _ 6"),
            ("1 2 3 4", "_ _ 6 7"),
            ("_ _ 6", "1 2"),
            ("1 2 stale", "_ _ 6"),
        ]
        .map(|(first, second)| {
            let input = format!("    input_series:\n      - {{series: 'in{{x=\"1\"}}', values: {first}}}\n      - {{series: '{{__name__=\"in\",x=\"1\"}}', values: {second}}}\n");
            format!("{head}tests:\n  - interval: 1m\n{input}{some}")
        }),
    )
    .enumerate()
    .map(|(index, text)| (format!("t{index}.yml"), text))
    .collect();
    let rules = [("r.yml", rules), ("twice.yml", twice), ("bad.yml", bad)];
    let rules: Vec<(String, String)> = rules
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    compare_tests(&rules, &tests);
}

#[test]
fn templates_are_rendered_as_promtool_does() {
    let mut rules = String::from("groups:\n  - name: g\n    rules:\n");
    for (index, text) in [
        "{{ $labels.x }} {{ .Labels.x }} {{ $value }} {{ .Value }} {{ $labels }}",
        "{{ $externalLabels.e }} {{ .ExternalLabels.e }} {{ $externalURL }}",
        "{{ $value | humanize }} {{ $value | humanize1024 }} {{ $value | humanizeDuration }} {{ $value | humanizePercentage }}",
        "{{ printf \"%.2f %s %q\" $value $labels.x $labels.x }}",
        "{{ query \"sum(a)\" | first | value }} {{ with query \"topk(1, a)\" }}{{ . | first | label \"x\" }}{{ end }}",
        "{{ range query \"a\" | sortByLabel \"x\" }}{{ .Labels.x }}={{ .Value }};{{ end }}",
        "{{ if gt $value 2.0 }}much{{ else }}little{{ end }} {{ $labels.none }}",
        "{{ range $name, $text := $labels }}{{ $name }}-{{ $text }} {{ end }}",
        "{{ $labels.x | toUpper }} {{ title \"a b\" }} {{ reReplaceAll \"(.)b\" \"$1c\" \"ab\" }} {{ match \"a.*\" \"abc\" }}",
        "{{ query \"sum(\" }}",
        "{{ $labels.x.y }}",
        "{{ define \"t\" }}in {{ . }}{{ end }}{{ template \"t\" 5 }}",
    ]
    .iter()
    .enumerate()
    {
        let _infallible = writeln!(rules, "      - alert: T{index}\n        expr: a > 1\n        labels: {{rendered: 'is {{{{ $value }}}}'}}\n        annotations:\n          text: '{text}'");
    }
    let mut test = String::from(
        "rule_files: [rules.yml]\ntests:\n  - interval: 1m\n    external_labels: {e: f}\n    external_url: http://here/\n    input_series:\n      - {series: 'a{x=\"one\"}', values: 1234.5 0.25 3}\n      - {series: 'a{x=\"two\",y=\"z\"}', values: 1 90061 2}\n    alert_rule_test:\n",
    );
    for minute in 0..3 {
        for index in 0..12 {
            let _infallible = writeln!(
                test,
                "      - {{eval_time: {minute}m, alertname: T{index}, exp_alerts: [{{}}]}}"
            );
        }
    }
    // What Go says of an error within a template is its own.
    let rules = rules
        .replace("{{ query \"sum(\" }}", "{{ \"fine\" }}")
        .replace("{{ $labels.x.y }}", "{{ $labels.x }}");
    compare_tests(
        &[("rules.yml".to_owned(), rules)],
        &[("t.yml".to_owned(), test)],
    );
}
