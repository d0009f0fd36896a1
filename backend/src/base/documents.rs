//! Small JSON documents that outlive a restart: tokens, the operator's state, and whatever else
//! somebody sets up at run time.
//!
//! ```text
//!   put(name, expected, &T) ─> <name>.new, synced ──rename──> <name>.json, folder synced ─> memory
//!   get(name)               <──────────────────────────────────────────────────────────── memory
//! ```
//!
//! A document is replaced as a whole: after a crash it is the old one or the new one. Each has a
//! revision, so that who changes what somebody else has changed meanwhile is told so. Everything
//! is held in memory, and bounded; readers never wait for the disk.
//!
//! Where several servers are one, documents of some kinds are all servers' ([`Documents::share`]):
//! who writes one asks [`Elsewhere`] first, which gives its revision, and what others wrote comes
//! in by [`Documents::take`]. Readers read the own copy as ever.
//!
//! Names are made of a few plain parts, `dashboards/shop/overview`. The two documents that are
//! older than this store lie where they always lay, beside it; the others are files of one folder,
//! with `+` for `/`. What cannot be read is set aside as `….damaged` and said, and the start goes
//! on without it; whoever cannot do without asks [`Documents::set_aside`].

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::data_dir::{self, DOCUMENTS};

/// Documents at once.
pub const COUNT_MAX: usize = 10_000;
/// Bytes of one as JSON text.
pub const BYTES_MAX: usize = 1 << 20;
/// Bytes of all of them.
pub const ALL_BYTES_MAX: usize = 64 << 20;
/// Characters of a name; a file's name has at most 255 bytes on the file systems in use.
const NAME_MAX: usize = 200;
/// Parts of a name.
const PARTS_MAX: usize = 4;
/// Of those that servers have alike and that were removed, the newest are remembered, so that none
/// comes back.
const REMOVED_MAX: usize = 1_000;
/// Documents that lie in the data folder itself, where versions before this store kept them: one
/// of those that is started again stops at the new form instead of forgetting what is in it.
const BESIDE: [&str; 2] = ["tokens", "operator"];
/// The file that says which revisions were given to documents that are gone.
const FLOOR: &str = "revision";
/// What begins like this is the same on all servers of a service.
const SHARED: [&str; 6] = [
    "rules/",
    "receivers/",
    "browsers/",
    "silences/",
    "windows/",
    "acks/",
];
/// And this is.
pub const PUSH_KEY: &str = "push-key";

/// Which state of a document: grows with each change, and is never given twice in one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What whoever writes a document believes is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// Nothing.
    New,
    /// This state.
    Revision(Revision),
}

/// Why a document was not written; the one that was there still is.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Somebody else has changed it, made it, or removed it.
    #[error("the document has changed meanwhile")]
    Conflict {
        /// What is there; `None` for nothing.
        current: Option<Revision>,
    },
    /// The name is not made of 1 to 4 parts of `a-z`, `0-9`, `.`, `_` and `-`.
    #[error("{0:?} cannot be the name of a document")]
    Name(String),
    /// It has more bytes than one may have.
    #[error("the document has {bytes} bytes, of at most {BYTES_MAX}")]
    TooLarge {
        /// As JSON text.
        bytes: usize,
    },
    /// There are as many as there may be, or all together are as large.
    #[error(
        "there are as many documents as there may be ({COUNT_MAX}, {ALL_BYTES_MAX} bytes in all)"
    )]
    Full,
    /// The other servers are to have it, too, and cannot be told.
    #[error("nothing can be changed while the other servers cannot be reached: {0}")]
    Away(String),
    /// It cannot be written as JSON.
    #[error("the document cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The disk refuses.
    #[error("the document could not be stored: {0}")]
    Io(#[from] io::Error),
}

/// Where documents are that all servers of a service have alike.
pub trait Elsewhere: Send + Sync {
    /// Writes a document there, or removes it (`None`), where what is there is what is expected;
    /// its revision. Blocks on the network, for less than a second.
    ///
    /// # Errors
    /// [`DocumentError::Conflict`], [`DocumentError::Full`] or [`DocumentError::Away`].
    fn put(
        &self,
        name: &str,
        expected: Expected,
        text: Option<&str>,
    ) -> Result<Revision, DocumentError>;
}

/// Whether all servers of a service have this document alike.
#[must_use]
pub fn is_shared(name: &str) -> bool {
    name == PUSH_KEY || SHARED.iter().any(|kind| name.starts_with(kind))
}

