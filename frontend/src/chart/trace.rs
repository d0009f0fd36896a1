//! Paints a [`Track`]: the lines of any series, on one canvas and an axis that fits them.
//!
//! A line is the mean of each step; behind a single one lies the band from the least to the
//! greatest. A line is never drawn across missing time: where all lines miss, it is hatched.

use super::{
    layout::Span,
    paint::{LINE_WIDTH, Surface, VALUE_MARK_PX, hatch, paint_times},
    scale::{around, within},
    theme::{Theme, faded},
    ticks,
};
use crate::{
    format,
    stores::track::{Line, Sample, Step, Track},
};

/// Lines drawn at most; more cannot be told apart.
pub const LINES_MAX: usize = 8;

/// From this line on they are dashed, since the colours begin anew.
const DASHED_FROM: usize = 4;

/// What is to be painted.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The figures.
    pub track: &'a Track,
    /// The time that is shown.
    pub span: Span,
    /// Where the crosshair is, Unix milliseconds.
    pub cursor: Option<f64>,
    /// The figures are not of now.
    pub stale: bool,
    /// Minutes that local time is ahead of UTC.
    pub offset_min: i32,
}

impl Scene<'_> {
    fn lines(&self) -> &[Line] {
        &self.track.lines[..self.track.lines.len().min(LINES_MAX)]
    }

    /// Steps of `line` in the span, and one more on either side.
    fn steps<'b>(&self, line: &'b Line) -> &'b [Step] {
        let from = line
            .steps
            .partition_point(|step| step.t_ms < self.span.from_ms);
        let to = line
            .steps
            .partition_point(|step| step.t_ms <= self.span.to_ms);
        &line.steps[from.saturating_sub(1)..(to + 1).min(line.steps.len())]
    }

    /// The least and greatest figure that is drawn.
    fn extremes(&self) -> (f64, f64) {
        let single = self.track.lines.len() == 1;
        let mut ends = (f64::INFINITY, f64::NEG_INFINITY);
        for step in self.lines().iter().flat_map(|line| self.steps(line)) {
            if step.mean.is_finite() {
                let (least, greatest) = if single {
                    (step.least, step.greatest)
                } else {
                    (step.mean, step.mean)
                };
                ends = (ends.0.min(least), ends.1.max(greatest));
            }
        }
        ends
    }
}

/// Unbroken stretches of a line.
fn strokes(steps: &[Step], gap_ms: f64) -> impl Iterator<Item = &[Step]> {
    steps
        .chunk_by(move |one, other| {
            one.mean.is_finite() && other.mean.is_finite() && other.t_ms - one.t_ms <= gap_ms
        })
        .filter(|stroke| stroke[0].mean.is_finite())
}

/// Paints everything anew.
pub fn paint(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>) {
    let (context, plot, span) = (surface.context, &surface.plot, &scene.span);
    surface.begin(theme);
    if plot.width < 1.0 || plot.height < 1.0 {
        return;
    }
    let marks = within(plot.height / (VALUE_MARK_PX * theme.scale), 1.0, 10.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of marks"
    )]
    let marks_max = marks as usize;
    let (least, greatest) = scene.extremes();
    let (low, high, step) = around(least, greatest, marks_max);
    paint_values(surface, theme, (low, high), step);
    paint_times(surface, theme, span, scene.offset_min);

    context.save();
    surface.clip_to_plot();
    let y = |value: f64| plot.y_between(value, (low, high));
    let single = scene.track.lines.len() == 1;
    for (index, line) in scene.lines().iter().enumerate() {
        let steps = scene.steps(line);
        let gap_ms = line.gap_ms(scene.track.step_ms);
        let color = theme.lines[index % theme.lines.len()].as_str();
        if single {
            paint_gaps(surface, theme, span, steps, gap_ms);
            if let Some(band) = faded(color, "33") {
                context.set_fill_style_str(&band);
                for stroke in strokes(steps, gap_ms) {
                    context.begin_path();
                    for step in stroke {
                        context.line_to(span.x(step.t_ms, plot), y(step.greatest));
                    }
                    for step in stroke.iter().rev() {
                        context.line_to(span.x(step.t_ms, plot), y(step.least));
                    }
                    context.fill();
                }
            }
        }
        let color = if scene.stale { &theme.axis } else { color };
        context.set_line_width(LINE_WIDTH * theme.scale);
        context.set_stroke_style_str(color);
        context.set_fill_style_str(color);
        if index >= DASHED_FROM || scene.stale {
            surface.dash(&[6.0, 3.0]);
        }
        context.begin_path();
        for stroke in strokes(steps, gap_ms) {
            let (x, top) = (span.x(stroke[0].t_ms, plot), y(stroke[0].mean));
            if stroke.len() == 1 {
                // A figure between two gaps is a point, not nothing.
                context.fill_rect(x - 1.5, top - 1.5, 3.0, 3.0);
                continue;
            }
            context.move_to(x, top);
            for step in &stroke[1..] {
                context.line_to(span.x(step.t_ms, plot), y(step.mean));
            }
        }
        context.stroke();
        surface.dash(&[]);
    }
    context.restore();
    if let Some(at) = scene.cursor {
        paint_cursor(surface, theme, scene, at, y);
    }
}

fn paint_values(surface: &Surface<'_>, theme: &Theme, (low, high): (f64, f64), step: f64) {
    let (context, plot) = (surface.context, &surface.plot);
    context.set_text_align("right");
    context.set_text_baseline("middle");
    context.set_fill_style_str(&theme.axis);
    context.set_stroke_style_str(&theme.grid);
    surface.hairline();
    for mark in ticks::value_marks(high - low, step) {
        let y = plot.y_between(low + mark, (low, high));
        surface.horizontal(y);
        let text = format::tick(low + mark, step);
        surface.text(&text, plot.left - 6.0 * theme.scale, y + 0.5);
    }
}

