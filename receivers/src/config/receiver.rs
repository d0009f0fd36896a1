//! A receiver with its ways out.

use std::path::Path;

use pulseboard_outbound::Secret;
use pulseboard_template::alertmanager::Templates;
use serde::{Deserialize, Serialize};

use super::{
    call::{OpsGenieConfig, PagerDutyConfig, PushoverConfig, VictorOpsConfig},
    chat::{DiscordConfig, MsTeamsConfig, MsTeamsV2Config, SlackConfig, TelegramConfig},
    fields::{Check as _, Unserved, below, list},
    global::Global,
    http::{HttpConfig, resolve_tls},
    mail::EmailConfig,
    own::{GotifyConfig, NtfyConfig, WebPushConfig, WebhookConfig},
};

/// Where ntfy's messages go that say nothing else.
pub(super) const NTFY: &str = "https://ntfy.sh";

/// One of `receivers`. It is driven in three steps: read (each section is checked by itself where
/// it stands), [`Receiver::settle`] (the global fields are taken over), and then each of
/// [`Receiver::ways`] is a place that notifications are sent to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    pub name: String,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub webhook_configs: Vec<WebhookConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub email_configs: Vec<EmailConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub slack_configs: Vec<SlackConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub pagerduty_configs: Vec<PagerDutyConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub telegram_configs: Vec<TelegramConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub discord_configs: Vec<DiscordConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub msteams_configs: Vec<MsTeamsConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub msteamsv2_configs: Vec<MsTeamsV2Config>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub pushover_configs: Vec<PushoverConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub opsgenie_configs: Vec<OpsGenieConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub victorops_configs: Vec<VictorOpsConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ntfy_configs: Vec<NtfyConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub gotify_configs: Vec<GotifyConfig>,
    #[serde(
        default,
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub webpush_configs: Vec<WebPushConfig>,
    #[serde(default, skip_serializing)]
    pub wechat_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub sns_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub webex_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub jira_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub rocketchat_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub incidentio_configs: Unserved,
    #[serde(default, skip_serializing)]
    pub mattermost_configs: Unserved,
}

/// What is wrong with a receiver once the global fields are taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("receiver {receiver:?}: {section}[{index}]: {what}")]
pub struct ReceiverError {
    pub receiver: String,
    /// Such as `slack_configs`.
    pub section: &'static str,
    /// Which of its items, from 0.
    pub index: usize,
    pub what: String,
}

/// One way out of a receiver with all that is needed to go it.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    Webhook(WebhookConfig),
    Email(EmailConfig),
    Slack(SlackConfig),
    PagerDuty(PagerDutyConfig),
    Telegram(TelegramConfig),
    Discord(DiscordConfig),
    MsTeams(MsTeamsConfig),
    MsTeamsV2(MsTeamsV2Config),
    Pushover(PushoverConfig),
    OpsGenie(OpsGenieConfig),
    VictorOps(VictorOpsConfig),
    Ntfy(NtfyConfig),
    Gotify(GotifyConfig),
    WebPush(WebPushConfig),
}

macro_rules! for_each_way {
    ($way:expr, $config:ident => $done:expr, mail $mail:ident => $mailed:expr) => {
        match $way {
            Way::Email($mail) => $mailed,
            Way::Webhook($config) => $done,
            Way::Slack($config) => $done,
            Way::PagerDuty($config) => $done,
            Way::Telegram($config) => $done,
            Way::Discord($config) => $done,
            Way::MsTeams($config) => $done,
            Way::MsTeamsV2($config) => $done,
            Way::Pushover($config) => $done,
            Way::OpsGenie($config) => $done,
            Way::VictorOps($config) => $done,
            Way::Ntfy($config) => $done,
            Way::Gotify($config) => $done,
            Way::WebPush($config) => $done,
        }
    };
}

