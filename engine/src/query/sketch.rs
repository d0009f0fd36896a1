//! Figures of closed minutes, kept within a bound, so that an hour's percentiles do not read the
//! hour again each time.
//!
//! The sketch is DDSketch by `sketches-ddsketch` (in Vector, Quickwit and the `metrics` family):
//! error relative to the value, mergeable, with negative values and zero. `tdigest` bounds the
//! error of ranks and not of values, `hdrhistogram` takes whole numbers only.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use pulseboard_history::SeriesId;
use sketches_ddsketch::{Config, DDSketch};

use pulseboard_shared::protocol::series::LiveWindow;

/// Percentiles are this far from a sample at most, relative to it. Half of it: twice the memory.
const RELATIVE_ERROR: f64 = 0.01;

/// Bins of a sketch: at this error they span 17 decades; beyond, the smallest share one.
const BINS_MAX: u32 = 2_048;

/// What is nearer to zero counts as zero.
const SMALLEST: f64 = 1e-9;

/// Minutes with more samples are kept as a sketch, which then is the smaller of the two.
const FEW_MAX: usize = 128;

/// Bytes of all closed minutes that are kept, about. Series that were not asked for the longest
/// go first. 16 MiB: the hour of some 450 series with a sample a second.
const BYTES_MAX: usize = 16 << 20;

/// Figures of a stretch of time.
#[derive(Clone)]
pub(super) struct Figures {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Samples that are infinitely small or great: a sketch has no bin for them.
    below: u64,
    above: u64,
    sketch: DDSketch,
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Figures({} samples)", self.count)
    }
}

/// A closed minute.
#[derive(Clone, Debug)]
pub(super) enum Minute {
    /// So few samples that they are kept.
    Few(Box<[f64]>),
    /// Their figures.
    Many(Box<Figures>),
}

impl Minute {
    /// Of samples that are numbers.
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        if values.clone().nth(FEW_MAX).is_none() {
            return Self::Few(values.collect());
        }
        let mut figures = Figures::new();
        values.for_each(|value| figures.add(value));
        Self::Many(Box::new(figures))
    }

    fn held_bytes(&self) -> usize {
        /// Its place in the map.
        const PLACE: usize = 48;
        PLACE
            + match self {
                Self::Few(values) => size_of_val(&**values),
                Self::Many(figures) => size_of::<Figures>() + figures.sketch.length() * 8,
            }
    }
}

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            below: 0,
            above: 0,
            sketch: DDSketch::new(Config::new(RELATIVE_ERROR, BINS_MAX, SMALLEST)),
        }
    }

    /// Takes a number in.
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if value == f64::NEG_INFINITY {
            self.below += 1;
        } else if value == f64::INFINITY {
            self.above += 1;
        } else {
            self.sketch.add(value);
        }
    }

    pub(super) fn merge(&mut self, minute: &Minute) {
        match minute {
            Minute::Few(values) => values.iter().for_each(|value| self.add(*value)),
            Minute::Many(figures) => {
                self.count += figures.count;
                self.sum += figures.sum;
                self.min = self.min.min(figures.min);
                self.max = self.max.max(figures.max);
                self.below += figures.below;
                self.above += figures.above;
                // Both have the same configuration, the only thing that can be wrong.
                drop(self.sketch.merge(&figures.sketch));
            }
        }
    }

    /// The smallest value that such a share of the samples are at most (the nearest rank).
    fn percentile(&self, share: f64) -> Option<f64> {
        let last = self.count.checked_sub(1)?;
        let place = ((share * self.count as f64).ceil() - 1.0).clamp(0.0, last as f64);
        // From here on among the finite ones, which lie between the others.
        let place = place - self.below as f64;
        let count = self.count - self.below - self.above;
        if place < 0.0 {
            return Some(f64::NEG_INFINITY);
        }
        if place >= count as f64 {
            return Some(f64::INFINITY);
        }
        // The sketch rounds a place down.
        let rank = (place + 0.5) / count.saturating_sub(1).max(1) as f64;
        let value = self.sketch.quantile(rank.min(1.0)).ok().flatten()?;
        // The middle of the outermost bins can lie beyond what there was.
        let (least, most) = (self.sketch.min()?, self.sketch.max()?);
        Some(value.max(least).min(most))
    }

    pub(super) fn window(&self, seconds: u32) -> LiveWindow {
        let any = |value: f64| (self.count > 0).then_some(value);
        let mean = self.sum / self.count as f64;
        // A sum of numbers can be past all numbers, and their mean is not.
        let has_infinite = self.below + self.above > 0;
        LiveWindow {
            seconds,
            count: self.count,
            avg: any(mean).filter(|mean| mean.is_finite() || has_infinite),
            min: any(self.min),
            max: any(self.max),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p95: self.percentile(0.95),
            p99: self.percentile(0.99),
        }
    }
}

/// The closed minutes of one series.
#[derive(Debug, Default)]
pub(super) struct SeriesMinutes {
    /// By the minute's number since 1970; minutes without samples are there, too.
    pub(super) minutes: BTreeMap<i64, Minute>,
    /// As the series' when they were made: another one means that samples came late.
    pub(super) late_count: u32,
    held_bytes: usize,
    /// When it was last asked for, as a count.
    used: u64,
}

/// The closed minutes of all series.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    series: HashMap<SeriesId, SeriesMinutes>,
    held_bytes: usize,
    used: u64,
}

