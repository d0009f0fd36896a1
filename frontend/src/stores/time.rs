//! Which time is looked at: two ends, each a moment or so long before now, as the reader types them
//! and as the address has them. Knows no clock and no zone; both are given.

use crate::{
    format::{DAY_MS, civil, day_of},
    net::{address::param, json::Json},
};

/// A range as the address and the buttons have it; the last is the longest that a server keeps by
/// default.
pub const RANGES: [(&str, &str, f64); 9] = [
    ("5m", crate::words::FIVE_MINUTES, 300_000.0),
    ("15m", crate::words::QUARTER_HOUR, 900_000.0),
    ("1h", "1 h", 3_600_000.0),
    ("6h", "6 h", 21_600_000.0),
    ("24h", "24 h", 86_400_000.0),
    ("7d", "7 d", 604_800_000.0),
    ("30d", "30 d", 2_592_000_000.0),
    ("1y", "1 y", 31_536_000_000.0),
    ("2y", "2 y", 63_072_000_000.0),
];

/// The range that is shown where the address has none, in [`RANGES`].
const USUAL: usize = 1;

/// What ends so near to now, in parts of its length, ends now.
const NEAR: f64 = 0.01;

/// Shorter than this nothing is shown.
pub const SHORTEST_MS: f64 = 1_000.0;
/// Longer than this nothing is shown: ten years.
pub const LONGEST_MS: f64 = 315_360_000_000.0;

/// Lengths of time by their letter, as Prometheus and Grafana have them.
const UNITS: [(char, i64); 7] = [
    ('s', 1_000),
    ('m', 60_000),
    ('h', 3_600_000),
    ('d', DAY_MS),
    ('w', 7 * DAY_MS),
    ('M', 30 * DAY_MS),
    ('y', 365 * DAY_MS),
];

/// One end of what is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// So many milliseconds before now.
    Ago(f64),
    /// Unix milliseconds.
    At(f64),
}

impl Bound {
    /// The moment, Unix milliseconds.
    #[must_use]
    pub fn at(self, now_ms: f64) -> f64 {
        match self {
            Self::Ago(ms) => now_ms - ms,
            Self::At(at_ms) => at_ms,
        }
    }

    /// Reads what the reader typed: `now`, `now-6h`, `now/d` (midnight), Unix milliseconds,
    /// `2026-11-28 14:00`, `2026-11-28T14:00:00Z`, `14:00`, `yesterday 14:00`, `today`. Times of
    /// day are where `zone` says how many minutes local time is ahead of UTC.
    #[must_use]
    pub fn read(text: &str, now_ms: f64, zone: fn(f64) -> i32) -> Option<Self> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("now") {
            let (back, floor) = match rest.split_once('/') {
                Some((back, "d")) => (back, true),
                Some(_) => return None,
                None => (rest, false),
            };
            let ago = match back.trim() {
                "" => 0.0,
                back => duration(back.strip_prefix('-')?.trim_start())?,
            };
            return Some(match floor {
                true => Self::At(midnight(now_ms - ago, zone)),
                false => Self::Ago(ago),
            });
        }
        if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // The standard library's parser of floats would bring tables of 10 kB along.
            return Json::parse(text)?.number().map(Self::At);
        }
        let (day, clock) = match text.split_once([' ', 'T', ',']) {
            Some((day, clock)) => (day, clock.trim_start()),
            None if text.contains(':') => ("today", text),
            None => (text, ""),
        };
        let (clock, in_utc) = match clock.strip_suffix('Z') {
            Some(clock) => (clock, true),
            None => (clock, false),
        };
        #[expect(clippy::cast_precision_loss, reason = "a day since 1970")]
        let midnight_ms = match day.to_ascii_lowercase().as_str() {
            "today" => midnight(now_ms, zone),
            // Noon of the day before, wherever clocks were put forward.
            "yesterday" => midnight(midnight(now_ms, zone) - 43_200_000.0, zone),
            day if in_utc => calendar_day(day)? as f64 * DAY_MS as f64,
            day => local(calendar_day(day)? as f64 * DAY_MS as f64, zone),
        };
        let into_day = time_of_day(clock)?;
        // By the clock on the wall, also on a day of 23 hours.
        let at_ms = match in_utc {
            true => midnight_ms + into_day,
            false => {
                let wall = midnight_ms + f64::from(zone(midnight_ms)) * 60_000.0 + into_day;
                local(wall, zone)
            }
        };
        Some(Self::At(at_ms))
    }

    /// As the address has it: `now-6h`, or Unix milliseconds.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Ago(0.0) => "now".to_owned(),
            Self::Ago(ms) => ["now-", &short(ms)].concat(),
            Self::At(at_ms) => crate::format::fixed(at_ms, 0),
        }
    }
}

