//! Who is told of alerts: the Alertmanagers of `alerting`, found like targets, kept across a
//! reload.
//!
//! What is found is published as a whole each time that something of it changes ([`Found`]).
//! Nothing here sends an alert.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_outbound::{Client, secret::hide_password};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use crate::{
    config::{AlertmanagerConfig, Config},
    discovery,
    finding::{Finding, News, Told},
    labels::LabelSet,
    relabel::{self, Rule},
    target::Group,
};

/// Alertmanagers of all sections; those past it are told of nothing, which is said.
pub const ALERTMANAGERS_MAX: usize = 100;

/// Alertmanagers that a rule dropped and that are shown, of all sections.
const DROPPED_KEPT_MAX: usize = 1000;

/// Problems that are kept and told, of all sections.
const PROBLEMS_MAX: usize = 100;

/// How those of one section are told.
#[derive(Debug)]
pub struct Section {
    pub client: Client,
    /// Of one request.
    pub timeout: Duration,
    /// `alert_relabel_configs` of the section.
    pub rules: Vec<Rule>,
}

/// An Alertmanager that is to be told.
#[derive(Clone, Debug)]
pub struct Alertmanager {
    /// Its address as it may be shown, and which one it is where several are shown alike. The same
    /// Alertmanager keeps it.
    pub id: String,
    /// Where it takes alerts.
    pub url: String,
    pub section: Arc<Section>,
}

impl Alertmanager {
    /// The address as it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        hide_password(&self.url).into_owned()
    }
}

/// All that is found at one moment, and what holds for all of it.
#[derive(Debug, Default)]
pub struct Found {
    /// By section, as they stand in the file; at most [`ALERTMANAGERS_MAX`].
    pub active: Vec<Alertmanager>,
    /// Addresses that a rule dropped, as they may be shown; the first thousand.
    pub dropped: Vec<String>,
    /// What is wrong with how they are found, in words.
    pub problems: Vec<String>,
    /// Labels that all alerts get that do not have them.
    pub external_labels: BTreeMap<String, String>,
    /// `alert_relabel_configs` of `alerting`.
    pub rules: Vec<Rule>,
}

/// One section, and those who look for its Alertmanagers.
#[derive(Debug)]
struct Pool {
    config: AlertmanagerConfig,
    folder: PathBuf,
    section: Arc<Section>,
    findings: Vec<Finding>,
}

#[derive(Debug, Default)]
struct State {
    pools: Vec<Pool>,
    external_labels: BTreeMap<String, String>,
    rules: Vec<Rule>,
}

/// The Alertmanagers of the file.
#[derive(Debug)]
pub struct Alertmanagers {
    state: Mutex<State>,
    found: watch::Sender<Arc<Found>>,
    me: Weak<Self>,
}

