//! Labels that discovery tells of what it found.

use serde_json::Value;

use crate::labels::LabelSet;

/// A name as part of a label's name: what may not stand in one becomes `_`.
pub(super) fn label_name(name: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars()
        .map(|character| if plain(character) { character } else { '_' })
        .collect()
}

/// The text at a place of a document; numbers and booleans as they are written.
pub(super) fn text(value: &Value, place: &str) -> String {
    match value.pointer(place) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(is_so)) => is_so.to_string(),
        _ => String::new(),
    }
}

/// The list at a place of a document.
pub(super) fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    let list = value.pointer(place).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// `PREFIX_NAME` for each entry of a map of texts.
pub(super) fn set_all(labels: &mut LabelSet, prefix: &str, map: Option<&Value>) {
    for (name, value) in map.and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.as_str() {
            labels.set(&format!("{prefix}_{}", label_name(name)), value);
        }
    }
}
