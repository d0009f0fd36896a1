//! Who has other servers take in what came in here.

use std::fmt;

use pulseboard_history::log::Ticket;
use pulseboard_series::Batch;

/// What the engine has just taken in.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// Its rows; those without a time came at [`Self::now_ms`].
    pub batch: &'a Batch,
    /// Places of the rows that were refused.
    pub refused: &'a [u32],
    /// When it came, Unix milliseconds.
    pub now_ms: i64,
    /// What [`Share::begin`] said.
    pub began: u64,
    /// Whether it has another value for a moment that had one, or something older than windows:
    /// what that leaves depends on the order.
    pub is_ordered: bool,
}

/// Has other servers take in what came in here.
pub trait Share: fmt::Debug + Send + Sync {
    /// How things stand in a tenant's part before the first row of a batch is taken.
    fn begin(&self, tenant: &str) -> u64;

    /// Takes a batch, before the history's log does. Must not wait. Returned is what says when
    /// others have it, or that it stands where they will get it from.
    fn take(&self, taken: &Taken<'_>) -> Vec<Ticket>;
}
