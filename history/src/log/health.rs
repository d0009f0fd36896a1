//! What the log says about itself: health for readiness, counters for metrics.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Whether appends can become durable now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// They can.
    Ready,
    /// The last write, sync or creation of a segment failed; appends are refused until an
    /// attempt succeeds.
    Degraded {
        /// What failed, which file, and the system's words.
        reason: Arc<str>,
        /// When it first failed.
        since: SystemTime,
    },
}

/// Counters since the log was opened, and what is on disk now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Segments on disk.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that wait for the writer.
    pub pending_bytes: usize,
    /// Records taken by `append`.
    pub records: u64,
    /// Records that became durable.
    pub durable: u64,
    /// Records that were taken and failed with the disk.
    pub failed: u64,
    /// Appends refused because the buffer was full.
    pub busy: u64,
    /// Appends refused because the disk had failed.
    pub refused: u64,
    /// Writes, each of which carried one or more records.
    pub writes: u64,
    /// Syncs that succeeded, and how long they took in all.
    pub syncs: u64,
    /// Sum of the durations of those syncs.
    pub sync_time: Duration,
    /// The longest of them.
    pub sync_time_max: Duration,
    /// Writes, syncs and creations that failed.
    pub failures: u64,
    /// The newest failure's reason, kept after recovery.
    pub last_error: Option<Arc<str>>,
}
