//! Maintenance: what is old leaves the window, what is due is sealed into the history, what is
//! silent goes, and memory stays within its bound.
//!
//! One thread calls [`Engine::maintain`] every few seconds. It goes through the shards in small
//! slices, so that no writer waits for longer than one slice takes.
//!
//! ```text
//!             sealed_ms                  unsealed_ms … newest
//!  ───────────────┤ in the history, in memory ├───── in the log, in memory ─────▶ time
//!   older than the window: out of memory           older than SEAL_AGE: sealed
//! ```

pub(crate) mod state;

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::MutexGuard;

use pulseboard_history::{History, HistoryError, SealBatch, SeriesId, part_of, sort_last_wins};

use state::Maintenance;

use crate::{
    engine::{Engine, fingerprint},
    slot::SlotRef,
    table::{Entry, SHARDS},
    tap::SeriesName,
    window::{Sample, Scratch, WindowCopy},
};

/// Samples older than this are sealed. Longer: larger chunks, which pack better. Shorter: a
/// shorter log to read at start.
const SEAL_AGE_MS: i64 = 15 * 60_000;

/// Series are sealed at different moments, spread over this time.
const SEAL_SPREAD_MS: i64 = 5 * 60_000;

/// What came late is sealed after this time, so that its hours get few chunks; at once where there
/// is much of it.
const LATE_SEAL_AGE_MS: i64 = 60_000;
const LATE_MUCH_BYTES: u64 = 8 << 20;

/// What came late makes rollups void, each of them as often as something comes. So they are made
/// anew when nothing has come for a while, or when some wait for long or very many do.
const LATE_QUIET_MS: u64 = 10_000;
const LATE_WAITS_MS: u64 = 60_000;
const LATE_BLOCKS_MAX: u64 = 500_000;

/// Series whose newest sample is looked for in the history in one round.
const NEWEST_LOOKED_UP_MAX: usize = 1_024;

/// A log longer than this has everything sealed that is older than a minute, so that a start
/// does not take minutes.
const LOG_BYTES_MAX: u64 = 512 << 20;

/// Entries looked at under one lock.
const SLICE: usize = 512;

/// Series sealed in one transaction at most, and their samples about.
const SEAL_SERIES_MAX: usize = 4_096;
const SEAL_SAMPLES_MAX: usize = 1 << 20;

/// The window is not shortened below this.
const WINDOW_MIN_MS: u64 = 60_000;

/// A segment of the log is ended after this time, so that a quiet server's log does not grow for
/// days before any of it can go.
const SEGMENT_LASTS_MS: i64 = 5 * 60_000;

/// The age at which samples are sealed where the log is long or memory is short.
const SHORT_SEAL_AGE_MS: i64 = 60_000;

/// What one tenant has of the memory, and how far its windows reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    bytes: u64,
    window_ms: u64,
}

/// Where memory is nearly full, halves the windows of those who have more than their part, most
/// first, until that should do; where there is room again, lengthens all. Nobody who has no more
/// than its part is shortened for others.
fn fit(tenants: &mut [Memory], held_bytes: u64, max: u64, wanted: u64) {
    let full = max / 10 * 9;
    if held_bytes < max / 10 * 6 {
        for tenant in tenants {
            tenant.window_ms = (tenant.window_ms + tenant.window_ms / 4).min(wanted);
        }
        return;
    }
    if held_bytes <= full {
        return;
    }
    let part = part_of(full, tenants.iter().map(|tenant| tenant.bytes));
    let mut over: Vec<&mut Memory> = tenants
        .iter_mut()
        .filter(|tenant| tenant.bytes > part)
        .collect();
    over.sort_unstable_by_key(|tenant| std::cmp::Reverse(tenant.bytes));
    let mut expected = held_bytes;
    for tenant in over {
        if expected <= full {
            break;
        }
        let next = (tenant.window_ms / 2).max(WINDOW_MIN_MS.min(wanted));
        if next < tenant.window_ms {
            tenant.window_ms = next;
            expected = expected.saturating_sub(tenant.bytes / 2);
        }
    }
}

