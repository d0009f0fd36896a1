//! Paints a chart on its two canvases: what rarely changes (figures of the y axis, threshold)
//! below, what moves (times, line) above. The crosshair is not painted; see [`super::stage`].

use js_sys::Array;
use pulseboard_shared::Severity;
use wasm_bindgen::JsValue;
use web_sys::CanvasRenderingContext2d;

use super::{
    columns::Columns,
    layout::{Plot, Span},
    plate::{Look, Plate},
    scale::{ValueAxis, within},
    theme::{Theme, faded},
    ticks,
};
use crate::{
    format, platform,
    stores::ring::{Before, Ring},
    words,
};

/// This and the lengths below are for text of the usual size, and grow with it.
pub(super) const LINE_WIDTH: f64 = 1.75;
/// Between two figures of the y axis, at least.
const VALUE_MARK_PX: f64 = 34.0;
/// Between a figure and the axis that it stands at.
const LABEL_PX: f64 = 8.0;
/// Between the lines of two-line times.
const LINE_PX: f64 = 12.0;
/// Half the width of a figure in a time.
const HALF_CHARACTER_PX: f64 = 3.3;
/// A first figure further from the left edge than this has nothing before it.
const FIRST_PX: f64 = 3.0;
/// Between two strokes of the hatching over missing time.
const HATCH_PX: f64 = 7.0;
/// A missing stretch at least this wide says so in words.
const GAP_TEXT_PX: f64 = 64.0;
/// A stretch of merged ticks at least this wide says so in words.
const MERGED_TEXT_PX: f64 = 120.0;

/// A canvas and how its pixels relate to CSS pixels.
#[derive(Clone, Copy, Debug)]
pub struct Surface<'a> {
    /// Where to paint.
    pub context: &'a CanvasRenderingContext2d,
    /// CSS pixels across and down.
    pub size: (f64, f64),
    /// Device pixels a CSS pixel.
    pub ratio: f64,
    /// The part inside the margins.
    pub plot: Plot,
}

impl Surface<'_> {
    /// Clears everything; from here on, one unit is one CSS pixel.
    pub(super) fn begin(&self, theme: &Theme) {
        let context = self.context;
        // Fails only for numbers that are not finite, and a ratio is.
        drop(context.set_transform(self.ratio, 0.0, 0.0, self.ratio, 0.0, 0.0));
        context.clear_rect(0.0, 0.0, self.size.0, self.size.1);
        context.set_font(&theme.font);
        context.set_line_join("round");
        context.set_line_cap("round");
    }

    /// The middle of the device pixel nearest to `at`, so that a hairline covers one pixel
    /// and not halves of two.
    fn snap(&self, at: f64) -> f64 {
        ((at * self.ratio).floor() + 0.5) / self.ratio
    }

    pub(super) fn hairline(&self) {
        self.context.set_line_width(1.0 / self.ratio.max(1.0));
    }

    pub(super) fn horizontal(&self, y: f64) {
        let y = self.snap(y);
        self.context.begin_path();
        self.context.move_to(self.plot.left, y);
        self.context.line_to(self.plot.right(), y);
        self.context.stroke();
    }

    pub(super) fn text(&self, text: &str, x: f64, y: f64) {
        // Fails only for numbers that are not finite.
        drop(self.context.fill_text(text, x, y));
    }

    pub(super) fn dash(&self, lengths: &[f64]) {
        let array: Array = lengths.iter().copied().map(JsValue::from_f64).collect();
        // Fails only for what is no list of numbers.
        drop(self.context.set_line_dash(&array));
    }

    pub(super) fn clip_to_plot(&self) {
        let plot = &self.plot;
        self.context.begin_path();
        self.context
            .rect(plot.left, plot.top - 2.0, plot.width, plot.height + 3.0);
        self.context.clip();
    }
}

/// A threshold as drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// In the chart's unit.
    pub above: f64,
    /// Decides the colour; `Low` is no alert and has that of the axis.
    pub severity: Severity,
    /// Such as `critical above 90 %`.
    pub label: String,
}

impl Threshold {
    fn color<'a>(&self, theme: &'a Theme) -> &'a str {
        match self.severity {
            Severity::Critical => &theme.critical,
            Severity::Low => &theme.axis,
            _ => &theme.warning,
        }
    }
}

