//! What comes from the bus, of all servers and this one, on its way into the engine: in the order
//! of each partition, on one thread.
//!
//! What this server took in itself is there already. It is taken in again where its place in the
//! order may matter: where, since it came, a moment got another value or something was older than
//! windows. So all servers end with the same.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use pulseboard_bus::{Bus, FeedSink, Kind, Partition, Subscription, route::PARTITIONS};
use pulseboard_engine::{Cost, Engine, Persistence, Selector};
use pulseboard_feed::Epoch;
use pulseboard_history::log::{Health, Ticket};
use pulseboard_series::Batch;
use tokio::{runtime::Handle, sync::oneshot};

use super::{
    entry::{self, Deletion, Said, Unpacker},
    figures::Figures,
    joining::{Need, Wanted},
    outgoing::Outgoing,
    places::Places,
};
use crate::{base::clock::Clock, cluster::Cluster, ingest::Ingest};

/// What waits to be taken in; past it, it is read from Redis again.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// How often places are kept.
const KEPT_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked how far behind it is, as long as that is too far.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// So far behind the newest a server may be when it says that it is ready.
const BEHIND_MS: i64 = 2_000;

/// What others may send again after Redis has another lineage: what came in these seconds may be
/// there in another order.
const AGAIN: usize = 64;
/// And so many entries before that.
const AGAIN_ENTRIES: u64 = 256;

/// Entries that are there already are rather passed over than asked for.
const PASSED_OVER: u64 = 64;

/// A partition counts as used for so long after its newest entry: as long as Redis keeps that.
const USED_MS: i64 = 6 * 3_600_000;

enum Item {
    Frame {
        epoch: Epoch,
        offset: u64,
        frame: Bytes,
    },
    Reset {
        epoch: Epoch,
        first: u64,
    },
    Alone,
}

#[derive(Default)]
struct Inbox {
    items: VecDeque<(usize, Item)>,
    bytes: usize,
    /// Partitions of which frames were dropped, a bit each.
    dropped: u64,
    is_over: bool,
}

/// Where sinks put what they are told.
#[derive(Default)]
pub(super) struct Door {
    /// Leaf lock.
    inbox: Mutex<Inbox>,
    wake: Condvar,
}

struct Sink {
    part: usize,
    door: Arc<Door>,
}

impl Door {
    fn put(&self, part: usize, items: impl IntoIterator<Item = Item>) {
        let mut inbox = self.inbox.lock();
        if inbox.is_over {
            return;
        }
        for item in items {
            if let Item::Frame { frame, .. } = &item {
                let bytes = frame.len();
                if inbox.dropped & (1_u64 << part) != 0 || inbox.bytes + bytes > WAITING_BYTES_MAX {
                    inbox.dropped |= 1_u64 << part;
                    continue;
                }
                inbox.bytes += bytes;
            }
            inbox.items.push_back((part, item));
        }
        drop(inbox);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        let mut inbox = self.inbox.lock();
        inbox.is_over = true;
        // Nobody takes it any more.
        inbox.items.clear();
        inbox.bytes = 0;
        drop(inbox);
        self.wake.notify_all();
    }
}

impl FeedSink for Sink {
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
        let item = Item::Frame {
            epoch,
            offset,
            frame,
        };
        self.door.put(self.part, [item]);
    }

    fn reset(&self, epoch: Epoch, first: u64, frames: Vec<Bytes>) {
        let reset = Item::Reset { epoch, first };
        let frames = (first..).zip(frames).map(|(offset, frame)| Item::Frame {
            epoch,
            offset,
            frame,
        });
        self.door
            .put(self.part, std::iter::once(reset).chain(frames));
    }

    fn reset_alone(&self, _: Epoch, _: u64) {
        self.door.put(self.part, [Item::Alone]);
    }
}

type Place = (Epoch, u64);

