//! What maintenance remembers from round to round.

/// When the log's segment was ended last, and how long the log is.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    pub(super) rotated_ms: i64,
    pub(super) log_bytes: u64,
}
