//! Tickets: what a writer holds until its record is durable.
//!
//! All records that one write carries share one [`Batch`], so completing thousands of tickets
//! costs one store and one wake-up each, a failure stays with exactly the records it hit, and
//! nothing is kept for tickets that nobody waits for.

use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::LogError;

/// The records of one write. Completed exactly once, by the writer thread.
#[derive(Debug, Default)]
pub(super) struct Batch {
    outcome: OnceLock<Result<(), LogError>>,
    blocked: Mutex<()>,
    completed: Condvar,
    notify: Notify,
}

impl Batch {
    /// The first outcome stands: a batch that failed never turns into a success.
    pub(super) fn complete(&self, outcome: Result<(), LogError>) {
        if self.outcome.set(outcome).is_ok() {
            // The lock orders this after a waiter's last look at the outcome.
            drop(self.blocked.lock());
            self.completed.notify_all();
            self.notify.notify_waiters();
        }
    }
}

/// One appended record on its way to the disk. Dropping it changes nothing: the record is
/// written all the same.
#[derive(Clone, Debug)]
#[must_use = "the record is durable only once the ticket says so"]
pub struct Ticket {
    pub(super) batch: Arc<Batch>,
    pub(super) sequence: u64,
    pub(super) segment_floor: u32,
}

/// Completes a [`Ticket`] that is no record of a log: for who makes something safe in another way,
/// and whose callers wait as for a log. Dropped, it completes as [`LogError::Closed`].
#[derive(Debug)]
pub struct Promise(Arc<Batch>);

impl Promise {
    /// Says what became of it.
    pub fn complete(self, outcome: Result<(), LogError>) {
        self.0.complete(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.complete(Err(LogError::Closed));
    }
}

impl Ticket {
    /// One that is completed by the promise.
    pub fn promised() -> (Promise, Self) {
        let batch = Arc::<Batch>::default();
        let ticket = Self {
            batch: Arc::clone(&batch),
            sequence: 0,
            segment_floor: 0,
        };
        (Promise(batch), ticket)
    }

    /// Waits until the record is durable.
    ///
    /// Cancel safe: can be dropped and called again.
    ///
    /// # Errors
    /// [`LogError::Degraded`] if the disk failed under it: the record is not durable and will
    /// not become so. [`LogError::Closed`] if the log ended before it was written.
    pub async fn wait(&self) -> Result<(), LogError> {
        loop {
            // Registered before the look, so that a completion between the two is seen.
            let notified = self.batch.notify.notified();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            notified.await;
        }
    }

    /// As [`Ticket::wait`], for threads.
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn wait_blocking(&self) -> Result<(), LogError> {
        let mut guard = self.batch.blocked.lock();
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            self.batch.completed.wait(&mut guard);
        }
    }

    /// The outcome, if there is one already.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), LogError>> {
        self.batch.outcome.get().cloned()
    }

    /// Place in the order of this run's appends, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The record is in this segment or a later one: segments before it can go without it.
    #[must_use]
    pub fn segment_floor(&self) -> u32 {
        self.segment_floor
    }
}
