//! Notifications between "somebody is to be told" and "they were": on disk, at least once, with one
//! key for each, in order for each receiver and group.
//!
//! [`Outbox::put`] returns when a notification is on disk. From then on it is tried over each way
//! of its receiver until that went, can never go, or has been tried for a day. What was answered is
//! on disk before the next of the same group begins, so after `kill -9` nothing is lost, and what
//! was under way at that moment may arrive once more, with the same key. A resolved never comes
//! before its firing: a group's next notification waits for the one before it. Each way of each
//! receiver is a lane of its own with four tries at a time, so one that hangs holds up nobody else.
//!
//! Where the disk fails, a notification is kept in memory and sent all the same
//! ([`Accepted::Memory`]). What has no room is refused, counted and told ([`Event::Refused`]); what
//! waits is never dropped for it.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulseboard_history::log::{Durability, Log, LogOptions, Ticket};
use serde::Serialize;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod backoff;
mod delivery;
mod queue;
mod record;

pub use backoff::Backoff;
pub use delivery::{DELIVERIES, Delivery, DeliveryState};

use self::{
    delivery::Deliveries,
    queue::{Begun, Bounds, LaneKey, Queue, Try},
    record::{ACCEPTED, Accepted as AcceptedRecord, DONE, Replayed, TRIED, Tried},
};
use crate::{
    config::WayName,
    notification::Notification,
    outcome::{ASKED_PAUSE_MAX_MS, Outcome},
    send::now_ms,
};

/// The log is written anew when it is this much larger than what is in it.
const SPARE_BYTES: u64 = 8 << 20;
/// So is one of more files: each start begins another.
const SEGMENTS: usize = 64;
/// Bytes that are written anew before the disk is waited for.
const WRITTEN_AT_ONCE: usize = 1 << 20;
/// Of an error that is kept.
const WHY_CHARS: usize = 500;

/// One try of one notification over one way.
pub type Trying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Who sends: looked up at each try, so that what changes meanwhile holds.
pub trait Deliver: Send + Sync + 'static {
    /// The ways out of a receiver, each with whether it is told that alerts are over; nothing where
    /// there is no such receiver.
    fn ways(&self, tenant: &str, receiver: &str) -> Option<Vec<(WayName, bool)>>;

    /// Tries once.
    fn deliver(&self, notification: Arc<Notification>, way: WayName) -> Trying;
}

/// What an outbox is told.
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    /// Where it is kept, readable for nobody else; nothing: in memory only. Whoever opens it has
    /// seen to it that no other process does.
    pub folder: Option<PathBuf>,
    /// Notifications that may wait (default 10 000); for one tenant half of it, for one receiver a
    /// quarter.
    pub count: usize,
    /// Bytes of them (default 64 MiB).
    pub bytes: usize,
    /// Pauses between tries.
    pub backoff: Backoff,
    /// So long after it was made a notification is given up once it does not go (default a day):
    /// what is older is history, and the page has it.
    pub give_up_after: Duration,
}

impl Default for OutboxOptions {
    fn default() -> Self {
        Self {
            folder: None,
            count: 10_000,
            bytes: 64 << 20,
            backoff: Backoff::default(),
            give_up_after: Duration::from_secs(86_400),
        }
    }
}

/// What happened; told from the outbox's own tasks, so whoever listens is quick.
#[derive(Clone, Debug)]
pub enum Event {
    /// It has arrived.
    Delivered(Delivery),
    /// It did not go, and will be tried again.
    Retrying(Delivery),
    /// It is given up. Of a browser that has unsubscribed the state is [`DeliveryState::Gone`].
    Failed(Delivery),
    /// It was never taken: why.
    Refused {
        notification: Arc<Notification>,
        why: String,
    },
}

/// What [`Outbox::put`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// On disk (or, of an outbox without one, taken).
    Durable,
    /// The disk fails: it is sent, unless the process ends before.
    Memory,
    /// It waits or went already.
    Known,
    /// The receiver has no way out that would be told of this.
    Nobody,
}

/// Why a notification is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    #[error("there is no receiver {0:?}")]
    NoReceiver(String),
    #[error("{0}")]
    Full(String),
    #[error("the outbox is closed")]
    Closed,
}

