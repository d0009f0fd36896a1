//! Texts of notifications. Data and functions are those of Alertmanager's documentation
//! (prometheus.io/docs/alerting/latest/notifications).

use std::collections::BTreeMap;

use pulseboard_template::{
    Limits,
    alertmanager::{Alert, Data, Templates},
};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn alert(firing: bool, instance: &str) -> Alert {
    Alert {
        firing,
        labels: labels(&[
            ("alertname", "HighLoad"),
            ("instance", instance),
            ("severity", "critical"),
        ]),
        annotations: labels(&[("summary", &format!("Load of {instance} & co <is> high"))]),
        starts_at_ms: 1_720_000_000_000,
        ends_at_ms: (!firing).then_some(1_720_000_060_000),
        generator_url: "http://prom/graph?g0.expr=up&g0.tab=1".to_owned(),
        fingerprint: "0123456789abcdef".to_owned(),
    }
}

fn data() -> Data {
    Data::new(
        "team-a/b",
        labels(&[("alertname", "HighLoad")]),
        vec![alert(true, "a:9100"), alert(false, "b:9100")],
        "http://pulse.example",
    )
}

fn text(templates: &Templates, text: &str) -> Result<String, String> {
    templates
        .with(&data(), 1_720_000_090_000, Limits::default())
        .text(text)
        .map_err(|error| error.to_string())
}

#[test]
fn notifications_have_their_data_and_functions() {
    let templates = Templates::new();
    for (given, expected) in [
        ("no template", "no template"),
        (
            "{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}",
            "team-a/b firing http://pulse.example",
        ),
        (
            "{{ len .Alerts }} {{ len .Alerts.Firing }} {{ .Alerts.Resolved | len }}",
            "2 1 1",
        ),
        (
            "{{ range .Alerts }}{{ .Status }} {{ .Labels.instance }} {{ .Fingerprint }};{{ end }}",
            "firing a:9100 0123456789abcdef;resolved b:9100 0123456789abcdef;",
        ),
        (
            "{{ range .Alerts.Firing }}{{ .Annotations.summary }}{{ .Annotations.none }}{{ end }}",
            "Load of a:9100 & co <is> high",
        ),
        (
            "{{ .GroupLabels.alertname }} {{ .CommonLabels }} {{ .CommonAnnotations }}",
            "HighLoad alertname=HighLoad, severity=critical ",
        ),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}",
            "alertname=HighLoad severity=critical ",
        ),
        (
            "{{ .CommonLabels.Names | join \",\" }} {{ .CommonLabels.Values | join \",\" }}",
            "alertname,severity HighLoad,critical",
        ),
        (
            "{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join \" \" }}",
            "critical",
        ),
        (
            "{{ with .CommonLabels.Remove (stringSlice \"alertname\" \"x\") }}{{ .SortedPairs.Names }}{{ end }}",
            "[severity]",
        ),
        (
            "{{ (index .Alerts 1).Labels.instance }} {{ index .CommonLabels \"severity\" }}",
            "b:9100 critical",
        ),
        (
            "{{ range $k, $v := .CommonLabels }}{{ $k }}:{{ $v }} {{ end }}",
            "alertname:HighLoad severity:critical ",
        ),
        (
            "{{ (index .Alerts 0).StartsAt.Format \"2006-01-02T15:04:05Z07:00\" }} {{ (index .Alerts 0).EndsAt.IsZero }}",
            "2024-07-03T09:46:40Z true",
        ),
        (
            "{{ date \"15:04 MST\" (tz \"Europe/Berlin\" (index .Alerts 0).StartsAt) }}",
            "11:46 CEST",
        ),
        (
            "{{ (index .Alerts 0).StartsAt | tz \"Asia/Tokyo\" | date \"Mon 15:04\" }}",
            "Wed 18:46",
        ),
        (
            "{{ since (index .Alerts 0).StartsAt }} {{ since (index .Alerts 0).StartsAt | humanizeDuration }}",
            "1m30s 1m 30s",
        ),
        (
            "{{ toUpper \"a\" }}{{ toLower \"B\" }} {{ title \"hELLO wORLD\" }}|{{ trimSpace \" x \" }}|",
            "Ab Hello World|x|",
        ),
        (
            "{{ match \"^High\" .GroupLabels.alertname }} {{ reReplaceAll \"H(.)\" \"$1\" .GroupLabels.alertname }}",
            "true ighLoad",
        ),
        (
            "{{ urlUnescape \"a%20b+c\" }} {{ join \"-\" (stringSlice \"a\" \"b\") }}",
            "a b c a-b",
        ),
        (
            "{{ list 1 \"a\" }} {{ append (list 1) 2 3 }} {{ (dict \"k\" 1).k }}",
            "[1 a] [1 2 3] 1",
        ),
        (
            "{{ toJson .CommonLabels }} {{ toJson (list 1 \"<\") }}",
            "{\"alertname\":\"HighLoad\",\"severity\":\"critical\"} [1,\"\\u003c\"]",
        ),
        (
            "{{ if eq .Status \"firing\" }}🔥{{ else }}✅{{ end }}",
            "🔥",
        ),
    ] {
        assert_eq!(text(&templates, given).as_deref(), Ok(expected), "{given}");
    }
    let json = text(&templates, "{{ toJson . }}").expect("it has JSON");
    assert!(json.starts_with("{\"receiver\":\"team-a/b\",\"status\":\"firing\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"alertname\":"), "{json}");
    assert!(
        json.contains("\"startsAt\":\"2024-07-03T09:46:40Z\",\"endsAt\":\"0001-01-01T00:00:00Z\""),
        "{json}"
    );
    assert!(
        json.ends_with("\"externalURL\":\"http://pulse.example\"}"),
        "{json}"
    );
}

