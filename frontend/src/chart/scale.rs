//! From figures to a y axis: its ends, its marks, and labels that say exactly what they stand for.
//!
//! A mark is a whole number times a power of ten, and its label is written from that whole number,
//! digit by digit: two marks never read the same, and none is rounded.
//!
//! ```text
//! figures 1234567890.12 to 1234567890.48      marks   1234567890.1 … .5  =  12345678901 … 5 × 10⁻¹
//! differ in late digits only                  labels  0.1 … 0.5, and above them "+1234567890"
//! ```

use crate::format;

/// An axis that could shrink waits this long: one that breathes with every spike cannot be read.
const SHRINK_AFTER_MS: f64 = 3_000.0;

/// The smallest top of an axis that follows its data, so that noise around 0 looks like what
/// it is.
const TOP_MIN: f64 = 1.0;

/// Figures that are as many times larger than what they differ by are drawn as one.
const RELATIVE_MIN: f64 = 1e-12;

/// Nothing nearer to zero and nothing larger is told apart.
const SMALLEST: f64 = 1e-300;
const LARGEST: f64 = 8e307;

/// A label with more digits than this says what it has in common with the others above all.
const DIGITS_MAX: i32 = 6;

/// Letters for thousands of thousands, from 10⁻⁹ on.
const LETTERS: [&str; 10] = ["n", "µ", "m", "", "k", "M", "G", "T", "P", "E"];

/// A percentage that reaches this far is shown on the whole of 0 to 100.
const PERCENT_FROM: f64 = 10.0;

/// `value` where it is from `least` to `most`, else the nearer of the two; `least` for NaN.
///
/// In place of [`f64::clamp`], whose panic brings 13 KB of float formatting into the page.
#[must_use]
pub const fn within(value: f64, least: f64, most: f64) -> f64 {
    value.max(least).min(most)
}

/// Ten to the power of `exponent`, exact from -22 to 22.
fn ten_to(exponent: i32) -> f64 {
    let mut power = 1.0;
    let mut base = 10.0;
    let mut rest = exponent.unsigned_abs();
    while rest > 0 {
        if rest & 1 == 1 {
            power *= base;
        }
        base *= base;
        rest >>= 1;
    }
    if exponent < 0 { 1.0 / power } else { power }
}

/// The exponent of the greatest power of ten that is not above `value`, which is positive.
fn exponent_of(value: f64) -> i32 {
    let binary = i32::try_from(value.to_bits() >> 52).unwrap_or(0) - 1_023;
    #[expect(clippy::cast_possible_truncation, reason = "within 308 of zero")]
    let guess = (f64::from(binary) * std::f64::consts::LOG10_2).floor() as i32;
    if ten_to(guess + 1) <= value {
        guess + 1
    } else {
        guess
    }
}

/// With so many digits that count.
#[must_use]
pub fn rounded(value: f64, digits: i32) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let places = digits - 1 - exponent_of(value.abs());
    if places > 0 {
        (value * ten_to(places)).round() / ten_to(places)
    } else {
        (value / ten_to(-places)).round() * ten_to(-places)
    }
}

/// Digits of a whole number.
fn digits(number: u64) -> i32 {
    number.checked_ilog10().map_or(1, |log| log as i32 + 1)
}

/// `number` × 10^`shift`, digit by digit.
fn decimal(number: i64, shift: i32) -> String {
    let mut text = number.unsigned_abs().to_string();
    let places = usize::try_from(shift.unsigned_abs()).unwrap_or(0);
    if number != 0 && shift > 0 {
        text.extend(std::iter::repeat_n('0', places));
    }
    if shift < 0 {
        while text.len() <= places {
            text.insert(0, '0');
        }
        text.insert(text.len() - places, '.');
    }
    if number < 0 {
        text.insert(0, '-');
    }
    text
}

