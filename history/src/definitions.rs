//! Definitions looked up while the history is in use: what a series is that memory no longer has.

use crate::{
    Definition, History, HistoryError, SeriesId,
    state::{DAY_MS, block_of},
    tables::SERIES,
};

impl History {
    /// Calls `each` for the definitions numbered `from` and above: those of the blocks' file,
    /// ascending, then those that only the log has, in the order of their appending. One that was
    /// said again can come twice; the later one holds. Blocks; some 0.3 µs each.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`], [`HistoryError::Structure`]; what came before has been given.
    pub fn each_definition(
        &self,
        from: SeriesId,
        mut each: impl FnMut(&Definition),
    ) -> Result<(), HistoryError> {
        // Before the file: one that is saved meanwhile comes twice, and not never.
        let unsaved = self.unsaved.lock().clone();
        self.store.read("list series", |txn| {
            let table = txn.open_table(SERIES)?;
            for row in table.range(from.0..)? {
                if let Some(definition) = Definition::decode(row?.1.value()) {
                    each(&definition);
                }
            }
            Ok(())
        })?;
        let newer = unsaved.iter().filter(|definition| definition.id >= from);
        newer.for_each(each);
        Ok(())
    }

    /// Series that have anything sealed on the day of `since_ms` or later, ascending; some of them
    /// may have been defined then and have nothing yet.
    #[must_use]
    pub fn sealed_since(&self, since_ms: i64) -> Vec<SeriesId> {
        let day = block_of(since_ms.max(0), DAY_MS).unwrap_or(u32::MAX);
        let state = self.state.lock();
        let young = state.seen.iter().filter(|(_, seen)| **seen >= day);
        let mut ids: Vec<SeriesId> = young.map(|(id, _)| SeriesId(*id)).collect();
        drop(state);
        ids.sort_unstable();
        ids
    }

    /// The definitions of those among `ids` (ascending) that have anything sealed on the day of
    /// `since_ms` or later, in no order. Those that are forgotten are left out. Blocks; about a
    /// microsecond for each that has.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`], [`HistoryError::Structure`].
    pub fn definitions_unsorted(
        &self,
        ids: &[SeriesId],
        since_ms: i64,
    ) -> Result<Vec<Definition>, HistoryError> {
        debug_assert!(ids.is_sorted());
        let day = block_of(since_ms.max(0), DAY_MS).unwrap_or(u32::MAX);
        let wanted: Vec<u32> = {
            let state = self.state.lock();
            let is_young = |id: &SeriesId| state.seen.get(&id.0).is_some_and(|seen| *seen >= day);
            ids.iter()
                .copied()
                .filter(is_young)
                .map(|id| id.0)
                .collect()
        };
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut found: Vec<Definition> = {
            let unsaved = self.unsaved.lock();
            let is_wanted =
                |definition: &&Definition| wanted.binary_search(&definition.id.0).is_ok();
            unsaved.iter().filter(is_wanted).cloned().collect()
        };
        found.reverse();
        found.sort_by_key(|definition| definition.id);
        found.dedup_by_key(|definition| definition.id);
        let newer = found.len();
        self.store.read("look up series", |txn| {
            let table = txn.open_table(SERIES)?;
            for id in wanted {
                let is_newer = |definition: &Definition| definition.id.cmp(&SeriesId(id));
                if found[..newer].binary_search_by(is_newer).is_ok() {
                    continue;
                }
                if let Some(row) = table.get(id)? {
                    found.extend(Definition::decode(row.value()));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}
