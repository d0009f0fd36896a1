//! Series in memory, for unit tests: what was loaded, and what rules recorded.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use pulseboard_promql::{
    EvalError, Labels, Samples, Storage,
    ast::{MatchOp, Matcher},
    labels::NAME,
    pattern::Fits,
    storage::Hints,
};

/// Series by their labels.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    series: Vec<(Labels, Vec<i64>, Vec<f64>)>,
    known: HashMap<Labels, usize>,
    by_name: HashMap<Arc<str>, Vec<usize>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            series: Vec::new(),
            known: HashMap::new(),
            by_name: HashMap::new(),
        }
    }

    /// Appends a sample; what is not newer than the newest of its series is not taken.
    pub(crate) fn push(&mut self, labels: &Labels, at_ms: i64, value: f64) {
        let index = self.known.get(labels).copied().unwrap_or_else(|| {
            let index = self.series.len();
            self.series.push((labels.clone(), Vec::new(), Vec::new()));
            self.known.insert(labels.clone(), index);
            let name = Arc::from(labels.get(NAME));
            self.by_name.entry(name).or_default().push(index);
            index
        });
        if let Some((_, times, values)) = self.series.get_mut(index)
            && times.last().is_none_or(|last| *last < at_ms)
        {
            times.push(at_ms);
            values.push(value);
        }
    }
}

enum Test<'a> {
    Is(&'a str, &'a str, bool),
    Matches(&'a str, Fits, bool),
}

impl Test<'_> {
    fn takes(&self, labels: &Labels) -> bool {
        match self {
            Self::Is(name, value, wanted) => (labels.get(name) == *value) == *wanted,
            Self::Matches(name, pattern, wanted) => pattern.is_match(labels.get(name)) == *wanted,
        }
    }
}

fn tests(matchers: &[Matcher]) -> Result<Vec<Test<'_>>, EvalError> {
    matchers
        .iter()
        .map(|one| {
            let pattern = || Fits::new(&one.value).map_err(EvalError::Execution);
            Ok(match one.op {
                MatchOp::Equal => Test::Is(&one.name, &one.value, true),
                MatchOp::NotEqual => Test::Is(&one.name, &one.value, false),
                MatchOp::Regex => Test::Matches(&one.name, pattern()?, true),
                MatchOp::NotRegex => Test::Matches(&one.name, pattern()?, false),
            })
        })
        .collect()
}

impl Storage for Memory {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let tests = tests(matchers)?;
        let named = matchers
            .iter()
            .find(|one| &*one.name == NAME && one.op == MatchOp::Equal);
        let all: Vec<usize> = match named {
            Some(one) => self.by_name.get(&one.value).cloned().unwrap_or_default(),
            None => (0..self.series.len()).collect(),
        };
        for index in all {
            let Some((labels, times, values)) = self.series.get(index) else {
                continue;
            };
            if !tests.iter().all(|test| test.takes(labels)) {
                continue;
            }
            let from = times.partition_point(|at_ms| *at_ms <= hints.after_ms);
            let to = times.partition_point(|at_ms| *at_ms <= hints.until_ms);
            if from < to {
                let times = times.get(from..to).unwrap_or_default().to_vec();
                let values = values.get(from..to).unwrap_or_default().to_vec();
                each(labels.clone(), &Samples::of(times, values))?;
            }
        }
        Ok(())
    }
}