/// The moment at which a clock on the wall shows `wall_ms` since 1970.
fn local(wall_ms: f64, zone: fn(f64) -> i32) -> f64 {
    let guess = wall_ms - f64::from(zone(wall_ms)) * 60_000.0;
    wall_ms - f64::from(zone(guess)) * 60_000.0
}

/// When the day of `at_ms` began.
fn midnight(at_ms: f64, zone: fn(f64) -> i32) -> f64 {
    let wall = at_ms + f64::from(zone(at_ms)) * 60_000.0;
    #[expect(clippy::cast_precision_loss, reason = "a day of milliseconds")]
    let day = (wall / DAY_MS as f64).floor() * DAY_MS as f64;
    local(day, zone)
}

/// `2026-11-28` as days since 1970.
fn calendar_day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut part = || -> Option<i64> { parts.next()?.parse().ok() };
    let (year, month, day) = (part()?, part()?, part()?);
    if parts.next().is_some() || !(1970..10_000).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let number = day_of(year, month) + day - 1;
    (civil(number) == (year, month, day)).then_some(number)
}

/// `14:00`, `14:00:30`, or nothing, as milliseconds since midnight.
fn time_of_day(text: &str) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let mut parts = text.split(':');
    let hours: u32 = parts.next()?.trim().parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |text| {
        let whole: u32 = text.split('.').next()?.parse().ok()?;
        Some(f64::from(whole))
    })?;
    let is_time = parts.next().is_none() && hours <= 24 && minutes < 60 && seconds < 61.0;
    is_time.then_some(f64::from(hours * 3_600 + minutes * 60) * 1_000.0 + seconds * 1_000.0)
}

/// `6h`, `1d12h`, `90m` in milliseconds.
#[must_use]
pub fn duration(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u32 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?.chars().next()?;
        let (_, ms) = UNITS.iter().find(|(letter, _)| *letter == unit)?;
        #[expect(clippy::cast_precision_loss, reason = "at most a year of milliseconds")]
        let ms = *ms as f64;
        sum += f64::from(count) * ms;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty() && sum <= LONGEST_MS).then_some(sum)
}

/// The way back from [`duration`]: `90m`, `6h`, `2d`; whole seconds.
#[must_use]
pub fn short(ms: f64) -> String {
    let seconds = (ms / 1_000.0).round();
    for (letter, unit) in [
        ("w", 604_800.0),
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("m", 60.0),
    ] {
        if seconds > 0.0 && seconds % unit == 0.0 {
            return [&crate::format::fixed(seconds / unit, 0), letter].concat();
        }
    }
    [&crate::format::fixed(seconds, 0), "s"].concat()
}

/// The time that a page shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeRange {
    /// Its left edge.
    pub from: Bound,
    /// Its right edge.
    pub to: Bound,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self::last(RANGES[USUAL].2)
    }
}

impl TimeRange {
    /// So long, ending now.
    #[must_use]
    pub const fn last(ms: f64) -> Self {
        Self {
            from: Bound::Ago(ms),
            to: Bound::Ago(0.0),
        }
    }

    /// From one moment to another.
    #[must_use]
    pub const fn between(from_ms: f64, to_ms: f64) -> Self {
        Self {
            from: Bound::At(from_ms),
            to: Bound::At(to_ms),
        }
    }

