//! Texts as Go prints them.

use std::fmt::Write as _;

use pulseboard_promql::{Labels, print::quoted};

/// A duration: `1h0m0s`, `1.5s`, `0s`.
pub(super) fn duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = (ms % 60_000) as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// A number as `strconv.FormatFloat(x, 'E', -1, 64)`.
pub(super) fn exponent(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:E}");
    let (digits, power) = text.split_once('E').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}E{sign}{:02}", power.unsigned_abs())
}

/// Every line but the first one moved in.
pub(super) fn indented(text: &str, indent: &str) -> String {
    text.replace('\n', &format!("\n{indent}"))
}

/// Labels, the name among them.
pub(super) fn labels(all: &[(String, String)]) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in all.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let _infallible = write!(text, "{comma}{name}={}", quoted(value));
    }
    text.push('}');
    text
}

/// Labels as texts, in the order of their names.
pub(super) fn pairs(labels: &Labels) -> Vec<(String, String)> {
    let all = labels.iter();
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
            (90_000_500, "25h0m0.5s"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (value, text) in [
            (0.0, "0E+00"),
            (1.5, "1.5E+00"),
            (-120.0, "-1.2E+02"),
            (1e-7, "1E-07"),
            (1e100, "1E+100"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(exponent(value), text);
        }
    }
}
