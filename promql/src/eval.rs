//! The evaluation: every node over all steps at once, in columns, one number a step.
//!
//! A selector is read series by series, and what a function makes of a series' samples is a column;
//! the samples themselves are let go before the next series is read, so that a question over many
//! samples holds little more than its answer.

mod aggregate;
mod binary;
mod call;
mod histogram;
mod rank;
mod sums;
mod time;
mod windows;

use std::sync::Arc;

use foldhash::HashMap;
use pulseboard_series::{STALE_MARKER_BITS, is_stale_marker as is_stale};

use crate::{
    ast::{At, Expr, ExprKind, Matcher, Selector, ValueType, When},
    labels::Labels,
    storage::{EvalError, Guard, Hints, Samples, Storage},
};

/// What holds for all questions.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How old the newest sample of an instant selector may be, in milliseconds.
    pub lookback_ms: i64,
    /// The step of a subquery that names none.
    pub subquery_step_ms: i64,
    /// Samples and points of one question.
    pub samples_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            samples_max: 50_000_000,
        }
    }
}

/// A sample: Unix milliseconds and its value.
pub type Point = (i64, f64);

/// What an expression came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One number.
    Scalar(Point),
    /// A text, at a time.
    Text(i64, String),
    /// Series with one number each.
    Vector(Vec<(Labels, Point)>),
    /// Series with several.
    Matrix(Vec<(Labels, Vec<Point>)>),
}

/// Times at which something is evaluated.
#[derive(Clone, Copy, Debug)]
struct Grid {
    start_ms: i64,
    step_ms: i64,
    count: usize,
}

impl Grid {
    fn time(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    fn end_ms(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }
}

/// The mark of a step without a value. No value can have these bits: stale markers are no samples.
const ABSENT: f64 = f64::from_bits(STALE_MARKER_BITS);

fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// A series and its number at each step of a grid.
#[derive(Clone, Debug)]
struct Column {
    labels: Labels,
    values: Vec<f64>,
}

/// What a node came to, over a grid.
#[derive(Debug)]
enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Column>),
    Text(String),
}

/// An evaluation that goes on.
struct Evaluation<'a> {
    storage: &'a dyn Storage,
    guard: &'a dyn Guard,
    options: Options,
    /// What `@ start()` and `@ end()` mean.
    asked: (i64, i64),
    /// Samples read and points made so far.
    samples: std::cell::Cell<u64>,
}

type Evaluated<T> = Result<T, EvalError>;

fn wrong(what: impl Into<String>) -> EvalError {
    EvalError::Execution(what.into())
}

/// Evaluates at one time.
///
/// # Errors
/// The limits, what the storage says, and what cannot be computed.
pub fn instant(
    expr: &Expr,
    at_ms: i64,
    storage: &dyn Storage,
    guard: &dyn Guard,
    options: Options,
) -> Result<Answer, EvalError> {
    let evaluation = Evaluation {
        storage,
        guard,
        options,
        asked: (at_ms, at_ms),
        samples: std::cell::Cell::new(0),
    };
    let grid = Grid {
        start_ms: at_ms,
        step_ms: 1,
        count: 1,
    };
    if expr.value_type() == ValueType::Matrix {
        return evaluation.matrix_answer(expr, grid).map(Answer::Matrix);
    }
    Ok(match evaluation.eval(expr, grid)? {
        Value::Text(text) => Answer::Text(at_ms, text),
        Value::Scalar(values) => {
            Answer::Scalar((at_ms, values.first().copied().unwrap_or(f64::NAN)))
        }
        Value::Vector(columns) => Answer::Vector(
            columns
                .into_iter()
                .filter_map(|column| {
                    let value = column.values.first().copied()?;
                    (!is_absent(value)).then_some((column.labels, (at_ms, value)))
                })
                .collect(),
        ),
    })
}

