//! `POST /metrics/track`: one item that an application counts.
//!
//! Reading it and answering; how it is counted is [`crate::tracking::track`]'s.

use pulseboard_engine::Tenant;
use pulseboard_ingest::huge;
use pulseboard_series::{key::check_name, limits::LABEL_VALUE_BYTES_MAX};
use pulseboard_shared::{FieldError, Labels};
use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;
use serde_json::Value;

use crate::{
    app::App,
    base::error::AppError,
    http::{
        self,
        body::{not_json, read_bytes, wrong_body},
        caller,
        ingest::{self, find_place, writing_tenant},
    },
    refusals::Sent,
    ticks::{builtin_series, window::series_key},
    tracking::track::{Item, TrackError},
};

/// Characters of a user's id.
const USER_CHARS_MAX: usize = 256;

/// What tracking answers.
#[derive(Debug, Serialize)]
pub struct Tracked {
    success: bool,
    #[serde(rename = "metricId")]
    metric_id: String,
}

fn refusal(error: &TrackError) -> AppError {
    match error {
        TrackError::TooManyNames(error) => AppError::too_many(error.to_string(), 60),
        TrackError::Pushed(_) => wrong_type(error.to_string()),
    }
}

/// Counts one item.
#[handler]
pub async fn track_item(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Tracked>, AppError> {
    let app = http::app::app(depot)?;
    let tenant = writing_tenant(&app, request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    find_place(&app, depot, &tenant, &keys)?;
    let body = read_value(&read_bytes(&app, request).await?)?;
    let now_ms = app.clock.now_ms();
    let read = read_item(&body).and_then(|item| {
        check_free(&app, &tenant, &item)?;
        Ok(item)
    });
    let tracked = match read {
        Ok(item) => {
            let metric_id = format!("{}-{now_ms}-{:08x}", item.name, fastrand::u32(..));
            let tracked = app.tracking().track(&tenant, item, now_ms).await;
            tracked
                .map(|counted| (metric_id, counted))
                .map_err(|error| refusal(&error))
        }
        Err(error) => Err(error),
    };
    let refused = match &tracked {
        Ok((_, counted)) => counted.refused.clone(),
        Err(error) => vec![error.detail().to_owned()],
    };
    let of = Sent {
        tenant: &tenant.name,
        endpoint: request.uri().path(),
        sender: Some(caller::client_address(request)),
        at_ms: now_ms,
    };
    app.refusals
        .note(&of, refused.into_iter().map(|reason| (None, reason)));
    let (metric_id, counted) = tracked?;
    match counted.not_durable {
        None => Ok(Json(Tracked {
            success: true,
            metric_id,
        })),
        Some(error) => Err(ingest::not_durable(1, &error)),
    }
}

/// Whether the series that an item makes are none that the server measures.
fn check_free(app: &App, tenant: &Tenant, item: &Item) -> Result<(), AppError> {
    let taken = builtin_series::counts_of(&item.name)
        .into_iter()
        .find(|name| {
            let key = series_key(name, &Labels::new());
            app.own.measures(&tenant.name, &key)
        });
    match taken {
        None => Ok(()),
        Some(name) => Err(wrong_type(format!(
            "{name} is a series that this server measures itself"
        ))),
    }
}

/// 400 for the body's type.
fn wrong_type(detail: String) -> AppError {
    let errors = vec![FieldError {
        pointer: "/type".to_owned(),
        detail: detail.clone(),
    }];
    AppError::bad_request(detail).with_errors(errors)
}

/// What a type may be called: as a metric, but for what no list can show.
fn check_type(name: &str) -> Result<(), String> {
    check_name(name).map_err(|reason| reason.to_string())?;
    if let Some(odd) = name.chars().find(|character| character.is_control()) {
        return Err(format!(
            "a type has no control characters, and this one has U+{:04X}",
            u32::from(odd)
        ));
    }
    if name.trim().is_empty() {
        return Err("a type is not made of spaces alone".to_owned());
    }
    Ok(())
}

/// The body as JSON. A number past the largest double is JSON, too: what it is the value of is
/// refused, if that is anything that is kept.
fn read_value(body: &[u8]) -> Result<Value, AppError> {
    let read = serde_json::from_slice(body);
    let read = read.or_else(|error| match huge::is_cause(&error) {
        true => serde_json::from_slice(&huge::without_huge(body)),
        false => Err(error),
    });
    read.map_err(|error| not_json(&error))
}

/// The item that a body is; every field that is not as it should be is named.
fn read_item(body: &Value) -> Result<Item, AppError> {
    let Value::Object(fields) = body else {
        return Err(wrong_body(
            "the body must be an object {\"type\":NAME,\"value\":NUMBER}".to_owned(),
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
            if let Err(reason) = check_type(name) {
                wrong("/type", reason);
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
    // JSON has no NaN; what is too large for a double is no number here.
    let value = fields.get("value").and_then(Value::as_f64);
    let value = value.filter(|value| value.is_finite());
    if value.is_none() {
        wrong("/value", "needed: a number that a double can be".to_owned());
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
            is_own: false,
        }),
        _ => {
            let fields: Vec<&str> = errors.iter().map(|error| &*error.pointer).collect();
            let detail = format!("the body's {} cannot be taken", fields.join(", "));
            Err(AppError::bad_request(detail).with_errors(errors))
        }
    }
}
