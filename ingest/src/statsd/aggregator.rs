//! What StatsD lines add up to between flushes. Pure and bounded; the caller has the clock.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use pulseboard_series::{Batch, KeyRef, Kind, Reason, key::hash_key};

use super::{Line, Part, Type, join_tags, sketch::Sketch};
use crate::series_parts::{Point, whole};

/// Flushes without a new value after which a metric is forgotten: five minutes of ten seconds. A
/// counter that comes back then begins at 0, as after a restart.
pub const IDLE_FLUSHES: u32 = 30;

/// The same where three quarters of the room are taken, so that who sends names without end shuts
/// nobody else out for long.
const IDLE_FLUSHES_SHORT: u32 = 3;

/// Members of all sets between two flushes; each costs some 16 bytes.
const SET_MEMBERS_MAX: usize = 1_000_000;

/// The quantiles of timers, and how their labels say it.
const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99")];

/// Metrics of one tenant between flushes.
///
/// | type | rows of a flush |
/// |---|---|
/// | counter | `name`: running sum, scaled by the rates |
/// | gauge | `name`: newest value |
/// | timer, histogram | `name_count`, `name_sum`: running; `name_min`, `name_max`, `name{quantile}` of the values since the last flush |
/// | set | `name`: distinct members since the last flush |
///
/// A metric without new values is flushed [`IDLE_FLUSHES`] times more and forgotten, or three times
/// where there is little room. One whose lines
/// have times of their own becomes samples of those times, and is not flushed.
#[derive(Debug)]
pub struct Aggregator {
    metrics: HashMap<Box<[u8]>, Metric, RandomState>,
    metrics_max: usize,
    set_members: usize,
    /// Where keys are put together; empty between lines.
    scratch: Batch,
}

#[derive(Debug)]
struct Metric {
    state: State,
    /// Flushes since the newest value.
    idle: u32,
}

#[derive(Debug)]
enum State {
    Counter(Counter),
    Gauge(f64),
    Timer(Box<Timer>),
    Set(HashSet<u64, RandomState>),
}

#[derive(Debug)]
struct Counter {
    total: f64,
    /// Time of its newest sample, Unix milliseconds.
    newest_ms: i64,
    /// Whether its newest value had a time of its own.
    is_timed: bool,
    /// Whether there is more in `total` than its newest sample says.
    is_ahead: bool,
}

#[derive(Debug)]
struct Timer {
    unit: &'static str,
    count: f64,
    sum: f64,
    /// Of the values since the last flush; infinite when there are none.
    min: f64,
    max: f64,
    sketch: Sketch,
}

impl Aggregator {
    /// An empty one with room for `metrics_max` metrics (name and tags); each costs its key and
    /// some hundred bytes, a timer up to 8 KB.
    #[must_use]
    pub fn new(metrics_max: usize) -> Self {
        Self {
            metrics: HashMap::default(),
            metrics_max,
            set_members: 0,
            scratch: Batch::new(),
        }
    }

    /// How many metrics are being added up.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metrics.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Adds one line, all of it or nothing. What has a time of its own is written to `batch`.
    pub(super) fn take(
        &mut self,
        line: &Line<'_>,
        number: u32,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        // Before the key, so that a wrong value makes no metric.
        let numbers = line
            .parts
            .iter()
            .map(Part::numbers)
            .collect::<Result<Vec<_>, _>>()?;
        self.scratch.clear();
        self.scratch.begin(&[line.name])?;
        for (name, value) in line.tags() {
            self.scratch.label(name, value)?;
        }
        match self.scratch.finish(number, line.at_ms, 0.0) {
            // Seldom, and so not looked for in each line.
            Err(Reason::LabelTwice(_)) => {
                self.scratch.begin(&[line.name])?;
                for (name, value) in join_tags(line.tags()) {
                    self.scratch.label(name, &value)?;
                }
                self.scratch.finish(number, line.at_ms, 0.0)?;
            }
            finished => finished?,
        }
        for (part, numbers) in line.parts.iter().zip(numbers) {
            self.take_part(line, part, &numbers, batch)?;
        }
        Ok(())
    }

