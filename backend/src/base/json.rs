//! Our own messages as text.

pub use pulseboard_feed::wire::json_text;
