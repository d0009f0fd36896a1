//! Appending: the only way in for samples.
//!
//! ```text
//! batch ──▶ bounds of time ──▶ series found or made ──▶ window ──▶ taps
//!                                                        └──▶ history's log ──▶ ticket
//! ```
//!
//! A batch's rows are sorted by shard, so each shard is locked once a batch. What is refused is
//! counted per reason and tenant and given back with its line.

use std::{
    cell::RefCell,
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering},
};

use pulseboard_history::{
    Definition, SampleRecord, SeriesId,
    log::{LogError, Ticket},
    part_of,
};
use pulseboard_series::{
    Batch, Kind, Reason, Row, batch::Refused, is_stale_marker, limits::REFUSED_KEPT_MAX,
};

use crate::{
    engine::{Engine, fingerprint},
    late::{LATE_SAMPLE_BYTES, Late},
    slot::SlotRef,
    table::{Entry, SHARDS, Shard, shard_of},
    tenant::{TENANTS_MAX, Tenant},
    window::{Pushed, Sample, Scratch, WindowCopy},
};

/// A record of the log is ended when it has so many bytes; the log takes 16 MiB at most, and a
/// body of the largest size makes more.
const RECORD_BYTES_MAX: usize = 4 << 20;

/// Places of rows that a thread keeps room for; there may be many threads, and few batches are larger.
const ORDER_KEPT_MAX: usize = 256 * 1024;

/// Rows of a shard whose series are fetched from memory together. More: the processor keeps some ten
/// fetches under way and its first cache holds some sixty series.
const TOUCHED_TOGETHER: usize = 32;

