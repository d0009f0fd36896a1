//! What all servers have alike beside feeds, and who does what one does for all.
//!
//! ```text
//!   documents ──put──▶ Redis ◀──write, with the lease's token── who evaluates and notifies
//!                        │
//!                        └──five times a second──▶ each server's copy: documents, states
//! ```
//!
//! Two shelves of Redis: `documents`, which people change at any server, and `states`, which only
//! the holder of a tenant's lease writes: how its groups of rules are, and what is known of its
//! notifications. A holder acts as long as its lease lets it by its own steady clock, and whatever
//! it says goes with its token: what comes with an older one than somebody has shown is refused.
//! Who takes a lease first shows its token, and then reads what the one before it left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use pulseboard_alerting::AlertEvent;
use pulseboard_bus::{
    Bus, BusError, Cluster as Common, Fence, Partition, Redis, Shelve, Shelved, Spread, State,
    Work,
    shelf::{Change, Changes, Thing},
};
use pulseboard_notify::PostedAlert;

use super::{
    voice::{Said, Voice, alert_frame, alerts_key, parts_of},
    within,
};
use crate::{
    base::{
        documents::{self, DocumentError, Documents, Elsewhere, Expected, PUSH_KEY, Revision},
        telemetry::Telemetry,
    },
    settings::AlertsAlone,
};

const DOCUMENTS: &str = "documents";
const STATES: &str = "states";

/// What whoever has the lease does.
const WORK: &str = "alerts";
/// How long somebody waits until what was posted is passed on.
const PASSED_WITHIN: Duration = Duration::from_secs(2);

/// Something that was not written is tried again after this, as long as the lease lasts.
const AGAIN: Duration = Duration::from_millis(50);

/// Revisions of a service are milliseconds; those that a server gave by itself are smaller.
const SERVICES: u64 = 1_000_000_000_000;

/// The right to act for a tenant: of one lease, as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(u64);

impl Term {
    /// Nobody has it.
    pub const NONE: Self = Self(0);
    /// A server that is alone and is to do everything then.
    pub const ALONE: Self = Self(u64::MAX);
    /// A server that is alone and looks after its own host.
    pub const OWN: Self = Self(u64::MAX - 1);

    /// As a number, to be kept.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// Of its number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

/// Who acts for a tenant now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This server.
    Ours(Term),
    /// Another one, or nobody yet.
    Theirs,
    /// Nobody can be reached, and each looks after its own host alone.
    Own,
}

/// What became of what a holder wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// All servers have it.
    Told,
    /// There is nobody to be told.
    Alone,
    /// Nothing was done: another server acts for this tenant.
    NotOurs,
}

/// What is the same on all servers.
pub struct Alike {
    redis: Arc<Redis>,
    documents: Arc<Documents>,
    voice: Arc<Voice>,
    work: Arc<Work>,
    /// Writes that may have to be asked for again have a number.
    writes: AtomicU64,
    alone: AlertsAlone,
    /// One reads at a time.
    copying: tokio::sync::Mutex<Copied>,
    /// Leaf lock.
    states: Mutex<BTreeMap<String, Held>>,
    /// What changed and was not looked at yet. Leaf lock.
    changed: Mutex<Changed>,
    /// Partitions whose token was shown. Leaf lock.
    claimed: Mutex<BTreeMap<Partition, u64>>,
    refused: Counter,
}

/// A state.
#[derive(Clone, Debug)]
pub struct Held {
    /// Grows with each change.
    pub revision: u64,
    /// As its holder wrote it.
    pub bytes: Bytes,
}

/// What changed on other servers since it was last asked.
#[derive(Debug, Default)]
pub struct Changed {
    /// Names of documents.
    pub documents: BTreeSet<String>,
    /// Names of states.
    pub states: BTreeSet<String>,
    /// The service was found, and has nothing yet: what is known here is to be brought in.
    pub is_new: bool,
}

/// How far the copies are.
#[derive(Debug, Default)]
struct Copied {
    documents: Place,
    states: Place,
}

#[derive(Debug, Default)]
struct Place {
    lineage: String,
    newest: u64,
}

