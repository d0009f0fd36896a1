//! When each group is evaluated, and when what groups are doing is kept.

use std::sync::{Arc, atomic::Ordering};

use pulseboard_rules::{Group, keep::KeptGroup};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Held, Rules};
use crate::base::documents::Expected;

/// Samples of a moment come a little after it: rules wait so long for them.
const SETTLE_MS: i64 = 20;

/// Groups that are evaluated at once, beside one that takes long.
const AT_ONCE: usize = 2;

/// How often what groups are doing is kept, where something changed.
const KEEP_MS: i64 = 2_000;

impl Rules {
    /// Has a group evaluated at `due_ms`, or at its next time where the clock was set back
    /// meanwhile.
    pub(super) fn schedule(&self, held: &Arc<Held>, due_ms: i64) {
        let ahead_ms = due_ms - self.clock.now_ms();
        let due_ms = match ahead_ms > held.every_ms {
            true => due_ms - ahead_ms.div_euclid(held.every_ms) * held.every_ms,
            false => due_ms,
        };
        let mut dues = self.dues.lock();
        dues.insert((due_ms, held.number), Arc::downgrade(held));
        drop(dues);
        self.more.notify_one();
    }

    /// Evaluates what is due, until `stopping`; then keeps how all of them are.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let fast = Arc::new(Semaphore::new(AT_ONCE));
        let slow = Arc::new(Semaphore::new(1));
        let mut keep_ms = self.clock.steady_ms() + KEEP_MS;
        let mut keeping: Option<JoinHandle<()>> = None;
        let mut steps = self.clock.steps();
        loop {
            if self.clock.steps() != steps {
                steps = self.clock.steps();
                self.schedule_anew();
            }
            if self.clock.steady_ms() >= keep_ms {
                keep_ms = self.clock.steady_ms() + KEEP_MS;
                // A disk that is slow holds up no rule.
                if keeping.as_ref().is_none_or(JoinHandle::is_finished) {
                    keeping = Some(self.keep(false));
                }
            }
            while let Some((held, due_ms)) = self.next_due() {
                let places = match held.is_slow.load(Ordering::Relaxed) {
                    true => Arc::clone(&slow),
                    false => Arc::clone(&fast),
                };
                tokio::spawn(Arc::clone(&self).evaluate_once(held, due_ms, places));
            }
            let first = self.dues.lock().keys().next().map(|(due_ms, _)| *due_ms);
            let next_ms = first.map_or(i64::MAX, |due_ms| due_ms + SETTLE_MS);
            tokio::select! {
                () = stopping.cancelled() => break,
                () = self.more.notified() => {}
                () = self.clock.sleep_until_or_step(next_ms, steps) => {}
                () = self.clock.sleep_until_steady(keep_ms) => {}
            }
        }
        for keeping in keeping.into_iter().chain([self.keep(true)]) {
            if keeping.await.is_err() {
                tracing::error!("keeping the state of rules panicked");
            }
        }
    }

    /// The group that has been due longest, if one is.
    fn next_due(&self) -> Option<(Arc<Held>, i64)> {
        let now_ms = self.clock.now_ms() - SETTLE_MS;
        let mut dues = self.dues.lock();
        loop {
            let first = dues.first_entry().filter(|first| first.key().0 <= now_ms)?;
            let ((due_ms, _), held) = first.remove_entry();
            // One that has gone, or was replaced, is not there any more.
            if let Some(held) = held.upgrade() {
                return Some((held, due_ms));
            }
        }
    }

    /// After a step of the clock.
    fn schedule_anew(&self) {
        let dues = std::mem::take(&mut *self.dues.lock());
        for ((due_ms, _), held) in dues {
            if let Some(held) = held.upgrade() {
                self.schedule(&held, due_ms);
            }
        }
    }

    async fn evaluate_once(self: Arc<Self>, held: Arc<Held>, due_ms: i64, places: Arc<Semaphore>) {
        // Never closed.
        let place = places.acquire_owned().await;
        let late_ms = (self.clock.now_ms() - SETTLE_MS - due_ms).max(0);
        let missed = late_ms / held.every_ms;
        self.missed.inc_by(missed.unsigned_abs());
        let at_ms = due_ms + missed * held.every_ms;
        let (working, one) = (Arc::clone(&self), Arc::clone(&held));
        let done = tokio::task::spawn_blocking(move || working.evaluate(&one, at_ms)).await;
        drop(place);
        match done {
            Ok(()) => self
                .evaluated_ms
                .store(self.clock.steady_ms(), Ordering::Relaxed),
            Err(_panic) => {
                tracing::error!(group = held.wanted.id.name, "evaluating rules panicked");
            }
        }
        self.schedule(&held, at_ms + held.every_ms);
    }

    /// Keeps the state of groups that changed, or of all, on a thread that may block.
    fn keep(self: &Arc<Self>, all: bool) -> JoinHandle<()> {
        let rules = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if !all {
                rules.end_strange();
            }
            let dirty: Vec<Arc<Held>> = {
                let groups = rules.groups.lock();
                let held = groups.by_id.values();
                held.filter(|held| all || held.is_dirty.load(Ordering::Relaxed))
                    .map(Arc::clone)
                    .collect()
            };
            for held in dirty {
                // One that is evaluated just now has its turn next time, but for the last.
                let group = match all {
                    true => Some(held.group.lock()),
                    false => held.group.try_lock(),
                };
                let Some(group) = group else { continue };
                held.is_dirty.store(false, Ordering::Relaxed);
                let kept = group.as_ref().map(Group::kept);
                drop(group);
                if let Some(kept) = kept {
                    rules.keep_one(&held.wanted.id.document(), kept);
                }
            }
        })
    }

    fn keep_one(&self, document: &str, mut kept: KeptGroup) {
        let is_nothing = kept
            .rules
            .iter()
            .all(|rule| rule.alerts.is_empty() && rule.written.is_empty() && rule.known.is_empty());
        if is_nothing && self.documents.get::<KeptGroup>(document).is_none() {
            return;
        }
        if self.documents.put(document, Expected::Any, &kept).is_ok() {
            return;
        }
        // Too large: what was written ends by itself after five minutes; alerts are what counts.
        for rule in &mut kept.rules {
            rule.written.clear();
        }
        if let Err(error) = self.documents.put(document, Expected::Any, &kept) {
            tracing::warn!(group = kept.name, %error, "the state of rules could not be kept");
        }
    }
}