/// Figures that the y axis has room for.
#[must_use]
pub fn value_marks_max(plot: &Plot, theme: &Theme) -> usize {
    let marks = within(plot.height / (VALUE_MARK_PX * theme.scale), 1.0, 10.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of marks"
    )]
    let marks = marks as usize;
    marks
}

/// Pixels that the figures of the axis need on the left.
#[must_use]
pub fn label_px(context: &CanvasRenderingContext2d, theme: &Theme, axis: &ValueAxis) -> f64 {
    context.set_font(&theme.font);
    let widths = axis.marks.iter().map(|(_, label)| {
        let size = context.measure_text(label);
        size.map_or(0.0, |size| size.width())
    });
    widths.fold(0.0, f64::max) + LABEL_PX * theme.scale
}

/// Paints the figures of the y axis, with the lines across.
pub(super) fn paint_values(surface: &Surface<'_>, theme: &Theme, axis: &ValueAxis) {
    let (context, plot) = (surface.context, &surface.plot);
    context.set_text_align("right");
    context.set_text_baseline("middle");
    context.set_fill_style_str(&theme.axis);
    context.set_stroke_style_str(&theme.grid);
    surface.hairline();
    for (value, label) in &axis.marks {
        let y = plot.y(*value, (axis.low, axis.high));
        surface.horizontal(y);
        surface.text(label, plot.left - LABEL_PX * theme.scale, y + 0.5);
    }
    if !axis.head.is_empty() {
        context.set_text_align("left");
        surface.text(&axis.head, 0.0, plot.top - 13.0 * theme.scale);
    }
}

/// Paints the y axis and the threshold, if it is on the axis; `note` is a further one that nothing
/// depends on.
pub fn paint_axis(
    surface: &Surface<'_>,
    theme: &Theme,
    axis: &ValueAxis,
    threshold: Option<&Threshold>,
    note: Option<&Threshold>,
) {
    let (context, plot) = (surface.context, &surface.plot);
    surface.begin(theme);
    paint_values(surface, theme, axis);
    let ends = (axis.low, axis.high);
    if let Some(note) = note.filter(|note| note.above < axis.high) {
        context.set_stroke_style_str(note.color(theme));
        surface.dash(&[2.0, 4.0]);
        surface.horizontal(plot.y(note.above, ends));
        surface.dash(&[]);
    }
    if let Some(threshold) = threshold.filter(|threshold| threshold.above < axis.high) {
        let y = plot.y(threshold.above, ends);
        let color = threshold.color(theme);
        if let Some(band) = faded(color, "14") {
            context.set_fill_style_str(&band);
            context.fill_rect(plot.left, plot.top, plot.width, y - plot.top);
        }
        context.set_stroke_style_str(color);
        surface.dash(&[4.0, 4.0]);
        context.set_line_width(1.0);
        surface.horizontal(y);
        surface.dash(&[]);
    }
}

/// What a moving part needs beside its surface.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The history.
    pub ring: &'a Ring,
    /// Which of its columns.
    pub column: usize,
    /// The time that is shown.
    pub span: Span,
    /// Ends of the y axis.
    pub ends: (f64, f64),
    /// Time without figures after the newest one begins here, if it is long enough to be a gap.
    pub silent_from: Option<f64>,
    /// Why there are no figures before the first one.
    pub before_first: &'static str,
    /// The figures are not of now.
    pub stale: bool,
}

impl Scene<'_> {
    /// The rows to draw: those inside the span, and one more on either side so that the line
    /// goes on to the edge.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        let from = self.ring.lower_bound(self.span.from_ms).saturating_sub(1);
        let to = (self.ring.lower_bound(self.span.to_ms) + 1).min(self.ring.len());
        (from, to)
    }

    /// The greatest figure inside the span.
    #[must_use]
    pub fn greatest(&self) -> Option<f64> {
        let from = self.ring.lower_bound(self.span.from_ms);
        let to = self.ring.lower_bound(self.span.to_ms + 1.0);
        let values = (from..to).map(|index| self.ring.value(self.column, index));
        values.filter(|value| value.is_finite()).reduce(f64::max)
    }

    /// Puts the line into columns. Missing figures, missing ticks and merged ones break it.
    fn trace(&self, plot: &Plot, columns: &mut Columns) {
        let (from, to) = self.rows();
        for index in from..to {
            let value = self.ring.value(self.column, index);
            if self.ring.before(index).breaks() || !value.is_finite() {
                columns.lift();
            }
            if value.is_finite() {
                let x = self.span.x(self.ring.time(index), plot);
                columns.to(x, plot.y(value, self.ends));
            }
        }
    }
}

