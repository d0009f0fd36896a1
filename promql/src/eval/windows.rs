//! Functions over a range: what becomes of the samples of one window.

use std::sync::Arc;

use super::{
    Column, EachNamed, Evaluated, Evaluation, Grid, Value, merged,
    read::{absent_labels, inner},
    sums, wrong,
};
use crate::{
    ast::{Expr, ExprKind},
    eval::ABSENT,
    functions::Function,
    labels::{Labels, NAME},
    notes::Note,
    rollup::{Course, Sight, Stretches},
    storage::{Nameless, Samples},
};

/// The samples of one window, and where it lies.
struct Window<'a> {
    times: &'a [i64],
    values: &'a [f64],
    start_ms: i64,
    end_ms: i64,
    /// The step's own time.
    at_ms: i64,
    /// Where the samples that fall below the one before them are, in the whole series.
    resets: &'a [usize],
    /// The window's first sample in the whole series.
    from: usize,
    /// Of the function's scalar, where it has one.
    param: f64,
}

/// Whether a metric's name is that of a counter, or there is none.
fn is_counter_name(name: &str) -> bool {
    let endings = ["_total", "_sum", "_count", "_bucket"];
    name.is_empty() || endings.iter().any(|ending| name.ends_with(ending))
}

/// Whether a function is one over a range.
pub(super) fn is_over_range(name: &str) -> bool {
    over(name).is_some() || name == "absent_over_time"
}

