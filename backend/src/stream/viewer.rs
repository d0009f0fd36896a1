//! One open stream: a socket, cursors into feeds, and a few replies.
//!
//! Two parties write to the socket, one at a time under the outbox lock: the fan-out thread, when
//! a feed has grown, and the viewer's own task, when a full socket has room again or the client
//! asked something. What is in memory for a viewer is this struct, its cursors, at most one frame
//! that is half written (shared with all who watch), and replies: [`REPLIES_MAX`] of them or
//! [`REPLY_BYTES_MAX`], whichever comes first.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_shared::codec::Form;
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
    sync::Notify,
};

use super::ws;
use crate::{
    clock::Clock,
    feed::{Member, Pump},
    telemetry::{StreamKind, Telemetry},
};

/// Replies that may wait for a full socket; at the bound the client is not read from until they
/// are gone, so a client that asks without reading only holds itself up.
pub const REPLIES_MAX: usize = 32;

/// The same in bytes. A reply may be as long as the message it answers.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take to close its side after the last bytes, in milliseconds. Closing
/// at once would reset the connection and could take the last bytes with it.
const LINGER_MS: i64 = 2_000;

/// How the stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// WebSocket frames, their messages in this form.
    WebSocket(Form),
    /// Server-sent events in HTTP/1.1 chunks.
    SseChunked,
    /// Server-sent events to an HTTP/1.0 client, ended by closing.
    SsePlain,
}

/// A stream's socket and what is to be written to it. See the module.
///
/// In the order of declaration: what every frame needs comes first and together, since fetching
/// a viewer from memory is most of what the fan-out adds to the system call.
#[repr(C)]
pub struct Viewer {
    /// The socket is full; set under the outbox lock, read without it to spare the fan-out a
    /// system call.
    blocked: AtomicBool,
    outbox: Mutex<Outbox>,
    stream: TcpStream,
    telemetry: Arc<Telemetry>,
    /// Names the stream in logs.
    pub id: u64,
    /// Which door it came through.
    pub kind: StreamKind,
    /// How it is framed.
    pub wire: Wire,
    /// Wakes the viewer's task: the socket is full, or something ended.
    wake: Notify,
    /// When the socket became full, Unix milliseconds; meaningful while `blocked`.
    blocked_since_ms: AtomicI64,
    /// When the client last sent anything, Unix milliseconds.
    heard_ms: AtomicI64,
    /// When the last heartbeat or ping was sent.
    pub(super) beat_ms: AtomicI64,
    clock: Clock,
}

/// Ordered as [`Viewer`] is.
#[repr(C)]
struct Outbox {
    phase: Phase,
    cursors: Cursors,
    /// Bytes and how many of them are written.
    current: Option<(Bytes, usize)>,
    replies: VecDeque<Bytes>,
    /// Of all replies that wait.
    reply_bytes: usize,
    /// Frames that the viewer was too slow for, of all cursors that it has or had.
    skipped: u64,
}

/// Cursors by key. Most viewers have one, which is kept in place.
#[derive(Default)]
#[repr(C)]
struct Cursors {
    first: Option<(u64, Box<dyn Member>)>,
    more: Vec<(u64, Box<dyn Member>)>,
}

impl Cursors {
    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (u64, Box<dyn Member>)> {
        self.first.iter_mut().chain(&mut self.more)
    }

    fn push(&mut self, key: u64, cursor: Box<dyn Member>) {
        // Not before others that are there: their order is that of joining.
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some((key, cursor));
        } else {
            self.more.push((key, cursor));
        }
    }

    fn remove(&mut self, key: u64) {
        self.first.take_if(|(known, _)| *known == key);
        self.more.retain(|(known, _)| *known != key);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Cursors are followed.
    Open,
    /// The last bytes are queued; nothing new is added.
    Finishing { since_ms: i64 },
    /// The last bytes are written and our side is closed.
    Drained { since_ms: i64 },
    /// The socket is to be dropped.
    Over(&'static str),
}

/// What a viewer's task woke up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There may be bytes to read.
    Readable,
    /// Look at the state again.
    Changed,
}