/// What is kept of a chart from one painting to the next.
#[derive(Debug, Default)]
pub struct Brush {
    columns: Columns,
    plate: Plate,
}

/// Paints the times, the missing stretches and the line, and over it what the thresholds are
/// called.
pub fn paint_data(
    surface: &Surface<'_>,
    theme: &Theme,
    scene: &Scene<'_>,
    (threshold, note): (Option<&Threshold>, Option<&Threshold>),
    brush: &mut Brush,
) {
    let (context, plot) = (surface.context, &surface.plot);
    surface.begin(theme);
    if plot.width < 1.0 || plot.height < 1.0 {
        return;
    }
    paint_times(surface, theme, &scene.span);

    context.save();
    surface.clip_to_plot();
    paint_gaps(surface, theme, scene, scene.rows());

    let color = &theme.lines[scene.column];
    let threshold = threshold.filter(|threshold| threshold.above < scene.ends.1);
    let over = threshold.map(|threshold| plot.y(threshold.above, scene.ends));
    let columns = &mut brush.columns;
    columns.clear(plot, surface.ratio);
    scene.trace(plot, columns);
    let over = over.zip(threshold.map(|threshold| threshold.color(theme)));
    if columns.is_dense() {
        let look = Look {
            plot: *plot,
            ratio: surface.ratio,
            ends: scene.ends,
            color: color.clone(),
            over: over.map(|(y, color)| (y, color.to_owned())),
            line: LINE_WIDTH * theme.scale,
        };
        if let Some((plate, left, top)) = brush.plate.paint(look, &scene.span, columns) {
            // Pixel by pixel. Both fail only for numbers that are not finite.
            drop(context.set_transform(1.0, 0.0, 0.0, 1.0, 0.0, 0.0));
            drop(context.draw_image_with_html_canvas_element(plate, left, top));
        }
    } else {
        brush.plate.forget();
        paint_area(surface, columns, color);
        paint_line(surface, theme, columns, (color, &[]));
        // What is above the threshold has the threshold's colour, by a clip at its height.
        if let Some((y, color)) = over
            && columns.bars().any(|(_, top, _)| top < y)
        {
            context.begin_path();
            context.rect(
                plot.left,
                plot.top - 2.0,
                plot.width,
                (y - plot.top + 2.0).max(0.0),
            );
            context.clip();
            paint_line(surface, theme, columns, (color, &[]));
        }
    }
    context.restore();
    for label in threshold
        .into_iter()
        .chain(note.filter(|note| note.above < scene.ends.1))
    {
        label_threshold(surface, theme, label, scene.ends);
    }

    if let Some((x, y)) = columns.end()
        && x >= plot.left
        && x <= plot.right() + 1.0
        && scene
            .ring
            .last_time()
            .is_some_and(|newest| newest <= scene.span.to_ms)
    {
        let value = scene.ring.value(scene.column, scene.ring.len() - 1);
        let over = threshold.filter(|threshold| value > threshold.above);
        let color = if scene.stale {
            &theme.axis
        } else {
            over.map_or(color.as_str(), |threshold| threshold.color(theme))
        };
        paint_point(surface, theme, (x, y), color);
    }
}

/// Shades what is below the line.
fn paint_area(surface: &Surface<'_>, columns: &Columns, color: &str) {
    let (context, plot) = (surface.context, &surface.plot);
    if let (Some(upper), Some(lower)) = (faded(color, "3D"), faded(color, "03")) {
        let gradient = context.create_linear_gradient(0.0, plot.top, 0.0, plot.bottom());
        // Fails only for colours that cannot be read; then there is no fill.
        drop(gradient.add_color_stop(0.0, &upper));
        drop(gradient.add_color_stop(1.0, &lower));
        context.set_fill_style_canvas_gradient(&gradient);
        for (left, _, bottom) in columns.bars() {
            context.fill_rect(left, bottom, columns.width(), plot.bottom() - bottom);
        }
    }
}

/// A point on a line, with a halo.
pub(super) fn paint_point(surface: &Surface<'_>, theme: &Theme, (x, y): (f64, f64), color: &str) {
    let context = surface.context;
    for (radius, fill) in [(5.0, theme.panel.as_str()), (3.25, color)] {
        context.begin_path();
        // Fails only for a negative radius.
        drop(context.arc(x, y, radius * theme.scale, 0.0, std::f64::consts::TAU));
        context.set_fill_style_str(fill);
        context.fill();
    }
}