/// Evaluates at `start_ms` and every `step_ms` up to `end_ms`; series in the order of their labels.
///
/// # Errors
/// The limits, what the storage says, and what cannot be computed; also where the expression is no
/// scalar or vector.
pub fn range(
    expr: &Expr,
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    storage: &dyn Storage,
    guard: &dyn Guard,
    options: Options,
) -> Result<Vec<(Labels, Vec<Point>)>, EvalError> {
    let count = match step_ms > 0 && end_ms >= start_ms {
        true => usize::try_from(end_ms.saturating_sub(start_ms) / step_ms)
            .map_err(|_out_of_range| EvalError::TooManySamples)?
            .saturating_add(1),
        false => 0,
    };
    let grid = Grid {
        start_ms,
        step_ms: step_ms.max(1),
        count,
    };
    let evaluation = Evaluation {
        storage,
        guard,
        options,
        asked: (start_ms, end_ms),
        samples: std::cell::Cell::new(0),
    };
    let columns = match evaluation.eval(expr, grid)? {
        Value::Vector(columns) => columns,
        Value::Scalar(values) => vec![Column {
            labels: Labels::default(),
            values,
        }],
        Value::Text(_) => {
            return Err(wrong(
                "invalid expression type \"string\" for range query, must be Scalar or instant Vector",
            ));
        }
    };
    let mut series: Vec<(Labels, Vec<Point>)> = columns
        .into_iter()
        .map(|column| {
            let points = column.values.iter().enumerate();
            let points = points
                .filter(|(_, value)| !is_absent(**value))
                .map(|(step, value)| (grid.time(step), *value));
            (column.labels, points.collect())
        })
        .filter(|(_, points): &(Labels, Vec<Point>)| !points.is_empty())
        .collect();
    series.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(series)
}

impl<'a> Evaluation<'a> {
    /// Counts samples read or points made.
    fn count(&self, samples: usize) -> Evaluated<()> {
        let all = self.samples.get().saturating_add(samples as u64);
        self.samples.set(all);
        if all > self.options.samples_max {
            return Err(EvalError::TooManySamples);
        }
        self.guard.spend(samples as u64)
    }

    /// A column that is kept, counted.
    fn column(&self, labels: Labels, values: Vec<f64>) -> Evaluated<Column> {
        self.count(values.len())?;
        self.guard.hold(values.len() * 8 + 64)?;
        Ok(Column { labels, values })
    }

    /// The time that a selector looks at, at a time of the grid.
    fn reference(&self, when: &When, time_ms: i64) -> i64 {
        let at = match when.at {
            None => time_ms,
            Some(At::Time(ms)) => ms,
            Some(At::Start) => self.asked.0,
            Some(At::End) => self.asked.1,
        };
        at.saturating_sub(when.offset_ms)
    }