/// One partition's log.
#[derive(Default)]
struct Log {
    /// What was taken in last.
    place: Option<Place>,
    /// When that was written.
    written_ms: i64,
    /// Whether it has been heard what Redis has.
    is_known: bool,
    /// What comes is this server's own alone.
    is_alone: bool,
    /// Something is missing behind `place`.
    is_cut: bool,
    /// Where it was in the last seconds, the newest last.
    trail: VecDeque<u64>,
    /// Of what was appended last.
    ticket: Option<Ticket>,
    /// To be kept as soon as it is safe, which is looked at a second later.
    captured: Option<(Place, Option<Ticket>)>,
    subscription: Option<Subscription>,
}

/// What Redis holds of a partition's log under another epoch than before.
#[derive(Clone, Copy, Debug)]
struct Holds {
    /// It has nothing up to here any more.
    begins: u64,
    /// Its newest entry.
    newest: u64,
    /// The epoch that it began with, of which all others are continuations; `None`: not known.
    born: Option<Epoch>,
}

/// Where to go on under another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct On {
    place: u64,
    /// Redis has lost what there was, and began with nothing.
    is_anew: bool,
    /// More came since than it holds.
    is_gap: bool,
}

impl Holds {
    /// Whether a copy that was asked for then has all that there was before it began.
    fn began_before(self, copied_ms: i64) -> bool {
        let copied_ms = u64::try_from(copied_ms).unwrap_or_default();
        self.born.is_some_and(|born| born.0 <= copied_ms)
    }

    /// For a server that was at `known`, and at `before` some seconds ago.
    fn on_from(self, (epoch, top): Place, before: u64) -> On {
        // By the epochs, since it may have more by now than it had before it lost that: offsets
        // alone would then say that it goes on.
        let is_younger = self.born.is_some_and(|born| born.0 > epoch.0);
        if is_younger || self.newest < top && self.begins == 0 {
            return On {
                place: self.begins,
                is_anew: true,
                is_gap: self.begins > 0,
            };
        }
        if self.begins > top {
            return On {
                place: self.begins,
                is_anew: false,
                is_gap: true,
            };
        }
        let from = before.min(self.newest).saturating_sub(AGAIN_ENTRIES);
        On {
            place: from.max(self.begins),
            is_anew: false,
            is_gap: false,
        }
    }
}

/// What the file is to say. Behind a gap places stay what they were, as long as a copy is to be
/// had; numbers of own frames go on, so that none is given twice.
fn to_be_kept(need: Need, now: &Places, before: &Places) -> Places {
    match need {
        Need::Copy => Places {
            sent: now.sent,
            ..before.clone()
        },
        Need::Nothing | Need::Without => now.clone(),
    }
}

/// What became of deletions, by their numbers.
pub(super) type Deleted = Mutex<HashMap<u64, oneshot::Sender<Result<u64, String>>>>;

/// Takes in what comes; see the module.
pub(super) struct Incoming {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) me: Arc<str>,
    pub(super) engine: Arc<Engine>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) clock: Clock,
    pub(super) figures: Arc<Figures>,
    pub(super) deleted: Arc<Deleted>,
    pub(super) door: Arc<Door>,
    pub(super) wanted: Arc<Wanted>,
    /// Nothing was ever taken in here.
    pub(super) is_new: bool,
    pub(super) runtime: Handle,
    /// The data folder; `None` where nothing is kept.
    pub(super) folder: Option<PathBuf>,
    pub(super) places: Places,
    /// `INGEST_BUFFER_BYTES`.
    pub(super) buffer_bytes: u64,
}

pub(super) struct Taking {
    of: Incoming,
    logs: Vec<Log>,
    /// Lent to whoever reads an entry.
    unpacker: Option<Unpacker>,
    batch: Batch,
    has_joined: bool,
    /// See [`Incoming::is_new`], as long as nobody was asked for what there was before.
    is_new: bool,
    places: Places,
    /// How often the history's log had failed.
    failures: u32,
    /// It has failed since places were safe.
    is_unsafe: bool,
}

