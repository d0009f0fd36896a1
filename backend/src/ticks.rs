//! The built-in figures: the rolling window, what is sent each tick, and what a client chose of it.

pub mod builtin_series;
pub mod live;
pub mod payload;
pub mod subscriptions;
pub mod window;
