//! Why bytes are no message.

use std::fmt;

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end too early, or a count promises more than there is.
    Short,
    /// Something follows the message.
    Long,
    /// A first byte, or a series byte, that is none of ours.
    Kind(u8),
    /// A text that is not UTF-8.
    Text,
    /// A number that does not fit.
    Number,
    /// A sample of a series that was not introduced.
    Series,
    /// The JSON inside is not a message.
    Json(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the message ends too early"),
            Self::Long => f.write_str("something follows the message"),
            Self::Kind(kind) => write!(f, "{kind} introduces nothing"),
            Self::Text => f.write_str("a text is not UTF-8"),
            Self::Number => f.write_str("a number is too large"),
            Self::Series => f.write_str("a sample names no series"),
            Self::Json(error) => write!(f, "the JSON inside is no message: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {}