/// What one round of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Series that went because nothing came any more.
    pub vanished: u64,
    /// Series of which something was sealed.
    pub sealed_series: u64,
    /// Samples sealed.
    pub sealed_samples: u64,
}

/// What is about to be sealed of one series, and how to undo it.
struct Sealing {
    place: SlotRef,
    /// Of the window; empty where it is what came late alone that is due.
    copy: WindowCopy,
    /// As it came.
    late: Arc<[Sample]>,
    unsealed_ms: i64,
    sealed_ms_before: i64,
    segment_before: u32,
}

/// One round while it goes on.
struct Round {
    now_ms: i64,
    /// Whether all is sealed that is not, whatever its age.
    everything: bool,
    /// Samples older than this are sealed.
    age_ms: i64,
    /// Whether what came late is sealed without waiting for more.
    is_much_late: bool,
    /// What all series take in memory, as far as they were looked at.
    held_bytes: u64,
    /// What is due, and its samples.
    sealing: Vec<Sealing>,
    samples_due: usize,
    /// What the disk did not take once it is not asked to take again in this round; all else goes
    /// on, so that memory stays within its bound.
    sealed: Result<(), HistoryError>,
    /// Series whose newest sample is to be looked for in the history.
    without_newest: Vec<SlotRef>,
    scratch: Scratch,
    report: MaintenanceReport,
}

impl Engine {
    /// One round; `everything` seals all that is not, whatever its age.
    ///
    /// # Errors
    /// The history does not take it. Nothing is lost: it stays in memory and in the log.
    pub fn maintain(
        &self,
        now_ms: i64,
        everything: bool,
    ) -> Result<MaintenanceReport, HistoryError> {
        let mut maintenance = self.maintenance.lock();
        self.look_after_log(&mut maintenance, now_ms);
        for tenant in self.tenants() {
            tenant.labels.tidy();
        }
        let mut oldest_segment = self
            .history
            .as_ref()
            .map(|history| history.current_wal_segment());
        let mut round = Round {
            now_ms,
            everything,
            age_ms: self.seal_age_ms(maintenance.log_bytes, everything),
            is_much_late: everything || self.late_bytes() >= LATE_MUCH_BYTES,
            held_bytes: 0,
            sealing: Vec::new(),
            samples_due: 0,
            sealed: Ok(()),
            without_newest: Vec::new(),
            scratch: Scratch::default(),
            report: MaintenanceReport::default(),
        };
        for number in 0..SHARDS {
            self.go_through(number, &mut round);
        }
        let Round {
            held_bytes,
            mut sealing,
            sealed,
            without_newest,
            mut report,
            ..
        } = round;
        let sealed = sealed.and_then(|()| self.seal(&mut sealing, &mut report, now_ms));
        let sealed = sealed.and_then(|()| self.look_up_newest(&without_newest, now_ms));
        self.held_bytes.store(held_bytes, Ordering::Relaxed);
        self.fit_windows(held_bytes);
        // Nothing that is not on the disk leaves memory: where both are full, nothing is taken.
        let is_stuck = sealed.is_err() && held_bytes >= self.options.memory_max_bytes;
        if self.is_stuck.swap(is_stuck, Ordering::Relaxed) != is_stuck && is_stuck {
            tracing::error!(
                held_bytes,
                "memory is full of what the disk does not take: no sample is taken until it does"
            );
        }
        sealed?;
        // After the sealing: what was in flight when the current segment was read is in it or in
        // a later one.
        for number in 0..SHARDS {
            let unsealed = self.table.shard(number).lock().oldest_unsealed_segment();
            oldest_segment = oldest_segment.map(|oldest| oldest.min(unsealed));
        }
        if let (Some(history), Some(oldest)) = (&self.history, oldest_segment) {
            history.release_wal(oldest.saturating_sub(1))?;
        }
        Ok(report)
    }

