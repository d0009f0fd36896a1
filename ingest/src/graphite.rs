//! Graphite's plaintext protocol, as carbon reads it:
//!
//! ```text
//! servers.web1.load 0.25 1795204862
//! disk.used;datacenter=fra;rack=a1 17 -1
//! ```
//!
//! - A path is a metric's name and kept as it was sent; tags behind `;` are labels.
//! - The value is a float. `NaN`, which carbon drops, is refused.
//! - The timestamp is in Unix seconds, with or without a fraction; `-1` is the moment of arrival.
//! - Blanks are spaces and tabs, as many as one likes; lines end with `\n` or `\r\n`.
//!
//! Specifications: <https://graphite.readthedocs.io/en/latest/feeding-carbon.html> and
//! <https://graphite.readthedocs.io/en/latest/tags.html>.

use pulseboard_series::{Batch, Reason};

use crate::{
    excerpt::{excerpt, expected, not_a_number},
    lines::{Ends, blanks_end, for_each_line, is_blank, skip_blanks},
    number, time,
};

/// Reads lines; empty ones write nothing.
pub fn parse(body: &[u8], batch: &mut Batch) {
    for_each_line(body, batch, |number, line, batch| {
        let before = batch.rows().len();
        if let Err(reason) = try_line(number, skip_blanks(line), batch) {
            batch.undo_to(before);
            batch.refuse(number, reason);
        }
        Ends::Here
    });
}

fn try_line(number: u32, line: &str, batch: &mut Batch) -> Result<(), Reason> {
    if line.is_empty() {
        return Ok(());
    }
    let (path, value_at) = word(line, 0);
    let (value, stamp_at) = word(line, value_at);
    let (stamp, rest_at) = word(line, stamp_at);
    if value.is_empty() {
        return Err(expected("a value", line, value_at));
    }
    if stamp.is_empty() {
        return Err(expected(
            "a timestamp in Unix seconds, or -1",
            line,
            stamp_at,
        ));
    }
    if rest_at < line.len() {
        return Err(expected("the end of the line", line, rest_at));
    }
    let sample = number::float(value).filter(|sample| !sample.is_nan());
    let sample = sample.ok_or_else(|| not_a_number(value))?;
    let at_ms = match stamp {
        "-1" => None,
        _ => Some(time::seconds_to_ms(stamp).ok_or_else(|| {
            Reason::Malformed(format!(
                "{:?} is no timestamp in Unix seconds",
                excerpt(stamp)
            ))
        })?),
    };
    let mut parts = path.split(';');
    batch.begin(&[parts.next().unwrap_or_default()])?;
    for tag in parts {
        let (name, value) = read_tag(tag)?;
        batch.label(name, value)?;
    }
    batch.finish(number, at_ms, sample)
}

/// The word at a place, and where the next one begins.
fn word(line: &str, at: usize) -> (&str, usize) {
    let bytes = line.as_bytes();
    let length = bytes[at..].iter().position(|byte| is_blank(*byte));
    let end = length.map_or(line.len(), |length| at + length);
    (&line[at..end], blanks_end(bytes, end))
}

/// Name and value of a tag. Both are there, a name has none of `!^` and a value does not begin with
/// `~` ("Tag support").
fn read_tag(tag: &str) -> Result<(&str, &str), Reason> {
    let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
    let is_right = !name.is_empty()
        && !value.is_empty()
        && !name.contains(['!', '^'])
        && !value.starts_with('~');
    if is_right {
        return Ok((name, value));
    }
    Err(Reason::Malformed(format!(
        "{:?} is no tag; accepted is `name=value`",
        excerpt(tag)
    )))
}

#[cfg(test)]
mod tests;
