//! Names of formats that allow more characters than ours do.

/// A name, or when others stand before it the end of one: `_` in place of each character that no
/// name may have, and before a first one that only may follow.
pub(crate) fn sanitise(text: &str, is_first: bool) -> String {
    let mut name = String::with_capacity(text.len() + 1);
    let may_begin = |first: char| !(first.is_ascii_digit() || matches!(first, '.' | '/' | '-'));
    if is_first && !text.is_empty() && !text.starts_with(may_begin) {
        name.push('_');
    }
    name.extend(text.chars().map(|character| {
        if character.is_alphanumeric() || matches!(character, '_' | ':' | '.' | '/' | '-') {
            character
        } else {
            '_'
        }
    }));
    name
}