impl Incoming {
    /// Takes in what comes until [`Door::close`]; on a thread of its own.
    pub(super) fn take(self, unpacker: Unpacker) {
        let mut taking = self.begin(unpacker);
        for part in 0..PARTITIONS {
            taking.subscribe(part);
        }
        taking.run();
    }

    pub(super) fn begin(self, unpacker: Unpacker) -> Taking {
        let mut logs: Vec<Log> = (0..PARTITIONS).map(|_| Log::default()).collect();
        for (part, (epoch, offset)) in &self.places.taken {
            if let Some(log) = logs.get_mut(*part) {
                log.place = Some((Epoch(*epoch), *offset));
            }
        }
        let mut taking = Taking {
            places: self.places.clone(),
            of: self,
            logs,
            unpacker: Some(unpacker),
            batch: Batch::new(),
            has_joined: false,
            is_new: false,
            failures: 0,
            is_unsafe: false,
        };
        taking.failures = taking.log_failures();
        taking.is_new = taking.of.is_new;
        taking
    }
}

impl Taking {
    fn run(&mut self) {
        let door = Arc::clone(&self.of.door);
        let mut kept = Instant::now();
        let mut looked = Instant::now();
        loop {
            let mut inbox = door.inbox.lock();
            if inbox.items.is_empty() && !inbox.is_over {
                door.wake.wait_for(&mut inbox, LOOKED_EVERY);
            }
            if inbox.is_over {
                break;
            }
            let item = inbox.items.pop_front();
            if let Some((_, Item::Frame { frame, .. })) = &item {
                inbox.bytes -= frame.len();
            }
            drop(inbox);
            if let Some((part, item)) = item {
                self.item(part, item);
            }
            if looked.elapsed() >= LOOKED_EVERY {
                looked = Instant::now();
                self.read_dropped();
                if !self.has_joined {
                    self.look();
                }
            }
            if kept.elapsed() >= KEPT_EVERY {
                kept = Instant::now();
                self.keep(false);
            }
        }
        self.keep(false);
        self.keep(true);
        for log in &mut self.logs {
            log.subscription = None;
        }
    }

    fn subscribe(&mut self, part: usize) {
        let Some(partition) = Partition::new(part) else {
            return;
        };
        let Some(log) = self.logs.get_mut(part) else {
            return;
        };
        let sink = Sink {
            part,
            door: Arc::clone(&self.of.door),
        };
        // The one before goes after the new one has its place.
        let before = log.subscription.take();
        let key = partition.feed(Kind::Ingest);
        let subscription = self.of.bus.subscribe_after(key, log.place, Arc::new(sink));
        log.is_cut = false;
        log.subscription = Some(subscription);
        drop(before);
    }

    /// What was dropped, or is missing otherwise, is asked for once there is room.
    fn read_dropped(&mut self) {
        let mut inbox = self.of.door.inbox.lock();
        let is_roomy = inbox.bytes <= WAITING_BYTES_MAX / 2;
        let dropped = if is_roomy {
            std::mem::take(&mut inbox.dropped)
        } else {
            0
        };
        drop(inbox);
        for part in 0..PARTITIONS {
            let is_cut = self.logs.get(part).is_some_and(|log| log.is_cut);
            if dropped & (1_u64 << part) != 0 || is_cut && is_roomy {
                self.subscribe(part);
            }
        }
    }

    fn item(&mut self, part: usize, item: Item) {
        let Some(log) = self.logs.get_mut(part) else {
            return;
        };
        match item {
            Item::Alone => log.is_alone = true,
            Item::Reset { epoch, first } => {
                log.is_alone = false;
                self.reset(part, epoch, first);
            }
            Item::Frame {
                epoch,
                offset,
                frame,
            } => {
                let Some((known, top)) = log.place.filter(|_| !log.is_alone) else {
                    return;
                };
                if known != epoch || offset <= top {
                    return;
                }
                if offset != top + 1 {
                    log.is_cut = true;
                    return;
                }
                self.entry(part, &frame);
                if let Some(log) = self.logs.get_mut(part) {
                    log.place = Some((epoch, offset));
                }
            }
        }
    }

