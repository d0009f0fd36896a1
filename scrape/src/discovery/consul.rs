//! `consul_sd_configs`: services of Consul's catalog and how healthy they are.

use std::path::PathBuf;

use pulseboard_outbound::{
    Client, HeaderMap, HeaderName, HeaderValue, config::BasicAuth, secret::hide_password,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    meta::{list, set_all, text},
    publish::Publish,
};
use crate::{config::ConsulDiscovery, labels::LabelSet, target::Group};

const BODY_BYTES_MAX: usize = 64 << 20;

/// Whom to ask.
struct Api {
    client: Client,
    headers: HeaderMap,
    section: ConsulDiscovery,
}

pub(super) async fn run(section: ConsulDiscovery, folder: PathBuf, publish: Publish) {
    let api = match Api::new(section, &folder) {
        Ok(api) => api,
        Err(error) => return publish.found(Err(error)),
    };
    loop {
        publish.found(api.look().await);
        sleep(api.section.refresh_interval.as_duration()).await;
    }
}

impl Api {
    fn new(section: ConsulDiscovery, folder: &std::path::Path) -> Result<Self, String> {
        let mut config = section.client(folder);
        if !section.username.is_empty() {
            config.basic_auth = Some(BasicAuth {
                username: section.username.clone(),
                password: section.password.clone(),
                ..BasicAuth::default()
            });
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = &section.token {
            let mut token = HeaderValue::from_str(token.reveal())
                .map_err(|_error| "token: it has characters that no header may have")?;
            token.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-consul-token"), token);
        }
        Ok(Self {
            client: Client::patient(&config).map_err(|error| error.to_string())?,
            headers,
            section,
        })
    }

    async fn look(&self) -> Result<Vec<Group>, String> {
        let mut names = self.section.services.clone();
        if names.is_empty() {
            let catalog = self.ask("catalog/services", &self.section.filter).await?;
            let all = catalog.as_object().into_iter().flatten();
            let tagged = all.filter(|(_, tags)| self.has_tags(list(tags, "")));
            names = tagged.map(|(name, _)| name.clone()).collect();
        }
        let mut groups = Vec::new();
        for name in names {
            let path = format!("health/service/{name}");
            let instances = self.ask(&path, &self.section.health_filter).await?;
            let instances = list(&instances, "").iter();
            groups.push(Group {
                targets: instances
                    .filter(|instance| self.has_tags(list(instance, "/Service/Tags")))
                    .map(|instance| self.target(instance))
                    .collect(),
                labels: LabelSet::from_iter([("__meta_consul_service", name)]),
            });
        }
        Ok(groups)
    }

    fn has_tags(&self, tags: &[Value]) -> bool {
        let mut wanted = self.section.tags.iter();
        wanted.all(|tag| tags.iter().any(|one| one == tag))
    }

    async fn ask(&self, path: &str, filter: &str) -> Result<Value, String> {
        let section = &self.section;
        let prefix = section.path_prefix.trim_end_matches('/');
        let base = format!("{}://{}{prefix}/v1/{path}", section.scheme, section.server);
        let shown = hide_password(&base);
        let mut url = url::Url::parse(&base).map_err(|error| format!("{shown}: {error}"))?;
        for (name, value) in [
            ("dc", section.datacenter.as_str()),
            ("ns", &section.namespace),
            ("partition", &section.partition),
            ("filter", filter),
            ("stale", if section.allow_stale { "true" } else { "" }),
        ] {
            if !value.is_empty() {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        for (name, value) in &section.node_meta {
            let pair = format!("{name}:{value}");
            url.query_pairs_mut().append_pair("node-meta", &pair);
        }
        let deadline = Instant::now() + section.refresh_interval.as_duration();
        let answer = self
            .client
            .get(url.as_str(), &self.headers, deadline, BODY_BYTES_MAX)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("{shown} answered {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| format!("{shown}: {error}"))
    }

    fn target(&self, instance: &Value) -> LabelSet {
        let mut labels = LabelSet::new();
        let (node, service) = (
            text(instance, "/Node/Address"),
            text(instance, "/Service/Address"),
        );
        let host = if service.is_empty() { &node } else { &service };
        let port = text(instance, "/Service/Port");
        labels.set("__address__", &format!("{host}:{port}"));
        let separator = self.section.separator();
        let tags = list(instance, "/Service/Tags").iter();
        let tags: Vec<&str> = tags.filter_map(Value::as_str).collect();
        // with a separator at both ends, so that a pattern finds a whole tag
        let tags = format!("{separator}{}{separator}", tags.join(&separator));
        for (name, value) in [
            ("address", node),
            ("dc", text(instance, "/Node/Datacenter")),
            ("health", health(list(instance, "/Checks"))),
            ("node", text(instance, "/Node/Node")),
            ("partition", text(instance, "/Service/Partition")),
            ("namespace", text(instance, "/Service/Namespace")),
            ("service_address", service),
            ("service_id", text(instance, "/Service/ID")),
            ("service_port", port),
            ("tags", tags),
        ] {
            labels.set(&format!("__meta_consul_{name}"), &value);
        }
        for (prefix, place) in [
            ("metadata", "/Node/Meta"),
            ("service_metadata", "/Service/Meta"),
            ("tagged_address", "/Node/TaggedAddresses"),
        ] {
            let prefix = format!("__meta_consul_{prefix}");
            set_all(&mut labels, &prefix, instance.pointer(place));
        }
        labels
    }
}

/// The worst of all checks.
fn health(checks: &[Value]) -> String {
    let states: Vec<String> = checks.iter().map(|check| text(check, "/Status")).collect();
    let worst = ["maintenance", "critical", "warning"]
        .into_iter()
        .find(|state| states.iter().any(|one| one == state));
    worst.unwrap_or("passing").to_owned()
}
