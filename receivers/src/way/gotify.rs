//! Gotify: a message of an application.
//! <https://gotify.net/api-docs>

use pulseboard_outbound::Secret;
use serde_json::{Map, json};

use super::common::put;
use crate::{
    config::{GotifyConfig, reveal},
    notification::Notification,
    post::{Post, join},
    render::{Texts, with_note},
    text::{cut, cut_bytes},
};

/// Gotify names none; what nobody reads on a phone is left out.
const MESSAGE_BYTES: usize = 16_384;
const TITLE_CHARS: usize = 250;

pub(super) fn post(
    config: &GotifyConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let url = reveal(config.url.as_ref(), config.url_file.as_ref())?;
    let token = reveal(config.token.as_ref(), config.token_file.as_ref())?;
    let mut body = Map::new();
    let title = texts.text(&config.title)?;
    put(&mut body, "title", cut(title.trim(), TITLE_CHARS));
    let message = with_note(notification, texts.text(&config.message)?);
    let message = match message.trim() {
        "" => "(no details)",
        message => message,
    };
    put(&mut body, "message", cut_bytes(message, MESSAGE_BYTES));
    let priority = texts.text(&config.priority)?;
    let priority: i64 = match priority.trim() {
        "" => 5,
        text => text
            .parse()
            .map_err(|_error| format!("priority: {text:?} is no number"))?,
    };
    body.insert("priority".to_owned(), priority.into());
    let mut extras = Map::new();
    let click = texts.text(&config.click)?;
    if !click.is_empty() {
        let click = json!({"click": {"url": click}});
        extras.insert("client::notification".to_owned(), click);
    }
    if config.markdown {
        let kind = json!({"contentType": "text/markdown"});
        extras.insert("client::display".to_owned(), kind);
    }
    body.insert("extras".to_owned(), extras.into());
    Post::json(Secret::new(join(url.reveal(), "message")), &body.into())?.secret_header(
        "x-gotify-key",
        "",
        &token,
    )
}
