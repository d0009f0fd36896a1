//! Who sends on what comes in.

use std::fmt;

use pulseboard_history::log::Ticket;
use pulseboard_series::Batch;

/// Sends on what came in.
pub trait Onward: fmt::Debug + Send + Sync {
    /// Takes a tenant's rows, but for those at the places `refused`, which the engine did not take;
    /// rows without a time came at `now_ms`. Must not wait for a disk or a receiver. Returned is
    /// what says when they outlive the end of the process.
    fn take(&self, tenant: &str, batch: &Batch, refused: &[u32], now_ms: i64) -> Vec<Ticket>;

    /// The same of what came in at another server and was shared, which it sends on, too; unless
    /// one server sends on what all have, that is nothing.
    fn take_shared(
        &self,
        _tenant: &str,
        _batch: &Batch,
        _refused: &[u32],
        _now_ms: i64,
    ) -> Vec<Ticket> {
        Vec::new()
    }
}
