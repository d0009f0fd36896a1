//! Where the time axis has marks: what clocks and calendars are divided by, in local time.
//!
//! A mark has one line of words, or two on axes of more than half a day: the time (or date), and
//! under it the date (or year) where that is another one than at the mark before. On shorter axes
//! the first mark of a day says the date in place of the time.

use crate::format::{self, DAY_MS};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// From here on days are too short to be told by the time alone.
const DATED_FROM_MS: f64 = 12.0 * 3_600_000.0;

/// Marks that an axis has at least, where they find room.
const MARKS_MIN: usize = 3;

/// More marks than these have so many characters of room each.
const CROWD: f64 = 7.0;
const CROWDED: f64 = 9.0;

/// Between two marks' words, in characters.
const APART: f64 = 1.6;

/// How far marks are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Every {
    /// Milliseconds: parts of a day.
    Clock(i64),
    /// Days; those of a week are Mondays.
    Days(i64),
    /// Months: parts of a year, or years.
    Months(i64),
}

/// From short to long, each at most twice as long as the one before, so that some step always
/// leaves three to six marks.
const STEPS: [Every; 35] = {
    use Every::{Clock, Days, Months};
    [
        Clock(1_000),
        Clock(2_000),
        Clock(3_000),
        Clock(5_000),
        Clock(10_000),
        Clock(15_000),
        Clock(20_000),
        Clock(30_000),
        Clock(MINUTE_MS),
        Clock(2 * MINUTE_MS),
        Clock(3 * MINUTE_MS),
        Clock(5 * MINUTE_MS),
        Clock(10 * MINUTE_MS),
        Clock(15 * MINUTE_MS),
        Clock(20 * MINUTE_MS),
        Clock(30 * MINUTE_MS),
        Clock(HOUR_MS),
        Clock(2 * HOUR_MS),
        Clock(3 * HOUR_MS),
        Clock(4 * HOUR_MS),
        Clock(6 * HOUR_MS),
        Clock(8 * HOUR_MS),
        Clock(12 * HOUR_MS),
        Days(1),
        Days(2),
        Days(4),
        Days(7),
        Days(14),
        Months(1),
        Months(2),
        Months(3),
        Months(6),
        Months(12),
        Months(24),
        Months(60),
    ]
};

/// One mark of the time axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeMark {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// What it says; empty where there is no room for it.
    pub text: String,
    /// In the second line: the date or year, where it is another one.
    pub under: String,
}

/// Whether an axis of this length has a second line.
#[must_use]
pub fn has_dates(span_ms: f64) -> bool {
    span_ms > DATED_FROM_MS
}

impl Every {
    /// About how many milliseconds.
    const fn ms(self) -> i64 {
        match self {
            Self::Clock(ms) => ms,
            Self::Days(days) => days * DAY_MS,
            Self::Months(months) => months * 30 * DAY_MS,
        }
    }

    /// The moments in `from..=to`; `offset` is how many minutes local time is ahead of UTC.
    fn marks(self, from: i64, to: i64, offset: &impl Fn(i64) -> i32) -> Vec<i64> {
        let local = |at_ms: i64| at_ms + i64::from(offset(at_ms)) * MINUTE_MS;
        // The moment of a local midnight; where clocks are put forward at midnight, the moment
        // when they are.
        let midnight = |day: i64| {
            let wall = day * DAY_MS;
            let guess = wall - i64::from(offset(wall)) * MINUTE_MS;
            wall - i64::from(offset(guess)) * MINUTE_MS
        };
        let (first_day, last_day) = (local(from).div_euclid(DAY_MS), local(to).div_euclid(DAY_MS));
        let days: Vec<i64> = match self {
            Self::Clock(step) => {
                // Zones are ahead of UTC by whole quarters of an hour, and so is their change.
                let (mut grain, mut rest) = (15 * MINUTE_MS, step);
                while rest > 0 {
                    (grain, rest) = (rest, grain % rest);
                }
                let first = -(-from).div_euclid(grain) * grain;
                let all = std::iter::successors(Some(first), |at_ms| Some(at_ms + grain));
                return all
                    .take_while(|at_ms| *at_ms <= to)
                    .filter(|at_ms| local(*at_ms).rem_euclid(step) == 0)
                    .collect();
            }
            // Day 4 after 1 January 1970 was a Monday.
            Self::Days(step) => {
                let first = 4 + -(4 - first_day).div_euclid(step) * step;
                (first..=last_day + 1)
                    .step_by(usize::try_from(step).unwrap_or(1))
                    .collect()
            }
            Self::Months(step) => {
                let (year, month, _) = format::civil(first_day);
                let first = (year * 12 + month - 1).div_euclid(step) * step;
                (0..64)
                    .map(|index| first + index * step)
                    .map(|months| format::day_of(months.div_euclid(12), months.rem_euclid(12) + 1))
                    .take_while(|day| *day <= last_day + 1)
                    .collect()
            }
        };
        let moments = days.into_iter().map(midnight);
        moments
            .filter(|at_ms| (from..=to).contains(at_ms))
            .collect()
    }
}

