//! Times of the week and of the year: `time_intervals` of `alertmanager.yml`. Without a location
//! they are UTC. The table of time zones is part of the program.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A list of ranges has at most so many.
pub const RANGES_MAX: usize = 128;

/// Conditions on a time that all have to be met; each is met by one of its ranges. None are met
/// always.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeInterval {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Ranges<TimeRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekdays: Option<Ranges<WeekdayRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_of_month: Option<Ranges<DayRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub months: Option<Ranges<MonthRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub years: Option<Ranges<YearRange>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// At most [`RANGES_MAX`] ranges.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Ranges<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ranges<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ranges: Vec<T> = Deserialize::deserialize(deserializer)?;
        match ranges.len() > RANGES_MAX {
            true => Err(D::Error::custom(format_args!(
                "more than {RANGES_MAX} ranges in one list"
            ))),
            false => Ok(Self(ranges)),
        }
    }
}

impl TimeInterval {
    /// Whether a time (Unix ms) is within.
    #[must_use]
    pub fn contains(&self, at_ms: i64) -> bool {
        let Ok(at) = Timestamp::from_millisecond(at_ms) else {
            return false;
        };
        let zone = self.location.as_ref().map(|location| &location.zone);
        let local = zone.unwrap_or(&TimeZone::UTC).to_datetime(at);
        let minute =
            u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let is_time = self.times.as_ref().is_none_or(|ranges| {
            let mut ranges = ranges.0.iter();
            ranges.any(|range| (range.start..range.end).contains(&minute))
        });
        is_time && self.has_day(local.date())
    }

    /// Whether a part of that day, or all of it, is within.
    fn has_day(&self, date: Date) -> bool {
        let one = |is_met: Option<bool>| is_met.unwrap_or(true);
        one(self.weekdays.as_ref().map(|ranges| {
            let day = date.weekday().to_sunday_zero_offset();
            ranges.0.iter().any(|range| range.contains(day))
        })) && one(self.days_of_month.as_ref().map(|ranges| {
            let days = date.days_in_month();
            let mut ranges = ranges.0.iter();
            ranges.any(|range| range.contains(date.day(), days))
        })) && one(self.months.as_ref().map(|ranges| {
            let mut ranges = ranges.0.iter();
            ranges.any(|range| (range.0..=range.1).contains(&date.month()))
        })) && one(self.years.as_ref().map(|ranges| {
            let mut ranges = ranges.0.iter();
            ranges.any(|range| (range.0..=range.1).contains(&date.year()))
        }))
    }

