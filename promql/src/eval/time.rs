//! The calendar: what `hour()`, `month()` and their like say of a Unix time, in UTC.

/// A day by the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
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
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

/// Days of a month.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn day(unix_seconds: i64) -> Day {
    let days = unix_seconds.div_euclid(86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_shifted_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_shifted_year + 2) / 153;
    let day = of_shifted_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let before: i64 = (1..month).map(|one| days_in_month(year, one)).sum();
    Day {
        year,
        month,
        day,
        of_year: before + day,
        of_week: (days + 4).rem_euclid(7),
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
        assert_eq!(days_in_month(1900, 2), 28);
    }
}
