//! One series' identity as bytes: equal bytes, equal series.
//!
//! ```text
//! name_len u16 LE │ name │ count u8 │ { len u8 │ label │ len u16 LE │ value } × count
//! ```
//!
//! Labels are sorted by name, no name is there twice, no value is empty (an empty value is no
//! label, as in the Prometheus data model). Names are any UTF-8, as in Prometheus 3.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
};

use foldhash::fast::RandomState;

use crate::{
    limits::{LABEL_NAME_BYTES_MAX, NAME_BYTES_MAX},
    reason::Reason,
};

/// The hash of a key; seeded at random for each process, so that nobody can choose keys that
/// collide.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    static STATE: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::default);
    let mut hasher = STATE.build_hasher();
    hasher.write(key);
    hasher.finish()
}

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
        let (_, rest) = take_u16(self.0)?;
        let mut rest = rest.get(1..)?;
        loop {
            let (label, after) = take_u8(rest)?;
            let (value, after) = take_u16(after)?;
            if label == name.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
            rest = after;
        }
    }
}

impl fmt::Display for KeyRef<'_> {
    /// As [`write_text`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_text(self.name(), self.labels(), &mut text);
        f.write_str(&text)
    }
}

/// Appends what [`KeyRef`] displays, without an allocation.
pub fn write_key(key: KeyRef<'_>, into: &mut String) {
    write_text(key.name(), key.labels(), into);
}

/// Appends `name{label="value",…}`, values escaped as in the Prometheus text format; names that
/// may not stand by themselves ([`is_plain_name`]) as Prometheus 3 has them:
/// `{"my metric","my label"="value"}`.
pub fn write_text<'a>(
    name: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    into: &mut String,
) {
    let is_plain = is_plain_name(name);
    write_stem(name, into);
    write_entries(labels, !is_plain, into);
}

/// Appends what the texts of all series of a name begin with.
pub fn write_stem(name: &str, into: &mut String) {
    if is_plain_name(name) {
        into.push_str(name);
    } else {
        into.push('{');
        write_quoted(name, into);
    }
}

/// Appends `{label="value",…}`; nothing where there are no labels.
pub fn write_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, into: &mut String) {
    write_entries(labels, false, into);
}

fn write_entries<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    mut is_open: bool,
    into: &mut String,
) {
    for (label, value) in labels {
        into.push(if is_open { ',' } else { '{' });
        is_open = true;
        if is_plain_label(label) {
            into.push_str(label);
        } else {
            write_quoted(label, into);
        }
        into.push('=');
        write_quoted(value, into);
    }
    if is_open {
        into.push('}');
    }
}

/// Appends a text in quotation marks.
pub fn write_quoted(text: &str, into: &mut String) {
    into.push('"');
    if text
        .bytes()
        .any(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
    {
        for character in text.chars() {
            match character {
                '\\' => into.push_str("\\\\"),
                '"' => into.push_str("\\\""),
                '\n' => into.push_str("\\n"),
                other => into.push(other),
            }
        }
    } else {
        into.push_str(text);
    }
    into.push('"');
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

/// Whether a metric may be called this: any text that is not empty, as in Prometheus 3, of at most
/// [`NAME_BYTES_MAX`] bytes.
///
/// # Errors
/// [`Reason::NoName`] or [`Reason::NameLength`].
pub fn check_name(name: &str) -> Result<(), Reason> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Reason::NameLength(name.len()));
    }
    if name.is_empty() {
        return Err(Reason::NoName);
    }
    Ok(())
}

/// As [`check_name`], for a name that stands by itself and not in quotation marks.
///
/// # Errors
/// [`Reason::Name`] where it is no plain one, or as [`check_name`].
pub fn check_plain_name(name: &str) -> Result<(), Reason> {
    check_name(name)?;
    if is_plain_name(name) {
        return Ok(());
    }
    Err(Reason::Name(name.to_owned()))
}

/// Whether a label may be called this: any text that is not empty, as in Prometheus 3, of at most
/// [`LABEL_NAME_BYTES_MAX`] bytes, but for [`NAME_LABEL`].
///
/// # Errors
/// [`Reason::NoLabelName`], [`Reason::LabelName`] or [`Reason::LabelNameLength`].
pub fn check_label_name(name: &str) -> Result<(), Reason> {
    if name.len() > LABEL_NAME_BYTES_MAX {
        return Err(Reason::LabelNameLength(name.len()));
    }
    match name {
        "" => Err(Reason::NoLabelName),
        NAME_LABEL => Err(Reason::LabelName(name.to_owned())),
        _ => Ok(()),
    }
}

/// The label that stands for the metric's name in selectors and in Prometheus' protocols.
pub const NAME_LABEL: &str = "__name__";

/// Whether a metric's name may stand without quotation marks: a letter (of any script), `_` or `:`
/// first, then also digits and `.`, `/`, `-`.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let first_fits = bytes.first().is_some_and(|first| {
        first.is_ascii_alphabetic() || matches!(first, b'_' | b':') || !first.is_ascii()
    });
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

/// Whether a label's name may stand without quotation marks: as [`is_plain_name`], but not `:`
/// first.
#[must_use]
pub fn is_plain_label(name: &str) -> bool {
    !name.starts_with(':') && is_plain_name(name)
}

/// ASCII characters of a name, looked up by their byte; those of other scripts are `others`.
#[must_use]
pub const fn name_bytes(others: bool) -> [bool; 256] {
    let mut table = [others; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'/' | b'-');
        byte += 1;
    }
    table
}

const ORDINARY: [bool; 256] = name_bytes(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_name_and_some_need_no_quotes() {
        let plain = [
            "a",
            "http_requests",
            "job:rate5m",
            "cpu.load/1-min",
            "größe",
            "_x",
            "__x",
            "Ａ",
        ];
        let others = [
            "1a",
            "a b",
            "a\u{0}",
            "a\n",
            "a{",
            "a\"",
            "é\u{200b}",
            "\u{1f600}",
            " ",
        ];
        for good in plain {
            assert_eq!(check_plain_name(good), Ok(()), "{good}");
        }
        for other in others {
            assert_eq!(check_name(other), Ok(()), "{other:?}");
            assert_eq!(check_label_name(other), Ok(()), "{other:?}");
            assert_eq!(
                check_plain_name(other),
                Err(Reason::Name(other.to_owned())),
                "{other:?}"
            );
        }
        assert_eq!(check_name(""), Err(Reason::NoName));
        assert_eq!(check_label_name(""), Err(Reason::NoLabelName));
        assert!(check_label_name(NAME_LABEL).is_err());
        assert!(check_name(&"x".repeat(NAME_BYTES_MAX)).is_ok());
        assert_eq!(
            check_name(&"x".repeat(NAME_BYTES_MAX + 1)),
            Err(Reason::NameLength(NAME_BYTES_MAX + 1))
        );
    }

    #[test]
    fn what_needs_quotes_is_quoted() {
        let text = |name: &str, labels: &[(&str, &str)]| {
            let mut text = String::new();
            write_text(name, labels.iter().copied(), &mut text);
            text
        };
        assert_eq!(text("a.b", &[]), "a.b");
        assert_eq!(text("a.b", &[("c", "d\"")]), r#"a.b{c="d\""}"#);
        assert_eq!(text("my metric", &[]), r#"{"my metric"}"#);
        assert_eq!(
            text("my \"metric", &[(":l", "v"), ("m", "w\n")]),
            r#"{"my \"metric",":l"="v",m="w\n"}"#
        );
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
