//! Points in time, in UTC or in a place's own time, and lengths of time, as Go's `time` has them.

use std::sync::OnceLock;

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};

const SECOND: i128 = 1_000_000_000;
/// Go's zero time, the first of January of year 1.
pub const ZERO_MS: i64 = -62_135_596_800_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A point in time, and the zone that it is shown in.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Since 1970, UTC.
    nanoseconds: i128,
    /// `None`: UTC.
    zone: Option<TimeZone>,
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.nanoseconds == other.nanoseconds
    }
}

/// A moment as a calendar and a clock show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: usize,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    pub(crate) nanosecond: u32,
    /// From Sunday, 0.
    pub(crate) weekday: usize,
    /// From 1.
    pub(crate) year_day: u32,
    /// East of Greenwich, in seconds.
    offset: i32,
    abbreviation: String,
}

/// Days since 1970 of a day of the proleptic Gregorian calendar (Howard Hinnant,
/// `chrono`-compatible low-level date algorithms).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of days since 1970; the inverse of [`days_of`].
fn day_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Nanoseconds as far as 64 bits go.
fn clamped(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

impl Moment {
    /// Unix milliseconds, in UTC.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self {
            nanoseconds: i128::from(ms) * 1_000_000,
            zone: None,
        }
    }

    /// Unix nanoseconds, in UTC.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: i128) -> Self {
        Self {
            nanoseconds,
            zone: None,
        }
    }

    /// Unix nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self) -> i128 {
        self.nanoseconds
    }

    /// The same in a place's time: a name of the IANA database, `UTC` or nothing for UTC.
    ///
    /// # Errors
    /// There is no such place.
    pub fn place(&self, name: &str) -> Result<Self, String> {
        static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
        let zone = match name {
            // No machine's own time is looked at.
            "" | "UTC" | "Local" => None,
            name => Some(
                ZONES
                    .get_or_init(TimeZoneDatabase::bundled)
                    .get(name)
                    .map_err(|_error| format!("unknown time zone {name}"))?,
            ),
        };
        Ok(Self {
            nanoseconds: self.nanoseconds,
            zone,
        })
    }

    /// The same in UTC.
    #[must_use]
    pub fn utc(&self) -> Self {
        Self::from_nanoseconds(self.nanoseconds)
    }

    /// So many nanoseconds later.
    #[must_use]
    pub fn plus(&self, nanoseconds: i64) -> Self {
        Self {
            nanoseconds: self.nanoseconds + i128::from(nanoseconds),
            zone: self.zone.clone(),
        }
    }

    /// Nanoseconds since another moment, as far as 64 bits go.
    #[must_use]
    pub fn since(&self, other: &Self) -> i64 {
        clamped(self.nanoseconds - other.nanoseconds)
    }

    /// Go's zero time.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanoseconds == i128::from(ZERO_MS) * 1_000_000
    }

    /// The same day so many years, months and days later; what is no day runs over, as in Go.
    pub(crate) fn plus_date(&self, years: i64, months: i64, days: i64) -> Option<Self> {
        const MOST: i64 = 10_000_000;
        if [years, months, days].iter().any(|count| count.abs() > MOST) {
            return None;
        }
        let civil = self.civil();
        let month = i64::try_from(civil.month).ok()? - 1 + months;
        let year = civil.year + years + month.div_euclid(12);
        let day = days_of(year, month.rem_euclid(12) + 1, 1) + i64::from(civil.day) - 1 + days;
        let clock = i128::from(civil.hour * 3600 + civil.minute * 60 + civil.second) * SECOND
            + i128::from(civil.nanosecond);
        let local = i128::from(day) * 86_400 * SECOND + clock;
        // The offset of the new day may be another one.
        let mut moment = Self {
            nanoseconds: local - i128::from(civil.offset) * SECOND,
            zone: self.zone.clone(),
        };
        let offset = moment.civil().offset;
        moment.nanoseconds = local - i128::from(offset) * SECOND;
        Some(moment)
    }

    /// Down to a multiple of a length since Go's zero time; nothing changes if it is not positive.
    pub(crate) fn truncated(&self, length: i64) -> Self {
        if length <= 0 {
            return self.clone();
        }
        let zero = i128::from(ZERO_MS) * 1_000_000;
        let over = (self.nanoseconds - zero).rem_euclid(i128::from(length));
        Self {
            nanoseconds: self.nanoseconds - over,
            zone: self.zone.clone(),
        }
    }

    /// To the nearest multiple, half upwards.
    pub(crate) fn rounded(&self, length: i64) -> Self {
        if length <= 0 {
            return self.clone();
        }
        let down = self.truncated(length);
        let over = self.nanoseconds - down.nanoseconds;
        if over * 2 < i128::from(length) {
            down
        } else {
            down.plus(length)
        }
    }

    /// What calendar and clock show.
    pub(crate) fn civil(&self) -> Civil {
        let (offset, abbreviation) = match &self.zone {
            None => (0, "UTC".to_owned()),
            Some(zone) => {
                let bounded = self.nanoseconds.clamp(
                    Timestamp::MIN.as_nanosecond(),
                    Timestamp::MAX.as_nanosecond(),
                );
                let at = Timestamp::from_nanosecond(bounded).unwrap_or(Timestamp::UNIX_EPOCH);
                let info = zone.to_offset_info(at);
                (info.offset().seconds(), info.abbreviation().to_owned())
            }
        };
        let local = self.nanoseconds + i128::from(offset) * SECOND;
        let days = clamped(local.div_euclid(86_400 * SECOND));
        let within = local.rem_euclid(86_400 * SECOND);
        let seconds = u32::try_from(within / SECOND).unwrap_or(0);
        let (year, month, day) = day_of(days);
        Civil {
            year,
            month: usize::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            nanosecond: u32::try_from(within % SECOND).unwrap_or(0),
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
            year_day: u32::try_from(days - days_of(year, 1, 1) + 1).unwrap_or(1),
            offset,
            abbreviation,
        }
    }

    /// After one of Go's layouts, such as `2006-01-02 15:04:05`.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        let civil = self.civil();
        let mut out = String::new();
        let mut rest = layout;
        while let Some((part, length)) = part(rest) {
            write(&civil, part, &mut out);
            rest = &rest[length..];
        }
        out
    }

    /// As Go prints it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST")
    }
}

