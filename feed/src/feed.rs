//! A log with its members: what is appended reaches them all.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use crate::{
    ledger::{Ledger, Shed},
    log::{Bounds, Log, Payload},
    members::{Fanout, Members},
    pass,
    position::{Epoch, EventId},
};

/// A log with its members: what is appended reaches them all.
pub struct Feed<P: Payload> {
    id: pass::FeedId,
    epoch: Epoch,
    /// Leaf lock, held for a push or the look-up of a frame.
    log: RwLock<Log<P>>,
    /// The log's next offset, for cursors to see without its lock that they are at the end.
    end: AtomicU64,
    members: Arc<Members>,
    fanout: Fanout,
    ledger: Option<Arc<Ledger>>,
}

impl<P: Payload> Feed<P> {
    /// An empty feed.
    #[must_use]
    pub fn new(epoch: Epoch, bounds: Bounds, fanout: &Fanout) -> Arc<Self> {
        Arc::new(Self {
            id: pass::FeedId::next(),
            epoch,
            end: AtomicU64::new(0),
            log: RwLock::new(Log::new(bounds)),
            members: Arc::new(Members::new(fanout.shards())),
            fanout: fanout.clone(),
            ledger: None,
        })
    }

    /// An empty feed that is made for somebody of `tenant`: what it holds is counted among all such
    /// feeds, and its oldest frames go where they hold too much ([`Ledgers`](crate::ledger::Ledgers)).
    #[must_use]
    pub fn of_tenant(tenant: &str, epoch: Epoch, bounds: Bounds, fanout: &Fanout) -> Arc<Self> {
        let ledger = fanout.ledgers().open();
        let feed = Arc::new(Self {
            id: pass::FeedId::next(),
            epoch,
            end: AtomicU64::new(0),
            log: RwLock::new(Log::new(bounds).counted(Arc::clone(&ledger))),
            members: Arc::new(Members::new(fanout.shards())),
            fanout: fanout.clone(),
            ledger: Some(ledger),
        });
        let known: Weak<Self> = Arc::downgrade(&feed);
        fanout.ledgers().enlist(tenant, known);
        feed
    }

    pub(crate) fn id(&self) -> pass::FeedId {
        self.id
    }

    /// Names this run of offsets.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset of the next frame: where a cursor starts that wants what comes from now on.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.log.read().next_offset()
    }

    /// The offset behind `offset` of the run called `epoch`; `None` where it is of another run, or
    /// frames behind it are no longer held.
    #[must_use]
    pub fn after(&self, epoch: &str, offset: u64) -> Option<u64> {
        if epoch != self.epoch.to_string() {
            return None;
        }
        let log = self.log.read();
        let next = offset.checked_add(1)?;
        (log.first_offset()..=log.next_offset())
            .contains(&next)
            .then_some(next)
    }

    /// Has an empty feed go on from offset `next`, where a run before this one ended.
    pub fn begin_at(&self, next: u64) {
        let mut log = self.log.write();
        log.begin_at(next);
        self.end.store(log.next_offset(), Ordering::Release);
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
        self.fanout.wake(&self.members);
        if let Some(ledger) = &self.ledger {
            ledger.settle();
        }
        offset
    }

    /// Appends a frame that somebody else has numbered, and lets the fan-out deliver it; whether it
    /// is new. See [`Log::append_at`].
    pub fn append_at(&self, offset: u64, payload: P) -> bool {
        let is_new = {
            let mut log = self.log.write();
            let is_new = log.append_at(offset, payload);
            self.end.store(log.next_offset(), Ordering::Release);
            is_new
        };
        if is_new {
            self.fanout.wake(&self.members);
        }
        is_new
    }

    /// The offset that an event-stream client's cursor starts at: after `last_seen` as far as
    /// held, everything held when that is of an earlier run, and the end for a new client.
    #[must_use]
    pub fn resume(&self, last_seen: Option<EventId>) -> u64 {
        let log = self.log.read();
        match last_seen.map(|id| id.offset_in(self.epoch)) {
            None => log.next_offset(),
            Some(Some(offset)) if offset < log.next_offset() => {
                (offset + 1).max(log.first_offset())
            }
            // Of an earlier run; or, where the clock was set back between the runs, of one that
            // has come further than this one: nothing of this run has been seen.
            Some(_) => log.first_offset(),
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
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }
}

