//! Paints a [`Track`]: the lines of any series, on one canvas and an axis that fits them.
//!
//! A line is the mean of each step, and from the least to the greatest figure of each step there is
//! a stroke (behind a single line a band): no figure is left out, whatever the width. A line is
//! never drawn across missing time, nor across a sample that is no number, which is marked at the
//! foot. Where all lines miss, it is hatched.

use super::{
    columns::Columns,
    layout::{Plot, Span},
    paint::{Surface, hatch_as, paint_bars, paint_line, paint_point, paint_times, paint_values},
    scale::ValueAxis,
    theme::{Theme, faded},
};
use crate::{
    net::series::{Line, Sample, Step},
    stores::track::{LINES_MAX, Track},
};

/// From the fifth line on they are dashed, too, so that colour alone does not tell them apart.
const DASHES: [&[f64]; LINES_MAX] = [
    &[],
    &[],
    &[],
    &[],
    &[6.0, 4.0],
    &[2.0, 4.0],
    &[8.0, 3.0, 2.0, 3.0],
    &[10.0, 5.0],
];

/// The dash of a line that is not of now; its colour is that of the axis.
pub const STALE_DASH: &[f64] = DASHES[4];

/// How much of its colour the band of a line has, in hexadecimal: 3:1 against the panel at least,
/// which a test holds.
pub const BAND: &str = "AC";

/// A stretch of time that an alert fired, or waited for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// From when, Unix milliseconds.
    pub from_ms: f64,
    /// To when.
    pub to_ms: f64,
    /// It fired; else it waited.
    pub is_firing: bool,
    /// Its row at the foot of the chart: one for each series.
    pub row: usize,
}

/// Rows of bands that can be told apart.
pub const ROWS_MAX: usize = 8;

/// How high a row is, and a band in it, in CSS pixels.
const ROW_PX: f64 = 7.0;
const BAND_PX: f64 = 5.0;

/// How much of its colour the ground behind a band has, in hexadecimal: lines and words stay clear.
const GROUND: &str = "1F";

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
    /// Why there is nothing where there is nothing.
    pub missing: &'static str,
    /// Lines that are not drawn, a bit each.
    pub hidden: u8,
    /// When alerts fired.
    pub bands: &'a [Band],
    /// What the lines are compared with.
    pub limit: Option<f64>,
}

