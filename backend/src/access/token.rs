//! Bearer tokens: those of the settings and those made at run time, as digests; which of them were
//! withdrawn; and the document that outlives a restart.
//!
//! ```text
//!   settings ──┐                 document `tokens`
//!              ├─> entries <───  "made":      digest, role, tenant of each made at run time
//!   made    ───┘      -          "withdrawn": digests of the settings' that are withdrawn
//!                 withdrawn
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, io,
    str::FromStr,
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use pulseboard_shared::Role;
use serde::{Deserialize, Serialize};

use sha2::{Digest as _, Sha256};

use super::secret::{Digest, NotHex, from_hex, hex, new_secret};
use crate::{
    base::documents::{DocumentError, Documents, Expected},
    settings::{self, Settings},
};

/// Tokens made at run time, at once; each request with a token is compared with all of them.
pub const MADE_MAX: usize = 1_000;
/// Withdrawals of such tokens that are remembered where several servers know them: the newest.
pub const GONE_MAX: usize = 1_000;
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
    /// The digest of its secret.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    fn new(digest: Digest, grant: Grant, source: TokenSource) -> Self {
        Self {
            id: TokenId::of(&digest),
            digest,
            grant,
            source,
        }
    }
}

/// The settings' tokens without their secrets: all that is needed of them from the start on.
#[derive(Clone, Debug, Default)]
pub struct Given {
    entries: Vec<Entry>,
    /// Says whether they are the same elsewhere.
    alike: String,
}

impl Given {
    /// Takes them out of the settings, which have none from here on.
    #[must_use]
    pub fn take(settings: &mut Settings) -> Self {
        std::mem::take(&mut settings.tokens).into()
    }

    /// The tenants that some of them are bound to.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries.iter();
        entries.filter_map(|entry| entry.grant.tenant.as_deref())
    }
}

impl From<Vec<settings::Token>> for Given {
    fn from(tokens: Vec<settings::Token>) -> Self {
        let alike = alike(&tokens);
        let entries = tokens.into_iter().map(|token| {
            let grant = Grant {
                role: token.role,
                tenant: token.tenant,
            };
            Entry::new(Digest::of(&token.secret), grant, TokenSource::Settings)
        });
        Self {
            entries: entries.collect(),
            alike,
        }
    }
}

/// What the document holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    made: Vec<StoredToken>,
    withdrawn: BTreeSet<Digest>,
    /// Of those made that all servers knew, the withdrawn ones, and since when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gone: BTreeMap<Digest, i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredToken {
    digest: Digest,
    #[serde(flatten)]
    grant: Grant,
}

/// What all servers are to know of a token beside its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Record {
    /// It was made at run time and is valid.
    Made {
        /// What it allows.
        #[serde(flatten)]
        grant: Grant,
        /// When it was made, or first known, Unix milliseconds.
        made_ms: i64,
    },
    /// It is withdrawn, and stays so.
    Withdrawn {
        /// When, Unix milliseconds.
        at_ms: i64,
        /// Whether it is one of the settings', which may come again with every start.
        settings: bool,
    },
}

/// What followed from what all servers know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// What they are to be told.
    pub put: Vec<(Digest, Record)>,
    /// Those that are valid no longer.
    pub ended: Vec<TokenId>,
    /// Whether what is stored is another.
    pub changed: bool,
    /// How many of this server's file were not known to the others, and are no more.
    pub dropped: usize,
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
    /// Says of the settings' tokens whether they are the same elsewhere.
    alike: String,
    /// Held while what is in the book is stored, so that the newest state is always the last one
    /// written.
    storing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    withdrawn: BTreeSet<Digest>,
    gone: BTreeMap<Digest, i64>,
}