    /// What Redis has begins here, in this epoch.
    fn reset(&mut self, part: usize, epoch: Epoch, first: u64) {
        let Some(log) = self.logs.get_mut(part) else {
            return;
        };
        let begins = first.saturating_sub(1);
        let place = match log.place {
            None => {
                if begins > 0 {
                    self.gap(part);
                }
                begins
            }
            Some((known, top)) if known == epoch => {
                if begins > top {
                    self.gap(part);
                }
                top.max(begins)
            }
            Some(known) => match self.continued(part, epoch, (begins, known)) {
                Some(place) => place,
                None => return,
            },
        };
        let Some(log) = self.logs.get_mut(part) else {
            return;
        };
        log.place = Some((epoch, place));
        log.is_known = true;
        if place - begins > PASSED_OVER {
            self.subscribe(part);
        }
    }

    /// Where to go on under another epoch; `None` where that cannot be found out now.
    fn continued(
        &mut self,
        part: usize,
        epoch: Epoch,
        (begins, known): (u64, Place),
    ) -> Option<u64> {
        let newest = self.tops(&[part]).and_then(|tops| tops.first().copied());
        let newest = newest.flatten().filter(|newest| newest.0 == epoch);
        let born = self.born(part);
        let log = self.logs.get_mut(part)?;
        let (Some((_, newest)), Some(born)) = (newest, born) else {
            log.is_cut = true;
            return None;
        };
        let was_there = !log.trail.is_empty();
        let before = log.trail.front().copied().unwrap_or(known.1);
        let holds = Holds {
            begins,
            newest,
            born,
        };
        let On {
            place,
            is_anew,
            is_gap,
        } = holds.on_from(known, before);
        if is_anew {
            // Who was there sends again what it has sent lately; who was not has missed what there
            // was. As all was when it was kept last: whoever has that digest, too, has missed
            // nothing.
            let reached = self.places.digest();
            self.of.wanted.reached(&reached);
            let common = self.of.cluster.common();
            common.say(|member| member.reached = reached);
            self.has_more();
        }
        // A copy has what there was before. Whoever gave it may have kept its places last while the
        // log was still the old one, so that they alone would ask for one copy after the other.
        if is_gap || is_anew && !was_there && !holds.began_before(self.places.copied_ms) {
            self.gap(part);
        }
        Some(place)
    }

    /// More was missed than the log holds.
    fn gap(&mut self, part: usize) {
        self.of.figures.gaps.add(1);
        tracing::warn!(
            partition = part,
            "samples of other servers came and went while this one was away, and are missing here"
        );
        if self.of.folder.is_some() {
            self.want();
        }
    }

    fn want(&mut self) {
        self.of.wanted.want();
        self.has_joined = false;
        let behind = "behind: more was missed than Redis holds";
        self.of.cluster.say_behind(Some(behind.to_owned()));
    }

    /// There is something here that the log has no longer, and never had by its own word.
    fn has_more(&mut self) {
        if !self.places.more {
            self.places.more = true;
            self.of.cluster.common().say(|member| member.more = true);
        }
    }

    fn tops(&self, parts: &[usize]) -> Option<Vec<Option<Place>>> {
        let partitions = parts.iter().filter_map(|part| Partition::new(*part));
        let keys: Vec<_> = partitions.map(|one| one.feed(Kind::Ingest)).collect();
        let asked = self.of.cluster.common().tops(&keys);
        let asked = async { tokio::time::timeout(KEPT_EVERY, asked).await };
        self.of.runtime.block_on(asked).ok()?.ok()
    }

    /// See [`Holds::born`]; `None` where it cannot be found out now.
    fn born(&self, part: usize) -> Option<Option<Epoch>> {
        let key = Partition::new(part)?.feed(Kind::Ingest);
        let asked = self.of.cluster.common().born(&key);
        let asked = async { tokio::time::timeout(KEPT_EVERY, asked).await };
        self.of.runtime.block_on(asked).ok()?.ok()
    }

    // Taking in.

