//! Feeds: bounded logs of frames with growing offsets, and cursors into them.
//!
//! One mechanism is live delivery (the cursor is at the end), resume (it starts after the offset
//! the client last saw) and slow viewers (a cursor too far behind is moved to the end and its
//! viewer gets one merged frame). A frame is encoded once per [`Payload::View`], however many
//! watch it.
//!
//! **Invariant**: no viewer has a queue of its own, and appending never waits for a viewer.

mod cursor;
mod log;
mod roster;

pub use cursor::{Epoch, EventId, Member, Position, Subscription};
pub use log::{Bounds, Frame, Log, Payload, Read};
pub use roster::{Fanout, Pump, Roster, Seat};

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

/// A log with its members: what is appended reaches them all.
pub struct Feed<P: Payload> {
    epoch: Epoch,
    /// Leaf lock, held for a push or the look-up of a frame.
    log: RwLock<Log<P>>,
    /// The log's next offset, for cursors to see without its lock that they are at the end.
    end: AtomicU64,
    roster: Arc<Roster>,
    fanout: Fanout,
}

impl<P: Payload> Feed<P> {
    /// An empty feed.
    #[must_use]
    pub fn new(epoch: Epoch, bounds: Bounds, fanout: &Fanout) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            end: AtomicU64::new(0),
            log: RwLock::new(Log::new(bounds)),
            roster: Arc::new(Roster::new(fanout.shards())),
            fanout: fanout.clone(),
        })
    }

    /// Names this run of offsets.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Appends a frame and lets the fan-out deliver it; returns its offset. Cost: a push and a
    /// wake-up, whatever the number of viewers.
    pub fn append(&self, payload: P) -> u64 {
        let offset = {
            let mut log = self.log.write();
            let offset = log.append(payload);
            self.end.store(log.next_offset(), Ordering::Release);
            offset
        };
        self.fanout.wake(&self.roster);
        offset
    }

    /// The offset that an event-stream client's cursor starts at: after `last_seen` as far as
    /// held, everything held when that is of an earlier run, and the end for a new client.
    #[must_use]
    pub fn resume(&self, last_seen: Option<EventId>) -> u64 {
        let log = self.log.read();
        match last_seen.map(|id| id.offset_in(self.epoch)) {
            None => log.next_offset(),
            Some(None) => log.first_offset(),
            Some(Some(offset)) => offset
                .saturating_add(1)
                .clamp(log.first_offset(), log.next_offset()),
        }
    }

    /// Whether a cursor that wants `offset` is at the end. Whoever is told so while a frame is
    /// being appended is woken after that.
    #[must_use]
    pub fn is_at_end(&self, offset: u64) -> bool {
        offset >= self.end.load(Ordering::Acquire)
    }

    /// Reads the log under its lock.
    pub fn with_log<T>(&self, read: impl FnOnce(&Log<P>) -> T) -> T {
        read(&self.log.read())
    }

    /// The members of this feed.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }
}

impl<P: Payload> fmt::Debug for Feed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
