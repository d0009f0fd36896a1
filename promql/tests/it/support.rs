//! Series in memory, written as Prometheus' rule tests write them: `a{b="c"} 0+1x3 _ stale`.

use std::cell::Cell;

use pulseboard_promql::{
    Answer, EvalError, Guard, Labels, Options, Samples, Storage,
    ast::{ExprKind, MatchOp, Matcher},
    instant,
    labels::NAME,
    parse,
    pattern::regex,
    range,
    storage::{Hints, Unguarded},
};
use pulseboard_series::STALE_MARKER_BITS;

/// Series and their points.
pub(crate) type Matrix = Vec<(Labels, Vec<(i64, f64)>)>;

/// All series, in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<(Labels, Samples)>);

impl Memory {
    /// Of these series.
    pub(crate) const fn of(all: Vec<(Labels, Samples)>) -> Self {
        Self(all)
    }

    /// One series a line, its samples `step_ms` apart from 0 on.
    pub(crate) fn load(step_ms: i64, text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let end = line
                .rfind('}')
                .map_or_else(|| line.find(' ').unwrap_or(line.len()), |at| at + 1);
            let (name, values) = line.split_at(end);
            let expr = parse(name).expect("a selector");
            let ExprKind::Vector(selector) = expr.kind else {
                panic!("{name} is no selector");
            };
            let labels = selector
                .matchers
                .iter()
                .map(|one| (one.name.clone(), one.value.clone()))
                .collect();
            let mut samples = Samples::default();
            let mut at = 0;
            for word in values.split_whitespace() {
                for value in values_of(word) {
                    if let Some(value) = value {
                        samples.times.push(at);
                        samples.values.push(value);
                    }
                    at += step_ms;
                }
            }
            all.0.push((labels, samples));
        }
        all
    }

    pub(crate) fn instant(&self, query: &str, at_ms: i64) -> Result<Answer, EvalError> {
        let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        instant(&expr, at_ms, self, &Unguarded, Options::default()).map(|(answer, _)| answer)
    }

    /// The answer in one line, series in the order in which they come.
    pub(crate) fn say(&self, query: &str, at_ms: i64) -> String {
        match self.instant(query, at_ms) {
            Err(error) => format!("error: {error}"),
            Ok(Answer::Scalar((_, value))) => format!("{value}"),
            Ok(Answer::Text(_, text)) => text,
            Ok(Answer::Vector(series)) => {
                let series = series
                    .iter()
                    .map(|(labels, (_, value))| format!("{labels} {value}"));
                series.collect::<Vec<_>>().join("; ")
            }
            Ok(Answer::Matrix(series)) => {
                let series = series
                    .iter()
                    .map(|(labels, points)| format!("{labels} {points:?}"));
                series.collect::<Vec<_>>().join("; ")
            }
        }
    }

    pub(crate) fn range(&self, query: &str, times: (i64, i64, i64)) -> Result<Matrix, EvalError> {
        let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        range(&expr, times, self, &Unguarded, Options::default()).map(|(series, _)| series)
    }
}

fn values_of(word: &str) -> Vec<Option<f64>> {
    if word == "_" {
        return vec![None];
    }
    if word == "stale" {
        return vec![Some(f64::from_bits(STALE_MARKER_BITS))];
    }
    let Some((first, count)) = word.split_once('x') else {
        return vec![Some(word.parse().expect("a number"))];
    };
    let count: usize = count.parse().expect("a count");
    if first == "_" {
        return vec![None; count];
    }
    let split = first
        .char_indices()
        .skip(1)
        .find(|(_, one)| matches!(one, '+' | '-'))
        .map_or(first.len(), |(at, _)| at);
    let (start, step) = first.split_at(split);
    let start: f64 = start.parse().expect("a number");
    let step: f64 = if step.is_empty() {
        0.0
    } else {
        step.parse().expect("a number")
    };
    (0..=count)
        .map(|at| Some(start + step * at as f64))
        .collect()
}

/// Whether a series passes.
pub(crate) fn takes(matcher: &Matcher, labels: &Labels) -> bool {
    let value = labels.get(&matcher.name);
    match matcher.op {
        MatchOp::Equal => *value == *matcher.value,
        MatchOp::NotEqual => *value != *matcher.value,
        MatchOp::Regex => regex(&matcher.value).is_ok_and(|regex| regex.is_match(value)),
        MatchOp::NotRegex => regex(&matcher.value).is_ok_and(|regex| !regex.is_match(value)),
    }
}

impl Storage for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        for (labels, samples) in &self.0 {
            if !matchers.iter().all(|one| takes(one, labels)) {
                continue;
            }
            let mut part = Samples::default();
            for (time, value) in samples.times.iter().zip(&samples.values) {
                if *time > hints.after_ms && *time <= hints.until_ms {
                    part.times.push(*time);
                    part.values.push(*value);
                }
            }
            if !part.times.is_empty() {
                each(labels.clone(), &part)?;
            }
        }
        Ok(())
    }
}

/// Stops after so much work.
pub(crate) struct Stops(pub(crate) Cell<u64>);

impl Guard for Stops {
    fn spend(&self, work: u64) -> Result<(), EvalError> {
        match self.0.get().checked_sub(work) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(EvalError::Timeout),
        }
    }

    fn hold(&self, _: usize) -> Result<(), EvalError> {
        Ok(())
    }

    fn let_go(&self, _: usize) {}
}

/// Has so many bytes.
pub(crate) struct Holds(pub(crate) Cell<usize>);

impl Guard for Holds {
    fn spend(&self, _: u64) -> Result<(), EvalError> {
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Result<(), EvalError> {
        match self.0.get().checked_sub(bytes) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(EvalError::NoMemory("none is left".to_owned())),
        }
    }

    fn let_go(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }
}

/// Whether labels say a name.
pub(crate) fn is_named(labels: &Labels) -> bool {
    !labels.get(NAME).is_empty()
}

/// Counts what is held, and the most that was; there is so much room and no more.
pub(crate) struct Counts {
    room: usize,
    now: Cell<usize>,
    pub(crate) most: Cell<usize>,
}

impl Counts {
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            room,
            now: Cell::default(),
            most: Cell::default(),
        }
    }
}

impl Guard for Counts {
    fn spend(&self, _: u64) -> Result<(), EvalError> {
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Result<(), EvalError> {
        let now = self.now.get() + bytes;
        if now > self.room {
            return Err(EvalError::Execution("no room".to_owned()));
        }
        self.now.set(now);
        self.most.set(self.most.get().max(now));
        Ok(())
    }

    fn let_go(&self, bytes: usize) {
        let now = self.now.get().checked_sub(bytes);
        self.now.set(now.expect("no more is let go than was held"));
    }
}