impl Viewer {
    /// A viewer over `stream` that first writes `first`, in order.
    #[must_use]
    pub fn new(
        id: u64,
        kind: StreamKind,
        wire: Wire,
        stream: TcpStream,
        first: impl IntoIterator<Item = Bytes>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let now_ms = clock.now_ms();
        let replies: VecDeque<Bytes> = first.into_iter().collect();
        Arc::new(Self {
            id,
            kind,
            wire,
            stream,
            outbox: Mutex::new(Outbox {
                current: None,
                reply_bytes: replies.iter().map(Bytes::len).sum(),
                replies,
                cursors: Cursors::default(),
                skipped: 0,
                phase: Phase::Open,
            }),
            wake: Notify::new(),
            blocked: AtomicBool::new(false),
            blocked_since_ms: AtomicI64::new(now_ms),
            heard_ms: AtomicI64::new(now_ms),
            beat_ms: AtomicI64::new(now_ms),
            clock,
            telemetry,
        })
    }

    /// Follows another feed; `key` names the cursor for [`Self::unfollow`].
    pub fn follow(&self, key: u64, cursor: impl Member + 'static) {
        {
            let mut outbox = self.outbox.lock();
            // Ended before it began: the last bytes are queued, and nothing comes after them.
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.cursors.push(key, Box::new(cursor));
        }
        self.pump();
    }

    /// Replaces the cursor called `key`, and sends `reply` between the old and the new one.
    pub fn refollow(&self, key: u64, reply: Bytes, cursor: impl FnOnce(u64) -> Box<dyn Member>) {
        {
            let mut outbox = self.outbox.lock();
            // Nothing comes after the last bytes.
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.push_reply(reply);
            if let Some((_, held)) = outbox.cursors.iter_mut().find(|(known, _)| *known == key) {
                let next = held.next_offset();
                *held = cursor(next);
            }
        }
        self.pump();
    }

    /// Stops following the feed called `key`.
    pub fn unfollow(&self, key: u64) {
        self.outbox.lock().cursors.remove(key);
    }

    /// Sends bytes to this viewer alone, before the next frame.
    pub fn reply(&self, bytes: Bytes) {
        {
            let mut outbox = self.outbox.lock();
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.push_reply(bytes);
        }
        self.pump();
    }

    /// Sends a message to this WebSocket client alone, in the form that it asked for.
    pub fn say(&self, message: &impl serde::Serialize) {
        self.reply(ws::message(self.form(), message));
    }

    /// The form that this client's messages are in; JSON for event streams.
    #[must_use]
    pub fn form(&self) -> Form {
        match self.wire {
            Wire::WebSocket(form) => form,
            Wire::SseChunked | Wire::SsePlain => Form::Json,
        }
    }

    /// Sends `last` and then closes: what is half written is completed, frames not yet begun
    /// are left to a resume.
    pub fn finish(&self, last: Bytes) {
        {
            let mut outbox = self.outbox.lock();
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.push_reply(last);
            outbox.cursors.clear();
            outbox.phase = Phase::Finishing {
                since_ms: self.clock.now_ms(),
            };
        }
        self.pump();
        self.wake.notify_one();
    }

    /// Ends the stream at once.
    pub fn abort(&self, why: &'static str) {
        let mut outbox = self.outbox.lock();
        if !matches!(outbox.phase, Phase::Over(_)) {
            outbox.phase = Phase::Over(why);
        }
        drop(outbox);
        self.wake.notify_one();
    }

