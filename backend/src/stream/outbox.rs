//! What is to be written to one viewer: cursors into feeds, what is half written, and replies.
//! Touched under the outbox lock alone; how it is written is [`super::viewer`]'s.

use std::{any::Any, collections::VecDeque};

use bytes::Bytes;
use pulseboard_feed::{FanoutPass, Member, Spot, Step, Subscription};

use crate::ticks::payload::TickPayload;

/// What is to be written. What no frame needs as a rule is further away.
#[repr(C)]
pub(super) struct Outbox {
    pub(super) phase: Phase,
    /// Whether there are bytes in `rest`, to be written before anything else.
    pub(super) pending: bool,
    /// Whether there are cursors in `rest`.
    pub(super) has_more: bool,
    /// The one cursor that most viewers have, with its key.
    pub(super) first: Option<(u64, Cursor)>,
    pub(super) rest: Box<ColdOutbox>,
}

/// See [`Outbox`].
#[derive(Default)]
pub(super) struct ColdOutbox {
    /// Further cursors by key.
    pub(super) more: Vec<(u64, Cursor)>,
    /// Bytes and how many of them are written.
    pub(super) current: Option<(Bytes, usize)>,
    pub(super) replies: VecDeque<Bytes>,
    /// Of all replies that wait.
    pub(super) reply_bytes: usize,
    /// Frames that the viewer was too slow for, of all cursors that it has or had.
    pub(super) skipped: u64,
    /// When the last bytes were queued, Unix milliseconds; meaningful from then on.
    pub(super) finished_ms: i64,
    /// Why the stream is over, once it is, or is about to be; empty while nobody knows.
    pub(super) why: &'static str,
}

/// A cursor. Nearly all viewers watch the ticks; theirs is in place, so that no further memory is
/// fetched and no virtual call made for it.
pub(super) enum Cursor {
    Ticks(Subscription<TickPayload>),
    Other(Box<dyn Member>),
}

impl Cursor {
    pub(super) fn new(member: impl Member + 'static) -> Self {
        // Decided by the compiler: the type is known here.
        let mut member = Some(member);
        let ticks = (&mut member as &mut dyn Any)
            .downcast_mut::<Option<Subscription<TickPayload>>>()
            .and_then(Option::take);
        match (ticks, member) {
            (Some(ticks), _) => Self::Ticks(ticks),
            (None, member) => Self::Other(Box::new(member.expect("taken as ticks only"))),
        }
    }

    fn next(&mut self, pass: &mut FanoutPass) -> Option<Step> {
        match self {
            Self::Ticks(cursor) => cursor.next(pass),
            Self::Other(cursor) => cursor.next(pass),
        }
    }

    pub(super) fn next_place(&self) -> Spot {
        match self {
            Self::Ticks(cursor) => cursor.next_place(),
            Self::Other(cursor) => cursor.next_place(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Cursors are followed.
    Open,
    /// The last bytes are queued; nothing new is added.
    Finishing,
    /// The last bytes are written and our side is closed.
    Drained,
    /// The socket is to be dropped.
    Over,
}

impl Outbox {
    pub(super) fn add(&mut self, key: u64, cursor: Cursor) {
        // Not before others that are there: their order is that of joining.
        if self.first.is_none() && !self.has_more {
            self.first = Some((key, cursor));
        } else {
            self.rest.more.push((key, cursor));
            self.has_more = true;
        }
    }

    pub(super) fn find(&mut self, key: u64) -> Option<&mut Cursor> {
        let mut all = self.first.iter_mut().chain(&mut self.rest.more);
        let (_, cursor) = all.find(|(known, _)| *known == key)?;
        Some(cursor)
    }

    pub(super) fn remove(&mut self, key: u64) {
        self.first.take_if(|(known, _)| *known == key);
        self.rest.more.retain(|(known, _)| *known != key);
        self.has_more = !self.rest.more.is_empty();
    }

    pub(super) fn push_reply(&mut self, reply: Bytes) {
        self.pending = true;
        self.rest.reply_bytes += reply.len();
        self.rest.replies.push_back(reply);
    }

    /// Keeps what is left of bytes that the socket did not take.
    pub(super) fn keep(&mut self, bytes: Bytes, written: usize) {
        self.pending = true;
        self.rest.current = Some((bytes, written));
    }

    pub(super) fn end(&mut self, why: &'static str) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            if self.rest.why.is_empty() {
                self.rest.why = why;
            }
        }
    }

    /// Keeps what was not written of bytes that go together behind those of [`Self::keep`]'s;
    /// `written` bytes of them were. How many pieces were written whole.
    pub(super) fn keep_rest(&mut self, batch: Vec<Bytes>, mut written: usize) -> u64 {
        let mut whole = 0;
        let mut rest = VecDeque::new();
        for bytes in batch {
            if rest.is_empty() && written >= bytes.len() {
                written -= bytes.len();
                whole += 1;
            } else {
                rest.push_back(bytes.slice(std::mem::take(&mut written)..));
            }
        }
        if !rest.is_empty() {
            self.pending = true;
            self.rest.reply_bytes += rest.iter().map(Bytes::len).sum::<usize>();
            while let Some(bytes) = rest.pop_back() {
                self.rest.replies.push_front(bytes);
            }
        }
        whole
    }

    /// The next bytes to write that are not empty, and how many of them are written.
    #[inline]
    pub(super) fn next_bytes(&mut self, pass: &mut FanoutPass) -> Option<(Bytes, usize)> {
        loop {
            let next = self.next(pass)?;
            if !next.0.is_empty() {
                return Some(next);
            }
        }
    }

    /// The next bytes to write, and how many of them are written.
    fn next(&mut self, pass: &mut FanoutPass) -> Option<(Bytes, usize)> {
        if self.pending {
            if let Some(current) = self.rest.current.take() {
                return Some(current);
            }
            if let Some(reply) = self.rest.replies.pop_front() {
                self.rest.reply_bytes -= reply.len();
                return Some((reply, 0));
            }
            self.pending = false;
        }
        let Step { bytes, skipped } = self.next_step(pass)?;
        if skipped > 0 {
            self.rest.skipped += skipped;
            pass.count(0, 0, skipped);
        }
        Some((bytes, 0))
    }

    fn next_step(&mut self, pass: &mut FanoutPass) -> Option<Step> {
        if let Some((_, cursor)) = &mut self.first
            && let Some(step) = cursor.next(pass)
        {
            return Some(step);
        }
        if !self.has_more {
            return None;
        }
        let mut more = self.rest.more.iter_mut();
        more.find_map(|(_, cursor)| cursor.next(pass))
    }
}
