//! The tenant's series, as far as this page follows them: the newest that were pushed, and what
//! is opened. The list of all is the server's; the page asks for a part of it at a time.

use std::rc::Rc;

use yewdux::store::Store;

use super::{shared::Shared, track::Track};
use crate::net::{
    json::Json,
    rooms::{Incoming, WatchRequest},
    series::{Line, Sample, Series},
};

/// Newest series shown on the overview; more would be a list, and that is another view.
pub const FRESH_MAX: usize = 12;

/// How far back a chart on the overview looks.
pub const FRESH_BACK_MS: u32 = 300_000;

/// Steps of a chart on the overview, of 2.5 s.
const FRESH_POINTS: u32 = 120;

/// Of what an opened chart watches beside the history that it asks for.
const OPENED_BACK_MS: u32 = 60_000;

/// A series has stopped after so many of its intervals without a sample.
const STOPPED_INTERVALS: f64 = 3.0;

/// And not before this long; nor is one that came once stopped before this long.
const STOPPED_MS_MIN: f64 = 3_000.0;
const ONCE_MS: f64 = 60_000.0;

/// Whether a series whose newest sample was at `last_ms` has stopped by `now_ms`.
#[must_use]
pub fn has_stopped(interval_ms: Option<f64>, last_ms: f64, now_ms: f64) -> bool {
    let patience = interval_ms.map_or(ONCE_MS, |interval| {
        (STOPPED_INTERVALS * interval).max(STOPPED_MS_MIN)
    });
    now_ms - last_ms > patience
}

/// The newest figure of a series, as it was listed or as it came since.
#[must_use]
pub fn newest(listed: &Series, heard: Option<Sample>) -> Sample {
    let listed = Sample {
        t_ms: listed.last_ms,
        value: listed.last,
    };
    heard
        .filter(|heard| heard.t_ms >= listed.t_ms)
        .unwrap_or(listed)
}

/// A series that the overview shows.
#[derive(Clone, Debug, PartialEq)]
pub struct RecentSeries {
    /// As listed when it came.
    pub series: Series,
    /// What it did since, and some minutes before.
    pub track: Track,
    /// What it did before is here.
    pub known: bool,
}

impl RecentSeries {
    /// The newest figure.
    #[must_use]
    pub fn last(&self) -> Sample {
        newest(
            &self.series,
            self.track.lines.first().and_then(|line| line.last),
        )
    }
}

/// New samples: key and unit of their series, and they.
type Run = (String, String, Vec<Sample>);

/// Runs that came since the last history are held up to here; they come again with the next.
const RECENT_MAX: usize = 2_000;

/// What one chart of its own shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// Which series; empty for nothing.
    pub selector: String,
    /// History and what came since.
    pub track: Track,
    /// The history is here.
    pub known: bool,
    /// Which resolution each stretch of the history came from: its beginning and the name.
    pub stretches: Vec<(f64, String)>,
    /// How far back it is looked at.
    back_ms: f64,
    /// What came lately, for the next history may not hold it yet.
    recent: Vec<Run>,
}

impl Opened {
    /// Some of it is not kept sample by sample.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        self.stretches.iter().any(|(_, name)| name != "raw")
    }

    fn add(&mut self, runs: &[Run], from_ms: f64) {
        for (key, unit, samples) in runs {
            let first = samples.partition_point(|sample| sample.t_ms < from_ms);
            if first < samples.len() {
                self.track.add(key, unit, &samples[first..], self.back_ms);
            }
        }
    }
}

/// The series that the page follows: the newest that were pushed, and the one that is opened.
#[derive(Clone, Debug, Default, Store)]
pub struct SeriesStore {
    /// Newest first, at most [`FRESH_MAX`].
    fresh: Shared<Vec<Rc<RecentSeries>>>,
    /// All series of the tenant; `None` until that is known.
    total: Option<u64>,
    opened: Shared<Opened>,
    /// Grows whenever series came or went, or may have.
    changes: u64,
    /// Grows when what was asked before may have missed something: with each connection on which
    /// series are heard of but the first.
    connections: u64,
    /// Connections so far.
    heard_of: u64,
    /// How many series there were when the list was made.
    listed: Option<u64>,
    revision: u64,
}

