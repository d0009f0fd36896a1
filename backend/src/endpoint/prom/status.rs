//! What a client of Prometheus looks at before it asks: which server this is, whether it is well.

use bytes::Bytes;
use pulseboard_engine::DEFAULT_TENANT;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
};
use serde_json::{Value, json};

use super::answer::{ApiError, send, success};
use crate::{
    app::App,
    base::error::AppError,
    http::{self, caller, ingest::engine_tenant},
};

/// The version of Prometheus whose API this is, for clients that look before they use it.
const API_VERSION: &str = "3.0.0";

/// Expressions of one link.
const GRAPHS_MAX: usize = 8;

async fn small(depot: &mut Depot, data: impl FnOnce(&App) -> Value) -> Result<Bytes, ApiError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    Ok(success(&data(&app)))
}

/// Which server this is.
#[handler]
pub async fn build_info(depot: &mut Depot, response: &mut Response) {
    let answered = small(depot, |_| {
        json!({
            "version": API_VERSION,
            "revision": concat!("pulseboard-", env!("CARGO_PKG_VERSION")),
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        })
    });
    let answered = answered.await;
    send(response, answered);
}

/// Since when it runs, and how long it keeps what.
#[handler]
pub async fn runtime_info(depot: &mut Depot, response: &mut Response) {
    let answered = small(depot, |app| {
        let started_ms = app.clock.now_ms() - app.uptime_seconds().saturating_mul(1000);
        let file = app.scraping.state();
        // without a file: what holds since the start
        let read_ms = if file.loaded_ms > 0 {
            file.loaded_ms
        } else {
            started_ms
        };
        json!({
            "startTime": pulseboard_shared::Timestamp::from_millis(started_ms).to_string(),
            "reloadConfigSuccess": file.is_good,
            "lastConfigTime": pulseboard_shared::Timestamp::from_millis(read_ms).to_string(),
            "corruptionCount": 0,
            "storageRetention": format!("{}h", app.settings.keep_raw.as_secs() / 3600),
        })
    });
    let answered = answered.await;
    send(response, answered);
}

/// How it was started: what a reader may know of it.
#[handler]
pub async fn flags(depot: &mut Depot, response: &mut Response) {
    let answered = small(depot, |app| {
        json!({
            "query.timeout": format!("{}s", app.settings.query_timeout.as_secs()),
            "query.max-samples": app.settings.query_max_samples.to_string(),
            "query.lookback-delta": "5m",
        })
    });
    let answered = answered.await;
    send(response, answered);
}

/// The file of `PROMETHEUS_CONFIG` as it is used, secrets hidden; nothing where there is none, and for
/// all tenants but the one that it is scraped for.
#[handler]
pub async fn config(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let tenant = http::tenant::tenant(request, depot).map_err(ApiError::App);
    let answered = match tenant {
        Err(error) => Err(error),
        Ok(tenant) => {
            small(depot, move |app| {
                let file = app.scraping.config().filter(|_| tenant == DEFAULT_TENANT);
                json!({"yaml": file.map(|file| file.to_yaml()).unwrap_or_default()})
            })
            .await
        }
    };
    send(response, answered);
}

/// Where a `generatorURL` of Prometheus leads to: the page that asks questions, with the expressions
/// that it names (`g0.expr`, `g1.expr`, …). No caller is asked who it is: nothing is told.
#[handler]
pub async fn graph(request: &mut Request, response: &mut Response) {
    let query = request.uri().query().unwrap_or_default();
    let expressions = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| {
            let number = name
                .strip_prefix('g')
                .and_then(|name| name.strip_suffix(".expr"));
            number.is_some_and(|number| number.parse::<u8>().is_ok())
        })
        .take(GRAPHS_MAX);
    let mut asked = form_urlencoded::Serializer::new(String::new());
    for (_, expression) in expressions {
        asked.append_pair("expr", &expression);
    }
    let location = HeaderValue::from_str(&format!("/#/explore?{}", asked.finish()));
    response.status_code(StatusCode::FOUND);
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// How many series the tenant has.
#[handler]
pub async fn tsdb(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_tsdb(request, depot).map_err(ApiError::App);
    send(response, answered);
}

fn answer_tsdb(request: &Request, depot: &Depot) -> Result<Bytes, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let series = engine_tenant(&app, request, depot)?.counts().series;
    Ok(success(&json!({
        "headStats": {"numSeries": series, "numLabelPairs": 0, "chunkCount": 0, "minTime": 0, "maxTime": app.clock.now_ms()},
        "seriesCountByMetricName": [],
        "labelValueCountByLabelName": [],
        "memoryInBytesByLabelName": [],
        "seriesCountByLabelValuePair": [],
    })))
}

/// Whether it is alive: `/-/healthy`.
#[handler]
pub async fn healthy(response: &mut Response) {
    plain(response, "Pulseboard is healthy.\n");
}

/// Whether it answers: `/-/ready`.
#[handler]
pub async fn ready(depot: &mut Depot, response: &mut Response) {
    let is_ready = http::app::app(depot).is_ok_and(|app| app.is_ready());
    if is_ready {
        plain(response, "Pulseboard is ready.\n");
    } else {
        response.status_code(StatusCode::SERVICE_UNAVAILABLE);
        plain(response, "Pulseboard is not ready.\n");
    }
}

fn plain(response: &mut Response, text: &'static str) {
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response.body(text);
}
