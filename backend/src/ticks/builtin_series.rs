//! Which series are this server's own, so that nobody pushes onto them, and lists and pages can tell
//! them from pushed ones: what it measures, which is the default tenant's, and the counts of what is
//! tracked, which are each tenant's ([`counts_of`]).

use std::collections::HashSet;

use parking_lot::RwLock;
use pulseboard_engine::{DEFAULT_TENANT, Engine, Tenant};
use pulseboard_series::{Batch, Kind, Reason};
use pulseboard_shared::Labels;

use crate::{
    ticks::window::{Series, built_in_series},
    tracking::TrackedItems,
};

/// The type of the host's two tracked items.
pub const PERFORMANCE: &str = "performance";

/// What they are measures of.
pub const TRACKED_METRICS: [&str; 2] = ["cpu_load", "memory_usage"];

/// The keys of such series; grows with what the host has, which is bounded.
#[derive(Debug)]
pub struct OwnSeries {
    /// Leaf lock.
    keys: RwLock<HashSet<String>>,
    /// Those that tracked items make; a subset.
    tracked: HashSet<String>,
}

impl Default for OwnSeries {
    fn default() -> Self {
        let tracked: HashSet<String> = tracked_series().map(|series| series.key).collect();
        Self {
            keys: RwLock::new(tracked.clone()),
            tracked,
        }
    }
}

impl OwnSeries {
    /// Keeps what is the server's by name for it, whatever the source: what is pushed while there
    /// is none would be mixed with what the next start measures.
    pub fn keep_names(&self, engine: &Engine) {
        let errors = Series::new("errors_per_sec", "err/s", Labels::new());
        let measured: Vec<Series> = built_in_series().chain([errors]).collect();
        self.learn(&measured);
        if let Ok(tenant) = engine.tenant(DEFAULT_TENANT) {
            reserve(engine, &tenant, measured.iter());
            reserve(engine, &tenant, tracked_series().collect::<Vec<_>>().iter());
        }
    }

    /// Takes in what the built-in source measures.
    pub fn learn(&self, series: &[Series]) {
        self.learn_keys(series.iter().map(|series| series.key.clone()));
    }

    /// Takes in what else the server measures, by the texts of the series' keys.
    pub fn learn_keys(&self, keys: impl Iterator<Item = String>) {
        self.keys.write().extend(keys);
    }

    /// Whether the built-in source measures this one, so that nothing that is tracked may make it.
    #[must_use]
    pub fn measures(&self, tenant: &str, key: &str) -> bool {
        self.has(tenant, key) && !self.tracked.contains(key)
    }

    /// Whether this is one of them.
    #[must_use]
    pub fn has(&self, tenant: &str, key: &str) -> bool {
        tenant == DEFAULT_TENANT && self.keys.read().contains(key)
    }
}

/// The series of the host's tracked items.
fn tracked_series() -> impl Iterator<Item = Series> {
    let counts = counts_of(PERFORMANCE)
        .into_iter()
        .map(|name| (name, Labels::new()));
    let measures = TRACKED_METRICS.map(|metric| {
        let labels = Labels::from([("metric".to_owned(), metric.to_owned())]);
        (PERFORMANCE.to_owned(), labels)
    });
    counts
        .chain(measures)
        .map(|(name, labels)| Series::new(&name, "", labels))
}

/// The two counters behind a tracked type, as they are called.
#[must_use]
pub fn counts_of(name: &str) -> [String; 2] {
    ["_count", "_sum"].map(|suffix| format!("{name}{suffix}"))
}

/// Keeps the counters of all that was tracked before the start for it; see [`Engine::claim`].
pub fn keep_counts(engine: &Engine, tracked: &TrackedItems) {
    for (tenant, tracked) in tracked.tenants() {
        let Ok(tenant) = engine.tenant(&tenant) else {
            continue;
        };
        for name in tracked.names() {
            let mut batch = Batch::new();
            if write_counts(&mut batch, &name, (0.0, 0.0), 0).is_ok() {
                engine.reserve(&tenant, &batch);
            }
        }
    }
}

/// Samples of a type's two counters.
///
/// # Errors
/// A name is too long, or the batch is full.
pub fn write_counts(
    batch: &mut Batch,
    name: &str,
    (count, total): (f64, f64),
    now_ms: i64,
) -> Result<(), Reason> {
    for (name, value) in counts_of(name).iter().zip([count, total]) {
        batch.begin(&[name])?;
        batch.describe(Kind::Counter, "");
        batch.finish(1, Some(now_ms), value)?;
    }
    Ok(())
}

/// Keeps series apart from what is pushed: nobody else may write to these.
pub fn reserve<'a>(engine: &Engine, tenant: &Tenant, series: impl Iterator<Item = &'a Series>) {
    let mut batch = Batch::new();
    for series in series {
        if let Err(reason) = write_row(&mut batch, series, 0, 0.0) {
            tracing::debug!(%reason, series.key, "a series of our own cannot be kept");
        }
    }
    engine.reserve(tenant, &batch);
}

/// A sample of a series of our own.
///
/// # Errors
/// It cannot be one, or the batch is full.
pub fn write_row(batch: &mut Batch, series: &Series, at_ms: i64, value: f64) -> Result<(), Reason> {
    batch.begin(&[&series.name])?;
    for (label, value) in &series.labels {
        batch.label(label, value)?;
    }
    batch.describe(Kind::Gauge, &series.unit);
    batch.finish(1, Some(at_ms), value)
}
