//! What a client of Prometheus looks at before it asks: which server this is, whether it is well.

use std::collections::{BTreeMap, BTreeSet};

use pulseboard_engine::{
    DEFAULT_TENANT, Selector,
    query::{self, QueryError},
};
use pulseboard_forward::View;
use pulseboard_promql::{Labels, labels::NAME, parse_duration};
use pulseboard_shared::Timestamp;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, send, success},
    asking::Asking,
};
use crate::{
    app::App,
    expressions::labels_of,
    http::{self, caller},
    questions::{Finished, Working},
};

/// The version of Prometheus whose API this is, for clients that look before they use it.
const API_VERSION: &str = "3.0.0";

/// Expressions of one link.
const GRAPHS_MAX: usize = 8;

async fn small(depot: &mut Depot, data: impl FnOnce(&App) -> Value) -> Result<Finished, ApiError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    Ok(success(&data(&app)))
}

/// Which server this is, as `buildinfo` and `/version` tell it.
fn build() -> Value {
    json!({
        "version": API_VERSION,
        "revision": concat!("pulseboard-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

/// Which server this is.
#[handler]
pub async fn build_info(depot: &mut Depot, response: &mut Response) {
    let answered = small(depot, |_| build());
    let answered = answered.await;
    send(response, answered);
}

/// The same without an envelope.
#[handler]
pub async fn version(depot: &mut Depot, response: &mut Response) {
    let answered = caller::require_read(depot)
        .map(|()| Finished::Uncounted(build().to_string().into()))
        .map_err(ApiError::from);
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
            "startTime": Timestamp::from_millis(started_ms).to_string(),
            "reloadConfigSuccess": file.is_good,
            "lastConfigTime": Timestamp::from_millis(read_ms).to_string(),
            "corruptionCount": 0,
            "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            "GOMAXPROCS": tokio::runtime::Handle::current().metrics().num_workers(),
            // There is no Go here that any of it could be said of.
            "GOGC": "",
            "GODEBUG": "",
            "CWD": "",
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

/// The file of `PROMETHEUS_CONFIG` as it is used, secrets hidden, with what of it is not; nothing
/// where there is none, and for all tenants but the one that it is scraped for.
#[handler]
pub async fn config(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_config(request, depot);
    send(response, answered);
}

fn answer_config(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let (app, tenant) = http::tenant::reading(request, depot).map_err(ApiError::App)?;
    let is_theirs = tenant == DEFAULT_TENANT;
    let file = app.scraping.config().filter(|_| is_theirs);
    let yaml = file.as_ref().map(|file| file.to_yaml());
    let mut answer = json!({"status": "success", "data": {"yaml": yaml.unwrap_or_default()}});
    let warnings = app.scraping.state().warnings;
    if file.is_some() && !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    Ok(Finished::Uncounted(answer.to_string().into()))
}

/// To whom `remote_write` of the file sends samples on, and how that goes; told to those who may
/// know of the tenant whose samples they are.
#[handler]
pub async fn remote_write(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let tenant = http::tenant::reading(request, depot).map_err(ApiError::App);
    let answered = match tenant {
        Err(error) => Err(error),
        Ok((_, tenant)) => {
            small(depot, move |app| {
                let is_theirs = tenant == app.settings.remote_write_tenant;
                let views = app.scraping.forwarding().views();
                let views = views.iter().filter(|_| is_theirs).map(receiver);
                json!({"receivers": views.collect::<Vec<_>>()})
            })
            .await
        }
    };
    send(response, answered);
}

fn receiver(view: &View) -> Value {
    let at = |at_ms: i64| (at_ms > 0).then(|| Timestamp::from_millis(at_ms).to_string());
    json!({
        "name": view.name,
        "url": view.url,
        "state": if view.trouble.is_some() { "retrying" } else { "ok" },
        "lastError": view.trouble.as_ref().or(view.refusal.as_ref()),
        "lastSent": at(view.taken_at_ms),
        "newestSample": at(view.newest_ms),
        "newestSentSample": at(view.newest_sent_ms),
        "waitingSamples": view.waiting,
        "bufferBytes": view.bytes,
        "chosenSamples": view.chosen,
        "droppedSamples": view.dropped + view.broken,
        "sentSamples": view.sent,
        "refusedSamples": view.refused,
        "givenUpSamples": view.given_up,
        "unwrittenSamples": view.unwritten,
        "requests": view.requests[0],
        "refusedRequests": view.requests[1],
        "retriedRequests": view.requests[2],
    })
}

/// Where a `generatorURL` of Prometheus leads to: the page that asks questions, with the
/// expressions that it names (`g0.expr`, `g1.expr`, …) and how much time the first one shows
/// (`g0.range_input`). No caller is asked who it is: nothing is told.
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
    let range = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "g0.range_input");
    if let Some((_, range)) = range.filter(|(_, range)| is_range(range)) {
        asked.append_pair("range", &range);
    }
    lead_to(response, &format!("/#/explore?{}", asked.finish()));
}

/// Where Prometheus has its alerts, they are on the page's first view. No caller is asked who it
/// is: nothing is told.
#[handler]
pub async fn alerts(response: &mut Response) {
    lead_to(response, "/#/alerts");
}

/// Whether the page reads it as a length of time: `90m`, `1d12h`.
fn is_range(text: &str) -> bool {
    parse_duration(text).is_some_and(|ms| ms > 0) && !text.contains("ms")
}

fn lead_to(response: &mut Response, location: &str) {
    response.status_code(StatusCode::FOUND);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// How many series the tenant has, and of which names and labels most; `limit` of each.
#[handler]
pub async fn tsdb(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = answer_tsdb(request, depot).await;
    send(response, answered);
}

/// How many of each kind are told without a `limit`, as Prometheus does.
const TOLD: usize = 10;

async fn answer_tsdb(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    let limit = match asking.params.get("limit") {
        None => TOLD,
        Some(_) => asking.params.limit()?,
    };
    asking
        .work(move |asking, working| {
            let now_ms = asking.app.clock.now_ms();
            let keep_ms = i64::try_from(asking.app.settings.keep_raw.as_millis());
            let since_ms = now_ms.saturating_sub(keep_ms.unwrap_or(i64::MAX));
            let all = all_series(asking, working, (since_ms, now_ms))?;
            let counts = Counts::of(&all);
            let pairs = counts.pairs.iter();
            let pairs = pairs.map(|((name, value), count)| (format!("{name}={value}"), *count));
            let of_names = |counts: &BTreeMap<&str, usize>| {
                let all = counts.iter();
                most(all.map(|(name, count)| ((*name).to_owned(), *count)), limit)
            };
            let told = json!({"status": "success", "data": {
                // Series have no chunks of Prometheus' kind.
                "headStats": {
                    "numSeries": counts.series,
                    "numLabelPairs": counts.pairs.len(),
                    "chunkCount": 0,
                    "minTime": since_ms,
                    "maxTime": now_ms,
                },
                "seriesCountByMetricName": of_names(&counts.metrics),
                "labelValueCountByLabelName": of_names(&counts.values),
                "memoryInBytesByLabelName": of_names(&counts.bytes),
                "seriesCountByLabelValuePair": most(pairs, limit),
            }});
            let mut text = working.text();
            text.push_json(&told)?;
            Ok(working.finish(text.into_pieces()))
        })
        .await
}

/// The series that have raw samples, each once.
fn all_series(
    asking: &Asking,
    working: &Working,
    stretch: (i64, i64),
) -> Result<BTreeSet<Labels>, ApiError> {
    let mut all = BTreeSet::new();
    query::keys(
        &asking.app.storage.engine,
        &asking.tenant,
        &Selector::all(),
        stretch,
        &working.cost,
        &mut |key, _, _| -> Result<(), ApiError> {
            let labels = labels_of(key);
            if all.contains(&labels) {
                return Ok(());
            }
            // Itself, and what is counted of it.
            let texts = labels.iter().map(|(name, value)| name.len() + value.len());
            let bytes = texts.map(|bytes| bytes + 160).sum::<usize>() + 64;
            working.cost.hold(bytes).map_err(QueryError::from)?;
            all.insert(labels);
            Ok(())
        },
    )?;
    Ok(all)
}

/// How many there are of what.
#[derive(Default)]
struct Counts<'a> {
    series: usize,
    metrics: BTreeMap<&'a str, usize>,
    /// Series that have a label with a value.
    pairs: BTreeMap<(&'a str, &'a str), usize>,
    /// Values of a label, and their bytes.
    values: BTreeMap<&'a str, usize>,
    bytes: BTreeMap<&'a str, usize>,
}

impl<'a> Counts<'a> {
    fn of(all: &'a BTreeSet<Labels>) -> Self {
        let mut counts = Self {
            series: all.len(),
            ..Self::default()
        };
        for (name, value) in all.iter().flat_map(Labels::iter) {
            if name == NAME {
                *counts.metrics.entry(value).or_default() += 1;
            }
            *counts.pairs.entry((name, value)).or_default() += 1;
        }
        for &(name, value) in counts.pairs.keys() {
            *counts.values.entry(name).or_default() += 1;
            *counts.bytes.entry(name).or_default() += value.len();
        }
        counts
    }
}

/// The largest of them, as Prometheus lists them.
fn most(all: impl Iterator<Item = (String, usize)>, limit: usize) -> Vec<Value> {
    let mut all: Vec<(String, usize)> = all.collect();
    all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let told = all.into_iter().take(limit);
    told.map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
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
