//! What is done when the store meets damage that it cannot bear: errors instead of panics, and a
//! check at the next start.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use redb::{DatabaseError, StorageError};

use crate::HistoryError;

/// After so many runs in a row that did not end cleanly the whole structure is checked. Lower:
/// each crash of the process costs the next start a walk over the file (half a second a gigabyte,
/// and the time to read it).
/// Higher: damage that ends the process, which a bad byte in a rare place can bring the store to,
/// does so more often before it is found.
const UNCLEAN_ENDS_MAX: u32 = 2;

/// Set when the store has met damage in its structure that it cannot bear. It is left alone from
/// then on, for its own locks may be poisoned.
///
/// A file beside the blocks' file, there while it is open, tells the next start: how many runs
/// have not ended cleanly, or what was found damaged.
#[derive(Debug)]
pub(crate) struct Corruption {
    what: OnceLock<String>,
    mark: PathBuf,
}

impl Corruption {
    pub(crate) fn beside(file: &Path) -> Self {
        let mark = file.with_file_name("blocks.redb.open");
        Self {
            what: OnceLock::new(),
            mark,
        }
    }

    /// Leaves the mark of a run, and answers whether the file is to be checked first.
    pub(crate) fn mark(&self) -> bool {
        let unclean_ends = match std::fs::read_to_string(&self.mark) {
            // Empty: the run ended while it wrote this.
            Ok(text) if text.is_empty() => 1,
            Ok(text) => text.parse().unwrap_or(u32::MAX),
            Err(_) => 0,
        };
        self.put(&unclean_ends.saturating_add(1).to_string());
        unclean_ends >= UNCLEAN_ENDS_MAX
    }

    /// The file has passed the check: this run is as good as the first.
    pub(crate) fn passed(&self) {
        self.put("1");
    }

    /// The run ends cleanly, or the file is no longer the one that was meant.
    pub(crate) fn unmark(&self) {
        // A mark that stays costs some later start a check.
        drop(std::fs::remove_file(&self.mark));
    }

    fn put(&self, text: &str) {
        // Where nothing can be written the mark is lost, and with it a check, nothing else.
        drop(std::fs::write(&self.mark, text));
    }

    /// What happened; `None` while all is well.
    pub(crate) fn what(&self) -> Option<&str> {
        self.what.get().map(String::as_str)
    }

    fn note(&self, what: &str) {
        if self.what.set(what.to_owned()).is_ok() {
            self.put(&format!("damaged: {what}"));
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

/// A panic's words as an error.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Nothing of ours is shared with `work` across a panic but buffers that are cleared first.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("a panic without words").to_owned()
    })
}

pub(crate) fn is_damage(error: &DatabaseError) -> bool {
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
