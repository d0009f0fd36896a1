//! The crosshair of a chart: where it is, and what is read there. Three elements a chart, moved by
//! `transform`; no canvas is touched by it.

use std::cell::RefCell;

use pulseboard_shared::BuiltIn;
use web_sys::{Element, HtmlElement};

use super::layout::{Plot, Span};
use crate::{format, platform, stores::ring::Ring};

/// Where the crosshair is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cursor {
    /// Under the pointer, this far to the right.
    Pointer(f64),
    /// On a sample, by its time; moved with the keyboard.
    Sample(f64),
}

/// A step of the crosshair by keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many samples to the right.
    By(isize),
    /// To the oldest sample in view.
    First,
    /// To the newest sample in view.
    Last,
}

/// What moves with the crosshair.
#[derive(Clone, Debug)]
pub struct Elements {
    /// The vertical line.
    pub line: HtmlElement,
    /// The point on the line.
    pub point: HtmlElement,
    /// Where the reading is written.
    pub readout: HtmlElement,
    /// What takes the keyboard focus and says the reading.
    pub slider: Element,
}

/// The crosshair of one chart.
pub(super) struct Crosshair {
    metric: BuiltIn,
    /// Marked while something is read.
    area: HtmlElement,
    elements: Elements,
    /// Text of the read-out, to leave the element alone while it stays the same.
    reading: RefCell<String>,
}

/// The time of the sample that a `step` from `cursor` leads to; `None` where none is in view.
pub(super) fn stepped(ring: &Ring, span: &Span, cursor: Option<Cursor>, step: Step) -> Option<f64> {
    let first = ring.lower_bound(span.from_ms);
    let end = ring.lower_bound(span.to_ms + 1.0);
    if first >= end {
        return None;
    }
    let current = match cursor {
        Some(Cursor::Pointer(fraction)) => ring.nearest(span.at_fraction(fraction)),
        Some(Cursor::Sample(t_ms)) => ring.nearest(t_ms),
        None => None,
    };
    let index = match (step, current) {
        (Step::First, _) => first,
        (Step::By(by), Some(current)) => current.saturating_add_signed(by).clamp(first, end - 1),
        (Step::Last, _) | (Step::By(_), None) => end - 1,
    };
    Some(ring.time(index))
}

impl Crosshair {
    pub(super) fn new(metric: BuiltIn, area: HtmlElement, elements: Elements) -> Self {
        Self {
            metric,
            area,
            elements,
            reading: RefCell::default(),
        }
    }

    /// Moves the crosshair to `cursor` and writes its reading. `ends` are the least and the
    /// greatest value of the axis.
    pub(super) fn place(
        &self,
        ring: &Ring,
        (plot, span, ends): (&Plot, &Span, (f64, f64)),
        cursor: Option<Cursor>,
    ) {
        let wanted = match cursor {
            Some(Cursor::Pointer(fraction)) => Some(span.at_fraction(fraction)),
            Some(Cursor::Sample(t_ms)) if t_ms >= span.from_ms => Some(t_ms),
            _ => None,
        };
        let Some((wanted, index)) = wanted.and_then(|t_ms| Some((t_ms, ring.nearest(t_ms)?)))
        else {
            self.show(false);
            self.read("");
            return;
        };
        let sampled = ring.time(index);
        let missing = is_missing(ring, index, wanted);
        let t_ms = if missing { wanted } else { sampled };
        let value = if missing {
            f64::NAN
        } else {
            ring.value(self.metric.index(), index)
        };
        let x = span.x(t_ms, plot);
        let style = |element: &HtmlElement, transform: &str| {
            // Fails only for what is no CSS.
            drop(element.style().set_property("transform", transform));
        };
        style(
            &self.elements.line,
            &format!("translateX({}px)", format::fixed(x - 0.5, 2)),
        );
        let y = plot.y(value, ends);
        style(
            &self.elements.point,
            &if y.is_finite() {
                format!(
                    "translate({}px, {}px)",
                    format::fixed(x, 2),
                    format::fixed(y.max(plot.top), 2)
                )
            } else {
                "translate(-99px, 0)".to_owned()
            },
        );
        self.show(true);
        self.read(&self.reading_at(value, t_ms));
    }

