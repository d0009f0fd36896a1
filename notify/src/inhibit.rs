//! Inhibition: while one alert fires, others that it explains are not told of.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use pulseboard_shared::Labels;

use crate::{alerts::Alert, config::InhibitConfig, labels::Fingerprint, matcher::Matchers};

#[derive(Clone, Debug)]
struct Rule {
    source: Matchers,
    target: Matchers,
    equal: Vec<String>,
    /// Alerts that match the source, by their values of `equal`.
    sources: HashMap<Vec<String>, BTreeMap<Fingerprint, Arc<Alert>>>,
}

impl Rule {
    fn values(&self, labels: &Labels) -> Vec<String> {
        let names = self.equal.iter();
        names
            .map(|name| labels.get(name).cloned().unwrap_or_default())
            .collect()
    }
}

/// All rules, and the alerts that they are about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inhibition(Vec<Rule>);

impl Inhibition {
    /// Rules of a file that was checked.
    pub(crate) fn new(rules: &[InhibitConfig]) -> Self {
        let rules = rules.iter().map(|rule| Rule {
            source: rule.source().unwrap_or_default(),
            target: rule.target().unwrap_or_default(),
            equal: rule.equal.clone(),
            sources: HashMap::new(),
        });
        Self(rules.collect())
    }

    /// Something is known of an alert.
    pub(crate) fn put(&mut self, alert: &Arc<Alert>) {
        for rule in &mut self.0 {
            if rule.source.matches(&alert.labels) {
                let values = rule.values(&alert.labels);
                let alerts = rule.sources.entry(values).or_default();
                alerts.insert(alert.fingerprint, Arc::clone(alert));
            }
        }
    }

    /// An alert is forgotten.
    pub(crate) fn remove(&mut self, alert: &Alert) {
        for rule in &mut self.0 {
            let values = rule.values(&alert.labels);
            if let Some(alerts) = rule.sources.get_mut(&values) {
                alerts.remove(&alert.fingerprint);
                if alerts.is_empty() {
                    rule.sources.remove(&values);
                }
            }
        }
    }

    /// The alert that inhibits one of these labels now. What matches both sides of a rule is not
    /// inhibited by what does, too: so no alert inhibits itself.
    pub(crate) fn by(&self, now_ms: i64, labels: &Labels) -> Option<Fingerprint> {
        self.0.iter().find_map(|rule| {
            if !rule.target.matches(labels) {
                return None;
            }
            let is_source = rule.source.matches(labels);
            let mut alerts = rule.sources.get(&rule.values(labels))?.values();
            alerts
                .find(|alert| {
                    !(alert.is_over(now_ms) || is_source && rule.target.matches(&alert.labels))
                })
                .map(|alert| alert.fingerprint)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alerts::{PostedAlert, accept},
        labels::of,
    };

    fn alert(labels: &[(&str, &str)], ends_at_ms: i64) -> Arc<Alert> {
        let posted = PostedAlert {
            labels: of(labels),
            starts_at_ms: Some(0),
            ends_at_ms: Some(ends_at_ms),
            ..PostedAlert::default()
        };
        Arc::new(accept(posted, 0, 0).expect("an alert"))
    }

    fn inhibition(yaml: &str) -> Inhibition {
        Inhibition::new(&yaml_serde::from_str::<Vec<InhibitConfig>>(yaml).expect("rules"))
    }

    #[test]
    fn a_source_that_fires_inhibits_what_is_equal_until_it_ends() {
        let mut rules = inhibition(
            "[{source_matchers: [severity=critical], target_match: {severity: warning}, equal: [cluster, x]}]",
        );
        let source = alert(&[("severity", "critical"), ("cluster", "a")], 100);
        rules.put(&source);
        let target = of(&[("severity", "warning"), ("cluster", "a")]);
        assert_eq!(rules.by(99, &target), Some(source.fingerprint));
        assert_eq!(rules.by(100, &target), None);
        let other = of(&[("severity", "warning"), ("cluster", "b")]);
        assert_eq!(rules.by(0, &other), None);
        // a label that is missing is equal to one that is empty, and to nothing else
        let more = of(&[("severity", "warning"), ("cluster", "a"), ("x", "1")]);
        assert_eq!(rules.by(0, &more), None);
        rules.remove(&source);
        assert_eq!(rules.by(0, &target), None);
        assert!(rules.0[0].sources.is_empty());
    }

    #[test]
    fn what_matches_both_sides_inhibits_nothing_that_does() {
        let mut rules = inhibition(
            "[{source_match_re: {severity: 'critical|warning'}, target_matchers: ['severity=~\"warning|info\"']}]",
        );
        let both = alert(&[("severity", "warning")], 100);
        rules.put(&both);
        assert_eq!(rules.by(0, &both.labels), None);
        assert_eq!(
            rules.by(0, &of(&[("severity", "warning"), ("a", "b")])),
            None
        );
        assert_eq!(
            rules.by(0, &of(&[("severity", "info")])),
            Some(both.fingerprint)
        );
        let source = alert(&[("severity", "critical")], 100);
        rules.put(&source);
        assert_eq!(rules.by(0, &both.labels), Some(source.fingerprint));
    }
}
