//! Each way with nothing but what it has to be told: the default templates say the rest.

use pulseboard_receivers::{AlertStatus, Outcome, Sender};

use crate::{
    made::{alert, notification, send},
    server::{Server, says},
};

#[tokio::test]
async fn the_default_texts_name_the_alert_and_where_it_is_found() {
    let keys = pulseboard_receivers::webpush::Keys::generate().expect("random numbers");
    for (yaml, told) in [
        ("slack_configs: [{api_url: URL, channel: '#ops'}]", "Down"),
        ("pagerduty_configs: [{url: URL, routing_key: key}]", "Down"),
        (
            "telegram_configs: [{api_url: URL, bot_token: '1:a', chat_id: 1}]",
            "Down",
        ),
        ("discord_configs: [{webhook_url: URL}]", "Down"),
        ("msteams_configs: [{webhook_url: URL}]", "Down"),
        ("msteamsv2_configs: [{webhook_url: URL}]", "Down"),
        (
            "pushover_configs: [{api_url: URL, user_key: u, token: t}]",
            "Down",
        ),
        ("opsgenie_configs: [{api_url: URL, api_key: k}]", "Down"),
        (
            "victorops_configs: [{api_url: URL, api_key: k, routing_key: r}]",
            "Down",
        ),
        ("ntfy_configs: [{url: URL, topic: t}]", "Down"),
        ("gotify_configs: [{url: URL, token: t}]", "Down"),
        (
            "webpush_configs: [{endpoint: URL, p256dh: BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4, auth: BTBZMqHH6r4Tts7J_aSIgg, vapid_private_key: KEY}]",
            "",
        ),
    ] {
        for status in [AlertStatus::Firing, AlertStatus::Resolved] {
            let server = Server::start(|_| says(200, r#"{"ok":true}"#)).await;
            let yaml = format!("name: all\n{yaml}")
                .replace("URL", &server.url)
                .replace("KEY", keys.private.reveal());
            let alerts = vec![alert("a:1", status), alert("b<&>:1", status)];
            let outcome = send(&Sender::new(true), &yaml, notification(alerts)).await;
            assert_eq!(outcome, Outcome::Sent, "{yaml}");
            let body = server.only().body;
            let text = String::from_utf8_lossy(&body);
            // Opsgenie is told by alias alone that it is over.
            let is_close = server.only().path.contains("/close");
            assert!(is_close || text.contains(told), "{yaml}\nwas sent {text}");
            assert!(!text.contains("no value") && !text.contains("{{"), "{text}");
        }
    }
}

#[tokio::test]
async fn the_default_mail_escapes_what_alerts_say() {
    let server = crate::mail::Server::start(crate::mail::PLAIN).await;
    let yaml = format!(
        "{{name: all, email_configs: [{{to: a@example.org, from: b@example.org, require_tls: false, smarthost: 'localhost:{}'}}]}}",
        server.port
    );
    let alerts = vec![alert("<script>alert(1)</script>", AlertStatus::Firing)];
    let outcome = send(&Sender::new(true), &yaml, notification(alerts)).await;
    assert_eq!(outcome, Outcome::Sent);
    let mail = server.mail();
    assert!(mail.contains("Subject: [FIRING:1] "), "{mail}");
    assert!(
        mail.contains("Content-Type: text/html; charset=utf-8"),
        "{mail}"
    );
    assert!(!mail.contains("<script>"), "{mail}");
}
