//! Functions that both kinds of templates have: numbers for people, words, patterns.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_shared::pattern::translated;
use regex::Regex;

use crate::{
    builtin::wrong_type,
    number::{float, parse_float},
    print::{Sink, TooLong},
    time::Moment,
    value::Value,
};

/// Patterns of one rendering, each compiled once.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    made: BTreeMap<Arc<str>, Result<Regex, String>>,
}

/// Different patterns of a rendering.
const MOST_PATTERNS: usize = 64;
const MOST_PATTERN_BYTES: usize = 4096;
/// Texts that functions make.
const MOST_TEXT_BYTES: usize = 1 << 20;

impl Patterns {
    fn get(&mut self, pattern: &Arc<str>) -> Result<&Regex, String> {
        if !self.made.contains_key(pattern) {
            if self.made.len() >= MOST_PATTERNS {
                return Err(format!("more than {MOST_PATTERNS} different patterns"));
            }
            self.made.insert(pattern.clone(), compiled(pattern));
        }
        match self.made.get(pattern) {
            Some(Ok(made)) => Ok(made),
            Some(Err(why)) => Err(why.clone()),
            None => Err("no pattern".to_owned()),
        }
    }

    /// `match pattern text`: whether it is anywhere in the text.
    pub(crate) fn matches(&mut self, given: &[Value]) -> Result<Value, String> {
        let [pattern, text] = texts("match", given)?;
        Ok(Value::Bool(self.get(pattern)?.is_match(text)))
    }

    /// `reReplaceAll pattern replacement text`, with `$1` and `${name}` in the replacement.
    pub(crate) fn replaced(&mut self, given: &[Value]) -> Result<Value, String> {
        let [pattern, replacement, text] = texts("reReplaceAll", given)?;
        let pattern = self.get(pattern)?;
        let groups = replacement.matches('$').count();
        let mut out = String::new();
        let mut from = 0;
        for found in pattern.captures_iter(text) {
            let Some(whole) = found.get(0) else {
                continue;
            };
            // A group is no longer than what was found.
            let most =
                out.len() + (whole.start() - from) + replacement.len() + groups * whole.len();
            if most > MOST_TEXT_BYTES {
                return Err(TooLong.into());
            }
            out.push_str(&text[from..whole.start()]);
            found.expand(replacement, &mut out);
            from = whole.end();
        }
        out.push_str(&text[from..]);
        Ok(out.into())
    }

    /// Steps that looking for a pattern takes.
    pub(crate) fn cost(given: &[Value]) -> u64 {
        let text = given
            .last()
            .and_then(Value::as_text)
            .map_or(0, |text| text.len());
        8 + u64::try_from(text / 4).unwrap_or(u64::MAX)
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MOST_PATTERN_BYTES {
        return Err(format!("a pattern has at most {MOST_PATTERN_BYTES} bytes"));
    }
    let translated = translated(pattern).map_err(|why| format!("error parsing regexp: {why}"))?;
    regex::RegexBuilder::new(&translated)
        .size_limit(256 << 10)
        .dfa_size_limit(256 << 10)
        .nest_limit(64)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            error => format!("error parsing regexp: {error}"),
        })
}

/// So many arguments.
pub(crate) fn exactly<'a, const N: usize>(
    name: &str,
    given: &'a [Value],
) -> Result<&'a [Value; N], String> {
    given.try_into().map_err(|_error| {
        format!(
            "wrong number of args for {name}: want {N} got {}",
            given.len()
        )
    })
}

pub(crate) fn text(value: &Value) -> Result<&Arc<str>, String> {
    value.as_text().ok_or_else(|| wrong_type("string", value))
}

/// So many arguments, all texts.
pub(crate) fn texts<'a, const N: usize>(
    name: &str,
    given: &'a [Value],
) -> Result<[&'a Arc<str>; N], String> {
    let given = exactly::<N>(name, given)?;
    let found = given.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    found
        .try_into()
        .map_err(|_error| format!("wrong number of args for {name}"))
}

/// What a number is given as.
#[expect(clippy::cast_precision_loss, reason = "Go gives floats")]
pub(crate) fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Duration(nanoseconds) => {
            let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
            Ok(whole as f64 + rest as f64 / 1e9)
        }
        Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text) => parse_float(text)
            .ok_or_else(|| {
                let quoted = crate::print::quoted(text, '"', false);
                format!("strconv.ParseFloat: parsing {quoted}: invalid syntax")
            }),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

fn four(number: f64) -> String {
    float(number, 'g', Some(4))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number below one with the prefix that makes it at least one.
fn small(mut number: f64) -> String {
    let mut prefix = "";
    for next in SMALL {
        if number.abs() >= 1.0 {
            break;
        }
        prefix = next;
        number *= 1000.0;
    }
    four(number) + prefix
}

fn large(mut number: f64, base: f64, prefixes: [&str; 8]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if number.abs() < base {
            break;
        }
        prefix = next;
        number /= base;
    }
    four(number) + prefix
}

