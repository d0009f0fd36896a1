//! `POST /metrics/track`: one item that an application counts (CONTRACT section 7).
//!
//! An item is counted in the tenant's tallies and kept in the journal; the engine gets the running
//! count and sum as two counters (`NAME_count`, `NAME_sum`), which lose nothing when many items
//! come in one millisecond. An item whose metadata names a `metric` is also a sample of
//! `NAME{metric="…"}`.

use std::sync::Arc;

use pulseboard_engine::Tenant;
use pulseboard_history::log::LogError;
use pulseboard_series::{Batch, Kind, Reason, key::check_name, limits::LABEL_VALUE_BYTES_MAX};
use pulseboard_shared::{FieldError, Labels};
use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;
use serde_json::Value;

use super::body::{read_json, wrong_body};
use crate::http;
use crate::http::caller;
use crate::{
    app::App,
    base::error::AppError,
    ingest::{self, engine_tenant, find_place},
    refusals::Sent,
    ticks::window::series_key,
    tracking::TooManyNames,
};

/// The type whose rate is watched.
const ERROR: &str = "error";

/// Characters of a user's id.
const USER_CHARS_MAX: usize = 256;

/// What tracking answers.
#[derive(Debug, Serialize)]
pub struct Tracked {
    success: bool,
    #[serde(rename = "metricId")]
    metric_id: String,
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its type.
    pub name: String,
    /// Its value; any finite number.
    pub value: f64,
    /// What its metadata says that it is a measure of.
    pub metric: Option<String>,
}

/// Counts one item.
#[handler]
pub async fn track_item(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Tracked>, AppError> {
    caller::require_write(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    find_place(&app, depot, &tenant, &keys)?;
    let body: Value = read_json(&app, request).await?;
    let now_ms = app.clock.now_ms();
    let read = read_item(&body).and_then(|item| {
        check_free(&app, &tenant, &item)?;
        Ok(item)
    });
    let item = read.inspect_err(|error| {
        let of = Sent {
            tenant: &tenant.name,
            door: request.uri().path(),
            sender: Some(caller::client_address(request)),
            at_ms: now_ms,
        };
        app.refusals.note(&of, [(None, error.detail().to_owned())]);
    })?;
    let metric_id = format!("{}-{now_ms}-{:08x}", item.name, fastrand::u32(..));
    let error = track(&app, &tenant, item, now_ms)
        .await
        .map_err(|error| AppError::too_many(error.to_string(), 60))?;
    match error {
        None => Ok(Json(Tracked {
            success: true,
            metric_id,
        })),
        Some(error) => Err(ingest::not_safe(1, &error)),
    }
}

/// Counts an item and waits until it is safe; why it is not, where it is not.
///
/// # Errors
/// The tenant has too many types; nothing was counted.
pub async fn track(
    app: &App,
    tenant: &Arc<Tenant>,
    item: Item,
    now_ms: i64,
) -> Result<Option<LogError>, TooManyNames> {
    let tallies = app.tallies.tenant(&tenant.name);
    let name = item.name.as_str();
    let count = || tallies.add(name, item.value, now_ms);
    let (tally, kept) = match &app.storage.journal {
        Some(journal) => {
            let (tally, kept) = journal.item((&tenant.name, name), item.value, now_ms, count)?;
            (tally, Some(kept))
        }
        None => (count()?, None),
    };
    let mut batch = Batch::new();
    let written = write_rows(&mut batch, &item, tally.count as f64, tally.total, now_ms);
    if let Err(reason) = written {
        tracing::debug!(%reason, item.name = name, "a tracked item is no series");
    }
    let appended = app.storage.engine.append(tenant, &batch, now_ms);
    if name == ERROR {
        app.alerts.count_error(&tenant.name, now_ms);
    }
    let kept = match kept {
        None => None,
        Some(Err(error)) => Some(error),
        Some(Ok(ticket)) => ticket.wait().await.err(),
    };
    Ok(kept.or(ingest::wait(app, appended.safety).await))
}

fn write_rows(
    batch: &mut Batch,
    item: &Item,
    count: f64,
    total: f64,
    now_ms: i64,
) -> Result<(), Reason> {
    for (suffix, value) in [("_count", count), ("_sum", total)] {
        batch.begin(&[&item.name, suffix])?;
        batch.describe(Kind::Counter, "");
        batch.finish(1, Some(now_ms), value)?;
    }
    if let Some(metric) = &item.metric {
        batch.begin(&[&item.name])?;
        batch.label("metric", metric)?;
        batch.describe(Kind::Gauge, "");
        batch.finish(1, Some(now_ms), item.value)?;
    }
    Ok(())
}

/// Whether the series that an item makes are nobody's yet.
fn check_free(app: &App, tenant: &Tenant, item: &Item) -> Result<(), AppError> {
    let series = ["_count", "_sum"].map(|suffix| format!("{}{suffix}", item.name));
    let taken = series.iter().find(|name| {
        let key = series_key(name, &Labels::new());
        app.own.measures(&tenant.name, &key)
    });
    let Some(name) = taken else { return Ok(()) };
    let detail = format!("{name} is a series that this server measures itself");
    let errors = vec![FieldError {
        pointer: "/type".to_owned(),
        detail: detail.clone(),
    }];
    Err(AppError::bad_request(detail).with_errors(errors))
}

/// The item that a body is; every field that is not as it should be is named.
fn read_item(body: &Value) -> Result<Item, AppError> {
    let Value::Object(fields) = body else {
        return Err(wrong_body(
            "the body is to be an object {\"type\":NAME,\"value\":NUMBER}".to_owned(),
        ));
    };
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: String| {
        errors.push(FieldError {
            pointer: pointer.to_owned(),
            detail,
        });
    };
    let name = match fields.get("type") {
        Some(Value::String(name)) => {
            if let Err(reason) = check_name(name) {
                wrong("/type", reason.to_string());
            }
            name.clone()
        }
        _ => {
            wrong(
                "/type",
                "needed: a text that names what is counted".to_owned(),
            );
            String::new()
        }
    };
    // JSON has no NaN; what is too large for a double is refused when the body is read.
    let value = fields.get("value").and_then(Value::as_f64);
    let value = value.filter(|value| value.is_finite());
    if value.is_none() {
        wrong("/value", "needed: a number".to_owned());
    }
    match fields.get("userId") {
        None | Some(Value::Null) => {}
        Some(Value::String(user)) if user.chars().count() <= USER_CHARS_MAX => {}
        Some(_) => wrong(
            "/userId",
            format!("when there: a text of at most {USER_CHARS_MAX} characters"),
        ),
    }
    let metric = match fields.get("metadata") {
        None | Some(Value::Null) => None,
        Some(Value::Object(metadata)) => metadata
            .get("metric")
            .and_then(Value::as_str)
            .filter(|metric| metric.len() <= LABEL_VALUE_BYTES_MAX)
            .map(str::to_owned),
        Some(_) => {
            wrong("/metadata", "when there: an object".to_owned());
            None
        }
    };
    match value {
        Some(value) if errors.is_empty() => Ok(Item {
            name,
            value,
            metric,
        }),
        _ => {
            let fields: Vec<&str> = errors.iter().map(|error| &*error.pointer).collect();
            let detail = format!("the body's {} cannot be taken", fields.join(", "));
            Err(AppError::bad_request(detail).with_errors(errors))
        }
    }
}
