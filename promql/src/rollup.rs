//! What stands for samples that are gone: the figures of a stretch of time, and where there are
//! such instead of samples.
//!
//! A function sees a rollup as one or two points, those that say most to it: its sum to
//! `sum_over_time()`, its ends to `rate()` and to whoever asks for the value of a moment. Where all
//! windows begin and end where rollups do, sums, counts, means and extremes are what all samples
//! would give. Elsewhere a rollup counts in the window that its end is in, and growth is spread
//! evenly.

use crate::storage::{Rolled, Rollup, Samples};

/// What a function makes of a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Its first and its last sample.
    Ends,
    /// The same, and what a counter lost in between.
    Growth,
    Sum,
    Count,
    Mean,
    Min,
    Max,
    /// The mean, in the middle.
    Middle,
}

impl Sight {
    /// Of a function over a range; nothing is an instant selector.
    pub(crate) fn of(function: &str) -> Self {
        match function {
            "rate" | "increase" | "delta" => Self::Growth,
            "sum_over_time" => Self::Sum,
            "count_over_time" => Self::Count,
            "avg_over_time" => Self::Mean,
            "min_over_time" => Self::Min,
            "max_over_time" => Self::Max,
            "deriv" | "predict_linear" | "quantile_over_time" | "stddev_over_time"
            | "stdvar_over_time" => Self::Middle,
            _ => Self::Ends,
        }
    }

    /// Whether it is what all samples would give, where windows end where rollups do.
    pub(crate) const fn is_exact(self) -> bool {
        matches!(
            self,
            Self::Sum | Self::Count | Self::Mean | Self::Min | Self::Max
        )
    }
}

impl Samples {
    /// Appends what stands for a rollup in the eyes of a function,
    /// [`Hints::function`](crate::storage::Hints::function); before any sample, and in the order of
    /// time.
    pub fn push_rollup(&mut self, function: &str, rollup: &Rollup) {
        // A sample is as far from its neighbours as from the edge, twice.
        let count = i64::try_from(rollup.count.max(1)).unwrap_or(i64::MAX);
        let half = rollup.length_ms / count.saturating_mul(2);
        let first_ms = rollup.start_ms.saturating_add(half);
        let end_ms = rollup.start_ms.saturating_add(rollup.length_ms - 1);
        let last_ms = end_ms.saturating_sub(half);
        let middle_ms = rollup.start_ms.saturating_add(rollup.length_ms / 2);
        let mean = rollup.sum / rollup.count as f64;
        let weight = rollup.count as f64;
        match Sight::of(function) {
            Sight::Ends | Sight::Growth if rollup.count <= 1 => {
                self.put_rolled(middle_ms, rollup.last, 0.0);
            }
            Sight::Ends => {
                self.put_rolled(first_ms, rollup.first, 0.0);
                self.put_rolled(last_ms, rollup.last, 0.0);
            }
            Sight::Growth => {
                self.put_rolled(first_ms, rollup.first, 0.0);
                let is_seen = rollup.last < rollup.first;
                let seen = if is_seen { rollup.first } else { 0.0 };
                self.put_rolled(last_ms, rollup.last, rollup.resets - seen);
            }
            Sight::Sum => self.put_rolled(end_ms, rollup.sum, weight),
            Sight::Count => self.put_rolled(end_ms, rollup.last, weight),
            Sight::Mean => self.put_rolled(end_ms, rollup.sum, weight),
            Sight::Min => self.put_rolled(end_ms, rollup.min, weight),
            Sight::Max => self.put_rolled(end_ms, rollup.max, weight),
            Sight::Middle => self.put_rolled(middle_ms, mean, weight),
        }
    }

    fn put_rolled(&mut self, at_ms: i64, value: f64, weight: f64) {
        self.times.push(at_ms);
        self.values.push(value);
        self.weights.push(weight);
    }
}

/// Where there are rollups of what a selector looks at, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretches(Vec<Rolled>);

