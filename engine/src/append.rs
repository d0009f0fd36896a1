//! Appending: the only way in for samples.
//!
//! ```text
//! batch ──▶ bounds of time ──▶ series found or made ──▶ window ──▶ taps
//!                                                        └──▶ history's log ──▶ ticket
//! ```
//!
//! A batch's rows are sorted by shard, so each shard is locked once a batch. What is refused is
//! counted per reason and tenant and given back with its line.

mod refusals;

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering},
};

use pulseboard_history::{
    Definition, SampleRecord, SeriesId,
    log::{LogError, Ticket},
    part_of,
};
use pulseboard_series::{Batch, Kind, Reason, Row, batch::Refused, is_stale_marker};

use self::refusals::Refusals;
use crate::{
    engine::{Engine, fingerprint},
    late::LATE_SAMPLE_BYTES,
    onward::Onward,
    share::{Share, Taken},
    slot::SlotRef,
    table::{Entry, SHARDS, Shard, shard_of},
    tenant::{TENANTS_MAX, Tenant},
    window::{Pushed, Scratch},
};

/// A record of the log is ended when it has so many bytes; the log takes 16 MiB at most, and a
/// body of the largest size makes more.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// Places of rows that a thread keeps room for; there may be many threads, and few batches are
/// larger.
const ORDER_KEPT_MAX: usize = 256 * 1024;

/// Rows of a shard whose series are fetched from memory together. More: the processor keeps some
/// ten fetches under way and its first cache holds some sixty series.
const TOUCHED_TOGETHER: usize = 32;

/// A shard with fewer series is in the processor's caches as it is.
const TOUCHED_FROM: usize = 256;

/// So many series that tell of what is scraped may be there past a tenant's bound: this, and one
/// for so many of the bound. Fewer: a target whose samples filled it up is not known to be up.
/// More: the bound says less.
const TELLING_MIN: u64 = 100;
const TELLING_PART: u64 = 10;

/// What became of a batch.
#[derive(Debug)]
pub struct Appended {
    /// Samples taken; duplicates of what was there count too.
    pub accepted: u64,
    /// The first lines refused, by parser or engine, sorted by line.
    pub refused: Vec<Refused>,
    /// Places in the batch of the rows that the engine refused, in no order.
    pub refused_rows: Vec<u32>,
    /// All lines refused, by [`Reason::CODES`].
    pub refused_by_code: [u64; Reason::CODES.len()],
    /// All lines refused.
    pub refused_total: u64,
    /// Whether the samples are safe.
    pub persistence: Persistence,
    /// When they are safe with whom they are sent on to, too; see [`crate::Onward`] and
    /// [`crate::Share`].
    pub onward: Vec<Ticket>,
    /// Whether what this leaves depends on the order of batches; see
    /// [`Taken::is_ordered`](crate::Taken::is_ordered).
    pub is_ordered: bool,
}

/// How safe the samples of a batch are.
#[derive(Debug)]
pub enum Persistence {
    /// There is no history, or nothing was taken: nothing to wait for.
    InMemory,
    /// They are when this ticket says so.
    Pending(Ticket),
    /// The history cannot take them now: they are in memory alone.
    NotDurable(LogError),
}

