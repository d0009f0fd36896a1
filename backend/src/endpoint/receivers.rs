//! `/api/receivers` and `/api/notifications`: who is told, made and tried while the server runs,
//! and what became of what they were told. Secrets are in no answer.

use std::{collections::BTreeSet, sync::Arc};

use pulseboard_notify::config::RouteConfig;
use pulseboard_receivers::outbox::DeliveryState;
use pulseboard_shared::{Labels, Timestamp};
use salvo::{
    Depot, Request, Response, handler,
    http::{StatusCode, header::ETAG},
    writing::Json,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::change::{Asked, caught_up, unwritten, wrong_field};
use crate::{
    app::App,
    base::{
        documents::{DocumentError, Expected, Revision},
        error::AppError,
    },
    http::{
        body::{blocking, read_json, wrong_body},
        caller, if_match, path, query,
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
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    let listed = blocking(move || listed(&app, &tenant)).await?;
    tagged(&listed["revision"], response);
    Ok(Json(listed))
}

/// What is made in a file is changed there, and has no `ETag`.
fn tagged(revision: &Value, response: &mut Response) {
    if let Some(revision) = revision.as_u64() {
        response.headers_mut().insert(ETAG, if_match::tag(revision));
    }
}

fn listed(app: &App, tenant: &str) -> Value {
    let is_of_file = app.notifying.is_of_file(tenant);
    // Before they are read: a state that is newer than its revision is refused for nothing, and an
    // older one would be taken for the newest.
    let revision = app.notifying.receivers_revision(tenant);
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
            if !is_of_file {
                shown["revision"] = json!(revision);
            }
            Some(shown)
        })
        .collect();
    let mut shown = json!({
        "receivers": receivers,
        "route": config.route,
        "editable": !is_of_file,
    });
    if !is_of_file {
        shown["revision"] = json!(revision);
    }
    shown
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

/// Which state a request believes the receivers are in, by its `If-Match` and by its body.
struct Believed {
    by_header: Option<Expected>,
    expected: Expected,
}

impl Believed {
    fn of(asked: &Asked, request: &Request, revision: Option<u64>) -> Result<Self, AppError> {
        let notifying = &asked.app.notifying;
        if notifying.is_of_file(&asked.tenant) {
            return Err(refusal(MakeError::ReadOnly));
        }
        let now = notifying.receivers_revision(&asked.tenant);
        let by_header = if_match::expected(request, now)?;
        let by_body = match revision {
            None => Expected::Any,
            Some(0) => Expected::New,
            Some(revision) => Expected::Revision(Revision(revision)),
        };
        Ok(Self {
            by_header,
            expected: if_match::both(by_header, by_body)?,
        })
    }
}

/// Has a change done where it may wait for the disk.
async fn change(asked: &Asked, change: Change, believed: Believed) -> Result<(), AppError> {
    let what = match &change {
        Change::Make(_) => "a receiver was made",
        Change::Replace(..) => "a receiver was changed",
        Change::Remove(_) => "a receiver was removed",
    };
    let Asked { app, tenant, by } = asked;
    let (worker, named) = (Arc::clone(app), tenant.clone());
    let Believed {
        by_header,
        expected,
    } = believed;
    let changed =
        blocking(move || worker.notifying.change_receivers(&named, change, expected)).await?;
    changed.map_err(|error| match (&error, by_header) {
        (MakeError::Document(DocumentError::Conflict { .. }), Some(_)) => if_match::changed(),
        _ => refusal(error),
    })?;
    tracing::info!(by, tenant, "{what}");
    Ok(())
}

/// One of them, with the `ETag` of all.
async fn one(asked: Asked, name: String, response: &mut Response) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, .. } = asked;
    let found = blocking(move || {
        let listed = listed(&app, &tenant);
        let all = listed["receivers"].as_array();
        let found = all.and_then(|all| all.iter().find(|one| one["name"] == *name));
        found.cloned().unwrap_or_default()
    });
    let found = found.await?;
    tagged(&found["revision"], response);
    Ok(Json(found))
}

/// Makes a receiver.
#[handler]
pub async fn make_receiver(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let asked = Asked::by_admin(request, depot)?;
    let (receiver, revision) = receiver_of(read_json(&asked.app, request).await?)?;
    let name = receiver["name"].as_str().unwrap_or_default().to_owned();
    caught_up(&asked.app).await?;
    let believed = Believed::of(&asked, request, revision)?;
    change(&asked, Change::Make(receiver), believed).await?;
    response.status_code(StatusCode::CREATED);
    one(asked, name, response).await
}

/// A receiver, and the revision that was read with it. What the server adds to a receiver that it
/// tells of is not taken back from who sends that again.
fn receiver_of(mut body: Value) -> Result<(Value, Option<u64>), AppError> {
    let mut revision = None;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("source");
        fields.remove("used");
        if let Some(read) = fields.remove("revision") {
            let wrong = || {
                let what = "a number, as it was read".to_owned();
                wrong_field("/revision".to_owned(), what)
            };
            revision = Some(read.as_u64().ok_or_else(wrong)?);
        }
    }
    Ok((body, revision))
}

/// Puts another in its place; what is hidden in it stays as it is. With the `revision` that was
/// read, or the `ETag`, nothing that somebody else changed meanwhile is lost.
#[handler]
pub async fn replace_receiver(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let asked = Asked::by_admin(request, depot)?;
    let old = path::named(request, "name")?;
    let (receiver, revision) = receiver_of(read_json(&asked.app, request).await?)?;
    let name = receiver["name"].as_str().unwrap_or_default().to_owned();
    caught_up(&asked.app).await?;
    let believed = Believed::of(&asked, request, revision)?;
    change(&asked, Change::Replace(old, receiver), believed).await?;
    one(asked, name, response).await
}

/// Removes one.
#[handler]
pub async fn remove_receiver(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let asked = Asked::by_admin(request, depot)?;
    let old = path::named(request, "name")?;
    caught_up(&asked.app).await?;
    let believed = Believed::of(&asked, request, None)?;
    change(&asked, Change::Remove(old), believed).await?;
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
