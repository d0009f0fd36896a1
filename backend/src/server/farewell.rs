//! While the server stops: `/readyz` says so to whoever asks, on a connection of its own.
//!
//! Anything else that comes now is closed without an answer, as if nobody listened: an
//! `EventSource` that is refused with a status never comes back, one that finds nobody does.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{connections, doors::Doors, finish::set_date, transport::Transport};
use crate::{app::App, base::json::json_text, certificate::HTTP_1, endpoint::health};

/// Connections that are listened to at once; further ones are closed.
const ASKING_MAX: usize = 64;
/// How long one of them may take to ask, and to read the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// A probe's whole head is shorter.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Answers probes until it is dropped.
pub(super) async fn answer_probes(app: Arc<App>, listener: TcpListener) {
    let doors = Arc::new(Doors::new(&app, &[HTTP_1]));
    let places = Arc::new(Semaphore::new(ASKING_MAX));
    let mut answering = tokio::task::JoinSet::new();
    loop {
        let (stream, remote) = connections::next(&listener).await;
        while answering.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (app, doors) = (Arc::clone(&app), Arc::clone(&doors));
        answering.spawn(async move {
            // Gone before the answer, or slow with it: it is closed in any case.
            let answering = async {
                let Some(stream) = doors.pass(&app, stream, remote).await else {
                    return Ok(());
                };
                answer(&app, stream).await
            };
            drop(tokio::time::timeout(DEADLINE, answering).await);
            drop(place);
        });
    }
}

async fn answer(app: &App, stream: Transport) -> hyper::Result<()> {
    let answering = service_fn(|request: Request<Incoming>| async move {
        let is_probe = [Method::GET, Method::HEAD].contains(request.method());
        if !is_probe || request.uri().path() != "/readyz" {
            return Err(io::Error::other("nobody is served any more"));
        }
        let mut response =
            Response::new(Full::new(Bytes::from(json_text(&health::readiness(app)))));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set_date(headers, app.clock.now_ms());
        Ok(response)
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answering)
        .await
}
