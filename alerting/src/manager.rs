//! The rules, what they are doing, and the one order in which what follows is told.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_shared::{Alert, AlertState};
use uuid::Uuid;

use crate::{
    AlertEvent, AlertSink, ERROR_RATE, Firing, Query, Rule, RuleState, error_rate::ErrorRate,
};

/// Events that are kept, in memory and across a restart.
pub const ALERTS_KEPT: usize = 1_000;

/// The rules and their incidents.
pub struct Manager {
    /// Of the server's own rules; changed by whoever observes. Leaf lock.
    rules: Mutex<Vec<RuleState>>,
    /// Of each tenant that has tracked an `error` lately. Leaf lock.
    error_rates: Mutex<HashMap<Arc<str>, ErrorRate>>,
    /// The rule on them; `None` where it is off. Leaf lock.
    error_rule: Mutex<Option<Rule>>,
    /// Another server tells of error rates.
    told_elsewhere: AtomicBool,
    /// Held while an event is published, so that all sinks have one order.
    incidents: Mutex<Incidents>,
    sinks: Vec<Arc<dyn AlertSink>>,
    repeat: Duration,
}

struct Incidents {
    /// The newest event of each incident that goes on, by incident (which sorts by its time).
    active: BTreeMap<Uuid, AlertEvent>,
    /// The number of the next event.
    next: u64,
}

impl Manager {
    /// All rules inactive. A firing rule is sent again no more often than `repeat`; sinks are told
    /// in the order in which they are given.
    #[must_use]
    pub fn new(
        rules: impl IntoIterator<Item = Rule>,
        repeat: Duration,
        sinks: Vec<Arc<dyn AlertSink>>,
    ) -> Self {
        let rules = rules
            .into_iter()
            .map(|rule| RuleState::new(rule, repeat))
            .collect();
        Self {
            rules: Mutex::new(rules),
            error_rates: Mutex::default(),
            error_rule: Mutex::new(Some(ERROR_RATE)),
            told_elsewhere: AtomicBool::new(false),
            incidents: Mutex::new(Incidents {
                active: BTreeMap::new(),
                next: 1,
            }),
            sinks,
            repeat,
        }
    }

    /// Goes on where a run before this one ended: the number of the next event, and incidents that
    /// had not ended. Before anything is observed; tells nobody.
    pub fn restore(&self, next: u64, active: impl IntoIterator<Item = AlertEvent>) {
        self.incidents.lock().next = next;
        for event in active {
            // Of a rule that is evaluated elsewhere: whoever does so goes on with it, or ends it.
            if event.detail.is_some() {
                let mut incidents = self.incidents.lock();
                incidents.active.insert(event.alert.incident, event);
                continue;
            }
            match &event.tenant {
                None => {
                    let mut rules = self.rules.lock();
                    // A rule that is no more cannot end its incident: it is forgotten.
                    let Some(state) = rules
                        .iter_mut()
                        .find(|state| state.rule().name == event.alert.rule)
                    else {
                        continue;
                    };
                    state.restore(&event.alert);
                }
                Some(tenant) => {
                    let mut rates = self.error_rates.lock();
                    let rate = rates
                        .entry(Arc::clone(tenant))
                        .or_insert_with(|| ErrorRate::new(ERROR_RATE, self.repeat));
                    rate.restore(&event.alert);
                }
            }
            let mut incidents = self.incidents.lock();
            incidents.active.insert(event.alert.incident, event);
        }
    }

    /// Lets every rule of the server look, and publishes what follows.
    pub fn observe(&self, query: &dyn Query) {
        let sent: Vec<Alert> = {
            let mut rules = self.rules.lock();
            rules
                .iter_mut()
                .filter_map(|state| state.observe(query))
                .collect()
        };
        for alert in sent {
            self.publish(AlertEvent {
                tenant: None,
                alert,
                detail: None,
            });
        }
    }

    /// Counts an `error` that a tenant tracked, and publishes what follows.
    pub fn count_error(&self, tenant: &str, now_ms: i64) {
        let Some(rule) = *self.error_rule.lock() else {
            return;
        };
        let tells = !self.told_elsewhere.load(Ordering::Relaxed);
        let sent = {
            let mut rates = self.error_rates.lock();
            if !rates.contains_key(tenant) {
                rates.insert(tenant.into(), ErrorRate::new(rule, self.repeat));
            }
            rates
                .get_key_value(tenant)
                .map(|(name, _)| Arc::clone(name))
                .zip(
                    rates
                        .get_mut(tenant)
                        .and_then(|rate| rate.count(now_ms, tells)),
                )
        };
        if let Some((tenant, alert)) = sent {
            self.publish(AlertEvent {
                tenant: Some(tenant),
                alert,
                detail: None,
            });
        }
    }

