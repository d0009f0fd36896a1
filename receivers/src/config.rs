//! `receivers` and `global` of `alertmanager.yml`, field by field, with its defaults, and the same
//! as JSON for receivers that are made while the server runs.
//!
//! A file is read with these types inside of one's own ([`Global`] and a list of [`Receiver`]);
//! what is wrong with one section is told by the reader with its line. Then [`Global::check`],
//! [`Global::resolve`] and [`Receiver::settle`] of each, whose errors name section and index. What
//! is secret is a [`Secret`](pulseboard_outbound::Secret), which prints and serialises as
//! `<secret>`; [`keep_secrets`] puts back what was stored where somebody sends `<secret>` again.

mod call;
mod chat;
mod fields;
mod global;
mod http;
mod mail;
mod own;
mod receiver;
mod secrets;
mod span;

pub use call::{
    OpsGenieConfig, OpsGenieResponder, PagerDutyConfig, PagerDutyImage, PagerDutyLink,
    PushoverConfig, VictorOpsConfig,
};
pub use chat::{
    DiscordConfig, MsTeamsConfig, MsTeamsV2Config, SlackAction, SlackConfig, SlackConfirmation,
    SlackField, TelegramConfig,
};
pub use fields::{Unserved, reveal};
pub use global::Global;
pub use http::HttpConfig;
pub(crate) use mail::split as split_host;
pub use mail::{EmailConfig, Threading};
pub use own::{GotifyConfig, NtfyConfig, WebPushConfig, WebhookConfig};
pub use receiver::{Receiver, ReceiverError, Way, WayName};
pub use secrets::{Unkept, keep_secrets};
pub use span::Span;

#[cfg(test)]
mod tests;
