//! The bounded log of frames: pure, no sockets.
//!
//! After six appends to a log of capacity four (offsets start at 1):
//!
//! ```text
//! frames  3 4 5 6        a cursor names the next offset it wants: 3..=7 can be served,
//!         ^       ^      7 waits, 2 and less have fallen off
//!         first   next
//! ```
//!
//! A log may begin anew under another epoch while cursors are in it. Their places ([`Spot`]) go on
//! growing, so those of the run before lie in front of the new run's first one:
//!
//! ```text
//! epoch 7  3 4 5 6 | epoch 9  2 3 4      places  3 4 5 6 | 8 9 10
//!                   ^ a cursor at 7, or anywhere before it, finds that the log was restarted
//! ```

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    ledger::{Charge, FRAME_BYTES, Ledger},
    position::{At, Epoch, Spot},
};

/// Encodings kept beside one frame; the rare further ones are encoded for each viewer.
const ENCODINGS_MAX: usize = 64;

/// Frames, from the newest one back, that keep their encodings. Older ones are read by the rare
/// slow viewer only, and would otherwise hold the bytes of everyone who ever watched.
const ENCODED_FRAMES_KEPT: usize = 64;

/// What a feed carries, and how it is written for a viewer.
pub trait Payload: Send + Sync + 'static {
    /// Encoding and filter: viewers of equal views get the same bytes.
    type View: Clone + PartialEq + Send + Sync + 'static;

    /// The bytes for the wire, frame head included; empty when this view has nothing to see.
    fn encode(&self, at: At, view: &Self::View) -> Bytes;

    /// Whether these views get the same bytes of this one, so that one copy serves both.
    fn looks_alike(&self, one: &Self::View, other: &Self::View) -> bool {
        one == other
    }

    /// Bytes that holding it costs, for logs that are bounded by bytes too.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Whether this viewer is not to see it, such as a message of its own.
    fn is_hidden_from(&self, viewer: u64) -> bool {
        let _ = viewer;
        false
    }

    /// One frame in place of those from `first` to `last` that a viewer was too slow for.
    /// `held` are those of them that the log still has, oldest first. Empty when a view of this
    /// kind can only say nothing.
    fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, view: &Self::View) -> Bytes
    where
        Self: Sized;

    /// What a viewer gets once where its feed goes on under another epoch: how things stand after
    /// `newest`, the last frame of the new run so far. `held` is what the new run has, oldest
    /// first.
    fn restart(held: &[Arc<Frame<Self>>], newest: At, view: &Self::View) -> Bytes
    where
        Self: Sized,
    {
        let first = held.first().map_or(newest.offset, |frame| frame.offset());
        Self::merge(held, first, newest.offset, view)
    }
}

/// One entry of a log with its encodings.
pub struct Frame<P: Payload> {
    at: At,
    place: Spot,
    payload: P,
    /// Filled by the first viewer of each view; leaf lock, dropped with the frame.
    encoded: Mutex<Vec<(P::View, Bytes)>>,
    /// Of a log that is counted among all.
    charge: Option<Charge>,
}

impl<P: Payload> Frame<P> {
    /// This frame's offset in its run.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at.offset
    }

    /// The same with the run that it is of.
    #[must_use]
    pub fn at(&self) -> At {
        self.at
    }

    /// Where cursors find it.
    #[must_use]
    pub fn place(&self) -> Spot {
        self.place
    }

    /// What it carries.
    #[must_use]
    pub fn payload(&self) -> &P {
        &self.payload
    }

    /// The bytes for `view`, encoded at the first call and shared from then on.
    #[must_use]
    pub fn encoded(&self, view: &P::View) -> Bytes {
        let mut encoded = self.encoded.lock();
        let known = encoded
            .iter()
            .find(|(known, _)| self.payload.looks_alike(known, view));
        if let Some((_, bytes)) = known {
            return bytes.clone();
        }
        let bytes = self.payload.encode(self.at, view);
        if encoded.len() < ENCODINGS_MAX {
            encoded.push((view.clone(), bytes.clone()));
            if let Some(charge) = &self.charge {
                charge.add(bytes.len());
            }
        }
        bytes
    }

    fn forget_encodings(&self) {
        let encoded = std::mem::take(&mut *self.encoded.lock());
        if let Some(charge) = &self.charge {
            charge.give_back(encoded.iter().map(|(_, bytes)| bytes.len()).sum());
        }
    }
}