    /// Lets the error rates see that time goes on, and publishes what follows; called about once a
    /// second.
    pub fn observe_time(&self, now_ms: i64) {
        let mut due = Vec::new();
        let tells = !self.told_elsewhere.load(Ordering::Relaxed);
        self.error_rates.lock().retain(|tenant, rate| {
            if let Some(alert) = rate.look(now_ms, tells) {
                due.push((Arc::clone(tenant), alert));
            }
            !rate.is_over()
        });
        for (tenant, alert) in due {
            self.publish(AlertEvent {
                tenant: Some(tenant),
                alert,
                detail: None,
            });
        }
    }

    /// How many errors each tenant tracked here in the last minute.
    #[must_use]
    pub fn errors(&self) -> Vec<(Arc<str>, u64)> {
        let rates = self.error_rates.lock();
        let errors = rates.iter().filter(|(_, rate)| rate.total() > 0);
        errors
            .map(|(tenant, rate)| (Arc::clone(tenant), rate.total()))
            .collect()
    }

    /// How many each tenant tracked in the last minute at other servers, and whether this one tells
    /// of error rates or another does. What follows is published when time goes on.
    pub fn set_errors_elsewhere(&self, mut errors: HashMap<Arc<str>, u64>, tells: bool) {
        self.told_elsewhere.store(!tells, Ordering::Relaxed);
        let Some(rule) = *self.error_rule.lock() else {
            return;
        };
        let mut rates = self.error_rates.lock();
        for (tenant, rate) in rates.iter_mut() {
            rate.set_elsewhere(errors.remove(tenant).unwrap_or_default());
        }
        for (tenant, count) in errors {
            let mut rate = ErrorRate::new(rule, self.repeat);
            rate.set_elsewhere(count);
            rates.insert(tenant, rate);
        }
    }

    /// Publishes what a rule that is evaluated elsewhere has found, in the one order of all.
    pub fn tell(&self, event: AlertEvent) {
        self.publish(event);
    }

    /// The same of what the other servers of the service have been told already.
    pub fn tell_sent(&self, event: AlertEvent) {
        self.publish_by(event, |sink, offset, event| {
            sink.publish_sent(offset, event);
        });
    }

    /// Another server of the service has published this.
    pub fn hear(&self, event: AlertEvent) {
        self.publish_by(event, |sink, offset, event| sink.hear(offset, event));
    }

    /// The server's own rules from now on. One that is there goes on with its incident; the
    /// incident of one that is not there any more ends.
    pub fn set_rules(&self, rules: impl IntoIterator<Item = Rule>, now_ms: i64) {
        let ended: Vec<Alert> = {
            let mut held = self.rules.lock();
            let mut before = std::mem::take(&mut *held);
            for rule in rules {
                let place = before
                    .iter()
                    .position(|state| state.rule().name == rule.name);
                held.push(match place {
                    Some(place) => before.swap_remove(place).with_rule(rule),
                    None => RuleState::new(rule, self.repeat),
                });
            }
            let ends = |state: RuleState| state.end(now_ms);
            before.into_iter().filter_map(ends).collect()
        };
        for alert in ended {
            self.publish(AlertEvent {
                tenant: None,
                alert,
                detail: None,
            });
        }
    }

    /// The rule on tracked errors from now on; without one its incidents end.
    pub fn set_error_rate(&self, rule: Option<Rule>, now_ms: i64) {
        *self.error_rule.lock() = rule;
        let mut ended = Vec::new();
        {
            let mut rates = self.error_rates.lock();
            match rule {
                Some(rule) => rates.values_mut().for_each(|rate| rate.set_rule(rule)),
                None => {
                    for (tenant, rate) in rates.drain() {
                        ended.extend(rate.end(now_ms).map(|alert| (tenant, alert)));
                    }
                }
            }
        }
        for (tenant, alert) in ended {
            self.publish(AlertEvent {
                tenant: Some(tenant),
                alert,
                detail: None,
            });
        }
    }

    /// Which of the server's own rules fire.
    #[must_use]
    pub fn firing(&self) -> Vec<Firing> {
        let rules = self.rules.lock();
        rules.iter().filter_map(RuleState::firing).collect()
    }

    /// For which tenants the rule on tracked errors fires.
    #[must_use]
    pub fn firing_error_rates(&self) -> Vec<(Arc<str>, Firing)> {
        let rates = self.error_rates.lock();
        let firing = rates.iter();
        firing
            .filter_map(|(tenant, rate)| Some((Arc::clone(tenant), rate.firing()?)))
            .collect()
    }

    fn publish(&self, event: AlertEvent) {
        self.publish_by(event, |sink, offset, event| sink.publish(offset, event));
    }

