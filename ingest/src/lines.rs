//! The lines of a body, numbered from 1, without their ends (`\n` or `\r\n`). A line that is not
//! UTF-8 is refused alone. Where so many were refused that the body is hopeless, what follows is
//! counted and not looked at. Between two lines the batch may hand on what it has
//! ([`Batch::checkpoint`]).
//!
//! Quotes come first, lines second: where a line ends inside a quoted text, what reads it says so
//! ([`Ends::Quoted`]), and gets it once more up to the line's end behind the text's. So a message
//! that was sent along with numbers never becomes samples of its own. Nearly no line has such a
//! text, and none of the others is looked at twice.

use std::ops::Range;

use pulseboard_series::{Batch, Reason};

/// What is made of a line that is no text, to find where it ends: one row has room in it.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;

/// Where a line ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// At its end; it was taken or refused.
    Here,
    /// Not there, but in a quoted text; nothing was taken. Of the bytes from the line's beginning
    /// on, the function finds where it does end: at a line break, or behind all bytes. `None` where
    /// the text never does; the line is then what it is, and refused.
    Quoted(fn(&[u8]) -> Option<usize>),
}

/// Calls `each` with every line that is UTF-8 and notes the others as refused.
pub(crate) fn for_each_line(
    body: &[u8],
    batch: &mut Batch,
    mut each: impl FnMut(u32, &str, &mut Batch) -> Ends,
) {
    // A byte order mark says nothing about UTF-8 and would only spoil the first name.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // Nearly always the whole body is UTF-8, and is checked in one quick go.
    let Ok(text) = std::str::from_utf8(body) else {
        for_each_of_bytes(body, batch, each);
        return;
    };
    let mut start = 0;
    let mut number = 0_u32;
    for end in memchr::memchr_iter(b'\n', body) {
        if batch.is_hopeless() {
            break;
        }
        number = number.saturating_add(1);
        // A break inside the line before.
        if end < start {
            continue;
        }
        start = match each(number, without_return(&text[start..end]), batch) {
            Ends::Here => end + 1,
            Ends::Quoted(find) => long_line(text, start..end, find, number, batch, &mut each),
        };
        batch.checkpoint();
    }
    if batch.is_hopeless() {
        refuse_unread(body.get(start..).unwrap_or_default(), batch);
    } else if start < text.len() {
        let rest = without_return(&text[start..]);
        if let Ends::Quoted(_) = each(number.saturating_add(1), rest, batch) {
            batch.refuse(number.saturating_add(1), unclosed());
        }
    }
}

/// A line that ends in a quoted text; returns where the next one begins.
#[cold]
fn long_line(
    text: &str,
    line: Range<usize>,
    find: fn(&[u8]) -> Option<usize>,
    number: u32,
    batch: &mut Batch,
    each: &mut impl FnMut(u32, &str, &mut Batch) -> Ends,
) -> usize {
    let Some(end) = find(&text.as_bytes()[line.start..]) else {
        batch.refuse(number, unclosed());
        return line.end + 1;
    };
    let end = line.start + end;
    if let Ends::Quoted(_) = each(number, without_return(&text[line.start..end]), batch) {
        batch.refuse(number, unclosed());
    }
    end + 1
}

fn unclosed() -> Reason {
    Reason::Malformed("a quoted text begins in this line and does not end".to_owned())
}

/// As [`for_each_line`] where not all is text.
#[cold]
fn for_each_of_bytes(
    body: &[u8],
    batch: &mut Batch,
    mut each: impl FnMut(u32, &str, &mut Batch) -> Ends,
) {
    let mut start = 0;
    let mut number = 0_u32;
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let mut unwanted = Batch::new();
    unwanted.set_bytes_max(UNWANTED_BYTES_MAX);
    for end in ends {
        if batch.is_hopeless() {
            return refuse_unread(body.get(start..).unwrap_or_default(), batch);
        }
        number = number.saturating_add(1);
        if end < start || start == body.len() {
            continue;
        }
        // With its mark where a byte is no text, to find where it ends.
        let line = String::from_utf8_lossy(&body[start..end]);
        let is_text = matches!(line, std::borrow::Cow::Borrowed(_));
        let into = if is_text { &mut *batch } else { &mut unwanted };
        let whole = match each(number, without_return(&line), into) {
            Ends::Here => Some(end),
            Ends::Quoted(find) => find(&body[start..]).map(|end| start + end),
        };
        unwanted.clear();
        let whole_end = whole.unwrap_or(end);
        match std::str::from_utf8(&body[start..whole_end]) {
            Ok(_) if whole == Some(end) => {}
            Ok(line) if whole.is_some() => {
                if let Ends::Quoted(_) = each(number, without_return(line), batch) {
                    batch.refuse(number, unclosed());
                }
            }
            Ok(_) => batch.refuse(number, unclosed()),
            Err(error) => batch.refuse(
                number,
                Reason::Malformed(format!(
                    "column {}: these bytes are not UTF-8",
                    error.valid_up_to() + 1
                )),
            ),
        }
        start = whole_end + 1;
        batch.checkpoint();
    }
}