impl<P: Payload> fmt::Debug for Frame<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// What a cursor finds.
#[derive(Debug)]
pub enum Read<P: Payload> {
    /// The cursor is at the end.
    UpToDate,
    /// The frame it asked for.
    Frame(Arc<Frame<P>>),
    /// The cursor is too far behind: everything up to the newest frame is skipped.
    Behind {
        /// First offset skipped.
        first: u64,
        /// Last offset skipped, the newest one.
        last: u64,
        /// Those that are still held, oldest first.
        held: Vec<Arc<Frame<P>>>,
        /// Where the cursor goes on.
        next: Spot,
    },
    /// The cursor is of a run that is over.
    Restarted(Restart),
}

/// A log began anew under another epoch, and over which time its viewers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    at: Instant,
    spread: Duration,
}

impl Restart {
    /// Whether it is this viewer's turn: each has its moment within the time over which all are
    /// told, so that not all of them are written at once what is the longest of all messages.
    pub(super) fn is_turn_of(&self, viewer: u64) -> bool {
        const TURNS: u32 = 1024;
        // Viewers are numbered one after the other; the golden ratio spreads neighbours evenly.
        let turn = viewer.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
        let turn = u32::try_from(turn).unwrap_or(TURNS);
        self.at.elapsed() >= self.spread * turn / TURNS
    }
}

/// How much a log holds, and how far behind its cursors may be. At each bound the oldest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Frames held (at least one).
    pub frames: usize,
    /// Bytes of payload held; the newest frame is held whatever its size.
    pub bytes: usize,
    /// Frames that a cursor may be behind before it is moved on (at least one, at most `frames`).
    pub lag: usize,
}

/// The newest frames.
#[derive(Debug)]
pub struct Log<P: Payload> {
    frames: VecDeque<Arc<Frame<P>>>,
    capacity: usize,
    bytes_max: usize,
    /// Sum of [`Payload::held_bytes`].
    bytes: usize,
    lag_max: u64,
    epoch: Epoch,
    /// Of the next frame: 1 for the first one, so that 0 says "nothing seen".
    next: Spot,
    /// What a place of this run is ahead of the offset; 0 in the first run.
    ahead: i128,
    /// The first place of this run, and when it began where there was one before it.
    run: (Spot, Option<Restart>),
    ledger: Option<Arc<Ledger>>,
}

impl<P: Payload> Log<P> {
    /// An empty log of the run called `epoch`.
    #[must_use]
    pub fn new(epoch: Epoch, bounds: Bounds) -> Self {
        let capacity = bounds.frames.max(1);
        Self {
            frames: VecDeque::new(),
            capacity,
            bytes_max: bounds.bytes,
            bytes: 0,
            lag_max: bounds.lag.clamp(1, capacity) as u64,
            epoch,
            next: Spot(1),
            ahead: 0,
            run: (Spot(0), None),
            ledger: None,
        }
    }

    /// Has what it holds counted among all logs.
    pub(super) fn counted(self, ledger: Arc<Ledger>) -> Self {
        Self {
            ledger: Some(ledger),
            ..self
        }
    }

    /// Takes the oldest frames out until these hold about so many bytes, or all.
    pub(super) fn shed(&mut self, bytes: usize) -> Vec<Arc<Frame<P>>> {
        let mut gone = Vec::new();
        let mut gone_bytes = 0;
        while gone_bytes < bytes
            && let Some(oldest) = self.frames.pop_front()
        {
            self.bytes -= oldest.payload.held_bytes();
            let charge = oldest.charge.as_ref();
            gone_bytes += charge.map_or(FRAME_BYTES, Charge::bytes);
            gone.push(oldest);
        }
        gone
    }

    /// Names the run that it holds.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Has an empty log go on from offset `next`, where a run before this one ended.
    pub fn begin_at(&mut self, next: u64) {
        debug_assert!(self.frames.is_empty(), "offsets only grow");
        self.next = self.place_of(next.max(1));
    }

    /// Begins anew under `epoch`, from offset `next` on; cursors of the run before find that out
    /// over the time of `spread`. What was held comes back, to be dropped behind the lock.
    pub(super) fn restart(
        &mut self,
        epoch: Epoch,
        next: u64,
        spread: Duration,
    ) -> VecDeque<Arc<Frame<P>>> {
        let began = Restart {
            at: Instant::now(),
            spread,
        };
        // One further: who was at the end is in front of the new run, too.
        self.next = self.next.next();
        self.run = (self.next, Some(began));
        self.ahead = i128::from(self.next.0) - i128::from(next.max(1));
        self.epoch = epoch;
        self.bytes = 0;
        mem::take(&mut self.frames)
    }

