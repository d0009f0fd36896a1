//! Deleting series, or a stretch of time of them: out of memory here, and out of the history by
//! [`History::entomb`](pulseboard_history::History::entomb).
//!
//! Memory goes first: what comes to a series meanwhile comes after the deletion, to a series of a
//! new number where the old one is gone as such.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pulseboard_history::{HistoryError, SeriesId, Tombstone};
use pulseboard_series::key::hash_key;

use crate::{
    cost::{Cost, Spent},
    engine::{Engine, fingerprint},
    query::{self, QueryError},
    selector::Selector,
    slot::SlotRef,
    table::Entry,
    tenant::Tenant,
    window::Scratch,
};

/// Series that are deleted together: so many are taken out of memory and told the history.
const SERIES_AT_ONCE: usize = 4_096;

/// A turn is given on while a round of maintenance lasts.
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Why a deletion has not come to its end. What was deleted by then stays so; it may be asked for
/// again.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It cost too much.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The disk does not take it: some of what is gone may come back with a restart.
    #[error("the deletion is not on the disk: {0}")]
    History(#[from] HistoryError),
}

impl From<Spent> for DeleteError {
    fn from(spent: Spent) -> Self {
        Self::Query(spent.into())
    }
}

impl Engine {
    /// Deletes the samples of `from_ms..=to_ms` of all series of a tenant that the selector names;
    /// how many series that were. A stretch that begins at or before 1970 and ends after all that a
    /// series has deletes the series as such. When this answers it is safe, and no question that is
    /// begun from then on finds any of it; the history is rid of it some rounds of maintenance
    /// later. Blocks: for the disk, and for a round of maintenance.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub fn delete(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
        cost: &Cost,
    ) -> Result<u64, DeleteError> {
        if from_ms > to_ms {
            return Ok(0);
        }
        // Nothing is on its way into the history. Whoever has that lock may be waiting for our
        // turn.
        let maintenance = loop {
            match self.maintenance.try_lock_for(LOCK_AGAIN_AFTER) {
                Some(maintenance) => break maintenance,
                None => cost.check()?,
            }
        };
        let mut deleted = 0;
        let mut scratch = Scratch::default();
        let places = self.places(tenant, selector, cost)?;
        for part in places.chunks(SERIES_AT_ONCE) {
            let mut rows = Vec::with_capacity(part.len());
            let mut without_newest = Vec::new();
            for place in part {
                cost.step(1)?;
                let stretch = (from_ms, to_ms);
                let done = self.delete_one(*place, stretch, now_ms, &mut scratch);
                if let Some((row, has_newest)) = done {
                    if !has_newest {
                        without_newest.push(*place);
                    }
                    rows.push(row);
                }
            }
            deleted += rows.len() as u64;
            self.entomb(&rows)?;
            self.look_up_newest(&without_newest, now_ms)?;
        }
        cost.let_go(size_of_val(&*places));
        deleted += self.delete_past(tenant, selector, (from_ms, to_ms), now_ms, cost)?;
        drop(maintenance);
        Ok(deleted)
    }

    fn entomb(&self, rows: &[Tombstone]) -> Result<(), HistoryError> {
        match &self.history {
            Some(history) if !rows.is_empty() => history.entomb(rows),
            _ => Ok(()),
        }
    }

    /// Of a series in memory; what the history is to do, and whether the newest sample that is left
    /// is known.
    fn delete_one(
        &self,
        place: SlotRef,
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> Option<(Tombstone, bool)> {
        let mut shard = self.table.shard(usize::from(place.shard)).lock();
        let entry = shard.get_mut(place.slot as usize)?;
        if entry.id != place.id {
            return None;
        }
        // After a start memory may have late samples alone of a series of which the blocks have
        // newer ones: what it has says nothing of how far that goes.
        let end_ms = entry
            .newest_known_ms()
            .map_or(now_ms, |newest_ms| newest_ms.max(now_ms));
        let is_whole = from_ms <= 0 && end_ms <= to_ms;
        // Nothing of what comes from now on.
        let to_ms = to_ms.min(end_ms);
        let mut has_newest = true;
        if is_whole {
            let entry = shard.remove(place.slot as usize)?;
            drop(shard);
            let late = entry.late.as_ref().map_or(0, |late| late.len());
            self.late_samples.fetch_sub(late as u64, Ordering::Relaxed);
            Self::delist(place, entry);
        } else {
            if from_ms > to_ms {
                return None;
            }
            let gone = entry.forget((from_ms, to_ms), now_ms, scratch);
            has_newest = entry.last.is_some();
            self.late_samples.fetch_sub(gone, Ordering::Relaxed);
        }
        let row = Tombstone {
            series: place.id,
            from_ms,
            to_ms: if is_whole { i64::MAX } else { to_ms },
            is_whole,
        };
        Some((row, has_newest))
    }

    /// Of series that memory has not.
    fn delete_past(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
        cost: &Cost,
    ) -> Result<u64, DeleteError> {
        let is_whole = from_ms <= 0 && to_ms >= now_ms;
        let past = query::past_of(self, tenant, selector, from_ms, cost)?;
        for definitions in past.chunks(SERIES_AT_ONCE) {
            cost.check()?;
            let rows: Vec<Tombstone> = definitions
                .iter()
                .map(|definition| Tombstone {
                    series: definition.id,
                    from_ms,
                    to_ms: if is_whole {
                        i64::MAX
                    } else {
                        to_ms.min(now_ms)
                    },
                    is_whole,
                })
                .filter(|row| row.from_ms <= row.to_ms)
                .collect();
            if is_whole {
                let mut retired = self.retired.lock();
                for definition in definitions {
                    let hash = tenant.place(hash_key(&definition.key));
                    let fingerprint = fingerprint(hash, &definition.key);
                    let is_it = |known: &(SeriesId, Arc<Tenant>)| known.0 == definition.id;
                    if retired.get(&fingerprint).is_some_and(is_it) {
                        retired.remove(&fingerprint);
                    }
                }
            }
            self.entomb(&rows)?;
        }
        Ok(past.len() as u64)
    }

    /// Has the history take out of its blocks what is deleted, for about `budget`; whether that is
    /// done. Blocks.
    ///
    /// # Errors
    /// As [`pulseboard_history::History::clean_tombstones`].
    pub fn clean_tombstones(&self, budget: Duration) -> Result<bool, HistoryError> {
        match &self.history {
            Some(history) => history.clean_tombstones(budget),
            None => Ok(true),
        }
    }
}

