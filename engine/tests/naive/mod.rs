//! An engine with its folder and its clock, and a model of it that keeps all samples in a map.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use pulseboard_engine::{Engine, EngineOptions, Selector};
use pulseboard_history::{HistoryOptions, log::Durability};
use pulseboard_series::{Batch, Kind};
use pulseboard_shared::protocol::series::RangeAnswer;

/// Some day, at noon.
pub(crate) const NOON: i64 = 1_763_726_400_000;

/// Labels and their values.
pub(crate) type Labels<'a> = [(&'a str, &'a str)];

pub(crate) fn parse(selector: &str) -> Selector {
    Selector::parse(selector).expect("a selector")
}

pub(crate) fn history_options() -> HistoryOptions {
    HistoryOptions::with_durability(Durability::Write)
}

/// Equal but for the order of additions.
pub(crate) fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0)
}

/// The key as text; labels sorted.
pub(crate) fn key(name: &str, labels: &Labels<'_>) -> String {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    let labels: Vec<String> = sorted
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}

pub(crate) struct World {
    /// Taken during a restart.
    engine: Option<Engine>,
    opened: Option<(tempfile::TempDir, EngineOptions, HistoryOptions)>,
    pub(crate) now_ms: i64,
}

impl World {
    /// With a history in a folder of its own.
    pub(crate) fn open(options: EngineOptions, history: HistoryOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut world = Self {
            engine: None,
            opened: Some((folder, options, history)),
            now_ms: NOON,
        };
        world.restart();
        world
    }

    pub(crate) fn of(engine: Engine) -> Self {
        Self {
            engine: Some(engine),
            opened: None,
            now_ms: NOON,
        }
    }

    pub(crate) fn restart(&mut self) {
        self.engine = None;
        if let Some((folder, options, history)) = &self.opened {
            let opened = Engine::open(folder.path(), *options, history.clone(), self.now_ms);
            self.engine = Some(opened.expect("opens").0);
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("an engine")
    }

    /// Rolls up everything older than so long.
    pub(crate) fn maintain(&self, age_ms: i64) {
        let history = self.engine().history().expect("a history");
        let final_ms = self.now_ms - age_ms;
        let budget = Duration::from_secs(600);
        let progress = history.maintain(self.now_ms, final_ms, budget);
        assert!(!progress.expect("maintained").more);
    }

    pub(crate) fn append(
        &mut self,
        tenant: &str,
        name: &str,
        labels: &Labels<'_>,
        kind: Kind,
        samples: &[(i64, f64)],
    ) {
        let mut batch = Batch::new();
        for (line, (at_ms, value)) in (1..).zip(samples) {
            let built = batch.begin(&[name]).and_then(|()| {
                for (label, value) in labels {
                    batch.label(label, value)?;
                }
                batch.describe(kind, "");
                batch.finish(line, Some(*at_ms), *value)
            });
            assert_eq!(built, Ok(()));
        }
        let tenant = self.engine().tenant(tenant).expect("a tenant");
        let appended = self.engine().append(&tenant, &batch, self.now_ms);
        assert_eq!(appended.accepted, samples.len() as u64);
    }
}

/// One series: name, labels, samples.
type Series = (String, BTreeMap<String, String>, BTreeMap<i64, f64>);

/// A model of the engine that keeps all samples in a map.
#[derive(Default)]
pub(crate) struct Naive {
    series: BTreeMap<String, Series>,
}

impl Naive {
    pub(crate) fn append(&mut self, name: &str, labels: &Labels<'_>, samples: &[(i64, f64)]) {
        let series = self.series.entry(key(name, labels)).or_insert_with(|| {
            let labels = labels.iter();
            let labels = labels.map(|(label, value)| (label.to_string(), value.to_string()));
            (name.to_owned(), labels.collect(), BTreeMap::new())
        });
        series.2.extend(samples.iter().copied());
    }

    /// The key of the answer's line that a series belongs to.
    fn line(&self, series: &str, by: Option<&[String]>) -> String {
        let (Some(by), (name, labels, _)) = (by, &self.series[series]) else {
            return series.to_owned();
        };
        let has = |wanted: &str| by.iter().any(|label| label == wanted);
        let name = if has("__name__") { name } else { "" };
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .filter(|(label, _)| has(label))
            .map(|(label, value)| (label.as_str(), value.as_str()))
            .collect();
        match key(name, &labels) {
            empty if empty.is_empty() => "{}".to_owned(),
            key => key,
        }
    }

    /// All samples of a stretch, by series; series without any are left out.
    pub(crate) fn samples(&self, from_ms: i64, to_ms: i64) -> BTreeMap<String, Vec<(i64, f64)>> {
        let of = |(key, (_, _, samples)): (&String, &Series)| {
            let samples = samples.range(from_ms..to_ms);
            let samples: Vec<_> = samples.map(|(at_ms, value)| (*at_ms, *value)).collect();
            (!samples.is_empty()).then(|| (key.clone(), samples))
        };
        self.series.iter().filter_map(of).collect()
    }

    /// Whether an answer to the question for everything is right.
    pub(crate) fn check(
        &self,
        answer: &RangeAnswer,
        by: Option<&[String]>,
    ) -> Result<(), TestCaseError> {
        let mut lines: BTreeMap<String, BTreeMap<i64, Vec<(i64, f64)>>> = BTreeMap::new();
        for (key, (_, _, samples)) in &self.series {
            for (at_ms, value) in samples.range(answer.start_ms..answer.end_ms) {
                let step_ms = at_ms.div_euclid(answer.step_ms) * answer.step_ms;
                let line = lines.entry(self.line(key, by)).or_default();
                line.entry(step_ms).or_default().push((*at_ms, *value));
            }
        }
        let keys: Vec<&String> = answer.series.iter().map(|series| &series.key).collect();
        prop_assert_eq!(keys, lines.keys().collect::<Vec<_>>());
        for (series, steps) in answer.series.iter().zip(lines.values()) {
            let times: Vec<i64> = series.points.iter().map(|point| point.0).collect();
            prop_assert_eq!(
                times,
                steps.keys().copied().collect::<Vec<_>>(),
                "{}",
                &series.key
            );
            for (point, samples) in series.points.iter().zip(steps.values()) {
                let values = samples.iter().map(|sample| sample.1);
                let sum: f64 = values.clone().sum();
                let min = values.clone().fold(f64::INFINITY, f64::min);
                let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
                let newest_ms = samples.iter().map(|sample| sample.0).max();
                let count = samples.len() as f64;
                let context = format!(
                    "{} of {} at {}: {point:?} {:?}",
                    answer.aggregation, series.key, point.0, answer.stretches
                );
                prop_assert_eq!((point.2, point.3), (Some(min), Some(max)), "{}", context);
                let value = point.1.expect("a number");
                let is_right = match answer.aggregation.as_str() {
                    "avg" => close(value, sum / count),
                    "min" => value == min,
                    "max" => value == max,
                    "sum" => close(value, sum),
                    "count" => value == count,
                    // Of a group, any of its newest: what is in one bucket has one time.
                    _ if by.is_some() => samples.iter().any(|sample| sample.1 == value),
                    _ => samples.contains(&(newest_ms.unwrap_or_default(), value)),
                };
                prop_assert!(is_right, "{context}: sum {sum}, count {count}");
            }
        }
        Ok(())
    }
}
