//! Accepts connections and serves HTTP/1.1 on them, until a stream takes its socket or the
//! server stops.
//!
//! salvo's own server is not used for this: it hands no socket out, its idle fuse races the
//! heartbeats, and its graceful stop leaves sockets and streams open. Its routing, hoops and
//! handlers are, through [`salvo::Service`].

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
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
use salvo::{
    conn::ConnCtrl,
    http::{HeaderValue, header, uri::Scheme},
};
use socket2::TcpKeepalive;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};

use crate::{
    access::peer::{Arrival, Peer},
    app::App,
    base::{error::AppError, task::catch_panic, telemetry::Limit},
    http::{error::Render as _, via},
    questions::Questions,
    server::{
        connections::{self, HEAD_DEADLINE},
        finish::{asks_for_methods, set_date, tell_methods},
        slots::{ConnectionSlots, Full, Place},
        targets::{LONGEST, Targets},
    },
    stream::takeover::{TakenSocket, Takeover, encode_head},
};

/// Connections that the kernel completes before we accept them; thousands of pages may come back
/// in one second after a restart.
const BACKLOG: u32 = 4_096;
/// Of a request head; a longer one is answered 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Read at once while request lines are looked at: more than most heads have.
const HEAD_CHUNK_BYTES: usize = 2 * 1024;
/// Of unsent and unacknowledged bytes that the kernel holds for one stream (it doubles this).
/// Large enough for a window's snapshot, small enough that thousands of viewers that never read
/// cost little.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A client that does not read is looked at this often.
const READING_LOOKED_AT: Duration = Duration::from_secs(1);
/// Bytes a second that a client takes of an answer, on average, once the write deadline is over:
/// one that takes a few now and then would hold it for ever.
const READING_BYTES_A_SECOND: u64 = 16 * 1024;
/// The write deadline while somebody finds no memory for an answer since others do not read theirs.
const HURRIED_PATIENCE: Duration = Duration::from_secs(5);
/// Unacknowledged bytes older than this end a connection: its peer is gone. So does, to the kernel,
/// a peer that takes nothing for so long.
const UNACKED_MAX: Duration = Duration::from_secs(30);
/// A stream's peer may take nothing until the write deadline, and is then told so: the kernel waits
/// that much longer.
const UNACKED_PAST_DEADLINE: Duration = Duration::from_secs(10);
/// A peer that nothing was heard of for this long is asked by the kernel whether it is there.
const ASKED_AFTER: Duration = Duration::from_secs(60);
/// Files that are not connections: the history, logs, the runtime's own.
const FILES_RESERVED: u64 = 128;
/// The limit asked for however few streams are wanted.
const OPEN_FILES_AT_LEAST: u64 = 4_096;
/// Plain HTTP connections beside the streams.
const HTTP_CONNECTIONS_MAX: usize = 1_024;
/// Connections past their address's share that are told so at once; further ones are closed.
const REFUSALS_MAX: usize = 64;
/// How long one of them may take to read the answer.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);
/// When it may come back.
const REFUSAL_RETRY_S: u32 = 5;

