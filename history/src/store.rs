//! The open blocks' file: transactions whose failures are errors and never panics, and which
//! comes back by itself after a disk has failed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError, TableError,
    WriteTransaction,
};

use crate::{
    HistoryError, Tier,
    corruption::{Corruption, is_damage, quietly},
    log::sync_parent,
    private,
    tables::{
        ALL_ANEW, DIRTY, FORMAT_VERSION, META, META_ANEW, META_FORMAT, PROGRESS, RAW, SEEN, SERIES,
        TALLY, tier_table,
    },
};

/// Pause between attempts to open the file again.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// The blocks' file. The store beneath refuses everything once a call to the disk has failed, so
/// that it cannot build on what was not written; it is closed then and opened again, which
/// brings back its last commit.
pub(crate) struct Store {
    slot: RwLock<Slot>,
    opener: Opener,
    path: PathBuf,
    broken: Arc<Corruption>,
}

struct Slot {
    /// `None` after a failure, until it could be opened again.
    database: Option<Arc<Database>>,
    retry_at: Instant,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
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
        let file = path.to_path_buf();
        let opener = move || {
            // An empty file is as good as none to it, and this one nobody else may read.
            let made = private::options().create(true).append(true).open(&file);
            drop(made.map_err(|error| DatabaseError::Storage(StorageError::Io(error)))?);
            Builder::new().set_cache_size(cache_bytes).create(&file)
        };
        Self::open_by(path, Box::new(opener))
    }

    fn open_by(path: &Path, opener: Opener) -> Result<Self, OpenError> {
        let broken = Arc::new(Corruption::beside(path));
        let suspect = broken.mark();
        let opened = quietly(|| {
            let mut database = opener()?;
            if suspect {
                database.check_integrity()?;
            }
            Ok(database)
        });
        let database = match opened {
            Ok(Ok(database)) => Some(Arc::new(database)),
            Ok(Err(error)) if is_damage(&error) => {
                return Err(OpenError::Damaged(error.to_string()));
            }
            Ok(Err(error)) => return Err(OpenError::Other(HistoryError::blocks("open", error))),
            Err(what) => return Err(OpenError::Damaged(what)),
        };
        let slot = RwLock::new(Slot {
            database,
            retry_at: Instant::now(),
        });
        let store = Self {
            slot,
            opener,
            path: path.to_path_buf(),
            broken,
        };
        store.check_format().map_err(|error| match error {
            HistoryError::Structure { what, .. } => OpenError::Damaged(what),
            error => OpenError::Other(error),
        })?;
        if suspect {
            store.broken.passed();
        }
        Ok(store)
    }

    fn check_format(&self) -> Result<(), HistoryError> {
        let found = self.read("read the format", |txn| match txn.open_table(META) {
            Ok(meta) => {
                Ok(redb::ReadableTable::get(&meta, META_FORMAT)?.map(|guard| guard.value()))
            }
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        match found {
            Some(found) if found == u64::from(FORMAT_VERSION) => Ok(()),
            Some(found) => Err(HistoryError::Version {
                file: self.path.clone(),
                found: u32::try_from(found).unwrap_or(u32::MAX),
                supported: FORMAT_VERSION,
            }),
            None => self.write("create the tables", create_tables),
        }
    }

    /// Runs `work` in one durable transaction: all of it is kept, or none.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        self.run(action, |database| {
            let mut txn = database.begin_write()?;
            // With it a crash costs the next start milliseconds; without, a walk over the file.
            txn.set_quick_repair(true);
            match quietly(|| work(&txn)) {
                Ok(outcome) => {
                    let value = outcome?;
                    txn.commit()?;
                    Ok(value)
                }
                Err(what) => {
                    // To end it would go on with what is broken, and a second panic ends us.
                    std::mem::forget(txn);
                    Err(redb::Error::Corrupted(what))
                }
            }
        })
    }

    /// Runs `work` on a snapshot. Never waits for a writer, nor makes one wait.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        self.read_held(action, |_, txn| work(txn))
    }

    /// As [`Store::read`], for what goes on reading afterwards: it holds the file, which another
    /// may have taken the place of, and redb closes it for all readers when nobody does.
    pub(crate) fn read_held<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Arc<Database>, &ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        self.run(action, |database| work(database, &database.begin_read()?))
    }

    fn run<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Arc<Database>) -> Result<T, redb::Error>,
    ) -> Result<T, HistoryError> {
        self.broken.guarded(action, || {
            let database = self.database()?;
            let outcome = work(&database);
            if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &outcome {
                let mut slot = self.slot.write();
                if slot
                    .database
                    .as_ref()
                    .is_some_and(|open| Arc::ptr_eq(open, &database))
                {
                    slot.database = None;
                }
            }
            outcome
        })
    }

    /// The open file; opens it again if it had been given up.
    fn database(&self) -> Result<Arc<Database>, redb::Error> {
        if let Some(database) = &self.slot.read().database {
            return Ok(Arc::clone(database));
        }
        let mut slot = self.slot.write();
        if let Some(database) = &slot.database {
            return Ok(Arc::clone(database));
        }
        if Instant::now() < slot.retry_at {
            return Err(redb::Error::PreviousIo);
        }
        match (self.opener)() {
            Ok(database) => Ok(Arc::clone(slot.database.insert(Arc::new(database)))),
            Err(error) => {
                // Snapshots of before may still hold the file, or the disk is still failing.
                slot.retry_at = Instant::now() + REOPEN_AFTER;
                Err(error.into())
            }
        }
    }

    /// Puts a file that holds the same in the place of this one, which goes when nobody reads it
    /// any more. To be called while nobody writes; `replacement` is closed and on the same file
    /// system.
    ///
    /// # Errors
    /// The file's name: all is as it was then. Or the folder: the replacement is there and used,
    /// but after a power cut the old one may be.
    pub(crate) fn replace(&self, replacement: &Path) -> std::io::Result<()> {
        let mut slot = self.slot.write();
        std::fs::rename(replacement, &self.path)?;
        // Where it cannot be opened now, it is by whoever needs it next.
        let opened = quietly(&self.opener).ok().and_then(Result::ok);
        let before = std::mem::replace(&mut slot.database, opened.map(Arc::new));
        let named = sync_parent(&self.path);
        drop(slot);
        drop(quietly(|| drop(before)));
        named
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Shared with snapshots, whose reads meet damage as well.
    pub(crate) fn corruption(&self) -> Arc<Corruption> {
        Arc::clone(&self.broken)
    }

    /// Size of the file on disk; 0 if it cannot be told.
    pub(crate) fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let database = self.slot.get_mut().database.take();
        if self.broken.what().is_some() {
            // Its own drop would go on with what is broken. The descriptor is given up instead.
            std::mem::forget(database);
        } else {
            // What a panic here would say, the next start finds out by itself.
            drop(quietly(|| drop(database)));
            self.broken.unmark();
        }
    }
}

fn create_tables(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let mut meta = txn.open_table(META)?;
    meta.insert(META_FORMAT, u64::from(FORMAT_VERSION))?;
    meta.insert(META_ANEW, ALL_ANEW)?;
    txn.open_table(RAW)?;
    txn.open_table(SERIES)?;
    txn.open_table(SEEN)?;
    txn.open_table(TALLY)?;
    txn.open_table(PROGRESS)?;
    txn.open_table(DIRTY)?;
    for tier in Tier::ALL {
        txn.open_table(tier_table(tier))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
