//! `GET /internal/history`: the history of this server for another member of the same service,
//! which has missed more than Redis holds. Nobody else gets it: a ticket has to be shown whose
//! digest lies in Redis, and it is good once.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use pulseboard_bus::Space;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    access::secret::Digest, app::App, base::error::AppError, http, ingest_log::TICKET,
    settings::DataDir,
};

/// Pieces that wait for who copies.
const PIECES_MAX: usize = 4;

/// What is sent, or why nothing is.
type Begun = Result<(), AppError>;

/// Sends it.
#[handler]
pub async fn get_history(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    admit(request, &app).await?;
    if !app.is_ready() {
        return Err(busy("this server lacks something itself"));
    }
    let (pieces, mut sent) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    let (begun, wait) = oneshot::channel::<Begun>();
    tokio::task::spawn_blocking(move || send(&app, &pieces, begun));
    wait.await.map_err(|_panicked| AppError::internal())??;
    response.status_code(StatusCode::OK);
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response.stream(stream::poll_fn(move |context| sent.poll_recv(context)));
    Ok(())
}

/// Refuses everybody but who shows a ticket of a member.
async fn admit(request: &Request, app: &App) -> Result<(), AppError> {
    let refused = || AppError::new(StatusCode::FORBIDDEN, "this is for other members alone");
    let Some(cluster) = &app.cluster else {
        return Err(refused());
    };
    let shown = request.headers().get(TICKET);
    let shown = shown.and_then(|shown| shown.to_str().ok());
    let shown = shown
        .filter(|shown| !shown.is_empty())
        .ok_or_else(refused)?;
    let digest = String::from(Digest::of(shown));
    match cluster.common().take(Space::Copy, &digest).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(refused()),
        Err(error) => {
            tracing::debug!(%error, "a ticket cannot be looked up");
            Err(busy("the other servers cannot be reached"))
        }
    }
}

fn busy(why: &str) -> AppError {
    AppError::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// Makes the copy and sends it; the first piece says that there is one.
fn send(app: &Arc<App>, pieces: &mpsc::Sender<io::Result<Bytes>>, begun: oneshot::Sender<Begun>) {
    let mut begun = Some(begun);
    let mut begin = |said: Begun| {
        if let Some(begun) = begun.take() {
            // Whoever asked may be gone.
            let _gone = begun.send(said);
        }
    };
    let (Some(log), Some(history), DataDir::Path(folder)) = (
        &app.ingest_log,
        app.storage.engine.history(),
        &app.settings.data_dir,
    ) else {
        return begin(Err(AppError::new(
            StatusCode::CONFLICT,
            "nothing is kept on disk here, so there is nothing to be copied",
        )));
    };
    let copied = log.copy(history, folder, |piece| {
        begin(Ok(()));
        pieces.blocking_send(Ok(piece.into())).is_ok()
    });
    match copied {
        Ok(Some(())) => {}
        Ok(None) => begin(Err(busy("another copy is being made"))),
        Err(error) => {
            tracing::warn!(%error, "the history could not be copied for another server");
            begin(Err(AppError::internal()));
            // Half of it is none: it breaks off.
            drop(pieces.blocking_send(Err(error)));
        }
    }
}
