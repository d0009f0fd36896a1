//! A place in a feed: as it travels, and as cursors know it.

use std::{fmt, num::ParseIntError, str::FromStr};

/// Names one run of a log: the Unix milliseconds at which it began.
///
/// An offset alone would not do: a server restarted without history counts from 1 again, and a
/// client that comes back with offset 40 would take tick 41 of the new run for the one after its
/// own tick 40, and never notice what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Of a log that begins at `now_ms`, Unix milliseconds.
    #[must_use]
    pub fn at(now_ms: i64) -> Self {
        Self(u64::try_from(now_ms).unwrap_or_default())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a frame stands, as viewers are told: whatever run of the log it is of, this names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The run of the log.
    pub epoch: Epoch,
    /// The place in it.
    pub offset: u64,
}

impl At {
    /// The same as one growing number.
    #[must_use]
    pub fn id(self) -> EventId {
        EventId::new(self.epoch, self.offset)
    }
}

/// Where a cursor stands in a log. Unlike an offset it grows also where the log goes on under
/// another epoch, whose offsets may be smaller: so a cursor sees by one comparison that there is
/// something for it, and a place that was found in one run is never taken for one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot(pub(super) u64);

impl Spot {
    /// The one behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The last frame a client saw, as WebSocket clients say it: `?epoch=E&offset=N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names the log; a text that is no epoch of ours names none.
    pub epoch: String,
    /// The newest offset seen in it.
    pub offset: u64,
}

impl Position {
    /// Whether the position is one of this run.
    #[must_use]
    pub fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch.parse() == Ok(epoch.0)
    }
}

/// The same position as one growing number, for the `id:` of event streams: epoch + offset. Since
/// fewer frames are appended than milliseconds pass, the ids of a run are all larger than those of
/// the runs before it, and the epoch can be taken off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(u64);

impl EventId {
    /// The id of a frame.
    #[must_use]
    pub fn new(epoch: Epoch, offset: u64) -> Self {
        Self(epoch.0.saturating_add(offset))
    }

    /// The offset in the run called `epoch`; `None` for an id of an earlier run.
    #[must_use]
    pub fn offset_in(self, epoch: Epoch) -> Option<u64> {
        self.0.checked_sub(epoch.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for EventId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}
