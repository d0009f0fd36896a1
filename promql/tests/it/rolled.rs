//! Rollups where samples are gone, against all samples: what is exact is equal, and all else is as
//! near as the rollups are long.

use fastrand::Rng;
use pulseboard_promql::{
    Answer, EvalError, Labels, Options, Rolled, Rollup, Samples, Storage,
    ast::Matcher,
    instant,
    labels::NAME,
    parse, range,
    storage::{Hints, Unguarded},
};

use crate::{
    compare::Run,
    support::{Memory, takes},
};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// A multiple of all rollups.
const START: i64 = 480_000 * HOUR;
/// Up to here there are rollups of five minutes, up to there of ten seconds, and then samples.
const LONG_UNTIL: i64 = START + 3 * HOUR;
const SHORT_UNTIL: i64 = START + 5 * HOUR;
const END: i64 = START + 6 * HOUR;

const LONG: i64 = 5 * MINUTE;
const SHORT: i64 = 10 * SECOND;

/// A series of which old samples are there as rollups alone.
struct Kept {
    labels: Labels,
    samples: Vec<(i64, f64)>,
}

impl Kept {
    fn named(name: &str, samples: Vec<(i64, f64)>) -> Self {
        let labels = [(NAME.into(), name.into())].into_iter().collect();
        Self { labels, samples }
    }

    fn whole(&self) -> Memory {
        let (times, values) = self.samples.iter().copied().unzip();
        Memory::of(vec![(self.labels.clone(), Samples::of(times, values))])
    }

    fn stretches() -> [Rolled; 2] {
        [(START, LONG_UNTIL, LONG), (LONG_UNTIL, SHORT_UNTIL, SHORT)].map(
            |(from_ms, until_ms, length_ms)| Rolled {
                from_ms,
                until_ms,
                length_ms,
            },
        )
    }

    fn rollups(&self) -> Vec<Rollup> {
        let mut rollups: Vec<Rollup> = Vec::new();
        for &(at_ms, value) in &self.samples {
            let stretches = Self::stretches();
            let Some(stretch) = stretches.iter().find(|one| at_ms < one.until_ms) else {
                break;
            };
            let start_ms = at_ms - at_ms.rem_euclid(stretch.length_ms);
            match rollups.last_mut().filter(|last| last.start_ms == start_ms) {
                Some(last) => {
                    last.count += 1;
                    last.sum += value;
                    last.min = last.min.min(value);
                    last.max = last.max.max(value);
                    if value < last.last {
                        last.resets += last.last;
                    }
                    last.last = value;
                }
                None => rollups.push(Rollup {
                    start_ms,
                    length_ms: stretch.length_ms,
                    count: 1,
                    sum: value,
                    min: value,
                    max: value,
                    first: value,
                    last: value,
                    resets: 0.0,
                }),
            }
        }
        rollups
    }

    fn at(&self, query: &str, at_ms: i64) -> Option<f64> {
        one_of(query, at_ms, self)
    }

    /// Samples of `from_ms < time <= to_ms`.
    fn between(&self, from_ms: i64, to_ms: i64) -> impl Iterator<Item = f64> + Clone + '_ {
        let is_in = move |at_ms: i64| at_ms > from_ms && at_ms <= to_ms;
        self.samples
            .iter()
            .filter(move |sample| is_in(sample.0))
            .map(|sample| sample.1)
    }
}

impl Storage for Kept {
    fn select(
        &self,
        matchers: &[Matcher],
        hints: &Hints,
        each: &mut dyn FnMut(Labels, &Samples) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        if !matchers.iter().all(|one| takes(one, &self.labels)) {
            return Ok(());
        }
        let is_asked = |at_ms: i64| at_ms > hints.after_ms && at_ms <= hints.until_ms;
        let mut part = Samples::default();
        for rollup in self.rollups().iter().filter(|one| is_asked(one.start_ms)) {
            part.push_rollup(hints.function, rollup);
        }
        for (at_ms, value) in &self.samples {
            if *at_ms >= SHORT_UNTIL && is_asked(*at_ms) {
                part.push(*at_ms, *value);
            }
        }
        each(self.labels.clone(), &part)
    }

    fn rolled(&self, after_ms: i64, until_ms: i64) -> Result<Vec<Rolled>, EvalError> {
        let stretches = Self::stretches();
        let asked = stretches
            .into_iter()
            .filter(|one| one.until_ms > after_ms + 1 && one.from_ms <= until_ms);
        Ok(asked.collect())
    }
}

