//! Expressions: at one time, over a range, and as text and tree.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_engine::query::QueryError;
use pulseboard_promql::{
    Answer, Expr, Labels, Options, ast::ValueType, instant, parse, print::pretty, range,
};
use salvo::{Depot, Request, Response, handler};
use serde_json::json;

use super::{
    answer::{ApiError, number, push_labels, seconds, send, success},
    params::{Params, bad_expression},
};
use crate::{
    app::App,
    expressions::TenantSeries,
    http::{self, caller, ingest::engine_tenant},
    questions::{Text, Working},
};

/// Points of a series in one answer, as Prometheus has it.
const POINTS_MAX: i64 = 11_000;

/// An expression at one time.
#[handler]
pub async fn query(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = ask(request, depot, read_instant).await;
    send(response, answered);
}

/// An expression at many times.
#[handler]
pub async fn query_range(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = ask(request, depot, read_range).await;
    send(response, answered);
}

/// Exemplars, of which there are none.
#[handler]
pub async fn query_exemplars(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = async {
        caller::require_read(depot)?;
        let app = http::app::app(depot)?;
        let params = Params::read(&app, request).await?;
        let text = params.needed("query")?;
        parse(text).map_err(|error| bad_expression("query", &error))?;
        Ok(success(&json!([])))
    };
    let answered = answered.await;
    send(response, answered);
}

/// An expression, put in order.
#[handler]
pub async fn format_query(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = parsed(request, depot).await;
    send(
        response,
        answered.map(|expr| success(&json!(pretty(&expr)))),
    );
}

async fn parsed(request: &mut Request, depot: &mut Depot) -> Result<Expr, ApiError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let params = Params::read(&app, request).await?;
    parse(params.needed("query")?).map_err(|error| bad_expression("query", &error))
}

/// Times of a question, in milliseconds.
enum Times {
    At(i64),
    Range(i64, i64, i64),
}

struct Asked {
    times: Times,
    limit: usize,
    lookback_ms: Option<i64>,
}

fn read_instant(params: &Params, now_ms: i64) -> Result<Asked, ApiError> {
    Ok(Asked {
        times: Times::At(params.time("time")?.unwrap_or(now_ms)),
        limit: params.limit()?,
        lookback_ms: params.duration("lookback_delta")?,
    })
}

fn read_range(params: &Params, _now_ms: i64) -> Result<Asked, ApiError> {
    let needed = |name: &str, value: Option<i64>| {
        value.ok_or_else(|| {
            ApiError::bad_data(format!(
                "invalid parameter {name:?}: it is missing or empty"
            ))
        })
    };
    let start_ms = needed("start", params.time("start")?)?;
    let end_ms = needed("end", params.time("end")?)?;
    if end_ms < start_ms {
        return Err(ApiError::bad_data(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    let step_ms = needed("step", params.duration("step")?)?;
    if step_ms <= 0 {
        return Err(ApiError::bad_data(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Asked {
        times: Times::Range(start_ms, end_ms, step_ms),
        limit: params.limit()?,
        lookback_ms: params.duration("lookback_delta")?,
    })
}

async fn ask(
    request: &mut Request,
    depot: &mut Depot,
    read: fn(&Params, i64) -> Result<Asked, ApiError>,
) -> Result<Bytes, ApiError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let params = Params::read(&app, request).await?;
    let asked = read(&params, app.clock.now_ms())?;
    params.duration("timeout")?;
    let text = params.needed("query")?.to_owned();
    let worker = Arc::clone(&app);
    app.questions
        .ask(keys, move |working| {
            // Here and not before: a pattern takes time to compile.
            let expr = parse(&text).map_err(|error| bad_expression("query", &error))?;
            let series = TenantSeries {
                engine: &worker.storage.engine,
                tenant: &tenant,
                cost: &working.cost,
            };
            answer(&worker, &expr, &asked, &series, working)
        })
        .await?
}

fn answer(
    app: &App,
    expr: &Expr,
    asked: &Asked,
    series: &TenantSeries<'_>,
    working: &Working,
) -> Result<Bytes, ApiError> {
    let defaults = Options::default();
    let options = Options {
        lookback_ms: asked
            .lookback_ms
            .filter(|lookback| *lookback > 0)
            .unwrap_or(defaults.lookback_ms),
        samples_max: app.settings.query_max_samples as u64,
        ..defaults
    };
    let mut text = working.text();
    match asked.times {
        Times::At(at_ms) => {
            let answer = instant(expr, at_ms, series, series, options)?;
            write_answer(&mut text, &answer, asked.limit)?;
        }
        Times::Range(start_ms, end_ms, step_ms) => {
            if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
                return Err(ApiError::bad_data(format!(
                    "invalid parameter \"query\": invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    match expr.value_type() {
                        ValueType::Matrix => "range vector",
                        _ => "string",
                    }
                )));
            }
            let times = (start_ms, end_ms, step_ms);
            let matrix = range(expr, times, series, series, options)?;
            write_matrix(&mut text, &matrix, asked.limit)?;
        }
    }
    Ok(working.finish(text.into_bytes()))
}

const TRUNCATED: &str = ",\"warnings\":[\"results truncated due to limit\"]";

fn write_answer(text: &mut Text<'_>, answer: &Answer, limit: usize) -> Result<(), QueryError> {
    let one = |text: &mut Text<'_>, at_ms: i64, value: &str| -> Result<(), QueryError> {
        text.push("[")?;
        text.push(&seconds(at_ms))?;
        text.push(",")?;
        text.push_json(&value)?;
        text.push("]")
    };
    match answer {
        Answer::Scalar((at_ms, value)) => {
            text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":")?;
            one(text, *at_ms, &number(*value))?;
            text.push("}}")
        }
        Answer::Text(at_ms, value) => {
            text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":")?;
            one(text, *at_ms, value)?;
            text.push("}}")
        }
        Answer::Vector(series) => {
            text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[")?;
            let mut comma = "";
            for (labels, (at_ms, value)) in series.iter().take(limit) {
                text.push(comma)?;
                text.push("{\"metric\":")?;
                push_labels(text, labels)?;
                text.push(",\"value\":")?;
                one(text, *at_ms, &number(*value))?;
                text.push("}")?;
                comma = ",";
            }
            text.push("]}")?;
            if series.len() > limit {
                text.push(TRUNCATED)?;
            }
            text.push("}")
        }
        Answer::Matrix(matrix) => write_matrix(text, matrix, limit),
    }
}

fn write_matrix(
    text: &mut Text<'_>,
    matrix: &[(Labels, Vec<(i64, f64)>)],
    limit: usize,
) -> Result<(), QueryError> {
    text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[")?;
    let mut comma = "";
    for (labels, points) in matrix.iter().take(limit) {
        text.push(comma)?;
        text.push("{\"metric\":")?;
        push_labels(text, labels)?;
        text.push(",\"values\":[")?;
        let mut between = "";
        for (at_ms, value) in points {
            text.push(between)?;
            text.push("[")?;
            text.push(&seconds(*at_ms))?;
            text.push(",\"")?;
            text.push(&number(*value))?;
            text.push("\"]")?;
            between = ",";
        }
        text.push("]}")?;
        comma = ",";
    }
    text.push("]}")?;
    if matrix.len() > limit {
        text.push(TRUNCATED)?;
    }
    text.push("}")
}
