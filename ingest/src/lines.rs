//! The lines of a body, numbered from 1, without their ends (`\n` or `\r\n`). A line that is not
//! UTF-8 is refused alone. Where so many were refused that the body is hopeless, what follows is
//! counted and not looked at.

use pulseboard_series::{Batch, Reason};

/// Calls `each` with every line that is UTF-8 and notes the others as refused.
pub(crate) fn for_each_line(
    body: &[u8],
    batch: &mut Batch,
    mut each: impl FnMut(u32, &str, &mut Batch),
) {
    // Nearly always the whole body is UTF-8, and is checked in one quick go.
    if let Ok(text) = std::str::from_utf8(body) {
        let mut start = 0;
        let mut number = 0_u32;
        for end in memchr::memchr_iter(b'\n', body) {
            if batch.is_hopeless() {
                break;
            }
            number = number.saturating_add(1);
            each(number, without_return(&text[start..end]), batch);
            start = end + 1;
        }
        if batch.is_hopeless() {
            refuse_unread(&body[start..], batch);
        } else if start < text.len() {
            each(
                number.saturating_add(1),
                without_return(&text[start..]),
                batch,
            );
        }
        return;
    }
    let mut left = body;
    for (line, number) in body.split(|byte| *byte == b'\n').zip(1_u32..) {
        if batch.is_hopeless() {
            return refuse_unread(left, batch);
        }
        left = left.get(line.len() + 1..).unwrap_or_default();
        match std::str::from_utf8(line) {
            Ok(line) => each(number, without_return(line), batch),
            Err(error) => batch.refuse(
                number,
                Reason::Malformed(format!(
                    "column {}: these bytes are not UTF-8",
                    error.valid_up_to() + 1
                )),
            ),
        }
    }
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
            });
            assert_eq!(looked_at, REFUSED_READ_MAX - u64::from(!is_text));
            assert_eq!(batch.refused_total(), REFUSED_READ_MAX + 2);
            assert_eq!(batch.refused().len(), 100);
        }
    }
}
