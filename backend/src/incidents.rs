//! What became of every incident: its timeline, kept for long after it ended, and searched.
//!
//! ```text
//! alerts ──▶ book (memory) ──▶ lines that wait ──▶ file        sinks never wait for the disk
//! what was and was not told ──┘        └──── too many: the file is written anew instead
//! ```

pub mod book;
pub mod entry;
mod file;
pub mod labelling;

use std::{fmt, io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_notify::Fingerprint;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    book::{Book, Change, keeper_of},
    entry::{Entry, Incident, labels_of},
    file::{Journal, write_line},
    labelling::Labelling,
};
use crate::{
    base::{clock::Clock, data_dir::INCIDENTS, json::json_text, telemetry::Telemetry},
    cluster::voice::{Said, Voice},
};

/// Lines that wait for the disk; past it the file is written anew, from what is held anyway.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// Lines come together for so long, unless somebody waits for one.
const GATHER_MS: i64 = 200;

/// So long after a failure it is tried again.
const RETRY_MS: i64 = 2_000;

/// All incidents.
pub struct Incidents {
    /// Held for moments: readers take what they need and look at it afterwards. Leaf lock.
    held: Mutex<Held>,
    /// The file; `None` keeps everything in memory. Taken before `held`.
    journal: Option<Mutex<Journal>>,
    /// There is something to be written.
    changed: Notify,
    /// Somebody waits for it.
    hurried: Notify,
    /// Which line was written last, and whether the last try failed.
    written: watch::Sender<Written>,
    failures: Counter,
    labelling: Labelling,
    /// Where other servers have the same incidents.
    voice: Option<Arc<Voice>>,
}

#[derive(Default)]
struct Held {
    book: Book,
    /// There is a file.
    is_written: bool,
    waiting: Vec<u8>,
    /// Lines so far.
    said: u64,
    /// The file is written anew, since lines were dropped.
    is_rewritten: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Written {
    upto: u64,
    tries: u64,
    failed: bool,
}

impl Incidents {
    /// What lies in the data folder; `None` keeps everything in memory.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(
        folder: Option<PathBuf>,
        telemetry: &Telemetry,
        voice: Option<Arc<Voice>>,
    ) -> io::Result<Arc<Self>> {
        let mut book = Book::default();
        let journal = match folder {
            None => None,
            Some(folder) => {
                let path = folder.join(INCIDENTS);
                let (journal, unreadable) = Journal::open(&path, &mut book)?;
                if unreadable > 0 {
                    tracing::warn!(
                        lines = unreadable,
                        "{}: lines that cannot be read are passed over",
                        path.display()
                    );
                }
                Some(Mutex::new(journal))
            }
        };
        let held = Held {
            book,
            is_written: journal.is_some(),
            ..Held::default()
        };
        Ok(Arc::new(Self {
            held: Mutex::new(held),
            journal,
            changed: Notify::new(),
            hurried: Notify::new(),
            written: watch::Sender::default(),
            failures: telemetry.counter(
                "pulseboard_incidents_write_failures",
                "Times that the disk did not take what became of incidents.",
            ),
            labelling: Labelling::default(),
            voice,
        }))
    }

    /// Under which labels incidents are known to whoever is told of them.
    #[must_use]
    pub fn labelling(&self) -> &Labelling {
        &self.labelling
    }

    /// Ends what no rule goes on with, once all rules are there: incidents that a run before this
    /// one left firing and that `is_active` does not know.
    pub fn end_others(&self, now_ms: i64, is_active: impl Fn(Uuid) -> bool) {
        let mut held = self.held.lock();
        let left: Vec<(Arc<str>, Uuid)> = held
            .book
            .firing()
            .filter(|(_, incident)| !is_active(incident.id))
            .map(|(tenant, incident)| (Arc::clone(tenant), incident.id))
            .collect();
        for (tenant, id) in left {
            let entry = Entry::new(now_ms, entry::Kind::Resolved);
            let change = held.book.add(&tenant, id, entry, None);
            held.write(&tenant, change);
        }
        drop(held);
        self.changed.notify_one();
    }

    /// Takes an incident that goes on and that nobody knew of: of a version before this one.
    pub fn adopt(&self, event: &AlertEvent) {
        let is_known = self.get(keeper_of(event), event.alert.incident).is_some();
        if !is_known {
            self.publish(0, event);
        }
    }

    /// Adds what happened to an incident of a tenant, on all servers; false where there is none.
    pub fn add(&self, tenant: &str, id: Uuid, entry: Entry) -> bool {
        if let Some(voice) = &self.voice {
            let said = Said::Entry {
                tenant: tenant.into(),
                incident: id,
                entry: json_text(&entry),
            };
            voice.say(entry.at_ms, said);
        }
        self.add_here(tenant, id, entry)
    }

    /// Whether an alert is in its incident's timeline already.
    #[must_use]
    pub fn has(&self, event: &AlertEvent) -> bool {
        let known = self.get(keeper_of(event), event.alert.incident);
        known.is_some_and(|known| known.has(event))
    }

