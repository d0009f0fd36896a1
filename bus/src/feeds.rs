//! The feeds that this server watches: each with its copy of it and its sink.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_feed::Epoch;

use crate::{
    figures::Figures,
    key::FeedKey,
    replica::{Action, Ask, Own, Page, Replica},
    route::{FeedKeys, Partition},
    sink::FeedSink,
};

/// A feed that is watched.
pub(crate) struct Entry {
    pub(crate) key: FeedKey,
    pub(crate) keys: FeedKeys,
    pub(crate) partition: Partition,
    /// Whether somebody still watches.
    pub(crate) is_wanted: AtomicBool,
    /// Whether it waits to be read.
    pub(crate) is_queued: AtomicBool,
    core: Mutex<Core>,
    /// What is to be told while there is no Redis, in the order in which it was published. Leaf
    /// lock; the partition's outbox may be held for it, and is not held when it is told.
    alone: Mutex<VecDeque<(Own, Option<Bytes>)>>,
}

struct Core {
    replica: Replica,
    sink: Arc<dyn FeedSink>,
    /// When something was heard of it last.
    heard: Instant,
}

impl Core {
    fn tell(&mut self, was: Option<Epoch>, actions: Vec<Action>, figures: &Figures) {
        for action in actions {
            match action {
                Action::Append {
                    epoch,
                    offset,
                    frame,
                } => self.sink.append(epoch, offset, frame),
                Action::Reset {
                    epoch,
                    first,
                    frames,
                } => {
                    match self.replica.shared() {
                        None => {
                            figures.resets_alone.add(1);
                            self.sink.reset_alone(epoch, first);
                            continue;
                        }
                        Some(_) if was == Some(epoch) => figures.resets_gone.add(1),
                        Some(_) => figures.resets_epoch.add(1),
                    }
                    self.sink.reset(epoch, first, frames);
                }
            }
        }
    }

    fn epoch(&self) -> Option<Epoch> {
        self.replica.shared().map(|(epoch, _)| epoch)
    }
}

impl Entry {
    pub(crate) fn new(
        key: FeedKey,
        keys: FeedKeys,
        after: Option<(Epoch, u64)>,
        sink: Arc<dyn FeedSink>,
    ) -> Self {
        let partition = Partition::of(&key.tenant);
        Self {
            key,
            keys,
            partition,
            is_wanted: AtomicBool::new(true),
            is_queued: AtomicBool::new(false),
            core: Mutex::new(Core {
                replica: Replica::new(after),
                sink,
                heard: Instant::now(),
            }),
            alone: Mutex::default(),
        }
    }

    /// Whether nobody watches any more.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_wanted.load(Ordering::Acquire)
    }

    /// A message, `EPOCH:OFFSET:FRAME`; whether a page is wanted.
    pub(crate) fn message(&self, payload: Bytes, figures: &Figures) -> bool {
        let mut core = self.core.lock();
        let Some((epoch, offset, frame)) = split(payload) else {
            core.replica.doubt();
            return core.replica.wants_page();
        };
        core.heard = Instant::now();
        let (was, gaps) = (core.epoch(), core.replica.gaps);
        let action = core.replica.message(epoch, offset, frame);
        figures.gaps.add(core.replica.gaps - gaps);
        core.tell(was, action.into_iter().collect(), figures);
        core.replica.wants_page()
    }

    /// What is to be read, if something is.
    pub(crate) fn ask(&self) -> Option<Ask> {
        self.core.lock().replica.ask()
    }

    /// What was read; whether more is wanted.
    pub(crate) fn page(&self, page: Page, figures: &Figures) -> bool {
        let mut core = self.core.lock();
        let was = core.epoch();
        let actions = core.replica.page(page);
        core.tell(was, actions, figures);
        core.replica.wants_page()
    }

    /// It could not be read.
    pub(crate) fn no_page(&self) {
        self.core.lock().replica.no_page();
    }

    /// It has to be looked at.
    pub(crate) fn doubt(&self) {
        self.core.lock().replica.doubt();
    }

    /// Where it is; whether a page is wanted.
    pub(crate) fn top(&self, epoch: Option<u64>, offset: u64) -> bool {
        let mut core = self.core.lock();
        core.replica.top(epoch, offset);
        core.replica.wants_page()
    }

    /// Whether nothing was heard of it for a second.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        now.duration_since(self.core.lock().heard).as_secs() >= 1
    }

    /// A frame of our own, or only that there is no Redis, to be told by [`Self::tell_alone`].
    pub(crate) fn next_alone(&self, own: Own, frame: Option<Bytes>) {
        self.alone.lock().push_back((own, frame));
    }

    /// Tells what waits for that. What comes when there is a Redis again comes from there.
    pub(crate) fn tell_alone(&self, figures: &Figures, is_alone: impl Fn() -> bool) {
        let mut core = self.core.lock();
        loop {
            let next = self.alone.lock().pop_front();
            let Some((own, frame)) = next else { return };
            if !is_alone() {
                continue;
            }
            let actions = match frame {
                Some(frame) => core.replica.alone(own, frame),
                None => core.replica.begin_alone(own),
            };
            core.tell(None, actions, figures);
        }
    }
}

fn split(payload: Bytes) -> Option<(u64, u64, Bytes)> {
    let mut ends = payload
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b':');
    let (first, second) = (ends.next()?.0, ends.next()?.0);
    let number = |range| {
        std::str::from_utf8(payload.get::<std::ops::Range<usize>>(range)?)
            .ok()?
            .parse()
            .ok()
    };
    let (epoch, offset) = (number(0..first)?, number(first + 1..second)?);
    Some((epoch, offset, payload.slice(second + 1..)))
}

/// All of them.
#[derive(Default)]
pub(crate) struct Feeds {
    by_key: HashMap<FeedKey, Arc<Entry>>,
    by_channel: HashMap<String, Arc<Entry>>,
}

impl Feeds {
    /// Puts one in the place of what was there, which is given back.
    pub(crate) fn insert(&mut self, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        let channel = entry.keys.stream.clone();
        self.by_channel.insert(channel, Arc::clone(entry));
        self.by_key.insert(entry.key.clone(), Arc::clone(entry))
    }

    /// Forgets this one, unless another has taken its place already.
    pub(crate) fn remove(&mut self, entry: &Arc<Entry>) -> bool {
        let is_known =
            |known: Option<&Arc<Entry>>| known.is_some_and(|known| Arc::ptr_eq(known, entry));
        let is_here = is_known(self.by_key.get(&entry.key));
        if is_here {
            self.by_key.remove(&entry.key);
            self.by_channel.remove(&entry.keys.stream);
        }
        is_here
    }

    pub(crate) fn get(&self, key: &FeedKey) -> Option<Arc<Entry>> {
        self.by_key.get(key).cloned()
    }

    pub(crate) fn of_channel(&self, channel: &str) -> Option<Arc<Entry>> {
        self.by_channel.get(channel).cloned()
    }

    /// Those whose partitions these are.
    pub(crate) fn of(&self, partitions: u64) -> Vec<Arc<Entry>> {
        let is_one = |entry: &&Arc<Entry>| partitions & bit(entry.partition) != 0;
        self.by_key.values().filter(is_one).cloned().collect()
    }
}

/// A set of partitions has a bit for each.
pub(crate) fn bit(partition: Partition) -> u64 {
    1 << partition.number()
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
