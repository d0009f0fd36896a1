//! Running totals of what senders report as differences (delta temporality).

use std::collections::HashMap;

use foldhash::fast::RandomState;
use pulseboard_series::Reason;

use crate::exponential::Exponential;

/// For how many series an exponential histogram counts: it has up to 160 buckets.
const HISTOGRAM_WEIGHT: usize = 32;

/// Points of a series that are known when they are sent again; older ones are too late.
const REMEMBERED: usize = 4;

const NS_PER_MS: u64 = 1_000_000;

/// Totals of one tenant's delta series, by series key. Pure: the caller owns it, keeps it between
/// requests, and says when a time has passed.
///
/// Points come in the order of time: one begins where the one before ended, or later. So a total
/// never falls, and no point is in it twice: one of the newest few that is sent again has the
/// total that it had, and any other that begins before what is counted already is refused. A point
/// without times cannot be placed, and is added as it comes.
///
/// A total goes on where its series stands when this process does not know it yet; where that is
/// not known either, it begins at 0, as a counter does that was started again.
#[derive(Debug)]
pub struct DeltaTotals {
    totals: HashMap<Box<[u8]>, Total, RandomState>,
    /// Buckets of exponential histograms, by the key of their counts' series.
    histograms: HashMap<Box<[u8]>, HistogramTotal, RandomState>,
    series_max: usize,
    /// Grows by one with each [`DeltaTotals::forget_idle`].
    generation: u32,
}

/// Start and end of a point, Unix nanoseconds; zeros where the sender gave none.
pub(crate) type Span = (u64, u64);

/// What is known of a series before this process added anything: when its newest sample was, Unix
/// milliseconds, and its value.
pub type Known<'a> = &'a dyn Fn(&[u8]) -> Option<(i64, f64)>;

#[derive(Debug)]
struct Total {
    placed: Placed<f64>,
    used: u32,
}

#[derive(Debug)]
struct HistogramTotal {
    value: Exponential,
    placed: Placed<()>,
    used: u32,
}

/// The newest points of a series, newest first, each with the total behind it.
#[derive(Clone, Copy, Debug)]
struct Placed<T> {
    newest: [(Span, T); REMEMBERED],
}

/// Where a point belongs.
enum Place {
    /// Behind all others.
    Next,
    /// It is there already, so many points ago.
    There(usize),
    /// It begins before this moment, up to which all is counted.
    Late(u64),
}

impl<T: Copy> Placed<T> {
    /// Nothing but a total, up to a moment.
    fn new(span: Span, total: T) -> Self {
        Self {
            newest: [(span, total); REMEMBERED],
        }
    }

    fn place(&self, (start, end): Span) -> Place {
        if (start, end) == (0, 0) {
            return Place::Next;
        }
        if let Some(ago) = self.newest.iter().position(|known| known.0 == (start, end)) {
            return Place::There(ago);
        }
        let ((_, counted_to), _) = self.newest[0];
        if end > counted_to && (start == 0 || start >= counted_to) {
            Place::Next
        } else {
            Place::Late(counted_to)
        }
    }

    fn put(&mut self, span: Span, total: T) {
        // One without times does not make those before it late, or unknown.
        if span == (0, 0) {
            self.newest[0].1 = total;
            return;
        }
        self.newest.rotate_right(1);
        self.newest[0] = (span, total);
    }
}

impl DeltaTotals {
    /// No totals yet, and room for `series_max`; each costs its key and some 140 bytes.
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

    /// Adds a difference to the series' total, which it returns.
    ///
    /// # Errors
    /// There is no room for a further series, or the point has no place.
    pub(crate) fn add(
        &mut self,
        key: &[u8],
        span: Span,
        delta: f64,
        known: Known<'_>,
    ) -> Result<f64, Reason> {
        if !delta.is_finite() {
            return Err(Reason::NotANumber(delta.to_string()));
        }
        let used = self.generation;
        if !self.totals.contains_key(key) {
            self.check_room(1)?;
            // Its time is known to the millisecond, and so is that of a point sent again.
            let placed = match known(key) {
                Some((at_ms, value)) if value.is_finite() => {
                    let to = u64::try_from(at_ms).unwrap_or(0).saturating_mul(NS_PER_MS);
                    let is_there = span.1 > 0 && span.1 / NS_PER_MS == to / NS_PER_MS;
                    Placed::new(if is_there { span } else { (0, to) }, value)
                }
                _ => Placed::new((0, 0), 0.0),
            };
            self.totals.insert(key.into(), Total { placed, used });
        }
        let Some(total) = self.totals.get_mut(key) else {
            return Ok(delta);
        };
        total.used = used;
        match total.placed.place(span) {
            Place::Next => {
                let value = total.placed.newest[0].1 + delta;
                total.placed.put(span, value);
                Ok(value)
            }
            Place::There(ago) => Ok(total.placed.newest[ago].1),
            Place::Late(counted_to) => Err(late(span, counted_to)),
        }
    }