fn one_of(query: &str, at_ms: i64, storage: &dyn Storage) -> Option<f64> {
    let expr = parse(query).expect("an expression");
    let (answer, _) =
        instant(&expr, at_ms, storage, &Unguarded, Options::default()).expect("an answer");
    match answer {
        Answer::Vector(series) => series.first().map(|(_, (_, value))| *value),
        other => panic!("{query}: {other:?}"),
    }
}

fn gauge(random: &mut Rng) -> Kept {
    let interval_ms = [SECOND, 15 * SECOND, MINUTE, 7 * MINUTE][random.usize(..4)];
    let mut at_ms = START + random.i64(0..interval_ms);
    let mut samples = Vec::new();
    while at_ms < END {
        samples.push((at_ms, f64::from(random.u16(..500))));
        at_ms += interval_ms + random.i64(0..interval_ms / 4);
        if random.u16(..) < 20 {
            at_ms += random.i64(0..HOUR / 2);
        }
    }
    Kept::named("x", samples)
}

fn counter(random: &mut Rng) -> Kept {
    let mut kept = gauge(random);
    let mut value = 0.0;
    let resets = [0, 100, 8_000][random.usize(..3)];
    for sample in &mut kept.samples {
        value = match random.u16(..) < resets {
            true => sample.1,
            false => value + sample.1,
        };
        sample.1 = value;
    }
    kept
}

/// Windows that begin and end where rollups do: sums, counts, means and extremes are those of the
/// samples, at one moment and at many, and nothing is said.
#[test]
fn aligned_windows_are_exact() {
    let mut random = Run::begin().random();
    for _ in 0..60 {
        let kept = gauge(&mut random);
        let whole = kept.whole();
        for function in ["sum", "count", "avg", "min", "max", "present"] {
            let length_ms = random.i64(1..13) * LONG;
            let query = format!("{function}_over_time(x[{length_ms}ms])");
            let at_ms = START + random.i64(13..60) * LONG - 1;
            let (found, expected) = (kept.at(&query, at_ms), one_of(&query, at_ms, &whole));
            assert_eq!(found, expected, "{query} at {at_ms}");
            let times = (START + HOUR - 1, END - 1, LONG);
            let expr = parse(&query).expect("an expression");
            let asked = |storage: &dyn Storage| {
                range(&expr, times, storage, &Unguarded, Options::default()).expect("an answer")
            };
            let ((found, notes), (expected, _)) = (asked(&kept), asked(&whole));
            assert_eq!(found, expected, "{query}");
            let is_exact = function != "present";
            assert_eq!(notes.is_empty(), is_exact, "{query}: {notes:?}");
        }
    }
}

/// Any window: what comes out is between what a window that is shorter by a rollup at both ends,
/// and one that is longer, would give.
#[test]
fn any_window_is_as_near_as_rollups_are_long() {
    let mut random = Run::begin().random();
    for _ in 0..400 {
        let kept = gauge(&mut random);
        let at_ms = random.i64(START + HOUR..END);
        let length_ms = random.i64(LONG..HOUR);
        let rolled_ms = if at_ms - length_ms < LONG_UNTIL + LONG {
            LONG
        } else {
            SHORT
        };
        let start_ms = at_ms - length_ms;
        let longer = kept.between(start_ms - rolled_ms, at_ms + rolled_ms);
        let shorter = kept.between(start_ms + rolled_ms, at_ms - rolled_ms);
        let ask =
            |function: &str| kept.at(&format!("{function}_over_time(x[{length_ms}ms])"), at_ms);
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let context = format!("{length_ms} ms up to {at_ms}");
        let within = |found: Option<f64>, low: f64, high: f64| match found {
            Some(found) => assert!(
                (low..=high).contains(&found),
                "{found}: {low} {high} {context}"
            ),
            None => assert_eq!(shorter.clone().count(), 0, "{context}"),
        };
        within(ask("sum"), shorter.clone().sum(), longer.clone().sum());
        let counts = (
            shorter.clone().count() as f64,
            longer.clone().count() as f64,
        );
        within(ask("count"), counts.0, counts.1);
        within(
            ask("min"),
            least(&mut longer.clone()),
            least(&mut shorter.clone()),
        );
        within(
            ask("max"),
            most(&mut shorter.clone()),
            most(&mut longer.clone()),
        );
        within(
            ask("avg"),
            least(&mut longer.clone()),
            most(&mut longer.clone()),
        );
    }
}

