//! `GET /api/series`, `GET /api/range` and `GET /api/windows`: questions to the engine.
//!
//! They are worked on as [`crate::questions`] says. A range is sent series by series while it is
//! read, so that a large one takes no memory. Its status waits for the first piece of it: what is
//! refused on the way is so by its status if the answer is short.

use std::sync::Arc;

use pulseboard_engine::{
    DEFAULT_TENANT, Selector, Tenant,
    query::{
        self, Aggregation, Few, LIST_MAX, Limits, ListRequest, ListStream, QueryError,
        RangeRequest, RangeStream, Rank, Step, TOP_MAX,
    },
};
use pulseboard_shared::{
    Timestamp,
    protocol::series::{SeriesList, SeriesWindows, WindowsAnswer},
};
use salvo::{Depot, Request, Response, handler};
use serde::Serialize;

use super::whole;
use crate::{
    app::App,
    base::{error::AppError, json::json_text},
    http::{
        self, caller,
        counted::send_text,
        ingest::engine_tenant,
        pieces::{self, Ended, Pieces},
    },
    questions::Text,
};

/// Series on a page of the list, where the caller does not say.
const LIST_DEFAULT: usize = 100;

/// A range without a beginning goes back this far.
const RANGE_DEFAULT_MS: i64 = 3_600_000;

/// The longest window.
const WINDOWS_MS: i64 = 3_600_000;

/// A rate looks back no further for the sample before its first step.
const RATE_BACK_MS: i64 = 2 * 3_600_000;

/// The tenant's series, page by page, searched by words.
#[handler]
pub async fn list_series(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let asked = ListRequest {
        selector: Selector::all(),
        search: request.query::<String>("search").unwrap_or_default(),
        after: request.query("after"),
        limit: whole(request, "limit", LIST_MAX)?.unwrap_or(LIST_DEFAULT),
        spark_points: whole(request, "spark", query::SPARK_POINTS_MAX)?.unwrap_or(0),
        now_ms: app.clock.now_ms(),
    };
    let is_newest = match request.query::<&str>("order") {
        None | Some("key") => false,
        Some("newest") => true,
        Some(_) => return Err(AppError::bad_query("order", "accepted are key and newest")),
    };
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let match_text = match_text(request);
    let worker = Arc::clone(&app);
    let listed = app.questions.ask(keys, move |working| {
        let selector = match_text.as_deref().map(read_selector).transpose()?;
        let asked = ListRequest {
            selector: selector.unwrap_or_else(Selector::all),
            ..asked
        };
        let (engine, cost) = (&worker.storage.engine, &working.cost);
        if !is_newest {
            let all = whole::list(&worker, &tenant, match_text.as_deref(), &asked, cost);
            if let Some((list, partial)) = all.map_err(|failed| failed.told(&worker))? {
                let text = write_whole_list(&worker, list, &partial, working.text());
                let text = text.map_err(|error| worker.questions.refuse(&error))?;
                return Ok(working.finish(text));
            }
        }
        let list = match is_newest {
            true => ListStream::newest(engine, &tenant, &asked, cost),
            false => ListStream::open(engine, &tenant, &asked, cost),
        };
        let text = list.and_then(|list| write_list(&worker, &tenant, list, working.text()));
        let text = text.map_err(|error| worker.questions.refuse(&error))?;
        Ok(working.finish(text))
    });
    send_text(response, listed.await??);
    Ok(())
}

/// Writes one series after the other, since all of them may be some megabytes.
fn write_list(
    app: &App,
    tenant: &Tenant,
    list: ListStream<'_>,
    mut text: Text<'_>,
) -> Result<Vec<Vec<u8>>, QueryError> {
    let head = json_text(list.head());
    let (open, rest) = head.split_once("\"series\":[]").unwrap_or((&head, ""));
    text.push(open)?;
    text.push("\"series\":[")?;
    let mut comma = "";
    for info in list {
        let mut info = info?;
        info.own = app.own.has(&tenant.name, &info.key);
        text.push(comma)?;
        text.push_json(&info)?;
        comma = ",";
    }
    text.push("]")?;
    text.push(rest)?;
    Ok(text.into_pieces())
}

/// Writes a list of series of all servers.
fn write_whole_list(
    app: &App,
    mut list: SeriesList,
    partial: &[String],
    mut text: Text<'_>,
) -> Result<Vec<Vec<u8>>, QueryError> {
    for info in &mut list.series {
        info.own = app.own.has(&list.tenant, &info.key);
    }
    let all = json_text(&list);
    let open = all.strip_suffix('}').unwrap_or(&all);
    text.push(open)?;
    text.push(&partly(partial))?;
    text.push("}")?;
    Ok(text.into_pieces())
}

/// What is to be said of an answer besides, as its last field.
fn partly(partial: &[String]) -> String {
    match partial {
        [] => String::new(),
        all => format!(",\"partial\":{}", json_text(&all.join("; "))),
    }
}

