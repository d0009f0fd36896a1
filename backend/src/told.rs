//! What senders say of their metrics beside the samples: type, help and unit, as `# TYPE` and `#
//! HELP` of a text and as remote write 1.0 brings them. Bounded, forgotten with the process, and
//! said again by senders all the time.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use pulseboard_scrape::metadata::Metric;

/// Metrics of one tenant; what comes past them is not known.
const METRICS_MAX: usize = 10_000;
/// What a tenant's take.
const TENANT_BYTES_MAX: usize = 2 << 20;
/// What those of all tenants take. Past it the tenant that has most begins anew.
const ALL_BYTES_MAX: usize = 16 << 20;
/// Metrics that are noted under one lock. More: others wait longer for it. Fewer: it is taken more
/// often.
const NOTED_AT_ONCE: usize = 256;
/// What a tenant and a place in a map take beside their texts.
const PLACE_BYTES: usize = 128;

/// What senders said, by tenant. Leaf lock.
#[derive(Debug, Default)]
pub struct Told(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    tenants: HashMap<Box<str>, OfTenant>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct OfTenant {
    metrics: BTreeMap<Box<str>, Metric>,
    bytes: usize,
}

fn bytes_of(metric: &Metric) -> usize {
    metric.bytes() + metric.metric.len() + PLACE_BYTES
}

/// Takes note of what one body says of its tenant's metrics, some at once: senders say the same
/// again and again, and each say would wait for all others. The last of it when this is dropped.
#[derive(Debug)]
pub struct Notes<'a> {
    told: &'a Told,
    tenant: &'a str,
    waiting: Vec<Metric>,
}

impl Notes<'_> {
    /// Takes note of what was said in place of what was said before.
    pub fn add(&mut self, metric: Metric) {
        let says_nothing =
            metric.kind == "unknown" && metric.help.is_empty() && metric.unit.is_empty();
        if metric.metric.is_empty() || says_nothing {
            return;
        }
        self.waiting.push(metric);
        if self.waiting.len() >= NOTED_AT_ONCE {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut all = self.told.0.lock();
        for metric in self.waiting.drain(..) {
            all.note(self.tenant, metric);
        }
    }
}

impl Drop for Notes<'_> {
    fn drop(&mut self) {
        self.hand_on();
    }
}

impl Told {
    /// What a body of a tenant says is noted with this.
    #[must_use]
    pub fn notes<'a>(&'a self, tenant: &'a str) -> Notes<'a> {
        Notes {
            told: self,
            tenant,
            waiting: Vec::new(),
        }
    }

    /// What is known of a tenant's metrics, by name; of one alone where it is named.
    #[must_use]
    pub fn of(&self, tenant: &str, only: Option<&str>) -> Vec<Metric> {
        let all = self.0.lock();
        let Some(known) = all.tenants.get(tenant) else {
            return Vec::new();
        };
        match only {
            Some(only) => known.metrics.get(only).cloned().into_iter().collect(),
            None => known.metrics.values().cloned().collect(),
        }
    }
}

impl All {
    fn note(&mut self, tenant: &str, metric: Metric) {
        let known = self.tenants.get(tenant);
        let place = known.and_then(|known| known.metrics.get(metric.metric.as_str()));
        if place == Some(&metric) {
            return;
        }
        let (count, before) = known.map_or((0, PLACE_BYTES + tenant.len()), |known| {
            (known.metrics.len(), known.bytes)
        });
        let is_new = place.is_none();
        let bytes = before - place.map_or(0, bytes_of) + bytes_of(&metric);
        if is_new && count >= METRICS_MAX || bytes > TENANT_BYTES_MAX {
            return;
        }
        let held = known.map_or(0, |known| known.bytes);
        self.bytes = self.bytes - held + bytes;
        let known = self.tenants.entry(tenant.into()).or_default();
        known.bytes = bytes;
        known.metrics.insert(metric.metric.as_str().into(), metric);
        if self.bytes > ALL_BYTES_MAX {
            self.drop_largest();
        }
    }

    fn drop_largest(&mut self) {
        let largest = self.tenants.iter().max_by_key(|(_, known)| known.bytes);
        let Some(largest) = largest.map(|(name, _)| name.clone()) else {
            return;
        };
        if let Some(known) = self.tenants.remove(&largest) {
            self.bytes -= known.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, kind: &str, help: &str) -> Metric {
        Metric {
            metric: name.to_owned(),
            kind: kind.to_owned(),
            help: help.to_owned(),
            unit: String::new(),
        }
    }

    #[test]
    fn what_was_said_last_holds_and_each_tenant_has_its_own() {
        let told = Told::default();
        told.notes("red").add(metric("a", "gauge", ""));
        told.notes("red").add(metric("a", "counter", "Counts."));
        told.notes("red").add(metric("b", "unknown", ""));
        told.notes("blue").add(metric("c", "gauge", ""));
        assert_eq!(told.of("red", None), [metric("a", "counter", "Counts.")]);
        assert_eq!(told.of("red", Some("c")), []);
        assert_eq!(told.of("blue", Some("c")).len(), 1);
        let all = told.0.lock();
        let sum: usize = all.tenants.values().map(|known| known.bytes).sum();
        assert_eq!(all.bytes, sum);
    }

    #[test]
    fn nobody_has_more_than_there_is() {
        let told = Told::default();
        let help = "h".repeat(1_000);
        for at in 0..METRICS_MAX {
            told.notes("red")
                .add(metric(&format!("m{at}"), "gauge", &help));
        }
        let of_red = told.of("red", None).len();
        assert!((1_000..METRICS_MAX).contains(&of_red), "{of_red}");
        for tenant in 0..20 {
            for at in 0..1_500 {
                let name = format!("m{at}");
                told.notes(&format!("t{tenant}"))
                    .add(metric(&name, "gauge", &help));
            }
            let all = told.0.lock();
            assert!(all.bytes <= ALL_BYTES_MAX);
            let sum: usize = all.tenants.values().map(|known| known.bytes).sum();
            assert_eq!(all.bytes, sum);
        }
        told.notes("late").add(metric("a", "gauge", ""));
        assert_eq!(told.of("late", None).len(), 1);
    }
}
