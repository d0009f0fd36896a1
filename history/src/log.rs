//! A segmented append log with group commit: what is acknowledged here survives `kill -9` and,
//! with [`Durability::Fsync`], a power cut.
//!
//! Many threads append records; one writer thread takes everything gathered since its last
//! write, writes it with one call, syncs it once, and completes the [`Ticket`]s of all of them.
//! The log knows nothing of what the payloads mean.
//!
//! # On disk
//!
//! A folder of segments `00000001.log`, `00000002.log`, … numbers only grow. Each run of the
//! process begins a new segment; nothing is ever appended to one that an earlier run wrote.
//!
//! ```text
//! segment  = header record*
//! header   = "PBLOGSEG" | version u32 | segment number u32 | salt u64 | crc32 u32      28 bytes
//! record   = payload length u32 | crc32 u32 | type u8 | payload
//! sync     = a record of type 0xff whose payload is  salt u64 | its own offset u64
//! ```
//!
//! All numbers are little-endian. A record's CRC covers salt, length, type and payload. The salt
//! is random and new for each run, so bytes inside a payload (which strangers send) can never
//! pass for a record. A sync record stands wherever a write begins and 64 KiB have passed since
//! the last one: after damage that took a length field with it, the reader finds the next place
//! to go on by it.
//!
//! # When the disk fails
//!
//! After a failed write or sync every waiting ticket fails with the reason, the segment is cut
//! back to what was durable and closed for ever, and appends are refused with
//! [`LogError::Degraded`] (see [`Log::health`]). The writer tries to begin a new segment every
//! [`LogOptions::retry_after`] and takes appends again as soon as that works. A failed `fsync`
//! is never repeated for the same data: the kernel may have dropped the dirty pages, and a
//! second call would succeed without them.

use std::{path::PathBuf, sync::Arc, time::Duration};

mod handle;
mod health;
mod record;
mod replay;
mod scanner;
mod shared;
mod storage;
mod ticket;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use storage::sync_parent;

pub use handle::Log;
pub use health::{Health, LogStats};
pub use record::MAX_PAYLOAD_BYTES;
pub use replay::{ReadSegment, ReplayReport, Skipped, TornTail, read_segment};
pub use ticket::{Promise, Ticket};

/// What an acknowledgement promises. A server that promises nothing (`memory`) opens no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Written and synced: survives the process and a power cut.
    #[default]
    Fsync,
    /// Written: survives the process, not the machine. Segments are synced when they are closed.
    Write,
}

/// How a log is kept. The defaults fit one server that takes metrics.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// What a completed [`Ticket`] promises.
    pub durability: Durability,
    /// A new segment begins once this many bytes are in one (default 32 MiB). Smaller: space is
    /// given back sooner after sealing; larger: fewer files. A single write may overshoot it.
    pub segment_bytes: u64,
    /// At most this many bytes wait for the writer (default 64 MiB); past it appends are refused
    /// with [`LogError::Busy`] and counted. At most twice this is held in memory.
    pub pending_bytes: usize,
    /// Pause between attempts to begin a new segment after a failure (default 1 s).
    pub retry_after: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes: 32 << 20,
            pending_bytes: 64 << 20,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// A segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number, which is also its file's name.
    pub number: u32,
    /// Size of the file, header included, as far as written.
    pub bytes: u64,
}

/// Why the log cannot do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The buffer towards the writer is full: the disk is slower than what arrives. Nothing of
    /// this record was taken; the caller answers 503.
    #[error("{pending_bytes} bytes wait to be written, and {limit_bytes} are the limit")]
    Busy {
        /// What waits.
        pending_bytes: usize,
        /// [`LogOptions::pending_bytes`].
        limit_bytes: usize,
    },
    /// One payload beyond [`MAX_PAYLOAD_BYTES`].
    #[error("a record of {bytes} bytes is beyond the limit of {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// The payload's size.
        bytes: usize,
    },
    /// The disk failed. Of a ticket: this record is not durable, and never will be by itself.
    #[error("the log cannot be written: {reason}")]
    Degraded {
        /// What failed, which file, and the system's words.
        reason: Arc<str>,
    },
    /// The log is being closed.
    #[error("the log is closed")]
    Closed,
    /// A segment of a version this build does not know. Nothing was changed.
    #[error("{file:?} is a log of version {found}; this build reads version {supported}")]
    Version {
        /// The segment.
        file: PathBuf,
        /// The version it says.
        found: u32,
        /// What this build reads.
        supported: u32,
    },
    /// The folder or a file in it cannot be listed, read or removed.
    #[error("{action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The system's answer.
        source: Arc<std::io::Error>,
    },
}

impl LogError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
    ) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source: Arc::new(source),
        }
    }
}
