//! What `POST /push` takes: any of the text forms, recognised by what stands in the body; the
//! content type is not asked. Lines of different forms may stand in one body.
//!
//! | the body or line begins with | it is |
//! |---|---|
//! | `[` | a JSON array |
//! | `{"text":` or `{}` | JSON: an object, or lines of them when the second line begins so too |
//! | `{"text",`, `{"text"}`, `{label=` | Prometheus text with a quoted name |
//! | `#` | a comment of any of them |
//! | a name and `{`, or a name, blanks and no `=` in what follows | Prometheus text, simple lines |
//! | anything with a `,` or `\` in its first word, or `=` in its second | Influx line protocol |
//!
//! Where a line ends in a quoted text it goes on behind it (`lines.rs`), in each of the forms.
//! Timestamps of Influx lines are of the precision that their magnitude tells
//! ([`crate::time::guess_ms`]); those of the other forms are milliseconds, except in a body that
//! ends with `# EOF`, which is OpenMetrics and has seconds.

use pulseboard_series::Batch;

use crate::{
    BodyError, influx, json,
    lines::{Ends, for_each_line, is_blank, skip_blanks},
    text::{self, Times},
    time::Precision,
};

/// What a body was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// `name value` lines, Prometheus text or OpenMetrics.
    Text,
    /// Influx line protocol.
    Influx,
    /// JSON, as a whole or in lines.
    Json,
    /// Lines of more than one form.
    Mixed,
}

impl BodyFormat {
    /// A word for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Influx => "influx",
            Self::Json => "json",
            Self::Mixed => "mixed",
        }
    }

    fn and(so_far: Option<Self>, form: Self) -> Option<Self> {
        Some(match so_far {
            Some(other) if other != form => Self::Mixed,
            _ => form,
        })
    }
}

/// Reads a body of any text form. Refused lines are in the batch.
///
/// # Errors
/// The body is empty or is broken JSON as a whole; the batch is empty then.
pub fn push(body: &[u8], batch: &mut Batch) -> Result<BodyFormat, BodyError> {
    push_commented(body, batch).map(|(format, _)| format)
}

/// As [`push`]; and whether there are comments that say something of a metric, so that who wants to
/// know what need not look through all bodies.
///
/// # Errors
/// As [`push`].
pub fn push_commented(body: &[u8], batch: &mut Batch) -> Result<(BodyFormat, bool), BodyError> {
    // A byte order mark says nothing about UTF-8 and would only spoil the first name.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return Err(BodyError::Empty);
    }
    if is_json_document(start) {
        json::parse(body, batch)?;
        return Ok((BodyFormat::Json, false));
    }
    let mut reader = text::Reader::new(Times::of(body, ""));
    let mut form = None;
    for_each_line(body, batch, |number, line, batch| {
        let line = skip_blanks(line);
        let bytes = line.as_bytes();
        let name_end = text::name_end(bytes);
        let (taken_for, ends) = match bytes.get(name_end) {
            Some(b'#') if name_end == 0 => return reader.comment(line),
            Some(b'{') if name_end == 0 && begins_object(bytes) => {
                (BodyFormat::Json, json::line(number, line, batch))
            }
            Some(b'{') => (
                BodyFormat::Text,
                reader.sample(number, line, name_end, batch),
            ),
            None if name_end == 0 => return Ends::Here,
            _ if is_influx(bytes, name_end) => {
                let ends = influx::line(number, line, Precision::Guess, batch);
                (BodyFormat::Influx, ends)
            }
            _ => (
                BodyFormat::Text,
                reader.sample(number, line, name_end, batch),
            ),
        };
        form = BodyFormat::and(form, taken_for);
        ends
    });
    Ok((form.unwrap_or(BodyFormat::Text), reader.has_comments()))
}

/// Whether the body is one JSON document and not lines of them.
fn is_json_document(start: &[u8]) -> bool {
    if start.starts_with(b"[") {
        return true;
    }
    if !begins_object(start) {
        return false;
    }
    let mut lines = start.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let second = lines.map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    match second {
        None => true,
        Some(second) => !begins_object(second) && !json::is_whole(first),
    }
}

/// Whether a text that begins with `{` is JSON: a quoted text and a colon, or nothing, follows.
fn begins_object(bytes: &[u8]) -> bool {
    let Some((b'{', rest)) = bytes.split_first() else {
        return false;
    };
    let rest = rest.trim_ascii_start();
    let Some((b'"', quoted)) = rest.split_first() else {
        // `{label=` is text; `{` alone, `{}` and whatever else is no line of any other form.
        return !rest
            .first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    };
    let mut at = 0;
    while let Some(byte) = quoted.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => {
                let behind = quoted[at + 1..].trim_ascii_start().first();
                return !matches!(behind, Some(b',' | b'}' | b'='));
            }
            _ => at += 1,
        }
    }
    true
}

/// Whether a line whose first byte that no name may have stands at `name_end` is Influx's: there
/// are tags or escapes in its first word, or the second has a `=`.
fn is_influx(bytes: &[u8], name_end: usize) -> bool {
    let mut at = name_end;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b',' | b'\\' => return true,
            byte if is_blank(*byte) => break,
            _ => at += 1,
        }
    }
    let second = bytes[at..].trim_ascii_start();
    second
        .iter()
        .take_while(|byte| !is_blank(**byte) && **byte != b'{')
        .any(|byte| *byte == b'=')
}

#[cfg(test)]
mod tests;