    /// One shard, a slice at a time; what is due is sealed between two slices, once there is
    /// enough.
    fn go_through(&self, number: usize, round: &mut Round) {
        let mut from = 0;
        loop {
            let mut shard = self.table.shard(number).lock();
            if from == 0 {
                round.held_bytes += shard.spare_bytes() as u64;
            }
            let (slots, is_end) = shard.slice(from, SLICE);
            let mut gone = Vec::new();
            for slot in slots {
                let Some(entry) = shard.get_mut(slot) else {
                    continue;
                };
                let place = SlotRef {
                    shard: number as u8,
                    slot: u32::try_from(slot).unwrap_or(u32::MAX),
                    id: entry.id,
                };
                self.look_at(entry, place, round);
                if entry.is_over(round.now_ms, self.options.ttl_ms) {
                    gone.push(place);
                }
            }
            for place in gone {
                if let Some(entry) = shard.remove(place.slot as usize) {
                    round.report.vanished += 1;
                    if self.history.is_some() {
                        let fingerprint = fingerprint(entry.hash, &entry.key);
                        let retired = (entry.id, Arc::clone(&entry.tenant));
                        let newest_ms = entry.newest_known_ms().unwrap_or(round.now_ms);
                        self.retired_ms.fetch_max(newest_ms, Ordering::AcqRel);
                        self.retired.lock().insert(fingerprint, retired);
                    }
                    Self::delist(place, entry);
                }
            }
            drop(shard);
            if round.sealing.len() >= SEAL_SERIES_MAX || round.samples_due >= SEAL_SAMPLES_MAX {
                round.sealed = self.seal(&mut round.sealing, &mut round.report, round.now_ms);
                round.samples_due = 0;
            }
            if is_end {
                break;
            }
            from += SLICE;
        }
    }

    /// One series: what of it is due, what leaves memory, what it takes there.
    fn look_at(&self, entry: &mut Entry, place: SlotRef, round: &mut Round) {
        let now_ms = round.now_ms;
        // First: what the history has need not be sealed with what came since.
        self.let_late_go(entry, now_ms);
        let is_short = entry.tenant.is_short();
        let age_ms = if is_short {
            round.age_ms.min(SHORT_SEAL_AGE_MS)
        } else {
            round.age_ms
        };
        let is_due = entry.is_due(now_ms, age_ms);
        let is_late_due = is_due
            || entry.is_late_due(now_ms, round.is_much_late || is_short)
                && (round.everything || !entry.has_late_sealed());
        if round.sealed.is_ok() && !entry.is_sealing && (is_due || is_late_due) {
            let due = entry.begin_sealing(place, is_due);
            round.samples_due += due.copy.count() + due.late.len();
            round.sealing.push(due);
        }
        self.evict(entry, now_ms);
        if entry.last.is_none()
            && entry.late.is_some()
            && round.without_newest.len() < NEWEST_LOOKED_UP_MAX
        {
            round.without_newest.push(place);
        }
        if is_short {
            entry.window.pack_head(&mut round.scratch);
        }
        let entry_bytes = entry.held_bytes() as u64;
        round.held_bytes += entry_bytes;
        let counted = &entry.tenant.counted_bytes;
        counted.fetch_add(entry_bytes, Ordering::Relaxed);
    }

    /// Has the history roll up, merge and delete for about `budget`; whether there is more to do.
    /// Blocks for the disk.
    ///
    /// # Errors
    /// As [`pulseboard_history::History::maintain`].
    pub fn maintain_history(&self, now_ms: i64, budget: Duration) -> Result<bool, HistoryError> {
        let Some(history) = &self.history else {
            return Ok(false);
        };
        // What is younger may still come late, or be on its way into the history.
        let final_ms = now_ms - self.options.window_ms - SEAL_AGE_MS - SEAL_SPREAD_MS - 60_000;
        let progress = match self.is_late_coming(history, now_ms) {
            true => history.maintain_but_late(now_ms, final_ms, budget)?,
            false => {
                let progress = history.maintain(now_ms, final_ms, budget)?;
                if !progress.more {
                    *self.late_sealed.lock() = None;
                }
                progress
            }
        };
        if !progress.expired.is_empty() {
            let expired: HashSet<SeriesId> = progress.expired.into_iter().collect();
            let forgotten: Vec<SeriesId> = {
                let mut retired = self.retired.lock();
                let gone = retired.extract_if(|_, (id, _)| expired.contains(id));
                gone.map(|(_, (id, _))| id).collect()
            };
            history.forget(&forgotten)?;
        }
        for damage in history.take_damage() {
            tracing::error!(
                ?damage,
                "a block of the history is damaged and was passed over"
            );
        }
        Ok(progress.more)
    }