fn fitting_streams(wanted: usize, files_limit: u64) -> usize {
    let left = files_limit.saturating_sub(FILES_RESERVED + HTTP_CONNECTIONS_MAX as u64);
    wanted
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

/// Binds the listening socket.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the open-file limit as far as allowed and returns how many streams it then carries: at
/// most `wanted`, fewer (in a warning) where the limit does not suffice.
#[must_use]
pub fn fit_open_files(wanted: usize) -> usize {
    let needed = (wanted + HTTP_CONNECTIONS_MAX) as u64 + FILES_RESERVED;
    let Ok(limit) = rlimit::increase_nofile_limit(needed.max(OPEN_FILES_AT_LEAST)) else {
        return wanted;
    };
    let fitting = fitting_streams(wanted, limit);
    if fitting < wanted {
        tracing::warn!(
            files.limit = limit,
            "MAX_CONNECTIONS={wanted} needs more open files than the limit of {limit} allows; lowered to {fitting}"
        );
    }
    fitting
}

/// Accepts until the server stops, and gives the listener back; every connection is a task of
/// `app.tasks`.
pub async fn accept(app: Arc<App>, listener: TcpListener, service: salvo::Service) -> TcpListener {
    let service = Arc::new(service);
    let bound = listener.local_addr().unwrap_or(app.settings.bind_addr);
    let places = ConnectionSlots::new(
        app.registry.max() + HTTP_CONNECTIONS_MAX,
        app.settings.max_connections_per_address,
    );
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let (stream, remote) = tokio::select! {
            () = app.stopping.cancelled() => return listener,
            next = connections::next(&listener) => next,
        };
        let is_proxy = via::trusts(&app.settings.trusted_proxies, remote.ip());
        let place = match places.take(remote.ip(), is_proxy) {
            Ok(place) => place,
            Err(full) => {
                app.telemetry.count_limit(full.limit());
                if let Full::Address(max) = full
                    && let Ok(permit) = Arc::clone(&refusals).try_acquire_owned()
                {
                    let now_ms = app.clock.now_ms();
                    app.tasks.spawn(async move {
                        refuse(stream, max, now_ms).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        let (connection_app, service) = (Arc::clone(&app), Arc::clone(&service));
        // Where we listen on several addresses, the one that they came to.
        let local = stream.local_addr().unwrap_or(bound);
        let connection = async move {
            serve_connection(connection_app, stream, local, remote, &service, place).await;
        };
        app.tasks
            .spawn(catch_panic(connection, Arc::clone(&app.telemetry)));
    }
}

/// Answers whatever is asked with 429. The client's bytes are read and let go, since closing a
/// socket with unread bytes resets it, and the answer with it.
async fn refuse(stream: TcpStream, max: usize, now_ms: i64) {
    let mut response = salvo::Response::new();
    AppError::too_many(
        format!("all {max} connections of one address are taken"),
        REFUSAL_RETRY_S,
    )
    .render(&mut response);
    let salvo::http::ResBody::Once(body) = response.take_body() else {
        return;
    };
    let headers = response.headers_mut();
    set_date(headers, now_ms);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let status = response.status_code.unwrap_or_default();
    let answer = [encode_head(status, response.headers()), body].concat();
    let answering = async {
        stream.writable().await?;
        // The socket is new: an answer this short fits.
        stream.try_write(&answer)?;
        socket2::SockRef::from(&stream).shutdown(std::net::Shutdown::Write)?;
        let mut read = [0; 1024];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut read) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    // Gone before the answer, or slow with it: it is closed in any case.
    drop(tokio::time::timeout(REFUSAL_DEADLINE, answering).await);
}

async fn serve_connection(
    app: Arc<App>,
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    service: &salvo::Service,
    mut place: Place,
) {
    let socket = socket2::SockRef::from(&stream);
    // Where the system refuses one of these, the connection works all the same.
    drop(socket.set_tcp_nodelay(true));
    bound_unacked(&socket, UNACKED_MAX);
    // A stream that nothing is sent on would never notice that its peer is gone.
    drop(socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASKED_AFTER)));
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
        Scheme::HTTP,
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
        let socket = socket2::SockRef::from(&stream);
        drop(socket.set_send_buffer_size(SEND_BUFFER_BYTES));
        let unacked_max = UNACKED_MAX.max(app.settings.write_timeout + UNACKED_PAST_DEADLINE);
        bound_unacked(&socket, unacked_max);
        claim(TakenSocket {
            stream,
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
    stream: TcpStream,
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
        self.flushed.store(polled.is_ready(), Ordering::Relaxed);
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
        Pin::new(&mut self.stream).poll_flush(context)
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

/// Ends a connection whose peer has acknowledged nothing for this long (`TCP_USER_TIMEOUT`). Only
/// Linux has it; elsewhere the system's own retransmission ends it, and the write deadline.
#[cfg(target_os = "linux")]
fn bound_unacked(socket: &socket2::SockRef<'_>, longest: Duration) {
    // Where the system refuses, the connection works all the same.
    drop(socket.set_tcp_user_timeout(Some(longest)));
}

#[cfg(not(target_os = "linux"))]
fn bound_unacked(_: &socket2::SockRef<'_>, _: Duration) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_fit_the_open_file_limit() {
        assert_eq!(fitting_streams(20_000, 1_000_000), 20_000);
        assert_eq!(fitting_streams(20_000, 20_000), 20_000 - 128 - 1_024);
        assert_eq!(fitting_streams(20_000, 10), 1, "one always fits");
    }
}
