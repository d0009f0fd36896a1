//! Exponential histograms (Prometheus native histograms, OpenTelemetry exponential ones) as
//! cumulative buckets.
//!
//! With schema (scale) `s` the bounds are powers of 2^(2^−s). A positive bucket `i` holds
//! observations in (base^(i−1), base^i], as Prometheus counts; OpenTelemetry's index is one less.
//! A negative one is its mirror image, the zero bucket lies between. More than [`BUCKETS_MAX`]
//! buckets are made fewer by halving the resolution, which merges neighbours exactly. Where a
//! bucket does not begin at the end of the one before, its lower bound is written, too.

use pulseboard_series::{Batch, Reason};

use crate::series_parts::{Point, number};

/// Populated buckets of one histogram that are written, with two bounds at most each;
/// OpenTelemetry's SDKs have at most 160 as well.
pub(crate) const BUCKETS_MAX: usize = 160;

/// Buckets that a sender may give for one histogram.
pub(crate) const BUCKETS_READ_MAX: usize = 10_000;

/// Index and count of populated buckets, by index.
pub(crate) type Buckets = Vec<(i64, f64)>;

/// An exponential histogram, its indexes as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Exponential {
    /// The schema or scale.
    pub(crate) scale: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: f64,
    pub(crate) positive: Buckets,
    pub(crate) negative: Buckets,
}

impl Exponential {
    /// Writes `_bucket` for each bucket, from the lowest bound up; the one of `+Inf` is the
    /// caller's, who knows the count.
    pub(crate) fn write<L: AsRef<str>>(
        mut self,
        point: &Point<'_, L>,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        while self.positive.len() + self.negative.len() > BUCKETS_MAX {
            self.halve();
        }
        let mut written = Cumulative::default();
        for (index, count) in self.negative.iter().rev() {
            let lower = -bound(*index, self.scale);
            let upper = -bound(index.saturating_sub(1), self.scale);
            written.bucket(Some(lower), upper, *count, point, batch)?;
        }
        if self.zero_count != 0.0 {
            // Where nothing is negative it begins at 0, as the lowest bucket does anyway.
            let lower = (!self.negative.is_empty()).then_some(-self.zero_threshold);
            let upper = self.zero_threshold;
            written.bucket(lower, upper, self.zero_count, point, batch)?;
        }
        for (index, count) in &self.positive {
            let lower = bound(index.saturating_sub(1), self.scale);
            let upper = bound(*index, self.scale);
            written.bucket(Some(lower), upper, *count, point, batch)?;
        }
        Ok(())
    }

    /// Adds another one's observations, at the coarser resolution of the two, and at one that has
    /// no more than [`BUCKETS_MAX`] buckets. Both scales are within some thirty of each other.
    pub(crate) fn add(&mut self, mut other: Self) {
        while self.scale > other.scale {
            self.halve();
        }
        while other.scale > self.scale {
            other.halve();
        }
        self.zero_threshold = self.zero_threshold.max(other.zero_threshold);
        self.zero_count += other.zero_count;
        add_buckets(&mut self.positive, other.positive);
        add_buckets(&mut self.negative, other.negative);
        while self.positive.len() + self.negative.len() > BUCKETS_MAX {
            self.halve();
        }
    }

    /// Merges each two neighbours: bucket i becomes ceil(i / 2).
    fn halve(&mut self) {
        self.scale = self.scale.saturating_sub(1);
        for buckets in [&mut self.positive, &mut self.negative] {
            let mut merged: Buckets = Vec::with_capacity(buckets.len());
            for (index, count) in buckets.iter() {
                let index = index.saturating_add(1).div_euclid(2);
                match merged.last_mut() {
                    Some((last, sum)) if *last == index => *sum += count,
                    _ => merged.push((index, *count)),
                }
            }
            *buckets = merged;
        }
    }
}

/// What was written of a histogram's buckets, whose bounds rise.
#[derive(Debug)]
pub(crate) struct Cumulative {
    count: f64,
    /// The bound that was written last.
    end: f64,
}

impl Default for Cumulative {
    fn default() -> Self {
        Self {
            count: 0.0,
            end: f64::NEG_INFINITY,
        }
    }
}

impl Cumulative {
    /// Writes `_bucket` for the bucket that ends at `upper`. Its lower bound, where it has one, is
    /// written before when nothing ended there, since a quantile is looked for between two bounds.
    pub(crate) fn bucket<L: AsRef<str>>(
        &mut self,
        lower: Option<f64>,
        upper: f64,
        count: f64,
        point: &Point<'_, L>,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        if let Some(lower) = lower.filter(|lower| *lower > self.end) {
            self.write(lower, point, batch)?;
        }
        self.count += count;
        self.write(upper, point, batch)
    }

    fn write<L: AsRef<str>>(
        &mut self,
        bound: f64,
        point: &Point<'_, L>,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        // Past the largest double it is part of `+Inf`.
        if !bound.is_finite() {
            return Ok(());
        }
        self.end = self.end.max(bound);
        // The negative zero that a bound too small for a double becomes is zero.
        let bound = number(bound + 0.0);
        point.count("_bucket", Some(("le", &bound)), self.count, batch)
    }
}

/// Both are sorted by index, and so is what becomes of them.
fn add_buckets(buckets: &mut Buckets, others: Buckets) {
    for (index, count) in others {
        // Nobody fills a bucket with nothing; it would only be one more series.
        if count == 0.0 {
            continue;
        }
        match buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => buckets[at].1 += count,
            Err(at) => buckets.insert(at, (index, count)),
        }
    }
}

