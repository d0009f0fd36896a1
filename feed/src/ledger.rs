//! The memory that logs of feeds hold, all together: frames and what they were encoded to.
//!
//! Each log has bounds of its own, but how many logs there are is up to callers. Past the bound of
//! all of them, the tenant whose logs hold the most loses the oldest frames of its largest log, and
//! so on until it is met: whoever holds little loses nothing. A viewer whose frames are gone is
//! told so, as one that was too slow.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use crate::counters::Counters;

/// Bytes of all logs. Larger: more to come back to for those whose connection dropped.
const BYTES_MAX: usize = 64 << 20;

/// What a frame takes beside its payload.
pub(super) const FRAME_BYTES: usize = 160;

/// A log that can let frames go.
pub(super) trait Shed: Send + Sync {
    /// Lets the oldest frames go until about so many bytes of them are gone, or none is left;
    /// whether there was one.
    fn shed(&self, bytes: usize) -> bool;

    /// Bytes that it holds.
    fn held_bytes(&self) -> usize;
}

/// What the logs of all feeds hold together, and the bound of it.
pub struct Ledgers {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// With the tenants that they are of. Taken before logs' locks, and never under one.
    logs: Mutex<Vec<Enlisted>>,
    counters: Arc<Counters>,
}

/// A log, and the tenant that it is of.
type Enlisted = (Arc<str>, Weak<dyn Shed>);

/// What one log holds.
#[derive(Debug)]
pub(super) struct Ledger {
    all: Arc<Ledgers>,
    bytes: AtomicUsize,
}

/// What one frame of a log holds, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    ledger: Arc<Ledger>,
    bytes: AtomicUsize,
}

impl Ledgers {
    pub(super) fn new(counters: &Arc<Counters>) -> Arc<Self> {
        Self::bounded(BYTES_MAX, counters)
    }

