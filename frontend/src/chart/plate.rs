//! The line as it was painted last, on a canvas that is never in the page. A chart that goes on is
//! this canvas moved by whole columns, with those columns painted anew that are other ones now: at
//! ten ticks a second that is one or two of many hundreds. Painting all of them, each with its part
//! of the shaded area, was what kept a processor busy.
//!
//! ```text
//! painted   ▁▃▅▂▁▃▅▇      moved by one   ▃▅▂▁▃▅▇·      other ones   ▃▅▂▁▃▅▇▂
//! ```

use gloo::utils::document;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

use super::{
    columns::{Columns, EMPTY},
    layout::{Plot, Span},
    theme::faded,
};

/// Two columns that differ by less are the same one; of a CSS pixel.
const SAME_PX: f64 = 0.02;

/// A move that is further from whole columns than this is none.
const WHOLE: f64 = 0.01;

/// Room above and below the plot, for half of the line's width.
const MORE_PX: f64 = 2.0;

/// Whatever a column's looks hang on, beside the column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    pub(super) plot: Plot,
    /// Device pixels a CSS pixel.
    pub(super) ratio: f64,
    /// Ends of the y axis.
    pub(super) ends: (f64, f64),
    pub(super) color: String,
    /// What is above this height has this colour.
    pub(super) over: Option<(f64, String)>,
    /// How much higher than its figures a column is.
    pub(super) line: f64,
}

/// A canvas with the line as it was painted last, and what it was painted from.
#[derive(Debug, Default)]
pub(super) struct Plate {
    canvas: Option<(HtmlCanvasElement, CanvasRenderingContext2d)>,
    look: Look,
    span: Span,
    /// As painted.
    cells: Vec<(f64, f64)>,
}

/// By how many columns a span as long has gone on; `None` where what is painted is of no use.
fn moved(from: &Span, to: &Span, columns: f64, held: usize) -> Option<usize> {
    let by = (to.to_ms - from.to_ms) * columns / to.length_ms();
    let whole = by.round();
    let is_whole = (by - whole).abs() < WHOLE && (from.length_ms() - to.length_ms()).abs() < 0.5;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates"
    )]
    let count = whole as usize;
    (is_whole && whole >= 0.0 && count < held).then_some(count)
}

/// Moves what is `painted` by so many columns, and hands those that are other ones in `wanted` to
/// `paint`, with whether something was there; what is painted is what is wanted then, as far as it
/// can be seen.
fn renew(
    painted: &mut Vec<(f64, f64)>,
    by: usize,
    wanted: &[(f64, f64)],
    mut paint: impl FnMut(usize, bool),
) {
    painted.drain(..by.min(painted.len()));
    painted.resize(wanted.len(), EMPTY);
    for (index, (cell, wanted)) in painted.iter_mut().zip(wanted).enumerate() {
        // Infinities, of what is empty, are equal; what is left differs by NaN or by much.
        let same = |one: f64, other: f64| one == other || (one - other).abs() < SAME_PX;
        if !(same(cell.0, wanted.0) && same(cell.1, wanted.1)) {
            paint(index, *cell != EMPTY);
            *cell = *wanted;
        }
    }
}

impl Plate {
    /// Nothing of it is of use any more.
    pub(super) fn forget(&mut self) {
        self.cells.clear();
    }