    fn eval(&self, expr: &Expr, grid: Grid) -> Evaluated<Value> {
        // Also where there is no step at all, as in Prometheus: what is wrong there is said.
        if grid.count != 1
            && !matches!(expr.kind, ExprKind::Number(_) | ExprKind::Text(_))
            && expr.is_step_invariant()
        {
            let first = self.eval(expr, Grid { count: 1, ..grid })?;
            return self.repeated(first, grid.count);
        }
        // Each node makes at least one column on its way, a scalar's numbers or those of a series
        // that is being read: however many times a subquery has, memory is asked for before.
        self.guard.hold(grid.count * size_of::<f64>())?;
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Scalar(vec![*number; grid.count])),
            ExprKind::Text(text) => Ok(Value::Text(text.clone())),
            ExprKind::Paren(inner) => self.eval(inner, grid),
            ExprKind::Negative(inner) => self.negative(inner, grid),
            ExprKind::Vector(selector) => self.selector(selector, grid, false),
            ExprKind::Call { function, args } => self.call(function, args, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            ExprKind::Binary(binary) => self.binary(binary, grid),
            // The parser lets them stand as arguments of functions alone.
            ExprKind::Matrix { .. } | ExprKind::Subquery { .. } => {
                Err(wrong("a range vector has no value of its own at a step"))
            }
        }
    }

    fn repeated(&self, first: Value, count: usize) -> Evaluated<Value> {
        self.guard.hold(count * size_of::<f64>())?;
        Ok(match first {
            Value::Scalar(values) => {
                Value::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); count])
            }
            Value::Text(text) => Value::Text(text),
            Value::Vector(columns) => {
                let columns = columns.into_iter().map(|column| {
                    let value = column.values.first().copied().unwrap_or(ABSENT);
                    self.column(column.labels, vec![value; count])
                });
                Value::Vector(columns.collect::<Evaluated<_>>()?)
            }
        })
    }

    /// A scalar's numbers.
    fn scalar(&self, expr: &Expr, grid: Grid) -> Evaluated<Vec<f64>> {
        match self.eval(expr, grid)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(wrong("a scalar was expected")),
        }
    }

    fn vector(&self, expr: &Expr, grid: Grid) -> Evaluated<Vec<Column>> {
        match self.eval(expr, grid)? {
            Value::Vector(columns) => Ok(columns),
            _ => Err(wrong("an instant vector was expected")),
        }
    }

    fn text(&self, expr: &Expr, grid: Grid) -> Evaluated<String> {
        match self.eval(expr, Grid { count: 1, ..grid })? {
            Value::Text(text) => Ok(text),
            _ => Err(wrong("a string was expected")),
        }
    }

    fn negative(&self, inner: &Expr, grid: Grid) -> Evaluated<Value> {
        Ok(match self.eval(inner, grid)? {
            Value::Scalar(values) => Value::Scalar(values.iter().map(|value| -value).collect()),
            Value::Vector(mut columns) => {
                for column in &mut columns {
                    column.labels = column.labels.nameless();
                    for value in &mut column.values {
                        if !is_absent(*value) {
                            *value = -*value;
                        }
                    }
                }
                Value::Vector(merged(columns)?)
            }
            Value::Text(_) => return Err(wrong("a string has no negative")),
        })
    }

    /// An instant selector; with `times`, the times of the samples in seconds rather than their values.
    fn selector(&self, selector: &Selector, grid: Grid, times: bool) -> Evaluated<Value> {
        let (first, last) = (
            self.reference(&selector.when, grid.start_ms),
            self.reference(&selector.when, grid.end_ms()),
        );
        let lookback = self.options.lookback_ms;
        let hints = Hints {
            after_ms: first.saturating_sub(lookback),
            until_ms: last,
            step_ms: grid.step_ms,
            range_ms: lookback,
            function: "",
        };
        let mut columns = Vec::new();
        self.storage
            .select(&selector.matchers, &hints, &mut |labels, samples| {
                self.count(samples.times.len())?;
                let mut values = Vec::with_capacity(grid.count);
                let mut next = 0;
                let mut any = false;
                for step in 0..grid.count {
                    let at = self.reference(&selector.when, grid.time(step));
                    while samples.times.get(next).is_some_and(|time| *time <= at) {
                        next += 1;
                    }
                    let newest = next.checked_sub(1).and_then(|newest| {
                        let (time, value) =
                            (*samples.times.get(newest)?, *samples.values.get(newest)?);
                        (time > at.saturating_sub(lookback) && !is_stale(value))
                            .then_some((time, value))
                    });
                    any |= newest.is_some();
                    values.push(match newest {
                        Some((time, _)) if times => time as f64 / 1000.0,
                        Some((_, value)) => value,
                        None => ABSENT,
                    });
                }
                if any {
                    columns.push(self.column(labels, values)?);
                }
                Ok(())
            })?;
        Ok(Value::Vector(columns))
    }

    /// Hands the samples of a range vector to `each`, series by series, stale markers left out.
    fn each_range(
        &self,
        expr: &Expr,
        grid: Grid,
        function: &'static str,
        each: &mut dyn FnMut(Labels, &Samples) -> Evaluated<()>,
    ) -> Evaluated<()> {
        match &inner(expr).kind {
            ExprKind::Matrix { selector, range_ms } => {
                let hints = Hints {
                    after_ms: self
                        .reference(&selector.when, grid.start_ms)
                        .saturating_sub(*range_ms),
                    until_ms: self.reference(&selector.when, grid.end_ms()),
                    step_ms: grid.step_ms,
                    range_ms: *range_ms,
                    function,
                };
                let mut kept = Samples::default();
                self.storage
                    .select(&selector.matchers, &hints, &mut |labels, samples| {
                        self.count(samples.times.len())?;
                        if !samples.values.iter().copied().any(is_stale) {
                            return each(labels, samples);
                        }
                        kept.times.clear();
                        kept.values.clear();
                        for (time, value) in samples.times.iter().zip(&samples.values) {
                            if !is_stale(*value) {
                                kept.times.push(*time);
                                kept.values.push(*value);
                            }
                        }
                        each(labels, &kept)
                    })
            }
            ExprKind::Subquery {
                expr,
                range_ms,
                step_ms,
                when,
            } => {
                let step_ms = step_ms.unwrap_or(self.options.subquery_step_ms).max(1);
                let after = self
                    .reference(when, grid.start_ms)
                    .saturating_sub(*range_ms);
                let until = self.reference(when, grid.end_ms());
                // Its times are multiples of its step, whenever it is asked.
                let start_ms = after
                    .div_euclid(step_ms)
                    .saturating_add(1)
                    .saturating_mul(step_ms);
                let count = match until >= start_ms {
                    true => usize::try_from(until.saturating_sub(start_ms) / step_ms)
                        .map_err(|_out_of_range| EvalError::TooManySamples)?
                        .saturating_add(1),
                    false => 0,
                };
                if count as u64 > self.options.samples_max {
                    return Err(EvalError::TooManySamples);
                }
                let inner = Grid {
                    start_ms,
                    step_ms,
                    count,
                };
                let columns = match self.eval(expr, inner)? {
                    Value::Vector(columns) => columns,
                    Value::Scalar(values) => vec![Column {
                        labels: Labels::default(),
                        values,
                    }],
                    Value::Text(_) => return Err(wrong("a subquery over a string")),
                };
                for column in columns {
                    let mut samples = Samples::default();
                    for (step, value) in column.values.iter().enumerate() {
                        if !is_absent(*value) {
                            samples.times.push(inner.time(step));
                            samples.values.push(*value);
                        }
                    }
                    self.count(samples.times.len())?;
                    each(column.labels, &samples)?;
                }
                Ok(())
            }
            _ => Err(wrong("a range vector was expected")),
        }
    }

    /// Where a range vector looks: how far back, and from when.
    fn range_of<'e>(&self, expr: &'e Expr) -> Evaluated<(i64, &'e When)> {
        match &inner(expr).kind {
            ExprKind::Matrix { selector, range_ms } => Ok((*range_ms, &selector.when)),
            ExprKind::Subquery { range_ms, when, .. } => Ok((*range_ms, when)),
            _ => Err(wrong("a range vector was expected")),
        }
    }

    fn matrix_answer(&self, expr: &Expr, grid: Grid) -> Evaluated<Vec<(Labels, Vec<Point>)>> {
        let (range_ms, when) = self.range_of(expr)?;
        let until = self.reference(when, grid.start_ms);
        let mut series = Vec::new();
        self.each_range(expr, grid, "", &mut |labels, samples| {
            let points = samples.times.iter().zip(&samples.values);
            let points: Vec<Point> = points
                .filter(|(time, _)| **time > until.saturating_sub(range_ms) && **time <= until)
                .map(|(time, value)| (*time, *value))
                .collect();
            self.guard.hold(points.len() * 16 + 64)?;
            if !points.is_empty() {
                series.push((labels, points));
            }
            Ok(())
        })?;
        series.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(series)
    }
}