/// What a counter grew by, however often it began again, and however short the window is.
#[test]
fn growth_is_as_near_as_rollups_are_long() {
    let mut random = Run::begin().random();
    for _ in 0..600 {
        let kept = counter(&mut random);
        let at_ms = random.i64(START + HOUR..SHORT_UNTIL);
        let length_ms = random.i64(2 * MINUTE..2 * HOUR);
        let start_ms = at_ms - length_ms;
        // The samples beside the window count, and those beside the rollups that they are in.
        let (mut low, mut high, mut before) = (0.0, 0.0, None::<(i64, f64)>);
        for &(to_ms, value) in &kept.samples {
            if let Some((from_ms, before)) = before {
                let grown = if value < before {
                    value
                } else {
                    value - before
                };
                let is_in = |more: i64| to_ms > start_ms - more && from_ms < at_ms + more;
                if from_ms >= start_ms + LONG && to_ms <= at_ms - LONG {
                    low += grown;
                }
                if is_in(2 * LONG) {
                    high += grown;
                }
            }
            before = Some((to_ms, value));
        }
        let Some(found) = kept.at(&format!("increase(x[{length_ms}ms])"), at_ms) else {
            assert_eq!(low, 0.0, "{length_ms} ms up to {at_ms}");
            continue;
        };
        let context = format!("{found}: {low} to {high} in {length_ms} ms up to {at_ms}");
        assert!(found >= low - 1e-6 && found <= high + 1e-6, "{context}");
        let rate = kept
            .at(&format!("rate(x[{length_ms}ms])"), at_ms)
            .expect("a rate");
        assert!((rate * length_ms as f64 / 1000.0 - found).abs() <= 1e-9 * found.abs());
    }
}

/// A counter that grows evenly has that rate at every moment and over any window, however it begins
/// again.
#[test]
fn an_even_rate_is_even() {
    let mut value = 0.0;
    let mut samples = Vec::new();
    for second in (0..6 * 3_600).step_by(15) {
        value = if second % 1_995 == 0 {
            45.0
        } else {
            value + 45.0
        };
        samples.push((START + second * SECOND, value));
    }
    let kept = Kept::named("x_total", samples);
    for (window, seconds) in [("1m", 60.0), ("5m", 300.0), ("7m", 420.0), ("1h", 3_600.0)] {
        let expr = parse(&format!("rate(x_total[{window}])")).expect("an expression");
        let times = (START + HOUR, SHORT_UNTIL, 37 * SECOND);
        let (series, notes) =
            range(&expr, times, &kept, &Unguarded, Options::default()).expect("an answer");
        let points = &series[0].1;
        assert_eq!(points.len(), 4 * 3_600 / 37 + 1, "{window}");
        for (at_ms, rate) in points {
            // Nobody knows where in a bucket its only sample is.
            let may_differ = match *at_ms <= LONG_UNTIL {
                true => 0.01,
                false => 3.0 * 10.0 / seconds,
            };
            assert!(
                (rate - 3.0).abs() <= may_differ,
                "{window}: {rate} at {at_ms}"
            );
        }
        let (warnings, infos) = notes.texts("");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(infos.len(), 2, "{infos:?}");
        assert!(
            infos[0].starts_with(
                "PromQL info: samples before 2024-10-04T03:00:00.000Z are kept as rollups of 5m"
            ),
            "{infos:?}"
        );
    }
}

/// The value of a moment is one that the series had not long before or after, and none is missing.
#[test]
fn the_value_of_a_moment_is_one_that_was_there() {
    let mut random = Run::begin().random();
    for _ in 0..200 {
        let kept = gauge(&mut random);
        let at_ms = match random.bool() {
            true => random.i64(START + HOUR..LONG_UNTIL),
            false => random.i64(LONG_UNTIL + 2 * LONG..SHORT_UNTIL),
        };
        let far_ms = 3 * LONG;
        let near = kept.between(at_ms - far_ms, at_ms + LONG);
        match kept.at("x", at_ms) {
            Some(found) => assert!(
                near.clone().any(|value| value == found),
                "{found} at {at_ms}"
            ),
            None => {
                let known = kept.between(at_ms - LONG, at_ms - LONG / 2 - SECOND);
                assert_eq!(known.count(), 0, "at {at_ms}");
            }
        }
    }
}
