//! Where the built-in figures come from, one [`Reading`] a tick: this machine ([`host`]), or made-up
//! ones ([`simulator`]).
//!
//! It knows labels and values and nothing of ticks, series or HTTP, so that whatever measures a
//! machine does it with the same code.

pub mod host;
pub mod simulator;
mod source;

pub use source::{EXTRAS_MAX, Extra, Reading, Source, Traffic};
