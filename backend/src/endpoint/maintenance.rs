//! `/api/maintenance`: maintenance windows, silences with a calendar. What matches is told to
//! nobody while the time is within one of the intervals, again and again.

use std::sync::Arc;

use pulseboard_notify::{
    Window,
    api::ApiMatcher,
    interval::TimeInterval,
    matcher::{Matcher, Matchers},
};
use pulseboard_shared::{FieldError, Timestamp};
use salvo::{Depot, Request, Response, handler, http::StatusCode, writing::Json};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    base::error::AppError,
    http::{
        self,
        body::{blocking, read_json, wrong_body},
        caller, path,
        tenant::tenant,
    },
    notifying::WindowError,
};

/// Fields that a body may have. Those that the server adds to what it tells are not taken back from
/// who sends that again.
const FIELDS: [&str; 5] = ["name", "matchers", "intervals", "until", "comment"];
const ADDED: [&str; 3] = ["id", "created_by", "open"];

/// 400 for one field of the body.
fn wrong(pointer: String, detail: String) -> AppError {
    let named = pointer.trim_start_matches('/').replace('/', ".");
    let error = FieldError {
        pointer,
        detail: detail.clone(),
    };
    AppError::bad_request(format!("{named}: {detail}")).with_errors(vec![error])
}

fn refusal(error: WindowError) -> AppError {
    let detail = error.to_string();
    match error {
        WindowError::NotFound => AppError::not_found(detail),
        WindowError::Invalid(_) => wrong_body(detail),
        WindowError::TooManyTenants(_) => AppError::too_many(detail, 60),
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, AppError> {
    match fields.get(name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong(format!("/{name}"), "is no text".to_owned())),
    }
}

fn list<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], AppError> {
    match fields.get(name) {
        Some(Value::Array(items)) if !items.is_empty() => Ok(items),
        _ => Err(wrong(
            format!("/{name}"),
            "is to be a list of one or more".to_owned(),
        )),
    }
}

/// What a body asks for, each mistake with its place.
fn read(body: &Value, now_ms: i64) -> Result<Window, AppError> {
    let fields = body
        .as_object()
        .ok_or_else(|| wrong_body("the body is no JSON object".to_owned()))?;
    let is_known =
        |name: &&String| FIELDS.contains(&name.as_str()) || ADDED.contains(&name.as_str());
    if let Some(name) = fields.keys().find(|name| !is_known(name)) {
        return Err(wrong(
            format!("/{name}"),
            format!("is none of {}", FIELDS.join(", ")),
        ));
    }
    let name = text(fields, "name")?;
    if name.trim().is_empty() {
        return Err(wrong("/name".to_owned(), "is empty".to_owned()));
    }
    let mut matchers = Vec::new();
    for (number, one) in list(fields, "matchers")?.iter().enumerate() {
        let told = |what: String| wrong(format!("/matchers/{number}"), what);
        let one = ApiMatcher::deserialize(one).map_err(|error| told(error.to_string()))?;
        matchers.push(Matcher::try_from(&one).map_err(|error| told(error.to_string()))?);
    }
    let mut intervals = Vec::new();
    for (number, one) in list(fields, "intervals")?.iter().enumerate() {
        let interval = TimeInterval::deserialize(one);
        let told = |what: String| wrong(format!("/intervals/{number}"), what);
        intervals.push(interval.map_err(|error| told(error.to_string()))?);
    }
    let until = match fields.get("until") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let told = |what: &str| wrong("/until".to_owned(), what.to_owned());
            let text = value.as_str().ok_or_else(|| told("is no text"))?;
            let until = text.parse::<Timestamp>();
            let until = until.map_err(|error| told(&error.to_string()))?;
            if until.as_millis() <= now_ms {
                return Err(told("is over already"));
            }
            Some(until.as_millis())
        }
    };
    Ok(Window {
        id: String::new(),
        name,
        matchers: Matchers(matchers),
        intervals,
        created_by: String::new(),
        comment: text(fields, "comment")?,
        until_ms: until,
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
    });
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

async fn one(app: Arc<App>, tenant: String, id: String) -> Result<Json<Value>, AppError> {
    let found = blocking(move || known(&app, &tenant, Some(&id)).pop()).await?;
    found
        .map(Json)
        .ok_or_else(|| refusal(WindowError::NotFound))
}

/// All of a tenant's.
#[handler]
pub async fn list_windows(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    let windows = blocking(move || known(&app, &tenant, None)).await?;
    Ok(Json(json!({ "windows": windows })))
}

/// One of them.
#[handler]
pub async fn get_window(request: &mut Request, depot: &mut Depot) -> Result<Json<Value>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = tenant(request, depot)?;
    one(app, tenant, path::named(request, "id")?).await
}

struct Asked {
    app: Arc<App>,
    tenant: String,
    by: String,
}

fn asked(request: &Request, depot: &Depot) -> Result<Asked, AppError> {
    caller::require_operate(depot)?;
    Ok(Asked {
        app: http::app::app(depot)?,
        tenant: tenant(request, depot)?,
        by: caller::actor(request, depot),
    })
}

/// Makes one, or puts it in the place of the one of that identity.
async fn set(
    asked: Asked,
    request: &mut Request,
    id: Option<String>,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = asked;
    let body: Value = read_json(&app, request).await?;
    let mut window = read(&body, app.clock.now_ms())?;
    window.created_by.clone_from(&by);
    let (worker, named) = (Arc::clone(&app), tenant.clone());
    let set = blocking(move || worker.notifying.set_window(&named, id, window, &by)).await?;
    let id = set.map_err(refusal)?;
    tracing::info!(
        tenant,
        window = id,
        "a maintenance window was made or changed"
    );
    safe(&app).await?;
    one(app, tenant, id).await
}

async fn safe(app: &App) -> Result<(), AppError> {
    let kept = app.notifying.safe().await;
    kept.map_err(|error| AppError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()))
}

/// Makes one.
#[handler]
pub async fn make_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let asked = asked(request, depot)?;
    let made = set(asked, request, None).await?;
    response.status_code(StatusCode::CREATED);
    Ok(made)
}

/// Puts another in its place.
#[handler]
pub async fn replace_window(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let asked = asked(request, depot)?;
    let id = path::named(request, "id")?;
    set(asked, request, Some(id)).await
}

/// Removes one: what it kept quiet is told again.
#[handler]
pub async fn remove_window(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let Asked { app, tenant, by } = asked(request, depot)?;
    let id = path::named(request, "id")?;
    let (worker, named, which) = (Arc::clone(&app), tenant.clone(), id.clone());
    let removed = blocking(move || worker.notifying.remove_window(&named, &which)).await?;
    if !removed {
        return Err(refusal(WindowError::NotFound));
    }
    tracing::info!(by, tenant, window = id, "a maintenance window was removed");
    safe(&app).await?;
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}