    /// Of an address: `range=1h`, or `from=…&to=…` where the end may be left out.
    #[must_use]
    pub fn read(asked: &str, now_ms: f64, zone: fn(f64) -> i32) -> Option<Self> {
        let bound = |name| Bound::read(&param(asked, name)?, now_ms, zone);
        if let Some(from) = bound("from") {
            let to = bound("to").unwrap_or(Bound::Ago(0.0));
            return Self { from, to }.checked(now_ms);
        }
        let ms = duration(&param(asked, "range")?)?;
        Self::last(ms).checked(now_ms)
    }

    /// Itself, unless its ends are the wrong way round or too near or far from each other.
    #[must_use]
    pub fn checked(self, now_ms: f64) -> Option<Self> {
        let length = self.to.at(now_ms) - self.from.at(now_ms);
        (SHORTEST_MS..=LONGEST_MS).contains(&length).then_some(self)
    }

    /// From one moment to another, as somebody chose them on a chart: what ends now goes on with
    /// the clock.
    #[must_use]
    pub fn settled(from_ms: f64, to_ms: f64, now_ms: f64) -> Self {
        let length_ms = to_ms - from_ms;
        if to_ms >= now_ms - length_ms * NEAR {
            Self::last(now_ms - from_ms)
        } else {
            Self::between(from_ms.round(), to_ms.round())
        }
    }

    /// So many of its lengths later; `None` where that is not yet, or nobody was there.
    #[must_use]
    pub fn moved(self, now_ms: f64, lengths: f64) -> Option<Self> {
        let (from_ms, to_ms) = self.ends(now_ms);
        let length_ms = to_ms - from_ms;
        let by = length_ms * lengths;
        if by > 0.0 && to_ms + by >= now_ms {
            return (!self.is_live()).then_some(Self::last(length_ms));
        }
        Self::between((from_ms + by).round(), (to_ms + by).round()).checked(now_ms)
    }

    /// So many times as long: ending now where it does, else around its middle.
    #[must_use]
    pub fn zoomed(self, now_ms: f64, times: f64) -> Option<Self> {
        let (from_ms, to_ms) = self.ends(now_ms);
        let length_ms = to_ms - from_ms;
        let more = length_ms * (times - 1.0) / 2.0;
        let next = match self.is_live() {
            true => Self::last((length_ms * times).round()),
            false => Self::settled(from_ms - more, to_ms + more, now_ms),
        };
        next.checked(now_ms)
    }

    /// As the address has it.
    #[must_use]
    pub fn query(self) -> String {
        match (self.from, self.to) {
            (Bound::Ago(ms), Bound::Ago(0.0)) => {
                let known = RANGES.iter().find(|range| range.2 == ms);
                let key = known.map_or_else(|| short(ms), |range| range.0.to_owned());
                ["range=", &key].concat()
            }
            (from, to) => format!("from={}&to={}", from.text(), to.text()),
        }
    }

    /// Which of [`RANGES`] it is.
    #[must_use]
    pub fn known(self) -> Option<usize> {
        let is_live = self.to == Bound::Ago(0.0);
        let place = RANGES
            .iter()
            .position(|range| Bound::Ago(range.2) == self.from);
        place.filter(|_| is_live)
    }

    /// Goes on with the clock.
    #[must_use]
    pub fn is_live(self) -> bool {
        self.to == Bound::Ago(0.0)
    }

    /// Where it begins and ends, Unix milliseconds.
    #[must_use]
    pub fn ends(self, now_ms: f64) -> (f64, f64) {
        (self.from.at(now_ms), self.to.at(now_ms))
    }