/// Buffers of one thread that appends.
#[derive(Default)]
struct Buffers {
    /// Places in the batch, sorted by shard.
    order: Vec<u32>,
    record: SampleRecord,
    scratch: Scratch,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Engine {
    /// Takes a batch in. Never waits for a disk or a reader; see [`Persistence`] for what the
    /// caller waits for.
    pub fn append(&self, tenant: &Arc<Tenant>, batch: &Batch, now_ms: i64) -> Appended {
        let by = By::default();
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, by, buffers))
    }

    /// As [`Engine::append`] for what was scraped: rows from the place `telling_from` on tell of
    /// the target itself, and are taken a little past the bound of series, so that it is known of a
    /// target whose samples filled it up.
    pub fn append_scraped(
        &self,
        tenant: &Arc<Tenant>,
        batch: &Batch,
        now_ms: i64,
        telling_from: usize,
    ) -> Appended {
        let by = By {
            telling_from,
            ..By::default()
        };
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, by, buffers))
    }

    /// As [`Engine::append`] for what the server itself measures: series that are reserved may be
    /// among it.
    pub fn append_own(&self, tenant: &Arc<Tenant>, batch: &Batch, now_ms: i64) -> Appended {
        let by = By {
            is_own: true,
            ..By::default()
        };
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, by, buffers))
    }

    /// As [`Engine::append`] for what another server has taken in, and what this one has taken in
    /// and is to have in the order of all: it is taken whatever its times, a little past the bound
    /// of series, and goes no further. `again`: it was counted when it came.
    pub fn append_shared(
        &self,
        tenant: &Arc<Tenant>,
        batch: &Batch,
        now_ms: i64,
        again: bool,
    ) -> Appended {
        let by = By {
            telling_from: 0,
            is_shared: true,
            is_again: again,
            ..By::default()
        };
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, by, buffers))
    }

    fn append_with(
        &self,
        tenant: &Arc<Tenant>,
        batch: &Batch,
        now_ms: i64,
        by: By,
        buffers: &mut Buffers,
    ) -> Appended {
        let history = self.history.as_ref();
        let share = self.share.get().filter(|_| !by.is_own && !by.is_shared);
        let began = share.map_or(0, |share| share.begin(&tenant.name));
        let mut taking = Taking {
            engine: self,
            tenant,
            batch,
            now_ms,
            by,
            window_from_ms: now_ms - self.options.window_ms,
            newest_ms: now_ms + self.options.ahead_ms,
            segment: history.map_or(0, |history| history.current_wal_segment()),
            failures: history.map_or(0, |history| history.log_failures()),
            oldest_ms: None,
            late: 0,
            generation: self.generation(),
            accepted: 0,
            replaced: 0,
            trouble: None,
            ticket: None,
            onward: Vec::new(),
            refusals: Refusals::of(batch),
        };
        buffers.record.clear();
        if self.is_stuck.load(Ordering::Relaxed) {
            for (index, row) in (0..).zip(batch.rows()) {
                taking.refuse(index, row.line, Reason::WindowFull);
            }
            let reason = Reason::WindowFull.to_string();
            let persistence = Persistence::NotDurable(LogError::Degraded {
                reason: reason.into(),
            });
            return taking.end(persistence);
        }
        let starts = sort_by_shard(tenant, batch, &mut buffers.order);
        let mut from = 0;
        for (number, to) in starts.into_iter().enumerate() {
            let rows = buffers.order.get(from..to).unwrap_or_default();
            from = to;
            taking.take_shard(number, rows, &mut buffers.record, &mut buffers.scratch);
        }
        if let Some(share) = share
            && taking.accepted > 0
        {
            // Before the log: what stands there and is to be shared is known to be so.
            taking.onward.extend(share.take(&Taken {
                tenant: &tenant.name,
                batch,
                refused: &taking.refusals.rows,
                now_ms,
                began,
                is_ordered: taking.is_ordered(),
            }));
        }
        if !buffers.record.is_empty() {
            taking.hand_on(&mut buffers.record);
        }
        if buffers.order.capacity() > ORDER_KEPT_MAX {
            buffers.order = Vec::new();
        }
        if let Some(onward) = self.onward.get().filter(|_| !by.is_again) {
            let refused = &taking.refusals.rows;
            let tickets = match by.is_shared {
                false => onward.take(&tenant.name, batch, refused, now_ms),
                true => onward.take_shared(&tenant.name, batch, refused, now_ms),
            };
            taking.onward.extend(tickets);
        }
        let persistence = taking.persistence();
        taking.end(persistence)
    }

    /// Everything that comes in from now on is sent on by this, too. The first one stays.
    pub fn send_on(&self, onward: Arc<dyn Onward>) {
        drop(self.onward.set(onward));
    }

    /// Everything that comes in from now on, but for what the server itself measures, is shared
    /// with other servers by this. The first one stays.
    pub fn share_with(&self, share: Arc<dyn Share>) {
        drop(self.share.set(share));
    }

    /// Time of the oldest sample of a tenant that is taken now, Unix milliseconds.
    #[must_use]
    pub fn oldest_taken_ms(&self, tenant: &Tenant, now_ms: i64) -> i64 {
        let of_window_ms = now_ms - self.options.window_ms;
        let of_history_ms = self
            .history
            .as_ref()
            .map(|history| history.oldest_taken_ms(&tenant.name, now_ms));
        of_history_ms.map_or(of_window_ms, |oldest_ms| oldest_ms.min(of_window_ms))
    }

    /// Samples that are older than their windows and in memory until the history has had them for
    /// some seconds; maintenance takes them there.
    #[must_use]
    pub fn late_samples(&self) -> u64 {
        self.late_samples.load(Ordering::Relaxed)
    }

    /// Bytes that they take.
    #[must_use]
    pub fn late_bytes(&self) -> u64 {
        self.late_samples() * LATE_SAMPLE_BYTES
    }

    /// Whether memory is so short that this tenant gets no new series: an eighth is left to those
    /// who have less than their part.
    fn is_full_for(&self, tenant: &Tenant) -> bool {
        let max = self.options.memory_max_bytes;
        let held = self.held_bytes.load(Ordering::Relaxed);
        if held < max / 8 * 7 {
            return false;
        }
        held >= max || {
            let bytes = tenant.held_bytes.load(Ordering::Relaxed);
            let tenants = self.tenants();
            let all = tenants
                .iter()
                .map(|tenant| tenant.held_bytes.load(Ordering::Relaxed));
            tenants.len() > 1 && bytes > part_of(max / 8 * 7, all)
        }
    }
}

