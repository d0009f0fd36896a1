//! Under which labels whoever is told knows an alert of a rule of our own: with the external labels
//! of `PROMETHEUS_CONFIG`, and as its `alert_relabel_configs` have them. The file is the default
//! tenant's, and so are the server's own alerts.

use std::{borrow::Cow, sync::Arc};

use parking_lot::Mutex;
use pulseboard_alerting::{ALERTNAME, AlertEvent};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_scrape::Config;
use pulseboard_shared::Labels;

use super::{
    book::keeper_of,
    entry::{FROM_OTHERS, labels_of},
};

/// The file as it was read last.
#[derive(Debug, Default)]
pub struct Labelling {
    /// A leaf lock.
    config: Mutex<Option<Arc<Config>>>,
}

impl Labelling {
    /// Goes by this file from now on; whether it asks for other labels than the one before.
    pub fn follow(&self, config: Option<Arc<Config>>) -> bool {
        let asked = |config: &Option<Arc<Config>>| {
            let config = config.as_deref()?;
            let rules = &config.alerting.alert_relabel_configs;
            let labels = &config.global.external_labels;
            (!rules.is_empty() || !labels.is_empty()).then(|| (rules.clone(), labels.clone()))
        };
        let mut held = self.config.lock();
        let is_other = asked(&held) != asked(&config);
        *held = config;
        is_other
    }

    /// The labels under which an alert is told on; `None` where nobody is to be told of it.
    #[must_use]
    pub fn labels(&self, event: &AlertEvent) -> Option<Labels> {
        let labels = labels_of(event);
        let detail = event.detail.as_deref();
        let is_ours = detail.is_none_or(|detail| detail.rule_id != FROM_OTHERS);
        if !is_ours || keeper_of(event) != DEFAULT_TENANT {
            return Some(labels);
        }
        let config = self.config.lock().clone();
        match config {
            Some(config) => {
                let external = &config.global.external_labels;
                config.alerting.labels_told(external, labels)
            }
            None => Some(labels),
        }
    }

    /// An alert as whoever is told has it; `None` where nobody is to be told of it.
    #[must_use]
    pub fn told<'a>(&self, event: &'a AlertEvent) -> Option<Cow<'a, AlertEvent>> {
        let mut labels = self.labels(event)?;
        if labels == labels_of(event) {
            return Some(Cow::Borrowed(event));
        }
        let mut told = event.clone();
        told.alert.rule = labels.remove(ALERTNAME).unwrap_or_default();
        told.alert.labels = labels;
        Some(Cow::Owned(told))
    }
}
