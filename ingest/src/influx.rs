//! Influx line protocol, v1 and v2:
//!
//! ```text
//! weather,location=us-midwest temperature=82,humidity=71i 1465839830100400200
//! ```
//!
//! - Each field is a sample called `measurement_field`; a field called `value` is just
//!   `measurement`. All names are kept as they were sent.
//! - Fields are floats, integers (`1i`), unsigned integers (`1u`) and booleans (1 and 0). A field
//!   that is a string is refused alone, its neighbours are accepted; so is one that is `NaN` or
//!   infinite, which the protocol does not have. Integers past 2^53 become the nearest double.
//! - Escapes: `\,` and `\ ` in measurements, also `\=` in keys and tag values, `\"` and `\\` in
//!   strings; another backslash stays as it stands.
//! - A tag without a value is left out; a line without a timestamp is of the moment of arrival.
//! - A string may have line breaks in it, as InfluxDB's own clients write them; the point goes on
//!   behind it.
//! - Lines that begin with `#` are comments.

use std::{borrow::Cow, ops::Range};

use pulseboard_series::{Batch, Reason};

use crate::{
    excerpt::{excerpt, expected, not_a_number},
    lines::{Ends, blanks_end, first_of, for_each_line, is_blank, quoted_end, skip_blanks},
    number,
    time::Precision,
};

/// Reads a whole body whose timestamps are of one precision.
pub fn parse(body: &[u8], precision: Precision, batch: &mut Batch) {
    for_each_line(body, batch, |number, text, batch| {
        line(number, text, precision, batch)
    });
}

/// Reads one line without its end. Empty ones and comments are fine and write nothing.
pub(crate) fn line(number: u32, line: &str, precision: Precision, batch: &mut Batch) -> Ends {
    let line = skip_blanks(line);
    if line.is_empty() || line.starts_with('#') {
        return Ends::Here;
    }
    let before = batch.rows().len();
    match try_line(number, line, precision, batch) {
        Ok(()) => {}
        // Before anything was written.
        Err(Wrong::IsOpen) => return Ends::Quoted(point_end),
        Err(Wrong::Reason(reason)) => {
            batch.undo_to(before);
            batch.refuse(number, reason);
        }
    }
    Ends::Here
}

/// Why a line is not taken.
enum Wrong {
    Reason(Reason),
    /// It ends in a string.
    IsOpen,
}

impl From<Reason> for Wrong {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// Where the point ends whose line begins the bytes: at the first line break outside of strings. A
/// string that never ends takes all the rest with it, as in InfluxDB.
fn point_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |byte| is_blank(byte) || byte == b'\n';
    let mut at = blanks_end(bytes, 0);
    // Measurement and tags, in which a quotation mark is a character.
    loop {
        match bytes.get(at) {
            Some(b'\\') if bytes.get(at + 1) != Some(&b'\n') => at += 2,
            Some(byte) if is_end(*byte) => break,
            Some(_) => at += 1,
            None => return Some(bytes.len()),
        }
    }
    loop {
        match bytes.get(at) {
            Some(b'\n') => return Some(at),
            Some(b'\\') if bytes.get(at + 1) != Some(&b'\n') => at += 2,
            Some(b'"') if bytes[at - 1] == b'=' => match quoted_end(bytes, at + 1) {
                Some(end) => at = end,
                None => return Some(bytes.len()),
            },
            Some(_) => at += 1,
            None => return Some(bytes.len()),
        }
    }
}

/// Where the parts of a line are, with their escapes.
struct Parts {
    measurement_end: usize,
    /// Behind the comma after the measurement; empty without tags.
    tags: Range<usize>,
    fields: Range<usize>,
    at_ms: Option<i64>,
}

fn try_line(number: u32, line: &str, precision: Precision, batch: &mut Batch) -> Result<(), Wrong> {
    let parts = split(line, precision)?;
    let measurement = unescape(&line[..parts.measurement_end], b", ");
    let mut is_begun = false;
    // What is behind the fields is no business of theirs.
    let fields = &line[..parts.fields.end];
    let mut at = parts.fields.start;
    loop {
        let (key, value, end) = field(fields, at)?;
        let key = unescape(key, b",= ");
        let pieces = [&*measurement, "_", &*key];
        let name = if key == "value" {
            &pieces[..1]
        } else {
            &pieces
        };
        let written = field_value(&key, value).and_then(|sample| {
            if is_begun {
                batch.push_sibling(name, number, parts.at_ms, sample)?;
            } else {
                batch.begin(name)?;
            }
            Ok(sample)
        });
        match written {
            Ok(_) if is_begun => {}
            Ok(sample) => {
                tags(&line[..parts.tags.end], parts.tags.start, batch)?;
                batch.finish(number, parts.at_ms, sample)?;
                is_begun = true;
            }
            // The field is lost, its neighbours are not.
            Err(reason) => batch.refuse(number, reason),
        }
        if end == fields.len() {
            return Ok(());
        }
        at = end + 1;
    }
}

