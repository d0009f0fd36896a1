//! Answers that are sent piece by piece while they are made, so that a large one takes no memory.
//!
//! The status waits for the first piece: what is refused on the way is so by its status if the
//! answer is short. A client that reads slowly is waited for, within bounds, and has no turn
//! meanwhile.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use pulseboard_engine::{Cost, query::QueryError};
use salvo::{
    Request, Response,
    http::{HeaderValue, StatusCode, header},
};
use tokio::sync::{mpsc, oneshot};

use super::compress::{self, Coding, ENCODER_BYTES, Encoder};
use crate::{
    app::App,
    base::{error::AppError, telemetry::Limit},
    questions::{ANSWERS_RETRY_S, Working},
    shares::{CallerKeys, Share},
};

/// Pieces of an answer that wait for a slow client; then reading waits.
const PIECES_MAX: usize = 4;

/// A client may keep one answer's reading waiting for so long in all.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

/// A piece of an answer is sent when it has this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Why an answer ended before its end.
#[derive(Debug)]
pub enum Ended {
    /// Its client has gone.
    Gone,
    /// Its client did not read.
    Stalled,
    /// What is asked for cannot be answered.
    Failed(AppError),
    /// Reading ended.
    Query(QueryError),
}

impl From<AppError> for Ended {
    fn from(error: AppError) -> Self {
        Self::Failed(error)
    }
}

impl From<QueryError> for Ended {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

/// An answer on its way.
pub struct Pieces {
    /// What the question may cost.
    pub cost: Arc<Cost>,
    working: Working,
    encoder: Encoder,
    /// What the encoder takes of all answers' memory.
    _room: Option<Share>,
    /// Written and not packed.
    piece: Vec<u8>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    /// To whoever waits for the status; gone when it has been said.
    head: Option<oneshot::Sender<Result<(), AppError>>>,
    /// How long one piece may wait.
    patience: Duration,
    /// How long pieces have waited in all.
    waited: Duration,
}

/// Has `work` write an answer of this content type on a thread that may block, with a turn as every
/// question has.
///
/// # Errors
/// What is refused before the first piece has been sent.
pub async fn answer(
    app: &Arc<App>,
    keys: CallerKeys,
    (request, response): (&Request, &mut Response),
    content_type: &'static str,
    work: impl FnOnce(&App, &mut Pieces) -> Result<(), Ended> + Send + 'static,
) -> Result<(), AppError> {
    let coding = Coding::wanted(request.headers());
    let (working, asker) = app.questions.admit(keys).await?;
    // An encoder is there for as long as its client reads, and may be larger than what waits to be
    // sent: where there is no room for one, the answer is sent as it is.
    let room = coding.and_then(|_| working.room(ENCODER_BYTES));
    let coding = coding.filter(|_| room.is_some());
    let (pieces, mut sent) = mpsc::channel::<io::Result<Bytes>>(PIECES_MAX);
    let (head, begun) = oneshot::channel();
    let worker = Arc::clone(app);
    // Its end is that of the channel; when the client has gone it ends with the next look.
    drop(app.tasks.spawn_blocking(move || {
        // Made here, since who waits for a turn is to hold no buffers: an encoder has a megabyte.
        let Ok(encoder) = Encoder::new(coding) else {
            drop(head.send(Err(AppError::internal())));
            return;
        };
        let mut answer = Pieces {
            cost: Arc::clone(&working.cost),
            working,
            encoder,
            _room: room,
            piece: Vec::with_capacity(PIECE_BYTES + 4096),
            pieces,
            head: Some(head),
            patience: worker.settings.write_timeout,
            waited: Duration::ZERO,
        };
        let ended = work(&worker, &mut answer).and_then(|()| answer.finish());
        match ended {
            Ok(()) | Err(Ended::Gone) => {}
            Err(Ended::Stalled) => worker.telemetry.count_limit(Limit::WriteDeadline),
            Err(Ended::Failed(error)) => answer.fail(error),
            Err(Ended::Query(error)) => answer.fail(worker.questions.refuse(&error)),
        }
    }));
    begun.await.map_err(|_panicked| AppError::internal())??;
    response.status_code(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    compress::mark(headers, coding);
    // Dropped with the answer: whoever asked has gone, or has it all.
    response.stream(stream::poll_fn(move |context| {
        let _held = &asker;
        sent.poll_recv(context)
    }));
    Ok(())
}

impl fmt::Debug for Pieces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pieces")
            .field("waited", &self.waited)
            .finish_non_exhaustive()
    }
}

impl Pieces {
    /// Writes; what is enough for a piece is sent.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE_BYTES {
            return Ok(());
        }
        self.pack()?;
        let full = self.encoder.take();
        match full.is_empty() {
            true => Ok(()),
            false => self.send(full),
        }
    }

    fn pack(&mut self) -> Result<(), Ended> {
        let packed = self.encoder.write(&self.piece);
        self.piece.clear();
        packed.map_err(|error| {
            tracing::error!(%error, "an answer could not be packed");
            Ended::Failed(AppError::internal())
        })
    }

    fn finish(&mut self) -> Result<(), Ended> {
        self.pack()?;
        let encoder = std::mem::replace(
            &mut self.encoder,
            Encoder::new(None).map_err(|_no_memory| AppError::internal())?,
        );
        let rest = encoder
            .finish()
            .map_err(|_no_memory| AppError::internal())?;
        self.send(rest)
    }

    /// Hands a piece on. A client that reads slowly is waited for.
    fn send(&mut self, piece: Vec<u8>) -> Result<(), Ended> {
        // It, or others with it, do not read what they have: there is no memory for more.
        let piece = self
            .working
            .hold(Bytes::from(piece))
            .map_err(|refused| AppError::unavailable(refused.to_string(), ANSWERS_RETRY_S))?;
        if let Some(head) = self.head.take()
            && head.send(Ok(())).is_err()
        {
            return Err(Ended::Gone);
        }
        let piece = match self.pieces.try_send(Ok(piece)) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Ended::Gone),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        let began = Instant::now();
        let patience = self
            .patience
            .min(CLIENT_PATIENCE.saturating_sub(self.waited));
        let sending = tokio::time::timeout(patience, self.pieces.send(piece));
        let sent = self
            .working
            .waiting(|| tokio::runtime::Handle::current().block_on(sending));
        self.waited += began.elapsed();
        match sent {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(_closed))) => Err(Ended::Gone),
            Ok(Err(_elapsed)) => Err(Ended::Stalled),
            // Others do not read theirs either, and this one has no place among them.
            Err(_refused) => Err(Ended::Stalled),
        }
    }

    /// Says by the status what is wrong, or where that has been said breaks the body off, which a
    /// client notices by a body that does not end.
    fn fail(&mut self, error: AppError) {
        match self.head.take() {
            Some(head) => drop(head.send(Err(error))),
            None => {
                tracing::warn!(%error, "an answer broke off");
                drop(
                    self.pieces
                        .try_send(Err(io::Error::other(error.to_string()))),
                );
            }
        }
    }
}
