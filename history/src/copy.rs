//! A copy of the whole history as it is at one moment, taken while everything goes on.
//!
//! The log comes first: what is sealed and removed from it meanwhile is in the blocks, whose
//! snapshot is taken after it. What is in both is sealed twice, which is right and harmless.

use std::path::Path;

use redb::{Key, ReadTransaction, TableDefinition, TableError, Value};

use crate::{
    History, HistoryError, Tier,
    store::{OpenError, Store},
    tables::{
        DIRTY, FLOOR_OF, META, PROGRESS, RAW, SEEN, SERIES, TALLY, TALLY_OF, TOMBSTONES, tier_table,
    },
};

/// Rows of one transaction of the copy; a row has some hundred bytes to some thousand.
const STEP_ROWS: usize = 2_000;

/// Cache of the copy, which is written once and never read.
pub(crate) const CACHE_BYTES: usize = 8 << 20;

impl History {
    /// Makes `dir`, which is not there yet, a history that holds everything acknowledged before
    /// this call, and perhaps some of what comes during it. Blocks: the blocks' file is copied row
    /// by row (about a second for some hundred megabytes), the log's files are linked where the
    /// file system can. Whether it is the whole: it is not where `goes_on` has said otherwise.
    ///
    /// # Errors
    /// The folder cannot be written, or something in the blocks' file cannot be read: a copy is
    /// whole or none.
    pub fn copy_to(&self, dir: &Path, goes_on: &dyn Fn() -> bool) -> Result<bool, HistoryError> {
        self.log.copy_to(&dir.join("wal"))?;
        let into = match Store::open(&dir.join("blocks.redb"), CACHE_BYTES) {
            Ok(store) => store,
            Err(OpenError::Other(error)) => return Err(error),
            Err(OpenError::Damaged(what)) => {
                return Err(HistoryError::Structure {
                    action: "make a copy of the blocks",
                    what,
                });
            }
        };
        self.store
            .read("read all blocks", |txn| Ok(copy_all(txn, &into, goes_on)))?
    }
}

/// Copies all tables for as long as `goes_on` says so; whether it is the whole.
pub(crate) fn copy_all(
    txn: &ReadTransaction,
    into: &Store,
    goes_on: &dyn Fn() -> bool,
) -> Result<bool, HistoryError> {
    let mut is_whole = copy(txn, into, SERIES, goes_on)? && copy(txn, into, RAW, goes_on)?;
    for tier in Tier::ALL {
        is_whole = is_whole && copy(txn, into, tier_table(tier), goes_on)?;
    }
    Ok(is_whole
        && copy(txn, into, SEEN, goes_on)?
        && copy(txn, into, TALLY, goes_on)?
        && copy(txn, into, TALLY_OF, goes_on)?
        && copy(txn, into, FLOOR_OF, goes_on)?
        && copy(txn, into, PROGRESS, goes_on)?
        && copy(txn, into, DIRTY, goes_on)?
        // What is deleted and still in the blocks is no more in the copy than it is here.
        && copy(txn, into, TOMBSTONES, goes_on)?
        && copy(txn, into, META, goes_on)?)
}

/// Copies one table, some rows at a time; whether it is the whole.
fn copy<K: Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    into: &Store,
    table: TableDefinition<'static, K, V>,
    goes_on: &dyn Fn() -> bool,
) -> Result<bool, HistoryError> {
    let failed = |error: redb::Error| HistoryError::blocks("read all blocks", error);
    let from = match txn.open_table(table) {
        Ok(from) => from,
        Err(TableError::TableDoesNotExist(_)) => return Ok(true),
        Err(error) => return Err(failed(error.into())),
    };
    let mut rows = redb::ReadableTable::iter(&from).map_err(|error| failed(error.into()))?;
    let mut is_done = false;
    while !is_done {
        if !goes_on() {
            return Ok(false);
        }
        is_done = into.write("write a copy of the blocks", |txn| {
            let mut into = txn.open_table(table)?;
            for _ in 0..STEP_ROWS {
                let Some(row) = rows.next() else {
                    return Ok(true);
                };
                let (key, value) = row?;
                into.insert(key.value(), value.value())?;
            }
            Ok(false)
        })?;
    }
    Ok(true)
}