    /// Takes in an entry. One that this server cannot take in without a fault is passed over: it
    /// would else be the end of all servers, one after the other, and of each again when it starts.
    pub(super) fn entry(&mut self, part: usize, frame: &Bytes) {
        let taken = catch_unwind(AssertUnwindSafe(|| self.read_entry(part, frame)));
        if taken.is_err() {
            self.of.figures.unreadable.add(1);
            tracing::error!(
                partition = part,
                "samples of an entry of the ingest log were not taken in, by a fault of this server"
            );
        }
    }

    fn read_entry(&mut self, part: usize, frame: &Bytes) {
        let Some(entry) = entry::read_entry(frame) else {
            self.of.figures.unreadable.add(1);
            tracing::warn!("samples that another server has sent cannot be read here");
            return;
        };
        let is_own = *entry.publisher == *self.of.me;
        // There is none after a fault.
        let unpacker = self.unpacker.take().map_or_else(Unpacker::new, Ok);
        let mut unpacker = match unpacker {
            Ok(unpacker) => unpacker,
            Err(error) => {
                self.of.figures.unreadable.add(1);
                tracing::error!(%error, "samples that another server has sent cannot be unpacked");
                return;
            }
        };
        let mut is_read = true;
        let is_whole = unpacker.each(&entry, |frame| {
            is_read &= self.frame(part, frame, is_own);
        });
        self.unpacker = Some(unpacker);
        if !is_whole || !is_read {
            self.of.figures.unreadable.add(1);
            tracing::warn!("samples that another server has sent cannot be read here");
        }
        self.of.figures.applied.add(1);
        if let Some(log) = self.logs.get_mut(part) {
            log.written_ms = entry.written_ms;
        }
    }

    /// Takes in a frame; whether it could be read.
    fn frame(&mut self, part: usize, frame: &[u8], is_own: bool) -> bool {
        let Some((head, said)) = entry::read_frame(frame) else {
            return false;
        };
        let samples = match said {
            Said::Samples(samples) => samples,
            Said::Deletion(deletion) => {
                let deleted = self.delete(head.tenant, head.now_ms, &deletion);
                self.of.outgoing.order_matters(part);
                if is_own && let Some(waits) = self.of.deleted.lock().remove(&head.number) {
                    // Whoever asked may be gone.
                    let _gone = waits.send(deleted);
                }
                return true;
            }
        };
        if is_own && self.of.outgoing.is_in_order(part, head.number) {
            return true;
        }
        self.batch.clear();
        let is_whole = entry::read_samples(head.now_ms, samples, &mut self.batch).is_some();
        let Ok(tenant) = self.of.engine.tenant(head.tenant) else {
            self.of.figures.refused.add(self.batch.rows().len() as u64);
            return is_whole;
        };
        let now_ms = self.of.clock.now_ms();
        // Where there is no room for long, it is taken all the same.
        let room = self.of.ingest.late.wait(&tenant, now_ms);
        let _is_roomy = self.of.runtime.block_on(room);
        let appended = self
            .of
            .engine
            .append_shared(&tenant, &self.batch, now_ms, is_own);
        self.of.ingest.late.look();
        if appended.is_ordered {
            self.of.outgoing.order_matters(part);
        }
        self.of.figures.refused.add(appended.refused_total);
        if let Persistence::Pending(ticket) = appended.persistence
            && let Some(log) = self.logs.get_mut(part)
        {
            log.ticket = Some(ticket);
        }
        is_whole
    }

    fn delete(&self, tenant: &str, now_ms: i64, deletion: &Deletion) -> Result<u64, String> {
        let Ok(tenant) = self.of.engine.tenant(tenant) else {
            return Ok(0);
        };
        let stretch = (deletion.from_ms, deletion.to_ms);
        let mut deleted = 0;
        for text in &deletion.selectors {
            let selector =
                Selector::parse_of_expression(text).map_err(|error| error.to_string())?;
            let cost = Cost::unbounded();
            let done = self
                .of
                .engine
                .delete(&tenant, &selector, stretch, now_ms, &cost);
            deleted += done.map_err(|error| {
                tracing::warn!(%error, "a deletion that all servers do failed here");
                error.to_string()
            })?;
        }
        Ok(deleted)
    }

