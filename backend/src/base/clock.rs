//! The one clock, injected everywhere, and sleeping that a test can drive by hand.
//!
//! Two readings: wall time ([`Clock::now_ms`]) for samples, people and what goes over the wire; and
//! steady time ([`Clock::steady_ms`]) for how long something took or may take, which nobody sets.
//!
//! Wall time follows the machine's. A clock that slips back by up to [`STEP_MS`] slows time here
//! until the two meet, so that ticks keep their order. One that is set by more, either way, is
//! followed at once: it is counted, said in the log, and whoever sleeps until a moment is woken.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use pulseboard_shared::Timestamp;
use tokio::sync::Notify;

/// A clock that is off by more was set; one that is off by less slipped.
pub const STEP_MS: i64 = 2_000;

/// Tells the time in Unix milliseconds and sleeps until a moment. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// How often the clock was set forward, and how often back.
    forward: AtomicU64,
    back: AtomicU64,
    /// Told when a manual clock moves, and when any clock is set.
    changed: Notify,
}

enum Kind {
    System {
        start: Instant,
        start_ms: i64,
        anchor: Mutex<TimeAnchor>,
    },
    Manual {
        now_ms: AtomicI64,
        steady_ms: AtomicI64,
    },
}

/// Ties wall time to the monotonic clock.
struct TimeAnchor {
    instant: Instant,
    wall_ms: i64,
}

impl TimeAnchor {
    /// The time, and by how much the clock was set since it was read last.
    fn now_ms(&mut self, instant: Instant, wall_ms: i64) -> (i64, Option<i64>) {
        let elapsed_ms = millis(instant.saturating_duration_since(self.instant));
        let off_ms = wall_ms.saturating_sub(self.wall_ms.saturating_add(elapsed_ms));
        if off_ms.saturating_abs() > STEP_MS {
            *self = Self { instant, wall_ms };
            return (wall_ms, Some(off_ms));
        }
        let now_ms = wall_ms.max(self.wall_ms + elapsed_ms / 2);
        // Anchoring anew while time stands would lose the halves of odd milliseconds.
        if now_ms > self.wall_ms {
            *self = Self {
                instant,
                wall_ms: now_ms,
            };
        }
        (now_ms, None)
    }
}

/// As the wire and the engine have lengths of time; saturates.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

impl Clock {
    fn of(kind: Kind) -> Self {
        Self(Arc::new(Inner {
            kind,
            forward: AtomicU64::new(0),
            back: AtomicU64::new(0),
            changed: Notify::new(),
        }))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        let (start, start_ms) = (Instant::now(), wall_ms());
        Self::of(Kind::System {
            start,
            start_ms,
            anchor: Mutex::new(TimeAnchor {
                instant: start,
                wall_ms: start_ms,
            }),
        })
    }

    /// A clock that stands at `now_ms` until [`Self::advance`] is called; for tests.
    #[must_use]
    pub fn manual(now_ms: i64) -> Self {
        Self::of(Kind::Manual {
            now_ms: AtomicI64::new(now_ms),
            steady_ms: AtomicI64::new(now_ms),
        })
    }

    /// Unix milliseconds; never smaller than what was returned before, but after a step.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &self.0.kind {
            Kind::System { anchor, .. } => {
                let (now_ms, stepped) = anchor.lock().now_ms(Instant::now(), wall_ms());
                if let Some(by_ms) = stepped {
                    tracing::warn!(
                        by_ms,
                        "the machine's clock was set, or the machine slept; all times follow it"
                    );
                    self.tell_step(by_ms);
                }
                now_ms
            }
            Kind::Manual { now_ms, .. } => now_ms.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds that go on evenly, whatever is done to the machine's clock. They mean nothing
    /// but their distance from each other.
    #[must_use]
    pub fn steady_ms(&self) -> i64 {
        match &self.0.kind {
            Kind::System {
                start, start_ms, ..
            } => start_ms.saturating_add(millis(start.elapsed())),
            Kind::Manual { steady_ms, .. } => steady_ms.load(Ordering::SeqCst),
        }
    }

    /// The same as [`Self::now_ms`] as a wire type.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }

    /// How often the clock was set by more than [`STEP_MS`]: forward and back.
    #[must_use]
    pub fn steps(&self) -> (u64, u64) {
        let forward = self.0.forward.load(Ordering::SeqCst);
        (forward, self.0.back.load(Ordering::SeqCst))
    }

