//! When a target is due, and which time its samples get. Pure.

use std::time::Duration;

/// When a target is due: at this offset in each interval, in milliseconds of Unix time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) interval_ms: i64,
    pub(crate) offset_ms: i64,
}

impl Times {
    pub(crate) fn new(interval_ms: u64, identity: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        Self {
            interval_ms: i64::try_from(interval_ms).unwrap_or(i64::MAX),
            offset_ms: i64::try_from(identity % interval_ms).unwrap_or_default(),
        }
    }

    fn late_ms(&self, now_ms: i64) -> i64 {
        now_ms
            .wrapping_sub(self.offset_ms)
            .rem_euclid(self.interval_ms)
    }

    /// The time of samples that are scraped now: the planned one where it is a little past it, so
    /// that samples of a target are exactly one interval apart.
    pub(crate) fn stamp(&self, now_ms: i64) -> i64 {
        let late = self.late_ms(now_ms);
        if late <= (self.interval_ms / 100).max(2) {
            now_ms - late
        } else {
            now_ms
        }
    }
}

/// From now to the next moment of a target.
pub(crate) fn until_next(times: &Times, now_ms: i64) -> Duration {
    let mut left = times.interval_ms - times.late_ms(now_ms);
    // the wall clock may be a little behind the clock that woke us: this moment is over
    if left < times.interval_ms / 10 {
        left += times.interval_ms;
    }
    Duration::from_millis(left.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_spread_and_keep_their_moment() {
        let mut first = [0; 10];
        for number in 0..10_000_u64 {
            let identity = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let times = Times::new(1000, identity);
            let left = until_next(&times, 5_000_000);
            assert!(left > Duration::from_millis(99) && left < Duration::from_millis(1100));
            let at = 5_000_000 + i64::try_from(left.as_millis()).expect("small");
            assert_eq!(at.rem_euclid(1000), times.offset_ms);
            first[usize::try_from(times.offset_ms / 100).expect("small")] += 1;
        }
        assert!(
            first.iter().all(|count| (900..1100).contains(count)),
            "{first:?}"
        );
    }

    #[test]
    fn a_sample_gets_the_planned_time() {
        let times = Times::new(1000, 300);
        assert_eq!(times.stamp(7_300), 7_300);
        assert_eq!(times.stamp(7_309), 7_300);
        assert_eq!(times.stamp(7_350), 7_350);
        assert_eq!(times.stamp(7_299), 7_299);
        assert_eq!(until_next(&times, 7_300), Duration::from_millis(1000));
        assert_eq!(until_next(&times, 7_299), Duration::from_millis(1001));
        assert_eq!(until_next(&times, 7_500), Duration::from_millis(800));
    }
}
