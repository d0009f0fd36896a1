//! What a row is, written and while it is being written.

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Hash of its key, the same for equal keys within one process; see [`crate::key::hash_key`].
    pub hash: u64,
    pub(super) key_start: u32,
    pub(super) key_length: u32,
    pub(super) name_length: u16,
    /// Unix milliseconds; [`Row::NOW`] when the sender named none.
    pub at_ms: i64,
    /// Any number; NaN and infinities only where the format has them.
    pub value: f64,
    /// Line or item of the body that it came from, from 1.
    pub line: u32,
    /// Place of its description in [`Batch::description`](super::Batch::description).
    pub(super) described: u32,
}

impl Row {
    /// In place of a time: the moment of arrival.
    pub const NOW: i64 = i64::MIN;
}

/// The row that is being written, at the end of `keys`.
#[derive(Debug, Default)]
pub(super) struct Building {
    pub(super) start: usize,
    pub(super) name_length: u16,
    /// Where its label count stands.
    pub(super) count_at: usize,
    /// Where its newest label's name begins and ends.
    pub(super) newest_label: (usize, usize),
    /// The beginning of that name; see [`prefix`](super::names::prefix).
    pub(super) newest_prefix: u64,
    pub(super) count: usize,
    pub(super) is_sorted: bool,
    pub(super) described: u32,
}