    fn take_part(
        &mut self,
        line: &Line<'_>,
        part: &Part<'_>,
        numbers: &[f64],
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        let Some(row) = self.scratch.rows().last() else {
            return Ok(());
        };
        let key = self.scratch.key(row);
        let labels: Vec<(&str, &str)> = key.labels().collect();
        let point = Point {
            name: key.name(),
            labels: &labels,
            unit: "",
            line: row.line,
            at_ms: line.at_ms,
        };
        if let (Some(_), Type::Gauge, Some(value)) = (line.at_ms, part.metric_type, numbers.last())
        {
            return point.write("", None, Kind::Gauge, "", *value, batch);
        }
        if !self.metrics.contains_key(key.as_bytes()) {
            if self.metrics.len() >= self.metrics_max {
                return Err(Reason::Unsupported(format!(
                    "{} StatsD metrics are being added up, as many as are kept",
                    self.metrics_max
                )));
            }
            let state = State::new(part.metric_type);
            let metric = Metric { state, idle: 0 };
            self.metrics.insert(key.as_bytes().into(), metric);
        }
        let Some(metric) = self.metrics.get_mut(key.as_bytes()) else {
            return Ok(());
        };
        metric
            .state
            .add(line, part, numbers, &mut self.set_members)?;
        metric.idle = 0;
        match (&mut metric.state, line.at_ms) {
            (State::Counter(counter), Some(at_ms)) if at_ms > counter.newest_ms => {
                point.write("", None, Kind::Counter, "", counter.total, batch)?;
                (counter.newest_ms, counter.is_ahead) = (at_ms, false);
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes the rows of all metrics to `batch`, in no order, at the moment of arrival, which is
    /// `now_ms`, and begins the next interval.
    pub fn flush(&mut self, now_ms: i64, batch: &mut Batch) {
        self.set_members = 0;
        let patience = match self.metrics.len() > self.metrics_max / 4 * 3 {
            true => IDLE_FLUSHES_SHORT,
            false => IDLE_FLUSHES,
        };
        self.metrics.retain(|key, metric| {
            let key = KeyRef::new(key);
            let labels: Vec<(&str, &str)> = key.labels().collect();
            let unit = match &metric.state {
                State::Timer(timer) => timer.unit,
                _ => "",
            };
            let point = Point {
                name: key.name(),
                labels: &labels,
                unit,
                line: 0,
                at_ms: None,
            };
            let written = whole(batch, |batch| metric.state.write(&point, now_ms, batch));
            if let Err(reason) = written {
                batch.refuse(0, reason);
            }
            metric.idle += 1;
            metric.idle <= patience
        });
    }
}

impl State {
    fn new(metric_type: Type) -> Self {
        let timer = |unit| {
            Self::Timer(Box::new(Timer {
                unit,
                count: 0.0,
                sum: 0.0,
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
                sketch: Sketch::default(),
            }))
        };
        match metric_type {
            Type::Counter => Self::Counter(Counter {
                total: 0.0,
                newest_ms: i64::MIN,
                is_timed: false,
                is_ahead: false,
            }),
            Type::Gauge => Self::Gauge(0.0),
            Type::Timer => timer("ms"),
            Type::Histogram => timer(""),
            Type::Set => Self::Set(HashSet::default()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Timer(_) => "timer",
            Self::Set(_) => "set",
        }
    }

    fn add(
        &mut self,
        line: &Line<'_>,
        part: &Part<'_>,
        numbers: &[f64],
        set_members: &mut usize,
    ) -> Result<(), Reason> {
        match (self, part.metric_type) {
            (Self::Counter(counter), Type::Counter) => {
                counter.total += numbers.iter().sum::<f64>() * part.weight;
                counter.is_timed = line.at_ms.is_some();
                counter.is_ahead = true;
            }
            (Self::Gauge(newest), Type::Gauge) => {
                for (text, value) in part.values.split(':').zip(numbers) {
                    if !line.is_dog && text.starts_with(['+', '-']) {
                        *newest += value;
                    } else {
                        *newest = *value;
                    }
                }
            }
            (Self::Timer(timer), Type::Timer | Type::Histogram) => {
                for value in numbers {
                    timer.count += part.weight;
                    timer.sum += value * part.weight;
                    timer.min = timer.min.min(*value);
                    timer.max = timer.max.max(*value);
                    timer.sketch.add(*value, part.weight);
                }
            }
            (Self::Set(members), Type::Set) => {
                let member = hash_key(part.values.as_bytes());
                if *set_members >= SET_MEMBERS_MAX && !members.contains(&member) {
                    return Err(Reason::Unsupported(format!(
                        "the sets have {SET_MEMBERS_MAX} members, as many as are kept"
                    )));
                }
                *set_members += usize::from(members.insert(member));
            }
            (known, _) => {
                return Err(Reason::Malformed(format!(
                    "{:?} with these tags is a {} already",
                    line.name,
                    known.name()
                )));
            }
        }
        Ok(())
    }

    /// Writes the rows of one flush and forgets what is of the interval only.
    fn write(
        &mut self,
        point: &Point<'_, &str>,
        now_ms: i64,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        match self {
            Self::Counter(counter) if counter.is_timed && !counter.is_ahead => Ok(()),
            Self::Counter(counter) => {
                (counter.newest_ms, counter.is_ahead) = (now_ms, false);
                point.write("", None, Kind::Counter, "", counter.total, batch)
            }
            Self::Gauge(newest) => point.write("", None, Kind::Gauge, "", *newest, batch),
            Self::Set(members) => {
                #[expect(clippy::cast_precision_loss, reason = "at most a million")]
                let count = members.len() as f64;
                // A set's memory goes with its members.
                *members = HashSet::default();
                point.write("", None, Kind::Gauge, "", count, batch)
            }
            Self::Timer(timer) => {
                let unit = point.unit;
                for (share, text) in QUANTILES {
                    if let Some(value) = timer.sketch.quantile(share) {
                        // The extremes are known exactly.
                        let value = value.clamp(timer.min, timer.max);
                        let label = Some(("quantile", text));
                        point.write("", label, Kind::Distribution, unit, value, batch)?;
                    }
                }
                for (suffix, value) in [("_min", timer.min), ("_max", timer.max)] {
                    if value.is_finite() {
                        point.write(suffix, None, Kind::Gauge, unit, value, batch)?;
                    }
                }
                timer.min = f64::INFINITY;
                timer.max = f64::NEG_INFINITY;
                timer.sketch.clear();
                point.count("_count", None, timer.count, batch)?;
                point.sum(timer.sum, batch)
            }
        }
    }
}