    fn reading_at(&self, value: f64, t_ms: f64) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
        let clock = format::clock(t_ms as i64, platform::zone_offset_min(t_ms));
        format::reading(value, self.metric.unit(), &clock)
    }

    fn show(&self, shown: bool) {
        // Fails only for a class name with spaces.
        drop(self.area.class_list().toggle_with_force("is-read", shown));
    }

    fn read(&self, text: &str) {
        if *self.reading.borrow() != text {
            self.elements.readout.set_text_content(Some(text));
            text.clone_into(&mut self.reading.borrow_mut());
        }
    }

    /// Gives the reading to assistive technology, after a step by keyboard.
    pub(super) fn speak(&self, t_ms: f64) {
        let slider = &self.elements.slider;
        for (name, value) in [
            ("aria-valuetext", self.reading.borrow().as_str()),
            ("aria-valuenow", &format::fixed(t_ms, 0)),
        ] {
            // Fails only for what is no attribute's name.
            drop(slider.set_attribute(name, value));
        }
    }
}

/// Before the first row and behind the last one, further away than so many of the intervals there,
/// nothing is known.
const EDGE_INTERVALS: f64 = 3.0;

/// Whether `t_ms`, whose nearest row is `index`, lies in missing time.
fn is_missing(ring: &Ring, index: usize, t_ms: f64) -> bool {
    let sampled = ring.time(index);
    let beyond = |neighbour: usize| {
        let interval = (ring.time(neighbour) - sampled).abs();
        (t_ms - sampled).abs() > EDGE_INTERVALS * interval
    };
    if t_ms < sampled {
        if index > 0 {
            ring.starts_after_gap(index)
        } else {
            ring.len() > 1 && beyond(1)
        }
    } else if index + 1 < ring.len() {
        ring.starts_after_gap(index + 1) && t_ms > sampled
    } else {
        index > 0 && beyond(index - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{net::feed::Row, stores::ring::Before};

    fn ring(times: &[(f64, Before)]) -> Ring {
        let mut ring = Ring::new(16);
        for &(t_ms, before) in times {
            let row = Row {
                t_ms,
                values: [1.0; 4],
            };
            assert!(ring.push(row, before));
        }
        ring
    }

    const fn span(from_ms: f64, to_ms: f64) -> Span {
        Span { from_ms, to_ms }
    }

    #[test]
    fn keys_stay_among_the_samples_in_view() {
        let ring = ring(&[1e3, 2e3, 3e3, 4e3, 5e3, 6e3].map(|t_ms| (t_ms, Before::Nothing)));
        let to = |cursor, step| stepped(&ring, &span(2e3, 5e3), cursor, step);
        assert_eq!(to(None, Step::By(-1)), Some(5e3), "begins at the newest");
        assert_eq!(to(None, Step::First), Some(2e3));
        assert_eq!(to(Some(Cursor::Sample(3e3)), Step::Last), Some(5e3));
        assert_eq!(to(Some(Cursor::Sample(3e3)), Step::By(1)), Some(4e3));
        assert_eq!(to(Some(Cursor::Sample(3e3)), Step::By(-10)), Some(2e3));
        assert_eq!(to(Some(Cursor::Pointer(0.3)), Step::By(1)), Some(4e3));
        assert_eq!(stepped(&ring, &span(7e3, 9e3), None, Step::Last), None);
    }

    #[test]
    fn nothing_is_read_where_samples_are_missing() {
        let ring = ring(&[
            (1e3, Before::Nothing),
            (2e3, Before::Nothing),
            (6e3, Before::Missing),
            (7e3, Before::Nothing),
        ]);
        let missing = |t_ms| is_missing(&ring, ring.nearest(t_ms).expect("a row"), t_ms);
        assert!(!missing(1_400.0));
        assert!(missing(3_000.0) && missing(5_000.0), "in the gap");
        assert!(!missing(9_000.0), "the next one may be late");
        assert!(missing(11_000.0) && missing(-3_000.0), "beyond the ends");
    }
}
