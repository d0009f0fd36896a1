//! What the newest writing anew of the blocks' file came to.

use std::time::Instant;

/// The newest attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compacted {
    pub(crate) at: Instant,
    /// What the file took after it, and what was in it.
    pub(crate) file_bytes: u64,
    pub(crate) held_bytes: u64,
}
