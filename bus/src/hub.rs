//! What all parts of the bus on Redis share: where partitions are served, what is watched, what is
//! to be sent, and whether the others can be reached.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pulseboard_feed::Epoch;
use redis::{Cmd, Value};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    dial::Connection,
    error::BusError,
    feeds::{Entry, Feeds, bit},
    figures::Figures,
    key::FeedKey,
    outbox::{HELD_MAX, Job, KEPT, Lane, Outbox, Total},
    replica::Own,
    route::{Keys, PARTITIONS, Partition},
    settings::Settings,
    sink::{FeedSink, Placed, Refused, State},
};

/// All partitions.
pub(crate) const ALL: u64 = u64::MAX;

/// See [`Own::apart`].
const OWN_APART_MAX: u64 = 8_000;

/// Everything that is shared.
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    /// `INSTANCE.INCARNATION`: who we are, and nobody else ever was.
    pub(crate) member: Arc<str>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) state: watch::Sender<State>,
    /// See [`crate::Cluster::bound_ingest`]; 0 for no bound.
    pub(crate) ingest_bytes: AtomicU64,
    /// Where partitions are to be looked for anew.
    pub(crate) moved: Notify,
    pub(crate) feeds: Mutex<Feeds>,
    total: Arc<Total>,
    outboxes: Vec<Mutex<Outbox>>,
    nodes: RwLock<Vec<Option<Arc<Node>>>>,
    /// Held while it changes who serves what: two at once would leave a partition with nobody.
    pub(crate) serving: Mutex<()>,
    alone: Mutex<Alone>,
    /// The same as a set, for a look without the lock.
    alone_set: AtomicU64,
}

struct Alone {
    /// Since when nobody serves each partition.
    away: Vec<Option<Instant>>,
    why: Arc<str>,
}

/// One primary.
#[derive(Default)]
pub(crate) struct Node {
    /// The partitions that it is to serve, a bit each.
    wanted: AtomicU64,
    /// Those that it serves.
    owned: AtomicU64,
    line: RwLock<Option<Line>>,
    /// Something is to be sent.
    pub(crate) send: Notify,
    /// Something is to be read.
    pub(crate) fetch: Notify,
    fetches: Mutex<VecDeque<Arc<Entry>>>,
    /// Something is to be subscribed or no longer.
    pub(crate) subscribe: Notify,
    changes: Mutex<Vec<Arc<Entry>>>,
    /// Messages were dropped.
    pub(crate) is_behind: AtomicBool,
}

/// A connection and whose it is.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: Connection,
    pub(crate) lineage: Arc<str>,
    /// Somebody saw that it is of no use.
    pub(crate) broken: Arc<Notify>,
}

impl Node {
    /// One that is to serve these partitions once it is connected.
    pub(crate) fn new(wanted: u64) -> Self {
        Self {
            wanted: AtomicU64::new(wanted),
            ..Self::default()
        }
    }

    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }

    pub(crate) fn want(&self, partitions: u64) {
        self.wanted.store(partitions, Ordering::Release);
    }

    pub(crate) fn owned(&self) -> u64 {
        self.owned.load(Ordering::Acquire)
    }

    pub(crate) fn owns(&self, partition: Partition) -> bool {
        self.owned() & bit(partition) != 0
    }

    pub(crate) fn line(&self) -> Option<Line> {
        self.line.read().clone()
    }

    /// Has it read, unless it waits for that already.
    pub(crate) fn fetch_soon(&self, entry: &Arc<Entry>) {
        if !entry.is_queued.swap(true, Ordering::AcqRel) {
            self.fetches.lock().push_back(Arc::clone(entry));
            self.fetch.notify_one();
        }
    }

    pub(crate) fn next_fetches(&self, count: usize) -> Vec<Arc<Entry>> {
        let mut fetches = self.fetches.lock();
        let count = count.min(fetches.len());
        fetches.drain(..count).collect()
    }

    pub(crate) fn change_soon(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        self.changes.lock().extend(entries);
        self.subscribe.notify_one();
    }

    pub(crate) fn changes(&self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.changes.lock())
    }
}

