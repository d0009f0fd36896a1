//! A viewer's place in a feed, as the fan-out uses it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    feed::Feed,
    log::{Payload, Read},
    pass::FanoutPass,
};

/// What the fan-out asks of a cursor, whatever its feed carries.
pub trait Member: Send {
    /// The next bytes to write, or `None` when the cursor is at the end.
    fn next(&mut self, pass: &mut FanoutPass) -> Option<Step>;
    /// The offset of the next frame wanted.
    fn next_offset(&self) -> u64;
}

/// What a cursor finds at its place, which it has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// To be written; empty when there is nothing to say about what was skipped.
    pub bytes: Bytes,
    /// Frames that these stand for, because the viewer was too slow for them.
    pub skipped: u64,
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
        }
    }

    /// The slow way: in the log.
    fn look_up(&mut self, pass: &mut FanoutPass) -> Option<Step> {
        loop {
            // The lock is released before anything is encoded.
            match self.feed.with_log(|log| log.read(self.next)) {
                Read::UpToDate => return None,
                Read::Frame(frame) => {
                    self.next = frame.offset() + 1;
                    if frame.payload().is_hidden_from(self.viewer) {
                        continue;
                    }
                    let bytes = frame.encoded(&self.view);
                    pass.remember(self.feed.id(), frame, &self.view, &bytes);
                    if !bytes.is_empty() {
                        return Some(Step { bytes, skipped: 0 });
                    }
                }
                Read::Behind { first, last, held } => {
                    self.next = last + 1;
                    return Some(Step {
                        bytes: P::merge(&held, first, last, &self.view),
                        skipped: last - first + 1,
                    });
                }
            }
        }
    }
}

impl<P: Payload> Member for Subscription<P> {
    fn next(&mut self, pass: &mut FanoutPass) -> Option<Step> {
        loop {
            if self.feed.is_at_end(self.next) {
                return None;
            }
            let Some((frame, bytes)) = pass.recall::<P>(self.feed.id(), self.next, &self.view)
            else {
                return self.look_up(pass);
            };
            self.next += 1;
            if !bytes.is_empty() && !frame.payload().is_hidden_from(self.viewer) {
                return Some(Step {
                    bytes: bytes.clone(),
                    skipped: 0,
                });
            }
        }
    }

    fn next_offset(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Bounds, Epoch, EventId, Fanout, Frame, Position};

    /// Said by a viewer, who does not get it back; every third is nothing to a view.
    struct Said(u64);

    impl Payload for Said {
        type View = u64;

        fn encode(&self, offset: u64, view: &u64) -> Bytes {
            if offset % 3 == *view {
                return Bytes::new();
            }
            Bytes::from(format!("{offset} by {} for {view}", self.0))
        }

        fn is_hidden_from(&self, viewer: u64) -> bool {
            self.0 == viewer
        }

        fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &u64) -> Bytes {
            Bytes::from(format!("{first}-{last} ({}) for {view}", held.len()))
        }
    }

    proptest! {
        /// Whoever came before it in a pass, over one feed or another, a cursor finds what it
        /// would find alone.
        #[test]
        fn a_walk_gives_each_member_what_it_would_find_alone(
            rounds in proptest::collection::vec((0_u64..12, proptest::collection::vec(0_u64..24, 0..24)), 1..12),
        ) {
            let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
            let bounds = Bounds { frames: 8, bytes: usize::MAX, lag: 6 };
            let feeds = [0, 1].map(|epoch| Feed::new(Epoch(epoch), bounds, &fanout));
            let members = || {
                let member = |number: u64| {
                    let feed = &feeds[usize::from(number.is_multiple_of(2))];
                    Subscription::new(Arc::clone(feed), 1, number / 2 % 3, number / 6)
                };
                (0..24).map(member).collect::<Vec<_>>()
            };
            let (mut together, mut alone) = (members(), members());
            for (appended, readers) in rounds {
                for number in 0..appended {
                    feeds[usize::from(number % 5 == 0)].append(Said(number % 4));
                }
                let mut pass = FanoutPass::shared();
                for reader in readers {
                    let reader = usize::try_from(reader).expect("small");
                    loop {
                        let step = together[reader].next(&mut pass);
                        prop_assert_eq!(&step, &alone[reader].next(&mut FanoutPass::alone()));
                        prop_assert_eq!(together[reader].next_offset(), alone[reader].next_offset());
                        if step.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }

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
