//! Giving space back: what is deleted leaves free pages in the blocks' file, which by itself
//! becomes smaller only where they are at its end.
//!
//! redb compacts a file in place, with nobody reading it, for as long as that takes. So instead
//! what there is is written into a new file, which then takes the old one's name: readers go on
//! meanwhile, samples wait in the log and in memory to be sealed, it can be given up at any time,
//! and whenever the process ends one of the two files is there as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    History, HistoryError,
    compacted::Compacted,
    copy::{CACHE_BYTES, copy_all},
    store::{OpenError, Store},
};

/// The folder of the file that is being written, beside the blocks' file.
const FOLDER: &str = "blocks.new";

/// For so long sealing waits at most; what is not done by then is given up.
const LASTS_MAX: Duration = Duration::from_secs(20);

/// Larger files are left alone: they would not be done in time. Their free pages are used again.
const BYTES_MAX: u64 = 4 << 30;

/// Between two attempts, also where one failed.
const APART: Duration = Duration::from_secs(3_600);

/// What a definition takes about.
const SERIES_BYTES: u64 = 256;

/// Of the disk this is to be free beside what is written.
const LEFT_FREE: u64 = 256 << 20;

impl History {
    /// Writes the blocks' file anew where it is more than twice as large as what it holds, and
    /// returns by how many bytes it is smaller: `None` where nothing was to be done, or `goes_on`
    /// said that it is to end. To be called where there is nothing else to do, see
    /// [`History::maintain`]. Blocks for 20 seconds at most; readers go on, sealing waits.
    ///
    /// # Errors
    /// The disk. The next attempt is an hour later; the file is as it was, or, where only its
    /// folder could not be made safe, the new one.
    pub fn compact(&self, goes_on: &dyn Fn() -> bool) -> Result<Option<u64>, HistoryError> {
        let began = Instant::now();
        let (file_bytes, held_bytes) = self.sizes();
        if file_bytes <= self.options.spare_bytes.saturating_add(2 * held_bytes) {
            return Ok(None);
        }
        // From here on nothing changes the file.
        let mut workshop = self.writing.lock();
        if let Some(last) = workshop.compacted {
            let is_new = file_bytes / 2 > last.file_bytes || held_bytes < last.held_bytes / 2;
            if last.at.elapsed() < APART || last.file_bytes > 0 && !is_new {
                return Ok(None);
            }
        }
        workshop.compacted = Some(Compacted {
            at: began,
            file_bytes: 0,
            held_bytes,
        });
        if held_bytes > BYTES_MAX || !has_room(self.store.path(), held_bytes) {
            return Ok(None);
        }
        let in_time = || began.elapsed() < LASTS_MAX && goes_on();
        let folder = self.store.path().with_file_name(FOLDER);
        let replaced = self.write_anew(&folder, &in_time);
        let removed = remove(&folder);
        if !replaced? {
            // What does not come to its end in time is not begun again until there is less of it.
            if began.elapsed() >= LASTS_MAX {
                workshop.compacted = Some(Compacted {
                    at: began,
                    file_bytes,
                    held_bytes,
                });
            }
            return Ok(None);
        }
        removed?;
        let after = self.store.file_bytes();
        workshop.compacted = Some(Compacted {
            at: began,
            file_bytes: after,
            held_bytes,
        });
        Ok(Some(file_bytes.saturating_sub(after)))
    }

    /// Bytes of the file, and about what it holds.
    fn sizes(&self) -> (u64, u64) {
        let state = self.state.lock();
        let (blocks, series) = (state.bytes(), state.seen.len() as u64);
        drop(state);
        // A page is two thirds full on the average.
        let held = (blocks + series * SERIES_BYTES) / 2 * 3;
        (self.store.file_bytes(), held)
    }

    /// Whether it was written as a whole and is in the old one's place.
    fn write_anew(&self, folder: &Path, goes_on: &dyn Fn() -> bool) -> Result<bool, HistoryError> {
        remove(folder)?;
        crate::private::make_folder(folder).map_err(|source| failed(folder, source))?;
        let file = folder.join("blocks.redb");
        let into = Store::open(&file, CACHE_BYTES).map_err(|error| match error {
            OpenError::Other(error) => error,
            OpenError::Damaged(what) => HistoryError::Structure {
                action: "write all blocks anew",
                what,
            },
        })?;
        let is_whole = self
            .store
            .read("read all blocks", |txn| Ok(copy_all(txn, &into, goes_on)))??;
        drop(into);
        if is_whole {
            let replaced = self.store.replace(&file);
            replaced.map_err(|source| failed(&file, source))?;
        }
        Ok(is_whole)
    }
}

/// Removes what an attempt left that did not come to its end.
pub(crate) fn remove_unfinished(dir: &Path) -> Result<(), HistoryError> {
    remove(&dir.join(FOLDER))
}

fn remove(folder: &Path) -> Result<(), HistoryError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder, error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> HistoryError {
    HistoryError::Io {
        action: "write all blocks anew in",
        path: PathBuf::from(path),
        source,
    }
}

/// Whether the disk takes so much beside what there is, with much left; also where that cannot be
/// told.
fn has_room(path: &Path, bytes: u64) -> bool {
    #[cfg(unix)]
    if let Some(Ok(disk)) = path.parent().map(rustix::fs::statvfs) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        return free >= bytes.saturating_mul(2).saturating_add(LEFT_FREE);
    }
    let _ = (path, bytes, LEFT_FREE);
    true
}