    /// Has the history give back the space of what it has deleted, where that is much. To be called
    /// where [`Engine::maintain_history`] has nothing more to do. Blocks.
    ///
    /// # Errors
    /// As [`History::compact`].
    pub fn compact_history(&self, goes_on: &dyn Fn() -> bool) -> Result<Option<u64>, HistoryError> {
        match &self.history {
            Some(history) => history.compact(goes_on),
            None => Ok(None),
        }
    }

    /// Whether late samples keep coming, so that rollups of their stretches wait.
    fn is_late_coming(&self, history: &History, now_ms: i64) -> bool {
        let sealed = *self.late_sealed.lock();
        sealed.is_some_and(|(first_ms, newest_ms)| {
            now_ms.abs_diff(newest_ms) < LATE_QUIET_MS
                && now_ms.abs_diff(first_ms) < LATE_WAITS_MS
                && history.late_blocks() < LATE_BLOCKS_MAX
        })
    }

    /// The history, where there is one.
    #[must_use]
    pub fn history(&self) -> Option<&Arc<History>> {
        self.history.as_ref()
    }

    /// Ends a segment that has lasted long enough.
    fn look_after_log(&self, maintenance: &mut MutexGuard<'_, Maintenance>, now_ms: i64) {
        let Some(history) = &self.history else {
            return;
        };
        maintenance.log_bytes = history.stats().log.bytes;
        if now_ms.abs_diff(maintenance.rotated_ms) >= SEGMENT_LASTS_MS.unsigned_abs() {
            maintenance.rotated_ms = now_ms;
            if let Err(error) = history.rotate_wal() {
                tracing::debug!(%error, "the log did not begin a new segment");
            }
        }
    }

    fn seal_age_ms(&self, log_bytes: u64, everything: bool) -> i64 {
        if everything {
            return i64::MIN;
        }
        if log_bytes > LOG_BYTES_MAX {
            return SHORT_SEAL_AGE_MS;
        }
        SEAL_AGE_MS
    }

    fn evict(&self, entry: &mut Entry, now_ms: i64) {
        if entry.is_sealing {
            return;
        }
        let window_ms = entry.tenant.window_ms.load(Ordering::Relaxed);
        let window_ms = i64::try_from(window_ms).unwrap_or(i64::MAX);
        let before_ms = now_ms.saturating_sub(window_ms.min(self.options.window_ms));
        // What came late and is not sealed is not to be missing either.
        let gone = entry
            .window
            .evict(before_ms.min(entry.oldest_unsealed_ms()));
        if let Some(newest_ms) = gone {
            entry.lacks(newest_ms);
        }
    }

    /// Lets what came late leave memory once every reader finds it in the history.
    fn let_late_go(&self, entry: &mut Entry, now_ms: i64) {
        if entry.is_sealing {
            return;
        }
        let Some(late) = &mut entry.late else {
            return;
        };
        let (gone, is_empty) = late.let_go(now_ms);
        if is_empty {
            entry.late = None;
        }
        self.late_samples.fetch_sub(gone as u64, Ordering::Relaxed);
    }

    /// What came late of a series that memory has nothing else of may not be its newest: that may
    /// be in the history.
    pub(crate) fn look_up_newest(
        &self,
        places: &[SlotRef],
        now_ms: i64,
    ) -> Result<(), HistoryError> {
        let Some(history) = self.history.as_ref().filter(|_| !places.is_empty()) else {
            return Ok(());
        };
        let mut snapshot = history.snapshot()?;
        for place in places {
            let sealed = snapshot.newest_raw(place.id, now_ms)?;
            self.table.with(*place, |entry| {
                let late = entry.late.as_ref().map(|late| late.newest());
                let newest = late.into_iter().chain(sealed).max_by_key(|sample| sample.0);
                if entry.last.is_none() {
                    entry.last = newest;
                }
            });
        }
        Ok(())
    }

