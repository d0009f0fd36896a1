//! Where the built-in figures come from, one [`Reading`] a tick: this machine ([`host`]), or made-up
//! ones ([`simulator`]); and all of this machine's figures under node_exporter's names ([`node`]).
//!
//! It knows labels and values and nothing of ticks, stored series or HTTP, so that whatever measures a
//! machine does it with the same code.

pub mod host;
pub mod node;
pub mod processes;
pub mod simulator;
mod source;

pub use source::{EXTRAS_MAX, Extra, Reading, Source, Traffic};
