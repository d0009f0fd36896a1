//! The page's few plain requests: its settings, and the questions of [`super::probe`].

use gloo::utils::window;
use pulseboard_shared::Alert;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, RequestCache, RequestInit, RequestMode, Response};

use super::{
    config::Endpoint,
    json::Json,
    probe::{self, Diagnosis, Reply},
    refusal::Refusal,
    wire,
};
use crate::platform;

/// A request that is not answered by then never will be, for the reader.
const TIMEOUT_MS: u32 = 4_000;

/// What the server computes may take as long as the server lets it.
const QUESTION_TIMEOUT_MS: u32 = 60_000;

/// Beginning of the key of a token in the tab's storage; the backend's origin follows, so that a
/// token is never shown to another server than the one it was given for.
const TOKEN_KEY: &str = "pulseboard-token ";

/// What the server is to do with what is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Tell of it.
    Get,
    /// Make one, or do it.
    Post,
    /// Replace it.
    Put,
    /// Take it away.
    Delete,
}

impl Method {
    /// The browser makes capitals of it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

async fn get(address: &str, mode: RequestMode) -> Option<Response> {
    let init = RequestInit::new();
    init.set_mode(mode);
    send(address, &init, TIMEOUT_MS).await
}

async fn send(address: &str, init: &RequestInit, within_ms: u32) -> Option<Response> {
    init.set_cache(RequestCache::NoCache);
    init.set_signal(Some(&AbortSignal::timeout_with_u32(within_ms)));
    let answer = JsFuture::from(window().fetch_with_str_and_init(address, init)).await;
    answer.ok()?.dyn_into().ok()
}

async fn text(response: &Response) -> Option<String> {
    JsFuture::from(response.text().ok()?)
        .await
        .ok()?
        .as_string()
}

/// The token that this tab shows to `endpoint`; only where no cookie reaches.
#[must_use]
pub fn token(endpoint: &Endpoint) -> Option<String> {
    platform::remembered_in_tab(&format!("{TOKEN_KEY}{}", endpoint.origin()))
}

/// Keeps the token for `endpoint` in this tab, or forgets it.
pub fn keep_token(endpoint: &Endpoint, token: Option<&str>) {
    platform::remember_in_tab(&format!("{TOKEN_KEY}{}", endpoint.origin()), token);
}

/// Asks the server; the text of its answer. `body` is JSON and makes it a POST.
///
/// # Errors
/// No answer, or one with an error status.
pub async fn call(endpoint: &Endpoint, path: &str, body: Option<&str>) -> Result<String, Refusal> {
    call_as(endpoint, path, body, token(endpoint).as_deref()).await
}

/// Asks as [`call`] does, with a token that is not kept (yet).
///
/// # Errors
/// As [`call`].
pub async fn call_as(
    endpoint: &Endpoint,
    path: &str,
    body: Option<&str>,
    token: Option<&str>,
) -> Result<String, Refusal> {
    let method = match body.is_some() {
        true => Method::Post,
        false => Method::Get,
    };
    request(endpoint, (method, path), body, token).await
}

/// Asks with a method of its own; `body` is JSON, and the token is that of [`call`].
///
/// # Errors
/// As [`call`].
pub async fn change(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<&str>,
) -> Result<String, Refusal> {
    let token = token(endpoint);
    request(endpoint, (method, path), body, token.as_deref()).await
}

/// Whether the server computes, or asks others, before it answers.
fn takes_long(path: &str) -> bool {
    path.starts_with("/api/v1/query") || path.ends_with("/rehearse") || path.ends_with("/test")
}

async fn request(
    endpoint: &Endpoint,
    (method, path): (Method, &str),
    body: Option<&str>,
    token: Option<&str>,
) -> Result<String, Refusal> {
    let init = RequestInit::new();
    init.set_method(method.as_str());
    if let Ok(headers) = Headers::new() {
        // Both fail only for what is no header: then the server says what is missing.
        if let Some(token) = token {
            drop(headers.set("authorization", &format!("Bearer {token}")));
        }
        if let Some(body) = body {
            drop(headers.set("content-type", "application/json"));
            init.set_body(&body.into());
        }
        init.set_headers(&headers);
    }
    let within_ms = match takes_long(path) {
        true => QUESTION_TIMEOUT_MS,
        false => TIMEOUT_MS,
    };
    let response = send(&endpoint.http(path), &init, within_ms)
        .await
        .ok_or_else(Refusal::silence)?;
    let text = text(&response).await;
    if response.ok() {
        text.ok_or_else(Refusal::silence)
    } else {
        Err(Refusal::new(response.status(), &text.unwrap_or_default()))
    }
}

/// A ticket for one stream.
///
/// # Errors
/// As [`call`].
pub async fn ticket(endpoint: &Endpoint) -> Result<String, Refusal> {
    let text = call(endpoint, "/api/tickets", Some("{}")).await?;
    let made = Json::parse(&text).unwrap_or_default();
    let ticket = made.get("ticket").text().map(str::to_owned);
    ticket.ok_or_else(Refusal::silence)
}

/// The text of `config.json` beside `index.html`; `None` when there is no such file.
pub async fn config() -> Option<String> {
    // Relative to `<base href>`: the page may lie under a path.
    let response = get("config.json", RequestMode::SameOrigin).await?;
    if !response.ok() {
        return None;
    }
    text(&response).await
}

async fn ask(address: &str) -> Reply {
    if let Some(response) = get(address, RequestMode::Cors).await {
        let status = response.status();
        let body = text(&response).await.unwrap_or_default();
        // How a Pulseboard server introduces itself.
        let ours =
            Json::parse(&body).is_some_and(|health| health.text_of("service") == "pulseboard");
        return Reply::Status { status, ours };
    }
    // A request that may not be read still tells whether anybody answers.
    match get(address, RequestMode::NoCors).await {
        Some(_) => Reply::Hidden,
        None => Reply::Nothing,
    }
}

/// The incidents that go on now; `None` when the server does not say.
pub async fn active_alerts(endpoint: &Endpoint) -> Option<Vec<Alert>> {
    let text = call(endpoint, "/api/alerts", None).await.ok()?;
    Json::parse(&text)?.list().iter().map(wire::alert).collect()
}

/// Finds out why the socket of `endpoint` does not open.
pub async fn diagnose(endpoint: &Endpoint) -> Diagnosis {
    if endpoint.blocked_as_insecure(&platform::page_origin()) {
        return Diagnosis::InsecureBackend;
    }
    let health = ask(&endpoint.http("/healthz")).await;
    let socket = match &health {
        Reply::Status { ours: true, .. } => Some(ask(&endpoint.http("/ws/metrics")).await),
        _ => None,
    };
    probe::conclude(&health, socket.as_ref())
}
