//! OpenTelemetry metrics over HTTP (`POST /v1/metrics`, protobuf and JSON) and gRPC
//! (`MetricsService/Export`). An answer says that what came is in the log.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use pulseboard_ingest::{
    DeltaTotals,
    decompress::{Coding, Unpacker},
    otlp::{self, Encoding, grpc},
};
use pulseboard_series::Batch;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{http2::begun, measure, scraping::Scraped};

/// Of a body, as it comes and unpacked; an exporter's batches have some hundred kilobytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Connections at once; another one is closed.
const CONNECTIONS_MAX: usize = 32;

/// Calls of one connection at once.
const CALLS_MAX: u32 = 8;

/// How long a connection may take to begin, a body to come, and the log to take it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Series whose senders report differences.
const DELTA_SERIES_MAX: usize = 10_000;

/// When a sender is to come back.
const RETRY_AFTER_S: u32 = 1;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Takes requests of local applications.
#[derive(Debug)]
pub(super) struct Taking {
    sink: Arc<Scraped>,
    totals: Mutex<DeltaTotals>,
    connections: Arc<Semaphore>,
    /// One body at a time is worked on: memory and processor are others' here.
    working: Semaphore,
}

impl Taking {
    pub(super) fn new(sink: &Arc<Scraped>) -> Arc<Self> {
        Arc::new(Self {
            sink: Arc::clone(sink),
            totals: Mutex::new(DeltaTotals::new(DELTA_SERIES_MAX)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            working: Semaphore::new(1),
        })
    }
}

/// Why nothing was taken.
#[derive(Debug)]
enum Failed {
    NotFound,
    Media(&'static str),
    Wrong(String),
    TooLarge,
    Later(String),
}

impl Failed {
    /// Statuses of HTTP and gRPC, and words.
    fn told(&self) -> (StatusCode, i32, &str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, 12, "there is no such method"),
            Self::Media(why) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 12, why),
            Self::Wrong(why) => (StatusCode::BAD_REQUEST, 3, why),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                8,
                "the body is larger than 4194304 bytes",
            ),
            Self::Later(why) => (StatusCode::SERVICE_UNAVAILABLE, 14, why),
        }
    }
}

/// Serves until the agent stops.
pub(super) async fn run(
    taking: Arc<Taking>,
    listener: TcpListener,
    is_grpc: bool,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Such as too many open files: nothing is gained by trying at once.
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&taking.connections).try_acquire_owned() else {
            continue;
        };
        let (taking, stop) = (Arc::clone(&taking), stop.clone());
        tokio::spawn(async move {
            serve(taking, stream, is_grpc, stop).await;
            drop(place);
        });
    }
}