impl PartialEq for SeriesStore {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl SeriesStore {
    /// What is to be watched now.
    #[must_use]
    pub fn watch_requests(&self) -> Vec<WatchRequest> {
        let fresh = self.fresh.iter().map(|fresh| WatchRequest {
            selector: fresh.series.key.clone(),
            every_ms: 0,
            points_max: FRESH_POINTS,
            back_ms: FRESH_BACK_MS,
        });
        let mut requests: Vec<WatchRequest> = fresh
            .filter(|request| request.selector != self.opened.selector)
            .collect();
        if !self.opened.selector.is_empty() {
            requests.push(WatchRequest {
                selector: self.opened.selector.clone(),
                every_ms: 0,
                points_max: FRESH_POINTS,
                back_ms: OPENED_BACK_MS,
            });
        }
        requests
    }

    /// The server's list; `whole` when there are no others.
    pub fn list(&mut self, list: &[Series], whole: bool) {
        if whole {
            let listed = |key: &str| list.iter().any(|series| series.key == key);
            self.fresh
                .make_mut()
                .retain(|fresh| listed(&fresh.series.key));
        }
        for series in list {
            // The list does not say what is new; it only fills what is free.
            let place = self.fresh.partition_point(|other| {
                (other.series.stopped, -other.series.last_ms) <= (series.stopped, -series.last_ms)
            });
            self.take_in(series, place);
        }
        self.revision += 1;
    }

    /// The list was made when there were so many series.
    pub fn listed(&mut self, total: Option<u64>) {
        self.listed = total;
        self.doubt_list();
    }

    /// A series that came between the making of the first list and the first connection is in
    /// neither: the list is asked for once more. As a rule there is none, and it is not.
    fn doubt_list(&mut self) {
        let differs = self.listed.is_some() && self.listed != self.total;
        if self.heard_of == 1 && self.connections == 0 && differs {
            self.connections = 1;
            self.revision += 1;
        }
    }

    /// `selector` is opened, to be looked at `back_ms` back; nothing when it is empty.
    pub fn open(&mut self, selector: &str, back_ms: f64) {
        if self.opened.selector != selector || self.opened.back_ms != back_ms {
            let opened = self.opened.make_mut();
            let recent = if opened.selector == selector {
                std::mem::take(&mut opened.recent)
            } else {
                Vec::new()
            };
            *opened = Opened {
                selector: selector.to_owned(),
                back_ms,
                recent,
                ..Opened::default()
            };
            self.revision += 1;
        }
    }

    /// The answer of `/api/range` for what is opened.
    pub fn history(&mut self, answer: &Json) {
        let opened = self.opened.make_mut();
        opened.known = true;
        opened.track = Track {
            step_ms: answer.get("step_ms").number().unwrap_or(1_000.0).max(1.0),
            lines: answer.get("series").list().iter().map(Line::read).collect(),
            others: Line::read_others(answer.get("others")),
            others_count: answer.get("others").get("count").count().unwrap_or(0),
        };
        opened.stretches.clear();
        for stretch in answer.get("stretches").list() {
            let name = stretch.text_of("resolution");
            if opened.stretches.last().is_none_or(|last| last.1 != name) {
                let from_ms = stretch.get("from_ms").figure();
                opened.stretches.push((from_ms, name.to_owned()));
            }
        }
        let recent = std::mem::take(&mut opened.recent);
        opened.add(&recent, answer.get("end_ms").number().unwrap_or(0.0));
        opened.recent = recent;
        self.revision += 1;
    }

