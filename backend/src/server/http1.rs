//! Serves HTTP/1.1 on a connection, until a stream takes its socket or the server stops.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::rt::{TokioIo, TokioTimer};
use salvo::{conn::ConnCtrl, http::uri::Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connections::{Ends, HEAD_DEADLINE, UNACKED_MAX, bound_unacked},
    finish::{asks_for_methods, set_date, tell_methods},
    slots::Place,
    targets::{LONGEST, Targets},
    transport::Transport,
};
use crate::{
    access::peer::{Arrival, Peer},
    app::App,
    base::telemetry::Limit,
    questions::Questions,
    stream::takeover::{TakenSocket, Takeover, encode_head},
};

/// Of a request head; a longer one is answered 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Read at once while request lines are looked at: more than most heads have.
const HEAD_CHUNK_BYTES: usize = 2 * 1024;
/// Of unsent and unacknowledged bytes that the kernel holds for one stream (it doubles this).
/// Large enough for a window's snapshot, small enough that thousands of viewers that never read
/// cost little.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A client that does not read is looked at this often.
pub(super) const READING_LOOKED_AT: Duration = Duration::from_secs(1);
/// Bytes a second that a client takes of an answer, on average, once the write deadline is over:
/// one that takes a few now and then would hold it for ever.
pub(super) const READING_BYTES_A_SECOND: u64 = 16 * 1024;
/// The write deadline while somebody finds no memory for an answer since others do not read theirs.
pub(super) const HURRIED_PATIENCE: Duration = Duration::from_secs(5);
/// A stream's peer may take nothing until the write deadline, and is then told so: the kernel waits
/// that much longer.
const UNACKED_PAST_DEADLINE: Duration = Duration::from_secs(10);

