//! Numbers, units and times as people read them. Pure: the time zone comes in as an offset.

use pulseboard_shared::BuiltIn;

use crate::words;

/// What stands where a figure is not known yet; as wide as a figure, so nothing moves later.
pub const UNKNOWN: &str = "––";

/// So many decimals (at most 9), rounded half away from zero, never `-0.0`; [`UNKNOWN`] for NaN
/// and infinities. In whole numbers, since the standard library's way, right to the last digit
/// of any float, takes 13 KB of the page.
#[must_use]
pub fn fixed(value: f64, decimals: u32) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let one = 10_u64.pow(decimals.min(9));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a cast saturates, and what is so large is not shown by its digits"
    )]
    let units = (value.abs() * one as f64).round() as u64;
    let sign = if value < 0.0 && units > 0 { "-" } else { "" };
    let whole = units / one;
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    // One before the decimals keeps their leading zeros; it is taken off again.
    let part = (units % one + one).to_string();
    format!("{sign}{whole}.{}", &part[1..])
}

/// One decimal; see [`fixed`].
#[must_use]
pub fn figure(value: f64) -> String {
    fixed(value, 1)
}

/// Without decimals that say nothing: `42`, `0.5`, `1.25`.
#[must_use]
pub fn plain(value: f64) -> String {
    trimmed(&fixed(value, 6))
}

/// Any figure, short: whole numbers below a million as they are, others with four digits that
/// count, larger ones in thousands of thousands; infinities in words, [`UNKNOWN`] for NaN.
#[must_use]
pub fn value(value: f64) -> String {
    const LARGE: [(f64, &str); 4] = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
    let size = value.abs();
    if let Some(word) = pulseboard_shared::figure::word(value).filter(|_| !value.is_nan()) {
        return word.to_owned();
    }
    if value.is_nan() {
        return UNKNOWN.to_owned();
    }
    if size >= 1e18 || (size > 0.0 && size < 1e-6) {
        let mut power = 0_i32;
        let mut mantissa = value;
        while mantissa.abs() >= 10.0 {
            mantissa /= 10.0;
            power += 1;
        }
        while mantissa.abs() < 1.0 {
            mantissa *= 10.0;
            power -= 1;
        }
        return format!("{}e{power}", fixed(mantissa, 2));
    }
    for (unit, letter) in LARGE {
        if size >= unit {
            return format!("{} {letter}", trimmed(&fixed(value / unit, 3)));
        }
    }
    let decimals = match size {
        _ if value.fract() == 0.0 => 0,
        size if size >= 1e3 => 1,
        size if size >= 1e2 => 1,
        size if size >= 10.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 6,
    };
    trimmed(&fixed(value, decimals))
}

/// A figure and its unit; bytes in the largest unit that leaves a digit before the point, by
/// thousands as the axes have them: `81926` and `B/s` are `81.93` and `kB/s`.
#[must_use]
pub fn measure(figure: f64, unit: &str) -> (String, String) {
    let size = figure.abs();
    let scaled = match size {
        _ if !matches!(unit, "B" | "B/s" | "By" | "By/s" | "bytes") || !size.is_finite() => None,
        size if size >= 1e12 => Some((1e12, "T")),
        size if size >= 1e9 => Some((1e9, "G")),
        size if size >= 1e6 => Some((1e6, "M")),
        size if size >= 1e3 => Some((1e3, "k")),
        _ => None,
    };
    match scaled {
        Some((one, letter)) => {
            let per = if unit.ends_with("/s") { "/s" } else { "" };
            // Four digits that count.
            let decimals = match size / one {
                size if size >= 1e3 => 0,
                size if size >= 1e2 => 1,
                size if size >= 10.0 => 2,
                _ => 3,
            };
            (
                trimmed(&fixed(figure / one, decimals)),
                format!("{letter}B{per}"),
            )
        }
        None => (value(figure), unit.to_owned()),
    }
}

/// Without zeros at the end that say nothing.
pub(crate) fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// A day.
pub const DAY_MS: i64 = 86_400_000;