/// The whole `number` × 10^`exponent` with a letter for its thousands, or with an exponent where
/// there is none; `up_to` (the largest on its axis) decides which.
fn scaled(number: i64, exponent: i32, up_to: u64) -> (String, &'static str) {
    let size = digits(up_to) - 1 + exponent;
    let thousands = if (-3..4).contains(&size) {
        0
    } else {
        size.div_euclid(3)
    };
    if number == 0 {
        return ("0".to_owned(), "");
    }
    let letter = usize::try_from(thousands + 3)
        .ok()
        .and_then(|index| LETTERS.get(index));
    match letter {
        Some(letter) => (decimal(number, exponent - 3 * thousands), letter),
        None => (format!("{}e{size}", decimal(number, exponent - size)), ""),
    }
}

/// A y axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueAxis {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Where it is marked, from below, and how.
    pub marks: Vec<(f64, String)>,
    /// What is to be read with every label: what is to be added, the unit.
    pub head: String,
}

impl ValueAxis {
    /// For figures from `least` to `greatest` in `unit`, with about `marks_max` marks. From (or to)
    /// 0 where the figures are not far from it in proportion to how far they go. Without marks
    /// where there are no figures.
    #[must_use]
    pub fn around(least: f64, greatest: f64, unit: &str, marks_max: usize) -> Self {
        if least > greatest || least.is_nan() || greatest.is_nan() {
            return Self {
                low: 0.0,
                high: 1.0,
                ..Self::default()
            };
        }
        let (least, greatest) = (
            within(least, -LARGEST, LARGEST),
            within(greatest, -LARGEST, LARGEST),
        );
        let (mut low, mut high) = (least, greatest);
        let percent = unit == "%" && low >= 0.0 && high <= 100.0;
        if percent && high >= PERCENT_FROM {
            (low, high) = (0.0, 100.0);
        } else {
            if low >= 0.0 && (low <= 0.6 * high || low == high) {
                low = 0.0;
            } else if high <= 0.0 && (high >= 0.6 * low || low == high) {
                high = 0.0;
            }
            if low == 0.0 && high == 0.0 {
                high = 1.0;
            }
            let shortest = (low.abs().max(high.abs()) * RELATIVE_MIN).max(SMALLEST);
            if high - low < shortest {
                high = low + shortest;
            }
            // Some room, so that a line that stays at its greatest is not the edge.
            let room = (high - low) * 0.02;
            if high != 0.0 {
                high += room;
            }
            if low < 0.0 {
                low -= room;
            }
        }
        Self::between(low, high, unit, marks_max)
    }

    /// Ends at marks around `low` and `high`, of which the second is the larger.
    fn between(low: f64, high: f64, unit: &str, marks_max: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a handful of marks")]
        let wanted = (high - low) / marks_max.max(1) as f64;
        let mut exponent = exponent_of(wanted);
        // A hair of tolerance, since 0.1 has no exact binary form.
        let lead = wanted / ten_to(exponent) * (1.0 - 1e-9);
        let mut factor = [1, 2, 5, 10]
            .into_iter()
            .find(|factor| f64::from(*factor) >= lead);
        // A quarter of 100, 1000, … and of 1.
        match factor {
            Some(5) if lead <= 2.5 => {
                factor = Some(25);
                exponent -= 1;
            }
            Some(1 | 2 | 5) => {}
            _ => {
                factor = Some(1);
                exponent += 1;
            }
        }
        let factor = factor.unwrap_or(1);
        let units = |value: f64| {
            if (-22..0).contains(&exponent) {
                value * ten_to(-exponent) / f64::from(factor)
            } else {
                value / ten_to(exponent) / f64::from(factor)
            }
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below 10^15, by RELATIVE_MIN"
        )]
        let (first, last) = (
            (units(low) + 1e-9).floor() as i64,
            (units(high) - 1e-9).ceil() as i64,
        );
        let value = |number: i64| {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let number = number as f64;
            if (-22..0).contains(&exponent) {
                number / ten_to(-exponent)
            } else {
                number * ten_to(exponent)
            }
        };
        let last = last.max(first + 1).min(first + 40);
        let numbers = (first..=last).map(|number| number * i64::from(factor));
        let numbers: Vec<i64> = numbers.collect();
        let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
        let up_to = first.unsigned_abs().max(last.unsigned_abs());