/// Go's name of a month, from 1.
pub(crate) fn month(month: usize) -> &'static str {
    MONTHS[(month.max(1) - 1) % 12]
}

/// Go's name of a day of the week, from Sunday, 0.
pub(crate) fn weekday(day: usize) -> &'static str {
    DAYS[day % 7]
}

/// What stands at the front of a layout.
#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'a str),
    Month,
    ShortMonth,
    MonthNumber {
        digits: usize,
    },
    Weekday,
    ShortWeekday,
    Day {
        digits: usize,
        fill: char,
    },
    YearDay {
        fill: char,
    },
    Hour,
    HalfDayHour {
        digits: usize,
    },
    Minute {
        digits: usize,
    },
    Second {
        digits: usize,
    },
    Year,
    ShortYear,
    HalfDay {
        upper: bool,
    },
    Zone,
    Offset {
        zulu: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    Fraction {
        separator: char,
        digits: usize,
        trims: bool,
    },
}

/// The layout's own words, the longer before those that begin them.
const PARTS: &[(&str, Part<'static>)] = &[
    ("January", Part::Month),
    ("Jan", Part::ShortMonth),
    ("Monday", Part::Weekday),
    ("Mon", Part::ShortWeekday),
    ("MST", Part::Zone),
    ("002", Part::YearDay { fill: '0' }),
    ("01", Part::MonthNumber { digits: 2 }),
    (
        "02",
        Part::Day {
            digits: 2,
            fill: '0',
        },
    ),
    ("03", Part::HalfDayHour { digits: 2 }),
    ("04", Part::Minute { digits: 2 }),
    ("05", Part::Second { digits: 2 }),
    ("06", Part::ShortYear),
    ("15", Part::Hour),
    ("1", Part::MonthNumber { digits: 1 }),
    ("2006", Part::Year),
    (
        "2",
        Part::Day {
            digits: 1,
            fill: '0',
        },
    ),
    ("__2", Part::YearDay { fill: ' ' }),
    (
        "_2",
        Part::Day {
            digits: 2,
            fill: ' ',
        },
    ),
    ("3", Part::HalfDayHour { digits: 1 }),
    ("4", Part::Minute { digits: 1 }),
    ("5", Part::Second { digits: 1 }),
    ("PM", Part::HalfDay { upper: true }),
    ("pm", Part::HalfDay { upper: false }),
    ("Z07:00:00", offset(true, true, true, true)),
    ("Z070000", offset(true, false, true, true)),
    ("Z07:00", offset(true, true, true, false)),
    ("Z0700", offset(true, false, true, false)),
    ("Z07", offset(true, false, false, false)),
    ("-07:00:00", offset(false, true, true, true)),
    ("-070000", offset(false, false, true, true)),
    ("-07:00", offset(false, true, true, false)),
    ("-0700", offset(false, false, true, false)),
    ("-07", offset(false, false, false, false)),
];

const fn offset(zulu: bool, colon: bool, minutes: bool, seconds: bool) -> Part<'static> {
    Part::Offset {
        zulu,
        colon,
        minutes,
        seconds,
    }
}

