//! What is asked in Explore: expressions, over which time, and how the answer is shown. All of it
//! is in the address, so that a link leads to the same.

use super::{
    expression::bare_selector,
    live::LiveLine,
    time::{TimeRange, short},
    track::{LINES_MAX, Track},
    view::Page,
};
use crate::net::{
    address::{param, params},
    config::encode_query,
    series::{Line, Series, Step},
};

/// Expressions on one chart.
pub const EXPRESSIONS_MAX: usize = 4;

/// A rate is taken over at least so long, and over at least so many intervals of the series.
const RATE_MS: f64 = 60_000.0;
const RATE_INTERVALS: f64 = 4.0;

/// Steps that the server is asked for, in milliseconds: such as people count in.
const STEPS_MS: [f64; 22] = [
    100.0, 250.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3,
    1_800e3, 3_600e3, 7_200e3, 10_800e3, 21_600e3, 43_200e3, 86_400e3, 604_800e3,
];

/// How the answer is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Lines over time, and a table of them.
    #[default]
    Chart,
    /// Every value of every line.
    Table,
    /// Values at the end of the time.
    Values,
}

impl Form {
    /// All, in the order of the switch.
    pub const ALL: [Self; 3] = [Self::Chart, Self::Table, Self::Values];

    /// In the switch.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Chart => "Chart",
            Self::Table => "Table",
            Self::Values => "Values now",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Chart => "chart",
            Self::Table => "table",
            Self::Values => "values",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// What to compute, at most [`EXPRESSIONS_MAX`].
    pub expressions: Vec<String>,
    /// Counters are shown as they are, and not as rates.
    pub raw: bool,
    /// How the answer is shown.
    pub form: Form,
    /// Over which time.
    pub time: TimeRange,
}

impl Question {
    /// Of an address; `None` where nothing is asked.
    #[must_use]
    pub fn read(asked: &str, now_ms: f64, zone: fn(f64) -> i32) -> Option<Self> {
        let mut expressions = params(asked, "expr");
        expressions.truncate(EXPRESSIONS_MAX);
        let form = param(asked, "form");
        let form = Form::ALL
            .into_iter()
            .find(|known| Some(known.key()) == form.as_deref());
        (!expressions.is_empty()).then(|| Self {
            expressions,
            raw: param(asked, "raw").is_some(),
            form: form.unwrap_or_default(),
            time: TimeRange::read(asked, now_ms, zone).unwrap_or_default(),
        })
    }

    /// The part of the address behind and with its `#`.
    #[must_use]
    pub fn hash(&self) -> String {
        [Page::Explore.hash(), "?", &self.query()].concat()
    }

    /// As the address has it.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = String::new();
        for expression in &self.expressions {
            query.push_str("expr=");
            query.push_str(&encode_query(expression));
            query.push('&');
        }
        if self.raw {
            query.push_str("raw=1&");
        }
        if self.form != Form::default() {
            query.push_str("form=");
            query.push_str(self.form.key());
            query.push('&');
        }
        query.push_str(&self.time.query());
        query
    }
}

/// The length of a step, so that `length_ms` has no more than `points` of them.
#[must_use]
pub fn step_ms(length_ms: f64, points: f64) -> f64 {
    let wanted = length_ms / points.max(1.0);
    let known = STEPS_MS.into_iter().find(|step| *step >= wanted);
    known.unwrap_or_else(|| (wanted / 604_800e3).ceil() * 604_800e3)
}

/// What is asked for a counter that is named and no more: its growth a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The expression that is asked in place of the selector.
    pub expression: String,
    /// Over how long each rate is taken, such as `1m`.
    pub window: String,
}

