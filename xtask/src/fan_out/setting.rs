//! What is measured: one row of the table, and what is the same in all.

use std::time::Duration;

/// Bytes of a payload of the peers.
pub(super) const PAYLOAD_BYTES: usize = 400;
/// Ticks in the window that is sent on opening.
pub(super) const WINDOW: u32 = 60;

/// One row of what is measured, for every server.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) transport: String,
    pub(super) viewers: usize,
    pub(super) frozen: usize,
    pub(super) rate: u32,
    pub(super) seconds: f64,
    /// The server runs this long before anybody comes.
    pub(super) fill: Duration,
    /// Instead of a tick at each frame: the interval of Pulseboard's, in milliseconds.
    pub(super) interval_ms: Option<u32>,
    /// Frames of some 60 000 bytes, published from outside.
    pub(super) large: bool,
}