    /// Appends the frame that somebody else has numbered; whether it is new. One that lies ahead
    /// empties the log, since what is between cannot be told to those who come back; one of another
    /// run is none of this log.
    pub fn append_at(&mut self, at: At, payload: P) -> bool {
        if at.epoch != self.epoch {
            return false;
        }
        let place = self.place_of(at.offset);
        if at.offset < self.next_offset() {
            return false;
        }
        if place > self.next {
            self.frames.clear();
            self.bytes = 0;
            self.next = place;
        }
        self.append(payload);
        true
    }

    /// Where a cursor of this run stands that wants `offset` next.
    #[must_use]
    pub fn place_of(&self, offset: u64) -> Spot {
        let place = (i128::from(offset) + self.ahead).max(self.run.0.0.into());
        Spot(u64::try_from(place).unwrap_or(u64::MAX))
    }

    fn offset_of(&self, place: Spot) -> u64 {
        u64::try_from(i128::from(place.0) - self.ahead).unwrap_or_default()
    }

    /// Appends a frame, lets the oldest go when full, returns the new offset.
    pub fn append(&mut self, payload: P) -> u64 {
        self.bytes += payload.held_bytes();
        while self.frames.len() >= self.capacity
            || (self.bytes > self.bytes_max && !self.frames.is_empty())
        {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.payload.held_bytes();
            }
        }
        let place = self.next;
        let offset = self.offset_of(place);
        self.next = place.next();
        let charge = self.ledger.as_ref();
        let charge = charge.map(|ledger| ledger.charge(payload.held_bytes() + FRAME_BYTES));
        self.frames.push_back(Arc::new(Frame {
            charge,
            at: At {
                epoch: self.epoch,
                offset,
            },
            place,
            payload,
            encoded: Mutex::default(),
        }));
        let aged = self.frames.len().checked_sub(ENCODED_FRAMES_KEPT + 1);
        if let Some(frame) = aged.and_then(|index| self.frames.get(index)) {
            frame.forget_encodings();
        }
        offset
    }

    /// Offset of the next frame to come.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.offset_of(self.next)
    }

    /// Where a cursor stands that is at the end.
    #[must_use]
    pub fn end(&self) -> Spot {
        self.next
    }

    /// Where a cursor stands that wants the oldest frame held.
    #[must_use]
    pub fn begin(&self) -> Spot {
        Spot(self.next.0 - self.frames.len() as u64)
    }

    /// Offset of the oldest frame held; that of the next one when empty.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        self.offset_of(self.begin())
    }

    /// The frames held, oldest first.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &Arc<Frame<P>>> {
        self.frames.iter()
    }

    /// What a cursor that wants `place` gets. O(1), but for a cursor that is too far behind.
    #[must_use]
    pub fn read(&self, place: Spot) -> Read<P> {
        if place >= self.next {
            return Read::UpToDate;
        }
        if let (first, Some(restart)) = self.run
            && place < first
        {
            return Read::Restarted(restart);
        }
        let first_held = self.begin().0;
        if self.next.0 - place.0 <= self.lag_max
            && let Some(frame) = place
                .0
                .checked_sub(first_held)
                .and_then(|index| self.frames.get(index_of(index)))
        {
            return Read::Frame(Arc::clone(frame));
        }
        let skip = index_of(place.0.saturating_sub(first_held));
        Read::Behind {
            first: self.offset_of(place),
            last: self.next_offset() - 1,
            held: self.frames.iter().skip(skip).cloned().collect(),
            next: self.next,
        }
    }
}