/// Without its parentheses.
fn inner(expr: &Expr) -> &Expr {
    let mut expr = expr;
    while let ExprKind::Paren(next) = &expr.kind {
        expr = next;
    }
    expr
}

/// Columns of one name put together.
///
/// # Errors
/// Two have a value at the same step.
fn merged(columns: Vec<Column>) -> Evaluated<Vec<Column>> {
    let mut places: HashMap<Labels, usize> = HashMap::default();
    let mut all: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        match places.get(&column.labels) {
            None => {
                places.insert(column.labels.clone(), all.len());
                all.push(column);
            }
            Some(&place) => {
                let Some(into) = all.get_mut(place) else {
                    continue;
                };
                for (into, value) in into.values.iter_mut().zip(column.values) {
                    if is_absent(value) {
                        continue;
                    }
                    if !is_absent(*into) {
                        return Err(wrong(
                            "vector cannot contain metrics with the same labelset",
                        ));
                    }
                    *into = value;
                }
            }
        }
    }
    Ok(all)
}

/// The labels that `absent` and `absent_over_time` answer with: those that the selector names by
/// `=`, once each.
fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut seen: Vec<Arc<str>> = Vec::new();
    let mut labels: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for matcher in matchers {
        if &*matcher.name == crate::labels::NAME {
            continue;
        }
        let known = seen.contains(&matcher.name);
        if matcher.op == crate::ast::MatchOp::Equal && !known {
            seen.push(Arc::clone(&matcher.name));
            labels.push((Arc::clone(&matcher.name), Arc::clone(&matcher.value)));
        } else {
            labels.retain(|(name, _)| *name != matcher.name);
        }
    }
    labels.into_iter().collect()
}
