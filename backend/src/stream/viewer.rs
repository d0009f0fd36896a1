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
        atomic::{AtomicBool, AtomicI64, Ordering, fence},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_feed::{
    FanoutPass, Member, Spot, Subscriber,
    wire::{Framing, ws},
};
use pulseboard_shared::codec::Encoding;
use tokio::{
    io::{Interest, Ready},
    sync::Notify,
};

use crate::{
    base::{
        clock::Clock,
        telemetry::{StreamKind, Telemetry},
    },
    stream::{
        outbox::{ColdOutbox, Cursor, Outbox, Phase},
        socket::Socket,
    },
};

/// Replies that may wait for a full socket; at the bound the client is not read from until they
/// are gone, so a client that asks without reading only holds itself up.
pub const REPLIES_MAX: usize = 32;

/// The same in bytes. A reply may be as long as the message it answers.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take to close its side after the last bytes, in milliseconds. Closing
/// at once would reset the connection and could take the last bytes with it.
const LINGER_MS: i64 = 2_000;

/// Frames that a viewer which is behind gets in one send, and their bytes about: more would not
/// fit into a socket's buffer, and wait with the viewer.
const TOGETHER_MAX: usize = 16;
const TOGETHER_BYTES: usize = 64 * 1024;

/// A stream's socket and what is to be written to it: cursors into feeds, a frame half
/// written, and a few replies.
///
/// In the order of declaration: what every frame needs comes first and together, in two cache lines
/// (or three, as they come to lie), since fetching a viewer from memory is most of what the fan-out
/// adds to the system call. [`Subscriber::fetch`] reads from its beginning and from its end.
#[repr(C)]
pub struct Viewer {
    outbox: Mutex<Outbox>,
    /// The socket is full; set under the outbox lock, read without it to spare the fan-out a
    /// system call. Cleared by [`Self::unblock`].
    blocked: AtomicBool,
    stream: Socket,
    telemetry: Arc<Telemetry>,
    /// Names the stream in logs.
    pub id: u64,
    /// Which endpoint it came through.
    pub kind: StreamKind,
    /// How it is framed.
    pub wire: Framing,
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
        wire: Framing,
        stream: Socket,
        first: impl IntoIterator<Item = Bytes>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        let now_ms = clock.steady_ms();
        let replies: VecDeque<Bytes> = first.into_iter().collect();
        Arc::new(Self {
            id,
            kind,
            wire,
            stream,
            outbox: Mutex::new(Outbox {
                phase: Phase::Open,
                pending: !replies.is_empty(),
                has_more: false,
                first: None,
                rest: Box::new(ColdOutbox {
                    reply_bytes: replies.iter().map(Bytes::len).sum(),
                    replies,
                    ..ColdOutbox::default()
                }),
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
            outbox.add(key, Cursor::new(cursor));
        }
        self.deliver();
    }

    /// Replaces the cursor called `key`, and sends `reply` between the old and the new one.
    pub fn refollow<M: Member + 'static>(
        &self,
        key: u64,
        reply: Bytes,
        cursor: impl FnOnce(Spot) -> M,
    ) {
        {
            let mut outbox = self.outbox.lock();
            // Nothing comes after the last bytes.
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.push_reply(reply);
            if let Some(held) = outbox.find(key) {
                let next = held.next_place();
                *held = Cursor::new(cursor(next));
            }
        }
        self.deliver();
    }

    /// Stops following the feed called `key`.
    pub fn unfollow(&self, key: u64) {
        self.outbox.lock().remove(key);
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
        self.deliver();
    }

    /// Sends a message to this WebSocket client alone, in the form that it asked for.
    pub fn send_message(&self, message: &impl serde::Serialize) {
        self.reply(ws::message(self.form(), message));
    }

    /// The form that this client's messages are in; JSON for event streams.
    #[must_use]
    pub fn form(&self) -> Encoding {
        match self.wire {
            Framing::WebSocket(form) => form,
            Framing::SseChunked | Framing::SsePlain => Encoding::Json,
        }
    }

    /// Sends `last` and then closes: what is half written is completed, frames not yet begun
    /// are left to a resume.
    pub fn finish(&self, last: Bytes) {
        self.finish_as(last, "");
    }

    /// The same where the server knows why; the log says so, whoever closes first.
    pub fn finish_as(&self, last: Bytes, why: &'static str) {
        {
            let mut outbox = self.outbox.lock();
            if outbox.phase != Phase::Open {
                return;
            }
            outbox.rest.why = why;
            outbox.push_reply(last);
            outbox.first = None;
            outbox.rest.more.clear();
            outbox.has_more = false;
            outbox.phase = Phase::Finishing;
            outbox.rest.finished_ms = self.clock.steady_ms();
        }
        self.deliver();
        self.wake.notify_one();
    }

    /// Ends the stream at once.
    pub fn abort(&self, why: &'static str) {
        self.outbox.lock().end(why);
        self.wake.notify_one();
    }

    /// Why the stream ended, once it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<&'static str> {
        let outbox = self.outbox.lock();
        (outbox.phase == Phase::Over).then_some(outbox.rest.why)
    }

