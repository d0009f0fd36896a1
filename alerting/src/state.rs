//! One rule's state machine: inactive → firing → resolved → inactive. Pure; times are the caller's.

use std::time::Duration;

use pulseboard_shared::{Alert, AlertState, Labels, Severity, Timestamp};
use uuid::{NoContext, Uuid, timestamp::Timestamp as UuidTimestamp};

use crate::{Measured, Query, Rule};

/// A rule and the incident that it is in, if any.
#[derive(Debug)]
pub struct RuleState {
    rule: Rule,
    repeat_ms: i64,
    incident: Option<Incident>,
}

/// A rule that fires, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// Its name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Since when, Unix milliseconds.
    pub started_ms: i64,
}

#[derive(Debug)]
struct Incident {
    id: Uuid,
    started_ms: i64,
    sent_ms: i64,
    /// That was looked at last.
    value: f64,
}

impl RuleState {
    /// Inactive. While firing, the alert is sent again no more often than `repeat`.
    #[must_use]
    pub fn new(rule: Rule, repeat: Duration) -> Self {
        let repeat_ms = i64::try_from(repeat.as_millis()).unwrap_or(i64::MAX);
        Self {
            rule,
            repeat_ms,
            incident: None,
        }
    }

    /// Goes on with the incident that `alert` was sent for by a run before this one.
    pub fn restore(&mut self, alert: &Alert) {
        self.incident = Some(Incident {
            id: alert.incident,
            started_ms: alert.started.as_millis(),
            sent_ms: alert.timestamp.as_millis(),
            value: alert.value,
        });
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The same state under a rule that was changed.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.set_rule(rule);
        self
    }

    /// The same state under a rule that was changed.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// What is sent where the rule goes while an incident goes on.
    #[must_use]
    pub fn end(self, now_ms: i64) -> Option<Alert> {
        let incident = self.incident.as_ref()?;
        Some(self.alert(incident, AlertState::Resolved, incident.value, now_ms))
    }

    /// Whether an incident goes on.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.incident.is_some()
    }

    /// What fires, where something does.
    #[must_use]
    pub fn firing(&self) -> Option<Firing> {
        let incident = self.incident.as_ref()?;
        Some(Firing {
            rule: self.rule.name,
            severity: self.rule.severity,
            started_ms: incident.started_ms,
        })
    }

    /// Asks for what the rule is about; see [`Self::observe_value`].
    pub fn observe(&mut self, query: &dyn Query) -> Option<Alert> {
        match self.rule.measured {
            Measured::Newest(metric) => self.observe_value(query.newest(metric), query.now_ms()),
            Measured::ErrorRate => None,
        }
    }

    /// Looks at a value; returns what is to be sent. A value that could not be measured changes
    /// nothing: no news is neither good nor bad.
    pub fn observe_value(&mut self, value: f64, now_ms: i64) -> Option<Alert> {
        if value.is_nan() {
            return None;
        }
        let firing = value > self.rule.above;
        match &mut self.incident {
            None if firing => {
                let incident = Incident {
                    id: new_id(now_ms),
                    started_ms: now_ms,
                    sent_ms: now_ms,
                    value,
                };
                let alert = self.alert(&incident, AlertState::Firing, value, now_ms);
                self.incident = Some(incident);
                Some(alert)
            }
            None => None,
            Some(incident) if firing => {
                incident.value = value;
                // Where the clock was set back meanwhile it is not known how long ago that was.
                if (0..self.repeat_ms).contains(&(now_ms - incident.sent_ms)) {
                    return None;
                }
                incident.sent_ms = now_ms;
                self.incident
                    .as_ref()
                    .map(|incident| self.alert(incident, AlertState::Firing, value, now_ms))
            }
            Some(_) => {
                let incident = self.incident.take()?;
                Some(self.alert(&incident, AlertState::Resolved, value, now_ms))
            }
        }
    }

    fn alert(&self, incident: &Incident, state: AlertState, value: f64, now_ms: i64) -> Alert {
        Alert {
            id: new_id(now_ms),
            message: self.rule.message(value),
            severity: self.rule.severity,
            timestamp: Timestamp::from_millis(now_ms),
            incident: incident.id,
            rule: self.rule.name.to_owned(),
            state,
            value,
            threshold: self.rule.above,
            started: Timestamp::from_millis(incident.started_ms),
            labels: Labels::new(),
        }
    }
}

/// A version 7 UUID (RFC 9562 §5.7) of the given moment, so that ids sort by time.
#[must_use]
pub fn new_id(now_ms: i64) -> Uuid {
    let now_ms = u64::try_from(now_ms).unwrap_or(0);
    let nanos = u32::try_from(now_ms % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(UuidTimestamp::from_unix(NoContext, now_ms / 1000, nanos))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::default_rules;

    struct Cpu(i64, f64);

    impl Query for Cpu {
        fn now_ms(&self) -> i64 {
            self.0
        }

        fn newest(&self, _: pulseboard_shared::BuiltIn) -> f64 {
            self.1
        }
    }

    fn watch() -> RuleState {
        RuleState::new(default_rules()[0], Duration::from_secs(10))
    }

    fn observe(watch: &mut RuleState, second: i64, cpu: f64) -> Option<Alert> {
        watch.observe(&Cpu(second * 1000, cpu))
    }

    #[test]
    fn an_incident_is_sent_when_it_begins_seldom_while_it_lasts_and_when_it_ends() {
        let mut watch = watch();
        assert_eq!(
            observe(&mut watch, 0, 90.0),
            None,
            "at the threshold is not above it"
        );
        let sent: Vec<(i64, Alert)> = (1..=25)
            .filter_map(|second| observe(&mut watch, second, 95.0).map(|alert| (second, alert)))
            .collect();
        assert_eq!(
            sent.iter().map(|(second, _)| *second).collect::<Vec<_>>(),
            [1, 11, 21]
        );
        let resolved = observe(&mut watch, 26, 12.0).expect("the end of an incident is sent");
        assert_eq!(resolved.state, AlertState::Resolved);
        assert_eq!(resolved.started, Timestamp::from_millis(1000));
        assert_eq!(observe(&mut watch, 27, 12.0), None);

        let incidents: BTreeSet<Uuid> = sent
            .iter()
            .map(|(_, alert)| alert.incident)
            .chain([resolved.incident])
            .collect();
        let ids: BTreeSet<Uuid> = sent
            .iter()
            .map(|(_, alert)| alert.id)
            .chain([resolved.id])
            .collect();
        assert_eq!((incidents.len(), ids.len()), (1, 4));
    }

    #[test]
    fn a_second_firing_is_a_new_incident() {
        let mut watch = watch();
        let first = observe(&mut watch, 1, 95.0).map(|alert| alert.incident);
        observe(&mut watch, 2, 5.0);
        let second = observe(&mut watch, 3, 95.0).map(|alert| alert.incident);
        assert!(first.is_some() && second.is_some() && first != second);
    }

    #[test]
    fn a_missing_value_neither_fires_nor_resolves() {
        let mut watch = watch();
        assert_eq!(observe(&mut watch, 1, f64::NAN), None);
        assert!(observe(&mut watch, 2, 95.0).is_some());
        assert_eq!(observe(&mut watch, 3, f64::NAN), None);
        assert_eq!(observe(&mut watch, 4, 96.0), None, "the incident goes on");
    }
}
