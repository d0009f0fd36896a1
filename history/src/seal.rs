//! Sealing: batches of the caller's window become chunks.

use std::{collections::HashMap, sync::Arc};

use redb::{ReadableTable, Table, WriteTransaction};

use crate::{
    Definition, History, HistoryError, RAW_BLOCK_MS, SeriesId,
    bury::Burying,
    chunk::CHUNK_SAMPLES_MAX,
    history::Workshop,
    order::sort_last_wins,
    parts::{Floors, Owners},
    state::{DAY_MS, NewUsage, Rolled, State, TierUsageChange, block_of},
    tables::{DIRTY, RAW, RawKey, SEEN, TOMBSTONES},
    tombstone::{Grave, Graves},
    write::put_definitions,
};

/// What a caller seals in one transaction. Some thousand series at a time keep it short.
#[derive(Clone, Debug, Default)]
pub struct SealBatch<'a> {
    /// Series in ascending order (for speed only), each with samples ascending in time and
    /// without equal times. Others are sorted first; of equal times the last wins.
    pub series: Vec<(SeriesId, &'a [(i64, f64)])>,
    /// If set: once the batch is durable, the log is released up to and including this segment.
    /// See [`History::release_wal`] for the promise in that.
    pub safe_segment: Option<u32>,
}

/// What sealing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Samples stored.
    pub samples: u64,
    /// Chunks stored.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Samples not stored: older than what retention keeps of raw samples, or before 1970.
    pub too_old: u64,
    /// Bytes of log given back.
    pub released_bytes: u64,
}

/// One seal's transaction.
struct Sealing<'a> {
    workshop: &'a mut Workshop,
    rolled: Rolled,
    raw_floor: u32,
    floors: Arc<Floors>,
    owners: Arc<Owners>,
    /// Hours that held no chunk before: no sequence number to look for.
    fresh_hours: HashMap<u32, bool>,
    /// The greatest series so far: one that comes twice has chunks in fresh hours as well.
    greatest: Option<SeriesId>,
    report: SealReport,
    usage: TierUsageChange,
    /// Day of each series' newest sample.
    days: Vec<(u32, u32)>,
    /// Series and hours that are to be rolled up again.
    stale: Vec<(u32, u32)>,
    /// What is deleted and still in the blocks.
    graves: Arc<Graves>,
    /// What is left to be deleted, by series.
    dug: HashMap<u32, Vec<Grave>>,
}

/// What is mirrored after the commit.
struct Sealed {
    report: SealReport,
    usage: NewUsage,
    days: Vec<(u32, u32)>,
    stale: Vec<(u32, u32)>,
    dug: HashMap<u32, Vec<Grave>>,
}

impl History {
    /// Stores samples as chunks, in one durable transaction, and with them all definitions that
    /// only the log had. Samples of one series and hour may come in several seals, in any order
    /// and overlapping: readers see their union, and of equal times what was sealed last. Hours
    /// that have been rolled up already are rolled up again by [`History::maintain`]. Blocks,
    /// while readers go on.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`] or [`HistoryError::Structure`]: nothing was stored, and the log
    /// was not released. [`HistoryError::Log`]: stored, and the log could not be released.
    pub fn seal(&self, batch: &SealBatch<'_>) -> Result<SealReport, HistoryError> {
        let mut workshop = self.writing.lock();
        let definitions = std::mem::take(&mut *self.unsaved.lock());
        let outcome = self.seal_with(&mut workshop, batch, &definitions);
        let sealed = match outcome {
            Ok(sealed) => sealed,
            Err(error) => {
                self.unsaved.lock().splice(0..0, definitions);
                return Err(error);
            }
        };
        let mut state = self.state.lock();
        state.mirror(sealed.usage);
        state.seen.extend(sealed.days);
        state.late_blocks += sealed.stale.len() as u64;
        for (series, hour) in sealed.stale {
            let start_ms = i64::from(hour) * RAW_BLOCK_MS;
            state.note_stale(series, start_ms..start_ms + RAW_BLOCK_MS);
        }
        for (series, graves) in sealed.dug {
            let all = Arc::make_mut(&mut state.graves);
            match graves.is_empty() {
                true => all.remove(&series),
                false => all.insert(series, graves),
            };
        }
        drop(state);
        drop(workshop);
        let mut report = sealed.report;
        if let Some(through) = batch.safe_segment {
            let released = self.release_wal(through)?;
            report.released_bytes = released.iter().map(|segment| segment.bytes).sum();
        }
        Ok(report)
    }

    fn seal_with(
        &self,
        workshop: &mut Workshop,
        batch: &SealBatch<'_>,
        definitions: &[Definition],
    ) -> Result<Sealed, HistoryError> {
        let (rolled, raw_floor, floors, graves) = {
            let state = self.state.lock();
            let floors = Arc::clone(&state.parts.floors);
            let graves = Arc::clone(&state.graves);
            (state.rolled[0], state.raw_floor, floors, graves)
        };
        let mut sealing = Sealing {
            workshop,
            rolled,
            raw_floor,
            floors,
            owners: Arc::clone(&self.owners),
            fresh_hours: HashMap::new(),
            greatest: None,
            report: SealReport::default(),
            usage: TierUsageChange::of(&self.owners),
            days: Vec::new(),
            stale: Vec::new(),
            graves,
            dug: HashMap::new(),
        };
        self.change("seal", |txn| {
            let mut days = put_definitions(txn, definitions)?;
            let mut raw = txn.open_table(RAW)?;
            for &(id, samples) in &batch.series {
                sealing.series(txn, &mut raw, id, samples, &self.state)?;
            }
            drop(raw);
            sealing.put_days(txn)?;
            days.append(&mut sealing.days);
            let usage = std::mem::take(&mut sealing.usage).write(txn)?;
            Ok(Sealed {
                report: sealing.report,
                usage,
                days,
                stale: sealing.stale,
                dug: sealing.dug,
            })
        })
    }
}

