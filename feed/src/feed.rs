//! A log with its members: what is appended reaches them all.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::{
    ledger::{Ledger, Shed},
    log::{Bounds, Frame, Log, Payload},
    members::{Fanout, Members},
    pass,
    position::{At, Epoch, EventId, Spot},
};

/// Views whose message after a restart is kept for all who share it, and how long it may be.
const RESTARTS_MAX: usize = 16;
const RESTART_KEPT_BYTES: usize = 256 * 1024;

/// What viewers get once where the feed goes on under another epoch; see [`Payload::restart`].
pub type RestartMessage<P> =
    dyn Fn(&[Arc<Frame<P>>], At, &<P as Payload>::View) -> Bytes + Send + Sync;

/// A log with its members: what is appended reaches them all.
pub struct Feed<P: Payload> {
    id: pass::FeedId,
    /// Leaf lock, held for a push or the look-up of a frame.
    log: RwLock<Log<P>>,
    /// The log's next place, for cursors to see without its lock that they are at the end.
    end: AtomicU64,
    members: Arc<Members>,
    fanout: Fanout,
    ledger: Option<Arc<Ledger>>,
    /// Where not [`Payload::restart`] says it.
    restart_message: OnceLock<Box<RestartMessage<P>>>,
    /// Messages after a restart for the log as it ended there. Leaf lock.
    restarts: Mutex<(Spot, Messages<P>)>,
}

/// What each view of a feed's viewers is sent.
type Messages<P> = Vec<(<P as Payload>::View, Bytes)>;

impl<P: Payload> Feed<P> {
    /// An empty feed.
    #[must_use]
    pub fn new(epoch: Epoch, bounds: Bounds, fanout: &Fanout) -> Arc<Self> {
        Arc::new(Self::over(Log::new(epoch, bounds), None, fanout))
    }

    fn over(log: Log<P>, ledger: Option<Arc<Ledger>>, fanout: &Fanout) -> Self {
        Self {
            id: pass::FeedId::next(),
            end: AtomicU64::new(0),
            log: RwLock::new(log),
            members: Arc::new(Members::new(fanout.shards())),
            fanout: fanout.clone(),
            ledger,
            restart_message: OnceLock::new(),
            restarts: Mutex::new((Spot(0), Vec::new())),
        }
    }

    /// An empty feed that is made for somebody of `tenant`: what it holds is counted among all such
    /// feeds, and its oldest frames go where they hold too much
    /// ([`Ledgers`](crate::ledger::Ledgers)).
    #[must_use]
    pub fn of_tenant(tenant: &str, epoch: Epoch, bounds: Bounds, fanout: &Fanout) -> Arc<Self> {
        let ledger = fanout.ledgers().open();
        let log = Log::new(epoch, bounds).counted(Arc::clone(&ledger));
        let feed = Arc::new(Self::over(log, Some(ledger), fanout));
        let known: Weak<Self> = Arc::downgrade(&feed);
        fanout.ledgers().enlist(tenant, known);
        feed
    }

    pub(crate) fn id(&self) -> pass::FeedId {
        self.id
    }

    /// Has `message` say what viewers get where the feed goes on under another epoch, in place of
    /// [`Payload::restart`]; to be called once, before that happens.
    pub fn restart_with(
        &self,
        message: impl Fn(&[Arc<Frame<P>>], At, &P::View) -> Bytes + Send + Sync + 'static,
    ) {
        let set = self.restart_message.set(Box::new(message));
        debug_assert!(set.is_ok(), "said once");
    }

