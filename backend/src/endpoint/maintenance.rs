//! `/api/maintenance`: maintenance windows, silences with a calendar. What matches is told to
//! nobody while the time is within one of the intervals, again and again.

use std::sync::Arc;

use pulseboard_notify::{
    Window,
    api::ApiMatcher,
    interval::TimeInterval,
    matcher::{Matcher, Matchers},
};
use pulseboard_shared::Timestamp;
use salvo::{
    Depot, Request, Response, handler,
    http::{StatusCode, header::ETAG},
    writing::Json,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::change::{Asked, away, caught_up, safe, wrong_field};
use crate::{
    app::App,
    base::{
        documents::{Expected, Revision},
        error::AppError,
    },
    http::{
        body::{blocking, read_json, wrong_body},
        caller, if_match, path,
        tenant::reading,
    },
    notifying::WindowError,
};

/// A window as it is to be. What the server adds to what it tells is not taken back from who sends
/// that again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    matchers: Vec<BodyMatcher>,
    intervals: Vec<TimeInterval>,
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    comment: String,
    /// The state that was read, which is the one that is meant.
    #[serde(default)]
    revision: Option<u64>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "created_by")]
    _created_by: IgnoredAny,
    #[serde(default, rename = "open")]
    _open: IgnoredAny,
    #[serde(default, rename = "next")]
    _next: IgnoredAny,
}

/// A matcher of Alertmanager's API, which lets go what it does not know; a wrong word here would
/// keep quiet what was not meant.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BodyMatcher {
    name: String,
    value: String,
    is_regex: bool,
    #[serde(default)]
    is_equal: Option<bool>,
}

impl From<BodyMatcher> for ApiMatcher {
    fn from(matcher: BodyMatcher) -> Self {
        Self {
            is_equal: matcher.is_equal.unwrap_or(true),
            is_regex: matcher.is_regex,
            name: matcher.name,
            value: matcher.value,
        }
    }
}

fn refusal(error: WindowError) -> AppError {
    let detail = error.to_string();
    match error {
        WindowError::NotFound => AppError::not_found(detail),
        WindowError::Changed => AppError::new(StatusCode::CONFLICT, detail),
        WindowError::Invalid(_) => wrong_body(detail),
        WindowError::TooManyTenants(_) => AppError::too_many(detail, 60),
        WindowError::Untold(_) => away(detail),
    }
}

/// What a body asks for, each mistake with its place.
fn window_of(body: Body, now_ms: i64) -> Result<Window, AppError> {
    let wrong = |pointer: &str, what: &str| Err(wrong_field(pointer.to_owned(), what.to_owned()));
    if body.name.trim().is_empty() {
        return wrong("/name", "is empty");
    }
    for (pointer, is_empty) in [
        ("/matchers", body.matchers.is_empty()),
        ("/intervals", body.intervals.is_empty()),
    ] {
        if is_empty {
            return wrong(pointer, "is to be a list of one or more");
        }
    }
    let until_ms = body.until.map(Timestamp::as_millis);
    if until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
        return wrong("/until", "is over already");
    }
    let matchers = body.matchers.into_iter().enumerate();
    let matchers = matchers.map(|(number, one)| {
        let told = |error| wrong_field(format!("/matchers/{number}"), error);
        Matcher::try_from(&ApiMatcher::from(one)).map_err(|error| told(error.to_string()))
    });
    Ok(Window {
        id: String::new(),
        name: body.name,
        matchers: Matchers(matchers.collect::<Result<_, _>>()?),
        intervals: body.intervals,
        created_by: String::new(),
        comment: body.comment,
        until_ms,
        revision: 0,
    })
}

fn shown(window: &Window, now_ms: i64) -> Value {
    let matchers: Vec<ApiMatcher> = window.matchers.0.iter().map(ApiMatcher::from).collect();
    let mut shown = json!({
        "id": window.id,
        "name": window.name,
        "matchers": matchers,
        "intervals": window.intervals,
        "comment": window.comment,
        "created_by": window.created_by,
        "open": window.is_open(now_ms),
        "revision": window.revision,
    });
    if let Some((from_ms, to_ms)) = window.next(now_ms) {
        shown["next"] = json!({
            "from": Timestamp::from_millis(from_ms),
            "to": Timestamp::from_millis(to_ms),
        });
    }
    if let Some(until_ms) = window.until_ms {
        shown["until"] = json!(Timestamp::from_millis(until_ms));
    }
    shown
}