/// Figures, since the outbox was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutboxStats {
    /// Notifications that have ways to go.
    pub waiting: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Ways gone, tries in vain, ways given up.
    pub delivered: u64,
    pub retries: u64,
    pub failed: u64,
    /// Notifications that had no room.
    pub refused: u64,
    /// Notifications and outcomes that are not on disk because it failed.
    pub undurable: u64,
    /// Records on disk that could not be read when it was opened.
    pub unreadable: u64,
}

/// Cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the outbox cannot be opened: {0}")]
pub struct OpenError(String);

/// The outbox. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

struct Inner {
    options: OutboxOptions,
    deliver: Arc<dyn Deliver>,
    listen: Box<dyn Fn(Event) + Send + Sync>,
    log: Option<Log>,
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    queue: Queue,
    done: Deliveries,
    stats: OutboxStats,
    /// The log is being written anew.
    is_compacting: bool,
}

impl Outbox {
    /// Opens the outbox and goes on with what waits. Reads the disk, so it is called where blocking
    /// is allowed, inside a Tokio runtime. Receivers are known to `deliver` before: what waits for
    /// one that is not there fails.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(
        options: OutboxOptions,
        deliver: Arc<dyn Deliver>,
        listen: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let mut replayed = Replayed::default();
        let log = match &options.folder {
            None => None,
            Some(folder) => {
                let log_options = LogOptions {
                    durability: Durability::Fsync,
                    segment_bytes: 4 << 20,
                    pending_bytes: 16 << 20,
                    ..LogOptions::default()
                };
                let opened = Log::open(folder, log_options, |kind, payload, _| {
                    replayed.take(kind, payload);
                });
                Some(opened.map_err(|error| OpenError(error.to_string()))?.0)
            }
        };
        let bounds = Bounds {
            count: options.count,
            bytes: options.bytes,
        };
        let mut state = State {
            queue: Queue::new(bounds, replayed.next_number()),
            done: Deliveries::default(),
            stats: OutboxStats {
                unreadable: replayed.unreadable,
                ..OutboxStats::default()
            },
            is_compacting: false,
        };
        let (open, done) = replayed.finish();
        for delivery in done {
            state.done.add(delivery);
        }
        let mut begun = Vec::new();
        for one in open {
            let ways = one.ways.into_iter().map(|(way, tried)| {
                let tried = tried.map(|tried| Try {
                    tries: tried.tries,
                    next_ms: tried.next_ms,
                    why: Some(tried.why),
                });
                (way, tried.unwrap_or_default())
            });
            let bytes = size_of(&one.notification);
            let ways = ways.collect();
            begun.extend(
                state
                    .queue
                    .add(one.number, one.notification, bytes, None, ways),
            );
        }
        let outbox = Self(Arc::new(Inner {
            options,
            deliver,
            listen: Box::new(listen),
            log,
            state: Mutex::new(state),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        outbox.look_after(begun);
        Ok(outbox)
    }

    /// Takes a notification over. It is on disk when this returns [`Accepted::Durable`]; dropping
    /// the future does not take it back. One that is known by its key is not taken twice.
    ///
    /// # Errors
    /// There is no such receiver, no room, or the outbox is closed.
    pub async fn put(&self, notification: Notification) -> Result<Accepted, PutError> {
        let inner = &*self.0;
        let notification = Arc::new(notification);
        let ways = inner
            .deliver
            .ways(&notification.tenant, &notification.receiver);
        let Some(ways) = ways else {
            let receiver = notification.receiver.clone();
            let error = PutError::NoReceiver(receiver);
            return Err(inner.refuse(notification, error));
        };
        let is_firing = notification.firing().next().is_some();
        let told = ways.into_iter();
        let told = told.filter(|(_, resolved)| is_firing || *resolved);
        let ways: Vec<WayName> = told.map(|(way, _)| way).collect();
        if ways.is_empty() {
            return Ok(Accepted::Nobody);
        }
        let bytes = size_of(&notification);
        let taken = {
            let mut state = inner.state.lock();
            if inner.stop.is_cancelled() {
                return Err(PutError::Closed);
            }
            if state.queue.knows(&notification) || state.done.knows(&notification) {
                return Ok(Accepted::Known);
            }
            match state.queue.has_room(&notification, bytes) {
                Err(why) => {
                    state.stats.refused += 1;
                    Err(PutError::Full(why))
                }
                Ok(()) => {
                    let number = state.queue.next_number;
                    let record = AcceptedRecord {
                        number,
                        ways: ways.clone(),
                        notification: Arc::clone(&notification),
                    };
                    // Under the lock, so that the order on disk is that of the numbers.
                    let ticket = inner.append(ACCEPTED, &record);
                    let ways = ways.into_iter().map(|way| (way, Try::default())).collect();
                    let ticket_kept = ticket.clone();
                    let begun = state.queue.add(
                        number,
                        Arc::clone(&notification),
                        bytes,
                        ticket_kept,
                        ways,
                    );
                    Ok((ticket, begun))
                }
            }
        };
        match taken {
            Err(error) => Err(inner.refuse(notification, error)),
            Ok((ticket, begun)) => {
                self.look_after(begun);
                Ok(match inner.written(ticket).await {
                    true => Accepted::Durable,
                    false => Accepted::Memory,
                })
            }
        }
    }

    /// Everything for this receiver is tried at once: its configuration was mended.
    pub fn retry_now(&self, tenant: &str, receiver: &str) {
        self.0.state.lock().queue.hurry(tenant, receiver);
    }

    /// A tenant's delivery log, the newest first, 1000 lines at most: what is under way and what is
    /// done.
    #[must_use]
    pub fn deliveries(&self, tenant: &str) -> Vec<Delivery> {
        let state = self.0.state.lock();
        let mut lines = state.queue.lines(tenant);
        lines.extend(state.done.of(tenant).cloned());
        drop(state);
        lines.sort_by_key(|line| std::cmp::Reverse((line.number, line.at_ms)));
        lines.truncate(DELIVERIES);
        lines
    }

    /// Figures as they are now.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        let state = self.0.state.lock();
        OutboxStats {
            waiting: state.queue.len(),
            bytes: state.queue.bytes(),
            ..state.stats
        }
    }

    /// Takes nothing more and begins no try; returns when those that are under way are over, or
    /// after `at_most`. What waits is there at the next start.
    pub async fn close(&self, at_most: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(at_most, self.0.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("notifications were under way when the time to stop was over");
        }
    }

    fn look_after(&self, begun: Vec<Begun>) {
        for (lane, group) in begun {
            let inner = Arc::clone(&self.0);
            self.0
                .tasks
                .spawn(async move { while inner.step(&lane, &group).await {} });
        }
    }
}

/// What a notification takes in memory, about.
fn size_of(notification: &Notification) -> usize {
    let texts = |map: &std::collections::BTreeMap<String, String>| {
        map.iter()
            .map(|(name, text)| name.len() + text.len() + 64)
            .sum::<usize>()
    };
    let alerts = notification.alerts.iter().map(|alert| {
        texts(&alert.labels) + texts(&alert.annotations) + alert.generator_url.len() + 200
    });
    let note = notification.note.as_ref().map_or(0, String::len);
    alerts.sum::<usize>()
        + texts(&notification.group_labels)
        + notification.group_key.len()
        + notification.external_url.len()
        + note
        + 500
}

/// What a try is to be made of.
struct Head {
    number: u64,
    notification: Arc<Notification>,
    ticket: Option<Ticket>,
    so_far: Try,
}

impl Inner {
    fn append(&self, kind: u8, record: &impl Serialize) -> Option<Ticket> {
        let log = self.log.as_ref()?;
        let payload = serde_json::to_vec(record).ok()?;
        log.append(kind, &payload).ok()
    }

