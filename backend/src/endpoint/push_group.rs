//! `PUT|POST|DELETE /metrics/job/JOB{/LABEL/VALUE}`: what batch jobs push, as Prometheus'
//! Pushgateway takes and answers it: 200 for what was pushed, 202 for a group that ends, 400 for a
//! body of which one line is wrong, and nothing of it is taken then.
//!
//! A push is of the moment of its arrival and nothing repeats it: a series is as old as the last
//! push to it.

use std::sync::Arc;

use pulseboard_ingest::{
    BodyError,
    push_group::{self, Encoding, Grouping},
};
use pulseboard_scrape::metadata;
use pulseboard_series::Reason;
use salvo::{
    Depot, Request, Response, handler,
    http::{Method, StatusCode, header},
};

use crate::{
    base::error::AppError,
    http::{self, caller, ingest},
    ingest::{Adding, Push},
};

/// What all groups' paths begin with.
const PREFIX: &str = "/metrics/";

/// Replaces (PUT), changes (POST) or ends (DELETE) what a group has.
#[handler]
pub async fn push_to_group(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
    let path = request.uri().path();
    let path = path.strip_prefix(PREFIX).unwrap_or_default();
    let grouping = Grouping::of_path(path).map_err(AppError::bad_request)?;
    let grouping = Arc::new(grouping);
    let push = match *request.method() {
        Method::PUT => Push::Replace,
        Method::POST => Push::Merge,
        _ => Push::Delete,
    };
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let encoding = Encoding::from_content_type(content_type.unwrap_or_default());
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let (worker, group) = (Arc::clone(&app), Arc::clone(&grouping));
    let taken = ingest::take(
        &app,
        &tenant,
        request,
        depot,
        None,
        move |owner, body, batch| {
            if push != Push::Delete {
                push_group::parse(encoding, body, &group, batch)?;
                if let Encoding::Text(_) = encoding {
                    let mut notes = worker.told.notes(&owner.name);
                    metadata::each(body, |told| notes.add(told));
                }
                let written = push_group::write_push_time(&group, worker.clock.now_ms(), batch);
                written.map_err(in_body)?;
            }
            if batch.is_out_of_room() {
                return Ok(Adding(None));
            }
            let tenants = &worker.ingest.tenants;
            let pending = tenants.push_to_group(owner, (&group, push), &keys, batch);
            Ok(Adding(Some(pending)))
        },
    )
    .await?;
    if let Some(error) = &taken.not_durable {
        return Err(ingest::not_durable(taken.accepted, error));
    }
    if let Some(pending) = taken.said.0 {
        let tenants = &app.ingest.tenants;
        tenants.confirm_push(&tenant, &grouping, pending);
    }
    if let Some(first) = taken.refused.first() {
        return Err(AppError::bad_request(format!(
            "{} samples were refused; line {}: {}",
            taken.refused_total, first.line, first.reason
        )));
    }
    response.status_code(match push {
        Push::Delete => StatusCode::ACCEPTED,
        Push::Replace | Push::Merge => StatusCode::OK,
    });
    Ok(())
}

fn in_body(reason: Reason) -> BodyError {
    BodyError::Line { line: 1, reason }
}