impl Stretches {
    pub(crate) fn new(mut stretches: Vec<Rolled>) -> Self {
        stretches.retain(|one| one.length_ms > 0 && one.from_ms < one.until_ms);
        stretches.sort_by_key(|one| one.from_ms);
        Self(stretches)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn each(&self) -> &[Rolled] {
        &self.0
    }

    /// How long the rollups are at a moment; 0 where there are samples, or nothing.
    pub(crate) fn length_at(&self, at_ms: i64) -> i64 {
        let behind = self.0.partition_point(|one| one.from_ms <= at_ms);
        let one = behind.checked_sub(1).and_then(|at| self.0.get(at));
        one.map_or(0, |one| match at_ms < one.until_ms {
            true => one.length_ms,
            false => 0,
        })
    }

    /// The longest.
    pub(crate) fn longest(&self) -> i64 {
        self.0.iter().map(|one| one.length_ms).max().unwrap_or(0)
    }

    /// How old the newest point may be for whoever asks for the value of a moment: as old as a
    /// sample may be, or as rollups are long, and half of one more, since nobody knows where in it
    /// its samples are.
    pub(crate) fn lookback_at(&self, at_ms: i64, lookback_ms: i64) -> i64 {
        longer(lookback_ms, self.length_at(at_ms))
    }

    /// How far back is read for that: to the begin of the rollup that its oldest point may be in.
    pub(crate) fn lookback_most(&self, lookback_ms: i64) -> i64 {
        let longest = self.longest();
        longer(lookback_ms, longest).saturating_add(longest)
    }

    /// How far back a window that ends at a moment looks at least: where rollups are longer than
    /// it, there would be nothing in most.
    pub(crate) fn range_at(&self, function: &str, end_ms: i64, range_ms: i64) -> i64 {
        let length = self.length_at(end_ms);
        let least = match function {
            // Of two points at least; what grows is looked at beyond the window.
            "deriv" | "predict_linear" | "irate" | "idelta" => length.saturating_mul(2),
            "rate" | "increase" | "delta" => 0,
            _ => length,
        };
        range_ms.max(least)
    }
}

fn longer(lookback_ms: i64, length_ms: i64) -> i64 {
    lookback_ms.max(length_ms).saturating_add(length_ms / 2)
}

/// How a counter or a gauge went from point to point: it is known at all of them, and in between
/// taken to have gone evenly.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// What it has grown by up to each point.
    grown: Vec<f64>,
    /// Points farther apart have nothing between them.
    reach_ms: i64,
}

impl Course {
    /// Of a series' points; resets are made good for a counter.
    pub(crate) fn set(&mut self, samples: &Samples, is_counter: bool, reach_ms: i64) {
        self.reach_ms = reach_ms;
        self.grown.clear();
        let mut grown = 0.0;
        for (at, value) in samples.values.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| samples.values.get(at));
            if let Some(before) = before {
                let mut by = value - before;
                if is_counter {
                    if value < before {
                        by += before;
                    }
                    by += samples.weights.get(at).copied().unwrap_or_default();
                }
                // What is no number is passed over.
                if by.is_finite() {
                    grown += by;
                }
            }
            self.grown.push(grown);
        }
    }

    /// By how much it grew between two moments; `from..to` are the points of `start_ms < time <=
    /// end_ms`. `None` where fewer than two points tell anything of them.
    pub(crate) fn growth(
        &self,
        times: &[i64],
        (from, to): (usize, usize),
        (start_ms, end_ms): (i64, i64),
    ) -> Option<f64> {
        let is_near = |one: usize, next: usize| match (times.get(one), times.get(next)) {
            (Some(one), Some(next)) => next - one <= self.reach_ms,
            _ => false,
        };
        let before = from.checked_sub(1).filter(|before| is_near(*before, from));
        let after = to
            .checked_sub(1)
            .filter(|last| is_near(*last, to))
            .map(|_| to);
        let points = to - from + usize::from(before.is_some()) + usize::from(after.is_some());
        if points < 2 {
            return None;
        }
        let first = match before {
            Some(before) => self.between(times, before, start_ms)?,
            None => *self.grown.get(from)?,
        };
        let last = match after {
            Some(after) => self.between(times, after - 1, end_ms)?,
            None => *self.grown.get(to.checked_sub(1)?)?,
        };
        Some(last - first)
    }

    /// What it has grown by at a moment between a point and the next.
    fn between(&self, times: &[i64], one: usize, at_ms: i64) -> Option<f64> {
        let (one_ms, next_ms) = (*times.get(one)?, *times.get(one + 1)?);
        let (before, after) = (*self.grown.get(one)?, *self.grown.get(one + 1)?);
        let part = (at_ms - one_ms) as f64 / (next_ms - one_ms) as f64;
        Some(before + (after - before) * part)
    }
}