/// The rate that is shown of `expression`, if it is a selector of a counter and no more. Whether it
/// is one, `known` says; of what the server does not know, the name does, by its customary end.
#[must_use]
pub fn rate_of(expression: &str, known: Option<&Series>, step_ms: f64) -> Option<Rate> {
    let selector = bare_selector(expression)?;
    let kind = known.map_or("unknown", |series| series.kind.as_str());
    let name = selector.split('{').next().unwrap_or_default().trim_end();
    let ends_so = ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|end| name.ends_with(end));
    if !(kind == "counter" || kind == "unknown" && ends_so) {
        return None;
    }
    let interval_ms = known.and_then(|series| series.interval_ms).unwrap_or(0.0);
    let window_ms = (interval_ms * RATE_INTERVALS)
        .max(RATE_MS)
        .max(step_ms + interval_ms);
    let window = short((window_ms / 1_000.0).ceil() * 1_000.0);
    Some(Rate {
        expression: format!("rate({selector}[{window}])"),
        window,
    })
}

/// A line of an answer, and how high it reaches.
#[derive(Clone, Debug)]
pub struct Answered {
    /// As it came.
    pub line: Line,
    greatest: f64,
}

impl Answered {
    /// A line that came.
    #[must_use]
    pub fn new(line: Line) -> Self {
        let greatest = greatest(line.steps.iter().map(|step| step.mean));
        Self { line, greatest }
    }
}

fn greatest(figures: impl Iterator<Item = f64>) -> f64 {
    let finite = figures.filter(|figure| figure.is_finite());
    finite.fold(f64::NEG_INFINITY, f64::max)
}

/// What came live of a line that is called so, and its unit.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    /// Its name in the answer.
    pub key: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// What came.
    pub live: &'a LiveLine,
}

/// What came of a line behind its steps.
fn steps_of<'a>(line: Option<&Line>, since: &Since<'a>) -> impl Iterator<Item = Step> + use<'a> {
    let last = line.and_then(|line| line.steps.last());
    since.live.steps(last.map_or(f64::MIN, |step| step.t_ms))
}

