//! Reads a series from memory alone, where memory has all of the stretch that is asked for: what
//! rules and dashboards ask of the last minutes nearly always is there. That costs one lock of its
//! shard, and no view of the history.

use super::reading::Wanted;
use crate::{
    engine::Engine,
    slot::SlotRef,
    window::{Sample, WindowCopy},
};

/// What memory has of a series' stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The series has gone.
    Gone,
    /// Some of it may be elsewhere.
    Part,
    /// All that there is.
    All,
}

/// Reads one series after the other into the same buffers.
#[derive(Debug, Default)]
pub(super) struct HeldReader {
    /// Of the series that was read last.
    pub(super) key: Vec<u8>,
    /// Its samples, oldest first, no time twice.
    pub(super) samples: Vec<Sample>,
    copy: WindowCopy,
}

impl HeldReader {
    /// Reads the samples of `from_ms..to_ms`, where memory has all of them.
    pub(super) fn read(
        &mut self,
        engine: &Engine,
        place: SlotRef,
        (from_ms, to_ms): (i64, i64),
        wanted: Wanted,
    ) -> Held {
        let Self { key, samples, copy } = self;
        samples.clear();
        let held = engine.table.with(place, |entry| {
            // What came late is beside the window; it is rarely there, and not for long.
            if entry.whole_from_ms > from_ms || entry.late.is_some() {
                return Held::Part;
            }
            key.clear();
            key.extend_from_slice(&entry.key);
            match wanted {
                Wanted::All => entry.window.copy_into(from_ms, to_ms, copy),
                Wanted::Newest => entry.window.copy_newest_into(from_ms, to_ms, copy),
            }
            Held::All
        });
        match held {
            // Nothing is unpacked under the lock.
            Some(Held::All) => copy.read(from_ms, to_ms, samples),
            held => return held.unwrap_or(Held::Gone),
        }
        if wanted == Wanted::Newest {
            samples.drain(..samples.len().saturating_sub(1));
        }
        Held::All
    }
}
