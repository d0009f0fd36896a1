//! `http_sd_configs`: an address that answers groups as JSON.

use std::path::PathBuf;

use pulseboard_outbound::{
    Client, HeaderMap, HeaderName, HeaderValue, header, secret::hide_password,
};
use tokio::time::{Instant, sleep};

use super::publish::Publish;
use crate::{
    config::{HttpDiscovery, StaticGroup},
    target::Group,
};

const BODY_BYTES_MAX: usize = 64 << 20;

pub(super) async fn run(section: HttpDiscovery, folder: PathBuf, publish: Publish) {
    let client = match Client::patient(&section.client(&folder)) {
        Ok(client) => client,
        Err(error) => return publish.found(Err(error.to_string())),
    };
    loop {
        publish.found(ask(&client, &section).await);
        sleep(section.refresh_interval.as_duration()).await;
    }
}

async fn ask(client: &Client, section: &HttpDiscovery) -> Result<Vec<Group>, String> {
    let every = section.refresh_interval.as_duration();
    let shown = hide_password(&section.url);
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(seconds) = HeaderValue::try_from(every.as_secs_f64().to_string()) {
        let name = HeaderName::from_static("x-prometheus-refresh-interval-seconds");
        headers.insert(name, seconds);
    }
    let answer = client
        .get(
            &section.url,
            &headers,
            Instant::now() + every,
            BODY_BYTES_MAX,
        )
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{shown} answered {}", answer.status));
    }
    let kind = answer.content_type().split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(format!(
            "{shown} answered {kind:?} and not application/json"
        ));
    }
    let groups: Vec<StaticGroup> = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the answer of {shown}: {error}"))?;
    Ok(groups
        .iter()
        .map(|group| {
            let mut group = Group::from(group);
            group.labels.set("__meta_url", &section.url);
            group
        })
        .collect())
}
