//! Samples and buckets of one series, in the order of time, become steps.
//!
//! Contract: a step without samples stays empty. Infinities are values, in samples as in buckets,
//! and make the figures of their step infinite where they enter them; growth passes them over.
//! NaN is no value, and nothing is made of it; a step that has nothing else says so, and so does
//! its newest sample. The stale marker ends the series, so growth begins anew behind it.
//!
//! ```text
//! step        0          1          2     growth of a counter between two samples belongs to
//! samples  1     4    |  6   2  |   3     the step of the later one; its rate is that growth over
//! growth      3       2     2      1      the time between them. Less than before: it began again
//! ```

use pulseboard_history::{Bucket, Tier};
use pulseboard_series::is_stale_marker;

use crate::window::Sample;

/// What is known of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Acc {
    /// Samples; for rates, series.
    pub(super) count: u64,
    /// Samples that are no finite numbers; of buckets, those that hold an infinity.
    pub(super) odd: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Time of `last`.
    pub(super) last_ms: i64,
    pub(super) last: f64,
    /// Whether there was a NaN.
    pub(super) has_nan: bool,
}

impl Acc {
    const EMPTY: Self = Self {
        count: 0,
        odd: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        last_ms: i64::MIN,
        last: 0.0,
        has_nan: false,
    };

    fn add(&mut self, bucket: &Bucket, last_ms: i64) {
        self.count += bucket.count;
        self.odd += u64::from(!(bucket.min.is_finite() && bucket.max.is_finite()));
        self.sum += bucket.sum;
        self.min = self.min.min(bucket.min);
        self.max = self.max.max(bucket.max);
        if last_ms >= self.last_ms {
            self.last_ms = last_ms;
            self.last = bucket.last;
        }
    }

    /// One series' rate, with its bounds, is added to the group's.
    fn add_rate(&mut self, rate: f64, min: f64, max: f64) {
        if self.count == 0 {
            (self.min, self.max) = (0.0, 0.0);
        }
        self.count += 1;
        self.sum += rate;
        self.min += min;
        self.max += max;
    }
}

/// The steps of one series or group.
#[derive(Debug)]
pub(super) struct Grid {
    start_ms: i64,
    step_ms: i64,
    steps: Vec<Acc>,
}

impl Grid {
    /// `count` empty steps from `start_ms` on.
    pub(super) fn new(start_ms: i64, step_ms: i64, count: usize) -> Self {
        Self {
            start_ms,
            step_ms,
            steps: vec![Acc::EMPTY; count],
        }
    }

    pub(super) fn clear(&mut self) {
        self.steps.fill(Acc::EMPTY);
    }

    /// The steps that are not empty, with their beginnings, oldest first.
    pub(super) fn steps(&self) -> impl Iterator<Item = (i64, &Acc)> {
        let begins = (0..).map(|index: i64| self.start_ms + index * self.step_ms);
        begins
            .zip(&self.steps)
            .filter(|(_, step)| step.count > 0 || step.has_nan)
    }

    /// The steps that hold samples which are no finite numbers, and how many.
    pub(super) fn not_finite(&self) -> impl Iterator<Item = (i64, u64)> {
        let begins = (0..).map(|index: i64| self.start_ms + index * self.step_ms);
        let steps = begins.zip(&self.steps).filter(|(_, step)| step.odd > 0);
        steps.map(|(at_ms, step)| (at_ms, step.odd))
    }

    /// The step that a moment lies in; `None` outside.
    fn index(&self, at_ms: i64) -> Option<usize> {
        usize::try_from((at_ms - self.start_ms).div_euclid(self.step_ms)).ok()
    }

    fn at(&mut self, at_ms: i64) -> Option<&mut Acc> {
        let index = self.index(at_ms)?;
        self.steps.get_mut(index)
    }

    /// Takes samples in, oldest first.
    pub(super) fn add_samples(&mut self, samples: &[Sample]) {
        // Most samples are in the step of the one before: no division for them.
        let mut ends_ms = i64::MIN;
        let mut index = 0;
        for &(at_ms, value) in samples {
            if is_stale_marker(value) {
                continue;
            }
            if at_ms >= ends_ms {
                let Some(found) = self.index(at_ms) else {
                    continue;
                };
                index = found;
                ends_ms = (at_ms - self.start_ms).div_euclid(self.step_ms) * self.step_ms
                    + self.start_ms
                    + self.step_ms;
            }
            if let Some(step) = self.steps.get_mut(index) {
                step.odd += u64::from(!value.is_finite());
                if value.is_nan() {
                    step.has_nan = true;
                } else {
                    step.count += 1;
                    step.sum += value;
                    step.min = step.min.min(value);
                    step.max = step.max.max(value);
                }
                if at_ms >= step.last_ms {
                    step.last_ms = at_ms;
                    step.last = value;
                }
            }
        }
    }

