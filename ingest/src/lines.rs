//! The lines of a body, numbered from 1, without their ends (`\n` or `\r\n`). A line that is not
//! UTF-8 is refused alone.

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
            number = number.saturating_add(1);
            each(number, without_return(&text[start..end]), batch);
            start = end + 1;
        }
        if start < text.len() {
            each(
                number.saturating_add(1),
                without_return(&text[start..]),
                batch,
            );
        }
        return;
    }
    for (line, number) in body.split(|byte| *byte == b'\n').zip(1_u32..) {
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
