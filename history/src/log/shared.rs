//! What appenders and the writer thread share, and its two locks' rules.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU32},
};

use parking_lot::{Condvar, Mutex};

use super::{
    Health, LogOptions, LogStats, SegmentInfo, record::Salt, storage::Storage, ticket::Batch,
};

/// What appenders and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) storage: Box<dyn Storage>,
    pub(super) options: LogOptions,
    pub(super) salt: Salt,
    /// Held for a copy or a swap only, never over a system call.
    pub(super) pending: Mutex<Pending>,
    /// How often the disk has failed; counted under `pending`'s lock, before anything is taken
    /// again.
    pub(super) failures: AtomicU32,
    /// Something is pending, or the log is closing: wakes the writer.
    pub(super) work: Condvar,
    /// A rotation was done, or the writer ended.
    pub(super) rotated: Condvar,
}

/// What has been appended and not yet been taken by the writer, and what is known of the disk.
#[derive(Debug)]
pub(super) struct Pending {
    /// Whole records; swapped with the writer's spare buffer.
    pub(super) buffer: Vec<u8>,
    /// How many.
    pub(super) records: u64,
    /// Completes their tickets; replaced when the buffer is taken.
    pub(super) batch: Arc<Batch>,
    /// No record in `buffer`, nor any later one, goes into a segment below this.
    pub(super) segment_floor: u32,
    pub(super) rotations_wanted: u64,
    pub(super) rotations_done: u64,
    /// Set by `close`; the writer ends once the buffer is empty.
    pub(super) closing: bool,
    /// Set by the writer as its last act.
    pub(super) finished: bool,
    pub(super) health: Health,
    pub(super) segments: Vec<SegmentInfo>,
    pub(super) stats: LogStats,
}

impl Shared {
    pub(super) fn new(
        dir: PathBuf,
        storage: Box<dyn Storage>,
        options: LogOptions,
        salt: Salt,
        segments: Vec<SegmentInfo>,
    ) -> Self {
        let segment_floor = segments
            .last()
            .map_or(1, |last| last.number.saturating_add(1));
        let pending = Pending {
            buffer: Vec::new(),
            records: 0,
            batch: Arc::default(),
            segment_floor,
            rotations_wanted: 0,
            rotations_done: 0,
            closing: false,
            finished: false,
            health: Health::Ready,
            segments,
            stats: LogStats::default(),
        };
        Self {
            dir,
            storage,
            options,
            salt,
            pending: Mutex::new(pending),
            failures: AtomicU32::new(0),
            work: Condvar::new(),
            rotated: Condvar::new(),
        }
    }
}
