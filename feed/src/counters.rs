//! What feeds count.

use std::sync::atomic::AtomicU64;

/// Counters of all feeds of a fan-out. Relaxed atomics: each figure is right, two of them may be a
/// moment apart.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames handed to sockets.
    pub frames_sent: AtomicU64,
    /// Bytes handed to sockets.
    pub bytes_sent: AtomicU64,
    /// Frames that viewers were too slow for and got merged.
    pub frames_skipped: AtomicU64,
    /// Members whose delivery panicked; each was ended alone.
    pub panics: AtomicU64,
    /// Times that the oldest of a log went because all logs together were too large.
    pub logs_shortened: AtomicU64,
}