    /// Takes buckets in; one that is longer than a step counts in the step that it begins in.
    pub(super) fn add_buckets(&mut self, tier: Tier, buckets: &[Bucket]) {
        for bucket in buckets {
            if let Some(step) = self.at(bucket.start_ms) {
                step.add(bucket, bucket.start_ms + tier.bucket_ms() - 1);
            }
        }
    }
}

/// Growth of a counter from sample to sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    before: Option<(f64, f64)>,
}

impl Growth {
    /// What it grew by since the sample before, and in how many milliseconds; `None` for the
    /// first, and where no time has passed.
    pub(super) fn push(&mut self, at_ms: f64, value: f64) -> Option<(f64, f64)> {
        let (before_ms, before) = self.before.replace((at_ms, value))?;
        let took_ms = at_ms - before_ms;
        (took_ms > 0.0).then(|| (increase(before, value), took_ms))
    }

    /// As [`Growth::push`], for a sample.
    pub(super) fn push_sample(&mut self, (at_ms, value): Sample) -> Option<(f64, f64)> {
        if value.is_finite() {
            return self.push(at_ms as f64, value);
        }
        if is_stale_marker(value) {
            self.before = None;
        }
        None
    }
}

/// A counter that shows less than before has begun again at zero.
fn increase(before: f64, now: f64) -> f64 {
    if now < before { now } else { now - before }
}

/// Puts one series' rates into the steps of a grid.
#[derive(Debug)]
pub(super) struct RateFold<'a> {
    grid: &'a mut Grid,
    growth: Growth,
    /// Distance of the samples of the bucket before.
    interval_ms: f64,
    /// The step that is being put together, and its growth so far.
    index: Option<usize>,
    grown: f64,
    took_ms: f64,
    min: f64,
    max: f64,
}

impl<'a> RateFold<'a> {
    /// `interval_ms`: how far apart its samples are, 0 where that is not known.
    pub(super) fn new(grid: &'a mut Grid, interval_ms: u32) -> Self {
        Self {
            grid,
            growth: Growth::default(),
            interval_ms: match interval_ms {
                0 => f64::INFINITY,
                known => f64::from(known),
            },
            index: None,
            grown: 0.0,
            took_ms: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    /// Takes samples in, oldest first.
    pub(super) fn add_samples(&mut self, samples: &[Sample]) {
        for &sample in samples {
            if let Some(growth) = self.growth.push_sample(sample) {
                self.put(sample.0, growth);
            }
        }
    }

    /// Takes buckets in, oldest first. Their samples count as equally far
    /// apart.
    pub(super) fn add_buckets(&mut self, tier: Tier, buckets: &[Bucket]) {
        for bucket in buckets {
            if ![bucket.first, bucket.last, bucket.resets]
                .iter()
                .all(|value| value.is_finite())
            {
                continue;
            }
            let length_ms = tier.bucket_ms() as f64;
            let apart_ms = length_ms / (bucket.count.max(1) as f64);
            // In a bucket that is not full they are as far apart as in the one before.
            let interval_ms = apart_ms.min(self.interval_ms);
            self.interval_ms = apart_ms;
            let first_ms = bucket.start_ms as f64 + interval_ms / 2.0;
            let last_ms = first_ms + interval_ms * (bucket.count.saturating_sub(1) as f64);
            let mut grown = 0.0;
            let mut took_ms = 0.0;
            if let Some((more, longer_ms)) = self.growth.push(first_ms, bucket.first) {
                (grown, took_ms) = (more, longer_ms);
            }
            if last_ms > first_ms {
                grown += bucket.increase();
                took_ms += last_ms - first_ms;
            }
            self.growth.before = Some((last_ms, bucket.last));
            if took_ms > 0.0 {
                self.put(bucket.start_ms, (grown, took_ms));
            }
        }
    }

    fn put(&mut self, at_ms: i64, (grown, took_ms): (f64, f64)) {
        let index = self.grid.index(at_ms);
        if index != self.index {
            self.flush();
            self.index = index;
        }
        self.grown += grown;
        self.took_ms += took_ms;
        let rate = grown / took_ms * 1000.0;
        self.min = self.min.min(rate);
        self.max = self.max.max(rate);
    }

    /// Ends the step that is being put together; to be called behind the last sample.
    pub(super) fn flush(&mut self) {
        let step = self.index.and_then(|index| self.grid.steps.get_mut(index));
        if let Some(step) = step
            && self.took_ms > 0.0
        {
            step.add_rate(self.grown / self.took_ms * 1000.0, self.min, self.max);
        }
        self.index = None;
        (self.grown, self.took_ms) = (0.0, 0.0);
        (self.min, self.max) = (f64::INFINITY, f64::NEG_INFINITY);
    }
}