/// Differences of held offsets are at most the capacity, which is a `usize`.
fn index_of(difference: u64) -> usize {
    usize::try_from(difference).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::EventId;

    struct Number(u64);

    impl Payload for Number {
        type View = ();

        fn encode(&self, at: At, (): &()) -> Bytes {
            Bytes::from(format!("{}:{}", at.offset, self.0))
        }

        fn merge(held: &[Arc<Frame<Self>>], first: u64, last: u64, (): &()) -> Bytes {
            Bytes::from(format!("{first}-{last}({})", held.len()))
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append,
        /// A viewer reads up to this many frames.
        Read {
            viewer: usize,
            count: usize,
        },
        /// A viewer loses its connection and comes back with the last offset it saw.
        Resume {
            viewer: usize,
        },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Append),
            2 => (0_usize..3, 1_usize..6).prop_map(|(viewer, count)| Step::Read { viewer, count }),
            1 => (0_usize..3).prop_map(|viewer| Step::Resume { viewer }),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Any interleaving of appends, reads and resumes: each viewer sees every offset exactly
        /// once and in order, as a frame or inside a merged range, and is moved on only when the
        /// naive model (a `Vec` of all that ever came) says that it is too far behind.
        #[test]
        fn cursors_agree_with_a_naive_model(capacity in 1_usize..12, lag in 1_usize..12, steps in steps()) {
            let mut log = Log::new(Epoch(1), Bounds { frames: capacity, bytes: usize::MAX, lag });
            let lag_max = lag.min(capacity) as u64;
            let mut all: Vec<u64> = Vec::new();
            let mut seen = [0_u64; 3]; // last offset each viewer has accounted for
            for step in steps {
                match step {
                    Step::Append => {
                        let value = all.len() as u64 * 10;
                        all.push(value);
                        prop_assert_eq!(log.append(Number(value)), all.len() as u64);
                    }
                    Step::Resume { viewer } => {
                        let id = EventId::new(Epoch(1_000), seen[viewer]).to_string();
                        let id: EventId = id.parse().expect("an id reads back");
                        prop_assert_eq!(id.offset_in(Epoch(1_000)), Some(seen[viewer]));
                    }
                    Step::Read { viewer, count } => for _ in 0..count {
                        let behind = all.len() as u64 - seen[viewer];
                        match log.read(Spot(seen[viewer] + 1)) {
                            Read::UpToDate => prop_assert_eq!(behind, 0),
                            Read::Frame(frame) => {
                                prop_assert!(behind <= lag_max);
                                seen[viewer] += 1;
                                prop_assert_eq!(frame.offset(), seen[viewer]);
                                let index = usize::try_from(seen[viewer]).unwrap_or_default() - 1;
                                prop_assert_eq!(frame.payload().0, all[index]);
                            }
                            Read::Restarted(_) => panic!("there is one run"),
                            Read::Behind { first, last, held, next } => {
                                prop_assert!(behind > lag_max);
                                prop_assert_eq!(next, log.end());
                                prop_assert_eq!((first, last), (seen[viewer] + 1, all.len() as u64));
                                prop_assert_eq!(held.len() as u64, behind.min(capacity as u64));
                                seen[viewer] = last;
                            }
                        }
                    },
                }
            }
        }
    }

    #[test]
    fn old_frames_let_their_encodings_go_and_can_be_encoded_again() {
        let mut log = Log::new(
            Epoch(1),
            Bounds {
                frames: 200,
                bytes: usize::MAX,
                lag: 200,
            },
        );
        for number in 0..100 {
            log.append(Number(number));
            if let Read::Frame(frame) = log.read(Spot(number + 1)) {
                drop(frame.encoded(&()));
            }
        }
        let kept = log
            .frames()
            .filter(|frame| !frame.encoded.lock().is_empty())
            .count();
        assert_eq!(kept, ENCODED_FRAMES_KEPT);
        let Read::Frame(oldest) = log.read(Spot(1)) else {
            panic!("frame 1 is held")
        };
        assert_eq!(oldest.encoded(&()), "1:0");
    }

    struct Sized(usize);

    impl Payload for Sized {
        type View = ();

        fn encode(&self, _at: At, (): &()) -> Bytes {
            Bytes::new()
        }

        fn held_bytes(&self) -> usize {
            self.0
        }

        fn merge(_held: &[Arc<Frame<Self>>], _first: u64, _last: u64, (): &()) -> Bytes {
            Bytes::new()
        }
    }

    #[test]
    fn large_frames_let_the_oldest_go_early_and_the_newest_always_stays() {
        let mut log = Log::new(
            Epoch(1),
            Bounds {
                frames: 10,
                bytes: 100,
                lag: 10,
            },
        );
        for (size, first_held) in [(60, 1), (40, 1), (1, 2), (500, 4), (1, 5)] {
            log.append(Sized(size));
            assert_eq!(
                log.first_offset(),
                first_held,
                "after a frame of {size} bytes"
            );
        }
    }

    #[test]
    fn a_frame_is_encoded_once_for_all_who_share_a_view() {
        let mut log = Log::new(
            Epoch(1),
            Bounds {
                frames: 4,
                bytes: usize::MAX,
                lag: 4,
            },
        );
        log.append(Number(7));
        let Read::Frame(frame) = log.read(Spot(1)) else {
            panic!("frame 1 is held")
        };
        let (one, other) = (frame.encoded(&()), frame.encoded(&()));
        assert_eq!(one, "1:7");
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}