type Over = fn(&Window<'_>) -> Option<f64>;

fn over(name: &str) -> Option<Over> {
    Some(match name {
        "rate" => |window| extrapolated(window, true, true),
        "increase" => |window| extrapolated(window, true, false),
        "delta" => |window| extrapolated(window, false, false),
        "irate" => |window| newest_two(window, true),
        "idelta" => |window| newest_two(window, false),
        "avg_over_time" => |window| {
            let mut mean = sums::Mean::default();
            for value in window.values {
                mean.add(*value);
            }
            Some(mean.value())
        },
        "sum_over_time" => |window| Some(sums::sum(window.values.iter().copied())),
        "count_over_time" => |window| Some(window.values.len() as f64),
        "last_over_time" => |window| window.values.last().copied(),
        "present_over_time" => |_| Some(1.0),
        "min_over_time" => |window| {
            let least = |least: f64, value: &f64| {
                if *value < least || least.is_nan() {
                    *value
                } else {
                    least
                }
            };
            Some(window.values.iter().fold(f64::NAN, least))
        },
        "max_over_time" => |window| {
            let most = |most: f64, value: &f64| {
                if *value > most || most.is_nan() {
                    *value
                } else {
                    most
                }
            };
            Some(window.values.iter().fold(f64::NAN, most))
        },
        "stdvar_over_time" => |window| Some(sums::variance(window.values)),
        "stddev_over_time" => |window| Some(sums::variance(window.values).sqrt()),
        "quantile_over_time" => {
            |window| Some(sums::quantile(window.param, &mut window.values.to_vec()))
        }
        "changes" => |window| {
            let pairs = window.values.windows(2);
            let changed = pairs.filter(|pair| match pair {
                [one, next] => one != next && !(one.is_nan() && next.is_nan()),
                _ => false,
            });
            Some(changed.count() as f64)
        },
        "resets" => |window| Some(resets_within(window).count() as f64),
        "deriv" => |window| {
            (window.values.len() >= 2)
                .then(|| regression(window, window.times.first().copied().unwrap_or_default()).0)
        },
        "predict_linear" => |window| {
            (window.values.len() >= 2).then(|| {
                let (slope, intercept) = regression(window, window.at_ms);
                slope * window.param + intercept
            })
        },
        _ => return None,
    })
}

/// The resets whose both samples are in the window.
fn resets_within<'a>(window: &'a Window<'_>) -> impl Iterator<Item = usize> + 'a {
    let first = window.resets.partition_point(|at| *at <= window.from);
    window
        .resets
        .get(first..)
        .unwrap_or_default()
        .iter()
        .map(|at| at - window.from)
        .take_while(|at| *at < window.values.len())
}

/// `rate`, `increase` and `delta`: the difference between the ends, resets of a counter made good,
/// carried to the borders of the window where the samples come near them.
fn extrapolated(window: &Window<'_>, is_counter: bool, is_rate: bool) -> Option<f64> {
    let (first_ms, last_ms) = (*window.times.first()?, *window.times.last()?);
    let (first, last) = (*window.values.first()?, *window.values.last()?);
    if window.values.len() < 2 {
        return None;
    }
    let mut result = last - first;
    if is_counter {
        for at in resets_within(window) {
            result += at
                .checked_sub(1)
                .and_then(|before| window.values.get(before))
                .copied()
                .unwrap_or_default();
        }
    }
    let mut to_start = (first_ms - window.start_ms) as f64 / 1000.0;
    let mut to_end = (window.end_ms - last_ms) as f64 / 1000.0;
    let sampled = (last_ms - first_ms) as f64 / 1000.0;
    let between = sampled / (window.values.len() - 1) as f64;
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter {
        // A counter is not carried to below zero.
        let mut to_zero = to_start;
        if result > 0.0 && first >= 0.0 {
            to_zero = sampled * (first / result);
        }
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= (window.end_ms - window.start_ms) as f64 / 1000.0;
    }
    Some(result * factor)
}

fn newest_two(window: &Window<'_>, is_rate: bool) -> Option<f64> {
    let [.., before_ms, last_ms] = window.times else {
        return None;
    };
    let [.., before, last] = window.values else {
        return None;
    };
    let mut result = last - before;
    if is_rate && last < before {
        // The counter was reset.
        result = *last;
    }
    let between = last_ms - before_ms;
    if between == 0 {
        return None;
    }
    if is_rate {
        result /= between as f64 / 1000.0;
    }
    Some(result)
}

/// Slope a second and value at a time, by least squares.
fn regression(window: &Window<'_>, intercept_ms: i64) -> (f64, f64) {
    let first = window.values.first().copied().unwrap_or(f64::NAN);
    let is_constant = window.values.iter().skip(1).all(|value| *value == first);
    if is_constant {
        return match first.is_infinite() {
            true => (f64::NAN, f64::NAN),
            false => (0.0, first),
        };
    }
    let mut count = 0.0;
    let zero = (0.0, 0.0);
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = (zero, zero, zero, zero);
    for (time, value) in window.times.iter().zip(window.values) {
        count += 1.0;
        let x = (time - intercept_ms) as f64 / 1000.0;
        x_sum = sums::add(x, x_sum);
        y_sum = sums::add(*value, y_sum);
        xy_sum = sums::add(x * value, xy_sum);
        xx_sum = sums::add(x * x, xx_sum);
    }
    let (x, y) = (x_sum.0 + x_sum.1, y_sum.0 + y_sum.1);
    let (xy, xx) = (xy_sum.0 + xy_sum.1, xx_sum.0 + xx_sum.1);
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}

/// Windows in which there are rollups.
struct RolledWindows {
    sight: Sight,
    /// Of the series, for what grows.
    course: Course,
    is_rate: bool,
    range_ms: i64,
}

impl RolledWindows {
    fn value(&self, samples: &Samples, window: &Window<'_>, over: Over) -> Option<f64> {
        let to = window.from + window.values.len();
        let times = (window.start_ms, window.end_ms);
        if self.sight == Sight::Growth {
            let growth = self
                .course
                .growth(&samples.times, (window.from, to), times)?;
            return Some(match self.is_rate {
                true => growth / (self.range_ms as f64 / 1000.0),
                false => growth,
            });
        }
        if window.values.is_empty() {
            return None;
        }
        let rolled = samples.weights.get(window.from..to.min(samples.rolled()));
        let rolled = rolled.unwrap_or_default();
        let alone = window.values.len() - rolled.len();
        let count = rolled.iter().sum::<f64>() + alone as f64;
        // Of a rollup that is longer than the window, the window's part.
        let looks_ms = window.end_ms.saturating_sub(window.start_ms);
        let part = self.range_ms as f64 / looks_ms.max(1) as f64;
        Some(match self.sight {
            Sight::Count => count * part,
            Sight::Sum => sums::sum(window.values.iter().copied()) * part,
            Sight::Mean => sums::sum(window.values.iter().copied()) / count,
            _ => return over(window),
        })
    }

    /// Whether all windows begin and end where rollups do, and nothing is lost by that. `ends_ms`
    /// is where the first ends.
    fn is_exact(&self, stretches: &Stretches, grid: Grid, ends_ms: i64) -> bool {
        self.sight.is_exact()
            && stretches.each().iter().all(|one| {
                let is_whole = |ms: i64| ms.rem_euclid(one.length_ms) == 0;
                let is_moving = grid.count > 1;
                is_whole(ends_ms.saturating_add(1))
                    && is_whole(self.range_ms)
                    && (!is_moving || is_whole(grid.step_ms))
            })
    }
}

impl Evaluation<'_> {
    /// A function over a range.
    pub(super) fn over_range(
        &self,
        function: &'static Function,
        args: &[Expr],
        grid: Grid,
    ) -> Evaluated<Value> {
        if function.name == "absent_over_time" {
            return self.absent_over_time(args, grid);
        }
        let mut columns: Vec<Column> = Vec::new();
        self.each_over_range(function, args, grid, false, &mut |named, values| {
            columns.push(self.kept(named.labels()?, values.to_vec())?);
            Ok(())
        })?;
        Ok(Value::Vector(merged(columns)?))
    }

    /// Hands each series of a function over a range to `each` with its numbers, in any order where
    /// that is all the same; labels may come twice.
    pub(super) fn each_over_range(
        &self,
        function: &'static Function,
        args: &[Expr],
        grid: Grid,
        is_unordered: bool,
        each: &mut EachNamed<'_>,
    ) -> Evaluated<()> {
        let (Some(over), Some(range)) = (
            over(function.name),
            args.iter()
                .find(|arg| arg.value_type() == crate::ast::ValueType::Matrix),
        ) else {
            return Err(wrong("a range vector was expected"));
        };
        let param = args
            .iter()
            .find(|arg| arg.value_type() == crate::ast::ValueType::Scalar);
        let params = match param {
            Some(param) => self.scalar(param, grid)?,
            None => Vec::new(),
        };
        let is_quantile = function.name == "quantile_over_time";
        let is_rate = matches!(function.name, "rate" | "increase");
        let keeps_name = function.name == "last_over_time";
        let counts_resets = matches!(function.name, "rate" | "increase" | "resets");
        let (range_ms, when) = self.range_of(range)?;
        let mut resets: Vec<usize> = Vec::new();
        let stretches = self.stretches_of(range, grid)?;
        let mut rolled = RolledWindows {
            sight: Sight::of(function.name),
            course: Course::default(),
            is_rate: function.name == "rate",
            range_ms,
        };
        let mut is_rolled = false;
        let mut values = Vec::with_capacity(grid.count);
        // The metric that was noted last: most series are of one.
        let mut noted: Option<Arc<str>> = None;
        self.each_range(
            range,
            grid,
            (function.name, is_unordered),
            &stretches,
            &mut |named, samples| {
                is_rolled |= samples.rolled() > 0;
                if samples.rolled() > 0 && rolled.sight == Sight::Growth {
                    let reach_ms = self.reach_ms(stretches.longest());
                    rolled.course.set(samples, is_rate, reach_ms);
                }
                resets.clear();
                if counts_resets {
                    let pairs = samples.values.windows(2).enumerate();
                    resets.extend(pairs.filter_map(|(at, pair)| match pair {
                        [one, next] if next < one => Some(at + 1),
                        _ => None,
                    }));
                }
                values.clear();
                let (mut from, mut to) = (0, 0);
                let (mut any, mut work) = (false, 0_u64);
                for step in 0..grid.count {
                    let at_ms = grid.time(step);
                    let end_ms = self.reference(when, at_ms);
                    let looks_ms = match stretches.is_empty() {
                        true => range_ms,
                        false => stretches.range_at(function.name, end_ms, range_ms),
                    };
                    let start_ms = end_ms.saturating_sub(looks_ms);
                    while samples.times.get(to).is_some_and(|time| *time <= end_ms) {
                        to += 1;
                    }
                    while from < to
                        && samples
                            .times
                            .get(from)
                            .is_some_and(|time| *time <= start_ms)
                    {
                        from += 1;
                    }
                    let window = Window {
                        times: samples.times.get(from..to).unwrap_or_default(),
                        values: samples.values.get(from..to).unwrap_or_default(),
                        start_ms,
                        end_ms,
                        at_ms,
                        resets: &resets,
                        from,
                        param: params.get(step).copied().unwrap_or_default(),
                    };
                    work += window.values.len() as u64;
                    if work > 100_000 {
                        self.guard.spend(work / 4)?;
                        work = 0;
                    }
                    let value = if from < samples.rolled() {
                        rolled.value(samples, &window, over)
                    } else if window.values.is_empty() {
                        None
                    } else {
                        over(&window)
                    };
                    any |= value.is_some();
                    values.push(value.map_or(ABSENT, not_the_mark));
                }
                if any {
                    if is_quantile && let Some(param) = param {
                        self.note_quantiles(&params, param.span);
                    }
                    let metric = named.label(NAME);
                    let is_noted = noted.as_ref().is_some_and(|noted| **noted == *metric);
                    if is_rate && !is_noted && !is_counter_name(metric) {
                        let metric: Arc<str> = Arc::from(metric);
                        self.note(Note::NoCounter(Arc::clone(&metric)), range.span);
                        noted = Some(metric);
                    }
                    self.count_points(&values)?;
                    match keeps_name {
                        true => each(named, &values)?,
                        false => each(&Nameless(named), &values)?,
                    }
                }
                Ok(())
            },
        )?;
        let ends_ms = self.reference(when, grid.start_ms);
        if is_rolled && !rolled.is_exact(&stretches, grid, ends_ms) {
            self.note_rolled(&stretches, range.span);
        }
        Ok(())
    }

    /// 1 at each step whose window is empty.
    fn absent_over_time(&self, args: &[Expr], grid: Grid) -> Evaluated<Value> {
        let Some(range) = args.first() else {
            return Err(wrong("a range vector was expected"));
        };
        let (range_ms, when) = self.range_of(range)?;
        let mut present = vec![false; grid.count];
        let name = "absent_over_time";
        let stretches = self.stretches_of(range, grid)?;
        self.each_range(range, grid, (name, true), &stretches, &mut |_, samples| {
            for (step, present) in present.iter_mut().enumerate() {
                let end_ms = self.reference(when, grid.time(step));
                let range_ms = stretches.range_at(name, end_ms, range_ms);
                let to = samples.times.partition_point(|time| *time <= end_ms);
                let newest = to.checked_sub(1).and_then(|at| samples.times.get(at));
                *present |= newest.is_some_and(|time| *time > end_ms.saturating_sub(range_ms));
            }
            self.guard.spend(grid.count as u64)
        })?;
        let labels = match &inner(range).kind {
            ExprKind::Matrix { selector, .. } => absent_labels(&selector.matchers),
            _ => Labels::default(),
        };
        if present.iter().all(|one| *one) {
            return Ok(Value::Vector(Vec::new()));
        }
        let values = present
            .into_iter()
            .map(|present| if present { ABSENT } else { 1.0 })
            .collect();
        Ok(Value::Vector(vec![self.column(labels, values)?]))
    }
}

/// A number that is not taken for a step without a value, whatever bits its NaN came to.
pub(super) fn not_the_mark(value: f64) -> f64 {
    match super::is_absent(value) {
        true => f64::NAN,
        false => value,
    }
}