#[test]
fn what_notifications_cannot_do_is_said() {
    let templates = Templates::new();
    for (given, expected) in [
        (
            "{{ .Nope }}",
            "template:1:4: can't evaluate field Nope in type *template.Data",
        ),
        (
            "{{ .Alerts.Nope }}",
            "template:1:4: can't evaluate field Nope in type template.Alerts",
        ),
        (
            "{{ tz \"Mars\" (index .Alerts 0).StartsAt }}",
            "template:1:4: error calling tz: unknown time zone Mars",
        ),
        (
            "{{ join \",\" .CommonLabels }}",
            "template:1:4: error calling join: wrong type for value; expected []string; got template.KV",
        ),
        (
            "{{ .CommonLabels.Remove 1 2 }}",
            "template:1:4: wrong number of args for Remove: want 1 got 2",
        ),
        (
            "{{ humanize 1 }}",
            "template:1:4: function \"humanize\" not defined",
        ),
    ] {
        assert_eq!(
            text(&templates, given).as_ref().map_err(String::as_str),
            Err(expected),
            "{given}"
        );
        if expected.contains("not defined") {
            assert!(templates.check(given).is_err());
        }
    }
}

#[test]
fn every_default_template_can_be_rendered() {
    let templates = Templates::new();
    let files = [
        include_str!("../../src/alertmanager/default.tmpl"),
        include_str!("../../src/alertmanager/email.tmpl"),
    ];
    let mut count = 0;
    for name in files
        .iter()
        .flat_map(|file| file.split("{{ define \"").skip(1))
    {
        let name = name.split('"').next().unwrap_or("");
        if name.starts_with("__") || name.ends_with(".instances") {
            continue;
        }
        count += 1;
        let call = format!("{{{{ template {name:?} . }}}}");
        let rendering = templates.with(&data(), 0, Limits::default());
        rendering
            .text(&call)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        rendering
            .html(&call)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let empty = Data::new("r", BTreeMap::new(), Vec::new(), "");
        let rendering = templates.with(&empty, 0, Limits::default());
        rendering
            .text(&call)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(count > 50, "{count}");
    for (call, expected) in [
        (
            "{{ template \"__subject\" . }}",
            "[FIRING:1] HighLoad (critical)",
        ),
        (
            "{{ template \"slack.default.titlelink\" . }}",
            "http://pulse.example/#/alerts?receiver=team-a%2Fb",
        ),
        (
            "{{ template \"pushover.default.message\" . }}",
            "Load of a:9100 & co <is> high (instance=a:9100, severity=critical)\nResolved: Load of b:9100 & co <is> high (instance=b:9100, severity=critical)\n",
        ),
        ("{{ template \"jira.default.priority\" . }}", "High"),
        (
            "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}",
            "Labels:\n - alertname = HighLoad\n - instance = a:9100\n - severity = critical\nAnnotations:\n - summary = Load of a:9100 & co <is> high\nSource: http://prom/graph?g0.expr=up&g0.tab=1\n",
        ),
    ] {
        assert_eq!(text(&templates, call).as_deref(), Ok(expected), "{call}");
    }
}

#[test]
fn mails_are_escaped() {
    let templates = Templates::new();
    let mail = templates
        .with(&data(), 0, Limits::default())
        .html("{{ template \"email.default.html\" . }}")
        .expect("the default mail");
    assert!(
        mail.contains("Load of a:9100 &amp; co &lt;is&gt; high"),
        "{mail}"
    );
    assert!(
        mail.contains("href=\"http://prom/graph?g0.expr=up&amp;g0.tab=1\""),
        "{mail}"
    );
    assert!(
        mail.contains("href=\"http://pulse.example/#/alerts?receiver=team-a%2fb\""),
        "{mail}"
    );
    assert!(
        !mail.contains("<is>") && !mail.contains("ZgotmplZ"),
        "{mail}"
    );
}

#[test]
fn files_define_templates_anew() {
    let mut templates = Templates::new();
    templates
        .add("my.tmpl", "{{ define \"__subject\" }}mine: {{ .Status }}{{ end }}{{ define \"my.text\" }}{{ range .Alerts }}{{ .Labels.instance }} {{ end }}{{ end }}")
        .expect("it can be read");
    assert_eq!(
        text(&templates, "{{ template \"slack.default.title\" . }}").as_deref(),
        Ok("mine: firing")
    );
    assert_eq!(
        text(&templates, "{{ template \"my.text\" . }}").as_deref(),
        Ok("a:9100 b:9100 ")
    );
    let error = templates
        .add("bad.tmpl", "{{ define \"x\" }}\n{{ oops }}{{ end }}")
        .expect_err("there is no such function");
    assert_eq!(
        error.to_string(),
        "template: bad.tmpl:2:4: function \"oops\" not defined"
    );
    // Others have the default ones still.
    assert_eq!(
        text(
            &Templates::new(),
            "{{ template \"slack.default.title\" . }}"
        )
        .as_deref(),
        Ok("[FIRING:1] HighLoad (critical)")
    );
}
