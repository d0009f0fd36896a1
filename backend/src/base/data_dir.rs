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
    /// What was not there before: the file that is locked, the folder, and those above it.
    made: Vec<PathBuf>,
    /// Locked by the operating system, which lets go of it even after `kill -9`.
    _lock: File,
}

impl DataDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes back what [`open`] made, but for folders in which something lies by now.
    pub fn give_up(self) {
        for made in &self.made {
            // Whatever cannot be removed is of use to somebody.
            match made.is_dir() {
                true => fs::remove_dir(made).ok(),
                false => fs::remove_file(made).ok(),
            };
        }
    }
}

/// Makes the folder where needed, and takes it.
///
/// # Errors
/// It cannot be made or written to, or another process has it.
pub fn open(path: &Path) -> Result<DataDir, DataDirError> {
    let path = path.to_path_buf();
    let lock = path.join(LOCK);
    let made = lock
        .ancestors()
        .filter(|above| !above.as_os_str().is_empty());
    let made = made.take_while(|above| !above.exists());
    let made: Vec<PathBuf> = made.map(Path::to_path_buf).collect();
    if let Err(source) = make(&path) {
        return Err(DataDirError::Create { path, source });
    }
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lock = match options.open(lock) {
        Ok(lock) => lock,
        Err(source) => return Err(DataDirError::Write { path, source }),
    };
    match lock.try_lock() {
        Ok(()) => {
            close_to_others(&path);
            Ok(DataDir {
                path,
                made,
                _lock: lock,
            })
        }
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(DataDirError::Write { path, source }),
    }
}

/// The file that is locked while a process holds the folder.
const LOCK: &str = "lock";
/// What we make in the folder.
const OURS: &[&str] = &[
    HISTORY,
    JOURNAL,
    "tokens.json",
    "operator.json",
    DOCUMENTS,
    "admin-link.json",
    "remote_write",
    "archive",
    INCIDENTS,
    NOTIFYING,
    OUTBOX,
    SNAPSHOTS,
    LOCK,
    ADDRESS,
    CERTIFICATE,
];
/// What a copy of the folder has: all that a server is known by. What waits to be sent on is not
/// among it, since it would be sent twice; notifications likewise.
pub const COPIED: &[&str] = &[
    HISTORY,
    JOURNAL,
    "tokens.json",
    "operator.json",
    DOCUMENTS,
    INCIDENTS,
    NOTIFYING,
];
/// The file of what became of incidents.
pub const INCIDENTS: &str = "incidents.jsonl";
/// The folder of what is known of alerts, silences and who was told.
pub const NOTIFYING: &str = "notifying";
/// The folder of notifications on their way.
pub const OUTBOX: &str = "outbox";
/// The folder of the series' history.
pub const HISTORY: &str = "history";
/// The folder of what the server itself remembers.
pub const JOURNAL: &str = "journal";
/// The folder of copies.
pub const SNAPSHOTS: &str = "snapshots";
/// The folder of documents.
pub(super) const DOCUMENTS: &str = "documents";
/// Where the holder says at which address it serves.
const ADDRESS: &str = "address";
/// What stands before it where TLS is spoken there.
const TLS_MARK: &str = "https://";
/// Where the holder says which certificate it shows.
const CERTIFICATE: &str = "certificate.der";

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

/// Where the folder's holder serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The address that it listens at.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
}

impl Served {
    /// The scheme by which it is asked.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Says in the folder where its holder serves, for commands that are run beside it.
///
/// # Errors
/// The disk refuses.
pub fn say_address(path: &Path, served: &Served) -> io::Result<()> {
    let said = match served.tls {
        true => format!("{TLS_MARK}{}", served.address),
        false => served.address.to_string(),
    };
    replace_file(&path.join(ADDRESS), said.as_bytes())
}

/// Where the folder's holder serves, where it says so.
#[must_use]
pub fn said_address(path: &Path) -> Option<Served> {
    let said = fs::read_to_string(path.join(ADDRESS)).ok()?;
    let said = said.trim();
    let bare = said.strip_prefix(TLS_MARK);
    Some(Served {
        address: bare.unwrap_or(said).parse().ok()?,
        tls: bare.is_some(),
    })
}

/// Says in the folder which certificate its holder shows, so that commands that are run beside it
/// know it whatever names it has.
///
/// # Errors
/// The disk refuses.
pub fn say_certificate(path: &Path, certificate: &[u8]) -> io::Result<()> {
    replace_file(&path.join(CERTIFICATE), certificate)
}

/// The certificate that the folder's holder shows (DER), where it says so.
#[must_use]
pub fn said_certificate(path: &Path) -> Option<Vec<u8>> {
    fs::read(path.join(CERTIFICATE)).ok()
}

/// Makes a folder and those above it that are missing, so that they are there after a power cut:
/// a file that is synced is of no use in a folder whose own name was lost.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return fs::DirBuilder::new().recursive(true).create(path),
    };
    make(parent)?;
    let mut folder = fs::DirBuilder::new();
    // What is kept is nobody else's business: samples of all tenants and digests of tokens.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    match folder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
            return Err(error);
        }
        _ => {}
    }
    File::open(parent)?.sync_all()
}

