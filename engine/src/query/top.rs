//! The few series that matter, and a band of the rest: `topk` and `limit`.
//!
//! ```text
//! series ──each by itself──▶ score ──▶ among the best so far? ──▶ kept, the worst of them goes ─┐
//!                                                  └── no ──▶ band: min, max, sum, count a step ◀┘
//! ```
//!
//! One pass in memory that the number of series does not change: the steps of the best so far, and
//! one accumulator a step.

use std::{cmp::Ordering, str::FromStr};

use pulseboard_shared::protocol::series::{
    BandPoint, LiveWindow, OtherSeries, RangePoint, RangeSeries,
};

use super::{error::QueryError, finite};

/// Steps of all the best together: they are in memory until the last series has been read.
pub const TOP_POINTS_MAX: usize = 200_000;

/// Which of many series are told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Few {
    /// The first so many by key; the others are counted and not read.
    First(usize),
    /// The best so many; the others are read and become a band.
    Best(usize, Rank),
}

/// What makes a series one of the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rank {
    /// The greatest sample of the span, greatest first.
    #[default]
    Max,
    /// The mean of the steps, greatest first.
    Mean,
    /// The newest step, greatest first.
    Last,
    /// The least sample of the span, least first.
    Min,
}

impl Rank {
    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Last => "last",
            Self::Min => "min",
        }
    }

    /// Greater is better; `None` for a series without a finite number. A step's own extremes
    /// count where it is made of samples (`has_extremes`), so that no spike is averaged away.
    fn score(self, points: &[RangePoint], has_extremes: bool) -> Option<f64> {
        let values = || points.iter().filter_map(|point| point.1);
        let ends = |of: fn(&RangePoint) -> Option<f64>| {
            let ends = points.iter().filter_map(of).filter(|_| has_extremes);
            values().chain(ends)
        };
        match self {
            Self::Max => ends(|point| point.3).reduce(f64::max),
            Self::Min => ends(|point| point.2)
                .reduce(f64::min)
                .map(std::ops::Neg::neg),
            Self::Last => points.last().and_then(|point| point.1),
            Self::Mean => {
                let (sum, count) =
                    values().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
                (count > 0).then(|| sum / f64::from(count))
            }
        }
    }

    /// The same over one window of live figures.
    pub(super) fn score_window(self, window: &LiveWindow) -> Option<f64> {
        match self {
            Self::Max => window.max,
            Self::Mean | Self::Last => window.avg.filter(|mean| !mean.is_nan()),
            Self::Min => window.min.map(std::ops::Neg::neg),
        }
    }
}

impl FromStr for Rank {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        let all = [Self::Max, Self::Mean, Self::Last, Self::Min];
        let found = all.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| QueryError::Rank {
            name: name.chars().take(40).collect(),
        })
    }
}

/// The best of what is put in, best first; equal ones in the order they came.
#[derive(Debug)]
pub(super) struct Best<T> {
    max: usize,
    held: Vec<(Option<f64>, T)>,
}

impl<T> Best<T> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            held: Vec::new(),
        }
    }

    /// Takes one in; the one that is not among the best (any more), which may be it.
    pub(super) fn put(&mut self, score: Option<f64>, one: T) -> Option<T> {
        let place = self
            .held
            .partition_point(|(held, _)| better(*held, score) != Ordering::Greater);
        if place >= self.max {
            return Some(one);
        }
        self.held.insert(place, (score, one));
        if self.held.len() <= self.max {
            return None;
        }
        self.held.pop().map(|(_, one)| one)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = T> {
        self.held.into_iter().map(|(_, one)| one)
    }
}