/// All documents of one data folder, or of memory.
pub struct Documents {
    /// The data folder; `None` keeps everything in memory. Held while files are written, so that
    /// the newest state is always the last one written; always taken before `book`.
    folder: Mutex<Option<PathBuf>>,
    /// Leaf lock.
    book: RwLock<Book>,
    /// Where there are other servers.
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

#[derive(Default)]
struct Book {
    held: BTreeMap<String, Held>,
    /// Bytes of all that is held.
    bytes: usize,
    /// Given last.
    revision: u64,
    /// Of those that servers have alike, which were removed, and with which revision.
    removed: BTreeMap<String, Revision>,
    /// What could not be read, and where it lies now, until it is written anew.
    aside: BTreeMap<String, PathBuf>,
}

/// One document as it lies on disk.
#[derive(Clone)]
struct Held {
    revision: Revision,
    text: Arc<str>,
    /// Written before documents had revisions: the text is the document and nothing else.
    is_bare: bool,
}

/// A file: a document and which state of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<T> {
    revision: u64,
    document: T,
}

impl Documents {
    /// Nothing, and nothing on disk ever.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            folder: Mutex::new(None),
            book: RwLock::default(),
            elsewhere: OnceLock::new(),
        }
    }

    /// What lies in a data folder. A file that is no document is set aside and said.
    ///
    /// # Errors
    /// The folder is there and cannot be read.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let mut book = Book::default();
        for name in BESIDE {
            book.read(data_dir, name);
        }
        let folder = data_dir.join(DOCUMENTS);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        for entry in entries.into_iter().flatten() {
            let file = entry?.file_name();
            let Some(file) = file.to_str() else { continue };
            if file.ends_with(".new") {
                // A run before this one ended while it wrote it.
                if let Err(error) = fs::remove_file(folder.join(file)) {
                    tracing::warn!(%error, "{file} is left over and cannot be removed");
                }
                continue;
            }
            let name = file
                .strip_suffix(".json.damaged")
                .or_else(|| file.strip_suffix(".json"))
                .map(|name| name.replace('+', "/"));
            if let Some(name) = name.filter(|name| is_name(name) && !BESIDE.contains(&&**name)) {
                book.read(data_dir, &name);
            }
        }
        if let Ok(floor) = fs::read_to_string(folder.join(FLOOR)) {
            book.revision = book.revision.max(floor.trim().parse().unwrap_or_default());
        }
        Ok(Self {
            folder: Mutex::new(Some(data_dir.to_owned())),
            book: RwLock::new(book),
            elsewhere: OnceLock::new(),
        })
    }

    /// From now on documents of [shared kinds](is_shared) are written there first. Once.
    pub fn share(&self, elsewhere: Arc<dyn Elsewhere>) {
        drop(self.elsewhere.set(elsewhere));
    }

    fn elsewhere_of(&self, name: &str) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get().filter(|_| is_shared(name))
    }

    /// Takes what another server wrote, or removed; whether that is news. Blocks on the disk; where
    /// that fails it is said, and is in memory all the same.
    pub fn take(&self, name: &str, revision: Revision, text: Option<&str>) -> bool {
        if !is_name(name) {
            return false;
        }
        let folder = self.folder.lock();
        {
            let mut book = self.book.write();
            let known = book.revision_of(name);
            if known.max(book.removed.get(name).copied()) >= Some(revision) {
                return false;
            }
            if text.is_none() {
                book.remember_removed(name, revision);
                if known.is_none() {
                    return false;
                }
            }
        }
        let stored =
            text.map(|text| format!("{{\"revision\":{},\"document\":{text}}}", revision.0));
        if let Some(folder) = &*folder {
            let file = file_of(folder, name);
            let parent = file.parent().unwrap_or(folder);
            let done = match &stored {
                Some(stored) => data_dir::make(parent)
                    .and_then(|()| data_dir::replace_file(&file, stored.as_bytes())),
                None => data_dir::remove_file(&file),
            };
            if let Err(error) = done {
                tracing::error!(%error, document = name, "what another server wrote is in memory alone");
            }
        }
        let mut book = self.book.write();
        book.aside.remove(name);
        match stored {
            Some(stored) => book.insert(
                name,
                Held {
                    revision,
                    text: stored.into(),
                    is_bare: false,
                },
            ),
            None => book.remove(name),
        }
        true
    }

    /// Which of those that servers have alike were removed, and with which revision; the oldest
    /// removal first.
    #[must_use]
    pub fn removed(&self) -> Vec<(String, Revision)> {
        let book = self.book.read();
        let removed = book.removed.iter();
        let mut removed: Vec<_> = removed.map(|(name, at)| (name.clone(), *at)).collect();
        removed.sort_by_key(|(_, revision)| *revision);
        removed
    }

    /// Puts a document out of the way that this server had by itself and the service has not; says
    /// so. It lies beside the others, under another name. Blocks on the disk.
    pub fn leave_out(&self, name: &str) {
        let folder = self.folder.lock();
        if let Some(folder) = &*folder {
            let file = file_of(folder, name);
            let place = file.with_extension("json.alone");
            match fs::rename(&file, &place) {
                Ok(()) => tracing::warn!(
                    document = name,
                    "the service has no such document and goes on without it; it lies in {}",
                    place.display()
                ),
                Err(error) => tracing::error!(%error, document = name, "it cannot be renamed"),
            }
        }
        self.book.write().remove(name);
    }

    /// The text of a document as all servers have it, without its revision.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<(Revision, String)> {
        let (revision, document) = self.get::<serde_json::Value>(name)?;
        Some((revision, document.to_string()))
    }

    /// Names and revisions of all that the servers of a service have alike.
    #[must_use]
    pub fn shared(&self) -> Vec<(String, Revision)> {
        let mut all = self.list("");
        all.retain(|(name, _)| is_shared(name));
        all
    }

    /// A document and its revision. One that is not what is expected of it is set aside and said,
    /// and is then none.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<(Revision, T)> {
        let held = self.book.read().held.get(name).cloned()?;
        let read = if held.is_bare {
            serde_json::from_str(&held.text)
        } else {
            serde_json::from_str::<Stored<T>>(&held.text).map(|stored| stored.document)
        };
        match read {
            Ok(document) => Some((held.revision, document)),
            Err(error) => {
                let folder = self.folder.lock();
                let mut book = self.book.write();
                // Whoever has written it anew meanwhile has mended it.
                if book.revision_of(name) == Some(held.revision) {
                    book.remove(name);
                    if let Some(folder) = &*folder {
                        book.put_aside(folder, name, &error);
                    }
                }
                None
            }
        }
    }

    /// Writes a document where what is there is what is expected; returns its new revision. Blocks
    /// on the disk, and has written when it returns.
    ///
    /// # Errors
    /// See [`DocumentError`]; nothing has changed then.
    pub fn put<T: Serialize + ?Sized>(
        &self,
        name: &str,
        expected: Expected,
        document: &T,
    ) -> Result<Revision, DocumentError> {
        if !is_name(name) {
            return Err(DocumentError::Name(name.to_owned()));
        }
        if let Some(elsewhere) = self.elsewhere_of(name) {
            let text = serde_json::to_string(document)?;
            if text.len() > BYTES_MAX {
                return Err(DocumentError::TooLarge { bytes: text.len() });
            }
            let revision = elsewhere.put(name, expected, Some(&text))?;
            self.take(name, revision, Some(&text));
            return Ok(revision);
        }
        let folder = self.folder.lock();
        let revision = {
            let mut book = self.book.write();
            book.check(name, expected)?;
            // Given once, even where writing fails: how much of it is on disk is not known then.
            book.revision += 1;
            book.revision
        };
        let text = serde_json::to_string(&Stored { revision, document })?;
        if text.len() > BYTES_MAX {
            return Err(DocumentError::TooLarge { bytes: text.len() });
        }
        {
            let book = self.book.read();
            let old = book.held.get(name).map(|held| held.text.len());
            if old.is_none() && book.held.len() >= COUNT_MAX
                || book.bytes - old.unwrap_or_default() + text.len() > ALL_BYTES_MAX
            {
                return Err(DocumentError::Full);
            }
        }
        if let Some(folder) = &*folder {
            let file = file_of(folder, name);
            if let Some(parent) = file.parent().filter(|parent| *parent != folder) {
                data_dir::make(parent)?;
            }
            data_dir::replace_file(&file, text.as_bytes())?;
        }
        let held = Held {
            revision: Revision(revision),
            text: text.into(),
            is_bare: false,
        };
        let mut book = self.book.write();
        book.aside.remove(name);
        book.insert(name, held);
        Ok(Revision(revision))
    }

    /// Removes a document where what is there is what is expected; returns whether there was one.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`DocumentError::Conflict`], or the disk refuses; it is still there then.
    pub fn delete(&self, name: &str, expected: Expected) -> Result<bool, DocumentError> {
        if let Some(elsewhere) = self.elsewhere_of(name) {
            let was_there = self.book.read().held.contains_key(name);
            let revision = elsewhere.put(name, expected, None)?;
            self.take(name, revision, None);
            return Ok(was_there);
        }
        let folder = self.folder.lock();
        let given = {
            let book = self.book.read();
            book.check(name, expected)?;
            if !book.held.contains_key(name) {
                return Ok(false);
            }
            book.revision
        };
        if let Some(folder) = &*folder {
            let file = file_of(folder, name);
            // What is made under this name later must not look like what is removed now.
            data_dir::make(&folder.join(DOCUMENTS))?;
            data_dir::replace_file(
                &folder.join(DOCUMENTS).join(FLOOR),
                given.to_string().as_bytes(),
            )?;
            data_dir::remove_file(&file)?;
        }
        self.book.write().remove(name);
        Ok(true)
    }

    /// Names and revisions of the documents whose names begin like this, in order.
    #[must_use]
    pub fn list(&self, prefix: &str) -> Vec<(String, Revision)> {
        let book = self.book.read();
        let from = book
            .held
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, held)| (name.clone(), held.revision))
            .collect()
    }

    /// Where the document of this name lies that was there and could not be read; `None` where all
    /// is well, or once it has been written anew.
    #[must_use]
    pub fn set_aside(&self, name: &str) -> Option<PathBuf> {
        self.book.read().aside.get(name).cloned()
    }
}

