//! The folder of the durable data: made when missing, checked, and held by one process.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Why the folder cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not there and cannot be made.
    #[error("DATA_DIR={}: the folder cannot be made: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    /// It cannot be written to.
    #[error("DATA_DIR={}: the folder cannot be written to: {source}; choose another or use DATA_DIR=memory", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Another process holds it.
    #[error("DATA_DIR={}: the folder is in use by another process; give each its own", path.display())]
    InUse { path: PathBuf },
}

/// The folder while it is ours; another process is refused until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Locked by the operating system, which lets go of it even after `kill -9`.
    _lock: File,
}

impl DataDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the folder where needed, and takes it.
///
/// # Errors
/// It cannot be made or written to, or another process has it.
pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
    let path = path.to_path_buf();
    if let Err(source) = make(&path) {
        return Err(DataDirError::Create { path, source });
    }
    let lock = match File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))
    {
        Ok(lock) => lock,
        Err(source) => return Err(DataDirError::Write { path, source }),
    };
    match lock.try_lock() {
        Ok(()) => Ok(DataDir { path, _lock: lock }),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(DataDirError::Write { path, source }),
    }
}

/// The file that is locked while a process holds the folder.
const LOCK: &str = "lock";
/// Where the holder says at which address it serves.
const ADDRESS: &str = "address";

/// Whether a process holds the folder.
///
/// # Errors
/// It is not there, or may not be looked at.
pub fn is_held(path: &Path) -> io::Result<bool> {
    match File::options().write(true).open(path.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::metadata(path).map(|_there| false)
        }
        lock => match lock?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
    }
}

/// Says in the folder where its holder serves, for commands that are run beside it.
///
/// # Errors
/// The disk refuses.
pub fn say_address(path: &Path, address: SocketAddr) -> io::Result<()> {
    replace_file(&path.join(ADDRESS), address.to_string().as_bytes())
}

/// Where the folder's holder serves, where it says so.
#[must_use]
pub fn said_address(path: &Path) -> Option<SocketAddr> {
    fs::read_to_string(path.join(ADDRESS))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Makes a folder and those above it that are missing, so that they are there after a power cut:
/// a file that is synced is of no use in a folder whose own name was lost.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return fs::create_dir_all(path),
    };
    make(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
            return Err(error);
        }
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Replaces a small file as a whole: after a crash it is the old one or the new one.
///
/// # Errors
/// The disk refuses; the old file is still there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    // What is kept is nobody else's business: digests of tokens are among it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The rename itself is safe once the folder is.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_held_by_one() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("a/b");
        let held = open(&path).expect("the folder is made");
        assert!(matches!(open(&path), Err(DataDirError::InUse { .. })));
        drop(held);
        assert!(open(&path).is_ok(), "it can be had again");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_is_whole_and_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("tokens.json");
        for text in ["long first text", "short"] {
            replace_file(&path, text.as_bytes()).expect("replaced");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some(text));
        }
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_in_its_place_is_said() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("file");
        fs::write(&path, "x").expect("a file");
        let said = open(&path).expect_err("a file is no folder").to_string();
        assert!(
            said.starts_with("DATA_DIR=") && said.contains("cannot be made"),
            "{said}"
        );
    }
}
