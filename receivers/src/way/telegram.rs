//! Telegram: `sendMessage` of a bot.
//! <https://core.telegram.org/bots/api#sendmessage>

use pulseboard_outbound::Secret;
use serde_json::{Map, Value, json};

use crate::{
    config::{TelegramConfig, reveal},
    notification::Notification,
    outcome::{Outcome, Reply},
    post::{Post, join, piece},
    render::{Texts, with_note, with_note_html},
    text::{cut, cut_html},
};

/// Characters of a message.
const MESSAGE_CHARS: usize = 4096;

pub(super) fn post(
    config: &TelegramConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let token = reveal(config.bot_token.as_ref(), config.bot_token_file.as_ref())?;
    let base = config
        .api_url
        .as_ref()
        .map_or("https://api.telegram.org", Secret::reveal);
    // A colon stands in each token, and may stand in a path.
    let path = format!(
        "bot{}/sendMessage",
        piece(token.reveal()).replace("%3A", ":")
    );
    let url = Secret::new(join(base, &path));
    Ok(Post::json(url, &message(config, notification, texts)?)?.hiding(&token))
}

fn message(
    config: &TelegramConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Value, String> {
    let mut message = Map::new();
    message.insert("chat_id".to_owned(), chat(config)?);
    let (text, mode) = match config.parse_mode.as_str() {
        "HTML" => {
            let html = with_note_html(notification, texts.html(&config.message)?);
            (cut_html(html.trim(), MESSAGE_CHARS).into_owned(), "HTML")
        }
        mode => {
            let text = with_note(notification, texts.text(&config.message)?);
            let text = text.trim();
            let cut = cut(text, MESSAGE_CHARS);
            // What is cut may not close any more, and would be refused: as it is, then.
            let mode = if cut.len() == text.len() { mode } else { "" };
            (cut.into_owned(), mode)
        }
    };
    // An empty message is refused.
    let text = match text.is_empty() {
        true => notification.status().as_str().to_owned(),
        false => text,
    };
    message.insert("text".to_owned(), text.into());
    if !mode.is_empty() {
        message.insert("parse_mode".to_owned(), mode.into());
    }
    if config.message_thread_id != 0 {
        let thread = config.message_thread_id.into();
        message.insert("message_thread_id".to_owned(), thread);
    }
    let silent = config.disable_notifications.into();
    message.insert("disable_notification".to_owned(), silent);
    let preview = json!({"is_disabled": true});
    message.insert("link_preview_options".to_owned(), preview);
    Ok(message.into())
}

/// A number, or the name of a channel.
fn chat(config: &TelegramConfig) -> Result<Value, String> {
    if config.chat_id_file.is_none() {
        return Ok(config.chat_id.into());
    }
    let text = reveal(None, config.chat_id_file.as_ref())?;
    let text = text.reveal();
    Ok(text
        .parse::<i64>()
        .map_or_else(|_error| text.into(), Into::into))
}

pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    let body = reply.json();
    if reply.status == 429 {
        let seconds = body["parameters"]["retry_after"].as_u64();
        return reply.later(seconds.map(|seconds| seconds.saturating_mul(1000)));
    }
    if reply.status == 200 && body["ok"] == false {
        return Outcome::failed(reply.said());
    }
    reply.usual()
}