impl Entry {
    /// The latest time that anything is known of, Unix milliseconds.
    pub(crate) fn newest_known_ms(&self) -> Option<i64> {
        let late = self.late.as_ref().map(|late| late.newest().0);
        let last = self.last.map(|last| last.0);
        let ahead = (self.ahead_ms > i64::MIN).then_some(self.ahead_ms);
        let known = [self.window.newest_ms(), late, last, ahead];
        known.into_iter().flatten().max()
    }

    /// Forgets the samples of a stretch, both ends included; how many fewer there are that came
    /// late.
    pub(crate) fn forget(
        &mut self,
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
        scratch: &mut Scratch,
    ) -> u64 {
        self.window.remove((from_ms, to_ms), scratch);
        let mut gone = 0;
        if let Some(late) = &mut self.late {
            let before = late.len();
            let is_empty = late.remove((from_ms, to_ms));
            gone = (before - late.len()) as u64;
            if is_empty {
                self.late = None;
            }
        }
        if self
            .last
            .is_some_and(|last| (from_ms..=to_ms).contains(&last.0))
        {
            self.last = self.window.newest_at(now_ms);
        }
        // What was made of its past is void.
        self.late_count = self.late_count.wrapping_add(1);
        for slot in self.taps.iter().flat_map(|taps| taps.iter()) {
            slot.tap.forget();
        }
        gone
    }
}