    /// Whether a record is on disk, once that is known; without a disk always.
    async fn written(&self, ticket: Option<Ticket>) -> bool {
        if self.log.is_none() {
            return true;
        }
        let is_written = match &ticket {
            Some(ticket) => ticket.wait().await.is_ok(),
            None => false,
        };
        if !is_written {
            self.state.lock().stats.undurable += 1;
        }
        is_written
    }

    fn refuse(&self, notification: Arc<Notification>, error: PutError) -> PutError {
        (self.listen)(Event::Refused {
            notification,
            why: error.to_string(),
        });
        error
    }

    /// Sees to the first of a group; `false` where there is nothing more to do.
    async fn step(self: &Arc<Self>, lane: &LaneKey, group: &str) -> bool {
        let (head, permits, hurry) = {
            let mut state = self.state.lock();
            let Some(number) = state.queue.head(lane, group) else {
                return false;
            };
            let Some(kept) = state.queue.get(number) else {
                state.queue.done(lane, group, number);
                return true;
            };
            let head = Head {
                number,
                notification: Arc::clone(&kept.notification),
                ticket: kept.ticket.clone(),
                so_far: kept.open.get(&lane.way).cloned().unwrap_or_default(),
            };
            let Some(lane) = state.queue.lane(lane) else {
                return false;
            };
            (head, Arc::clone(&lane.permits), Arc::clone(&lane.hurry))
        };
        // Nobody is told of what could be forgotten and told again under another key.
        if let Some(ticket) = &head.ticket {
            drop(ticket.wait().await);
        }
        let left = head.so_far.next_ms.saturating_sub(now_ms());
        if head.so_far.tries > 0 && left > 0 {
            // A clock that steps back makes no pause longer than any that is asked for.
            let most = self.options.backoff.longest_ms.max(ASKED_PAUSE_MAX_MS);
            let pause = Duration::from_millis(left.unsigned_abs().min(most));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = hurry.notified() => {}
                () = self.stop.cancelled() => return false,
            }
        }
        let permit = tokio::select! {
            permit = permits.acquire() => permit,
            () = self.stop.cancelled() => return false,
        };
        if self.stop.is_cancelled() {
            return false;
        }
        let outcome = self.try_once(&head.notification, &lane.way).await;
        drop(permit);
        self.record(lane, group, head, outcome).await;
        true
    }

