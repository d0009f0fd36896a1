//! Those who are on call: PagerDuty, Opsgenie, VictorOps, Pushover.

use std::{collections::BTreeMap, path::PathBuf};

use pulseboard_outbound::Secret;
use serde::{Deserialize, Serialize};

use super::{
    Span,
    fields::{Check, address, named, one_at_most, one_of, secret_address, section},
};

section! {
    /// `pagerduty_configs`: Events API v2, with `service_key` that of v1.
    pub struct PagerDutyConfig (resolved: true) {
        pub service_key: Option<Secret> = None,
        pub service_key_file: Option<PathBuf> = None,
        pub routing_key: Option<Secret> = None,
        pub routing_key_file: Option<PathBuf> = None,
        pub url: Option<String> = None,
        pub client: String = named("pagerduty.default.client"),
        pub client_url: String = named("pagerduty.default.clientURL"),
        pub description: String = named("pagerduty.default.description"),
        pub details: BTreeMap<String, serde_json::Value> = BTreeMap::new(),
        pub images: Vec<PagerDutyImage> = Vec::new(),
        pub links: Vec<PagerDutyLink> = Vec::new(),
        /// That of the client where there is none.
        pub source: String = String::new(),
        pub severity: String = String::new(),
        pub class: String = String::new(),
        pub component: String = String::new(),
        pub group: String = String::new(),
        pub timeout: Option<Span> = None,
    }
}

/// An image of PagerDuty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagerDutyImage {
    pub src: String,
    pub alt: String,
    pub href: String,
}

/// A link of PagerDuty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagerDutyLink {
    pub href: String,
    pub text: String,
}

impl Check for PagerDutyConfig {
    fn check(&mut self) -> Result<(), String> {
        let routing = (self.routing_key.as_ref(), self.routing_key_file.as_ref());
        let service = (self.service_key.as_ref(), self.service_key_file.as_ref());
        one_at_most("routing_key", routing.0, routing.1)?;
        one_at_most("service_key", service.0, service.1)?;
        let is_given = |(secret, file): (Option<&Secret>, Option<&PathBuf>)| {
            file.is_some() || secret.is_some_and(|secret| !secret.reveal().is_empty())
        };
        if !is_given(routing) && !is_given(service) {
            return Err("one of routing_key and service_key must be given".to_owned());
        }
        address("url", self.url.as_deref())?;
        if self.source.is_empty() {
            self.source.clone_from(&self.client);
        }
        for (name, template) in [
            (
                "firing",
                "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}",
            ),
            (
                "resolved",
                "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}",
            ),
            ("num_firing", "{{ .Alerts.Firing | len }}"),
            ("num_resolved", "{{ .Alerts.Resolved | len }}"),
        ] {
            self.details
                .entry(name.to_owned())
                .or_insert_with(|| template.into());
        }
        Ok(())
    }
}

section! {
    /// `opsgenie_configs`.
    pub struct OpsGenieConfig (resolved: true) {
        pub api_key: Option<Secret> = None,
        pub api_key_file: Option<PathBuf> = None,
        pub api_url: Option<String> = None,
        pub message: String = named("opsgenie.default.message"),
        pub description: String = named("opsgenie.default.description"),
        pub source: String = named("opsgenie.default.source"),
        pub details: BTreeMap<String, String> = BTreeMap::new(),
        pub entity: String = String::new(),
        pub responders: Vec<OpsGenieResponder> = Vec::new(),
        pub actions: String = String::new(),
        pub tags: String = String::new(),
        pub note: String = String::new(),
        pub priority: String = String::new(),
        /// Whether an alert that is there takes the message and the description of what fires now.
        pub update_alerts: bool = false,
    }
}