impl Hub {
    pub(crate) fn new(settings: Settings, member: Arc<str>) -> Self {
        let total = Arc::<Total>::default();
        let now = Instant::now();
        Self {
            keys: Keys::new(&settings.prefix),
            settings,
            member,
            figures: Arc::default(),
            state: watch::Sender::new(State::Joining),
            ingest_bytes: AtomicU64::new(0),
            moved: Notify::new(),
            feeds: Mutex::default(),
            outboxes: (0..PARTITIONS)
                .map(|_| Mutex::new(Outbox::new(&total)))
                .collect(),
            total,
            nodes: RwLock::new(vec![None; PARTITIONS]),
            serving: Mutex::default(),
            alone: Mutex::new(Alone {
                away: vec![Some(now); PARTITIONS],
                why: "not connected yet".into(),
            }),
            alone_set: AtomicU64::new(0),
        }
    }

    /// Who serves a partition.
    pub(crate) fn node(&self, partition: Partition) -> Option<Arc<Node>> {
        self.nodes.read().get(partition.number()).cloned().flatten()
    }

    /// The answer of whoever serves the partition.
    ///
    /// # Errors
    /// Nobody does, or it refuses.
    pub(crate) async fn ask(&self, partition: Partition, command: Cmd) -> Result<Value, BusError> {
        let why = || BusError::Away(Arc::clone(&self.alone.lock().why));
        let node = self.node(partition).ok_or_else(why)?;
        let line = node.line().ok_or_else(why)?;
        let answer = line.connection.one(command).await;
        if let Err(error) = &answer {
            self.judge(&line, error);
        }
        answer
    }

    /// What an error means for the connection that it came from.
    pub(crate) fn judge(&self, line: &Line, error: &BusError) {
        if is_moved(error) {
            self.moved.notify_one();
        } else if error.is_away() {
            line.broken.notify_one();
        }
    }

    /// The lineage of whoever serves the partition.
    pub(crate) fn lineage(&self, partition: Partition) -> Option<Arc<str>> {
        Some(self.node(partition)?.line()?.lineage)
    }

    // Publishing.

    pub(crate) fn outbox(&self, partition: Partition) -> Option<&Mutex<Outbox>> {
        self.outboxes.get(partition.number())
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.total.bytes()
    }

    /// Has something sent.
    ///
    /// # Errors
    /// Too much waits.
    pub(crate) fn send(
        &self,
        partition: Partition,
        lane: Lane,
        job: Job,
        told: Option<oneshot::Sender<Placed>>,
    ) -> Result<(), Refused> {
        let Some(outbox) = self.outbox(partition) else {
            return Ok(());
        };
        self.make_room(job.bytes());
        let mut outbox = outbox.lock();
        let own = match (&lane, &job) {
            (Lane::Feed(key), Job::Frame { frame, .. }) if self.is_alone(partition) => {
                Some((key.clone(), frame.clone()))
            }
            _ => None,
        };
        let pushed = outbox.push(lane, job, told, Instant::now());
        if pushed.is_err() {
            self.figures.refused.add(1);
        }
        let entry = match own {
            // Those who are here get it, whatever becomes of it elsewhere.
            Some((key, frame)) => self.next_alone(&key, frame),
            None => {
                pushed?;
                None
            }
        };
        drop(outbox);
        // Not under the partition's lock: what a sink waits for may wait for another of its feeds.
        if let Some(entry) = entry {
            self.tell_alone(&entry);
        }
        if let Some(node) = self.node(partition) {
            node.send.notify_one();
        }
        Ok(())
    }

    /// Has what was taken, and is only kept for being sent again, give way to what is new: the
    /// oldest of all partitions first, and at once so much that this is not done for each frame.
    fn make_room(&self, bytes: usize) {
        if self.total.bytes() + bytes <= HELD_MAX {
            return;
        }
        let now = Instant::now();
        for part in [2, 4, 8, 16, 32, u32::MAX] {
            if self.total.taken() == 0 || self.total.bytes() + bytes <= HELD_MAX - HELD_MAX / 16 {
                return;
            }
            for outbox in &self.outboxes {
                let forgotten = outbox.lock().forget_taken(now, KEPT / part);
                self.figures.dropped_kept.add(forgotten);
            }
        }
    }

