//! The arithmetic of buckets; pure.
//!
//! NaN is no value. Infinities are values: sums become infinite, or NaN where both kinds meet.
//! A bucket holds what lies at `start <= time < start + length`.

use crate::{
    Bucket, Tier,
    column::{decimal_scale, to_decimal},
};

/// Appends the buckets of ascending samples; NaN is no value.
pub(crate) fn bucket_samples(tier: Tier, samples: &[(i64, f64)], buckets: &mut Vec<Bucket>) {
    let mut sum = Sum::default();
    for &(at_ms, value) in samples.iter().filter(|(_, value)| !value.is_nan()) {
        let start_ms = at_ms - at_ms.rem_euclid(tier.bucket_ms());
        match buckets
            .last_mut()
            .filter(|bucket| bucket.start_ms == start_ms)
        {
            Some(bucket) => {
                bucket.count += 1;
                sum.add(value);
                bucket.sum = sum.total();
                bucket.min = bucket.min.min(value);
                bucket.max = bucket.max.max(value);
                bucket.resets += reset(bucket.last, value);
                bucket.last = value;
            }
            None => {
                sum = Sum::default();
                sum.add(value);
                let [sum, min, max, first, last] = [value; 5];
                buckets.push(Bucket {
                    start_ms,
                    count: 1,
                    sum,
                    min,
                    max,
                    first,
                    last,
                    resets: 0.0,
                });
            }
        }
    }
}

/// Appends the buckets of ascending finer buckets.
pub(crate) fn bucket_buckets(tier: Tier, finer: &[Bucket], buckets: &mut Vec<Bucket>) {
    let mut sum = Sum::default();
    for part in finer {
        let start_ms = part.start_ms - part.start_ms.rem_euclid(tier.bucket_ms());
        match buckets
            .last_mut()
            .filter(|bucket| bucket.start_ms == start_ms)
        {
            Some(bucket) => {
                bucket.count = bucket.count.saturating_add(part.count);
                sum.add(part.sum);
                bucket.sum = sum.total();
                bucket.min = bucket.min.min(part.min);
                bucket.max = bucket.max.max(part.max);
                bucket.resets += reset(bucket.last, part.first) + part.resets;
                bucket.last = part.last;
            }
            None => {
                sum = Sum::default();
                sum.add(part.sum);
                buckets.push(Bucket { start_ms, ..*part });
            }
        }
    }
}

/// What is lost where a counter shows less than before.
pub(crate) fn reset(before: f64, now: f64) -> f64 {
    if now < before { before } else { 0.0 }
}

/// A sum that carries its rounding errors along (Neumaier 1974).
#[derive(Debug, Default)]
struct Sum {
    plain: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let total = self.plain + value;
        self.lost += if self.plain.abs() >= value.abs() {
            (self.plain - total) + value
        } else {
            (value - total) + self.plain
        };
        self.plain = total;
    }

    fn total(&self) -> f64 {
        let total = self.plain + self.lost;
        // Infinities make the carried errors NaN.
        if total.is_finite() { total } else { self.plain }
    }
}

/// Short decimals have sums that are such as well, but for the last bits. With them gone the
/// columns of sums take 1 to 2 bytes a bucket instead of 7, and are nearer the truth.
pub(crate) fn settle_sums(bucket: &mut Bucket) {
    /// Relative; some hundred times the rounding of a sum that carries its errors.
    const TOLERANCE: f64 = 1.0 / (1_u64 << 46) as f64;
    let parts = [bucket.min, bucket.max, bucket.first, bucket.last];
    let scales = parts.map(decimal_scale);
    let scale = scales
        .into_iter()
        .try_fold(0, |scale, next| next.map(|next| scale.max(next)));
    if let Some(scale) = scale {
        for sum in [&mut bucket.sum, &mut bucket.resets] {
            let settled = to_decimal(*sum, scale);
            if (settled - *sum).abs() <= sum.abs() * TOLERANCE {
                *sum = settled;
            }
        }
    }
}
