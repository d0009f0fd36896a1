//! The webhook, and what Alertmanager has none of: ntfy, Gotify, browsers.

use std::path::PathBuf;

use pulseboard_outbound::Secret;

use super::{
    Span,
    fields::{Check, named, one_at_most, one_of, secret_address, section},
};

section! {
    /// `webhook_configs`.
    pub struct WebhookConfig (resolved: true) {
        /// May be a template.
        pub url: Option<Secret> = None,
        pub url_file: Option<PathBuf> = None,
        /// So many alerts at most; all where it is 0.
        pub max_alerts: u64 = 0,
        /// A shorter deadline than the usual one.
        pub timeout: Option<Span> = None,
    }
}

impl Check for WebhookConfig {
    fn check(&mut self) -> Result<(), String> {
        one_of("url", self.url.as_ref(), self.url_file.as_ref())?;
        secret_address("url", self.url.as_ref())
    }
}

section! {
    /// `ntfy_configs`.
    pub struct NtfyConfig (resolved: true) {
        /// `https://ntfy.sh` where there is none.
        pub url: Option<Secret> = None,
        pub topic: Option<Secret> = None,
        pub topic_file: Option<PathBuf> = None,
        /// An access token; name and password stand in `http_config`.
        pub token: Option<Secret> = None,
        pub token_file: Option<PathBuf> = None,
        pub title: String = named("ntfy.default.title"),
        pub message: String = named("ntfy.default.message"),
        /// 1 to 5 or `min`, `low`, `default`, `high`, `max`; a template.
        pub priority: String = "{{ if eq .Status \"firing\" }}{{ if eq .CommonLabels.severity \"critical\" }}5{{ else }}4{{ end }}{{ else }}3{{ end }}".to_owned(),
        /// With commas between them; a template.
        pub tags: String = "{{ if eq .Status \"firing\" }}rotating_light{{ else }}white_check_mark{{ end }}".to_owned(),
        /// Where a tap leads to; a template.
        pub click: String = "{{ .ExternalURL }}".to_owned(),
        pub icon: String = String::new(),
        pub email: String = String::new(),
        pub markdown: bool = false,
    }
}

impl Check for NtfyConfig {
    fn check(&mut self) -> Result<(), String> {
        one_of("topic", self.topic.as_ref(), self.topic_file.as_ref())?;
        one_at_most("token", self.token.as_ref(), self.token_file.as_ref())?;
        secret_address("url", self.url.as_ref())
    }
}

section! {
    /// `gotify_configs`.
    pub struct GotifyConfig (resolved: true) {
        /// Of the server, without `/message`.
        pub url: Option<Secret> = None,
        pub url_file: Option<PathBuf> = None,
        /// That of the application.
        pub token: Option<Secret> = None,
        pub token_file: Option<PathBuf> = None,
        pub title: String = named("gotify.default.title"),
        pub message: String = named("gotify.default.message"),
        /// 0 to 10; a template.
        pub priority: String = "{{ if eq .Status \"firing\" }}8{{ else }}4{{ end }}".to_owned(),
        /// Where a tap leads to; a template.
        pub click: String = "{{ .ExternalURL }}".to_owned(),
        pub markdown: bool = false,
    }
}

impl Check for GotifyConfig {
    fn check(&mut self) -> Result<(), String> {
        one_of("url", self.url.as_ref(), self.url_file.as_ref())?;
        one_of("token", self.token.as_ref(), self.token_file.as_ref())?;
        secret_address("url", self.url.as_ref())
    }
}

/// Of what a browser is called.
const NAME_BYTES: usize = 128;

/// High for what is bad and for what says nothing of it, so that it wakes a device that saves its
/// battery; what is over can wait.
const URGENCY: &str = "{{ if ne .Status \"firing\" }}low{{ else if match \"^(?i:warning|medium)$\" .CommonLabels.severity }}normal{{ else if match \"^(?i:info|none|low)$\" .CommonLabels.severity }}low{{ else }}high{{ end }}";

section! {
    /// `webpush_configs`: one browser that has subscribed. What `PushSubscription.toJSON()` says
    /// there stands in `endpoint`, `p256dh` and `auth`.
    pub struct WebPushConfig (resolved: true) {
        /// How the browser is called in timelines and in the log; by its place where there is
        /// nothing.
        pub name: String = String::new(),
        pub endpoint: Option<Secret> = None,
        /// The browser's public key: 65 bytes as base64url.
        pub p256dh: Option<Secret> = None,
        /// 16 bytes as base64url.
        pub auth: Option<Secret> = None,
        /// Ours, as `webpush::Keys` makes it; the global one where there is none.
        pub vapid_private_key: Option<Secret> = None,
        pub vapid_private_key_file: Option<PathBuf> = None,
        /// `mailto:` or `https:`; the global one where there is none.
        pub subject: String = String::new(),
        pub title: String = named("webpush.default.title"),
        pub message: String = named("webpush.default.message"),
        /// Where a click leads to; a template. Where it is empty, to the alert on the page that the
        /// browser has subscribed on.
        pub click: String = "{{ .ExternalURL }}".to_owned(),
        /// `very-low`, `low`, `normal`, `high`; a template.
        pub urgency: String = URGENCY.to_owned(),
        /// So long the push service keeps what it cannot deliver.
        pub ttl: Option<Span> = Some(Span::from_secs(86_400)),
    }
}

impl Check for WebPushConfig {
    fn check(&mut self) -> Result<(), String> {
        one_of("endpoint", self.endpoint.as_ref(), None)?;
        one_of("p256dh", self.p256dh.as_ref(), None)?;
        one_of("auth", self.auth.as_ref(), None)?;
        one_at_most(
            "vapid_private_key",
            self.vapid_private_key.as_ref(),
            self.vapid_private_key_file.as_ref(),
        )?;
        secret_address("endpoint", self.endpoint.as_ref())?;
        if self.name.len() > NAME_BYTES || self.name.chars().any(char::is_control) {
            return Err(format!(
                "name has more than {NAME_BYTES} bytes, or control characters"
            ));
        }
        let is_subject = |text: &str| text.starts_with("mailto:") || text.starts_with("https:");
        match self.subject.is_empty() || is_subject(&self.subject) {
            true => Ok(()),
            false => Err("subject begins with neither mailto: nor https:".to_owned()),
        }
    }
}