    // Keeping.

    fn log_failures(&self) -> u32 {
        let history = self.of.engine.history();
        history.map_or(0, |history| history.log_failures())
    }

    /// What the disk may have lost is taken in again.
    fn take_again(&mut self) {
        for part in 0..PARTITIONS {
            let safe = self.places.taken.get(&part).copied();
            if let Some(log) = self.logs.get_mut(part) {
                log.captured = None;
                log.ticket = None;
                log.place = safe.map(|(epoch, offset)| (Epoch(epoch), offset));
            }
            self.subscribe(part);
        }
    }

    /// Keeps what was captured a second ago, and captures anew; `is_last`: waits until all is safe.
    fn keep(&mut self, is_last: bool) {
        let now_ms = self.of.clock.now_ms();
        let failures = self.log_failures();
        self.is_unsafe |= failures != self.failures;
        self.failures = failures;
        if self.is_unsafe {
            let health = self.of.engine.history().map(|history| history.health());
            if health == Some(Health::Ready) && !is_last {
                self.is_unsafe = false;
                self.take_again();
            }
            return;
        }
        let is_connected = self.of.outgoing.is_connected();
        let mut used = 0_u64;
        for (part, log) in self.logs.iter_mut().enumerate() {
            if log.written_ms > now_ms - USED_MS {
                used += 1;
            }
            let Some(place) = log.place.filter(|_| log.is_known) else {
                continue;
            };
            if is_connected {
                log.trail.push_back(place.1);
            }
            if log.trail.len() > AGAIN || !is_connected {
                log.trail.pop_front();
            }
            let (captured, ticket) = log.captured.take().unwrap_or((place, None));
            let outcome = ticket.as_ref().map(|ticket| match is_last {
                true => Some(ticket.wait_blocking()),
                false => ticket.outcome(),
            });
            match outcome {
                Some(None) => {
                    log.captured = Some((captured, ticket));
                    continue;
                }
                // The disk fails, which is looked at above.
                Some(Some(Err(_))) => continue,
                None | Some(Some(Ok(()))) => {}
            }
            self.places.taken.insert(part, (captured.0.0, captured.1));
            log.captured = Some((place, log.ticket.take()));
        }
        let most = self.of.buffer_bytes / used.max(1);
        self.of.cluster.common().bound_ingest(most);
        self.places.sent = self.of.outgoing.keep();
        let need = self.of.wanted.need();
        let places = to_be_kept(need, &self.places, &self.of.places);
        // By the file a later run knows that something was taken in here; as long as that is all
        // behind a gap, nothing was.
        let is_first = self.of.is_new && need == Need::Copy;
        if let Some(folder) = &self.of.folder
            && places != self.of.places
            && !is_first
        {
            match places.write(folder) {
                Ok(()) => self.of.places = places,
                Err(error) => {
                    tracing::warn!(%error, "how far samples of other servers were taken in cannot be kept");
                }
            }
        }
    }

