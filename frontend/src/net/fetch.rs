//! The page's few plain requests: its settings, and the questions of [`super::probe`].

use gloo::utils::window;
use pulseboard_shared::Alert;
use serde::Deserialize;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, RequestCache, RequestInit, RequestMode, Response};

use super::{
    config::Endpoint,
    probe::{self, Diagnosis, Reply},
};
use crate::platform;

/// A request that is not answered by then never will be, for the reader.
const TIMEOUT_MS: u32 = 4_000;

/// How a Pulseboard server introduces itself at `/healthz`.
#[derive(Deserialize)]
struct Health {
    service: String,
}

async fn get(address: &str, mode: RequestMode) -> Option<Response> {
    let init = RequestInit::new();
    init.set_cache(RequestCache::NoCache);
    init.set_mode(mode);
    init.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MS)));
    let answer = JsFuture::from(window().fetch_with_str_and_init(address, &init)).await;
    answer.ok()?.dyn_into().ok()
}

async fn text(response: &Response) -> Option<String> {
    JsFuture::from(response.text().ok()?)
        .await
        .ok()?
        .as_string()
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
        let ours = serde_json::from_str::<Health>(&body)
            .is_ok_and(|health| health.service == "pulseboard");
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
    let response = get(&endpoint.http("/api/alerts"), RequestMode::Cors).await?;
    serde_json::from_str(&text(&response).await?).ok()
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