/// A shard with fewer series is in the processor's caches as it is.
const TOUCHED_FROM: usize = 256;

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
    /// Takes a batch in. Never waits for a disk or a reader; see [`Persistence`] for what the caller
    /// waits for.
    pub fn append(&self, tenant: &Arc<Tenant>, batch: &Batch, now_ms: i64) -> Appended {
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, false, buffers))
    }

    /// As [`Engine::append`] for what the server itself measures: series that are reserved may be
    /// among it.
    pub fn append_own(&self, tenant: &Arc<Tenant>, batch: &Batch, now_ms: i64) -> Appended {
        BUFFERS.with_borrow_mut(|buffers| self.append_with(tenant, batch, now_ms, true, buffers))
    }

    fn append_with(
        &self,
        tenant: &Arc<Tenant>,
        batch: &Batch,
        now_ms: i64,
        is_own: bool,
        buffers: &mut Buffers,
    ) -> Appended {
        let history = self.history.as_ref();
        let mut taking = Taking {
            engine: self,
            tenant,
            batch,
            now_ms,
            is_own,
            segment: history.map_or(0, |history| history.current_wal_segment()),
            failures: history.map_or(0, |history| history.log_failures()),
            oldest_ms: None,
            late: 0,
            generation: self.generation(),
            accepted: 0,
            replaced: 0,
            trouble: None,
            ticket: None,
            refused_rows: Vec::new(),
            refused: batch.refused().iter().cloned().map(ByLine).collect(),
            refused_by_code: *batch.refused_by_code(),
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
        if !buffers.record.is_empty() {
            taking.hand_on(&mut buffers.record);
        }
        if buffers.order.capacity() > ORDER_KEPT_MAX {
            buffers.order = Vec::new();
        }
        let persistence = taking.persistence();
        taking.end(persistence)
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

/// One batch on its way in.
struct Taking<'a> {
    engine: &'a Engine,
    tenant: &'a Arc<Tenant>,
    batch: &'a Batch,
    now_ms: i64,
    /// See [`Engine::append_own`].
    is_own: bool,
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
    /// See [`Appended::refused_rows`].
    refused_rows: Vec<u32>,
    /// The first lines refused, the last of them on top.
    refused: BinaryHeap<ByLine>,
    refused_by_code: [u64; Reason::CODES.len()],
}

/// Orders refusals by their lines.
struct ByLine(Refused);

impl PartialEq for ByLine {
    fn eq(&self, other: &Self) -> bool {
        self.0.line == other.0.line
    }
}

impl Eq for ByLine {}

impl PartialOrd for ByLine {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByLine {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.line.cmp(&other.0.line)
    }
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
                None => match self.make(number, row, hash) {
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
            if entry.is_reserved && !self.is_own {
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
            if entry.is_before_window(at_ms, self.now_ms - self.engine.options.window_ms) {
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
            // earlier ones of them, may have been lost. If it fails from now on, the ticket says so.
            (None, Some(_)) if history.log_failures() != self.failures => {
                Persistence::NotDurable(history.newest_log_error())
            }
            (None, Some(ticket)) => Persistence::Pending(ticket),
            (None, None) => Persistence::InMemory,
        }
    }

    /// Counts, and says what became of the batch.
    fn end(self, persistence: Persistence) -> Appended {
        self.tenant
            .count(self.accepted, self.replaced, &self.refused_by_code);
        if self.late > 0 {
            self.tenant.note_late(self.now_ms);
            self.engine
                .late_samples
                .fetch_add(self.late, Ordering::Relaxed);
        }
        let refused = self.refused.into_sorted_vec();
        Appended {
            accepted: self.accepted,
            refused: refused.into_iter().map(|by_line| by_line.0).collect(),
            refused_total: self.refused_by_code.iter().sum(),
            refused_rows: self.refused_rows,
            refused_by_code: self.refused_by_code,
            persistence,
        }
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
        let newest_ms = self.now_ms + self.engine.options.ahead_ms;
        if row.at_ms < self.now_ms - self.engine.options.window_ms {
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
        if row.at_ms > newest_ms {
            return Err(Reason::InFuture {
                at_ms: row.at_ms,
                newest_ms,
            });
        }
        Ok(row.at_ms)
    }

    #[cold]
    fn make(&self, shard: usize, row: &Row, hash: u64) -> Result<Entry, Reason> {
        debug_assert_eq!(shard, shard_of(hash));
        let max = self.engine.options.series_max;
        let key = self.batch.key(row);
        if !self.is_own && self.tenant.reserved.lock().contains(key.as_bytes()) {
            return Err(Reason::Reserved(key.to_string()));
        }
        if self.engine.is_full_for(self.tenant) {
            return Err(Reason::WindowFull);
        }
        if !self.engine.list(self.tenant) {
            return Err(Reason::TenantLimit(TENANTS_MAX));
        }
        if self.tenant.series.fetch_add(1, Ordering::Relaxed) >= max {
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
        let entry = self
            .engine
            .make_entry(self.tenant, id, key, hash, (kind, unit));
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
        self.refused_rows.push(index);
        self.refused_by_code[reason.index()] += 1;
        // Rows come shard by shard: what is kept is the first lines of the body.
        if self.refused.len() == REFUSED_KEPT_MAX {
            if self.refused.peek().is_none_or(|last| last.0.line <= line) {
                return;
            }
            self.refused.pop();
        }
        self.refused.push(ByLine(Refused { line, reason }));
    }
}

impl Entry {
    /// Takes a sample into the window that comes now.
    pub(crate) fn take(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> Pushed {
        self.arrived(now_ms, now_ms);
        self.take_in(at_ms, value, now_ms, scratch)
    }

    /// Something came at a moment; one that has not been yet was when the clock was ahead.
    pub(crate) fn arrived(&mut self, arrived_ms: i64, now_ms: i64) {
        self.arrived_ms = if self.arrived_ms > now_ms {
            arrived_ms
        } else {
            self.arrived_ms.max(arrived_ms)
        };
    }

    /// As [`Entry::take`], whenever it came.
    pub(crate) fn take_in(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> Pushed {
        let pushed = self.window.push(at_ms, value, scratch);
        if at_ms > now_ms {
            self.take_ahead(at_ms, value, now_ms);
            return pushed;
        }
        let before = self.newest_at(now_ms);
        self.is_ahead = false;
        match before {
            Some((last_ms, _)) if at_ms > last_ms => {
                self.learn_interval(at_ms - last_ms);
                self.last = Some((at_ms, value));
                self.is_ended = is_stale_marker(value);
            }
            Some((last_ms, _)) if at_ms == last_ms => self.last = Some((at_ms, value)),
            Some(last) => {
                self.last = Some(last);
                self.late_count = self.late_count.wrapping_add(1);
            }
            None => {
                // What was made of its past is void where the clock was set back.
                if self.last.is_some() {
                    self.late_count = self.late_count.wrapping_add(1);
                }
                self.last = Some((at_ms, value));
                self.is_ended = is_stale_marker(value);
            }
        }
        pushed
    }

    fn take_ahead(&mut self, at_ms: i64, value: f64, now_ms: i64) {
        let last_ms = self.last.map_or(i64::MIN, |last| last.0);
        let newest_ms = self.ahead_ms.max(last_ms);
        if newest_ms != i64::MIN && at_ms > newest_ms {
            self.learn_interval(at_ms - newest_ms);
        }
        // What has come of age meanwhile is ahead no more.
        if self.ahead_ms <= now_ms {
            self.last = self.newest_at(now_ms);
        }
        self.ahead_ms = self.ahead_ms.max(at_ms);
        self.is_ahead = true;
        // That there will be no more holds at once.
        self.is_ended = is_stale_marker(value);
    }

    /// The newest sample that came and is not ahead of the clock.
    pub(crate) fn newest_at(&self, now_ms: i64) -> Option<Sample> {
        let last = self.last.filter(|last| last.0 <= now_ms);
        if !self.is_ahead {
            return last;
        }
        let of_age = self.window.newest_at(now_ms);
        match (last, of_age) {
            (Some(last), Some(of_age)) if of_age.0 > last.0 => Some(of_age),
            (None, of_age) => of_age,
            (last, _) => last,
        }
    }

    /// Whether a sample of this time is kept apart from the window: it is older than the window is
    /// to reach, and than what is in it.
    pub(crate) fn is_before_window(&self, at_ms: i64, window_from_ms: i64) -> bool {
        at_ms < window_from_ms
            && self
                .window
                .oldest_ms()
                .is_none_or(|oldest_ms| at_ms < oldest_ms)
    }

    /// Takes a sample in that is older than the window.
    pub(crate) fn take_late(&mut self, at_ms: i64, value: f64, now_ms: i64, segment: u32) {
        if self.arrived_ms == i64::MIN {
            self.arrived_ms = at_ms;
        }
        // What was made of its past is void.
        self.late_count = self.late_count.wrapping_add(1);
        if self.unsealed_segment == 0 {
            self.unsealed_segment = segment;
            self.unsealed_ms = i64::MAX;
        }
        self.keep_late((at_ms, value), now_ms);
    }

    fn keep_late(&mut self, sample: Sample, now_ms: i64) {
        match &mut self.late {
            Some(late) => late.push(sample, now_ms),
            None => self.late = Some(Box::new(Late::new(sample, now_ms))),
        }
    }

    /// Its samples of `from_ms..to_ms` in memory, copied; blocks are shared.
    pub(crate) fn copy(&self, from_ms: i64, to_ms: i64) -> WindowCopy {
        let mut copy = self.window.copy(from_ms, to_ms);
        if let Some(late) = &self.late {
            late.copy(from_ms, to_ms, &mut copy.late);
        }
        copy
    }

    /// Time of the oldest sample that a view of the history may not have; the greatest number when
    /// there is none.
    pub(crate) fn oldest_unknown_ms(&self) -> i64 {
        let of_late = self.late.as_ref().map(|late| late.oldest_ms());
        let of_window = (self.unsealed_segment != 0).then_some(self.unsealed_ms);
        of_late
            .into_iter()
            .chain(of_window)
            .min()
            .unwrap_or(i64::MAX)
    }

    /// Time of the oldest sample that is in the log alone; the greatest number when all are
    /// sealed.
    pub(crate) fn oldest_unsealed_ms(&self) -> i64 {
        if self.unsealed_segment == 0 {
            return i64::MAX;
        }
        let late = self.late.as_ref().filter(|late| late.unsealed() > 0);
        late.map_or(self.unsealed_ms, |late| {
            self.unsealed_ms.min(late.oldest_ms())
        })
    }

    /// Remembers that a sample is in the log alone; whether it is kept beside the window, too.
    pub(crate) fn note_unsealed(
        &mut self,
        at_ms: i64,
        value: f64,
        now_ms: i64,
        segment: u32,
    ) -> bool {
        if segment == 0 {
            return false;
        }
        if self.unsealed_segment == 0 {
            self.unsealed_segment = segment;
            self.unsealed_ms = i64::MAX;
        }
        if at_ms > self.sealed_ms {
            self.unsealed_ms = self.unsealed_ms.min(at_ms);
            return false;
        }
        self.keep_late((at_ms, value), now_ms);
        true
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
