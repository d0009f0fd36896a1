//! What was taken in here, on its way to the others.
//!
//! A frame is in the history's log before its samples are, as a note, and waits here until a thread
//! puts it together with others of its partition, packs them, and has the bus append them; its
//! sender waits until that is done. While the others cannot be reached nobody waits: what is in the
//! log is sent from there afterwards, in order, and for half of the time at most. So is what a run
//! that was killed had not sent.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use pulseboard_bus::{Bus, Kind, Partition, Refused, State as Standing, Told, route::PARTITIONS};
use pulseboard_engine::{Share, Taken};
use pulseboard_history::{
    History,
    log::{Promise, SegmentInfo, Ticket},
};
use tokio::runtime::Handle;

use super::{
    book::{Book, Stretches},
    entry::{self, Deletion, ENTRY_BYTES, Packer, Writer},
    figures::Figures,
};
use crate::base::clock::Clock;

/// Frames that wait to be sent; past it they are sent from the log.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Entries of a partition that are on their way at once; while so many are, what comes is gathered.
const UNDER_WAY: usize = 2;
/// With whole entries there may be more.
const UNDER_WAY_MAX: usize = 8;

/// How often it is looked whether the others can be reached.
const LOOK: Duration = Duration::from_millis(50);

/// Where nothing is kept on a disk, so much waits in memory for the others.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The log holds so much for the others beyond what it needs itself. Larger: others may be away for
/// longer. Smaller: less disk.
const HELD_BYTES_MAX: u64 = 1 << 30;

/// An entry that is sent again is waited for so long.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// After a segment of the log that could not be read it is tried again so much later.
const UNREAD_AGAIN: Duration = Duration::from_secs(10);

/// Own frames that have not come back; past it all are taken in again when they do.
const BEGAN_MAX: usize = 200_000;

thread_local! {
    static WRITER: RefCell<Writer> = RefCell::default();
}

/// Where a frame is found that could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rests {
    /// In the history's log, as a note.
    InLog,
    /// In memory alone: nothing is kept on a disk, or the log did not take it.
    InMemory,
    /// Nowhere: who asked is told that it was not done, and it must not be done later.
    Nowhere,
}

/// A frame that waits.
struct Item {
    number: u64,
    /// See [`Share::begin`]; `None` for what is to be done when it comes back.
    began: Option<u64>,
    frame: Vec<u8>,
    rests: Rests,
    /// Whoever waits.
    promise: Option<Promise>,
}

/// Frames that are on their way together.
struct Flight {
    part: usize,
    items: Vec<Item>,
}

#[derive(Default)]
struct Part {
    waiting: VecDeque<Item>,
    bytes: usize,
    under_way: usize,
}

struct State {
    book: Book,
    parts: Vec<Part>,
    /// Bytes of all that waits.
    bytes: usize,
    flights: HashMap<u64, Flight>,
    next_flight: u64,
    /// Where the next look begins.
    turn: usize,
    /// The newest note: what is missed is in the log once that is.
    noted: Option<Ticket>,
    /// What the others have not got, and is in memory alone.
    kept: VecDeque<(usize, u64, Vec<u8>)>,
    kept_bytes: usize,
    is_over: bool,
}

/// What was taken in here, on its way to the others.
pub(super) struct Outgoing {
    bus: Arc<dyn Bus>,
    me: Arc<str>,
    clock: Clock,
    history: Option<Arc<History>>,
    figures: Arc<Figures>,
    runtime: Handle,
    /// How often order mattered, by partition: see [`Share::begin`].
    orders: Vec<AtomicU64>,
    /// How things stood when own frames were taken in. Leaf lock.
    began: Mutex<HashMap<u64, u64>>,
    /// Notes in segments of the log before this one are not this server's own.
    own_from: u32,
    /// Leaf lock.
    state: Mutex<State>,
    /// Something is to be sent, or all is over: wakes [`Self::send`].
    wake: Condvar,
    /// Something was missed, or all is over: wakes [`Self::send_again`].
    wake_again: Condvar,
}

/// What became of sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// All that was missed was sent.
    Whole,
    /// The others cannot be reached.
    Broken,
    /// Segments of the log could not be read.
    Unread,
}

