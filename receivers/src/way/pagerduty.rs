//! PagerDuty: Events API v2, and v1 for keys of old.
//! <https://developer.pagerduty.com/docs/events-api-v2-overview>

use pulseboard_outbound::Secret;
use serde_json::{Map, Value, json};

use super::common::{group_hash, put};
use crate::{
    config::{PagerDutyConfig, reveal},
    notification::{AlertStatus, Notification},
    outcome::{Outcome, Reply},
    post::Post,
    render::{Texts, with_note},
    text::cut,
};

const API_V1: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
const API_V2: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters of a summary, and bytes of an event.
const SUMMARY_CHARS: usize = 1024;
const EVENT_BYTES: usize = 512_000;

pub(super) fn post(
    config: &PagerDutyConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let is_firing = notification.status() == AlertStatus::Firing;
    let action = if is_firing { "trigger" } else { "resolve" };
    let summary = with_note(notification, texts.text(&config.description)?);
    let summary = cut(&summary, SUMMARY_CHARS);
    let url = config.url.clone().unwrap_or_else(|| API_V2.to_owned());
    let service = reveal(
        config.service_key.as_ref(),
        config.service_key_file.as_ref(),
    )?;
    let is_v1 = !service.reveal().is_empty();
    let (key, key_name) = match is_v1 {
        true => (service, "service_key"),
        false => {
            let key = reveal(
                config.routing_key.as_ref(),
                config.routing_key_file.as_ref(),
            )?;
            (key, "routing_key")
        }
    };
    let key = Secret::new(texts.text(key.reveal())?);
    let mut details = Map::new();
    for (name, value) in &config.details {
        details.insert(name.clone(), rendered(value, texts)?);
    }
    let mut event = Map::new();
    event.insert(key_name.to_owned(), key.reveal().into());
    put(&mut event, "client", texts.text(&config.client)?);
    put(&mut event, "client_url", texts.text(&config.client_url)?);
    if is_v1 {
        event.insert("event_type".to_owned(), action.into());
        event.insert("incident_key".to_owned(), group_hash(notification).into());
        event.insert("description".to_owned(), summary.into());
    } else {
        event.insert("event_action".to_owned(), action.into());
        event.insert("dedup_key".to_owned(), group_hash(notification).into());
        event.insert("payload".to_owned(), payload(config, &summary, texts)?);
        event.insert("images".to_owned(), images(config, texts)?);
        event.insert("links".to_owned(), links(config, texts)?);
    }
    let url = match is_v1 && url == API_V2 {
        true => API_V1.to_owned(),
        false => url,
    };
    put_details(&mut event, is_v1, details.into());
    let mut post = Post::json(Secret::new(&*url), &event.clone().into())?;
    if post.body.len() > EVENT_BYTES {
        // The incident itself is worth more than what explains it.
        let said =
            json!({"error": "the details were left out, since they were larger than 512 kB"});
        put_details(&mut event, is_v1, said);
        post = Post::json(Secret::new(url), &event.into())?;
    }
    Ok(post.hiding(&key))
}

fn put_details(event: &mut Map<String, Value>, is_v1: bool, details: Value) {
    if is_v1 {
        event.insert("details".to_owned(), details);
    } else if let Some(payload) = event.get_mut("payload") {
        payload["custom_details"] = details;
    }
}

fn payload(config: &PagerDutyConfig, summary: &str, texts: &dyn Texts) -> Result<Value, String> {
    let mut payload = Map::new();
    // Both are required.
    let summary = if summary.is_empty() { "alert" } else { summary };
    payload.insert("summary".to_owned(), summary.into());
    let source = texts.text(&config.source)?;
    let source = match source.is_empty() {
        true => "Pulseboard".to_owned(),
        false => source,
    };
    payload.insert("source".to_owned(), source.into());
    let severity = texts.text(&config.severity)?;
    payload.insert("severity".to_owned(), severity_of(&severity).into());
    put(&mut payload, "class", texts.text(&config.class)?);
    put(&mut payload, "component", texts.text(&config.component)?);
    put(&mut payload, "group", texts.text(&config.group)?);
    Ok(payload.into())
}

/// PagerDuty refuses an event of another severity than its four.
fn severity_of(text: &str) -> &'static str {
    match text.trim().to_ascii_lowercase().as_str() {
        "critical" | "page" | "fatal" | "emergency" => "critical",
        "warning" | "warn" => "warning",
        "info" | "none" | "low" | "notice" => "info",
        _ => "error",
    }
}

fn images(config: &PagerDutyConfig, texts: &dyn Texts) -> Result<Value, String> {
    let mut images = Vec::new();
    for image in &config.images {
        let mut told = Map::new();
        put(&mut told, "src", texts.text(&image.src)?);
        put(&mut told, "alt", texts.text(&image.alt)?);
        put(&mut told, "href", texts.text(&image.href)?);
        // One without a picture makes the whole event a wrong one.
        if told.contains_key("src") {
            images.push(told.into());
        }
    }
    Ok(Value::Array(images))
}

fn links(config: &PagerDutyConfig, texts: &dyn Texts) -> Result<Value, String> {
    let mut links = Vec::new();
    for link in &config.links {
        let mut told = Map::new();
        put(&mut told, "href", texts.text(&link.href)?);
        put(&mut told, "text", texts.text(&link.text)?);
        if told.contains_key("href") {
            links.push(told.into());
        }
    }
    Ok(Value::Array(links))
}

/// Every text in a value rendered.
fn rendered(value: &Value, texts: &dyn Texts) -> Result<Value, String> {
    Ok(match value {
        Value::String(template) => texts.text(template)?.into(),
        Value::Array(items) => items
            .iter()
            .map(|item| rendered(item, texts))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let mut told = Map::new();
            for (name, field) in fields {
                told.insert(name.clone(), rendered(field, texts)?);
            }
            told.into()
        }
        other => other.clone(),
    })
}

/// v1 says 403 where v2 says 429.
pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    match reply.status {
        403 => reply.later(None),
        _ => reply.usual(),
    }
}
