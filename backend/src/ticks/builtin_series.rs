//! Which series are this server's own, so that nobody pushes onto them, and lists and pages can
//! tell them from pushed ones: what it measures, which is the default tenant's, and the counts of
//! what is tracked, which are each tenant's ([`counts_of`]).

use std::{collections::HashSet, sync::Arc};

use parking_lot::RwLock;
use pulseboard_engine::{DEFAULT_TENANT, Engine, Tenant};
use pulseboard_series::{Batch, Kind, Reason, STALE_MARKER_BITS, is_stale_marker};
use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::{
    base::documents::{Documents, Expected},
    ticks::window::{Series, built_in_series},
    tracking::TrackedItems,
};

/// The type of the host's two tracked items.
pub const PERFORMANCE: &str = "performance";

/// Series that are named in one line of the log.
const TOLD_MAX: usize = 5;

/// What they are measures of.
pub const TRACKED_METRICS: [&str; 2] = ["cpu_load", "memory_usage"];

/// The keys of such series; grows with what the host has, which is bounded.
#[derive(Debug)]
pub struct BuiltInSeries {
    /// Whether the run before this one measured the same, and when this one began.
    before: (bool, i64),
    /// Leaf lock.
    keys: RwLock<HashSet<String>>,
    /// Those that tracked items make; a subset.
    tracked: HashSet<String>,
}

/// The document that says what the last run measured.
const DOCUMENT: &str = "source";

#[derive(Serialize, Deserialize)]
struct Stored {
    source: String,
}

impl BuiltInSeries {
    /// Those of a server that begins now; `source` is what it measures. The run before it is asked
    /// for in `documents`, and this one noted.
    #[must_use]
    pub fn new(documents: &Documents, source: &str, now_ms: i64) -> Self {
        let last = documents.get::<Stored>(DOCUMENT);
        // Where nobody noted it, whoever measures now did so before.
        let was_ours = last.is_none_or(|(_, last)| last.source == source);
        let stored = Stored {
            source: source.to_owned(),
        };
        if let Err(error) = documents.put(DOCUMENT, Expected::Any, &stored) {
            tracing::warn!(%error, "what this server measures could not be noted");
        }
        let tracked: HashSet<String> = tracked_series().map(|series| series.key).collect();
        Self {
            before: (was_ours, now_ms),
            keys: RwLock::new(tracked.clone()),
            tracked,
        }
    }

    /// Takes over what the server measures from now on; see [`take_over`].
    pub fn take_over(&self, engine: &Engine, tenant: &Arc<Tenant>, batch: &Batch, now_ms: i64) {
        let keys = batch.rows().iter();
        self.learn_keys(keys.map(|row| batch.key(row).to_string()));
        take_over(engine, tenant, batch, self.before, now_ms);
    }

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
    engine.reserve(tenant, &rows_of(series));
}

/// A row for each series, of which only the key matters.
pub fn rows_of<'a>(series: impl Iterator<Item = &'a Series>) -> Batch {
    let mut batch = Batch::new();
    for series in series {
        if let Err(reason) = write_row(&mut batch, series, 0, 0.0) {
            tracing::debug!(%reason, series.key, "a series of our own cannot be kept");
        }
    }
    batch
}

/// Keeps the series of a batch's rows as [`Engine::reserve`] does. Those of them that others pushed
/// end before the first sample of our own, by a staleness marker: no line leads from their values
/// to ours, and what they pushed stays readable. `was_ours` says whether the samples that are there
/// come from an earlier run that measured the same; without it only what came since `started_ms` is
/// somebody else's.
fn take_over(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    batch: &Batch,
    (was_ours, started_ms): (bool, i64),
    now_ms: i64,
) {
    let mut ended = Batch::new();
    for row in &engine.reserve(tenant, batch) {
        let key = batch.key(row);
        let others = engine
            .last_of(tenant, key.as_bytes())
            .filter(|last| !is_stale_marker(last.1) && (!was_ours || last.0 >= started_ms));
        let Some((last_ms, _)) = others else {
            continue;
        };
        let at_ms = last_ms.saturating_add(1).max(now_ms.saturating_sub(1));
        let mut marker = || {
            ended.begin(&[key.name()])?;
            for (label, value) in key.labels() {
                ended.label(label, value)?;
            }
            ended.finish(1, Some(at_ms), f64::from_bits(STALE_MARKER_BITS))
        };
        if let Err(reason) = marker() {
            tracing::debug!(%reason, %key, "a series that others pushed cannot be ended");
        }
    }
    if ended.rows().is_empty() {
        return;
    }
    let names: Vec<String> = ended
        .rows()
        .iter()
        .take(TOLD_MAX)
        .map(|row| ended.key(row).to_string())
        .collect();
    tracing::warn!(
        series.count = ended.rows().len(),
        series.first = ?names,
        "series that were pushed are measured by this server from now on; who pushes them is refused"
    );
    engine.append_own(tenant, &ended, now_ms);
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
