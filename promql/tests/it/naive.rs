//! An evaluator that is as simple as can be: one time after the other, one series after the other,
//! all samples looked at each time. Slow, and right by looking at it.
//!
//! Its answers and those of the crate must agree for whatever expression, also where samples are
//! exactly at the edges of windows, which a Prometheus with closed edges cannot be asked.

mod binary;
mod functions;
mod numbers;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

use pulseboard_promql::{
    Expr, Labels,
    ast::{Aggregate, AggregateOp, At, ExprKind, Selector, ValueType, When},
    labels::NAME,
    parse,
};
use pulseboard_series::is_stale_marker;

use crate::{
    compare::{OPTIONS, Outcome, Run, agree, differences, ours},
    generated::{self, LENGTH_S, START_S, Series},
    grammar::Grammar,
    support::{Memory, takes},
};

/// Expressions of one run; each is asked at one time and over a range.
const EXPRESSIONS: usize = 300;

/// Series with a number each.
type Vector = Vec<(Labels, f64)>;

/// Series with the samples of a window, in the order of time; never none.
type Windows = Vec<(Labels, Vec<(i64, f64)>)>;

/// Why there is no answer; the words do not matter here.
#[derive(Debug)]
struct Refused;

/// What an expression comes to at one time.
enum Value {
    Scalar(f64),
    Vector(Vector),
    Text(String),
}

struct Naive<'a> {
    all: &'a [Series],
    /// What `@ start()` and `@ end()` mean.
    asked: (i64, i64),
    /// Whether a subquery's window had no time in it: Prometheus computes what is always the same
    /// all the same, and says what is wrong there. Or whether a minus has made one name of two at
    /// different times, which is wrong in a range and not at one time.
    may_refuse: Cell<bool>,
    /// Which series a minus has taken the name of, by its place and what is left of their labels.
    nameless: RefCell<BTreeMap<(usize, Labels), Labels>>,
}

