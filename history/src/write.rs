//! Writing: samples and definitions into the log, and giving up log that sealing has made
//! unnecessary.

use std::sync::atomic::Ordering;

use redb::{ReadableTable, WriteTransaction};

use crate::{
    Definition, History, HistoryError, RAW_BLOCK_MS, SampleRecord, SeriesId,
    log::{self, LogError, ReadSegment, SegmentInfo, Ticket},
    state::{DAY_MS, block_of},
    tables::{SEEN, SERIES},
};

pub(crate) const RECORD_SAMPLES: u8 = 1;
pub(crate) const RECORD_DEFINITION: u8 = 2;
pub(crate) const RECORD_TOMBSTONES: u8 = 3;
pub(crate) const RECORD_NOTE: u8 = 4;

impl History {
    /// Appends a record of samples to the log. Does not wait for the disk; the ticket does.
    ///
    /// # Errors
    /// See [`crate::log::Log::append`]. Nothing was taken then.
    pub fn append_samples(&self, record: &SampleRecord) -> Result<Ticket, LogError> {
        self.log.append(RECORD_SAMPLES, record.as_bytes())
    }

    /// Appends a definition to the log; it comes before samples of its series.
    ///
    /// # Errors
    /// See [`crate::log::Log::append`]. Nothing was taken then.
    pub fn append_definition(&self, definition: &Definition) -> Result<Ticket, LogError> {
        let mut bytes = Vec::with_capacity(64);
        definition.encode(&mut bytes);
        // Held over the append, so that a release in between cannot miss it.
        let mut unsaved = self.unsaved.lock();
        let ticket = self.log.append(RECORD_DEFINITION, &bytes)?;
        self.owners.learn(definition);
        unsaved.push(definition.clone());
        Ok(ticket)
    }

    /// Appends a note: bytes of the caller's, which lie in the log between samples, in the order of
    /// their appending, and go with their segment; see [`History::hold_wal`].
    ///
    /// # Errors
    /// See [`crate::log::Log::append`]. Nothing was taken then.
    pub fn append_note(&self, note: &[u8]) -> Result<Ticket, LogError> {
        self.log.append(RECORD_NOTE, note)
    }

    /// The log's segments from this one on stay, also when all in them is sealed, until another one
    /// is named; `u32::MAX` holds none.
    pub fn hold_wal(&self, from: u32) {
        self.held_from.store(from, Ordering::Release);
    }

    /// The log's segments on disk, ascending. No system call.
    #[must_use]
    pub fn wal_segments(&self) -> Vec<SegmentInfo> {
        self.log.segments()
    }

