//! From figures to pixels: the y axis of a chart, fixed or following its data.

use super::ticks::{power_of_ten, value_step};

/// An axis that could shrink waits this long: one that breathes with every spike cannot be read.
const SHRINK_AFTER_MS: f64 = 3_000.0;

/// The smallest top of an axis that follows its data, so that noise around 0 looks like what
/// it is.
const TOP_MIN: f64 = 1.0;

/// `value` where it is from `least` to `most`, else the nearer of the two; `least` for NaN.
///
/// In place of [`f64::clamp`], whose panic brings 13 KB of float formatting into the page.
#[must_use]
pub const fn within(value: f64, least: f64, most: f64) -> f64 {
    value.max(least).min(most)
}

/// A round figure a little above `value`: one to eight × a power of ten.
#[must_use]
pub fn nice_top(value: f64) -> f64 {
    if !value.is_finite() || value <= TOP_MIN {
        return TOP_MIN;
    }
    let wanted = value * 1.005;
    let power = power_of_ten(wanted);
    for factor in [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0] {
        if factor * power >= wanted {
            return factor * power;
        }
    }
    10.0 * power
}

/// A y axis for any figures from `least` to `greatest`: its ends and the distance of its marks,
/// at most `marks_max` of them. From (or to) 0 where the figures are not far from it in
/// proportion to how far they go.
#[must_use]
pub fn around(least: f64, greatest: f64, marks_max: usize) -> (f64, f64, f64) {
    if !(least.is_finite() && greatest.is_finite()) {
        return (0.0, 1.0, value_step(1.0, marks_max));
    }
    let (mut low, mut high) = (least, greatest);
    if low >= 0.0 && (low <= 0.6 * high || low == high) {
        low = 0.0;
    } else if high <= 0.0 && high >= 0.6 * low || low == high {
        high = high.max(0.0);
    }
    if low == high {
        high = low + 1.0;
    }
    let step = value_step(high - low, marks_max);
    low = (low / step).floor() * step;
    // Some room above, so that a line that stays at its greatest is not the edge.
    high = ((high + (high - low) * 0.02) / step).ceil() * step;
    (low, high, step)
}

/// The y axis: always from 0, its top fixed or following the data with hysteresis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    top: f64,
    follows: bool,
    /// Since when a smaller top would do.
    small_since: Option<f64>,
}

impl Axis {
    /// 0 to 100.
    #[must_use]
    pub const fn percent() -> Self {
        Self {
            top: 100.0,
            follows: false,
            small_since: None,
        }
    }

    /// 0 to what the data needs.
    #[must_use]
    pub const fn following() -> Self {
        Self {
            top: TOP_MIN,
            follows: true,
            small_since: None,
        }
    }

    /// The largest value on the axis.
    #[must_use]
    pub const fn top(&self) -> f64 {
        self.top
    }

    /// Makes room for `data_max`: grows at once, shrinks when less has sufficed for a while.
    /// `at` never goes back. True when the axis changed.
    pub fn fit(&mut self, at: f64, data_max: f64) -> bool {
        if !self.follows || !data_max.is_finite() {
            return false;
        }
        let wanted = nice_top(data_max);
        if wanted >= self.top {
            self.small_since = None;
            let grown = wanted > self.top;
            self.top = wanted;
            return grown;
        }
        let since = *self.small_since.get_or_insert(at);
        if at - since < SHRINK_AFTER_MS {
            return false;
        }
        self.small_since = None;
        self.top = wanted;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tops_are_round() {
        for (value, top) in [
            (f64::NAN, 1.0),
            (-3.0, 1.0),
            (0.2, 1.0),
            (4.9, 5.0),
            (94.0, 100.0),
            (99.0, 100.0),
            (99.9, 120.0),
            (480.0, 500.0),
            (12_000.0, 15_000.0),
            (11_900.0, 12_000.0),
        ] {
            assert_eq!(nice_top(value), top, "{value}");
        }
    }

    proptest! {
        #[test]
        fn tops_hold_their_value(value in 0.0..1e12_f64) {
            let top = nice_top(value);
            prop_assert!(top >= value && (value <= 1.0 || top <= value * 2.2));
        }
    }

    #[test]
    fn axes_fit_any_figures() {
        for (least, greatest, low, high) in [
            (42.0, 42.0, 0.0, 50.0),
            (0.0, 0.0, 0.0, 1.0),
            (-3.0, -3.0, -3.0, 1.0),
            (20.1, 20.3, 20.1, 20.35),
            (-5.0, 5.0, -5.0, 6.0),
            (1.0, 100.0, 0.0, 150.0),
            (f64::INFINITY, f64::NEG_INFINITY, 0.0, 1.0),
        ] {
            let (got_low, got_high, step) = around(least, greatest, 4);
            assert!(
                got_low <= low + 1e-9 && got_high + 1e-9 >= greatest.min(high),
                "{got_low} {got_high}"
            );
            assert!(step > 0.0 && (got_high - got_low) / step < 7.0);
        }
    }

    proptest! {
        #[test]
        fn axes_hold_their_figures(least in -1e9..1e9_f64, length in 0.0..1e9_f64) {
            let (low, high, step) = around(least, least + length, 5);
            prop_assert!(low <= least && high >= least + length && step > 0.0);
            prop_assert!((high - low) / step <= 8.0, "{} {} {}", low, high, step);
        }
    }

    #[test]
    fn grows_at_once_and_shrinks_late() {
        let mut axis = Axis::following();
        assert!(axis.fit(0.0, 90.0));
        assert_eq!(axis.top(), 100.0);
        assert!(!axis.fit(1_000.0, 10.0));
        assert!(!axis.fit(2_000.0, 90.0), "the spike came back in time");
        assert!(!axis.fit(3_000.0, 10.0));
        assert!(!axis.fit(5_900.0, 10.0));
        assert!(axis.fit(6_000.0, 10.0));
        assert_eq!(axis.top(), 12.0);
    }

    #[test]
    fn percent_stays() {
        let mut axis = Axis::percent();
        assert!(!axis.fit(0.0, 3.0));
        assert_eq!(axis.top(), 100.0);
    }
}