/// On a ground of its own, so that it can be read on any line.
fn label_threshold(surface: &Surface<'_>, theme: &Theme, threshold: &Threshold, ends: (f64, f64)) {
    let (context, plot) = (surface.context, &surface.plot);
    let y = plot.y(threshold.above, ends);
    let room = 15.0 * theme.scale;
    // What is no alert stands below its line, clear of the alert's label, which stands above its
    // own.
    let above = match threshold.severity {
        Severity::Low => plot.bottom() - y < room,
        _ => y - plot.top > room,
    };
    let y = y + if above { -9.0 } else { 9.0 } * theme.scale;
    let x = plot.left + 6.0 * theme.scale;
    let width = context.measure_text(&threshold.label);
    let width = width.map_or(0.0, |size| size.width()) + 8.0 * theme.scale;
    context.set_fill_style_str(&theme.panel);
    let height = 14.0 * theme.scale;
    context.fill_rect(x - 4.0 * theme.scale, y - height / 2.0, width, height);
    context.set_text_align("left");
    context.set_text_baseline("middle");
    context.set_fill_style_str(threshold.color(theme));
    surface.text(&threshold.label, x, y + 0.5);
}

/// Paints a line, dashed or not: as one where it has few points, else column by column.
pub(super) fn paint_line(
    surface: &Surface<'_>,
    theme: &Theme,
    columns: &Columns,
    (color, dash): (&str, &[f64]),
) {
    let context = surface.context;
    let width = LINE_WIDTH * theme.scale;
    context.set_fill_style_str(color);
    if columns.is_dense() {
        // Dashed, too: gaps are columns left out.
        let period: f64 = dash.iter().sum();
        let on = dash.first().copied().unwrap_or(f64::INFINITY);
        for (left, top, bottom) in columns
            .bars()
            .filter(|(left, ..)| dash.is_empty() || left % period < on)
        {
            context.fill_rect(
                left,
                top - width / 2.0,
                columns.width(),
                bottom - top + width,
            );
        }
        return;
    }
    surface.dash(dash);
    context.set_line_width(width);
    context.set_stroke_style_str(color);
    context.begin_path();
    for piece in columns.pieces() {
        let (x, y) = piece[0];
        if piece.len() == 1 {
            // A figure between two gaps is a point, not nothing.
            context.fill_rect(x - 1.5, y - 1.5, 3.0, 3.0);
            continue;
        }
        context.move_to(x, y);
        for (x, y) in &piece[1..] {
            context.line_to(*x, *y);
        }
    }
    context.stroke();
    surface.dash(&[]);
}

/// Paints each column from its least to its greatest.
pub(super) fn paint_bars(surface: &Surface<'_>, columns: &Columns) {
    let context = surface.context;
    for (left, top, bottom) in columns.bars() {
        context.fill_rect(left, top, columns.width(), bottom - top);
    }
}

pub(super) fn paint_times(surface: &Surface<'_>, theme: &Theme, span: &Span) {
    let (context, plot) = (surface.context, &surface.plot);
    let character = 2.0 * HALF_CHARACTER_PX * theme.scale;
    context.set_text_align("center");
    context.set_text_baseline("alphabetic");
    context.set_fill_style_str(&theme.axis);
    context.set_stroke_style_str(&theme.grid);
    surface.hairline();
    let offset = |at_ms: i64| {
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        let at_ms = at_ms as f64;
        platform::zone_offset_min(at_ms)
    };
    let marks = ticks::time_marks(span.from_ms, span.to_ms, plot.width / character, offset);
    for mark in marks {
        #[expect(clippy::cast_precision_loss, reason = "Unix ms fit 2^53")]
        let x = surface.snap(span.x(mark.at_ms as f64, plot));
        context.begin_path();
        context.move_to(x, plot.bottom());
        context.line_to(x, plot.bottom() + 4.0);
        context.stroke();
        let mut y = plot.bottom() + 17.0 * theme.scale;
        for text in [&mark.text, &mark.under] {
            // Kept inside, so that no time is cut off at an edge.
            #[expect(clippy::cast_precision_loss, reason = "a handful of characters")]
            let half = text.len() as f64 * character / 2.0;
            let x = x.min(surface.size.0 - half).max(half);
            surface.text(text, x, y);
            y += LINE_PX * theme.scale;
        }
    }
}