/// Year, month (from 1) and day of a day since 1 January 1970, by eras of 400 years that begin in
/// March (Hinnant, chrono-compatible low-level date algorithms).
#[must_use]
pub const fn civil(day: i64) -> (i64, i64, i64) {
    let days = day + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = days.div_euclid(146_097) * 400 + year_of_era;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// The first day of a month, since 1 January 1970; the way back from [`civil`].
#[must_use]
pub const fn day_of(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let year_of_era = year.rem_euclid(400);
    let day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

/// `Jan` of 1.
#[must_use]
pub fn month_name(month: i64) -> &'static str {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    usize::try_from(month - 1)
        .ok()
        .and_then(|month| MONTHS.get(month))
        .copied()
        .unwrap_or_default()
}

/// `21 Nov` where local time is UTC + `offset_min`.
#[must_use]
pub fn date(unix_ms: i64, offset_min: i32) -> String {
    let (_, month, day) = civil((unix_ms + i64::from(offset_min) * 60_000).div_euclid(DAY_MS));
    format!("{day} {}", month_name(month))
}

/// A name as people write it: `page_view` is `page view`.
#[must_use]
pub fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// What a crosshair says: `78.4 % at 14:31:07`.
#[must_use]
pub fn reading(value: f64, unit: &str, clock: &str) -> String {
    if value.is_finite() {
        format!("{} {unit} at {clock}", figure(value))
    } else {
        [crate::words::NO_DATA, " at ", clock].concat()
    }
}

/// Milliseconds since midnight where local time is UTC + `offset_min`.
fn ms_of_day(unix_ms: i64, offset_min: i32) -> i64 {
    (unix_ms + i64::from(offset_min) * 60_000).rem_euclid(86_400_000)
}

thread_local! {
    static TWELVE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Has [`clock`] and [`clock_minutes`] write times with 12 hours, or with 24.
pub fn set_twelve_hours(twelve: bool) {
    TWELVE.set(twelve);
}

/// Whether times are written with 12 hours.
#[must_use]
pub fn has_twelve_hours() -> bool {
    TWELVE.get()
}

/// `14:31` as the reader wants it: `2:31 pm` with 12 hours.
fn as_wanted(clock: String) -> String {
    let (Some(hours), true) = (clock.get(..2), has_twelve_hours()) else {
        return clock;
    };
    let hours: u32 = hours.parse().unwrap_or(0);
    let half = if hours < 12 { "am" } else { "pm" };
    format!("{}{} {half}", (hours + 11) % 12 + 1, &clock[2..])
}

/// `14:31:07` where local time is UTC + `offset_min`, or `2:31:07 pm` where that is wanted.
#[must_use]
pub fn clock(unix_ms: i64, offset_min: i32) -> String {
    as_wanted(clock_of_a_day(unix_ms, offset_min))
}

/// `14:31:07` where local time is UTC + `offset_min`.
#[must_use]
pub fn clock_of_a_day(unix_ms: i64, offset_min: i32) -> String {
    let seconds = ms_of_day(unix_ms, offset_min) / 1000;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `14:31` where local time is UTC + `offset_min`, or `2:31 pm` where that is wanted.
#[must_use]
pub fn clock_minutes(unix_ms: i64, offset_min: i32) -> String {
    let minutes = ms_of_day(unix_ms, offset_min) / 60_000;
    as_wanted(format!("{:02}:{:02}", minutes / 60, minutes % 60))
}

/// How long something took: `0 s`, `59 s`, `1 min 5 s`, `1 h 5 min`, `2 d 3 h`.
#[must_use]
pub fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let pair = |first: i64, unit: &str, second: i64, unit_second: &str| {
        if second == 0 {
            format!("{first} {unit}")
        } else {
            format!("{first} {unit} {second} {unit_second}")
        }
    };
    if days > 0 {
        pair(days, "d", hours, "h")
    } else if hours > 0 {
        pair(hours, "h", minutes, "min")
    } else if minutes > 0 {
        pair(minutes, "min", seconds % 60, "s")
    } else {
        format!("{seconds} s")
    }
}

/// Of when something is that is not of now: `as it was 12 s ago`.
#[must_use]
pub fn as_of(age_ms: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds")]
    let age = duration(age_ms as i64);
    format!("as it was {age} ago")
}

/// A tick's period: `250 ms`, `1 s`, `1.5 s`.
#[must_use]
pub fn interval(ms: u64) -> String {
    if ms < 1000 {
        format!("{ms} ms")
    } else if ms.is_multiple_of(1000) {
        format!("{} s", ms / 1000)
    } else {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    }
}

/// `UTC`, `UTC+1`, `UTC−3:30`.
#[must_use]
pub fn zone(offset_min: i32) -> String {
    if offset_min == 0 {
        return words::UTC.to_owned();
    }
    let sign = if offset_min < 0 { '−' } else { '+' };
    let (hours, minutes) = (offset_min.abs() / 60, offset_min.abs() % 60);
    if minutes == 0 {
        format!("UTC{sign}{hours}")
    } else {
        format!("UTC{sign}{hours}:{minutes:02}")
    }
}

/// `1 tick`, `2 ticks`.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// In groups of three digits: `100 000`; the spaces do not break.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// The heading of a metric's card.
#[must_use]
pub const fn card_title(metric: BuiltIn) -> &'static str {
    match metric {
        BuiltIn::Cpu => "CPU Usage",
        BuiltIn::Memory => words::MEMORY,
        BuiltIn::Requests => words::REQUESTS_PER_SECOND,
        BuiltIn::Latency => "Latency",
    }
}

/// The heading of a metric's chart.
#[must_use]
pub const fn chart_title(metric: BuiltIn) -> &'static str {
    match metric {
        BuiltIn::Cpu => "CPU Usage (%)",
        BuiltIn::Memory => "Memory Usage (%)",
        BuiltIn::Requests => words::REQUESTS_PER_SECOND,
        BuiltIn::Latency => "Latency (ms)",
    }
}

