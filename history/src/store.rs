//! The blocks' file: its tables and keys, opening it, and transactions whose failures are errors
//! and never panics.
//!
//! Keys begin with time, so that sealing inserts at the end of the trees and retention deletes
//! at their beginning:
//!
//! ```text
//! raw          (hour, series, sequence) -> chunk      hours since 1970; later sequences win
//! tier_10s …   (block, series)          -> block      blocks since 1970, in the tier's length
//! series       series                   -> definition
//! seen         series                   -> day of its newest sealed sample
//! tally        (level, block)           -> values, bytes, samples     level 0 raw, 1 10 s, …
//! progress     tier                     -> blocks rolled up, series rolled up of the next
//! dirty        (tier, block, series)    -> ()         rolled up before a late sample came
//! meta         name                     -> number     format, first hour that raw may hold
//! ```

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageError, TableDefinition, WriteTransaction,
};

use crate::{HistoryError, Tier};

pub(crate) type RawKey = (u32, u32, u32);
pub(crate) type BlockKey = (u32, u32);
pub(crate) const RAW: TableDefinition<'_, RawKey, &[u8]> = TableDefinition::new("raw");
pub(crate) const SERIES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("series");
pub(crate) const SEEN: TableDefinition<'_, u32, u32> = TableDefinition::new("seen");
pub(crate) const TALLY: TableDefinition<'_, (u8, u32), (u64, u64, u64)> =
    TableDefinition::new("tally");
pub(crate) const PROGRESS: TableDefinition<'_, u8, (u32, u32)> = TableDefinition::new("progress");
pub(crate) const DIRTY: TableDefinition<'_, (u8, u32, u32), ()> = TableDefinition::new("dirty");
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`].
pub(crate) const META_FORMAT: &str = "format";
/// In [`META`]: hours below have been given up by retention.
pub(crate) const META_RAW_FLOOR: &str = "raw_floor";
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The table of a tier.
pub(crate) const fn tier_table(tier: Tier) -> TableDefinition<'static, BlockKey, &'static [u8]> {
    TableDefinition::new(match tier {
        Tier::TenSeconds => "tier_10s",
        Tier::Minute => "tier_1m",
        Tier::FiveMinutes => "tier_5m",
        Tier::Hour => "tier_1h",
    })
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
    path: PathBuf,
}

/// How opening failed.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The content is damaged: a new file can be begun beside it.
    Damaged(String),
    /// Anything else: the file is left alone.
    Other(HistoryError),
}

impl Store {
    /// Opens or creates the file and all its tables.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let opened = quietly(|| Builder::new().set_cache_size(cache_bytes).create(path));
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(error)) if is_damage(&error) => {
                return Err(OpenError::Damaged(error.to_string()));
            }
            Ok(Err(error)) => return Err(OpenError::Other(HistoryError::blocks("open", error))),
            Err(what) => return Err(OpenError::Damaged(what)),
        };
        let store = Self {
            database,
            path: path.to_path_buf(),
        };
        match store.write("create the tables", |txn| store.prepare(txn)) {
            Ok(Ok(())) => Ok(store),
            Ok(Err(error)) => Err(OpenError::Other(error)),
            Err(HistoryError::Structure { what, .. }) => Err(OpenError::Damaged(what)),
            Err(HistoryError::Blocks { source, .. }) if is_damaged_content(&source) => {
                Err(OpenError::Damaged(source.to_string()))
            }
            Err(error) => Err(OpenError::Other(error)),
        }
    }

    fn prepare(&self, txn: &WriteTransaction) -> Result<Result<(), HistoryError>, redb::Error> {
        let mut meta = txn.open_table(META)?;
        let found = meta.get(META_FORMAT)?.map(|guard| guard.value());
        match found {
            None => drop(meta.insert(META_FORMAT, u64::from(FORMAT_VERSION))?),
            Some(found) if found == u64::from(FORMAT_VERSION) => {}
            Some(found) => {
                return Ok(Err(HistoryError::Version {
                    file: self.path.clone(),
                    found: u32::try_from(found).unwrap_or(u32::MAX),
                    supported: FORMAT_VERSION,
                }));
            }
        }
        txn.open_table(RAW)?;
        txn.open_table(SERIES)?;
        txn.open_table(SEEN)?;
        txn.open_table(TALLY)?;
        txn.open_table(PROGRESS)?;
        txn.open_table(DIRTY)?;
        for tier in Tier::ALL {
            txn.open_table(tier_table(tier))?;
        }
        Ok(Ok(()))
    }

    /// Runs `work` in one durable transaction: all of it is kept, or none.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        guarded(action, || {
            let mut txn = self.database.begin_write()?;
            // With it a crash costs the next start milliseconds; without, a walk over the file.
            txn.set_quick_repair(true);
            let value = work(&txn)?;
            txn.commit()?;
            Ok(value)
        })
    }

    /// Runs `work` on a snapshot. Never waits for a writer, nor makes one wait.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        guarded(action, || work(&self.database.begin_read()?))
    }

    /// Size of the file on disk; 0 if it cannot be told.
    pub(crate) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }
}

/// Runs store code on content that may be damaged. The store checks its structure by assertions
/// here and there: a panic in it is an error of this call and nothing more.
pub(crate) fn guarded<T>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T, HistoryError> {
    match quietly(work) {
        Ok(outcome) => outcome.map_err(|error| HistoryError::blocks(action, error)),
        Err(what) => Err(HistoryError::Structure { action, what }),
    }
}

fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Nothing of ours is shared with `work` across a panic but buffers that are cleared first.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}

fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) | DatabaseError::RepairAborted => true,
        DatabaseError::Storage(StorageError::Io(error)) => is_damaged_io(error),
        _ => false,
    }
}

fn is_damaged_content(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => true,
        redb::Error::Io(error) => is_damaged_io(error),
        _ => false,
    }
}

/// What a wrong file yields, as against a disk that is full or a folder that may not be written.
fn is_damaged_io(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}
