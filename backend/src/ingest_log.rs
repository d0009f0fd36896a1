//! Samples that all servers of a service have: what one takes in goes through a log in Redis, which
//! each takes in in the same order.
//!
//! ```text
//! batch ──▶ engine ──▶ window, history's log ────────────────────┐
//!              └──▶ frame ──▶ note in the history's log           ├──▶ its sender is answered
//!                     └──▶ entry, packed ──▶ bus ──▶ every server ──▶ engine
//! ```
//!
//! A sender is answered when its samples are in this server's log and in Redis, which happens at
//! once; while the others cannot be reached, by the log alone. See `docs/decisions/0011`.

mod book;
pub mod copy;
mod entry;
mod figures;
mod incoming;
mod joining;
mod outgoing;
mod places;

use std::{
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_engine::Engine;
use pulseboard_history::History;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    book::Book,
    entry::{Deletion, ENTRY_BYTES, Packer, Unpacker},
    incoming::{Deleted, Door, Incoming},
    joining::{Joining, Wanted},
    outgoing::Outgoing,
};
pub use self::{
    figures::{Count, Figures},
    joining::{PATH as COPY_PATH, TICKET},
    places::Places,
};
use crate::{
    base::{clock::Clock, data_dir::HISTORY},
    cluster::Cluster,
    ingest::Ingest,
    settings::{DataDir, Settings},
};

/// A deletion is waited for so long.
const DELETED_WITHIN: Duration = Duration::from_secs(30);

/// The folder of a copy while another server gets it.
const COPY: &str = "copying";

/// Tickets of so many who want a copy are looked for at once.
const ASKED_AT_ONCE: usize = 4;

/// A note has so many bytes at least.
const NOTE_BYTES_MIN: u64 = 16;

/// A copy may have so much beside what `HISTORY_MAX_BYTES` bounds: the log.
const COPIED_BESIDE: u64 = 4 << 30;

/// What is on its way when the server ends has so long.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// Why series were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteFailed {
    /// The others cannot be told.
    #[error("the other servers cannot be reached, and would keep what is deleted here; try again")]
    Away,
    /// What is to be deleted has more text than an entry of the log.
    #[error("match[] takes more than {} KiB; delete in several requests", ENTRY_BYTES >> 10)]
    TooLarge,
    /// It failed here; what of it was done by then stays so.
    #[error("{0}")]
    Here(String),
}

/// Samples that all servers have.
pub struct IngestLog {
    outgoing: Arc<Outgoing>,
    figures: Arc<Figures>,
    deleted: Arc<Deleted>,
    door: Arc<Door>,
    runtime: Handle,
    /// What the threads begin with; taken by [`Self::start`].
    begin: Mutex<Option<Begin>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    cluster: Arc<Cluster>,
    /// Held while a copy is made.
    copying: Mutex<()>,
    /// Held while it is looked for a ticket.
    asked: Semaphore,
}

struct Begin {
    incoming: Incoming,
    unpacker: Unpacker,
    packers: [Packer; 2],
    joining: Option<Joining>,
}

