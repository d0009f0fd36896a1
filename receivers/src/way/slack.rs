//! Slack: incoming webhooks, and `chat.postMessage` with an app's token.
//! <https://api.slack.com/reference/messaging/attachments>

use pulseboard_outbound::Secret;
use serde_json::{Map, Value, json};

use super::common::put;
use crate::{
    config::{SlackAction, SlackConfig, SlackField, reveal},
    notification::Notification,
    outcome::{Outcome, Reply},
    post::Post,
    render::{Texts, with_note},
    text::cut,
};

const API: &str = "https://slack.com/api/chat.postMessage";
/// Characters, as Slack cuts them or refuses more.
const TITLE_CHARS: usize = 1024;
const TEXT_CHARS: usize = 8000;
const VALUE_CHARS: usize = 2000;
const MESSAGE_CHARS: usize = 40_000;
/// Slack shows no more.
const ATTACHMENT_FIELDS: usize = 100;
const ATTACHMENT_ACTIONS: usize = 5;

pub(super) fn post(
    config: &SlackConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let token = reveal(config.app_token.as_ref(), config.app_token_file.as_ref())?;
    let url = reveal(config.api_url.as_ref(), config.api_url_file.as_ref())?;
    let url = match (url.reveal(), token.reveal()) {
        ("", _) => config.app_url.clone().unwrap_or_else(|| Secret::new(API)),
        _ => url,
    };
    let post = Post::json(url, &message(config, notification, texts)?)?;
    match token.reveal() {
        "" => Ok(post),
        _ => post.secret_header("authorization", "Bearer ", &token),
    }
}

fn message(
    config: &SlackConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Value, String> {
    let mut message = Map::new();
    put(&mut message, "channel", texts.text(&config.channel)?);
    put(&mut message, "username", texts.text(&config.username)?);
    put(&mut message, "icon_emoji", texts.text(&config.icon_emoji)?);
    put(&mut message, "icon_url", texts.text(&config.icon_url)?);
    let text = texts.text(&config.message_text)?;
    put(&mut message, "text", cut(&text, MESSAGE_CHARS));
    if config.link_names {
        message.insert("link_names".to_owned(), true.into());
    }
    let attachment = attachment(config, notification, texts)?;
    message.insert("attachments".to_owned(), json!([attachment]));
    Ok(message.into())
}

fn attachment(
    config: &SlackConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Value, String> {
    let mut attachment = Map::new();
    let title = texts.text(&config.title)?;
    put(&mut attachment, "title", cut(&title, TITLE_CHARS));
    for (name, template) in [
        ("title_link", &config.title_link),
        ("callback_id", &config.callback_id),
        ("image_url", &config.image_url),
        ("thumb_url", &config.thumb_url),
        ("color", &config.color),
    ] {
        put(&mut attachment, name, texts.text(template)?);
    }
    let pretext = with_note(notification, texts.text(&config.pretext)?);
    put(&mut attachment, "pretext", cut(&pretext, TEXT_CHARS));
    for (name, template) in [
        ("text", &config.text),
        ("fallback", &config.fallback),
        ("footer", &config.footer),
    ] {
        let text = texts.text(template)?;
        put(&mut attachment, name, cut(&text, TEXT_CHARS));
    }
    let marked = match config.mrkdwn_in.is_empty() {
        true => json!(["fallback", "pretext", "text"]),
        false => json!(config.mrkdwn_in),
    };
    attachment.insert("mrkdwn_in".to_owned(), marked);
    let fields: Vec<Value> = config
        .fields
        .iter()
        .take(ATTACHMENT_FIELDS)
        .map(|one| field(one, config.short_fields, texts))
        .collect::<Result<_, _>>()?;
    if !fields.is_empty() {
        attachment.insert("fields".to_owned(), fields.into());
    }
    let actions: Vec<Value> = config
        .actions
        .iter()
        .take(ATTACHMENT_ACTIONS)
        .map(|one| action(one, texts))
        .collect::<Result<_, _>>()?;
    if !actions.is_empty() {
        attachment.insert("actions".to_owned(), actions.into());
    }
    Ok(attachment.into())
}

fn field(field: &SlackField, short: bool, texts: &dyn Texts) -> Result<Value, String> {
    Ok(json!({
        "title": cut(&texts.text(&field.title)?, TITLE_CHARS),
        "value": cut(&texts.text(&field.value)?, VALUE_CHARS),
        "short": field.short.unwrap_or(short),
    }))
}

fn action(action: &SlackAction, texts: &dyn Texts) -> Result<Value, String> {
    let mut told = Map::new();
    for (name, template) in [
        ("type", &action.kind),
        ("text", &action.text),
        ("url", &action.url),
        ("style", &action.style),
        ("name", &action.name),
        ("value", &action.value),
    ] {
        put(&mut told, name, texts.text(template)?);
    }
    if let Some(asked) = &action.confirm {
        let mut confirm = Map::new();
        for (name, template) in [
            ("text", &asked.text),
            ("title", &asked.title),
            ("ok_text", &asked.ok_text),
            ("dismiss_text", &asked.dismiss_text),
        ] {
            put(&mut confirm, name, texts.text(template)?);
        }
        told.insert("confirm".to_owned(), confirm.into());
    }
    Ok(told.into())
}

/// A webhook says `ok`; the API says 200 to what it does not take, too, and why in its body.
pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    let body = reply.json();
    if reply.status == 200 && body["ok"] == false {
        return match body["error"].as_str() {
            Some(
                "ratelimited"
                | "rate_limited"
                | "internal_error"
                | "fatal_error"
                | "service_unavailable"
                | "request_timeout",
            ) => reply.later(None),
            _ => Outcome::failed(reply.said()),
        };
    }
    reply.usual()
}