        // Digits that all have in common are said once.
        let mut common = 0;
        let has_letter = (-9..21).contains(&(digits(up_to) - 1 + exponent));
        let digits_max = if has_letter {
            DIGITS_MAX
        } else {
            DIGITS_MAX - 2
        };
        if digits(up_to) > digits_max && (first > 0 || last < 0) {
            let nearest = first.unsigned_abs().min(last.unsigned_abs());
            let place = 10_i64.pow(digits((last - first).unsigned_abs()).unsigned_abs());
            let whole = i64::try_from(nearest).unwrap_or(0) / place * place;
            common = if first > 0 { whole } else { -whole };
        }
        let rest = (first - common)
            .unsigned_abs()
            .max((last - common).unsigned_abs());
        let bytes = matches!(unit, "B" | "B/s" | "By" | "By/s" | "bytes");
        let mut of_unit = "";
        let marks = numbers
            .iter()
            .map(|number| {
                let (mut label, letter) = scaled(number - common, exponent, rest);
                if bytes {
                    if !letter.is_empty() {
                        of_unit = letter;
                    }
                } else {
                    label.push_str(letter);
                }
                (value(*number), label)
            })
            .collect();
        let mut head = String::new();
        if common != 0 {
            let size = digits(common.unsigned_abs()) + exponent;
            if common > 0 {
                head.push('+');
            }
            // In full as long as it can be read so.
            if size <= 15 && exponent >= -9 {
                head.push_str(&format::trimmed(&decimal(common, exponent)));
            } else {
                head.push_str(&format::trimmed(&decimal(
                    common,
                    1 - digits(common.unsigned_abs()),
                )));
                head.push('e');
                head.push_str(&(size - 1).to_string());
            }
        }
        if !unit.is_empty() {
            if !head.is_empty() {
                head.push_str(" · ");
            }
            head.push_str(of_unit);
            head.push_str(match unit {
                "By" | "bytes" => "B",
                "By/s" => "B/s",
                other => other,
            });
        }
        Self {
            low: value(first),
            high: value(last),
            marks,
            head,
        }
    }
}

/// A round figure a little above `value`: the end of an axis of it.
#[must_use]
pub fn nice_top(value: f64) -> f64 {
    ValueAxis::around(0.0, value.max(TOP_MIN * 0.98), "", 5).high
}

/// The y axis of a built-in metric: always from 0, its top fixed or following the data with
/// hysteresis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    top: f64,
    follows: bool,
    /// Since when a smaller top would do.
    small_since: Option<f64>,
}

impl Axis {
    /// 0 to 100.
    #[must_use]
    pub const fn percent() -> Self {
        Self {
            top: 100.0,
            follows: false,
            small_since: None,
        }
    }

    /// 0 to what the data needs.
    #[must_use]
    pub const fn following() -> Self {
        Self {
            top: TOP_MIN,
            follows: true,
            small_since: None,
        }
    }

    /// The largest value on the axis.
    #[must_use]
    pub const fn top(&self) -> f64 {
        self.top
    }

    /// Makes room for `data_max`: grows at once, shrinks when less has sufficed for a while; while
    /// `held` it stays as it is. `at` never goes back. True when the axis changed.
    pub fn fit(&mut self, at: f64, data_max: f64, held: bool) -> bool {
        if held || !self.follows || !data_max.is_finite() {
            return false;
        }
        let wanted = nice_top(data_max);
        if wanted >= self.top {
            self.small_since = None;
            let grown = wanted > self.top;
            self.top = wanted;
            return grown;
        }
        let since = *self.small_since.get_or_insert(at);
        if at - since < SHRINK_AFTER_MS {
            return false;
        }
        self.small_since = None;
        self.top = wanted;
        true
    }