    /// Names this run of offsets.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.log.read().epoch()
    }

    /// The offset of the next frame.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.log.read().next_offset()
    }

    /// Where a cursor starts that wants what comes from now on.
    #[must_use]
    pub fn end(&self) -> Spot {
        self.log.read().end()
    }

    /// The same, and what the newest frame is called that does not come from there on.
    #[must_use]
    pub fn end_at(&self) -> (Spot, At) {
        let log = self.log.read();
        let newest = At {
            epoch: log.epoch(),
            offset: log.next_offset().saturating_sub(1),
        };
        (log.end(), newest)
    }

    /// Where a cursor starts that has seen `offset` of the run called `epoch`; `None` where it is
    /// of another run, or frames behind it are no longer held.
    #[must_use]
    pub fn after(&self, epoch: &str, offset: u64) -> Option<Spot> {
        let log = self.log.read();
        if epoch != log.epoch().to_string() {
            return None;
        }
        let next = offset.checked_add(1)?;
        (log.first_offset()..=log.next_offset())
            .contains(&next)
            .then(|| log.place_of(next))
    }

    /// The same for whoever is told no more than what is held: at the oldest frame where those
    /// behind `offset` are gone, at the end where the position is of another run or of none.
    #[must_use]
    pub fn after_or_end(&self, seen: Option<(&str, u64)>) -> Spot {
        let log = self.log.read();
        match seen {
            Some((epoch, offset)) if epoch == log.epoch().to_string() => log.place_of(
                offset
                    .saturating_add(1)
                    .clamp(log.first_offset(), log.next_offset()),
            ),
            _ => log.end(),
        }
    }

    /// Has an empty feed go on from offset `next`, where a run before this one ended.
    pub fn begin_at(&self, next: u64) {
        let mut log = self.log.write();
        log.begin_at(next);
        self.end.store(log.end().0, Ordering::Release);
    }

    /// Appends a frame and lets the fan-out deliver it; returns its offset. Cost: a push and a
    /// wake-up, whatever the number of viewers.
    pub fn append(&self, payload: P) -> u64 {
        let offset = {
            let mut log = self.log.write();
            let offset = log.append(payload);
            self.end.store(log.end().0, Ordering::Release);
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
    pub fn append_at(&self, at: At, payload: P) -> bool {
        let is_new = {
            let mut log = self.log.write();
            let is_new = log.append_at(at, payload);
            self.end.store(log.end().0, Ordering::Release);
            is_new
        };
        if is_new {
            self.fanout.wake(&self.members);
            if let Some(ledger) = &self.ledger {
                ledger.settle();
            }
        }
        is_new
    }

    /// Goes on under `epoch`, in which `frames` are what is known, the first at offset `first`.
    /// Every viewer finds out once and gets one message that says how things stand (see
    /// [`Payload::restart`]); many are told one after the other, within a second.
    pub fn reset(&self, epoch: Epoch, first: u64, frames: impl IntoIterator<Item = P>) {
        let spread = self.fanout.spread(&self.members);
        let gone = {
            let mut log = self.log.write();
            let gone = log.restart(epoch, first, spread);
            for payload in frames {
                log.append(payload);
            }
            self.end.store(log.end().0, Ordering::Release);
            gone
        };
        drop(gone);
        self.fanout.wake_over(&self.members, spread);
        if let Some(ledger) = &self.ledger {
            ledger.settle();
        }
    }

    /// What a viewer of the run before is told, and where its cursor goes on.
    pub(crate) fn restarted(&self, view: &P::View) -> (Bytes, Spot) {
        let (end, newest, held) = {
            let log = self.log.read();
            let end = log.end();
            if let Some(bytes) = self.known_restart(end, view) {
                return (bytes, end);
            }
            let newest = At {
                epoch: log.epoch(),
                offset: log.next_offset().saturating_sub(1),
            };
            let held: Vec<Arc<Frame<P>>> = log.frames().cloned().collect();
            (end, newest, held)
        };
        let bytes = match self.restart_message.get() {
            Some(message) => message(&held, newest, view),
            None => P::restart(&held, newest, view),
        };
        if bytes.len() <= RESTART_KEPT_BYTES {
            let mut restarts = self.restarts.lock();
            if restarts.0 < end {
                *restarts = (end, Vec::new());
            }
            if restarts.0 == end && restarts.1.len() < RESTARTS_MAX {
                restarts.1.push((view.clone(), bytes.clone()));
            }
        }
        (bytes, end)
    }

    fn known_restart(&self, end: Spot, view: &P::View) -> Option<Bytes> {
        let restarts = self.restarts.lock();
        let mut known = restarts.1.iter().filter(|_| restarts.0 == end);
        let (_, bytes) = known.find(|(known, _)| known == view)?;
        Some(bytes.clone())
    }

    /// Where an event-stream client's cursor starts: after `last_seen` as far as
    /// held, everything held when that is of an earlier run, and the end for a new client.
    #[must_use]
    pub fn resume(&self, last_seen: Option<EventId>) -> Spot {
        let log = self.log.read();
        match last_seen.map(|id| id.offset_in(log.epoch())) {
            None => log.end(),
            Some(Some(offset)) if offset < log.next_offset() => {
                log.place_of((offset + 1).max(log.first_offset()))
            }
            // Of an earlier run; or, where the clock was set back between the runs, of one that
            // has come further than this one: nothing of this run has been seen.
            Some(_) => log.begin(),
        }
    }

    /// Whether a cursor that wants `place` is at the end. Whoever is told so while a frame is
    /// being appended is woken after that.
    #[must_use]
    pub fn is_at_end(&self, place: Spot) -> bool {
        place.0 >= self.end.load(Ordering::Acquire)
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
            .field("epoch", &self.epoch())
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

        fn encode(&self, _at: At, (): &()) -> Bytes {
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

        fn encode(&self, _at: At, (): &()) -> Bytes {
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
        let read = noisy.with_log(|log| log.read(Spot(1)));
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
            let last_seen = last_seen.map(|offset| EventId::new(epoch, offset));
            feed.resume(last_seen).0
        };
        assert_eq!(resumed(None), 6, "a new client gets what comes");
        assert_eq!(
            [1, 2, 3, 4, 5].map(|seen| resumed(Some(seen))),
            [3, 3, 4, 5, 6]
        );
        assert_eq!(resumed(Some(6)), 3, "an id that this run has not given");
        let earlier = "999".parse().expect("an id");
        assert_eq!(feed.resume(Some(earlier)).0, 3, "an id of an earlier run");
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
        let at = |offset| At {
            epoch: Epoch(1),
            offset,
        };
        assert!(
            [1, 2, 3]
                .iter()
                .all(|offset| feed.append_at(at(*offset), Nothing))
        );
        assert!(!feed.append_at(at(2), Nothing), "it is there already");
        let other = At {
            epoch: Epoch(2),
            offset: 4,
        };
        assert!(!feed.append_at(other, Nothing), "of another run");
        assert!(feed.append_at(at(9), Nothing));
        let held = feed.with_log(|log| (log.first_offset(), log.next_offset()));
        assert_eq!(held, (9, 10), "nobody can be told what is between");
        assert!(feed.is_at_end(Spot(10)) && !feed.is_at_end(Spot(9)));
    }
}
