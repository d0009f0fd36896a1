//! Maintenance windows, silences with a calendar: as `GET /api/maintenance` tells of them, and as
//! they are written in the form.

use super::{
    answers::utc,
    silences::{Matcher, matchers_of},
    targets::moment,
};
use crate::{
    net::json::{Json, write},
    words,
};

/// Days of the week as the server calls them, from Monday, and how they are shown.
pub const WEEKDAYS: [(&str, &str); 7] = [
    ("monday", "Mon"),
    ("tuesday", "Tue"),
    ("wednesday", "Wed"),
    ("thursday", "Thu"),
    ("friday", "Fri"),
    ("saturday", "Sat"),
    ("sunday", "Sun"),
];

/// Conditions on a time, all of which have to be met; what is empty is met always.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// Parts of the day, such as `12:00-13:00, 22:00-06:00`.
    pub times: String,
    /// Which days of the week, from Monday.
    pub weekdays: [bool; 7],
    /// Days of the month, such as `1:7, -1`.
    pub days: String,
    /// Months, such as `january:march, december`.
    pub months: String,
    /// Years.
    pub years: String,
    /// In which zone; empty is UTC.
    pub zone: String,
}

/// Texts of a list with commas between them.
fn joined(json: &Json) -> String {
    let texts = json.list().iter().map(|one| match one {
        Json::Number(number) => crate::format::plain(*number),
        other => other.text().unwrap_or_default().to_owned(),
    });
    texts.collect::<Vec<String>>().join(", ")
}

/// What stands between commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty())
}

fn texts(text: &str) -> Json {
    Json::List(
        parts(text)
            .map(|part| Json::Text(part.to_owned()))
            .collect(),
    )
}

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

impl Interval {
    fn read(json: &Json) -> Self {
        let range =
            |range: &Json| [range.text_of("start_time"), "-", range.text_of("end_time")].concat();
        let times: Vec<String> = json.get("times").list().iter().map(range).collect();
        let mut weekdays = [false; 7];
        for range in json.get("weekdays").list() {
            let range = range.text().unwrap_or_default();
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            // The server's weeks begin on Sunday.
            let place = |day: &str| {
                let mut days = WEEKDAYS.iter();
                days.position(|(name, _)| *name == day)
                    .map(|place| (place + 1) % 7)
            };
            if let (Some(first), Some(last)) = (place(first), place(last)) {
                for day in first..=last {
                    weekdays[(day + 6) % 7] = true;
                }
            }
        }
        Self {
            times: times.join(", "),
            weekdays,
            days: joined(json.get("days_of_month")),
            months: joined(json.get("months")),
            years: joined(json.get("years")),
            zone: json.text_of("location").to_owned(),
        }
    }

    /// When it is met, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let days: Vec<&str> = WEEKDAYS
            .iter()
            .zip(self.weekdays)
            .filter_map(|((_, day), on)| on.then_some(*day))
            .collect();
        let mut words = Vec::new();
        words.push(match self.times.is_empty() {
            true => "All day".to_owned(),
            false => self.times.replace('-', "–"),
        });
        if !days.is_empty() {
            words.push(days.join(", "));
        }
        for (what, ranges) in [("days", &self.days), ("", &self.months), ("", &self.years)] {
            if !ranges.is_empty() {
                // A minus of its own stays one.
                let ranges = ranges.replace(':', " to ");
                words.push([what, if what.is_empty() { "" } else { " " }, &ranges].concat());
            }
        }
        let zone = if self.zone.is_empty() {
            words::UTC
        } else {
            &self.zone
        };
        [&words.join("; "), " (", zone, ")"].concat()
    }

    /// As the server takes it: days of one begin at 00:00 and end at 24:00, so what goes on past
    /// midnight on some days of the week is followed by another of the days after those.
    fn json(&self) -> Result<Vec<Json>, String> {
        let mut times = Vec::new();
        let mut mornings = Vec::new();
        let time = |start: &str, end: &str| {
            Json::Object(vec![
                ("start_time".to_owned(), text(start)),
                ("end_time".to_owned(), text(end)),
            ])
        };
        for range in parts(&self.times) {
            let (start, end) = range
                .split_once(['-', '–'])
                .ok_or_else(|| format!("{range} is no time such as 22:00-06:00"))?;
            let (start, end) = (start.trim(), end.trim());
            if start == end {
                return Err(format!("{range} ends where it begins; empty is all day"));
            }
            if start < end {
                times.push(time(start, end));
                continue;
            }
            times.push(time(start, "24:00"));
            if end != "00:00" {
                mornings.push(time("00:00", end));
            }
        }
        let is_dated = ![&self.days, &self.months, &self.years]
            .iter()
            .all(|ranges| ranges.trim().is_empty());
        if is_dated && !mornings.is_empty() {
            return Err(
                "What goes on past 24:00 on some days of a month, months or years is to be another \
                 opening, from 00:00 of the days after those"
                    .to_owned(),
            );
        }
        if self.weekdays == [false; 7] || mornings.is_empty() {
            times.append(&mut mornings);
            return Ok(vec![self.json_of(times, self.weekdays)]);
        }
        let mut after = self.weekdays;
        after.rotate_right(1);
        Ok(vec![
            self.json_of(times, self.weekdays),
            self.json_of(mornings, after),
        ])
    }

    fn json_of(&self, times: Vec<Json>, weekdays: [bool; 7]) -> Json {
        let mut entries = Vec::new();
        let days = WEEKDAYS.iter().zip(weekdays);
        let days = days.filter(|&(_, on)| on).map(|((day, _), _)| text(day));
        for (name, list) in [
            ("times", Json::List(times)),
            ("weekdays", Json::List(days.collect())),
            ("days_of_month", texts(&self.days)),
            ("months", texts(&self.months)),
            ("years", texts(&self.years)),
        ] {
            if !list.list().is_empty() {
                entries.push((name.to_owned(), list));
            }
        }
        if !self.zone.trim().is_empty() {
            entries.push(("location".to_owned(), text(self.zone.trim())));
        }
        Json::Object(entries)
    }
}