/// Serves the connection.
pub(super) async fn serve(
    app: Arc<App>,
    stream: Transport,
    Ends { local, remote }: Ends,
    service: &salvo::Service,
    mut place: Place,
) {
    let tls = stream.is_tls();
    let flushed = Arc::new(AtomicBool::new(true));
    let written = Arc::new(AtomicU64::new(0));
    let io = TokioIo::new(Io {
        stream,
        flushed: Arc::clone(&flushed),
        written: Arc::clone(&written),
        targets: Targets::new(),
    });
    let takeover = Takeover::default();
    let peer = Arc::new(Peer::new(remote, local));
    let handler = service.hyper_handler(
        local.into(),
        remote.into(),
        if tls { Scheme::HTTPS } else { Scheme::HTTP },
        None,
        ConnCtrl::new(),
        None,
    );
    let answering = hyper::service::service_fn({
        let takeover = takeover.clone();
        let clock = app.clock.clone();
        move |mut request: hyper::Request<Incoming>| {
            let (takeover, clock) = (takeover.clone(), clock.clone());
            let asks_for_methods = asks_for_methods(&request);
            request.extensions_mut().insert(takeover.clone());
            let arrival = Arrival {
                peer: Arc::clone(&peer),
                absolute: request.uri().authority().is_some(),
                tls,
            };
            request.extensions_mut().insert(arrival);
            let answer = handler.call(request);
            Box::pin(async move {
                let Ok(mut response) = answer.await else {
                    return Err(io::Error::other("the handler gave no answer"));
                };
                if asks_for_methods {
                    tell_methods(&mut response);
                }
                set_date(response.headers_mut(), clock.now_ms());
                if takeover.claimed() {
                    takeover.set_head(encode_head(response.status(), response.headers()));
                    // Nothing is answered here any more: the socket is about to be taken.
                    std::future::pending::<Infallible>().await;
                }
                Ok(response)
            }) as Pin<Box<dyn Future<Output = _> + Send>>
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, answering);

    let mut stopping = pin!(app.stopping.cancelled());
    let mut told = false;
    let mut reading = Reading {
        flushed: Arc::clone(&flushed),
        written,
        patience: app.settings.write_timeout,
        questions: Arc::clone(&app.questions),
        since: None,
        timer: Box::pin(tokio::time::sleep(READING_LOOKED_AT)),
    };
    let taken = poll_fn(|context| {
        if !told && stopping.as_mut().poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(context) {
            Poll::Ready(result) => {
                if let Err(error) = result {
                    tracing::debug!(client.address = %remote.ip(), %error, "connection ended");
                }
                Poll::Ready(None)
            }
            Poll::Pending if reading.is_over(context) => {
                app.telemetry.count_limit(Limit::WriteDeadline);
                tracing::debug!(client.address = %remote.ip(), "an answer was not read in time");
                Poll::Ready(None)
            }
            // Answers to earlier requests on this connection are out before it is taken.
            Poll::Pending if flushed.load(Ordering::Relaxed) => match takeover.take() {
                Some(claimed) => Poll::Ready(Some(claimed)),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Some((claim, head)) = taken {
        let parts = connection.into_parts();
        let stream = parts.io.into_inner().stream;
        let socket = socket2::SockRef::from(stream.tcp());
        drop(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
        let unacked_max = UNACKED_MAX.max(app.settings.write_timeout + UNACKED_PAST_DEADLINE);
        bound_unacked(&socket, unacked_max);
        claim(TakenSocket {
            stream: stream.into_socket(),
            read: Bytes::copy_from_slice(&parts.read_buf),
            head,
            file: place.take_file(),
        });
    }
}

/// Whether a client reads its answers.
struct Reading {
    flushed: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    patience: Duration,
    questions: Arc<Questions>,
    /// Since when something waits to be taken, and how much had been by then.
    since: Option<(tokio::time::Instant, u64)>,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Reading {
    /// Whether it has had its time; looked at now and then as long as something waits.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if self.flushed.load(Ordering::Relaxed) {
            self.since = None;
            return false;
        }
        let now = tokio::time::Instant::now();
        let written = self.written.load(Ordering::Relaxed);
        let Some((since, before)) = self.since else {
            self.since = Some((now, written));
            self.timer.as_mut().reset(now + READING_LOOKED_AT);
            // So that it wakes this task.
            return self.timer.as_mut().poll(context).is_ready();
        };
        let waited = now - since;
        let enough = READING_BYTES_A_SECOND.saturating_mul(waited.as_secs());
        let hurried = waited > HURRIED_PATIENCE && self.questions.is_short();
        if (waited > self.patience || hurried) && written - before < enough {
            return true;
        }
        while self.timer.as_mut().poll(context).is_ready() {
            self.timer.as_mut().reset(now + READING_LOOKED_AT);
        }
        false
    }
}

/// A socket that knows whether all that was written to it has been taken by the kernel.
struct Io {
    stream: Transport,
    flushed: Arc<AtomicBool>,
    /// Bytes taken in all.
    written: Arc<AtomicU64>,
    /// Where requests begin in what is read.
    targets: Targets,
}

impl Io {
    fn note_written(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &polled {
            self.written.fetch_add(*count as u64, Ordering::Relaxed);
        }
        self.note(polled)
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let flushed = polled.is_ready() && self.stream.is_flushed();
        self.flushed.store(flushed, Ordering::Relaxed);
        polled
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; HEAD_CHUNK_BYTES];
        // As much as fits, whatever becomes of it.
        let room = chunk.get_mut(..(buffer.remaining() / LONGEST).min(HEAD_CHUNK_BYTES));
        let room = room.filter(|room| !room.is_empty() && !self.targets.is_through());
        let Some(room) = room else {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        };
        let mut read = ReadBuf::new(room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.targets
            .pass(read.filled(), |bytes| buffer.put_slice(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_written(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        // A plain socket has nothing to be flushed, and says so while it is full.
        match self.stream.is_tls() {
            true => self.note(polled),
            false => polled,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("flushed", &self.flushed)
            .finish_non_exhaustive()
    }
}