impl Minutes {
    /// Takes one series' minutes out, to be put back; none where there are none that hold.
    pub(super) fn take(&mut self, id: SeriesId, late_count: u32) -> SeriesMinutes {
        let taken = self.series.remove(&id).unwrap_or_default();
        self.held_bytes -= taken.held_bytes;
        if taken.late_count == late_count {
            return taken;
        }
        SeriesMinutes {
            late_count,
            ..SeriesMinutes::default()
        }
    }

    /// Keeps one series' minutes; others go where that is too much.
    pub(super) fn put(&mut self, id: SeriesId, mut minutes: SeriesMinutes) {
        minutes.held_bytes = minutes.minutes.values().map(Minute::held_bytes).sum();
        self.used += 1;
        minutes.used = self.used;
        self.held_bytes += minutes.held_bytes;
        if let Some(before) = self.series.insert(id, minutes) {
            self.held_bytes -= before.held_bytes;
        }
        if self.held_bytes > BYTES_MAX {
            self.shrink();
        }
    }

    /// Down to three quarters, so that it does not happen with every series.
    fn shrink(&mut self) {
        let mut by_use: Vec<(u64, SeriesId)> = self
            .series
            .iter()
            .map(|(id, minutes)| (minutes.used, *id))
            .collect();
        by_use.sort_unstable();
        for (_, id) in by_use {
            if self.held_bytes <= BYTES_MAX / 4 * 3 {
                break;
            }
            if let Some(gone) = self.series.remove(&id) {
                self.held_bytes -= gone.held_bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_hundredth_for_all_signs() {
        let values: Vec<f64> = (-3_000..=5_000)
            .map(|value| f64::from(value) * 0.7)
            .collect();
        let mut figures = Figures::new();
        for chunk in values.chunks(500) {
            figures.merge(&Minute::of(chunk.iter().copied()));
        }
        let window = figures.window(60);
        assert_eq!(window.count, 8_001);
        for (rank, found) in [(0.5, window.p50), (0.9, window.p90), (0.99, window.p99)] {
            let exact = values[(rank * 8_000.0) as usize];
            let found = found.expect("samples");
            assert!(
                (found - exact).abs() <= exact.abs() * 0.0101,
                "{rank} {found} {exact}"
            );
        }
        let mut low = Figures::new();
        [-100.0, -10.0, 0.0, 0.0, 0.0]
            .into_iter()
            .for_each(|value| low.add(value));
        assert_eq!(low.window(1).p50, Some(0.0));
        assert_eq!(low.window(1).p99, Some(0.0));
    }

    #[test]
    fn infinite_samples_count_and_stand_at_the_ends() {
        let of = |values: &[f64]| {
            let mut figures = Figures::new();
            figures.merge(&Minute::of(values.iter().copied()));
            figures.window(60)
        };
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let one = of(&[high]);
        assert_eq!(
            (one.count, one.avg, one.min, one.max, one.p50),
            (1, Some(high), Some(high), Some(high), Some(high))
        );
        let some = of(&[low, 1.0, 1.0, 1.0, high]);
        assert_eq!((some.count, some.min, some.max), (5, Some(low), Some(high)));
        assert!(some.avg.is_some_and(f64::is_nan));
        assert_eq!(
            (some.p50.map(f64::round), some.p99),
            (Some(1.0), Some(high))
        );
        // Many are kept as a sketch, and are merged as one.
        let mut many = vec![low; 100];
        many.extend([7.0; 100]);
        let mut figures = Figures::new();
        (0..2).for_each(|_| figures.merge(&Minute::of(many.iter().copied())));
        let window = figures.window(60);
        assert_eq!((window.count, window.p50), (400, Some(low)));
        assert_eq!(window.p90.map(f64::round), Some(7.0));
        assert_eq!(of(&[f64::MAX, f64::MAX]).avg, None);
    }

    #[test]
    fn what_is_kept_stays_within_its_bound() {
        let mut minutes = Minutes::default();
        for id in 0..200 {
            let mut one = minutes.take(SeriesId(id), 0);
            for minute in 0..60 {
                let values = (1..2_000).map(|value| f64::from(value).powi(3));
                one.minutes.insert(minute, Minute::of(values));
            }
            minutes.put(SeriesId(id), one);
            assert!(minutes.held_bytes <= BYTES_MAX);
        }
        assert!(minutes.take(SeriesId(0), 0).minutes.is_empty());
        assert_eq!(minutes.take(SeriesId(199), 0).minutes.len(), 60);
        assert!(minutes.take(SeriesId(198), 1).minutes.is_empty());
        let left: usize = minutes.series.values().map(|one| one.held_bytes).sum();
        assert_eq!(left, minutes.held_bytes);
    }

    #[test]
    fn percentiles_of_few_samples_are_of_the_nearest_rank() {
        let of = |values: std::ops::RangeInclusive<u32>| {
            let mut figures = Figures::new();
            values.for_each(|value| figures.add(f64::from(value)));
            let window = figures.window(60);
            [window.p50, window.p90, window.p99].map(|value| value.map(f64::round))
        };
        assert_eq!(Figures::new().window(60).p50, None);
        assert_eq!(of(7..=7), [Some(7.0); 3]);
        assert_eq!(of(1..=3), [Some(2.0), Some(3.0), Some(3.0)]);
    }
}
