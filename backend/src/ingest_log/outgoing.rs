//! What was taken in here, on its way to the others.
//!
//! A frame is in the history's log before its samples are, as a note, and waits here until a thread
//! puts it together with others of its partition, packs them, and has the bus append them; its
//! sender waits until that is done. While the others cannot be reached nobody waits: what is in the
//! log is sent from there afterwards, in order, and for half of the time at most. So is what a run
//! that was killed had not sent.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use pulseboard_bus::{Bus, Kind, Partition, State as Standing, Told, route::PARTITIONS};
use pulseboard_engine::{Share, Taken};
use pulseboard_history::{
    History,
    log::{Promise, Ticket},
};
use tokio::runtime::Handle;

use super::{
    book::Book,
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

/// Own frames that have not come back; past it all are taken in again when they do.
const BEGAN_MAX: usize = 200_000;

thread_local! {
    static WRITER: RefCell<Writer> = RefCell::default();
}

/// A frame that waits.
struct Item {
    number: u64,
    /// See [`Share::begin`]; `None` for what is to be done when it comes back.
    began: Option<u64>,
    frame: Vec<u8>,
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
    /// Without a disk: what the others have not got.
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
    /// Leaf lock.
    state: Mutex<State>,
    wake: Condvar,
}

impl Outgoing {
    pub(super) fn new(
        (bus, me): (Arc<dyn Bus>, Arc<str>),
        history: Option<Arc<History>>,
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
            state: Mutex::new(State {
                book,
                parts: (0..PARTITIONS).map(|_| Part::default()).collect(),
                bytes: 0,
                flights: HashMap::new(),
                next_flight: 0,
                turn: 0,
                kept: VecDeque::new(),
                kept_bytes: 0,
                is_over: false,
            }),
            wake: Condvar::new(),
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

    fn push(&self, part: usize, item: Item) {
        let mut state = self.state.lock();
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

    /// Sends a deletion, which is done when it comes back; its number.
    pub(super) fn delete(&self, tenant: &str, now_ms: i64, deletion: &Deletion) -> u64 {
        let part = Partition::of(tenant).number();
        let number = self.state.lock().book.begin();
        let frame = entry::write_deletion((tenant, now_ms, number), deletion);
        self.push(
            part,
            Item {
                number,
                began: None,
                frame,
                promise: None,
            },
        );
        number
    }

    /// These do not go to the others now.
    fn miss(&self, state: &mut State, part: usize, items: Vec<Item>) {
        let numbers: Vec<u64> = items.iter().map(|item| item.number).collect();
        state.book.missed(&numbers);
        for item in items {
            if self.history.is_none() {
                state.kept_bytes += item.frame.len();
                state.kept.push_back((part, item.number, item.frame));
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
            state.book.sent_again(number + 1);
        }
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
        let mut state = self.state.lock();
        let number = state.next_flight;
        state.next_flight += 1;
        let Some(told) = told else {
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

    fn publish<'a>(
        &self,
        packer: &mut Packer,
        part: usize,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Told> {
        let key = Partition::new(part)?.feed(Kind::Ingest);
        let entry = packer.pack(self.clock.now_ms(), &self.me, frames);
        let bytes = entry.len() as u64;
        match self.bus.publish_told(&key, None, entry.into()) {
            Ok(told) => {
                self.figures.sent.add(1);
                self.figures.sent_bytes.add(bytes);
                Some(told)
            }
            Err(error) => {
                tracing::debug!(%error, "samples are sent to the others later");
                None
            }
        }
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
        self.wake.notify_all();
    }

    // Sending again.

    /// Sends what was missed whenever the others can be reached; on a thread of its own.
    pub(super) fn send_again(&self, mut packer: Packer) {
        loop {
            let missed = {
                let mut state = self.state.lock();
                if state.is_over {
                    return;
                }
                if state.book.to_be_sent().is_none() {
                    self.wake.wait_for(&mut state, LOOK);
                }
                state.book.to_be_sent()
            };
            let Some(missed) = missed else { continue };
            if !self.is_connected() || !self.send_missed(&mut packer, missed) {
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Sends what was missed; whether all of it was.
    fn send_missed(&self, packer: &mut Packer, (from, to): (u64, u64)) -> bool {
        let Some(history) = &self.history else {
            return self.send_kept(packer);
        };
        for segment in history.wal_segments() {
            let mut frames: Vec<(u64, usize, Vec<u8>)> = Vec::new();
            let read = history.read_notes(segment.number, |note| {
                if let Some((head, _)) = entry::read_frame(note)
                    && (from..to).contains(&head.number)
                {
                    let part = Partition::of(head.tenant).number();
                    frames.push((head.number, part, note.to_vec()));
                }
            });
            if let Err(error) = read {
                tracing::debug!(%error, "a segment of the log cannot be read");
                continue;
            }
            frames.sort_by_key(|(number, part, _)| (*part, *number));
            let mut rest = frames.as_slice();
            while let Some((_, part, _)) = rest.first() {
                let mut bytes = 0;
                let fitting = rest.iter().take_while(|(_, of, frame)| {
                    bytes += frame.len() + 4;
                    of == part && (bytes <= ENTRY_BYTES || bytes == frame.len() + 4)
                });
                let (now, later) = rest.split_at(fitting.count().max(1));
                let frames = now.iter().map(|(_, _, frame)| frame.as_slice());
                if !self.send_one_again(packer, *part, frames) {
                    return false;
                }
                self.figures.resent.add(now.len() as u64);
                rest = later;
            }
        }
        self.state.lock().book.sent_again(to);
        true
    }

    fn send_kept(&self, packer: &mut Packer) -> bool {
        loop {
            let first = {
                let mut state = self.state.lock();
                let Some((part, number, frame)) = state.kept.front().cloned() else {
                    if let Some((_, to)) = state.book.to_be_sent() {
                        state.book.sent_again(to);
                    }
                    return true;
                };
                (part, number, frame)
            };
            let (part, number, frame) = first;
            if !self.send_one_again(packer, part, std::iter::once(frame.as_slice())) {
                return false;
            }
            self.figures.resent.add(1);
            let mut state = self.state.lock();
            if state.kept.front().is_some_and(|(_, of, _)| *of == number) {
                state.kept_bytes -= frame.len();
                state.kept.pop_front();
            }
        }
    }

    /// Sends an entry and waits until it is there, and then for as long again: what is new has the
    /// other half.
    fn send_one_again<'a>(
        &self,
        packer: &mut Packer,
        part: usize,
        frames: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        if self.state.lock().is_over || !self.is_connected() {
            return false;
        }
        let began = Instant::now();
        let Some(told) = self.publish(packer, part, frames) else {
            return false;
        };
        let told = async { tokio::time::timeout(TOLD_WITHIN, told).await };
        let is_there = matches!(self.runtime.block_on(told), Ok(Some(_)));
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
        let is_behind = state.book.to_be_sent().is_some();
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

    /// What waits for the others, in frames that have a number.
    pub(super) fn backlog(&self) -> u64 {
        let missed = self.state.lock().book.to_be_sent();
        missed.map_or(0, |(from, to)| to - from)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_flushed(&self) -> bool {
        let state = self.state.lock();
        state.bytes == 0 && state.flights.is_empty()
    }

    /// Ends both threads; what waits is sent by the next run.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_over = true;
        self.let_go(&mut state);
        drop(state);
        self.wake.notify_all();
    }
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
                    if let Some(history) = &self.history {
                        // Where the log takes nothing the samples' own record says so.
                        drop(history.append_note(&frame));
                    }
                    let (promise, ticket) = Ticket::promised();
                    tickets.push(ticket);
                    self.push(
                        part,
                        Item {
                            number,
                            began: Some(taken.began),
                            frame,
                            promise: Some(promise),
                        },
                    );
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