/// The last part of a metric's class names, such as `metric-card--cpu`.
#[must_use]
pub const fn slug(metric: BuiltIn) -> &'static str {
    match metric {
        BuiltIn::Cpu => "cpu",
        BuiltIn::Memory => "memory",
        BuiltIn::Requests => "requests",
        BuiltIn::Latency => "latency",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_unit_that_suits_them() {
        for (figure, unit, text) in [
            (81_926.0, "B/s", "81.93 kB/s"),
            (999.0, "B/s", "999 B/s"),
            (-1_500.0, "B", "-1.5 kB"),
            (2.5e9, "By", "2.5 GB"),
            (1.0e15, "bytes", "1000 TB"),
            (123_456.0, "B", "123.5 kB"),
            (81_926.0, "req/s", "81926 req/s"),
            (f64::NAN, "B", "–– B"),
        ] {
            let (number, unit) = measure(figure, unit);
            assert_eq!(format!("{number} {unit}"), text);
        }
    }

    #[test]
    fn figures_have_one_decimal() {
        for (value, text) in [
            (78.44, "78.4"),
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (-0.04, "0.0"),
            (-0.06, "-0.1"),
            (12_345.0, "12345.0"),
            (0.95, "1.0"),
            (f64::NAN, UNKNOWN),
            (f64::INFINITY, UNKNOWN),
        ] {
            assert_eq!(figure(value), text, "{value}");
        }
    }

    #[test]
    fn decimals_are_as_many_as_asked_for() {
        for (value, decimals, text) in [
            (1.005, 0, "1"),
            (-1.5, 0, "-2"),
            (0.049, 2, "0.05"),
            (-0.004, 2, "0.00"),
            (1_795_204_862_345.0, 0, "1795204862345"),
        ] {
            assert_eq!(fixed(value, decimals), text, "{value} to {decimals}");
        }
        for (value, text) in [(42.0, "42"), (0.5, "0.5"), (1.25, "1.25"), (100.0, "100")] {
            assert_eq!(plain(value), text, "{value}");
        }
    }

    #[test]
    fn any_figure_is_short() {
        for (figure, text) in [
            (42.0, "42"),
            (0.0, "0"),
            (-7.0, "-7"),
            (123_456.0, "123456"),
            (123_456.78, "123456.8"),
            (99.987, "99.99"),
            (3.25149, "3.251"),
            (0.05, "0.05"),
            (0.000_123, "0.000123"),
            (1.5e-9, "1.50e-9"),
            (2_500_000.0, "2.5 M"),
            (-16_106_127_360.0, "-16.106 G"),
            (6.02e23, "6.02e23"),
            (f64::NAN, UNKNOWN),
        ] {
            assert_eq!(value(figure), text, "{figure}");
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (unix_ms, offset_min, text) in [
            (0, 0, "1 Jan"),
            (1_795_204_862_345, 0, "20 Nov"),
            (1_795_204_862_345, 300, "21 Nov"),
            (1_709_164_800_000, 0, "29 Feb"),
            (1_709_251_200_000, 0, "1 Mar"),
            (1_709_251_200_000, -1, "29 Feb"),
        ] {
            assert_eq!(date(unix_ms, offset_min), text, "{unix_ms} {offset_min}");
        }
        for (day, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (20_777, (2026, 11, 20)),
        ] {
            assert_eq!(civil(day), date);
        }
        for year in 1899..2101 {
            for month in 1..=12 {
                assert_eq!(civil(day_of(year, month)), (year, month, 1));
            }
        }
    }

    #[test]
    fn readings_say_value_and_time() {
        assert_eq!(reading(78.4, "%", "14:31:07"), "78.4 % at 14:31:07");
        assert_eq!(reading(f64::NAN, "%", "14:31:07"), "no data at 14:31:07");
    }

    #[test]
    fn clocks_follow_the_offset() {
        let moment = 1_795_204_862_345; // 2026-11-20T20:01:02.345Z
        assert_eq!(clock(moment, 0), "20:01:02");
        assert_eq!(clock(moment, 330), "01:31:02");
        assert_eq!(clock_minutes(moment, -600), "10:01");
        assert_eq!(clock(-1, 0), "23:59:59");
        set_twelve_hours(true);
        assert_eq!(clock(moment, 0), "8:01:02 pm");
        assert_eq!(clock_minutes(moment, 240), "12:01 am");
        assert_eq!(clock_minutes(moment, 960), "12:01 pm");
        assert_eq!(clock_of_a_day(moment, 0), "20:01:02");
        set_twelve_hours(false);
    }

    #[test]
    fn durations_use_two_units_at_most() {
        for (ms, text) in [
            (-5, "0 s"),
            (7_900, "7 s"),
            (65_000, "1 min 5 s"),
            (120_000, "2 min"),
            (3_900_000, "1 h 5 min"),
            (183_600_000, "2 d 3 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(interval(250), "250 ms");
        assert_eq!(interval(1000), "1 s");
        assert_eq!(interval(1500), "1.5 s");
    }

    #[test]
    fn zones_and_plurals() {
        assert_eq!(zone(0), "UTC");
        assert_eq!(zone(60), "UTC+1");
        assert_eq!(zone(-210), "UTC−3:30");
        assert_eq!(count(1, "tick", "ticks"), "1 tick");
        assert_eq!(count(0, "tick", "ticks"), "0 ticks");
    }
}
