//! What is watched: each thing once, however many watch it, and a place for each who does.
//!
//! Selectors, catalogs and expressions differ in what they tell; how they are entered, left and
//! kept for who comes back is the same.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_feed::{Feed, MemberGuard, Payload, Spot, Subscriber, Subscription, wire::ws};
use pulseboard_shared::codec::Encoding;

use crate::{base::clock::Clock, shares::Share};

/// How long something that nobody watches is kept, so that a client whose connection dropped can
/// resume.
pub const UNWATCHED_KEPT_MS: i64 = 60_000;

/// Something that can be watched.
pub trait Watchable: Send + Sync + 'static {
    /// Names it among its kind.
    type Key: Clone + Eq + Hash;

    /// What is told of it.
    type Payload: Payload;

    /// What it is known by.
    fn key(&self) -> &Self::Key;

    /// Who watches it.
    fn viewers(&self) -> &Viewers;

    /// What comes, for all who watch it.
    fn feed(&self) -> &Arc<Feed<Self::Payload>>;

    /// Whether it stays for who comes back, now that the last viewer has left. `shares` is what
    /// that viewer had; it may be taken. Called under the map's lock.
    fn stays(&self, shares: &mut Vec<Share>) -> bool;

    /// It is no longer known to anybody, and another by the same key may be there already.
    fn close(&self);

    /// Where the cursor of a viewer starts that has seen `offset` of the run called `epoch`;
    /// `None` where that is no longer held.
    fn resume(&self, epoch: &str, offset: u64) -> Option<Spot> {
        self.feed().after(epoch, offset)
    }

    /// A cursor for a viewer, from `next` on.
    fn cursor(
        &self,
        next: Spot,
        view: <Self::Payload as Payload>::View,
        viewer: u64,
    ) -> Subscription<Self::Payload> {
        Subscription::new(Arc::clone(self.feed()), next, view, viewer)
    }
}

/// How many watch something, and since when nobody does.
#[derive(Debug)]
pub struct Viewers {
    count: AtomicUsize,
    /// When the last one left, in steady milliseconds.
    left_ms: AtomicI64,
}

impl Viewers {
    /// Nobody yet.
    #[must_use]
    pub fn new(steady_ms: i64) -> Self {
        Self {
            count: AtomicUsize::new(0),
            left_ms: AtomicI64::new(steady_ms),
        }
    }

    fn are_gone(&self, steady_ms: i64) -> bool {
        self.count.load(Ordering::SeqCst) == 0
            && steady_ms - self.left_ms.load(Ordering::SeqCst) >= UNWATCHED_KEPT_MS
    }
}

/// Everything of one kind that is watched.
pub struct AllWatched<W: Watchable> {
    /// Leaf lock, held for look-ups and for making what is not there yet.
    known: Mutex<HashMap<W::Key, Arc<W>>>,
    clock: Clock,
}

impl<W: Watchable> AllWatched<W> {
    /// Nothing watched yet.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            known: Mutex::default(),
            clock,
        })
    }

    /// A place at what `key` names, which `make` makes where it is not there; with the place go the
    /// `shares` of whoever takes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn enter<E>(
        self: &Arc<Self>,
        key: W::Key,
        shares: Vec<Share>,
        make: impl FnOnce(W::Key) -> Result<Arc<W>, E>,
    ) -> Result<Place<W>, E> {
        let watched = {
            let mut known = self.known.lock();
            let watched = if let Some(there) = known.get(&key) {
                Arc::clone(there)
            } else {
                let made = make(key.clone())?;
                known.insert(key, Arc::clone(&made));
                made
            };
            watched.viewers().count.fetch_add(1, Ordering::SeqCst);
            watched
        };
        Ok(Place {
            watched,
            all: Arc::clone(self),
            shares,
            seat: None,
        })
    }

    /// Ends what nobody has watched for a while; called about once a second.
    pub fn sweep(&self, steady_ms: i64) {
        let mut over = Vec::new();
        self.known.lock().retain(|_, watched| {
            let is_over = watched.viewers().are_gone(steady_ms);
            if is_over {
                over.push(Arc::clone(watched));
            }
            !is_over
        });
        for watched in over {
            watched.close();
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.lock().len()
    }

    /// Whether nothing is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads all that are known, under the lock.
    pub fn with_all<T>(&self, read: impl FnOnce(&mut dyn Iterator<Item = &Arc<W>>) -> T) -> T {
        read(&mut self.known.lock().values())
    }
}

/// A viewer's place at what it watches; leaving is dropping it.
pub struct Place<W: Watchable> {
    /// What is watched.
    pub watched: Arc<W>,
    all: Arc<AllWatched<W>>,
    shares: Vec<Share>,
    seat: Option<MemberGuard>,
}

impl<W: Watchable> Place<W> {
    /// Has the viewer told of what comes.
    pub fn sit(&mut self, viewer: Arc<dyn Subscriber>) {
        self.seat = Some(self.watched.feed().members().join(viewer));
    }
}

impl<W: Watchable> Drop for Place<W> {
    fn drop(&mut self) {
        self.seat = None;
        let watched = &self.watched;
        let mut known = self.all.known.lock();
        let viewers = watched.viewers();
        let now_ms = self.all.clock.steady_ms();
        viewers.left_ms.store(now_ms, Ordering::SeqCst);
        if viewers.count.fetch_sub(1, Ordering::SeqCst) > 1 || watched.stays(&mut self.shares) {
            return;
        }
        let is_it = known
            .get(watched.key())
            .is_some_and(|there| Arc::ptr_eq(there, watched));
        if is_it {
            known.remove(watched.key());
        }
        drop(known);
        watched.close();
    }
}

/// How a viewer gets what it watches.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchView {
    /// The selector or the expression as this viewer wrote it.
    pub asked: Arc<str>,
    /// Text or binary.
    pub form: Encoding,
}

impl WatchView {
    /// Says which frames are left out; the viewer asks for the stretch again. `field` is what the
    /// protocol calls what was asked.
    #[must_use]
    pub fn merged(&self, field: &str, first: u64, last: u64) -> Bytes {
        let notice = serde_json::json!({
            "type": "merged",
            field: &*self.asked,
            "offset": last,
            "first_offset": first,
            "last_offset": last,
        });
        ws::message(self.form, &notice)
    }
}

impl<W: Watchable> fmt::Debug for AllWatched<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllWatched({})", self.len())
    }
}

impl<W: Watchable + fmt::Debug> fmt::Debug for Place<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?})", self.watched)
    }
}
