//! The cluster's API: whom to ask, lists, watches, and all objects that were told of.

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::Path,
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_outbound::{Client, HeaderMap, config::TlsConfig, secret::hide_password};
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    config::{KubernetesDiscovery, KubernetesRole},
    discovery::meta::{list, text},
};

/// Where a pod finds who it is.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Objects of one page of a list.
const PAGE: usize = 500;
/// Bytes of one page, and of one event of a watch.
const PAGE_BYTES_MAX: usize = 64 << 20;
const EVENT_BYTES_MAX: usize = 8 << 20;
/// All objects of one section; further ones are told and left out.
const OBJECTS_MAX: usize = 200_000;
const LIST_DEADLINE: Duration = Duration::from_secs(60);
/// The server ends a watch after so long, and is given some time for it.
const WATCH_SECONDS: u64 = 300;
const WATCH_DEADLINE: Duration = Duration::from_secs(WATCH_SECONDS + 30);
/// After a failure the next try comes after a second, then later and later.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Node,
    Service,
    Pod,
    Endpoints,
    EndpointSlice,
    Ingress,
}

impl Kind {
    fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Node => ("api/v1", "nodes"),
            Self::Service => ("api/v1", "services"),
            Self::Pod => ("api/v1", "pods"),
            Self::Endpoints => ("api/v1", "endpoints"),
            Self::EndpointSlice => ("apis/discovery.k8s.io/v1", "endpointslices"),
            Self::Ingress => ("apis/networking.k8s.io/v1", "ingresses"),
        }
    }

    fn role(self) -> KubernetesRole {
        match self {
            Self::Node => KubernetesRole::Node,
            Self::Service => KubernetesRole::Service,
            Self::Pod => KubernetesRole::Pod,
            Self::Endpoints => KubernetesRole::Endpoints,
            Self::EndpointSlice => KubernetesRole::EndpointSlice,
            Self::Ingress => KubernetesRole::Ingress,
        }
    }
}

/// Objects by kind, then by namespace and name.
pub(super) type All = HashMap<Kind, BTreeMap<String, Value>>;

/// All objects that were told of.
#[derive(Debug, Default)]
pub(super) struct Objects {
    state: Mutex<State>,
    change: Notify,
}

#[derive(Debug, Default)]
struct State {
    all: All,
    /// Lists that have not come yet.
    missing: usize,
    problem: Option<String>,
}

impl Objects {
    /// One more list is to come before there is anything to tell.
    pub(super) fn expect(&self) {
        self.state.lock().missing += 1;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state.lock().missing == 0
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.state.lock().problem.take()
    }

    pub(super) async fn changed(&self) {
        self.change.notified().await;
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&All) -> T) -> T {
        read(&self.state.lock().all)
    }

    fn fail(&self, problem: String) {
        self.state.lock().problem = Some(problem);
        self.change.notify_one();
    }

    /// A whole list in place of what was known of a namespace, of all where none is named.
    fn replace(&self, kind: Kind, namespace: Option<&str>, items: Vec<Value>, is_first: bool) {
        let mut state = self.state.lock();
        let known = state.all.entry(kind).or_default();
        known.retain(|_, item| {
            namespace.is_some_and(|namespace| text(item, "/metadata/namespace") != namespace)
        });
        for item in items {
            if known.len() < OBJECTS_MAX {
                known.insert(key(&item), item);
            }
        }
        if is_first {
            state.missing = state.missing.saturating_sub(1);
        }
        drop(state);
        self.change.notify_one();
    }

    fn change(&self, kind: Kind, event: &str, item: Value) {
        let mut state = self.state.lock();
        let known = state.all.entry(kind).or_default();
        if event == "DELETED" {
            known.remove(&key(&item));
        } else if known.len() < OBJECTS_MAX {
            known.insert(key(&item), item);
        }
        drop(state);
        self.change.notify_one();
    }
}

fn key(item: &Value) -> String {
    let namespace = text(item, "/metadata/namespace");
    format!("{namespace}/{}", text(item, "/metadata/name"))
}

/// Whom to ask, and for what.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    base: String,
    section: KubernetesDiscovery,
    own_namespace: String,
}

