//! The rolling window: the newest ticks in memory, and their statistics. Pure; no clock.

use std::{collections::VecDeque, sync::Arc};

use pulseboard_series::key::write_text;
use pulseboard_shared::{BUILT_IN, BuiltIn, Labels, Metric, RollingStats, StatsReport, Timestamp};

/// What a series is called, and how it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The metric's name.
    pub name: Arc<str>,
    /// The unit of its values.
    pub unit: Arc<str>,
    /// What tells it from others of its name.
    pub labels: Labels,
    /// `name` or `name{label="value",…}`, as clients may name it.
    pub key: String,
}

impl Series {
    /// A series; its key follows from name and labels.
    #[must_use]
    pub fn new(name: &str, unit: &str, labels: Labels) -> Self {
        let key = series_key(name, &labels);
        Self {
            name: name.into(),
            unit: unit.into(),
            labels,
            key,
        }
    }
}

/// `name{label="value",…}` as clients may name it; see [`pulseboard_series::key::write_text`].
#[must_use]
pub fn series_key(name: &str, labels: &Labels) -> String {
    let mut key = String::new();
    let labels = labels
        .iter()
        .map(|(label, value)| (label.as_str(), value.as_str()));
    write_text(name, labels, &mut key);
    key
}

/// All samples of one moment: the four of [`BUILT_IN`] first, then whatever else was measured.
#[derive(Clone, Debug)]
pub struct Tick {
    /// When they were taken, Unix milliseconds.
    pub sampled_ms: i64,
    /// When they were published, Unix milliseconds.
    pub sent_ms: i64,
    /// What was measured; shared by all ticks between which nothing new appeared.
    pub series: Arc<[Series]>,
    /// One value a series, in the same order; NaN where nothing could be measured.
    pub values: Box<[f64]>,
    /// What was pushed and somebody asks for by name; not kept across a restart.
    pub pushed: Arc<[Pushed]>,
}

/// The newest sample of a pushed series, in a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// What it is called; shared with the ticks before.
    pub series: Arc<Series>,
    /// Finite, or NaN.
    pub value: f64,
    /// Its own time, Unix milliseconds.
    pub at_ms: i64,
}

/// A sample of a tick.
#[derive(Clone, Copy, Debug)]
pub struct TickSample<'a> {
    /// What was measured or pushed.
    pub series: &'a Series,
    /// NaN where nothing could be measured.
    pub value: f64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

impl Tick {
    /// The value of a built-in metric.
    #[must_use]
    pub fn built_in(&self, metric: BuiltIn) -> f64 {
        self.values.get(metric.index()).copied().unwrap_or(f64::NAN)
    }

    /// The samples that `selection` lets through (`None`: the four), in the order of the tick;
    /// those that were pushed come last.
    pub fn samples(&self, selection: Option<&Selection>) -> impl Iterator<Item = TickSample<'_>> {
        let measured = self
            .series
            .iter()
            .zip(self.values.iter().copied())
            .enumerate()
            .filter(move |(index, (series, _))| match selection {
                None => *index < BUILT_IN.len(),
                Some(selection) => selection.takes(series),
            })
            .map(|(_, (series, value))| TickSample {
                series,
                value,
                at_ms: self.sampled_ms,
            });
        let pushed = self.pushed.iter().filter(move |pushed| {
            selection.is_some_and(|selection| {
                selection.tenant == pushed.tenant && selection.takes(&pushed.series)
            })
        });
        measured.chain(pushed.map(|pushed| TickSample {
            series: &pushed.series,
            value: pushed.value,
            at_ms: pushed.at_ms,
        }))
    }

    /// The sample of one series that `selection` lets through.
    #[must_use]
    pub fn sample_of(
        &self,
        selection: Option<&Selection>,
        series: &Series,
    ) -> Option<TickSample<'_>> {
        self.samples(selection)
            .find(|sample| sample.series == series)
    }

    /// Nobody asked this server for anything since the tick before, so nobody waited either.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.built_in(BuiltIn::Requests) == 0.0 && self.built_in(BuiltIn::Latency).is_nan()
    }

    /// The same as wire types. Without requests there is no latency, and it counts for nothing; the
    /// four are numbers all the same, for clients that print them without a look, so it is told as
    /// 0 beside 0 requests a second.
    pub fn metrics(&self, selection: Option<&Selection>) -> impl Iterator<Item = Metric> {
        let idle = self.is_idle();
        self.samples(selection).map(move |sample| Metric {
            name: sample.series.name.to_string(),
            value: if idle && sample.series.key == BuiltIn::Latency.name() {
                0.0
            } else {
                sample.value
            },
            unit: sample.series.unit.to_string(),
            timestamp: Timestamp::from_millis(sample.at_ms),
            labels: sample.series.labels.clone(),
        })
    }
}