/// The next part of a layout and its length; `None` at its end.
fn part(layout: &str) -> Option<(Part<'_>, usize)> {
    let first = layout.chars().next()?;
    let is_lower_next = |length: usize| {
        layout[length..]
            .chars()
            .next()
            .is_some_and(|next| next.is_ascii_lowercase())
    };
    for (word, part) in PARTS {
        if !layout.starts_with(word) {
            continue;
        }
        // `Janet` and `Month` are words of somebody's own; `_2006` is a bar before the year.
        let is_word = matches!(part, Part::ShortMonth | Part::ShortWeekday);
        if (is_word && is_lower_next(word.len())) || (*word == "_2" && layout.starts_with("_2006"))
        {
            continue;
        }
        return Some((*part, word.len()));
    }
    if matches!(first, '.' | ',') {
        let digit = layout[1..].chars().next().unwrap_or(' ');
        if matches!(digit, '0' | '9') {
            let count = layout[1..].chars().take_while(|one| *one == digit).count();
            let ends = !layout[1 + count..].starts_with(|next: char| next.is_ascii_digit());
            if ends {
                let fraction = Part::Fraction {
                    separator: first,
                    digits: count,
                    trims: digit == '9',
                };
                return Some((fraction, 1 + count));
            }
        }
    }
    let length = first.len_utf8();
    Some((Part::Text(&layout[..length]), length))
}

fn padded(number: u32, digits: usize, fill: char, out: &mut String) {
    let text = number.to_string();
    for _ in text.len()..digits {
        out.push(fill);
    }
    out.push_str(&text);
}

fn write(civil: &Civil, part: Part<'_>, out: &mut String) {
    let half = match civil.hour % 12 {
        0 => 12,
        hour => hour,
    };
    match part {
        Part::Text(text) => out.push_str(text),
        Part::Month => out.push_str(month(civil.month)),
        Part::ShortMonth => out.push_str(&month(civil.month)[..3]),
        Part::MonthNumber { digits } => {
            padded(u32::try_from(civil.month).unwrap_or(1), digits, '0', out);
        }
        Part::Weekday => out.push_str(weekday(civil.weekday)),
        Part::ShortWeekday => out.push_str(&weekday(civil.weekday)[..3]),
        Part::Day { digits, fill } => padded(civil.day, digits, fill, out),
        Part::YearDay { fill } => padded(civil.year_day, 3, fill, out),
        Part::Hour => padded(civil.hour, 2, '0', out),
        Part::HalfDayHour { digits } => padded(half, digits, '0', out),
        Part::Minute { digits } => padded(civil.minute, digits, '0', out),
        Part::Second { digits } => padded(civil.second, digits, '0', out),
        Part::Year => {
            if civil.year < 0 {
                out.push('-');
            }
            out.push_str(&format!("{:04}", civil.year.unsigned_abs()));
        }
        Part::ShortYear => out.push_str(&format!("{:02}", civil.year.rem_euclid(100))),
        Part::HalfDay { upper } => out.push_str(match (civil.hour >= 12, upper) {
            (true, true) => "PM",
            (false, true) => "AM",
            (true, false) => "pm",
            (false, false) => "am",
        }),
        // A place without letters of its own for its time has numbers.
        Part::Zone => out.push_str(&civil.abbreviation),
        Part::Offset { zulu: true, .. } if civil.offset == 0 => out.push('Z'),
        Part::Offset {
            colon,
            minutes,
            seconds,
            ..
        } => {
            let size = civil.offset.unsigned_abs();
            out.push(if civil.offset < 0 { '-' } else { '+' });
            padded(size / 3600, 2, '0', out);
            for (shown, number) in [(minutes, size / 60 % 60), (seconds, size % 60)] {
                if shown {
                    if colon {
                        out.push(':');
                    }
                    padded(number, 2, '0', out);
                }
            }
        }
        Part::Fraction {
            separator,
            digits,
            trims,
        } => {
            let all = format!("{:09}", civil.nanosecond);
            let mut text: String = all.chars().take(digits).collect();
            while text.len() < digits && !trims {
                text.push('0');
            }
            if trims {
                text.truncate(text.trim_end_matches('0').len());
                if text.is_empty() {
                    return;
                }
            }
            out.push(separator);
            out.push_str(&text);
        }
    }
}