    /// Finds out whether all that the others had is here.
    fn look(&mut self) {
        if !self.of.outgoing.is_connected() {
            return;
        }
        let view = self.of.cluster.view();
        if self.is_new && view.heard.is_some() {
            self.is_new = false;
            let of_others = view.live.iter().filter(|one| *one.id != *self.of.me);
            if of_others.clone().any(|one| one.ready && one.more) && self.of.folder.is_some() {
                self.want();
            }
        }
        match self.of.wanted.need() {
            // Whoever gets it says how far that is.
            Need::Copy => return,
            Need::Without => self.of.wanted.done(),
            Need::Nothing => {}
        }
        let parts: Vec<usize> = (0..PARTITIONS).collect();
        let Some(tops) = self.tops(&parts) else {
            return;
        };
        let now_ms = self.of.clock.now_ms();
        let mut left = 0;
        let mut unknown = usize::from(self.is_new);
        for (log, top) in self.logs.iter_mut().zip(tops) {
            // A place that is still there is gone on from without a word.
            log.is_known |= match (log.place, top) {
                (Some((known, place)), Some((epoch, top))) => known == epoch && place <= top,
                _ => false,
            };
            let Some((known, place)) = log.place.filter(|_| log.is_known) else {
                unknown += 1;
                continue;
            };
            match top {
                Some((epoch, top)) if epoch != known => left += top.max(1),
                Some((_, top)) if place < top && log.written_ms < now_ms - BEHIND_MS => {
                    left += top - place;
                }
                _ => {}
            }
        }
        self.has_joined = left == 0 && unknown == 0;
        self.of.cluster.say_behind(match (self.has_joined, left) {
            (true, _) => None,
            (false, 0) => Some("behind: it is not known yet what the others have taken".to_owned()),
            (false, left) => Some(format!(
                "behind: {left} entries of the ingest log are still to be taken in"
            )),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_a_copy_is_awaited_own_numbers_are_kept_and_places_are_not() {
        let before = Places {
            sent: 3,
            own_from: 2,
            taken: [(1, (7, 9))].into(),
            ..Places::default()
        };
        let now = Places {
            sent: 8,
            own_from: 2,
            more: true,
            taken: [(1, (7, 90))].into(),
            ..Places::default()
        };
        let kept = to_be_kept(Need::Copy, &now, &before);
        assert_eq!((kept.sent, &kept.taken), (8, &before.taken));
        assert!(!kept.more);
        for need in [Need::Nothing, Need::Without] {
            assert_eq!(to_be_kept(need, &now, &before), now);
        }
    }

    const KNOWN: Place = (Epoch(1_000), 900);

    fn on(begins: u64, newest: u64, born: Option<u64>) -> On {
        let born = born.map(Epoch);
        let holds = Holds {
            begins,
            newest,
            born,
        };
        holds.on_from(KNOWN, 890)
    }

    #[test]
    fn a_log_that_goes_on_is_gone_on_with_a_little_before() {
        let place = 890 - AGAIN_ENTRIES;
        for born in [None, Some(1_000), Some(7)] {
            let goes_on = On {
                place,
                is_anew: false,
                is_gap: false,
            };
            assert_eq!(on(0, 2_000, born), goes_on);
            let held = On {
                place: 800,
                ..goes_on
            };
            assert_eq!(on(800, 2_000, born), held);
            let gap = On {
                place: 950,
                is_gap: true,
                ..goes_on
            };
            assert_eq!(on(950, 2_000, born), gap);
        }
    }

    /// Whoever gave a copy may have kept its places last under the old epoch: that alone is no
    /// reason for the next copy, and the next.
    #[test]
    fn a_copy_has_what_there_was_before_a_log_that_began_before_it() {
        let holds = |born: Option<u64>| Holds {
            begins: 0,
            newest: 3,
            born: born.map(Epoch),
        };
        for (born, copied_ms, has) in [
            (Some(5_000), 5_000, true),
            (Some(5_000), 6_000, true),
            // Redis lost it again, after the copy was asked for.
            (Some(5_000), 4_999, false),
            // There was no copy, or nobody knows when the log began.
            (Some(5_000), 0, false),
            (None, 6_000, false),
        ] {
            let began = holds(born).began_before(copied_ms);
            assert_eq!(began, has, "{born:?} {copied_ms}");
        }
    }

    #[test]
    fn a_log_that_began_anew_is_taken_from_its_beginning_also_where_it_has_more_by_now() {
        let anew = On {
            place: 0,
            is_anew: true,
            is_gap: false,
        };
        assert_eq!(on(0, 3, None), anew);
        assert_eq!(on(0, 3, Some(1_001)), anew);
        assert_eq!(on(0, 5_000, Some(1_001)), anew);
        let gap = On {
            place: 700,
            is_gap: true,
            ..anew
        };
        assert_eq!(on(700, 5_000, Some(1_001)), gap);
    }
}
