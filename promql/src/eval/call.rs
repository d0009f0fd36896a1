//! Functions of instant vectors, scalars and texts.

use super::{
    ABSENT, Column, Evaluated, Evaluation, Grid, Value, histogram, is_absent, merged,
    read::{absent_labels, inner},
    sums, time, windows, wrong,
};
use crate::{
    ast::{Expr, ExprKind},
    functions::Function,
    labels::{Labels, NAME},
    notes::Note,
    pattern::regex,
};

/// A function of one number.
fn elementwise(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => acosh,
        "asin" => f64::asin,
        "asinh" => asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// From here on 1 is nothing beside a number's square, whose double would be no number any more.
const LARGE: f64 = (1_u64 << 28) as f64;

fn acosh(value: f64) -> f64 {
    match value > LARGE {
        true => value.ln() + std::f64::consts::LN_2,
        false => value.acosh(),
    }
}

fn asinh(value: f64) -> f64 {
    match value.abs() > LARGE {
        true => (value.abs().ln() + std::f64::consts::LN_2).copysign(value),
        false => value.asinh(),
    }
}

/// A part of a Unix time in seconds.
fn part_of_time(name: &str) -> Option<fn(i64) -> i64> {
    Some(match name {
        "minute" => |seconds| seconds.rem_euclid(3_600) / 60,
        "hour" => |seconds| seconds.rem_euclid(86_400) / 3_600,
        "day_of_week" => |seconds| time::day(seconds).of_week,
        "day_of_month" => |seconds| time::day(seconds).day,
        "day_of_year" => |seconds| time::day(seconds).of_year,
        "days_in_month" => |seconds| time::day(seconds).in_month,
        "month" => |seconds| time::day(seconds).month,
        "year" => |seconds| time::day(seconds).year,
        _ => return None,
    })
}

/// Unix times in seconds that have a date in Go's calendar, but for some at its ends.
const TIMES: std::ops::Range<f64> = -9.223_372e18..9.223_372e18;

/// Bytes of a label's value that an expression makes: more than anybody shows, and little enough
/// for the series of a whole question.
const MADE_VALUE_BYTES_MAX: usize = 64 * 1024;

fn fits(function: &str, bytes: usize) -> Evaluated<()> {
    match bytes > MADE_VALUE_BYTES_MAX {
        true => Err(wrong(format!(
            "{function}() makes a label value of {bytes} bytes; at most {MADE_VALUE_BYTES_MAX} are possible"
        ))),
        false => Ok(()),
    }
}

impl Evaluation<'_> {
    pub(super) fn call(
        &self,
        function: &'static Function,
        args: &[Expr],
        grid: Grid,
    ) -> Evaluated<Value> {
        if windows::is_over_range(function.name) {
            return self.over_range(function, args, grid);
        }
        if let Some(compute) = elementwise(function.name) {
            return self.each_value(args, grid, |_, value| compute(value));
        }
        if let Some(part) = part_of_time(function.name) {
            let compute = |_: usize, value: f64| match TIMES.contains(&value) {
                // Towards zero, as Go makes a whole number of one: half a second before 1970 is
                // in 1970.
                true => part(value.trunc() as i64) as f64,
                false => f64::NAN,
            };
            if !args.is_empty() {
                return self.each_value(args, grid, compute);
            }
            let values = (0..grid.count)
                .map(|step| compute(step, grid.time(step) as f64 / 1000.0))
                .collect();
            return Ok(Value::Vector(vec![self.column(Labels::default(), values)?]));
        }
        let arg = |at: usize| {
            args.get(at)
                .ok_or_else(|| wrong(format!("{} lacks an argument", function.name)))
        };
        match function.name {
            "time" => Ok(Value::Scalar(
                (0..grid.count)
                    .map(|step| grid.time(step) as f64 / 1000.0)
                    .collect(),
            )),
            "pi" => Ok(Value::Scalar(vec![std::f64::consts::PI; grid.count])),
            "vector" => {
                let values = self.scalar(arg(0)?, grid)?;
                Ok(Value::Vector(vec![self.column(Labels::default(), values)?]))
            }
            "scalar" => {
                let columns = self.vector(arg(0)?, grid)?;
                let one = |step: usize| {
                    let mut found = columns
                        .iter()
                        .filter_map(|column| column.values.get(step))
                        .filter(|value| !is_absent(**value));
                    match (found.next(), found.next()) {
                        (Some(value), None) => *value,
                        _ => f64::NAN,
                    }
                };
                Ok(Value::Scalar((0..grid.count).map(one).collect()))
            }
            "absent" => self.absent(arg(0)?, grid),
            "timestamp" => match &inner(arg(0)?).kind {
                ExprKind::Vector(selector) => {
                    let Value::Vector(mut columns) = self.selector(selector, grid, true)? else {
                        return Err(wrong("an instant vector was expected"));
                    };
                    for column in &mut columns {
                        column.labels = column.labels.nameless();
                    }
                    Ok(Value::Vector(merged(columns)?))
                }
                _ => self.each_value(args, grid, |step, _| grid.time(step) as f64 / 1000.0),
            },
            "round" => {
                let to = match args.get(1) {
                    Some(to) => self.scalar(to, grid)?,
                    None => vec![1.0; grid.count],
                };
                self.each_value(args, grid, |step, value| {
                    let inverse = 1.0 / to.get(step).copied().unwrap_or(1.0);
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            "clamp" => {
                let (least, most) = (self.scalar(arg(1)?, grid)?, self.scalar(arg(2)?, grid)?);
                self.each_value(args, grid, |step, value| {
                    let (least, most) = (at(&least, step), at(&most, step));
                    match most < least {
                        true => ABSENT,
                        false => sums::max(least, sums::min(most, value)),
                    }
                })
            }
            "clamp_max" => {
                let most = self.scalar(arg(1)?, grid)?;
                self.each_value(args, grid, |step, value| sums::min(at(&most, step), value))
            }
            "clamp_min" => {
                let least = self.scalar(arg(1)?, grid)?;
                self.each_value(args, grid, |step, value| sums::max(at(&least, step), value))
            }
            "sort" | "sort_desc" => {
                let mut columns = self.vector(arg(0)?, grid)?;
                // A range is in the order of its labels in any case.
                if grid.count == 1 {
                    let is_falling = function.name == "sort_desc";
                    columns.sort_by(|one, other| {
                        let (one, other) = (at(&one.values, 0), at(&other.values, 0));
                        match (one.is_nan(), other.is_nan()) {
                            (false, false) if is_falling => other.total_cmp(&one),
                            (false, false) => one.total_cmp(&other),
                            (one, other) => one.cmp(&other),
                        }
                    });
                }
                Ok(Value::Vector(columns))
            }
            "label_replace" => self.label_replace(args, grid),
            "label_join" => self.label_join(args, grid),
            "histogram_quantile" => {
                let q = self.scalar(arg(0)?, grid)?;
                self.note_quantiles(&q, arg(0)?.span);
                let falls = std::cell::Cell::new(false);
                let answer = self.over_buckets(arg(1)?, grid, |step, buckets| {
                    let (quantile, fell) = histogram::quantile(at(&q, step), buckets);
                    falls.set(falls.get() || fell);
                    quantile
                });
                if falls.get() {
                    self.note(Note::FallingBuckets, arg(1)?.span);
                }
                answer
            }
            "histogram_fraction" => {
                let (lower, upper) = (self.scalar(arg(0)?, grid)?, self.scalar(arg(1)?, grid)?);
                self.over_buckets(arg(2)?, grid, |step, buckets| {
                    histogram::fraction(at(&lower, step), at(&upper, step), buckets)
                })
            }
            // Of native histograms alone, which arrive as classic ones here.
            "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
            | "histogram_stdvar" => {
                self.vector(arg(0)?, grid)?;
                Ok(Value::Vector(Vec::new()))
            }
            name => Err(wrong(format!("function {name:?} is not implemented"))),
        }
    }

    /// Each number of the first argument made another; the metrics lose their names.
    fn each_value(
        &self,
        args: &[Expr],
        grid: Grid,
        compute: impl Fn(usize, f64) -> f64,
    ) -> Evaluated<Value> {
        let Some(arg) = args.first() else {
            return Err(wrong("an argument is missing"));
        };
        let mut columns = self.vector(arg, grid)?;
        for column in &mut columns {
            column.labels = column.labels.nameless();
            for (step, value) in column.values.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = compute(step, *value);
                }
            }
        }
        self.guard.spend((columns.len() * grid.count) as u64)?;
        Ok(Value::Vector(merged(columns)?))
    }

    fn absent(&self, arg: &Expr, grid: Grid) -> Evaluated<Value> {
        let columns = self.vector(arg, grid)?;
        let labels = match &inner(arg).kind {
            ExprKind::Vector(selector) => absent_labels(&selector.matchers),
            _ => Labels::default(),
        };
        let value = |step: usize| {
            let is_there = |column: &Column| !is_absent(at(&column.values, step));
            if columns.iter().any(is_there) {
                ABSENT
            } else {
                1.0
            }
        };
        let values: Vec<f64> = (0..grid.count).map(value).collect();
        if values.iter().all(|value| is_absent(*value)) {
            return Ok(Value::Vector(Vec::new()));
        }
        Ok(Value::Vector(vec![self.column(labels, values)?]))
    }

    fn texts(&self, args: &[Expr], grid: Grid) -> Evaluated<Vec<String>> {
        args.iter()
            .skip(1)
            .map(|arg| self.text(arg, grid))
            .collect()
    }

    fn label_replace(&self, args: &[Expr], grid: Grid) -> Evaluated<Value> {
        let texts = self.texts(args, grid)?;
        let [to, replacement, from, pattern] = texts.as_slice() else {
            return Err(wrong("label_replace takes four strings"));
        };
        let regex = regex(pattern).map_err(|_why| {
            wrong(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
        if to.is_empty() {
            return Err(wrong(format!(
                "invalid destination label name in label_replace(): {to}"
            )));
        }
        let Some(arg) = args.first() else {
            return Err(wrong("an argument is missing"));
        };
        let mut columns = self.vector(arg, grid)?;
        for column in &mut columns {
            let value = column.labels.get(from);
            self.guard.spend(1 + value.len() as u64)?;
            if let Some(found) = regex.captures(value) {
                // Each reference may be the whole value: what it may become is asked for before.
                let references = replacement.matches('$').count();
                let most = replacement.len() + references.saturating_mul(value.len());
                self.hold(most)?;
                let mut text = String::new();
                found.expand(replacement, &mut text);
                fits("label_replace", text.len())?;
                column.labels = column.labels.with(to, &text);
            }
        }
        Ok(Value::Vector(merged(columns)?))
    }

    fn label_join(&self, args: &[Expr], grid: Grid) -> Evaluated<Value> {
        let texts = self.texts(args, grid)?;
        let [to, separator, from @ ..] = texts.as_slice() else {
            return Err(wrong("label_join takes a label and a separator"));
        };
        if from.iter().any(String::is_empty) {
            return Err(wrong("invalid source label name in label_join(): "));
        }
        if to.is_empty() {
            return Err(wrong(format!(
                "invalid destination label name in label_join(): {to}"
            )));
        }
        let Some(arg) = args.first() else {
            return Err(wrong("an argument is missing"));
        };
        let mut columns = self.vector(arg, grid)?;
        for column in &mut columns {
            let parts: Vec<&str> = from.iter().map(|name| column.labels.get(name)).collect();
            let values: usize = parts.iter().map(|part| part.len()).sum();
            let length = values + separator.len() * parts.len().saturating_sub(1);
            fits("label_join", length)?;
            self.guard.spend(1 + length as u64)?;
            self.hold(length)?;
            let text = parts.join(separator);
            column.labels = column.labels.with(to, &text);
        }
        Ok(Value::Vector(merged(columns)?))
    }

    /// What becomes of the buckets of each histogram: series that differ in `le` alone.
    fn over_buckets(
        &self,
        arg: &Expr,
        grid: Grid,
        compute: impl Fn(usize, &mut Vec<histogram::Bucket>) -> f64,
    ) -> Evaluated<Value> {
        let columns = self.vector(arg, grid)?;
        let histograms = histogram::grouped(columns, |labels| {
            let (metric, bound) = (labels.get(NAME).into(), labels.get("le").into());
            self.note(Note::NoBound(metric, bound), arg.span);
        });
        let mut all = Vec::new();
        let mut buckets = Vec::new();
        for (labels, members) in histograms {
            self.guard.spend((members.len() * grid.count) as u64)?;
            let mut values = Vec::with_capacity(grid.count);
            for step in 0..grid.count {
                buckets.clear();
                buckets.extend(members.iter().filter_map(|(upper, column)| {
                    let count = at(&column.values, step);
                    (!is_absent(count)).then_some(histogram::Bucket {
                        upper: *upper,
                        count,
                    })
                }));
                values.push(match buckets.is_empty() {
                    true => ABSENT,
                    false => windows::not_the_mark(compute(step, &mut buckets)),
                });
            }
            all.push(self.column(labels, values)?);
        }
        Ok(Value::Vector(all))
    }
}

fn at(values: &[f64], step: usize) -> f64 {
    values.get(step).copied().unwrap_or(ABSENT)
}