    /// Puts a frame behind what a feed that is watched here is to be told alone, in the order of
    /// its partition; for who then calls [`Self::tell_alone`].
    fn next_alone(&self, key: &FeedKey, frame: Bytes) -> Option<Arc<Entry>> {
        let entry = self.feeds.lock().get(key)?;
        entry.next_alone(own_run(), Some(frame));
        Some(entry)
    }

    fn tell_alone(&self, entry: &Entry) {
        entry.tell_alone(&self.figures, || self.is_alone(entry.partition));
    }

    // Watching.

    pub(crate) fn watch(
        &self,
        key: FeedKey,
        after: Option<(Epoch, u64)>,
        sink: Arc<dyn FeedSink>,
    ) -> Arc<Entry> {
        let keys = self.keys.feed(&key);
        let entry = Arc::new(Entry::new(key, keys, after, sink));
        let old = self.feeds.lock().insert(&entry);
        if let Some(old) = old {
            old.is_wanted.store(false, Ordering::Release);
        }
        if self.is_alone(entry.partition) {
            entry.next_alone(own_run(), None);
            self.tell_alone(&entry);
        }
        if let Some(node) = self.node(entry.partition) {
            node.change_soon([Arc::clone(&entry)]);
        }
        entry
    }

    pub(crate) fn unwatch(&self, entry: &Arc<Entry>) {
        entry.is_wanted.store(false, Ordering::Release);
        if self.feeds.lock().remove(entry)
            && let Some(node) = self.node(entry.partition)
        {
            node.change_soon([Arc::clone(entry)]);
        }
    }

    // Who serves what.

    /// From now on this connection serves what its server is to serve: what another may have lost
    /// is sent again, and what is watched there is subscribed and read.
    pub(crate) fn serve(&self, node: &Arc<Node>, line: &Line) {
        let _serving = self.serving.lock();
        self.serve_now(node, line);
    }

    /// As [`Self::serve`], for who holds [`Self::serving`].
    pub(crate) fn serve_now(&self, node: &Arc<Node>, line: &Line) {
        let partitions = node.wanted();
        *node.line.write() = Some(line.clone());
        let mut again = 0;
        for partition in Partition::all().filter(|one| partitions & bit(*one) != 0) {
            if let Some(outbox) = self.outbox(partition) {
                again += outbox.lock().answered_by(&line.lineage);
            }
        }
        // Not before that: what may be lost goes before what is new.
        let before = node.owned.swap(partitions, Ordering::AcqRel);
        {
            let mut nodes = self.nodes.write();
            for partition in Partition::all() {
                let Some(place) = nodes.get_mut(partition.number()) else {
                    continue;
                };
                if partitions & bit(partition) != 0 {
                    *place = Some(Arc::clone(node));
                } else if place.as_ref().is_some_and(|known| Arc::ptr_eq(known, node)) {
                    *place = None;
                }
            }
        }
        self.figures.resent.add(again);
        self.look(None);
        node.change_soon(self.feeds.lock().of(partitions & !before));
        node.send.notify_one();
    }

    /// Nobody serves these any more, for this reason.
    pub(crate) fn lose(&self, node: &Arc<Node>, why: Arc<str>) {
        let _serving = self.serving.lock();
        *node.line.write() = None;
        let owned = node.owned.swap(0, Ordering::AcqRel);
        {
            let mut nodes = self.nodes.write();
            for place in nodes.iter_mut() {
                if place.as_ref().is_some_and(|known| Arc::ptr_eq(known, node)) {
                    *place = None;
                }
            }
        }
        for partition in Partition::all().filter(|one| owned & bit(*one) != 0) {
            if let Some(outbox) = self.outbox(partition) {
                outbox.lock().cut();
            }
        }
        node.fetches.lock().clear();
        node.changes.lock().clear();
        // Without the lock: what an entry tells may take a while.
        let entries = self.feeds.lock().of(owned);
        for entry in entries {
            entry.is_queued.store(false, Ordering::Release);
            entry.no_page();
        }
        self.look(Some(why));
    }

