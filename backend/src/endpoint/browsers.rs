//! `/api/browsers`: browsers that have subscribed to notifications, which are told of alerts also
//! while no page is open. Addresses and keys of browsers are in no answer.

use std::sync::Arc;

use pulseboard_shared::Timestamp;
use salvo::{
    Depot, Request, Response, handler,
    http::{StatusCode, header},
    writing::Json,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{Asked, caught_up, unwritten, wrong_field};
use crate::{
    base::error::AppError,
    http::{
        body::{blocking, read_json},
        caller, path,
        tenant::reading,
    },
    notifying::browsers::{Browser, BrowserError, Subscriber, Subscription},
};

/// A `PushSubscription` as browsers write it, and what the browser is called.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    name: String,
    endpoint: String,
    keys: BodyKeys,
    /// Nobody's browser says so today; what is over is told by the push service.
    #[serde(default, rename = "expirationTime")]
    _expiration_time: Option<f64>,
}

#[derive(Deserialize)]
struct BodyKeys {
    p256dh: String,
    auth: String,
}

fn refusal(error: BrowserError) -> AppError {
    let detail = error.to_string();
    match error {
        BrowserError::Field(pointer, detail) => wrong_field(pointer.to_owned(), detail),
        BrowserError::Full { .. } | BrowserError::Tenants(_) => AppError::too_many(detail, 60),
        BrowserError::Document(error) => unwritten(&error, detail),
    }
}

fn missing() -> AppError {
    AppError::not_found("there is no such browser")
}

fn shown(browser: &Browser) -> Value {
    json!({
        "id": browser.id,
        "name": browser.name,
        "by": browser.by,
        "since": Timestamp::from_millis(browser.since_ms),
    })
}

/// The key that a browser subscribes with, and those that have.
#[handler]
pub async fn list_browsers(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let (app, tenant) = reading(request, depot)?;
    let browsers = app.notifying.subscribed(&tenant);
    let browsers: Vec<Value> = browsers.iter().map(shown).collect();
    Ok(Json(json!({
        "key": app.notifying.push_key(),
        "browsers": browsers,
    })))
}

/// Whose places a browser takes: those of the token, else of the address.
fn counted(request: &Request, depot: &Depot, tenant: &str) -> String {
    let keys = caller::caller_keys(request, depot, Some(tenant));
    match (keys.token, keys.address) {
        (Some(token), _) => format!("token {token}"),
        (None, Some(address)) => address.to_string(),
        (None, None) => String::new(),
    }
}

/// Subscribes a browser.
#[handler]
pub async fn subscribe_browser(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = Asked::by_operator(request, depot)?;
    let who = Subscriber {
        by: by.clone(),
        caller: counted(request, depot, &tenant),
    };
    // Push services may want to know who sends, as an address (RFC 8292 §2.1).
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin.and_then(|origin| origin.to_str().ok());
    let origin = origin.filter(|origin| origin.starts_with("https:") && origin.len() <= 256);
    let origin = origin.unwrap_or_default().to_owned();
    let body: Body = read_json(&app, request).await?;
    let subscription = Subscription {
        name: body.name,
        endpoint: body.endpoint,
        p256dh: body.keys.p256dh,
        auth: body.keys.auth,
        origin,
    };
    caught_up(&app).await?;
    let (worker, named) = (Arc::clone(&app), tenant.clone());
    let subscribed = blocking(move || worker.notifying.subscribe(&named, subscription, who));
    let (browser, is_new) = subscribed.await?.map_err(refusal)?;
    if is_new {
        tracing::info!(
            by,
            tenant,
            browser = browser.name,
            "a browser has subscribed"
        );
        response.status_code(StatusCode::CREATED);
    }
    Ok(Json(shown(&browser)))
}

/// Forgets one: it is told nothing more.
#[handler]
pub async fn forget_browser(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let Asked { app, tenant, by } = Asked::by_operator(request, depot)?;
    let id = path::named(request, "id")?;
    caught_up(&app).await?;
    let (worker, named, which) = (Arc::clone(&app), tenant.clone(), id.clone());
    let forgotten = blocking(move || worker.notifying.forget_browser(&named, &which));
    if !forgotten.await?.map_err(refusal)? {
        return Err(missing());
    }
    tracing::info!(by, tenant, browser = id, "a browser is forgotten");
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// Sends it a test.
#[handler]
pub async fn test_browser(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Value>, AppError> {
    let Asked { app, tenant, by } = Asked::by_operator(request, depot)?;
    let id = path::named(request, "id")?;
    let browsers = app.notifying.subscribed(&tenant);
    if !browsers.iter().any(|browser| browser.id == id) {
        return Err(missing());
    }
    if !app.notifying.may_test_browser(&id) {
        let detail = "a test was sent to this browser a moment ago";
        return Err(AppError::too_many(detail, 2));
    }
    let tested = app.notifying.test_browser(&tenant, &id).await;
    let tested = tested.ok_or_else(missing)?;
    tracing::info!(by, tenant, browser = id, "a test was sent to a browser");
    Ok(Json(json!({
        "outcome": if tested.sent { "sent" } else { "failed" },
        "detail": tested.said,
    })))
}