    /// The first stretch of a day that ends after a time: from when to when (Unix ms). Looked for
    /// on that day and so many after it.
    pub(crate) fn next(&self, from_ms: i64, days: u16) -> Option<(i64, i64)> {
        let whole = [TimeRange {
            start: 0,
            end: DAY_MINUTES,
        }];
        let ranges = self.times.as_ref().map_or(&whole[..], |ranges| &ranges.0);
        let zone = self.location.as_ref().map(|location| &location.zone);
        let utc = TimeZone::UTC;
        let zone = zone.unwrap_or(&utc);
        let mut date = zone
            .to_datetime(Timestamp::from_millisecond(from_ms).ok()?)
            .date();
        for _ in 0..=days {
            if self.has_day(date) {
                let next = stretches(zone, date, ranges)
                    .into_iter()
                    .filter(|(_, to_ms)| *to_ms > from_ms)
                    .min();
                if next.is_some() {
                    return next;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// How many ranges it has.
    pub(crate) fn ranges(&self) -> usize {
        let of = |count: Option<usize>| count.unwrap_or_default();
        of(self.times.as_ref().map(|ranges| ranges.0.len()))
            + of(self.weekdays.as_ref().map(|ranges| ranges.0.len()))
            + of(self.days_of_month.as_ref().map(|ranges| ranges.0.len()))
            + of(self.months.as_ref().map(|ranges| ranges.0.len()))
            + of(self.years.as_ref().map(|ranges| ranges.0.len()))
    }
}

const DAY_MINUTES: u16 = 24 * 60;

const MINUTE_MS: i64 = 60_000;

/// No zone is further from UTC.
const OFFSET_MAX_MS: i64 = 26 * 3_600_000;

/// When clocks of a zone show a time of that date within one of the ranges: from when to when (Unix
/// ms). What clocks leave out is not there, and what they show twice is there twice.
fn stretches(zone: &TimeZone, date: Date, ranges: &[TimeRange]) -> Vec<(i64, i64)> {
    // As if the zone were UTC.
    let Ok(midnight) = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)) else {
        return Vec::new();
    };
    let midnight_ms = midnight.as_millisecond();
    let end_ms = midnight_ms + i64::from(DAY_MINUTES) * MINUTE_MS + OFFSET_MAX_MS;
    let Ok(mut at) = Timestamp::from_millisecond(midnight_ms - OFFSET_MAX_MS) else {
        return Vec::new();
    };
    let mut all: Vec<(i64, i64)> = Vec::new();
    // Clocks show what UTC shows and so much more until they are set.
    while at.as_millisecond() < end_ms {
        let more_ms = i64::from(zone.to_offset(at).seconds()) * 1_000;
        let set = zone.following(at).next().map(|set| set.timestamp());
        let until_ms = set.map_or(end_ms, Timestamp::as_millisecond);
        for range in ranges {
            let shown = |minute: u16| midnight_ms + i64::from(minute) * MINUTE_MS - more_ms;
            let start_ms = shown(range.start).max(at.as_millisecond());
            let to_ms = shown(range.end).min(until_ms);
            if start_ms >= to_ms {
                continue;
            }
            // One that goes on where clocks are set is one.
            match all.iter_mut().find(|(_, to_ms)| *to_ms == start_ms) {
                Some(before) => before.1 = to_ms,
                None => all.push((start_ms, to_ms)),
            }
        }
        match set {
            Some(set) => at = set,
            None => break,
        }
    }
    all
}

/// A part of the day, in minutes from its beginning; the end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    start: u16,
    end: u16,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Times {
    #[serde(default)]
    start_time: String,
    #[serde(default)]
    end_time: String,
}

fn minute_of(text: &str) -> Result<u16, String> {
    let wrong = || format!("couldn't parse timestamp {text:?}, invalid format: HH:MM is expected");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| {
        let is_it = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_it.then(|| text.parse::<u16>().ok()).flatten()
    };
    match (number(hour), number(minute)) {
        (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(hour * 60 + minute),
        (Some(24), Some(0)) => Ok(24 * 60),
        _ => Err(wrong()),
    }
}

impl TryFrom<Times> for TimeRange {
    type Error = String;

    fn try_from(times: Times) -> Result<Self, String> {
        if times.start_time.is_empty() || times.end_time.is_empty() {
            return Err("both start and end times must be provided".to_owned());
        }
        let (start, end) = (minute_of(&times.start_time)?, minute_of(&times.end_time)?);
        match start < end {
            true => Ok(Self { start, end }),
            // As Alertmanager says it, and what to do about it.
            false => Err(
                "start time cannot be equal or greater than end time; what goes on past midnight is \
                 two: 22:00 to 24:00, and 00:00 to 06:00 of the next day"
                    .to_owned(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for TimeRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Times::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for TimeRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let told = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (start_time, end_time) = (told(self.start), told(self.end));
        Times {
            start_time,
            end_time,
        }
        .serialize(serializer)
    }
}

/// The two ends of `monday:friday` or `3`, which is both.
fn ends(text: &str) -> (&str, &str) {
    let (begin, end) = text.split_once(':').unwrap_or((text, text));
    (begin.trim(), end.trim())
}

macro_rules! is_text {
    ($($type:ident)*) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(TextOrNumber)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )* };
}

/// `years: [2026]` is a number to YAML and a range to who writes it.
struct TextOrNumber;

impl serde::de::Visitor<'_> for TextOrNumber {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a range such as 1:5")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

is_text!(WeekdayRange DayRange MonthRange YearRange Location);

/// Days of the week, `monday:friday`; from Sunday, 0, to Saturday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeekdayRange(i8, i8);

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("sunday", Weekday::Sunday),
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
];

impl WeekdayRange {
    fn contains(self, day: i8) -> bool {
        (self.0..=self.1).contains(&day)
    }
}

impl FromStr for WeekdayRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = |text: &str| {
            let lower = text.to_lowercase();
            let found = WEEKDAYS.iter().find(|(name, _)| *name == lower);
            found
                .map(|(_, day)| day.to_sunday_zero_offset())
                .ok_or_else(|| format!("{text} is not a valid weekday"))
        };
        let (begin, end) = ends(text);
        let (begin, end) = (day(begin)?, day(end)?);
        match begin <= end {
            true => Ok(Self(begin, end)),
            false => Err("start day cannot be before end day".to_owned()),
        }
    }
}

impl fmt::Display for WeekdayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |day: i8| {
            let mut days = WEEKDAYS.iter();
            let found = days.find(|(_, one)| one.to_sunday_zero_offset() == day);
            found.map_or("sunday", |(name, _)| name)
        };
        f.write_str(name(self.0))?;
        if self.0 != self.1 {
            write!(f, ":{}", name(self.1))?;
        }
        Ok(())
    }
}

