//! While the server stops: `/readyz` says so to whoever asks, on a connection of its own.
//!
//! Anything else that comes now is closed without an answer, as if nobody listened: an `EventSource`
//! that is refused with a status never comes back, one that finds nobody does.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{app::App, endpoint::health, server::connections};

/// Connections that are listened to at once; further ones are closed.
const ASKING_MAX: usize = 64;
/// How long one of them may take to ask, and to read the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// A probe's whole head is shorter.
const HEAD_BYTES_MAX: usize = 4 * 1024;

/// Answers probes until it is dropped.
pub(super) async fn answer_probes(app: Arc<App>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(ASKING_MAX));
    let mut answering = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = connections::next(&listener).await;
        while answering.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let app = Arc::clone(&app);
        answering.spawn(async move {
            // Gone before the answer, or slow with it: it is closed in any case.
            drop(tokio::time::timeout(DEADLINE, answer(&app, stream)).await);
            drop(place);
        });
    }
}

async fn answer(app: &App, mut stream: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let has_body = match asks_for(&head) {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Ok(()),
    };
    let body = serde_json::to_string(&health::readiness(app))?;
    let said = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json; charset=utf-8\r\n\
         cache-control: no-store\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}",
        body.len(),
        if has_body { &body } else { "" }
    );
    stream.write_all(said.as_bytes()).await?;
    stream.shutdown().await
}

/// The method of a request for `/readyz`.
fn asks_for(head: &[u8]) -> Option<&str> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let path = target.split('?').next()?;
    (path == "/readyz").then_some(method)
}
