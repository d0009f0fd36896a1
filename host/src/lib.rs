//! Where the built-in figures come from, one [`Reading`] a tick: this machine ([`host`]), or
//! made-up ones ([`simulator`]); and all of this machine's figures under node_exporter's names
//! ([`node`]), and its containers' under cadvisor's ([`containers`]).
//!
//! It knows labels and values and nothing of ticks, stored series or HTTP, so that whatever
//! measures a machine does it with the same code.

pub mod containers;
pub mod host;
mod metric;
pub mod node;
pub mod processes;
pub mod simulator;
mod source;

pub use source::{EXTRAS_MAX, Extra, Reading, Source, Traffic};

/// How a metric of [`node`] or [`containers`] grows and what it says; `None` for any other.
#[must_use]
pub fn describe(name: &str) -> Option<(pulseboard_series::Kind, std::borrow::Cow<'static, str>)> {
    node::describe(name).or_else(|| containers::describe(name))
}
