//! Configuration files, made in kind.

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/am/alertmanager.yml")).map_err(|error| error.to_string())
}

/// Every section and every field of routes, in one file.
const WHOLE: &str = r#"
global:
  resolve_timeout: 10m
  smtp_smarthost: 'localhost:25'
  smtp_from: 'alertmanager@example.org'
  smtp_auth_username: me
  smtp_auth_password: S3CRET
  slack_api_url: https://hooks.slack.com/services/S3CRET
templates: ['templates/*.tmpl']
route:
  receiver: 'null'
  group_by: [alertname, cluster]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 3h
  routes:
    - match: {service: database}
      match_re: {team: web|app}
      receiver: mail
      continue: true
      routes:
        - matchers: [owner="team-X", severity=~"page|critical"]
          receiver: chat
          group_by: ['...']
          mute_time_intervals: [offhours, holidays]
          active_time_intervals: [hours]
    - matchers:
        - 'severity != "none", x!~"y|z"'
      receiver: hook
      routes:
inhibit_rules:
  - source_match: {severity: critical}
    target_match_re: {severity: warning|info}
    equal: [alertname, cluster]
  - source_matchers: [a="b"]
    target_matchers: [c!="d"]
receivers:
  - name: 'null'
  - name: mail
    email_configs: [{to: ops@example.org}]
  - name: chat
    slack_configs: [{channel: '#ops', send_resolved: true}]
  - name: hook
    webhook_configs: [{url: 'http://127.0.0.1:5001/S3CRET'}]
mute_time_intervals:
  - name: offhours
    time_intervals: [{times: [{start_time: '17:00', end_time: '24:00'}], weekdays: ['monday:friday']}]
time_intervals:
  - name: holidays
    time_intervals: [{days_of_month: [25, 26], months: [december], years: ['2026:2030']}]
  - name: hours
    time_intervals: [{location: Europe/Berlin, times: [{start_time: '08:00', end_time: '17:00'}]}, {location: Local}]
tracing: {endpoint: 'x:4317'}
"#;

#[test]
fn a_whole_file_is_read_and_printed_again_without_its_secrets() {
    let config = parse(WHOLE).expect("a file");
    let yaml = config.to_yaml();
    assert!(!yaml.contains("S3CRET"), "{yaml}");
    assert!(yaml.contains("<secret>"), "{yaml}");
    let filled = yaml.replace("<secret>", "http://127.0.0.1/");
    let again = parse(&filled).expect("what is printed is a file");
    assert_eq!(again.to_yaml(), yaml);
    assert_eq!(again.route, config.route);
    assert_eq!(again.inhibit_rules, config.inhibit_rules);
    let warnings = config.warnings().join("\n");
    assert!(warnings.contains("tracing is not supported"), "{warnings}");
    assert!(
        warnings.contains("\"hours\": the location Local is taken as UTC"),
        "{warnings}"
    );
    assert_eq!(config.global.resolve_timeout.as_millis(), 600_000);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse("route: {receiver: a}\nreceivers: [{name: a}]\n").expect("the least");
    assert_eq!(config.global.resolve_timeout.as_millis(), 300_000);
    let made = Config::of_receivers(config.receivers.clone(), "a").expect("the same");
    assert_eq!(made.route, config.route);
    let nulls = "global:\nroute: {receiver: a, routes: , matchers: }\nreceivers: [{name: a}]\ninhibit_rules:\ntemplates:\ntime_intervals:\n";
    parse(nulls).expect("empty sections");
}

