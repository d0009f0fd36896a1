//! Bearer tokens: those of the settings and those made at run time, as digests; which of them were
//! withdrawn; and the document that outlives a restart.
//!
//! ```text
//!   settings ──┐                 document `tokens`
//!              ├─> entries <───  "made":      digest, role, tenant of each made at run time
//!   made    ───┘      -          "withdrawn": digests of the settings' that are withdrawn
//!                 withdrawn
//! ```

use std::{collections::BTreeSet, fmt, io, str::FromStr, sync::Arc};

use parking_lot::{Mutex, RwLock};
use pulseboard_shared::Role;
use serde::{Deserialize, Serialize};

use super::secret::{Digest, NotHex, from_hex, hex, new_secret};
use crate::{
    base::documents::{DocumentError, Documents, Expected},
    settings,
};

/// Tokens made at run time, at once; each request with a token is compared with all of them.
pub const MADE_MAX: usize = 1_000;
/// The document that they are kept in.
const DOCUMENT: &str = "tokens";
/// What made tokens begin with, so that scanners of leaked secrets find them.
const PREFIX: &str = "pb_";

/// Names a token without telling it: the first 12 hex digits of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 6]);

impl TokenId {
    /// Of the token with this digest.
    #[must_use]
    pub fn of(digest: &Digest) -> Self {
        Self(digest.prefix())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        from_hex(text).map(Self)
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What its holder may do.
    pub role: Role,
    /// The tenant its holder is confined to; `None` for none in particular.
    pub tenant: Option<String>,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// `AUTH_TOKENS` or the file's `tokens`.
    Settings,
    /// `POST /api/tokens`.
    Api,
}

/// One token that is valid.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: TokenId,
    digest: Digest,
    /// What it allows.
    pub grant: Grant,
    /// Where it comes from.
    pub source: TokenSource,
}

impl Entry {
    fn new(digest: Digest, grant: Grant, source: TokenSource) -> Self {
        Self {
            id: TokenId::of(&digest),
            digest,
            grant,
            source,
        }
    }
}

/// What the document holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    made: Vec<StoredToken>,
    withdrawn: BTreeSet<Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredToken {
    digest: Digest,
    #[serde(flatten)]
    grant: Grant,
}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There are as many as there may be.
    #[error("there are {MADE_MAX} tokens made at run time already; withdraw some first")]
    TooMany,
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The disk refused; nothing has changed.
    #[error("the token could not be stored: {0}")]
    Store(#[from] DocumentError),
}

/// What became of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is invalid now.
    Gone,
    /// There was none of this name.
    Unknown,
    /// It is the last that could make others, and stays.
    LastAdmin,
}

/// All tokens that are valid.
#[derive(Debug)]
pub struct Tokens {
    /// Leaf lock; written only by who holds `storing`, or to withdraw.
    book: RwLock<Book>,
    documents: Arc<Documents>,
    /// Held while what is in the book is stored, so that the newest state is always the last one
    /// written.
    storing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    withdrawn: BTreeSet<Digest>,
}

impl Tokens {
    /// The tokens of the settings and of the documents, without those withdrawn.
    ///
    /// # Errors
    /// They were stored and cannot be read. That stops the start, and every start until somebody
    /// has looked: passing over it would make withdrawn tokens valid again.
    pub fn load(
        from_settings: Vec<settings::Token>,
        documents: Arc<Documents>,
    ) -> io::Result<Self> {
        let stored = documents.get::<Stored>(DOCUMENT);
        if let Some(place) = documents.set_aside(DOCUMENT) {
            return Err(io::Error::other(format!(
                "the stored tokens cannot be read; mend {} and call it {DOCUMENT}.json again, or remove it and with it every token made and every withdrawal",
                place.display()
            )));
        }
        let stored = stored.map(|(_, stored)| stored).unwrap_or_default();
        let mut entries: Vec<Entry> = Vec::new();
        let ours = from_settings.into_iter().map(|token| {
            let grant = Grant {
                role: token.role,
                tenant: token.tenant,
            };
            Entry::new(Digest::of(&token.secret), grant, TokenSource::Settings)
        });
        let made = stored
            .made
            .into_iter()
            .map(|token| Entry::new(token.digest, token.grant, TokenSource::Api));
        for entry in ours.chain(made) {
            let again = entries.iter().any(|known| known.id == entry.id);
            if !again && !stored.withdrawn.contains(&entry.digest) {
                entries.push(entry);
            }
        }
        Ok(Self {
            book: RwLock::new(Book {
                entries,
                withdrawn: stored.withdrawn,
            }),
            documents,
            storing: Mutex::new(()),
        })
    }