/// Hatches what is missing between two steps, and after the newest one when it is old.
fn paint_gaps(surface: &Surface<'_>, theme: &Theme, span: &Span, steps: &[Step], gap_ms: f64) {
    let plot = &surface.plot;
    let x = |t_ms: f64| within(span.x(t_ms, plot), plot.left, plot.right());
    for pair in steps.windows(2) {
        if pair[1].t_ms - pair[0].t_ms > gap_ms {
            hatch(surface, theme, x(pair[0].t_ms), x(pair[1].t_ms));
        }
    }
    if let Some(last) = steps.last()
        && span.to_ms - last.t_ms > gap_ms
    {
        hatch(surface, theme, x(last.t_ms), plot.right());
    }
}

fn paint_cursor(
    surface: &Surface<'_>,
    theme: &Theme,
    scene: &Scene<'_>,
    at: f64,
    y: impl Fn(f64) -> f64,
) {
    let (context, plot) = (surface.context, &surface.plot);
    let x = scene.span.x(at, plot);
    context.set_stroke_style_str(&theme.axis);
    surface.hairline();
    context.begin_path();
    context.move_to(x, plot.top);
    context.line_to(x, plot.bottom());
    context.stroke();
    for (index, line) in scene.lines().iter().enumerate() {
        let Some(sample) = reading(line, scene.track.step_ms, at) else {
            continue;
        };
        let color = theme.lines[index % theme.lines.len()].as_str();
        for (radius, fill) in [(5.0, theme.panel.as_str()), (3.25, color)] {
            context.begin_path();
            // Fails only for a negative radius.
            drop(context.arc(
                scene.span.x(sample.t_ms, plot),
                y(sample.value),
                radius * theme.scale,
                0.0,
                std::f64::consts::TAU,
            ));
            context.set_fill_style_str(fill);
            context.fill();
        }
    }
}

/// What `line` was at `t_ms`: its nearest step, unless that is further away than a gap.
#[must_use]
pub fn reading(line: &Line, step_ms: f64, t_ms: f64) -> Option<Sample> {
    let after = line.steps.partition_point(|step| step.t_ms < t_ms);
    let near = [after.checked_sub(1), Some(after)].into_iter().flatten();
    let near = near.filter_map(|index| line.steps.get(index));
    let step = near.reduce(|one, other| {
        if (other.t_ms - t_ms).abs() < (one.t_ms - t_ms).abs() {
            other
        } else {
            one
        }
    })?;
    ((step.t_ms - t_ms).abs() <= line.gap_ms(step_ms) && step.mean.is_finite()).then_some(Sample {
        t_ms: step.t_ms,
        value: step.mean,
    })
}

/// The moment of the step that is `by` steps to the right of `t_ms`, in the line that has most.
#[must_use]
pub fn neighbour(track: &Track, span: &Span, t_ms: Option<f64>, by: isize) -> Option<f64> {
    let line = track.lines.iter().max_by_key(|line| line.steps.len())?;
    let first = line.steps.partition_point(|step| step.t_ms < span.from_ms);
    let end = line.steps.partition_point(|step| step.t_ms <= span.to_ms);
    if first >= end {
        return None;
    }
    let index = match t_ms {
        Some(t_ms) => line
            .steps
            .partition_point(|step| step.t_ms < t_ms)
            .saturating_add_signed(by),
        None => end,
    };
    Some(line.steps[index.max(first).min(end - 1)].t_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(times: &[f64]) -> Line {
        let mut track = Track {
            step_ms: 1_000.0,
            lines: vec![],
        };
        let samples: Vec<Sample> = times
            .iter()
            .map(|t_ms| Sample {
                t_ms: *t_ms,
                value: t_ms / 1_000.0,
            })
            .collect();
        track.add("a", "", &samples, 1e12);
        track.lines.remove(0)
    }

    #[test]
    fn lines_end_where_something_is_missing() {
        let line = line(&[0.0, 1_000.0, 2_000.0, 9_000.0, 10_000.0]);
        let lengths: Vec<usize> = strokes(&line.steps, line.gap_ms(1_000.0))
            .map(<[Step]>::len)
            .collect();
        assert_eq!(lengths, [3, 2]);
    }

    #[test]
    fn reads_the_nearest_step_or_nothing() {
        let line = line(&[0.0, 1_000.0, 2_000.0, 90_000.0]);
        assert_eq!(
            reading(&line, 1_000.0, 1_400.0).map(|at| at.value),
            Some(1.0)
        );
        assert_eq!(reading(&line, 1_000.0, 45_000.0), None);
        assert_eq!(reading(&line, 1_000.0, 99_000.0), None);
        assert_eq!(reading(&Line::default(), 1_000.0, 0.0), None);
    }

    #[test]
    fn steps_along_by_key() {
        let track = Track {
            step_ms: 1_000.0,
            lines: vec![line(&[0.0, 1_000.0, 2_000.0, 3_000.0])],
        };
        let span = Span {
            from_ms: 1_000.0,
            to_ms: 3_000.0,
        };
        assert_eq!(neighbour(&track, &span, None, -1), Some(3_000.0));
        assert_eq!(neighbour(&track, &span, Some(3_000.0), -1), Some(2_000.0));
        assert_eq!(neighbour(&track, &span, Some(1_000.0), -10), Some(1_000.0));
        assert_eq!(neighbour(&Track::default(), &span, None, 1), None);
    }
}