impl IngestLog {
    /// That of these settings; `again` is cancelled when another server's history lies ready to
    /// take the place of this one's. Everything that comes into the engine from now on goes through
    /// it. Blocks: it looks through the history's log for what an earlier run has not sent. To be
    /// called where there is a runtime.
    ///
    /// # Errors
    /// There is no memory for packing.
    pub fn open(
        settings: &Settings,
        cluster: &Arc<Cluster>,
        engine: &Arc<Engine>,
        ingest: &Arc<Ingest>,
        (clock, again): (Clock, &CancellationToken),
    ) -> io::Result<Arc<Self>> {
        let folder = match &settings.data_dir {
            DataDir::Path(folder) if engine.history().is_some() => Some(folder.clone()),
            _ => None,
        };
        let places = folder.as_ref().and_then(|folder| Places::read(folder));
        let segments = engine.history().map(|history| history.wal_segments());
        let is_empty = engine.series() == 0 && segments.is_none_or(|all| all.is_empty());
        let is_new = places.is_none() && is_empty;
        // What was here before there was a log is with nobody else.
        let more = places.is_none() && !is_empty;
        let mut places = places.unwrap_or_default();
        places.more |= more;
        let history = engine.history().cloned();
        if let (Some(history), Some(folder)) = (&history, &folder) {
            // Where nothing is left of the log its segments have small numbers again.
            let current = history.current_wal_segment();
            if places.own_from > current {
                places.own_from = current;
                // Before there is a note: it would be taken for somebody else's.
                places.write(folder)?;
            }
        }
        let newest = history
            .as_deref()
            .map_or(0, |history| newest_number(history, &places));
        let first = history.as_deref().and_then(|history| {
            let segments = history.wal_segments();
            segments.first().map(|segment| segment.number)
        });
        let book = Book::new(newest, places.sent, first.unwrap_or_default());
        if let (Some(history), Some(first)) = (&history, first) {
            history.hold_wal(first);
        }
        let figures = Arc::<Figures>::default();
        let runtime = Handle::current();
        let bus = Arc::clone(cluster.bus());
        let me = Arc::clone(cluster.member());
        let outgoing = Arc::new(Outgoing::new(
            (Arc::clone(&bus), Arc::clone(&me)),
            (history, places.own_from),
            (book, clock.clone()),
            Arc::clone(&figures),
            runtime.clone(),
        ));
        engine.share_with(Arc::clone(&outgoing) as Arc<_>);
        cluster.say_behind(Some(
            "behind: the ingest log has not been read yet".to_owned(),
        ));
        let (door, deleted) = (Arc::<Door>::default(), Arc::<Deleted>::default());
        let wanted = Arc::<Wanted>::default();
        let peer = cluster.peer_address(settings);
        cluster.common().say(|member| {
            member.peer = peer;
            member.more = places.more;
        });
        let joining = folder.clone().map(|folder| Joining {
            cluster: Arc::clone(cluster),
            outgoing: Arc::clone(&outgoing),
            clock: clock.clone(),
            wanted: Arc::clone(&wanted),
            folder,
            bytes_max: (settings.history_max_bytes as u64).saturating_add(COPIED_BESIDE),
            more: places.more,
            again: again.clone(),
        });
        let incoming = Incoming {
            bus,
            cluster: Arc::clone(cluster),
            me,
            engine: Arc::clone(engine),
            ingest: Arc::clone(ingest),
            outgoing: Arc::clone(&outgoing),
            clock,
            figures: Arc::clone(&figures),
            deleted: Arc::clone(&deleted),
            door: Arc::clone(&door),
            wanted,
            is_new,
            runtime: runtime.clone(),
            folder,
            places,
            buffer_bytes: settings.ingest_buffer_bytes as u64,
        };
        let begin = Begin {
            incoming,
            unpacker: Unpacker::new()?,
            packers: [Packer::new()?, Packer::new()?],
            joining,
        };
        Ok(Arc::new(Self {
            outgoing,
            figures,
            deleted,
            door,
            runtime,
            begin: Mutex::new(Some(begin)),
            threads: Mutex::default(),
            cluster: Arc::clone(cluster),
            copying: Mutex::default(),
            asked: Semaphore::new(ASKED_AT_ONCE),
        }))
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// The operating system refuses them.
    pub fn start(&self, tasks: &TaskTracker, stopping: &CancellationToken) -> io::Result<()> {
        let Some(Begin {
            incoming,
            unpacker,
            packers: [packer, again],
            joining,
        }) = self.begin.lock().take()
        else {
            return Ok(());
        };
        let sending = Arc::clone(&self.outgoing);
        let sending_again = Arc::clone(&self.outgoing);
        let started = [
            self.thread("ingest-send", move || sending.send(packer))?,
            self.thread("ingest-again", move || sending_again.send_again(again))?,
            self.thread("ingest-take", move || incoming.take(unpacker))?,
        ];
        self.threads.lock().extend(started);
        if let Some(joining) = joining {
            tasks.spawn(joining.run(stopping.clone()));
        }
        Ok(())
    }

    /// Starts one. Where its work panics this server no longer has what the others have, or they
    /// not what it has: nobody waits for it any more, and it is not ready until it begins anew.
    fn thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (outgoing, door) = (Arc::clone(&self.outgoing), Arc::clone(&self.door));
        let cluster = Arc::clone(&self.cluster);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    tracing::error!(thread = name, "the ingest log has stopped by a fault of its own; this server is to be started anew");
                    outgoing.close();
                    door.close();
                    cluster.say_broken("the ingest log has stopped by a fault; start this server anew");
                }
            })
    }

    /// Has all servers delete a stretch of a tenant's series, this one among them, and waits until
    /// it has; how many series that were here. Blocks, on a thread that is no worker's.
    ///
    /// # Errors
    /// See [`DeleteFailed`].
    pub fn delete(
        &self,
        tenant: &str,
        selectors: Vec<String>,
        (from_ms, to_ms): (i64, i64),
        now_ms: i64,
    ) -> Result<u64, DeleteFailed> {
        if !self.outgoing.is_connected() {
            return Err(DeleteFailed::Away);
        }
        let deletion = Deletion {
            from_ms,
            to_ms,
            selectors,
        };
        let (done, wait) = oneshot::channel();
        // Before it can come back.
        let mut deleted = self.deleted.lock();
        let number = self.outgoing.delete(tenant, now_ms, &deletion);
        let number = number.ok_or(DeleteFailed::TooLarge)?;
        deleted.insert(number, done);
        drop(deleted);
        let waited = self
            .runtime
            .block_on(async { timeout(DELETED_WITHIN, wait).await });
        match waited {
            Ok(Ok(outcome)) => outcome.map_err(DeleteFailed::Here),
            _ => {
                self.deleted.lock().remove(&number);
                Err(DeleteFailed::Away)
            }
        }
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Frames that the others have not got yet, since they could not be reached.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        self.outgoing.backlog()
    }

    /// Waits until what was taken in is with the others, for a second at most.
    pub async fn flush(&self) {
        let flushed = async {
            while !self.outgoing.is_flushed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // What is left is sent by the next run.
        drop(timeout(FLUSHED_WITHIN, flushed).await);
    }

    /// Whether somebody who wants a copy may be asked about at the others: no copy is made, and few
    /// others are asked about. Held until that is answered.
    #[must_use]
    pub fn may_ask(&self) -> Option<SemaphorePermit<'_>> {
        let asked = self.asked.try_acquire().ok()?;
        (!self.copying.is_locked()).then_some(asked)
    }

    /// Makes a copy of the history in a data folder, with how far it goes, for as long as `goes_on`
    /// says so, and hands it to `sink` piece by piece, as long as that takes them. Blocks. One at a
    /// time: `None` where another one is made.
    ///
    /// # Errors
    /// It cannot be made; nothing is left of it.
    pub fn copy(
        &self,
        (history, folder): (&History, &Path),
        goes_on: &dyn Fn() -> bool,
        sink: impl FnMut(Vec<u8>) -> bool,
    ) -> io::Result<Option<()>> {
        let Some(_copying) = self.copying.try_lock() else {
            return Ok(None);
        };
        let place = folder.join(COPY);
        // Of a run that was killed.
        copy::remove(&place)?;
        copy::check_room(folder, copy::blocks_bytes(folder))?;
        fs::create_dir(&place)?;
        let made = || -> io::Result<()> {
            // Before the history: it must never say more than that has.
            if let Some(places) = Places::read(folder) {
                places.write(&place)?;
            }
            let copied = history.copy_to(&place.join(HISTORY), goes_on);
            if !copied.map_err(io::Error::other)? {
                let error = "whoever wanted it is gone, or this server stops";
                return Err(io::Error::new(io::ErrorKind::Interrupted, error));
            }
            copy::send(&place, sink)
        };
        let made = made();
        copy::remove(&place)?;
        made.map(Some)
    }

    /// Ends its threads, and keeps how far all is; whether all that was taken in here is with the
    /// others. Blocks.
    pub fn close(&self) -> bool {
        self.outgoing.close();
        self.door.close();
        for thread in self.threads.lock().drain(..) {
            // Its panic was printed.
            drop(thread.join());
        }
        self.outgoing.is_all_sent()
    }
}

/// The newest number that an own frame has had. Where a part of the history's log cannot be read
/// it is one that no frame in that can have passed: none is given twice.
fn newest_number(history: &History, places: &Places) -> u64 {
    let (mut newest, mut unread_bytes) = (places.sent, 0);
    for segment in history.wal_segments() {
        if segment.number < places.own_from {
            continue;
        }
        let read = history.read_notes(segment.number, |note| {
            if let Some((head, _)) = entry::read_frame(note) {
                newest = newest.max(head.number);
            }
        });
        match read {
            Ok(true) => {}
            Ok(false) => unread_bytes += segment.bytes,
            Err(error) => {
                tracing::warn!(%error, "a segment of the log cannot be read");
                unread_bytes += segment.bytes;
            }
        }
    }
    newest.saturating_add(unread_bytes / NOTE_BYTES_MIN)
}

impl fmt::Debug for IngestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