/// Those of the lines that reach highest, as many as can be told apart, the highest first, each
/// with what came `since`; and how many there are.
#[must_use]
pub fn highest(answered: &[Answered], since: &[Since<'_>], step_ms: f64) -> (Track, usize) {
    let mut best: Vec<(f64, Option<&Line>, Option<&Since<'_>>)> = Vec::new();
    let mut count = 0;
    let mut take = |reaches: f64, line, since| {
        count += 1;
        let place = best.partition_point(|(other, ..)| *other >= reaches);
        if place < LINES_MAX {
            best.insert(place, (reaches, line, since));
            best.truncate(LINES_MAX);
        }
    };
    for Answered {
        line,
        greatest: of_it,
    } in answered
    {
        let since = since.iter().find(|since| since.key == line.key);
        let reaches = since.map_or(*of_it, |since| {
            let steps = steps_of(Some(line), since);
            of_it.max(greatest(steps.map(|step| step.mean)))
        });
        take(reaches, Some(line), since);
    }
    for since in since {
        if answered
            .iter()
            .all(|answered| answered.line.key != since.key)
        {
            let steps = steps_of(None, since);
            take(greatest(steps.map(|step| step.mean)), None, Some(since));
        }
    }
    let line = |(_, line, since): (f64, Option<&Line>, Option<&Since<'_>>)| {
        let mut whole = line.cloned().unwrap_or_else(|| Line {
            key: since.map_or("", |since| since.key).to_owned(),
            unit: since.map_or("", |since| since.unit).to_owned(),
            ..Line::default()
        });
        if let Some(since) = since {
            whole.steps.extend(steps_of(line, since));
        }
        whole
    };
    let track = Track {
        step_ms,
        lines: best.into_iter().map(line).collect(),
        ..Track::default()
    };
    (track, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_has_all_of_it() {
        let question = Question {
            expressions: vec!["up{a=\"b\"}".into(), "1+1".into()],
            raw: true,
            form: Form::Table,
            time: TimeRange::last(3_600_000.0),
        };
        assert_eq!(
            question.query(),
            "expr=up%7Ba%3D%22b%22%7D&expr=1%2B1&raw=1&form=table&range=1h"
        );
        let read = |asked: &str| Question::read(asked, 0.0, |_| 0);
        assert_eq!(read(&question.query()), Some(question));
        assert_eq!(read("match=up&range=1h"), None);
    }

    #[test]
    fn steps_are_such_as_people_count_in() {
        for (length_ms, points, step) in [
            (60_000.0, 1_000.0, 100.0),
            (900_000.0, 900.0, 1_000.0),
            (900_000.0, 899.0, 2_000.0),
            (86_400_000.0, 1_000.0, 120_000.0),
            (315_360_000_000.0, 500.0, 1_209_600_000.0),
        ] {
            assert_eq!(step_ms(length_ms, points), step);
        }
    }

    #[test]
    fn a_counter_alone_is_shown_as_its_rate() {
        let counter = Series {
            kind: "counter".into(),
            interval_ms: Some(30_000.0),
            ..Series::default()
        };
        let gauge = Series {
            kind: "gauge".into(),
            ..Series::default()
        };
        let rate =
            |text: &str, known, step_ms| rate_of(text, known, step_ms).map(|rate| rate.expression);
        assert_eq!(
            rate("hits{a=\"1\"}", Some(&counter), 1e3).as_deref(),
            Some("rate(hits{a=\"1\"}[2m])")
        );
        assert_eq!(
            rate("hits_total", None, 3_600e3).as_deref(),
            Some("rate(hits_total[1h])")
        );
        assert_eq!(rate("rate(hits_total[5m])", Some(&counter), 1e3), None);
        assert_eq!(rate("room_total", Some(&gauge), 1e3), None);
        assert_eq!(rate("hits", None, 1e3), None);
    }

    #[test]
    fn the_highest_lines_are_shown() {
        let line = |value: f64| Line {
            key: crate::format::plain(value),
            steps: vec![Step::of(0.0, value), Step::of(1.0, f64::NAN)],
            ..Line::default()
        };
        let lines = (0..20).map(|value| Answered::new(line(f64::from(value))));
        let (track, count) = highest(&lines.collect::<Vec<_>>(), &[], 1e3);
        let keys: Vec<_> = track.lines.iter().map(|line| line.key.as_str()).collect();
        assert_eq!(keys, ["19", "18", "17", "16", "15", "14", "13", "12"]);
        assert_eq!(count, 20);
    }

    #[test]
    fn what_comes_live_is_behind_the_answer() {
        use super::super::live::{LiveStore, Wanted};
        use crate::net::rooms::{Evaluated, Incoming};

        let mut store = LiveStore::default();
        store.want(
            1,
            &[Wanted {
                query: "up".into(),
                step_ms: 1_000.0,
                keep_ms: 60_000.0,
            }],
        );
        for (key, at_ms, value) in [
            ("a", 1_000.0, 7.0),
            ("a", 2_000.0, 8.0),
            ("b", 2_000.0, 9.0),
        ] {
            store.hear(&Incoming::Values {
                query: "up".into(),
                values: vec![Evaluated {
                    key: key.into(),
                    at_ms,
                    value: Some(value),
                }],
            });
        }
        let all = store.select_all();
        let since: Vec<Since<'_>> = all[0]
            .lines
            .iter()
            .map(|live| Since {
                key: &live.key,
                unit: "s",
                live,
            })
            .collect();
        let line = |key: &str, value: f64| {
            Answered::new(Line {
                key: key.into(),
                steps: vec![Step::of(1_000.0, value)],
                ..Line::default()
            })
        };
        let (track, count) = highest(&[line("a", 1.0), line("c", 8.5)], &since, 1_000.0);
        let drawn: Vec<(&str, Vec<f64>)> = track
            .lines
            .iter()
            .map(|line| {
                let means = line.steps.iter().map(|step| step.mean);
                (line.key.as_str(), means.collect())
            })
            .collect();
        assert_eq!(
            drawn,
            [("b", vec![9.0]), ("c", vec![8.5]), ("a", vec![1.0, 8.0])],
            "a step that the answer has is not there twice"
        );
        assert_eq!((count, track.lines[0].unit.as_str()), (3, "s"));
    }
}
