//! Series as unit tests write them: `up{job="a"}` and `1 2+3x4 _ _x2 stale`.

use pulseboard_promql::{Labels, ast::MatchOp, parse_any_selector};
use pulseboard_series::STALE_MARKER_BITS;

/// Values of one series.
pub(crate) const VALUES_MAX: usize = 1_000_000;

/// Labels of a series; nothing at all is a series without any.
///
/// # Errors
/// It is none, in words.
pub(crate) fn series(text: &str) -> Result<Labels, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Labels::default());
    }
    let selector = parse_any_selector(text).map_err(|error| error.to_string())?;
    selector
        .matchers
        .into_iter()
        .map(|one| match one.op {
            MatchOp::Equal => Ok((one.name, one.value)),
            op => Err(format!(
                "1:1: parse error: unexpected {:?} in label set, expected \"=\"",
                op.text()
            )),
        })
        .collect()
}

/// Values, one an interval; `None` where there is none. They stand behind so many bytes of a line.
///
/// # Errors
/// What is not understood, with its place in the line from 1.
pub(crate) fn values(text: &str, before: usize) -> Result<Vec<Option<f64>>, String> {
    let mut values = Vec::new();
    let mut rest = Rest {
        text,
        at: 0,
        before,
    };
    rest.spaces();
    while !rest.is_empty() {
        rest.item(&mut values)?;
        if values.len() > VALUES_MAX {
            return Err(format!("more than {VALUES_MAX} values"));
        }
        if !rest.is_empty() && rest.spaces() == 0 {
            return Err(rest.unexpected("expected a space between values"));
        }
    }
    Ok(values)
}

struct Rest<'a> {
    text: &'a str,
    at: usize,
    before: usize,
}

impl Rest<'_> {
    fn left(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    fn spaces(&mut self) -> usize {
        let left = self.left();
        let count = left.len() - left.trim_start().len();
        self.at += count;
        count
    }

    fn take(&mut self, word: &str) -> bool {
        let left = self.left();
        let is = left
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word));
        if is {
            self.at += word.len();
        }
        is
    }

    fn unexpected(&self, expected: &str) -> String {
        let next: String = self.left().chars().take(12).collect();
        format!(
            "1:{}: parse error: unexpected {next:?} in series values, {expected}",
            self.before + self.at + 1
        )
    }

    fn item(&mut self, values: &mut Vec<Option<f64>>) -> Result<(), String> {
        if self.left().starts_with("{{") {
            return Err(format!(
                "1:{}: parse error: a native histogram: they are not supported, series of buckets are",
                self.before + self.at + 1
            ));
        }
        if self.take("_") {
            let count = self.times()?.unwrap_or(1);
            values.extend(std::iter::repeat_n(None, count));
            return Ok(());
        }
        let mut value = match self.take("stale") {
            true => f64::from_bits(STALE_MARKER_BITS),
            false => self.number()?,
        };
        let step = match self.left().starts_with(['+', '-']) {
            true => Some(self.number()?),
            false => None,
        };
        match (self.times()?, step) {
            (Some(count), step) => {
                if count >= VALUES_MAX {
                    return Err(format!("more than {VALUES_MAX} values"));
                }
                for _ in 0..=count {
                    values.push(Some(value));
                    if let Some(step) = step {
                        value += step;
                    }
                }
                Ok(())
            }
            (None, Some(_)) => Err(self.unexpected("expected \"x\" and how many times")),
            (None, None) => {
                values.push(Some(value));
                Ok(())
            }
        }
    }

    fn times(&mut self) -> Result<Option<usize>, String> {
        if !self.take("x") {
            return Ok(None);
        }
        let digits = self.left().bytes().take_while(u8::is_ascii_digit).count();
        let count = self.left().get(..digits).and_then(|text| text.parse().ok());
        let Some(count) = count.filter(|count: &usize| *count <= VALUES_MAX) else {
            return Err(self.unexpected("expected how many times, up to a million"));
        };
        self.at += digits;
        Ok(Some(count))
    }

    fn number(&mut self) -> Result<f64, String> {
        let start = self.at;
        let is_negative = match self.left().bytes().next() {
            Some(b'-') => {
                self.at += 1;
                true
            }
            Some(b'+') => {
                self.at += 1;
                false
            }
            _ => false,
        };
        let sign = if is_negative { -1.0 } else { 1.0 };
        for (word, value) in [("inf", f64::INFINITY), ("nan", f64::NAN)] {
            if self.take(word) {
                return Ok(sign * value);
            }
        }
        let bytes = self.left().as_bytes();
        let mut end = 0;
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        end += digits(end);
        if bytes.get(end) == Some(&b'.') {
            end += 1;
            end += digits(end);
        }
        if end > 0 && matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let count = digits(end + 1 + sign);
            if count > 0 {
                end += 1 + sign + count;
            }
        }
        match self
            .left()
            .get(..end)
            .and_then(|text| text.parse::<f64>().ok())
        {
            Some(number) => {
                self.at += end;
                Ok(sign * number)
            }
            None => {
                self.at = start;
                Err(self.unexpected("expected a number, \"_\" or \"stale\""))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match values(text, 0) {
            Err(what) => what,
            Ok(values) => {
                let shown = values.iter().map(|one| match one {
                    None => "_".to_owned(),
                    Some(value) if value.to_bits() == STALE_MARKER_BITS => "stale".to_owned(),
                    Some(value) => value.to_string(),
                });
                shown.collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn values_are_read() {
        for (text, values) in [
            ("1 2 3", "1 2 3"),
            ("0+10x3", "0 10 20 30"),
            ("5-1x2", "5 4 3"),
            ("-1-1x2", "-1 -2 -3"),
            ("1x2 _ _x2 stale", "1 1 1 _ _ _ stale"),
            ("1.5e1 .5 Inf -Inf NaN", "15 0.5 inf -inf NaN"),
            ("1e1+1e1x1", "10 20"),
            ("0x2", "0 0 0"),
            ("  7\t8 ", "7 8"),
            ("stalex1", "stale stale"),
            ("", ""),
        ] {
            assert_eq!(told(text), values, "{text}");
        }
        for (text, what) in [
            ("{{schema:1}}", "1:1: parse error: a native histogram"),
            ("-1--1x2", "1:3: parse error: unexpected \"--1x2\""),
            ("1 b", "1:3: parse error: unexpected \"b\""),
            ("1+1", "1:4: parse error: unexpected \"\""),
            ("1x", "1:3: parse error: unexpected"),
            ("1+x5", "1:2: parse error: unexpected"),
            ("1x99999999", "1:3: parse error: unexpected"),
            ("1,2", "1:2: parse error: unexpected"),
        ] {
            let told = told(text);
            assert!(told.starts_with(what), "{text}: {told}");
        }
    }

    #[test]
    fn series_are_read() {
        for (text, labels) in [
            ("up", "up"),
            ("up{job=\"a\",x='y'}", "up{job=\"a\", x=\"y\"}"),
            ("{a=\"b\"}", "{a=\"b\"}"),
            ("{}", "{}"),
            ("", "{}"),
        ] {
            assert_eq!(series(text).expect(text).to_string(), labels);
        }
        series("up{a!=\"b\"}").expect_err("no series");
        series("up{").expect_err("no series");
    }
}