impl Alertmanagers {
    /// Nobody is looked for yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            state: Mutex::default(),
            found: watch::Sender::default(),
            me: Weak::clone(me),
        })
    }

    /// Looks for those that `config` names from now on. Sections that it has in common with what
    /// was before go on undisturbed, as does each of their ways to find somebody. Returned is what
    /// cannot be done, in words; what `config` itself warns of is not in it.
    pub fn apply(
        &self,
        config: &Config,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.pools);
        let sections = config.alerting.alertmanagers.iter();
        let wanted: Vec<_> = sections
            .enumerate()
            .filter(|(_, section)| section.lacks().is_empty())
            .collect();
        let same: Vec<Option<Pool>> = wanted
            .iter()
            .map(|(_, section)| {
                let is_it = |pool: &Pool| pool.config == **section && pool.folder == config.folder;
                let at = before.iter().position(is_it)?;
                Some(before.swap_remove(at))
            })
            .collect();
        let mut spare: Vec<Finding> = before.into_iter().flat_map(|pool| pool.findings).collect();
        for ((item, section), same) in wanted.into_iter().zip(same) {
            let pool =
                same.map_or_else(|| self.pool(section, config, &mut spare, (tasks, stop)), Ok);
            match pool {
                Ok(pool) => {
                    if let Some(problem) = pool.section.client.problem() {
                        warnings.push(format!(
                            "alerting: alertmanagers[{item}]: {problem}; its Alertmanagers are not told until that is mended"
                        ));
                    }
                    state.pools.push(pool);
                }
                Err(problem) => {
                    warnings.push(format!("alerting: alertmanagers[{item}]: {problem}"));
                }
            }
        }
        state
            .external_labels
            .clone_from(&config.global.external_labels);
        state
            .rules
            .clone_from(&config.alerting.alert_relabel_configs);
        self.publish(&state);
        warnings
    }

    fn pool(
        &self,
        wanted: &AlertmanagerConfig,
        config: &Config,
        spare: &mut Vec<Finding>,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Pool, String> {
        let client = wanted.client(&config.folder);
        let client = Client::patient(&client).map_err(|error| error.to_string())?;
        let sources = discovery::sources(&wanted.finders(), &config.folder);
        let findings = sources.into_iter().map(|source| {
            Finding::take(spare, &source).unwrap_or_else(|| {
                let me = Weak::clone(&self.me);
                Finding::start(source, tasks, stop, move |told| {
                    if let Some(me) = me.upgrade() {
                        me.hear(told);
                    }
                })
            })
        });
        Ok(Pool {
            findings: findings.collect(),
            config: wanted.clone(),
            folder: config.folder.clone(),
            section: Arc::new(Section {
                client,
                timeout: wanted.timeout.as_duration(),
                rules: wanted.alert_relabel_configs.clone(),
            }),
        })
    }

    fn hear(&self, (number, found): Told) {
        let mut state = self.state.lock();
        let mut findings = state.pools.iter_mut().flat_map(|pool| &mut pool.findings);
        let Some(finding) = findings.find(|finding| finding.number() == number) else {
            return;
        };
        let news = finding.hear(found);
        if news == News::Problem {
            tracing::warn!(problem = finding.problem(), "Alertmanagers are not found");
        }
        if news != News::Nothing {
            self.publish(&state);
        }
    }

    /// Makes Alertmanagers of all that was found. The lock of the state keeps what is published in
    /// order.
    fn publish(&self, state: &State) {
        let mut found = Found {
            external_labels: state.external_labels.clone(),
            rules: state.rules.clone(),
            ..Found::default()
        };
        let mut ids: HashMap<String, usize> = HashMap::new();
        let mut left_out = 0_usize;
        for pool in &state.pools {
            let mut urls = HashSet::new();
            let findings = pool.findings.iter();
            found
                .problems
                .extend(findings.clone().filter_map(|one| one.problem().cloned()));
            let all = findings.flat_map(Finding::groups);
            for one in all.flat_map(|group| addresses(&pool.config, group)) {
                match one {
                    Address::Kept(url) if !urls.insert(url.clone()) => {}
                    Address::Kept(_) if found.active.len() >= ALERTMANAGERS_MAX => left_out += 1,
                    Address::Kept(url) => {
                        let shown = hide_password(&url).into_owned();
                        let count = ids.entry(shown.clone()).or_default();
                        *count += 1;
                        found.active.push(Alertmanager {
                            id: match *count {
                                1 => shown,
                                count => format!("{shown} ({count})"),
                            },
                            url,
                            section: Arc::clone(&pool.section),
                        });
                    }
                    Address::Dropped(shown) if found.dropped.len() < DROPPED_KEPT_MAX => {
                        found.dropped.push(shown);
                    }
                    Address::Dropped(_) => {}
                    Address::Wrong(problem) => found.problems.push(problem),
                }
            }
        }
        if left_out > 0 {
            let problem = format!(
                "{left_out} Alertmanagers are more than are told of alerts ({ALERTMANAGERS_MAX})"
            );
            found.problems.insert(0, problem);
        }
        found.problems.truncate(PROBLEMS_MAX);
        let known: HashSet<String> = self.found().problems.iter().cloned().collect();
        let mut new = found.problems.iter();
        if let Some(problem) = new.find(|problem| !known.contains(*problem)) {
            tracing::warn!(problem, "an Alertmanager cannot be told of alerts");
        }
        self.found.send_replace(Arc::new(found));
    }

    /// What is found now.
    #[must_use]
    pub fn found(&self) -> Arc<Found> {
        Arc::clone(&self.found.borrow())
    }

    /// Told each time that something else is found.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Found>> {
        self.found.subscribe()
    }
}

/// What became of something that was found.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Kept(String),
    /// A rule dropped it; its address before that, as it may be shown.
    Dropped(String),
    /// It is none; why, in words.
    Wrong(String),
}

fn addresses(config: &AlertmanagerConfig, group: &Group) -> Vec<Address> {
    let targets = group.targets.iter();
    targets
        .map(|target| {
            let mut labels = target.clone();
            labels.set("__scheme__", &config.scheme);
            let prefix = config.path_prefix.trim_matches('/');
            let slash = if prefix.is_empty() { "" } else { "/" };
            let path = format!("{slash}{prefix}/api/{}/alerts", config.api_version);
            labels.set("__alerts_path__", &path);
            for (name, value) in group.labels.iter().filter(|(name, _)| !target.has(name)) {
                labels.set(name, value);
            }
            let before = text_of(&labels);
            let what = |why: String| {
                let address = hide_password(labels_address(target));
                Address::Wrong(format!("{address}: {why}"))
            };
            match relabel::apply(&config.relabel_configs, &mut labels) {
                Ok(true) => url_of(&labels).map_or_else(what, Address::Kept),
                Ok(false) => Address::Dropped(hide_password(&before).into_owned()),
                Err(why) => what(why),
            }
        })
        .collect()
}