    /// How long it is, milliseconds.
    #[must_use]
    pub fn length_ms(self, now_ms: f64) -> f64 {
        let (from_ms, to_ms) = self.ends(now_ms);
        to_ms - from_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 28 November 2026, 15:00:00 UTC.
    const NOW: f64 = 1_795_878_000_000.0;

    fn east(_: f64) -> i32 {
        60
    }

    fn at(text: &str) -> Option<f64> {
        Bound::read(text, NOW, east).map(|bound| bound.at(NOW))
    }

    #[test]
    fn reads_what_people_type() {
        let hour = 3_600_000.0;
        for (text, ms) in [
            ("now", NOW),
            ("now-6h", NOW - 6.0 * hour),
            (" now - 1d12h ", NOW - 36.0 * hour),
            ("now/d", NOW - 16.0 * hour),
            ("now-1d/d", NOW - 40.0 * hour),
            ("14:00", NOW - 2.0 * hour),
            ("today 14:00:30", NOW - 2.0 * hour + 30_000.0),
            ("today", NOW - 16.0 * hour),
            ("yesterday 14:00", NOW - 26.0 * hour),
            ("Yesterday", NOW - 40.0 * hour),
            ("2026-11-28 16:00", NOW),
            ("2026-11-28T15:00:00Z", NOW),
            ("2026-11-28", NOW - 16.0 * hour),
            ("1795878000000", NOW),
        ] {
            assert_eq!(at(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "later",
            "now+1h",
            "now-",
            "now-6",
            "now-6x",
            "now/y",
            "25:61",
            "2026-02-30",
            "2026-13-01",
            "99",
            "yesterday at noon",
            "now-99999y",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn time_is_moved_and_zoomed() {
        let hour = 3_600_000.0;
        let live = TimeRange::last(hour);
        assert_eq!(live.moved(NOW, 0.5), None, "nobody knows what will be");
        let earlier = live.moved(NOW, -0.5);
        let half = TimeRange::between(NOW - 1.5 * hour, NOW - 0.5 * hour);
        assert_eq!(earlier, Some(half));
        assert_eq!(half.moved(NOW, 0.5), Some(live), "back to live");
        assert_eq!(live.zoomed(NOW, 2.0), Some(TimeRange::last(2.0 * hour)));
        assert_eq!(
            half.zoomed(NOW, 0.5),
            Some(TimeRange::between(NOW - 1.25 * hour, NOW - 0.75 * hour))
        );
        assert_eq!(TimeRange::last(1_000.0).zoomed(NOW, 0.5), None);
        assert_eq!(
            TimeRange::settled(NOW - hour, NOW - 1_000.0, NOW),
            live,
            "what ends a moment ago ends now"
        );
    }

    #[test]
    fn days_of_23_hours_are_known() {
        // Clocks are put from 2:00 to 3:00 at 1:00 UTC on 29 March 2026.
        fn berlin(at_ms: f64) -> i32 {
            if at_ms < 1_774_746_000_000.0 { 60 } else { 120 }
        }
        let at = |text: &str| Bound::read(text, 1_774_800_000_000.0, berlin).map(Bound::text);
        assert_eq!(at("2026-03-29 01:00").as_deref(), Some("1774742400000"));
        assert_eq!(at("2026-03-29 04:00").as_deref(), Some("1774749600000"));
        assert_eq!(at("yesterday 23:00").as_deref(), Some("1774735200000"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for bound in [Bound::Ago(0.0), Bound::Ago(5_400_000.0), Bound::At(NOW)] {
            assert_eq!(Bound::read(&bound.text(), NOW, east), Some(bound));
        }
        for range in RANGES {
            assert_eq!(duration(range.0), Some(range.2));
            assert_eq!(
                TimeRange::last(range.2).query(),
                format!("range={}", range.0)
            );
        }
        let range = TimeRange {
            from: Bound::Ago(7_200_000.0),
            to: Bound::Ago(3_600_000.0),
        };
        assert_eq!(range.query(), "from=now-2h&to=now-1h");
        assert_eq!((range.known(), range.is_live()), (None, false));
        let read = |asked: &str| TimeRange::read(asked, NOW, east);
        assert_eq!(read(&range.query()), Some(range));
        assert_eq!(
            read("match=a&range=90m"),
            Some(TimeRange::last(5_400_000.0))
        );
        assert_eq!(
            read("from=yesterday+14:00&to=now")
                .map(TimeRange::query)
                .as_deref(),
            Some("from=1795784400000&to=now")
        );
        assert_eq!(read("from=now&to=now-1h"), None);
        assert_eq!(TimeRange::default().known(), Some(1));
        assert_eq!(TimeRange::between(5.0, 3.0).checked(NOW), None);
        assert_eq!(short(5_400_000.0), "90m");
        assert_eq!(short(45_500.0), "46s");
    }
}