    /// Whether this server goes on by itself there.
    pub(crate) fn is_alone(&self, partition: Partition) -> bool {
        self.alone_set.load(Ordering::Acquire) & bit(partition) != 0
    }

    /// Compares who is served with the time: what nobody has served for a while is served by this
    /// server alone.
    pub(crate) fn look(&self, why: Option<Arc<str>>) {
        let now = Instant::now();
        let (mut connected, mut alone) = (0, 0);
        let mut known = self.alone.lock();
        if let Some(why) = why {
            known.why = why;
        }
        for partition in Partition::all() {
            let is_served = self.node(partition).is_some();
            let Some(away) = known.away.get_mut(partition.number()) else {
                continue;
            };
            match (is_served, &away) {
                (true, _) => {
                    *away = None;
                    connected |= bit(partition);
                }
                (false, None) => *away = Some(now),
                (false, Some(since)) if now.duration_since(*since) >= self.settings.alone_after => {
                    alone |= bit(partition);
                }
                (false, Some(_)) => {}
            }
        }
        let was = self.alone_set.load(Ordering::Acquire);
        let gone = Partition::all().filter(|one| alone & !was & bit(*one) != 0);
        let entries: Vec<Arc<Entry>> = gone.flat_map(|one| self.go_alone(one)).collect();
        // Only what is served has ended; what is between keeps what it was.
        self.alone_set.fetch_and(!connected, Ordering::AcqRel);
        self.figures.connected.set(i64::from(connected == ALL));
        let why = Arc::clone(&known.why);
        drop(known);
        for entry in entries {
            self.tell_alone(&entry);
        }
        self.tell(connected, alone, why);
    }

    /// From now on what is published is told here at once, and what waits is told now: to these, by
    /// [`Self::tell_alone`].
    fn go_alone(&self, partition: Partition) -> Vec<Arc<Entry>> {
        let Some(outbox) = self.outbox(partition) else {
            return Vec::new();
        };
        let outbox = outbox.lock();
        self.alone_set.fetch_or(bit(partition), Ordering::AcqRel);
        let entries = self.feeds.lock().of(bit(partition));
        for entry in &entries {
            entry.next_alone(own_run(), None);
        }
        for (key, frame) in outbox.unsent() {
            let _told_below = self.next_alone(key, frame.clone());
        }
        entries
    }

