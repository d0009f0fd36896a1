//! JSON as the page reads it: a small tree, and nothing that is generated for each type.
//!
//! Serde writes a parser for every type that is read, some kilobytes each in the page's first
//! load. Messages are small and few, so one parser for all of them costs less than it saves;
//! what a message must have is said in [`super::wire`] and in the stores that read it.

use pulseboard_shared::figure;

/// Values inside values go no deeper; a message of ours needs five.
const DEPTH_MAX: usize = 32;

/// A value. Of an object with a key twice, the first counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// `null`, and what is not there.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number; exact up to 15 digits.
    Number(f64),
    /// A text.
    Text(String),
    /// Values in a row.
    List(Vec<Self>),
    /// Values with names.
    Object(Vec<(String, Self)>),
}

static NULL: Json = Json::Null;

impl Json {
    /// Reads a text; `None` for anything but one value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        (reader.at == text.len()).then_some(value)
    }

    /// The value called `name`; `Null` where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &Self {
        self.entries()
            .iter()
            .find(|(key, _)| key == name)
            .map_or(&NULL, |(_, value)| value)
    }

    /// The value called `name`, which is then gone; `Null` where there is none.
    #[must_use]
    pub fn take(self, name: &str) -> Self {
        match self {
            Self::Object(entries) => entries
                .into_iter()
                .find(|(key, _)| key == name)
                .map_or(Self::Null, |(_, value)| value),
            _ => Self::Null,
        }
    }

    /// What an object has, as written; nothing of any other value.
    #[must_use]
    pub fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    /// What a list has; nothing of any other value.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }

    /// The text, of a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text that is called `name`; empty where there is none.
    #[must_use]
    pub fn text_of(&self, name: &str) -> &str {
        self.get(name).text().unwrap_or_default()
    }

    /// The number, of a number.
    #[must_use]
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The number; an infinity of `"+Inf"` and `"-Inf"`, NaN of `null` and of anything else.
    #[must_use]
    pub fn figure(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(word) => figure::from_word(word).unwrap_or(f64::NAN),
            _ => f64::NAN,
        }
    }

    /// The number as a count; `None` of anything that is no whole number from 0 on.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked right here"
        )]
        self.number()
            .filter(|number| *number >= 0.0 && number.fract() == 0.0)
            .map(|number| number as u64)
    }

    /// The number as Unix milliseconds.
    #[must_use]
    pub fn moment(&self) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        self.number().map(|number| number as i64)
    }

    /// `true`, and only that.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }
}

/// `value` as text; NaN and infinities, which JSON has not, as `null`.
#[must_use]
pub fn write(value: &Json, digits: fn(f64) -> String) -> String {
    let all = |values: Vec<String>| values.join(",");
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(true) => "true".to_owned(),
        Json::Bool(false) => "false".to_owned(),
        Json::Number(number) if number.is_finite() => digits(*number),
        Json::Number(_) => "null".to_owned(),
        Json::Text(text) => quote(text),
        Json::List(values) => {
            let values = values.iter().map(|value| write(value, digits));
            ["[", &all(values.collect()), "]"].concat()
        }
        Json::Object(entries) => {
            let entry =
                |(key, value): &(String, Json)| [&quote(key), ":", &write(value, digits)].concat();
            ["{", &all(entries.iter().map(entry).collect()), "}"].concat()
        }
    }
}