    /// Why the stream ended, once it has.
    #[must_use]
    pub fn over(&self) -> Option<&'static str> {
        match self.outbox.lock().phase {
            Phase::Over(why) => Some(why),
            _ => None,
        }
    }

    /// Whether the last bytes are queued or written.
    #[must_use]
    pub fn finishing(&self) -> bool {
        !matches!(self.outbox.lock().phase, Phase::Open)
    }

    /// How long the socket has taken nothing although there is something to write.
    pub(super) fn blocked_for_ms(&self, now_ms: i64) -> Option<i64> {
        self.blocked
            .load(Ordering::Acquire)
            .then(|| now_ms - self.blocked_since_ms.load(Ordering::Relaxed))
    }

    /// How long the client has said nothing.
    pub(super) fn silent_for_ms(&self, now_ms: i64) -> i64 {
        now_ms - self.heard_ms.load(Ordering::Relaxed)
    }

    /// How long ago the last bytes were queued.
    pub(super) fn lingering_for_ms(&self, now_ms: i64) -> Option<i64> {
        match self.outbox.lock().phase {
            Phase::Finishing { since_ms } | Phase::Drained { since_ms } => Some(now_ms - since_ms),
            _ => None,
        }
    }

    /// Whether the linger time is over.
    pub(super) fn lingered(&self, now_ms: i64) -> bool {
        self.lingering_for_ms(now_ms)
            .is_some_and(|ms| ms > LINGER_MS)
    }

    /// The peer closed its side; what is left to write has no reader.
    fn hung_up(&self) {
        self.abort("client closed the connection");
    }

    /// Whether so many replies wait for a full socket that no more questions are to be read.
    pub(super) fn holds_back(&self) -> bool {
        if !self.blocked.load(Ordering::Acquire) {
            return false;
        }
        let outbox = self.outbox.lock();
        outbox.replies.len() >= REPLIES_MAX || outbox.reply_bytes >= REPLY_BYTES_MAX
    }

    /// Waits until there is something to read or the state changed. Cancel safe.
    pub(super) async fn woken(&self) -> Woken {
        let blocked = self.blocked.load(Ordering::Acquire);
        // Behind on replies: do not read what would make more of them.
        let interest = match (blocked, self.holds_back()) {
            (false, _) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (true, true) => Interest::WRITABLE,
        };
        tokio::select! {
            ready = self.stream.ready(interest) => self.on_ready(blocked, ready),
            () = self.wake.notified() => Woken::Changed,
        }
    }

    fn on_ready(&self, blocked: bool, ready: io::Result<Ready>) -> Woken {
        let Ok(ready) = ready else {
            self.hung_up();
            return Woken::Changed;
        };
        if blocked && ready.is_writable() {
            self.blocked.store(false, Ordering::Release);
            self.pump();
        }
        if ready.is_readable() || ready.is_read_closed() {
            Woken::Readable
        } else {
            Woken::Changed
        }
    }

    /// Reads what is there into `buffer`; `Ok(0)` and errors other than `WouldBlock` mean that
    /// the peer is gone and have ended the viewer.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.try_read(buffer);
        match &result {
            Ok(0) => self.hung_up(),
            Ok(_) => self.heard_ms.store(self.clock.now_ms(), Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.hung_up(),
        }
        result
    }

    /// Frames that this viewer was too slow for.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.outbox.lock().skipped
    }

    /// The address of the client.
    #[must_use]
    pub fn peer(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer_addr().ok()
    }

    fn close_write_side(&self) {
        // The peer may be gone already, which is what we are about to find out.
        drop(socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write));
    }
}

impl Outbox {
    fn push_reply(&mut self, reply: Bytes) {
        self.reply_bytes += reply.len();
        self.replies.push_back(reply);
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(reply) = self.replies.pop_front() {
            self.reply_bytes -= reply.len();
            return Some(reply);
        }
        self.cursors.iter_mut().find_map(|(_, cursor)| {
            let bytes = cursor.next();
            self.skipped += cursor.take_skipped();
            bytes
        })
    }
}

impl Pump for Viewer {
    fn fetch(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    fn pump(&self) {
        if self.blocked.load(Ordering::Acquire) {
            return; // the viewer's task goes on when there is room
        }
        let mut outbox = self.outbox.lock();
        if matches!(outbox.phase, Phase::Over(_) | Phase::Drained { .. }) {
            return;
        }
        let (mut frames, mut bytes_sent, skipped_before) = (0, 0, outbox.skipped);
        loop {
            let Some((bytes, written)) = outbox
                .current
                .take()
                .or_else(|| outbox.next().map(|bytes| (bytes, 0)))
            else {
                if let Phase::Finishing { since_ms } = outbox.phase {
                    outbox.phase = Phase::Drained { since_ms };
                    self.close_write_side();
                }
                break;
            };
            match self.stream.try_write(&bytes[written..]) {
                Ok(count) => {
                    bytes_sent += count as u64;
                    if written + count < bytes.len() {
                        outbox.current = Some((bytes, written + count));
                    } else {
                        frames += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    outbox.current = Some((bytes, written));
                    self.blocked_since_ms
                        .store(self.clock.now_ms(), Ordering::Relaxed);
                    self.blocked.store(true, Ordering::Release);
                    self.wake.notify_one();
                    break;
                }
                Err(_) => {
                    outbox.phase = Phase::Over("client closed the connection");
                    self.wake.notify_one();
                    break;
                }
            }
        }
        let skipped = outbox.skipped - skipped_before;
        drop(outbox);
        if skipped > 0 {
            self.telemetry
                .frames_skipped
                .fetch_add(skipped, Ordering::Relaxed);
        }
        if bytes_sent > 0 {
            self.telemetry
                .frames_sent
                .fetch_add(frames, Ordering::Relaxed);
            self.telemetry
                .bytes_sent
                .fetch_add(bytes_sent, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}
