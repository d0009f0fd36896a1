//! A viewer's place in a feed, as the fan-out uses it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    feed::Feed,
    log::{Payload, Read},
    pass::FanoutPass,
    position::Spot,
};

/// What the fan-out asks of a cursor, whatever its feed carries.
pub trait Member: Send {
    /// The next bytes to write, or `None` when the cursor is at the end.
    fn next(&mut self, pass: &mut FanoutPass) -> Option<Step>;
    /// The place of the next frame wanted.
    fn next_place(&self) -> Spot;
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
    /// The next place wanted.
    next: Spot,
    view: P::View,
    /// Whose cursor it is: what a viewer sent itself may be hidden from it.
    viewer: u64,
}

impl<P: Payload> Subscription<P> {
    /// A cursor that gets the frames from `next` on.
    #[must_use]
    pub fn new(feed: Arc<Feed<P>>, next: Spot, view: P::View, viewer: u64) -> Self {
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
                    self.next = frame.place().next();
                    if frame.payload().is_hidden_from(self.viewer) {
                        continue;
                    }
                    let bytes = frame.encoded(&self.view);
                    pass.remember(self.feed.id(), frame, &self.view, &bytes);
                    if !bytes.is_empty() {
                        return Some(Step { bytes, skipped: 0 });
                    }
                }
                Read::Behind {
                    first,
                    last,
                    held,
                    next,
                } => {
                    self.next = next;
                    return Some(Step {
                        bytes: P::merge(&held, first, last, &self.view),
                        skipped: last - first + 1,
                    });
                }
                // Whoever waits for its turn is looked at again.
                Read::Restarted(restart) if !restart.is_turn_of(self.viewer) => return None,
                Read::Restarted(_) => {
                    let (bytes, next) = self.feed.restarted(&self.view);
                    self.next = next;
                    return Some(Step { bytes, skipped: 0 });
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
            self.next = self.next.next();
            if !bytes.is_empty() && !frame.payload().is_hidden_from(self.viewer) {
                return Some(Step {
                    bytes: bytes.clone(),
                    skipped: 0,
                });
            }
        }
    }

    fn next_place(&self) -> Spot {
        self.next
    }
}

/// A cursor that begins when its feed is known: where several servers have a feed alike, it is
/// first asked for what the others have. Until then nothing comes; then `first`, and what follows
/// on the place that its viewer had.
pub struct Arriving<P: Payload> {
    cursor: Subscription<P>,
    waits_for: Option<(Bytes, Option<(String, u64)>)>,
}

impl<P: Payload> Arriving<P> {
    /// One that waits for the next [`Feed::reset`]; `cursor` is at the end of the run that it ends.
    /// `seen` is the epoch and the offset that its viewer saw last, if it says so.
    #[must_use]
    pub fn new(cursor: Subscription<P>, first: Bytes, seen: Option<(String, u64)>) -> Self {
        Self {
            cursor,
            waits_for: Some((first, seen)),
        }
    }
}

impl<P: Payload> fmt::Debug for Arriving<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving")
            .field("waits_for", &self.waits_for)
            .finish_non_exhaustive()
    }
}

impl<P: Payload> Member for Arriving<P> {
    fn next(&mut self, pass: &mut FanoutPass) -> Option<Step> {
        if self.waits_for.is_none() {
            return self.cursor.next(pass);
        }
        let feed = &self.cursor.feed;
        let place = self.cursor.next;
        if !matches!(feed.with_log(|log| log.read(place)), Read::Restarted(_)) {
            return None;
        }
        let (bytes, seen) = self.waits_for.take()?;
        let seen = seen.as_ref();
        let seen = seen.map(|(epoch, offset)| (epoch.as_str(), *offset));
        self.cursor.next = feed.after_or_end(seen);
        Some(Step { bytes, skipped: 0 })
    }

