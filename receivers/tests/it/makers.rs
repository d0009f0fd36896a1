//! What each maker is sent, field by field as it documents it, and what its answers mean.

use pulseboard_receivers::{AlertStatus, Notification, Outcome, Sender};
use serde_json::json;

use crate::{
    made::{alert, notification, send},
    server::{Asked, Server, says},
};

const FIRING: AlertStatus = AlertStatus::Firing;
const RESOLVED: AlertStatus = AlertStatus::Resolved;
/// SHA-256 of the group's key, which is the default tenant's; made with `sha256sum`.
const GROUP: &str = "af94c9e8f6a3043625e36c6f472fe6be85ac23a9117184ee4cb7b4ad7401a47e";

fn firing() -> Notification {
    notification(vec![alert("a:1", FIRING)])
}

fn resolved() -> Notification {
    notification(vec![alert("a:1", RESOLVED)])
}

/// Sends once to a server that answers so.
async fn exchange(
    yaml: &str,
    notification: Notification,
    status: u16,
    body: &'static str,
) -> (Asked, Outcome) {
    let server = Server::start(move |_| says(status, body)).await;
    let yaml = yaml.replace("URL", &server.url);
    let outcome = send(&Sender::new(true), &yaml, notification).await;
    (server.only(), outcome)
}

fn is_retry(outcome: &Outcome, pause: Option<u64>) {
    match outcome {
        Outcome::Retry { after_ms, .. } => assert_eq!(*after_ms, pause),
        other => panic!("{other:?}"),
    }
}