impl Scene<'_> {
    /// Those that are drawn, with their place, which decides their look.
    fn lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        let lines = self.track.lines.iter().take(LINES_MAX).enumerate();
        lines.filter(|(index, _)| self.hidden & (1 << index) == 0)
    }

    /// The rest, unless one line is looked at alone.
    fn others(&self) -> Option<&Line> {
        self.track.others.as_ref().filter(|_| self.hidden == 0)
    }

    /// Steps of `line` of which something is in the span; `more` on either side.
    fn steps<'b>(&self, line: &'b Line, more: usize) -> &'b [Step] {
        let begins = self.span.from_ms - self.track.step_ms;
        let from = line.steps.partition_point(|step| step.t_ms <= begins);
        let to = line
            .steps
            .partition_point(|step| step.t_ms <= self.span.to_ms);
        &line.steps[from.saturating_sub(more)..(to.max(from) + more).min(line.steps.len())]
    }

    /// The least and greatest figure in the span, of every line and of the rest, and of the limit.
    #[must_use]
    pub fn extremes(&self) -> (f64, f64) {
        let all = self.lines().map(|(_, line)| line).chain(self.others());
        let steps = all.flat_map(|line| self.steps(line, 0));
        let figures = steps.flat_map(|step| [step.least, step.mean, step.greatest]);
        let finite = figures
            .chain(self.limit)
            .filter(|figure| figure.is_finite());
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |ends, figure| {
            (ends.0.min(figure), ends.1.max(figure))
        })
    }

    /// The y axis that fits, with the unit of the lines, if they have one in common.
    #[must_use]
    pub fn axis(&self, marks_max: usize) -> ValueAxis {
        let (least, greatest) = self.extremes();
        ValueAxis::around(least, greatest, self.track.unit(), marks_max)
    }

    /// Where something of `line` is no number, from the left.
    fn odd_places<'b>(&'b self, line: &'b Line, plot: &'b Plot) -> impl Iterator<Item = f64> + 'b {
        let odd = self.steps(line, 0).iter().filter(|step| step.odd > 0);
        odd.map(|step| self.span.x(step.t_ms, plot).max(plot.left))
    }

    /// Puts the means of `line` into columns, and from its least to its greatest figure into
    /// `band`: step by step, or `joined`.
    fn trace(
        &self,
        line: &Line,
        plot: &Plot,
        ends: (f64, f64),
        (columns, band): (&mut Columns, &mut Columns),
        joined: bool,
    ) {
        let gap_ms = line.gap_ms(self.track.step_ms);
        let y = |value: f64| plot.y(value, ends);
        let mut before: Option<(f64, &Step)> = None;
        for step in self.steps(line, 1) {
            // A step that began before the span and goes on in it is at its edge.
            let is_cut =
                step.t_ms < self.span.from_ms && step.t_ms + self.track.step_ms > self.span.from_ms;
            let x = match is_cut {
                true => plot.left,
                false => self.span.x(step.t_ms, plot),
            };
            before = before.filter(|(_, before)| {
                before.odd == 0 && step.odd == 0 && step.t_ms - before.t_ms <= gap_ms
            });
            if before.is_none() {
                columns.lift();
            }
            if !step.mean.is_finite() {
                before = None;
                continue;
            }
            columns.to(x, y(step.mean));
            band.reach(x, y(step.least), y(step.greatest));
            if let Some((from, before)) = before.filter(|_| joined) {
                for (one, other) in [(before.least, step.least), (before.greatest, step.greatest)] {
                    band.lift();
                    band.to(from, y(one));
                    band.to(x, y(other));
                }
            }
            before = Some((x, step));
        }
    }

    /// Stretches of the span of which no line knows anything.
    fn gaps(&self) -> Vec<(f64, f64)> {
        let mut known: Vec<(f64, f64)> = Vec::new();
        let step_ms = self.track.step_ms;
        for line in self.lines().map(|(_, line)| line).chain(self.others()) {
            let gap_ms = line.gap_ms(step_ms);
            for step in self.steps(line, 1) {
                // As far as the line would be drawn to the next step.
                known.push((step.t_ms, step.t_ms + gap_ms));
            }
        }
        super::order::by_first(&mut known);
        let mut gaps = Vec::new();
        // Where something is drawn up to, and until when it may still be joined to what follows.
        let longest = known.iter().map(|(from, to)| to - from).fold(0.0, f64::max);
        let (mut drawn, mut until) = (self.span.from_ms, self.span.from_ms + longest);
        for (from, to) in known {
            let from = from.min(self.span.to_ms);
            if from > until {
                gaps.push((drawn, from));
            }
            (drawn, until) = (drawn.max(from), until.max(to));
        }
        if self.span.to_ms > until {
            gaps.push((drawn, self.span.to_ms));
        }
        gaps
    }
}

/// Paints everything anew.
pub fn paint(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>, axis: &ValueAxis) {
    let (context, plot, span) = (surface.context, &surface.plot, &scene.span);
    surface.begin(theme);
    if plot.width < 1.0 || plot.height < 1.0 {
        return;
    }
    paint_values(surface, theme, axis);
    paint_times(surface, theme, span);

    context.save();
    surface.clip_to_plot();
    let ends = (axis.low, axis.high);
    for (from, to) in scene.gaps() {
        let x = |t_ms: f64| span.x(t_ms, plot).max(plot.left).min(plot.right());
        hatch_as(surface, theme, scene.missing, (x(from), x(to)));
    }
    paint_grounds(surface, theme, scene);
    let single = scene.lines().count() == 1 && scene.others().is_none();
    let (mut columns, mut band) = (Columns::default(), Columns::default());
    if let Some(others) = scene.others() {
        columns.clear(plot, surface.ratio);
        band.clear(plot, surface.ratio);
        scene.trace(others, plot, ends, (&mut columns, &mut band), true);
        context.set_fill_style_str(&theme.grid);
        paint_bars(surface, &band);
        // Both edges of the band can be seen on any ground.
        context.set_fill_style_str(&theme.axis);
        for (left, top, bottom) in band.bars() {
            for edge in [top, bottom] {
                context.fill_rect(left, edge - 0.5, band.width(), 1.0);
            }
        }
    }
    for (index, line) in scene.lines() {
        columns.clear(plot, surface.ratio);
        band.clear(plot, surface.ratio);
        scene.trace(line, plot, ends, (&mut columns, &mut band), single);
        let (color, dash) = if scene.stale {
            (theme.axis.as_str(), STALE_DASH)
        } else {
            (theme.compared[index].as_str(), DASHES[index])
        };
        let band_color = faded(color, BAND).filter(|_| single);
        context.set_fill_style_str(band_color.as_deref().unwrap_or(color));
        paint_bars(surface, &band);
        paint_line(surface, theme, &columns, (color, dash));
    }
    context.set_fill_style_str(&theme.warning);
    for (_, line) in scene.lines() {
        for x in scene.odd_places(line, plot) {
            let size = 4.0 * theme.scale;
            context.fill_rect(x - size / 2.0, plot.bottom() - size, size, size);
        }
    }
    paint_bands(surface, theme, scene);
    paint_limit(surface, theme, scene, ends);
    context.restore();
    if let Some(at) = scene.cursor {
        paint_cursor(surface, theme, scene, at, ends);
    }
}

