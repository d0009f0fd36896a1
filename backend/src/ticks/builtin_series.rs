//! Which series this server measures itself, so that lists and pages can tell them from pushed
//! ones. They are the default tenant's.

use std::collections::HashSet;

use parking_lot::RwLock;
use pulseboard_engine::DEFAULT_TENANT;

use crate::ticks::window::Series;

/// The host's load and memory as tracked items (CONTRACT section 2), whenever they come.
const TRACKED: [&str; 4] = [
    "performance_count",
    "performance_sum",
    "performance{metric=\"cpu_load\"}",
    "performance{metric=\"memory_usage\"}",
];

/// The keys of such series; grows with what the host has, which is bounded.
#[derive(Debug)]
pub struct OwnSeries {
    /// Leaf lock.
    keys: RwLock<HashSet<String>>,
}

impl Default for OwnSeries {
    fn default() -> Self {
        Self {
            keys: RwLock::new(TRACKED.map(str::to_owned).into()),
        }
    }
}

impl OwnSeries {
    /// Takes in what the built-in source measures.
    pub fn learn(&self, series: &[Series]) {
        let mut keys = self.keys.write();
        keys.extend(series.iter().map(|series| series.key.clone()));
    }

    /// Whether the built-in source measures this one, so that nobody may push it.
    #[must_use]
    pub fn measures(&self, tenant: &str, key: &str) -> bool {
        self.has(tenant, key) && !TRACKED.contains(&key)
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, tenant: &str, key: &str) -> bool {
        tenant == DEFAULT_TENANT && self.keys.read().contains(key)
    }
}