    fn publish_by(&self, event: AlertEvent, tell: impl Fn(&dyn AlertSink, u64, &AlertEvent)) {
        {
            let mut incidents = self.incidents.lock();
            let alert = &event.alert;
            match alert.state {
                AlertState::Firing => incidents.active.insert(alert.incident, event.clone()),
                AlertState::Resolved => incidents.active.remove(&alert.incident),
            };
            let offset = incidents.next;
            incidents.next += 1;
            for sink in &self.sinks {
                tell(&**sink, offset, &event);
            }
        }
        // After the lock: a log that is slow to be written holds nobody up.
        let AlertEvent { tenant, alert, .. } = event;
        tracing::info!(
            alert.rule = alert.rule,
            alert.incident = %alert.incident,
            alert.state = ?alert.state,
            alert.tenant = tenant.as_deref(),
            "alert {:?}: {}",
            alert.state,
            alert.message,
        );
    }

    /// The newest event of each incident that goes on and that this tenant may see, oldest
    /// incident first.
    #[must_use]
    pub fn active(&self, tenant: &str) -> Vec<Alert> {
        let incidents = self.incidents.lock();
        incidents
            .active
            .values()
            .filter(|event| event.is_for(tenant))
            .map(|event| event.alert.clone())
            .collect()
    }

    /// The newest event of each incident that goes on and that this tenant may see, oldest incident
    /// first, with all that is known of it.
    #[must_use]
    pub fn events(&self, tenant: &str) -> Vec<AlertEvent> {
        let incidents = self.incidents.lock();
        let events = incidents.active.values();
        events
            .filter(|event| event.is_for(tenant))
            .cloned()
            .collect()
    }

    /// The newest event of each incident that goes on of a rule that is evaluated elsewhere.
    #[must_use]
    pub fn told(&self) -> Vec<AlertEvent> {
        let incidents = self.incidents.lock();
        let told = incidents.active.values();
        told.filter(|event| event.detail.is_some())
            .cloned()
            .collect()
    }

    /// All incidents that go on, and what `read` finds while nothing is published: what is kept of
    /// both belongs together.
    pub fn with_active<T>(&self, read: impl FnOnce() -> T) -> (Vec<AlertEvent>, T) {
        let incidents = self.incidents.lock();
        (incidents.active.values().cloned().collect(), read())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("active", &self.incidents.lock().active.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::BuiltIn;

    use super::*;
    use crate::default_rules;

    struct Cpu(i64, f64);

    impl Query for Cpu {
        fn now_ms(&self) -> i64 {
            self.0 * 1000
        }

        fn newest(&self, metric: BuiltIn) -> f64 {
            match metric {
                BuiltIn::Cpu => self.1,
                _ => f64::NAN,
            }
        }
    }

    /// Which sink, the number, and what it heard.
    type Told = (&'static str, u64, AlertState);

    struct Heard(Arc<Mutex<Vec<Told>>>, &'static str);

    impl AlertSink for Heard {
        fn publish(&self, offset: u64, event: &AlertEvent) {
            self.0.lock().push((self.1, offset, event.alert.state));
        }
    }

    #[test]
    fn every_sink_hears_everything_once_and_in_one_order() {
        let heard = Arc::default();
        let sinks: Vec<Arc<dyn AlertSink>> = vec![
            Arc::new(Heard(Arc::clone(&heard), "first")),
            Arc::new(Heard(Arc::clone(&heard), "second")),
        ];
        let manager = Manager::new(default_rules(), Duration::from_secs(10), sinks);
        manager.restore(7, []);
        for (second, cpu) in [(1, 95.0), (2, 96.0), (3, 10.0)] {
            manager.observe(&Cpu(second, cpu));
        }
        assert_eq!(
            *heard.lock(),
            [
                ("first", 7, AlertState::Firing),
                ("second", 7, AlertState::Firing),
                ("first", 8, AlertState::Resolved),
                ("second", 8, AlertState::Resolved),
            ]
        );
        assert!(manager.active("default").is_empty());
    }

    #[test]
    fn a_tenants_incident_is_its_own_and_outlives_a_restart() {
        let manager = Manager::new([], Duration::from_secs(10), Vec::new());
        for item in 0..=100 {
            manager.count_error("a", item);
        }
        assert_eq!(manager.active("a").len(), 1);
        assert!(manager.active("b").is_empty());
        let (active, ()) = manager.with_active(|| ());
        let later = Manager::new([], Duration::from_secs(10), Vec::new());
        later.restore(2, active);
        assert_eq!(later.active("a"), manager.active("a"));
        later.observe_time(120_000);
        assert!(later.active("a").is_empty(), "the errors are long over");
    }
}
