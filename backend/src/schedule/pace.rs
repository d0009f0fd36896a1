//! The moments of periodic work, aligned to the wall clock.

use tokio_util::sync::CancellationToken;

use crate::base::clock::Clock;
/// The first multiple of `interval_ms` after `now_ms`.
pub(super) fn next_aligned(now_ms: i64, interval_ms: i64) -> i64 {
    (now_ms.div_euclid(interval_ms) + 1) * interval_ms
}

/// The multiple of `interval_ms` that is nearest to `now_ms`.
fn nearest_aligned(now_ms: i64, interval_ms: i64) -> i64 {
    (now_ms + interval_ms / 2).div_euclid(interval_ms) * interval_ms
}

/// Runs `work` at every multiple of `interval_ms` until `stopping`; `work` gets the moment that
/// it was planned for and how many were skipped before it because the work was late. When the
/// clock is set it goes on at the nearest multiple of the new time, so that no more than one and a
/// half intervals lie between two runs.
pub(super) async fn every(
    clock: &Clock,
    interval_ms: i64,
    stopping: &CancellationToken,
    mut work: impl FnMut(i64, u64),
) {
    let mut pace = Pace::new(clock, interval_ms, stopping);
    while let Some((due_ms, skipped)) = pace.next().await {
        work(due_ms, skipped);
    }
}

/// The moments of periodic work; see [`every`].
pub(super) struct Pace<'a> {
    clock: &'a Clock,
    interval_ms: i64,
    stopping: &'a CancellationToken,
    steps: (u64, u64),
    due_ms: i64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(clock: &'a Clock, interval_ms: i64, stopping: &'a CancellationToken) -> Self {
        Self {
            clock,
            interval_ms,
            stopping,
            steps: clock.steps(),
            due_ms: next_aligned(clock.now_ms(), interval_ms),
        }
    }

    /// Waits for the next moment; `None` when it is over.
    pub(super) async fn next(&mut self) -> Option<(i64, u64)> {
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.clock.sleep_until_or_step(self.due_ms, self.steps) => {}
            }
            let now_ms = self.clock.now_ms();
            if self.steps != self.clock.steps() {
                self.steps = self.clock.steps();
                self.due_ms = nearest_aligned(now_ms, self.interval_ms);
                if self.due_ms > now_ms {
                    continue;
                }
            }
            // The newest moment that is due; those before it were missed.
            let late_by = (now_ms - self.due_ms).max(0) / self.interval_ms;
            let due_ms = self.due_ms + late_by * self.interval_ms;
            self.due_ms = due_ms + self.interval_ms;
            return Some((due_ms, late_by.unsigned_abs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn work_is_aligned_and_late_work_is_skipped_not_piled_up() {
        let clock = Clock::manual(10_300);
        let stopping = CancellationToken::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let (clock, stopping, seen) = (clock.clone(), stopping.clone(), Arc::clone(&seen));
            async move {
                every(&clock, 1_000, &stopping, |due_ms, skipped| {
                    seen.lock().push((due_ms, skipped))
                })
                .await
            }
        });
        for (step_ms, expected) in [
            (699, vec![]),
            (1, vec![(11_000, 0)]),
            (1_000, vec![(11_000, 0), (12_000, 0)]),
            (5_200, vec![(11_000, 0), (12_000, 0), (17_000, 4)]),
            (
                800,
                vec![(11_000, 0), (12_000, 0), (17_000, 4), (18_000, 0)],
            ),
        ] {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_millis(step_ms));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(*seen.lock(), expected);
        }
        stopping.cancel();
        assert!(task.await.is_ok());
    }

    #[tokio::test]
    async fn a_clock_that_is_set_moves_the_work_along_and_leaves_no_hole() {
        let clock = Clock::manual(7_200_300);
        let stopping = CancellationToken::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let (clock, stopping, seen) = (clock.clone(), stopping.clone(), Arc::clone(&seen));
            async move {
                every(&clock, 1_000, &stopping, |due_ms, skipped| {
                    seen.lock().push((due_ms, skipped, clock.steady_ms()));
                })
                .await
            }
        });
        let settle = async || {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        };
        let second = Duration::from_secs(1);
        settle().await;
        clock.advance(second);
        settle().await;
        // Back by an hour, right behind a multiple: the work is done at once.
        clock.set_by(-3_600_000);
        settle().await;
        clock.advance(second);
        settle().await;
        // Forward, right before one: the work is done when it has come.
        clock.set_by(3_600_500);
        settle().await;
        clock.advance(Duration::from_millis(200));
        settle().await;
        clock.advance(second);
        settle().await;
        assert_eq!(
            *seen.lock(),
            [
                (7_201_000, 0, 7_201_300),
                (3_601_000, 0, 7_201_300),
                (3_602_000, 0, 7_202_300),
                (7_203_000, 0, 7_202_500),
                (7_204_000, 0, 7_203_500),
            ]
        );
        stopping.cancel();
        assert!(task.await.is_ok());
    }
}
