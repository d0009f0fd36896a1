//! Expressions: at one time, over a range, and as text and tree.

use std::time::{Duration, Instant};

use pulseboard_engine::query::QueryError;
use pulseboard_promql::{
    Answer, EvalError, Expr, Labels, Notes, Options, ast::ValueType, instant, parse, print::pretty,
    range, tree::tree,
};
use salvo::{Depot, Request, Response, handler};
use serde_json::{Value, json};

use super::{
    answer::{ApiError, number, point, push_labels, seconds, send, success},
    asking::Asking,
    params::{Params, bad_expression},
};
use crate::{
    app::App,
    expressions::TenantSeries,
    questions::{Finished, Text, Working},
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
    let answered = no_exemplars(request, depot).await;
    send(response, answered);
}

async fn no_exemplars(request: &mut Request, depot: &mut Depot) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, _| {
            asking.params.span()?;
            expression(&asking.params)?;
            Ok(success(&json!([])))
        })
        .await
}

/// An expression, put in order.
#[handler]
pub async fn format_query(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = with_expression(request, depot, |expr| json!(pretty(expr))).await;
    send(response, answered);
}

/// An expression as a tree.
#[handler]
pub async fn parse_query(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    let answered = with_expression(request, depot, tree).await;
    send(response, answered);
}

/// What follows from an expression alone.
async fn with_expression(
    request: &mut Request,
    depot: &mut Depot,
    data: impl FnOnce(&Expr) -> Value + Send + 'static,
) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    asking
        .work(|asking, _| Ok(success(&data(&expression(&asking.params)?))))
        .await
}

fn expression(params: &Params) -> Result<Expr, ApiError> {
    parse(asked_text(params)).map_err(|error| bad_expression("query", &error))
}

/// Nothing is an expression that says where it is missing.
fn asked_text(params: &Params) -> &str {
    params.get("query").unwrap_or_default()
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
    /// Whoever asks waits no longer.
    timeout: Option<Duration>,
    /// When it came, where it is to be told how long what took.
    came: Option<Instant>,
}

fn read_instant(params: &Params, now_ms: i64) -> Result<Times, ApiError> {
    Ok(Times::At(params.time("time")?.unwrap_or(now_ms)))
}

fn read_range(params: &Params, _now_ms: i64) -> Result<Times, ApiError> {
    for name in ["start", "end", "step"] {
        params.needed(name)?;
    }
    let (start_ms, end_ms) = params.span()?;
    let (Some(start_ms), Some(end_ms), Some(step_ms)) =
        (start_ms, end_ms, params.duration("step")?)
    else {
        return Err(ApiError::BadData(
            "start, end and step are needed".to_owned(),
        ));
    };
    if step_ms <= 0 {
        return Err(ApiError::BadData(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned(),
        ));
    }
    if (end_ms - start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)".to_owned(),
        ));
    }
    Ok(Times::Range(start_ms, end_ms, step_ms))
}

async fn ask(
    request: &mut Request,
    depot: &mut Depot,
    read: fn(&Params, i64) -> Result<Times, ApiError>,
) -> Result<Finished, ApiError> {
    let asking = Asking::begin(request, depot).await?;
    let params = &asking.params;
    let timeout = params.duration("timeout")?;
    let asked = Asked {
        times: read(params, asking.app.clock.now_ms())?,
        limit: params.limit()?,
        lookback_ms: params.duration("lookback_delta")?,
        timeout: timeout.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        came: params.get("stats").map(|_| Instant::now()),
    };
    asking
        .work(move |asking, working| {
            let begun = Instant::now();
            if let Some(timeout) = asked.timeout {
                working.cost.end_within(timeout);
                working.cost.check().map_err(QueryError::from)?;
            }
            let expr = expression(&asking.params)?;
            let mut series =
                TenantSeries::new(&asking.app.storage.engine, &asking.tenant, &working.cost)
                    .with_archive(asking.app.archive.as_ref());
            let asked_text = asked_text(&asking.params);
            let clock = asked.came.map(|came| Clock {
                came,
                begun,
                parsed: Instant::now(),
            });
            answer(
                &asking.app,
                (asked_text, &expr),
                (&asked, clock),
                &mut series,
                working,
            )
        })
        .await
}

/// When what of a question was done.
#[derive(Clone, Copy)]
struct Clock {
    came: Instant,
    begun: Instant,
    parsed: Instant,
}

impl Clock {
    /// What `stats` asks for, in Prometheus' words. The sorting of series is part of the evaluation
    /// here, and samples that were read once for many steps are counted once.
    fn stats(self, evaluated: Instant, samples: u64) -> Value {
        let seconds = |since: Instant, until: Instant| (until - since).as_secs_f64();
        json!({
            "timings": {
                "evalTotalTime": seconds(self.begun, evaluated),
                "resultSortTime": 0,
                "queryPreparationTime": seconds(self.begun, self.parsed),
                "innerEvalTime": seconds(self.parsed, evaluated),
                "execQueueTime": seconds(self.came, self.begun),
                "execTotalTime": seconds(self.came, evaluated),
            },
            "samples": {"totalQueryableSamples": samples, "peakSamples": samples},
        })
    }
}

