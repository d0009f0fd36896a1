//! Rules, incidents with a beginning and an end, and who is told of them.
//!
//! A [`Manager`] looks at values through a [`Query`] and publishes what follows to its
//! [`AlertSink`]s, in one order. It knows values and times: no ticks, no feeds, no HTTP. So a rule
//! works over whatever answers a query, and whoever wants to hear of alerts is one more sink.

mod error_rate;
mod event;
mod manager;
mod query;
mod rule;
mod sink;
mod state;

pub use event::{ALERTNAME, AlertEvent, Detail, SEVERITY};
pub use manager::{ALERTS_KEPT, Manager};
pub use query::Query;
pub use rule::{ERROR_RATE, Measured, Rule, default_rules};
pub use sink::AlertSink;
pub use state::{Firing, RuleState, new_id};
