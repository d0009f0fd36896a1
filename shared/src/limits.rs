//! Bounds that both sides know; each says what happens at the bound.

/// Alerts kept by the page and by the server's alert log: the oldest is dropped.
pub const ALERTS_SHOWN_MAX: usize = 50;

/// Names in one `subscribe` message: more are refused with an `error` message.
pub const SUBSCRIBED_METRICS_MAX: usize = 1000;

/// Characters of a metric name (`name` or, when subscribing, `name{labels}`): longer ones are refused.
pub const METRIC_NAME_CHARS_MAX: usize = 512;