/// The series that a viewer asked for, by metric name or by whole series.
#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// Whose pushed series they may be.
    tenant: Arc<str>,
    /// Sorted, without repetitions; not empty. Shared with the list of what is looked up at each
    /// tick, which knows by that how long it is to.
    names: Vec<Arc<str>>,
}

impl Selection {
    /// `None` when there are no names: then it is the four again.
    #[must_use]
    pub fn new(tenant: Arc<str>, mut names: Vec<Arc<str>>) -> Option<Self> {
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then_some(Self { tenant, names })
    }

    /// Whether it names this series.
    #[must_use]
    pub fn takes(&self, series: &Series) -> bool {
        let named = |name: &str| {
            self.names
                .binary_search_by(|known| (**known).cmp(name))
                .is_ok()
        };
        named(&series.name) || (!series.labels.is_empty() && named(&series.key))
    }
}

/// The newest `capacity` ticks, numbered from 1.
///
/// ```text
/// capacity 3, after five pushes:   ticks 3 4 5   first_offset 3   newest_offset 5
/// ```
#[derive(Debug)]
pub struct Window {
    capacity: usize,
    ticks: VecDeque<Arc<Tick>>,
    pushed: u64,
    /// Of the built-in metrics, in their order.
    rolling: [RollingStats; BUILT_IN.len()],
}

impl Window {
    /// An empty window of `capacity` ticks (at least one).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            capacity,
            ticks: VecDeque::new(),
            pushed: 0,
            rolling: BUILT_IN.map(|_| RollingStats::new(capacity)),
        }
    }

    /// Has an empty window go on behind offset `offset`, where a run before this one ended.
    pub fn begin_behind(&mut self, offset: u64) {
        debug_assert!(self.ticks.is_empty(), "offsets only grow");
        self.pushed = offset;
    }

    /// Begins anew, behind offset `offset` of another run.
    pub fn restart_behind(&mut self, offset: u64) {
        self.ticks.clear();
        self.pushed = offset;
        self.rolling = BUILT_IN.map(|_| RollingStats::new(self.capacity));
    }

    /// Takes the newest tick in, lets the oldest go when full, returns the new tick's offset.
    pub fn push(&mut self, tick: Arc<Tick>) -> u64 {
        if self.ticks.len() == self.capacity {
            self.ticks.pop_front();
        }
        for metric in BUILT_IN {
            self.rolling[metric.index()].push(tick.built_in(metric));
        }
        self.ticks.push_back(tick);
        self.pushed += 1;
        self.pushed
    }

    /// Ticks held when full.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Offset of the newest tick; 0 before the first.
    #[must_use]
    pub fn newest_offset(&self) -> u64 {
        self.pushed
    }

    /// Offset of the oldest tick held.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        self.pushed + 1 - self.ticks.len() as u64
    }

    /// The newest tick.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Tick>> {
        self.ticks.back()
    }

    /// The ticks held, oldest first.
    pub fn ticks(&self) -> impl DoubleEndedIterator<Item = &Arc<Tick>> {
        self.ticks.iter()
    }

    /// What came after tick `offset`, oldest first; `None` when some of it is no longer held, or
    /// when there was no such tick.
    #[must_use]
    pub fn since(&self, offset: u64) -> Option<impl Iterator<Item = &Arc<Tick>>> {
        if offset > self.pushed || offset + 1 < self.first_offset() {
            return None;
        }
        let skip = usize::try_from(offset + 1 - self.first_offset()).unwrap_or(usize::MAX);
        Some(self.ticks.iter().skip(skip))
    }

    /// The newest `count` samples of the built-in metrics, oldest first.
    #[must_use]
    pub fn recent(&self, count: usize) -> Vec<Metric> {
        let ticks = count.div_ceil(BUILT_IN.len()).min(self.ticks.len());
        let samples: Vec<Metric> = self
            .ticks
            .iter()
            .skip(self.ticks.len() - ticks)
            .flat_map(|tick| tick.metrics(None))
            .collect();
        let surplus = samples.len().saturating_sub(count);
        samples.into_iter().skip(surplus).collect()
    }

    /// Statistics of the built-in metrics over the window; O(1).
    #[must_use]
    pub fn stats(&self) -> StatsReport {
        let [cpu, memory, requests, latency] =
            BUILT_IN.map(|metric| self.rolling[metric.index()].stats());
        StatsReport {
            cpu,
            memory,
            requests,
            latency,
        }
    }
}

