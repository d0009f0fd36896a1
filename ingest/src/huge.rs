//! Numbers of JSON past the largest double, such as `1e400`: they are JSON, and no value that can
//! be kept.
//!
//! The parser gives a whole document up for one of them. So where it did, the document is read once
//! more from a copy in which each of them is an empty array: nothing takes one where a number
//! should stand, so that what it stands in is refused, and nothing else. Documents without such
//! numbers cost nothing.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Unexpected, Visitor},
};

use crate::lines::quoted_end;

/// Stands for such a number where doubles are read: a NaN that nothing computes.
const HUGE: f64 = f64::from_bits(0x7FF8_0000_4855_4745);

/// Why what holds such a number is not taken.
pub(crate) const WHY: &str = "a number is past the largest double (1.8e308)";

/// Whether a document was given up for such a number.
#[must_use]
pub fn is_cause(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("number out of range")
}

/// A copy with an empty array for each such number, and blanks behind it, so that whatever else is
/// wrong is where it was.
#[must_use]
pub fn without_huge(document: &[u8]) -> Vec<u8> {
    let mut copy = document.to_vec();
    let mut at = 0;
    while let Some(byte) = copy.get(at) {
        match byte {
            b'"' => at = quoted_end(&copy, at + 1).unwrap_or(copy.len()),
            b'-' | b'0'..=b'9' => {
                let number = copy[at..].iter();
                let length = number.take_while(|byte| is_of_number(**byte)).count();
                let number = &mut copy[at..at + length];
                if is_past_all(number) {
                    number.fill(b' ');
                    number[..2].copy_from_slice(b"[]");
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    copy
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// The shortest have five bytes.
fn is_past_all(number: &[u8]) -> bool {
    number.len() >= 2
        && std::str::from_utf8(number)
            .is_ok_and(|text| text.parse::<f64>().is_ok_and(f64::is_infinite))
}

/// Whether a double stands for such a number.
pub(crate) fn is_huge(value: f64) -> bool {
    value.to_bits() == HUGE.to_bits()
}

/// What stands for such a number that is written in quotes.
pub(crate) fn in_quotes(text: &str) -> Option<f64> {
    is_past_all(text.as_bytes()).then_some(HUGE)
}

/// A double; [`is_huge`] where there is an empty array.
pub(crate) struct Double(pub(crate) f64);

/// What there is for an array: a number past the largest double where it is empty.
pub(crate) fn of_array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<f64, A::Error> {
    match array.next_element::<serde::de::IgnoredAny>()? {
        None => Ok(HUGE),
        Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &"a number")),
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DoubleVisitor;
        impl<'de> Visitor<'de> for DoubleVisitor {
            type Value = Double;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
            fn visit_i64<E>(self, number: i64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
            fn visit_u64<E>(self, number: u64) -> Result<Double, E> {
                Ok(Double(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Double, E> {
                Ok(Double(number))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Double, A::Error> {
                of_array(array).map(Double)
            }
        }
        deserializer.deserialize_any(DoubleVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn such_numbers_alone_are_replaced_and_all_else_stays_where_it_is() {
        let nines = "9".repeat(400);
        for (document, expected) in [
            ("[1e400]".to_owned(), "[[]   ]".to_owned()),
            (
                "{\"1e400\": -2E+308,\n\"\\\"\":1e308}".to_owned(),
                "{\"1e400\": []     ,\n\"\\\"\":1e308}".to_owned(),
            ),
            (
                format!("[{nines},0.{nines}]"),
                format!("[[]{},0.{nines}]", " ".repeat(398)),
            ),
            ("[1, \"1e400".to_owned(), "[1, \"1e400".to_owned()),
            ("1e400e, -, é".to_owned(), "1e400e, -, é".to_owned()),
        ] {
            let copy = String::from_utf8(without_huge(document.as_bytes()));
            assert_eq!(copy, Ok(expected));
        }
    }

    #[test]
    fn the_parser_says_so() {
        let error = |text: &str| serde_json::from_str::<f64>(text).expect_err("no double");
        assert!(is_cause(&error("1e309")) && is_cause(&error("-1e309")));
        assert!(is_cause(&error(&"9".repeat(309))));
        assert!(!is_cause(&error("1e")) && !is_cause(&error("\"number out of range\"")));
    }
}