impl Naive<'_> {
    /// All series of an answer at these times, by their labels.
    fn answer(
        &self,
        expr: &Expr,
        times: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<String, Vec<(i64, f64)>>, Refused> {
        let mut all: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
        for at_ms in times {
            let vector = match self.eval(expr, at_ms)? {
                Value::Scalar(number) => vec![(Labels::default(), number)],
                Value::Vector(vector) => vector,
                Value::Text(_) => Vec::new(),
            };
            for (labels, number) in vector {
                all.entry(labels.to_string())
                    .or_default()
                    .push((at_ms, number));
            }
        }
        Ok(all)
    }

    fn eval(&self, expr: &Expr, at_ms: i64) -> Result<Value, Refused> {
        Ok(match &expr.kind {
            ExprKind::Number(number) => Value::Scalar(*number),
            ExprKind::Text(text) => Value::Text(text.clone()),
            ExprKind::Paren(inner) | ExprKind::Positive(inner) => self.eval(inner, at_ms)?,
            ExprKind::Negative(inner) => match self.eval(inner, at_ms)? {
                Value::Vector(vector) => Value::Vector(renamed(vector, |labels, number| {
                    let place = (std::ptr::from_ref(expr).addr(), labels.nameless());
                    let mut known = self.nameless.borrow_mut();
                    if *known.entry(place).or_insert_with(|| labels.clone()) != labels {
                        self.may_refuse.set(true);
                    }
                    (labels.nameless(), -number)
                })?),
                Value::Scalar(number) => Value::Scalar(-number),
                Value::Text(_) => return Err(Refused),
            },
            ExprKind::Vector(selector) => {
                let newest = self.newest(selector, at_ms).into_iter();
                Value::Vector(newest.map(|(labels, (_, value))| (labels, value)).collect())
            }
            ExprKind::Call { function, args } => self.call(function.name, args, at_ms)?,
            ExprKind::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, at_ms)?),
            ExprKind::Binary(both) => self.binary(both, at_ms)?,
            ExprKind::Matrix { .. } | ExprKind::Subquery { .. } => return Err(Refused),
        })
    }

    fn vector(&self, expr: &Expr, at_ms: i64) -> Result<Vector, Refused> {
        match self.eval(expr, at_ms)? {
            Value::Vector(vector) => Ok(vector),
            _ => Err(Refused),
        }
    }

    fn scalar(&self, expr: &Expr, at_ms: i64) -> Result<f64, Refused> {
        match self.eval(expr, at_ms)? {
            Value::Scalar(number) => Ok(number),
            _ => Err(Refused),
        }
    }

    fn text(&self, expr: &Expr, at_ms: i64) -> Result<String, Refused> {
        match self.eval(expr, at_ms)? {
            Value::Text(text) => Ok(text),
            _ => Err(Refused),
        }
    }

    fn looked_at(&self, when: &When, at_ms: i64) -> i64 {
        let at_ms = match when.at {
            None => at_ms,
            Some(At::Time(fixed_ms)) => fixed_ms,
            Some(At::Start) => self.asked.0,
            Some(At::End) => self.asked.1,
        };
        at_ms - when.offset_ms
    }

    fn selected<'s>(&'s self, selector: &'s Selector) -> impl Iterator<Item = &'s Series> {
        let is_taken = |series: &&Series| {
            let mut matchers = selector.matchers.iter();
            matchers.all(|matcher| takes(matcher, &series.0))
        };
        self.all.iter().filter(is_taken)
    }

    /// Each series' newest sample that is not too old, and no stale marker.
    fn newest(&self, selector: &Selector, at_ms: i64) -> Vec<(Labels, (i64, f64))> {
        let at_ms = self.looked_at(&selector.when, at_ms);
        let newest = |(labels, samples): &Series| {
            let samples = samples.times.iter().zip(&samples.values);
            let (time, value) = samples.rev().find(|(time, _)| **time <= at_ms)?;
            let is_seen = *time > at_ms - OPTIONS.lookback_ms && !is_stale_marker(*value);
            is_seen.then(|| (labels.clone(), (*time, *value)))
        };
        self.selected(selector).filter_map(newest).collect()
    }

    /// Where a range vector looks: later than the first time, up to the second.
    fn stretch(&self, expr: &Expr, at_ms: i64) -> Result<(i64, i64), Refused> {
        let (range_ms, when) = match &expr.kind {
            ExprKind::Paren(inner) => return self.stretch(inner, at_ms),
            ExprKind::Matrix { selector, range_ms } => (range_ms, &selector.when),
            ExprKind::Subquery { range_ms, when, .. } => (range_ms, when),
            _ => return Err(Refused),
        };
        let until_ms = self.looked_at(when, at_ms);
        Ok((until_ms - range_ms, until_ms))
    }

    fn windows(&self, expr: &Expr, at_ms: i64) -> Result<Windows, Refused> {
        let (after_ms, until_ms) = self.stretch(expr, at_ms)?;
        match &expr.kind {
            ExprKind::Paren(inner) => self.windows(inner, at_ms),
            ExprKind::Matrix { selector, .. } => {
                let within = |(labels, samples): &Series| {
                    let samples = samples.times.iter().copied().zip(samples.values.clone());
                    let samples: Vec<(i64, f64)> = samples
                        .filter(|(time, _)| *time > after_ms && *time <= until_ms)
                        .filter(|(_, value)| !is_stale_marker(*value))
                        .collect();
                    (!samples.is_empty()).then(|| (labels.clone(), samples))
                };
                Ok(self.selected(selector).filter_map(within).collect())
            }
            ExprKind::Subquery { expr, step_ms, .. } => {
                let step_ms = step_ms.unwrap_or(OPTIONS.subquery_step_ms);
                let mut windows: Windows = Vec::new();
                let first_ms = (after_ms.div_euclid(step_ms) + 1) * step_ms;
                self.may_refuse
                    .set(self.may_refuse.get() || first_ms > until_ms);
                for time in (first_ms..=until_ms).step_by(step_ms as usize) {
                    for (labels, value) in self.vector(expr, time)? {
                        match windows.iter_mut().find(|(known, _)| *known == labels) {
                            Some((_, samples)) => samples.push((time, value)),
                            None => windows.push((labels, vec![(time, value)])),
                        }
                    }
                }
                Ok(windows)
            }
            _ => Err(Refused),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate, at_ms: i64) -> Result<Vector, Refused> {
        let mut number = 0.0;
        let mut label = String::new();
        match &aggregate.param {
            Some(param) if param.value_type() == ValueType::Text => {
                label = self.text(param, at_ms)?;
            }
            Some(param) => number = self.scalar(param, at_ms)?,
            None => {}
        }
        let is_ranking = matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk);
        if is_ranking && number.is_nan() {
            return Err(Refused);
        }
        let mut groups: Vec<(Labels, Vector)> = Vec::new();
        for (labels, value) in self.vector(&aggregate.expr, at_ms)? {
            let mut named = labels.clone();
            let mut by = aggregate.grouping.clone();
            if aggregate.op == AggregateOp::CountValues {
                named = named.with(&label, &value.to_string().replace("inf", "Inf"));
                if value == f64::INFINITY {
                    named = named.with(&label, "+Inf");
                }
                by.push(Arc::from(label.as_str()));
            }
            let group = match aggregate.without {
                true => named.without(&aggregate.grouping),
                false => named.only(&by),
            };
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, members)) => members.push((labels, value)),
                None => groups.push((group, vec![(labels, value)])),
            }
        }
        let mut all = Vec::new();
        for (group, mut members) in groups {
            if is_ranking {
                let is_top = aggregate.op == AggregateOp::Topk;
                members.sort_by(|one, other| match (one.1.is_nan(), other.1.is_nan()) {
                    (false, false) if is_top => other.1.total_cmp(&one.1),
                    (false, false) => one.1.total_cmp(&other.1),
                    (one, other) => one.cmp(&other),
                });
                all.extend(members.into_iter().take(number.max(0.0) as usize));
                continue;
            }
            let values: Vec<f64> = members.into_iter().map(|(_, value)| value).collect();
            let result = match aggregate.op {
                AggregateOp::Sum => values.iter().sum(),
                AggregateOp::Avg => values.iter().sum::<f64>() / values.len() as f64,
                AggregateOp::Min => functions::least(&values),
                AggregateOp::Max => functions::most(&values),
                AggregateOp::Group => 1.0,
                AggregateOp::Count | AggregateOp::CountValues => values.len() as f64,
                AggregateOp::Stdvar => functions::variance(&values),
                AggregateOp::Stddev => functions::variance(&values).sqrt(),
                AggregateOp::Quantile => functions::quantile(number, &values),
                AggregateOp::Topk | AggregateOp::Bottomk => return Err(Refused),
            };
            all.push((group, result));
        }
        Ok(all)
    }
}

