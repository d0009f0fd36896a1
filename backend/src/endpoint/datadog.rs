//! What Datadog's agent and its libraries send to, below `/datadog`: series of both versions,
//! checks, whether a key is known, and what the agent tells of itself. Answers are those of
//! Datadog's API: `{"status":"ok"}`, or `{"errors":[…]}` with a status by which the agent knows
//! whether to send it again.

use std::sync::Arc;

use pulseboard_ingest::datadog::{self, Encoding};
use salvo::{
    Depot, Request, Response, handler,
    http::{StatusCode, header},
    writing::Json,
};
use serde_json::{Value, json};

use crate::{
    base::error::AppError,
    http::{self, body, caller, error::Render as _, ingest},
    ingest::{Adding, IngestOutcome},
};

/// Refusals that an answer tells.
const TOLD_MAX: usize = 10;

/// Series of version 1: `{"status":"ok"}`.
#[handler]
pub async fn write_series_v1(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let taken = take_series(Encoding::Json, request, depot).await;
    answer(taken, json!({ "status": "ok" }), response)
}

/// Series of version 2, in JSON or protobuf: `{"errors":[]}`.
#[handler]
pub async fn write_series_v2(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let encoding = Encoding::from_content_type(content_type.unwrap_or_default());
    let taken = take_series(encoding, request, depot).await;
    answer(taken, json!({ "errors": [] }), response)
}

async fn take_series(
    encoding: Encoding,
    request: &mut Request,
    depot: &mut Depot,
) -> Result<IngestOutcome<Adding<()>>, AppError> {
    let app = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
    let worker = Arc::clone(&app);
    ingest::take(
        &app,
        &tenant,
        request,
        depot,
        None,
        move |tenant, body, batch| {
            let known = |key: &[u8]| worker.storage.engine.last_of(tenant, key);
            let parsed = worker.ingest.tenants.with_deltas(tenant, |totals| {
                datadog::series(encoding, body, totals, &known, batch)
            });
            parsed.map(Adding)
        },
    )
    .await
}

/// Checks, whose status is a series.
#[handler]
pub async fn write_checks(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let taken = take_checks(request, depot).await;
    answer(taken, json!({ "status": "ok" }), response)
}

async fn take_checks(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<IngestOutcome<Adding<()>>, AppError> {
    let app = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
    ingest::take(&app, &tenant, request, depot, None, |_, body, batch| {
        datadog::checks(body, batch).map(Adding)
    })
    .await
}

/// Whether the key is known and may write.
#[handler]
pub async fn validate_key(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    match caller::require_write(depot) {
        Ok(()) => response.render(Json(json!({ "valid": true }))),
        // Of all statuses 403 is the one that the agent takes for a key that is wrong.
        Err(error)
            if matches!(
                error.status(),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            ) =>
        {
            render_errors(StatusCode::FORBIDDEN, &[error.detail()], response);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What the agent tells of its host, and events: taken and not kept.
#[handler]
pub async fn take_intake(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_write(depot)?;
    let app = http::app::app(depot)?;
    body::skip(request, app.ingest.body_bytes_max()).await?;
    response.status_code(StatusCode::ACCEPTED);
    response.render(Json(json!({ "status": "ok" })));
    Ok(())
}

/// 202 where anything was taken or nothing was there, with what was refused; 400 where all was.
fn answer(
    taken: Result<IngestOutcome<Adding<()>>, AppError>,
    fine: Value,
    response: &mut Response,
) -> Result<(), AppError> {
    let taken = taken.and_then(|taken| match &taken.not_durable {
        Some(error) => Err(ingest::not_durable(taken.accepted, error)),
        None => Ok(taken),
    });
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => return Err(error),
        Err(error) => {
            let (status, text) = (error.status(), error.detail().to_owned());
            // Its headers say when to try again.
            error.render(response);
            render_errors(status, &[&text], response);
            return Ok(());
        }
    };
    if taken.refused_total == 0 {
        response.status_code(StatusCode::ACCEPTED);
        response.render(Json(fine));
        return Ok(());
    }
    let told = taken.refused.iter().take(TOLD_MAX);
    let told: Vec<String> = told
        .map(|refused| format!("series {}: {}", refused.line, refused.reason))
        .collect();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let status = match taken.accepted {
        0 => StatusCode::BAD_REQUEST,
        _ => StatusCode::ACCEPTED,
    };
    render_errors(status, &told, response);
    Ok(())
}

fn render_errors(status: StatusCode, errors: &[&str], response: &mut Response) {
    response.status_code(status);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.replace_body(salvo::http::ResBody::None);
    response.render(Json(json!({ "errors": errors })));
}
