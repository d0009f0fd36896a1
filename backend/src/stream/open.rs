//! What every stream's handler does once its request is checked: find a place, claim the socket,
//! and start the viewer's task.

use std::sync::Arc;

use bytes::Bytes;
use salvo::Request;
use tokio::net::TcpStream;

use super::{
    registry::{Admission, Full},
    takeover::{Taken, Takeover},
    viewer::{Viewer, Wire},
    ws::{self, Inbound},
};
use crate::{
    app::App,
    error::AppError,
    http::access::{self, Credential},
    telemetry::StreamKind,
};

/// Seconds after which a client that found no place may ask again.
const RETRY_AFTER_S: u32 = 5;

/// A place for a stream whose socket is not claimed yet.
#[derive(Debug)]
pub struct Offer {
    app: Arc<App>,
    takeover: Takeover,
    admission: Admission,
}

/// Finds a place for a stream.
///
/// # Errors
/// With `Retry-After`: 503 when the server is stopping or all places are taken, 429 when those of
/// the client's address or token are.
pub fn offer(app: &Arc<App>, request: &Request, kind: StreamKind) -> Result<Offer, AppError> {
    if app.stopping.is_cancelled() {
        return Err(AppError::unavailable(
            "the server is stopping",
            RETRY_AFTER_S,
        ));
    }
    let Some(takeover) = request.extensions().get::<Takeover>().cloned() else {
        tracing::error!(
            stream.kind = kind.as_str(),
            "a stream was asked for outside a connection"
        );
        return Err(AppError::internal());
    };
    let credential = request
        .extensions()
        .get::<Credential>()
        .copied()
        .unwrap_or_default();
    let admission = app
        .registry
        .admit(access::client_address(request), credential)
        .map_err(refuse)?;
    Ok(Offer {
        app: Arc::clone(app),
        takeover,
        admission,
    })
}

fn refuse(full: Full) -> AppError {
    match full {
        Full::Server(max) => AppError::unavailable(
            format!("all {max} places for streams are taken"),
            RETRY_AFTER_S,
        ),
        Full::Address(max) => AppError::too_many(
            format!("all {max} places for streams of one address are taken"),
            RETRY_AFTER_S,
        ),
        Full::Token(max) => AppError::too_many(
            format!("all {max} places for streams of one token are taken"),
            RETRY_AFTER_S,
        ),
    }
}

impl Offer {
    /// Claims the socket; `start` makes the viewer and returns the future that serves it.
    pub fn serve<F>(self, start: impl FnOnce(Arc<App>, Taken, Admission) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self {
            app,
            takeover,
            admission,
        } = self;
        takeover.claim(move |taken| {
            let tasks = app.tasks.clone();
            tasks.spawn(start(app, taken, admission));
        });
    }
}

/// The future that serves a WebSocket viewer.
pub fn serve_web_socket(
    app: Arc<App>,
    viewer: Arc<Viewer>,
    admission: Admission,
    inbound: impl Inbound + 'static,
    read_before: Bytes,
) -> impl Future<Output = ()> + Send {
    let limits = ws::MessageLimits::of(&app.settings);
    let (telemetry, clock) = (Arc::clone(&app.telemetry), app.clock.clone());
    async move {
        ws::run(
            viewer,
            admission,
            inbound,
            read_before,
            limits,
            telemetry,
            clock,
        )
        .await
    }
}

/// Makes a viewer of a claimed socket and registers it.
#[must_use]
pub fn viewer(
    app: &App,
    kind: StreamKind,
    wire: Wire,
    stream: TcpStream,
    first: impl IntoIterator<Item = Bytes>,
    admission: &Admission,
) -> Arc<Viewer> {
    let viewer = Viewer::new(
        admission.id,
        kind,
        wire,
        stream,
        first,
        app.clock.clone(),
        Arc::clone(&app.telemetry),
    );
    admission.register(&viewer);
    // Whoever ended the credential since the request was checked did not find this stream; whoever
    // ends it from here on does.
    if let Err(ended) = app.access.check_standing(admission.credential()) {
        admission.refuse(&viewer, ended);
    }
    viewer
}
