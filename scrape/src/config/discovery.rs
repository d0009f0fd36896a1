//! Where targets are found: the `…_sd_configs` of a job.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use pulseboard_outbound::{
    check_address,
    secret::{hide_password, without_password, without_passwords},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use url::Url;

use super::{fields::with_http, units::Period};

/// Targets with common labels: of `static_configs`, and of files and documents that discovery
/// reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StaticGroup {
    #[serde(serialize_with = "without_passwords")]
    pub targets: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A group as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    targets: Option<Vec<String>>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl<'de> Deserialize<'de> for StaticGroup {
    /// A group may lack everything, but has to be one: an item of a list that is empty is a
    /// mistake.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = StaticGroup;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("targets and their labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StaticGroup, A::Error> {
                let written = WrittenGroup::deserialize(MapAccessDeserializer::new(map))?;
                let labels = written.labels.into_iter().flatten();
                Ok(StaticGroup {
                    targets: written.targets.unwrap_or_default(),
                    labels: labels
                        .filter_map(|(name, value)| Some((name, value?)))
                        .collect(),
                })
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// As [`without_password`] where there is an address.
fn without_its_password<S: Serializer>(
    url: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    url.as_deref().map(hide_password).serialize(serializer)
}

fn five_minutes() -> Period {
    Period::from_secs(300)
}

fn one_minute() -> Period {
    Period::from_secs(60)
}

fn thirty_seconds() -> Period {
    Period::from_secs(30)
}

/// `file_sd_configs`: files with groups, as JSON or YAML, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileDiscovery {
    /// Globs.
    pub files: Vec<String>,
    #[serde(default = "five_minutes")]
    pub refresh_interval: Period,
}

impl FileDiscovery {
    /// Whether there are files, all of a kind that is read, in folders that are named.
    fn check(&self) -> Result<(), String> {
        if self.files.is_empty() {
            return Err("file_sd_configs: files is empty".to_owned());
        }
        let fits = |path: &String| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let (stem, kind) = name.rsplit_once('.').unwrap_or((name, ""));
            let is_read = matches!(kind, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML");
            is_read && !folder.contains('*') && stem.matches('*').count() <= 1
        };
        match self.files.iter().find(|path| !fits(path)) {
            Some(path) => Err(format!(
                "file_sd_configs: {path:?} is no .json, .yml or .yaml with at most one * in its name and none in its folders"
            )),
            None => Ok(()),
        }
    }
}

impl HttpDiscovery {
    /// Whether its address can be asked.
    fn check(&self) -> Result<(), String> {
        let text = &self.url;
        let shown = hide_password(text);
        let url =
            Url::parse(text).map_err(|error| format!("http_sd_configs: {shown:?}: {error}"))?;
        match matches!(url.scheme(), "http" | "https") {
            true => check_address(text).map_err(|error| format!("http_sd_configs: {error}")),
            false => Err(format!(
                "http_sd_configs: {shown:?} is no address of http or https"
            )),
        }
    }
}

impl DnsDiscovery {
    /// Whether there are names, and a port where the answer has none.
    fn check(&self) -> Result<(), String> {
        if self.names.is_empty() {
            return Err("dns_sd_configs: names is empty".to_owned());
        }
        match self.kind == DnsType::Srv || self.port.is_some_and(|port| port > 0) {
            true => Ok(()),
            false => Err("dns_sd_configs: all types but SRV need a port".to_owned()),
        }
    }
}

with_http! {
    /// `http_sd_configs`: an address that answers groups as JSON.
    pub struct HttpDiscovery {
        #[serde(serialize_with = "without_password")]
        pub url: String,
        #[serde(default = "one_minute")]
        pub refresh_interval: Period,
    }
}

/// All the sections of a job, or of Alertmanagers, that find targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finders<'a> {
    pub(crate) fixed: &'a [StaticGroup],
    pub(crate) files: &'a [FileDiscovery],
    pub(crate) http: &'a [HttpDiscovery],
    pub(crate) dns: &'a [DnsDiscovery],
    pub(crate) kubernetes: &'a [KubernetesDiscovery],
    pub(crate) docker: &'a [DockerDiscovery],
    pub(crate) consul: &'a [ConsulDiscovery],
}

