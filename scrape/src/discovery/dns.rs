//! `dns_sd_configs`: addresses by the machine's own resolver, other records by one question to the
//! name servers that it uses.

mod question;

use std::net::IpAddr;

use tokio::{net::lookup_host, time::sleep};

use self::question::{Record, ask};
use super::publish::Publish;
use crate::{
    config::{DnsDiscovery, DnsType},
    labels::LabelSet,
    target::Group,
};

pub(super) async fn run(section: DnsDiscovery, publish: Publish) {
    loop {
        publish.found(look(&section).await);
        sleep(section.refresh_interval.as_duration()).await;
    }
}

async fn look(section: &DnsDiscovery) -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    for name in &section.names {
        let told = |error: String| format!("{name}: {error}");
        let mut group = Group {
            targets: match section.kind {
                DnsType::A | DnsType::Aaaa => addresses(section, name).await.map_err(told)?,
                _ => records(section, name).await.map_err(told)?,
            },
            labels: LabelSet::new(),
        };
        group.labels.set("__meta_dns_name", name);
        groups.push(group);
    }
    Ok(groups)
}

fn port(section: &DnsDiscovery) -> Result<u16, String> {
    section
        .port
        .ok_or_else(|| "a port is needed for all records but SRV".to_owned())
}

async fn addresses(section: &DnsDiscovery, name: &str) -> Result<Vec<LabelSet>, String> {
    let port = port(section)?;
    let found = lookup_host((name, port))
        .await
        .map_err(|error| error.to_string())?;
    let wants_v6 = section.kind == DnsType::Aaaa;
    let mut targets: Vec<LabelSet> = found
        .filter(|address| matches!(address.ip(), IpAddr::V6(_)) == wants_v6)
        .map(|address| LabelSet::from_iter([("__address__", address.to_string())]))
        .collect();
    // each address comes once for each kind of socket
    targets.sort();
    targets.dedup();
    Ok(targets)
}

async fn records(section: &DnsDiscovery, name: &str) -> Result<Vec<LabelSet>, String> {
    let kind = section.kind;
    let mut targets = Vec::new();
    for record in ask(name, kind).await? {
        let mut labels = LabelSet::new();
        let (host, port, prefix) = match record {
            Record::Srv { host, port } => {
                labels.set("__meta_dns_srv_record_port", &port.to_string());
                (host, port, "srv")
            }
            Record::Host(host) if kind == DnsType::Mx => (host, port(section)?, "mx"),
            Record::Host(host) => (host, port(section)?, "ns"),
        };
        labels.set(&format!("__meta_dns_{prefix}_record_target"), &host);
        let bare = host.trim_end_matches('.');
        labels.set("__address__", &format!("{bare}:{port}"));
        targets.push(labels);
    }
    targets.sort();
    Ok(targets)
}
