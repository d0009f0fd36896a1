//! The same templates rendered by a real Prometheus: `promtool test rules` says what an annotation
//! became when it is not what was expected.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

use pulseboard_template::{
    Limits,
    prometheus::{Data, NoQuery, expand},
};

const PROMTOOL: &str = "/usr/bin/promtool";

/// Templates that say the same in every version.
fn templates() -> Vec<String> {
    let mut all: Vec<String> = [
        "{{ $labels }}", "{{ $labels.job }}|{{ $labels.none }}|", "{{ .Labels.job }} {{ .Value }}",
        "a {{- 1 -}} b", "{{/* c */}}x", "{{- /* c */ -}} x", "{{ if eq $labels.job \"api\" }}y{{ else }}n{{ end }}",
        "{{ if gt $value 1.0 }}a{{ else if gt $value 0.0 }}b{{ else }}c{{ end }}",
        "{{ with $labels.job }}{{ . }}{{ else }}none{{ end }}", "{{ with $labels.none }}{{ . }}{{ else }}none{{ end }}",
        "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}",
        "{{ range $i, $e := $labels }}{{ if eq $i \"job\" }}{{ break }}{{ end }}{{ $e }}{{ end }}",
        "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" $value }}", "{{ block \"b\" . }}{{ .Value }}{{ end }}",
        "{{ template \"none\" }}", "{{ define \"t\" }}{{ .arg0 }}{{ .arg1 }}{{ .arg2 }}{{ end }}{{ template \"t\" (args 1 \"b\") }}",
        "{{ print 1 2 \"a\" 3 4 }}", "{{ print nil }}", "{{ println 1 \"a\" }}x", "{{ printf \"%v %s\" nil nil }}",
        "{{ printf \"%s\" }}", "{{ printf \"%d\" 1 2 }}", "{{ printf \"%\" 1 }}", "{{ printf \"%[2]d %[1]d\" 1 2 }}",
        "{{ printf \"%[3]d\" 1 }}", "{{ printf \"%*d|%-*d|\" 4 1 4 2 }}", "{{ printf \"%.*f\" 2 1.5 }}",
        "{{ printf \"%6.2f|%-8.3f|%08.3f|%+.1f|% .1f\" 3.14159 3.14159 3.14159 2.25 2.25 }}",
        "{{ printf \"%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o|%b|%c|%q|%U\" 42 42 42 42 42 255 255 255 8 5 65 65 65 }}",
        "{{ printf \"%s|%q|%x|%X|%10s|%-10s|%.2s|%5.1s\" \"abé\" \"a\\\"b\\n\" \"hi\" \"hi\" \"é\" \"é\" \"abc\" \"abc\" }}",
        "{{ printf \"%t %v %5t\" true false true }}", "{{ printf \"%T %T %T\" 1 1.5 \"a\" }}", "{{ printf \"%T\" $labels }}",
        "{{ printf \"%d %s %f\" \"a\" 1 1 }}", "{{ printf \"%v %d\" $labels $labels }}", "{{ printf \"%q\" $labels }}",
        "{{ printf \"%#v %#v\" $labels \"a\" }}", "{{ printf \"%+q %#q\" \"é\" \"a b\" }}", "{{ printf \"%e %E %g %G\" 1234.5678 1234.5678 1234.5678 1e-10 }}",
        "{{ printf \"%.3e %.3g %.10g %#g\" 1234.5678 1234.5678 1234.5678 1.0 }}", "{{ printf \"%x %X\" 1.5 1.5 }}", "{{ printf \"%6v|%-6v|%06v\" 1.5 1.5 1.5 }}",
        "{{ printf \"%.3d|%8.3d|%-8.3d|%.0d|\" 7 7 7 0 }}", "{{ printf \"%%|%5%|%c\" 0x263a }}", "{{ printf \"%z %!\" 1 }}", "{{ printf \"%é\" 1 }}",
        "{{ printf \"%# x|% x|%#X\" \"hi\" \"hi\" \"hi\" }}", "{{ printf \"%010s|%-010d|\" \"a\" 5 }}", "{{ printf \"%s %v\" true 1.0 }}",
        "{{ printf \"%.2f\" 0.125 }} {{ printf \"%.0f %.0f %.0f\" 0.5 1.5 2.5 }}", "{{ 1 }} {{ 1.0 }} {{ 1e6 }} {{ 1e20 }} {{ 1e21 }} {{ 1e-5 }} {{ 0.0001 }}",
        "{{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 'a' }} {{ '\\n' }} {{ -1 }} {{ +2 }} {{ .5 }} {{ 0x1p4 }}",
        "{{ \"\\t\\u00e9\\x41\\101\\\"\" }} {{ `a\\n` }}", "{{ true }} {{ false }}", "{{ len \"né\" }} {{ len $labels }}", "{{ len 3 }}",
        "{{ index $labels \"job\" }} {{ index $labels \"none\" }}|", "{{ index \"abc\" 1 }}", "{{ index \"abc\" 9 }}", "{{ index $labels 1 }}",
        "{{ slice \"abcd\" 1 3 }} {{ slice \"abcd\" 2 }} {{ slice \"abcd\" }}", "{{ slice \"a\" 2 }}", "{{ not 0 }} {{ not \"a\" }}",
        "{{ and 1 0 2 }} {{ or 0 \"\" 3 }} {{ and 1 2 }} {{ or 0 \"\" }}|", "{{ eq 1 2 1 }} {{ ne 1 2 }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt 2 1 }} {{ ge 1 2 }}",
        "{{ eq 1 1.0 }}", "{{ eq \"a\" 1 }}", "{{ lt true false }}", "{{ lt \"a\" \"b\" }}", "{{ eq $value 1 }}", "{{ eq $labels $labels }}",
        "{{ html \"<a href='x'>&\\\"\" }} {{ js \"it's <b> = \\\"\\n\" }} {{ urlquery \"a b&c\" 1 }}", "{{ \"x\" | printf \"%s-%s\" \"a\" }}",
        "{{ (index $labels \"job\") | len }}", "{{ 1 | 2 }}", "{{ $nope }}", "{{ nope }}", "{{ if }}", "{{ end }}", "{{", "{{ 1 ", "{{ \"a }}", "{{ 'ab' }}",
        "{{ .Nope }}", "{{ $labels.job.x }}", "{{ $value.x }}", "{{ nil }}", "{{ 1 2 }}", "{{ break }}", "{{ range 1.5 }}{{ end }}", "{{ range \"ab\" }}{{ end }}",
        "{{ title \"aa bb-cc_dd don't é\" }} {{ toUpper \"aé\" }} {{ toLower \"AÉ\" }}", "{{ match \"a+\" \"baab\" }} {{ match \"^a$\" \"b\" }}",
        "{{ reReplaceAll \"(a+)(b)?\" \"<$1$2>\" \"aab a c\" }} {{ reReplaceAll \"a*\" \"-\" \"baaac\" }} {{ reReplaceAll \"(?P<x>b)\" \"${x}$$\" \"abc\" }}",
        "{{ match \"[\" \"a\" }}", "{{ graphLink \"up == 0\" }} {{ tableLink \"a/b\" }}", "{{ \"a.b:80\" | stripPort }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"x\" }}",
        "{{ humanize \"x\" }}", "{{ humanize \"1e3\" }} {{ humanize 5 }}", "{{ parseDuration \"1h30m\" }} {{ parseDuration \"5ms\" }}", "{{ parseDuration \"x\" }}",
        "{{ safeHtml \"<b>\" }}", "{{ toUpper 1 }}", "{{ toUpper }}", "{{ $value | toUpper }}", "{{ humanizeTimestamp 1435065584.128 }}", "{{ humanizeTimestamp 1e30 }}",
        "{{ $externalURL }}|{{ $externalLabels }}", "{{ args 1 \"a\" }}", "{{ with $x := 3 }}{{ $x }}{{ . }}{{ end }}",
        "{{ if true }}{{ $y := 1 }}{{ end }}{{ $y }}", "{{ $labels.job 1 }}", "{{ 1.x }}", "{{ (1) }} {{ ((print 1)) }}", "{{ (print \"a\").x }}",
        "{{ define \"a\" }}1{{ end }}{{ define \"a\" }}2{{ end }}{{ template \"a\" }}", "{{ define \"a\" }}{{ end }}{{ define \"a\" }}2{{ end }}{{ template \"a\" }}",
        "{{ and }}", "{{ eq 1 }}", "{{ not }}", "{{ and 1 ($labels.job.x) }}", "{{ or 1 ($labels.job.x) }}", "{{ .Labels.job | len | printf \"%d\" }}",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    for number in [
        "0",
        "1",
        "-1",
        "0.1",
        "-0.5",
        "0.0000123",
        "1e-30",
        "59.999",
        "60",
        "899.99",
        "999.95",
        "1000",
        "1023.9",
        "1024",
        "3600",
        "86400",
        "-90061",
        "1234567",
        "1e15",
        "1e24",
        "1e27",
        "123456.789",
        "0.00001234",
        "99.995",
    ] {
        all.push(format!(
            "{{{{ {number} | humanize }}}} {{{{ {number} | humanize1024 }}}} {{{{ {number} | humanizePercentage }}}} {{{{ humanizeTimestamp {} }}}}",
            if number.contains('e') { "1" } else { number }
        ));
        if !number.contains("e2") {
            all.push(format!("{{{{ humanizeDuration {number} }}}} {{{{ printf \"%v %f %.2f %.0f %g %.4g %e\" {number} {number} {number} {number} {number} {number} {number} }}}}"));
        }
    }
    all
}

#[test]
fn prometheus_says_the_same() {
    if !Path::new(PROMTOOL).exists() {
        eprintln!("skipped: there is no {PROMTOOL}");
        return;
    }
    let templates = templates();
    let folder = tempfile::tempdir().expect("a folder");
    let quoted = |text: &str| {
        // A text of YAML in double quotes.
        let mut out = String::from("\"");
        for one in text.chars() {
            match one {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                one => out.push(one),
            }
        }
        out + "\""
    };
    let labels = BTreeMap::from([
        ("job".to_owned(), "api".to_owned()),
        ("zone".to_owned(), "eu <1>".to_owned()),
    ]);
    let nothing = BTreeMap::new();
    let data = Data {
        labels: &labels,
        value: 0.5,
        external_labels: &nothing,
        external_url: "",
        now_ms: 0,
    };
    let mut rules = String::from("groups:\n- name: g\n  rules:\n");
    let mut expected = String::new();
    let mut refused = Vec::new();
    let mut sure = 0;
    for (index, text) in templates.iter().enumerate() {
        let ours = expand(text, &data, &mut NoQuery, Limits::default());
        // What cannot be read is refused with the whole file; those are looked at one by one.
        if pulseboard_template::prometheus::check(text).is_err() {
            refused.push(text);
            continue;
        }
        sure += 1;
        writeln!(
            rules,
            "  - alert: A{index}\n    expr: sum by (job, zone) (m)\n    annotations:\n      a: {}",
            quoted(text)
        )
        .expect("a text takes it");
        let ours = match ours {
            Ok(ours) => quoted(&ours),
            // Prometheus puts its error there, in words of its own.
            Err(_) => "\"ERROR\"".to_owned(),
        };
        writeln!(
            expected,
            "  - eval_time: 0s\n    alertname: A{index}\n    exp_alerts:\n    - exp_labels: {{job: api, zone: \"eu <1>\"}}\n      exp_annotations:\n        a: {ours}"
        )
        .expect("a text takes it");
    }
    assert!(sure > 120, "{sure}");
    std::fs::write(folder.path().join("rules.yml"), &rules).expect("it is written");
    std::fs::write(
        folder.path().join("test.yml"),
        format!(
            "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  - series: 'm{{job=\"api\",zone=\"eu <1>\"}}'\n    values: 0.5\n  alert_rule_test:\n{expected}"
        ),
    )
    .expect("it is written");
    let output = Command::new(PROMTOOL)
        .args(["test", "rules", "test.yml"])
        .current_dir(folder.path())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("unmarshal") && !said.contains("could not parse"),
        "{said}"
    );
    // Where both have an error, their words may differ.
    let mut differences = Vec::new();
    for part in said.split("alertname: ").skip(1) {
        let both_failed = part.contains("ERROR") && part.contains("<error expanding template");
        if !both_failed {
            let index = part.split([',', '\n', ' ']).next().unwrap_or("");
            let number: Option<usize> = index.trim_start_matches('A').parse().ok();
            let template = number.and_then(|number| templates.get(number));
            differences.push(format!("{template:?}: {part}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {sure} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    // What we cannot read, it cannot either.
    for text in refused {
        std::fs::write(
            folder.path().join("one.yml"),
            format!("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: m\n    annotations:\n      a: {}\n", quoted(text)),
        )
        .expect("it is written");
        let status = Command::new(PROMTOOL)
            .args(["check", "rules", "one.yml"])
            .current_dir(folder.path())
            .output()
            .expect("promtool runs")
            .status;
        assert!(!status.success(), "promtool takes {text}");
    }
}