impl<P: Payload> Shed for Feed<P> {
    fn shed(&self, bytes: usize) -> bool {
        // Dropped behind the lock.
        let gone = self.log.write().shed(bytes);
        !gone.is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.ledger.as_ref().map_or(0, |ledger| ledger.bytes())
    }
}

impl<P: Payload> fmt::Debug for Feed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Frame, Read};

    struct Nothing;

    impl Payload for Nothing {
        type View = ();

        fn encode(&self, _offset: u64, (): &()) -> Bytes {
            Bytes::new()
        }

        fn merge(_held: &[Arc<Frame<Self>>], _first: u64, _last: u64, (): &()) -> Bytes {
            Bytes::new()
        }
    }

    /// Says that it is large.
    struct Large;

    impl Payload for Large {
        type View = ();

        fn encode(&self, _offset: u64, (): &()) -> Bytes {
            Bytes::new()
        }

        fn held_bytes(&self) -> usize {
            8 << 20
        }

        fn merge(_held: &[Arc<Frame<Self>>], _first: u64, _last: u64, (): &()) -> Bytes {
            Bytes::new()
        }
    }

    #[test]
    fn logs_of_all_feeds_hold_so_much_together_and_who_holds_little_loses_nothing() {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let bounds = Bounds {
            frames: 100,
            bytes: usize::MAX,
            lag: 100,
        };
        let feed = |tenant| Feed::<Large>::of_tenant(tenant, Epoch(1), bounds, &fanout);
        let (quiet, noisy) = (feed("quiet"), feed("noisy"));
        quiet.append(Large);
        for _ in 0..50 {
            noisy.append(Large);
            assert!(fanout.ledgers().bytes() <= 64 << 20);
        }
        let first = |feed: &Feed<Large>| feed.with_log(Log::first_offset);
        assert_eq!((first(&quiet), first(&noisy) > 40), (1, true));
        let read = noisy.with_log(|log| log.read(1));
        assert!(matches!(
            read,
            Read::Behind {
                first: 1,
                last: 50,
                ..
            }
        ));
        // It holds frames, too.
        drop(read);
        assert_eq!(noisy.append(Large), 51, "offsets go on");
        // One that is larger than all may have is gone at once, and its viewers are told.
        let many: Vec<_> = (0..20).map(|_| feed("many")).collect();
        for feed in &many {
            feed.append(Large);
        }
        assert!(fanout.ledgers().bytes() <= 64 << 20);
        assert_eq!(first(&quiet), 1);
        drop((many, noisy));
        assert!(fanout.ledgers().bytes() < 9 << 20);
    }

    #[test]
    fn a_client_that_comes_back_starts_where_it_left_off_as_far_as_that_is_held() {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let epoch = Epoch(1_000);
        let feed = Feed::new(
            epoch,
            Bounds {
                frames: 3,
                bytes: usize::MAX,
                lag: 3,
            },
            &fanout,
        );
        for _ in 0..5 {
            feed.append(Nothing);
        }
        let resumed = |last_seen: Option<u64>| {
            feed.resume(last_seen.map(|offset| EventId::new(epoch, offset)))
        };
        assert_eq!(resumed(None), 6, "a new client gets what comes");
        assert_eq!(
            [1, 2, 3, 4, 5].map(|seen| resumed(Some(seen))),
            [3, 3, 4, 5, 6]
        );
        assert_eq!(resumed(Some(6)), 3, "an id that this run has not given");
        let earlier = "999".parse().expect("an id");
        assert_eq!(feed.resume(Some(earlier)), 3, "an id of an earlier run");
    }

    #[test]
    fn frames_that_another_has_numbered_are_taken_once_and_a_gap_begins_anew() {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let bounds = Bounds {
            frames: 8,
            bytes: usize::MAX,
            lag: 8,
        };
        let feed = Feed::new(Epoch(1), bounds, &fanout);
        assert!([1, 2, 3].iter().all(|at| feed.append_at(*at, Nothing)));
        assert!(!feed.append_at(2, Nothing), "it is there already");
        assert!(feed.append_at(9, Nothing));
        let held = feed.with_log(|log| (log.first_offset(), log.next_offset()));
        assert_eq!(held, (9, 10), "nobody can be told what is between");
        assert!(feed.is_at_end(10) && !feed.is_at_end(9));
    }
}