    /// One try, on a task of its own: what panics there ends one try and no lane.
    async fn try_once(&self, notification: &Arc<Notification>, way: &WayName) -> Outcome {
        let trying = self.deliver.deliver(Arc::clone(notification), way.clone());
        match tokio::spawn(trying).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Outcome::failed("it could not be made: a fault here"),
            Err(_) => Outcome::retry("the server was stopping"),
        }
    }

    async fn record(self: &Arc<Self>, lane: &LaneKey, group: &str, head: Head, outcome: Outcome) {
        let now = now_ms();
        if outcome == Outcome::Left {
            // On disk it is until the log is written anew; what is read there is left once more.
            let mut state = self.state.lock();
            return state.queue.done(lane, group, head.number);
        }
        let mut line = Delivery::of(head.number, &lane.way, &head.notification);
        line.tries = head.so_far.tries.saturating_add(1);
        line.at_ms = now;
        let cut = |why: String| crate::text::cut(&why, WHY_CHARS).into_owned();
        match outcome {
            Outcome::Sent | Outcome::Left => line.state = DeliveryState::Sent,
            Outcome::Failed { why } => {
                line.state = DeliveryState::Failed;
                line.error = Some(cut(why));
            }
            Outcome::Gone { why } => {
                line.state = DeliveryState::Gone;
                line.error = Some(cut(why));
            }
            Outcome::Retry { after_ms, why } => {
                let age = now.saturating_sub(head.notification.created_ms);
                let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
                if age >= self.options.give_up_after {
                    line.state = DeliveryState::Failed;
                    line.error = Some(cut(format!("given up after {} tries: {why}", line.tries)));
                } else {
                    let pause = self.options.backoff.pause_ms(line.tries, after_ms);
                    let pause = i64::try_from(pause).unwrap_or(i64::MAX);
                    line.state = DeliveryState::Retrying;
                    line.error = Some(cut(why));
                    line.next_ms = Some(now.saturating_add(pause));
                }
            }
        }
        let ticket = {
            let mut state = self.state.lock();
            match (line.state, line.next_ms) {
                (DeliveryState::Retrying, Some(next_ms)) => {
                    state.stats.retries += 1;
                    let why = line.error.clone().unwrap_or_default();
                    if let Some(kept) = state.queue.get_mut(head.number)
                        && let Some(one) = kept.open.get_mut(&lane.way)
                    {
                        one.tries = line.tries;
                        one.next_ms = next_ms;
                        one.why = Some(why.clone());
                    }
                    let tried = Tried {
                        number: head.number,
                        way: lane.way.clone(),
                        tries: line.tries,
                        next_ms,
                        why,
                    };
                    self.append(TRIED, &tried)
                }
                (how, _) => {
                    match how {
                        DeliveryState::Sent => state.stats.delivered += 1,
                        _ => state.stats.failed += 1,
                    }
                    state.queue.done(lane, group, head.number);
                    state.done.add(line.clone());
                    self.append(DONE, &line)
                }
            }
        };
        self.written(ticket).await;
        (self.listen)(match line.state {
            DeliveryState::Sent => Event::Delivered(line),
            DeliveryState::Retrying | DeliveryState::Waiting => Event::Retrying(line),
            DeliveryState::Failed | DeliveryState::Gone => Event::Failed(line),
        });
        self.compact_if_large();
    }

    /// Writes what is still of use anew, on a thread for it, once most of the log is of none.
    fn compact_if_large(self: &Arc<Self>) {
        let Some(log) = &self.log else {
            return;
        };
        let segments = log.segments();
        let on_disk: u64 = segments.iter().map(|segment| segment.bytes).sum();
        {
            let mut state = self.state.lock();
            let of_use = state.queue.bytes() + state.done.all().count() * 1000;
            let of_use = u64::try_from(of_use).unwrap_or(u64::MAX);
            let is_large = on_disk >= of_use.saturating_mul(2).saturating_add(SPARE_BYTES);
            if state.is_compacting || !(is_large || segments.len() > SEGMENTS) {
                return;
            }
            state.is_compacting = true;
        }
        let inner = Arc::clone(self);
        self.tasks.spawn_blocking(move || {
            if let Err(why) = inner.compact() {
                tracing::warn!(why, "the outbox's log was not written anew");
            }
            inner.state.lock().is_compacting = false;
        });
    }

    /// Blocks. Whatever is done meanwhile stands in segments that stay.
    fn compact(&self) -> Result<(), String> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let told = |error: pulseboard_history::log::LogError| error.to_string();
        let end = log.rotate().map_err(told)?;
        let (open, done) = {
            let state = self.state.lock();
            let open: Vec<_> = state
                .queue
                .iter()
                .map(|(number, kept)| {
                    let ways: Vec<_> = kept.open.clone().into_iter().collect();
                    (number, Arc::clone(&kept.notification), ways)
                })
                .collect();
            let done: Vec<Delivery> = state.done.all().cloned().collect();
            (open, done)
        };
        let mut written = 0_usize;
        let mut write = |kind: u8, record: Vec<u8>| {
            let ticket = log.append(kind, &record).map_err(told)?;
            // A few at a time, so that what others append has its room.
            written += record.len();
            if written >= WRITTEN_AT_ONCE {
                written = 0;
                ticket.wait_blocking().map_err(told)?;
            }
            Ok::<Ticket, String>(ticket)
        };
        let json = |error: serde_json::Error| error.to_string();
        let mut last = None;
        for (number, notification, ways) in open {
            let record = AcceptedRecord {
                number,
                ways: ways.iter().map(|(way, _)| way.clone()).collect(),
                notification,
            };
            last = Some(write(ACCEPTED, serde_json::to_vec(&record).map_err(json)?)?);
            for (way, one) in ways.into_iter().filter(|(_, one)| one.tries > 0) {
                let record = Tried {
                    number,
                    way,
                    tries: one.tries,
                    next_ms: one.next_ms,
                    why: one.why.unwrap_or_default(),
                };
                last = Some(write(TRIED, serde_json::to_vec(&record).map_err(json)?)?);
            }
        }
        for line in done {
            last = Some(write(DONE, serde_json::to_vec(&line).map_err(json)?)?);
        }
        // Each write is whole when the last is.
        if let Some(last) = last {
            last.wait_blocking().map_err(told)?;
        }
        log.remove_before(end).map_err(told)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