impl Alike {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(
        redis: &Arc<Redis>,
        documents: &Arc<Documents>,
        alone: AlertsAlone,
        telemetry: &Telemetry,
    ) -> Arc<Self> {
        let bus: Arc<dyn Bus> = Arc::clone(redis) as Arc<dyn Bus>;
        Arc::new(Self {
            work: redis.leases().work(WORK, Spread::Partitions),
            writes: AtomicU64::new(1),
            voice: Voice::new(bus),
            redis: Arc::clone(redis),
            documents: Arc::clone(documents),
            alone,
            copying: tokio::sync::Mutex::default(),
            states: Mutex::default(),
            changed: Mutex::default(),
            claimed: Mutex::default(),
            refused: telemetry.counter(
                "pulseboard_alert_writes_refused",
                "What this server found by rules and was not taken, since another one acts for the tenant.",
            ),
        })
    }

    fn common(&self) -> &Common {
        self.redis.common()
    }

    /// What servers say to each other of alerts.
    #[must_use]
    pub fn voice(&self) -> &Arc<Voice> {
        &self.voice
    }

    /// What this server is called.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.common().instance()
    }

    /// Who acts for a tenant; says nothing to anybody.
    #[must_use]
    pub fn role(&self, tenant: &str) -> Role {
        let state = self.redis.state();
        if let State::Alone { .. } = *state.borrow() {
            return match self.alone {
                AlertsAlone::All => Role::Ours(Term::ALONE),
                AlertsAlone::Own => Role::Own,
            };
        }
        match self.work.token(Partition::of(tenant)) {
            Some(token) => Role::Ours(Term(token)),
            None => Role::Theirs,
        }
    }

    /// The right to act for a tenant, once what whoever had it before left is known here. Blocks.
    pub fn claim(&self, tenant: &str) -> Option<Term> {
        let Role::Ours(term) = self.role(tenant) else {
            return None;
        };
        let partition = Partition::of(tenant);
        if term == Term::ALONE || self.claimed.lock().get(&partition) == Some(&term.0) {
            return Some(term);
        }
        let shown = wait(async {
            let fence = Some(Fence {
                partition,
                token: term.0,
            });
            let show = Shelve {
                thing: None,
                read: None,
                fence,
                once: None,
                tell: &[],
            };
            let shown = self.common().shelve(STATES, show).await?;
            // Whoever had it before writes nothing from here on.
            self.copy().await?;
            Ok::<Shelved, BusError>(shown)
        });
        match shown {
            Ok(Shelved::Done(_)) => {
                self.claimed.lock().insert(partition, term.0);
                Some(term)
            }
            Ok(_) => {
                self.refused.inc();
                None
            }
            Err(error) => {
                tracing::debug!(%error, "a lease is not acted on yet");
                None
            }
        }
    }

    /// Writes for a tenant, where this server acts for it: a state (`None` removes it), and what
    /// happened to alerts, at once. Blocks until it is done, or the lease is over.
    pub fn write(
        &self,
        (tenant, term): (&str, Term),
        state: Option<(&str, Option<&[u8]>)>,
        events: &[AlertEvent],
    ) -> Wrote {
        if term == Term::ALONE {
            if self.role(tenant) != Role::Ours(Term::ALONE) {
                return Wrote::NotOurs;
            }
            // For when the others are there again, unless one of them has gone on meanwhile.
            if let Some((name, bytes)) = state {
                let known = self.state(name).map_or(0, |held| held.revision);
                self.keep_own(name, known + 1, bytes);
            }
            return Wrote::Alone;
        }
        let viewers = alerts_key();
        let mut tell = Vec::with_capacity(2 * events.len());
        for event in events {
            let now_ms = event.alert.timestamp.as_millis();
            let said = Said::Event(Box::new(event.clone()));
            tell.push((self.voice.key(), self.voice.frame(now_ms, said)));
            tell.push((&viewers, alert_frame(event)));
        }
        let change = state.map(|(name, bytes)| match bytes {
            Some(bytes) => (name, Change::Set(bytes)),
            None => (name, Change::Remove),
        });
        let partition = Partition::of(tenant);
        let fence = Some(Fence {
            partition,
            token: term.0,
        });
        // A few at a time; the state goes with the last of them.
        let mut parts: Vec<&[(_, Bytes)]> = tell.chunks(EVENTS_AT_ONCE).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len() - 1;
        for (number, part) in parts.into_iter().enumerate() {
            let shelve = Shelve {
                thing: change.filter(|_| number == last),
                read: None,
                fence,
                // Where there was no answer it is asked for again, and told once all the same.
                once: Some(self.writes.fetch_add(1, Ordering::Relaxed)),
                tell: part,
            };
            match self.write_once(tenant, term, shelve) {
                Some(Shelved::Done(revision)) => {
                    if let Some((name, bytes)) = state.filter(|_| number == last) {
                        self.keep_own(name, revision, bytes);
                    }
                }
                _ => {
                    self.refused.inc();
                    self.claimed.lock().remove(&partition);
                    return Wrote::NotOurs;
                }
            }
        }
        Wrote::Told
    }

    /// Passes alerts that somebody posted on to whoever acts for a tenant, and waits until that is
    /// safe. Blocks, for two seconds at the most.
    ///
    /// # Errors
    /// Nobody acts for it now, the others are away, or too much waits; part of it may be passed on.
    pub fn pass_on(
        &self,
        tenant: &str,
        at_ms: i64,
        alerts: Vec<PostedAlert>,
    ) -> Result<(), String> {
        wait(async {
            let partition = Partition::of(tenant);
            let is_leased = within(self.common().is_leased(WORK, partition)).await;
            if !is_leased.map_err(|error| error.to_string())? {
                return Err("no server tells of this tenant's alerts at the moment".to_owned());
            }
            let mut told = Vec::new();
            for said in posted(tenant, at_ms, alerts) {
                let said = self.voice.say_told(at_ms, said);
                told.push(said.map_err(|refused| refused.to_string())?);
            }
            match tokio::time::timeout(PASSED_WITHIN, join_all(told)).await {
                Ok(told) if told.iter().all(Option::is_some) => Ok(()),
                Ok(_) | Err(_) => Err("the other servers were not told in time".to_owned()),
            }
        })
    }

    /// Has the other servers know what was posted to this one, which acts for the tenant: whoever
    /// acts for it next goes on with that.
    pub fn tell_posted(&self, tenant: &str, at_ms: i64, alerts: Vec<PostedAlert>) {
        for said in posted(tenant, at_ms, alerts) {
            self.voice.say(at_ms, said);
        }
    }

    fn write_once(&self, tenant: &str, term: Term, shelve: Shelve<'_>) -> Option<Shelved> {
        wait(async {
            loop {
                if self.role(tenant) != Role::Ours(term) {
                    return None;
                }
                match self.common().shelve(STATES, shelve).await {
                    Ok(shelved) => return Some(shelved),
                    Err(error @ BusError::Refused(_)) => {
                        tracing::error!(%error, tenant, "what is known of alerts is not taken");
                        return None;
                    }
                    Err(error) => tracing::debug!(%error, "what is known of alerts is told again"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    fn keep_own(&self, name: &str, revision: u64, bytes: Option<&[u8]>) {
        let mut states = self.states.lock();
        match bytes {
            Some(bytes) => {
                let bytes = Bytes::copy_from_slice(bytes);
                states.insert(name.to_owned(), Held { revision, bytes });
            }
            None => drop(states.remove(name)),
        }
    }

    /// A state as its holder wrote it last.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<Held> {
        self.states.lock().get(name).cloned()
    }

    /// States whose names begin like this.
    #[must_use]
    pub fn states(&self, prefix: &str) -> Vec<(String, Held)> {
        let states = self.states.lock();
        let from = states.range(prefix.to_owned()..);
        from.take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, held)| (name.clone(), held.clone()))
            .collect()
    }

    /// What changed since this was last asked.
    #[must_use]
    pub fn take_changed(&self) -> Changed {
        std::mem::take(&mut *self.changed.lock())
    }

    /// Has the copies be as the shelves are now.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn copy(&self) -> Result<(), BusError> {
        let mut copied = self.copying.lock().await;
        self.copy_documents(&mut copied.documents).await?;
        self.copy_states(&mut copied.states).await
    }

    /// [`Self::copy`], for a thread that may block.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub fn copy_now(&self) -> Result<(), BusError> {
        wait(self.copy())
    }

    async fn copy_states(&self, place: &mut Place) -> Result<(), BusError> {
        loop {
            let read = self.common().shelf(STATES, place.newest).await?;
            if place.is_lost(&read) {
                // What is not there any more is known here, and goes on with its next holder.
                *place = Place::begin(&read);
                continue;
            }
            place.lineage.clone_from(&read.lineage);
            let mut names = Vec::new();
            {
                let mut states = self.states.lock();
                for thing in read.things {
                    place.newest = thing.revision;
                    let revision = thing.revision;
                    let known = states.get(&thing.name).map(|held| held.revision);
                    if known.is_some_and(|known| known >= revision) {
                        continue;
                    }
                    match thing.bytes {
                        Some(bytes) => {
                            states.insert(thing.name.clone(), Held { revision, bytes });
                        }
                        None => drop(states.remove(&thing.name)),
                    }
                    names.push(thing.name);
                }
            }
            self.changed.lock().states.extend(names);
            if place.newest >= read.newest {
                return Ok(());
            }
        }
    }

    async fn copy_documents(&self, place: &mut Place) -> Result<(), BusError> {
        let mut read = self.common().shelf(DOCUMENTS, place.newest).await?;
        if place.is_lost(&read) {
            return self.reconcile(place).await;
        }
        loop {
            let newest = read.newest;
            if let Some(last) = read.things.last() {
                place.newest = last.revision;
                let things = std::mem::take(&mut read.things);
                self.take(things).await;
            }
            if place.newest >= newest {
                return Ok(());
            }
            read = self.common().shelf(DOCUMENTS, place.newest).await?;
        }
    }

    /// Takes documents of others, on a thread that may wait for the disk.
    async fn take(&self, things: Vec<Thing>) {
        let documents = Arc::clone(&self.documents);
        let taken = tokio::task::spawn_blocking(move || {
            let mut names = Vec::new();
            for thing in things {
                let bytes = thing.bytes.as_deref().map(std::str::from_utf8);
                let Ok(text) = bytes.transpose() else {
                    continue;
                };
                if documents.take(&thing.name, Revision(thing.revision), text) {
                    names.push(thing.name);
                }
            }
            names
        });
        match taken.await {
            Ok(names) => self.changed.lock().documents.extend(names),
            Err(error) => tracing::error!(%error, "taking in documents panicked"),
        }
    }

    async fn leave_out(&self, name: String) {
        let documents = Arc::clone(&self.documents);
        let left = tokio::task::spawn_blocking(move || documents.leave_out(&name));
        drop(left.await);
    }

    /// What was removed, as is known here, is gone on the shelf, too: Redis may have lost that, and
    /// who was away meanwhile would bring it back.
    async fn bury(
        &self,
        name: &str,
        revision: Revision,
        there: &mut BTreeMap<String, Thing>,
    ) -> Result<(), BusError> {
        let known = there.get(name).map_or(0, |thing| thing.revision);
        if known >= revision.0 || revision.0 < SERVICES {
            return Ok(());
        }
        let bury = Shelve {
            thing: Some((name, Change::Bury(revision.0))),
            read: None,
            fence: None,
            once: None,
            tell: &[],
        };
        if let Shelved::Done(_) = self.common().shelve(DOCUMENTS, bury).await? {
            there.remove(name);
        }
        Ok(())
    }

    /// The service is met for the first time, or Redis has lost something: what each has and the
    /// other has not is found out.
    async fn reconcile(&self, place: &mut Place) -> Result<(), BusError> {
        let mut there: BTreeMap<String, Thing> = BTreeMap::new();
        let mut found = Place::default();
        loop {
            let read = self.common().shelf(DOCUMENTS, found.newest).await?;
            found.lineage.clone_from(&read.lineage);
            for thing in read.things {
                found.newest = thing.revision;
                there.insert(thing.name.clone(), thing);
            }
            if found.newest >= read.newest {
                break;
            }
        }
        let is_new = there.keys().all(|name| name == PUSH_KEY);
        let own = self.documents.shared();
        let has_browsers = own.iter().any(|(name, _)| name.starts_with("browsers/"));
        let own = own
            .into_iter()
            .map(|(name, revision)| (name, revision, false));
        let removed = self.documents.removed().into_iter();
        let removed = removed.map(|(name, revision)| (name, revision, true));
        let mut own: Vec<_> = own.chain(removed).collect();
        // Those that keep their revisions first, in their order: what is newer than all that is
        // there stays as it is.
        own.sort_by_key(|(_, revision, _)| (revision.0 < SERVICES, *revision));
        for (name, revision, is_removed) in own {
            if is_removed {
                self.bury(&name, revision, &mut there).await?;
                continue;
            }
            let known = there.get(&name).map_or(0, |thing| thing.revision);
            // Browsers know the server that they subscribed at by this key.
            let is_key = is_new && has_browsers && name == PUSH_KEY;
            if known >= revision.0 && !is_key {
                continue;
            }
            if known == 0 && !is_new && revision.0 < SERVICES {
                self.leave_out(name).await;
                continue;
            }
            let Some((revision, text)) = self.documents.text(&name) else {
                continue;
            };
            let change = match revision.0 < SERVICES {
                true => Change::Set(text.as_bytes()),
                false => Change::Bring(text.as_bytes(), revision.0),
            };
            let read = (known == 0 && !is_key).then_some(0);
            let bring = Shelve {
                thing: Some((&name, change)),
                read: read.filter(|_| matches!(change, Change::Set(_))),
                fence: None,
                once: None,
                tell: &[],
            };
            match self.common().shelve(DOCUMENTS, bring).await? {
                Shelved::Done(given) => {
                    let thing = Thing {
                        name: name.clone(),
                        revision: given,
                        bytes: Some(text.clone().into()),
                    };
                    there.remove(&name);
                    self.take(vec![thing]).await;
                }
                // It was removed so long ago that nobody knows of it any more.
                Shelved::Other(0) if matches!(change, Change::Bring(..)) => {
                    self.leave_out(name).await;
                }
                _ => {}
            }
        }
        self.take(there.into_values().collect()).await;
        *place = found;
        if is_new {
            self.changed.lock().is_new = true;
        }
        Ok(())
    }
}