impl Finders<'_> {
    /// Whether each can find something. Where targets are relabelled, addresses of pages may stand
    /// for what a prober is asked for.
    pub(super) fn check(&self, is_relabelled: bool) -> Result<(), String> {
        self.files.iter().try_for_each(FileDiscovery::check)?;
        self.http.iter().try_for_each(HttpDiscovery::check)?;
        self.dns.iter().try_for_each(DnsDiscovery::check)?;
        let mut targets = self.fixed.iter().flat_map(|group| &group.targets);
        let is_wrong = |target: &&String| target.is_empty() || target.contains('/');
        match targets.find(|target| !is_relabelled && is_wrong(target)) {
            Some(target) => Err(format!(
                "static_configs: {:?} is not host and port",
                hide_password(target)
            )),
            None => Ok(()),
        }
    }
}

/// What is asked of the name server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsType {
    #[default]
    Srv,
    A,
    Aaaa,
    Mx,
    Ns,
}

/// `dns_sd_configs`: names that stand for targets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DnsDiscovery {
    pub names: Vec<String>,
    #[serde(default, rename = "type")]
    pub kind: DnsType,
    /// Of all but SRV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default = "thirty_seconds")]
    pub refresh_interval: Period,
}

/// Which objects are targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesRole {
    Node,
    Service,
    Pod,
    Endpoints,
    EndpointSlice,
    Ingress,
}

/// Namespaces that are looked through; all where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Namespaces {
    #[serde(default)]
    pub own_namespace: bool,
    #[serde(default)]
    pub names: Vec<String>,
}

/// Which objects of a role are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoleSelector {
    pub role: KubernetesRole,
    #[serde(default)]
    pub label: String,
    #[serde(default)]
    pub field: String,
}

with_http! {
    /// `kubernetes_sd_configs`.
    pub struct KubernetesDiscovery {
        pub role: KubernetesRole,
        /// Empty: the cluster that this runs in.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            serialize_with = "without_its_password"
        )]
        pub api_server: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kubeconfig_file: Option<PathBuf>,
        #[serde(default)]
        pub namespaces: Namespaces,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub selectors: Vec<RoleSelector>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub attach_metadata: Option<yaml_serde::Value>,
    }
}

/// What Docker is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    pub name: String,
    #[serde(default)]
    pub values: Vec<String>,
}

fn eighty() -> u16 {
    80
}

fn localhost() -> String {
    "localhost".to_owned()
}

with_http! {
    /// `docker_sd_configs`.
    pub struct DockerDiscovery {
        /// `unix:///var/run/docker.sock`, `tcp://…` or `http(s)://…`.
        #[serde(serialize_with = "without_password")]
        pub host: String,
        #[serde(default = "eighty")]
        pub port: u16,
        #[serde(default = "localhost")]
        pub host_networking_host: String,
        #[serde(default = "super::fields::yes")]
        pub match_first_network: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub filters: Vec<Filter>,
        #[serde(default = "one_minute")]
        pub refresh_interval: Period,
    }
}

fn consul_server() -> String {
    "localhost:8500".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

fn comma() -> String {
    ",".to_owned()
}

with_http! {
    /// `consul_sd_configs`.
    pub struct ConsulDiscovery {
        #[serde(default = "consul_server", serialize_with = "without_password")]
        pub server: String,
        #[serde(default = "http")]
        pub scheme: String,
        #[serde(default)]
        pub path_prefix: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<pulseboard_outbound::Secret>,
        #[serde(default)]
        pub datacenter: String,
        #[serde(default)]
        pub namespace: String,
        #[serde(default)]
        pub partition: String,
        #[serde(default)]
        pub username: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub password: Option<pulseboard_outbound::Secret>,
        #[serde(default)]
        pub tag_separator: Option<String>,
        #[serde(default = "super::fields::yes")]
        pub allow_stale: bool,
        #[serde(default)]
        pub services: Vec<String>,
        #[serde(default)]
        pub tags: Vec<String>,
        #[serde(default)]
        pub node_meta: BTreeMap<String, String>,
        #[serde(default)]
        pub filter: String,
        #[serde(default)]
        pub health_filter: String,
        #[serde(default = "thirty_seconds")]
        pub refresh_interval: Period,
    }
}

impl ConsulDiscovery {
    /// What stands between tags.
    #[must_use]
    pub fn separator(&self) -> String {
        self.tag_separator.clone().unwrap_or_else(comma)
    }
}

/// A kind of discovery that is read over: whether the file asks for it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Unsupported(Option<yaml_serde::Value>);

impl Unsupported {
    /// Whether something stands there.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        match &self.0 {
            None | Some(yaml_serde::Value::Null) => false,
            Some(yaml_serde::Value::Sequence(items)) => !items.is_empty(),
            Some(_) => true,
        }
    }
}

impl Serialize for Unsupported {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}
