//! Any server that takes Alertmanager's webhook, payload version 4.
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use serde_json::{Value, json};

use crate::{
    config::{WebhookConfig, reveal},
    notification::{AlertStatus, Notification, NotifiedAlert},
    post::Post,
    render::Texts,
    text::rfc3339,
};

/// The header that says which notification this is, the same at each try.
pub(super) const KEY_HEADER: &str = "idempotency-key";

pub(super) fn post(
    config: &WebhookConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = reveal(config.url.as_ref(), config.url_file.as_ref())?;
    let url = pulseboard_outbound::Secret::new(texts.text(url.reveal())?.trim());
    Post::json(url, &payload(notification, config.max_alerts))?
        .header(KEY_HEADER, &notification.key)
}

/// What is sent. `max_alerts` of 0 are all.
fn payload(notification: &Notification, max_alerts: u64) -> Value {
    let all = notification.alerts.len();
    let kept = match usize::try_from(max_alerts) {
        Ok(max) if max > 0 => max.min(all),
        _ => all,
    };
    let truncated = notification.truncated + (all - kept) as u64;
    let alerts: Vec<Value> = notification.alerts.iter().take(kept).map(alert).collect();
    let mut payload = json!({
        "receiver": notification.receiver,
        "status": notification.status().as_str(),
        "alerts": alerts,
        "groupLabels": notification.group_labels,
        "commonLabels": notification.common_labels(),
        "commonAnnotations": notification.common_annotations(),
        "externalURL": notification.external_url,
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": truncated,
    });
    if let Some(note) = &notification.note {
        payload["note"] = note.clone().into();
    }
    payload
}

fn alert(alert: &NotifiedAlert) -> Value {
    let ends_at = alert
        .ends_at_ms
        .filter(|_| alert.status == AlertStatus::Resolved);
    json!({
        "status": alert.status.as_str(),
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": rfc3339(Some(alert.starts_at_ms)),
        "endsAt": rfc3339(ends_at),
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    })
}
