//! A place in the table that may be kept: it says whether its series is still there.

use pulseboard_history::SeriesId;

/// Where an entry is, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotRef {
    pub(crate) shard: u8,
    pub(crate) slot: u32,
    /// Tells an entry from a later one in the same slot.
    pub(crate) id: SeriesId,
}