/// Days of the month, `1:5`; negative ones count from its end, -1 is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange(i8, i8);

impl DayRange {
    fn contains(self, day: i8, days: i8) -> bool {
        let from_start = |day: i8| if day < 0 { days + day + 1 } else { day };
        let (begin, end) = (from_start(self.0), from_start(self.1));
        // a month may be too short for the whole of it
        begin <= days && (begin.max(-days)..=end.clamp(-days, days)).contains(&day)
    }
}

impl FromStr for DayRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = |text: &str| match text.parse::<i8>() {
            Ok(day) if day != 0 && (-31..=31).contains(&day) => Ok(day),
            _ => Err(format!(
                "{text} is not a valid day of the month: out of range"
            )),
        };
        let (begin, end) = ends(text);
        let (begin, end) = (day(begin)?, day(end)?);
        if begin < 0 && end > 0 {
            return Err("end day must be negative if start day is negative".to_owned());
        }
        // the longest month tells what no month has
        let in_longest = |day: i8| if day < 0 { 31 + day } else { day };
        match in_longest(begin) <= in_longest(end) {
            true => Ok(Self(begin, end)),
            false => Err(format!("end day {end} is always before start day {begin}")),
        }
    }
}

impl fmt::Display for DayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, self.1)
    }
}

fn print<T: fmt::Display + PartialEq>(f: &mut fmt::Formatter<'_>, begin: T, end: T) -> fmt::Result {
    match begin == end {
        true => write!(f, "{begin}"),
        false => write!(f, "{begin}:{end}"),
    }
}

/// Months, by name or number. As there, numbers of no month are taken, and never come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthRange(i8, i8);

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl FromStr for MonthRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let month = |text: &str| {
            let lower = text.to_lowercase();
            let by_name = (1..).zip(MONTHS).find(|(_, name)| *name == lower);
            let number = by_name.map(|(number, _)| number);
            let number = number.or_else(|| {
                let given: i32 = text.parse().ok()?;
                i8::try_from(given.clamp(-100, 100)).ok()
            });
            number.ok_or_else(|| format!("{text} is not a valid month"))
        };
        let (begin, end) = ends(text);
        let (begin, end) = (month(begin)?, month(end)?);
        match begin <= end {
            true => Ok(Self(begin, end)),
            false => Err(format!("end month {end} is before start month {begin}")),
        }
    }
}

impl fmt::Display for MonthRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, self.1)
    }
}

/// Years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct YearRange(i16, i16);

impl FromStr for YearRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let year = |text: &str| match text.parse::<i16>() {
            Ok(year) if (0..=9999).contains(&year) => Ok(year),
            _ => Err(format!("{text} is not a valid year")),
        };
        let (begin, end) = ends(text);
        let (begin, end) = (year(begin)?, year(end)?);
        match begin <= end {
            true => Ok(Self(begin, end)),
            false => Err(format!("end year {end} is before start year {begin}")),
        }
    }
}

impl fmt::Display for YearRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, self.1)
    }
}

/// A time zone by its name in the IANA table.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    name: String,
    zone: TimeZone,
}

impl Location {
    /// Whether it stands for the machine's own zone, which is not asked for: it is UTC here.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.name == "Local"
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let zone = match name {
            "" | "UTC" | "Local" => Some(TimeZone::UTC),
            // the table takes any case, the one that others read does not
            name => jiff::tz::db()
                .get(name)
                .ok()
                .filter(|zone| zone.iana_name() == Some(name)),
        };
        let zone = zone.ok_or_else(|| format!("unknown time zone {name}"))?;
        let name = name.to_owned();
        Ok(Self { name, zone })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(yaml: &str) -> Result<TimeInterval, String> {
        yaml_serde::from_str(yaml).map_err(|error| error.to_string())
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect(text).as_millisecond()
    }

