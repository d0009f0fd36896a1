//! A copy of everything that is kept, made while the server goes on: `DATA_DIR/snapshots/NAME`, a
//! data folder of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pulseboard_shared::Timestamp;

use super::Storage;
use crate::base::data_dir::{COPIED, HISTORY, INGEST_LOG, JOURNAL, SNAPSHOTS};

/// Copies that lie there at once. They are for whoever asked for them to take away.
const SNAPSHOTS_MAX: usize = 10;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing on disk.
    #[error("nothing is kept on disk here, so there is nothing to be copied")]
    Memory,
    /// One is made now.
    #[error("another copy is being made")]
    Busy,
    /// There are as many as there may be.
    #[error("there are {SNAPSHOTS_MAX} copies in {} already; remove what is not needed", .0.display())]
    TooMany(PathBuf),
    /// The disk, or what is on it.
    #[error("the copy cannot be made: {0}")]
    Failed(String),
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Storage {
    /// Copies all that was acknowledged before this call, and perhaps some of what comes during it.
    /// Blocks. Returned is the copy's name in `folder/snapshots`.
    ///
    /// # Errors
    /// See [`SnapshotError`]; nothing is left of the copy then.
    pub fn snapshot(&self, folder: &Path, now_ms: i64) -> Result<String, SnapshotError> {
        let Some(_copying) = self.copying.try_lock() else {
            return Err(SnapshotError::Busy);
        };
        let all = folder.join(SNAPSHOTS);
        let mut found = 0;
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            // Nobody else makes one now: this is what a run that was killed left.
            if entry.path().extension().is_some_and(|end| end == "new") {
                fs::remove_dir_all(entry.path())?;
            } else {
                found += 1;
            }
        }
        if found >= SNAPSHOTS_MAX {
            return Err(SnapshotError::TooMany(all));
        }
        let time = Timestamp::from_millis(now_ms).to_string();
        let digits: String = time.chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("{digits}-{:08x}", fastrand::u32(..));
        let (begun, place) = (all.join(format!("{name}.new")), all.join(&name));
        fs::create_dir_all(&begun)?;
        match self.copy_to(folder, &begun) {
            Ok(()) => {
                fs::rename(&begun, &place)?;
                Ok(name)
            }
            Err(error) => {
                if let Err(error) = fs::remove_dir_all(&begun) {
                    tracing::warn!(%error, "half a copy cannot be removed");
                }
                Err(error)
            }
        }
    }

    fn copy_to(&self, folder: &Path, begun: &Path) -> Result<(), SnapshotError> {
        let (Some(history), Some(journal)) = (self.engine.history(), &self.journal) else {
            return Err(SnapshotError::Memory);
        };
        copy_documents(&folder.join(INGEST_LOG), &begun.join(INGEST_LOG))?;
        // An item is counted in the journal before its series; so the other way round none is
        // counted here that is not counted there.
        history
            .copy_to(&begun.join(HISTORY), &|| true)
            .map_err(|error| SnapshotError::Failed(error.to_string()))?;
        journal
            .copy_to(&begun.join(JOURNAL))
            .map_err(|error| SnapshotError::Failed(error.to_string()))?;
        for name in COPIED
            .iter()
            .filter(|name| ![INGEST_LOG, HISTORY, JOURNAL].contains(name))
        {
            copy_documents(&folder.join(name), &begun.join(name))?;
        }
        Ok(())
    }
}

/// Copies a document, or a folder of them; each is replaced as a whole, so each is one state of it.
fn copy_documents(from: &Path, to: &Path) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if !from.is_dir() {
        return match fs::copy(from, to) {
            Err(error) if gone(&error) => Ok(()),
            copied => copied.map(drop),
        };
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            match fs::copy(entry.path(), to.join(entry.file_name())) {
                Err(error) if gone(&error) => {}
                copied => drop(copied?),
            }
        }
    }
    Ok(())
}
