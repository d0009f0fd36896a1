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
    sync::{Arc, OnceLock},
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
    /// Taken when dropped.
    database: Option<Database>,
    path: PathBuf,
    broken: Arc<Broken>,
}

/// Set when the store has met damage in its structure that it cannot bear. It is left alone from
/// then on, for its own locks may be poisoned; a file beside it tells the next start to check
/// the whole structure before it trusts it again.
#[derive(Debug)]
pub(crate) struct Broken {
    what: OnceLock<String>,
    mark: PathBuf,
}

impl Broken {
    /// What happened; `None` while all is well.
    pub(crate) fn what(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
    }

    fn note(&self, what: &str) {
        if self.what.set(what.to_owned()).is_ok() {
            // Without the mark the next start meets the same damage, and says so again.
            drop(std::fs::write(&self.mark, what));
        }
    }

    /// Runs store code on content that may be damaged. The store checks its structure by
    /// assertions here and there: a panic in it is an error of this call and of later ones.
    pub(crate) fn guarded<T>(
        &self,
        action: &'static str,
        work: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        if let Some(what) = self.what() {
            return Err(HistoryError::Structure {
                action,
                what: what.to_owned(),
            });
        }
        match quietly(work) {
            Ok(Err(error)) if is_damaged_content(&error) => {
                let what = error.to_string();
                self.note(&what);
                Err(HistoryError::Structure { action, what })
            }
            Ok(outcome) => outcome.map_err(|error| HistoryError::blocks(action, error)),
            Err(what) => {
                self.note(&what);
                Err(HistoryError::Structure { action, what })
            }
        }
    }
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
        let mark = path.with_file_name("blocks.redb.suspect");
        let suspect = mark.exists();
        let opened = quietly(|| {
            let mut database = Builder::new().set_cache_size(cache_bytes).create(path)?;
            if suspect {
                database.check_integrity()?;
            }
            Ok(database)
        });
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(error)) if is_damage(&error) => {
                return Err(OpenError::Damaged(error.to_string()));
            }
            Ok(Err(error)) => return Err(OpenError::Other(HistoryError::blocks("open", error))),
            Err(what) => return Err(OpenError::Damaged(what)),
        };
        let broken = Arc::new(Broken {
            what: OnceLock::new(),
            mark,
        });
        let store = Self {
            database: Some(database),
            path: path.to_path_buf(),
            broken,
        };
        match store.write("create the tables", |txn| store.prepare(txn)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(OpenError::Other(error)),
            Err(HistoryError::Structure { what, .. }) => return Err(OpenError::Damaged(what)),
            Err(error) => return Err(OpenError::Other(error)),
        }
        if suspect {
            // It has passed the check. A mark that stays costs the next start another one.
            drop(std::fs::remove_file(&store.broken.mark));
        }
        Ok(store)
    }

    /// Shared with snapshots, whose reads meet damage as well.
    pub(crate) fn broken(&self) -> Arc<Broken> {
        Arc::clone(&self.broken)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
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
        self.broken.guarded(action, || {
            let mut txn = self.database()?.begin_write()?;
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
        self.broken
            .guarded(action, || work(&self.database()?.begin_read()?))
    }

    /// Size of the file on disk; 0 if it cannot be told.
    pub(crate) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.database.take();
        if self.broken.what().is_some() {
            // Its own drop would go on with what is broken. The descriptor is given up instead.
            std::mem::forget(database);
        } else {
            // What a panic here would say, the next start finds out by itself.
            drop(quietly(|| drop(database)));
        }
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
