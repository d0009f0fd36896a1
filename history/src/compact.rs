//! Gives space back that deleting has left in the blocks' file.
//!
//! The store below writes what changes to free pages, the lowest that fit, and cuts off free pages at
//! the end of its file; but where data stands still at the end, nothing is ever cut off. So where much
//! of the file is free, all rows are written once more, some in each step: what stood at the end moves to
//! the front. Its own way to do the same wants the file for itself, for as long as that takes; this lets
//! readers go on, and sealing waits for a step at most.

use std::{ops::Bound, time::Instant};

use redb::{Key, ReadableTable, TableDefinition, TableHandle, Value, WriteTransaction};

use crate::{
    History, HistoryError, Tier,
    history::Workshop,
    tables::{
        DIRTY, FLOOR_OF, META, PROGRESS, RAW, SEEN, SERIES, TALLY, TALLY_OF, TOMBSTONES, tier_table,
    },
};

/// A smaller file is not worth the work.
const FILE_BYTES_MIN: u64 = 16 << 20;

/// A file that is so many times larger than what is in it has much to give back: what is in it takes
/// half as much again for keys, pages that are not full and what the store needs itself.
const SPARE_RATIO: u64 = 4;

/// The clock is looked at after so many rows.
const STEP_ROWS_MIN: usize = 64;

/// One step moves at most so many rows, and so many bytes.
const STEP_ROWS: usize = 4_096;
const STEP_BYTES: usize = 4 << 20;

/// Steps that only let the store cut off what is free at the end: each takes half of it.
const CUTS_MAX: u32 = 16;

/// Rows of all tables are moved, the small ones too, since one page at the end holds the whole file.
const TABLES: usize = 14;

/// Where moving goes on.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    table: usize,
    /// The last key that was moved.
    behind: Option<Vec<u8>>,
    cuts: u32,
}

/// What a step did.
enum Moved {
    Some,
    /// There is no more in this table.
    All,
}

impl History {
    /// Moves some of what is in a file that has much free. False if there is nothing to be done.
    pub(crate) fn compact_step(
        &self,
        workshop: &mut Workshop,
        until: Instant,
    ) -> Result<bool, HistoryError> {
        if workshop.moving.is_none() {
            let file_bytes = self.store.file_bytes();
            let used_bytes = self.state.lock().bytes();
            let is_spare = file_bytes >= FILE_BYTES_MIN && file_bytes / SPARE_RATIO > used_bytes;
            // Once done it is done until much more has gone: what remains is what the store needs.
            let is_more = workshop
                .moved_at
                .is_none_or(|(file, used)| file_bytes > file / 4 * 5 || used_bytes < used / 4 * 3);
            if !is_spare || !is_more {
                return Ok(false);
            }
            workshop.moving = Some(Moving::default());
        }
        let Some(mut moving) = workshop.moving.take() else {
            return Ok(false);
        };
        let before = self.store.file_bytes();
        let moved = self.change("give space back", |txn| {
            if moving.table == TABLES {
                // Anything that is written makes a commit, which cuts off.
                move_some(txn, META, &mut None, until)?;
                return Ok(Moved::All);
            }
            move_table(txn, moving.table, &mut moving.behind, until)
        })?;
        let after = self.store.file_bytes();
        match moved {
            Moved::Some => {}
            Moved::All if moving.table < TABLES => {
                moving.table += 1;
                moving.behind = None;
            }
            // The first ones only free what is free in earlier commits alone.
            Moved::All if moving.cuts < CUTS_MAX && (moving.cuts < 3 || after < before) => {
                moving.cuts += 1;
            }
            Moved::All => {
                let used_bytes = self.state.lock().bytes();
                workshop.moved_at = Some((after, used_bytes));
                return Ok(true);
            }
        }
        workshop.moving = Some(moving);
        Ok(true)
    }
}

fn move_table(
    txn: &WriteTransaction,
    table: usize,
    behind: &mut Option<Vec<u8>>,
    until: Instant,
) -> Result<Moved, redb::Error> {
    match table {
        0 => move_some(txn, RAW, behind, until),
        1..=4 => move_some(txn, tier_table(Tier::ALL[table - 1]), behind, until),
        5 => move_some(txn, SERIES, behind, until),
        6 => move_some(txn, SEEN, behind, until),
        7 => move_some(txn, TALLY, behind, until),
        8 => move_some(txn, TALLY_OF, behind, until),
        9 => move_some(txn, FLOOR_OF, behind, until),
        10 => move_some(txn, PROGRESS, behind, until),
        11 => move_some(txn, DIRTY, behind, until),
        12 => move_some(txn, TOMBSTONES, behind, until),
        13 => move_some(txn, META, behind, until),
        _ => Ok(Moved::All),
    }
}

/// Writes some rows of a table once more.
fn move_some<K: Key + 'static, V: Value + 'static>(
    txn: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
    behind: &mut Option<Vec<u8>>,
    until: Instant,
) -> Result<Moved, redb::Error> {
    // Opening would make those that are not there yet.
    let is_there = txn.list_tables()?.any(|known| known.name() == table.name());
    if !is_there {
        return Ok(Moved::All);
    }
    let mut table = txn.open_table(table)?;
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    let mut moved = Moved::All;
    {
        let from = match &*behind {
            Some(behind) => Bound::Excluded(K::from_bytes(behind)),
            None => Bound::Unbounded,
        };
        for row in table.range::<K::SelfType<'_>>((from, Bound::Unbounded))? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let key = K::as_bytes(&key).as_ref().to_vec();
            let value = V::as_bytes(&value).as_ref().to_vec();
            bytes += key.len() + value.len();
            rows.push((key, value));
            let is_late = rows.len() % STEP_ROWS_MIN == 0 && Instant::now() >= until;
            if rows.len() >= STEP_ROWS || bytes >= STEP_BYTES || is_late {
                moved = Moved::Some;
                break;
            }
        }
    }
    for (key, value) in &rows {
        table.insert(K::from_bytes(key), V::from_bytes(value))?;
    }
    *behind = rows.pop().map(|(key, _)| key);
    Ok(moved)
}
