//! `remote_write` and `remote_read`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{fields::with_http, units::Period};
use crate::relabel::Rule;

fn thirty_seconds() -> Period {
    Period::from_secs(30)
}

fn one_minute() -> Period {
    Period::from_secs(60)
}

with_http! {
    /// Who gets samples on.
    pub struct RemoteWrite {
        #[serde(serialize_with = "pulseboard_outbound::secret::without_password")]
        pub url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub protobuf_message: Option<String>,
        #[serde(default = "thirty_seconds")]
        pub remote_timeout: Period,
        /// Headers may be secrets: they are not printed.
        #[serde(default, skip_serializing)]
        pub headers: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub write_relabel_configs: Vec<Rule>,
        #[serde(default)]
        pub send_exemplars: bool,
        #[serde(default)]
        pub send_native_histograms: bool,
        #[serde(default)]
        pub round_robin_dns: bool,
        #[serde(default)]
        pub queue_config: QueueConfig,
        #[serde(default)]
        pub metadata_config: MetadataConfig,
        #[serde(default, skip_serializing)]
        pub sigv4: Option<yaml_serde::Value>,
        #[serde(default, skip_serializing)]
        pub azuread: Option<yaml_serde::Value>,
        #[serde(default, skip_serializing)]
        pub google_iam: Option<yaml_serde::Value>,
    }
}

/// Messages of remote write.
const MESSAGES: [&str; 2] = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"];

/// Headers that are the protocol's or the client's own.
const RESERVED_HEADERS: [&str; 12] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "accept-encoding",
    "x-prometheus-remote-write-version",
];

impl RemoteWrite {
    /// What the file calls it: its name, or its address without what is secret in it.
    #[must_use]
    pub fn told(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let Ok(mut url) = url::Url::parse(&self.url) else {
                return "without an address".to_owned();
            };
            // An address that cannot have them has none.
            url.set_username("").unwrap_or_default();
            url.set_password(None).unwrap_or_default();
            url.set_query(None);
            url.to_string()
        })
    }

    /// Fields that ask for what is not there and without which it cannot be sent.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        let mut fields = self.missing();
        let further = [
            (self.sigv4.is_some(), "sigv4"),
            (self.azuread.is_some(), "azuread"),
            (self.google_iam.is_some(), "google_iam"),
        ];
        fields.extend(
            further
                .into_iter()
                .filter_map(|(is_there, name)| is_there.then_some(name)),
        );
        fields
    }

    /// Whether samples can be sent so.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.url.is_empty() {
            return Err("url is empty".to_owned());
        }
        match url::Url::parse(&self.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                pulseboard_outbound::check_address(&self.url)
                    .map_err(|error| format!("url: {error}"))?;
            }
            Ok(url) => {
                return Err(format!("url: {} is neither http nor https", url.scheme()));
            }
            Err(error) => return Err(format!("url: {error}")),
        }
        if let Some(message) = &self.protobuf_message
            && !MESSAGES.contains(&message.as_str())
        {
            return Err(format!(
                "protobuf_message {message:?} is neither {} nor {}",
                MESSAGES[0], MESSAGES[1]
            ));
        }
        for name in self.headers.keys() {
            if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                return Err(format!("headers: {name:?} cannot be set"));
            }
        }
        let queue = &self.queue_config;
        for (name, number) in [
            ("max_samples_per_send", queue.max_samples_per_send),
            ("max_shards", queue.max_shards),
            ("capacity", queue.capacity),
        ] {
            if number == 0 {
                return Err(format!("queue_config: {name} is 0"));
            }
        }
        if queue.min_backoff > queue.max_backoff {
            return Err(format!(
                "queue_config: min_backoff {} is longer than max_backoff {}",
                queue.min_backoff, queue.max_backoff
            ));
        }
        Ok(())
    }
}

/// How what is to be sent waits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    pub capacity: u64,
    pub max_shards: u64,
    pub min_shards: u64,
    pub max_samples_per_send: u64,
    pub batch_send_deadline: Period,
    pub min_backoff: Period,
    pub max_backoff: Period,
    pub retry_on_http_429: bool,
    pub sample_age_limit: Period,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2000,
            batch_send_deadline: Period::from_secs(5),
            min_backoff: Period::from_millis(30),
            max_backoff: Period::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: Period::default(),
        }
    }
}

/// Whether types and helps are sent, and how often.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataConfig {
    pub send: bool,
    pub send_interval: Period,
    pub max_samples_per_send: u64,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self {
            send: true,
            send_interval: Period::from_secs(60),
            max_samples_per_send: 2000,
        }
    }
}

with_http! {
    /// Who is asked for samples.
    pub struct RemoteRead {
        #[serde(serialize_with = "pulseboard_outbound::secret::without_password")]
        pub url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
        #[serde(default = "one_minute")]
        pub remote_timeout: Period,
        #[serde(default, skip_serializing)]
        pub headers: BTreeMap<String, String>,
        #[serde(default)]
        pub required_matchers: BTreeMap<String, String>,
        #[serde(default)]
        pub read_recent: bool,
        #[serde(default = "super::fields::yes")]
        pub filter_external_labels: bool,
        #[serde(default)]
        pub chunked_read_limit: Option<u64>,
    }
}