/// Takes from others what a version before this one left open to them. Only what is ours in the
/// folder: it may be one that has other things in it.
#[cfg(unix)]
fn close_to_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fn close(path: &Path) {
        // A link may lead anywhere.
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        if metadata.is_symlink() {
            return;
        }
        let mode = if metadata.is_dir() { 0o700 } else { 0o600 };
        if metadata.permissions().mode() & 0o077 != 0
            && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(mode))
        {
            tracing::warn!(%error, "{} may be read by others, and that cannot be changed", path.display());
        }
        if metadata.is_dir()
            && let Ok(entries) = fs::read_dir(path)
        {
            for entry in entries.flatten() {
                close(&entry.path());
            }
        }
    }
    for ours in OURS {
        close(&path.join(ours));
    }
}

#[cfg(not(unix))]
fn close_to_others(_: &Path) {}

/// Replaces a small file as a whole: after a crash it is the old one or the new one.
///
/// # Errors
/// The disk refuses; the old file is still there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = write_beside(path, bytes)?;
    fs::rename(&new, path)?;
    sync_folder_of(path)
}

/// Removes a file, for good when this returns.
///
/// # Errors
/// The disk refuses.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder_of(path)
}

/// A rename or a removal is safe once the folder is.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes what is to replace a file, synced, and says where it lies.
pub(super) fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let new = path.with_extension("new");
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    // What is kept is nobody else's business: digests of tokens are among it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_others_could_read_is_closed_to_them() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| {
            let metadata = fs::metadata(path).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("made");
        drop(open(&path).expect("made"));
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(LOCK)), 0o600);

        // As a version before left it, beside what is none of ours.
        let open_to_all = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
        };
        let wal = path.join("history/wal");
        fs::create_dir_all(&wal).expect("made");
        for file in [wal.join("1.log"), path.join("theirs.txt")] {
            fs::write(&file, "x").expect("written");
            open_to_all(&file, 0o644);
        }
        std::os::unix::fs::symlink("/dev/null", wal.join("link")).expect("linked");
        open_to_all(&path, 0o755);
        let null = mode(Path::new("/dev/null"));
        drop(open(&path).expect("opened"));
        assert_eq!(mode(&wal), 0o700);
        assert_eq!(mode(&wal.join("1.log")), 0o600);
        assert_eq!(mode(&path), 0o755, "made by somebody else");
        assert_eq!(mode(&path.join("theirs.txt")), 0o644);
        assert_eq!(mode(Path::new("/dev/null")), null);
    }

    #[test]
    fn a_folder_is_made_and_held_by_one() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let path = temporary.path().join("a/b");
        let held = open(&path).expect("the folder is made");
        assert!(matches!(open(&path), Err(DataDirError::InUse { .. })));
        drop(held);
        assert!(open(&path).is_ok(), "it can be had again");
    }

    #[test]
    fn what_opening_made_is_taken_back() {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let above = temporary.path().join("a");
        open(&above.join("b")).expect("made").give_up();
        assert!(!above.exists());
        fs::create_dir_all(above.join("b")).expect("made");
        open(&above.join("b")).expect("opened").give_up();
        let left = fs::read_dir(above.join("b")).expect("it was there").count();
        assert_eq!(left, 0);
        let held = open(&above.join("c")).expect("made");
        fs::write(above.join("c/theirs"), "x").expect("written");
        held.give_up();
        assert!(above.join("c/theirs").exists());
        // What was there before is nobody's to remove.
        drop(open(&above.join("c")).expect("opened"));
        open(&above.join("c")).expect("opened").give_up();
        assert!(above.join("c").join(LOCK).exists());
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