    fn tell_step(&self, by_ms: i64) {
        let steps = if by_ms > 0 {
            &self.0.forward
        } else {
            &self.0.back
        };
        steps.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Moves a manual clock on and wakes who slept until then; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { now_ms, steady_ms } = &self.0.kind {
            steady_ms.fetch_add(millis(by), Ordering::SeqCst);
            now_ms.fetch_add(millis(by), Ordering::SeqCst);
            self.0.changed.notify_waiters();
        }
    }

    /// Sets a manual clock forward or back, as an administrator or NTP does with the machine's.
    pub fn set_by(&self, by_ms: i64) {
        if let Kind::Manual { now_ms, .. } = &self.0.kind {
            now_ms.fetch_add(by_ms, Ordering::SeqCst);
            self.tell_step(by_ms);
        }
    }

    /// Returns once [`Self::now_ms`] is at least `at_ms`, or the clock has been set. Cancel safe.
    pub async fn sleep_until(&self, at_ms: i64) {
        self.sleep_until_or_step(at_ms, self.steps()).await;
    }

    /// As [`Self::sleep_until`] where `at_ms` was made when the clock had been set so often.
    pub async fn sleep_until_or_step(&self, at_ms: i64, steps: (u64, u64)) {
        self.sleep(at_ms, Self::now_ms, || self.steps() != steps)
            .await;
    }

    /// Returns once [`Self::steady_ms`] is at least `at_ms`. Cancel safe.
    pub async fn sleep_until_steady(&self, at_ms: i64) {
        self.sleep(at_ms, Self::steady_ms, || false).await;
    }

    async fn sleep(&self, at_ms: i64, read: fn(&Self) -> i64, is_over: impl Fn() -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let wait_ms = at_ms.saturating_sub(read(self));
            if wait_ms <= 0 || is_over() {
                return;
            }
            match &self.0.kind {
                Kind::System { .. } => {
                    let wait = Duration::from_millis(wait_ms.unsigned_abs());
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = changed => {}
                    }
                }
                Kind::Manual { .. } => changed.await,
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_slips_back_slows_time_and_never_turns_it() {
        let start = Instant::now();
        let mut anchor = TimeAnchor {
            instant: start,
            wall_ms: 100_000,
        };
        let mut at =
            |second: u64, wall_ms| anchor.now_ms(start + Duration::from_secs(second), wall_ms);
        assert_eq!(at(1, 101_000), (101_000, None));
        // Back by two seconds: one second later half a second has passed here.
        assert_eq!(at(2, 100_000), (101_500, None));
        // Four seconds on the two have met.
        assert_eq!(at(6, 104_000), (104_000, None));
        // Forward by two: followed at once, as a slip.
        assert_eq!(at(7, 107_000), (107_000, None));
    }

    #[test]
    fn a_clock_that_is_set_is_followed_at_once() {
        let start = Instant::now();
        let mut anchor = TimeAnchor {
            instant: start,
            wall_ms: 4_000_000,
        };
        let mut at =
            |second: u64, wall_ms| anchor.now_ms(start + Duration::from_secs(second), wall_ms);
        assert_eq!(at(1, 401_000), (401_000, Some(-3_600_000)));
        assert_eq!(at(2, 402_000), (402_000, None));
        assert_eq!(at(3, 405_001), (405_001, Some(2_001)));
        assert_eq!(at(4, 404_000), (404_000, Some(-2_001)));
        assert_eq!(at(5, 405_000), (405_000, None));
    }

    #[tokio::test]
    async fn a_step_wakes_who_sleeps_by_the_wall_and_nobody_else() {
        let clock = Clock::manual(10_000);
        let spawn = |is_steady: bool| {
            let clock = clock.clone();
            tokio::spawn(async move {
                if is_steady {
                    clock.sleep_until_steady(11_000).await;
                } else {
                    clock.sleep_until(11_000).await;
                }
            })
        };
        let (wall, steady) = (spawn(false), spawn(true));
        tokio::task::yield_now().await;
        clock.set_by(-5_000);
        assert!(wall.await.is_ok());
        assert!(!steady.is_finished());
        assert_eq!((clock.now_ms(), clock.steady_ms()), (5_000, 10_000));
        assert_eq!(clock.steps(), (0, 1));
        clock.advance(Duration::from_secs(1));
        assert!(steady.await.is_ok());
        // A moment that was made before the clock was set is none any more.
        clock.sleep_until_or_step(11_000, (0, 0)).await;
    }

    #[tokio::test]
    async fn sleepers_wake_when_a_manual_clock_reaches_them() {
        let clock = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(3_000).await;
                clock.now_ms()
            }
        });
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1));
        assert_eq!(sleeper.await.ok(), Some(3_000));
    }
}