    /// Hands `sink` the notes of one segment of the log, in order, also of the one that is written,
    /// as far as it is there. Whether nothing of it is damaged, so that these are all that were
    /// written there. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_notes(&self, segment: u32, mut sink: impl FnMut(&[u8])) -> Result<bool, LogError> {
        let written = self.log.current_segment();
        let read = log::read_segment(self.log.dir(), segment, |record_type, payload| {
            if record_type == RECORD_NOTE {
                sink(payload);
            }
        })?;
        Ok(match read {
            ReadSegment::Whole => true,
            ReadSegment::Torn => segment >= written,
            ReadSegment::Damaged => false,
        })
    }

    /// Time of the oldest sample of a tenant that is taken: as old as retention keeps raw samples,
    /// and nothing of which hours have been given up.
    #[must_use]
    pub fn oldest_taken_ms(&self, tenant: &str, now_ms: i64) -> i64 {
        let kept_ms = now_ms.saturating_sub(self.options.retention.keep_ms(0));
        kept_ms.max(self.raw_floor_ms(tenant))
    }

    /// From this moment on nothing of a tenant's raw samples was given up, Unix milliseconds. No
    /// system call.
    #[must_use]
    pub fn raw_floor_ms(&self, tenant: &str) -> i64 {
        let state = self.state.lock();
        let floors = state.parts.floors.get(tenant);
        let floor = state.raw_floor.max(floors.map_or(0, |floors| floors[0]));
        i64::from(floor) * RAW_BLOCK_MS
    }

    /// Begins a new segment of the log and returns its number N: samples appended before this
    /// call are in segments before N. Once all of those are sealed, `release_wal(N - 1)` gives
    /// their space back. Blocks until pending records are written.
    ///
    /// # Errors
    /// [`LogError::Closed`].
    pub fn rotate_wal(&self) -> Result<u32, LogError> {
        self.log.rotate()
    }

    /// The log's segment that is being written, or that will be begun next. What is appended
    /// after this call is in it or a later one, as [`Ticket::segment_floor`] says of one record.
    #[must_use]
    pub fn current_wal_segment(&self) -> u32 {
        self.log.current_segment()
    }

    /// How often the log has failed; see [`crate::log::Log::failures`]: definitions appended before
    /// may be lost.
    #[must_use]
    pub fn log_failures(&self) -> u32 {
        self.log.failures()
    }

    /// Why the log failed when it last did, as its tickets said it.
    #[must_use]
    pub fn newest_log_error(&self) -> LogError {
        let reason = self.log.stats().last_error;
        LogError::Degraded {
            reason: reason.unwrap_or_else(|| "the disk failed".into()),
        }
    }

    /// Deletes the log's segments up to and including `through`, except the one being written.
    ///
    /// The caller promises that every sample in them has been sealed or may be forgotten. It
    /// knows by rotating now and then: see [`History::rotate_wal`], or by the
    /// [`Ticket::segment_floor`] of its oldest unsealed sample. Definitions are its promise no
    /// part of: those not saved yet are saved first. Blocks.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`] if definitions cannot be saved (nothing was deleted then),
    /// [`HistoryError::Log`] if a file cannot be removed.
    pub fn release_wal(&self, through: u32) -> Result<Vec<SegmentInfo>, HistoryError> {
        self.save_definitions()?;
        let held_from = self.held_from.load(Ordering::Acquire);
        let end = through.saturating_add(1).min(held_from);
        Ok(self.log.remove_before(end)?)
    }

    /// Saves definitions that only the log has. Sealing does it too.
    pub(crate) fn save_definitions(&self) -> Result<(), HistoryError> {
        let writing = self.writing.lock();
        let definitions = std::mem::take(&mut *self.unsaved.lock());
        if definitions.is_empty() {
            return Ok(());
        }
        let outcome = self.change("save definitions", |txn| put_definitions(txn, &definitions));
        match outcome {
            Ok(days) => self.state.lock().seen.extend(days),
            Err(error) => {
                self.unsaved.lock().splice(0..0, definitions);
                return Err(error);
            }
        }
        drop(writing);
        Ok(())
    }

    /// Forgets series for good: those that [`History::maintain`] reports as expired and that the
    /// caller has no samples of either. Blocks.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`]; nothing was forgotten then.
    pub fn forget(&self, series: &[SeriesId]) -> Result<(), HistoryError> {
        let writing = self.writing.lock();
        self.change("forget series", |txn| {
            let mut definitions = txn.open_table(SERIES)?;
            let mut seen = txn.open_table(SEEN)?;
            for id in series {
                definitions.remove(id.0)?;
                seen.remove(id.0)?;
            }
            Ok(())
        })?;
        drop(writing);
        let mut state = self.state.lock();
        for id in series {
            state.seen.remove(&id.0);
        }
        drop(state);
        self.owners.forget(series.iter().map(|id| id.0));
        Ok(())
    }

    /// A write transaction; keeps its failure for the statistics.
    pub(crate) fn change<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        let outcome = self.store.write(action, work);
        *self.blocks_error.lock() = outcome.as_ref().err().map(|error| error.to_string().into());
        outcome
    }
}

/// Writes definitions, and for series without one the day of their creation. Returns the days.
pub(crate) fn put_definitions(
    txn: &WriteTransaction,
    definitions: &[Definition],
) -> Result<Vec<(u32, u32)>, redb::Error> {
    let mut table = txn.open_table(SERIES)?;
    let mut seen = txn.open_table(SEEN)?;
    let (mut bytes, mut days) = (Vec::new(), Vec::new());
    for definition in definitions {
        let id = definition.id.0;
        bytes.clear();
        definition.encode(&mut bytes);
        table.insert(id, bytes.as_slice())?;
        if seen.get(id)?.is_none() {
            let day = block_of(definition.created_ms, DAY_MS).unwrap_or_default();
            seen.insert(id, day)?;
            days.push((id, day));
        }
    }
    Ok(days)
}