    fn tell(&self, connected: u64, alone: u64, why: Arc<str>) {
        self.state.send_if_modified(|state| {
            let next = match state {
                _ if connected == ALL => State::Connected,
                _ if alone == 0 => return false,
                State::Alone { since_ms, .. } => State::Alone {
                    since_ms: *since_ms,
                    why,
                },
                State::Joining | State::Connected => State::Alone {
                    since_ms: now_ms(),
                    why,
                },
            };
            let is_new = next != *state;
            *state = next;
            is_new
        });
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

pub(crate) fn is_moved(error: &BusError) -> bool {
    matches!(error, BusError::Away(why) if ["MOVED", "ASK", "TRYAGAIN"].iter().any(|code| why.starts_with(code)))
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Names a run of offsets that is this server's alone: two that go alone in the same millisecond do
/// not take the same.
fn own_run() -> Own {
    Own {
        epoch: Epoch::at(now_ms() + fastrand::i64(0..1_000)),
        apart: fastrand::u64(0..OWN_APART_MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::key::Kind;

    /// A hub without a Redis, which is alone at once.
    fn alone() -> Arc<Hub> {
        let address = "redis://127.0.0.1:1".parse().expect("an address");
        let settings = Settings {
            alone_after: Duration::ZERO,
            ..Settings::new(address, "a")
        };
        let hub = Hub::new(settings, "a.1".into());
        hub.look(None);
        Arc::new(hub)
    }

    fn publish(hub: &Hub, key: &FeedKey, text: &'static str) {
        let job = Job::Frame {
            once: None,
            frame: Bytes::from_static(text.as_bytes()),
        };
        let sent = hub.send(Partition::of(""), Lane::Feed(key.clone()), job, None);
        assert_eq!(sent, Ok(()));
    }

    /// Says what it is told, and waits where it is to.
    struct Slow {
        said: Mutex<Sender<Bytes>>,
        goes_on: Option<Mutex<Receiver<()>>>,
    }

    impl FeedSink for Slow {
        fn append(&self, _epoch: Epoch, _offset: u64, frame: Bytes) {
            self.said.lock().send(frame).expect("somebody hears");
            if let Some(goes_on) = &self.goes_on {
                goes_on.lock().recv().expect("it goes on");
            }
        }

        fn reset(&self, _epoch: Epoch, _first_offset: u64, _frames: Vec<Bytes>) {}
    }

    /// A tick that is told waits for the journal, whose snapshot waits for the alert that is just
    /// published: that must not wait for the tick.
    #[test]
    fn alone_one_feed_does_not_wait_for_what_another_is_told() {
        let hub = alone();
        let (said, ticks) = channel();
        let (go_on, goes_on) = channel();
        let slow = Slow {
            said: Mutex::new(said),
            goes_on: Some(Mutex::new(goes_on)),
        };
        let (said, alerts) = channel();
        let quick = Slow {
            said: Mutex::new(said),
            goes_on: None,
        };
        let (tick, alert) = (FeedKey::own(Kind::Tick), FeedKey::own(Kind::Alert));
        let _ticks = hub.watch(tick.clone(), None, Arc::new(slow));
        let _alerts = hub.watch(alert.clone(), None, Arc::new(quick));
        let long = Duration::from_secs(10);
        thread::scope(|scope| {
            scope.spawn(|| publish(&hub, &tick, "tick"));
            assert_eq!(ticks.recv_timeout(long).expect("told"), "tick");
            scope.spawn(|| publish(&hub, &alert, "alert"));
            let told = alerts.recv_timeout(long);
            go_on.send(()).expect("it waits");
            assert_eq!(told.expect("while the tick is told"), "alert");
        });
    }

    /// Near the bound what was taken, wherever, gives way to what is new.
    #[test]
    fn what_is_only_kept_makes_room() {
        let address = "redis://127.0.0.1:1".parse().expect("an address");
        let hub = Hub::new(Settings::new(address, "a"), "a.1".into());
        let key = |partition: Partition| {
            let mut names = (0..).map(|number: u32| number.to_string());
            let tenant = names.find(|name| Partition::of(name) == partition);
            FeedKey::new(Kind::Room, tenant.expect("one"), "r")
        };
        let mut all = Partition::all();
        let (one, other) = (all.next().expect("one"), all.next().expect("another"));
        let send = |partition: Partition| {
            let job = Job::Frame {
                once: None,
                frame: Bytes::from(vec![0; 1 << 20]),
            };
            hub.send(partition, Lane::Feed(key(partition)), job, None)
        };
        let mut taken = 0;
        while hub.held_bytes() + (2 << 20) < HELD_MAX {
            assert_eq!(send(one), Ok(()));
            let mut sent = Vec::new();
            let outbox = hub.outbox(one).expect("it is there");
            outbox.lock().take(1, usize::MAX, &mut sent);
            let done = Placed::At {
                epoch: Epoch(1),
                offset: 1,
            };
            let done = crate::outbox::Outcome::Done(done);
            let results = sent.into_iter().map(|sent| (sent.lane, sent.number, done));
            outbox.lock().settle(results);
            taken += 1;
        }
        assert!(taken > 60, "{taken}");
        for _ in 0..30 {
            assert_eq!(send(other), Ok(()));
        }
        assert!(hub.figures.dropped_kept.get() > 0);
        assert_eq!(hub.figures.refused.get(), 0);
        assert!(hub.held_bytes() <= HELD_MAX);
    }
}
