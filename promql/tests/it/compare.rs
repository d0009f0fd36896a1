//! What two evaluators came to, and where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use fastrand::Rng;
use pulseboard_promql::{Answer, Options, instant, parse, range, storage::Unguarded};

use crate::support::{Matrix, Memory};

/// What holds for all questions.
pub(crate) const OPTIONS: Options = Options {
    lookback_ms: 30_000,
    subquery_step_ms: 10_000,
    samples_max: 50_000_000,
};

/// How far apart two numbers may be, relatively, where the last bits are not the same: functions
/// such as `ln` come from another library than Go's, and Prometheus 2.42 adds up and averages
/// without the compensation that Prometheus 3 has.
const TOLERANCE: f64 = 1e-11;

/// What came out: series by their labels, or only that there is no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Series(BTreeMap<String, Vec<(i64, f64)>>),
    Refused(String),
}

/// How many expressions that differ are shown, and how much of each: what is printed must not be
/// cut by whoever keeps it.
const SHOWN_MAX: usize = 8;
const SHOWN_CHARS_MAX: usize = 1_500;

/// One run: its seed, and what differed in it.
pub(crate) struct Run {
    seed: u64,
    wrong: Vec<String>,
}

impl Run {
    /// By chance, or with the seed that `PULSEBOARD_SEED` says.
    pub(crate) fn begin() -> Self {
        let seed = env::var("PULSEBOARD_SEED").ok();
        let seed = seed.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| Rng::new().u64(..1 << 32));
        Self {
            seed,
            wrong: Vec::new(),
        }
    }

    pub(crate) fn random(&self) -> Rng {
        eprintln!("PULSEBOARD_SEED={}", self.seed);
        Rng::with_seed(self.seed)
    }

    /// `text` begins with the expression.
    pub(crate) fn differs(&mut self, text: String) {
        self.wrong.push(text);
    }

    /// Fails where anything differed. What is needed to see it again comes first: the seed and the
    /// first expression.
    pub(crate) fn end(self, said: &str) {
        eprintln!("PULSEBOARD_SEED={}: {said}", self.seed);
        let shown = self.wrong.iter().take(SHOWN_MAX);
        let shown: Vec<String> = shown
            .map(|one| one.chars().take(SHOWN_CHARS_MAX).collect())
            .collect();
        assert!(
            self.wrong.is_empty(),
            "PULSEBOARD_SEED={}: {} differ, first of all {}",
            self.seed,
            self.wrong.len(),
            shown.join("\n")
        );
    }
}

fn series_of(answer: Answer) -> BTreeMap<String, Vec<(i64, f64)>> {
    match answer {
        Answer::Scalar(point) => BTreeMap::from([("{}".to_owned(), vec![point])]),
        Answer::Text(..) => BTreeMap::new(),
        Answer::Vector(series) => series
            .into_iter()
            .map(|(labels, point)| (labels.to_string(), vec![point]))
            .collect(),
        Answer::Matrix(series) => by_name(series),
    }
}

fn by_name(series: Matrix) -> BTreeMap<String, Vec<(i64, f64)>> {
    series
        .into_iter()
        .map(|(labels, points)| (labels.to_string(), points))
        .collect()
}

/// What this crate answers: at one time where the step is nothing.
pub(crate) fn ours(
    memory: &Memory,
    text: &str,
    (start_ms, end_ms, step_ms): (i64, i64, i64),
) -> Outcome {
    let expr = match parse(text) {
        Ok(expr) => expr,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let answer = match step_ms {
        0 => instant(&expr, start_ms, memory, &Unguarded, OPTIONS)
            .map(|(answer, _)| series_of(answer)),
        _ => {
            let times = (start_ms, end_ms, step_ms);
            range(&expr, times, memory, &Unguarded, OPTIONS).map(|(series, _)| by_name(series))
        }
    };
    match answer {
        Ok(series) => Outcome::Series(series),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

fn is_same_number(one: f64, other: f64, is_exact: bool) -> bool {
    if one.is_nan() && other.is_nan() || one == other {
        return true;
    }
    !is_exact && (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()).max(1e-3)
}

/// Whether two outcomes agree: all labels, all times, all numbers; or both refuse.
pub(crate) fn agree(ours: &Outcome, theirs: &Outcome, is_exact: bool) -> bool {
    let (Outcome::Series(ours), Outcome::Series(theirs)) = (ours, theirs) else {
        return matches!((ours, theirs), (Outcome::Refused(_), Outcome::Refused(_)));
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(mine, other)| {
            mine.0 == other.0
                && mine.1.len() == other.1.len()
                && mine.1.iter().zip(other.1).all(|(mine, other)| {
                    mine.0 == other.0 && is_same_number(mine.1, other.1, is_exact)
                })
        })
}

/// Only what differs, so that it can be read.
pub(crate) fn differences(ours: &Outcome, theirs: &Outcome) -> String {
    let (Outcome::Series(ours), Outcome::Series(theirs)) = (ours, theirs) else {
        return format!("  ours:   {ours:.300?}\n  theirs: {theirs:.300?}");
    };
    let mut said = String::new();
    let names: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        let (mine, other) = (ours.get(name), theirs.get(name));
        let at = |points: Option<&Vec<(i64, f64)>>| -> BTreeMap<i64, f64> {
            points.into_iter().flatten().copied().collect()
        };
        let (mine, other) = (at(mine), at(other));
        let times: BTreeSet<_> = mine.keys().chain(other.keys()).collect();
        for time in times {
            let (mine, other) = (mine.get(time), other.get(time));
            let same = mine
                .zip(other)
                .is_some_and(|(mine, other)| is_same_number(*mine, *other, true));
            if !same && said.lines().count() < 4 {
                said.push_str(&format!(
                    "  {name} at {time}: ours {mine:?}, theirs {other:?}\n"
                ));
            }
        }
    }
    said
}
