//! The calendar: what `day_of_week()`, `month()` and their like say of a Unix time, in UTC.

use pulseboard_shared::timestamp::{civil_from_days, days_in_month};

/// A day of the Gregorian calendar.
pub(super) struct Day {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
    /// From 1.
    pub(super) of_year: i64,
    /// Sunday is 0.
    pub(super) of_week: i64,
    /// How many its month has.
    pub(super) in_month: i64,
}

pub(super) fn day(unix_seconds: i64) -> Day {
    let days = unix_seconds.div_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    let before: i64 = (1..month).map(|one| days_in_month(year, one)).sum();
    Day {
        year,
        month,
        day,
        of_year: before + day,
        of_week: (days + 4).rem_euclid(7),
        in_month: days_in_month(year, month),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (seconds, year, month, day_of_month, of_year, of_week) in [
            (0, 1970, 1, 1, 1, 4),
            (1_709_164_800, 2024, 2, 29, 60, 4),
            (1_795_910_400, 2026, 11, 29, 333, 0),
            (-1, 1969, 12, 31, 365, 3),
            (951_782_400, 2000, 2, 29, 60, 2),
        ] {
            let day = day(seconds);
            assert_eq!(
                (day.year, day.month, day.day, day.of_year, day.of_week),
                (year, month, day_of_month, of_year, of_week),
                "{seconds}"
            );
        }
        // Far from here, as Go counts them.
        for (seconds, year, month, day_of_month, of_year, of_week) in [
            (9_007_199_254_740_992, 285_428_751, 11, 12, 316, 1),
            (-9_007_199_254_740_992, -285_424_812, 2, 20, 51, 6),
            (1_000_000_000_000_000_000, 31_688_740_476, 10, 23, 297, 5),
            (-62_135_596_801, 0, 12, 31, 366, 0),
        ] {
            let day = day(seconds);
            assert_eq!(
                (day.year, day.month, day.day, day.of_year, day.of_week),
                (year, month, day_of_month, of_year, of_week),
                "{seconds}"
            );
        }
        // 1900 had no leap day.
        assert_eq!(day(-2_208_988_800 + 40 * 86_400).in_month, 28);
    }
}
