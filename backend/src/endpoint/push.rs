//! `POST /push` and the endpoints of agents: remote write and the Influx line protocol.

use std::sync::{Arc, OnceLock};

use pulseboard_engine::Tenant;
use pulseboard_ingest::{
    Batch, BodyError,
    decompress::Coding,
    detect::{self, BodyFormat},
    import, influx,
    remote_write::{self, Version, Written},
    time::Precision,
};
use pulseboard_scrape::metadata::{self, Metric};
use pulseboard_series::Reason;
use pulseboard_shared::{Problem, problem::PROBLEM_JSON};
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderName, HeaderValue, StatusCode, header},
    writing::Json,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    app::App,
    base::{error::AppError, json::json_text},
    http::{self, caller::client_address, ingest},
    ingest::{IngestOutcome, ParseReport},
};

/// What `POST /push` answers.
#[derive(Debug, Default, Serialize)]
struct Pushed {
    /// Why nothing was taken, as everywhere; left out where something was.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
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
    fn of<T>(taken: &IngestOutcome<T>) -> Self {
        let refused = taken.refused.iter().map(|refused| RefusedLine {
            line: refused.line,
            reason: refused.reason.to_string(),
        });
        Self {
            problem: None,
            accepted: taken.accepted,
            refused: refused.collect(),
            refused_total: taken.refused_total,
        }
    }

    /// Nothing was taken.
    fn because(self, detail: &str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self {
            problem: Some(Problem {
                kind: "about:blank".to_owned(),
                title: status.canonical_reason().unwrap_or_default().to_owned(),
                status: status.as_u16(),
                detail: detail.to_owned(),
                errors: Vec::new(),
                request_id: None,
            }),
            ..self
        }
    }

    fn render(&self, response: &mut Response) {
        if self.problem.is_none() {
            response.render(Json(self));
            return;
        }
        response.status_code(StatusCode::BAD_REQUEST);
        let kind = HeaderValue::from_static(PROBLEM_JSON);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.body(json_text(self));
    }
}

/// Any text form, recognised by its content.
#[handler]
pub async fn push_samples(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let worker = http::app::app(depot)?;
    let parse = move |tenant: &Arc<Tenant>, body: &[u8], batch: &mut Batch| {
        // Nothing can be taken of it: refused where it breaks, as a line is.
        let read = detect::push_commented(body, batch);
        let (format, has_comments) = read.unwrap_or_else(|error| {
            batch.refuse(error.line(), Reason::Malformed(error.to_string()));
            (BodyFormat::Text, false)
        });
        if has_comments {
            let mut notes = worker.told.notes(&tenant.name);
            metadata::each(body, |told| notes.add(told));
        }
        Ok(format)
    };
    push(request, depot, response, parse).await
}

/// `POST /api/v1/import`: lines of series, as `GET /api/v1/export` writes them.
#[handler]
pub async fn import_series(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let parse = |_: &Arc<Tenant>, body: &[u8], batch: &mut Batch| {
        import::parse(body, batch);
        Ok(())
    };
    push(request, depot, response, parse).await
}

async fn push<T: ParseReport>(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
    parse: impl Fn(&Arc<Tenant>, &[u8], &mut Batch) -> Result<T, BodyError> + Send + 'static,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let taken = match ingest::writing_tenant(&app, request, depot) {
        Ok(tenant) => ingest::take(&app, &tenant, request, depot, None, parse).await,
        Err(error) => Err(error),
    };
    let taken = match taken {
        // It could not even be unpacked.
        Err(error) if error.status() == StatusCode::BAD_REQUEST => {
            Pushed::default().because(error.detail()).render(response);
            return Ok(());
        }
        taken => taken?,
    };
    if let Some(error) = &taken.not_durable {
        return Err(ingest::not_durable(taken.accepted, error));
    }
    let pushed = Pushed::of(&taken);
    if taken.accepted > 0 {
        pushed.render(response);
        return Ok(());
    }
    let detail = match pushed.refused.first() {
        Some(refused) => format!(
            "nothing was accepted, {} refused; line {}: {}",
            taken.refused_total, refused.line, refused.reason
        ),
        None => "there is no sample in the body".to_owned(),
    };
    pushed.because(&detail).render(response);
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
    let app = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
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
    let run = agents_run(request);
    let host = Arc::new(OnceLock::new());
    let named = Arc::clone(&host);
    let worker = Arc::clone(&app);
    let taken = ingest::take(
        &app,
        &tenant,
        request,
        depot,
        coding,
        move |owner, body, batch| {
            let read = remote_write::parse(version, body, batch);
            if read.as_ref().is_ok_and(|written| written.has_metadata) {
                let mut notes = worker.told.notes(&owner.name);
                // Samples are taken all the same where it cannot be read.
                let _is_read = remote_write::metadata(body, |told| {
                    let told = Metric::of(told.family, told.kind, told.help, told.unit);
                    if let Some(told) = told {
                        notes.add(told);
                    }
                });
            }
            let first = batch.rows().first().filter(|_| run.is_some());
            if let Some(name) = first.and_then(|row| batch.key(row).label("instance")) {
                // Nobody else sets it.
                let _is_set = named.set(name.to_owned());
            }
            read
        },
    )
    .await;
    if let (Some(run), Some(host), Ok(_)) = (run, host.get(), &taken) {
        let (sender, now_ms) = (client_address(request), app.clock.now_ms());
        app.agents.heard(&tenant.name, host, run, sender, now_ms);
    }
    // With every answer to a message of a known version, whatever becomes of it.
    let written = taken
        .as_ref()
        .map_or_else(|_| Written::default(), |taken| taken.said.clone());
    for (name, count) in written.headers() {
        if let Ok(name) = HeaderName::try_from(name) {
            response
                .headers_mut()
                .insert(name, HeaderValue::from(count));
        }
    }
    let taken = taken?;
    if let Some(error) = &taken.not_durable {
        return Err(ingest::not_durable(taken.accepted, error));
    }
    if taken.refused_total > 0 {
        return Err(AppError::bad_request(first_refusals(&taken)));
    }
    response.status_code(StatusCode::NO_CONTENT);
    Ok(())
}

/// By which run of an agent a request was made, as that says itself: 16 hexadecimal digits.
fn agents_run(request: &Request) -> Option<u64> {
    let run = request.headers().get("x-pulseboard-agent")?.to_str().ok()?;
    (run.len() == 16).then(|| u64::from_str_radix(run, 16).ok())?
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

async fn write_influx(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
    problem: impl FnOnce(String) -> serde_json::Value,
) -> Result<(), AppError> {
    let app: Arc<App> = http::app::app(depot)?;
    let tenant = ingest::writing_tenant(&app, request, depot)?;
    let precision = match request.query::<&str>("precision") {
        None | Some("") => Precision::Nanoseconds,
        Some(word) => Precision::from_query(word).ok_or_else(|| {
            AppError::bad_query("precision", "accepted are n, ns, u, us, ms, s, m and h")
        })?,
    };
    let taken = ingest::take(
        &app,
        &tenant,
        request,
        depot,
        None,
        move |_, body, batch| {
            influx::parse(body, precision, batch);
            Ok(())
        },
    )
    .await?;
    if let Some(error) = &taken.not_durable {
        return Err(ingest::not_durable(taken.accepted, error));
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
fn first_refusals<T>(taken: &IngestOutcome<T>) -> String {
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