/// What is put in the place of what in the whole file, where it is told to be wrong, and how.
#[test]
fn what_cannot_be_is_told_with_its_line_and_column() {
    for (from, to, at, wrong) in [
        (
            "receiver: 'null'",
            "receiver: nobody",
            "11:3",
            "undefined receiver \"nobody\" used in route",
        ),
        (
            "receiver: 'null'\n  group_by",
            "group_by",
            "11:3",
            "root route must specify a default receiver",
        ),
        (
            "receiver: 'null'\n",
            "receiver: 'null'\n  match: {a: b}\n",
            "12:3",
            "root route must not have any matchers",
        ),
        (
            "receiver: 'null'\n",
            "receiver: 'null'\n  matchers: [a=b]\n",
            "12:3",
            "root route must not have any matchers",
        ),
        (
            "receiver: 'null'\n",
            "receiver: 'null'\n  continue: true\n",
            "12:3",
            "cannot have continue in root route",
        ),
        (
            "receiver: 'null'\n",
            "receiver: 'null'\n  mute_time_intervals: [hours]\n",
            "12:3",
            "root route must not have any mute time intervals",
        ),
        (
            "receiver: chat\n",
            "receiver: chad\n",
            "23:11",
            "undefined receiver \"chad\"",
        ),
        (
            "[offhours, holidays]",
            "[offhours, nohours]",
            "25:43",
            "undefined time interval \"nohours\" used in route",
        ),
        (
            "[alertname, cluster]\n  group_wait",
            "[alertname, '...']\n  group_wait",
            "12:25",
            "cannot have wildcard group_by",
        ),
        (
            "[alertname, cluster]\n  group_wait",
            "[alertname, alertname]\n  group_wait",
            "12:25",
            "duplicated label \"alertname\" in group_by",
        ),
        (
            "group_interval: 5m",
            "group_interval: 0s",
            "14:3",
            "group_interval cannot be zero",
        ),
        (
            "repeat_interval: 3h",
            "repeat_interval: 0",
            "15:3",
            "repeat_interval cannot be zero",
        ),
        (
            "group_wait: 30s",
            "group_wait: 30",
            "13:15",
            "is no duration",
        ),
        (
            "match: {service: database}",
            "match: {'': database}",
            "17:7",
            "invalid label name",
        ),
        (
            "{team: web|app}",
            "{team: (web|app}",
            "18:7",
            "invalid regular expression",
        ),
        ("owner=\"team-X\"", "owner", "22:22", "bad matcher format"),
        (
            "{severity: warning|info}",
            "{severity: '*'}",
            "33:5",
            "invalid regular expression",
        ),
        (
            "name: mail",
            "name: chat",
            "41:5",
            "notification config name \"chat\" is not unique",
        ),
        (
            "name: hours",
            "name: holidays",
            "51:5",
            "time interval \"holidays\" is not unique",
        ),
        (
            "name: hours\n    time",
            "time",
            "51:5",
            "missing name in time interval",
        ),
        (
            "'17:00', end_time: '24:00'",
            "'17:00', end_time: '16:00'",
            "47:",
            "start time cannot be equal",
        ),
        (
            "Europe/Berlin",
            "Europe/Berlon",
            "52:",
            "unknown time zone Europe/Berlon",
        ),
        (
            "group_wait: 30s",
            "group_wait: 30s\n  group_wait: 1s",
            "14:3",
            "duplicate field `group_wait`",
        ),
        (
            "group_wait: 30s",
            "group_weight: 30s",
            "13:3",
            "unknown field `group_weight`",
        ),
        (
            "smtp_from: 'alertmanager@example.org'",
            "smtp_from: ''",
            "40:",
            "smtp_from",
        ),
        (
            "resolve_timeout: 10m",
            "resolve_timeout: 0s",
            "3:3",
            "resolve_timeout cannot be zero",
        ),
        (
            "slack_api_url: https://hooks.slack.com/services/S3CRET",
            "slack_api_url: nowhere",
            "8:3",
            "slack_api_url",
        ),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let told = parse(&WHOLE.replacen(from, to, 1)).expect_err(to);
        let place = format!("/etc/am/alertmanager.yml:{at}");
        assert!(
            told.starts_with(&place) && told.contains(wrong),
            "{to}: {told}"
        );
        assert!(!told.contains("S3CRET"), "{told}");
    }
    for (text, wrong) in [
        ("", "no route provided in config"),
        ("receivers: [{name: a}]", "no route provided in config"),
        ("route: {receiver: a}", "undefined receiver \"a\""),
        ("route: [", "/etc/am/alertmanager.yml:"),
        ("- a", "invalid type"),
    ] {
        let told = parse(text).expect_err(text);
        assert!(told.contains(wrong), "{text}: {told}");
    }
}

#[test]
fn a_file_is_bounded_in_bytes_depth_and_number() {
    let told = parse(&" ".repeat(FILE_BYTES_MAX + 1)).expect_err("bytes");
    assert!(told.contains("4194304 bytes"), "{told}");
    let mut deep = String::new();
    for _ in 0..=DEPTH_MAX + 1 {
        deep = format!("{{routes: [{deep}]}}");
    }
    let deep = deep.replacen('{', "{receiver: a, ", 1);
    let told = parse(&format!("route: {deep}\nreceivers: [{{name: a}}]")).expect_err("depth");
    assert!(told.contains("nested deeper than 32"), "{told}");
    let wide = "{},".repeat(ROUTES_MAX);
    let text = format!("route: {{receiver: a, routes: [{wide}]}}\nreceivers: [{{name: a}}]");
    let told = parse(&text).expect_err("number");
    assert!(told.contains("more than 4096 routes"), "{told}");
}

/// What `amtool check-config` 0.25 takes.
#[test]
fn what_alertmanager_takes_is_taken() {
    let route = "route: {receiver: d}\nreceivers: [{name: d}]\n";
    let config = parse(&format!(
        "global: {{smtp_smarthost: ':25', smtp_from: a@b}}\n{route}"
    ));
    assert!(config.is_ok(), "{config:?}");
    for months in ["'13'", "'0'", "'-1'", "'3:13'", "'99999'"] {
        let config = parse(&format!(
            "{route}time_intervals: [{{name: a, time_intervals: [{{months: [{months}]}}]}}]\n"
        ));
        assert!(config.is_ok(), "{months}: {config:?}");
    }
    for more in ["---\nnonsense: 1\n", "---\n\t][: 1\n", "...\n---\n"] {
        let config = parse(&format!("{route}{more}")).expect(more);
        assert_eq!(
            config.warnings(),
            ["what follows the first document of the file is not read"]
        );
    }
    assert_eq!(
        parse(&format!("---\n{route}"))
            .expect("one document")
            .warnings(),
        [""; 0]
    );
}