    /// Adds what another server says that happened, as JSON; what is there already is not added.
    pub fn hear_entry(&self, tenant: &str, id: Uuid, entry: &str) {
        let entry: Entry = match serde_json::from_str(entry) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(%error, "what happened in an incident cannot be read here");
                return;
            }
        };
        let known = self.get(tenant, id);
        if known.is_some_and(|known| !known.entries.contains(&entry)) {
            self.add_here(tenant, id, entry);
        }
    }

    fn add_here(&self, tenant: &str, id: Uuid, entry: Entry) -> bool {
        let mut held = self.held.lock();
        let change = held.book.add(tenant, id, entry, None);
        let is_there = change.is_some();
        held.write(tenant, change);
        drop(held);
        self.changed.notify_one();
        is_there
    }

    /// Adds what happened to the newest incident of a set of labels.
    pub fn add_to_newest(&self, tenant: &str, fingerprint: Fingerprint, entry: Entry) -> bool {
        let newest = self.newest_of(tenant, fingerprint);
        newest.is_some_and(|id| self.add(tenant, id, entry))
    }

    /// A tenant's newest one of an alert.
    #[must_use]
    pub fn newest_of(&self, tenant: &str, fingerprint: Fingerprint) -> Option<Uuid> {
        let held = self.held.lock();
        held.book.newest_of(tenant, fingerprint).map(|one| one.id)
    }

    /// One of a tenant's own.
    #[must_use]
    pub fn get(&self, tenant: &str, id: Uuid) -> Option<Arc<Incident>> {
        self.held.lock().book.get(tenant, id).map(Arc::clone)
    }

    /// One that a tenant may see, see [`Book::see`].
    #[must_use]
    pub fn see(&self, tenant: &str, id: Uuid) -> Option<Arc<Incident>> {
        self.held.lock().book.see(tenant, id)
    }

    /// All that a tenant may see, newest first; those that others look after without what is
    /// theirs. Takes a while where there are many.
    #[must_use]
    pub fn seen_by(&self, tenant: &str) -> Vec<Arc<Incident>> {
        let (mut all, servers) = self.held.lock().book.seen_by(tenant);
        all.extend(servers.iter().map(|one| Arc::new(one.without_people())));
        all.sort_unstable_by_key(|one| std::cmp::Reverse(one.id));
        all
    }

    /// How many there are, and about how many bytes they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.held.lock().book.size()
    }

    /// Waits until all that was said so far outlives the process.
    ///
    /// # Errors
    /// The disk did not take it: it is in memory alone, and is tried again.
    pub async fn safe(&self) -> Result<(), NotWritten> {
        if self.journal.is_none() {
            return Ok(());
        }
        let said = self.held.lock().said;
        let mut written = self.written.subscribe();
        let tries = written.borrow().tries;
        self.hurried.notify_one();
        self.changed.notify_one();
        let seen = written
            .wait_for(|written| written.upto >= said || written.tries > tries && written.failed)
            .await;
        match seen {
            Ok(written) if written.upto >= said => Ok(()),
            _ => Err(NotWritten),
        }
    }

    /// Writes until the server stops.
    pub async fn run(self: Arc<Self>, clock: Clock, stopping: CancellationToken) {
        if self.journal.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.changed.notified() => {}
            }
            let gathered_ms = clock.steady_ms() + GATHER_MS;
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.hurried.notified() => {}
                () = clock.sleep_until_steady(gathered_ms) => {}
            }
            let writer = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || writer.write()).await;
            if !matches!(written, Ok(true)) {
                let again_ms = clock.steady_ms() + RETRY_MS;
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = self.hurried.notified() => {}
                    () = clock.sleep_until_steady(again_ms) => {}
                }
                self.changed.notify_one();
            }
        }
    }

    /// Writes what waits; whether the disk took it. Blocks.
    pub fn write(&self) -> bool {
        let Some(journal) = &self.journal else {
            return true;
        };
        let mut journal = journal.lock();
        let (lines, said, all) = {
            let mut held = self.held.lock();
            let is_rewritten = held.is_rewritten || journal.is_wasteful();
            let all: Option<Vec<(Arc<str>, Arc<Incident>)>> = is_rewritten.then(|| {
                let all = held.book.all();
                all.map(|(tenant, one)| (Arc::clone(tenant), Arc::clone(one)))
                    .collect()
            });
            held.is_rewritten = false;
            (std::mem::take(&mut held.waiting), held.said, all)
        };
        let done = match &all {
            Some(all) => journal.rewrite(all.iter().map(|(tenant, one)| (tenant, one))),
            None if lines.is_empty() => Ok(()),
            None => journal.append(&lines),
        };
        if let Err(error) = &done {
            self.failures.inc();
            tracing::error!(%error, "what became of incidents cannot be written; it is kept in memory");
            // How much of it is there is not known, so all of it is written anew.
            self.held.lock().is_rewritten = true;
        }
        self.written.send_modify(|written| {
            written.tries += 1;
            written.failed = done.is_err();
            if done.is_ok() {
                written.upto = said;
            }
        });
        done.is_ok()
    }
}

/// What was said is in memory alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk does not take it; it is in memory alone, and is tried again")]
pub struct NotWritten;

impl Held {
    fn write(&mut self, tenant: &str, change: Option<Change>) {
        let Some(change) = change else { return };
        self.said += 1;
        if !self.is_written || self.is_rewritten {
            return;
        }
        write_line(&mut self.waiting, tenant, &change);
        if self.waiting.len() > WAITING_BYTES_MAX {
            self.waiting = Vec::new();
            self.is_rewritten = true;
        }
    }
}

impl AlertSink for Incidents {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        // One that nobody is told of has its own.
        let labels = self.labelling.labels(event);
        let labels = labels.unwrap_or_else(|| labels_of(event));
        let mut held = self.held.lock();
        let change = held.book.take_as(event, labels);
        held.write(keeper_of(event), change);
        drop(held);
        self.changed.notify_one();
    }

    fn hear(&self, offset: u64, event: &AlertEvent) {
        self.publish(offset, event);
    }
}

impl fmt::Debug for Incidents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incidents")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
