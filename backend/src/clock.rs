//! The one clock, injected everywhere: wall time for people, never stepping back, and sleeping
//! that a test can drive by hand.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use pulseboard_shared::Timestamp;
use tokio::sync::Notify;

/// Tells the time in Unix milliseconds and sleeps until a moment. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Kind>);

enum Kind {
    System(Mutex<TimeAnchor>),
    Manual { now_ms: AtomicI64, changed: Notify },
}

/// Ties wall time to the monotonic clock.
///
/// When the wall clock steps forward the anchor follows at once. When it steps back, time here
/// runs at half speed until the two meet, so ticks keep their order and no gap is negative.
struct TimeAnchor {
    instant: Instant,
    wall_ms: i64,
}

impl TimeAnchor {
    fn now_ms(&mut self, instant: Instant, wall_ms: i64) -> i64 {
        let elapsed_ms = millis(instant.saturating_duration_since(self.instant));
        let now_ms = wall_ms.max(self.wall_ms + elapsed_ms / 2);
        // Anchoring anew while time stands would lose the halves of odd milliseconds.
        if now_ms > self.wall_ms {
            *self = Self {
                instant,
                wall_ms: now_ms,
            };
        }
        now_ms
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Kind::System(Mutex::new(TimeAnchor {
            instant: Instant::now(),
            wall_ms: wall_ms(),
        }))))
    }

    /// A clock that stands at `now_ms` until [`Self::advance`] is called; for tests.
    #[must_use]
    pub fn manual(now_ms: i64) -> Self {
        Self(Arc::new(Kind::Manual {
            now_ms: AtomicI64::new(now_ms),
            changed: Notify::new(),
        }))
    }

    /// Unix milliseconds; never smaller than what was returned before.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &*self.0 {
            Kind::System(anchor) => anchor.lock().now_ms(Instant::now(), wall_ms()),
            Kind::Manual { now_ms, .. } => now_ms.load(Ordering::SeqCst),
        }
    }

    /// The same as a wire type.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_ms())
    }

    /// Moves a manual clock on and wakes who slept until then; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual { now_ms, changed } = &*self.0 {
            now_ms.fetch_add(millis(by), Ordering::SeqCst);
            changed.notify_waiters();
        }
    }

    /// Returns once [`Self::now_ms`] is at least `at_ms`. Cancel safe.
    pub async fn sleep_until(&self, at_ms: i64) {
        loop {
            match &*self.0 {
                Kind::System(_) => {
                    let wait_ms = at_ms - self.now_ms();
                    if wait_ms <= 0 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())).await;
                }
                Kind::Manual { now_ms, changed } => {
                    let mut changed = std::pin::pin!(changed.notified());
                    changed.as_mut().enable();
                    if now_ms.load(Ordering::SeqCst) >= at_ms {
                        return;
                    }
                    changed.await;
                }
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
    fn a_wall_clock_set_back_slows_time_and_never_turns_it() {
        let start = Instant::now();
        let mut anchor = TimeAnchor {
            instant: start,
            wall_ms: 100_000,
        };
        assert_eq!(
            anchor.now_ms(start + Duration::from_secs(1), 101_000),
            101_000
        );
        // Set back by ten seconds: one second later half a second has passed here.
        assert_eq!(
            anchor.now_ms(start + Duration::from_secs(2), 92_000),
            101_500
        );
        // Twenty seconds on the two have met.
        assert_eq!(
            anchor.now_ms(start + Duration::from_secs(24), 114_000),
            114_000
        );
        // Set forward: followed at once.
        assert_eq!(
            anchor.now_ms(start + Duration::from_secs(25), 500_000),
            500_000
        );
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
