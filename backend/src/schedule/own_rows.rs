//! What the server measures itself becomes samples of series that are like all others.

use std::sync::Arc;

use pulseboard_engine::Tenant;
use pulseboard_series::Batch;

use crate::{
    app::App,
    ticks::{builtin_series, window::Series},
};

/// Hands samples of the server's own series to the engine: they are series like all others, of the
/// default tenant. Nobody waits for them to be safe.
pub(super) fn keep_rows<'a>(
    app: &App,
    tenant: &Arc<Tenant>,
    batch: &mut Batch,
    at_ms: i64,
    rows: impl Iterator<Item = (&'a Series, f64)>,
) {
    batch.clear();
    for (series, value) in rows.filter(|(_, value)| !value.is_nan()) {
        let value = rounded(value, &series.unit);
        if let Err(reason) = builtin_series::write_row(batch, series, at_ms, value) {
            tracing::debug!(%reason, series.key, "a built-in series cannot be kept");
        }
    }
    let engine = &app.storage.engine;
    let appended = engine.append_own(tenant, batch, app.clock.now_ms());
    if appended.refused_total > 0 {
        tracing::debug!(refused = ?appended.refused, "built-in samples were refused");
    }
}

/// A built-in figure at its useful resolution: what is beyond is noise, and costs most of the
/// space on the disk.
fn rounded(value: f64, unit: &str) -> f64 {
    let per_unit = match unit {
        "%" | "°C" => 10.0,
        "B" | "B/s" | "s" => 1.0,
        _ => 100.0,
    };
    let scaled = (value * per_unit).round();
    if scaled.abs() < 1e15 {
        scaled / per_unit
    } else {
        value
    }
}