    /// Something came on the live connection.
    pub fn hear(&mut self, heard: &Incoming) {
        match heard {
            Incoming::Catalog(total) => {
                self.total = Some(*total);
                self.changes += 1;
                self.heard_of += 1;
                if self.heard_of > 1 {
                    self.connections += 1;
                }
                self.doubt_list();
            }
            Incoming::Appeared(total, series) => {
                self.total = Some(*total);
                self.changes += 1;
                for series in series {
                    if series.is_pushed() && !self.is_shown(&series.key) {
                        self.fresh.make_mut().truncate(FRESH_MAX - 1);
                    }
                    self.take_in(series, 0);
                }
            }
            Incoming::Vanished(total, keys) => {
                self.total = Some(*total);
                self.changes += 1;
                let fresh = self.fresh.make_mut();
                fresh.retain(|fresh| !keys.contains(&fresh.series.key));
            }
            Incoming::History {
                selector,
                step_ms,
                lines,
            } => {
                if let Some(fresh) = self.find(selector) {
                    fresh.track = Track {
                        step_ms: *step_ms,
                        lines: lines.clone(),
                        ..Track::default()
                    };
                    fresh.known = true;
                }
            }
            Incoming::Samples { selector, runs } => {
                if *selector == self.opened.selector {
                    let opened = self.opened.make_mut();
                    if opened.known {
                        opened.add(runs, f64::MIN);
                    }
                    opened.recent.extend_from_slice(runs);
                    let excess = opened.recent.len().saturating_sub(RECENT_MAX);
                    opened.recent.drain(..excess);
                }
                if let Some(fresh) = self.find(selector) {
                    for (key, unit, samples) in runs {
                        fresh
                            .track
                            .add(key, unit, samples, f64::from(FRESH_BACK_MS));
                    }
                }
            }
            Incoming::Refused(_)
            | Incoming::Event { .. }
            | Incoming::Watched(_)
            | Incoming::Values { .. }
            | Incoming::Failed(_) => return,
        }
        self.revision += 1;
    }

    fn find(&mut self, key: &str) -> Option<&mut RecentSeries> {
        let fresh = self.fresh.make_mut();
        let found = fresh.iter_mut().find(|fresh| fresh.series.key == key)?;
        Some(Rc::make_mut(found))
    }

    fn is_shown(&self, key: &str) -> bool {
        self.fresh.iter().any(|fresh| fresh.series.key == key)
    }

    /// Puts a series in its place among the newest, if there is room; one that is there stays
    /// where it is, with what is known of it.
    fn take_in(&mut self, series: &Series, place: usize) {
        if self.fresh.len() == FRESH_MAX || !series.is_pushed() || self.is_shown(&series.key) {
            return;
        }
        let fresh = RecentSeries {
            series: series.clone(),
            track: Track::default(),
            known: false,
        };
        self.fresh.make_mut().insert(place, Rc::new(fresh));
    }

    /// The newest that were pushed.
    #[must_use]
    pub fn select_fresh(&self) -> Shared<Vec<Rc<RecentSeries>>> {
        self.fresh.clone()
    }

    /// All series of the tenant.
    #[must_use]
    pub const fn select_total(&self) -> Option<u64> {
        self.total
    }

    /// Grows whenever the list of all may be another one.
    #[must_use]
    pub const fn select_changes(&self) -> u64 {
        self.changes
    }

    /// Grows with each connection on which series are heard of.
    #[must_use]
    pub const fn select_connections(&self) -> u64 {
        self.connections
    }

    /// What is opened.
    #[must_use]
    pub fn select_opened(&self) -> Shared<Opened> {
        self.opened.clone()
    }
}

#[cfg(test)]
mod tests {
    use yewdux::{Context, Dispatch};

    use super::*;

    fn series(key: &str, last_ms: f64) -> Series {
        Series {
            key: key.into(),
            name: key.split('{').next().unwrap_or_default().into(),
            last: 1.0,
            last_ms,
            ..Series::default()
        }
    }

    fn keys(store: &SeriesStore) -> Vec<String> {
        let fresh = store.fresh.iter();
        fresh.map(|fresh| fresh.series.key.clone()).collect()
    }

