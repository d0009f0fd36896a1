//! `GET /internal/history`: the history of this server for another member of the same service,
//! which has missed more than Redis holds. Nobody else gets it: a ticket has to be shown whose
//! digest lies in Redis, and it is good once.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use pulseboard_bus::Space;
use salvo::{
    Depot, Request, Response, handler,
    http::{HeaderValue, StatusCode, header},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::secret::{Digest, is_secret},
    app::App,
    base::error::AppError,
    http::{self, caller::client_address},
    ingest_log::{IngestLog, TICKET},
    settings::DataDir,
};

/// Pieces that wait for who copies.
const PIECES_MAX: usize = 4;

/// Who copies has so long for a piece; as long as it waits for one itself.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// What is sent, or why nothing is.
type Begun = Result<(), AppError>;

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// Sends it.
#[handler]
pub async fn get_history(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    let log = app.ingest_log.as_ref().ok_or_else(refused)?;
    let shown = request.headers().get(TICKET);
    let shown = shown.and_then(|shown| shown.to_str().ok());
    admit(
        &app,
        log,
        shown.unwrap_or_default(),
        client_address(request),
    )
    .await?;
    let (pieces, mut sent) = mpsc::channel(PIECES_MAX);
    let (begun, wait) = oneshot::channel::<Begun>();
    let sending = Arc::clone(&app);
    // Waited for when this server stops, which it is told of.
    app.tasks
        .spawn_blocking(move || send(&sending, &pieces, begun));
    wait.await.map_err(|_panicked| AppError::internal())??;
    response.status_code(StatusCode::OK);
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response.stream(stream::poll_fn(move |context| sent.poll_recv(context)));
    Ok(())
}

/// Refuses everybody but who shows a ticket of a member. What can be found out here is, before the
/// others are asked; and no ticket is used up for which there would be no copy.
async fn admit(app: &App, log: &IngestLog, shown: &str, address: IpAddr) -> Result<(), AppError> {
    let Some(cluster) = &app.cluster else {
        return Err(refused());
    };
    if !is_secret(shown) {
        return Err(refused());
    }
    app.access.may_guess(address)?;
    if !app.is_ready() {
        return Err(busy("this server lacks something itself"));
    }
    let _asked = log
        .may_ask()
        .ok_or_else(|| busy("another copy is being made"))?;
    let digest = String::from(Digest::of(shown));
    match cluster.common().take(Space::Copy, &digest).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            app.access.has_guessed(address);
            Err(refused())
        }
        Err(error) => {
            tracing::debug!(%error, "a ticket cannot be looked up");
            Err(busy("the other servers cannot be reached"))
        }
    }
}

fn refused() -> AppError {
    AppError::new(StatusCode::FORBIDDEN, "this is for other members alone")
}

fn busy(why: &str) -> AppError {
    AppError::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// Makes the copy and sends it; the first piece says that there is one.
fn send(app: &App, pieces: &Pieces, begun: oneshot::Sender<Begun>) {
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
    let goes_on = || !app.stopping.is_cancelled() && !pieces.is_closed();
    let copied = log.copy((history, folder), &goes_on, |piece| {
        begin(Ok(()));
        hand_on(pieces, &app.stopping, PIECE_WITHIN, Ok(piece.into()))
    });
    match copied {
        Ok(Some(())) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            begin(Err(busy("this server stops")));
        }
        Ok(None) => begin(Err(busy("another copy is being made"))),
        Err(error) => {
            tracing::warn!(%error, "the history could not be copied for another server");
            begin(Err(AppError::internal()));
            // Half of it is none: it breaks off.
            hand_on(pieces, &app.stopping, PIECE_WITHIN, Err(error));
        }
    }
}

/// Waits until whoever copies takes the next piece; `false` where it does not within that time, or
/// is gone, or this server stops. Blocks.
fn hand_on(
    pieces: &Pieces,
    stopping: &CancellationToken,
    within: Duration,
    piece: io::Result<Bytes>,
) -> bool {
    Handle::current().block_on(async {
        tokio::select! {
            biased;
            () = stopping.cancelled() => false,
            sent = timeout(within, pieces.send(piece)) => matches!(sent, Ok(Ok(()))),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn piece() -> io::Result<Bytes> {
        Ok(Bytes::from_static(b"piece"))
    }

    /// On a thread that may block.
    async fn hands_on(pieces: &Pieces, stopping: &CancellationToken, within: Duration) -> bool {
        let (pieces, stopping) = (pieces.clone(), stopping.clone());
        let handed = move || hand_on(&pieces, &stopping, within, piece());
        tokio::task::spawn_blocking(handed).await.expect("it ends")
    }

    #[tokio::test]
    async fn who_reads_nothing_does_not_hold_a_copy_nor_a_server_that_stops() {
        let began = Instant::now();
        let (pieces, reading) = mpsc::channel(1);
        let stopping = CancellationToken::new();
        assert!(hands_on(&pieces, &stopping, LONG).await);
        assert!(!hands_on(&pieces, &stopping, Duration::from_millis(20)).await);
        let stops = async {
            tokio::task::yield_now().await;
            stopping.cancel();
        };
        let (is_taken, ()) = tokio::join!(hands_on(&pieces, &stopping, LONG), stops);
        assert!(!is_taken);
        drop(reading);
        assert!(!hands_on(&pieces, &CancellationToken::new(), LONG).await);
        assert!(began.elapsed() < LONG);
    }
}