/// Hatches what lies between two figures with something missing, and after the newest one when
/// it is old.
fn paint_gaps(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>, (from, to): (usize, usize)) {
    let plot = &surface.plot;
    let ring = scene.ring;
    // A line that begins within a pixel or two of the edge begins at the edge.
    let first = ring.first_time();
    let first = first.map_or(plot.right(), |first| {
        scene.span.x(first, plot).min(plot.right())
    });
    if first - plot.left > FIRST_PX * theme.scale {
        hatch_as(surface, theme, scene.before_first, (plot.left, first));
    }
    for index in (from + 1)..to {
        let before = ring.before(index);
        if !before.breaks() {
            continue;
        }
        let left = scene.span.x(ring.time(index - 1), plot).max(plot.left);
        let right = scene.span.x(ring.time(index), plot).min(plot.right());
        if let Before::Merged(ticks) = before {
            paint_merged(surface, theme, scene, index, (left, right), ticks);
        } else {
            hatch(surface, theme, left, right);
        }
    }
    if let Some(silent) = scene.silent_from {
        let left = scene.span.x(silent, plot).max(plot.left);
        hatch(surface, theme, left, plot.right());
    }
}

/// Shades how far the figures went in ticks that came merged, from row `index`, the least, to the
/// next, the greatest. Which way they took between is not known, so no line is drawn.
fn paint_merged(
    surface: &Surface<'_>,
    theme: &Theme,
    scene: &Scene<'_>,
    index: usize,
    (left, right): (f64, f64),
    ticks: u16,
) {
    let (context, plot, ring) = (surface.context, &surface.plot, scene.ring);
    if right - left < 1.0 || index + 1 >= ring.len() {
        return;
    }
    let bottom = plot.y(ring.value(scene.column, index), scene.ends);
    let top = plot.y(ring.value(scene.column, index + 1), scene.ends);
    if let (Some(shade), true) = (
        faded(&theme.lines[scene.column], "4D"),
        top.is_finite() && bottom.is_finite(),
    ) {
        context.set_fill_style_str(&shade);
        context.fill_rect(left, top, right - left, (bottom - top).max(1.0));
    }
    if right - left >= MERGED_TEXT_PX * theme.scale {
        let text = format!(
            "{} merged",
            format::count(u64::from(ticks), "tick", "ticks")
        );
        caption(surface, theme, &text, (left, right));
    }
}

/// Words in the middle of a marked stretch.
fn caption(surface: &Surface<'_>, theme: &Theme, text: &str, (left, right): (f64, f64)) {
    let (context, plot) = (surface.context, &surface.plot);
    context.set_fill_style_str(&theme.panel);
    let (x, y) = (f64::midpoint(left, right), plot.top + plot.height / 2.0);
    #[expect(clippy::cast_precision_loss, reason = "a few words")]
    let width = (text.len() as f64 * 2.0 * HALF_CHARACTER_PX + 8.0) * theme.scale;
    let height = 18.0 * theme.scale;
    context.fill_rect(x - width / 2.0, y - height / 2.0, width, height);
    context.set_fill_style_str(&theme.axis);
    context.set_text_align("center");
    context.set_text_baseline("middle");
    surface.text(text, x, y + 0.5);
}

fn hatch(surface: &Surface<'_>, theme: &Theme, left: f64, right: f64) {
    hatch_as(surface, theme, words::NO_DATA, (left, right));
}

pub(super) fn hatch_as(surface: &Surface<'_>, theme: &Theme, why: &str, (left, right): (f64, f64)) {
    let (context, plot) = (surface.context, &surface.plot);
    if right - left < 1.0 {
        return;
    }
    context.save();
    context.begin_path();
    context.rect(left, plot.top, right - left, plot.height);
    context.clip();
    context.set_stroke_style_str(&theme.grid);
    surface.context.set_line_width(1.0);
    context.begin_path();
    // The strokes hang on the plot, not on the gap: they stay where they are while it moves.
    let mut x = ((left - plot.height) / HATCH_PX).floor() * HATCH_PX;
    while x < right {
        context.move_to(x, plot.bottom());
        context.line_to(x + plot.height, plot.top);
        x += HATCH_PX;
    }
    context.stroke();
    context.restore();
    if right - left >= GAP_TEXT_PX * theme.scale && !why.is_empty() {
        caption(surface, theme, why, (left, right));
    }
}
