//! The evaluation: every node over all steps at once, in columns, one number a step.
//!
//! A selector is read series by series, and what a function makes of a series' samples is a column;
//! the samples themselves are let go before the next series is read, so that a question over many
//! samples holds little more than its answer. Aggregations take the columns of a selector, or of a
//! function over its ranges, one by one and keep none of them.
//!
//! Memory is asked for before it is taken, and what a node has used on its way to its value is
//! given back when it has that ([`Evaluation::eval`]).

mod aggregate;
mod binary;
mod call;
mod columns;
mod gathered;
mod groups;
mod histogram;
mod rank;
mod read;
mod sums;
mod time;
mod windows;

use foldhash::{HashMap, HashSet};
use pulseboard_series::{STALE_MARKER_BITS, is_stale_marker};

use crate::{
    ast::{At, Expr, ExprKind, ValueType, When},
    error::Span,
    labels::Labels,
    notes::{Note, Notes},
    storage::{EvalError, Guard, Named, Storage},
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

/// Series with several samples each.
pub type Matrix = Vec<(Labels, Vec<Point>)>;

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
    Matrix(Matrix),
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
    is_stale_marker(value)
}

/// A series and its number at each step of a grid.
#[derive(Clone, Debug)]
struct Column {
    labels: Labels,
    values: Vec<f64>,
}

impl Column {
    fn bytes(&self) -> usize {
        self.values.len() * size_of::<f64>() + self.labels.bytes()
    }
}

/// Takes series, one after the other, with their numbers at each step of a grid.
type EachNamed<'a> = dyn FnMut(&dyn Named, &[f64]) -> Evaluated<()> + 'a;

/// What a node came to, over a grid.
#[derive(Debug)]
enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Column>),
    Text(String),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Scalar(values) => values.len() * size_of::<f64>(),
            Self::Vector(columns) => columns.iter().map(Column::bytes).sum(),
            Self::Text(text) => text.len(),
        }
    }
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
    /// Bytes that the guard gave.
    held: std::cell::Cell<usize>,
    notes: std::cell::RefCell<Notes>,
}

/// In Prometheus' words.
const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

type Evaluated<T> = Result<T, EvalError>;

fn wrong(what: impl Into<String>) -> EvalError {
    EvalError::Execution(what.into())
}

/// Evaluates at one time: what it comes to, and what is to be said of it.
///
/// # Errors
/// The limits, what the storage says, and what cannot be computed.
pub fn instant(
    expr: &Expr,
    at_ms: i64,
    storage: &dyn Storage,
    guard: &dyn Guard,
    options: Options,
) -> Result<(Answer, Notes), EvalError> {
    let evaluation = Evaluation {
        storage,
        guard,
        options,
        asked: (at_ms, at_ms),
        samples: std::cell::Cell::new(0),
        held: std::cell::Cell::new(0),
        notes: std::cell::RefCell::default(),
    };
    let grid = Grid {
        start_ms: at_ms,
        step_ms: 1,
        count: 1,
    };
    if expr.value_type() == ValueType::Matrix {
        let matrix = evaluation.matrix_answer(expr, grid)?;
        return Ok((Answer::Matrix(matrix), evaluation.notes.into_inner()));
    }
    let answer = match evaluation.eval(expr, grid)? {
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
    };
    Ok((answer, evaluation.notes.into_inner()))
}

/// Evaluates at `start_ms` and every `step_ms` up to `end_ms`: series in the order of their labels,
/// and what is to be said of them.
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
) -> Result<(Matrix, Notes), EvalError> {
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
        held: std::cell::Cell::new(0),
        notes: std::cell::RefCell::default(),
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
    let mut series: Matrix = columns
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
    Ok((series, evaluation.notes.into_inner()))
}

impl<'a> Evaluation<'a> {
    /// Counts samples read or points made.
    fn count(&self, samples: usize) -> Evaluated<()> {
        self.load(samples)?;
        self.guard.spend(samples as u64)
    }

    /// As [`Evaluation::count`], of what took no work.
    fn load(&self, samples: usize) -> Evaluated<()> {
        let all = self.samples.get().saturating_add(samples as u64);
        self.samples.set(all);
        match all > self.options.samples_max {
            true => Err(EvalError::TooManySamples),
            false => Ok(()),
        }
    }

    /// Keeps what is to be said of the answer.
    fn note(&self, note: Note, span: Span) {
        self.notes.borrow_mut().add(note, span);
    }

    /// A warning where a quantile is none at some step.
    fn note_quantiles(&self, quantiles: &[f64], span: Span) {
        for quantile in quantiles {
            if !(0.0..=1.0).contains(quantile) {
                self.note(Note::NoQuantile(quantile.to_bits()), span);
            }
        }
    }

    /// A column that is kept, counted.
    fn column(&self, labels: Labels, values: Vec<f64>) -> Evaluated<Column> {
        self.count_points(&values)?;
        self.kept(labels, values)
    }

    /// Counts the numbers of a series.
    fn count_points(&self, values: &[f64]) -> Evaluated<()> {
        self.guard.spend(values.len() as u64)?;
        self.load(values.iter().filter(|value| !is_absent(**value)).count())
    }

    /// A column that is kept, whose numbers are counted already.
    fn kept(&self, labels: Labels, values: Vec<f64>) -> Evaluated<Column> {
        let column = Column { labels, values };
        self.hold(column.bytes())?;
        Ok(column)
    }

    /// So many bytes more are needed.
    fn hold(&self, bytes: usize) -> Evaluated<()> {
        self.guard.hold(bytes)?;
        self.held.set(self.held.get().saturating_add(bytes));
        Ok(())
    }

    /// So many are not needed any more.
    fn let_go(&self, bytes: usize) {
        self.guard.let_go(bytes);
        self.held.set(self.held.get().saturating_sub(bytes));
    }

    /// Of what has been held since there were `before` bytes, so many stay.
    fn keep(&self, before: usize, bytes: usize) {
        let wanted = before.saturating_add(bytes);
        let held = self.held.get();
        if held > wanted {
            self.let_go(held - wanted);
        }
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
        let before = self.held.get();
        let value = self.node(expr, grid)?;
        self.keep(before, value.bytes());
        Ok(value)
    }

    fn node(&self, expr: &Expr, grid: Grid) -> Evaluated<Value> {
        // Each node makes at least one column on its way, a scalar's numbers or those of a series
        // that is being read: however many times a subquery has, memory is asked for before.
        self.hold(grid.count * size_of::<f64>())?;
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Scalar(vec![*number; grid.count])),
            ExprKind::Text(text) => Ok(Value::Text(text.clone())),
            ExprKind::Paren(inner) | ExprKind::Positive(inner) => self.eval(inner, grid),
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
        self.hold(count * size_of::<f64>())?;
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
                Value::Vector(distinct(columns)?)
            }
            Value::Text(_) => return Err(wrong("a string has no negative")),
        })
    }
}

/// Columns that have lost their metric's name as whole series, and not step by step: no two may be
/// of one name then, whichever steps they have values at.
///
/// # Errors
/// Two are.
fn distinct(mut columns: Vec<Column>) -> Evaluated<Vec<Column>> {
    columns.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
    let is_distinct = {
        let mut names: HashSet<&Labels> = HashSet::default();
        columns.iter().all(|column| names.insert(&column.labels))
    };
    match is_distinct {
        true => Ok(columns),
        false => Err(wrong(SAME_LABELS)),
    }
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
                        return Err(wrong(SAME_LABELS));
                    }
                    *into = value;
                }
            }
        }
    }
    Ok(all)
}