/// Who appends, and so what more than usual may be in a batch.
#[derive(Clone, Copy)]
struct By {
    /// See [`Engine::append_own`].
    is_own: bool,
    /// See [`Engine::append_scraped`].
    telling_from: usize,
    /// See [`Engine::append_shared`].
    is_shared: bool,
    /// It is counted already.
    is_again: bool,
}

impl Default for By {
    fn default() -> Self {
        Self {
            is_own: false,
            telling_from: usize::MAX,
            is_shared: false,
            is_again: false,
        }
    }
}

/// One batch on its way in.
struct Taking<'a> {
    engine: &'a Engine,
    tenant: &'a Arc<Tenant>,
    batch: &'a Batch,
    now_ms: i64,
    by: By,
    /// What is older is older than windows reach.
    window_from_ms: i64,
    /// What is newer is from the future.
    newest_ms: i64,
    /// The log's segment that what follows cannot be older than.
    segment: u32,
    /// As [`Engine::generation`] when the batch came.
    generation: u32,
    /// How often the log had failed when the batch came.
    failures: u32,
    /// Why the history did not take samples of this batch, or does not know a series of it.
    trouble: Option<LogError>,
    /// Of the newest record handed on. Those before it are safe when it is: the log fails all that
    /// wait together.
    ticket: Option<Ticket>,
    /// The oldest that the history takes, looked up when the first row needs it.
    oldest_ms: Option<i64>,
    /// How many were kept apart from their windows.
    late: u64,
    accepted: u64,
    replaced: u64,
    /// See [`Appended::onward`].
    onward: Vec<Ticket>,
    refusals: Refusals,
}