/// The colour of a band.
fn color_of<'a>(band: &Band, theme: &'a Theme) -> &'a str {
    match band.is_firing {
        true => &theme.critical,
        false => &theme.warning,
    }
}

/// Where a band is, from the left, and how wide: two pixels at the least, or it would not be seen.
fn place_of(band: &Band, scene: &Scene<'_>, plot: &Plot) -> Option<(f64, f64)> {
    let from = scene.span.x(band.from_ms, plot).max(plot.left);
    let to = scene.span.x(band.to_ms, plot).min(plot.right());
    (to >= plot.left && from <= plot.right()).then(|| (from, (to - from).max(2.0)))
}

/// Behind everything, over the whole height: when something fired.
fn paint_grounds(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>) {
    let (context, plot) = (surface.context, &surface.plot);
    for band in scene.bands.iter().filter(|band| band.is_firing) {
        let color = faded(color_of(band, theme), GROUND);
        if let (Some(color), Some((left, width))) = (color, place_of(band, scene, plot)) {
            context.set_fill_style_str(&color);
            context.fill_rect(left, plot.top, width, plot.height);
        }
    }
}

/// At the foot, a row for each series: a full bar where it fires, a line where it waits for that,
/// so that colour alone does not tell them apart.
fn paint_bands(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>) {
    let (context, plot) = (surface.context, &surface.plot);
    for band in scene.bands.iter().filter(|band| band.row < ROWS_MAX) {
        if let Some((left, width)) = place_of(band, scene, plot) {
            #[expect(clippy::cast_precision_loss, reason = "a row of eight")]
            let rows = (band.row + 1) as f64;
            let top = plot.bottom() - rows * ROW_PX * theme.scale;
            let height = BAND_PX * theme.scale;
            let (top, height) = match band.is_firing {
                true => (top, height),
                false => (top + height / 2.0 - 0.5, 1.5),
            };
            context.set_fill_style_str(color_of(band, theme));
            context.fill_rect(left, top, width, height);
        }
    }
}

/// The limit, across the chart.
fn paint_limit(surface: &Surface<'_>, theme: &Theme, scene: &Scene<'_>, ends: (f64, f64)) {
    if let Some(limit) = scene.limit.filter(|limit| limit.is_finite()) {
        let (context, plot) = (surface.context, &surface.plot);
        context.set_stroke_style_str(&theme.critical);
        context.set_line_width(1.5);
        surface.dash(&[6.0, 3.0]);
        surface.horizontal(plot.y(limit, ends));
        surface.dash(&[]);
    }
}

