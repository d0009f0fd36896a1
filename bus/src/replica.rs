//! A server's copy of one feed, as a pure state machine: what is heard goes in, what is to be done
//! comes out.
//!
//! Messages are a doorbell that carries the frame: they may be lost, doubled or late. What holds is
//! what the stream says, of which a [`Page`] is read whenever a message does not follow the one
//! before it, or positions differ ([`Replica::top`]).
//!
//! **Invariants**: what a sink is told of one epoch has no gap, nothing twice, and is what the
//! stream has; another epoch begins with a reset.

use std::collections::VecDeque;

use bytes::Bytes;
use pulseboard_feed::Epoch;

/// Messages that wait for a page, at most; the oldest go, and are read from the stream.
const WAITING_MAX: usize = 256;
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What a sink is to be told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The next frame.
    Append {
        epoch: Epoch,
        offset: u64,
        frame: Bytes,
    },
    /// Everything anew: these frames, of which the first has this offset.
    Reset {
        epoch: Epoch,
        first: u64,
        frames: Vec<Bytes>,
    },
}

/// A part of the stream, as one script has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) epoch: u64,
    /// The newest offset.
    pub(crate) top: u64,
    /// Offsets and frames, oldest first.
    pub(crate) entries: Vec<(u64, Bytes)>,
}

/// What is to be read: what follows this place, or everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) after: Option<(Epoch, u64)>,
}

/// What a run of our own is called, while there is no Redis. Another server's is called otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// By the clock.
    pub(crate) epoch: Epoch,
    /// Where ids are ahead of the clock, which they are from the first failover on: so far beyond
    /// the newest one. All servers have that one, so this alone tells their runs apart. Less than
    /// the ten seconds by which the next epoch of all lies beyond it.
    pub(crate) apart: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing was read yet.
    Unknown,
    /// As Redis has it, up to `top`.
    Shared { epoch: Epoch, top: u64 },
    /// Our own count, while there is no Redis.
    Local { epoch: Epoch, top: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    Idle,
    /// A page is wanted.
    Wanted,
    /// It was asked for when we were here.
    Asked {
        top: u64,
    },
}

