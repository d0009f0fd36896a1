//! Average, extremes and count: over a slice, and over a window that moves.
//!
//! Contract: a sample that is not finite (NaN marks a gap) takes its place in the window but
//! counts for nothing. With nothing to count all figures are 0.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Average, extremes and count; all zero when there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Arithmetic mean.
    pub avg: f64,
    /// Largest value.
    pub max: f64,
    /// Smallest value.
    pub min: f64,
    /// Samples counted.
    pub count: u64,
}

impl Stats {
    /// Of all finite `values`; O(n).
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut sum, mut min, mut max, mut count) = (0.0, f64::INFINITY, f64::NEG_INFINITY, 0_u64);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            sum += value;
            min = min.min(value);
            max = max.max(value);
            count += 1;
        }
        if count == 0 {
            Self::default()
        } else {
            Self {
                avg: mean(sum, count),
                max,
                min,
                count,
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a window holds far fewer than 2^52 samples"
)]
fn mean(sum: f64, count: u64) -> f64 {
    sum / count as f64
}

/// `GET /api/stats`: the four built-in metrics over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsReport {
    /// Of `cpu_usage`.
    pub cpu: Stats,
    /// Of `memory_usage`.
    pub memory: Stats,
    /// Of `requests_per_sec`.
    pub requests: Stats,
    /// Of `avg_latency`.
    pub latency: Stats,
}

/// Statistics of the newest `capacity` samples, kept up to date at O(1) amortised a push.
///
/// Extremes come from two monotonic queues: a sample leaves `minima` as soon as a newer one is
/// not larger, since it can never again be the smallest. After pushing 5 3 4 with capacity 3:
///
/// ```text
/// values 5 3 4      minima 3 4      maxima 5 4
/// ```
///
/// The sum is taken anew from the values once a turn of the window, so rounding errors do not
/// build up over the weeks that a server runs.
#[derive(Clone, Debug)]
pub struct RollingStats {
    capacity: usize,
    values: VecDeque<f64>,
    /// Pushes so far; numbers the samples so that the queues know what has left the window.
    pushed: u64,
    minima: VecDeque<(u64, f64)>,
    maxima: VecDeque<(u64, f64)>,
    sum: f64,
    count: u64,
}

impl RollingStats {
    /// An empty window of `capacity` samples (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            values: VecDeque::new(),
            pushed: 0,
            minima: VecDeque::new(),
            maxima: VecDeque::new(),
            sum: 0.0,
            count: 0,
        }
    }

    /// Takes in the newest sample and lets the oldest go when the window is full.
    pub fn push(&mut self, value: f64) {
        if self.values.len() == self.capacity
            && let Some(oldest) = self.values.pop_front()
            && oldest.is_finite()
        {
            self.sum -= oldest;
            self.count -= 1;
        }
        self.values.push_back(value);
        let number = self.pushed;
        self.pushed += 1;
        if value.is_finite() {
            self.sum += value;
            self.count += 1;
            enqueue(&mut self.minima, number, value, |old, new| old >= new);
            enqueue(&mut self.maxima, number, value, |old, new| old <= new);
        }
        let first_held = self.pushed - self.values.len() as u64;
        for queue in [&mut self.minima, &mut self.maxima] {
            while queue
                .front()
                .is_some_and(|(number, _)| *number < first_held)
            {
                queue.pop_front();
            }
        }
        if self.pushed.is_multiple_of(self.capacity as u64) {
            self.sum = self.values.iter().filter(|value| value.is_finite()).sum();
        }
    }

    /// Forgets everything; the capacity stays.
    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// The figures now; O(1).
    #[must_use]
    pub fn stats(&self) -> Stats {
        match (self.minima.front(), self.maxima.front()) {
            (Some(&(_, min)), Some(&(_, max))) => Stats {
                // Not `clamp`, whose panic brings 13 KB of float formatting into the page.
                avg: mean(self.sum, self.count).max(min).min(max),
                max,
                min,
                count: self.count,
            },
            _ => Stats::default(),
        }
    }
}

fn enqueue(
    queue: &mut VecDeque<(u64, f64)>,
    number: u64,
    value: f64,
    outdone: impl Fn(f64, f64) -> bool,
) {
    while queue.back().is_some_and(|&(_, old)| outdone(old, value)) {
        queue.pop_back();
    }
    queue.push_back((number, value));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_all_zero() {
        assert_eq!(Stats::of([]), Stats::default());
        assert_eq!(RollingStats::new(3).stats(), Stats::default());
        let mut gaps = RollingStats::new(3);
        gaps.push(f64::NAN);
        assert_eq!(gaps.stats(), Stats::default());
    }

    proptest! {
        /// The rolling figures equal those of the last N of a plain `Vec`.
        #[test]
        fn rolling_equals_naive(
            capacity in 1_usize..20,
            values in proptest::collection::vec(prop_oneof![9 => -1e6..1e6_f64, 1 => Just(f64::NAN)], 0..200),
        ) {
            let mut rolling = RollingStats::new(capacity);
            for end in 0..values.len() {
                rolling.push(values[end]);
                let naive = Stats::of(values[(end + 1).saturating_sub(capacity)..=end].iter().copied());
                let got = rolling.stats();
                prop_assert_eq!((got.min, got.max, got.count), (naive.min, naive.max, naive.count));
                prop_assert!((got.avg - naive.avg).abs() < 1e-6);
            }
        }
    }
}
