//! OpenTelemetry metrics over gRPC (`OTLP_GRPC_ADDR`), the default of most SDKs and of the
//! collector: HTTP/2, over TLS where `TLS_CERT` is given, one method, one message a call.
//!
//! The protocol's frames are read here and not by a gRPC library, since memory for what arrives and
//! for what it unpacks to is asked for piece by piece, as for every other body; such a library
//! reads and unpacks a message as a whole first.
//!
//! | file | what it is |
//! |---|---|
//! | `export` | who calls, and from a call to samples that are safe |
//! | `message` | answers |
//!
//! Specifications: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> and OTLP 1.x,
//! "OTLP/gRPC".

mod export;
mod message;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use pulseboard_agent::http2::begun;
use tokio::net::{TcpListener, TcpStream};

use self::export::Calls;
use super::{
    connections::{self, HEAD_DEADLINE, Tasks},
    doors::Doors,
    finish::set_date,
    slots::ConnectionSlots,
};
use crate::{app::App, certificate::HTTP_2};

/// Connections at once; of one address there may be an eighth.
const CONNECTIONS_MAX: usize = 256;

/// Calls of one connection at once; an exporter has one at a time.
const CALLS_MAX: u32 = 32;

/// Bytes of a call's headers, tokens among them.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of a call that may be on their way, and of all calls of a connection: what is not read yet
/// and nobody was asked for.
const CALL_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// How often the other end is asked whether it is there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// Serves calls until the server stops.
pub async fn run(app: Arc<App>, listener: TcpListener) {
    let Ok(bound) = listener.local_addr() else {
        return;
    };
    let doors = Arc::new(Doors::new(&app, &[HTTP_2]));
    let places = ConnectionSlots::new(CONNECTIONS_MAX, CONNECTIONS_MAX / 8);
    loop {
        let (stream, remote) = tokio::select! {
            () = app.stopping.cancelled() => return,
            next = connections::next(&listener) => next,
        };
        let serving = serve_connection(
            Arc::clone(&app),
            Arc::clone(&doors),
            stream,
            (bound, remote),
        );
        connections::spawn(&app, &places, remote, serving);
    }
}

async fn serve_connection(
    app: Arc<App>,
    doors: Arc<Doors>,
    stream: TcpStream,
    (bound, remote): (SocketAddr, SocketAddr),
) {
    stream.set_nodelay(true).ok();
    let local = stream.local_addr().unwrap_or(bound);
    let Some(stream) = doors.open(&app, stream, remote).await else {
        return;
    };
    let calls = Arc::new(Calls::new(&app, bound, (remote, local), stream.is_tls()));
    let clock = app.clock.clone();
    let answering = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let (calls, clock) = (Arc::clone(&calls), clock.clone());
        async move {
            let mut response = calls.answer(request).await;
            set_date(response.headers_mut(), clock.now_ms());
            Ok::<_, Infallible>(response)
        }
    });
    let opening = tokio::select! {
        opening = begun(stream, HEAD_DEADLINE) => opening,
        () = app.stopping.cancelled() => return,
    };
    let Some(stream) = opening else {
        return tracing::debug!(client.address = %remote.ip(), "a connection did not begin as HTTP/2");
    };
    let connection = http2::Builder::new(Tasks::of(&app))
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = app.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.address = %remote.ip(), %error, "connection ended");
    }
}