    /// Whether the last bytes are queued or written.
    #[must_use]
    pub fn finishing(&self) -> bool {
        self.outbox.lock().phase != Phase::Open
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
        let outbox = self.outbox.lock();
        matches!(outbox.phase, Phase::Finishing | Phase::Drained)
            .then(|| now_ms - outbox.rest.finished_ms)
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
        outbox.rest.replies.len() >= REPLIES_MAX || outbox.rest.reply_bytes >= REPLY_BYTES_MAX
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
            self.unblock();
        }
        if ready.is_readable() || ready.is_read_closed() {
            Woken::Readable
        } else {
            Woken::Changed
        }
    }

    /// The socket has room again: goes on with what waits for it.
    fn unblock(&self) {
        self.blocked.store(false, Ordering::Release);
        // What was appended while the flag was set, the fan-out passed over us for. Its pass and
        // we each write and then read, with a fence in between: see there.
        fence(Ordering::SeqCst);
        self.deliver();
    }

    /// Writes all that waits and the socket takes, without waiting.
    pub fn deliver(&self) {
        let mut pass = FanoutPass::alone();
        self.write(&mut pass);
        pass.settle(&self.telemetry.feed);
    }

    /// Writes several pieces, one behind the other, in one call.
    fn send_together(&self, first: &[u8], more: &[Bytes]) -> io::Result<usize> {
        let pieces = std::iter::once(first).chain(more.iter().map(|bytes| &bytes[..]));
        let slices: Vec<io::IoSlice<'_>> = pieces.map(io::IoSlice::new).collect();
        self.stream.send_together(&slices)
    }

    /// Reads what is there into `buffer`; `Ok(0)` and errors other than `WouldBlock` mean that
    /// the peer is gone and have ended the viewer.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(buffer);
        match &result {
            Ok(0) => self.hung_up(),
            Ok(_) => self
                .heard_ms
                .store(self.clock.steady_ms(), Ordering::Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.hung_up(),
        }
        result
    }

    /// Frames that this viewer was too slow for.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.outbox.lock().rest.skipped
    }

    /// The address of the client.
    #[must_use]
    pub fn peer(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer()
    }

    /// The socket takes nothing for now: the viewer's task goes on when there is room.
    fn block(&self) {
        self.blocked_since_ms
            .store(self.clock.steady_ms(), Ordering::Relaxed);
        self.blocked.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

impl Viewer {
    fn write(&self, pass: &mut FanoutPass) {
        if self.blocked.load(Ordering::Acquire) {
            return; // the viewer's task goes on when there is room
        }
        let mut outbox = self.outbox.lock();
        if matches!(outbox.phase, Phase::Over | Phase::Drained) {
            return;
        }
        let mut next = outbox.next_bytes(pass);
        loop {
            let Some((bytes, written)) = next else {
                match self.stream.flush() {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return self.block();
                    }
                    Err(_) => return self.lose(&mut outbox),
                }
                if outbox.phase == Phase::Finishing {
                    outbox.phase = Phase::Drained;
                    self.stream.close_write_side();
                }
                return;
            };
            // As a rule there is one frame, and this finds that there is no other. A viewer that is
            // behind gets what it is behind with at once: each send costs the same, whatever its
            // size, so a server that is late catches up.
            next = outbox.next_bytes(pass);
            let is_batch = next.is_some();
            let sent = match next.take() {
                None => self.stream.send(&bytes[written..]),
                Some((second, _)) => {
                    let (mut batch, mut length) = (vec![second], bytes.len() - written);
                    while batch.len() < TOGETHER_MAX && length < TOGETHER_BYTES {
                        length += batch.last().map_or(0, Bytes::len);
                        let Some((further, _)) = outbox.next_bytes(pass) else {
                            break;
                        };
                        batch.push(further);
                    }
                    let sent = self.send_together(&bytes[written..], &batch);
                    let beyond = sent
                        .as_ref()
                        .map_or(0, |count| count.saturating_sub(bytes.len() - written));
                    let frames = outbox.keep_rest(batch, beyond);
                    pass.count(frames, beyond as u64, 0);
                    sent.map(|count| count - beyond)
                }
            };
            match sent {
                Ok(count) => {
                    let whole = written + count == bytes.len();
                    pass.count(u64::from(whole), count as u64, 0);
                    if !whole {
                        outbox.keep(bytes, written + count);
                    }
                    if is_batch || outbox.pending {
                        next = outbox.next_bytes(pass);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    outbox.keep(bytes, written);
                    return self.block();
                }
                Err(_) => return self.lose(&mut outbox),
            }
        }
    }
}

impl Viewer {
    /// The socket is broken.
    fn lose(&self, outbox: &mut Outbox) {
        outbox.end("client closed the connection");
        self.wake.notify_one();
    }
}

impl Subscriber for Viewer {
    fn deliver(&self, pass: &mut FanoutPass) {
        self.write(pass);
    }

    fn end_panicked(&self) {
        self.abort("internal error");
    }

    fn fetch(&self) -> usize {
        usize::from(self.outbox.is_locked())
            ^ usize::from(self.blocked.load(Ordering::Relaxed))
            ^ self.stream.name()
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
