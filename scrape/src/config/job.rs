//! `scrape_configs`: a job, its targets and what is made of their samples.

use std::collections::BTreeMap;

use pulseboard_outbound::secret::hide_in_text;
use serde::Serializer;

use super::{
    fields::{with_discovery, with_http},
    global::Global,
    protocol::ScrapeProtocol,
    units::{Period, Size},
};
use crate::relabel::Rule;

/// The shortest interval and time-out.
const INTERVAL_MIN_MS: u64 = 100;

/// What is asked with, without passwords of addresses in it.
fn shown_params<S: Serializer>(
    params: &BTreeMap<String, Vec<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(params.iter().map(|(name, values)| {
        let values = values.iter().map(|value| hide_in_text(value));
        (name, values.collect::<Vec<_>>())
    }))
}

fn metrics() -> String {
    "/metrics".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

with_discovery! {
    /// One job. Zero stands for "not given" until [`JobConfig::fill`].
    pub struct JobConfig {
        pub job_name: String,
        #[serde(default)]
        pub honor_labels: bool,
        #[serde(default = "super::fields::yes")]
        pub honor_timestamps: bool,
        #[serde(default)]
        pub track_timestamps_staleness: bool,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[serde(serialize_with = "shown_params")]
        pub params: BTreeMap<String, Vec<String>>,
        #[serde(default)]
        pub scrape_interval: Period,
        #[serde(default)]
        pub scrape_timeout: Period,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub scrape_protocols: Vec<ScrapeProtocol>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub fallback_scrape_protocol: Option<ScrapeProtocol>,
        #[serde(default, skip_serializing)]
        pub scrape_native_histograms: Option<bool>,
        #[serde(default, skip_serializing)]
        pub scrape_classic_histograms: Option<bool>,
        #[serde(default, skip_serializing)]
        pub always_scrape_classic_histograms: Option<bool>,
        #[serde(default, skip_serializing)]
        pub convert_classic_histograms_to_nhcb: Option<bool>,
        #[serde(default, skip_serializing)]
        pub native_histogram_bucket_limit: Option<u64>,
        #[serde(default, skip_serializing)]
        pub native_histogram_min_bucket_factor: Option<f64>,
        #[serde(default, skip_serializing)]
        pub extra_scrape_metrics: Option<bool>,
        #[serde(default = "metrics")]
        pub metrics_path: String,
        #[serde(default = "http")]
        pub scheme: String,
        #[serde(default = "super::fields::yes")]
        pub enable_compression: bool,
        #[serde(default)]
        pub body_size_limit: Size,
        #[serde(default)]
        pub sample_limit: u64,
        #[serde(default)]
        pub label_limit: u64,
        #[serde(default)]
        pub label_name_length_limit: u64,
        #[serde(default)]
        pub label_value_length_limit: u64,
        #[serde(default)]
        pub target_limit: u64,
        #[serde(default)]
        pub keep_dropped_targets: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub scrape_failure_log_file: Option<std::path::PathBuf>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub metric_name_validation_scheme: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub metric_name_escaping_scheme: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Rule>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub metric_relabel_configs: Vec<Rule>,
    }
}

impl JobConfig {
    /// Fills in what `global` says and checks the rest.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub(super) fn fill(&mut self, global: &Global) -> Result<(), String> {
        if self.job_name.is_empty() {
            return Err("job_name is empty".to_owned());
        }
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return Err(format!(
                "scheme {:?} is neither http nor https",
                self.scheme
            ));
        }
        if self.scrape_interval.is_zero() {
            self.scrape_interval = global.scrape_interval;
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = global.scrape_timeout.min(self.scrape_interval);
        }
        check_times(self.scrape_interval, self.scrape_timeout)?;
        self.check_discovery()?;
        if self.body_size_limit.0 == 0 {
            self.body_size_limit = global.body_size_limit;
        }
        for (own, all) in [
            (&mut self.sample_limit, global.sample_limit),
            (&mut self.label_limit, global.label_limit),
            (
                &mut self.label_name_length_limit,
                global.label_name_length_limit,
            ),
            (
                &mut self.label_value_length_limit,
                global.label_value_length_limit,
            ),
            (&mut self.target_limit, global.target_limit),
            (&mut self.keep_dropped_targets, global.keep_dropped_targets),
        ] {
            if *own == 0 {
                *own = all;
            }
        }
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols.clone_from(&global.scrape_protocols);
        }
        Ok(())
    }
}

/// Whether a target can be scraped so often and waited for so long.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check_times(interval: Period, timeout: Period) -> Result<(), String> {
    if interval.as_millis() < INTERVAL_MIN_MS {
        return Err(format!("scrape_interval {interval} is shorter than 100ms"));
    }
    if timeout.is_zero() {
        return Err("scrape_timeout is 0".to_owned());
    }
    if timeout > interval {
        return Err(format!(
            "scrape_timeout {timeout} is longer than scrape_interval {interval}"
        ));
    }
    Ok(())
}
