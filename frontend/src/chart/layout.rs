//! Where things are in a chart: the plot inside its margins, the span of time it shows, and
//! the way from moments and figures to pixels and back.

use super::scale::within;

/// Room for the figures of the y axis; the same in all charts, so that they share one time axis.
const MARGIN_LEFT: f64 = 40.0;
/// Room for the newest point's halo.
const MARGIN_RIGHT: f64 = 10.0;
/// Room for half of the topmost figure.
const MARGIN_TOP: f64 = 10.0;
/// Room for the times.
const MARGIN_BOTTOM: f64 = 22.0;

/// While there is less history than the range asks for, this much is shown at least.
pub const SPAN_MS_MIN: f64 = 60_000.0;

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
    /// Inside a chart of this size; `scale` is how much larger than usual its text is.
    #[must_use]
    pub const fn inside(width: f64, height: f64, scale: f64) -> Self {
        Self {
            left: MARGIN_LEFT * scale,
            top: MARGIN_TOP * scale,
            width: (width - (MARGIN_LEFT + MARGIN_RIGHT) * scale).max(0.0),
            height: (height - (MARGIN_TOP + MARGIN_BOTTOM) * scale).max(0.0),
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

    /// Where `value` is on an axis from 0 to `top`.
    #[must_use]
    pub fn y(&self, value: f64, top: f64) -> f64 {
        self.bottom() - value / top * self.height
    }

    /// Where `value` is on an axis from `low` to `high`.
    #[must_use]
    pub fn y_between(&self, value: f64, (low, high): (f64, f64)) -> f64 {
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
    /// Ending now. While the history is shorter than `range_ms` the span begins with the
    /// history, so that a page just opened shows its minute large and not a sliver.
    ///
    /// `px` is the number of device pixels across: the ends fall on whole pixels' worth of time,
    /// so that a moving chart moves by whole pixels and its line does not shimmer.
    #[must_use]
    pub fn ending(now_ms: f64, range_ms: f64, first_ms: Option<f64>, px: f64) -> Self {
        let history_ms = first_ms.map_or(0.0, |first| now_ms - first);
        // Not `clamp`, whose panic brings 13 KB of float formatting into the page.
        let length = history_ms.max(SPAN_MS_MIN).min(range_ms);
        let pixel_ms = length / px.max(1.0);
        let to_ms = if length < range_ms {
            now_ms
        } else {
            (now_ms / pixel_ms).ceil() * pixel_ms
        };
        Self {
            from_ms: to_ms - length,
            to_ms,
        }
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
    fn young_histories_fill_the_chart() {
        let now = 1_000_000_000.0;
        let length = |first: Option<f64>| Span::ending(now, 300_000.0, first, 600.0).length_ms();
        assert_eq!(length(None), 60_000.0);
        assert_eq!(length(Some(now - 5_000.0)), 60_000.0);
        assert_eq!(length(Some(now - 90_000.0)), 90_000.0);
        assert_eq!(length(Some(now - 900_000.0)), 300_000.0);
    }

    proptest! {
        /// The newest moment is always inside, and there and back again is the same place.
        #[test]
        fn there_and_back(now in 1e12..2e12_f64, range in 60_000.0..900_000.0_f64, age in 0.0..2e6_f64,
                          width in 100.0..4000.0_f64, fraction in 0.0..=1.0_f64) {
            let plot = Plot::inside(width, 200.0, 1.0);
            let span = Span::ending(now, range, Some(now - age), width);
            prop_assert!(span.to_ms >= now && span.to_ms - now <= range / width + 1.0);
            let x = span.x(span.at_fraction(fraction), &plot);
            prop_assert!((plot.fraction(x) - fraction).abs() < 1e-3);
        }
    }

    #[test]
    fn tiny_charts_are_harmless() {
        let plot = Plot::inside(10.0, 5.0, 1.0);
        assert_eq!((plot.width, plot.height), (0.0, 0.0));
        assert_eq!(plot.fraction(7.0), 0.0);
        assert!(plot.y(50.0, 100.0).is_finite());
    }
}