/// The marks from `from_ms` to `to_ms` where there is room for `characters` across; `offset` is how
/// many minutes local time is ahead of UTC at a moment.
#[must_use]
pub fn time_marks(
    from_ms: f64,
    to_ms: f64,
    characters: f64,
    offset: impl Fn(i64) -> i32,
) -> Vec<TimeMark> {
    let span_ms = to_ms - from_ms;
    if !(from_ms.is_finite() && to_ms.is_finite() && span_ms > 0.0) {
        return Vec::new();
    }
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let (from, to) = (from_ms.ceil() as i64, to_ms.floor() as i64);
    // A week or two with the same offset at its ends has it throughout.
    let ends = (offset(from), offset(to));
    let is_same = ends.0 == ends.1 && to - from < 14 * DAY_MS;
    let offset = |at_ms: i64| if is_same { ends.0 } else { offset(at_ms) };

    // The shortest step whose words find room; else the one of which most do.
    let mut best = (0, Vec::new());
    for every in STEPS {
        #[expect(clippy::cast_precision_loss, reason = "a number of marks")]
        let number = span_ms / every.ms() as f64;
        // Marks that crowd say no more than half of them, and a longer step leaves three at least.
        if number > CROWD && number * CROWDED > characters {
            continue;
        }
        let mut marks = words(every, every.marks(from, to, &offset), span_ms, &offset);
        let mut end = f64::NEG_INFINITY;
        let mut read = 0;
        for mark in &mut marks {
            #[expect(clippy::cast_precision_loss, reason = "a few characters, Unix ms")]
            let (half, at) = (
                mark.text.chars().count().max(mark.under.chars().count()) as f64 / 2.0,
                (mark.at_ms as f64 - from_ms) / span_ms * characters,
            );
            // As they are painted: inside, so that none is cut off at an edge.
            let at = at.min(characters + 1.0 - half).max(half - 6.0);
            if at - half < end {
                mark.text.clear();
            } else {
                end = at + half + APART;
                read += 1;
            }
        }
        if read == marks.len() && read >= MARKS_MIN {
            return marks;
        }
        if read >= best.0.min(MARKS_MIN) {
            best = (read, marks);
        }
        if number < 1.0 {
            break;
        }
    }
    best.1
}

