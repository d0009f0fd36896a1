//! Our own messages as text.

/// A message as JSON text. Our own types always serialise: they have text keys only, and numbers
/// that JSON lacks become `null`.
#[must_use]
pub fn json_text(message: &impl serde::Serialize) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written as JSON");
        "null".to_owned()
    })
}
