//! How long to wait before the next attempt: doubling, capped, fully jittered.
//!
//! Full jitter (a delay drawn evenly from nothing up to the bound) spreads a thousand pages
//! that lost one server best:
//! <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>.

/// Upper bound of the first delay. Smaller: a restart is noticed sooner; larger: fewer
/// attempts hit a server that is still starting.
pub const FIRST_MS_MAX: u64 = 500;

/// Upper bound of every delay after a long outage. Larger would leave people waiting after a long
/// outage; smaller would keep a broken server busy with attempts.
pub const CAP_MS: u64 = 30_000;

/// Upper bound while an outage is young: a restart takes seconds, and the reader is waiting.
pub const CAP_YOUNG_MS: u64 = 4_000;

/// Lower bound of every delay, so that a server which accepts and closes at once is not
/// hammered.
pub const FLOOR_MS: u64 = 100;

/// A server that says when to come back is believed up to this long.
const RETRY_MS_MAX: f64 = 300_000.0;

/// Delays between attempts, and how many there were since the last success.
#[derive(Clone, Debug)]
pub struct Backoff {
    attempt: u32,
    random: Random,
}

impl Backoff {
    /// Nothing tried yet; `seed` decides the jitter.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            attempt: 0,
            random: Random::new(seed),
        }
    }

    /// Attempts since [`Self::reset`].
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts one more attempt and says how long to wait before it, at most `cap_ms`.
    pub fn next_ms(&mut self, cap_ms: u64) -> u64 {
        // Six doublings reach every cap, and a shift by more could lose bits.
        let bound = (FIRST_MS_MAX << self.attempt.min(6))
            .min(cap_ms)
            .max(FIRST_MS_MAX);
        self.attempt = self.attempt.saturating_add(1);
        (self.random.next() % (bound + 1)).max(FLOOR_MS)
    }

    /// It worked: the next delay is a short one again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// xorshift64*: enough to spread attempts, and not one byte of a random-number crate.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}

/// What a close reason such as `server is stopping; retry_ms=1500` asks for.
#[must_use]
pub fn retry_ms(reason: &str) -> Option<f64> {
    let (_, rest) = reason.split_once("retry_ms=")?;
    let end = rest
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    // A whole number, which needs less of the page than a float; too long a one is very long.
    let wait: u32 = rest[..end].parse().unwrap_or(u32::MAX);
    Some(f64::from(wait).min(RETRY_MS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_stay_in_bounds(seed: u64, attempts in 1_u32..80) {
            let mut backoff = Backoff::new(seed);
            for attempt in 0..attempts {
                let bound = (u128::from(FIRST_MS_MAX) << attempt).min(u128::from(CAP_MS));
                let delay = backoff.next_ms(CAP_MS);
                prop_assert!(delay >= FLOOR_MS && u128::from(delay) <= bound.max(u128::from(FIRST_MS_MAX)));
            }
            prop_assert_eq!(backoff.attempt(), attempts);
            backoff.reset();
            prop_assert!(backoff.next_ms(CAP_MS) <= FIRST_MS_MAX);
        }
    }

    #[test]
    fn reads_when_to_come_back() {
        assert_eq!(retry_ms("retry_ms=12, bye"), Some(12.0));
        assert_eq!(retry_ms("retry_ms=99999999999"), Some(RETRY_MS_MAX));
        for none in ["", "retry_ms=", "retry_ms=x"] {
            assert_eq!(retry_ms(none), None, "{none:?}");
        }
    }

    #[test]
    fn young_outages_are_tried_often() {
        let mut backoff = Backoff::new(3);
        assert!((0..50).all(|_| backoff.next_ms(CAP_YOUNG_MS) <= CAP_YOUNG_MS));
    }

    #[test]
    fn pages_do_not_come_back_together() {
        let delays: std::collections::HashSet<u64> = (0..100)
            .map(|seed| {
                let mut backoff = Backoff::new(seed * 7919);
                for _ in 0..6 {
                    backoff.next_ms(CAP_MS);
                }
                backoff.next_ms(CAP_MS)
            })
            .collect();
        assert!(delays.len() > 90, "only {} different delays", delays.len());
    }
}