/// The four built-in series.
pub fn built_in_series() -> impl Iterator<Item = Series> {
    BUILT_IN
        .into_iter()
        .map(|metric| Series::new(metric.name(), metric.unit(), Labels::new()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_shared::Stats;

    use super::*;

    fn tick(number: u32) -> Arc<Tick> {
        let value = f64::from(number);
        Arc::new(Tick {
            sampled_ms: i64::from(number) * 1000,
            sent_ms: i64::from(number) * 1000,
            series: built_in_series().collect(),
            values: [value, value + 0.25, value + 0.5, value + 0.75].into(),
            pushed: [].into(),
        })
    }

    proptest! {
        /// The window equals the last N of a `Vec` of everything that ever came.
        #[test]
        fn window_equals_naive(capacity in 1_usize..10, pushes in 0_u32..40, from in 0_u64..45, count in 0_usize..50) {
            let mut window = Window::new(capacity);
            let all: Vec<Arc<Tick>> = (1..=pushes).map(tick).collect();
            for (index, tick) in all.iter().enumerate() {
                prop_assert_eq!(window.push(Arc::clone(tick)), index as u64 + 1);
            }
            let held = &all[all.len().saturating_sub(capacity)..];
            prop_assert!(window.ticks().zip(held).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs)));

            let samples: Vec<Metric> = held.iter().flat_map(|tick| tick.metrics(None)).collect();
            prop_assert_eq!(window.recent(count), &samples[samples.len().saturating_sub(count)..]);
            let cpu = Stats::of(held.iter().map(|tick| tick.built_in(BuiltIn::Cpu)));
            prop_assert!((window.stats().cpu.avg - cpu.avg).abs() < 1e-9);

            let dropped = all.len() - held.len();
            let expected = usize::try_from(from)
                .ok()
                .filter(|from| (dropped..=all.len()).contains(from))
                .map(|from| all[from..].iter().map(|tick| tick.sampled_ms).collect::<Vec<_>>());
            let got = window.since(from).map(|ticks| ticks.map(|tick| tick.sampled_ms).collect::<Vec<_>>());
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_series_can_be_selected_by_name_or_whole() {
        let core = |number: &str| {
            Series::new(
                "cpu_core_usage",
                "%",
                Labels::from([("core".to_owned(), number.to_owned())]),
            )
        };
        let tenant: Arc<str> = "default".into();
        let select = |name: &str| Selection::new(Arc::clone(&tenant), vec![name.into()]);
        let one = select(r#"cpu_core_usage{core="1"}"#);
        let all = select("cpu_core_usage");
        assert!(
            one.as_ref()
                .is_some_and(|one| one.takes(&core("1")) && !one.takes(&core("0")))
        );
        assert!(all.is_some_and(|all| all.takes(&core("1")) && all.takes(&core("0"))));
        assert_eq!(Selection::new(Arc::clone(&tenant), Vec::new()), None);
    }
}