impl Book {
    fn revision_of(&self, name: &str) -> Option<Revision> {
        self.held.get(name).map(|held| held.revision)
    }

    fn check(&self, name: &str, expected: Expected) -> Result<(), DocumentError> {
        let current = self.revision_of(name);
        let as_expected = match expected {
            Expected::Any => true,
            Expected::New => current.is_none(),
            Expected::Revision(revision) => current == Some(revision),
        };
        match as_expected {
            true => Ok(()),
            false => Err(DocumentError::Conflict { current }),
        }
    }

    fn remember_removed(&mut self, name: &str, revision: Revision) {
        self.removed.insert(name.to_owned(), revision);
        if self.removed.len() > REMOVED_MAX {
            let oldest = self.removed.iter().min_by_key(|(_, revision)| **revision);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.removed.remove(&oldest);
            }
        }
    }

    fn insert(&mut self, name: &str, held: Held) {
        self.remove(name);
        self.removed.remove(name);
        self.bytes += held.text.len();
        self.revision = self.revision.max(held.revision.0);
        self.held.insert(name.to_owned(), held);
    }

    fn remove(&mut self, name: &str) {
        if let Some(old) = self.held.remove(name) {
            self.bytes -= old.text.len();
        }
    }

    /// Takes one from disk, or sets it aside.
    fn read(&mut self, data_dir: &Path, name: &str) {
        let file = file_of(data_dir, name);
        match read_file(&file) {
            Ok(held) => {
                self.aside.remove(name);
                if self.held.len() < COUNT_MAX && self.bytes + held.text.len() <= ALL_BYTES_MAX {
                    self.insert(name, held);
                } else {
                    tracing::error!("{} is passed over: there are too many", file.display());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let damaged = damaged(&file);
                if damaged.exists() {
                    self.aside.insert(name.to_owned(), damaged);
                }
            }
            Err(error) => self.put_aside(data_dir, name, &error),
        }
    }

    fn put_aside(&mut self, data_dir: &Path, name: &str, error: &dyn fmt::Display) {
        let file = file_of(data_dir, name);
        let mut place = damaged(&file);
        if let Err(error) = fs::rename(&file, &place) {
            tracing::warn!(%error, "{} cannot be renamed", file.display());
            place = file;
        }
        tracing::warn!(%error, document = name, "what was stored cannot be read and is passed over; it lies in {}", place.display());
        self.aside.insert(name.to_owned(), place);
    }
}