impl Tokens {
    /// The tokens of the settings and of the documents, without those withdrawn.
    ///
    /// # Errors
    /// They were stored and cannot be read. That stops the start, and every start until somebody
    /// has looked: passing over it would make withdrawn tokens valid again.
    pub fn load(given: impl Into<Given>, documents: Arc<Documents>) -> io::Result<Self> {
        let given = given.into();
        let stored = documents.get::<Stored>(DOCUMENT);
        if let Some(place) = documents.set_aside(DOCUMENT) {
            return Err(io::Error::other(format!(
                "the stored tokens cannot be read; mend {} and call it {DOCUMENT}.json again, or remove it and with it every token made and every withdrawal",
                place.display()
            )));
        }
        let stored = stored.map(|(_, stored)| stored).unwrap_or_default();
        let mut entries: Vec<Entry> = Vec::new();
        let made = stored
            .made
            .into_iter()
            .map(|token| Entry::new(token.digest, token.grant, TokenSource::Api));
        for entry in given.entries.into_iter().chain(made) {
            let again = entries.iter().any(|known| known.id == entry.id);
            if !again && !stored.withdrawn.contains(&entry.digest) {
                entries.push(entry);
            }
        }
        Ok(Self {
            book: RwLock::new(Book {
                entries,
                withdrawn: stored.withdrawn,
                gone: stored.gone,
            }),
            documents,
            alike: given.alike,
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
        let (entry, secret) = Self::prepare(grant)?;
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

    /// A token that is not valid yet, and its secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn prepare(grant: Grant) -> Result<(Entry, String), getrandom::Error> {
        let secret = format!("{PREFIX}{}", new_secret()?);
        Ok((
            Entry::new(Digest::of(&secret), grant, TokenSource::Api),
            secret,
        ))
    }

    /// How many of those that are valid were made at run time.
    #[must_use]
    pub fn made(&self) -> usize {
        self.book.read().made().count()
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
        match book.may_withdraw(id, force) {
            Ok(index) => {
                let entry = book.entries.remove(index);
                if entry.source == TokenSource::Settings {
                    book.withdrawn.insert(entry.digest);
                }
                Withdrawn::Gone
            }
            Err(why) => why,
        }
    }

    /// The token that a withdrawal would make invalid; nothing has changed. `may` says whether
    /// whoever asks sees it.
    ///
    /// # Errors
    /// As [`Self::withdraw`] says, and of one that is not seen nothing but that there is none.
    pub fn to_withdraw(
        &self,
        id: TokenId,
        force: bool,
        may: impl FnOnce(&Entry) -> bool,
    ) -> Result<Entry, Withdrawn> {
        let book = self.book.read();
        let mut entries = book.entries.iter();
        let entry = entries.find(|entry| entry.id == id);
        let entry = entry.filter(|entry| may(entry)).ok_or(Withdrawn::Unknown)?;
        book.may_withdraw(id, force)?;
        Ok(entry.clone())
    }

    /// Says of the settings' tokens whether they are the same elsewhere: not enough to find out
    /// which they are, were they weak.
    #[must_use]
    pub fn alike(&self) -> &str {
        &self.alike
    }

    /// What a service that is new is to know of those that this server has.
    #[must_use]
    pub fn records(&self, now_ms: i64) -> Vec<(Digest, Record)> {
        let book = self.book.read();
        let made = book.made().zip(now_ms..);
        let made = made.map(|(entry, made_ms)| (entry.digest, made_record(entry, made_ms)));
        let withdrawn = book.withdrawn.iter().map(|digest| {
            let settings = true;
            let at_ms = now_ms;
            (*digest, Record::Withdrawn { at_ms, settings })
        });
        made.chain(withdrawn).collect()
    }

    /// Takes in what all servers know. A withdrawal holds, whoever says it. What was made here and
    /// is not known to them is lost there where they have known it (`has_joined`: since this
    /// process has agreed with them), and is else none of theirs.
    #[must_use]
    pub fn merge(&self, all: &HashMap<Digest, Record>, has_joined: bool, now_ms: i64) -> Merged {
        let mut merged = Merged::default();
        let mut book = self.book.write();
        let mut sorted: Vec<(&Digest, &Record)> = all.iter().collect();
        sorted.sort_by_key(|(digest, record)| match record {
            Record::Made { made_ms, .. } => (*made_ms, **digest),
            Record::Withdrawn { at_ms, .. } => (*at_ms, **digest),
        });
        for (digest, record) in sorted {
            book.take_in(digest, record, &mut merged);
        }
        let missing: Vec<Entry> = book
            .made()
            .filter(|entry| !all.contains_key(&entry.digest))
            .cloned()
            .collect();
        for (entry, made_ms) in missing.into_iter().zip(now_ms..) {
            if has_joined {
                let record = made_record(&entry, made_ms);
                merged.put.push((entry.digest, record));
            } else {
                book.entries.retain(|known| known.digest != entry.digest);
                merged.ended.push(entry.id);
                merged.dropped += 1;
            }
        }
        let unknown = book.withdrawn.iter().filter(|one| !all.contains_key(*one));
        merged.put.extend(unknown.map(|digest| {
            let settings = true;
            let at_ms = now_ms;
            (*digest, Record::Withdrawn { at_ms, settings })
        }));
        merged.changed |= !merged.ended.is_empty();
        // Whoever withdraws has the others forget the oldest; here they are forgotten with them.
        merged.changed |= book.forget_gone(|digest| all.contains_key(digest)) > 0;
        merged
    }

    /// Takes in one change that all servers know; whether something has changed here.
    #[must_use]
    pub fn take_in(&self, digest: &Digest, record: &Record) -> Merged {
        let mut merged = Merged::default();
        self.book.write().take_in(digest, record, &mut merged);
        merged.changed |= !merged.ended.is_empty();
        merged
    }

    /// Of the withdrawals that are remembered those that are too many, which are forgotten here.
    #[must_use]
    pub fn forget_oldest(&self) -> Vec<Digest> {
        let mut book = self.book.write();
        let mut by_age: Vec<(i64, Digest)> = book
            .gone
            .iter()
            .map(|(digest, at_ms)| (*at_ms, *digest))
            .collect();
        by_age.sort_unstable();
        by_age.truncate(by_age.len().saturating_sub(GONE_MAX));
        for (_, digest) in &by_age {
            book.gone.remove(digest);
        }
        by_age.into_iter().map(|(_, digest)| digest).collect()
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

fn made_record(entry: &Entry, made_ms: i64) -> Record {
    Record::Made {
        grant: entry.grant.clone(),
        made_ms,
    }
}

/// Two bytes of a digest: another set has the same in one of 65 536 cases, and nobody who reads
/// them can tell whether a guess at one of the tokens is right.
fn alike(from_settings: &[settings::Token]) -> String {
    let mut lines: Vec<String> = from_settings
        .iter()
        .map(|token| {
            let digest = String::from(Digest::of(&token.secret));
            format!("{digest} {} {:?}\n", token.role, token.tenant)
        })
        .collect();
    lines.sort_unstable();
    let all: [u8; 32] = Sha256::digest(lines.concat()).into();
    hex(&[all[0], all[1]])
}

impl Book {
    /// Forgets the oldest withdrawals past [`GONE_MAX`], but for those that are still known to all;
    /// how many.
    fn forget_gone(&mut self, is_known: impl Fn(&Digest) -> bool) -> usize {
        let beyond = self.gone.len().saturating_sub(GONE_MAX);
        if beyond == 0 {
            return 0;
        }
        let unknown = self.gone.iter().filter(|(digest, _)| !is_known(digest));
        let mut by_age: Vec<(i64, Digest)> =
            unknown.map(|(digest, at_ms)| (*at_ms, *digest)).collect();
        by_age.sort_unstable();
        by_age.truncate(beyond);
        for (_, digest) in &by_age {
            self.gone.remove(digest);
        }
        by_age.len()
    }

    fn made(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.source == TokenSource::Api)
    }

    /// Where the token is that may be withdrawn.
    fn may_withdraw(&self, id: TokenId, force: bool) -> Result<usize, Withdrawn> {
        let is_meant = |entry: &Entry| entry.id == id;
        let index = self.entries.iter().position(is_meant);
        let index = index.ok_or(Withdrawn::Unknown)?;
        let is_admins =
            |entry: &Entry| entry.grant.role.administers() && entry.grant.tenant.is_none();
        let is_last = self.entries.get(index).is_some_and(is_admins)
            && self.entries.iter().filter(|entry| is_admins(entry)).count() == 1;
        match is_last && !force {
            true => Err(Withdrawn::LastAdmin),
            false => Ok(index),
        }
    }

    fn take_in(&mut self, digest: &Digest, record: &Record, merged: &mut Merged) {
        match record {
            Record::Made { grant, .. } => {
                let settings = self.withdrawn.contains(digest);
                let gone = self.gone.get(digest).copied();
                if settings || gone.is_some() {
                    let at_ms = gone.unwrap_or_default();
                    merged
                        .put
                        .push((*digest, Record::Withdrawn { at_ms, settings }));
                } else if !self.entries.iter().any(|entry| entry.digest == *digest) {
                    let entry = Entry::new(*digest, grant.clone(), TokenSource::Api);
                    self.entries.push(entry);
                    merged.changed = true;
                }
            }
            Record::Withdrawn { at_ms, settings } => {
                let valid = self
                    .entries
                    .iter()
                    .position(|entry| entry.digest == *digest);
                if let Some(index) = valid {
                    merged.ended.push(self.entries.remove(index).id);
                }
                merged.changed |= match settings {
                    true => self.withdrawn.insert(*digest),
                    false => self.gone.insert(*digest, *at_ms).is_none(),
                };
            }
        }
    }

    fn stored(&self) -> Stored {
        let made = self.made();
        Stored {
            made: made
                .map(|entry| StoredToken {
                    digest: entry.digest,
                    grant: entry.grant.clone(),
                })
                .collect(),
            withdrawn: self.withdrawn.clone(),
            gone: self.gone.clone(),
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

    type Table = HashMap<Digest, Record>;

    /// Has a server agree with the others.
    fn agree(tokens: &Tokens, table: &mut Table, has_joined: &mut bool) -> Merged {
        if table.is_empty() {
            table.extend(tokens.records(0));
        }
        let merged = tokens.merge(table, *has_joined, 0);
        table.extend(merged.put.iter().cloned());
        *has_joined = true;
        merged
    }

    #[test]
    fn a_withdrawal_holds_whoever_says_it_and_a_file_is_not_believed() {
        let mut table = Table::new();
        let of = |folder: &Path| {
            let settings = vec![token("admin", Role::Admin)];
            Tokens::load(settings, open(folder)).expect("loaded")
        };
        let folders = [(), ()].map(|()| tempfile::tempdir().expect("a folder"));
        let (one, other) = (of(folders[0].path()), of(folders[1].path()));
        let (mut one_joined, mut other_joined) = (false, false);
        assert_eq!(one.alike(), other.alike());
        // The first has a token in its file, and begins the table; the other's is none of theirs.
        let (first, _) = one.make(viewer()).expect("made");
        let (own, _) = other.make(viewer()).expect("made");
        assert_eq!(agree(&one, &mut table, &mut one_joined), Merged::default());
        let merged = agree(&other, &mut table, &mut other_joined);
        assert_eq!((merged.ended, merged.dropped), (vec![own], 1));
        assert!(other.get(first).is_some() && other.get(own).is_none());
        other.store().expect("stored");

        // Withdrawn at one; the other hears it, and one whose file still has it does not bring it
        // back.
        let entry = one.to_withdraw(first, false, |_| true).expect("it may be");
        let record = Record::Withdrawn {
            at_ms: 1,
            settings: false,
        };
        let change = (*entry.digest(), record);
        table.extend([change.clone()]);
        assert_eq!(one.take_in(&change.0, &change.1).ended, [first]);
        assert_eq!(agree(&other, &mut table, &mut other_joined).ended, [first]);
        let late = of(folders[1].path());
        let mut late_joined = false;
        assert!(late.get(first).is_some(), "as its file says");
        assert_eq!(agree(&late, &mut table, &mut late_joined).ended, [first]);

        // Redis goes back to before the withdrawal: who knows of it says it again.
        let made = Record::Made {
            grant: viewer(),
            made_ms: 0,
        };
        table.insert(change.0, made);
        let merged = agree(&one, &mut table, &mut one_joined);
        assert_eq!(merged.put, std::slice::from_ref(&change));
        assert!(one.get(first).is_none());

        // Redis loses what was made: who has it in memory puts it back.
        let (made, _) = one.make(viewer()).expect("made");
        let merged = agree(&one, &mut table, &mut one_joined);
        assert_eq!((merged.put.len(), merged.dropped), (1, 0));
        assert!(agree(&other, &mut table, &mut other_joined).put.is_empty());
        assert!(other.get(made).is_some());

        // A token of the settings that is withdrawn is so everywhere.
        let admin = one.find("admin").expect("known").id;
        assert_eq!(
            one.to_withdraw(admin, false, |_| true).err(),
            Some(Withdrawn::LastAdmin)
        );
        // Whoever may not see it is told nothing of what it is.
        assert_eq!(
            one.to_withdraw(admin, false, |_| false).err(),
            Some(Withdrawn::Unknown)
        );
        assert_eq!(one.withdraw(admin, true), Withdrawn::Gone);
        let merged = agree(&one, &mut table, &mut one_joined);
        assert_eq!(merged.put.len(), 1);
        assert_eq!(agree(&other, &mut table, &mut other_joined).ended, [admin]);
    }
    #[test]
    fn a_server_that_withdraws_nothing_itself_remembers_no_more_than_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = Tokens::load(vec![token("admin", Role::Admin)], open(folder.path()));
        let tokens = tokens.expect("loaded");
        let record = |at_ms: i64| Record::Withdrawn {
            at_ms,
            settings: false,
        };
        let digest = |number: i64| Digest::of(&number.to_string());
        let most = GONE_MAX as i64;
        for round in 0..6 {
            // Those who withdraw have taken the oldest out of the table.
            let newest = (round + 1) * most / 2;
            let table: Table = (newest - most..newest)
                .filter(|number| *number >= 0)
                .map(|number| (digest(number), record(number)))
                .collect();
            drop(tokens.merge(&table, true, 0));
            assert!(tokens.book.read().gone.len() <= GONE_MAX, "round {round}");
            // What all know is known here: it changes nothing to hear it again.
            assert_eq!(tokens.merge(&table, true, 0), Merged::default());
        }
        tokens.store().expect("stored");
        let again = Tokens::load(Vec::new(), open(folder.path())).expect("loaded");
        assert_eq!(again.book.read().gone.len(), GONE_MAX);
    }

    #[test]
    fn settings_keep_no_secret_and_what_was_taken_of_them_is_enough_for_each_run() {
        let mut settings = Settings {
            tokens: vec![token("a-secret", Role::Admin)],
            ..Settings::default()
        };
        let given = Given::take(&mut settings);
        assert!(settings.tokens.is_empty());
        assert!(!format!("{given:?}").contains("a-secret"));
        for _run in 0..2 {
            let tokens = Tokens::load(given.clone(), in_memory()).expect("no file");
            let found = tokens.find("a-secret").expect("it is known");
            assert_eq!(found.grant.role, Role::Admin);
            let whole = vec![token("a-secret", Role::Admin)];
            let other = Tokens::load(whole, in_memory()).expect("no file");
            assert_eq!(tokens.alike(), other.alike());
        }
    }
}