    /// With marks.
    #[must_use]
    pub fn marked(&self, marks_max: usize) -> ValueAxis {
        ValueAxis::between(0.0, self.top, "", marks_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a label says, read as a person would.
    fn parse(label: &str) -> f64 {
        let plain = label.trim_end_matches(['n', 'µ', 'm', 'k', 'M', 'G', 'T', 'P', 'E']);
        let letter = &label[plain.len()..];
        let index = LETTERS.iter().position(|known| *known == letter);
        let power = index.map_or(0, |index| 3 * index as i32 - 9);
        // As text, so that the standard library rounds once.
        let (number, exponent) = plain.split_once('e').unwrap_or((plain, "0"));
        let exponent: i32 = exponent.parse().expect("an exponent");
        format!("{number}e{}", exponent + power)
            .parse()
            .unwrap_or_else(|_| panic!("{label:?} is no number"))
    }

    /// Checks everything that is promised of an axis' labels.
    fn check(axis: &ValueAxis, least: f64, greatest: f64) -> Result<(), TestCaseError> {
        prop_assert!(
            axis.low <= least && axis.high >= greatest,
            "{axis:?} {least} {greatest}"
        );
        let offset = axis.head.split(' ').next().unwrap_or_default();
        let is_offset = offset.starts_with(['+', '-']);
        let common = if is_offset { parse(offset) } else { 0.0 };
        let step = axis.marks[1].0 - axis.marks[0].0;
        prop_assert!(step > 0.0);
        for (value, label) in &axis.marks {
            let read = common + parse(label);
            prop_assert!(
                (read - value).abs() <= step * 0.01 + value.abs() * 1e-15,
                "{} reads {}, is {} ({:?})",
                label,
                read,
                value,
                axis
            );
            prop_assert!(label.chars().count() <= 11, "{:?} is too wide", label);
        }
        let mut labels: Vec<&String> = axis.marks.iter().map(|(_, label)| label).collect();
        labels.sort();
        labels.dedup();
        prop_assert_eq!(labels.len(), axis.marks.len(), "{:?}", axis);
        prop_assert!(axis.marks.len() >= 2 && axis.marks.len() <= 9, "{:?}", axis);
        prop_assert!(axis.head.chars().count() <= 30, "{}", axis.head);
        Ok(())
    }

    fn magnitudes() -> impl Strategy<Value = f64> {
        (-300_i32..300, 1.0..10.0_f64, any::<bool>()).prop_map(|(exponent, lead, negative)| {
            let size = format!("{lead}e{exponent}")
                .parse::<f64>()
                .expect("a number");
            if negative { -size } else { size }
        })
    }

    proptest! {
        #[test]
        fn labels_say_what_they_stand_for(one in magnitudes(), other in magnitudes(), marks_max in 2_usize..6) {
            let (least, greatest) = (one.min(other), one.max(other));
            check(&ValueAxis::around(least, greatest, "", marks_max), least, greatest)?;
            check(&ValueAxis::around(one, one, "", marks_max), one, one)?;
        }

        #[test]
        fn tiny_spans_far_from_zero_are_told_apart(offset in magnitudes(), share in -13.0..0.0_f64, marks_max in 2_usize..6) {
            let greatest = offset + offset.abs() * 10.0_f64.powf(share);
            check(&ValueAxis::around(offset, greatest, "ms", marks_max), offset, greatest)?;
        }

        #[test]
        fn bytes_have_their_letter_in_the_unit(greatest in 1.0..1e17_f64) {
            let axis = ValueAxis::around(0.0, greatest, "B/s", 4);
            let letter = axis.head.strip_suffix("B/s").expect("the unit");
            for (value, label) in &axis.marks {
                let read = parse(&format!("{label}{letter}"));
                prop_assert!((read - value).abs() <= value * 1e-12, "{:?}", axis);
            }
        }
    }

    #[test]
    fn digits_are_as_many_as_are_known() {
        for (value, expected) in [
            (413.39e9, 410e9),
            (0.012_345, 0.012),
            (-97.8, -98.0),
            (1e-9, 1e-9),
            (0.0, 0.0),
            (9.99, 10.0),
        ] {
            assert_eq!(rounded(value, 2), expected, "{value}");
        }
        assert!(rounded(f64::NAN, 2).is_nan());
    }

    fn labels(axis: &ValueAxis) -> Vec<&str> {
        axis.marks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn labels_are_short() {
        for (least, greatest, unit, expected, head) in [
            (0.0, 96.0, "", vec!["0", "25", "50", "75", "100"], ""),
            (0.0, 42.0, "%", vec!["0", "25", "50", "75", "100"], "%"),
            (0.0, 0.3, "%", vec!["0", "0.1", "0.2", "0.3", "0.4"], "%"),
            (
                -1_250_000.0,
                -800_000.0,
                "",
                vec!["-1.4M", "-1.2M", "-1.0M", "-0.8M", "-0.6M"],
                "",
            ),
            (
                0.0,
                9e14,
                "",
                vec!["0", "0.25P", "0.50P", "0.75P", "1.00P"],
                "",
            ),
            (
                0.0,
                9e-10,
                "s",
                vec!["0", "0.25n", "0.50n", "0.75n", "1.00n"],
                "s",
            ),
            (
                0.0,
                1.6e300,
                "",
                vec!["0", "0.5e300", "1.0e300", "1.5e300", "2.0e300"],
                "",
            ),
            (
                480e6,
                560e6,
                "By",
                vec!["475", "500", "525", "550", "575"],
                "MB",
            ),
            (
                1_234_567_890.1,
                1_234_567_890.4,
                "ms",
                vec!["0.1", "0.2", "0.3", "0.4", "0.5"],
                "+1234567890 · ms",
            ),
        ] {
            let axis = ValueAxis::around(least, greatest, unit, 4);
            assert_eq!(labels(&axis), expected, "{least} {greatest}");
            assert_eq!(axis.head, head);
        }
        let nothing = ValueAxis::around(f64::INFINITY, f64::NEG_INFINITY, "ms", 4);
        assert_eq!((nothing.marks.len(), nothing.head.as_str()), (0, ""));
    }

    #[test]
    fn grows_at_once_and_shrinks_late() {
        let mut axis = Axis::following();
        assert!(axis.fit(0.0, 90.0, false));
        assert_eq!(axis.top(), 100.0);
        assert!(!axis.fit(1_000.0, 10.0, false));
        assert!(
            !axis.fit(2_000.0, 90.0, false),
            "the spike came back in time"
        );
        assert!(!axis.fit(3_000.0, 10.0, false));
        assert!(!axis.fit(5_900.0, 10.0, false));
        assert!(axis.fit(6_000.0, 10.0, false));
        assert_eq!(axis.top(), 12.5);
        // Paused, it stays as it is, whatever comes.
        assert!(!axis.fit(7_000.0, 600.0, true));
        assert!(!axis.fit(20_000.0, 1.0, true));
        assert_eq!(axis.top(), 12.5);
        assert!(axis.fit(20_001.0, 600.0, false));
    }

    #[test]
    fn percent_stays() {
        let mut axis = Axis::percent();
        assert!(!axis.fit(0.0, 3.0, false));
        assert_eq!(axis.top(), 100.0);
        assert_eq!(labels(&axis.marked(4)), ["0", "25", "50", "75", "100"]);
    }

    #[test]
    fn tops_are_round() {
        for (value, top) in [
            (f64::NAN, 1.0),
            (-3.0, 1.0),
            (0.2, 1.0),
            (94.0, 100.0),
            (480.0, 500.0),
            (11_900.0, 12_500.0),
        ] {
            assert_eq!(nice_top(value), top, "{value}");
        }
    }
}