/// `humanize`: `1.235M`, `12.35m`.
pub(crate) fn humanize(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        four(number)
    } else if number.abs() >= 1.0 {
        large(number, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        small(number)
    }
}

/// `humanize1024`: `1ki`, `1.5Mi`.
pub(crate) fn humanize_1024(number: f64) -> String {
    if number.abs() <= 1.0 || !number.is_finite() {
        return four(number);
    }
    large(
        number,
        1024.0,
        ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"],
    )
}

/// `humanizeDuration` of seconds: `1h 1m 1s`, `12.34ms`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "Go cuts seconds off likewise"
)]
pub(crate) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four(seconds);
    }
    if seconds == 0.0 {
        return four(seconds) + "s";
    }
    if seconds.abs() < 1.0 {
        return small(seconds) + "s";
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs() as i64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four(seconds.abs())),
        (0, 0, minutes) => format!("{sign}{minutes}m {rest}s"),
        (0, hours, minutes) => format!("{sign}{hours}h {minutes}m {rest}s"),
        (days, hours, minutes) => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// `humanizePercentage` of a ratio: `12.34%`.
pub(crate) fn humanize_percentage(ratio: f64) -> String {
    four(ratio * 100.0) + "%"
}

/// Nanoseconds of seconds, as far as 64 bits go.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "what is outside is an error"
)]
fn nanoseconds(seconds: f64, what: &str) -> Result<i64, String> {
    let found = seconds * 1e9;
    if found > i64::MAX as f64 || found < i64::MIN as f64 {
        return Err(format!(
            "{} cannot be represented as a nanoseconds {what} since it overflows int64",
            float(seconds, 'g', None)
        ));
    }
    Ok(found as i64)
}

/// A Unix time in seconds, to the millisecond.
pub(crate) fn moment(seconds: f64) -> Result<Moment, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    nanoseconds(seconds, "timestamp").map(|found| Moment::from_ms(found / 1_000_000))
}

/// Seconds as a length of time.
pub(crate) fn length_of_time(seconds: f64) -> Result<i64, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    nanoseconds(seconds, "duration")
}

/// `humanizeTimestamp` of Unix seconds: `2015-06-23 13:19:44.128 +0000 UTC`.
pub(crate) fn humanize_timestamp(seconds: f64) -> Result<String, String> {
    if !seconds.is_finite() {
        return Ok(four(seconds));
    }
    moment(seconds).map(|moment| moment.shown())
}

/// A mapping of single characters, as Go has it; what would become several stays.
fn mapped(one: char, upper: bool) -> char {
    let (first, second) = if upper {
        let mut all = one.to_uppercase();
        (all.next(), all.next())
    } else {
        let mut all = one.to_lowercase();
        (all.next(), None)
    };
    match (first, second) {
        (Some(first), None) => first,
        _ => one,
    }
}

pub(crate) fn upper(text: &str) -> String {
    text.chars().map(|one| mapped(one, true)).collect()
}

pub(crate) fn lower(text: &str) -> String {
    text.chars().map(|one| mapped(one, false)).collect()
}

/// Go's `strings.Title`: the first letter of each word large, the rest as it is.
pub(crate) fn title(text: &str) -> String {
    let separates = |one: char| {
        if one.is_ascii() {
            !(one.is_ascii_alphanumeric() || one == '_')
        } else {
            !one.is_alphanumeric() && one.is_whitespace()
        }
    };
    let mut begins = true;
    text.chars()
        .map(|one| {
            let made = if begins { mapped(one, true) } else { one };
            begins = separates(one);
            made
        })
        .collect()
}

/// `cases.Title`: the first letter of each word large, the rest small. A mark between letters, as
/// in `don't` and `a.b`, divides no word.
pub(crate) fn title_case(text: &str) -> String {
    let all: Vec<char> = text.chars().collect();
    let is_letter = |index: Option<usize>| {
        index
            .and_then(|index| all.get(index))
            .is_some_and(|one| one.is_alphabetic())
    };
    let mut within = false;
    let mut out = String::with_capacity(text.len());
    for (index, one) in all.iter().enumerate() {
        if one.is_alphabetic() {
            out.push(mapped(*one, !within));
            within = true;
            continue;
        }
        let joins = matches!(one, '\'' | '’' | '.' | ':' | '·')
            && is_letter(index.checked_sub(1))
            && is_letter(Some(index + 1));
        within &= joins || *one == '_' || one.is_numeric();
        out.push(*one);
    }
    out
}

/// Texts of a list, one after another.
pub(crate) fn joined(separator: &str, list: &Value) -> Result<String, String> {
    let mut out = Sink::new(MOST_TEXT_BYTES);
    for (index, item) in items(list)?.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        match item.as_text() {
            Some(text) => out.push_str(text),
            None => return Err(wrong_type("[]string", list)),
        }
        if out.is_over() {
            break;
        }
    }
    Ok(out.done()?)
}

