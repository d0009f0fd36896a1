//! Where things are in a chart: the plot inside its margins, the span of time it shows, and
//! the way from moments and figures to pixels and back.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use super::{scale::within, ticks};

/// Room for the figures of the y axis at least.
const MARGIN_LEFT: f64 = 40.0;
/// Room for the newest point's halo.
const MARGIN_RIGHT: f64 = 10.0;
/// Room for half of the topmost figure.
const MARGIN_TOP: f64 = 10.0;
/// Room for a line above the plot, with what is to be read with each figure of the y axis.
const HEAD: f64 = 10.0;
/// Room for the times.
const MARGIN_BOTTOM: f64 = 22.0;
/// Room for a second line of them.
const SECOND_LINE: f64 = 12.0;

/// Margins on the left that differ by less are one.
const GUTTER_STEP: f64 = 4.0;

thread_local! {
    static GUTTERS: RefCell<Vec<Weak<Cell<f64>>>> = const { RefCell::new(Vec::new()) };
}

/// The left margin of all charts of the page: as wide as the widest figure on the y axis of any of
/// them, so that a moment is at the same place in all.
#[derive(Clone, Debug)]
pub struct Gutter(Rc<Cell<f64>>);

impl Gutter {
    /// Of one chart, or of several with one owner, as long as this is held.
    #[must_use]
    pub fn new() -> Self {
        let own = Rc::new(Cell::new(MARGIN_LEFT));
        GUTTERS.with_borrow_mut(|all| {
            all.retain(|other| other.strong_count() > 0);
            all.push(Rc::downgrade(&own));
        });
        Self(own)
    }

    /// The owner's charts need this much.
    pub fn need(&self, px: f64) {
        self.0.set((px / GUTTER_STEP).ceil() * GUTTER_STEP);
    }

    /// What all together need.
    #[must_use]
    pub fn px(&self) -> f64 {
        GUTTERS.with_borrow(|all| {
            let held = all.iter().filter_map(Weak::upgrade);
            held.fold(self.0.get(), |widest, other| widest.max(other.get()))
        })
    }
}

impl Default for Gutter {
    fn default() -> Self {
        Self::new()
    }
}

/// The part of a chart in which its line is drawn, in CSS pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plot {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Never negative.
    pub width: f64,
    /// Never negative.
    pub height: f64,
}

impl Plot {
    /// Inside a chart of this size that shows `range_ms`, right of figures as wide as `gutter` and
    /// under a head, if it has one; `scale` is how much larger than usual its text is.
    #[must_use]
    pub fn inside(
        (width, height): (f64, f64),
        scale: f64,
        gutter: f64,
        range_ms: f64,
        has_head: bool,
    ) -> Self {
        let left = gutter.max(MARGIN_LEFT * scale).round();
        let top = (MARGIN_TOP + if has_head { HEAD } else { 0.0 }) * scale;
        let second = if ticks::has_dates(range_ms) {
            SECOND_LINE
        } else {
            0.0
        };
        Self {
            left,
            top,
            width: (width - left - MARGIN_RIGHT * scale).max(0.0),
            height: (height - top - (MARGIN_BOTTOM + second) * scale).max(0.0),
        }
    }

    /// Right edge.
    #[must_use]
    pub const fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Bottom edge.
    #[must_use]
    pub const fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Where `value` is on an axis from `low` to `high`.
    #[must_use]
    pub fn y(&self, value: f64, (low, high): (f64, f64)) -> f64 {
        self.bottom() - (value - low) / (high - low) * self.height
    }

    /// How far to the right `x` is, 0 at the left edge and 1 at the right one.
    #[must_use]
    pub fn fraction(&self, x: f64) -> f64 {
        if self.width > 0.0 {
            within((x - self.left) / self.width, 0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// The time that is shown, by the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// Left edge, Unix milliseconds.
    pub from_ms: f64,
    /// Right edge.
    pub to_ms: f64,
}

impl Span {
    /// The chosen range, ending now, whether or not there are figures for all of it.
    ///
    /// `px` is the number of columns across: the ends fall on whole columns' worth of time, so that
    /// a moving chart moves by whole columns and its line does not shimmer.
    #[must_use]
    pub fn ending(now_ms: f64, range_ms: f64, px: f64) -> Self {
        let pixel_ms = range_ms / px.max(1.0);
        let to_ms = (now_ms / pixel_ms).ceil() * pixel_ms;
        Self {
            from_ms: to_ms - range_ms,
            to_ms,
        }
    }

    /// From one moment to another.
    #[must_use]
    pub const fn between((from_ms, to_ms): (f64, f64)) -> Self {
        Self { from_ms, to_ms }
    }

    /// How long it is.
    #[must_use]
    pub const fn length_ms(&self) -> f64 {
        self.to_ms - self.from_ms
    }

    /// Where the moment is in `plot`.
    #[must_use]
    pub fn x(&self, t_ms: f64, plot: &Plot) -> f64 {
        plot.left + (t_ms - self.from_ms) / self.length_ms().max(1.0) * plot.width
    }

    /// The moment that is this far to the right.
    #[must_use]
    pub fn at_fraction(&self, fraction: f64) -> f64 {
        self.from_ms + fraction * self.length_ms()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn margins_are_the_widest_ones() {
        let one = Gutter::new();
        let other = Gutter::new();
        other.need(61.0);
        assert_eq!((one.px(), other.px()), (64.0, 64.0));
        drop(other);
        assert_eq!(one.px(), MARGIN_LEFT);
    }

    proptest! {
        /// What is chosen is what is shown, the newest moment is always inside, and there and back
        /// again is the same place.
        #[test]
        fn there_and_back(now in 1e12..2e12_f64, range in 60_000.0..6.4e10_f64,
                          width in 100.0..4000.0_f64, fraction in 0.0..=1.0_f64) {
            let plot = Plot::inside((width, 200.0), 1.0, 0.0, range, false);
            let span = Span::ending(now, range, width);
            prop_assert!((span.length_ms() - range).abs() < 1.0);
            prop_assert!(span.to_ms >= now && span.to_ms - now <= range / width + 1.0);
            let x = span.x(span.at_fraction(fraction), &plot);
            prop_assert!((plot.fraction(x) - fraction).abs() < 1e-3);
        }
    }

    #[test]
    fn tiny_charts_are_harmless() {
        let plot = Plot::inside((10.0, 5.0), 1.0, 0.0, 60_000.0, true);
        assert_eq!((plot.width, plot.height), (0.0, 0.0));
        assert_eq!(plot.fraction(7.0), 0.0);
        assert!(plot.y(50.0, (0.0, 100.0)).is_finite());
    }
}
