//! Where the axes have marks: round figures, and calendar times.

/// Seconds between two marks of the time axis: what clocks and calendars are divided by.
const STEPS_S: [i64; 23] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800, 1_209_600, 2_592_000, 5_184_000,
];

/// The distance of marks on an axis from 0 to `top`: 1, 2 or 5 × a power of ten, so that there
/// are at most `marks_max` above 0 (at least one).
#[must_use]
pub fn value_step(top: f64, marks_max: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of marks")]
    let least = (top / marks_max.max(1) as f64).max(1e-9);
    let power = power_of_ten(least);
    for factor in [1.0, 2.0, 2.5, 5.0] {
        // A hair of tolerance, since 0.1 has no exact binary form.
        if factor * power >= least * (1.0 - 1e-9) {
            // 2.5 only where it is a whole number: 25, 250.
            if factor == 2.5 && power < 10.0 {
                continue;
            }
            return factor * power;
        }
    }
    10.0 * power
}

/// The greatest power of ten that is not above `value`, which is positive.
#[must_use]
pub fn power_of_ten(value: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 <= value && power < 1e300 {
        power *= 10.0;
    }
    while power > value && power > 1e-12 {
        power /= 10.0;
    }
    power
}

/// The marks from 0 up to `top`.
#[must_use]
pub fn value_marks(top: f64, step: f64) -> Vec<f64> {
    let mut marks = Vec::new();
    let mut number = 0.0;
    while number * step <= top * (1.0 + 1e-9) && marks.len() < 100 {
        marks.push(number * step);
        number += 1.0;
    }
    marks
}

/// The distance of time marks in milliseconds, so that at most `marks_max` fall into `span_ms`.
#[must_use]
pub fn time_step_ms(span_ms: f64, marks_max: usize) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of marks")]
    let least = span_ms / 1000.0 / marks_max.max(1) as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most half a year of seconds")]
    let step = STEPS_S.into_iter().find(|step| *step as f64 >= least);
    step.unwrap_or(15_552_000) * 1000
}

/// The moments in `from..=to` (Unix ms) that are whole multiples of `step_ms` where local time
/// is UTC + `offset_min`.
#[must_use]
pub fn time_marks(from_ms: f64, to_ms: f64, step_ms: i64, offset_min: i32) -> Vec<i64> {
    if !(from_ms.is_finite() && to_ms.is_finite()) || step_ms <= 0 {
        return Vec::new();
    }
    let offset = i64::from(offset_min) * 60_000;
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let (from, to) = (
        from_ms.ceil() as i64 + offset,
        to_ms.floor() as i64 + offset,
    );
    let first = from.div_euclid(step_ms) * step_ms;
    let first = if first < from { first + step_ms } else { first };
    std::iter::successors(Some(first), |mark| Some(mark + step_ms))
        .take_while(|mark| *mark <= to)
        .take(1000)
        .map(|mark| mark - offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn value_marks_are_round() {
        for (top, marks_max, marks) in [
            (100.0, 4, vec![0.0, 25.0, 50.0, 75.0, 100.0]),
            (100.0, 5, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (1.0, 5, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (500.0, 4, vec![0.0, 200.0, 400.0]),
            (15.0, 4, vec![0.0, 5.0, 10.0, 15.0]),
        ] {
            let got = value_marks(top, value_step(top, marks_max));
            assert_eq!(got.len(), marks.len(), "{got:?}");
            for (got, expected) in got.iter().zip(&marks) {
                assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
            }
        }
    }

    #[test]
    fn time_marks_are_local() {
        // 2026-11-20T20:01:02.345Z; half an hour east, whole hours fall on half ones of UTC.
        let now = 1_795_204_862_345.0;
        let marks = time_marks(now - 7_200_000.0, now, 3_600_000, 330);
        assert_eq!(marks, [1_795_199_400_000, 1_795_203_000_000]);
        assert_eq!(time_step_ms(300_000.0, 6), 60_000);
        assert_eq!(time_step_ms(60_000.0, 6), 10_000);
        assert_eq!(time_step_ms(900_000.0, 5), 300_000);
    }

    proptest! {
        #[test]
        fn value_steps_leave_room(top in 0.01..1e9_f64, marks_max in 1_usize..12) {
            let marks = value_marks(top, value_step(top, marks_max));
            prop_assert!(!marks.is_empty() && marks.len() <= marks_max + 1, "{:?}", marks);
        }

        #[test]
        fn time_marks_are_even(from in 0.0..2e12_f64, span in 1_000.0..1e7_f64, offset in -720_i32..840) {
            let step = time_step_ms(span, 6);
            let marks = time_marks(from, from + span, step, offset);
            prop_assert!(marks.len() <= 7);
            for pair in marks.windows(2) {
                prop_assert_eq!(pair[1] - pair[0], step);
            }
            for mark in marks {
                #[expect(clippy::cast_precision_loss, reason = "a test")]
                let mark_ms = mark as f64;
                prop_assert!(mark_ms >= from && mark_ms <= from + span);
                prop_assert_eq!((mark + i64::from(offset) * 60_000).rem_euclid(step), 0);
            }
        }
    }
}