fn answer(
    app: &App,
    (asked_text, expr): (&str, &Expr),
    (asked, clock): (&Asked, Option<Clock>),
    series: &mut TenantSeries<'_>,
    working: &Working,
) -> Result<Finished, ApiError> {
    let defaults = app.evaluating.options();
    let options = Options {
        lookback_ms: asked
            .lookback_ms
            .filter(|lookback| *lookback > 0)
            .unwrap_or(defaults.lookback_ms),
        ..defaults
    };
    let mut text = working.text();
    let stats = || clock.map(|clock| clock.stats(Instant::now(), working.cost.samples_taken()));
    match asked.times {
        Times::At(at_ms) => {
            let evaluate =
                |series: &TenantSeries<'_>| instant(expr, at_ms, series, series, options);
            let (answer, notes) = with_or_without(series, evaluate)?;
            let stats = stats();
            let is_cut = write_answer(&mut text, &answer, asked.limit)?;
            write_stats(&mut text, stats.as_ref())?;
            write_notes(&mut text, (&notes, &*series), asked_text, is_cut)?;
        }
        Times::Range(start_ms, end_ms, step_ms) => {
            if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
                return Err(ApiError::BadData(format!(
                    "invalid parameter \"query\": invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    match expr.value_type() {
                        ValueType::Matrix => "range vector",
                        _ => "string",
                    }
                )));
            }
            let times = (start_ms, end_ms, step_ms);
            let evaluate = |series: &TenantSeries<'_>| range(expr, times, series, series, options);
            let (matrix, notes) = with_or_without(series, evaluate)?;
            let stats = stats();
            let is_cut = write_matrix(&mut text, &matrix, asked.limit)?;
            write_stats(&mut text, stats.as_ref())?;
            write_notes(&mut text, (&notes, &*series), asked_text, is_cut)?;
        }
    }
    Ok(working.finish(text.into_pieces()))
}

/// Evaluates with what the archive has; without it, where it does not answer.
fn with_or_without<'a, T>(
    series: &mut TenantSeries<'a>,
    evaluate: impl Fn(&TenantSeries<'a>) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    match evaluate(series) {
        Err(_) if series.does_without_archive() => evaluate(series),
        evaluated => evaluated,
    }
}

/// How much it took, where that is asked for, and the end of the data.
fn write_stats(text: &mut Text<'_>, stats: Option<&Value>) -> Result<(), QueryError> {
    if let Some(stats) = stats {
        text.push(",\"stats\":")?;
        text.push_json(stats)?;
    }
    text.push("}")
}

/// What is to be said besides, and the end of the answer.
fn write_notes(
    text: &mut Text<'_>,
    (notes, series): (&Notes, &TenantSeries<'_>),
    asked_text: &str,
    is_cut: bool,
) -> Result<(), QueryError> {
    let (mut warnings, infos) = notes.texts(asked_text);
    warnings.extend(series.warnings());
    if is_cut {
        warnings.push("results truncated due to limit".to_owned());
    }
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            text.push(&format!(",\"{name}\":"))?;
            text.push_json(&texts)?;
        }
    }
    text.push("}")
}

/// The data but their end; whether series were left out.
fn write_answer(text: &mut Text<'_>, answer: &Answer, limit: usize) -> Result<bool, QueryError> {
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
            Ok(false)
        }
        Answer::Text(at_ms, value) => {
            text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":")?;
            one(text, *at_ms, value)?;
            Ok(false)
        }
        Answer::Vector(series) => {
            text.push("{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[")?;
            let mut comma = "";
            for (labels, (at_ms, value)) in series.iter().take(limit) {
                text.push(comma)?;
                text.push("{\"metric\":")?;
                push_labels(text, labels)?;
                text.push(",\"value\":")?;
                one(text, *at_ms, &point(*value))?;
                text.push("}")?;
                comma = ",";
            }
            text.push("]")?;
            Ok(series.len() > limit)
        }
        Answer::Matrix(matrix) => write_matrix(text, matrix, limit),
    }
}

fn write_matrix(
    text: &mut Text<'_>,
    matrix: &[(Labels, Vec<(i64, f64)>)],
    limit: usize,
) -> Result<bool, QueryError> {
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
            text.push(&point(*value))?;
            text.push("\"]")?;
            between = ",";
        }
        text.push("]}")?;
        comma = ",";
    }
    text.push("]")?;
    Ok(matrix.len() > limit)
}
