//! What one pass over a members's members shares: the frame that they all are about to write, and
//! what they have written.
//!
//! Members of one feed are at the same place as a rule. So the first to come looks the frame up in
//! the log and finds its encoding, and the others take it from here: no lock of the log or of the
//! frame, and no count of references of either, is touched once a member.

use std::{
    any::Any,
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    counters::Counters,
    log::{Frame, Payload},
    position::Spot,
};

/// Frames remembered: several that came while members were busy are found alike. A power of two.
const FRAMES: usize = 4;
/// Encodings of one frame remembered; the rare further ones are asked of the frame.
const ENCODINGS_MAX: usize = 8;

/// What one pass over a feed's members looks up once for all of them, and counts.
#[derive(Default)]
pub struct FanoutPass {
    /// `None` for a member that writes by itself, for which remembering would be all cost.
    memory: Option<[Option<Box<dyn Any + Send>>; FRAMES]>,
    frames: u64,
    bytes: u64,
    skipped: u64,
}

/// A frame that was looked up.
struct Found<P: Payload> {
    feed: FeedId,
    place: Spot,
    frame: Arc<Frame<P>>,
    encodings: Vec<(P::View, Bytes)>,
}

/// Names a feed for as long as the process runs; an address would be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedId(u64);

impl FeedId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl FanoutPass {
    /// For many members in a row.
    #[must_use]
    pub fn shared() -> Self {
        Self {
            memory: Some(Default::default()),
            ..Self::default()
        }
    }

    /// For one member that writes by itself.
    #[must_use]
    pub fn alone() -> Self {
        Self::default()
    }

    /// What was looked up before; `None` when it was not, or not for this view.
    pub(super) fn recall<P: Payload>(
        &self,
        feed: FeedId,
        place: Spot,
        view: &P::View,
    ) -> Option<(&Frame<P>, &Bytes)> {
        let found = self.memory.as_ref()?[slot_of(place)].as_ref()?;
        let found = found.downcast_ref::<Found<P>>()?;
        if found.feed != feed || found.place != place {
            return None;
        }
        let (_, bytes) = found.encodings.iter().find(|(known, _)| known == view)?;
        Some((&found.frame, bytes))
    }

    /// Keeps what was looked up for those who come next.
    pub(super) fn remember<P: Payload>(
        &mut self,
        feed: FeedId,
        frame: Arc<Frame<P>>,
        view: &P::View,
        bytes: &Bytes,
    ) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        let place = frame.place();
        let slot = &mut memory[slot_of(place)];
        let encoding = (view.clone(), bytes.clone());
        let known = slot
            .as_mut()
            .and_then(|found| found.downcast_mut::<Found<P>>())
            .filter(|found| found.feed == feed && found.place == place);
        match known {
            Some(found) if found.encodings.len() < ENCODINGS_MAX => found.encodings.push(encoding),
            Some(_) => {}
            None => {
                *slot = Some(Box::new(Found {
                    feed,
                    place,
                    frame,
                    encodings: vec![encoding],
                }));
            }
        }
    }

    /// Forgets what was looked up; whoever did may not have come to an end with it.
    pub(super) fn forget(&mut self) {
        if let Some(memory) = &mut self.memory {
            *memory = Default::default();
        }
    }

    /// Frames and bytes were written, and frames skipped because the viewer was too slow.
    pub fn count(&mut self, frames: u64, bytes: u64, skipped: u64) {
        self.frames += frames;
        self.bytes += bytes;
        self.skipped += skipped;
    }

    /// Adds what was counted to the server's counters.
    pub fn settle(&mut self, counters: &Counters) {
        for (count, counter) in [
            (&mut self.frames, &counters.frames_sent),
            (&mut self.bytes, &counters.bytes_sent),
            (&mut self.skipped, &counters.frames_skipped),
        ] {
            let count = mem::take(count);
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// Neighbours in a log do not drive each other out.
fn slot_of(place: Spot) -> usize {
    usize::try_from(place.0 % FRAMES as u64).unwrap_or_default()
}

impl fmt::Debug for FanoutPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanoutPass")
            .field("frames", &self.frames)
            .field("bytes", &self.bytes)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}
