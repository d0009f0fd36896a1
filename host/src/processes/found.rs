//! One process, as a system has it.

use std::time::Duration;

/// What a system says of one process.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) pid: u32,
    /// When it began, in the system's own count: tells processes apart that had one number.
    pub(super) began: u64,
    pub(super) name: String,
    /// Processor time so far.
    pub(super) cpu: Duration,
    pub(super) memory_bytes: u64,
}
