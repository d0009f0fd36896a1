//! `global`: what holds for all receivers that say nothing else.

use std::path::{Path, PathBuf};

use pulseboard_outbound::{Secret, config::TlsConfig};
use serde::{Deserialize, Serialize};

use super::{
    Span,
    fields::{Absent, Unserved, address, below, one_at_most, secret_address},
    http::HttpConfig,
    mail::host_and_port,
};

/// `global` of `alertmanager.yml`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Global {
    /// An alert that does not say when it ends is over after so long without being said again.
    pub resolve_timeout: Span,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub http_config: Option<HttpConfig>,
    pub smtp_from: String,
    pub smtp_hello: String,
    pub smtp_smarthost: String,
    pub smtp_auth_username: String,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_auth_password: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_auth_password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_auth_secret: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_auth_secret_file: Option<PathBuf>,
    pub smtp_auth_identity: String,
    pub smtp_require_tls: bool,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_force_implicit_tls: Option<bool>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub smtp_tls_config: Option<TlsConfig>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub slack_api_url: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub slack_api_url_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub slack_app_token: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub slack_app_token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub slack_app_url: Option<Secret>,
    pub pagerduty_url: String,
    pub opsgenie_api_url: String,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub opsgenie_api_key: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub opsgenie_api_key_file: Option<PathBuf>,
    pub victorops_api_url: String,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub victorops_api_key: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub victorops_api_key_file: Option<PathBuf>,
    pub telegram_api_url: Secret,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub telegram_bot_token: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub telegram_bot_token_file: Option<PathBuf>,
    /// Ours: who the server is to push services.
    #[serde(skip_serializing_if = "Absent::absent")]
    pub webpush_vapid_private_key: Option<Secret>,
    #[serde(skip_serializing_if = "Absent::absent")]
    pub webpush_vapid_private_key_file: Option<PathBuf>,
    /// Ours: `mailto:` or `https:`.
    pub webpush_subject: String,
    /// Those of receivers that are not served.
    #[serde(skip_serializing)]
    pub wechat_api_url: Unserved,
    #[serde(skip_serializing)]
    pub wechat_api_secret: Unserved,
    #[serde(skip_serializing)]
    pub wechat_api_corp_id: Unserved,
    #[serde(skip_serializing)]
    pub webex_api_url: Unserved,
    #[serde(skip_serializing)]
    pub jira_api_url: Unserved,
    #[serde(skip_serializing)]
    pub rocketchat_api_url: Unserved,
    #[serde(skip_serializing)]
    pub rocketchat_token: Unserved,
    #[serde(skip_serializing)]
    pub rocketchat_token_file: Unserved,
    #[serde(skip_serializing)]
    pub rocketchat_token_id: Unserved,
    #[serde(skip_serializing)]
    pub rocketchat_token_id_file: Unserved,
    #[serde(skip_serializing)]
    pub mattermost_webhook_url: Unserved,
    #[serde(skip_serializing)]
    pub mattermost_webhook_url_file: Unserved,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            resolve_timeout: Span::from_secs(300),
            http_config: None,
            smtp_from: String::new(),
            smtp_hello: "localhost".to_owned(),
            smtp_smarthost: String::new(),
            smtp_auth_username: String::new(),
            smtp_auth_password: None,
            smtp_auth_password_file: None,
            smtp_auth_secret: None,
            smtp_auth_secret_file: None,
            smtp_auth_identity: String::new(),
            smtp_require_tls: true,
            smtp_force_implicit_tls: None,
            smtp_tls_config: None,
            slack_api_url: None,
            slack_api_url_file: None,
            slack_app_token: None,
            slack_app_token_file: None,
            slack_app_url: None,
            pagerduty_url: "https://events.pagerduty.com/v2/enqueue".to_owned(),
            opsgenie_api_url: "https://api.opsgenie.com/".to_owned(),
            opsgenie_api_key: None,
            opsgenie_api_key_file: None,
            victorops_api_url: "https://alert.victorops.com/integrations/generic/20131114/alert/"
                .to_owned(),
            victorops_api_key: None,
            victorops_api_key_file: None,
            telegram_api_url: Secret::new("https://api.telegram.org"),
            telegram_bot_token: None,
            telegram_bot_token_file: None,
            webpush_vapid_private_key: None,
            webpush_vapid_private_key_file: None,
            webpush_subject: String::new(),
            wechat_api_url: Unserved::default(),
            wechat_api_secret: Unserved::default(),
            wechat_api_corp_id: Unserved::default(),
            webex_api_url: Unserved::default(),
            jira_api_url: Unserved::default(),
            rocketchat_api_url: Unserved::default(),
            rocketchat_token: Unserved::default(),
            rocketchat_token_file: Unserved::default(),
            rocketchat_token_id: Unserved::default(),
            rocketchat_token_id_file: Unserved::default(),
            mattermost_webhook_url: Unserved::default(),
            mattermost_webhook_url_file: Unserved::default(),
        }
    }
}

impl Global {
    /// Makes paths that are relative ones below `folder`, that of the file.
    pub fn resolve(&mut self, folder: &Path) {
        for path in [
            &mut self.smtp_auth_password_file,
            &mut self.smtp_auth_secret_file,
            &mut self.slack_api_url_file,
            &mut self.slack_app_token_file,
            &mut self.opsgenie_api_key_file,
            &mut self.victorops_api_key_file,
            &mut self.telegram_bot_token_file,
            &mut self.webpush_vapid_private_key_file,
        ] {
            below(folder, path);
        }
        if let Some(http) = &mut self.http_config {
            http.resolve(folder);
        }
        super::http::resolve_tls(&mut self.smtp_tls_config, folder);
    }

    /// What contradicts itself.
    ///
    /// # Errors
    /// In words that name the field; secrets are not told.
    pub fn check(&self) -> Result<(), String> {
        for (name, secret, file) in [
            (
                "smtp_auth_password",
                &self.smtp_auth_password,
                &self.smtp_auth_password_file,
            ),
            (
                "smtp_auth_secret",
                &self.smtp_auth_secret,
                &self.smtp_auth_secret_file,
            ),
            (
                "slack_api_url",
                &self.slack_api_url,
                &self.slack_api_url_file,
            ),
            (
                "slack_app_token",
                &self.slack_app_token,
                &self.slack_app_token_file,
            ),
            (
                "opsgenie_api_key",
                &self.opsgenie_api_key,
                &self.opsgenie_api_key_file,
            ),
            (
                "victorops_api_key",
                &self.victorops_api_key,
                &self.victorops_api_key_file,
            ),
            (
                "telegram_bot_token",
                &self.telegram_bot_token,
                &self.telegram_bot_token_file,
            ),
            (
                "webpush_vapid_private_key",
                &self.webpush_vapid_private_key,
                &self.webpush_vapid_private_key_file,
            ),
        ] {
            one_at_most(name, secret.as_ref(), file.as_ref())?;
        }
        if !self.smtp_smarthost.is_empty() {
            host_and_port("smtp_smarthost", &self.smtp_smarthost)?;
        }
        secret_address("slack_api_url", self.slack_api_url.as_ref())?;
        secret_address("slack_app_url", self.slack_app_url.as_ref())?;
        address("pagerduty_url", Some(&self.pagerduty_url))?;
        address("opsgenie_api_url", Some(&self.opsgenie_api_url))?;
        address("victorops_api_url", Some(&self.victorops_api_url))?;
        secret_address("telegram_api_url", Some(&self.telegram_api_url))?;
        match &self.http_config {
            Some(http) => http.check(),
            None => Ok(()),
        }
    }
}