impl Way {
    /// As the sections are called, without `_configs`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Telegram(_) => "telegram",
            Self::Discord(_) => "discord",
            Self::MsTeams(_) => "msteams",
            Self::MsTeamsV2(_) => "msteamsv2",
            Self::Pushover(_) => "pushover",
            Self::OpsGenie(_) => "opsgenie",
            Self::VictorOps(_) => "victorops",
            Self::Ntfy(_) => "ntfy",
            Self::Gotify(_) => "gotify",
            Self::WebPush(_) => "webpush",
        }
    }

    /// Whether it is told, too, that alerts are over.
    #[must_use]
    pub fn sends_resolved(&self) -> bool {
        for_each_way!(self, config => config.send_resolved, mail config => config.send_resolved)
    }

    /// Who asks; mail has none.
    #[must_use]
    pub fn http(&self) -> Option<&HttpConfig> {
        for_each_way!(self, config => config.http_config.as_ref(), mail _config => None)
    }
}

/// Where a way stands in its receiver: `slack[0]`, or `webpush[phone]` where it has a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WayName(pub String);

impl Receiver {
    /// All its ways out, each with its name. None at all is a receiver that swallows.
    #[must_use]
    pub fn ways(&self) -> Vec<(WayName, Way)> {
        let mut ways = Vec::new();
        macro_rules! add {
            ($($field:ident $way:ident,)*) => {
                $(for (index, config) in self.$field.iter().enumerate() {
                    let way = Way::$way(config.clone());
                    let place = match &way {
                        Way::WebPush(config) if !config.name.is_empty() => config.name.clone(),
                        _ => index.to_string(),
                    };
                    ways.push((WayName(format!("{}[{place}]", way.kind())), way));
                })*
            };
        }
        add! {
            webhook_configs Webhook, email_configs Email, slack_configs Slack,
            pagerduty_configs PagerDuty, telegram_configs Telegram, discord_configs Discord,
            msteams_configs MsTeams, msteamsv2_configs MsTeamsV2, pushover_configs Pushover,
            opsgenie_configs OpsGenie, victorops_configs VictorOps, ntfy_configs Ntfy,
            gotify_configs Gotify, webpush_configs WebPush,
        }
        ways
    }

    /// The way of that name.
    #[must_use]
    pub fn way(&self, name: &WayName) -> Option<Way> {
        let mut ways = self.ways().into_iter();
        ways.find(|(one, _)| one == name).map(|(_, way)| way)
    }