    /// Shortens windows where memory is short, and lengthens them again when it is not.
    fn fit_windows(&self, held_bytes: u64) {
        let wanted = self.options.window_ms.unsigned_abs();
        let max = self.options.memory_max_bytes;
        let tenants = self.tenants();
        let mut shares: Vec<Memory> = tenants
            .iter()
            .map(|tenant| Memory {
                bytes: tenant.counted_bytes.swap(0, Ordering::Relaxed),
                window_ms: tenant.window_ms.load(Ordering::Relaxed).min(wanted),
            })
            .collect();
        let before: Vec<u64> = shares.iter().map(|memory| memory.window_ms).collect();
        fit(&mut shares, held_bytes, max, wanted);
        let mut shortest = wanted;
        for ((tenant, memory), before) in tenants.iter().zip(shares).zip(before) {
            tenant.held_bytes.store(memory.bytes, Ordering::Relaxed);
            let is_whole = memory.window_ms >= wanted;
            let window_ms = if is_whole { u64::MAX } else { memory.window_ms };
            tenant.window_ms.store(window_ms, Ordering::Relaxed);
            shortest = shortest.min(memory.window_ms);
            if memory.window_ms < before {
                self.shortenings.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    held_bytes,
                    memory_max_bytes = max,
                    tenant = %tenant.name,
                    tenant.held_bytes = memory.bytes,
                    window_ms = memory.window_ms,
                    "a tenant's window is shortened, since memory is short and it has more than its part"
                );
            }
        }
        self.window_now_ms.store(shortest, Ordering::Relaxed);
    }

    pub(crate) fn delist(place: SlotRef, entry: Entry) {
        let tenant = &entry.tenant;
        tenant.series.fetch_sub(1, Ordering::Relaxed);
        let mut names = tenant.names.lock();
        let name = entry.key().name();
        if let Some(named) = names.get_mut(name) {
            named.places.remove(&place);
            if named.places.is_empty() {
                names.remove(name);
            }
        }
        drop(names);
        tenant.vanished.fetch_add(1, Ordering::Release);
        for slot in entry.taps.iter().flat_map(|taps| taps.iter()) {
            slot.tap.leave(slot.number);
        }
        if let Some(catalog) = &*tenant.catalog.lock() {
            let name = SeriesName {
                key: entry.key.clone(),
                unit: entry.unit.clone(),
                kind: entry.kind,
            };
            catalog.tell(name, false);
        }
    }

    /// Seals what has been gathered, in one transaction.
    fn seal(
        &self,
        sealing: &mut Vec<Sealing>,
        kept: &mut MaintenanceReport,
        now_ms: i64,
    ) -> Result<(), HistoryError> {
        let due = std::mem::take(sealing);
        let Some(history) = &self.history else {
            return Ok(());
        };
        if due.is_empty() {
            return Ok(());
        }
        let mut samples: Vec<(SeriesId, Vec<Sample>)> = Vec::with_capacity(due.len());
        for one in &due {
            // Of two values for one time the window's came last.
            let mut all = one.late.to_vec();
            one.copy.read(one.unsealed_ms, i64::MAX, &mut all);
            sort_last_wins(&mut all);
            if !all.is_empty() {
                samples.push((one.place.id, all));
            }
        }
        let batch = SealBatch {
            series: samples
                .iter()
                .map(|(id, samples)| (*id, samples.as_slice()))
                .collect(),
            safe_segment: None,
        };
        if let Err(error) = history.seal(&batch) {
            for one in due {
                self.table
                    .with(one.place, |entry| entry.undo_sealing(&one, now_ms));
            }
            return Err(error);
        }
        if due.iter().any(|one| !one.late.is_empty()) {
            let mut sealed = self.late_sealed.lock();
            let first_ms = sealed.map_or(now_ms, |(first_ms, _)| first_ms);
            *sealed = Some((first_ms, now_ms));
        }
        for one in &due {
            self.table.with(one.place, |entry| {
                entry.is_sealing = false;
                if let Some(late) = &mut entry.late {
                    late.end_sealing(now_ms);
                }
            });
        }
        kept.sealed_series += samples.len() as u64;
        kept.sealed_samples += samples
            .iter()
            .map(|(_, samples)| samples.len() as u64)
            .sum::<u64>();
        Ok(())
    }
}

