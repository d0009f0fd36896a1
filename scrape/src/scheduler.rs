//! One clock for all targets: each is due at its own offset within its interval, which hangs on
//! nothing but the target, so that load is even and stays so across restarts.
//!
//! What is due becomes a task that ends within the target's time-out; nobody waits for it.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{active::ActiveTarget, context::Context, scrape::scrape, times::until_next};

/// Targets and when they are next due.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    sooner: Notify,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    target: Arc<ActiveTarget>,
    /// Of the target when it was put here; another one means that it was put here anew.
    generation: u64,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Scheduler {
    /// Has a target scraped from its next moment on, in place of what was planned for it.
    pub(crate) fn plan(&self, target: &Arc<ActiveTarget>, now_ms: i64) {
        let generation = target.next_generation();
        let at = Instant::now() + until_next(&target.times(), now_ms);
        self.due.lock().push(Reverse(Due {
            at,
            target: Arc::clone(target),
            generation,
        }));
        self.sooner.notify_one();
    }

    /// Scrapes what is due until `stop`.
    pub(crate) async fn run(
        &self,
        context: Arc<Context>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let next = self.due.lock().peek().map(|Reverse(due)| due.at);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sooner.notified() => continue,
                () = wait(next) => {}
            }
            while let Some(due) = self.next_due() {
                if due.target.generation() != due.generation {
                    continue;
                }
                let now_ms = context.clock.now_ms();
                let times = due.target.times();
                let at_ms = times.stamp(now_ms);
                if !context.turns.is_ours(&due.target.endpoint()) {
                    due.target.leave_to_others();
                } else if let Some(busy) = due.target.begin() {
                    let scraped = scrape(Arc::clone(&context), busy, at_ms);
                    tasks.spawn(stop.clone().run_until_cancelled_owned(scraped));
                }
                let at = Instant::now() + until_next(&times, now_ms);
                self.due.lock().push(Reverse(Due { at, ..due }));
            }
        }
    }

    fn next_due(&self) -> Option<Due> {
        let mut due = self.due.lock();
        let is_due = due
            .peek()
            .is_some_and(|Reverse(due)| due.at <= Instant::now());
        is_due.then(|| due.pop()).flatten().map(|Reverse(due)| due)
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