/// Who answers an alert of Opsgenie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsGenieResponder {
    pub id: String,
    pub name: String,
    pub username: String,
    /// `team`, `teams`, `user`, `escalation`, `schedule`, or a template.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Check for OpsGenieConfig {
    fn check(&mut self) -> Result<(), String> {
        one_at_most("api_key", self.api_key.as_ref(), self.api_key_file.as_ref())?;
        address("api_url", self.api_url.as_deref())?;
        for responder in &mut self.responders {
            if responder.id.is_empty() && responder.name.is_empty() && responder.username.is_empty()
            {
                return Err("responders: each needs an id, a name or a username".to_owned());
            }
            if responder.kind.contains("{{") {
                continue;
            }
            responder.kind = responder.kind.to_lowercase();
            if !matches!(
                responder.kind.as_str(),
                "team" | "teams" | "user" | "escalation" | "schedule"
            ) {
                return Err(format!(
                    "responders: type {:?} is none of team, teams, user, escalation and schedule",
                    responder.kind
                ));
            }
        }
        Ok(())
    }
}

/// Fields of VictorOps that are no custom ones.
const OWN_FIELDS: [&str; 7] = [
    "routing_key",
    "message_type",
    "state_message",
    "entity_display_name",
    "monitoring_tool",
    "entity_id",
    "entity_state",
];

section! {
    /// `victorops_configs`.
    pub struct VictorOpsConfig (resolved: true) {
        pub api_key: Option<Secret> = None,
        pub api_key_file: Option<PathBuf> = None,
        pub api_url: Option<String> = None,
        pub routing_key: String = String::new(),
        pub message_type: String = "CRITICAL".to_owned(),
        pub state_message: String = named("victorops.default.state_message"),
        pub entity_display_name: String = named("victorops.default.entity_display_name"),
        pub monitoring_tool: String = named("victorops.default.monitoring_tool"),
        pub custom_fields: BTreeMap<String, String> = BTreeMap::new(),
    }
}

impl Check for VictorOpsConfig {
    fn check(&mut self) -> Result<(), String> {
        if self.routing_key.is_empty() {
            return Err("routing_key must be given".to_owned());
        }
        one_at_most("api_key", self.api_key.as_ref(), self.api_key_file.as_ref())?;
        address("api_url", self.api_url.as_deref())?;
        let own = self
            .custom_fields
            .keys()
            .find(|name| OWN_FIELDS.contains(&name.as_str()));
        match own {
            Some(name) => Err(format!(
                "custom_fields: {name} is a field of VictorOps' own"
            )),
            None => Ok(()),
        }
    }
}

section! {
    /// `pushover_configs`.
    pub struct PushoverConfig (resolved: true) {
        /// Where it is sent to; ours, for those who stand between.
        pub api_url: Option<Secret> = None,
        pub user_key: Option<Secret> = None,
        pub user_key_file: Option<PathBuf> = None,
        pub token: Option<Secret> = None,
        pub token_file: Option<PathBuf> = None,
        pub title: String = named("pushover.default.title"),
        pub message: String = named("pushover.default.message"),
        pub url: String = named("pushover.default.url"),
        pub url_title: String = String::new(),
        pub device: String = String::new(),
        pub sound: String = String::new(),
        pub priority: String = "{{ if eq .Status \"firing\" }}2{{ else }}0{{ end }}".to_owned(),
        pub retry: Option<Span> = Some(Span::from_secs(60)),
        pub expire: Option<Span> = Some(Span::from_secs(3600)),
        pub ttl: Option<Span> = None,
        pub html: bool = false,
        pub monospace: bool = false,
    }
}

impl Check for PushoverConfig {
    fn check(&mut self) -> Result<(), String> {
        one_of(
            "user_key",
            self.user_key.as_ref(),
            self.user_key_file.as_ref(),
        )?;
        one_of("token", self.token.as_ref(), self.token_file.as_ref())?;
        secret_address("api_url", self.api_url.as_ref())?;
        match self.html && self.monospace {
            true => Err("at most one of html and monospace may be given".to_owned()),
            false => Ok(()),
        }
    }
}
