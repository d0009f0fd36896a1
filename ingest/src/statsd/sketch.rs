//! The values of one timer between two flushes, as counts in buckets whose bounds grow by 2 %: a
//! quantile is off by at most 1 % of itself, whatever the values are. As in DDSketch (Masson, Rim,
//! Lee 2019) the lowest buckets are merged when there are too many, so high quantiles stay exact.
//!
//! It is not the crate that the engine's sketches are made of: a value of a sampled timer counts
//! `1 / rate` times, which is seldom a whole number, and that crate counts whole values only.

use std::collections::BTreeMap;

/// Buckets of one timer, some 8 KB; they span a factor of 150 above the lowest that is exact.
const BUCKETS_MAX: usize = 256;

const GROWTH: f64 = 1.02;

/// Added to a positive value's bucket number, so that those below 1 stay above 0, which is zero's;
/// negative values have the mirrored numbers. ln(5e-324) / ln(1.02) is −37 600.
const OFFSET: i32 = 40_000;

#[derive(Debug, Default)]
pub(super) struct Sketch {
    counts: BTreeMap<i32, f64>,
}

impl Sketch {
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        *self.counts.entry(bucket(value)).or_default() += weight;
        if self.counts.len() > BUCKETS_MAX
            && let Some((_, count)) = self.counts.pop_first()
            && let Some(mut lowest) = self.counts.first_entry()
        {
            *lowest.get_mut() += count;
        }
    }

    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    /// The value below which this share of all lies; `None` without values.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total: f64 = self.counts.values().sum();
        let mut below = 0.0;
        for (bucket, count) in &self.counts {
            below += count;
            if below >= total * share {
                return Some(middle(*bucket));
            }
        }
        self.counts
            .last_key_value()
            .map(|(bucket, _)| middle(*bucket))
    }
}

fn bucket(value: f64) -> i32 {
    if value == 0.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "between −37 600 and 35 900 for finite values"
    )]
    let number = (value.abs().ln() / GROWTH.ln()).ceil() as i32 + OFFSET;
    if value < 0.0 { -number } else { number }
}

fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let size = (f64::from(bucket.abs() - OFFSET) * GROWTH.ln()).exp() * 2.0 / (1.0 + GROWTH);
    if bucket < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_has_no_quantiles() {
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_near(mut values in prop::collection::vec(-5.0_f64..100.0, 1..200), share in 0.01_f64..1.0) {
            let mut sketch = Sketch::default();
            for value in &values {
                sketch.add(*value, 1.0);
            }
            values.sort_by(f64::total_cmp);
            let rank = (values.len() as f64 * share).ceil() as usize - 1;
            let (exact, near) = (values[rank], sketch.quantile(share).expect("there are values"));
            prop_assert!((exact - near).abs() <= exact.abs() * 0.0101, "{} {}", exact, near);
        }

        #[test]
        fn buckets_are_bounded(values in prop::collection::vec(any::<f64>(), 0..1000)) {
            let mut sketch = Sketch::default();
            for value in values.iter().filter(|value| value.is_finite()) {
                sketch.add(*value, 1.0);
            }
            prop_assert!(sketch.counts.len() <= BUCKETS_MAX);
            if let Some(high) = sketch.quantile(0.99) {
                prop_assert!(!high.is_nan());
            }
        }
    }
}
