//! From a job in the file to how its targets are scraped.

use std::sync::atomic::AtomicUsize;

use pulseboard_outbound::{Client, HeaderValue};

use crate::{
    config::{Config, JobConfig, ScrapeProtocol},
    context::Job,
    exposition::Shape,
};

/// How the targets of a job are scraped. Certificates that cannot be read make each scrape fail,
/// which looks for them again.
///
/// # Errors
/// Who asks contradicts itself; in words.
pub(super) fn job(wanted: &JobConfig, config: &Config) -> Result<Job, String> {
    let client = wanted.client(&config.folder);
    let client = Client::patient(&client).map_err(|error| error.to_string())?;
    Ok(Job {
        name: wanted.job_name.clone(),
        client,
        accept: accept(&wanted.scrape_protocols),
        is_packed: wanted.enable_compression,
        body_bytes_max: Job::body_limit(wanted.body_size_limit.0),
        shape: Shape {
            honor_labels: wanted.honor_labels,
            honor_timestamps: wanted.honor_timestamps,
            track_timestamps: wanted.track_timestamps_staleness,
            rules: wanted.metric_relabel_configs.clone(),
            sample_limit: wanted.sample_limit,
            label_limit: wanted.label_limit,
            name_length_limit: wanted.label_name_length_limit,
            value_length_limit: wanted.label_value_length_limit,
        },
        target_limit: wanted.target_limit,
        found: AtomicUsize::new(0),
    })
}

/// What a target may answer in, most wanted first. Protobuf is not read and not asked for.
fn accept(protocols: &[ScrapeProtocol]) -> HeaderValue {
    const ALL: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];
    let wanted = if protocols.is_empty() {
        &ALL
    } else {
        protocols
    };
    let types = wanted.iter().filter_map(|protocol| match protocol {
        ScrapeProtocol::PrometheusProto => None,
        ScrapeProtocol::PrometheusText0_0_4 => Some("text/plain;version=0.0.4"),
        ScrapeProtocol::PrometheusText1_0_0 => {
            Some("text/plain;version=1.0.0;escaping=allow-utf-8")
        }
        ScrapeProtocol::OpenMetricsText0_0_1 => Some("application/openmetrics-text;version=0.0.1"),
        ScrapeProtocol::OpenMetricsText1_0_0 => {
            Some("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8")
        }
    });
    let mut text = String::new();
    for (at, kind) in types.enumerate() {
        text.push_str(&format!(
            "{kind};q=0.{},",
            9_usize.saturating_sub(at).max(2)
        ));
    }
    text.push_str("*/*;q=0.1");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("*/*"))
}
