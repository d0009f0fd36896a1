//! What was hidden when it was read is put back when it is written again.

use pulseboard_outbound::secret::HIDDEN;
use serde_json::Value;

/// Puts the stored text in the place of each `<secret>` of `new` that `stored` has one for. Both are a
/// receiver as JSON; items of lists are told by their place. Whoever makes a receiver anew and leaves a
/// secret hidden learns of it by the `false` that is returned where nothing was stored for one.
pub fn keep_secrets(new: &mut Value, stored: &Value) -> bool {
    match new {
        Value::String(text) if text == HIDDEN => match stored {
            Value::String(_) => {
                *new = stored.clone();
                true
            }
            _ => false,
        },
        Value::Array(items) => {
            let mut all = true;
            for (index, item) in items.iter_mut().enumerate() {
                all &= keep_secrets(item, stored.get(index).unwrap_or(&Value::Null));
            }
            all
        }
        Value::Object(fields) => {
            let mut all = true;
            for (name, field) in fields.iter_mut() {
                all &= keep_secrets(field, stored.get(name).unwrap_or(&Value::Null));
            }
            all
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_hidden_stays_and_what_is_new_is_taken() {
        let stored = json!({"a": [{"token": "one", "b": 1}], "c": "plain"});
        let mut new = json!({"a": [{"token": "<secret>", "b": 2}], "c": "other"});
        assert!(keep_secrets(&mut new, &stored));
        assert_eq!(new, json!({"a": [{"token": "one", "b": 2}], "c": "other"}));
        let mut new = json!({"a": [{"token": "<secret>"}, {"token": "<secret>"}]});
        assert!(!keep_secrets(&mut new, &stored), "the second is nowhere");
    }
}
