//! What is gathered becomes frames: the first at once, the next ones a pace apart.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::{Semaphore, mpsc};

use crate::base::clock::Clock;

/// Frames of one feed are at least this far apart.
const PACE_MS: i64 = 50;

/// A feed that is written from what was gathered for it.
pub trait Flushable: Send + Sync {
    /// When it was written last.
    fn flushed(&self) -> &LastFlush;

    /// Whether series that appeared are to be compared first, which may take long.
    fn has_newcomers(&self) -> bool;

    /// Compares what appeared, for a bounded time. Blocks.
    fn attach_newcomers(&self);

    /// Makes a frame of what has been gathered.
    fn flush(&self);
}

/// What the flusher is to look at.
#[derive(Clone, Debug)]
pub struct Due(pub Weak<dyn Flushable>);

/// When a feed was written last, in steady milliseconds.
#[derive(Debug)]
pub struct LastFlush(AtomicI64);

impl Default for LastFlush {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN / 2))
    }
}

/// Makes frames of what is gathered, as it comes, until `stopping`.
pub async fn flush(
    clock: Clock,
    mut dues: mpsc::Receiver<Due>,
    stopping: tokio_util::sync::CancellationToken,
) {
    // One after the other, in the order in which they were due: however dear a selector is, it
    // takes one core, and others have their turn between.
    let seating = Arc::new(Semaphore::new(1));
    loop {
        let due = tokio::select! {
            () = stopping.cancelled() => return,
            due = dues.recv() => due,
        };
        let Some(due) = due else { return };
        let Some(flushed_ms) = due.last_flush() else {
            continue;
        };
        let at_ms = flushed_ms + PACE_MS;
        if clock.steady_ms() >= at_ms && !due.is_dear() {
            due.flush(clock.steady_ms());
        } else {
            // One for each feed at most: it is not due again before it has been flushed.
            let (clock, stopping) = (clock.clone(), stopping.clone());
            let seating = Arc::clone(&seating);
            tokio::spawn(async move {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = clock.sleep_until_steady(at_ms) => {}
                }
                if !due.is_dear() {
                    return due.flush(clock.steady_ms());
                }
                // Never closed.
                let turn = seating.acquire_owned().await;
                let seat = move || {
                    due.attach_newcomers();
                    due.flush(clock.steady_ms());
                    drop(turn);
                };
                if let Err(error) = tokio::task::spawn_blocking(seat).await {
                    tracing::error!(%error, "comparing new series with a selector panicked");
                }
            });
        }
    }
}

impl Due {
    /// `None` where the feed has ended.
    fn last_flush(&self) -> Option<i64> {
        let feed = self.0.upgrade()?;
        Some(feed.flushed().0.load(Ordering::Relaxed))
    }

    fn is_dear(&self) -> bool {
        self.0.upgrade().is_some_and(|feed| feed.has_newcomers())
    }

    fn attach_newcomers(&self) {
        if let Some(feed) = self.0.upgrade() {
            feed.attach_newcomers();
        }
    }

    fn flush(&self, now_ms: i64) {
        if let Some(feed) = self.0.upgrade() {
            feed.flushed().0.store(now_ms, Ordering::Relaxed);
            feed.flush();
        }
    }
}