fn paint_cursor(
    surface: &Surface<'_>,
    theme: &Theme,
    scene: &Scene<'_>,
    at: f64,
    ends: (f64, f64),
) {
    let (context, plot) = (surface.context, &surface.plot);
    let x = scene.span.x(at, plot);
    context.set_stroke_style_str(&theme.axis);
    surface.hairline();
    context.begin_path();
    context.move_to(x, plot.top);
    context.line_to(x, plot.bottom());
    context.stroke();
    for (index, line) in scene.lines() {
        if let Some(sample) = reading(line, scene.track.step_ms, at) {
            let point = (scene.span.x(sample.t_ms, plot), plot.y(sample.value, ends));
            paint_point(surface, theme, point, &theme.compared[index]);
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
    use proptest::prelude::*;

    use super::*;

    fn line(times: &[f64]) -> Line {
        let mut track = Track {
            step_ms: 1_000.0,
            ..Track::default()
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
    fn what_no_line_knows_is_a_gap() {
        let mut track = Track {
            step_ms: 1_000.0,
            lines: vec![
                line(&[2_000.0, 3_000.0]),
                line(&[2_000.0, 3_000.0, 4_000.0, 20_000.0]),
            ],
            ..Track::default()
        };
        let gaps = |track: &Track, from_ms: f64, to_ms: f64| {
            let scene = Scene {
                track,
                span: Span { from_ms, to_ms },
                cursor: None,
                stale: false,
                missing: "",
                hidden: 0,
                bands: &[],
                limit: None,
            };
            scene.gaps()
        };
        assert_eq!(gaps(&track, 0.0, 4_000.0), []);
        assert_eq!(
            gaps(&track, -60_000.0, 80_000.0),
            [
                (-60_000.0, 2_000.0),
                (4_000.0, 20_000.0),
                (20_000.0, 80_000.0)
            ]
        );
        track.lines.clear();
        assert_eq!(gaps(&track, 0.0, 9.0), [(0.0, 9.0)]);
    }

    fn read(json: &str) -> Line {
        Line::read(&crate::net::json::Json::parse(json).expect("JSON"))
    }

    fn scene<'a>(track: &'a Track, to_ms: f64) -> Scene<'a> {
        Scene {
            track,
            span: Span {
                from_ms: 0.0,
                to_ms,
            },
            cursor: None,
            stale: false,
            missing: "",
            hidden: 0,
            bands: &[],
            limit: None,
        }
    }

    #[test]
    fn a_sample_that_is_no_number_breaks_the_line_and_has_its_mark() {
        let plot = Plot {
            left: 0.0,
            top: 0.0,
            width: 100.0,
            height: 100.0,
        };
        // Beside numbers of the same step, which then stands for itself; alone in its step; not at
        // all.
        for (not_finite, pieces, places) in [
            ("[[4000,2]]", 3, vec![40.0]),
            ("[[4500,1]]", 2, vec![45.0]),
            ("[]", 1, vec![]),
        ] {
            let points = (0..10).map(|at| format!("[{at}000,5,5,5]"));
            let points = points.collect::<Vec<_>>().join(",");
            let track = Track {
                step_ms: 1_000.0,
                lines: vec![read(&format!(
                    "{{\"points\":[{points}],\"not_finite\":{not_finite}}}"
                ))],
                ..Track::default()
            };
            let scene = scene(&track, 10_000.0);
            let (mut columns, mut band) = (Columns::default(), Columns::default());
            columns.clear(&plot, 1.0);
            band.clear(&plot, 1.0);
            let line = &track.lines[0];
            scene.trace(line, &plot, (0.0, 10.0), (&mut columns, &mut band), true);
            assert_eq!(columns.pieces().count(), pieces, "{not_finite}");
            let marks: Vec<f64> = scene.odd_places(line, &plot).collect();
            assert_eq!(marks, places, "{not_finite}");
        }
    }

    #[test]
    fn the_rest_is_on_the_axis_unless_a_line_is_looked_at_alone() {
        let others = read("{\"points\":[[0,5,1,900]],\"key\":\"others\"}");
        let track = Track {
            step_ms: 1_000.0,
            lines: vec![
                read("{\"points\":[[0,20,10,30]]}"),
                read("{\"points\":[[0,40,40,40]]}"),
            ],
            others: Some(others),
            others_count: 992,
        };
        let mut scene = scene(&track, 10_000.0);
        assert_eq!(scene.extremes(), (1.0, 900.0));
        scene.hidden = 0b10;
        assert_eq!(scene.extremes(), (10.0, 30.0));
    }

    proptest! {
        /// Any lines in any width: what is drawn of each reaches exactly as far as the least and
        /// greatest figure of its steps in the span, and the axis as far as that of all.
        #[test]
        fn every_extreme_is_drawn_and_on_the_axis(
            lines in proptest::collection::vec(
                proptest::collection::vec((-1e3..1e3_f64, 0.0..500.0_f64, 0.0..500.0_f64, 0_u8..20), 1..300),
                1..9,
            ),
            width in 20.0..1500.0_f64,
            ratio in 0.5..4.0_f64,
            cut in 0.0..1.0_f64,
        ) {
            let mut track = Track { step_ms: 1_000.0, ..Track::default() };
            for steps in &lines {
                let points: Vec<String> = steps.iter().enumerate().map(|(at, (mean, below, above, odd))| {
                    match odd {
                        0 => format!("[{}000,null,null,null]", at),
                        _ => format!("[{}000,{mean},{},{}]", at, mean - below, mean + above),
                    }
                }).collect();
                let json = format!("{{\"points\":[{}]}}", points.join(","));
                track.lines.push(Line::read(&crate::net::json::Json::parse(&json).expect("JSON")));
            }
            let single = lines.len() == 1;
            let from_ms = cut * 290_000.0;
            let scene = Scene {
                track: &track,
                span: Span { from_ms, to_ms: 300_000.0 },
                cursor: None,
                stale: false,
                missing: "",
                hidden: 0,
                bands: &[],
                limit: None,
            };
            let plot = Plot { left: 0.0, top: 0.0, width, height: 200.0 };
            let mut all = (f64::INFINITY, f64::NEG_INFINITY);
            for line in &track.lines {
                let (mut columns, mut band) = (Columns::default(), Columns::default());
                columns.clear(&plot, ratio);
                band.clear(&plot, ratio);
                // Down is up: y is the figure itself.
                let ends = (0.0, -200.0);
                let plot = Plot { top: -200.0, ..plot };
                scene.trace(line, &plot, ends, (&mut columns, &mut band), single);
                let mut drawn = (f64::INFINITY, f64::NEG_INFINITY);
                for (left, top, bottom) in columns.bars().chain(band.bars()) {
                    prop_assert!(left >= 0.0 && left < width);
                    drawn = (drawn.0.min(top), drawn.1.max(bottom));
                }
                let inside = scene.steps(line, 0).iter().filter(|step| step.mean.is_finite());
                let least = inside.clone().map(|step| step.least).fold(f64::INFINITY, f64::min);
                let greatest = inside.map(|step| step.greatest).fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(drawn.0 <= least + 1e-6 && drawn.1 >= greatest - 1e-6, "{drawn:?} {least} {greatest}");
                let near = scene.steps(line, 1).iter().filter(|step| step.mean.is_finite());
                let least = near.clone().map(|step| step.least).fold(f64::INFINITY, f64::min);
                let greatest = near.map(|step| step.greatest).fold(f64::NEG_INFINITY, f64::max);
                prop_assert!(drawn.0 >= least - 1e-6 && drawn.1 <= greatest + 1e-6, "{drawn:?} {least} {greatest}");
                for step in scene.steps(line, 0).iter().filter(|step| step.mean.is_finite()) {
                    all = (all.0.min(step.least), all.1.max(step.greatest));
                }
            }
            prop_assert_eq!(scene.extremes(), all);
            let axis = scene.axis(5);
            prop_assert!(all.0 > all.1 || axis.low <= all.0 && axis.high >= all.1);
        }
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
            ..Track::default()
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

    #[test]
    fn the_limit_is_on_the_axis() {
        let track = Track {
            step_ms: 1_000.0,
            lines: vec![line(&[2_000.0, 3_000.0])],
            ..Track::default()
        };
        let mut scene = scene(&track, 10_000.0);
        assert_eq!(scene.extremes(), (2.0, 3.0));
        scene.limit = Some(90.0);
        assert_eq!(scene.extremes(), (2.0, 90.0));
        scene.limit = Some(f64::NAN);
        assert_eq!(scene.extremes(), (2.0, 3.0));
    }

    #[test]
    fn a_short_band_is_seen_and_one_outside_is_not() {
        let track = Track::default();
        let scene = scene(&track, 100_000.0);
        let plot = Plot {
            left: 10.0,
            top: 0.0,
            width: 100.0,
            height: 50.0,
        };
        let band = |from_ms, to_ms| Band {
            from_ms,
            to_ms,
            is_firing: true,
            row: 0,
        };
        assert_eq!(
            place_of(&band(50_000.0, 50_001.0), &scene, &plot),
            Some((60.0, 2.0))
        );
        assert_eq!(
            place_of(&band(-9e6, 50_000.0), &scene, &plot),
            Some((10.0, 50.0))
        );
        assert_eq!(place_of(&band(200_000.0, 300_000.0), &scene, &plot), None);
    }
}