    /// Paints `columns`, which show `span`; the canvas and where its left upper corner belongs, in
    /// device pixels. `None` where the browser has no further canvas.
    pub(super) fn paint(
        &mut self,
        look: Look,
        span: &Span,
        columns: &Columns,
    ) -> Option<(&HtmlCanvasElement, f64, f64)> {
        if self.canvas.is_none() {
            let canvas = document().create_element("canvas").ok()?;
            let canvas: HtmlCanvasElement = canvas.dyn_into().ok()?;
            let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
            self.canvas = Some((canvas, context));
        }
        let (canvas, context) = self.canvas.as_ref()?;
        let (plot, ratio) = (look.plot, look.ratio);
        let wanted = columns.cells();
        let column = (columns.width() * ratio).round();
        let (left, top) = (
            (columns.left() * ratio).round(),
            ((plot.top - MORE_PX) * ratio).floor(),
        );
        #[expect(clippy::cast_precision_loss, reason = "a screen's pixels")]
        let (across, down) = (
            wanted.len() as f64 * column,
            ((plot.height + 2.0 * MORE_PX) * ratio).ceil(),
        );

        let same = (self.look == look).then_some(self.cells.len());
        let by = same.and_then(|held| moved(&self.span, span, plot.width / columns.width(), held));
        // Fail only for numbers that are not finite.
        drop(context.set_transform(1.0, 0.0, 0.0, 1.0, 0.0, 0.0));
        match by {
            Some(0) => {}
            Some(by) => {
                #[expect(clippy::cast_precision_loss, reason = "a screen's pixels")]
                let by = by as f64 * column;
                drop(context.set_global_composite_operation("copy"));
                drop(context.draw_image_with_html_canvas_element(canvas, -by, 0.0));
                drop(context.set_global_composite_operation("source-over"));
            }
            None => {
                self.cells.clear();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a size in pixels"
                )]
                let (width, height) = (across as u32, down as u32);
                if (canvas.width(), canvas.height()) == (width, height) {
                    context.clear_rect(0.0, 0.0, across, down);
                } else {
                    canvas.set_width(width);
                    canvas.set_height(height);
                }
            }
        }
        drop(context.set_transform(ratio, 0.0, 0.0, ratio, -left, -top));

        let gradient = context.create_linear_gradient(0.0, plot.top, 0.0, plot.bottom());
        let shades = (faded(&look.color, "3D"), faded(&look.color, "03"));
        if let (Some(upper), Some(lower)) = &shades {
            // Fails only for colours that cannot be read; then there is no area.
            drop(gradient.add_color_stop(0.0, upper));
            drop(gradient.add_color_stop(1.0, lower));
        }
        let width = columns.width();
        renew(
            &mut self.cells,
            by.unwrap_or(0),
            wanted,
            |index, is_painted| {
                #[expect(clippy::cast_precision_loss, reason = "a screen's pixels")]
                let x = columns.left() + index as f64 * width;
                let (top, bottom) = wanted[index];
                if is_painted {
                    context.clear_rect(x, 0.0, width, plot.bottom() + 2.0 * MORE_PX);
                }
                if top > bottom {
                    return;
                }
                if shades.0.is_some() {
                    context.set_fill_style_canvas_gradient(&gradient);
                    context.fill_rect(x, bottom, width, plot.bottom() - bottom);
                }
                let (top, bottom) = (top - look.line / 2.0, bottom + look.line / 2.0);
                context.set_fill_style_str(&look.color);
                context.fill_rect(x, top, width, bottom - top);
                if let Some((limit, color)) = look.over.as_ref().filter(|(limit, _)| top < *limit) {
                    context.set_fill_style_str(color);
                    context.fill_rect(x, top, width, bottom.min(*limit) - top);
                }
            },
        );
        self.look = look;
        self.span = *span;
        self.canvas.as_ref().map(|(canvas, _)| (canvas, left, top))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chart::columns::column_px;

    proptest! {
        /// However a line goes on and whatever becomes of its past: what is on the plate is what a
        /// fresh painting would be, and of a line that only goes on just its end is painted.
        #[test]
        fn what_is_moved_is_what_would_be_painted(
            values in proptest::collection::vec(0.0..100.0_f64, 400..900),
            width in 40.0..300.0_f64,
            ratio in 0.5..4.0_f64,
            paces in proptest::collection::vec(0.0..4.0_f64, 1..40),
            rewritten in 0_usize..400,
        ) {
            let plot = Plot { left: 40.0, top: 10.0, width, height: 100.0 };
            let across = width / column_px(ratio);
            let mut painted: Vec<(f64, f64)> = Vec::new();
            let mut shown: Option<Span> = None;
            let mut now = 1.7e12;
            let mut values = values;
            for (frame, pace) in paces.iter().enumerate() {
                now += pace * 300.0;
                if frame == 20 {
                    values[rewritten] = 1_000.0;
                }
                let span = Span::ending(now, 30_000.0, across);
                let mut columns = Columns::default();
                columns.clear(&plot, ratio);
                for (index, value) in values.iter().enumerate() {
                    let t_ms = 1.7e12 - 30_000.0 + index as f64 * 100.0;
                    if t_ms <= now {
                        columns.to(span.x(t_ms, &plot), plot.y(*value, (0.0, 100.0)));
                    }
                }
                let by = shown.and_then(|shown| moved(&shown, &span, across, painted.len()));
                if by.is_none() {
                    prop_assert!(frame == 0 || pace * 300.0 > 29_000.0 / across, "moves by whole columns");
                    painted.clear();
                }
                let mut count = 0;
                renew(&mut painted, by.unwrap_or(0), columns.cells(), |_, _| count += 1);
                for (one, other) in painted.iter().zip(columns.cells()) {
                    prop_assert!(one == other || (one.0 - other.0).abs() < SAME_PX && (one.1 - other.1).abs() < SAME_PX);
                }
                prop_assert_eq!(painted.len(), columns.cells().len());
                if let Some(by) = by.filter(|_| frame != 20) {
                    let fresh = pace * 300.0 / 30_000.0 * across;
                    prop_assert!(count as f64 <= fresh + 6.0, "{count} columns painted for {by} moved");
                }
                shown = Some(span);
            }
        }
    }
}
