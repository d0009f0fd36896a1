//! What crosses the wire between Pulseboard's server and its page, and what both sides compute.
//!
//! **Invariant**: this crate performs no I/O, reads no clock and is not async; it builds for the
//! server's target and for `wasm32-unknown-unknown`.
//!
//! | endpoint | server → client | client → server |
//! |---|---|---|
//! | `GET /ws/metrics` | [`protocol::metrics::ServerMessage`] | [`protocol::metrics::ClientMessage`] |
//! | `GET /events/alerts` | [`Alert`], [`protocol::alerts::Heartbeat`] | – |
//! | `GET /api/stats` | [`StatsReport`] | – |
//! | `GET /api/metrics/recent` | `Vec<`[`Metric`]`>` | – |
//! | `GET /api/metrics` | [`protocol::operator::Figures`] | – |
//! | any error | [`Problem`] | – |

pub mod alert;
pub mod codec;
pub mod figure;
pub mod labels;
pub mod limits;
pub mod metric;
pub mod pattern;
pub mod problem;
pub mod protocol;
pub mod role;
pub mod rule;
pub mod stats;
pub mod timestamp;

pub use alert::{Alert, AlertState, Severity};
pub use labels::Labels;
pub use metric::{ALERT_SERIES, BUILT_IN, BuiltIn, Metric};
pub use problem::{FieldError, Problem};
pub use role::Role;
pub use rule::{DEFAULT_RULES, DefaultRule};
pub use stats::{RollingStats, Stats, StatsReport};
pub use timestamp::Timestamp;
