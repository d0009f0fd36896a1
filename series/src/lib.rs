//! What a series is called and what a batch of samples is: the words that wire formats and the
//! engine share. No I/O, no clock, no locks.
//!
//! | module | what it is |
//! |---|---|
//! | [`key`] | one series' identity as bytes: name and labels, sorted and length-prefixed |
//! | [`batch`] | samples on their way in, each with the line it came from |
//! | [`kind`] | how a series grows |
//! | [`reason`] | why a sample is refused |
//! | [`limits`] | how long names and labels may be |

pub mod batch;
pub mod key;
pub mod kind;
pub mod limits;
pub mod reason;

pub use batch::{Batch, Row};
pub use key::KeyRef;
pub use kind::Kind;
pub use reason::Reason;

/// The signalling NaN by which Prometheus says that a series has ended (remote write 1.0,
/// "Stale Markers"): no value, and the end of its series.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is the stale marker and not a number.
#[must_use]
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}