/// Events that are told in one step.
const EVENTS_AT_ONCE: usize = 200;

impl Place {
    /// Whether what was copied may not be there any more.
    fn is_lost(&self, read: &Changes) -> bool {
        self.lineage != read.lineage || read.newest < self.newest
    }

    /// Nothing of it is copied yet.
    fn begin(read: &Changes) -> Self {
        Self {
            lineage: read.lineage.clone(),
            newest: 0,
        }
    }
}

/// What was posted at this time, in as many words as it takes.
fn posted(tenant: &str, at_ms: i64, alerts: Vec<PostedAlert>) -> impl Iterator<Item = Said> {
    let tenant: Arc<str> = tenant.into();
    let parts = parts_of(alerts).into_iter();
    parts.map(move |alerts| Said::Posted {
        tenant: Arc::clone(&tenant),
        at_ms,
        alerts,
    })
}

/// Waits on a thread that may block.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

impl Elsewhere for Alike {
    fn put(
        &self,
        name: &str,
        expected: Expected,
        text: Option<&str>,
    ) -> Result<Revision, DocumentError> {
        debug_assert!(documents::is_shared(name), "{name}");
        let read = match expected {
            Expected::Any => None,
            Expected::New => Some(0),
            Expected::Revision(revision) => Some(revision.0),
        };
        let change = text.map_or(Change::Remove, |text| Change::Set(text.as_bytes()));
        let shelve = Shelve {
            thing: Some((name, change)),
            read,
            fence: None,
            once: None,
            tell: &[],
        };
        match wait(self.common().shelve(DOCUMENTS, shelve)) {
            Ok(Shelved::Done(revision)) => Ok(Revision(revision)),
            Ok(Shelved::Other(revision)) => Err(DocumentError::Conflict {
                current: (revision > 0).then_some(Revision(revision)),
            }),
            Ok(Shelved::Outdated | Shelved::Full) => Err(DocumentError::Full),
            Err(error) => Err(DocumentError::Away(error.to_string())),
        }
    }
}

impl fmt::Debug for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alike")
            .field("states", &self.states.lock().len())
            .finish_non_exhaustive()
    }
}