/// How the series of a selector did over the last minute, five minutes and hour.
#[handler]
pub async fn get_windows(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let match_text = needed_match(request)?;
    let few = few(request)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let worker = Arc::clone(&app);
    let windows = app.questions.ask(keys, move |working| {
        let selector = read_selector(&match_text)?;
        let now_ms = worker.clock.now_ms();
        let cost = &working.cost;
        let stretch = (now_ms - WINDOWS_MS, now_ms + 1);
        let all = whole::whole(&worker, &tenant, &match_text, stretch, cost);
        let all = all.map_err(|failed| failed.told(&worker))?;
        let (engine, tenant) = match &all {
            Some(all) => (&all.engine, &all.tenant),
            None => (&worker.storage.engine, &tenant),
        };
        let windows = match few {
            None => query::windows(engine, tenant, &selector, now_ms, cost).map(Windows::All),
            Some(few) => {
                query::few_windows(engine, tenant, &selector, few, now_ms, cost).map(Windows::Few)
            }
        };
        let mut text = working.text();
        let written = windows.and_then(|windows| text.push_json(&windows));
        written.map_err(|error| worker.questions.refuse(&error))?;
        Ok(working.finish(text.into_pieces()))
    });
    send_text(response, windows.await??);
    Ok(())
}

/// An array where all series are asked for, an object where only so many are.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Windows {
    All(Vec<SeriesWindows>),
    Few(WindowsAnswer),
}

/// What the series of a selector were over a range of time, step by step.
#[handler]
pub async fn get_range(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    let own = own_asked(request)?;
    let tenant = if own {
        own_tenant(&app)?
    } else {
        engine_tenant(&app, request, depot)?
    };
    let match_text = match own {
        true => OWN_SELECTOR.to_owned(),
        false => needed_match(request)?,
    };
    let asked = read_range(request, own, app.clock.now_ms())?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let json = "application/json; charset=utf-8";
    pieces::answer(&app, keys, (request, response), json, move |app, answer| {
        answer_range(app, &tenant, (&match_text, asked, own), answer)
    })
    .await
}

/// Reads the selector, finds its series, and writes the answer as it is read. Of the
/// server's `own`, what others pushed by the same names (it has labels) is left out.
fn answer_range(
    app: &App,
    tenant: &Arc<Tenant>,
    (match_text, asked, own): (&str, RangeRequest, bool),
    answer: &mut Pieces,
) -> Result<(), Ended> {
    let asked = RangeRequest {
        selector: read_selector(match_text)?,
        ..asked
    };
    let cost = Arc::clone(&answer.cost);
    let all = match own {
        true => None,
        false => {
            let back_ms = match asked.aggregation {
                Aggregation::Rate => RATE_BACK_MS,
                _ => 0,
            };
            let here = RangeStream::open(&app.storage.engine, tenant, &asked, &cost)?;
            // As whole steps.
            let (start_ms, end_ms) = (here.head().start_ms, here.head().end_ms);
            drop(here);
            let from_ms = start_ms.saturating_sub(back_ms);
            whole::whole(app, tenant, match_text, (from_ms, end_ms), &cost)?
        }
    };
    let (engine, tenant) = match &all {
        Some(all) => (&all.engine, &all.tenant),
        None => (&app.storage.engine, tenant),
    };
    let mut stream = RangeStream::open(engine, tenant, &asked, &cost)?;
    let head = json_text(stream.head());
    let Some(open) = head.strip_suffix("\"series\":[]}") else {
        tracing::error!("a range's head does not end with its series");
        return Err(AppError::internal().into());
    };
    answer.write(open.as_bytes())?;
    answer.write(b"\"series\":[")?;
    let mut comma = "";
    for series in stream.by_ref() {
        let mut series = series?;
        // A range is of its span.
        series.newest.clear();
        if own && !series.labels.is_empty() {
            continue;
        }
        answer.write(comma.as_bytes())?;
        answer.write(json_text(&series).as_bytes())?;
        comma = ",";
    }
    answer.write(b"]")?;
    if let Some(others) = stream.others() {
        answer.write(b",\"others\":")?;
        answer.write(json_text(others).as_bytes())?;
    }
    if let Some(all) = &all {
        answer.write(partly(&all.partial).as_bytes())?;
    }
    answer.write(b"}")
}

/// The server's four built-in series, by name.
const OWN_SELECTOR: &str = "{__name__=~\"cpu_usage|memory_usage|requests_per_sec|avg_latency\"}";

/// `own=true`: the four built-in series of this server. They come with every tick to every viewer,
/// so their past is every viewer's, too, whatever tenant a token is bound to; nothing else is.
fn own_asked(request: &Request) -> Result<bool, AppError> {
    match request.query::<&str>("own") {
        None | Some("false") => Ok(false),
        Some("true") if request.query::<&str>("match").is_none() => Ok(true),
        Some("true") => Err(AppError::bad_query(
            "own",
            "names the series; leave match out",
        )),
        Some(_) => Err(AppError::bad_query("own", "accepted are true and false")),
    }
}

