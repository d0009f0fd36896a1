//! The writer thread: the one place where segments are written, synced, closed and begun.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use super::{
    Durability, Health, LogError, SegmentInfo,
    record::{SEGMENT_HEADER_BYTES, SYNC_EVERY_BYTES, segment_header, sync_record},
    replay::segment_path,
    shared::Shared,
    storage::SegmentFile,
    ticket::Batch,
};

/// Buffers above this are given back once they are mostly unused.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The segment that is being written.
#[derive(Debug)]
struct Open {
    file: Box<dyn SegmentFile>,
    number: u32,
    /// Written so far.
    bytes: u64,
    /// Up to here everything was acknowledged; the rest goes if a write fails.
    good_bytes: u64,
    /// Where the last sync record stands.
    sync_at: u64,
}

/// Records taken from the buffer. Dropped without an outcome (a panic), it fails its tickets.
struct Taken {
    batch: Arc<Batch>,
    records: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.batch.complete(Err(LogError::Closed));
    }
}

/// Owns the open segment.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    open: Option<Open>,
    next_number: u32,
    spare: Vec<u8>,
    /// Set while degraded.
    retry_at: Option<Instant>,
    /// When the present trouble began; over with the first batch that succeeds.
    failing_since: Option<SystemTime>,
}

enum Task {
    Write(Taken),
    Rotate(u64),
    Probe,
    End,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let next_number = shared.pending.lock().segment_floor;
        Self {
            shared,
            open: None,
            next_number,
            spare: Vec::new(),
            retry_at: None,
            failing_since: None,
        }
    }

    pub(super) fn run(mut self) {
        let guard = Ending(Arc::clone(&self.shared));
        loop {
            match self.next_task() {
                Task::Write(taken) => self.write(taken),
                Task::Rotate(through) => {
                    self.close_segment();
                    self.shared.pending.lock().rotations_done = through;
                    self.shared.rotated.notify_all();
                }
                Task::Probe => self.probe(),
                Task::End => break,
            }
        }
        self.close_segment();
        drop(guard);
    }

    /// Waits for something to do. What is pending comes before a rotation, which comes before
    /// the end.
    fn next_task(&mut self) -> Task {
        let mut pending = self.shared.pending.lock();
        loop {
            if !pending.buffer.is_empty() {
                self.spare.clear();
                std::mem::swap(&mut pending.buffer, &mut self.spare);
                let batch = std::mem::take(&mut pending.batch);
                let records = std::mem::take(&mut pending.records);
                return Task::Write(Taken { batch, records });
            }
            if pending.rotations_done < pending.rotations_wanted {
                return Task::Rotate(pending.rotations_wanted);
            }
            if pending.closing {
                return Task::End;
            }
            match self.retry_at {
                None => self.shared.work.wait(&mut pending),
                Some(at) if at <= Instant::now() => return Task::Probe,
                Some(at) => drop(self.shared.work.wait_until(&mut pending, at)),
            }
        }
    }

    fn write(&mut self, taken: Taken) {
        let bytes = std::mem::take(&mut self.spare);
        let outcome = self.write_batch(&bytes);
        match outcome {
            Ok((info, sync_time)) => {
                self.failing_since = None;
                let mut pending = self.shared.pending.lock();
                pending.stats.durable += taken.records;
                pending.stats.writes += 1;
                if let Some(time) = sync_time {
                    pending.stats.syncs += 1;
                    pending.stats.sync_time += time;
                    pending.stats.sync_time_max = pending.stats.sync_time_max.max(time);
                }
                if let Some(last) = pending.segments.last_mut() {
                    last.bytes = info.bytes;
                }
                drop(pending);
                taken.batch.complete(Ok(()));
                if info.bytes >= self.shared.options.segment_bytes {
                    self.close_segment();
                }
            }
            Err((action, error)) => self.fail(action, &error, Some(taken)),
        }
        self.spare = bytes;
        if self.spare.capacity() > BUFFER_KEPT_BYTES.max(4 * self.spare.len()) {
            self.spare = Vec::new();
        }
    }

    fn write_batch(
        &mut self,
        bytes: &[u8],
    ) -> Result<(SegmentInfo, Option<std::time::Duration>), (&'static str, io::Error)> {
        if self.open.is_none() {
            self.begin_segment()?;
        }
        let Some(open) = self.open.as_mut() else {
            return Err(("begin a segment", io::ErrorKind::NotFound.into()));
        };
        if open.bytes - open.sync_at >= SYNC_EVERY_BYTES {
            let record = sync_record(&self.shared.salt, open.bytes);
            open.file
                .write_all(&record)
                .map_err(|error| ("write", error))?;
            open.sync_at = open.bytes;
            open.bytes += record.len() as u64;
        }
        open.file
            .write_all(bytes)
            .map_err(|error| ("write", error))?;
        open.bytes += bytes.len() as u64;
        let mut sync_time = None;
        if self.shared.options.durability == Durability::Fsync {
            let started = Instant::now();
            open.file.sync().map_err(|error| ("sync", error))?;
            sync_time = Some(started.elapsed());
        }
        open.good_bytes = open.bytes;
        Ok((
            SegmentInfo {
                number: open.number,
                bytes: open.bytes,
            },
            sync_time,
        ))
    }

    /// Creates the next segment with its header, durable in the folder. Its content is synced
    /// with its first batch.
    fn begin_segment(&mut self) -> Result<(), (&'static str, io::Error)> {
        let number = self.next_number;
        // Counted on in any case: a name that was tried is never tried again.
        self.next_number = number.saturating_add(1);
        let path = segment_path(&self.shared.dir, number);
        let mut file = self
            .shared
            .storage
            .create(&path)
            .map_err(|error| ("create", error))?;
        let header = segment_header(number, &self.shared.salt);
        let begun = file
            .write_all(&header)
            .map_err(|error| ("write the header of", error))
            .and_then(|()| {
                let synced = self.shared.storage.sync_dir(&self.shared.dir);
                synced.map_err(|error| ("sync the folder of", error))
            });
        if let Err(failure) = begun {
            // The file is of no use; if it cannot go now, the next start removes it.
            drop(self.shared.storage.remove(&path));
            return Err(failure);
        }
        let bytes = SEGMENT_HEADER_BYTES as u64;
        self.open = Some(Open {
            file,
            number,
            bytes,
            good_bytes: bytes,
            sync_at: bytes,
        });
        let mut pending = self.shared.pending.lock();
        pending.segment_floor = number;
        pending.segments.push(SegmentInfo { number, bytes });
        Ok(())
    }

    /// Ends the open segment, if there is one; the next batch begins another.
    fn close_segment(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        let unsynced = self.shared.options.durability == Durability::Write;
        if unsynced && let Err(error) = open.file.sync() {
            self.fail("sync", &error, None);
        }
        self.shared.pending.lock().segment_floor = self.next_number;
    }

    /// The disk failed: fails everything that waits, gives the segment up, refuses appends.
    fn fail(&mut self, action: &'static str, error: &io::Error, taken: Option<Taken>) {
        let (number, removed) = self.give_up_segment();
        let path = segment_path(&self.shared.dir, number);
        let reason: Arc<str> = format!("{action} {path:?}: {error}").into();
        let since = *self.failing_since.get_or_insert_with(SystemTime::now);
        self.retry_at = Some(Instant::now() + self.shared.options.retry_after);

        let mut pending = self.shared.pending.lock();
        pending.health = Health::Degraded {
            reason: Arc::clone(&reason),
            since,
        };
        pending.segment_floor = self.next_number;
        if removed {
            pending.segments.retain(|info| info.number != number);
        }
        pending.stats.failures += 1;
        self.shared.failures.fetch_add(1, Ordering::Release);
        pending.stats.last_error = Some(Arc::clone(&reason));
        // What was gathered meanwhile waits for a disk that just failed: it fails as well.
        pending.buffer.clear();
        let gathered = std::mem::take(&mut pending.batch);
        let records = std::mem::take(&mut pending.records);
        pending.stats.failed += records + taken.as_ref().map_or(0, |taken| taken.records);
        drop(pending);

        let outcome = LogError::Degraded { reason };
        if let Some(taken) = taken {
            taken.batch.complete(Err(outcome.clone()));
        }
        gathered.complete(Err(outcome));
    }

    /// Cuts the open segment back to what was acknowledged, or removes it if that is nothing.
    /// Best effort, on a disk that has just failed: what stays is refused by its CRC, or is
    /// whole and was merely never acknowledged.
    fn give_up_segment(&mut self) -> (u32, bool) {
        let Some(mut open) = self.open.take() else {
            return (self.next_number.saturating_sub(1), false);
        };
        if open.good_bytes > SEGMENT_HEADER_BYTES as u64 {
            drop(
                open.file
                    .truncate(open.good_bytes)
                    .and_then(|()| open.file.sync()),
            );
            return (open.number, false);
        }
        let path = segment_path(&self.shared.dir, open.number);
        (open.number, self.shared.storage.remove(&path).is_ok())
    }

    /// While degraded: tries to begin a segment, synced, and takes appends again if that works.
    fn probe(&mut self) {
        let outcome = self
            .begin_segment()
            .and_then(|()| match self.open.as_mut() {
                Some(open) => open.file.sync().map_err(|error| ("sync", error)),
                None => Ok(()),
            });
        match outcome {
            Ok(()) => {
                self.retry_at = None;
                self.shared.pending.lock().health = Health::Ready;
            }
            Err((action, error)) => self.fail(action, &error, None),
        }
    }
}

/// Runs when the writer ends, also by a panic: nobody waits for it any more.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut pending = self.0.pending.lock();
        pending.closing = true;
        pending.finished = true;
        pending.buffer.clear();
        std::mem::take(&mut pending.batch).complete(Err(LogError::Closed));
        drop(pending);
        self.0.rotated.notify_all();
    }
}