/// A vector whose series are called otherwise; no two may be called alike.
fn renamed(
    vector: Vector,
    rename: impl Fn(Labels, f64) -> (Labels, f64),
) -> Result<Vector, Refused> {
    let mut all: Vector = Vec::new();
    for (labels, number) in vector {
        let (labels, number) = rename(labels, number);
        if all.iter().any(|(known, _)| *known == labels) {
            return Err(Refused);
        }
        all.push((labels, number));
    }
    Ok(all)
}

/// What `absent` is called: by what the selector says once and by `=`.
fn absent_labels(expr: &Expr) -> Labels {
    use pulseboard_promql::ast::MatchOp;
    let matchers = match &expr.kind {
        ExprKind::Paren(inner) => return absent_labels(inner),
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => &selector.matchers,
        _ => return Labels::default(),
    };
    let said_once = matchers.iter().filter(|one| {
        let same = matchers.iter().filter(|other| other.name == one.name);
        one.op == MatchOp::Equal && &*one.name != NAME && same.count() == 1
    });
    said_once
        .map(|one| (Arc::clone(&one.name), Arc::clone(&one.value)))
        .collect()
}

#[test]
fn answers_are_those_of_a_naive_evaluator() {
    let mut run = Run::begin();
    let mut random = run.random();
    let all = generated::all(&mut random);
    let memory = Memory::of(all.clone());
    let mut answered = 0;
    for _ in 0..EXPRESSIONS {
        let made = Grammar::free(&mut random).question();
        // Often exactly when samples are, and whole seconds later.
        let at_ms = (START_S + random.i64(-20..LENGTH_S + 60)) * 1000
            + [0, 150, 250, 300, 350][random.usize(..5)];
        let step_ms = [1_000, 7_000, 13_000, 60_000][random.usize(..4)];
        let steps = random.i64(2..8);
        let end_ms = at_ms + step_ms * (steps - 1);
        for (times, count) in [((at_ms, at_ms, 0), 1), ((at_ms, end_ms, step_ms), steps)] {
            let naive = Naive {
                all: &all,
                asked: (at_ms, times.1),
                may_refuse: Cell::new(false),
                nameless: RefCell::default(),
            };
            // What is no expression is looked at elsewhere.
            let Ok(expr) = parse(&made.text) else {
                continue;
            };
            let answer = naive.answer(&expr, (0..count).map(|step| at_ms + step * step_ms));
            let theirs = match answer {
                Ok(series) => Outcome::Series(series),
                Err(Refused) => Outcome::Refused(String::new()),
            };
            let ours = ours(&memory, &made.text, times);
            answered += usize::from(matches!(&ours, Outcome::Series(all) if !all.is_empty()));
            let may_refuse = naive.may_refuse.get() && matches!(ours, Outcome::Refused(_));
            if !may_refuse && !agree(&ours, &theirs, made.is_exact) {
                let differences = differences(&ours, &theirs);
                run.differs(format!("{} over {times:?}\n{differences}", made.text));
            }
        }
    }
    run.end(&format!("{answered} with series in their answers"));
}