impl Outgoing {
    pub(super) fn new(
        (bus, me): (Arc<dyn Bus>, Arc<str>),
        (history, own_from): (Option<Arc<History>>, u32),
        (book, clock): (Book, Clock),
        figures: Arc<Figures>,
        runtime: Handle,
    ) -> Self {
        Self {
            bus,
            me,
            clock,
            history,
            figures,
            runtime,
            orders: (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect(),
            began: Mutex::default(),
            own_from,
            state: Mutex::new(State {
                book,
                parts: (0..PARTITIONS).map(|_| Part::default()).collect(),
                bytes: 0,
                flights: HashMap::new(),
                next_flight: 0,
                turn: 0,
                noted: None,
                kept: VecDeque::new(),
                kept_bytes: 0,
                is_over: false,
            }),
            wake: Condvar::new(),
            wake_again: Condvar::new(),
        }
    }

    /// Whether what is published now goes to the others.
    pub(super) fn is_connected(&self) -> bool {
        *self.bus.state().borrow() == Standing::Connected
    }

    fn is_alone(&self) -> bool {
        self.bus.state().borrow().is_alone()
    }

    // What comes back.

    /// What the order in a partition depends on has changed.
    pub(super) fn order_matters(&self, part: usize) {
        if let Some(order) = self.orders.get(part) {
            order.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn order(&self, part: usize) -> u64 {
        self.orders
            .get(part)
            .map_or(0, |order| order.load(Ordering::Acquire))
    }

    /// An own frame has come back: whether all is as if it had been taken in just now.
    pub(super) fn is_in_order(&self, part: usize, number: u64) -> bool {
        let began = self.began.lock().remove(&number);
        began == Some(self.order(part))
    }

    // Taking.

    fn push(&self, part: usize, item: Item, note: Option<Ticket>) {
        let mut state = self.state.lock();
        if let Some(note) = note
            && (state.noted.as_ref()).is_none_or(|newest| newest.sequence() < note.sequence())
        {
            state.noted = Some(note);
        }
        let bytes = item.frame.len();
        if state.bytes + bytes > WAITING_BYTES_MAX || state.is_over {
            self.miss(&mut state, part, vec![item]);
            return;
        }
        state.bytes += bytes;
        if let Some(part) = state.parts.get_mut(part) {
            part.bytes += bytes;
            part.waiting.push_back(item);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Sends a deletion, which is done when it comes back; its number. `None`: it is too large for
    /// an entry.
    pub(super) fn delete(&self, tenant: &str, now_ms: i64, deletion: &Deletion) -> Option<u64> {
        let part = Partition::of(tenant).number();
        let number = self.state.lock().book.begin();
        let Some(frame) = entry::write_deletion((tenant, now_ms, number), deletion) else {
            self.state.lock().book.done(&[number]);
            return None;
        };
        let item = Item {
            number,
            began: None,
            frame,
            rests: Rests::Nowhere,
            promise: None,
        };
        self.push(part, item, None);
        Some(number)
    }

    /// These do not go to the others now.
    fn miss(&self, state: &mut State, part: usize, items: Vec<Item>) {
        let stays = |item: &&Item| item.rests != Rests::Nowhere;
        let numbers: Vec<u64> = items.iter().filter(stays).map(|item| item.number).collect();
        state.book.missed(&numbers);
        for item in items {
            match item.rests {
                Rests::InLog => {}
                Rests::InMemory => {
                    state.kept_bytes += item.frame.len();
                    state.kept.push_back((part, item.number, item.frame));
                }
                Rests::Nowhere => state.book.done(&[item.number]),
            }
            if let Some(promise) = item.promise {
                promise.complete(Ok(()));
            }
        }
        while state.kept_bytes > KEPT_BYTES_MAX
            && let Some((_, number, frame)) = state.kept.pop_front()
        {
            state.kept_bytes -= frame.len();
            self.figures.lost_bytes.add(frame.len() as u64);
            state.book.sent_again(number, number + 1);
        }
        self.wake_again.notify_one();
    }

    // Sending.

    /// Sends what waits until [`Self::close`]; on a thread of its own.
    pub(super) fn send(self: &Arc<Self>, mut packer: Packer) {
        loop {
            let mut state = self.state.lock();
            let (part, items) = loop {
                if state.is_over {
                    return;
                }
                if self.is_alone() {
                    self.let_go(&mut state);
                } else if self.is_connected()
                    && let Some(next) = next(&mut state)
                {
                    break next;
                }
                self.wake.wait_for(&mut state, LOOK);
            };
            drop(state);
            self.send_items(&mut packer, part, items);
        }
    }

    /// Whoever waits does no longer: the others cannot be reached.
    fn let_go(&self, state: &mut State) {
        let flights: Vec<Flight> = state.flights.drain().map(|(_, flight)| flight).collect();
        for flight in flights {
            self.miss(state, flight.part, flight.items);
        }
        for number in 0..state.parts.len() {
            let Some(part) = state.parts.get_mut(number) else {
                continue;
            };
            part.under_way = 0;
            part.bytes = 0;
            let items: Vec<Item> = part.waiting.drain(..).collect();
            if !items.is_empty() {
                self.miss(state, number, items);
            }
        }
        state.bytes = 0;
    }

    fn send_items(self: &Arc<Self>, packer: &mut Packer, part: usize, items: Vec<Item>) {
        {
            let mut began = self.began.lock();
            if began.len() > BEGAN_MAX {
                began.clear();
            }
            let known = items.iter();
            began.extend(known.filter_map(|item| Some((item.number, item.began?))));
        }
        let frames = items.iter().map(|item| item.frame.as_slice());
        let told = self.publish(packer, part, frames);
        let flight = Flight { part, items };
        if let Err(Refused::TooLarge { .. }) = told {
            // Nobody will ever get it: its sender is answered by the log alone.
            self.landed(flight, true);
            return;
        }
        let mut state = self.state.lock();
        let number = state.next_flight;
        state.next_flight += 1;
        let Ok(told) = told else {
            drop(state);
            self.landed(flight, false);
            return;
        };
        state.flights.insert(number, flight);
        drop(state);
        let this = Arc::clone(self);
        self.runtime.spawn(async move {
            let is_there = told.await.is_some();
            let flight = this.state.lock().flights.remove(&number);
            if let Some(flight) = flight {
                this.landed(flight, is_there);
            }
        });
    }

    /// Has the bus send an entry of these. What is too large for it is lost to the others, which
    /// is counted and said here.
    fn publish<'a>(
        &self,
        packer: &mut Packer,
        part: usize,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Told, Refused> {
        let key = Partition::new(part).unwrap_or_else(|| Partition::of(""));
        let key = key.feed(Kind::Ingest);
        let entry = packer.pack(self.clock.now_ms(), &self.me, frames);
        let bytes = entry.len() as u64;
        let told = self.bus.publish_told(&key, None, entry.into());
        match &told {
            Ok(_) => {
                self.figures.sent.add(1);
                self.figures.sent_bytes.add(bytes);
            }
            Err(error @ Refused::TooLarge { .. }) => {
                self.figures.lost_bytes.add(bytes);
                tracing::error!(%error, "samples that this server has taken will never be with the others");
            }
            Err(error @ Refused::Full(_)) => {
                tracing::debug!(%error, "samples are sent to the others later");
            }
        }
        told
    }

    fn landed(&self, flight: Flight, is_there: bool) {
        let Flight { part, items } = flight;
        let mut state = self.state.lock();
        if let Some(part) = state.parts.get_mut(part) {
            part.under_way = part.under_way.saturating_sub(1);
        }
        if is_there {
            let numbers: Vec<u64> = items.iter().map(|item| item.number).collect();
            state.book.done(&numbers);
            drop(state);
            for promise in items.into_iter().filter_map(|item| item.promise) {
                promise.complete(Ok(()));
            }
        } else {
            self.miss(&mut state, part, items);
            drop(state);
        }
        self.wake.notify_one();
    }

    // Sending again.

    /// Sends what was missed whenever the others can be reached; on a thread of its own.
    pub(super) fn send_again(&self, mut packer: Packer) {
        let mut unread = BTreeSet::new();
        loop {
            let (missed, noted) = {
                let mut state = self.state.lock();
                if state.is_over {
                    return;
                }
                if state.book.to_be_sent().is_empty() {
                    self.wake_again.wait_for(&mut state, LOOK);
                    continue;
                }
                (state.book.to_be_sent().clone(), state.noted.clone())
            };
            if !self.is_connected() {
                self.pause(LOOK);
                continue;
            }
            match self.send_missed(&mut packer, &missed, noted, &mut unread) {
                Round::Whole => {}
                Round::Broken => self.pause(LOOK),
                Round::Unread => self.pause(UNREAD_AGAIN),
            }
        }
    }

    /// Waits, unless all is over.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.is_over && !self.wake_again.wait_until(&mut state, until).timed_out() {}
    }

    /// Sends what was missed. Of `unread` segments of the log it was said before that they cannot
    /// be read.
    fn send_missed(
        &self,
        packer: &mut Packer,
        missed: &Stretches,
        noted: Option<Ticket>,
        unread: &mut BTreeSet<u32>,
    ) -> Round {
        if !self.send_kept(packer) {
            return Round::Broken;
        }
        let mut is_read = true;
        if let Some(history) = &self.history {
            if let Some(noted) = noted {
                // Where the disk fails there is no note, and the sender was told so.
                drop(noted.wait_blocking());
            }
            for segment in history.wal_segments() {
                if segment.number < self.own_from {
                    continue;
                }
                let mut frames = Vec::new();
                let read = history.read_notes(segment.number, |note| {
                    if let Some((head, _)) = entry::read_frame(note)
                        && missed.contains(head.number)
                    {
                        let part = Partition::of(head.tenant).number();
                        frames.push((part, head.number, note.to_vec()));
                    }
                });
                match read {
                    Ok(true) => {
                        unread.remove(&segment.number);
                    }
                    Ok(false) => self.say_unread(segment, unread, &"a part of it is damaged"),
                    // It was given back meanwhile: nothing in it was needed any more.
                    Err(_) if !has_segment(history, segment.number) => {}
                    Err(error) => {
                        self.say_unread(segment, unread, &error);
                        is_read = false;
                    }
                }
                frames.sort_by_key(|(part, number, _)| (*part, *number));
                if !self.send_frames(packer, &frames) {
                    return Round::Broken;
                }
            }
        }
        if !is_read {
            // What was not found may be there: it is not sent.
            return Round::Unread;
        }
        let mut state = self.state.lock();
        for (from, to) in missed.iter() {
            state.book.sent_again(from, to);
        }
        Round::Whole
    }

    fn say_unread(
        &self,
        segment: SegmentInfo,
        unread: &mut BTreeSet<u32>,
        error: &dyn std::fmt::Display,
    ) {
        if unread.insert(segment.number) {
            self.figures.unreadable_segments.add(1);
            tracing::error!(segment = segment.number, bytes = segment.bytes, %error, "a segment of the log cannot be read, so the others lack what is in it alone");
        }
    }

    /// Sends these, sorted by partition, as entries; whether all are there.
    fn send_frames(&self, packer: &mut Packer, frames: &[(usize, u64, Vec<u8>)]) -> bool {
        let mut rest = frames;
        while let Some((part, _, _)) = rest.first() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|(of, _, frame)| {
                bytes += frame.len() + 4;
                of == part && (bytes <= ENTRY_BYTES || bytes == frame.len() + 4)
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            let frames = now.iter().map(|(_, _, frame)| frame.as_slice());
            if !self.send_one_again(packer, *part, frames) {
                return false;
            }
            // One by one: what follows may fail, and these are not sent once more then.
            let mut state = self.state.lock();
            for (_, number, _) in now {
                state.book.sent_again(*number, number + 1);
            }
            drop(state);
            rest = later;
        }
        true
    }

    /// Sends what is in memory alone; whether all of it is there.
    fn send_kept(&self, packer: &mut Packer) -> bool {
        loop {
            let first = self.state.lock().kept.front().cloned();
            let Some((part, number, frame)) = first else {
                return true;
            };
            if !self.send_one_again(packer, part, std::iter::once(frame.as_slice())) {
                return false;
            }
            let mut state = self.state.lock();
            if state.kept.front().is_some_and(|(_, of, _)| *of == number) {
                state.kept_bytes -= frame.len();
                state.kept.pop_front();
            }
            state.book.sent_again(number, number + 1);
        }
    }

    /// Sends an entry and waits until it is there, and then for as long again: what is new has the
    /// other half. Whether it is there, or will never be.
    fn send_one_again<'a>(
        &self,
        packer: &mut Packer,
        part: usize,
        frames: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> bool {
        if self.state.lock().is_over || !self.is_connected() {
            return false;
        }
        let began = Instant::now();
        let count = frames.len() as u64;
        let told = match self.publish(packer, part, frames) {
            Ok(told) => told,
            Err(Refused::TooLarge { .. }) => return true,
            Err(Refused::Full(_)) => return false,
        };
        let told = async { tokio::time::timeout(TOLD_WITHIN, told).await };
        let is_there = matches!(self.runtime.block_on(told), Ok(Some(_)));
        if is_there {
            self.figures.resent.add(count);
        }
        std::thread::sleep(began.elapsed());
        is_there
    }

    // Keeping.

    /// Has the log keep what is still to be sent; up to which number all is with Redis.
    pub(super) fn keep(&self) -> u64 {
        let Some(history) = &self.history else {
            return self.state.lock().book.sent();
        };
        let current = history.current_wal_segment();
        let mut state = self.state.lock();
        let mut needed = state.book.needs_from(current);
        let is_behind = !state.book.to_be_sent().is_empty();
        drop(state);
        if is_behind {
            let segments = history.wal_segments();
            let before = needed;
            let held = segments.iter().filter(|one| one.number >= before);
            let mut bytes: u64 = held.clone().map(|one| one.bytes).sum();
            for one in held {
                if bytes <= HELD_BYTES_MAX {
                    break;
                }
                bytes -= one.bytes;
                needed = one.number + 1;
                self.figures.lost_bytes.add(one.bytes);
            }
            if needed != before {
                tracing::warn!(
                    bytes = HELD_BYTES_MAX,
                    "the others have been away for longer than is kept for them; they will lack the oldest of it"
                );
                self.state.lock().book.gave_up(needed);
            }
        }
        history.hold_wal(needed);
        self.state.lock().book.sent()
    }

    /// Frames that wait until the others can be reached.
    pub(super) fn backlog(&self) -> u64 {
        self.state.lock().book.backlog()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_flushed(&self) -> bool {
        self.state.lock().book.is_flushed()
    }

    /// Whether all that was taken here is with Redis.
    pub(super) fn is_all_sent(&self) -> bool {
        self.state.lock().book.is_all_sent()
    }

    /// Ends both threads; what waits is sent by the next run.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        self.let_go(&mut state);
        drop(state);
        self.wake.notify_all();
        self.wake_again.notify_all();
    }
}

fn has_segment(history: &History, number: u32) -> bool {
    let segments = history.wal_segments();
    segments.iter().any(|segment| segment.number == number)
}

/// The next partition of which something may be sent, and that.
fn next(state: &mut State) -> Option<(usize, Vec<Item>)> {
    let count = state.parts.len();
    let number = (0..count)
        .map(|ahead| (state.turn + ahead) % count)
        .find(|number| {
            state.parts.get(*number).is_some_and(|part| {
                let most = match part.bytes >= ENTRY_BYTES {
                    true => UNDER_WAY_MAX,
                    false => UNDER_WAY,
                };
                !part.waiting.is_empty() && part.under_way < most
            })
        })?;
    state.turn = number + 1;
    let part = state.parts.get_mut(number)?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(item) = part.waiting.front()
        && (items.is_empty() || bytes + item.frame.len() + 4 <= ENTRY_BYTES)
    {
        bytes += item.frame.len() + 4;
        items.extend(part.waiting.pop_front());
    }
    part.under_way += 1;
    let frames: usize = items.iter().map(|item| item.frame.len()).sum();
    part.bytes -= frames;
    state.bytes -= frames;
    Some((number, items))
}

impl Share for Outgoing {
    fn begin(&self, tenant: &str) -> u64 {
        self.order(Partition::of(tenant).number())
    }

    fn take(&self, taken: &Taken<'_>) -> Vec<Ticket> {
        let part = Partition::of(taken.tenant).number();
        if taken.is_ordered {
            self.order_matters(part);
        }
        let mut tickets = Vec::new();
        WRITER.with_borrow_mut(|writer| {
            writer.write(
                (taken.tenant, taken.now_ms),
                taken.batch,
                taken.refused,
                || self.state.lock().book.begin(),
                |number, frame| {
                    // Where the log takes nothing the samples' own record says so; it may be
                    // full for this moment alone.
                    let note = self.history.as_ref();
                    let note = note.and_then(|history| history.append_note(&frame).ok());
                    let (promise, ticket) = Ticket::promised();
                    tickets.push(ticket);
                    let item = Item {
                        number,
                        began: Some(taken.began),
                        frame,
                        rests: match note {
                            Some(_) => Rests::InLog,
                            None => Rests::InMemory,
                        },
                        promise: Some(promise),
                    };
                    self.push(part, item, note);
                },
            );
        });
        tickets
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
