//! What `alertmanager.yml` says of receivers: every section, what is wrong with it and where.

use std::path::Path;

use super::*;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: Global,
    receivers: Vec<Receiver>,
}

fn read(text: &str) -> Result<Vec<Receiver>, String> {
    let file: File = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    file.global.check()?;
    let mut receivers = file.receivers;
    for receiver in &mut receivers {
        receiver
            .settle(&file.global, Path::new("/etc/am"))
            .map_err(|error| error.to_string())?;
    }
    Ok(receivers)
}

const ALL: &str = r##"
global:
  resolve_timeout: 5m
  smtp_smarthost: 'mail.example.org:587'
  smtp_from: 'pulse@example.org'
  smtp_auth_username: pulse
  smtp_auth_password: S3CRET-mail
  slack_api_url: 'https://hooks.slack.com/services/S3CRET'
  opsgenie_api_key: S3CRET-og
  victorops_api_key: S3CRET-vo
  webpush_vapid_private_key: S3CRET-vapid
  http_config:
    proxy_url: http://me:S3CRET@proxy:3128
receivers:
  - name: 'null'
  - name: all
    webhook_configs:
      - url: http://127.0.0.1:5001/S3CRET
        max_alerts: 3
        http_config:
          basic_auth: {username: me, password_file: pw}
    email_configs:
      - to: ops@example.org
        headers: {subject: hello, x-team: a}
        require_tls: false
    slack_configs:
      - channel: '#ops'
        send_resolved: true
        fields: [{title: a, value: b, short: true}]
        actions: [{type: button, text: go, url: 'http://x', name: dropped}]
    pagerduty_configs:
      - routing_key: S3CRET
        details: {firing: mine, more: {nested: [1, "{{ .Status }}"]}}
    telegram_configs:
      - bot_token: S3CRET
        chat_id: -1001
        parse_mode: ''
    discord_configs:
      - webhook_url_file: hook
    msteams_configs:
      - webhook_url: https://example.org/S3CRET
    msteamsv2_configs:
      - webhook_url: https://example.org/S3CRET
    pushover_configs:
      - user_key: S3CRET
        token: S3CRET
        priority: '1'
        retry: 2m0s
    opsgenie_configs:
      - responders: [{name: ops, type: Team}]
    victorops_configs:
      - routing_key: ops
    ntfy_configs:
      - topic: S3CRET
    gotify_configs:
      - {url: 'https://gotify.example.org', token: S3CRET}
    webpush_configs:
      - {endpoint: 'https://push.example.org/S3CRET', p256dh: S3CRET, auth: S3CRET}
    sns_configs:
      - topic_arn: arn
    webex_configs:
    wechat_configs: []
"##;

#[test]
fn every_section_is_read_with_its_defaults() {
    let receivers = read(ALL).expect("it is right");
    assert!(receivers[0].ways().is_empty());
    let all = &receivers[1];
    let names: Vec<String> = all.ways().into_iter().map(|(name, _)| name.0).collect();
    assert_eq!(names.len(), 14);
    assert_eq!(names[..3], ["webhook[0]", "email[0]", "slack[0]"]);
    let resolved: Vec<&str> = all
        .ways()
        .iter()
        .filter(|(_, way)| !way.sends_resolved())
        .map(|(_, way)| way.kind())
        .collect();
    assert_eq!(resolved, ["email"], "slack asks for it, mail does not");
    let webhook = &all.webhook_configs[0];
    let http = webhook.http_config.as_ref().expect("its own");
    assert!(http.proxy_url.is_none(), "its own is the whole of it");
    let password = http
        .basic_auth
        .as_ref()
        .expect("given")
        .password_file
        .clone();
    assert_eq!(password.as_deref(), Some(Path::new("/etc/am/pw")));
    let slack = &all.slack_configs[0];
    assert!(
        slack
            .http_config
            .as_ref()
            .is_some_and(|http| http.proxy_url.is_some())
    );
    assert_eq!(slack.title, "{{ template \"slack.default.title\" . }}");
    assert_eq!(slack.actions[0].name, "");
    let mail = &all.email_configs[0];
    assert_eq!(mail.from, "pulse@example.org");
    assert_eq!(mail.hello, "localhost");
    assert_eq!(mail.require_tls, Some(false));
    assert_eq!(
        mail.headers.keys().collect::<Vec<_>>(),
        ["Subject", "X-Team"]
    );
    let pager = &all.pagerduty_configs[0];
    assert_eq!(
        pager.url.as_deref(),
        Some("https://events.pagerduty.com/v2/enqueue")
    );
    assert_eq!(pager.details.len(), 5);
    assert_eq!(pager.details["firing"], "mine");
    assert_eq!(pager.source, pager.client);
    assert_eq!(all.telegram_configs[0].parse_mode, "");
    let pushover = &all.pushover_configs[0];
    assert_eq!(
        (pushover.priority.as_str(), pushover.retry),
        ("1", Some(Span::from_secs(120)))
    );
    assert_eq!(all.opsgenie_configs[0].responders[0].kind, "team");
    assert_eq!(
        all.discord_configs[0].webhook_url_file.as_deref(),
        Some(Path::new("/etc/am/hook"))
    );
    assert_eq!(all.unserved(), ["sns_configs"]);
    assert_eq!(all.warnings().len(), 1);
}