/// A tenant's windows, or one of them; those whose end has come are no more.
fn known(app: &App, tenant: &str, only: Option<&str>) -> Vec<Value> {
    let now_ms = app.clock.now_ms();
    app.notifying.read(tenant, |state| {
        let windows = state.manager().windows();
        windows
            .filter(|window| only.is_none_or(|only| window.id == only))
            .filter(|window| window.until_ms.is_none_or(|until| now_ms < until))
            .map(|window| shown(window, now_ms))
            .collect()
    })
}

async fn found(app: Arc<App>, tenant: String, id: String) -> Result<Value, AppError> {
    let found = blocking(move || known(&app, &tenant, Some(&id)).pop()).await?;
    found.ok_or_else(|| refusal(WindowError::NotFound))
}

/// One, with its `ETag`.
async fn one(
    app: Arc<App>,
    tenant: String,
    id: String,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let window = found(app, tenant, id).await?;
    let revision = window["revision"].as_u64().unwrap_or_default();
    response.headers_mut().insert(ETAG, if_match::tag(revision));
    Ok(Json(window))
}

/// Which state of a window a request's `If-Match` expects.
async fn expected(
    asked: &Asked,
    request: &Request,
    id: &str,
) -> Result<Option<Expected>, AppError> {
    let window = found(Arc::clone(&asked.app), asked.tenant.clone(), id.to_owned()).await?;
    if_match::expected(request, window["revision"].as_u64().unwrap_or_default())
}

/// 412 where somebody was faster than a request with `If-Match`.
fn conflict(error: WindowError, by_header: Option<Expected>) -> AppError {
    match (&error, by_header) {
        (WindowError::Changed, Some(_)) => if_match::changed(),
        _ => refusal(error),
    }
}

/// All of a tenant's.
#[handler]
pub async fn list_windows(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let worker = Arc::clone(&app);
    // When a thousand windows are open next takes a while.
    let windows = app
        .questions
        .ask(keys, move |_| known(&worker, &tenant, None));
    let windows = windows.await?;
    Ok(Json(json!({ "windows": windows })))
}

/// One of them.
#[handler]
pub async fn get_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    one(app, tenant, path::named(request, "id")?, response).await
}

/// Makes one, or puts it in the place of the one of that identity.
async fn set(
    asked: Asked,
    request: &mut Request,
    old: Option<String>,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    caught_up(&asked.app).await?;
    let by_header = match &old {
        Some(id) => expected(&asked, request, id).await?,
        None => None,
    };
    let Asked { app, tenant, by } = asked;
    let body: Body = read_json(&app, request).await?;
    let by_body = body.revision.map_or(Expected::Any, |revision| {
        Expected::Revision(Revision(revision))
    });
    let old = match old {
        Some(id) => Some((id, if_match::both(by_header, by_body)?)),
        None => None,
    };
    let mut window = window_of(body, app.clock.now_ms())?;
    window.created_by.clone_from(&by);
    let (worker, named, who) = (Arc::clone(&app), tenant.clone(), by.clone());
    let set = blocking(move || worker.notifying.set_window(&named, old, window, &who)).await?;
    let id = set.map_err(|error| conflict(error, by_header))?;
    tracing::info!(
        by,
        tenant,
        window = id,
        "a maintenance window was made or changed"
    );
    safe(&app).await?;
    one(app, tenant, id, response).await
}

/// Makes one.
#[handler]
pub async fn make_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let asked = Asked::by_operator(request, depot)?;
    let made = set(asked, request, None, response).await?;
    response.status_code(StatusCode::CREATED);
    Ok(made)
}

/// Puts another in its place; with the `revision` that was read, or its `ETag`, nothing that
/// somebody else changed meanwhile is lost.
#[handler]
pub async fn replace_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let asked = Asked::by_operator(request, depot)?;
    let id = path::named(request, "id")?;
    set(asked, request, Some(id), response).await
}

/// Removes one: what it kept quiet is told again.
#[handler]
pub async fn remove_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let asked = Asked::by_operator(request, depot)?;
    let id = path::named(request, "id")?;
    caught_up(&asked.app).await?;
    let by_header = expected(&asked, request, &id).await?;
    let Asked { app, tenant, by } = asked;
    let expected = by_header.unwrap_or(Expected::Any);
    let (worker, named, which) = (Arc::clone(&app), tenant.clone(), id.clone());
    let removed = move || worker.notifying.remove_window(&named, &which, expected);
    let removed = blocking(removed).await?;
    removed.map_err(|error| conflict(error, by_header))?;
    tracing::info!(by, tenant, window = id, "a maintenance window was removed");
    safe(&app).await?;
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}