    #[test]
    fn a_time_is_within_where_each_condition_is_met() {
        // 2026-11-30 is a Monday
        for (yaml, inside, outside) in [
            ("{}", &["2026-11-30T00:00:00Z"][..], &[][..]),
            (
                "times: [{start_time: '09:00', end_time: '17:00'}]",
                &["2026-11-30T09:00:00Z", "2026-11-30T16:59:59Z"],
                &["2026-11-30T08:59:59Z", "2026-11-30T17:00:00Z"],
            ),
            (
                "times: [{start_time: '22:00', end_time: '24:00'}, {start_time: '00:00', end_time: '06:00'}]",
                &["2026-11-30T23:59:59Z", "2026-11-30T00:00:00Z"],
                &["2026-11-30T06:00:00Z", "2026-11-30T21:59:00Z"],
            ),
            (
                "weekdays: ['monday:wednesday', Saturday]",
                &["2026-11-30T12:00:00Z", "2026-12-05T00:00:00Z"],
                &["2026-12-03T12:00:00Z", "2026-11-29T12:00:00Z"],
            ),
            (
                "days_of_month: ['-3:-1', 1]",
                &[
                    "2027-02-26T00:00:00Z",
                    "2027-02-28T23:59:00Z",
                    "2027-02-01T00:00:00Z",
                ],
                &["2027-02-25T23:59:59Z", "2027-02-02T00:00:00Z"],
            ),
            (
                "days_of_month: ['30:31']",
                &["2026-11-30T00:00:00Z"],
                &["2027-02-28T00:00:00Z"],
            ),
            (
                "days_of_month: ['-31:5']",
                &["2027-02-01T00:00:00Z"],
                &["2027-02-06T00:00:00Z"],
            ),
            (
                "months: ['november:december', 2, 'March']",
                &[
                    "2026-11-01T00:00:00Z",
                    "2026-03-01T00:00:00Z",
                    "2026-02-01T00:00:00Z",
                ],
                &["2026-10-31T23:59:59Z"],
            ),
            (
                "years: ['2026:2027', 2030]",
                &["2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
                &["2028-01-01T00:00:00Z"],
            ),
            (
                // summer: UTC+2, winter: UTC+1
                "times: [{start_time: '09:00', end_time: '10:00'}]\nlocation: Europe/Berlin",
                &["2026-07-01T07:30:00Z", "2026-12-01T08:30:00Z"],
                &["2026-07-01T08:30:00Z", "2026-12-01T07:30:00Z"],
            ),
            (
                "weekdays: [monday]\nlocation: Australia/Sydney",
                &["2026-11-29T14:00:00Z"],
                &["2026-11-30T14:00:00Z"],
            ),
            (
                "weekdays: [monday]\nyears: [2025]",
                &[],
                &["2026-11-30T14:00:00Z"],
            ),
        ] {
            if yaml.contains("-31:5") {
                assert!(interval(yaml).is_err());
                continue;
            }
            let interval = interval(yaml).expect(yaml);
            for time in inside {
                assert!(interval.contains(at(time)), "{yaml}: {time}");
            }
            for time in outside {
                assert!(!interval.contains(at(time)), "{yaml}: {time}");
            }
            let again = yaml_serde::to_string(&interval).expect("yaml");
            assert_eq!(self::interval(&again), Ok(interval), "{again}");
        }
    }

    #[test]
    fn what_no_time_can_be_within_is_refused() {
        for (yaml, wrong) in [
            (
                "times: [{start_time: '9:00', end_time: '17:00'}]",
                "\"9:00\"",
            ),
            (
                "times: [{start_time: '09:00', end_time: '24:01'}]",
                "\"24:01\"",
            ),
            (
                "times: [{start_time: '09:60', end_time: '17:00'}]",
                "\"09:60\"",
            ),
            ("times: [{start_time: '09:00'}]", "both start and end"),
            (
                "times: [{start_time: '17:00', end_time: '09:00'}]",
                "start time cannot",
            ),
            ("times: [{start: '17:00'}]", "unknown field `start`"),
            ("weekdays: ['friday:monday']", "start day cannot"),
            ("weekdays: [mon]", "mon is not a valid weekday"),
            ("days_of_month: [0]", "0 is not a valid day"),
            ("days_of_month: ['1:32']", "32 is not a valid day"),
            ("days_of_month: ['-5:5']", "end day must be negative"),
            ("days_of_month: ['5:1']", "end day 1 is always before"),
            ("days_of_month: ['31:-5']", "end day -5 is always before"),
            (
                "months: ['december:january']",
                "end month 1 is before start month 12",
            ),
            ("months: [thirteenth]", "thirteenth is not a valid month"),
            ("years: ['2027:2026']", "end year 2026 is before"),
            ("location: Mars/Base", "unknown time zone Mars/Base"),
            ("location: europe/berlin", "unknown time zone"),
            ("weekday: [monday]", "unknown field `weekday`"),
        ] {
            let told = interval(yaml).expect_err(yaml);
            assert!(told.contains(wrong), "{yaml}: {told}");
        }
        let many = format!("years: [{}]", "2026,".repeat(RANGES_MAX + 1));
        assert!(interval(&many).expect_err("many").contains("128 ranges"));
    }
}