/// The upper bound of positive bucket `index`: 2^(index × 2^−scale).
fn bound(index: i64, scale: i32) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "indexes beyond 2^53 have infinite bounds"
    )]
    let index = index as f64;
    (index * f64::from(-scale).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows;

    fn write(histogram: Exponential) -> Vec<String> {
        let mut batch = Batch::new();
        let point: Point<'_, &str> = Point {
            name: "h",
            labels: &[],
            unit: "",
            line: 1,
            at_ms: None,
        };
        assert_eq!(histogram.write(&point, &mut batch), Ok(()));
        rows(&batch)
    }

    #[test]
    fn bounds_are_powers_of_the_base() {
        let rows = write(Exponential {
            scale: 0,
            zero_threshold: 0.001,
            zero_count: 2.0,
            positive: vec![(0, 1.0), (1, 2.0), (4, 3.0), (5000, 1.0)],
            negative: vec![(1, 5.0), (2, 1.0)],
        });
        assert_eq!(
            rows,
            [
                "1 h_bucket{le=\"-4\"} 0",
                "1 h_bucket{le=\"-2\"} 1",
                "1 h_bucket{le=\"-1\"} 6",
                "1 h_bucket{le=\"-0.001\"} 6",
                "1 h_bucket{le=\"0.001\"} 8",
                "1 h_bucket{le=\"0.5\"} 8",
                "1 h_bucket{le=\"1\"} 9",
                "1 h_bucket{le=\"2\"} 11",
                "1 h_bucket{le=\"8\"} 11",
                "1 h_bucket{le=\"16\"} 14",
            ]
        );
        let rows = write(Exponential {
            scale: 1,
            positive: vec![(-2, 1.0), (2, 1.0)],
            ..Exponential::default()
        });
        assert!(
            rows[0].starts_with("1 h_bucket{le=\"0.35355") && rows[0].ends_with(" 0"),
            "{rows:?}"
        );
        assert_eq!(rows[1], "1 h_bucket{le=\"0.5\"} 1");
        assert!(
            rows[2].starts_with("1 h_bucket{le=\"1.41421") && rows[2].ends_with(" 1"),
            "{rows:?}"
        );
        assert_eq!(rows[3..], ["1 h_bucket{le=\"2\"} 2"]);
    }

    #[test]
    fn a_bucket_says_where_it_begins_as_well() {
        let one = |index| {
            write(Exponential {
                positive: vec![(index, 100.0)],
                ..Exponential::default()
            })
        };
        assert_eq!(
            one(11),
            ["1 h_bucket{le=\"1024\"} 0", "1 h_bucket{le=\"2048\"} 100"]
        );
        // What ends past the largest double begins at one that can be written.
        let rows = one(1024);
        assert!(rows.len() == 1 && rows[0].ends_with(" 0"), "{rows:?}");
        // Nothing negative: the zero bucket is the lowest.
        let rows = write(Exponential {
            zero_threshold: 0.5,
            zero_count: 1.0,
            positive: vec![(0, 1.0)],
            ..Exponential::default()
        });
        assert_eq!(rows, ["1 h_bucket{le=\"0.5\"} 1", "1 h_bucket{le=\"1\"} 2"]);
        // Bounds too small for a double are 0, from either side.
        let rows = write(Exponential {
            zero_count: 1.0,
            positive: vec![(-2000, 1.0)],
            negative: vec![(-2000, 1.0)],
            ..Exponential::default()
        });
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| row.contains("le=\"0\"")), "{rows:?}");
    }

    #[test]
    fn histograms_add_up_at_the_coarser_resolution() {
        let mut total = Exponential {
            scale: 1,
            zero_count: 1.0,
            positive: vec![(1, 1.0), (2, 2.0), (3, 4.0)],
            ..Exponential::default()
        };
        total.add(Exponential {
            scale: 0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive: vec![(0, 3.0), (2, 0.5), (9, 0.0)],
            negative: vec![(1, 1.0)],
        });
        let expected = Exponential {
            scale: 0,
            zero_threshold: 0.5,
            zero_count: 3.0,
            positive: vec![(0, 3.0), (1, 3.0), (2, 4.5)],
            negative: vec![(1, 1.0)],
        };
        assert_eq!(total, expected);
        for index in 0..1_000 {
            total.add(Exponential {
                positive: vec![(index, 1.0)],
                ..Exponential::default()
            });
        }
        assert!(total.positive.len() <= BUCKETS_MAX);
        let count: f64 = total.positive.iter().map(|bucket| bucket.1).sum();
        assert_eq!(count, 1_010.5);
    }

    #[test]
    fn too_many_buckets_are_merged() {
        let positive: Buckets = (-500..500).map(|index| (index, 1.0)).collect();
        let rows = write(Exponential {
            scale: 3,
            positive,
            ..Exponential::default()
        });
        assert!((80..=BUCKETS_MAX).contains(&rows.len()), "{}", rows.len());
        assert!(
            rows.iter().any(|row| row == "1 h_bucket{le=\"1\"} 501"),
            "{rows:?}"
        );
        // Indexes as far from each other as can be come to an end, too.
        let positive: Buckets = (0..1000)
            .map(|index| (i64::from(i32::MIN) + index * 4_000_000, 1.0))
            .collect();
        assert!(
            write(Exponential {
                scale: 20,
                positive,
                ..Exponential::default()
            })
            .len()
                <= 2 * BUCKETS_MAX
        );
    }
}