fn is_failed(outcome: &Outcome, told: &str) {
    match outcome {
        Outcome::Failed { why } => assert!(why.contains(told), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_webhook_gets_payload_version_4() {
    let mut both = notification(vec![
        alert("a:1", FIRING),
        alert("b:1", RESOLVED),
        alert("c:1", FIRING),
    ]);
    both.truncated = 2;
    let yaml = "{name: all, webhook_configs: [{url: URL/hook?a=b, max_alerts: 2}]}";
    let (asked, outcome) = exchange(yaml, both, 200, "").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/hook?a=b")
    );
    assert_eq!(asked.headers["content-type"], "application/json");
    assert_eq!(asked.headers["idempotency-key"], "5c9f2d0e-key");
    assert!(asked.headers["user-agent"].starts_with("pulseboard/"));
    let one = |instance: &str, status: &str, ends_at: &str| {
        let made = alert(instance, FIRING);
        json!({
            "status": status,
            "labels": {"alertname": "Down", "instance": instance, "severity": "critical"},
            "annotations": {"summary": format!("{instance} is down")},
            "startsAt": "2026-12-01T00:00:00.12Z",
            "endsAt": ends_at,
            "generatorURL": "https://pulse.example.org/graph?g0.expr=up",
            "fingerprint": made.fingerprint,
        })
    };
    let wanted = json!({
        "receiver": "all",
        "status": "firing",
        "alerts": [
            one("a:1", "firing", "0001-01-01T00:00:00Z"),
            one("b:1", "resolved", "2026-12-01T00:01:00Z"),
        ],
        "groupLabels": {"alertname": "Down"},
        "commonLabels": {"alertname": "Down", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "https://pulse.example.org",
        "version": "4",
        "groupKey": "{}:{alertname=\"Down\"}",
        "truncatedAlerts": 3,
    });
    assert_eq!(asked.json(), wanted);
}

#[tokio::test]
async fn slack_gets_an_attachment_with_fields_and_buttons() {
    let yaml = r##"
name: all
slack_configs:
- api_url: URL/services/T0/B0/SECRET
  channel: '#ops'
  username: pulse
  color: danger
  title: Down
  title_link: https://pulse.example.org
  pretext: before
  text: "*a:1* is down"
  fallback: fallen back
  callback_id: id
  footer: foot
  icon_emoji: ':bell:'
  icon_url: ''
  image_url: https://i/1
  thumb_url: https://i/2
  link_names: true
  short_fields: true
  fields: [{title: one, value: 1}, {title: two, value: b, short: false}]
  actions:
  - {type: button, text: Go, url: 'https://x', style: primary}
  - {type: button, text: Ack, name: ack, value: v, confirm: {text: sure, title: t, ok_text: y, dismiss_text: n}}
"##;
    let (asked, outcome) = exchange(yaml, firing(), 200, "ok").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(asked.path, "/services/T0/B0/SECRET");
    let wanted = json!({
        "channel": "#ops",
        "username": "pulse",
        "icon_emoji": ":bell:",
        "link_names": true,
        "attachments": [{
            "title": "Down",
            "title_link": "https://pulse.example.org",
            "pretext": "before",
            "text": "*a:1* is down",
            "fallback": "fallen back",
            "callback_id": "id",
            "footer": "foot",
            "image_url": "https://i/1",
            "thumb_url": "https://i/2",
            "color": "danger",
            "mrkdwn_in": ["fallback", "pretext", "text"],
            "fields": [
                {"title": "one", "value": "1", "short": true},
                {"title": "two", "value": "b", "short": false},
            ],
            "actions": [
                {"type": "button", "text": "Go", "url": "https://x", "style": "primary"},
                {"type": "button", "text": "Ack", "name": "ack", "value": "v",
                 "confirm": {"text": "sure", "title": "t", "ok_text": "y", "dismiss_text": "n"}},
            ],
        }],
    });
    assert_eq!(asked.json(), wanted);

    let (_, outcome) = exchange(yaml, firing(), 404, "no_service").await;
    is_failed(&outcome, "it answered 404: no_service");
    let app = yaml.replace("  channel", "  app_token: xoxb-SECRET\n  channel");
    let not_ok = r#"{"ok":false,"error":"channel_not_found"}"#;
    let (asked, outcome) = exchange(&app, firing(), 200, not_ok).await;
    assert_eq!(asked.headers["authorization"], "Bearer xoxb-SECRET");
    is_failed(&outcome, "channel_not_found");
    let (_, outcome) = exchange(&app, firing(), 200, r#"{"ok":false,"error":"ratelimited"}"#).await;
    is_retry(&outcome, None);
}

const PAGER: &str = r"
name: all
pagerduty_configs:
- url: URL/v2/enqueue
  KIND_key: SECRETSECRET
  client: Pulseboard
  client_url: https://pulse.example.org
  description: a:1 is down
  severity: page
  class: c
  component: web
  group: g
  source: here
  details: {firing: f, resolved: r, num_firing: 1, num_resolved: '0', more: {deep: [x]}}
  images: [{src: 'https://i/1', alt: a, href: 'https://i'}, {alt: none}]
  links: [{href: 'https://l', text: t}]
";

#[tokio::test]
async fn pagerduty_gets_events_of_version_2_and_of_1_where_the_key_is_old() {
    let wanted = json!({
        "routing_key": "SECRETSECRET",
        "dedup_key": GROUP,
        "event_action": "trigger",
        "client": "Pulseboard",
        "client_url": "https://pulse.example.org",
        "payload": {
            "summary": "a:1 is down",
            "source": "here",
            "severity": "critical",
            "class": "c",
            "component": "web",
            "group": "g",
            "custom_details": {
                "firing": "f", "resolved": "r", "num_firing": 1, "num_resolved": "0",
                "more": {"deep": ["x"]},
            },
        },
        "images": [{"src": "https://i/1", "alt": "a", "href": "https://i"}],
        "links": [{"href": "https://l", "text": "t"}],
    });
    let v2 = PAGER.replace("KIND", "routing");
    let (asked, outcome) = exchange(&v2, firing(), 202, r#"{"status":"success"}"#).await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(asked.json(), wanted);
    let (asked, _) = exchange(&v2, resolved(), 202, "").await;
    assert_eq!(asked.json()["event_action"], "resolve");
    assert_eq!(asked.json()["dedup_key"], GROUP);

    let v1 = PAGER.replace("KIND", "service");
    let (asked, outcome) = exchange(&v1, firing(), 403, "rate limited SECRETSECRET").await;
    is_retry(&outcome, None);
    assert!(
        !format!("{outcome:?}").contains("SECRETSECRET"),
        "{outcome:?}"
    );
    let told = asked.json();
    assert_eq!(told["service_key"], "SECRETSECRET");
    assert_eq!(told["incident_key"], GROUP);
    assert_eq!(told["event_type"], "trigger");
    assert_eq!(told["description"], "a:1 is down");
    assert_eq!(told["details"]["more"]["deep"][0], "x");
    let (_, outcome) = exchange(&v2, firing(), 400, r#"{"status":"invalid event"}"#).await;
    is_failed(&outcome, "invalid event");

    let many: Vec<String> = (0..12)
        .map(|number| format!("d{number}: {}", "x".repeat(60_000)))
        .collect();
    let huge = v2.replace("firing: f", &many.join(", "));
    let (asked, _) = exchange(&huge, firing(), 202, "").await;
    assert!(asked.body.len() < 5000);
    assert!(asked.json()["payload"]["custom_details"]["error"].is_string());
}

#[tokio::test]
async fn telegram_gets_a_message_that_it_can_read() {
    let yaml = "{name: all, telegram_configs: [{api_url: URL, bot_token: '123:SECRETTOKEN', chat_id: -1001, message_thread_id: 7, disable_notifications: true, message: '<b>down</b> a &amp; b'}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, r#"{"ok":true}"#).await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(asked.path, "/bot123:SECRETTOKEN/sendMessage");
    let wanted = json!({
        "chat_id": -1001,
        "text": "<b>down</b> a &amp; b",
        "parse_mode": "HTML",
        "message_thread_id": 7,
        "disable_notification": true,
        "link_preview_options": {"is_disabled": true},
    });
    assert_eq!(asked.json(), wanted);
    let long = yaml.replace("</b>", &format!("{}</b>", "ü".repeat(5000)));
    let (asked, _) = exchange(&long, firing(), 200, r#"{"ok":true}"#).await;
    let text = asked.json()["text"].as_str().expect("a text").to_owned();
    assert_eq!(text.chars().count(), 4096);
    assert!(text.ends_with("ü…</b>"));
    let limited = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 11","parameters":{"retry_after":11}}"#;
    let (_, outcome) = exchange(yaml, firing(), 429, limited).await;
    is_retry(&outcome, Some(11_000));
    let wrong = r#"{"ok":false,"error_code":401,"description":"Unauthorized 123:SECRETTOKEN"}"#;
    let (_, outcome) = exchange(yaml, firing(), 401, wrong).await;
    is_failed(&outcome, "Unauthorized <secret>");
}

#[tokio::test]
async fn discord_gets_an_embed() {
    let yaml = "{name: all, discord_configs: [{webhook_url: URL/api/webhooks/1/SECRET, title: ' Down ', message: a is down, content: '<@1>', username: pulse, avatar_url: 'https://a'}]}";
    let (asked, outcome) = exchange(yaml, firing(), 204, "").await;
    assert_eq!(outcome, Outcome::Sent);
    let wanted = json!({
        "content": "<@1>",
        "embeds": [{"title": "Down", "description": "a is down", "color": 0x0099_2d22}],
        "username": "pulse",
        "avatar_url": "https://a",
    });
    assert_eq!(asked.json(), wanted);
    let (asked, outcome) = exchange(yaml, resolved(), 429, r#"{"retry_after": 0.25}"#).await;
    assert_eq!(asked.json()["embeds"][0]["color"], 0x002e_cc71);
    is_retry(&outcome, Some(250));
    let long = yaml
        .replace("a is down", &"x".repeat(9000))
        .replace(" Down ", &"y".repeat(300));
    let (asked, _) = exchange(&long, firing(), 204, "").await;
    let embed = &asked.json()["embeds"][0];
    assert_eq!(
        embed["description"]
            .as_str()
            .map(|text| text.chars().count()),
        Some(4096)
    );
    assert_eq!(
        embed["title"].as_str().map(|text| text.chars().count()),
        Some(256)
    );
}

#[tokio::test]
async fn teams_gets_a_message_card_or_an_adaptive_card() {
    let yaml = "{name: all, msteams_configs: [{webhook_url: URL/SECRET, title: Down, summary: '', text: a is down}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, "1").await;
    assert_eq!(outcome, Outcome::Sent);
    let wanted = json!({
        "@context": "https://schema.org/extensions",
        "@type": "MessageCard",
        "title": "Down",
        "summary": "Down",
        "text": "a is down",
        "themeColor": "8C1A1A",
    });
    assert_eq!(asked.json(), wanted);
    let behind = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId";
    let (_, outcome) = exchange(yaml, firing(), 200, behind).await;
    is_retry(&outcome, None);
    let behind = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413";
    let (_, outcome) = exchange(yaml, firing(), 200, behind).await;
    is_failed(&outcome, "413");

    let yaml =
        "{name: all, msteamsv2_configs: [{webhook_url: URL/SECRET, title: Down, text: a is down}]}";
    let (asked, outcome) = exchange(yaml, resolved(), 202, "").await;
    assert_eq!(outcome, Outcome::Sent);
    let told = asked.json();
    assert_eq!(told["type"], "message");
    let attachment = &told["attachments"][0];
    assert_eq!(
        attachment["contentType"],
        "application/vnd.microsoft.card.adaptive"
    );
    let card = &attachment["content"];
    assert_eq!(
        (&card["type"], &card["version"]),
        (&json!("AdaptiveCard"), &json!("1.4"))
    );
    assert_eq!(
        card["$schema"],
        "http://adaptivecards.io/schemas/adaptive-card.json"
    );
    assert_eq!(card["body"][0]["text"], "Down");
    assert_eq!(card["body"][0]["color"], "Good");
    assert_eq!(
        card["body"][1],
        json!({"type": "TextBlock", "text": "a is down", "wrap": true})
    );
    let long = yaml.replace("a is down", &"ü".repeat(30_000));
    let (asked, _) = exchange(&long, resolved(), 202, "").await;
    assert!(asked.body.len() < 28_000);
}

#[tokio::test]
async fn pushover_gets_a_form_and_an_emergency_says_how_long() {
    let yaml = "{name: all, pushover_configs: [{api_url: URL/1/messages.json, user_key: SECRETUSER, token: SECRETTOKEN, title: Down, message: '', url: 'https://pulse.example.org', url_title: open, device: phone, sound: siren, priority: '2', retry: 10s, expire: 9h, ttl: 1m, monospace: true}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, r#"{"status":1}"#).await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(
        asked.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    let form = asked.form();
    for (name, value) in [
        ("user", "SECRETUSER"),
        ("token", "SECRETTOKEN"),
        ("title", "Down"),
        ("message", "(no details)"),
        ("url", "https://pulse.example.org"),
        ("url_title", "open"),
        ("device", "phone"),
        ("sound", "siren"),
        ("priority", "2"),
        ("retry", "30"),
        ("expire", "10800"),
        ("ttl", "60"),
        ("monospace", "1"),
    ] {
        assert_eq!(form[name], value, "{name}");
    }
    assert_eq!(form.len(), 13);
    let normal = yaml.replace("'2'", "'0'");
    let (asked, outcome) = exchange(
        &normal,
        firing(),
        400,
        r#"{"errors":["user SECRETUSER is invalid"],"status":0}"#,
    )
    .await;
    assert!(!asked.form().contains_key("retry"));
    is_failed(&outcome, "user <secret> is invalid");
}

#[tokio::test]
async fn opsgenie_gets_an_alert_and_its_end_by_alias() {
    let yaml = "{name: all, opsgenie_configs: [{api_url: URL, api_key: SECRETKEY, message: MESSAGE, description: d, source: s, details: {team: web, severity: mine}, entity: e, tags: 'a, b,,', note: n, priority: P2, actions: restart, responders: [{name: 'x, y', type: teams}, {username: u, type: user}]}]}";
    let (asked, outcome) = exchange(yaml, firing(), 202, "").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(
        (asked.path.as_str(), asked.headers["authorization"].as_str()),
        ("/v2/alerts", "GenieKey SECRETKEY")
    );
    let wanted = json!({
        "alias": GROUP,
        "message": "MESSAGE",
        "description": "d",
        "source": "s",
        "details": {"team": "web", "severity": "mine", "alertname": "Down", "instance": "a:1"},
        "entity": "e",
        "note": "n",
        "tags": ["a", "b"],
        "actions": ["restart"],
        "priority": "P2",
        "responders": [
            {"name": "x", "type": "team"},
            {"name": "y", "type": "team"},
            {"username": "u", "type": "user"},
        ],
    });
    assert_eq!(asked.json(), wanted);
    let (asked, _) = exchange(yaml, resolved(), 202, "").await;
    assert_eq!(asked.json(), json!({"source": "s"}));
    let path = format!("/v2/alerts/{GROUP}/close?identifierType=alias");
    assert_eq!(
        (asked.path, asked.headers["authorization"].as_str()),
        (path, "GenieKey SECRETKEY")
    );
    let long = yaml.replace("MESSAGE", &"m".repeat(500));
    let (asked, outcome) = exchange(&long, firing(), 422, "SECRETKEY is wrong").await;
    assert_eq!(
        asked.json()["message"]
            .as_str()
            .map(|text| text.chars().count()),
        Some(130)
    );
    is_failed(&outcome, "it answered 422: <secret> is wrong");
}

#[tokio::test]
async fn opsgenie_changes_the_texts_of_an_alert_that_is_there() {
    let yaml = "{name: all, opsgenie_configs: [{api_url: URL, api_key: SECRETKEY, message: MESSAGE, description: d, update_alerts: true}]}";
    let server = Server::start(|_| says(202, "")).await;
    let told = yaml.replace("URL", &server.url);
    let outcome = send(&Sender::new(true), &told, firing()).await;
    assert_eq!(outcome, Outcome::Sent);
    let asked = server.asked();
    let shown: Vec<_> = asked
        .iter()
        .map(|asked| {
            assert_eq!(asked.headers["authorization"], "GenieKey SECRETKEY");
            (asked.method.as_str(), asked.path.clone())
        })
        .collect();
    let of = |field: &str| format!("/v2/alerts/{GROUP}/{field}?identifierType=alias");
    assert_eq!(
        shown,
        [
            ("POST", "/v2/alerts".to_owned()),
            ("PUT", of("message")),
            ("PUT", of("description")),
        ]
    );
    assert_eq!(asked[1].json(), json!({"message": "MESSAGE"}));
    assert_eq!(asked[2].json(), json!({"description": "d"}));
    // what is not taken is tried again, all of it
    let server = Server::start(|asked| match asked.method.as_str() {
        "PUT" => says(500, ""),
        _ => says(202, ""),
    })
    .await;
    let told = yaml.replace("URL", &server.url);
    let outcome = send(&Sender::new(true), &told, firing()).await;
    is_retry(&outcome, None);
    // what is over is closed, and nothing is changed of it
    let (asked, _) = exchange(yaml, resolved(), 202, "").await;
    assert_eq!(asked.method, "POST");
}

#[tokio::test]
async fn victorops_gets_an_entity_and_its_recovery() {
    let yaml = "{name: all, victorops_configs: [{api_url: URL/alert/, api_key: SECRETKEY, routing_key: a/b, message_type: info, state_message: s, entity_display_name: n, monitoring_tool: t, custom_fields: {team: web}}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, r#"{"result":"success"}"#).await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(asked.path, "/alert/SECRETKEY/a%2Fb");
    let wanted = json!({
        "message_type": "INFO",
        "entity_id": GROUP,
        "entity_display_name": "n",
        "state_message": "s",
        "monitoring_tool": "t",
        "team": "web",
    });
    assert_eq!(asked.json(), wanted);
    let no = r#"{"result":"failure","messages":"bad SECRETKEY"}"#;
    let (asked, outcome) = exchange(yaml, resolved(), 200, no).await;
    assert_eq!(asked.json()["message_type"], "RECOVERY");
    is_failed(&outcome, "bad <secret>");
}

#[tokio::test]
async fn ntfy_and_gotify_get_their_json() {
    let yaml = "{name: all, ntfy_configs: [{url: URL, topic: SECRETTOPIC, token: tk_SECRET, title: Down, message: a is down, priority: max, tags: 'x, y', click: 'https://pulse.example.org', icon: 'https://i', email: a@b.c, markdown: true}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, "{}").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(
        (asked.path.as_str(), asked.headers["authorization"].as_str()),
        ("/", "Bearer tk_SECRET")
    );
    let wanted = json!({
        "topic": "SECRETTOPIC",
        "message": "a is down",
        "title": "Down",
        "priority": 5,
        "tags": ["x", "y"],
        "click": "https://pulse.example.org",
        "icon": "https://i",
        "email": "a@b.c",
        "markdown": true,
    });
    assert_eq!(asked.json(), wanted);
    let long = yaml.replace("a is down", &"ü".repeat(5000));
    let (asked, _) = exchange(&long, firing(), 200, "{}").await;
    assert!(
        asked.json()["message"]
            .as_str()
            .is_some_and(|text| text.len() <= 4096)
    );
    let (_, outcome) = exchange(yaml, firing(), 403, r#"{"code":40301,"error":"forbidden"}"#).await;
    is_failed(&outcome, "forbidden");

    let yaml = "{name: all, gotify_configs: [{url: URL/sub/, token: SECRETTOKEN, title: Down, message: a is down, priority: '8', click: 'https://pulse.example.org', markdown: true}]}";
    let (asked, outcome) = exchange(yaml, firing(), 200, "{}").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(
        (asked.path.as_str(), asked.headers["x-gotify-key"].as_str()),
        ("/sub/message", "SECRETTOKEN")
    );
    let wanted = json!({
        "title": "Down",
        "message": "a is down",
        "priority": 8,
        "extras": {
            "client::notification": {"click": {"url": "https://pulse.example.org"}},
            "client::display": {"contentType": "text/markdown"},
        },
    });
    assert_eq!(asked.json(), wanted);
}

#[tokio::test]
async fn a_browser_that_has_unsubscribed_is_gone() {
    let keys = pulseboard_receivers::webpush::Keys::generate().expect("random numbers");
    let yaml = format!(
        "{{name: all, webpush_configs: [{{endpoint: URL/send/SECRET, p256dh: BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4, auth: BTBZMqHH6r4Tts7J_aSIgg, vapid_private_key: {}, title: Down, message: m, click: '', urgency: high}}]}}",
        keys.private.reveal()
    );
    let (asked, outcome) = exchange(&yaml, firing(), 201, "").await;
    assert_eq!(outcome, Outcome::Sent);
    assert_eq!(asked.headers["content-encoding"], "aes128gcm");
    let (_, outcome) = exchange(&yaml, firing(), 410, "").await;
    assert!(matches!(outcome, Outcome::Gone { .. }), "{outcome:?}");
    let (_, outcome) = exchange(&yaml, firing(), 429, "").await;
    is_retry(&outcome, None);
}

#[tokio::test]
async fn what_is_said_beside_the_alerts_is_sent_too() {
    let noted = Notification {
        note: Some("3 < 4 & more".to_owned()),
        ..firing()
    };
    for (yaml, field) in [
        ("{name: all, webhook_configs: [{url: URL}]}", "/note"),
        (
            "{name: all, discord_configs: [{webhook_url: URL, title: t, message: m}]}",
            "/content",
        ),
        (
            "{name: all, msteams_configs: [{webhook_url: URL, title: t, summary: s, text: x}]}",
            "/text",
        ),
        (
            "{name: all, gotify_configs: [{url: URL, token: t, title: t, message: m, click: '', priority: '1'}]}",
            "/message",
        ),
    ] {
        let (asked, _) = exchange(yaml, noted.clone(), 200, "").await;
        let told = asked.json();
        let text = told.pointer(field).and_then(serde_json::Value::as_str);
        assert!(
            text.is_some_and(|text| text.starts_with("3 < 4 & more")),
            "{told}"
        );
    }
    let yaml =
        "{name: all, telegram_configs: [{api_url: URL, bot_token: '1:a', chat_id: 1, message: m}]}";
    let (asked, _) = exchange(yaml, noted, 200, r#"{"ok":true}"#).await;
    assert_eq!(asked.json()["text"], "3 &lt; 4 &amp; more\nm");
}
