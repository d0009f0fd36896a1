//! One series' identity as bytes: equal bytes, equal series.
//!
//! ```text
//! name_len u16 LE │ name │ count u8 │ { len u8 │ label │ len u16 LE │ value } × count
//! ```
//!
//! Labels are sorted by name, no name is there twice, no value is empty (an empty value is no
//! label, as in the Prometheus data model).

use std::fmt;

use crate::{
    limits::{LABEL_NAME_BYTES_MAX, NAME_BYTES_MAX},
    reason::Reason,
};

/// A key as it stands in a batch or a series table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRef<'a>(&'a [u8]);

impl<'a> KeyRef<'a> {
    /// Takes bytes that a [`crate::Batch`] wrote.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes bytes from a disk; `None` when they are not a whole key.
    #[must_use]
    pub fn checked(bytes: &'a [u8]) -> Option<Self> {
        let key = Self(bytes);
        let (name, mut rest) = take_u16(bytes)?;
        std::str::from_utf8(name).ok()?;
        let (&count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count {
            let (label, after) = take_u8(rest)?;
            let (value, after) = take_u16(after)?;
            std::str::from_utf8(label).ok()?;
            std::str::from_utf8(value).ok()?;
            rest = after;
        }
        rest.is_empty().then_some(key)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The metric's name.
    #[must_use]
    pub fn name(self) -> &'a str {
        take_u16(self.0)
            .and_then(|(name, _)| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    /// Labels and their values, sorted by name.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let rest = take_u16(self.0)
            .and_then(|(_, rest)| rest.get(1..))
            .unwrap_or_default();
        Labels(rest)
    }

    /// The value of one label.
    #[must_use]
    pub fn label(self, name: &str) -> Option<&'a str> {
        self.labels()
            .find_map(|(label, value)| (label == name).then_some(value))
    }
}

impl fmt::Display for KeyRef<'_> {
    /// `name{label="value",…}`, values escaped as in the Prometheus text format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut before = "{";
        for (label, value) in self.labels() {
            write!(f, "{before}{label}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    other => fmt::Write::write_char(f, other)?,
                }
            }
            f.write_str("\"")?;
            before = ",";
        }
        if before == "," {
            f.write_str("}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRef({self})")
    }
}

struct Labels<'a>(&'a [u8]);

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (label, rest) = take_u8(self.0)?;
        let (value, rest) = take_u16(rest)?;
        self.0 = rest;
        Some((
            std::str::from_utf8(label).ok()?,
            std::str::from_utf8(value).ok()?,
        ))
    }
}

/// The piece behind a length of one byte, and what follows it.
pub(crate) fn take_u8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// The piece behind a length of two bytes, and what follows it.
pub(crate) fn take_u16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// Whether a metric may be called this: a letter (of any script), `_` or `:` first, then also
/// digits and `.`, `/`, `-`; at most [`NAME_BYTES_MAX`] bytes; not beginning with `__`.
///
/// # Errors
/// [`Reason::Name`] or [`Reason::NameLength`].
pub fn check_name(name: &str) -> Result<(), Reason> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Reason::NameLength(name.len()));
    }
    if is_word(name) {
        return Ok(());
    }
    Err(Reason::Name(name.to_owned()))
}

/// Whether a label may be called this: as [`check_name`], at most [`LABEL_NAME_BYTES_MAX`] bytes.
///
/// # Errors
/// [`Reason::LabelName`] or [`Reason::LabelNameLength`].
pub fn check_label_name(name: &str) -> Result<(), Reason> {
    if name.len() > LABEL_NAME_BYTES_MAX {
        return Err(Reason::LabelNameLength(name.len()));
    }
    if is_word(name) && !name.starts_with(':') {
        return Ok(());
    }
    Err(Reason::LabelName(name.to_owned()))
}

fn is_word(name: &str) -> bool {
    let bytes = name.as_bytes();
    let first_fits = match bytes.first() {
        None => false,
        Some(b'_') => bytes.get(1) != Some(&b'_'),
        Some(first) => first.is_ascii_alphabetic() || *first == b':' || !first.is_ascii(),
    };
    if !first_fits {
        return false;
    }
    if bytes.iter().all(|byte| ORDINARY[usize::from(*byte)]) {
        return true;
    }
    // Other scripts; digits of theirs may stand first, which harms nobody.
    name.chars().all(|character| {
        character.is_alphanumeric() || matches!(character, '_' | ':' | '.' | '/' | '-')
    })
}

/// ASCII characters of a name, looked up by their byte.
const ORDINARY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'/' | b'-');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_grammar() {
        for good in [
            "a",
            "http_requests",
            "job:rate5m",
            "cpu.load/1-min",
            "größe",
            "_x",
            "Ａ",
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "1a",
            "a b",
            "__name",
            "a\u{0}",
            "a\n",
            "a{",
            "a\"",
            "é\u{200b}",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name(&"x".repeat(NAME_BYTES_MAX)).is_ok());
        assert_eq!(
            check_name(&"x".repeat(NAME_BYTES_MAX + 1)),
            Err(Reason::NameLength(NAME_BYTES_MAX + 1))
        );
        assert!(check_label_name(":a").is_err());
    }

    #[test]
    fn bytes_from_a_disk_are_checked() {
        let key = [1, 0, b'a', 1, 1, b'l', 1, 0, b'v'];
        let read = KeyRef::checked(&key);
        assert_eq!(
            read.map(|key| key.to_string()),
            Some(r#"a{l="v"}"#.to_owned())
        );
        for cut in 0..key.len() {
            assert_eq!(KeyRef::checked(&key[..cut]), None, "{cut}");
        }
        assert_eq!(KeyRef::checked(&[1, 0, 0xff, 0]), None);
    }
}
