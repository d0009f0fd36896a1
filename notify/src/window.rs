//! Maintenance windows: silences with a calendar.

use std::collections::BTreeMap;

use pulseboard_shared::Labels;
use serde::{Deserialize, Serialize};

use crate::{interval::TimeInterval, matcher::Matchers, silence};

/// There are at most so many.
const WINDOWS_MAX: usize = 1000;

/// What they say takes at most so many bytes, of one and of all.
const WINDOW_BYTES_MAX: usize = 64 << 10;
const BYTES_MAX: usize = 4 << 20;

/// A window has at most so many intervals.
const INTERVALS_MAX: usize = 32;

/// When it is open next is looked for so far ahead.
const DAYS_AHEAD: u16 = 366;

/// So many stretches that follow each other at once are told as one.
const FOLLOWING_MAX: usize = 31;

/// What matches is silenced while the time is within one of the intervals, again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Chosen by who makes it.
    pub id: String,
    pub name: String,
    pub matchers: Matchers,
    pub intervals: Vec<TimeInterval>,
    pub created_by: String,
    pub comment: String,
    /// After this it is no more; Unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// Which state of it: 1 as it is made, one more with each change.
    #[serde(default = "first")]
    pub revision: u64,
}

const fn first() -> u64 {
    1
}

impl Window {
    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
            && self.intervals.iter().any(|one| one.contains(now_ms))
    }

    /// When it is open next, or is now: from when to when (Unix ms), what follows at once together.
    /// `None` where that is not within a year.
    #[must_use]
    pub fn next(&self, now_ms: i64) -> Option<(i64, i64)> {
        let all = self.intervals.iter();
        let (from_ms, mut to_ms) = all.filter_map(|one| one.next(now_ms, DAYS_AHEAD)).min()?;
        for _ in 0..FOLLOWING_MAX {
            let all = self.intervals.iter().filter_map(|one| one.next(to_ms, 0));
            let at_once = all.filter(|(from_ms, _)| *from_ms <= to_ms);
            match at_once.map(|(_, to_ms)| to_ms).max() {
                Some(later_ms) => to_ms = later_ms,
                None => break,
            }
        }
        match self.until_ms {
            Some(until_ms) if from_ms >= until_ms => None,
            Some(until_ms) => Some((from_ms, to_ms.min(until_ms))),
            None => Some((from_ms, to_ms)),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.id.is_empty() || self.id.len() > 128 {
            return Err("a window's id has 1 to 128 bytes".to_owned());
        }
        for (what, text) in [
            ("name", &self.name),
            ("comment", &self.comment),
            ("createdBy", &self.created_by),
        ] {
            if text.len() > silence::TEXT_BYTES_MAX {
                return Err(format!(
                    "a window's {what} is longer than {} bytes",
                    silence::TEXT_BYTES_MAX
                ));
            }
        }
        if self.bytes() > WINDOW_BYTES_MAX {
            return Err(format!("a window is longer than {WINDOW_BYTES_MAX} bytes"));
        }
        if self.intervals.is_empty() {
            return Err("a window needs an interval".to_owned());
        }
        if self.intervals.len() > INTERVALS_MAX {
            return Err(format!("a window has more than {INTERVALS_MAX} intervals"));
        }
        silence::check_matchers(&self.matchers)
    }

    /// How much it says. A range has about sixteen bytes.
    fn bytes(&self) -> usize {
        let matchers = self.matchers.0.iter();
        let matchers: usize = matchers
            .map(|one| one.name().len() + one.value().len())
            .sum();
        let ranges: usize = self.intervals.iter().map(TimeInterval::ranges).sum();
        self.name.len() + self.comment.len() + self.created_by.len() + matchers + 16 * ranges
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Windows(BTreeMap<String, Window>);

impl Windows {
    /// Makes one, or puts it in the place of the one of that identity.
    pub(crate) fn set(&mut self, window: Window) -> Result<(), String> {
        window.check()?;
        if self.0.len() >= WINDOWS_MAX && !self.0.contains_key(&window.id) {
            return Err(format!(
                "there are {WINDOWS_MAX} windows, which is all that are kept"
            ));
        }
        let others = self.0.values().filter(|one| one.id != window.id);
        let bytes = window.bytes() + others.map(Window::bytes).sum::<usize>();
        if bytes > BYTES_MAX {
            return Err(format!(
                "all windows together are longer than {BYTES_MAX} bytes"
            ));
        }
        self.0.insert(window.id.clone(), window);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.values()
    }

    /// Those that are open for these labels.
    pub(crate) fn matching(&self, now_ms: i64, labels: &Labels) -> Vec<String> {
        let windows = self.0.values();
        windows
            .filter(|window| window.matchers.matches(labels) && window.is_open(now_ms))
            .map(|window| window.id.clone())
            .collect()
    }

    /// Lets those go whose end has come.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.0
            .retain(|_, window| window.until_ms.is_none_or(|until| now_ms < until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{labels::of, matcher::parse};

    #[test]
    fn it_opens_again_and_again_until_its_end() {
        let window = Window {
            id: "w".to_owned(),
            name: "nightly".to_owned(),
            matchers: Matchers(parse("job=backup").expect("matchers")),
            intervals: vec![
                yaml_serde::from_str("times: [{start_time: '02:00', end_time: '03:00'}]")
                    .expect("interval"),
            ],
            created_by: String::new(),
            comment: String::new(),
            until_ms: Some(10 * 86_400_000),
            revision: 1,
        };
        let mut windows = Windows::default();
        windows.set(window.clone()).expect("taken");
        let labels = of(&[("job", "backup")]);
        let day = 86_400_000;
        let hour = 3_600_000;
        for (at, is_open) in [
            (2 * hour, true),
            (3 * hour, false),
            (day + 2 * hour, true),
            (10 * day + 2 * hour, false),
        ] {
            assert_eq!(!windows.matching(at, &labels).is_empty(), is_open, "{at}");
        }
        assert!(windows.matching(2 * hour, &of(&[("job", "x")])).is_empty());
        for (wrong, window) in [
            (
                "needs an interval",
                Window {
                    intervals: Vec::new(),
                    ..window.clone()
                },
            ),
            (
                "must not match the empty",
                Window {
                    matchers: Matchers::default(),
                    ..window.clone()
                },
            ),
            (
                "1 to 128 bytes",
                Window {
                    id: String::new(),
                    ..window.clone()
                },
            ),
        ] {
            let told = windows.set(window).expect_err(wrong);
            assert!(told.contains(wrong), "{told}");
        }
        windows.forget(10 * day);
        assert_eq!(windows.iter().count(), 0);
        assert!(!windows.remove("w"));
    }

    fn window(intervals: &[&str]) -> Window {
        let read = |text: &&str| yaml_serde::from_str(text).expect(text);
        Window {
            id: "w".to_owned(),
            name: "w".to_owned(),
            matchers: Matchers::default(),
            intervals: intervals.iter().map(read).collect(),
            created_by: String::new(),
            comment: String::new(),
            until_ms: None,
            revision: 1,
        }
    }

    fn at(text: &str) -> i64 {
        let time: jiff::Timestamp = text.parse().expect(text);
        time.as_millisecond()
    }

    #[test]
    fn when_it_is_open_next_is_known() {
        // a Friday
        let now = at("2026-11-20T20:00:00Z");
        for (intervals, next) in [
            (
                &[
                    "times: [{start_time: '03:00', end_time: '04:00'}, {start_time: '19:00', end_time: '20:30'}]",
                ][..],
                Some(("2026-11-20T19:00:00Z", "2026-11-20T20:30:00Z")),
            ),
            (
                &["{times: [{start_time: '03:00', end_time: '04:00'}], location: Europe/Paris}"],
                Some(("2026-11-21T02:00:00Z", "2026-11-21T03:00:00Z")),
            ),
            // midnight does not part what goes on
            (
                &[
                    "{times: [{start_time: '22:00', end_time: '24:00'}], weekdays: [saturday]}",
                    "{times: [{start_time: '00:00', end_time: '02:00'}], weekdays: [sunday]}",
                ],
                Some(("2026-11-21T22:00:00Z", "2026-11-22T02:00:00Z")),
            ),
            (
                &["{weekdays: ['sunday', 'saturday']}"],
                Some(("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z")),
            ),
            (
                &["{days_of_month: ['-1'], months: ['february']}"],
                Some(("2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z")),
            ),
            // clocks leave out the hour from 02:00 on
            (
                &[
                    "{times: [{start_time: '02:15', end_time: '04:00'}], months: [march], days_of_month: ['28'], years: ['2027'], location: Europe/Paris}",
                ],
                Some(("2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z")),
            ),
            // and show the hour from 02:00 on twice
            (
                &[
                    "{times: [{start_time: '01:30', end_time: '02:30'}], months: [october], days_of_month: ['31'], years: ['2027'], location: Europe/Paris}",
                ],
                Some(("2027-10-30T23:30:00Z", "2027-10-31T00:30:00Z")),
            ),
            // a night on which clocks are set at midnight, forth and back
            (
                &[
                    "{times: [{start_time: '22:00', end_time: '24:00'}], months: [april], days_of_month: ['29'], years: ['2027'], location: Africa/Cairo}",
                    "{times: [{start_time: '00:00', end_time: '06:00'}], months: [april], days_of_month: ['30'], years: ['2027'], location: Africa/Cairo}",
                ],
                Some(("2027-04-29T20:00:00Z", "2027-04-30T03:00:00Z")),
            ),
            (
                &[
                    "{times: [{start_time: '22:00', end_time: '24:00'}], months: [october], days_of_month: ['28'], years: ['2027'], location: Africa/Cairo}",
                    "{times: [{start_time: '00:00', end_time: '06:00'}], months: [october], days_of_month: ['29'], years: ['2027'], location: Africa/Cairo}",
                ],
                Some(("2027-10-28T19:00:00Z", "2027-10-29T04:00:00Z")),
            ),
            (&["years: ['2025']"], None),
        ] {
            let expected = next.map(|(from, to)| (at(from), at(to)));
            assert_eq!(window(intervals).next(now), expected, "{intervals:?}");
        }
        // What is said to come is when it opens and closes, through nights on which clocks are set.
        for (zone, from, to) in [
            (
                "Europe/Paris",
                "2026-10-24T12:00:00Z",
                "2026-10-26T12:00:00Z",
            ),
            (
                "Europe/Paris",
                "2027-03-27T12:00:00Z",
                "2027-03-29T12:00:00Z",
            ),
            (
                "America/Havana",
                "2026-10-31T12:00:00Z",
                "2026-11-02T12:00:00Z",
            ),
            (
                "America/Havana",
                "2027-03-13T12:00:00Z",
                "2027-03-15T12:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "2027-04-03T00:00:00Z",
                "2027-04-05T00:00:00Z",
            ),
        ] {
            for times in [
                "22:00-24:00 00:00-06:00",
                "00:15-00:45",
                "01:30-02:15",
                "02:30-02:45",
            ] {
                let range = |range: &str| {
                    let (start, end) = range.split_once('-').expect(range);
                    format!("{{start_time: '{start}', end_time: '{end}'}}")
                };
                let ranges: Vec<String> = times.split(' ').map(range).collect();
                let text = format!("{{times: [{}], location: {zone}}}", ranges.join(", "));
                let window = window(&[&text]);
                let mut now_ms = at(from);
                while now_ms < at(to) {
                    let (from_ms, to_ms) = window.next(now_ms).expect("one");
                    let is_open = (from_ms..to_ms).contains(&now_ms);
                    assert_eq!(window.is_open(now_ms), is_open, "{text} {now_ms}");
                    now_ms += 60_000;
                }
            }
        }
        let mut over = window(&["weekdays: [saturday]"]);
        over.until_ms = Some(at("2026-11-21T12:00:00Z"));
        let next = Some((at("2026-11-21T00:00:00Z"), at("2026-11-21T12:00:00Z")));
        assert_eq!(over.next(now), next);
        over.until_ms = Some(at("2026-11-20T22:00:00Z"));
        assert_eq!(over.next(now), None);
    }
}
