//! Running totals of what senders report as differences (delta temporality).

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::exponential::Exponential;

/// For how many series an exponential histogram counts: it has up to 160 buckets.
const HISTOGRAM_WEIGHT: usize = 32;

/// Totals of one tenant's delta series, by series key. Pure: the caller owns it, keeps it between
/// requests, and says when a time has passed.
///
/// A total begins at 0 with this process, as a counter does that was started again. A point that
/// is sent twice (same start and end as the one before) is counted once; any other retry of a
/// request whose answer was lost cannot be told from new data.
#[derive(Debug)]
pub struct DeltaTotals {
    totals: HashMap<Box<[u8]>, Total, RandomState>,
    /// Buckets of exponential histograms, by the key of their counts' series.
    histograms: HashMap<Box<[u8]>, HistogramTotal, RandomState>,
    series_max: usize,
    /// Grows by one with each [`DeltaTotals::forget_idle`].
    generation: u32,
}

#[derive(Debug)]
struct Total {
    value: f64,
    /// Start and end of the newest point, Unix nanoseconds; zeros when the sender gave none.
    newest: (u64, u64),
    used: u32,
}

#[derive(Debug)]
struct HistogramTotal {
    value: Exponential,
    /// As [`Total::newest`].
    newest: (u64, u64),
    used: u32,
}

impl DeltaTotals {
    /// No totals yet, and room for `series_max`; each costs its key and some 60 bytes.
    #[must_use]
    pub fn new(series_max: usize) -> Self {
        Self {
            totals: HashMap::default(),
            histograms: HashMap::default(),
            series_max,
            generation: 0,
        }
    }

    /// Makes room for so many from now on; those that are there stay.
    pub fn set_series_max(&mut self, series_max: usize) {
        self.series_max = series_max;
    }

    /// Adds a difference to the series' total, which it returns; `None` when there is no room for
    /// a further series. `span` is start and end of the point in Unix nanoseconds.
    pub fn add(&mut self, key: &[u8], span: (u64, u64), delta: f64) -> Option<f64> {
        let used = self.generation;
        if let Some(total) = self.totals.get_mut(key) {
            total.used = used;
            let is_repeated = span != (0, 0) && span == total.newest;
            if !is_repeated {
                total.value += delta;
                total.newest = span;
            }
            return Some(total.value);
        }
        if self.len() >= self.series_max {
            return None;
        }
        let total = Total {
            value: delta,
            newest: span,
            used,
        };
        self.totals.insert(key.into(), total);
        Some(delta)
    }

    /// As [`DeltaTotals::add`] for the buckets of an exponential histogram.
    pub(crate) fn add_histogram(
        &mut self,
        key: &[u8],
        span: (u64, u64),
        delta: Exponential,
    ) -> Option<Exponential> {
        let used = self.generation;
        if let Some(total) = self.histograms.get_mut(key) {
            total.used = used;
            let is_repeated = span != (0, 0) && span == total.newest;
            if !is_repeated {
                total.value.add(delta);
                total.newest = span;
            }
            return Some(total.value.clone());
        }
        if self.len() + HISTOGRAM_WEIGHT > self.series_max {
            return None;
        }
        let mut value = Exponential {
            scale: delta.scale,
            ..Exponential::default()
        };
        value.add(delta);
        let total = HistogramTotal {
            value: value.clone(),
            newest: span,
            used,
        };
        self.histograms.insert(key.into(), total);
        Some(value)
    }

    /// Forgets what was not added to since the call before the last one; returns how many. Called
    /// each five minutes, an idle series is kept for five to ten.
    pub fn forget_idle(&mut self) -> usize {
        let before = self.len();
        let oldest = self.generation;
        self.generation = self.generation.wrapping_add(1);
        self.totals.retain(|_, total| total.used == oldest);
        self.histograms.retain(|_, total| total.used == oldest);
        before - self.len()
    }

    /// How many series have a total; an exponential histogram is some.
    #[must_use]
    pub fn len(&self) -> usize {
        self.totals.len() + self.histograms.len() * HISTOGRAM_WEIGHT
    }

    /// Whether no series has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_add_up_once() {
        let mut totals = DeltaTotals::new(2);
        assert_eq!(totals.add(b"a", (0, 1), 2.0), Some(2.0));
        assert_eq!(totals.add(b"a", (1, 2), 3.0), Some(5.0));
        assert_eq!(totals.add(b"a", (1, 2), 3.0), Some(5.0));
        assert_eq!(totals.add(b"b", (0, 0), 1.0), Some(1.0));
        assert_eq!(totals.add(b"b", (0, 0), 1.0), Some(2.0));
        assert_eq!(totals.add(b"c", (0, 0), 1.0), None);
    }

    #[test]
    fn idle_ones_are_forgotten() {
        let mut totals = DeltaTotals::new(2);
        totals.add(b"a", (0, 0), 1.0);
        totals.add(b"b", (0, 0), 1.0);
        assert_eq!(totals.forget_idle(), 0);
        assert_eq!(totals.add(b"a", (0, 0), 1.0), Some(2.0));
        assert_eq!(totals.forget_idle(), 1);
        assert_eq!(totals.len(), 1);
        assert_eq!(totals.add(b"b", (0, 0), 1.0), Some(1.0));
        assert!(!totals.is_empty());
    }
}
