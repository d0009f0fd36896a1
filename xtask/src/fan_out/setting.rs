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

impl Setting {
    /// All read what they get, as soon as the server is there, and a tick comes at each frame.
    pub(super) fn new(transport: &str, viewers: usize, rate: u32, seconds: f64) -> Self {
        Self {
            transport: transport.to_owned(),
            viewers,
            frozen: 0,
            rate,
            seconds,
            fill: Duration::ZERO,
            interval_ms: None,
            large: false,
        }
    }
}
