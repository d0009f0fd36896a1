//! ntfy: publishing as JSON.
//! <https://docs.ntfy.sh/publish/#publish-as-json>

use pulseboard_outbound::Secret;
use serde_json::Map;

use super::common::put;
use crate::{
    config::{NtfyConfig, reveal},
    notification::Notification,
    post::Post,
    render::{Texts, with_note},
    text::{cut, cut_bytes},
};

/// Bytes of a message; a longer one becomes a file.
const MESSAGE_BYTES: usize = 4096;
const TITLE_CHARS: usize = 250;
const TAGS: usize = 10;

pub(super) fn post(
    config: &NtfyConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = config.url.clone().unwrap_or_default();
    let topic = reveal(config.topic.as_ref(), config.topic_file.as_ref())?;
    let topic = Secret::new(texts.text(topic.reveal())?.trim());
    let token = reveal(config.token.as_ref(), config.token_file.as_ref())?;
    let mut body = Map::new();
    body.insert("topic".to_owned(), topic.reveal().into());
    let message = with_note(notification, texts.text(&config.message)?);
    put(
        &mut body,
        "message",
        cut_bytes(message.trim(), MESSAGE_BYTES),
    );
    let title = texts.text(&config.title)?;
    put(&mut body, "title", cut(title.trim(), TITLE_CHARS));
    let priority = texts.text(&config.priority)?;
    body.insert("priority".to_owned(), priority_of(priority.trim())?.into());
    let tags = texts.text(&config.tags)?;
    let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    let tags: Vec<&str> = tags.take(TAGS).collect();
    body.insert("tags".to_owned(), tags.into());
    put(&mut body, "click", texts.text(&config.click)?);
    put(&mut body, "icon", texts.text(&config.icon)?);
    put(&mut body, "email", texts.text(&config.email)?);
    if config.markdown {
        body.insert("markdown".to_owned(), true.into());
    }
    let post = Post::json(url, &body.into())?.hiding(&topic);
    match token.reveal() {
        "" => Ok(post),
        _ => post.secret_header("authorization", "Bearer ", &token),
    }
}

fn priority_of(text: &str) -> Result<u8, String> {
    Ok(match text {
        "" | "default" => 3,
        "min" => 1,
        "low" => 2,
        "high" => 4,
        "max" | "urgent" => 5,
        number => number
            .parse()
            .ok()
            .filter(|number| (1..=5).contains(number))
            .ok_or_else(|| format!("priority: {number:?} is no number from 1 to 5"))?,
    })
}