/// Messages that came before what lies between was read: one stretch without a gap.
#[derive(Debug, Default)]
struct Waiting {
    epoch: u64,
    first: u64,
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Waiting {
    fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    fn push(&mut self, epoch: u64, offset: u64, frame: Bytes) {
        let follows = self.epoch == epoch && !self.frames.is_empty();
        if follows && offset < self.next() {
            return;
        }
        if !follows || offset != self.next() {
            self.clear();
            (self.epoch, self.first) = (epoch, offset);
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
        while self.frames.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            let _oldest = self.pop();
        }
    }

    fn pop(&mut self) -> Option<(u64, Bytes)> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        self.first += 1;
        Some((self.first - 1, frame))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// One server's copy of a feed.
#[derive(Debug)]
pub(crate) struct Replica {
    place: Place,
    fetch: Fetch,
    waiting: Waiting,
    /// Gaps that were found, for the counter.
    pub(crate) gaps: u64,
}

impl Replica {
    /// One that wants everything, or what follows a place that is known.
    pub(crate) fn new(at: Option<(Epoch, u64)>) -> Self {
        Self {
            place: at.map_or(Place::Unknown, |(epoch, top)| Place::Shared { epoch, top }),
            fetch: Fetch::Wanted,
            waiting: Waiting::default(),
            gaps: 0,
        }
    }

    /// Whether [`Self::ask`] has something to ask.
    pub(crate) fn wants_page(&self) -> bool {
        self.fetch == Fetch::Wanted
    }

    /// Where it is, as Redis has it.
    pub(crate) fn shared(&self) -> Option<(Epoch, u64)> {
        match self.place {
            Place::Shared { epoch, top } => Some((epoch, top)),
            Place::Unknown | Place::Local { .. } => None,
        }
    }

    /// What to read, where something is to be read; [`Self::page`] has the answer, or
    /// [`Self::no_page`] says that there is none.
    pub(crate) fn ask(&mut self) -> Option<Ask> {
        if self.fetch != Fetch::Wanted {
            return None;
        }
        let after = self.shared();
        let top = after.map_or(0, |(_, top)| top);
        self.fetch = Fetch::Asked { top };
        Some(Ask { after })
    }

    /// What was asked for could not be read.
    pub(crate) fn no_page(&mut self) {
        if let Fetch::Asked { .. } = self.fetch {
            self.fetch = Fetch::Wanted;
        }
    }

    /// The stream is to be looked at: messages may be lost, or Redis is there again.
    pub(crate) fn doubt(&mut self) {
        if self.fetch == Fetch::Idle {
            self.fetch = Fetch::Wanted;
        }
    }

    /// A message of Redis.
    pub(crate) fn message(&mut self, epoch: u64, offset: u64, frame: Bytes) -> Option<Action> {
        if let Place::Shared { epoch: known, top } = &mut self.place
            && known.0 == epoch
        {
            if offset <= *top {
                return None;
            }
            if offset == *top + 1 {
                *top = offset;
                return Some(Action::Append {
                    epoch: *known,
                    offset,
                    frame,
                });
            }
            if self.fetch == Fetch::Idle {
                self.gaps += 1;
            }
        }
        self.waiting.push(epoch, offset, frame);
        self.doubt();
        None
    }

    /// Where the feed is; no epoch where reading it would begin one.
    pub(crate) fn top(&mut self, epoch: Option<u64>, offset: u64) {
        let is_there = match self.place {
            Place::Shared { epoch: known, top } => epoch == Some(known.0) && offset == top,
            Place::Unknown | Place::Local { .. } => false,
        };
        // It may have been asked before a message that is here already; then the page says so.
        if !is_there {
            self.doubt();
        }
    }

    /// The answer to [`Self::ask`].
    pub(crate) fn page(&mut self, page: Page) -> Vec<Action> {
        let Fetch::Asked { top: asked } = self.fetch else {
            return Vec::new();
        };
        self.fetch = Fetch::Idle;
        let mut actions = Vec::new();
        let place = match self.place {
            Place::Shared { epoch, top } if epoch.0 == page.epoch && page.top >= asked => {
                follow(epoch, top, page.top, page.entries, &mut actions)
            }
            _ => reset(Epoch(page.epoch), page.top, page.entries, &mut actions),
        };
        self.place = Place::Shared {
            epoch: Epoch(page.epoch),
            top: place,
        };
        self.drain(&mut actions);
        if self.shared().is_some_and(|(_, top)| top < page.top) {
            self.fetch = Fetch::Wanted;
        }
        actions
    }

    /// What waited and follows now.
    fn drain(&mut self, actions: &mut Vec<Action>) {
        let Place::Shared { epoch, top } = &mut self.place else {
            return;
        };
        if self.waiting.epoch == epoch.0 {
            while !self.waiting.frames.is_empty() && self.waiting.first <= *top + 1 {
                let Some((offset, frame)) = self.waiting.pop() else {
                    break;
                };
                if offset == *top + 1 {
                    *top = offset;
                    actions.push(Action::Append {
                        epoch: *epoch,
                        offset,
                        frame,
                    });
                }
            }
            if !self.waiting.frames.is_empty() {
                // What lies before it has come meanwhile.
                self.fetch = Fetch::Wanted;
            }
        } else if !self.waiting.frames.is_empty() {
            // Of another epoch than what was read: an older one, or one that began meanwhile.
            self.fetch = Fetch::Wanted;
            self.waiting.clear();
        }
    }

    /// A frame of our own while there is no Redis. `own` names the run that begins with it, if one
    /// does.
    pub(crate) fn alone(&mut self, own: Own, frame: Bytes) -> Vec<Action> {
        let mut actions = self.go_local(own);
        if let Place::Local { epoch, top } = &mut self.place {
            *top += 1;
            actions.push(Action::Append {
                epoch: *epoch,
                offset: *top,
                frame,
            });
        }
        actions
    }

    /// There is no Redis: who has been told nothing yet begins with nothing. Others go on with what
    /// they have until there is a frame of our own.
    pub(crate) fn begin_alone(&mut self, own: Own) -> Vec<Action> {
        match self.place {
            Place::Unknown => self.go_local(own),
            Place::Shared { .. } | Place::Local { .. } => Vec::new(),
        }
    }

    fn go_local(&mut self, own: Own) -> Vec<Action> {
        let epoch = match self.place {
            Place::Local { .. } => return Vec::new(),
            Place::Unknown => own.epoch,
            Place::Shared { epoch: old, top } => {
                let next = old.0.saturating_add(top) + 1;
                match own.epoch.0 >= next {
                    true => own.epoch,
                    false => Epoch(next + own.apart),
                }
            }
        };
        self.place = Place::Local { epoch, top: 0 };
        self.fetch = Fetch::Wanted;
        self.waiting.clear();
        vec![Action::Reset {
            epoch,
            first: 1,
            frames: Vec::new(),
        }]
    }
}

/// Goes on with what is new of a page; the new top.
fn follow(
    epoch: Epoch,
    mut top: u64,
    newest: u64,
    entries: Vec<(u64, Bytes)>,
    actions: &mut Vec<Action>,
) -> u64 {
    let known = entries.iter().take_while(|(offset, _)| *offset <= top);
    let known = known.count();
    let first_new = entries.get(known).map(|(offset, _)| *offset);
    let is_gone = match first_new {
        Some(first) => first != top + 1,
        // Where messages were faster than the whole page, the next page goes on.
        None => newest > top && entries.is_empty(),
    };
    if is_gone {
        // What lies between is no longer held.
        let rest = entries.into_iter().skip(known).collect();
        return reset(epoch, newest, rest, actions);
    }
    for (offset, frame) in entries.into_iter().skip(known) {
        if offset != top + 1 {
            break;
        }
        top = offset;
        actions.push(Action::Append {
            epoch,
            offset,
            frame,
        });
    }
    top
}

/// Begins anew with a page; the new top.
fn reset(epoch: Epoch, newest: u64, entries: Vec<(u64, Bytes)>, actions: &mut Vec<Action>) -> u64 {
    let first = entries.first().map_or(newest + 1, |(offset, _)| *offset);
    let mut frames = Vec::with_capacity(entries.len());
    for (offset, frame) in entries {
        if offset != first + frames.len() as u64 {
            break;
        }
        frames.push(frame);
    }
    let top = first + frames.len() as u64 - 1;
    actions.push(Action::Reset {
        epoch,
        first,
        frames,
    });
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64) -> Bytes {
        Bytes::from(number.to_string())
    }

    fn page(epoch: u64, top: u64, offsets: std::ops::Range<u64>) -> Page {
        Page {
            epoch,
            top,
            entries: offsets.map(|offset| (offset, frame(offset))).collect(),
        }
    }

    /// What a sink would have been told: `reset E F-L` and `E O`.
    fn told(actions: impl IntoIterator<Item = Action>) -> Vec<String> {
        let text = |action| match action {
            Action::Append { epoch, offset, .. } => format!("{epoch} {offset}"),
            Action::Reset {
                epoch,
                first,
                frames,
            } => format!("reset {epoch} {first}+{}", frames.len()),
        };
        actions.into_iter().map(text).collect()
    }

    /// A replica that has read 1 to 3 of epoch 9.
    fn at_three() -> Replica {
        let mut replica = Replica::new(None);
        assert_eq!(replica.ask(), Some(Ask { after: None }));
        assert_eq!(told(replica.page(page(9, 3, 1..4))), ["reset 9 1+3"]);
        replica
    }

    #[test]
    fn what_follows_is_appended_and_what_is_known_is_dropped() {
        let mut replica = at_three();
        assert_eq!(told(replica.message(9, 4, frame(4))), ["9 4"]);
        assert_eq!(replica.message(9, 4, frame(4)), None);
        assert_eq!(replica.message(9, 2, frame(2)), None);
        assert!(!replica.wants_page());
    }

    #[test]
    fn a_gap_is_read_from_the_stream_and_what_waited_follows() {
        let mut replica = at_three();
        assert_eq!(replica.message(9, 6, frame(6)), None);
        assert_eq!(
            replica.ask(),
            Some(Ask {
                after: Some((Epoch(9), 3))
            })
        );
        assert_eq!(replica.message(9, 7, frame(7)), None);
        let actions = replica.page(page(9, 6, 4..7));
        assert_eq!(told(actions), ["9 4", "9 5", "9 6", "9 7"]);
        assert_eq!(replica.gaps, 1);
        assert!(!replica.wants_page());
    }

    #[test]
    fn where_entries_are_gone_it_begins_anew_in_the_same_epoch() {
        let mut replica = at_three();
        replica.top(Some(9), 900);
        assert!(replica.ask().is_some());
        assert_eq!(
            told(replica.page(page(9, 900, 601..901))),
            ["reset 9 601+300"]
        );
        replica.top(Some(9), 905);
        assert!(replica.ask().is_some());
        assert_eq!(
            told(replica.page(page(9, 905, 0..0))),
            ["reset 9 906+0"],
            "the stream expired"
        );
    }

    #[test]
    fn another_epoch_is_a_reset() {
        let mut replica = at_three();
        assert_eq!(replica.message(20, 2, frame(2)), None);
        assert!(replica.ask().is_some());
        assert_eq!(told(replica.page(page(20, 2, 1..3))), ["reset 20 1+2"]);
        assert_eq!(replica.message(9, 4, frame(4)), None, "a late one");
        assert!(replica.ask().is_some());
        assert_eq!(told(replica.page(page(20, 2, 0..0))), [""; 0]);
    }

    #[test]
    fn positions_that_are_older_than_messages_do_no_harm() {
        let mut replica = at_three();
        assert_eq!(told(replica.message(9, 4, frame(4))), ["9 4"]);
        replica.top(Some(9), 3);
        assert!(replica.ask().is_some());
        assert_eq!(told(replica.message(9, 5, frame(5))), ["9 5"]);
        assert_eq!(told(replica.page(page(9, 4, 0..0))), [""; 0]);
        assert_eq!(replica.shared(), Some((Epoch(9), 5)));
    }

    #[test]
    fn messages_that_are_faster_than_a_page_are_no_reason_to_begin_anew() {
        let mut replica = at_three();
        replica.top(Some(9), 20);
        assert!(replica.ask().is_some());
        for offset in 4..9 {
            assert!(replica.message(9, offset, frame(offset)).is_some());
        }
        assert_eq!(told(replica.page(page(9, 20, 4..7))), [""; 0]);
        let after = Some((Epoch(9), 8));
        assert_eq!(replica.ask(), Some(Ask { after }));
    }

    #[test]
    fn a_long_stretch_is_read_in_pages() {
        let mut replica = Replica::new(Some((Epoch(9), 10)));
        assert_eq!(
            replica.ask(),
            Some(Ask {
                after: Some((Epoch(9), 10))
            })
        );
        assert_eq!(told(replica.page(page(9, 14, 11..13))), ["9 11", "9 12"]);
        assert!(replica.ask().is_some());
        assert_eq!(told(replica.page(page(9, 14, 13..15))), ["9 13", "9 14"]);
        assert!(!replica.wants_page());
    }

    fn own(epoch: u64, apart: u64) -> Own {
        Own {
            epoch: Epoch(epoch),
            apart,
        }
    }

    #[test]
    fn two_that_are_alone_do_not_call_their_runs_alike() {
        // After a failover ids are ahead of the clock, and all have the same newest one.
        let (mut one, mut other) = (at_three(), at_three());
        assert_eq!(
            told(one.alone(own(10, 4), frame(1))),
            ["reset 17 1+0", "17 1"]
        );
        assert_eq!(
            told(other.alone(own(10, 6), frame(2))),
            ["reset 19 1+0", "19 1"]
        );
        let by_clock = at_three().alone(own(20, 6), frame(2));
        assert_eq!(told(by_clock), ["reset 20 1+0", "20 1"]);
    }

    #[test]
    fn alone_it_counts_itself_and_begins_anew_when_redis_is_back() {
        let mut replica = at_three();
        let actions = replica.alone(own(10, 0), frame(1));
        assert_eq!(told(actions), ["reset 13 1+0", "13 1"], "ids only grow");
        assert_eq!(told(replica.alone(own(11, 0), frame(2))), ["13 2"]);
        assert_eq!(replica.ask(), Some(Ask { after: None }));
        assert_eq!(told(replica.page(page(9, 3, 1..4))), ["reset 9 1+3"]);
    }
}
