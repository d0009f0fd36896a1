//! Discord: a webhook of a channel.
//! <https://discord.com/developers/docs/resources/webhook#execute-webhook>

use serde_json::{Map, json};

use super::common::put;
use crate::{
    config::{DiscordConfig, reveal},
    notification::{AlertStatus, Notification},
    outcome::{Outcome, Reply},
    post::Post,
    render::{Texts, with_note},
    text::cut,
};

/// Characters that Discord takes.
const CONTENT_CHARS: usize = 2000;
const TITLE_CHARS: usize = 256;
const DESCRIPTION_CHARS: usize = 4096;
const USERNAME_CHARS: usize = 80;
/// Red and green, as numbers.
const FIRING: u32 = 0x00_99_2d_22;
const RESOLVED: u32 = 0x00_2e_cc_71;

pub(super) fn post(
    config: &DiscordConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = reveal(
        config.webhook_url.as_ref(),
        config.webhook_url_file.as_ref(),
    )?;
    let content = with_note(notification, texts.text(&config.content)?);
    let color = match notification.status() {
        AlertStatus::Firing => FIRING,
        AlertStatus::Resolved => RESOLVED,
    };
    let mut message = Map::new();
    message.insert("content".to_owned(), cut(&content, CONTENT_CHARS).into());
    message.insert(
        "embeds".to_owned(),
        json!([{
            "title": cut(texts.text(&config.title)?.trim(), TITLE_CHARS),
            "description": cut(&texts.text(&config.message)?, DESCRIPTION_CHARS),
            "color": color,
        }]),
    );
    let username = texts.text(&config.username)?;
    put(&mut message, "username", cut(&username, USERNAME_CHARS));
    put(&mut message, "avatar_url", texts.text(&config.avatar_url)?);
    Post::json(url, &message.into())
}

pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    if reply.status == 429 {
        let seconds = reply.json()["retry_after"].as_f64();
        let told = seconds.map(|seconds| (seconds.clamp(0.0, 1e6) * 1000.0).ceil() as u64);
        return reply.later(told);
    }
    reply.usual()
}
