//! Bounds that both sides know; each says what happens at the bound.

/// Alerts kept by the page and by the server's alert log: the oldest is dropped.
pub const ALERTS_SHOWN_MAX: usize = 50;

/// Names in one `subscribe` message: more are refused with an `error` message.
pub const SUBSCRIBED_METRICS_MAX: usize = 1000;

/// Characters of a metric name (`name` or, when subscribing, `name{labels}`): longer ones are
/// refused.
pub const METRIC_NAME_CHARS_MAX: usize = 512;

/// Bytes of a selector that a client watches.
pub const SELECTOR_BYTES_MAX: usize = 4_096;

/// Bytes of a PromQL expression, watched or asked.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// Characters of a room's name.
pub const CHANNEL_CHARS_MAX: usize = 128;

/// Event names in one `subscribe`, and declared events of one room.
pub const EVENTS_PER_ROOM_MAX: usize = 100;

/// Characters of a chat user's name: longer ones are refused.
pub const CHAT_USER_CHARS_MAX: usize = 64;

/// Characters of one chat text: longer ones are refused.
pub const CHAT_TEXT_CHARS_MAX: usize = 2_000;