impl Sealing<'_> {
    fn series(
        &mut self,
        txn: &WriteTransaction,
        raw: &mut Table<'_, RawKey, &'static [u8]>,
        id: SeriesId,
        samples: &[(i64, f64)],
        state: &parking_lot::Mutex<State>,
    ) -> Result<(), redb::Error> {
        let mut sorted = Vec::new();
        let samples = if samples.is_sorted_by(|a, b| a.0 < b.0) {
            samples
        } else {
            sorted.extend_from_slice(samples);
            sort_last_wins(&mut sorted);
            &sorted
        };
        let Some(&(newest_ms, _)) = samples.last() else {
            return Ok(());
        };
        let first_visit = self.greatest.is_none_or(|greatest| greatest < id);
        self.greatest = self.greatest.max(Some(id));
        let hour = |at_ms: i64| at_ms.div_euclid(RAW_BLOCK_MS);
        // Looked up only where something has been given up for others.
        let floor = match self.floors.is_empty() {
            true => None,
            false => self.floors.get(&self.owners.of(id.0)),
        };
        let floor = self.raw_floor.max(floor.map_or(0, |floors| floors[0]));
        for run in samples.chunk_by(|a, b| hour(a.0) == hour(b.0)) {
            let number = block_of(run[0].0, RAW_BLOCK_MS);
            let Some(number) = number.filter(|&number| number >= floor) else {
                self.report.too_old += run.len() as u64;
                continue;
            };
            self.dig(txn, raw, number, id)?;
            let fresh = *self
                .fresh_hours
                .entry(number)
                .or_insert_with(|| !state.lock().usage.contains_key(&(0, number)));
            let mut sequence = if fresh && first_visit {
                0
            } else {
                next_sequence(raw, number, id)?
            };
            for piece in run.chunks(CHUNK_SAMPLES_MAX) {
                let bytes = &mut self.workshop.bytes;
                self.workshop
                    .chunks
                    .encode(i64::from(number) * RAW_BLOCK_MS, piece, bytes);
                raw.insert((number, id.0, sequence), bytes.as_slice())?;
                sequence = sequence.saturating_add(1);
                self.usage.add((0, number, id.0), bytes.len(), piece.len());
                self.report.chunks += 1;
                self.report.bytes += bytes.len() as u64;
                self.report.samples += piece.len() as u64;
            }
            if self.rolled.has_passed(number, id.0) {
                txn.open_table(DIRTY)?.insert((0, number, id.0), ())?;
                self.stale.push((id.0, number));
            }
        }
        if let Some(day) = block_of(newest_ms, DAY_MS) {
            self.days.push((id.0, day));
        }
        Ok(())
    }

    /// What comes to an hour that is deleted is not to go with what was there: that goes now, and
    /// the hour is deleted no more.
    fn dig(
        &mut self,
        txn: &WriteTransaction,
        raw: &mut Table<'_, RawKey, &'static [u8]>,
        hour: u32,
        id: SeriesId,
    ) -> Result<(), redb::Error> {
        if self.graves.is_empty() {
            return Ok(());
        }
        let known = self.dug.get(&id.0).or_else(|| self.graves.get(&id.0));
        let start_ms = i64::from(hour) * RAW_BLOCK_MS;
        let end_ms = start_ms + RAW_BLOCK_MS;
        let is_met = |grave: &Grave| grave.meets(start_ms, end_ms);
        let Some(graves) = known.filter(|graves| graves.iter().any(is_met)) else {
            return Ok(());
        };
        let mut left = Vec::with_capacity(graves.len() + 1);
        let met: Vec<Grave> = graves.iter().copied().filter(is_met).collect();
        left.extend(graves.iter().copied().filter(|grave| !is_met(grave)));
        let mut table = txn.open_table(TOMBSTONES)?;
        let mut burying = Burying {
            txn,
            workshop: &mut *self.workshop,
            usage: std::mem::take(&mut self.usage),
        };
        for grave in met {
            burying.hour(raw, hour, id, &grave)?;
            table.remove((id.0, grave.from_ms, grave.to_ms))?;
            let before = Grave {
                to_ms: start_ms - 1,
                ..grave
            };
            let after = Grave {
                from_ms: end_ms,
                ..grave
            };
            for part in [before, after] {
                if part.from_ms <= part.to_ms {
                    table.insert((id.0, part.from_ms, part.to_ms), part.row())?;
                    left.push(part);
                }
            }
        }
        self.usage = burying.usage;
        self.dug.insert(id.0, left);
        Ok(())
    }

    /// Writes the days that are newer than what is there: once a day and series.
    fn put_days(&mut self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        let mut seen = txn.open_table(SEEN)?;
        let mut failed = None;
        self.days.retain(|&(id, day)| {
            let mut put = || -> Result<bool, redb::Error> {
                let before = seen.get(id)?.map(|guard| guard.value());
                if before.is_some_and(|before| before >= day) {
                    return Ok(false);
                }
                seen.insert(id, day)?;
                Ok(true)
            };
            put().unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        });
        failed.map_or(Ok(()), Err)
    }
}

fn next_sequence(
    raw: &Table<'_, RawKey, &'static [u8]>,
    hour: u32,
    id: SeriesId,
) -> Result<u32, redb::Error> {
    let newest = raw
        .range((hour, id.0, 0)..=(hour, id.0, u32::MAX))?
        .next_back()
        .transpose()?;
    Ok(newest.map_or(0, |(key, _)| key.value().2.saturating_add(1)))
}
