//! `docker_sd_configs`: containers that run, asked of Docker's API.

use std::path::PathBuf;

use pulseboard_outbound::{Client, HeaderMap, secret::hide_password};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    meta::{list, set_all, text},
    publish::Publish,
};
use crate::{config::DockerDiscovery, labels::LabelSet, target::Group};

const BODY_BYTES_MAX: usize = 64 << 20;

pub(super) async fn run(section: DockerDiscovery, folder: PathBuf, publish: Publish) {
    let mut config = section.client(&folder);
    let base = match section.host.split_once("://") {
        Some(("unix", path)) => {
            config.unix_socket = Some(path.into());
            "http://localhost".to_owned()
        }
        Some(("tcp", address)) => {
            let scheme = section.tls_config.as_ref().map_or("http", |_| "https");
            format!("{scheme}://{address}")
        }
        _ => section.host.trim_end_matches('/').to_owned(),
    };
    let client = match Client::patient(&config) {
        Ok(client) => client,
        Err(error) => return publish.found(Err(error.to_string())),
    };
    loop {
        publish.found(look(&client, &base, &section).await);
        sleep(section.refresh_interval.as_duration()).await;
    }
}

async fn look(
    client: &Client,
    base: &str,
    section: &DockerDiscovery,
) -> Result<Vec<Group>, String> {
    let filters: serde_json::Map<String, Value> = section
        .filters
        .iter()
        .map(|filter| (filter.name.clone(), json!(filter.values)))
        .collect();
    let mut url = url::Url::parse(&format!("{base}/containers/json"))
        .map_err(|error| format!("{}: {error}", hide_password(&section.host)))?;
    if !filters.is_empty() {
        let filters = Value::from(filters).to_string();
        url.query_pairs_mut().append_pair("filters", &filters);
    }
    let containers = ask(client, url.as_str(), section).await?;
    let networks = ask(client, &format!("{base}/networks"), section).await?;
    let targets = list(&containers, "")
        .iter()
        .flat_map(|container| targets(container, list(&networks, ""), section))
        .collect();
    Ok(vec![Group {
        targets,
        labels: LabelSet::new(),
    }])
}

async fn ask(client: &Client, url: &str, section: &DockerDiscovery) -> Result<Value, String> {
    let deadline = Instant::now() + section.refresh_interval.as_duration();
    let answer = client
        .get(url, &HeaderMap::new(), deadline, BODY_BYTES_MAX)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!(
            "{} answered {}",
            hide_password(&section.host),
            answer.status
        ));
    }
    let shown = hide_password(url);
    serde_json::from_slice(&answer.body).map_err(|error| format!("the answer of {shown}: {error}"))
}

/// A target for each port of a container in each of its networks.
fn targets(container: &Value, networks: &[Value], section: &DockerDiscovery) -> Vec<LabelSet> {
    const PREFIX: &str = "__meta_docker_";
    let mode = text(container, "/HostConfig/NetworkMode");
    let mut common = LabelSet::new();
    for (name, value) in [
        ("container_id", text(container, "/Id")),
        ("container_name", text(container, "/Names/0")),
        ("container_network_mode", mode.clone()),
    ] {
        common.set(&format!("{PREFIX}{name}"), &value);
    }
    let prefix = format!("{PREFIX}container_label");
    set_all(&mut common, &prefix, container.get("Labels"));
    let joined = container.pointer("/NetworkSettings/Networks");
    let joined = joined.and_then(Value::as_object).into_iter().flatten();
    let count = if section.match_first_network {
        1
    } else {
        usize::MAX
    };
    let mut targets = Vec::new();
    // the map is sorted by name, so the first is always the same
    for (_, joined) in joined.take(count) {
        let mut of_network = common.clone();
        let id = text(joined, "/NetworkID");
        let ip = text(joined, "/IPAddress");
        of_network.set(&format!("{PREFIX}network_ip"), &ip);
        if let Some(network) = networks.iter().find(|network| text(network, "/Id") == id) {
            for (name, place) in [
                ("network_id", "/Id"),
                ("network_name", "/Name"),
                ("network_scope", "/Scope"),
                ("network_ingress", "/Ingress"),
                ("network_internal", "/Internal"),
            ] {
                of_network.set(&format!("{PREFIX}{name}"), &text(network, place));
            }
            let prefix = format!("{PREFIX}network_label");
            set_all(&mut of_network, &prefix, network.get("Labels"));
        }
        let ports = list(container, "/Ports").iter();
        let ports: Vec<_> = ports.filter(|port| text(port, "/Type") == "tcp").collect();
        for port in &ports {
            let mut labels = of_network.clone();
            let private = text(port, "/PrivatePort");
            labels.set("__address__", &format!("{ip}:{private}"));
            labels.set(&format!("{PREFIX}port_private"), &private);
            labels.set(&format!("{PREFIX}port_public"), &text(port, "/PublicPort"));
            labels.set(&format!("{PREFIX}port_public_ip"), &text(port, "/IP"));
            targets.push(labels);
        }
        if ports.is_empty() {
            let mut labels = of_network;
            let address = if mode == "host" {
                section.host_networking_host.clone()
            } else {
                format!("{ip}:{}", section.port)
            };
            labels.set("__address__", &address);
            targets.push(labels);
        }
    }
    targets
}