fn labels_address(labels: &LabelSet) -> &str {
    labels.get("__address__")
}

fn text_of(labels: &LabelSet) -> String {
    let (scheme, path) = (labels.get("__scheme__"), labels.get("__alerts_path__"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{}{slash}{path}", labels_address(labels))
}

fn url_of(labels: &LabelSet) -> Result<String, String> {
    let address = labels_address(labels);
    if address.is_empty() {
        return Err("there is no address".to_owned());
    }
    if address.contains('/') {
        return Err("it is not host and port".to_owned());
    }
    let scheme = labels.get("__scheme__");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("scheme {scheme:?} is neither http nor https"));
    }
    let url = Url::parse(&text_of(labels)).map_err(|error| error.to_string())?;
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    struct Looking {
        all: Arc<Alertmanagers>,
        tasks: TaskTracker,
        stop: CancellationToken,
    }

    impl Looking {
        fn new() -> Self {
            Self {
                all: Alertmanagers::new(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }
        }

        fn apply(&self, yaml: &str) -> Arc<Found> {
            let config = config::parse(yaml, Path::new("/etc/prometheus.yml")).expect("a file");
            let warnings = self.all.apply(&config, &self.tasks, &self.stop);
            assert_eq!(warnings, Vec::<String>::new());
            self.all.found()
        }
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.active.iter().map(|one| one.id.as_str()).collect()
    }

    #[tokio::test]
    async fn addresses_are_made_as_prometheus_makes_them() {
        let found = Looking::new().apply(
            r"
alerting:
  alertmanagers:
  - path_prefix: /am/
    static_configs:
    - targets: ['a:9093', 'b:9093', 'a:9093', 'me:secret@c:1']
      labels: {__scheme__: https}
    relabel_configs: [{source_labels: [__address__], regex: 'b.*', action: drop}]
  - static_configs: [{targets: ['x/y', '']}, {targets: [d], labels: {__alerts_path__: elsewhere}}]
    relabel_configs: [{target_label: seen, replacement: 'yes'}]
  - scheme: https
    path_prefix: am
    static_configs: [{targets: ['a:9093']}]
",
        );
        assert_eq!(
            ids(&found),
            [
                "https://a:9093/am/api/v2/alerts",
                "https://me:xxxxx@c:1/am/api/v2/alerts",
                "http://d/elsewhere",
                "https://a:9093/am/api/v2/alerts (2)",
            ]
        );
        assert_eq!(
            found.active[1].url,
            "https://me:secret@c:1/am/api/v2/alerts"
        );
        assert_eq!(found.dropped, ["https://b:9093/am/api/v2/alerts"]);
        assert_eq!(
            found.problems,
            ["x/y: it is not host and port", ": there is no address"]
        );
    }

    #[tokio::test]
    async fn there_are_no_more_than_a_hundred() {
        let targets: Vec<String> = (0..150).map(|one| format!("a{one}:9093")).collect();
        let yaml = format!(
            "alerting: {{alertmanagers: [{{static_configs: [{{targets: {targets:?}}}]}}]}}"
        );
        let found = Looking::new().apply(&yaml);
        assert_eq!(found.active.len(), ALERTMANAGERS_MAX);
        assert!(found.problems[0].starts_with("50 Alertmanagers are more"));
    }

    #[tokio::test]
    async fn a_reload_keeps_what_has_not_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        std::fs::write(&file, r#"[{"targets": ["f:1"]}]"#).expect("written");
        let yaml = |timeout: &str| {
            format!(
                "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['a:1']}}]\n  - timeout: {timeout}\n    file_sd_configs: [{{files: ['{}']}}]\n",
                file.display()
            )
        };
        let looking = Looking::new();
        looking.apply(&yaml("3s"));
        let mut seen = looking.all.watch();
        let found = seen.wait_for(|found| found.active.len() == 2).await;
        let before = Arc::clone(&found.expect("it looks"));
        let after = looking.apply(&yaml("4s"));
        // what the file said is still known, and nobody looked again
        assert_eq!(ids(&after), ids(&before));
        assert!(Arc::ptr_eq(
            &after.active[0].section,
            &before.active[0].section
        ));
        assert_eq!(after.active[1].section.timeout, Duration::from_secs(4));
        assert_eq!(looking.tasks.len(), 1);
        looking.stop.cancel();
        looking.tasks.close();
        looking.tasks.wait().await;
    }
}