impl Entry {
    /// Whether its oldest unsealed sample is old enough.
    fn is_due(&self, now_ms: i64, age_ms: i64) -> bool {
        if self.unsealed_segment == 0 || self.unsealed_ms == i64::MAX {
            return false;
        }
        let oldest_ms = self.unsealed_ms;
        if age_ms < SEAL_AGE_MS {
            return age_ms == i64::MIN || now_ms.saturating_sub(oldest_ms) > age_ms;
        }
        let spread = i64::from(self.id.0.wrapping_mul(0x9e37_79b9)) % SEAL_SPREAD_MS;
        now_ms.saturating_sub(oldest_ms) > age_ms + spread
    }

    /// Whether what came late is to be sealed, without the window's part.
    fn is_late_due(&self, now_ms: i64, is_much: bool) -> bool {
        let since_ms = self.late.as_ref().and_then(|late| late.since_ms());
        since_ms.is_some_and(|since_ms| {
            is_much || now_ms.abs_diff(since_ms) >= LATE_SEAL_AGE_MS.unsigned_abs()
        })
    }

    /// Whether some of what came late is in the history and stays here for readers: sealing more
    /// now would seal it once more.
    fn has_late_sealed(&self) -> bool {
        let late = self.late.as_ref();
        late.is_some_and(|late| late.len() > late.unsealed())
    }

    /// From here on what comes counts as not sealed; what there is goes with the result: what came
    /// late, and the window's part if it is due.
    fn begin_sealing(&mut self, place: SlotRef, has_window: bool) -> Sealing {
        let late = self.late.as_mut().map(|late| late.begin_sealing());
        let late = late.unwrap_or_default();
        // Without anything in the window that is not sealed nothing is left.
        let is_all = has_window || self.unsealed_ms == i64::MAX;
        let sealing = Sealing {
            place,
            copy: match has_window {
                true => self.window.copy(self.unsealed_ms, i64::MAX),
                false => WindowCopy::default(),
            },
            late,
            unsealed_ms: self.unsealed_ms,
            sealed_ms_before: self.sealed_ms,
            segment_before: self.unsealed_segment,
        };
        self.is_sealing = true;
        if is_all {
            self.unsealed_segment = 0;
            self.unsealed_ms = i64::MAX;
        }
        if !has_window {
            return sealing;
        }
        if let Some(newest_ms) = self.window.newest_ms() {
            self.sealed_ms = self.sealed_ms.max(newest_ms);
        }
        sealing
    }

    /// The history did not take it: everything is as it was, and what came since is there too.
    fn undo_sealing(&mut self, sealing: &Sealing, now_ms: i64) {
        self.is_sealing = false;
        self.sealed_ms = sealing.sealed_ms_before;
        self.unsealed_ms = self.unsealed_ms.min(sealing.unsealed_ms);
        self.unsealed_segment = match self.unsealed_segment {
            0 => sealing.segment_before,
            segment => segment.min(sealing.segment_before),
        };
        if let Some(late) = &mut self.late {
            late.undo_sealing(now_ms);
        }
    }

