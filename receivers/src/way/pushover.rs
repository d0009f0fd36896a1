//! Pushover.
//! <https://pushover.net/api>

use pulseboard_outbound::Secret;
use url::form_urlencoded::Serializer;

use crate::{
    config::{PushoverConfig, Span, reveal},
    notification::Notification,
    post::Post,
    render::{Texts, with_note},
    text::cut,
};

const API: &str = "https://api.pushover.net/1/messages.json";
/// Characters that Pushover takes.
const TITLE_CHARS: usize = 250;
const MESSAGE_CHARS: usize = 1024;
const URL_CHARS: usize = 512;
const URL_TITLE_CHARS: usize = 100;
/// Of an emergency: seconds between two of its sounds, and until it is given up.
const RETRY_SECS_MIN: u64 = 30;
const EXPIRE_SECS_MAX: u64 = 10_800;

pub(super) fn post(
    config: &PushoverConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Post, String> {
    let token = reveal(config.token.as_ref(), config.token_file.as_ref())?;
    let user = reveal(config.user_key.as_ref(), config.user_key_file.as_ref())?;
    let token = Secret::new(texts.text(token.reveal())?);
    let user = Secret::new(texts.text(user.reveal())?);
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token.reveal());
    form.append_pair("user", user.reveal());
    form.append_pair("title", &cut(&texts.text(&config.title)?, TITLE_CHARS));
    let message = match config.html {
        true => texts.html(&config.message)?,
        false => texts.text(&config.message)?,
    };
    let message = with_note(notification, message);
    // An empty one is refused.
    let message = match message.trim() {
        "" => "(no details)",
        message => message,
    };
    form.append_pair("message", &cut(message, MESSAGE_CHARS));
    let priority = texts.text(&config.priority)?;
    let priority: i64 = match priority.trim() {
        "" => 0,
        text => text
            .parse()
            .ok()
            .filter(|priority| (-2..=2).contains(priority))
            .ok_or_else(|| format!("priority: {text:?} is no number from -2 to 2"))?,
    };
    form.append_pair("priority", &priority.to_string());
    if priority == 2 {
        let retry = config.retry.map_or(60, Span::as_secs).max(RETRY_SECS_MIN);
        let expire = config
            .expire
            .map_or(3600, Span::as_secs)
            .min(EXPIRE_SECS_MAX);
        form.append_pair("retry", &retry.to_string());
        form.append_pair("expire", &expire.to_string());
    }
    if let Some(ttl) = config.ttl.filter(|ttl| ttl.as_secs() > 0) {
        form.append_pair("ttl", &ttl.as_secs().to_string());
    }
    for (name, template, chars) in [
        ("url", &config.url, URL_CHARS),
        ("url_title", &config.url_title, URL_TITLE_CHARS),
        ("device", &config.device, URL_CHARS),
        ("sound", &config.sound, URL_CHARS),
    ] {
        let text = texts.text(template)?;
        if !text.is_empty() {
            form.append_pair(name, &cut(&text, chars));
        }
    }
    if config.html {
        form.append_pair("html", "1");
    }
    if config.monospace {
        form.append_pair("monospace", "1");
    }
    let url = config.api_url.clone().unwrap_or_else(|| Secret::new(API));
    let body = form.finish().into_bytes();
    let post = Post::bytes(url, "application/x-www-form-urlencoded", body);
    Ok(post.hiding(&token).hiding(&user))
}
