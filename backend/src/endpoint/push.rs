//! `POST /push` and the doors of agents: remote write and the Influx line protocol.

use std::sync::Arc;

use pulseboard_ingest::{
    decompress::Coding,
    detect, influx,
    remote_write::{self, Version},
    time::Precision,
};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderName, HeaderValue, StatusCode, header},
    writing::{Json, Text},
};
use serde::Serialize;
use serde_json::json;

use super::body::read_bytes;
use crate::{
    app::App,
    error::AppError,
    http::access,
    ingest::{self, Taken},
};

/// What `POST /push` answers.
#[derive(Debug, Serialize)]
struct Pushed {
    /// Samples taken.
    accepted: u64,
    /// The first hundred lines that were not.
    refused: Vec<RefusedLine>,
    /// All lines that were not.
    #[serde(rename = "refusedTotal")]
    refused_total: u64,
}

#[derive(Debug, Serialize)]
struct RefusedLine {
    line: u32,
    reason: String,
}

impl Pushed {
    fn of<T>(taken: &Taken<T>) -> Self {
        Self {
            accepted: taken.accepted,
            refused: taken
                .refused
                .iter()
                .map(|refused| RefusedLine {
                    line: refused.line,
                    reason: refused.reason.to_string(),
                })
                .collect(),
            refused_total: taken.refused_total,
        }
    }
}

/// Any text form, recognised by its content.
#[handler]
pub async fn push_samples(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = App::of(depot)?;
    let taken = ingest::take(&app, request, depot, None, detect::push).await?;
    if let Some(error) = &taken.unsafe_because {
        return Err(ingest::not_safe(taken.accepted, error));
    }
    response.status_code(if taken.accepted == 0 {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    });
    response.render(Json(Pushed::of(&taken)));
    Ok(())
}

/// Prometheus remote write 1.0 and 2.0: 204, or 400 with what was refused; what was accepted is
/// kept in both cases.
#[handler]
pub async fn write_remote(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = App::of(depot)?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/x-protobuf");
    let Some(version) = Version::from_content_type(content_type) else {
        return Err(AppError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "accepted are application/x-protobuf with proto=prometheus.WriteRequest or proto=io.prometheus.write.v2.Request",
        ));
    };
    // The protocol's one coding; senders of 1.0 do not always name it.
    let coding = match request.headers().get(header::CONTENT_ENCODING) {
        None => Some(Coding::Snappy),
        Some(_) => None,
    };
    let taken = ingest::take(&app, request, depot, coding, move |body, batch| {
        remote_write::parse(version, body, batch)
    })
    .await?;
    let mut written = taken.said;
    written.samples = written.samples.min(taken.accepted);
    for (name, count) in written.headers() {
        if let Ok(name) = HeaderName::try_from(name) {
            response
                .headers_mut()
                .insert(name, HeaderValue::from(count));
        }
    }
    if let Some(error) = &taken.unsafe_because {
        return Err(ingest::not_safe(taken.accepted, error));
    }
    if taken.refused_total > 0 {
        response.status_code(StatusCode::BAD_REQUEST);
        response.render(Text::Plain(first_refusals(&taken)));
    } else {
        response.status_code(StatusCode::NO_CONTENT);
    }
    Ok(())
}

/// Influx line protocol as version 1 has it: `/write?db=…&precision=…`.
#[handler]
pub async fn write_influx_v1(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    write_influx(request, depot, response, |text| json!({ "error": text })).await
}

/// Influx line protocol as version 2 has it: `/api/v2/write?bucket=…&precision=…`.
#[handler]
pub async fn write_influx_v2(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let problem = |text| json!({ "code": "invalid", "message": text });
    write_influx(request, depot, response, problem).await
}

/// Where clients of version 1 look whether somebody is there.
#[handler]
pub async fn ping_influx(response: &mut Response) {
    response
        .headers_mut()
        .insert("x-influxdb-version", HeaderValue::from_static("pulseboard"));
    response.status_code(StatusCode::NO_CONTENT);
}

/// Where clients of version 2 ask how the server is.
#[handler]
pub async fn get_influx_health(response: &mut Response) {
    response.render(Json(json!({
        "name": "pulseboard",
        "message": "ready for writes",
        "status": "pass",
        "checks": [],
        "version": env!("CARGO_PKG_VERSION"),
    })));
}

/// Where clients of version 1 make their database before they write; there is nothing to make, and
/// nothing else is understood.
#[handler]
pub async fn make_influx_database(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    access::require_write(depot)?;
    let app = App::of(depot)?;
    // In the URL as clients have it, or in a form as Telegraf does.
    let statement = match request.query::<String>("q") {
        Some(statement) => statement,
        None => {
            let form = read_bytes(&app, request).await?;
            let form = String::from_utf8_lossy(&form);
            let statement = form.split('&').find_map(|pair| pair.strip_prefix("q="));
            statement
                .unwrap_or_default()
                .replace('+', " ")
                .replace("%20", " ")
        }
    };
    let mut words = statement.split_ascii_whitespace();
    let mut is = |word: &str| {
        words
            .next()
            .is_some_and(|next| next.eq_ignore_ascii_case(word))
    };
    if is("create") && is("database") {
        response.render(Json(json!({ "results": [{ "statement_id": 0 }] })));
        return Ok(());
    }
    Err(AppError::bad_query(
        "q",
        "InfluxQL is not spoken here: accepted is CREATE DATABASE, which does nothing; questions go to /api/v1/range",
    ))
}

async fn write_influx(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
    problem: impl FnOnce(String) -> serde_json::Value,
) -> Result<(), AppError> {
    let app: Arc<App> = App::of(depot)?;
    let precision = match request.query::<&str>("precision") {
        None | Some("") => Precision::Nanoseconds,
        Some(word) => Precision::from_query(word).ok_or_else(|| {
            AppError::bad_query("precision", "accepted are n, ns, u, us, ms, s, m and h")
        })?,
    };
    let taken = ingest::take(&app, request, depot, None, move |body, batch| {
        influx::parse(body, precision, batch);
        Ok(())
    })
    .await?;
    if let Some(error) = &taken.unsafe_because {
        return Err(ingest::not_safe(taken.accepted, error));
    }
    if taken.refused_total == taken.unsupported {
        response.status_code(StatusCode::NO_CONTENT);
        return Ok(());
    }
    let text = format!("partial write: {}", first_refusals(&taken));
    response.status_code(StatusCode::BAD_REQUEST);
    response.render(Json(problem(text)));
    Ok(())
}

/// What a sender's log has room for.
fn first_refusals<T>(taken: &Taken<T>) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = taken
        .refused
        .iter()
        .take(SHOWN)
        .map(|refused| format!("line {}: {}", refused.line, refused.reason))
        .collect();
    format!(
        "{} accepted, {} refused: {}",
        taken.accepted,
        taken.refused_total,
        shown.join("; ")
    )
}
