//! What is counted of the ingest log.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How much there was.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of the ingest log.
#[derive(Debug, Default)]
pub struct Figures {
    /// Entries that this server has sent.
    pub sent: Count,
    /// Their bytes.
    pub sent_bytes: Count,
    /// Frames that were sent again, since they were not known to have arrived.
    pub resent: Count,
    /// Entries of all servers that were taken in.
    pub applied: Count,
    /// Samples of others that were refused here, for want of room.
    pub refused: Count,
    /// Entries that could not be read.
    pub unreadable: Count,
    /// Segments of the log that could not be read, or not as a whole, to send again what is there.
    pub unreadable_segments: Count,
    /// Bytes that could not be kept until the others were there again, or were too large for an
    /// entry: they have not got them.
    pub lost_bytes: Count,
    /// How often more was missed than the log holds.
    pub gaps: Count,
}