/// What each mark says.
fn words(
    every: Every,
    moments: Vec<i64>,
    span_ms: f64,
    offset: &impl Fn(i64) -> i32,
) -> Vec<TimeMark> {
    let mut before = None;
    let two_lines = has_dates(span_ms);
    let mut marks = Vec::with_capacity(moments.len());
    for at_ms in moments {
        let minutes = offset(at_ms);
        let day = (at_ms + i64::from(minutes) * MINUTE_MS).div_euclid(DAY_MS);
        let (year, month, _) = format::civil(day);
        let date = format::date(at_ms, minutes);
        let (text, under, now) = match every {
            Every::Clock(step) => {
                let time = if step < MINUTE_MS {
                    format::clock(at_ms, minutes)
                } else {
                    format::clock_minutes(at_ms, minutes)
                };
                (time, date, day)
            }
            Every::Days(_) => (date, year.to_string(), year),
            Every::Months(step) if step < 12 => {
                (format::month_name(month).to_owned(), year.to_string(), year)
            }
            Every::Months(_) => (year.to_string(), String::new(), year),
        };
        let is_other = before != Some(now);
        let (text, under) = match (two_lines, is_other) {
            (true, true) => (text, under),
            // The first mark of a day.
            (false, true) if before.is_some() => (under, String::new()),
            _ => (text, String::new()),
        };
        before = Some(now);
        marks.push(TimeMark { at_ms, text, under });
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20T20:01:02.345Z.
    const NOW: f64 = 1_795_204_862_345.0;

    fn texts(marks: &[TimeMark]) -> Vec<String> {
        let both = |mark: &TimeMark| match mark.under.as_str() {
            "" => mark.text.clone(),
            under => format!("{}/{under}", mark.text),
        };
        marks.iter().map(both).collect()
    }

    fn back(days: f64, characters: f64) -> Vec<String> {
        texts(&time_marks(
            NOW - days * 86_400_000.0,
            NOW,
            characters,
            |_| 60,
        ))
    }

    #[test]
    fn marks_are_what_clocks_and_calendars_show() {
        assert_eq!(back(1.0 / 1_440.0, 60.0)[..2], ["21:00:15", "21:00:30"]);
        assert_eq!(
            back(5.0 / 1_440.0, 60.0),
            ["20:57", "20:58", "20:59", "21:00", "21:01"]
        );
        assert_eq!(
            back(1.0, 60.0),
            ["00:00/20 Nov", "04:00", "08:00", "12:00", "16:00", "20:00"].map(str::to_owned)
        );
        assert_eq!(
            back(7.0, 60.0),
            [
                "14 Nov/2026",
                "15 Nov",
                "16 Nov",
                "17 Nov",
                "18 Nov",
                "19 Nov",
                "20 Nov"
            ]
        );
        assert_eq!(
            back(30.0, 40.0),
            ["26 Oct/2026", "2 Nov", "9 Nov", "16 Nov"]
        );
        assert_eq!(back(730.0, 60.0), ["Jan/2025", "Jul", "Jan/2026", "Jul"]);
        assert_eq!(back(730.0, 25.0), ["Jan/2025", "Jul", "Jan/2026", "Jul"]);
    }

    #[test]
    fn midnight_says_which_day_begins() {
        let midnight = 1_795_219_200_000.0; // 21 November, UTC
        let marks = time_marks(midnight - 120_000.0, midnight + 120_000.0, 60.0, |_| 0);
        assert_eq!(
            texts(&marks),
            ["23:58", "23:59", "21 Nov", "00:01", "00:02"]
        );
    }

    /// Berlin's offset around 25 October 2026, 01:00 UTC, when clocks were put back.
    fn berlin(at_ms: i64) -> i32 {
        if at_ms < 1_792_890_000_000 { 120 } else { 60 }
    }

    #[test]
    fn clocks_put_back_leave_marks_at_local_hours() {
        let change = 1_792_890_000_000.0;
        let marks = time_marks(change - 12.0 * 3.6e6, change + 12.0 * 3.6e6, 60.0, berlin);
        assert_eq!(
            texts(&marks),
            [
                "16:00/24 Oct",
                "20:00",
                "00:00/25 Oct",
                "04:00",
                "08:00",
                "12:00"
            ]
        );
        let days = time_marks(change - 3.0 * 86.4e6, change + 3.0 * 86.4e6, 60.0, berlin);
        assert_eq!(days.len(), 6);
        for mark in days {
            assert_eq!(format::clock(mark.at_ms, berlin(mark.at_ms)), "00:00:00");
        }
    }

    #[test]
    fn nothing_is_marked_on_what_is_no_time() {
        assert!(time_marks(f64::NAN, NOW, 60.0, |_| 0).is_empty());
        assert!(time_marks(NOW, NOW, 60.0, |_| 0).is_empty());
    }

    proptest! {
        /// Any span from a minute to two years on any screen has at least three marks that say
        /// something, in order, apart, at whole local times, and dates where days change.
        #[test]
        fn every_axis_can_be_read(
            end in 1e12..2e12_f64,
            log_span in 0.0..1.0_f64,
            characters in 34.0..300.0_f64,
            quarters in -48_i32..57,
            change in 0.0..1.0_f64,
            summer in any::<bool>(),
        ) {
            let span = 60_000.0 * (63_072_000.0_f64 / 60.0).powf(log_span);
            let from = end - span;
            #[expect(clippy::cast_possible_truncation, reason = "a test")]
            let change = (from + change * span) as i64 / 3_600_000 * 3_600_000;
            let offset = |at_ms: i64| {
                quarters * 15 + if summer && at_ms < change { 60 } else { 0 }
            };
            let marks = time_marks(from, end, characters, offset);
            let read: Vec<&TimeMark> = marks.iter().filter(|mark| !mark.text.is_empty()).collect();
            prop_assert!(read.len() >= MARKS_MIN, "{:?} in {} of {}", texts(&marks), span, characters);
            prop_assert!(marks.len() <= 80);
            prop_assert!(marks.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
            #[expect(clippy::cast_precision_loss, reason = "a test")]
            let place = |mark: &TimeMark| (mark.at_ms as f64 - from) / span * characters;
            for mark in &marks {
                prop_assert!((0.0..=characters).contains(&place(mark)));
            }
            #[expect(clippy::cast_precision_loss, reason = "a test")]
            for pair in read.windows(2) {
                let half = |mark: &TimeMark| mark.text.chars().count().max(mark.under.chars().count()) as f64 / 2.0;
                // At an edge they are moved inwards.
                if place(pair[0]) > 8.0 && place(pair[1]) < characters - 8.0 {
                    prop_assert!(place(pair[1]) - place(pair[0]) >= half(pair[0]) + half(pair[1]), "{:?}", texts(&marks));
                }
            }
            // The day of a mark is that of the last date that was said before it.
            if marks.iter().all(|mark| !mark.text.is_empty()) && has_dates(span) {
                let mut said = String::new();
                for mark in &marks {
                    let date = format::date(mark.at_ms, offset(mark.at_ms));
                    if !mark.under.is_empty() {
                        said.clone_from(&mark.under);
                    }
                    let is_clock = mark.text.contains(':');
                    prop_assert!(!is_clock || said == date, "{:?}", texts(&marks));
                }
            }
        }
    }
}
