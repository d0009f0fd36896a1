//! `global` and `alerting`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    fields::{with_discovery, with_http},
    protocol::ScrapeProtocol,
    units::{Period, Size},
};
use crate::relabel::{self, Rule};

/// The time-out of who names none.
const TIMEOUT: Period = Period::from_secs(10);

// serde wants a reference here
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_nothing(period: &Period) -> bool {
    period.is_zero()
}

/// `global`: what holds for all jobs that do not say otherwise. Zero stands for "not given" until
/// [`Global::fill`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    pub scrape_interval: Period,
    pub scrape_timeout: Period,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_protocols: Vec<ScrapeProtocol>,
    pub evaluation_interval: Period,
    #[serde(skip_serializing_if = "is_nothing")]
    pub rule_query_offset: Period,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_log_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_failure_log_file: Option<PathBuf>,
    pub body_size_limit: Size,
    pub sample_limit: u64,
    pub label_limit: u64,
    pub label_name_length_limit: u64,
    pub label_value_length_limit: u64,
    pub target_limit: u64,
    pub keep_dropped_targets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_validation_scheme: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_escaping_scheme: Option<String>,
    #[serde(skip_serializing)]
    pub scrape_native_histograms: bool,
    #[serde(skip_serializing)]
    pub convert_classic_histograms_to_nhcb: bool,
    #[serde(skip_serializing)]
    pub always_scrape_classic_histograms: bool,
    #[serde(skip_serializing)]
    pub extra_scrape_metrics: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            scrape_interval: Period::from_secs(60),
            scrape_timeout: Period::default(),
            scrape_protocols: Vec::new(),
            evaluation_interval: Period::from_secs(60),
            rule_query_offset: Period::default(),
            external_labels: BTreeMap::new(),
            query_log_file: None,
            scrape_failure_log_file: None,
            body_size_limit: Size::default(),
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            target_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            scrape_native_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: false,
        }
    }
}

impl Global {
    /// Fills in what is not said; zero stands for that. What was filled in is what is printed.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub(super) fn fill(&mut self) -> Result<(), String> {
        let otherwise = Self::default();
        let fill = |own: &mut Period, default: Period| {
            if own.is_zero() {
                *own = default;
            }
        };
        fill(&mut self.scrape_interval, otherwise.scrape_interval);
        fill(&mut self.evaluation_interval, otherwise.evaluation_interval);
        // Who asks often waits no longer, unless the file says so.
        fill(&mut self.scrape_timeout, TIMEOUT.min(self.scrape_interval));
        if self.scrape_timeout > self.scrape_interval {
            return Err(format!(
                "scrape_timeout {} is longer than scrape_interval {}",
                self.scrape_timeout, self.scrape_interval
            ));
        }
        Ok(())
    }
}

/// `alerting`: who is told of alerts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerting {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alert_relabel_configs: Vec<Rule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<AlertmanagerConfig>,
}

fn ten_seconds() -> Period {
    Period::from_secs(10)
}

fn http() -> String {
    "http".to_owned()
}

fn v2() -> String {
    "v2".to_owned()
}

with_discovery! {
    /// Alertmanagers, found like targets.
    pub struct AlertmanagerConfig {
        #[serde(default = "http")]
        pub scheme: String,
        #[serde(default)]
        pub path_prefix: String,
        #[serde(default = "ten_seconds")]
        pub timeout: Period,
        #[serde(default = "v2")]
        pub api_version: String,
        #[serde(default, skip_serializing)]
        pub sigv4: Option<yaml_serde::Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Rule>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<Rule>,
    }
}

impl Alerting {
    /// The labels under which whoever is told knows an alert that has these: with the external
    /// labels that it lacks, and then as `alert_relabel_configs` have them. `None` where they drop
    /// it.
    #[must_use]
    pub fn labels_told(
        &self,
        external_labels: &BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        if external_labels.is_empty() && self.alert_relabel_configs.is_empty() {
            return Some(labels);
        }
        let told = relabel::told(&labels, external_labels, &[&self.alert_relabel_configs])?;
        let told = told.iter();
        Some(
            told.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

impl AlertmanagerConfig {
    /// Fields that ask for what is not there and without which nobody can be told.
    #[must_use]
    pub fn lacks(&self) -> Vec<&'static str> {
        let mut fields = self.missing();
        if self.sigv4.is_some() {
            fields.push("sigv4");
        }
        fields
    }

    /// Whether alerts can be sent so.
    ///
    /// # Errors
    /// What cannot be, in words that begin with its field.
    pub(super) fn check(&self) -> Result<(), String> {
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return Err(format!(
                "scheme {:?} is neither http nor https",
                self.scheme
            ));
        }
        if self.api_version != "v2" {
            return Err(format!(
                "api_version {:?} is not v2, which is the only one that there is",
                self.api_version
            ));
        }
        if self.timeout.is_zero() {
            return Err("timeout is 0".to_owned());
        }
        self.check_discovery()
    }
}
