//! The handle: [`Log`], which any thread may append through.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use parking_lot::Mutex;

use super::{
    Health, LogError, LogOptions, LogStats, MAX_PAYLOAD_BYTES, ReplayReport, SegmentInfo, Ticket,
    record::{SYNC_TYPE, Salt, put_record},
    replay::{replay, segment_path},
    shared::Shared,
    storage::{Disk, Storage, sync_parent},
    writer::Writer,
};
use crate::private;

/// How often a copy is begun anew.
const COPY_TRIES: usize = 10;

/// A segmented append log with group commit; see [`crate::log`]. Dropping it writes what is
/// pending and ends its thread.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    /// The writer thread; taken by [`Log::close`].
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens the log in `dir` (created if missing), hands `sink` every intact record in the
    /// order of its writing as (type, payload, segment number), and starts the writer thread.
    /// Damage is no error: what is readable is read, and the report says what was not.
    ///
    /// The caller has locked the folder against other processes.
    ///
    /// # Errors
    /// [`LogError::Version`] for a segment of another version (nothing was changed then),
    /// [`LogError::Io`] if the folder cannot be made or listed or no thread can be started.
    pub fn open(
        dir: &Path,
        options: LogOptions,
        sink: impl FnMut(u8, &[u8], u32),
    ) -> Result<(Self, ReplayReport), LogError> {
        Self::open_on(Box::new(Disk), dir, options, sink)
    }

    pub(super) fn open_on(
        storage: Box<dyn Storage>,
        dir: &Path,
        options: LogOptions,
        mut sink: impl FnMut(u8, &[u8], u32),
    ) -> Result<(Self, ReplayReport), LogError> {
        private::make_folder(dir)
            .and_then(|()| sync_parent(dir))
            .map_err(|error| LogError::io("create the log's folder", dir, error))?;
        let (segments, report) = replay(dir, &mut sink)?;
        let salt = Salt::new(RandomState::new().build_hasher().finish());
        let shared = Arc::new(Shared::new(
            dir.to_path_buf(),
            storage,
            options,
            salt,
            segments,
        ));
        let writer = Writer::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| LogError::io("start the writer of", dir, error))?;
        Ok((
            Self {
                shared,
                writer: Mutex::new(Some(thread)),
            },
            report,
        ))
    }

    /// Appends one record. It has been taken, not written, when this returns: the ticket tells
    /// when it is durable. Cost: a CRC, and a copy under a short lock; no allocation once the
    /// buffers have grown to their usual size.
    ///
    /// # Panics
    /// In debug builds, for type 255, which the format keeps for itself.
    ///
    /// # Errors
    /// [`LogError::Busy`], [`LogError::TooLarge`], [`LogError::Degraded`] or
    /// [`LogError::Closed`]; nothing of the record was taken then.
    pub fn append(&self, record_type: u8, payload: &[u8]) -> Result<Ticket, LogError> {
        debug_assert_ne!(record_type, SYNC_TYPE, "255 marks sync records");
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(LogError::TooLarge {
                bytes: payload.len(),
            });
        }
        let crc = self.shared.salt.crc(record_type, payload);
        let limit = self.shared.options.pending_bytes;

        let mut pending = self.shared.pending.lock();
        if pending.closing {
            return Err(LogError::Closed);
        }
        if let Health::Degraded { reason, .. } = &pending.health {
            let reason = Arc::clone(reason);
            pending.stats.refused += 1;
            return Err(LogError::Degraded { reason });
        }
        let pending_bytes = pending.buffer.len();
        // One record always fits into an empty buffer, whatever the limit.
        if pending_bytes > 0 && pending_bytes + payload.len() > limit {
            pending.stats.busy += 1;
            return Err(LogError::Busy {
                pending_bytes,
                limit_bytes: limit,
            });
        }
        put_record(&mut pending.buffer, crc, record_type, payload);
        pending.records += 1;
        pending.stats.records += 1;
        let ticket = Ticket {
            batch: Arc::clone(&pending.batch),
            sequence: pending.stats.records,
            segment_floor: pending.segment_floor,
        };
        drop(pending);
        if pending_bytes == 0 {
            self.shared.work.notify_one();
        }
        Ok(ticket)
    }

    /// Closes the current segment and returns a number N: what was appended before this call is
    /// in segments before N, what is appended after it has returned is in N or later. Blocks
    /// until the writer has written what is pending.
    ///
    /// # Errors
    /// [`LogError::Closed`].
    pub fn rotate(&self) -> Result<u32, LogError> {
        let mut pending = self.shared.pending.lock();
        pending.rotations_wanted += 1;
        let mine = pending.rotations_wanted;
        self.shared.work.notify_one();
        while pending.rotations_done < mine {
            if pending.finished {
                return Err(LogError::Closed);
            }
            self.shared.rotated.wait(&mut pending);
        }
        Ok(pending.segment_floor)
    }

    /// The number of the segment that is being written, or of the one that will be begun next.
    #[must_use]
    pub fn current_segment(&self) -> u32 {
        self.shared.pending.lock().segment_floor
    }

    /// The segments on disk, ascending. No system call.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.pending.lock().segments.clone()
    }

    /// Removes the segments with numbers below `segment`, never the one being written. Returns
    /// what was removed.
    ///
    /// # Errors
    /// [`LogError::Io`] at the first file that cannot be removed; the others are kept.
    pub fn remove_before(&self, segment: u32) -> Result<Vec<SegmentInfo>, LogError> {
        let mut removed = Vec::new();
        let outcome = self.remove_each(segment, &mut removed);
        if !removed.is_empty() {
            let dir = &self.shared.dir;
            let synced = self.shared.storage.sync_dir(dir);
            synced.map_err(|error| LogError::io("sync the folder", dir, error))?;
        }
        outcome.map(|()| removed)
    }

    fn remove_each(&self, segment: u32, removed: &mut Vec<SegmentInfo>) -> Result<(), LogError> {
        loop {
            let oldest = {
                let pending = self.shared.pending.lock();
                let first = pending.segments.first().copied();
                first.filter(|info| info.number < segment.min(pending.segment_floor))
            };
            let Some(info) = oldest else { return Ok(()) };
            let path = segment_path(&self.shared.dir, info.number);
            match self.shared.storage.remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove the segment", path, error));
                }
                _ => {}
            }
            let mut pending = self.shared.pending.lock();
            pending.segments.retain(|kept| kept.number != info.number);
            removed.push(info);
        }
    }

    /// Makes `dir`, which is not there yet, a log that holds everything appended before this call,
    /// and perhaps some of what comes during it. Files are linked where the file system can, since
    /// what is closed never changes, and copied elsewhere. Blocks.
    ///
    /// # Errors
    /// [`LogError::Closed`], or [`LogError::Io`] where the folder cannot be written.
    pub fn copy_to(&self, dir: &Path) -> Result<(), LogError> {
        for _ in 0..COPY_TRIES {
            private::make_folder(dir)
                .map_err(|error| LogError::io("create the folder", dir, error))?;
            let end = self.rotate()?;
            if self.link_before(end, dir)? {
                return Ok(());
            }
            // A segment was removed, since what is in it stands elsewhere now: perhaps in one that
            // was not closed yet.
            std::fs::remove_dir_all(dir)
                .map_err(|error| LogError::io("remove the folder", dir, error))?;
        }
        let error = std::io::Error::other("its files are removed faster than they are copied");
        Err(LogError::io("copy the log to", dir, error))
    }

    /// Whether all that are closed are there now; `false` where one was removed meanwhile.
    fn link_before(&self, end: u32, dir: &Path) -> Result<bool, LogError> {
        let segments = self.segments();
        for info in segments.iter().filter(|info| info.number < end) {
            let from = segment_path(&self.shared.dir, info.number);
            let to = segment_path(dir, info.number);
            let linked = std::fs::hard_link(&from, &to);
            let copied = linked.or_else(|_other_disk| std::fs::copy(&from, &to).map(drop));
            match copied {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                copied => copied.map_err(|error| LogError::io("copy a file to", to, error))?,
            }
        }
        Ok(true)
    }

    /// Whether appends can become durable now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.pending.lock().health.clone()
    }

    /// How often the disk has failed since the log was opened. What was appended before a failure
    /// and has no outcome yet is lost with it; so of two records the second can only stand in the
    /// log without the first if this has changed between their appends.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.shared.failures.load(Ordering::Acquire)
    }

    /// Counters and sizes. No system call.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let pending = self.shared.pending.lock();
        LogStats {
            segments: pending.segments.len(),
            bytes: pending.segments.iter().map(|info| info.bytes).sum(),
            pending_bytes: pending.buffer.len(),
            ..pending.stats.clone()
        }
    }

    /// The log's folder.
    #[must_use]
    pub fn dir(&self) -> &PathBuf {
        &self.shared.dir
    }

    /// Refuses further appends, writes and syncs what is pending, and ends the writer thread.
    /// Every ticket has its outcome afterwards. A second call does nothing.
    pub fn close(&self) {
        self.shared.pending.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.writer.lock().take() {
            // A panic in the writer was printed by its hook, and its guard failed the tickets.
            drop(thread.join());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