fn own_tenant(app: &App) -> Result<Arc<Tenant>, AppError> {
    let tenant = app.storage.engine.tenant(DEFAULT_TENANT);
    tenant.map_err(|error| AppError::too_many(error.to_string(), 60))
}

fn read_range(request: &Request, own: bool, now_ms: i64) -> Result<RangeRequest, AppError> {
    let end_ms = moment(request, "end", now_ms)?.unwrap_or(now_ms + 1);
    let start_ms =
        moment(request, "start", now_ms)?.unwrap_or(end_ms.saturating_sub(RANGE_DEFAULT_MS));
    let length = length(request, "step")?;
    let points = whole(request, "max_points", query::POINTS_MAX)?;
    let step = match (length, points) {
        (Some(length), _) => Step::Length(length),
        (None, Some(points)) => Step::Points(points),
        (None, None) => Step::Points(query::POINTS_DEFAULT),
    };
    let aggregation = match request.query::<&str>("agg") {
        None => Aggregation::default(),
        Some(name) => name
            .parse()
            .map_err(|error: QueryError| AppError::bad_query("agg", error.to_string()))?,
    };
    let by = request.query::<&str>("by").filter(|_| !own).map(|labels| {
        let labels = labels.split(',').map(str::trim);
        labels
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect()
    });
    Ok(RangeRequest {
        selector: Selector::all(),
        start_ms,
        end_ms,
        step,
        aggregation,
        by,
        few: few(request)?,
        limits: Limits::default(),
    })
}

/// The selector as it is written; it is read by the thread that works on the question, since that
/// may take milliseconds.
fn match_text(request: &Request) -> Option<String> {
    let text = request.query::<&str>("match");
    text.filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}

fn needed_match(request: &Request) -> Result<String, AppError> {
    match_text(request).ok_or_else(|| {
        AppError::bad_query(
            "match",
            "needed: a selector such as http_requests{job=\"api\"}",
        )
    })
}

fn read_selector(text: &str) -> Result<Selector, AppError> {
    Selector::parse(text).map_err(|error| AppError::bad_query("match", error.to_string()))
}

/// `limit`, or `topk` with its `rank`.
fn few(request: &Request) -> Result<Option<Few>, AppError> {
    let first = whole(request, "limit", query::SERIES_MAX)?;
    let best = whole(request, "topk", TOP_MAX)?;
    let rank = match request.query::<&str>("rank") {
        None => Rank::default(),
        Some(name) => name
            .parse()
            .map_err(|error: QueryError| AppError::bad_query("rank", error.to_string()))?,
    };
    match (first, best) {
        (Some(_), Some(_)) => Err(AppError::bad_query(
            "topk",
            "either this or limit can be asked for",
        )),
        (first, best) => Ok(best
            .map(|max| Few::Best(max, rank))
            .or(first.map(Few::First))),
    }
}

/// A whole number from 1 to `max`; 0 counts as not there.
fn whole(request: &Request, name: &str, max: usize) -> Result<Option<usize>, AppError> {
    let Some(text) = request.query::<&str>(name) else {
        return Ok(None);
    };
    match text.parse::<usize>() {
        Ok(0) => Ok(None),
        Ok(number) if number <= max => Ok(Some(number)),
        _ => Err(AppError::bad_query(
            name,
            format!("accepted is a whole number from 1 to {max}"),
        )),
    }
}

/// A moment: Unix milliseconds, RFC 3339, `now`, or so long ago (`-15m`).
fn moment(request: &Request, name: &str, now_ms: i64) -> Result<Option<i64>, AppError> {
    let Some(text) = request.query::<&str>(name) else {
        return Ok(None);
    };
    let parsed = match text {
        "now" => Some(now_ms),
        _ => text
            .strip_prefix('-')
            .and_then(duration_ms)
            .map(|ago_ms| now_ms - ago_ms)
            .or_else(|| text.parse().ok())
            .or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millis)),
    };
    parsed.map(Some).ok_or_else(|| {
        AppError::bad_query(
            name,
            "accepted are Unix milliseconds, RFC 3339 such as 2026-11-20T20:01:02Z, now, and so long ago such as -15m",
        )
    })
}

/// A length of time: milliseconds, or a number with `ms`, `s`, `m`, `h` or `d`.
fn length(request: &Request, name: &str) -> Result<Option<i64>, AppError> {
    let Some(text) = request.query::<&str>(name) else {
        return Ok(None);
    };
    text.parse()
        .ok()
        .or_else(|| duration_ms(text))
        .map(Some)
        .ok_or_else(|| {
            AppError::bad_query(
                name,
                "accepted are milliseconds, or a length such as 10s, 5m, 1h",
            )
        })
}

fn duration_ms(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("250ms", Some(250)),
            ("1h", Some(3_600_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            ("5", None),
            ("m", None),
            ("9223372036854775807d", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }
}