/// Cuts a line at its unescaped blanks; a blank inside a string is part of the fields.
fn split(line: &str, precision: Precision) -> Result<Parts, Wrong> {
    let bytes = line.as_bytes();
    let measurement_end = unescaped(bytes, 0, |byte| byte == b',' || is_blank(byte));
    if measurement_end == 0 {
        return Err(expected("a measurement", line, 0).into());
    }
    let tags = if bytes.get(measurement_end) == Some(&b',') {
        measurement_end + 1..unescaped_blank(bytes, measurement_end + 1)
    } else {
        measurement_end..measurement_end
    };
    let fields_at = blanks_end(bytes, tags.end);
    if fields_at == line.len() {
        return Err(expected("a blank and `field=value`", line, line.len()).into());
    }
    let fields_end = fields_end(bytes, fields_at).ok_or(Wrong::IsOpen)?;
    let stamp_at = blanks_end(bytes, fields_end);
    let stamp = line[stamp_at..].trim_end_matches([' ', '\t']);
    let at_ms = if stamp.is_empty() {
        None
    } else {
        let time = number::integer(stamp)
            .ok_or_else(|| expected("a timestamp as a whole number", line, stamp_at))?;
        Some(precision.to_ms(time))
    };
    Ok(Parts {
        measurement_end,
        tags,
        fields: fields_at..fields_end,
        at_ms,
    })
}

/// The first byte of which `is_end` is true and that no backslash stands before.
fn unescaped(bytes: &[u8], from: usize, is_end: impl Fn(u8) -> bool) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if is_end(byte) => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// As [`unescaped`] for a blank, many bytes at a time: tags are most of a line.
fn unescaped_blank(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(rest) = bytes.get(at..)
        && let Some(found) = memchr::memchr3(b' ', b'\t', b'\\', rest)
    {
        at += found;
        if is_blank(bytes[at]) {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// The first blank outside of strings; `None` where a string does not end.
fn fields_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            // A quote opens a string only where a value begins; elsewhere it is a character.
            b'"' if at > from && bytes[at - 1] == b'=' => at = quoted_end(bytes, at + 1)?,
            byte if is_blank(byte) => return Some(at),
            _ => at += 1,
        }
    }
    Some(bytes.len())
}

/// Key and value of the field at a place, and where it ends: at a comma or at the end.
fn field(fields: &str, at: usize) -> Result<(&str, &str, usize), Reason> {
    let bytes = fields.as_bytes();
    let equals = unescaped(bytes, at, |byte| byte == b'=' || byte == b',');
    if bytes.get(equals) != Some(&b'=') {
        return Err(expected("`=` and a field's value", fields, equals));
    }
    if equals == at {
        return Err(expected("a field's name", fields, at));
    }
    let value_at = equals + 1;
    let end = if bytes.get(value_at) == Some(&b'"') {
        quoted_end(bytes, value_at + 1).unwrap_or(bytes.len())
    } else {
        unescaped(bytes, value_at, |byte| byte == b',')
    };
    match bytes.get(end) {
        None | Some(b',') => Ok((&fields[at..equals], &fields[value_at..end], end)),
        Some(_) => Err(expected("`,` or a blank", fields, end)),
    }
}

/// The number that a field holds.
fn field_value(key: &str, value: &str) -> Result<f64, Reason> {
    let bytes = value.as_bytes();
    let number = match bytes.last() {
        Some(b'0'..=b'9' | b'.') => number::float(value),
        #[expect(
            clippy::cast_precision_loss,
            reason = "samples are doubles; said in the module's text"
        )]
        Some(b'i') => number::integer(&value[..value.len() - 1]).map(|whole| whole as f64),
        #[expect(
            clippy::cast_precision_loss,
            reason = "samples are doubles; said in the module's text"
        )]
        Some(b'u') => value[..value.len() - 1]
            .parse::<u64>()
            .ok()
            .map(|whole| whole as f64),
        Some(b'"') if bytes[0] == b'"' => {
            return Err(Reason::Unsupported(format!(
                "field {:?} is a string; only numbers and booleans are kept",
                excerpt(key)
            )));
        }
        _ => match value {
            "t" | "T" | "true" | "True" | "TRUE" => Some(1.0),
            "f" | "F" | "false" | "False" | "FALSE" => Some(0.0),
            _ => None,
        },
    };
    number.ok_or_else(|| not_a_number(value))
}

/// The tags from a place to the end of `text`.
fn tags(text: &str, mut at: usize, batch: &mut Batch) -> Result<(), Reason> {
    let bytes = text.as_bytes();
    let is_plain = memchr::memchr(b'\\', bytes).is_none();
    while at < bytes.len() {
        let equals = if is_plain {
            first_of(bytes, at, b'=', b',')
        } else {
            unescaped(bytes, at, |byte| byte == b'=' || byte == b',')
        };
        if bytes.get(equals) != Some(&b'=') || equals == at {
            return Err(expected("a tag as `key=value`", text, equals));
        }
        let from = equals + 1;
        let key = &text[at..equals];
        let end;
        if is_plain {
            end = first_of(bytes, from, b',', b',');
            let value = &text[from..end];
            batch.label(key, value)?;
        } else {
            end = unescaped(bytes, from, |byte| byte == b',');
            let key = unescape(key, b",= ");
            batch.label(&key, &unescape(&text[from..end], b",= "))?;
        }
        at = end + 1;
    }
    Ok(())
}

/// Takes the backslashes away that stand before one of `special`.
fn unescape<'a>(text: &'a str, special: &[u8]) -> Cow<'a, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_escape = character == '\\'
            && characters
                .peek()
                .is_some_and(|next| special.iter().any(|byte| char::from(*byte) == *next));
        if !is_escape {
            plain.push(character);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