impl Api {
    pub(super) fn new(section: KubernetesDiscovery, folder: &Path) -> Result<Self, String> {
        if section.kubeconfig_file.is_some() {
            return Err("kubeconfig_file is not supported; api_server, authorization and tls_config say the same".to_owned());
        }
        let mut config = section.client(folder);
        let base = match &section.api_server {
            Some(server) => server.trim_end_matches('/').to_owned(),
            None => {
                let variable = |name: &str| {
                    env::var(name).map_err(|_error| {
                        format!(
                            "{name} is not set: this is no pod, and api_server names no cluster"
                        )
                    })
                };
                let host = variable("KUBERNETES_SERVICE_HOST")?;
                let port = variable("KUBERNETES_SERVICE_PORT")?;
                config.bearer_token_file = Some(Path::new(ACCOUNT).join("token"));
                config.tls_config = TlsConfig {
                    ca_file: Some(Path::new(ACCOUNT).join("ca.crt")),
                    ..TlsConfig::default()
                };
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host
                };
                format!("https://{host}:{port}")
            }
        };
        let own_namespace = fs::read_to_string(Path::new(ACCOUNT).join("namespace"));
        Ok(Self {
            client: Client::patient(&config).map_err(|error| error.to_string())?,
            base,
            own_namespace: own_namespace.unwrap_or_default().trim().to_owned(),
            section,
        })
    }

    /// The namespaces that are looked through, one after the other; `None` is all at once.
    pub(super) fn namespaces(&self, kind: Kind) -> Vec<Option<String>> {
        let mut names = self.section.namespaces.names.clone();
        if self.section.namespaces.own_namespace && !self.own_namespace.is_empty() {
            names.push(self.own_namespace.clone());
        }
        // nodes belong to no namespace
        if names.is_empty() || kind == Kind::Node {
            return vec![None];
        }
        names.sort();
        names.dedup();
        names.into_iter().map(Some).collect()
    }

    /// Lists and watches, and begins again when that ends; never returns.
    pub(super) async fn follow(&self, kind: Kind, namespace: Option<String>, objects: &Objects) {
        let namespace = namespace.as_deref();
        let mut pause = PAUSE_MIN;
        let mut is_first = true;
        loop {
            match self.list(kind, namespace).await {
                Ok((items, mut version)) => {
                    objects.replace(kind, namespace, items, is_first);
                    is_first = false;
                    pause = PAUSE_MIN;
                    // an orderly end of a watch goes on where it was, anything else lists anew
                    while let Ok(newer) = self.watch(kind, namespace, version, objects).await {
                        version = newer;
                    }
                }
                Err(problem) => objects.fail(problem),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn url(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        query: &[(&str, &str)],
    ) -> Result<String, String> {
        let (group, name) = kind.path();
        let within = namespace.map_or(String::new(), |name| format!("namespaces/{name}/"));
        let text = format!("{}/{group}/{within}{name}", self.base);
        let mut url =
            url::Url::parse(&text).map_err(|error| format!("{}: {error}", hide_password(&text)))?;
        let selector = self
            .section
            .selectors
            .iter()
            .find(|one| one.role == kind.role());
        let selected = selector.map_or([("", ""); 2], |one| {
            [
                ("labelSelector", one.label.as_str()),
                ("fieldSelector", one.field.as_str()),
            ]
        });
        for (name, value) in query.iter().chain(&selected) {
            if !value.is_empty() {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        Ok(url.into())
    }

    /// All objects of a kind, page by page, and the version that they are of.
    async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> Result<(Vec<Value>, String), String> {
        let mut items = Vec::new();
        let mut next = String::new();
        let limit = PAGE.to_string();
        loop {
            let url = self.url(kind, namespace, &[("limit", &limit), ("continue", &next)])?;
            let deadline = Instant::now() + LIST_DEADLINE;
            let answer = self
                .client
                .get(&url, &HeaderMap::new(), deadline, PAGE_BYTES_MAX)
                .await
                .map_err(|error| error.to_string())?;
            if answer.status != 200 {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let why = text(&body, "/message");
                return Err(format!(
                    "{} of {} answered {}: {why}",
                    kind.path().1,
                    hide_password(&self.base),
                    answer.status
                ));
            }
            let page: Value = serde_json::from_slice(&answer.body)
                .map_err(|error| format!("the answer of {}: {error}", hide_password(&self.base)))?;
            items.extend(list(&page, "/items").iter().cloned().map(slim));
            if items.len() > OBJECTS_MAX {
                return Err(format!(
                    "there are more than {OBJECTS_MAX} {}",
                    kind.path().1
                ));
            }
            next = text(&page, "/metadata/continue");
            if next.is_empty() {
                return Ok((items, text(&page, "/metadata/resourceVersion")));
            }
        }
    }

    /// Takes what changes from a version on; the version at the watch's orderly end.
    async fn watch(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        mut version: String,
        objects: &Objects,
    ) -> Result<String, String> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &*seconds),
            ("resourceVersion", &*version),
        ];
        let url = self.url(kind, namespace, &query)?;
        let deadline = Instant::now() + WATCH_DEADLINE;
        let told = |error: pulseboard_outbound::Error| error.to_string();
        let mut reader = self
            .client
            .open(&url, &HeaderMap::new(), deadline)
            .await
            .map_err(told)?;
        if reader.status != 200 {
            return Err(format!(
                "{} answered {}",
                hide_password(&url),
                reader.status
            ));
        }
        let begun = Instant::now();
        let mut line = Vec::new();
        while let Some(chunk) = reader.chunk(deadline).await.map_err(told)? {
            for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.len() > EVENT_BYTES_MAX {
                    return Err("an event is too large".to_owned());
                }
                if line.ends_with(b"\n") {
                    let mut event: Value =
                        serde_json::from_slice(&line).map_err(|error| error.to_string())?;
                    line.clear();
                    let what = text(&event, "/type");
                    if what == "ERROR" {
                        return Err(text(&event, "/object/message"));
                    }
                    version = text(&event, "/object/metadata/resourceVersion");
                    if what != "BOOKMARK" {
                        objects.change(kind, &what, slim(event["object"].take()));
                    }
                }
            }
        }
        // a server that ends watches at once is not to be asked again and again
        if begun.elapsed() < PAUSE_MIN {
            sleep(PAUSE_MIN).await;
        }
        Ok(version)
    }
}

/// What makes up half of an object and means nothing here.
fn slim(mut item: Value) -> Value {
    if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    item
}
