//! Hooks own what has to be given back: sockets, streams, timers, listeners. They connect the
//! state machines of [`crate::net`] to the browser and hold no rules of their own.

mod connection;
mod slot;
mod use_alert_stream;
mod use_answer;
mod use_channel;
mod use_config;
mod use_effect_with;
mod use_feed;
mod use_keys;
mod use_live;
mod use_metrics_socket;
mod use_page;
mod use_rooms_socket;
mod use_seconds;
mod use_selector;
mod use_session;
mod use_stack;
mod use_theme;

pub use use_alert_stream::use_alert_stream;
pub use use_answer::{Answer, forget_answers, use_answer};
pub use use_channel::{Channel, ChannelEvent, Kind, use_channel};
pub use use_config::{ConfigState, use_config};
pub use use_effect_with::use_effect_with;
pub use use_feed::{Stream, use_falls_back, use_feed};
pub(crate) use use_keys::KEYS_KEY;
pub use use_keys::use_keys;
pub use use_live::use_live;
pub use use_metrics_socket::{Nudge, use_metrics_socket};
pub use use_page::use_page;
pub use use_rooms_socket::use_rooms_socket;
pub use use_seconds::use_seconds;
pub use use_selector::use_selector;
pub use use_session::use_session;
pub use use_stack::use_stack;
pub(crate) use use_theme::THEME_KEY;
pub use use_theme::use_theme;