    /// Whether nothing came for so long that it goes. What is not sealed stays.
    fn is_over(&self, now_ms: i64, ttl_ms: i64) -> bool {
        let patience = ttl_ms.max(3 * i64::from(self.interval_ms));
        self.unsealed_segment == 0
            && !self.is_sealing
            && self.late.is_none()
            // Where the clock was set back it came we do not know when.
            && (self.arrived_ms == i64::MIN
                || now_ms.abs_diff(self.arrived_ms) > patience.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_series::Batch;

    use super::*;
    use crate::{engine::EngineOptions, selector::Selector};

    #[test]
    fn a_part_is_what_others_leave() {
        let part = |bytes: &[u64]| part_of(100, bytes.iter().copied());
        assert_eq!(part(&[]), 100);
        assert_eq!(part(&[500]), 100, "alone it has all");
        assert_eq!(part(&[10, 500]), 90);
        assert_eq!(part(&[10, 60, 60]), 45);
        assert_eq!(part(&[0, 30, 40]), 100, "all fit");
    }

    proptest! {
        /// However much the others have: who has no more than an equal part keeps its window, and
        /// where memory is full somebody's is shortened unless none of those can be.
        #[test]
        fn no_tenant_is_shortened_for_what_others_have(
            bytes in proptest::collection::vec(0_u64..1_000_000, 1..20),
            windows in proptest::collection::vec(60_000_u64..=900_000, 20),
            spare in 0_u64..100_000,
        ) {
            let (max, wanted) = (1_000_000, 900_000);
            let before: Vec<Memory> = bytes
                .iter()
                .zip(windows)
                .map(|(bytes, window_ms)| Memory { bytes: *bytes, window_ms })
                .collect();
            let held = bytes.iter().sum::<u64>() + spare;
            let mut after = before.clone();
            fit(&mut after, held, max, wanted);
            let equal = max / 10 * 9 / bytes.iter().filter(|bytes| **bytes > 0).count().max(1) as u64;
            for (before, after) in before.iter().zip(&after) {
                prop_assert!((60_000..=wanted).contains(&after.window_ms));
                if before.bytes <= equal {
                    prop_assert!(after.window_ms >= before.window_ms);
                }
            }
            let is_full = bytes.iter().sum::<u64>() > max / 10 * 9;
            let could = before.iter().any(|one| one.bytes > equal && one.window_ms > 60_000);
            if is_full && could && before.iter().all(|one| one.window_ms > 60_000) {
                prop_assert!(before != after);
            }
        }
    }

    /// The history refuses (a full disk) after a series has been copied for it: everything is
    /// still in memory, and counts as not sealed.
    #[test]
    fn what_the_history_did_not_take_is_still_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EngineOptions {
            ttl_ms: 1,
            ..EngineOptions::default()
        };
        let (engine, _) =
            Engine::open(folder.path(), options, Default::default(), 0).expect("opens");
        let tenant = engine.tenant("default").expect("a tenant");
        let mut batch = Batch::new();
        assert_eq!(batch.begin(&["a"]), Ok(()));
        assert_eq!(batch.finish(1, Some(0), 7.0), Ok(()));
        engine.append(&tenant, &batch, 0);
        let find = || {
            engine
                .find(
                    &tenant,
                    &Selector::all(),
                    |_| true,
                    (None, 9),
                    0,
                    &crate::Cost::unbounded(),
                )
                .expect("found")
                .0
        };
        let place = find()[0].place;
        let late = 3 * options.window_ms;
        let sealing = engine
            .table
            .with(place, |entry| {
                let sealing = entry.begin_sealing(place, true);
                engine.evict(entry, late);
                assert!(!entry.is_over(late, options.ttl_ms));
                sealing
            })
            .expect("it is there");
        engine.table.with(place, |entry| {
            entry.undo_sealing(&sealing, late);
            engine.evict(entry, late);
            assert!(!entry.is_over(late, options.ttl_ms));
        });
        let mut samples = Vec::new();
        let copy = engine.copy(&find()[0], i64::MIN, i64::MAX);
        copy.expect("it is there")
            .read(i64::MIN, i64::MAX, &mut samples);
        assert_eq!(samples, [(0, 7.0)]);
        let kept = engine.maintain(late, false).expect("the disk is there");
        assert_eq!(kept.sealed_samples, 1);
        engine.maintain(late, false).expect("the disk is there");
        assert!(find().is_empty(), "now it may go");
    }
}
