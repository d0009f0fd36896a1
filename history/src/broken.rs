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

/// Set when the store has met damage in its structure that it cannot bear. It is left alone from
/// then on, for its own locks may be poisoned; a file beside it tells the next start to check
/// the whole structure before it trusts it again.
#[derive(Debug)]
pub(crate) struct Broken {
    what: OnceLock<String>,
    mark: PathBuf,
}

impl Broken {
    pub(crate) fn beside(file: &Path) -> Self {
        Self {
            what: OnceLock::new(),
            mark: file.with_file_name("blocks.redb.suspect"),
        }
    }

    /// Whether the last run has asked for a check.
    pub(crate) fn is_marked(&self) -> bool {
        self.mark.exists()
    }

    /// The file has passed the check, or is no longer the one that was meant.
    pub(crate) fn unmark(&self) {
        // A mark that stays costs the next start another check.
        drop(std::fs::remove_file(&self.mark));
    }

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