    /// As [`DeltaTotals::add`] for the buckets of an exponential histogram; `None` for a point that
    /// is there, and not the newest.
    pub(crate) fn add_histogram(
        &mut self,
        key: &[u8],
        span: Span,
        delta: Exponential,
    ) -> Result<Option<Exponential>, Reason> {
        let used = self.generation;
        if !self.histograms.contains_key(key) {
            self.check_room(HISTOGRAM_WEIGHT)?;
            let total = HistogramTotal {
                value: Exponential {
                    scale: delta.scale,
                    ..Exponential::default()
                },
                placed: Placed::new((0, 0), ()),
                used,
            };
            self.histograms.insert(key.into(), total);
        }
        let Some(total) = self.histograms.get_mut(key) else {
            return Ok(None);
        };
        total.used = used;
        match total.placed.place(span) {
            Place::Next => {
                total.value.add(delta);
                total.placed.put(span, ());
                Ok(Some(total.value.clone()))
            }
            Place::There(0) => Ok(Some(total.value.clone())),
            Place::There(_) => Ok(None),
            Place::Late(counted_to) => Err(late(span, counted_to)),
        }
    }

    fn check_room(&self, weight: usize) -> Result<(), Reason> {
        if self.len() + weight <= self.series_max {
            return Ok(());
        }
        Err(Reason::Unsupported(format!(
            "there are {} series with delta temporality already, as many as are kept",
            self.len()
        )))
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

fn late((start, end): Span, counted_to: u64) -> Reason {
    Reason::Malformed(format!(
        "a difference from {start} to {end} ns, and its series is counted up to {counted_to} ns already; differences follow one another in time"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nothing(_: &[u8]) -> Option<(i64, f64)> {
        None
    }

    fn add(totals: &mut DeltaTotals, key: &str, span: Span, delta: f64) -> Option<f64> {
        totals.add(key.as_bytes(), span, delta, &nothing).ok()
    }

    #[test]
    fn differences_add_up_once() {
        let mut totals = DeltaTotals::new(2);
        assert_eq!(add(&mut totals, "a", (0, 1), 2.0), Some(2.0));
        assert_eq!(add(&mut totals, "a", (1, 2), 3.0), Some(5.0));
        assert_eq!(add(&mut totals, "a", (1, 2), 3.0), Some(5.0));
        assert_eq!(add(&mut totals, "b", (0, 0), 1.0), Some(1.0));
        assert_eq!(add(&mut totals, "b", (0, 0), 1.0), Some(2.0));
        assert_eq!(add(&mut totals, "c", (0, 0), 1.0), None);
        assert_eq!(add(&mut totals, "a", (2, 3), f64::NAN), None);
        assert_eq!(add(&mut totals, "a", (2, 3), f64::INFINITY), None);
        assert_eq!(add(&mut totals, "a", (2, 3), 1.0), Some(6.0));
    }

    #[test]
    fn what_was_sent_before_has_the_total_that_it_had() {
        let mut totals = DeltaTotals::new(2);
        for (span, expected) in [
            ((0, 10), Some(5.0)),
            ((10, 20), Some(10.0)),
            ((20, 30), Some(15.0)),
            ((0, 10), Some(5.0)),
            ((20, 30), Some(15.0)),
            // Out of order, overlapping, within.
            ((5, 15), None),
            ((25, 40), None),
            ((21, 22), None),
            ((0, 25), None),
            // After a hole; what falls into it comes too late.
            ((50, 60), Some(20.0)),
            ((30, 50), None),
            ((0, 70), Some(25.0)),
        ] {
            assert_eq!(add(&mut totals, "a", span, 5.0), expected, "{span:?}");
        }
    }

    #[test]
    fn a_total_goes_on_where_its_series_stands() {
        let mut totals = DeltaTotals::new(2);
        let known = |key: &[u8]| (key == b"a").then_some((10, 100.0));
        let ms = |from: u64, to: u64| (from * NS_PER_MS, to * NS_PER_MS + 7);
        assert_eq!(totals.add(b"a", ms(5, 10), 3.0, &known).ok(), Some(100.0));
        assert_eq!(totals.add(b"a", ms(11, 20), 3.0, &known).ok(), Some(103.0));
        assert_eq!(totals.add(b"b", ms(5, 10), 3.0, &known).ok(), Some(3.0));
        let mut totals = DeltaTotals::new(2);
        assert!(totals.add(b"a", ms(5, 9), 3.0, &known).is_err());
        assert_eq!(totals.add(b"a", ms(10, 20), 3.0, &known).ok(), Some(103.0));
    }

    #[test]
    fn idle_ones_are_forgotten() {
        let mut totals = DeltaTotals::new(2);
        add(&mut totals, "a", (0, 0), 1.0);
        add(&mut totals, "b", (0, 0), 1.0);
        assert_eq!(totals.forget_idle(), 0);
        assert_eq!(add(&mut totals, "a", (0, 0), 1.0), Some(2.0));
        assert_eq!(totals.forget_idle(), 1);
        assert_eq!(totals.len(), 1);
        assert_eq!(add(&mut totals, "b", (0, 0), 1.0), Some(1.0));
        assert!(!totals.is_empty());
    }

    proptest! {
        /// Whatever order points come in, and however often: totals in the order of their times
        /// never fall, and each point that was taken is in the last of them once.
        #[test]
        fn a_total_never_falls(order in prop::collection::vec(0_u64..12, 0..60)) {
            let mut totals = DeltaTotals::new(1);
            let mut taken = std::collections::BTreeMap::new();
            for number in order {
                let span = (number * 10 + 1, number * 10 + 11);
                let delta = number as f64 + 1.0;
                if let Some(total) = add(&mut totals, "a", span, delta) {
                    let before = taken.insert(number, total);
                    prop_assert!(before.is_none_or(|before| before == total));
                }
            }
            let mut sum = 0.0;
            for (number, total) in taken {
                sum += number as f64 + 1.0;
                prop_assert_eq!(total, sum);
            }
        }
    }
}
