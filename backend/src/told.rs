//! What senders say of their metrics beside the samples: type, help and unit, as `# TYPE` and `# HELP`
//! of a text and as remote write 1.0 brings them. Bounded, forgotten with the process, and said again
//! by senders all the time.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use pulseboard_scrape::metadata::Metric;

/// Metrics of one tenant; what comes past them is not known.
const METRICS_MAX: usize = 10_000;
/// What a tenant's take.
const TENANT_BYTES_MAX: usize = 2 << 20;
/// What those of all tenants take. Past it the tenant that has most begins anew.
const ALL_BYTES_MAX: usize = 16 << 20;
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

impl Told {
    /// Takes note of what was said in place of what was said before.
    pub fn note(&self, tenant: &str, metric: Metric) {
        let says_nothing =
            metric.kind == "unknown" && metric.help.is_empty() && metric.unit.is_empty();
        if metric.metric.is_empty() || says_nothing {
            return;
        }
        let mut all = self.0.lock();
        let known = all.tenants.get(tenant);
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
        all.bytes = all.bytes - held + bytes;
        let known = all.tenants.entry(tenant.into()).or_default();
        known.bytes = bytes;
        known.metrics.insert(metric.metric.as_str().into(), metric);
        if all.bytes > ALL_BYTES_MAX {
            all.drop_largest();
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
        told.note("red", metric("a", "gauge", ""));
        told.note("red", metric("a", "counter", "Counts."));
        told.note("red", metric("b", "unknown", ""));
        told.note("blue", metric("c", "gauge", ""));
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
            told.note("red", metric(&format!("m{at}"), "gauge", &help));
        }
        let of_red = told.of("red", None).len();
        assert!((1_000..METRICS_MAX).contains(&of_red), "{of_red}");
        for tenant in 0..20 {
            for at in 0..1_500 {
                let name = format!("m{at}");
                told.note(&format!("t{tenant}"), metric(&name, "gauge", &help));
            }
            let all = told.0.lock();
            assert!(all.bytes <= ALL_BYTES_MAX);
            let sum: usize = all.tenants.values().map(|known| known.bytes).sum();
            assert_eq!(all.bytes, sum);
        }
        told.note("late", metric("a", "gauge", ""));
        assert_eq!(told.of("late", None).len(), 1);
    }
}