impl Taking<'_> {
    fn take_shard(
        &mut self,
        number: usize,
        rows: &[u32],
        record: &mut SampleRecord,
        scratch: &mut Scratch,
    ) {
        if rows.is_empty() {
            return;
        }
        let mut shard = self.engine.table.shard(number).lock();
        for (at, index) in rows.iter().enumerate() {
            if at % TOUCHED_TOGETHER == 0 && shard.len() >= TOUCHED_FROM {
                let next = &rows[at..rows.len().min(at + TOUCHED_TOGETHER)];
                self.touch(&shard, next);
            }
            let Some(row) = self.batch.rows().get(*index as usize) else {
                continue;
            };
            let at_ms = match self.check_time(row) {
                Ok(at_ms) => at_ms,
                Err(reason) => {
                    self.refuse(*index, row.line, reason);
                    continue;
                }
            };
            let key = self.batch.key(row);
            let hash = self.tenant.place(row.hash);
            let known = shard.find(self.tenant.number, hash, key.as_bytes());
            let slot = match known {
                Some(slot) => slot,
                // The end of what is not there is nothing.
                None if is_stale_marker(row.value) => {
                    self.accepted += 1;
                    continue;
                }
                None => match self.make(number, *index, row, hash) {
                    Ok(entry) => {
                        let id = entry.id;
                        let slot = shard.insert(entry);
                        let place = SlotRef {
                            shard: number as u8,
                            slot: u32::try_from(slot).unwrap_or(u32::MAX),
                            id,
                        };
                        Engine::enlist(self.tenant, key, place);
                        slot
                    }
                    Err(reason) => {
                        self.refuse(*index, row.line, reason);
                        continue;
                    }
                },
            };
            let Some(entry) = shard.get_mut(slot) else {
                continue;
            };
            if entry.is_reserved && !self.by.is_own {
                let reason = Reason::Reserved(key.to_string());
                self.refuse(*index, row.line, reason);
                continue;
            }
            self.accepted += 1;
            self.describe(entry, row);
            if entry.defined_in != self.generation && self.define(entry) {
                entry.defined_in = self.generation;
            }
            record.push(entry.id, at_ms, row.value);
            if record.as_bytes().len() >= RECORD_BYTES_MAX {
                self.hand_on(record);
            }
            if entry.is_before_window(at_ms, self.window_from_ms) {
                entry.take_late(at_ms, row.value, self.now_ms, self.segment);
                self.late += 1;
                continue;
            }
            let pushed = entry.take(at_ms, row.value, self.now_ms, scratch);
            // What is there already goes into the log again: when its first copy did not get to
            // the disk, its sender sends it again, and must not be told that all is well.
            if entry.note_unsealed(at_ms, row.value, self.now_ms, self.segment) {
                self.late += 1;
            }
            match pushed {
                Pushed::Same => continue,
                Pushed::Replaced => self.replaced += 1,
                Pushed::New => {}
            }
            if let Some(taps) = &entry.taps {
                for slot in taps.iter() {
                    slot.tap.gather(slot.number, (at_ms, row.value));
                }
            }
        }
    }

    /// Hands what has been gathered to the log, and begins anew.
    fn hand_on(&mut self, record: &mut SampleRecord) {
        if let Some(history) = &self.engine.history {
            match history.append_samples(record) {
                Ok(ticket) => self.ticket = Some(ticket),
                Err(error) => self.trouble = Some(error),
            }
        }
        record.clear();
    }

    /// Whether what has been handed on is safe.
    fn persistence(&mut self) -> Persistence {
        let Some(history) = &self.engine.history else {
            return Persistence::InMemory;
        };
        match (self.trouble.take(), self.ticket.take()) {
            (Some(error), _) => Persistence::NotDurable(error),
            // The log failed and came back meanwhile: definitions that these samples rely on, or
            // earlier ones of them, may have been lost. If it fails from now on, the ticket says
            // so.
            (None, Some(_)) if history.log_failures() != self.failures => {
                Persistence::NotDurable(history.newest_log_error())
            }
            (None, Some(ticket)) => Persistence::Pending(ticket),
            (None, None) => Persistence::InMemory,
        }
    }

    /// Counts, and says what became of the batch.
    fn end(self, persistence: Persistence) -> Appended {
        if !self.by.is_again {
            self.tenant
                .count(self.accepted, self.replaced, &self.refusals.by_code);
        }
        if self.late > 0 {
            self.tenant.note_late(self.now_ms);
            self.engine
                .late_samples
                .fetch_add(self.late, Ordering::Relaxed);
        }
        Appended {
            is_ordered: self.is_ordered(),
            accepted: self.accepted,
            refused_total: self.refusals.by_code.iter().sum(),
            refused_by_code: self.refusals.by_code,
            refused_rows: self.refusals.rows,
            refused: self.refusals.lines.into_sorted(),
            persistence,
            onward: self.onward,
        }
    }

    /// See [`Appended::is_ordered`].
    fn is_ordered(&self) -> bool {
        self.replaced > 0 || self.late > 0
    }

    /// Has what these rows are about to need fetched from memory all at once, where one after the
    /// other would each wait for its own: at 100 000 series most of an append is such waiting.
    fn touch(&self, shard: &Shard, rows: &[u32]) {
        let mut slots = [u32::MAX; TOUCHED_TOGETHER];
        for (slot, index) in slots.iter_mut().zip(rows) {
            let row = self.batch.rows().get(*index as usize);
            let guess = row.and_then(|row| shard.guess(self.tenant.place(row.hash)));
            *slot = guess.unwrap_or(u32::MAX);
        }
        let touched = slots.iter().fold(0, |sum, slot| sum ^ shard.touch(*slot));
        std::hint::black_box(touched);
    }

    /// Time of a row, if it may be taken: as old as the history keeps raw samples, or as memory
    /// reaches where there is none.
    fn check_time(&mut self, row: &Row) -> Result<i64, Reason> {
        if row.at_ms == Row::NOW {
            return Ok(self.now_ms);
        }
        if self.by.is_shared {
            // Whoever took it has looked, when it was as old as it was meant to be.
            return Ok(row.at_ms);
        }
        if row.at_ms < self.window_from_ms {
            let oldest_ms = *self
                .oldest_ms
                .get_or_insert_with(|| self.engine.oldest_taken_ms(self.tenant, self.now_ms));
            if row.at_ms < oldest_ms {
                return Err(Reason::TooOld {
                    at_ms: row.at_ms,
                    oldest_ms,
                });
            }
        }
        if row.at_ms > self.newest_ms {
            return Err(Reason::InFuture {
                at_ms: row.at_ms,
                newest_ms: self.newest_ms,
            });
        }
        Ok(row.at_ms)
    }

    #[cold]
    fn make(&self, shard: usize, index: u32, row: &Row, hash: u64) -> Result<Entry, Reason> {
        debug_assert_eq!(shard, shard_of(hash));
        let max = self.engine.options.series_max;
        let key = self.batch.key(row);
        if !self.by.is_own && self.tenant.reserved.lock().contains(key.as_bytes()) {
            return Err(Reason::Reserved(key.to_string()));
        }
        if self.engine.is_full_for(self.tenant) {
            return Err(Reason::WindowFull);
        }
        if !self.engine.tenants.list(self.tenant) {
            return Err(Reason::TenantLimit(TENANTS_MAX));
        }
        let past = match index as usize >= self.by.telling_from {
            true => TELLING_MIN.saturating_add(max / TELLING_PART),
            false => 0,
        };
        let most = max.saturating_add(past);
        if self.tenant.series.fetch_add(1, Ordering::Relaxed) >= most {
            self.tenant.series.fetch_sub(1, Ordering::Relaxed);
            return Err(Reason::SeriesLimit(max));
        }
        let key = key.as_bytes();
        let known = self.engine.history.as_ref().and_then(|_| {
            let fingerprint = fingerprint(hash, key);
            let retired = self.engine.retired.lock().remove(&fingerprint);
            retired.map(|(id, _)| id)
        });
        let id =
            known.unwrap_or_else(|| SeriesId(self.engine.next_id.fetch_add(1, Ordering::Relaxed)));
        let (kind, unit) = self.batch.description(row);
        let mut entry = self
            .engine
            .make_entry(self.tenant, id, key, hash, (kind, unit));
        if known.is_some() {
            // What it had before it went is in the history alone.
            entry.lacks(self.newest_ms);
        }
        for held in [&self.engine.held_bytes, &self.tenant.held_bytes] {
            held.fetch_add(entry.held_bytes() as u64, Ordering::Relaxed);
        }
        Ok(entry)
    }

    /// Has the history keep what the series is, before any of its samples; whether it did.
    fn define(&mut self, entry: &Entry) -> bool {
        let Some(history) = &self.engine.history else {
            return true;
        };
        let definition = Definition {
            id: entry.id,
            tenant: self.tenant.name.clone(),
            key: entry.key.clone(),
            unit: (*entry.unit).into(),
            kind: entry.kind as u8,
            created_ms: self.now_ms,
        };
        match history.append_definition(&definition) {
            Ok(_) => true,
            Err(error) => {
                // Samples that nobody could name after a restart are not safe.
                self.engine.refusals.fetch_add(1, Ordering::Relaxed);
                self.trouble = Some(error);
                false
            }
        }
    }

    /// Takes over what the sender says of the series, where it says more than was known.
    fn describe(&mut self, entry: &mut Entry, row: &Row) {
        let (kind, unit) = self.batch.description(row);
        let says_kind = kind != Kind::Unknown && kind != entry.kind;
        let says_unit = !unit.is_empty() && *unit != *entry.unit;
        if says_kind || says_unit {
            if says_kind {
                entry.kind = kind;
            }
            if says_unit {
                entry.unit = self.engine.unit(unit);
            }
            if !self.define(entry) {
                entry.defined_in = u32::MAX;
            }
        }
    }

    #[cold]
    fn refuse(&mut self, index: u32, line: u32, reason: Reason) {
        self.refusals.add(index, Refused { line, reason });
    }
}

/// Sorts the places of a batch's rows by shard, keeping the order within each; the end of each
/// shard's stretch.
fn sort_by_shard(tenant: &Tenant, batch: &Batch, order: &mut Vec<u32>) -> [usize; SHARDS] {
    let rows = batch.rows();
    let mut ends = [0_usize; SHARDS];
    for row in rows {
        ends[shard_of(tenant.place(row.hash))] += 1;
    }
    let mut starts = [0_usize; SHARDS];
    let mut sum = 0;
    for (start, end) in starts.iter_mut().zip(&mut ends) {
        *start = sum;
        sum += *end;
        *end = sum;
    }
    order.clear();
    order.resize(rows.len(), 0);
    for (index, row) in (0_u32..).zip(rows) {
        let next = &mut starts[shard_of(tenant.place(row.hash))];
        order[*next] = index;
        *next += 1;
    }
    ends
}
