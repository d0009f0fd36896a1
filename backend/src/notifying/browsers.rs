//! Browsers that have subscribed to notifications (Web Push): a document a tenant, and the key that
//! push services know this server by. They are told of everything, beside the routes.
//!
//! What a browser says when it subscribes is an address that this server calls from then on. So it
//! is an operator who subscribes; so many a caller, a tenant and in all; an address that the guard
//! of all receivers lets be asked (see `pulseboard_outbound::Guard`, which also looks at what a
//! name turns out to be); and nothing of what is answered there is told but the status.

use std::{collections::BTreeMap, fmt, io, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};
use pulseboard_notify::config::Config;
use pulseboard_outbound::{Guard, Secret};
use pulseboard_receivers::{
    config::{Global, Receiver, WebPushConfig},
    webpush::{self, Keys},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::name::document_of;
use crate::base::documents::{DocumentError, Documents, Expected, PUSH_KEY};

/// How the receiver of all of them is called in timelines and in the log.
pub const BROWSERS: &str = "browsers";
/// Where a file has a receiver of that name.
pub(super) const OTHERWISE: &str = "browsers of the page";

/// Of one caller, of one tenant, and of all.
const CALLER_MAX: usize = 20;
const TENANT_MAX: usize = 50;
const ALL_MAX: usize = 1_000;

/// Those in use have two to five hundred.
const ENDPOINT_BYTES_MAX: usize = 1_024;
/// Of what a browser calls itself.
const NAME_CHARS_MAX: usize = 60;
/// Of what is sent of a public key and of a secret, which have 88 and 24.
const KEY_BYTES_MAX: usize = 128;

/// One try to tell a browser that this is a test, and then another one.
const TEST_EVERY_MS: i64 = 2_000;

/// The documents.
const KEY: &str = PUSH_KEY;
const FOLDER: &str = "browsers";

/// A browser that has subscribed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Browser {
    /// Made of its address, which is its own: who subscribes again is the same one.
    pub id: String,
    /// How it calls itself, and the beginning of its identity.
    pub name: String,
    /// Who subscribed it.
    pub by: String,
    /// When, in Unix milliseconds.
    pub since_ms: i64,
    /// Whose of the bounded places it has.
    pub(super) caller: String,
    endpoint: String,
    p256dh: String,
    auth: String,
    subject: String,
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a browser says of itself.
pub struct Subscription {
    /// How it calls itself.
    pub name: String,
    /// Of `PushSubscription`.
    pub endpoint: String,
    /// Its public key, as base64url.
    pub p256dh: String,
    /// Its secret, as base64url.
    pub auth: String,
    /// Where its page is from; empty where that is not known.
    pub origin: String,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Who subscribes it.
#[derive(Debug)]
pub struct Subscriber {
    /// For people.
    pub by: String,
    /// For counting.
    pub caller: String,
}

/// Why a browser is not subscribed, or not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// A field cannot be: a JSON Pointer, and why.
    #[error("{1}")]
    Field(&'static str, String),
    /// There are as many as there may be.
    #[error("{whose} may have {max} browsers and has them; one of them can be forgotten")]
    Full {
        /// Whose they are.
        whose: &'static str,
        /// So many.
        max: usize,
    },
    /// There is no room for the tenant; in words.
    #[error("{0}")]
    Tenants(String),
    /// It was not stored.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// As it is stored.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    tenant: String,
    browsers: Vec<Browser>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    private: String,
}

/// Those that are stored, by tenant.
fn stored(documents: &Documents) -> BTreeMap<String, Vec<Browser>> {
    let names = documents.list(&format!("{FOLDER}/")).into_iter();
    let all = names.filter_map(|(name, _)| documents.get::<Stored>(&name));
    all.map(|(_, stored)| (stored.tenant, stored.browsers))
        .collect()
}

/// All that have subscribed, and the key.
pub(super) struct Browsers {
    documents: Arc<Documents>,
    /// Leaf lock.
    keys: RwLock<Arc<Keys>>,
    /// Also addresses of this machine and of private networks.
    allow_private: bool,
    /// By tenant. Leaf lock.
    known: Mutex<BTreeMap<String, Vec<Browser>>>,
    /// When each was tested last, by the steady clock. Leaf lock.
    tested: Mutex<BTreeMap<String, i64>>,
}

impl Browsers {
    /// Reads those that are known; makes the key where there is none.
    pub(super) fn open(documents: &Arc<Documents>, allow_private: bool) -> io::Result<Self> {
        let key = documents.get::<StoredKey>(KEY);
        let key = key.and_then(|(_, key)| {
            let keys = Keys::of(Secret::new(key.private));
            keys.inspect_err(|error| tracing::error!(error, "the key of Web Push is made anew"))
                .ok()
        });
        let keys = match key {
            Some(keys) => keys,
            None => Keys::generate().map_err(io::Error::other)?,
        };
        let known = stored(documents);
        let browsers = Self {
            documents: Arc::clone(documents),
            keys: RwLock::new(Arc::new(keys)),
            allow_private,
            known: Mutex::new(known),
            tested: Mutex::default(),
        };
        // A full disk stops no start; who subscribes is told.
        if let Err(error) = browsers.keep_key() {
            tracing::error!(%error, "the key of Web Push cannot be stored yet");
        }
        Ok(browsers)
    }

    /// The key is on disk before any browser relies on it.
    pub(super) fn keep_key(&self) -> Result<(), DocumentError> {
        let keys = self.keys();
        let private = keys.private.reveal();
        let stored = self.documents.get::<StoredKey>(KEY);
        if stored.is_some_and(|(_, stored)| stored.private == private) {
            return Ok(());
        }
        let key = StoredKey {
            private: private.to_owned(),
        };
        self.documents.put(KEY, Expected::Any, &key).map(drop)
    }

    /// Those of a tenant, the oldest first.
    pub(super) fn of(&self, tenant: &str) -> Vec<Browser> {
        self.known.lock().get(tenant).cloned().unwrap_or_default()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// What a browser wants as `applicationServerKey`.
    pub(super) fn key(&self) -> String {
        self.keys().public.clone()
    }

    /// Goes on by the documents as they are now: another server changed them.
    pub(super) fn look_anew(&self) {
        if let Some((_, key)) = self.documents.get::<StoredKey>(KEY) {
            match Keys::of(Secret::new(key.private)) {
                Ok(keys) => *self.keys.write() = Arc::new(keys),
                Err(error) => tracing::error!(error, "the key of Web Push cannot be used"),
            }
        }
        *self.known.lock() = stored(&self.documents);
    }

    fn receiver(&self, name: &str, browsers: &[Browser]) -> Receiver {
        let keys = self.keys();
        let ways = browsers.iter().map(|browser| WebPushConfig {
            name: browser.name.clone(),
            endpoint: Some(Secret::new(browser.endpoint.clone())),
            p256dh: Some(Secret::new(browser.p256dh.clone())),
            auth: Some(Secret::new(browser.auth.clone())),
            vapid_private_key: Some(keys.private.clone()),
            subject: browser.subject.clone(),
            // To the page that it has subscribed on, wherever that is.
            click: String::new(),
            ..WebPushConfig::default()
        });
        Receiver {
            name: name.to_owned(),
            webpush_configs: ways.collect(),
            ..Receiver::default()
        }
    }

    /// A configuration with a tenant's browsers beside it.
    pub(super) fn beside(&self, tenant: &str, config: Arc<Config>) -> Arc<Config> {
        let browsers = self.of(tenant);
        if browsers.is_empty() {
            return config;
        }
        let is_taken = config.receivers.iter().any(|one| one.name == BROWSERS);
        let name = if is_taken { OTHERWISE } else { BROWSERS };
        let with = (*config).clone();
        match with.with_beside(self.receiver(name, &browsers)) {
            Ok(with) => Arc::new(with),
            Err(error) => {
                tracing::error!(error, tenant, "browsers that have subscribed are not told");
                config
            }
        }
    }

    /// A receiver of one browser alone, settled; `None` where there is none.
    pub(super) fn alone(&self, tenant: &str, id: &str) -> Option<Receiver> {
        let browser = self.of(tenant).into_iter().find(|one| one.id == id)?;
        let mut receiver = self.receiver(BROWSERS, &[browser]);
        let settled = receiver.settle(&Global::default(), Path::new(""));
        settled
            .inspect_err(|error| tracing::error!(%error, tenant, "a browser is not tested"))
            .ok()?;
        Some(receiver)
    }

    /// Whether a browser may be tested now; if so it was.
    pub(super) fn may_test(&self, id: &str, steady_ms: i64) -> bool {
        let mut tested = self.tested.lock();
        tested.retain(|_, at_ms| steady_ms - *at_ms < TEST_EVERY_MS);
        if tested.contains_key(id) {
            return false;
        }
        tested.insert(id.to_owned(), steady_ms);
        true
    }

    /// What may be stored of a subscription.
    pub(super) fn checked(
        &self,
        subscription: Subscription,
        who: Subscriber,
        now_ms: i64,
    ) -> Result<Browser, BrowserError> {
        let Subscription {
            name,
            endpoint,
            p256dh,
            auth,
            origin,
        } = subscription;
        self.check_address(&endpoint)
            .map_err(|what| BrowserError::Field("/endpoint", what))?;
        for (pointer, key) in [("/keys/p256dh", &p256dh), ("/keys/auth", &auth)] {
            if key.len() > KEY_BYTES_MAX {
                let what = format!("has more than {KEY_BYTES_MAX} characters");
                return Err(BrowserError::Field(pointer, what));
            }
        }
        webpush::check(&p256dh, &auth).map_err(|(field, what)| {
            let pointer = match field {
                "auth" => "/keys/auth",
                _ => "/keys/p256dh",
            };
            BrowserError::Field(pointer, what)
        })?;
        let name = name.trim();
        let is_name = !name.is_empty()
            && name.chars().count() <= NAME_CHARS_MAX
            && !name
                .chars()
                .any(|one| one.is_control() || one == '[' || one == ']');
        if !is_name {
            let what = format!(
                "needed are 1 to {NAME_CHARS_MAX} characters, no control characters and no brackets"
            );
            return Err(BrowserError::Field("/name", what));
        }
        let digest = Sha256::digest(endpoint.as_bytes());
        let digits = digest.iter().take(12).map(|byte| format!("{byte:02x}"));
        let id: String = digits.collect();
        Ok(Browser {
            name: format!("{name} {}", id.get(..6).unwrap_or_default()),
            id,
            by: who.by,
            since_ms: now_ms,
            caller: who.caller,
            endpoint,
            p256dh,
            auth,
            subject: origin,
        })
    }

    fn check_address(&self, endpoint: &str) -> Result<(), String> {
        if endpoint.len() > ENDPOINT_BYTES_MAX {
            return Err(format!("has more than {ENDPOINT_BYTES_MAX} bytes"));
        }
        let url = Url::parse(endpoint).map_err(|error| format!("is no address: {error}"))?;
        let is_scheme = url.scheme() == "https" || self.allow_private && url.scheme() == "http";
        if !is_scheme {
            return Err("does not begin with https:".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("has a user, a password or a fragment".to_owned());
        }
        let guard = Guard {
            allow_private: self.allow_private,
        };
        let checked = match url.host() {
            Some(url::Host::Ipv4(address)) => guard.check(address.into()),
            Some(url::Host::Ipv6(address)) => guard.check(address.into()),
            Some(url::Host::Domain(_)) => Ok(()),
            None => return Err("names no host".to_owned()),
        };
        checked.map_err(|why| format!("is not asked: {why}"))
    }

    /// Whether there is room for one more of this caller.
    pub(super) fn check_room(&self, tenant: &str, caller: &str) -> Result<(), BrowserError> {
        let known = self.known.lock();
        let all = || known.values().flatten();
        let of_caller = all().filter(|one| one.caller == caller).count();
        let of_tenant = known.get(tenant).map_or(0, Vec::len);
        for (whose, count, max) in [
            ("one caller", of_caller, CALLER_MAX),
            ("one tenant", of_tenant, TENANT_MAX),
            ("all together", all().count(), ALL_MAX),
        ] {
            if count >= max {
                return Err(BrowserError::Full { whose, max });
            }
        }
        Ok(())
    }

    /// Puts these in the place of those that a tenant had.
    pub(super) fn store(&self, tenant: &str, browsers: Vec<Browser>) -> Result<(), DocumentError> {
        let name = format!("{FOLDER}/{}", document_of(tenant));
        if browsers.is_empty() {
            self.documents.delete(&name, Expected::Any)?;
            self.known.lock().remove(tenant);
            return Ok(());
        }
        let stored = Stored {
            tenant: tenant.to_owned(),
            browsers,
        };
        self.documents.put(&name, Expected::Any, &stored)?;
        self.known.lock().insert(stored.tenant, stored.browsers);
        Ok(())
    }
}
