//! Serves HTTP/2 on a connection: everything that is answered, and event streams, whose viewers
//! write into the answer's body (`stream::pipe`). WebSockets are not opened here (RFC 8441 is not
//! offered): browsers then open a connection of HTTP/1.1 for them.
//!
//! hyper keeps what a client has no room for until it has some. So an answer goes out in pieces,
//! each counted until it has left, and a client that takes none of one loses the connection
//! ([`Answers`]).

use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderName, HeaderValue},
    server::conn::http2,
    service::Service as _,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use pulseboard_agent::http2::begun;
use salvo::{
    conn::ConnCtrl,
    http::{ResBody, StatusCode, uri::Scheme},
};
use tokio::time::Instant;

use super::{
    connections::{Ends, HEAD_DEADLINE, Tasks},
    finish::{asks_for_methods, set_date, tell_methods},
    http1::{HURRIED_PATIENCE, READING_BYTES_A_SECOND, READING_LOOKED_AT},
    slots::Place,
    transport::Transport,
};
use crate::{
    access::peer::{Arrival, Peer},
    app::App,
    base::{error::AppError, telemetry::Limit},
    http::error::Render as _,
    stream::{
        pipe::{PipeBody, pipe},
        takeover::{TakenSocket, Takeover},
    },
};

/// Requests of one connection at once, event streams among them: as many as a client may count on
/// (RFC 9113 §6.5.2), since all tabs of a browser share a connection.
const REQUESTS_MAX: u32 = 100;
/// Of a request's headers; longer ones are answered 431.
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// Headers of a request, as many as over HTTP/1.1: packed they may be a byte each.
const HEADERS_MAX: usize = 100;
/// Bytes of a request, and of all of a connection, that may be on their way and nobody has read.
const REQUEST_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;
/// Of one answer that waits for its connection's socket.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// An answer goes out in pieces of at most this.
const PIECE_BYTES: usize = 16 * 1024;
/// How often the other end is asked whether it is there, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// A connection on which nothing is asked for so long is ended, and then has this long to end.
const IDLE: Duration = Duration::from_secs(60);
const ENDING: Duration = Duration::from_secs(5);

/// What belongs to a connection of HTTP/1.1 and is in no answer here (RFC 9113 §8.2.2).
const OF_CONNECTIONS: [HeaderName; 4] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Serves the connection.
pub(super) async fn serve(
    app: Arc<App>,
    stream: Transport,
    ends: Ends,
    service: &salvo::Service,
    place: Place,
) {
    let opening = tokio::select! {
        opening = begun(stream, HEAD_DEADLINE) => opening,
        () = app.stopping.cancelled() => return,
    };
    let Some(stream) = opening else {
        return tracing::debug!(client.address = %ends.remote.ip(), "a connection did not begin as HTTP/2");
    };
    let answers = Arc::new(Answers::default());
    let peer = Arc::new(Peer::new(ends.remote, ends.local));
    let handler = service.hyper_handler(
        ends.local.into(),
        ends.remote.into(),
        Scheme::HTTPS,
        None,
        ConnCtrl::new(),
        None,
    );
    let answering = hyper::service::service_fn({
        let (answers, clock) = (Arc::clone(&answers), app.clock.clone());
        move |mut request: hyper::Request<Incoming>| {
            let (clock, flow) = (clock.clone(), answers.begin());
            let takeover = Takeover::default();
            let asks_for_methods = asks_for_methods(&request);
            let refused = match request.headers().len() > HEADERS_MAX {
                true => Some(too_many_headers()),
                false => (!name_host(&mut request)).then(nameless),
            };
            let extensions = request.extensions_mut();
            extensions.insert(takeover.clone());
            extensions.insert(Arrival {
                peer: Arc::clone(&peer),
                // Every target has an authority here, which became the one host.
                absolute: false,
                tls: true,
            });
            let answer = match refused {
                Some(refused) => Err(refused),
                None => Ok(handler.call(request)),
            };
            async move {
                let mut response = match answer {
                    Ok(answer) => answer.await.map_err(std::io::Error::other)?,
                    Err(refused) => refused,
                };
                if asks_for_methods {
                    tell_methods(&mut response);
                }
                set_date(response.headers_mut(), clock.now_ms());
                for name in &OF_CONNECTIONS {
                    response.headers_mut().remove(name);
                }
                Ok::<_, std::io::Error>(match takeover.claimed() {
                    true => hand_over(response, &takeover, ends, flow),
                    false => response.map(|body| Answer::Whole(Pieces::new(body, flow))),
                })
            }
        }
    });
    let connection = http2::Builder::new(Tasks::of(&app))
        .timer(TokioTimer::new())
        .max_concurrent_streams(REQUESTS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(REQUEST_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    let mut looking = tokio::time::interval(READING_LOOKED_AT);
    let mut watched = Watched::new(&app, answers);
    let mut told: Option<Instant> = None;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = app.stopping.cancelled(), if told.is_none() => {
                // However long what is under way takes: the server's own deadlines end it.
                told = Some(Instant::now() + Duration::from_secs(3_600));
                connection.as_mut().graceful_shutdown();
            }
            now = looking.tick() => match watched.look(now) {
                Seen::Fine => {}
                Seen::Idle if told.is_none() => {
                    told = Some(now + ENDING);
                    connection.as_mut().graceful_shutdown();
                }
                Seen::Idle if told.is_some_and(|until| now < until) => {}
                Seen::Idle => return,
                Seen::Unread => {
                    app.telemetry.count_limit(Limit::WriteDeadline);
                    tracing::debug!(client.address = %ends.remote.ip(), "an answer was not read in time");
                    return;
                }
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.address = %ends.remote.ip(), %error, "connection ended");
    }
    drop(place);
}

/// Puts the authority where HTTP/1.1 has it, so that there is one place to look for it. Whether
/// there is one; where both are there and differ, that is found out where it is for HTTP/1.1.
fn name_host(request: &mut hyper::Request<Incoming>) -> bool {
    if request.headers().contains_key(header::HOST) {
        return true;
    }
    let authority = request.uri().authority();
    let Some(host) = authority.and_then(|name| HeaderValue::try_from(name.as_str()).ok()) else {
        return false;
    };
    request.headers_mut().insert(header::HOST, host);
    true
}

fn nameless() -> hyper::Response<ResBody> {
    refusal(AppError::bad_request(
        "a request must name the host that it is for",
    ))
}

fn too_many_headers() -> hyper::Response<ResBody> {
    refusal(AppError::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        format!("a request has {HEADERS_MAX} headers at most"),
    ))
}