    /// The token that is this secret. Looks at every token and at all of it, so that the time
    /// taken tells nothing.
    #[must_use]
    pub fn find(&self, secret: &str) -> Option<Entry> {
        let shown = Digest::of(secret);
        let book = self.book.read();
        let mut found = None;
        for entry in &book.entries {
            if entry.digest.matches(&shown) {
                found = Some(entry);
            }
        }
        found.cloned()
    }

    /// The token of this name.
    #[must_use]
    pub fn get(&self, id: TokenId) -> Option<Entry> {
        let book = self.book.read();
        book.entries.iter().find(|entry| entry.id == id).cloned()
    }

    /// All that are valid: the settings' first, then those made, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Entry> {
        self.book.read().entries.clone()
    }

    /// Makes a token; stored before it is valid. The secret is told here and never again.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// There are too many, or the disk refuses; nothing has changed then.
    pub fn make(&self, grant: Grant) -> Result<(TokenId, String), MakeError> {
        let _storing = self.storing.lock();
        let secret = format!("{PREFIX}{}", new_secret()?);
        let entry = Entry::new(Digest::of(&secret), grant, TokenSource::Api);
        let id = entry.id;
        let mut stored = self.book.read().stored();
        if stored.made.len() >= MADE_MAX {
            return Err(MakeError::TooMany);
        }
        stored.made.push(StoredToken {
            digest: entry.digest,
            grant: entry.grant.clone(),
        });
        self.documents.put(DOCUMENT, Expected::Any, &stored)?;
        self.book.write().entries.push(entry);
        Ok((id, secret))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.book.read().entries.is_empty()
    }

    /// Makes a token invalid at once; [`Self::store`] makes that outlive a restart. The last one of
    /// an admin who is bound to no tenant stays without `force`.
    pub fn withdraw(&self, id: TokenId, force: bool) -> Withdrawn {
        let mut book = self.book.write();
        let Some(index) = book.entries.iter().position(|entry| entry.id == id) else {
            return Withdrawn::Unknown;
        };
        let is_admins =
            |entry: &Entry| entry.grant.role.administers() && entry.grant.tenant.is_none();
        let is_last = book.entries.get(index).is_some_and(is_admins)
            && book.entries.iter().filter(|entry| is_admins(entry)).count() == 1;
        if is_last && !force {
            return Withdrawn::LastAdmin;
        }
        let entry = book.entries.remove(index);
        if entry.source == TokenSource::Settings {
            book.withdrawn.insert(entry.digest);
        }
        Withdrawn::Gone
    }

    /// Stores what holds now. Blocks on the disk.
    ///
    /// # Errors
    /// The disk refuses; what is stored is as it was.
    pub fn store(&self) -> Result<(), DocumentError> {
        let _storing = self.storing.lock();
        let stored = self.book.read().stored();
        self.documents
            .put(DOCUMENT, Expected::Any, &stored)
            .map(|_| ())
    }
}

