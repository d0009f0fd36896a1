//! The bounded log of frames: pure, no clock, no sockets.
//!
//! After six appends to a log of capacity four (offsets start at 1):
//!
//! ```text
//! frames  3 4 5 6        a cursor names the next offset it wants: 3..=7 can be served,
//!         ^       ^      7 waits, 2 and less have fallen off
//!         first   next
//! ```

use std::{collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::ledger::{Charge, FRAME_BYTES, Ledger};

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
    fn encode(&self, offset: u64, view: &Self::View) -> Bytes;

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
}

/// One entry of a log with its encodings.
pub struct Frame<P: Payload> {
    offset: u64,
    payload: P,
    /// Filled by the first viewer of each view; leaf lock, dropped with the frame.
    encoded: Mutex<Vec<(P::View, Bytes)>>,
    /// Of a log that is counted among all.
    charge: Option<Charge>,
}

impl<P: Payload> Frame<P> {
    /// This frame's place in its log.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
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
        let bytes = self.payload.encode(self.offset, view);
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
            .field("offset", &self.offset)
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
    },
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
    /// Offset of the next frame; 1 for the first one, so that 0 says "nothing seen".
    next: u64,
    ledger: Option<Arc<Ledger>>,
}

impl<P: Payload> Log<P> {
    /// An empty log.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let capacity = bounds.frames.max(1);
        Self {
            frames: VecDeque::new(),
            capacity,
            bytes_max: bounds.bytes,
            bytes: 0,
            lag_max: bounds.lag.clamp(1, capacity) as u64,
            next: 1,
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

    /// Has an empty log go on from `next`, where a run before this one ended.
    pub fn begin_at(&mut self, next: u64) {
        debug_assert!(self.frames.is_empty(), "offsets only grow");
        self.next = next.max(1);
    }

    /// Appends the frame that somebody else has numbered; whether it is new. One that lies ahead
    /// empties the log, since what is between cannot be told to those who come back.
    pub fn append_at(&mut self, offset: u64, payload: P) -> bool {
        if offset < self.next {
            return false;
        }
        if offset > self.next {
            self.frames.clear();
            self.bytes = 0;
            self.next = offset;
        }
        self.append(payload);
        true
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
        let offset = self.next;
        self.next += 1;
        let charge = self.ledger.as_ref();
        let charge = charge.map(|ledger| ledger.charge(payload.held_bytes() + FRAME_BYTES));
        self.frames.push_back(Arc::new(Frame {
            charge,
            offset,
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
        self.next
    }

    /// Offset of the oldest frame held; that of the next one when empty.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        self.next - self.frames.len() as u64
    }

    /// The frames held, oldest first.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &Arc<Frame<P>>> {
        self.frames.iter()
    }

    /// What a cursor that wants `offset` gets. O(1), but for a cursor that is too far behind.
    #[must_use]
    pub fn read(&self, offset: u64) -> Read<P> {
        if offset >= self.next {
            return Read::UpToDate;
        }
        let first_held = self.first_offset();
        if self.next - offset <= self.lag_max
            && let Some(frame) = offset
                .checked_sub(first_held)
                .and_then(|index| self.frames.get(index_of(index)))
        {
            return Read::Frame(Arc::clone(frame));
        }
        let skip = index_of(offset.saturating_sub(first_held));
        Read::Behind {
            first: offset,
            last: self.next - 1,
            held: self.frames.iter().skip(skip).cloned().collect(),
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
    use crate::{Epoch, EventId};

    struct Number(u64);

    impl Payload for Number {
        type View = ();

        fn encode(&self, offset: u64, (): &()) -> Bytes {
            Bytes::from(format!("{offset}:{}", self.0))
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
            let mut log = Log::new(Bounds { frames: capacity, bytes: usize::MAX, lag });
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
                        match log.read(seen[viewer] + 1) {
                            Read::UpToDate => prop_assert_eq!(behind, 0),
                            Read::Frame(frame) => {
                                prop_assert!(behind <= lag_max);
                                seen[viewer] += 1;
                                prop_assert_eq!(frame.offset(), seen[viewer]);
                                let index = usize::try_from(seen[viewer]).unwrap_or_default() - 1;
                                prop_assert_eq!(frame.payload().0, all[index]);
                            }
                            Read::Behind { first, last, held } => {
                                prop_assert!(behind > lag_max);
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
        let mut log = Log::new(Bounds {
            frames: 200,
            bytes: usize::MAX,
            lag: 200,
        });
        for number in 0..100 {
            log.append(Number(number));
            if let Read::Frame(frame) = log.read(number + 1) {
                drop(frame.encoded(&()));
            }
        }
        let kept = log
            .frames()
            .filter(|frame| !frame.encoded.lock().is_empty())
            .count();
        assert_eq!(kept, ENCODED_FRAMES_KEPT);
        let Read::Frame(oldest) = log.read(1) else {
            panic!("frame 1 is held")
        };
        assert_eq!(oldest.encoded(&()), "1:0");
    }

    struct Sized(usize);

    impl Payload for Sized {
        type View = ();

        fn encode(&self, _offset: u64, (): &()) -> Bytes {
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
        let mut log = Log::new(Bounds {
            frames: 10,
            bytes: 100,
            lag: 10,
        });
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
        let mut log = Log::new(Bounds {
            frames: 4,
            bytes: usize::MAX,
            lag: 4,
        });
        log.append(Number(7));
        let Read::Frame(frame) = log.read(1) else {
            panic!("frame 1 is held")
        };
        let (one, other) = (frame.encoded(&()), frame.encoded(&()));
        assert_eq!(one, "1:7");
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}