    /// Sections that are known and not served: nobody is told by them.
    #[must_use]
    pub fn unserved(&self) -> Vec<&'static str> {
        [
            (self.wechat_configs, "wechat_configs"),
            (self.sns_configs, "sns_configs"),
            (self.webex_configs, "webex_configs"),
            (self.jira_configs, "jira_configs"),
            (self.rocketchat_configs, "rocketchat_configs"),
            (self.incidentio_configs, "incidentio_configs"),
            (self.mattermost_configs, "mattermost_configs"),
        ]
        .into_iter()
        .filter_map(|(section, name)| section.0.then_some(name))
        .collect()
    }

    /// What is asked for and not there, a sentence each: sections that are not served, fields of
    /// `http_config`.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let name = &self.name;
        let unserved = self.unserved().into_iter();
        let mut warnings: Vec<String> = unserved
            .map(|section| {
                format!("receiver {name:?}: {section} is not served, nobody is told by it")
            })
            .collect();
        for (at, way) in self.ways() {
            for field in way.http().map(HttpConfig::missing).unwrap_or_default() {
                warnings.push(format!(
                    "receiver {name:?}: {}: http_config: {field} is not there",
                    at.0
                ));
            }
        }
        warnings
    }

    /// Texts of the configuration that no template can be read from, or that call what there is
    /// not, a sentence each. Such a receiver fails at each notification.
    #[must_use]
    pub fn check_texts(&self, templates: &Templates) -> Vec<String> {
        let mut found = Vec::new();
        // All sections at once: what is secret is hidden in it, and is no template then.
        let Ok(serde_json::Value::Object(sections)) = serde_json::to_value(self) else {
            return found;
        };
        for (section, ways) in sections {
            if let Some(kind) = section.strip_suffix("_configs") {
                let at = format!("receiver {:?}: {kind}", self.name);
                check_text(&ways, &at, templates, &mut found);
            }
        }
        found
    }

    /// Takes over what is global, makes paths that are relative ones below `folder`, and says what
    /// is missing then.
    ///
    /// # Errors
    /// The first that is.
    pub fn settle(&mut self, global: &Global, folder: &Path) -> Result<(), ReceiverError> {
        if self.name.is_empty() {
            return Err(self.wrong("name", 0, "a receiver needs a name".to_owned()));
        }
        macro_rules! each {
            ($($field:ident $config:ident => $more:block)*) => {
                $(for index in 0..self.$field.len() {
                    let $config = &mut self.$field[index];
                    let settled = (|| -> Result<(), String> {
                        $config.check()?;
                        if $config.http_config.is_none() {
                            $config.http_config.clone_from(&global.http_config);
                        }
                        if let Some(http) = &mut $config.http_config {
                            http.resolve(folder);
                            http.check()?;
                        }
                        $more
                        Ok(())
                    })();
                    if let Err(what) = settled {
                        return Err(self.wrong(stringify!($field), index, what));
                    }
                })*
            };
        }
        each! {
            webhook_configs config => { below(folder, &mut config.url_file); }
            slack_configs config => {
                if config.app_token.is_none() && config.app_token_file.is_none() {
                    config.app_token.clone_from(&global.slack_app_token);
                    config.app_token_file.clone_from(&global.slack_app_token_file);
                }
                if config.app_url.is_none() {
                    config.app_url.clone_from(&global.slack_app_url);
                }
                let has_token = config.app_token.is_some() || config.app_token_file.is_some();
                if config.api_url.is_none() && config.api_url_file.is_none() {
                    config.api_url.clone_from(&global.slack_api_url);
                    config.api_url_file.clone_from(&global.slack_api_url_file);
                }
                if config.api_url.is_none() && config.api_url_file.is_none() && !has_token {
                    return Err(
                        "api_url must be given, here or as slack_api_url of global".to_owned()
                    );
                }
                below(folder, &mut config.api_url_file);
                below(folder, &mut config.app_token_file);
            }
            pagerduty_configs config => {
                config.url.get_or_insert_with(|| global.pagerduty_url.clone());
                below(folder, &mut config.routing_key_file);
                below(folder, &mut config.service_key_file);
            }
            telegram_configs config => {
                config.api_url.get_or_insert_with(|| global.telegram_api_url.clone());
                if config.bot_token.is_none() && config.bot_token_file.is_none() {
                    config.bot_token.clone_from(&global.telegram_bot_token);
                    config.bot_token_file.clone_from(&global.telegram_bot_token_file);
                }
                if config.bot_token.is_none() && config.bot_token_file.is_none() {
                    return Err("one of bot_token and bot_token_file must be given".to_owned());
                }
                below(folder, &mut config.bot_token_file);
                below(folder, &mut config.chat_id_file);
            }
            discord_configs config => { below(folder, &mut config.webhook_url_file); }
            msteams_configs config => { below(folder, &mut config.webhook_url_file); }
            msteamsv2_configs config => { below(folder, &mut config.webhook_url_file); }
            pushover_configs config => {
                below(folder, &mut config.user_key_file);
                below(folder, &mut config.token_file);
            }
            opsgenie_configs config => {
                config.api_url.get_or_insert_with(|| global.opsgenie_api_url.clone());
                if config.api_key.is_none() && config.api_key_file.is_none() {
                    config.api_key.clone_from(&global.opsgenie_api_key);
                    config.api_key_file.clone_from(&global.opsgenie_api_key_file);
                }
                if config.api_key.is_none() && config.api_key_file.is_none() {
                    return Err(
                        "api_key must be given, here or as opsgenie_api_key of global".to_owned()
                    );
                }
                below(folder, &mut config.api_key_file);
            }
            victorops_configs config => {
                config.api_url.get_or_insert_with(|| global.victorops_api_url.clone());
                if config.api_key.is_none() && config.api_key_file.is_none() {
                    config.api_key.clone_from(&global.victorops_api_key);
                    config.api_key_file.clone_from(&global.victorops_api_key_file);
                }
                if config.api_key.is_none() && config.api_key_file.is_none() {
                    return Err(
                        "api_key must be given, here or as victorops_api_key of global".to_owned()
                    );
                }
                below(folder, &mut config.api_key_file);
            }
            ntfy_configs config => {
                config.url.get_or_insert_with(|| Secret::new(NTFY));
                below(folder, &mut config.topic_file);
                below(folder, &mut config.token_file);
            }
            gotify_configs config => {
                below(folder, &mut config.url_file);
                below(folder, &mut config.token_file);
            }
            webpush_configs config => {
                if config.vapid_private_key.is_none() && config.vapid_private_key_file.is_none() {
                    config.vapid_private_key.clone_from(&global.webpush_vapid_private_key);
                    config.vapid_private_key_file
                        .clone_from(&global.webpush_vapid_private_key_file);
                }
                if config.vapid_private_key.is_none() && config.vapid_private_key_file.is_none() {
                    return Err("vapid_private_key must be given, here or as webpush_vapid_private_key of global".to_owned());
                }
                if config.subject.is_empty() {
                    config.subject.clone_from(&global.webpush_subject);
                }
                below(folder, &mut config.vapid_private_key_file);
            }
        }
        for (index, one) in self.webpush_configs.iter().enumerate() {
            let mut before = self.webpush_configs[..index].iter();
            if !one.name.is_empty() && before.any(|other| other.name == one.name) {
                let what = format!("name {:?} is not unique", one.name);
                return Err(self.wrong("webpush_configs", index, what));
            }
        }
        for index in 0..self.email_configs.len() {
            if let Err(what) = settle_mail(&mut self.email_configs[index], global, folder) {
                return Err(self.wrong("email_configs", index, what));
            }
        }
        Ok(())
    }

    fn wrong(&self, section: &'static str, index: usize, what: String) -> ReceiverError {
        ReceiverError {
            receiver: self.name.clone(),
            section,
            index,
            what,
        }
    }
}