/// `text` as JSON writes it, with its quotes.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            // The rest of what may not stand as it is (RFC 8259 §7).
            '\0'..='\x1f' => {
                let code = character as u8;
                let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
                quoted.push_str("\\u00");
                quoted.push(digit(code >> 4));
                quoted.push(digit(code & 15));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        // Nothing of JSON is a zero byte, so it can stand for the end.
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.space();
        match self.peek() {
            b'{' => {
                let mut entries = Vec::new();
                self.items(b'}', |reader| {
                    reader.space();
                    let key = reader.string()?;
                    reader.space();
                    reader.take(":")?;
                    entries.push((key, reader.value(depth + 1)?));
                    Some(())
                })?;
                Some(Json::Object(entries))
            }
            b'[' => {
                let mut values = Vec::new();
                self.items(b']', |reader| {
                    values.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Some(Json::List(values))
            }
            b'"' => self.string().map(Json::Text),
            b't' => self.take("true").map(|()| Json::Bool(true)),
            b'f' => self.take("false").map(|()| Json::Bool(false)),
            b'n' => self.take("null").map(|()| Json::Null),
            _ => self.number().map(Json::Number),
        }
    }

    /// What stands between an opening and a closing mark, with commas between.
    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek() == end {
            self.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            self.space();
            let mark = self.peek();
            self.at += 1;
            if mark == end {
                return Some(());
            }
            if mark != b',' {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut string = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            string.push_str(self.text.get(start..self.at)?);
            let mark = self.peek();
            self.at += 1;
            match mark {
                b'"' => return Some(string),
                b'\\' => {
                    let escape = self.peek();
                    self.at += 1;
                    string.push(match escape {
                        b'"' | b'\\' | b'/' => char::from(escape),
                        b'b' => '\x08',
                        b'f' => '\x0c',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.escaped()?,
                        _ => return None,
                    });
                }
                _ => return None,
            }
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    /// Behind `\u`; half of a pair without its other half stands for something unreadable.
    fn escaped(&mut self) -> Option<char> {
        let high = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.take("\\u").is_some() {
            let low = self.hex()?.wrapping_sub(0xdc00);
            0x10000 + ((high - 0xd800) << 10) + (low & 0x3ff)
        } else {
            high
        };
        Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// Digits gathered in a whole number and one multiplication or division by a power of ten:
    /// exact while both are (Clinger 1990), which is all that figures of up to 15 digits need,
    /// and within some 10⁻¹⁶ of the value beyond.
    fn number(&mut self) -> Option<f64> {
        let negative = self.take("-").is_some();
        let (mut mantissa, mut digits, mut power) = (0_u64, 0_u32, 0_i32);
        let mut point = false;
        loop {
            match self.peek() {
                digit @ b'0'..=b'9' => {
                    digits += 1;
                    if mantissa < 100_000_000_000_000_000 {
                        mantissa = mantissa * 10 + u64::from(digit - b'0');
                        power -= i32::from(point);
                    } else {
                        power += i32::from(!point);
                    }
                }
                b'.' if !point && digits > 0 => point = true,
                _ => break,
            }
            self.at += 1;
        }
        if digits == 0 {
            return None;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            let down = self.take("-").is_some();
            if !down && self.peek() == b'+' {
                self.at += 1;
            }
            let start = self.at;
            let mut exponent = 0_i32;
            while let digit @ b'0'..=b'9' = self.peek() {
                exponent = (exponent * 10 + i32::from(digit - b'0')).min(9_999);
                self.at += 1;
            }
            if start == self.at {
                return None;
            }
            power += if down { -exponent } else { exponent };
        }
        #[expect(clippy::cast_precision_loss, reason = "said above")]
        let mut number = mantissa as f64;
        while power != 0 && number != 0.0 && number.is_finite() {
            let step = power.clamp(-22, 22);
            let mut factor = 1.0;
            for _ in 0..step.unsigned_abs() {
                factor *= 10.0;
            }
            number = if step < 0 {
                number / factor
            } else {
                number * factor
            };
            power -= step;
        }
        Some(if negative { -number } else { number })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What serde makes of a text, as ours.
    fn ours(value: &serde_json::Value) -> Json {
        use serde_json::Value;
        match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Json::Text(text.clone()),
            Value::Array(values) => Json::List(values.iter().map(ours).collect()),
            Value::Object(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), ours(value)))
                    .collect(),
            ),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{"a":[1,-2.5,true,false,null],"b\"":{"c":"ü\u000a"},"d":[]}"#;
        let value = Json::parse(text).expect("JSON");
        assert_eq!(write(&value, |number| number.to_string()), text);
        let odd = Json::List(vec![Json::Number(f64::NAN), Json::Number(f64::INFINITY)]);
        assert_eq!(write(&odd, |number| number.to_string()), "[null,null]");
    }

    #[test]
    fn reads_what_serde_reads() {
        for text in [
            " { } ",
            "[]",
            r#"{"a":[1,-2.5,3e3,4.25E-2,0],"b":{"c":null},"d":[true,false]}"#,
            r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00ü""#,
            "1795204862345",
            "0.1",
            "-0.0625",
            "87.34",
        ] {
            let expected = serde_json::from_str(text).expect("JSON");
            assert_eq!(Json::parse(text), Some(ours(&expected)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in [
            "",
            "{",
            "[1,]",
            "[1 2]",
            r#"{"a"}"#,
            r#"{a:1}"#,
            "tru",
            "1 2",
            "\"a",
            "\"\\x\"",
            "-",
            "1e",
            ".5",
            "<html>",
            "\"\n\"",
            "nul",
            "\"\\u12\"",
            "\u{e9}",
            "{\"a\":1}}",
        ] {
            assert_eq!(Json::parse(text), None, "{text:?} was taken");
        }
        let deep = "[".repeat(5_000);
        assert_eq!(Json::parse(&deep), None);
    }

    #[test]
    fn asks_in_the_types_of_the_page() {
        let json = Json::parse(r#"{"n":7,"f":-1.5,"t":"x","b":true,"null":null}"#).expect("JSON");
        assert_eq!(json.get("n").count(), Some(7));
        assert_eq!(json.get("f").count(), None);
        assert_eq!(json.get("f").moment(), Some(-1));
        assert_eq!(json.text_of("t"), "x");
        assert!(json.get("b").is_true());
        assert!(json.get("null").figure().is_nan() && json.get("missing").figure().is_nan());
        assert_eq!(json.get("t").get("deeper"), &Json::Null);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let quoted = quote(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).ok(), Some(text.clone()));
            prop_assert_eq!(Json::parse(&quoted), Some(Json::Text(text)));
        }

        #[test]
        fn nothing_panics(text in "[\\[\\]{}\",:\\\\u0-9eE+.a-f -]*") {
            drop(Json::parse(&text));
        }

        #[test]
        fn numbers_are_near(number in proptest::num::f64::NORMAL) {
            let text = serde_json::to_string(&number).expect("JSON");
            let got = Json::parse(&text).and_then(|json| json.number()).expect("a number");
            prop_assert!((got - number).abs() <= number.abs() * 1e-14, "{} became {}", text, got);
        }

        #[test]
        fn short_numbers_are_exact(mantissa in -99_999_999_999_999_i64..99_999_999_999_999, places in 0_u32..9) {
            let text = format!("{}e-{places}", mantissa);
            let expected: f64 = text.parse().expect("a number");
            prop_assert_eq!(Json::parse(&text), Some(Json::Number(expected)));
        }
    }
}