/// What a list holds.
pub(crate) fn items(list: &Value) -> Result<Vec<Value>, String> {
    match list {
        Value::List(items) => Ok(items.to_vec()),
        Value::Object(object) => match object.items() {
            Some(items) if !matches!(items.first(), Some((Value::Text(_), _))) => {
                Ok(items.into_iter().map(|(_, value)| value).collect())
            }
            _ => Err(wrong_type("[]string", list)),
        },
        other => Err(wrong_type("[]string", other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        // From Prometheus' own documentation and tests.
        for (number, plain, binary, duration, percentage) in [
            (0.0, "0", "0", "0s", "0%"),
            (1.0, "1", "1", "1s", "100%"),
            (-1.0, "-1", "-1", "-1s", "-100%"),
            (0.1, "100m", "0.1", "100ms", "10%"),
            (0.000_012_3, "12.3u", "1.23e-05", "12.3us", "0.00123%"),
            (60.0, "60", "60", "1m 0s", "6000%"),
            (899.99, "900", "900", "14m 59s", "9e+04%"),
            (1024.0, "1.024k", "1ki", "17m 4s", "1.024e+05%"),
            (3600.0, "3.6k", "3.516ki", "1h 0m 0s", "3.6e+05%"),
            (
                1_234_567.0,
                "1.235M",
                "1.177Mi",
                "14d 6h 56m 7s",
                "1.235e+08%",
            ),
            (
                -86_400.0,
                "-86.4k",
                "-84.38ki",
                "-1d 0h 0m 0s",
                "-8.64e+06%",
            ),
            (
                1e30,
                "1e+06Y",
                "8.272e+05Yi",
                "106751991167300d 15h 30m 7s",
                "1e+32%",
            ),
            (1e-30, "1e-06y", "1e-30", "1e-06ys", "1e-28%"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf%"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf", "-Inf%"),
            (f64::NAN, "NaN", "NaN", "NaN", "NaN%"),
        ] {
            assert_eq!(humanize(number), plain, "{number}");
            assert_eq!(humanize_1024(number), binary, "{number}");
            assert_eq!(humanize_percentage(number), percentage, "{number}");
            // What Go makes of seconds beyond 64 bits depends on the machine.
            if number.abs() < 1e18 || !number.is_finite() {
                assert_eq!(humanize_duration(number), duration, "{number}");
            }
        }
        assert_eq!(humanize_duration(1.234_567), "1.235s");
        assert_eq!(humanize_duration(-0.5), "-500ms");
        assert_eq!(humanize_duration(59.999), "60s");
    }

    #[test]
    fn times_are_written_for_people() {
        for (seconds, expected) in [
            (1_435_065_584.128, Ok("2015-06-23 13:19:44.128 +0000 UTC")),
            (0.0, Ok("1970-01-01 00:00:00 +0000 UTC")),
            (f64::NAN, Ok("NaN")),
            (f64::INFINITY, Ok("+Inf")),
            (
                1e30,
                Err(
                    "1e+30 cannot be represented as a nanoseconds timestamp since it overflows int64",
                ),
            ),
        ] {
            let found = humanize_timestamp(seconds);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
        assert!(moment(f64::NAN).is_err());
        assert_eq!(length_of_time(1.5), Ok(1_500_000_000));
        assert!(length_of_time(-1e30).is_err());
    }

    #[test]
    fn words_begin_large() {
        assert_eq!(title("aa bb CC-dd_ee don't é"), "Aa Bb CC-Dd_ee Don'T É");
        assert_eq!(
            title_case("aa bb CC-dd_ee don't a.b"),
            "Aa Bb Cc-Dd_ee Don't A.b"
        );
        assert_eq!(upper("straße"), "STRAßE");
        assert_eq!(lower("ÀÉ"), "àé");
    }

    #[test]
    fn patterns_are_bounded() {
        let mut patterns = Patterns::default();
        let mut replaced = |pattern: &str, replacement: &str, text: &str| {
            let given = [pattern.into(), replacement.into(), text.into()];
            patterns
                .replaced(&given)
                .map(|value| value.as_text().map(ToString::to_string).unwrap_or_default())
        };
        assert_eq!(
            replaced("localhost:(.*)", "my.domain:$1", "localhost:3000").as_deref(),
            Ok("my.domain:3000")
        );
        assert_eq!(replaced("a*", "-", "baaac").as_deref(), Ok("-b-c-"));
        assert_eq!(
            replaced("(?P<n>b)", "${n}$$$n", "abc").as_deref(),
            Ok("ab$bc")
        );
        assert!(replaced("", &"x".repeat(60_000), &"y".repeat(60_000)).is_err());
        assert!(replaced("(?s).*", &"$0".repeat(30_000), &"y".repeat(60_000)).is_err());
        assert!(
            replaced("(((a{100}){100}){100})", "", "a").is_err_and(|why| why.contains("too large"))
        );
        assert!(replaced("[", "", "a").is_err_and(|why| why.contains("error parsing regexp")));
        for index in 0..100 {
            let _found = replaced(&format!("x{index}"), "", "a");
        }
        assert!(replaced("y", "", "a").is_err_and(|why| why.contains("different patterns")));
    }
}