fn check_text(value: &serde_json::Value, at: &str, templates: &Templates, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) if text.contains("{{") => {
            if let Err(error) = templates.check(text) {
                found.push(format!("{at}: {error}"));
            }
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_text(item, &format!("{at}[{index}]"), templates, found);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                check_text(field, &format!("{at}: {name}"), templates, found);
            }
        }
        _ => {}
    }
}

fn settle_mail(config: &mut EmailConfig, global: &Global, folder: &Path) -> Result<(), String> {
    config.check()?;
    let take = |own: &mut String, theirs: &String| {
        if own.is_empty() {
            own.clone_from(theirs);
        }
    };
    take(&mut config.smarthost, &global.smtp_smarthost);
    take(&mut config.from, &global.smtp_from);
    take(&mut config.hello, &global.smtp_hello);
    take(&mut config.auth_username, &global.smtp_auth_username);
    take(&mut config.auth_identity, &global.smtp_auth_identity);
    if config.smarthost.is_empty() {
        return Err("smarthost must be given, here or as smtp_smarthost of global".to_owned());
    }
    if config.from.is_empty() {
        return Err("from must be given, here or as smtp_from of global".to_owned());
    }
    if config.auth_password.is_none() && config.auth_password_file.is_none() {
        config.auth_password.clone_from(&global.smtp_auth_password);
        config
            .auth_password_file
            .clone_from(&global.smtp_auth_password_file);
    }
    if config.auth_secret.is_none() && config.auth_secret_file.is_none() {
        config.auth_secret.clone_from(&global.smtp_auth_secret);
        config
            .auth_secret_file
            .clone_from(&global.smtp_auth_secret_file);
    }
    config.require_tls.get_or_insert(global.smtp_require_tls);
    if config.force_implicit_tls.is_none() {
        config.force_implicit_tls = global.smtp_force_implicit_tls;
    }
    if config.tls_config.is_none() {
        config.tls_config.clone_from(&global.smtp_tls_config);
    }
    below(folder, &mut config.auth_password_file);
    below(folder, &mut config.auth_secret_file);
    resolve_tls(&mut config.tls_config, folder);
    Ok(())
}