    fn next_place(&self) -> Spot {
        self.cursor.next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{At, Bounds, Epoch, EventId, Fanout, Frame, Position};

    /// Said by a viewer, who does not get it back; every third is nothing to a view.
    struct Said(u64);

    impl Payload for Said {
        type View = u64;

        fn encode(&self, At { epoch, offset }: At, view: &u64) -> Bytes {
            if offset % 3 == *view {
                return Bytes::new();
            }
            Bytes::from(format!("{epoch}/{offset} by {} for {view}", self.0))
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
                    Subscription::new(Arc::clone(feed), Spot(1), number / 2 % 3, number / 6)
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
                        prop_assert_eq!(together[reader].next_place(), alone[reader].next_place());
                        if step.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// A number, which says where it stands.
    struct Numbered;

    impl Payload for Numbered {
        type View = ();

        fn encode(&self, at: At, (): &()) -> Bytes {
            Bytes::from(format!("frame {} {}", at.epoch, at.offset))
        }

        fn merge(_held: &[Arc<Frame<Self>>], first: u64, last: u64, (): &()) -> Bytes {
            Bytes::from(format!("merged {first} {last}"))
        }

        fn restart(_held: &[Arc<Frame<Self>>], newest: At, (): &()) -> Bytes {
            Bytes::from(format!("restart {} {}", newest.epoch, newest.offset))
        }
    }

    #[derive(Clone, Debug)]
    enum Doing {
        Append,
        /// Goes on under the next epoch: the first offset there, and how much of it is known.
        Reset(u64, u64),
        /// A viewer takes up to so many frames.
        Read(usize, usize),
        /// A viewer comes back with what it has; or it was being opened when other things happened:
        /// its place was found before them.
        Resume(usize, Vec<Doing>),
    }

    fn doing() -> impl Strategy<Value = Vec<Doing>> {
        let happening = prop_oneof![
            3 => Just(Doing::Append),
            1 => (1_u64..20, 0_u64..6).prop_map(|(first, known)| Doing::Reset(first, known)),
        ];
        let meanwhile = prop::collection::vec(happening.clone(), 0..3);
        let doing = prop_oneof![
            4 => happening,
            3 => (0_usize..3, 1_usize..8).prop_map(|(viewer, count)| Doing::Read(viewer, count)),
            1 => (0_usize..3, meanwhile).prop_map(|(viewer, doing)| Doing::Resume(viewer, doing)),
        ];
        prop::collection::vec(doing, 0..120)
    }

    /// A viewer, and the newest frame that it knows of.
    struct Watching {
        cursor: Subscription<Numbered>,
        seen: (u64, u64),
    }

    fn happen(feed: &Feed<Numbered>, doing: &Doing) {
        match doing {
            Doing::Reset(first, known) => {
                let epoch = Epoch(feed.epoch().0 + 1);
                feed.reset(epoch, *first, (0..*known).map(|_| Numbered));
            }
            _ => {
                feed.append(Numbered);
            }
        }
    }

    fn newest(feed: &Feed<Numbered>) -> (u64, u64) {
        feed.with_log(|log| (log.epoch().0, log.next_offset() - 1))
    }

    /// Reads one step and checks that it follows on what the viewer has; whether there was one.
    fn read(feed: &Feed<Numbered>, viewer: &mut Watching, pass: &mut FanoutPass) -> bool {
        let Some(step) = viewer.cursor.next(pass) else {
            assert_eq!(viewer.seen, newest(feed), "it has all");
            return false;
        };
        let text = String::from_utf8(step.bytes.to_vec()).expect("text");
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let (epoch, seen) = viewer.seen;
        viewer.seen = match words[0] {
            "frame" => {
                assert_eq!(
                    (number(1), number(2)),
                    (epoch, seen + 1),
                    "no gap, nothing twice"
                );
                (epoch, seen + 1)
            }
            "merged" => {
                assert_eq!((number(1), step.skipped), (seen + 1, number(2) - seen));
                (epoch, number(2))
            }
            _ => {
                assert!(number(1) > epoch, "once for each epoch");
                assert_eq!((number(1), number(2)), newest(feed));
                (number(1), number(2))
            }
        };
        true
    }

    proptest! {
        /// Whatever else happens, what a viewer reads is without a gap, without anything twice and
        /// never of two epochs without a word in between; and a reset is told once.
        #[test]
        fn epochs_change_under_viewers_and_each_finds_out_once(
            (frames, lag) in (1_usize..8, 1_usize..8),
            doings in doing(),
        ) {
            let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
            let bounds = Bounds { frames, bytes: usize::MAX, lag };
            let feed = Feed::new(Epoch(1), bounds, &fanout);
            let watch = |seen: (u64, u64), place| Watching {
                cursor: Subscription::new(Arc::clone(&feed), place, (), 0),
                seen,
            };
            let mut viewers = [0; 3].map(|_| watch((1, 0), feed.end()));
            let mut pass = FanoutPass::shared();
            for doing in doings {
                match doing {
                    Doing::Append | Doing::Reset(..) => happen(&feed, &doing),
                    Doing::Read(viewer, count) => {
                        for _ in 0..count {
                            if !read(&feed, &mut viewers[viewer], &mut pass) {
                                break;
                            }
                        }
                        pass = FanoutPass::shared();
                    }
                    Doing::Resume(viewer, meanwhile) => {
                        let (epoch, offset) = viewers[viewer].seen;
                        let (seen, place) = match feed.after(&epoch.to_string(), offset) {
                            Some(place) => ((epoch, offset), place),
                            None => (newest(&feed), feed.end()),
                        };
                        for doing in &meanwhile {
                            happen(&feed, doing);
                        }
                        viewers[viewer] = watch(seen, place);
                    }
                }
            }
            for viewer in &mut viewers {
                while read(&feed, viewer, &mut pass) {}
            }
        }
    }

    #[test]
    fn who_comes_before_the_feed_is_known_begins_with_it() {
        let fanout = Fanout::start(1, &Arc::default()).expect("a thread");
        let bounds = Bounds {
            frames: 8,
            bytes: usize::MAX,
            lag: 8,
        };
        let feed = Feed::new(Epoch(1), bounds, &fanout);
        let arriving = |seen: Option<(&str, u64)>| {
            let cursor = Subscription::new(Arc::clone(&feed), feed.end(), (), 0);
            let seen = seen.map(|(epoch, offset)| (epoch.to_owned(), offset));
            Arriving::new(cursor, Bytes::from("joined"), seen)
        };
        let mut all = [None, Some(("9", 5)), Some(("9", 1)), Some(("1", 0))].map(arriving);
        let read = |member: &mut Arriving<Numbered>| {
            let pass = &mut FanoutPass::alone();
            let steps = std::iter::from_fn(|| member.next(pass));
            let texts = steps.map(|step| String::from_utf8_lossy(&step.bytes).into_owned());
            texts.collect::<Vec<_>>()
        };
        assert!(all.iter_mut().all(|member| read(member).is_empty()));
        // What is said meanwhile here alone is of no run that anybody knows.
        feed.append(Numbered);
        assert!(all.iter_mut().all(|member| read(member).is_empty()));
        feed.reset(Epoch(9), 4, [Numbered, Numbered, Numbered]);
        let texts = all.each_mut().map(read);
        assert_eq!(texts[0], ["joined"]);
        assert_eq!(texts[1], ["joined", "frame 9 6"]);
        let held = ["joined", "frame 9 4", "frame 9 5", "frame 9 6"];
        assert_eq!(texts[2], held, "as far as it is held");
        assert_eq!(texts[3], ["joined"], "of another epoch");
        feed.append(Numbered);
        assert!(all.iter_mut().all(|member| read(member) == ["frame 9 7"]));
        feed.reset(Epoch(10), 1, []);
        assert!(
            all.iter_mut()
                .all(|member| read(member) == ["restart 10 0"])
        );
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
