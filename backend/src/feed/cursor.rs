//! A viewer's place in a feed, as it travels and as the fan-out uses it.

use std::{fmt, num::ParseIntError, str::FromStr, sync::Arc};

use bytes::Bytes;

use super::{
    Feed,
    log::{Payload, Read},
};

/// Names one run of a log: the Unix milliseconds at which it began.
///
/// An offset alone would not do: a server restarted without history counts from 1 again, and a
/// client that comes back with offset 40 would take tick 41 of the new run for the one after its
/// own tick 40, and never notice what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
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

/// What the fan-out asks of a cursor, whatever its feed carries.
pub trait Member: Send {
    /// The next bytes to write, or `None` when the cursor is at the end.
    fn next(&mut self) -> Option<Bytes>;
    /// The offset of the next frame wanted.
    fn next_offset(&self) -> u64;
    /// How many frames were skipped since the last call because the viewer was too slow.
    fn take_skipped(&mut self) -> u64;
}

/// A cursor into a feed with the view that its frames are encoded for.
#[derive(Debug)]
pub struct Subscription<P: Payload> {
    feed: Arc<Feed<P>>,
    /// The next offset wanted.
    next: u64,
    view: P::View,
    /// Whose cursor it is: what a viewer sent itself may be hidden from it.
    viewer: u64,
    skipped: u64,
}

impl<P: Payload> Subscription<P> {
    /// A cursor that gets the frames from `next` on.
    #[must_use]
    pub fn new(feed: Arc<Feed<P>>, next: u64, view: P::View, viewer: u64) -> Self {
        Self {
            feed,
            next,
            view,
            viewer,
            skipped: 0,
        }
    }
}

impl<P: Payload> Member for Subscription<P> {
    fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.feed.is_at_end(self.next) {
                return None;
            }
            // The lock is released before anything is encoded.
            let bytes = match self.feed.with_log(|log| log.read(self.next)) {
                Read::UpToDate => return None,
                Read::Frame(frame) => {
                    self.next = frame.offset() + 1;
                    if frame.payload().is_hidden_from(self.viewer) {
                        continue;
                    }
                    frame.encoded(&self.view)
                }
                Read::Behind { first, last, held } => {
                    self.next = last + 1;
                    self.skipped += last - first + 1;
                    P::merge(&held, first, last, &self.view)
                }
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    fn next_offset(&self) -> u64 {
        self.next
    }

    fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_grow_over_restarts_and_are_taken_apart_again() {
        let (first_run, second_run) = (Epoch(1_000_000), Epoch(1_060_000));
        let (old, new) = (EventId::new(first_run, 59), EventId::new(second_run, 1));
        assert!(old < new);
        assert_eq!(new.offset_in(second_run), Some(1));
        assert_eq!(old.offset_in(second_run), None, "of an earlier run");
        assert_eq!(new.to_string().parse(), Ok(new));
    }

    #[test]
    fn positions_of_other_runs_and_nonsense_are_not_ours() {
        let position = |epoch: &str| Position {
            epoch: epoch.to_owned(),
            offset: 3,
        };
        assert!(position("77").is_of(Epoch(77)));
        for other in ["78", "", "x", "-77", "77 "] {
            assert!(!position(other).is_of(Epoch(77)), "{other:?}");
        }
    }
}
