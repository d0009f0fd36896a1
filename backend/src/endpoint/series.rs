//! `GET /api/v1/series`, `GET /api/v1/range` and `GET /api/v1/windows`: questions to the engine.
//!
//! They may read a disk, so they run on threads that may block; a range is sent series by series
//! while it is read, so that a large one takes no memory.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pulseboard_engine::{
    Selector,
    query::{
        self, Aggregation, LIST_MAX, Limits, ListRequest, QueryError, RangeRequest, RangeStream,
        Step,
    },
};
use pulseboard_shared::{Timestamp, protocol::series::SeriesList};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
    writing::Json,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{app::App, error::AppError, http::access, ingest::engine_tenant};

/// Time that one question may take.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);

/// Series on a page of the list, where the caller does not say.
const LIST_DEFAULT: usize = 100;

/// A range without a beginning goes back this far.
const RANGE_DEFAULT_MS: i64 = 3_600_000;

/// Pieces of an answer that wait for a slow client; then reading waits.
const PIECES_MAX: usize = 16;

/// A piece of an answer is sent when it has this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The tenant's series, page by page, searched by words.
#[handler]
pub async fn list_series(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<SeriesList>, AppError> {
    access::require_read(depot)?;
    let app = App::of(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let asked = ListRequest {
        selector: selector(request)?.unwrap_or_else(Selector::all),
        search: request.query::<String>("search").unwrap_or_default(),
        after: request.query("after"),
        limit: whole(request, "limit", LIST_MAX)?.unwrap_or(LIST_DEFAULT),
        spark_points: whole(request, "spark", query::SPARK_POINTS_MAX)?.unwrap_or(0),
        now_ms: app.clock.now_ms(),
    };
    let list = match request.query::<&str>("order") {
        None | Some("key") => query::list_series,
        Some("newest") => query::list_newest,
        Some(_) => return Err(AppError::bad_query("order", "accepted are key and newest")),
    };
    let worker = Arc::clone(&app);
    let of = Arc::clone(&tenant);
    let mut list = blocking(&app, move || list(&worker.storage.engine, &of, &asked)).await?;
    for info in &mut list.series {
        info.own = app.own.has(&tenant.name, &info.key);
    }
    Ok(Json(list))
}

/// How the series of a selector did over the last minute, five minutes and hour.
#[handler]
pub async fn get_windows(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<Vec<pulseboard_shared::protocol::series::SeriesWindows>>, AppError> {
    access::require_read(depot)?;
    let app = App::of(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let selector = needed_selector(request)?;
    let worker = Arc::clone(&app);
    let windows = blocking(&app, move || {
        let now_ms = worker.clock.now_ms();
        query::windows(&worker.storage.engine, &tenant, &selector, now_ms)
    })
    .await?;
    windows.map(Json).map_err(refuse)
}

/// What the series of a selector were over a range of time, step by step.
#[handler]
pub async fn get_range(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    access::require_read(depot)?;
    let app = App::of(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let asked = read_range(request, app.clock.now_ms())?;
    let (pieces, sent) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    let (head, opened) = tokio::sync::oneshot::channel();
    let worker = Arc::clone(&app);
    // Its end is that of the channel; when the client has gone it ends with the next piece.
    drop(app.tasks.spawn_blocking(move || {
        let engine = &worker.storage.engine;
        let stream = match RangeStream::open(engine, &tenant, &asked) {
            Ok(stream) => stream,
            Err(error) => {
                drop(head.send(Err(error)));
                return;
            }
        };
        if head.send(Ok(())).is_ok() {
            write_range(stream, &pieces);
        }
    }));
    opened
        .await
        .map_err(|_panicked| AppError::internal())?
        .map_err(refuse)?;
    response.status_code(StatusCode::OK);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response.stream(ReceiverStream::new(sent));
    Ok(())
}

/// Writes the answer as it is read. An error on the way breaks the body off, which a client notices
/// by JSON that does not end.
fn write_range(mut stream: RangeStream<'_>, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let head = crate::json_text(stream.head());
    let Some(open) = head.strip_suffix("\"series\":[]}") else {
        tracing::error!("a range's head does not end with its series");
        return;
    };
    let mut piece = String::with_capacity(PIECE_BYTES + 4096);
    piece.push_str(open);
    piece.push_str("\"series\":[");
    let mut comma = "";
    for series in &mut stream {
        match series {
            Ok(series) => {
                piece.push_str(comma);
                piece.push_str(&crate::json_text(&series));
                comma = ",";
            }
            Err(error) => {
                tracing::warn!(%error, "a range broke off");
                drop(pieces.blocking_send(Err(io::Error::other(error.to_string()))));
                return;
            }
        }
        if piece.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut piece, String::with_capacity(PIECE_BYTES + 4096));
            if pieces.blocking_send(Ok(Bytes::from(full))).is_err() {
                return;
            }
        }
    }
    piece.push_str("]}");
    drop(pieces.blocking_send(Ok(Bytes::from(piece))));
}

fn read_range(request: &Request, now_ms: i64) -> Result<RangeRequest, AppError> {
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
    let by = request.query::<&str>("by").map(|labels| {
        let labels = labels.split(',').map(str::trim);
        labels
            .filter(|label| !label.is_empty())
            .map(str::to_owned)
            .collect()
    });
    Ok(RangeRequest {
        selector: needed_selector(request)?,
        start_ms,
        end_ms,
        step,
        aggregation,
        by,
        limits: Limits {
            deadline: Instant::now().checked_add(QUERY_DEADLINE),
            ..Limits::default()
        },
    })
}

fn selector(request: &Request) -> Result<Option<Selector>, AppError> {
    request
        .query::<&str>("match")
        .filter(|text| !text.trim().is_empty())
        .map(Selector::parse)
        .transpose()
        .map_err(|error| AppError::bad_query("match", error.to_string()))
}

fn needed_selector(request: &Request) -> Result<Selector, AppError> {
    selector(request)?.ok_or_else(|| {
        AppError::bad_query(
            "match",
            "needed: a selector such as http_requests{job=\"api\"}",
        )
    })
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

async fn blocking<T: Send + 'static>(
    app: &App,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(ask).await.map_err(|error| {
        app.telemetry
            .panics
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(%error, "a question panicked");
        AppError::internal()
    })
}

fn refuse(error: QueryError) -> AppError {
    match &error {
        QueryError::History(cause) => {
            tracing::error!(error = %cause, "a question could not be answered");
            AppError::internal()
        }
        QueryError::Deadline => AppError::unavailable(error.to_string(), 5),
        QueryError::Points { .. }
        | QueryError::Series { .. }
        | QueryError::By { .. }
        | QueryError::Samples { .. } => {
            AppError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        _ => AppError::bad_request(error.to_string()),
    }
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