#[test]
fn no_secret_is_printed_or_written() {
    let file: File = yaml_serde::from_str(ALL).expect("it is right");
    let receivers = read(ALL).expect("it is right");
    let ways: Vec<Way> = receivers[1]
        .ways()
        .into_iter()
        .map(|(_, way)| way)
        .collect();
    for told in [
        format!("{:?}", file.global),
        format!("{receivers:#?} {ways:?}"),
        yaml_serde::to_string(&file.global).expect("YAML"),
        yaml_serde::to_string(&receivers).expect("YAML"),
        serde_json::to_string(&receivers).expect("JSON"),
    ] {
        assert!(!told.contains("S3CRET"), "{told}");
        assert!(told.contains("<secret>"));
    }
}

#[test]
fn what_is_shown_reads_as_what_is_stored() {
    let stored: serde_json::Value = yaml_serde::from_str(ALL).expect("YAML");
    let stored = &stored["receivers"][1];
    let first: Receiver = serde_json::from_value(stored.clone()).expect("it is right");
    let mut shown = serde_json::to_value(&first).expect("JSON");
    assert!(!shown.to_string().contains("S3CRET"));
    assert_eq!(keep_secrets(&mut shown, stored), Ok(()));
    let again: Receiver = serde_json::from_value(shown).expect("the same");
    assert_eq!(again.ways(), first.ways());
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_without_its_secret() {
    for (text, told) in [
        (
            "receivers:\n- name: a\n  slack_confgs: []",
            "unknown field `slack_confgs`, expected",
        ),
        (
            "receivers:\n- name: a\n  webhook_configs:\n  - max_alerts: 1",
            "one of url and url_file must be given at line 4 column 5",
        ),
        (
            "receivers:\n- name: a\n  webhook_configs:\n  - url: ftp://S3CRET",
            "url is no address of http or https with a host at line 4 column 5",
        ),
        (
            "receivers:\n- name: a\n  webhook_configs:\n  - url: http://a\n    url_file: b",
            "at most one of url and url_file may be given at line 4",
        ),
        (
            "receivers:\n- name: a\n  telegram_configs:\n  - bot_token: a",
            "exactly one of chat_id and chat_id_file must be given",
        ),
        (
            "receivers:\n- name: a\n  telegram_configs:\n  - {bot_token: a, chat_id: 1, parse_mode: X}",
            "parse_mode is none of",
        ),
        (
            "receivers:\n- name: a\n  slack_configs:\n  - channel: b",
            "receiver \"a\": slack_configs[0]: api_url must be given, here or as slack_api_url",
        ),
        (
            "receivers:\n- name: a\n  email_configs:\n  - to: b\n  - to: c\n    smarthost: x:1",
            "receiver \"a\": email_configs[0]: smarthost must be given",
        ),
        (
            "receivers:\n- name: a\n  email_configs:\n  - to: b\n    smarthost: nowhere",
            "smarthost: \"nowhere\" is no host:port at line 4",
        ),
        (
            "receivers:\n- name: a\n  pushover_configs:\n  - {user_key: a, token: b, retry: soon}",
            "\"soon\" is no duration such as 1h30m at line 4 column 36",
        ),
        (
            "receivers:\n- name: a\n  victorops_configs:\n  - {routing_key: a, api_key: b, custom_fields: {entity_id: x}}",
            "custom_fields: entity_id is a field of VictorOps' own",
        ),
        (
            "receivers:\n- name: a\n  webhook_configs:\n  - url: http://a\n    http_config: {bearer_token: x, bearer_token_file: y}",
            "http_config: at most one of basic_auth",
        ),
        (
            "global: {smtp_smarthost: x}\nreceivers: []",
            "smtp_smarthost: \"x\" is no host:port",
        ),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(told), "{text}\nsays {error}\nand not {told}");
        assert!(!error.contains("S3CRET"), "{error}");
    }
}

#[test]
fn texts_that_are_no_templates_are_found() {
    let templates = pulseboard_template::alertmanager::Templates::new();
    let receivers = read(ALL).expect("it is right");
    assert_eq!(receivers[1].check_texts(&templates), Vec::<String>::new());
    let wrong = "receivers:\n- name: a\n  slack_configs:\n  - {api_url: 'http://a', title: '{{ .Status', fields: [{title: '{{ nope }}', value: b}]}";
    let found = read(wrong).expect("it is YAML")[0].check_texts(&templates);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("receiver \"a\": slack[0]: title: template"))
    );
    assert!(
        found
            .iter()
            .any(|one| one.contains("slack[0]: fields[0]: title: "))
    );
}
