//! Labels and annotations of alerting rules. Expected texts are those of Prometheus' documentation
//! (template_reference, template_examples).

use std::collections::BTreeMap;

use pulseboard_template::{
    Limits,
    prometheus::{Data, NoQuery, Query, Sample, check, expand},
};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Answers `up`, and says what it does not know.
struct Up;

impl Query for Up {
    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        match expression {
            "up" => Ok(vec![
                Sample {
                    labels: labels(&[("instance", "b"), ("__value__", "1.0")]),
                    value: 1.0,
                },
                Sample {
                    labels: labels(&[("instance", "a")]),
                    value: 0.5,
                },
            ]),
            "none" => Ok(Vec::new()),
            other => Err(format!("cannot answer {other}")),
        }
    }
}

fn said(text: &str, value: f64) -> Result<String, String> {
    let data = Data {
        labels: &labels(&[
            ("instance", "host.example:9100"),
            ("job", "node"),
            ("re", "a.b"),
        ]),
        value,
        external_labels: &labels(&[("region", "eu")]),
        external_url: "http://prom.example:9090/path",
        now_ms: 1_435_065_584_128,
    };
    expand(text, &data, &mut Up, Limits::default()).map_err(|error| error.message)
}

#[test]
fn rules_have_their_data_and_functions() {
    for (text, value, expected) in [
        ("no template", 1.0, "no template"),
        (
            "{{ $labels.instance }} of {{ $labels.job }} is at {{ $value }}",
            1.5,
            "host.example:9100 of node is at 1.5",
        ),
        (
            "{{ .Labels.job }} {{ .Value }} {{ .ExternalLabels.region }} {{ .ExternalURL }}",
            2.0,
            "node 2 eu http://prom.example:9090/path",
        ),
        (
            "{{ $externalLabels.region }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
            0.0,
            "eu http://prom.example:9090/path http://prom.example:9090/path /path",
        ),
        (
            "{{ $labels.missing }}|{{ $labels }}",
            0.0,
            "|map[instance:host.example:9100 job:node re:a.b]",
        ),
        (
            "{{ $value | humanize }} {{ humanize1024 $value }} {{ $value | humanizePercentage }}",
            1_234_567.0,
            "1.235M 1.177Mi 1.235e+08%",
        ),
        (
            "{{ humanizeDuration $value }} {{ \"3661\" | humanizeDuration }} {{ 0.001 | humanizeDuration }}",
            93_784.0,
            "1d 2h 3m 4s 1h 1m 1s 1ms",
        ),
        (
            "{{ humanizeTimestamp $value }} {{ now | humanizeTimestamp }}",
            0.0,
            "1970-01-01 00:00:00 +0000 UTC 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        (
            "{{ ($value | toTime).Year }} {{ toDuration 90 }} {{ (toTime now).Format \"15:04\" }}",
            0.0,
            "1970 1m30s 13:19",
        ),
        (
            "{{ printf \"%.2f\" $value }} {{ $value | printf \"%.0f\" }} {{ printf \"%.4g\" $value }}",
            99.995,
            "100.00 100 100",
        ),
        (
            "{{ printf \"%q %s\" $labels.job $labels.job }} {{ printf \"%d\" $value }}",
            1.0,
            "\"node\" node %!d(float64=1)",
        ),
        (
            "{{ with query \"up\" }}{{ . | first | value }}{{ end }}",
            0.0,
            "1",
        ),
        (
            "{{ with query \"none\" }}x{{ else }}none{{ end }}",
            0.0,
            "none",
        ),
        (
            "{{ query \"up\" | first | label \"instance\" }} {{ query \"up\" | first | strvalue }}",
            0.0,
            "b 1.0",
        ),
        (
            "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }} {{ end }}",
            0.0,
            "a=0.5 b=1 ",
        ),
        (
            "{{ title \"aa bb CC\" }} {{ toUpper \"aa\" }} {{ toLower \"BB\" }}",
            0.0,
            "Aa Bb CC AA bb",
        ),
        (
            "{{ match \"^n.de$\" $labels.job }} {{ reReplaceAll \"(.*):.*\" \"$1!\" $labels.instance }}",
            0.0,
            "true host.example!",
        ),
        (
            "{{ $labels.instance | stripPort }} {{ $labels.instance | stripDomain }}",
            0.0,
            "host.example host:9100",
        ),
        (
            "{{ graphLink \"up == 0\" }} {{ tableLink \"up\" }}",
            0.0,
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1",
        ),
        (
            "{{ parseDuration \"1h30m\" }} {{ urlQueryEscape \"a b&c\" }} {{ safeHtml \"<b>\" }}",
            0.0,
            "5400 a+b%26c <b>",
        ),
        (
            "{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" (args 1 \"x\") }} {{ tmpl \"t\" (args 2 3) }}",
            0.0,
            "1-x 2-3",
        ),
        (
            "{{ if gt $value 0.8 }}high{{ else }}low{{ end }}",
            0.9,
            "high",
        ),
        (
            "{{ $value }} {{ humanize $value }} {{ humanizePercentage $value }}",
            f64::NAN,
            "NaN NaN NaN%",
        ),
        (
            "{{ $value }} {{ humanizeDuration $value }}",
            f64::INFINITY,
            "+Inf +Inf",
        ),
        ("{{ args 1 \"a\" }}", 0.0, "map[arg0:1 arg1:a]"),
    ] {
        assert_eq!(said(text, value).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_rules_cannot_do_is_said() {
    for (text, expected) in [
        (
            "{{ query \"nope\" }}",
            "error calling query: cannot answer nope",
        ),
        (
            "{{ query \"none\" | first }}",
            "error calling first: first() called on vector with no elements",
        ),
        (
            "{{ humanize \"x\" }}",
            "error calling humanize: strconv.ParseFloat: parsing \"x\": invalid syntax",
        ),
        (
            "{{ humanize $labels }}",
            "error calling humanize: can't convert map[string]string to float",
        ),
        (
            "{{ toUpper $value }}",
            "error calling toUpper: wrong type for value; expected string; got float64",
        ),
        (
            "{{ toUpper }}",
            "wrong number of args for toUpper: want 1 got 0",
        ),
        ("{{ $activeAt }}", "undefined variable \"$activeAt\""),
        (
            "{{ .Nope }}",
            "can't evaluate field Nope in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
        ),
        (
            "{{ gt $value 1 }}",
            "error calling gt: incompatible types for comparison",
        ),
        (
            "{{ toTime $value }}",
            "error calling toTime: value is NaN or Inf",
        ),
        (
            "{{ parseDuration \"x\" }}",
            "error calling parseDuration: not a valid duration string: \"x\"",
        ),
    ] {
        assert_eq!(
            said(text, f64::NAN).as_ref().map_err(String::as_str),
            Err(expected),
            "{text}"
        );
    }
}

#[test]
fn rules_are_checked_without_being_run() {
    assert_eq!(
        check("{{ $labels.x }} {{ query \"up\" | first | value }} {{ first $labels }}"),
        Ok(())
    );
    for (text, line, column) in [
        ("a\n{{ $nope }}", 2, 4),
        ("{{ joined }}", 1, 4),
        ("{{ if }}", 1, 7),
    ] {
        let error = check(text).expect_err(text);
        assert_eq!((error.line, error.column), (line, column), "{text}");
    }
    let nothing = BTreeMap::new();
    let data = Data {
        labels: &nothing,
        value: 0.0,
        external_labels: &nothing,
        external_url: "",
        now_ms: 0,
    };
    assert!(expand("{{ query \"up\" }}", &data, &mut NoQuery, Limits::default()).is_err());
}
