//! What a sender wrote, shortened for the text of a reason.

use pulseboard_series::Reason;

/// Characters of the sender's text that a reason repeats.
const CHARACTERS_MAX: usize = 60;

/// The beginning of a text; `…` where it goes on.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The value is no number.
pub(crate) fn not_a_number(text: &str) -> Reason {
    Reason::NotANumber(excerpt(text))
}

/// Something else stands where `expected` should; `at` is the byte's place in the line, from 0.
pub(crate) fn expected(what: &str, line: &str, at: usize) -> Reason {
    let found = match line.get(at..).and_then(|rest| rest.chars().next()) {
        Some(character) => format!("{character:?}"),
        None => "nothing more".to_owned(),
    };
    Reason::Malformed(format!(
        "column {}: {what} expected, found {found}",
        at.min(line.len()) + 1
    ))
}