    fn bounded(bytes_max: usize, counters: &Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            logs: Mutex::default(),
            counters: Arc::clone(counters),
        })
    }

    /// Bytes of all logs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A ledger for one log more.
    pub(super) fn open(self: &Arc<Self>) -> Arc<Ledger> {
        Arc::new(Ledger {
            all: Arc::clone(self),
            bytes: AtomicUsize::new(0),
        })
    }

    /// Has a log of `tenant` let frames go when it is its turn.
    pub(super) fn enlist(&self, tenant: &str, log: Weak<dyn Shed>) {
        let mut logs = self.logs.lock();
        if logs.len() == logs.capacity() {
            logs.retain(|(_, log)| log.strong_count() > 0);
        }
        logs.push((tenant.into(), log));
    }

    /// Has frames go where there are too many. Not to be called under a log's lock.
    pub(super) fn settle(&self) {
        if self.bytes() <= self.bytes_max {
            return;
        }
        // Whoever is at it already does it for all.
        let Some(mut logs) = self.logs.try_lock() else {
            return;
        };
        logs.retain(|(_, log)| log.strong_count() > 0);
        let mut by_tenant: HashMap<&str, Vec<Arc<dyn Shed>>> = HashMap::new();
        for (tenant, log) in logs.iter() {
            by_tenant.entry(tenant).or_default().extend(log.upgrade());
        }
        let mut tenants: Vec<Vec<Arc<dyn Shed>>> = by_tenant.into_values().collect();
        // A little more, so that this is not for every frame.
        let target = self.bytes_max - self.bytes_max / 32;
        let held = |logs: &[Arc<dyn Shed>]| logs.iter().map(|log| log.held_bytes()).sum::<usize>();
        let mut has_shed = false;
        while self.bytes() > target {
            let Some(most) = tenants.iter_mut().max_by_key(|logs| held(logs)) else {
                break;
            };
            let largest = most
                .iter()
                .enumerate()
                .max_by_key(|(_, log)| log.held_bytes());
            let Some((index, log)) = largest else {
                break;
            };
            let excess = self.bytes().saturating_sub(target);
            // By half, so that those as large as it lose as much.
            if log.shed(excess.min(log.held_bytes() / 2).max(1)) {
                has_shed = true;
            } else {
                most.swap_remove(index);
                tenants.retain(|logs| !logs.is_empty());
            }
        }
        drop(tenants);
        drop(logs);
        if has_shed {
            self.counters
                .logs_shortened
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Ledger {
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let charge = Charge {
            ledger: Arc::clone(self),
            bytes: AtomicUsize::new(0),
        };
        charge.add(bytes);
        charge
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn settle(&self) {
        self.all.settle();
    }
}

impl Charge {
    pub(super) fn add(&self, bytes: usize) {
        for of in [&self.bytes, &self.ledger.bytes, &self.ledger.all.bytes] {
            of.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn give_back(&self, bytes: usize) {
        for of in [&self.bytes, &self.ledger.bytes, &self.ledger.all.bytes] {
            of.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes());
    }
}

impl fmt::Debug for Ledgers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledgers")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A log of frames of so many bytes.
    struct Plain {
        ledger: Arc<Ledger>,
        frames: Mutex<VecDeque<(usize, Charge)>>,
    }

    impl Plain {
        fn new(all: &Arc<Ledgers>, tenant: &str) -> Arc<Self> {
            let log = Arc::new(Self {
                ledger: all.open(),
                frames: Mutex::default(),
            });
            let known: Weak<Self> = Arc::downgrade(&log);
            all.enlist(tenant, known);
            log
        }

        fn append(&self, bytes: usize) {
            let charge = self.ledger.charge(bytes);
            self.frames.lock().push_back((bytes, charge));
            self.ledger.settle();
        }
    }

    impl Shed for Plain {
        fn shed(&self, bytes: usize) -> bool {
            let mut frames = self.frames.lock();
            let mut gone = 0;
            while gone < bytes
                && let Some((bytes, _)) = frames.pop_front()
            {
                gone += bytes;
            }
            gone > 0
        }

        fn held_bytes(&self) -> usize {
            self.ledger.bytes()
        }
    }

    #[test]
    fn whoever_holds_the_most_loses_its_oldest_and_others_nothing() {
        let counters = Arc::new(Counters::default());
        let all = Ledgers::bounded(1_000, &counters);
        let quiet = Plain::new(&all, "quiet");
        quiet.append(100);
        let small = Plain::new(&all, "noisy");
        small.append(50);
        let large = Plain::new(&all, "noisy");
        for _ in 0..100 {
            large.append(50);
        }
        assert!(all.bytes() <= 1_000);
        assert_eq!((quiet.held_bytes(), small.held_bytes()), (100, 50));
        assert!(large.held_bytes() > 700, "what the others leave is its own");
        assert!(
            counters
                .logs_shortened
                .load(std::sync::atomic::Ordering::Relaxed)
                > 0
        );
        drop(large);
        assert_eq!(all.bytes(), 150, "what is gone is not counted");
    }

    proptest! {
        /// However tenants append: all together is bounded, and who holds no more than an even part
        /// of it has lost nothing.
        #[test]
        fn an_even_part_is_never_touched(
            steps in proptest::collection::vec((0_usize..6, 1_usize..60), 1..400),
        ) {
            const MAX: usize = 1_200;
            let all = Ledgers::bounded(MAX, &Arc::default());
            // Three tenants with two logs each.
            let logs: Vec<_> = (0..6).map(|log| Plain::new(&all, &(log / 2).to_string())).collect();
            let mut appended = [0; 3];
            for (log, bytes) in steps {
                logs[log].append(bytes);
                appended[log / 2] += bytes;
                prop_assert!(all.bytes() <= MAX);
                let held = |tenant: usize| logs[2 * tenant].held_bytes() + logs[2 * tenant + 1].held_bytes();
                prop_assert_eq!(all.bytes(), (0..3).map(held).sum::<usize>());
                for (tenant, &appended) in appended.iter().enumerate() {
                    // One frame may go with those that were to.
                    let even = MAX / 3 - MAX / 32 - 60;
                    if appended <= even {
                        prop_assert_eq!(held(tenant), appended);
                    } else {
                        prop_assert!(held(tenant) + 60 >= even / 2);
                    }
                }
            }
        }
    }
}