fn refusal(error: AppError) -> hyper::Response<ResBody> {
    let mut response = salvo::Response::new();
    error.render(&mut response);
    response.into_hyper()
}

/// Gives the answer's body to whoever claimed the socket.
fn hand_over(
    response: hyper::Response<ResBody>,
    takeover: &Takeover,
    ends: Ends,
    flow: Arc<Flow>,
) -> hyper::Response<Answer> {
    // The head goes out as any other's.
    takeover.set_head(Bytes::new());
    let (stream, body) = pipe(ends.remote);
    if let Some((claim, head)) = takeover.take() {
        claim(TakenSocket {
            stream: stream.into(),
            read: Bytes::new(),
            head,
            file: None,
        });
    }
    response.map(|_unused| Answer::Stream(body, flow))
}

/// The body of an answer.
enum Answer {
    Whole(Pieces),
    /// Read as fast as it may be, or its viewer is ended by its own deadlines.
    Stream(
        PipeBody,
        #[expect(dead_code, reason = "held while it is open")] Arc<Flow>,
    ),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(pieces) => pieces.poll_frame(context),
            Self::Stream(body, _) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(pieces) => pieces.is_over(),
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(pieces) => pieces.size_hint(),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// An answer, piece by piece.
struct Pieces {
    body: ResBody,
    /// What is left of what the body gave last.
    rest: Bytes,
    flow: Arc<Flow>,
}

impl Pieces {
    fn new(body: ResBody, flow: Arc<Flow>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            flow,
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        while self.rest.is_empty() {
            let Some(frame) = std::task::ready!(Pin::new(&mut self.body).poll_frame(context))
            else {
                return Poll::Ready(None);
            };
            match frame.map_err(std::io::Error::other)?.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.flow
            .has_rest
            .store(!self.rest.is_empty(), Ordering::Relaxed);
        let piece = Bytes::from_owner(Piece::new(piece, Arc::clone(&self.flow)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_over(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(of_body.lower() + rest);
        hint
    }
}

/// Bytes that count as waiting until they have left.
struct Piece {
    bytes: Bytes,
    flow: Arc<Flow>,
}

impl Piece {
    fn new(bytes: Bytes, flow: Arc<Flow>) -> Self {
        flow.waiting
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Self { bytes, flow }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = self.bytes.len() as u64;
        self.flow.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.flow.taken.fetch_add(bytes, Ordering::Relaxed);
        self.flow.of_all.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How an answer gets on; there as long as its request is.
#[derive(Debug, Default)]
struct Flow {
    /// Bytes that hyper has and the socket has not.
    waiting: AtomicU64,
    /// Bytes that have left.
    taken: AtomicU64,
    /// Bytes that have left of all answers of the connection.
    of_all: Arc<AtomicU64>,
    /// More is at hand than was given to hyper.
    has_rest: AtomicBool,
}

/// The requests of a connection that are not over.
#[derive(Debug, Default)]
struct Answers {
    /// Begun since they were looked at. A leaf lock.
    new: Mutex<Vec<Weak<Flow>>>,
    /// Bytes that have left of all that there were, also of those that were over before a look.
    taken: Arc<AtomicU64>,
}

impl Answers {
    fn begin(&self) -> Arc<Flow> {
        let flow = Arc::new(Flow {
            of_all: Arc::clone(&self.taken),
            ..Flow::default()
        });
        let mut new = self.new.lock();
        // Those that were over within a moment need not be looked at.
        if new.len() >= REQUESTS_MAX as usize {
            new.retain(|flow| flow.strong_count() > 0);
        }
        new.push(Arc::downgrade(&flow));
        flow
    }
}

/// What a look at a connection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Fine,
    /// Nothing has been asked for a long time.
    Idle,
    /// An answer is not read.
    Unread,
}

/// Whether a client reads its answers, looked at each second.
struct Watched {
    app: Arc<App>,
    answers: Arc<Answers>,
    flows: Vec<Followed>,
    /// Since when something waits on this connection, and what all had taken by then.
    since: Option<Instant>,
    taken_before: u64,
    busy_at: Instant,
}

struct Followed {
    flow: Weak<Flow>,
    /// Since when it waits, and since when nothing of it was taken.
    since: Option<Instant>,
    moved_at: Instant,
    taken: u64,
    taken_before: u64,
}

impl Watched {
    fn new(app: &Arc<App>, answers: Arc<Answers>) -> Self {
        Self {
            app: Arc::clone(app),
            answers,
            flows: Vec::new(),
            since: None,
            taken_before: 0,
            busy_at: Instant::now(),
        }
    }

    fn look(&mut self, now: Instant) -> Seen {
        let new = std::mem::take(&mut *self.answers.new.lock());
        if !new.is_empty() {
            self.busy_at = now;
        }
        self.flows.extend(new.into_iter().map(|flow| Followed {
            flow,
            since: None,
            moved_at: now,
            taken: 0,
            taken_before: 0,
        }));
        let (patience, is_short) = (self.app.settings.write_timeout, || {
            self.app.questions.is_short()
        });
        let (mut waits, mut unread) = (false, false);
        self.flows.retain_mut(|followed| {
            let Some(flow) = followed.flow.upgrade() else {
                return false;
            };
            let taken = flow.taken.load(Ordering::Relaxed);
            if taken != followed.taken {
                (followed.taken, followed.moved_at) = (taken, now);
            }
            if flow.waiting.load(Ordering::Relaxed) == 0 && !flow.has_rest.load(Ordering::Relaxed) {
                followed.since = None;
                return true;
            }
            waits = true;
            let since = *followed.since.get_or_insert_with(|| {
                (followed.moved_at, followed.taken_before) = (now, taken);
                now
            });
            let waited = now - since;
            unread |= now - followed.moved_at > patience
                || waited > HURRIED_PATIENCE
                    && taken - followed.taken_before < least(waited)
                    && is_short();
            true
        });
        if !self.flows.is_empty() {
            self.busy_at = now;
        }
        // One that takes a little of one answer now and then would hold them all.
        if waits {
            let taken = self.answers.taken.load(Ordering::Relaxed);
            let since = *self.since.get_or_insert_with(|| {
                self.taken_before = taken;
                now
            });
            let waited = now - since;
            unread |= waited > patience && taken - self.taken_before < least(waited);
        } else {
            self.since = None;
        }
        match (unread, now - self.busy_at > IDLE) {
            (true, _) => Seen::Unread,
            (false, true) => Seen::Idle,
            (false, false) => Seen::Fine,
        }
    }
}

/// What a client is to have taken after so long.
fn least(waited: Duration) -> u64 {
    READING_BYTES_A_SECOND.saturating_mul(waited.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_of_answers_that_are_over_counts_for_their_connection() {
        let answers = Answers::default();
        for _ in 0..300 {
            let flow = answers.begin();
            drop(Piece::new(Bytes::from_static(b"small"), flow));
        }
        assert_eq!(answers.taken.load(Ordering::Relaxed), 1_500);
        assert!(answers.new.lock().len() <= REQUESTS_MAX as usize + 1);
    }
}
