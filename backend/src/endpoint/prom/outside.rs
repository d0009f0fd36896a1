//! `external_labels` of `PROMETHEUS_CONFIG`: what this server's series are told apart by elsewhere.
//! A series that has a label of such a name keeps its own.

use std::sync::Arc;

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_promql::labels::NAME;
use pulseboard_scrape::Config;
use pulseboard_series::KeyRef;

use super::asking::Asking;

const INSTANCE: &str = "instance";

/// The labels that are added to a tenant's series on their way out.
pub(super) struct Outside {
    config: Option<Arc<Config>>,
}

impl Outside {
    /// Those of the file, for the tenant that it is scraped for.
    pub(super) fn of(asking: &Asking) -> Self {
        let config = asking.app.scraping.config();
        let is_theirs = &*asking.tenant.name == DEFAULT_TENANT;
        let has_any = |config: &Arc<Config>| !config.global.external_labels.is_empty();
        Self {
            config: config.filter(|config| is_theirs && has_any(config)),
        }
    }

    fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let config = self.config.iter();
        let labels = config.flat_map(|config| &config.global.external_labels);
        labels
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(_, value)| !value.is_empty())
    }

    /// A series' labels without its name, sorted.
    fn all<'a>(&'a self, key: KeyRef<'a>) -> Vec<(&'a str, &'a str)> {
        let mut all: Vec<(&str, &str)> = key.labels().collect();
        let more = self.labels().filter(|(name, _)| key.label(name).is_none());
        all.extend(more);
        all.sort_unstable();
        all
    }

    /// A series' labels, its name among them, sorted as Prometheus has them.
    pub(super) fn named<'a>(&'a self, key: KeyRef<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut all = self.all(key);
        all.push((NAME, key.name()));
        all.sort_unstable();
        all.into_iter()
    }

    /// A series' labels for a Prometheus that federates. One without `instance` says so at the end,
    /// as Prometheus does, or it would be given this server's.
    pub(super) fn federated<'a>(&'a self, key: KeyRef<'a>) -> Vec<(&'a str, &'a str)> {
        let mut all = self.all(key);
        if all.iter().all(|(name, _)| *name != INSTANCE) {
            all.push((INSTANCE, ""));
        }
        all
    }

    /// Whether a matcher for this value asks for what is added: it says nothing of the series then.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.labels().any(|label| label == (name, value))
    }
}
