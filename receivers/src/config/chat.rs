//! Chats: Slack, Telegram, Discord, Microsoft Teams.

use std::path::PathBuf;

use pulseboard_outbound::Secret;
use serde::{Deserialize, Serialize};

use super::fields::{Check, named, one_at_most, one_of, secret_address, section};

section! {
    /// `slack_configs`. An `api_url` of `https://slack.com/api/chat.postMessage` needs `app_token`;
    /// any other is an incoming webhook.
    pub struct SlackConfig (resolved: false) {
        pub api_url: Option<Secret> = None,
        pub api_url_file: Option<PathBuf> = None,
        pub app_token: Option<Secret> = None,
        pub app_token_file: Option<PathBuf> = None,
        pub app_url: Option<Secret> = None,
        pub channel: String = String::new(),
        pub username: String = named("slack.default.username"),
        pub color: String = "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}".to_owned(),
        pub title: String = named("slack.default.title"),
        pub title_link: String = named("slack.default.titlelink"),
        pub pretext: String = named("slack.default.pretext"),
        pub text: String = named("slack.default.text"),
        pub message_text: String = String::new(),
        pub fields: Vec<SlackField> = Vec::new(),
        pub short_fields: bool = false,
        pub footer: String = named("slack.default.footer"),
        pub fallback: String = named("slack.default.fallback"),
        pub callback_id: String = named("slack.default.callbackid"),
        pub icon_emoji: String = named("slack.default.iconemoji"),
        pub icon_url: String = named("slack.default.iconurl"),
        pub image_url: String = String::new(),
        pub thumb_url: String = String::new(),
        pub link_names: bool = false,
        pub mrkdwn_in: Vec<String> = Vec::new(),
        pub actions: Vec<SlackAction> = Vec::new(),
        /// Read; each notification is a message of its own.
        pub update_message: bool = false,
        pub timeout: Option<super::Span> = None,
    }
}

/// A field of Slack's attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlackField {
    pub title: String,
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<bool>,
}

/// A button of Slack's attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlackAction {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub url: String,
    pub style: String,
    pub name: String,
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<SlackConfirmation>,
}

/// What is asked before a button of Slack is taken to be pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlackConfirmation {
    pub text: String,
    pub title: String,
    pub ok_text: String,
    pub dismiss_text: String,
}

impl Check for SlackConfig {
    fn check(&mut self) -> Result<(), String> {
        one_at_most("api_url", self.api_url.as_ref(), self.api_url_file.as_ref())?;
        one_at_most(
            "app_token",
            self.app_token.as_ref(),
            self.app_token_file.as_ref(),
        )?;
        secret_address("api_url", self.api_url.as_ref())?;
        secret_address("app_url", self.app_url.as_ref())?;
        for field in &self.fields {
            if field.title.is_empty() || field.value.is_empty() {
                return Err("fields: each needs a title and a value".to_owned());
            }
        }
        for action in &mut self.actions {
            if action.kind.is_empty() || action.text.is_empty() {
                return Err("actions: each needs a type and a text".to_owned());
            }
            if action.url.is_empty() && action.name.is_empty() {
                return Err("actions: each needs a name or a url".to_owned());
            }
            if !action.url.is_empty() {
                // As Alertmanager: a link is no question.
                action.name.clear();
                action.value.clear();
                action.confirm = None;
            }
            let asked = action.confirm.as_ref();
            if asked.is_some_and(|asked| asked.text.is_empty()) {
                return Err("actions: confirm needs a text".to_owned());
            }
        }
        Ok(())
    }
}

section! {
    /// `telegram_configs`.
    pub struct TelegramConfig (resolved: true) {
        pub api_url: Option<Secret> = None,
        pub bot_token: Option<Secret> = None,
        pub bot_token_file: Option<PathBuf> = None,
        pub chat_id: i64 = 0,
        pub chat_id_file: Option<PathBuf> = None,
        pub message_thread_id: i64 = 0,
        pub message: String = named("telegram.default.message"),
        pub disable_notifications: bool = false,
        /// `HTML`, `Markdown`, `MarkdownV2` or nothing.
        pub parse_mode: String = "HTML".to_owned(),
    }
}

impl Check for TelegramConfig {
    fn check(&mut self) -> Result<(), String> {
        one_at_most(
            "bot_token",
            self.bot_token.as_ref(),
            self.bot_token_file.as_ref(),
        )?;
        secret_address("api_url", self.api_url.as_ref())?;
        if (self.chat_id == 0) == self.chat_id_file.is_none() {
            return Err("exactly one of chat_id and chat_id_file must be given".to_owned());
        }
        match self.parse_mode.as_str() {
            "" | "HTML" | "Markdown" | "MarkdownV2" => Ok(()),
            _ => Err("parse_mode is none of HTML, Markdown and MarkdownV2".to_owned()),
        }
    }
}

section! {
    /// `discord_configs`.
    pub struct DiscordConfig (resolved: true) {
        pub webhook_url: Option<Secret> = None,
        pub webhook_url_file: Option<PathBuf> = None,
        pub content: String = String::new(),
        pub title: String = named("discord.default.title"),
        pub message: String = named("discord.default.message"),
        pub username: String = String::new(),
        pub avatar_url: String = String::new(),
    }
}

impl Check for DiscordConfig {
    fn check(&mut self) -> Result<(), String> {
        let (url, file) = (self.webhook_url.as_ref(), self.webhook_url_file.as_ref());
        one_of("webhook_url", url, file)?;
        secret_address("webhook_url", url)
    }
}

section! {
    /// `msteams_configs`: a MessageCard for the connectors of old.
    pub struct MsTeamsConfig (resolved: true) {
        pub webhook_url: Option<Secret> = None,
        pub webhook_url_file: Option<PathBuf> = None,
        pub title: String = named("msteams.default.title"),
        pub summary: String = named("msteams.default.summary"),
        pub text: String = named("msteams.default.text"),
    }
}

impl Check for MsTeamsConfig {
    fn check(&mut self) -> Result<(), String> {
        let (url, file) = (self.webhook_url.as_ref(), self.webhook_url_file.as_ref());
        one_of("webhook_url", url, file)?;
        secret_address("webhook_url", url)
    }
}

section! {
    /// `msteamsv2_configs`: an adaptive card for a flow of Power Automate.
    pub struct MsTeamsV2Config (resolved: true) {
        pub webhook_url: Option<Secret> = None,
        pub webhook_url_file: Option<PathBuf> = None,
        pub title: String = named("msteamsv2.default.title"),
        pub text: String = named("msteamsv2.default.text"),
    }
}

impl Check for MsTeamsV2Config {
    fn check(&mut self) -> Result<(), String> {
        let (url, file) = (self.webhook_url.as_ref(), self.webhook_url_file.as_ref());
        one_of("webhook_url", url, file)?;
        secret_address("webhook_url", url)
    }
}