/// One window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Names it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it keeps quiet.
    pub matchers: Vec<Matcher>,
    /// When.
    pub intervals: Vec<Interval>,
    /// Why.
    pub comment: String,
    /// Who made it.
    pub by: String,
    /// It is open now.
    pub is_open: bool,
    /// From when to when it is open next, or now, Unix milliseconds.
    pub next: Option<(f64, f64)>,
    /// After this it is no more.
    pub until_ms: Option<f64>,
    /// Which state of it.
    pub revision: Option<f64>,
}

impl Window {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        let next = json.get("next");
        let matchers = json.get("matchers").list().iter().map(Matcher::read);
        let intervals = json.get("intervals").list().iter().map(Interval::read);
        Some(Self {
            id: json.get("id").text()?.to_owned(),
            name: json.text_of("name").to_owned(),
            matchers: matchers.collect(),
            intervals: intervals.collect(),
            comment: json.text_of("comment").to_owned(),
            by: json.text_of("created_by").to_owned(),
            is_open: json.get("open").is_true(),
            next: moment(next.text_of("from")).zip(moment(next.text_of("to"))),
            until_ms: moment(json.text_of("until")),
            revision: json.get("revision").number(),
        })
    }

    /// When it is over for good, as it is typed in the form: with its year, in UTC.
    #[must_use]
    pub fn until(&self) -> Option<String> {
        Some(utc(self.until_ms?).replace(".000Z", "Z"))
    }

    /// All of an answer: those that are open first, then those that open next.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let order = |window: &Self| (!window.is_open, window.next.map_or(f64::MAX, |next| next.0));
        let mut all: Vec<Self> = Vec::new();
        for window in json.get("windows").list().iter().filter_map(Self::read) {
            let place = all.partition_point(|other| order(other) <= order(&window));
            all.insert(place, window);
        }
        all
    }
}

/// A window as it is being written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// What it is called.
    pub name: String,
    /// Matchers, a line each.
    pub matchers: String,
    /// When it is open.
    pub intervals: Vec<Interval>,
    /// When it is over for good, as one types it; empty for never.
    pub until: String,
    /// Why.
    pub comment: String,
    /// Which state of it was read, so that nobody's change is lost.
    pub revision: Option<f64>,
}

impl Draft {
    /// Of a window that is there.
    #[must_use]
    pub fn of(window: &Window) -> Self {
        let matchers = window.matchers.iter().map(Matcher::text);
        Self {
            name: window.name.clone(),
            matchers: matchers.collect::<Vec<String>>().join("\n"),
            intervals: window.intervals.clone(),
            until: window.until().unwrap_or_default(),
            comment: window.comment.clone(),
            revision: window.revision,
        }
    }