    #[test]
    fn the_newest_come_first_and_the_hosts_own_do_not() {
        let dispatch = Dispatch::<SeriesStore>::new(&Context::new());
        let listed = [
            Series {
                own: true,
                ..series("cpu_usage", 9.0)
            },
            series("a", 1.0),
            series("b", 2.0),
        ];
        dispatch.reduce_mut(|store| store.list(&listed, false));
        assert_eq!(keys(&dispatch.get()), ["b", "a"]);
        dispatch.reduce_mut(|store| {
            store.hear(&Incoming::Appeared(5, vec![series("c{x=\"1\"}", 3.0)]))
        });
        let store = dispatch.get();
        assert_eq!(keys(&store), ["c{x=\"1\"}", "b", "a"]);
        assert_eq!(store.fresh[0].series.labels(), "{x=\"1\"}");
        assert_eq!(store.watch_requests().len(), 3);
        assert_eq!((store.select_total(), store.select_changes()), (Some(5), 1));
        dispatch.reduce_mut(|store| store.hear(&Incoming::Vanished(4, vec!["b".into()])));
        assert_eq!(keys(&dispatch.get()), ["c{x=\"1\"}", "a"]);
        for index in 0..50 {
            let appeared =
                Incoming::Appeared(9, vec![series(&format!("s{index}"), f64::from(index))]);
            dispatch.reduce_mut(|store| store.hear(&appeared));
        }
        assert_eq!(dispatch.get().fresh.len(), FRESH_MAX);
        assert_eq!(keys(&dispatch.get())[0], "s49");
    }

    #[test]
    fn samples_reach_the_chart_and_what_is_opened() {
        let mut store = SeriesStore::default();
        store.hear(&Incoming::Appeared(1, vec![series("a", 1_000.0)]));
        assert_eq!(store.fresh[0].last().value, 1.0);
        store.open("a", 60_000.0);
        assert_eq!(store.watch_requests().len(), 1, "watched once");
        let sample = Sample {
            t_ms: 2_000.0,
            value: 7.0,
        };
        store.hear(&Incoming::Samples {
            selector: "a".into(),
            runs: vec![("a".into(), "ms".into(), vec![sample])],
        });
        assert_eq!(store.fresh[0].last(), sample);
        let opened = store.select_opened();
        assert!(!opened.known && opened.track.lines.is_empty());
        let answer = r#"{"start_ms":0,"end_ms":1500,"step_ms":500,"aggregation":"avg",
            "stretches":[{"from_ms":0,"to_ms":500,"resolution":"10s"},{"from_ms":500,"to_ms":700,"resolution":"raw"},
            {"from_ms":700,"to_ms":1500,"resolution":"raw"}],
            "series":[{"key":"a","name":"a","points":[[500,1.0,0.5,2.0]]}]}"#;
        store.history(&Json::parse(answer).expect("JSON"));
        let opened = store.select_opened();
        let means: Vec<f64> = opened.track.lines[0]
            .steps
            .iter()
            .map(|step| step.mean)
            .collect();
        assert_eq!(means, [1.0, 7.0], "what came meanwhile is not forgotten");
        assert_eq!(
            opened.stretches,
            [(0.0, "10s".into()), (500.0, "raw".into())]
        );
        store.open("", 0.0);
        assert!(store.select_opened().track.lines.is_empty());
        let known = Incoming::History {
            selector: "a".into(),
            step_ms: 1.0,
            lines: vec![Line::default()],
        };
        store.hear(&known);
        store.list(&[series("a", 9.0), series("b", 1.0)], false);
        assert_eq!(keys(&store), ["a", "b"]);
        assert_eq!(store.fresh[0].track.lines.len(), 1, "its history stays");
        store.list(&[series("b", 1.0)], true);
        assert_eq!(keys(&store), ["b"], "what is gone is gone");
    }

    #[test]
    fn the_list_is_asked_for_once_unless_something_came_in_between() {
        let mut store = SeriesStore::default();
        store.listed(Some(3));
        store.hear(&Incoming::Catalog(3));
        assert_eq!(store.select_connections(), 0);
        store.hear(&Incoming::Catalog(3));
        assert_eq!(store.select_connections(), 1, "the connection was lost");

        let mut store = SeriesStore::default();
        store.hear(&Incoming::Catalog(4));
        store.listed(Some(3));
        assert_eq!(store.select_connections(), 1);
        store.listed(Some(4));
        assert_eq!(store.select_connections(), 1);
    }

    #[test]
    fn stops_after_three_of_its_intervals() {
        assert!(!has_stopped(Some(10_000.0), 0.0, 30_000.0));
        assert!(has_stopped(Some(10_000.0), 0.0, 30_001.0));
        assert!(!has_stopped(Some(100.0), 0.0, 2_900.0), "a hiccup");
        assert!(!has_stopped(None, 0.0, 30_000.0), "it came once");
    }
}