async fn serve(taking: Arc<Taking>, stream: TcpStream, is_grpc: bool, stop: CancellationToken) {
    stream.set_nodelay(true).ok();
    let answering = service_fn(move |request: Request<Incoming>| {
        let taking = Arc::clone(&taking);
        async move {
            let answer = if is_grpc {
                taking.grpc(request).await
            } else {
                taking.http(request).await
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let ended = if is_grpc {
        let opening = tokio::select! {
            opening = begun(stream, PATIENCE) => opening,
            () = stop.cancelled() => return,
        };
        let Some(stream) = opening else {
            return tracing::debug!("a local connection did not begin as HTTP/2");
        };
        let io = TokioIo::new(stream);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(CALLS_MAX)
            .keep_alive_interval(Duration::from_secs(60))
            .serve_connection(io, answering);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), answering);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local connection ended");
    }
}

impl Taking {
    async fn http(&self, request: Request<Incoming>) -> Response<Body> {
        let encoding = text(request.headers(), &header::CONTENT_TYPE)
            .and_then(Encoding::from_content_type)
            .unwrap_or(Encoding::Protobuf);
        let (status, body) = match self.take_http(request).await {
            Ok((rejected, why)) => (StatusCode::OK, otlp::response(encoding, rejected, &why)),
            Err(failed) => {
                let (status, code, why) = failed.told();
                (status, otlp::status(encoding, code, why))
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(encoding.content_type()),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }

    async fn take_http(&self, request: Request<Incoming>) -> Result<(u64, String), Failed> {
        if request.method() != Method::POST || request.uri().path() != "/v1/metrics" {
            return Err(Failed::NotFound);
        }
        let headers = request.headers();
        let encoding = text(headers, &header::CONTENT_TYPE)
            .and_then(Encoding::from_content_type)
            .ok_or(Failed::Media(
                "accepted are application/x-protobuf and application/json",
            ))?;
        let coding = match text(headers, &header::CONTENT_ENCODING) {
            None | Some("identity") => Coding::Identity,
            Some("gzip") => Coding::Gzip,
            Some("deflate") => Coding::Deflate,
            Some("zstd") => Coding::Zstd,
            Some(_) => return Err(Failed::Media("accepted codings are gzip, deflate and zstd")),
        };
        let body = read(request.into_body()).await?;
        self.take(encoding, coding, body).await
    }

    async fn grpc(&self, request: Request<Incoming>) -> Response<Body> {
        let taken = self.take_grpc(request).await;
        let mut response = match taken {
            Ok((rejected, why)) => {
                let message = otlp::response(Encoding::Protobuf, rejected, &why);
                let mut trailers = HeaderMap::new();
                trailers.insert(STATUS, HeaderValue::from(0));
                let body = Full::new(Bytes::from(grpc::frame(&message)));
                let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
                Response::new(body.boxed_unsync())
            }
            Err(failed) => {
                let (_, code, why) = failed.told();
                let mut response = Response::new(Full::default().boxed_unsync());
                let headers = response.headers_mut();
                headers.insert(STATUS, HeaderValue::from(code));
                // What a header cannot have is left out of it.
                let plain: String = why.chars().filter(|one| matches!(one, ' '..='~')).collect();
                if let Ok(message) = HeaderValue::from_str(&plain.replace('%', "%25")) {
                    headers.insert(MESSAGE, message);
                }
                response
            }
        };
        let content = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, content);
        response
    }

    async fn take_grpc(&self, request: Request<Incoming>) -> Result<(u64, String), Failed> {
        if request.method() != Method::POST || request.uri().path() != grpc::PATH {
            return Err(Failed::NotFound);
        }
        let headers = request.headers();
        if !matches!(
            text(headers, &header::CONTENT_TYPE),
            Some("application/grpc" | "application/grpc+proto")
        ) {
            return Err(Failed::Media(
                "accepted are application/grpc and application/grpc+proto",
            ));
        }
        let coding = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Coding::Identity,
            Some(b"gzip") => Coding::Gzip,
            Some(_) => return Err(Failed::Media("accepted codings are identity and gzip")),
        };
        let mut body = read(request.into_body()).await?;
        let is_packed = grpc::unframe(&mut body).map_err(Failed::Wrong)?;
        let coding = if is_packed { coding } else { Coding::Identity };
        self.take(Encoding::Protobuf, coding, body).await
    }

    /// Puts a body into the log and waits until it is there; how many points were refused, and why
    /// the first was.
    async fn take(
        &self,
        encoding: Encoding,
        coding: Coding,
        body: Vec<u8>,
    ) -> Result<(u64, String), Failed> {
        let turn = timeout(PATIENCE, self.working.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Failed::Later("the agent is busy".to_owned()));
        };
        // Small bodies, one at a time: a thread of its own would be more work than these are.
        let mut unpacked = Vec::new();
        let bytes = match coding {
            Coding::Identity => &body,
            coding => {
                Unpacker::new()
                    .unpack(coding, &body, BODY_BYTES_MAX, &mut unpacked, |_| true)
                    .map_err(|error| Failed::Wrong(error.to_string()))?;
                &unpacked
            }
        };
        let mut batch = Batch::new();
        batch.set_bytes_max(4 * BODY_BYTES_MAX);
        let points = {
            let mut totals = self.totals.lock();
            otlp::parse(encoding, bytes, &mut totals, &|_: &[u8]| None, &mut batch)
                .map_err(|error| Failed::Wrong(error.to_string()))?
        };
        let tickets = self.sink.take(&batch, measure::now_ms());
        for ticket in tickets {
            let ticket = ticket.map_err(|error| Failed::Later(error.to_string()))?;
            match timeout(PATIENCE, ticket.wait()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Failed::Later(error.to_string())),
                Err(_late) => return Err(Failed::Later("the disk is busy".to_owned())),
            }
        }
        Ok((points.rejected, points.message(batch.refused())))
    }
}

async fn read(body: Incoming) -> Result<Vec<u8>, Failed> {
    let reading = Limited::new(body, BODY_BYTES_MAX + grpc::PREFIX_BYTES).collect();
    match timeout(PATIENCE, reading).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Failed::TooLarge),
        Ok(Err(error)) => Err(Failed::Wrong(format!("the body broke off: {error}"))),
        Err(_late) => Err(Failed::Wrong("the body took too long".to_owned())),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