impl Book {
    fn stored(&self) -> Stored {
        let made = self
            .entries
            .iter()
            .filter(|entry| entry.source == TokenSource::Api);
        Stored {
            made: made
                .map(|entry| StoredToken {
                    digest: entry.digest,
                    grant: entry.grant.clone(),
                })
                .collect(),
            withdrawn: self.withdrawn.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn token(secret: &str, role: Role) -> settings::Token {
        settings::Token {
            secret: secret.to_owned(),
            role,
            tenant: None,
        }
    }

    fn in_memory() -> Arc<Documents> {
        Arc::new(Documents::in_memory())
    }

    fn open(folder: &Path) -> Arc<Documents> {
        Arc::new(Documents::open(folder).expect("a folder that can be read"))
    }

    fn viewer() -> Grant {
        Grant {
            role: Role::Viewer,
            tenant: Some("shop".to_owned()),
        }
    }

    #[test]
    fn a_token_is_named_by_its_digest() {
        let tokens =
            Tokens::load(vec![token("secret", Role::Admin)], in_memory()).expect("no file");
        let entry = tokens.find("secret").expect("known");
        assert_eq!(entry.id.to_string(), "2bb80d537b1d");
        assert_eq!("2bb80d537b1d".parse(), Ok(entry.id));
        assert_eq!(entry.grant.role, Role::Admin);
        assert!(tokens.find("secre").is_none());
        assert!(!format!("{tokens:?}").contains("secret\""));
    }

    #[test]
    fn made_and_withdrawn_outlive_a_restart_and_no_secret_is_on_disk() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = || vec![token("one", Role::Admin), token("two", Role::Viewer)];
        let tokens = Tokens::load(settings(), open(folder.path())).expect("no file yet");
        let (kept, kept_secret) = tokens.make(viewer()).expect("made");
        let (gone, gone_secret) = tokens.make(viewer()).expect("made");
        let two = tokens.find("two").expect("known").id;
        for id in [gone, two] {
            assert_eq!(tokens.withdraw(id, false), Withdrawn::Gone);
            assert_eq!(tokens.withdraw(id, false), Withdrawn::Unknown);
        }
        tokens.store().expect("stored");

        let text = std::fs::read_to_string(folder.path().join("tokens.json")).expect("the file");
        for secret in [&*kept_secret, &*gone_secret, "two"] {
            assert!(!text.contains(secret), "{text}");
        }
        let again = Tokens::load(settings(), open(folder.path())).expect("loaded");
        assert_eq!(
            again
                .find(&kept_secret)
                .map(|entry| (entry.id, entry.grant)),
            Some((kept, viewer()))
        );
        assert!(again.find("one").is_some());
        assert!(again.find(&gone_secret).is_none() && again.find("two").is_none());
    }

    /// As versions wrote it that knew no revisions.
    #[test]
    fn a_file_of_a_version_before_is_read_and_goes_on_as_a_document() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (made, gone) = (Digest::of("pb_made"), Digest::of("two"));
        let json = |digest: &Digest| serde_json::to_string(digest).expect("JSON");
        let text = format!(
            r#"{{"made":[{{"digest":{},"role":"viewer","tenant":"shop"}}],"withdrawn":[{}]}}"#,
            json(&made),
            json(&gone)
        );
        std::fs::write(folder.path().join("tokens.json"), text).expect("written");
        let settings = || vec![token("one", Role::Admin), token("two", Role::Viewer)];
        for start in 0..3 {
            let tokens = Tokens::load(settings(), open(folder.path())).expect("loaded");
            let found = tokens.find("pb_made").map(|entry| entry.grant);
            assert_eq!(found, Some(viewer()));
            assert!(tokens.find("one").is_some() && tokens.find("two").is_none());
            assert_eq!(tokens.list().len(), 2 + start);
            tokens.make(viewer()).expect("made");
        }
    }

    #[test]
    fn what_is_damaged_stops_every_start_until_it_is_mended() {
        for damaged in ["{", "[]", r#"{"made":7}"#] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let file = folder.path().join("tokens.json");
            std::fs::write(&file, damaged).expect("written");
            for _start in 0..2 {
                let error = Tokens::load(Vec::new(), open(folder.path())).expect_err("damaged");
                assert!(error.to_string().contains("tokens.json"), "{error}");
            }
            let whole = r#"{"made":[],"withdrawn":[]}"#;
            std::fs::write(&file, whole).expect("written");
            Tokens::load(Vec::new(), open(folder.path())).expect("mended");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_not_made_but_is_withdrawn() {
        let tokens = Tokens::load(
            vec![token("one", Role::Admin)],
            open(Path::new("/nonexistent")),
        )
        .expect("no file there");
        assert!(matches!(tokens.make(viewer()), Err(MakeError::Store(_))));
        assert_eq!(tokens.list().len(), 1);
        let last = tokens.list()[0].id;
        assert_eq!(tokens.withdraw(last, false), Withdrawn::LastAdmin);
        assert_eq!(tokens.withdraw(last, true), Withdrawn::Gone);
        assert!(tokens.store().is_err());
        assert!(tokens.find("one").is_none());
    }
}
