//! `ALERTS` and `ALERTS_FOR_STATE` of the built-in rules that are compared with each tick, and of
//! the one on tracked errors: what a rule over stored series writes at each of its evaluations.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_alerting::{ALERTNAME, Firing, SEVERITY};
use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_promql::{Labels, labels::NAME};
use pulseboard_rules::Sample;
use pulseboard_series::STALE_MARKER_BITS;

use super::{Rules, fast_written::Key};

impl Rules {
    /// Writes which of the rules over ticks fire, at a tick's time.
    pub fn write_fast(&self, at_ms: i64) {
        let mut written = self.fast_written.lock();
        let firing = self.firing_ticks();
        self.write_firing(&mut written.ticks, firing, at_ms);
    }

    /// Writes for which tenants the rule on tracked errors fires.
    pub fn write_error_rates(&self, at_ms: i64) {
        let mut written = self.fast_written.lock();
        let firing = self.firing_errors();
        self.write_firing(&mut written.errors, firing, at_ms);
    }

    /// What fired at the end of a run before this one: it goes on, or ends by what comes first.
    pub(super) fn find_fast(&self) {
        let mut written = self.fast_written.lock();
        written.ticks = self.firing_ticks();
        written.errors = self.firing_errors();
    }

    fn firing_ticks(&self) -> BTreeMap<Key, i64> {
        let firing = self.alerts.manager().firing();
        if firing.is_empty() {
            return BTreeMap::new();
        }
        let tenant: Arc<str> = DEFAULT_TENANT.into();
        let firing = firing.into_iter();
        firing.map(|one| entry(Arc::clone(&tenant), one)).collect()
    }

    fn firing_errors(&self) -> BTreeMap<Key, i64> {
        let firing = self.alerts.manager().firing_error_rates().into_iter();
        firing.map(|(tenant, one)| entry(tenant, one)).collect()
    }

    fn write_firing(
        &self,
        before: &mut BTreeMap<Key, i64>,
        firing: BTreeMap<Key, i64>,
        at_ms: i64,
    ) {
        if before.is_empty() && firing.is_empty() {
            return;
        }
        let mut samples: BTreeMap<&Arc<str>, Vec<Sample>> = BTreeMap::new();
        for (key, started_ms) in &firing {
            let started_s = started_ms.div_euclid(1000) as f64;
            samples
                .entry(&key.0)
                .or_default()
                .extend(both(key, at_ms, [1.0, started_s]));
        }
        for key in before.keys().filter(|key| !firing.contains_key(*key)) {
            let over = f64::from_bits(STALE_MARKER_BITS);
            samples
                .entry(&key.0)
                .or_default()
                .extend(both(key, at_ms, [over; 2]));
        }
        for (tenant, samples) in samples {
            self.write(tenant, &samples);
        }
        *before = firing;
    }
}

fn entry(tenant: Arc<str>, firing: Firing) -> (Key, i64) {
    ((tenant, firing.rule, firing.severity), firing.started_ms)
}

/// A sample of each of an alert's two series.
fn both((_, rule, severity): &Key, at_ms: i64, [state, since]: [f64; 2]) -> [Sample; 2] {
    let labels = |name: &str| {
        let labels = Labels::default().with(NAME, name).with(ALERTNAME, rule);
        labels.with(SEVERITY, severity.as_str())
    };
    let sample = |labels: Labels, value: f64| Sample {
        labels,
        at_ms,
        value,
    };
    let alerts = labels("ALERTS").with("alertstate", "firing");
    [
        sample(alerts, state),
        sample(labels("ALERTS_FOR_STATE"), since),
    ]
}
