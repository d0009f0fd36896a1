//! What each way out of a receiver is sent, and what its answers mean. Pure but for files with
//! secrets, which are read when a request is made.

use pulseboard_outbound::Secret;

mod common;
mod discord;
mod gotify;
pub mod mail;
mod msteams;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod pushover;
mod slack;
mod telegram;
mod victorops;
mod webhook;
pub mod webpush;

use crate::{
    config::Way,
    notification::Notification,
    outcome::{Outcome, Reply},
    post::Post,
    render::Texts,
};

/// What a way is sent.
#[derive(Debug)]
pub enum Message {
    /// A request over HTTP.
    Post(Post),
    /// A mail.
    Mail(Box<mail::Mail>),
}

/// Makes what `way` is sent for a notification.
///
/// # Errors
/// It cannot be made, however often it is tried: a template that fails, a key that is none.
pub fn message(
    way: &Way,
    notification: &Notification,
    texts: &dyn Texts,
    now_ms: i64,
) -> Result<Message, String> {
    let post = match way {
        Way::Email(config) => {
            return mail::mail(config, notification, texts, now_ms)
                .map(|mail| Message::Mail(Box::new(mail)));
        }
        Way::Webhook(config) => webhook::post(config, notification, texts),
        Way::Slack(config) => slack::post(config, notification, texts),
        Way::PagerDuty(config) => pagerduty::post(config, notification, texts),
        Way::Telegram(config) => telegram::post(config, notification, texts),
        Way::Discord(config) => discord::post(config, notification, texts),
        Way::MsTeams(config) => msteams::post(config, notification, texts),
        Way::MsTeamsV2(config) => msteams::post_v2(config, notification, texts),
        Way::Pushover(config) => pushover::post(config, notification, texts),
        Way::OpsGenie(config) => opsgenie::post(config, notification, texts),
        Way::VictorOps(config) => victorops::post(config, notification, texts),
        Way::Ntfy(config) => ntfy::post(config, notification, texts),
        Way::Gotify(config) => gotify::post(config, notification, texts),
        Way::WebPush(config) => webpush::post(config, notification, texts, now_ms),
    };
    post.map(Message::Post)
}

/// What an answer of `way` means.
#[must_use]
pub fn judge(way: &Way, reply: &Reply<'_>) -> Outcome {
    match way {
        Way::Slack(_) => slack::judge(reply),
        Way::PagerDuty(_) => pagerduty::judge(reply),
        Way::Telegram(_) => telegram::judge(reply),
        Way::Discord(_) => discord::judge(reply),
        Way::MsTeams(_) | Way::MsTeamsV2(_) => msteams::judge(reply),
        Way::VictorOps(_) => victorops::judge(reply),
        Way::WebPush(_) => webpush::judge(reply),
        Way::Webhook(_)
        | Way::Email(_)
        | Way::Pushover(_)
        | Way::OpsGenie(_)
        | Way::Ntfy(_)
        | Way::Gotify(_) => reply.usual(),
    }
}

/// Everything secret in a way's configuration that stands in no file, so that no answer shows it.
#[must_use]
pub fn secrets(way: &Way) -> Vec<Secret> {
    let Some(http) = way.http() else {
        return Vec::new();
    };
    let mut secrets = Vec::new();
    secrets.extend(http.bearer_token.clone());
    let basic = http.basic_auth.as_ref();
    secrets.extend(basic.and_then(|basic| basic.password.clone()));
    let other = http.authorization.as_ref();
    secrets.extend(other.and_then(|other| other.credentials.clone()));
    for header in http.http_headers.values() {
        secrets.extend(header.secrets.iter().cloned());
    }
    secrets
}