/// The place behind the quotation mark that ends the text which begins behind another one at
/// `from`; `None` where there is none. A backslash takes the byte behind it along.
pub(crate) fn quoted_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

/// Where a line of Prometheus text ends whose quoted texts stand between braces: at its break, or
/// behind all bytes; `None` where a quoted text never does.
pub(crate) fn braces_end(bytes: &[u8]) -> Option<usize> {
    let mut is_inside = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => return Some(at),
            b'{' => is_inside = true,
            b'}' => is_inside = false,
            b'"' if is_inside => {
                at = quoted_end(bytes, at + 1)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Some(bytes.len())
}

/// Counts the lines that are neither empty nor comments.
fn refuse_unread(body: &[u8], batch: &mut Batch) {
    let lines = body.split(|byte| *byte == b'\n');
    let said = lines.filter(|line| !matches!(line.trim_ascii_start().first(), None | Some(b'#')));
    batch.refuse_unread(said.count() as u64);
}

fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}

/// What stands before the first blank, and what follows the blanks behind it.
pub(crate) fn token(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let end = bytes
        .iter()
        .position(|byte| is_blank(*byte))
        .unwrap_or(bytes.len());
    (&text[..end], skip_blanks(&text[end..]))
}

/// The text behind leading spaces and tabs.
pub(crate) fn skip_blanks(text: &str) -> &str {
    let bytes = text.as_bytes();
    let start = bytes
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(bytes.len());
    &text[start..]
}

/// The place of the first byte from `at` on that is no blank.
pub(crate) fn blanks_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_blank(bytes[at]) {
        at += 1;
    }
    at
}

pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The first of two bytes from a place on; the text's length when there is none. Eight bytes at a
/// time: what is looked through is short, and a call of `memchr` takes longer than most of it.
#[inline]
pub(crate) fn first_of(bytes: &[u8], mut at: usize, one: u8, other: u8) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let chunk = u64::from_le_bytes(*chunk);
        // The lowest byte of which the high bit is set was zero, so it was the one looked for;
        // those above it may be set by a borrow.
        let first = chunk ^ (ONES * u64::from(one));
        let second = chunk ^ (ONES * u64::from(other));
        let found =
            (first.wrapping_sub(ONES) & !first | second.wrapping_sub(ONES) & !second) & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while at < bytes.len() && bytes[at] != one && bytes[at] != other {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use pulseboard_series::limits::REFUSED_READ_MAX;

    use super::*;

    /// A body of mistakes costs what a million of them cost, and each of its lines is counted.
    #[test]
    fn what_follows_a_million_mistakes_is_counted_and_not_looked_at() {
        for (last, is_text) in [(&b""[..], true), (b"\xff\n", false)] {
            let further = b"a 1\n\n# a comment\r\n \t\nb 2";
            let mut body = b"!\n".repeat(REFUSED_READ_MAX as usize - usize::from(!is_text));
            body.splice(0..0, last.iter().copied());
            body.extend_from_slice(further);
            let mut batch = Batch::new();
            let mut looked_at = 0;
            for_each_line(&body, &mut batch, |number, _, batch| {
                looked_at += 1;
                batch.refuse(number, Reason::Malformed(String::new()));
                Ends::Here
            });
            // What is no text is looked at, too: for where it ends.
            assert_eq!(looked_at, REFUSED_READ_MAX);
            assert_eq!(batch.refused_total(), REFUSED_READ_MAX + 2);
            assert_eq!(batch.refused().len(), 100);
        }
    }
}