/// A length of time as Go prints it: `1h15m30.5s`, `100ms`, `0s`.
#[must_use]
pub fn duration(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |size: u64, unit: u64| {
        let mut text = (size / unit).to_string();
        let width = unit.ilog10() as usize;
        let after = format!("{:0width$}", size % unit);
        let after = after.trim_end_matches('0');
        if !size.is_multiple_of(unit) {
            text.push('.');
            text.push_str(after);
        }
        text
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(size, 1_000_000)),
        _ => {
            let seconds = fraction(size % 60_000_000_000, 1_000_000_000);
            let minutes = size / 60_000_000_000;
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_after_gos_layouts() {
        // The time of Go's own documentation, with a fraction.
        let moment = Moment::from_ms(1_136_239_445_120);
        for (layout, text) in [
            ("Mon Jan _2 15:04:05 2006", "Mon Jan  2 22:04:05 2006"),
            (
                "Monday, 02-Jan-06 15:04:05 MST",
                "Monday, 02-Jan-06 22:04:05 UTC",
            ),
            ("2006-01-02T15:04:05Z07:00", "2006-01-02T22:04:05Z"),
            (
                "2006-01-02T15:04:05.999999999Z07:00",
                "2006-01-02T22:04:05.12Z",
            ),
            ("3:04PM", "10:04PM"),
            ("03:04:05 pm", "10:04:05 pm"),
            ("Jan _2 15:04:05.000000", "Jan  2 22:04:05.120000"),
            ("15:04:05,000", "22:04:05,120"),
            ("1/2/06 -0700 -07:00 -07", "1/2/06 +0000 +00:00 +00"),
            ("002 __2 _2006", "002   2 _2006"),
            ("Month of Janet", "Month of Janet"),
            ("January 2006", "January 2006"),
            ("4'5\"", "4'5\""),
            ("15h", "22h"),
            ("é.0x", "é.0x"),
            ("", ""),
        ] {
            let text = if layout == "é.0x" { "é.1x" } else { text };
            assert_eq!(moment.format(layout), text, "{layout}");
        }
        assert_eq!(moment.shown(), "2006-01-02 22:04:05.12 +0000 UTC");
        assert_eq!(
            Moment::from_ms(ZERO_MS).shown(),
            "0001-01-01 00:00:00 +0000 UTC"
        );
    }

    #[test]
    fn places_have_their_own_time() {
        let summer = Moment::from_ms(1_720_000_000_000);
        let berlin = summer
            .place("Europe/Berlin")
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(berlin.shown(), "2024-07-03 11:46:40 +0200 CEST");
        assert_eq!(berlin.format("Z07:00"), "+02:00");
        let winter = Moment::from_ms(1_704_067_200_000).place("America/New_York");
        assert_eq!(
            winter.map(|moment| moment.shown()),
            Ok("2023-12-31 19:00:00 -0500 EST".to_owned())
        );
        assert_eq!(
            summer.place("").map(|moment| moment.shown()),
            Ok(summer.shown())
        );
        assert_eq!(
            summer.place("Mars/Olympus").map(|moment| moment.shown()),
            Err("unknown time zone Mars/Olympus".to_owned())
        );
        // Far from every calendar.
        for ms in [i64::MIN, i64::MAX] {
            let far = Moment::from_ms(ms);
            assert!(!far.shown().is_empty());
            assert!(
                far.place("Asia/Kathmandu")
                    .is_ok_and(|far| !far.shown().is_empty())
            );
        }
    }

    #[test]
    fn days_run_over_as_in_go() {
        // 2024-01-31
        let last = Moment::from_ms(1_706_659_200_000);
        let day = |years, months, days| {
            last.plus_date(years, months, days)
                .map(|moment| moment.format("2006-01-02"))
        };
        assert_eq!(day(0, 1, 0).as_deref(), Some("2024-03-02"));
        assert_eq!(day(1, -2, 0).as_deref(), Some("2024-12-01"));
        assert_eq!(day(0, 0, -31).as_deref(), Some("2023-12-31"));
        assert_eq!(day(i64::MAX, 0, 0), None);
    }

    #[test]
    fn lengths_of_time_are_written_as_go_does() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (-3_300_000_000, "-3.3s"),
            (245_000_000_000, "4m5s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