/// Whether a name is made of plain parts: it becomes a file's name, on file systems too that know
/// no difference between `A` and `a`.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    };
    name.len() <= NAME_MAX && name.split('/').count() <= PARTS_MAX && name.split('/').all(is_part)
}

fn file_of(data_dir: &Path, name: &str) -> PathBuf {
    let file = format!("{}.json", name.replace('/', "+"));
    if BESIDE.contains(&name) {
        data_dir.join(file)
    } else {
        data_dir.join(DOCUMENTS).join(file)
    }
}

fn damaged(file: &Path) -> PathBuf {
    file.with_extension("json.damaged")
}

fn read_file(file: &Path) -> io::Result<Held> {
    let bytes = fs::metadata(file)?.len();
    if bytes > BYTES_MAX as u64 {
        return Err(io::Error::other(format!(
            "{bytes} bytes, of at most {BYTES_MAX}"
        )));
    }
    let text = fs::read_to_string(file)?;
    // Whatever it is, it has to be JSON; what it is to be is known to who asks for it.
    serde_json::from_str::<serde::de::IgnoredAny>(&text)?;
    let stored = serde_json::from_str::<Stored<serde::de::IgnoredAny>>(&text);
    Ok(Held {
        revision: Revision(stored.as_ref().map_or(1, |stored| stored.revision)),
        text: text.into(),
        is_bare: stored.is_err(),
    })
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let book = self.book.read();
        // What is in them is nobody's business in a log.
        f.debug_struct("Documents")
            .field("count", &book.held.len())
            .field("bytes", &book.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
