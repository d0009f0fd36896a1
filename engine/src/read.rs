//! Samples of a series, from memory and history together.

use pulseboard_history::{HistoryError, Snapshot, sort_last_wins};

use crate::{engine::Engine, find::Found, window::Sample};

impl Engine {
    /// A view of the sealed past for one question; `None` where nothing is kept.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, HistoryError> {
        self.history
            .as_ref()
            .map(|history| history.snapshot())
            .transpose()
    }

    /// Appends the samples of `from_ms..to_ms` to `into`, oldest first, no time twice: what is in
    /// memory, and of `past` what is not. `snapshot` is to be taken before this is called, and
    /// what is sealed meanwhile is still in memory, so nothing is missed.
    ///
    /// # Errors
    /// The history cannot be read; what was read before stays in `into`.
    pub fn read(
        &self,
        found: &Found,
        past: Option<&mut Snapshot>,
        from_ms: i64,
        to_ms: i64,
        into: &mut Vec<Sample>,
    ) -> Result<(), HistoryError> {
        let start = into.len();
        let (copy, is_whole) = self.copy_known(found, from_ms, to_ms).unwrap_or_default();
        if let Some(past) = past.filter(|_| !is_whole) {
            past.read_raw(found.id, from_ms, to_ms, into)?;
        }
        let sealed = into.len();
        copy.read(from_ms, to_ms, into);
        let is_newer = match (into.get(sealed.wrapping_sub(1)), into.get(sealed)) {
            (Some(last_sealed), Some(first_newer)) if sealed > start => {
                first_newer.0 <= last_sealed.0
            }
            _ => false,
        };
        if is_newer {
            // Of two values for one time the one in memory comes later, and wins.
            let mut both = into.split_off(start);
            sort_last_wins(&mut both);
            into.append(&mut both);
        }
        Ok(())
    }
}
