//! What one Alertmanager waits for, and what became of what it was sent.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use pulseboard_scrape::alertmanagers::Alertmanager;
use tokio::sync::Notify;

/// Alerts that wait for one Alertmanager; past it the oldest is dropped and counted.
const WAITING_MAX: usize = 10_000;

/// An Alertmanager that is told.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) number: u64,
    /// How it is told; a reload may change it. Leaf lock.
    who: Mutex<Alertmanager>,
    /// Leaf lock.
    waiting: Mutex<Waiting>,
    pub(super) wake: Notify,
    pub(super) counts: Counts,
}

/// Numbers of alerts, each once.
#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

/// Alerts, but for `failures`, which are requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) relabelled_away: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Lane {
    pub(super) fn new(number: u64, who: Alertmanager) -> Self {
        Self {
            number,
            who: Mutex::new(who),
            waiting: Mutex::default(),
            wake: Notify::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn who(&self) -> Alertmanager {
        self.who.lock().clone()
    }

    /// It is told so from now on.
    pub(super) fn set_who(&self, who: Alertmanager) {
        *self.who.lock() = who;
    }

    /// Puts alerts behind those that wait; those that wait already keep their place.
    pub(super) fn put(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut waiting = self.waiting.lock();
        for number in numbers {
            if !waiting.known.insert(number) {
                continue;
            }
            waiting.order.push_back(number);
            if waiting.order.len() > WAITING_MAX
                && let Some(oldest) = waiting.order.pop_front()
            {
                waiting.known.remove(&oldest);
                self.counts.dropped.fetch_add(1, Relaxed);
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Puts alerts back that were taken, in front of those that wait.
    pub(super) fn put_back(&self, numbers: &[u64]) {
        let mut waiting = self.waiting.lock();
        for number in numbers.iter().rev() {
            if waiting.known.contains(number) {
                continue;
            }
            if waiting.order.len() >= WAITING_MAX {
                self.counts.dropped.fetch_add(1, Relaxed);
                continue;
            }
            waiting.known.insert(*number);
            waiting.order.push_front(*number);
        }
    }

    /// Takes the alerts that have waited longest.
    pub(super) fn take(&self, max: usize) -> Vec<u64> {
        let mut waiting = self.waiting.lock();
        let count = max.min(waiting.order.len());
        let taken: Vec<u64> = waiting.order.drain(..count).collect();
        for number in &taken {
            waiting.known.remove(number);
        }
        taken
    }

    fn waiting(&self) -> usize {
        self.waiting.lock().order.len()
    }
}

/// What is told of an Alertmanager.
#[derive(Clone, Debug)]
pub struct View {
    /// Its address as it may be shown.
    pub name: String,
    /// Alerts that it took.
    pub sent: u64,
    /// Alerts that it refused.
    pub refused: u64,
    /// Alerts that were dropped since too many waited.
    pub dropped: u64,
    /// Alerts that `alert_relabel_configs` dropped.
    pub relabelled_away: u64,
    /// Requests that it did not answer, or not well.
    pub failures: u64,
    /// Alerts that wait for it.
    pub waiting: u64,
}

impl From<&Arc<Lane>> for View {
    fn from(lane: &Arc<Lane>) -> Self {
        let counts = &lane.counts;
        Self {
            name: lane.who.lock().id.clone(),
            sent: counts.sent.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            dropped: counts.dropped.load(Relaxed),
            relabelled_away: counts.relabelled_away.load(Relaxed),
            failures: counts.failures.load(Relaxed),
            waiting: lane.waiting() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use pulseboard_outbound::{Client, ClientConfig};
    use pulseboard_scrape::alertmanagers::Section;

    use super::*;

    fn lane() -> Lane {
        let section = Section {
            client: Client::new(&ClientConfig::default()).expect("a client"),
            timeout: Duration::from_secs(1),
            rules: Vec::new(),
        };
        let who = Alertmanager {
            id: "a".to_owned(),
            url: "http://a/".to_owned(),
            section: Arc::new(section),
        };
        Lane::new(1, who)
    }

    #[test]
    fn the_oldest_is_dropped_where_too_many_wait() {
        let lane = lane();
        lane.put([5, 6, 5]);
        assert_eq!(lane.waiting(), 2);
        lane.put(10..10_000 + 10);
        assert_eq!(lane.counts.dropped.load(Relaxed), 2);
        let taken = lane.take(64);
        assert_eq!((taken.len(), taken[0]), (64, 10));
        lane.put([1, 10]);
        lane.put_back(&taken);
        // one waits again already, and the others find their place at the front
        assert_eq!(lane.waiting(), WAITING_MAX);
        assert_eq!(lane.counts.dropped.load(Relaxed), 3);
    }
}
