//! What is read of the storage: selectors, ranges, and the subqueries that stand for them.

use std::sync::Arc;

use pulseboard_series::is_stale_marker as is_stale;

use super::{
    ABSENT, Column, EachNamed, Evaluated, Evaluation, Grid, Matrix, Point, Value, is_absent, wrong,
};
use crate::{
    ast::{Expr, ExprKind, Matcher, Selector, When},
    error::Span,
    labels::Labels,
    notes::Note,
    rollup::Stretches,
    storage::{Each, EvalError, Hints, Samples},
};

impl Evaluation<'_> {
    /// An instant selector; with `times`, the times of the samples in seconds rather than their
    /// values.
    pub(super) fn selector(
        &self,
        selector: &Selector,
        grid: Grid,
        times: bool,
    ) -> Evaluated<Value> {
        let mut columns = Vec::new();
        self.each_selected(selector, grid, (times, false), &mut |named, values| {
            columns.push(self.kept(named.labels()?, values.to_vec())?);
            Ok(())
        })?;
        Ok(Value::Vector(columns))
    }

    /// As [`Evaluation::selector`], series by series, in any order where that is all the same.
    pub(super) fn each_selected(
        &self,
        selector: &Selector,
        grid: Grid,
        (times, is_unordered): (bool, bool),
        each: &mut EachNamed<'_>,
    ) -> Evaluated<()> {
        let (first, last) = (
            self.reference(&selector.when, grid.start_ms),
            self.reference(&selector.when, grid.end_ms()),
        );
        let lookback = self.options.lookback_ms;
        let stretches = self.stretches(first.saturating_sub(lookback), last)?;
        let hints = Hints {
            after_ms: first.saturating_sub(stretches.lookback_most(lookback)),
            until_ms: last,
            step_ms: grid.step_ms,
            range_ms: lookback,
            function: "",
            is_instant: true,
            is_unordered,
        };
        let mut is_rolled = false;
        let mut values = Vec::with_capacity(grid.count);
        self.storage
            .select_named(&selector.matchers, &hints, &mut |named, samples| {
                // However far a look-back reaches, one sample a step is loaded.
                self.guard.spend(samples.times.len() as u64)?;
                is_rolled |= samples.rolled() > 0;
                values.clear();
                let mut next = 0;
                let mut taken = 0;
                for step in 0..grid.count {
                    let at = self.reference(&selector.when, grid.time(step));
                    while samples.times.get(next).is_some_and(|time| *time <= at) {
                        next += 1;
                    }
                    let lookback = stretches.lookback_at(at, lookback);
                    let newest = next.checked_sub(1).and_then(|newest| {
                        let (time, value) =
                            (*samples.times.get(newest)?, *samples.values.get(newest)?);
                        (time > at.saturating_sub(lookback) && !is_stale(value))
                            .then_some((time, value))
                    });
                    taken += u64::from(newest.is_some());
                    values.push(match newest {
                        Some((time, _)) if times => time as f64 / 1000.0,
                        Some((_, value)) => value,
                        None => ABSENT,
                    });
                }
                match taken {
                    0 => Ok(()),
                    taken => {
                        self.guard.take(taken)?;
                        self.count_points(&values)?;
                        each(named, &values)
                    }
                }
            })?;
        if is_rolled {
            self.note_rolled(&stretches, Span::at(0));
        }
        Ok(())
    }

    /// Where there are rollups of what is looked at.
    fn stretches(&self, after_ms: i64, until_ms: i64) -> Evaluated<Stretches> {
        Ok(Stretches::new(self.storage.rolled(after_ms, until_ms)?))
    }

    /// As [`Evaluation::stretches`], of a range vector; of what a subquery looks at its selectors
    /// know.
    pub(super) fn stretches_of(&self, expr: &Expr, grid: Grid) -> Evaluated<Stretches> {
        match &inner(expr).kind {
            ExprKind::Matrix { selector, range_ms } => {
                let first = self.reference(&selector.when, grid.start_ms);
                let last = self.reference(&selector.when, grid.end_ms());
                self.stretches(first.saturating_sub(*range_ms), last)
            }
            _ => Ok(Stretches::default()),
        }
    }

    /// Says that what came out is an estimate.
    pub(super) fn note_rolled(&self, stretches: &Stretches, span: Span) {
        for one in stretches.each() {
            self.note(Note::Rolled(one.until_ms, one.length_ms), span);
        }
    }

    /// Hands the samples of a range vector to `each`, series by series, stale markers left out;
    /// where there are rollups, those and some more on both sides.
    pub(super) fn each_range(
        &self,
        expr: &Expr,
        grid: Grid,
        (function, is_unordered): (&'static str, bool),
        stretches: &Stretches,
        each: &mut Each<'_>,
    ) -> Evaluated<()> {
        match &inner(expr).kind {
            ExprKind::Matrix { selector, range_ms } => {
                let further_ms = match stretches.longest() {
                    0 => 0,
                    longest => self.reach_ms(longest).saturating_add(longest),
                };
                let hints = Hints {
                    after_ms: self
                        .reference(&selector.when, grid.start_ms)
                        .saturating_sub(*range_ms)
                        .saturating_sub(further_ms),
                    until_ms: self.reference(&selector.when, grid.end_ms()),
                    step_ms: grid.step_ms,
                    range_ms: *range_ms,
                    function,
                    is_instant: false,
                    is_unordered,
                };
                let mut kept = Samples::default();
                self.storage
                    .select_named(&selector.matchers, &hints, &mut |named, samples| {
                        self.count(samples.times.len())?;
                        if !samples.values.iter().copied().any(is_stale) {
                            return each(named, samples);
                        }
                        kept.clear();
                        kept.weights.extend_from_slice(&samples.weights);
                        for (time, value) in samples.times.iter().zip(&samples.values) {
                            if !is_stale(*value) {
                                kept.push(*time, *value);
                            }
                        }
                        each(named, &kept)
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
                            samples.push(inner.time(step), *value);
                        }
                    }
                    self.count(samples.times.len())?;
                    each(&column.labels, &samples)?;
                }
                Ok(())
            }
            _ => Err(wrong("a range vector was expected")),
        }
    }

    /// How far two points may be apart for there to be anything between them, where rollups are so
    /// long.
    pub(super) fn reach_ms(&self, length_ms: i64) -> i64 {
        length_ms.saturating_mul(2).max(self.options.lookback_ms)
    }

    /// Where a range vector looks: how far back, and from when.
    pub(super) fn range_of<'e>(&self, expr: &'e Expr) -> Evaluated<(i64, &'e When)> {
        match &inner(expr).kind {
            ExprKind::Matrix { selector, range_ms } => Ok((*range_ms, &selector.when)),
            ExprKind::Subquery { range_ms, when, .. } => Ok((*range_ms, when)),
            _ => Err(wrong("a range vector was expected")),
        }
    }

    pub(super) fn matrix_answer(&self, expr: &Expr, grid: Grid) -> Evaluated<Matrix> {
        let (range_ms, when) = self.range_of(expr)?;
        let until = self.reference(when, grid.start_ms);
        let mut series = Vec::new();
        let stretches = self.stretches_of(expr, grid)?;
        let mut is_rolled = false;
        self.each_range(
            expr,
            grid,
            ("", false),
            &stretches,
            &mut |named, samples| {
                is_rolled |= samples.rolled() > 0;
                let points = samples.times.iter().zip(&samples.values);
                let points: Vec<Point> = points
                    .filter(|(time, _)| **time > until.saturating_sub(range_ms) && **time <= until)
                    .map(|(time, value)| (*time, *value))
                    .collect();
                self.hold(points.len() * 16 + 64)?;
                if !points.is_empty() {
                    series.push((named.labels()?, points));
                }
                Ok(())
            },
        )?;
        if is_rolled {
            self.note_rolled(&stretches, expr.span);
        }
        series.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(series)
    }
}

/// Without its parentheses.
pub(super) fn inner(expr: &Expr) -> &Expr {
    let mut expr = expr;
    while let ExprKind::Paren(next) = &expr.kind {
        expr = next;
    }
    expr
}

/// The labels that `absent` and `absent_over_time` answer with: those that the selector names by
/// `=`, once each.
pub(super) fn absent_labels(matchers: &[Matcher]) -> Labels {
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