    /// What the server is to be sent; `moment` reads what was typed as the end.
    ///
    /// # Errors
    /// What has to be written otherwise, in words.
    pub fn json(&self, moment: impl Fn(&str) -> Option<f64>) -> Result<String, String> {
        if self.name.trim().is_empty() {
            return Err("A maintenance window has a name".to_owned());
        }
        let matchers = matchers_of(&self.matchers)?;
        let intervals = self.intervals.iter().map(Interval::json);
        let intervals = intervals.collect::<Result<Vec<Vec<Json>>, String>>()?;
        let intervals = intervals.concat();
        if intervals.is_empty() {
            return Err("A maintenance window has at least one time".to_owned());
        }
        let mut entries = vec![
            ("name".to_owned(), text(self.name.trim())),
            (
                "matchers".to_owned(),
                Json::List(matchers.iter().map(Matcher::to_json).collect()),
            ),
            ("intervals".to_owned(), Json::List(intervals)),
            ("comment".to_owned(), text(self.comment.trim())),
        ];
        if !self.until.trim().is_empty() {
            let until_ms = moment(self.until.trim()).ok_or(words::NO_END)?;
            entries.push(("until".to_owned(), Json::Text(utc(until_ms))));
        }
        if let Some(revision) = self.revision {
            entries.push(("revision".to_owned(), Json::Number(revision)));
        }
        Ok(write(&Json::Object(entries), crate::format::plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: &str = r#"{"id":"w","name":"database","open":false,"comment":"rack","created_by":"ann",
        "matchers":[{"name":"job","value":"db","isRegex":false,"isEqual":true}],
        "intervals":[{"times":[{"start_time":"22:00","end_time":"24:00"}],"weekdays":["sunday:monday","friday"],
            "days_of_month":["1:7","-1"],"months":["1:3"],"years":["2026"],"location":"Europe/Paris"}],
        "next":{"from":"1970-01-01T00:00:01Z","to":"1970-01-01T00:00:02Z"},"until":"1970-01-01T00:01:00Z","revision":3}"#;

    fn window() -> Window {
        Window::read(&Json::parse(WINDOW).expect("JSON")).expect("one")
    }

    #[test]
    fn a_window_is_read_and_written_as_it_was() {
        let window = window();
        assert_eq!(
            window.intervals[0].words(),
            "22:00–24:00; Mon, Fri, Sun; days 1 to 7, -1; 1 to 3; 2026 (Europe/Paris)"
        );
        assert_eq!(window.next, Some((1_000.0, 2_000.0)));
        let draft = Draft::of(&window);
        let sent = draft.json(moment).expect("good");
        let sent = Json::parse(&sent).expect("JSON");
        let again = Window::read(&{
            let Json::Object(mut entries) = sent.clone() else {
                panic!("an object");
            };
            entries.push(("id".to_owned(), text("w")));
            Json::Object(entries)
        });
        let again = again.expect("one");
        assert_eq!(again.intervals, window.intervals);
        assert_eq!(again.matchers, window.matchers);
        assert_eq!(again.until_ms, Some(60_000.0));
        assert_eq!(again.revision, Some(3.0), "as it was read");
        assert_eq!(Interval::default().words(), "All day (UTC)");
    }

    #[test]
    fn what_goes_on_past_midnight_goes_on_the_next_day() {
        let sent = |times: &str, weekdays: [bool; 7]| {
            let interval = Interval {
                times: times.to_owned(),
                weekdays,
                ..Interval::default()
            };
            let all = interval.json().expect("good");
            let all: Vec<String> = all.iter().map(|one| Interval::read(one).words()).collect();
            all
        };
        assert_eq!(
            sent("22:00-06:00", [false; 7]),
            ["22:00–24:00, 00:00–06:00 (UTC)"]
        );
        assert_eq!(
            sent("22:00-00:00", [false; 7]),
            ["22:00–24:00 (UTC)"],
            "nothing of the next day"
        );
        let mut friday_and_sunday = [false; 7];
        friday_and_sunday[4] = true;
        friday_and_sunday[6] = true;
        assert_eq!(
            sent("12:00-13:00, 22:00-06:00", friday_and_sunday),
            [
                "12:00–13:00, 22:00–24:00; Fri, Sun (UTC)",
                "00:00–06:00; Mon, Sat (UTC)"
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_said() {
        let good = Draft::of(&window());
        let bad = |set: fn(&mut Draft)| {
            let mut draft = good.clone();
            set(&mut draft);
            draft.json(|_| None).expect_err("bad")
        };
        for (set, said) in [
            ((|draft| draft.name.clear()) as fn(&mut Draft), "name"),
            (|draft| draft.matchers = "a=".to_owned(), "matcher"),
            (|draft| draft.matchers = "nothing".to_owned(), "no matcher"),
            (|draft| draft.intervals.clear(), "one time"),
            (
                |draft| draft.intervals[0].times = "22:00-02:00".to_owned(),
                "another opening",
            ),
            (
                |draft| draft.intervals[0].times = "22:00-22:00".to_owned(),
                "where it begins",
            ),
            (
                |draft| draft.intervals[0].times = "22:00".to_owned(),
                "no time",
            ),
            (|draft| draft.until = "never".to_owned(), "no time"),
        ] {
            assert!(bad(set).contains(said), "{said}: {}", bad(set));
        }
    }

    #[test]
    fn those_that_are_open_stand_first() {
        let one = |id: &str, open: bool, from: u32| {
            format!(
                r#"{{"id":"{id}","open":{open},"next":{{"from":"1970-01-01T00:00:{from:02}Z","to":"1970-01-01T00:01:00Z"}}}}"#
            )
        };
        let text = format!(
            r#"{{"windows":[{},{},{},{{"id":"never"}}]}}"#,
            one("late", false, 30),
            one("open", true, 40),
            one("next", false, 10)
        );
        let all = Window::read_all(&Json::parse(&text).expect("JSON"));
        let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["open", "next", "late", "never"]);
    }
}
