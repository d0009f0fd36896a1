//! `/api/receivers` and `/api/notifications`: who is told, made and tried while the server runs,
//! and what became of what they were told. Secrets are in no answer.

use std::{collections::BTreeSet, sync::Arc};

use pulseboard_notify::config::RouteConfig;
use pulseboard_receivers::outbox::DeliveryState;
use pulseboard_shared::{Labels, Timestamp};
use salvo::{Depot, Request, Response, handler, http::StatusCode, writing::Json};
use serde::Serialize;
use serde_json::{Value, json};

use super::change::{Asked, caught_up, unwritten, wrong_field};
use crate::{
    app::App,
    base::error::AppError,
    http::{
        body::{blocking, read_json, wrong_body},
        caller, path, query,
        tenant::reading,
    },
    notifying::{Change, MakeError, NOBODY},
};

/// Notifications of one answer.
const LIMIT_MAX: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;

fn refusal(error: MakeError) -> AppError {
    let detail = error.to_string();
    match error {
        MakeError::ReadOnly | MakeError::Exists(_) => AppError::new(StatusCode::CONFLICT, detail),
        MakeError::NotFound(_) => AppError::not_found(detail),
        MakeError::Invalid(_) => wrong_body(detail),
        MakeError::Field(pointer, what) => wrong_field(pointer, what),
        MakeError::Document(error) => unwritten(&error, detail),
    }
}

/// Who is told of what.
#[handler]
pub async fn list_receivers(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    Ok(Json(blocking(move || listed(&app, &tenant)).await?))
}

fn listed(app: &App, tenant: &str) -> Value {
    let is_of_file = app.notifying.is_of_file(tenant);
    let config = app
        .notifying
        .read(tenant, |state| Arc::clone(state.manager().config()));
    let used = used(config.route.as_ref());
    let receivers: Vec<Value> = config
        .receivers
        .iter()
        // the one that stands for nobody is none of theirs
        .filter(|receiver| is_of_file || receiver.name != NOBODY)
        .filter_map(|receiver| {
            let mut shown = serde_json::to_value(receiver).ok()?;
            shown["source"] = json!(if is_of_file { "file" } else { "api" });
            shown["used"] = json!(used.contains(&*receiver.name));
            Some(shown)
        })
        .collect();
    json!({
        "receivers": receivers,
        "route": config.route,
        "editable": !is_of_file,
    })
}

/// Names of the receivers that routes lead to.
fn used(route: Option<&RouteConfig>) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut left: Vec<&RouteConfig> = route.into_iter().collect();
    while let Some(route) = left.pop() {
        names.insert(&*route.receiver);
        left.extend(&route.routes);
    }
    names
}

/// Has a change done where it may wait for the disk.
async fn change(app: &Arc<App>, tenant: &str, by: &str, change: Change) -> Result<(), AppError> {
    let what = match &change {
        Change::Make(_) => "a receiver was made",
        Change::Replace(..) => "a receiver was changed",
        Change::Remove(_) => "a receiver was removed",
    };
    caught_up(app).await?;
    let (worker, named) = (Arc::clone(app), tenant.to_owned());
    let changed = blocking(move || worker.notifying.change_receivers(&named, change));
    changed.await?.map_err(refusal)?;
    tracing::info!(by, tenant, "{what}");
    Ok(())
}

async fn one(app: Arc<App>, tenant: String, name: String) -> Result<Json<Value>, AppError> {
    let found = blocking(move || {
        let listed = listed(&app, &tenant);
        let all = listed["receivers"].as_array();
        let found = all.and_then(|all| all.iter().find(|one| one["name"] == *name));
        found.cloned().unwrap_or_default()
    });
    Ok(Json(found.await?))
}

/// Makes a receiver.
#[handler]
pub async fn make_receiver(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = Asked::by_admin(request, depot)?;
    let receiver = receiver_of(read_json(&app, request).await?);
    let name = receiver["name"].as_str().unwrap_or_default().to_owned();
    change(&app, &tenant, &by, Change::Make(receiver)).await?;
    response.status_code(StatusCode::CREATED);
    one(app, tenant, name).await
}

/// What the server adds to a receiver that it tells of is not taken back from who sends that again.
fn receiver_of(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("source");
        fields.remove("used");
    }
    body
}

/// Puts another in its place; what is hidden in it stays as it is.
#[handler]
pub async fn replace_receiver(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = Asked::by_admin(request, depot)?;
    let old = path::named(request, "name")?;
    let receiver = receiver_of(read_json(&app, request).await?);
    let name = receiver["name"].as_str().unwrap_or_default().to_owned();
    change(&app, &tenant, &by, Change::Replace(old, receiver)).await?;
    one(app, tenant, name).await
}

/// Removes one.
#[handler]
pub async fn remove_receiver(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let Asked { app, tenant, by } = Asked::by_admin(request, depot)?;
    let old = path::named(request, "name")?;
    change(&app, &tenant, &by, Change::Remove(old)).await?;
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// Sends a test over each way of a receiver.
#[handler]
pub async fn test_receiver(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = Asked::by_admin(request, depot)?;
    let name = path::named(request, "name")?;
    let tested = app.notifying.test(&tenant, &name).await;
    let tested = tested.ok_or_else(|| refusal(MakeError::NotFound(name.clone())))?;
    tracing::info!(by, tenant, receiver = name, "a test was sent");
    let results: Vec<Value> = tested
        .into_iter()
        .map(|one| {
            json!({
                "integration": one.way.0,
                "outcome": if one.sent { "sent" } else { "failed" },
                "detail": one.said,
            })
        })
        .collect();
    Ok(Json(json!({ "results": results })))
}

/// A notification and what became of it.
#[derive(Serialize)]
struct Shown {
    key: String,
    receiver: String,
    integration: String,
    group: Labels,
    alerts: usize,
    status: String,
    created: Timestamp,
    at: Timestamp,
    tries: u32,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// The newest notifications and what became of them, newest first.
#[handler]
pub async fn list_notifications(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    let limit = query::limit(request, LIMIT_DEFAULT, LIMIT_MAX)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let worker = Arc::clone(&app);
    let log = app
        .questions
        .ask(keys, move |_| worker.notifying.log(&tenant));
    let shown: Vec<Shown> = log
        .await?
        .into_iter()
        .take(limit)
        .map(|logged| {
            let line = logged.line;
            Shown {
                key: line.key,
                receiver: logged.receiver,
                integration: logged.integration,
                group: line.group_labels,
                alerts: line.alerts,
                status: line.status,
                created: Timestamp::from_millis(line.created_ms),
                at: Timestamp::from_millis(line.at_ms),
                tries: line.tries,
                outcome: match line.state {
                    DeliveryState::Waiting | DeliveryState::Retrying => "waiting",
                    DeliveryState::Sent => "sent",
                    DeliveryState::Failed | DeliveryState::Gone => "failed",
                },
                detail: line.error,
            }
        })
        .collect();
    Ok(Json(json!({ "notifications": shown })))
}