/// `Less` where `one` is the better.
fn better(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => other.total_cmp(&one),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

/// What lies between the series that are not told one by one.
#[derive(Debug)]
struct Band {
    start_ms: i64,
    step_ms: i64,
    count: u64,
    steps: Vec<BandStep>,
}

#[derive(Clone, Copy, Debug)]
struct BandStep {
    is_there: bool,
    min: f64,
    max: f64,
    sum: f64,
    count: u32,
}

impl BandStep {
    const EMPTY: Self = Self {
        is_there: false,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        sum: 0.0,
        count: 0,
    };
}

impl Band {
    fn add(&mut self, points: &[RangePoint], has_extremes: bool) {
        self.count += 1;
        for &(at_ms, value, min, max) in points {
            let index = (at_ms - self.start_ms).div_euclid(self.step_ms);
            let Some(step) = usize::try_from(index)
                .ok()
                .and_then(|index| self.steps.get_mut(index))
            else {
                continue;
            };
            step.is_there = true;
            if let Some(value) = value {
                step.sum += value;
                step.count += 1;
            }
            let ends = [min, max].into_iter().flatten().filter(|_| has_extremes);
            for end in ends.chain(value) {
                step.min = step.min.min(end);
                step.max = step.max.max(end);
            }
        }
    }

    fn others(self) -> OtherSeries {
        let begins = (0..).map(|index: i64| self.start_ms + index * self.step_ms);
        let steps = begins.zip(&self.steps).filter(|(_, step)| step.is_there);
        let point = |(at_ms, step): (i64, &BandStep)| -> BandPoint {
            let mean = (step.count > 0).then(|| step.sum / f64::from(step.count));
            (
                at_ms,
                finite(step.min),
                mean.and_then(finite),
                finite(step.max),
            )
        };
        OtherSeries {
            count: self.count,
            points: steps.map(point).collect(),
        }
    }
}

/// The best series of a range so far, and the band of the others.
#[derive(Debug)]
pub(super) struct Top {
    rank: Rank,
    /// Whether a point's minimum and maximum are samples of the same kind as its value.
    has_extremes: bool,
    best: Best<RangeSeries>,
    band: Band,
}

impl Top {
    pub(super) fn new(
        max: usize,
        rank: Rank,
        has_extremes: bool,
        (start_ms, step_ms, points): (i64, i64, usize),
    ) -> Self {
        Self {
            rank,
            has_extremes,
            best: Best::new(max),
            band: Band {
                start_ms,
                step_ms,
                count: 0,
                steps: vec![BandStep::EMPTY; points],
            },
        }
    }

    pub(super) fn put(&mut self, series: RangeSeries) {
        let score = self.rank.score(&series.points, self.has_extremes);
        if let Some(other) = self.best.put(score, series) {
            self.band.add(&other.points, self.has_extremes);
        }
    }

    /// The best, best first, and the others where there are any.
    pub(super) fn finish(self) -> (Vec<RangeSeries>, Option<OtherSeries>) {
        let others = (self.band.count > 0).then(|| self.band.others());
        (self.best.into_iter().collect(), others)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(key: &str, points: &[RangePoint]) -> RangeSeries {
        RangeSeries {
            key: key.to_owned(),
            points: points.to_vec(),
            ..RangeSeries::default()
        }
    }

    fn point(at_ms: i64, value: f64) -> RangePoint {
        (at_ms, Some(value), Some(value - 1.0), Some(value + 1.0))
    }

    #[test]
    fn the_rest_is_a_band_and_a_spike_is_seen() {
        let mut top = Top::new(1, Rank::Max, true, (0, 10, 3));
        top.put(series("a", &[point(0, 1.0), point(10, 2.0)]));
        top.put(series("spike", &[(10, Some(0.0), Some(0.0), Some(99.0))]));
        top.put(series("b", &[point(10, 4.0)]));
        top.put(series("none", &[(20, None, None, None)]));
        let (best, others) = top.finish();
        assert_eq!(best.len(), 1);
        assert_eq!(best[0].key, "spike");
        let others = others.expect("a band");
        assert_eq!(others.count, 3);
        assert_eq!(
            others.points,
            [
                (0, Some(0.0), Some(1.0), Some(2.0)),
                (10, Some(1.0), Some(3.0), Some(5.0)),
                (20, None, None, None),
            ]
        );
    }

    proptest! {
        /// However series come, the best are those that sorting all of them says, and the band
        /// holds every other one.
        #[test]
        fn the_best_are_those_of_a_sorted_list(
            values in proptest::collection::vec(proptest::option::of(-50_i32..50), 0..40),
            max in 1_usize..10,
            rank in prop_oneof![Just(Rank::Max), Just(Rank::Mean), Just(Rank::Last), Just(Rank::Min)],
        ) {
            let mut top = Top::new(max, rank, false, (0, 1, 1));
            let mut all: Vec<(Option<i32>, usize)> = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let value_f = value.map(f64::from);
                top.put(series(&index.to_string(), &[(0, value_f, None, None)]));
                let score = value.map(|value| if rank == Rank::Min { -value } else { value });
                all.push((score, index));
            }
            // Without a number last; else the greater first, then the earlier.
            all.sort_by_key(|(score, index)| (score.is_none(), score.map(|score| -score), *index));
            let (best, others) = top.finish();
            let expected: Vec<String> =
                all.iter().take(max).map(|(_, index)| index.to_string()).collect();
            let found: Vec<String> = best.into_iter().map(|series| series.key).collect();
            prop_assert_eq!(found, expected);
            let rest: Vec<i32> = all.iter().skip(max).filter_map(|(_, index)| values[*index]).collect();
            prop_assert_eq!(others.as_ref().map_or(0, |others| others.count), all.len().saturating_sub(max) as u64);
            if let Some((min, max)) = rest.iter().min().zip(rest.iter().max()) {
                let band = others.expect("a band").points[0];
                prop_assert_eq!((band.1, band.3), (Some(f64::from(*min)), Some(f64::from(*max))));
            }
        }
    }
}
