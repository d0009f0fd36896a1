//! `remote_write`: samples are sent on to any receiver of Prometheus remote write.
//!
//! ```text
//! batch ──choose──▶ lanes ──▶ log on disk ──▶ ticket
//!                    └──▶ the newest in memory ──▶ requests, some at once ──▶ receiver
//!          what it fell behind of ──read──┘            (again until it answers)
//! ```
//!
//! **What comes in never waits for a receiver**: it is numbered, written to the receiver's log with
//! group commit, and that is all. **What was acknowledged is sent**: a sample is done when the
//! receiver has answered, and how far that is stands on disk after each answer. After the end of
//! the process everything else is sent (again where the answer was on its way). **In order**: all
//! samples of a series are in one lane, and a lane is sent by one request at a time.
//!
//! | module | what it is |
//! |---|---|
//! | `choose` | which series are sent, under which labels; remembered |
//! | `record` | what waits, as bytes |
//! | `limits` | how much is kept for a receiver that is away |
//! | `lane` | records that are sent one after the other; pure |
//! | `queue` | the lanes of one receiver and their log |
//! | `progress` | how far each lane is done |
//! | `message` | samples as a message of remote write 1.0 or 2.0 |
//! | `receiver` | how a receiver is asked |
//! | [`answer`] | what its answer means, and when it is asked again |
//! | `sender` | what is sent next, and again |
//! | [`Manner`] | how a receiver is sent to that no section of a file says |
//! | [`Sending`] | such a one, which gets the samples of all tenants |

pub mod answer;
mod choose;
mod lane;
mod limits;
mod manner;
mod message;
mod progress;
mod queue;
mod receiver;
mod record;
mod sender;
mod sending;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use pulseboard_history::log::Ticket;
use pulseboard_scrape::{Config, WallClock, config::RemoteWrite};
use pulseboard_series::Batch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::{
    answer::Reason,
    choose::Rules,
    queue::Queue,
    receiver::{Receiver, folder},
    sender::Line,
};
pub use self::{
    choose::{inner_name, outer_name},
    limits::Limits,
    manner::{IsOurs, Manner, RunAnswer, Runs},
    receiver::{Describe, Families, Said, TENANT_IN_URL},
    sending::Sending,
};

/// Receivers of one file.
const RECEIVERS_MAX: usize = 64;

/// What is told of one receiver. Counts are since the start, in samples where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name in the file, or its address.
    pub name: String,
    /// Where it is, without what is secret.
    pub url: String,
    /// Samples that wait, on disk or on their way.
    pub waiting: u64,
    /// Bytes of its log.
    pub bytes: u64,
    /// Chosen by the rules.
    pub chosen: u64,
    /// Dropped by the rules.
    pub dropped: u64,
    /// Of which the rules make no series.
    pub broken: u64,
    /// That the receiver has.
    pub sent: u64,
    /// That the receiver refused for good, and of those by the reason.
    pub refused: u64,
    pub refused_for: Vec<(&'static str, u64)>,
    /// That were sent and are to be sent again, or were.
    pub resent: u64,
    /// That somebody else sends.
    pub others: u64,
    /// That were sent and are held now, and those that were held no more since the bytes were
    /// needed.
    pub held: u64,
    pub held_given_up: u64,
    /// When the oldest that waits came, Unix milliseconds; `None` where nothing waits.
    pub oldest_waiting_ms: Option<i64>,
    /// Too old, too many, or not to be read.
    pub given_up: u64,
    /// That wait in memory alone, since the disk takes nothing.
    pub unwritten: u64,
    /// Requests that the receiver took, that it refused, and that were to be made again.
    pub requests: [u64; 3],
    /// Bytes of requests that it took.
    pub sent_bytes: u64,
    /// The newest time of a sample that came, and of one that it has; Unix milliseconds, 0 for
    /// none.
    pub newest_ms: i64,
    pub newest_sent_ms: i64,
    /// The newest time of what came first; Unix milliseconds, 0 for nothing.
    pub began_ms: i64,
    /// When it last took something; Unix milliseconds, 0 for never.
    pub taken_at_ms: i64,
    /// Why it takes nothing, while it does not.
    pub trouble: Option<String>,
    /// Why it refused samples last.
    pub refusal: Option<String>,
}

/// All receivers of the file.
pub struct Forwarding {
    folder: Option<PathBuf>,
    limits: Limits,
    clock: WallClock,
    describe: Describe,
    receivers: RwLock<Vec<Arc<Running>>>,
    /// One reload at a time.
    applying: Mutex<()>,
}

struct Running {
    name: String,
    folder: String,
    url: String,
    line: Arc<Line>,
    /// Dropped, its task ends.
    _end: DropGuard,
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding")
            .field("folder", &self.folder)
            .field("receivers", &self.receivers.read().len())
            .finish_non_exhaustive()
    }
}

impl Forwarding {
    /// Nobody gets anything yet. What waits is kept in `folder`, or in memory where there is none;
    /// `describe` says what is known of metrics.
    #[must_use]
    pub fn new(
        folder: Option<PathBuf>,
        limits: Limits,
        clock: WallClock,
        describe: Describe,
    ) -> Self {
        Self {
            folder,
            limits,
            clock,
            describe,
            receivers: RwLock::default(),
            applying: Mutex::default(),
        }
    }

    /// Whether nobody gets anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.receivers.read().is_empty()
    }

    /// Sends to whom `config` names from now on. What waits for a receiver that is named as before
    /// waits on; what waits for one that is not named any more stays on disk until it is too old.
    /// Tasks go into `tasks` and end with `stop`. Blocks for the disk. Returned is what cannot be
    /// done, in words.
    pub fn apply(
        &self,
        config: &Config,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Vec<String> {
        let _one_at_a_time = self.applying.lock();
        let mut warnings = Vec::new();
        let before: Vec<Arc<Running>> = self.receivers.read().clone();
        let mut receivers: Vec<Arc<Running>> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        for wanted in config.remote_write.iter().take(RECEIVERS_MAX) {
            let (mut name, mut folder) = (wanted.told(), folder(wanted));
            let count = seen.entry(folder.clone()).or_default();
            *count += 1;
            if *count > 1 {
                name = format!("{name} ({count})");
                folder = format!("{folder}-{count}");
            }
            if !wanted.unsupported().is_empty() {
                // The file's own warnings say so.
                continue;
            }
            let known = before.iter().find(|running| running.folder == folder);
            match self.receiver(wanted, config, &name, folder, known, (tasks, stop)) {
                Ok(running) => receivers.push(running),
                Err(why) => {
                    warnings.push(format!(
                        "remote_write {name:?}: {why}; nothing is sent to it"
                    ));
                }
            }
        }
        if config.remote_write.len() > RECEIVERS_MAX {
            warnings.push(format!(
                "remote_write: only the first {RECEIVERS_MAX} of {} are used",
                config.remote_write.len()
            ));
        }
        *self.receivers.write() = receivers.clone();
        for gone in before {
            if !receivers
                .iter()
                .any(|now| Arc::ptr_eq(&now.line, &gone.line))
            {
                gone.line.queue.close();
            }
        }
        self.tidy(&receivers);
        warnings
    }

    fn receiver(
        &self,
        wanted: &RemoteWrite,
        config: &Config,
        name: &str,
        folder: String,
        known: Option<&Arc<Running>>,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> Result<Arc<Running>, String> {
        let receiver = Arc::new(Receiver::new(wanted, &config.folder, false)?);
        let samples_max = receiver.samples_max;
        let external = config.global.external_labels.iter();
        let rules = Rules {
            external: external.map(|(a, b)| (a.clone(), b.clone())).collect(),
            relabel: wanted.write_relabel_configs.clone(),
            tenant_label: None,
        };
        if let Some(known) = known {
            *known.line.receiver.lock() = receiver;
            known.line.queue.exchange(rules, samples_max);
            return Ok(Arc::clone(known));
        }
        let place = self.folder.as_ref().map(|all| all.join(&folder));
        let queue =
            Queue::open(place.as_deref(), self.limits, None).map_err(|error| error.to_string())?;
        queue.exchange(rules, samples_max);
        let waiting = queue.waiting();
        if waiting > 0 {
            tracing::info!(
                receiver = name,
                "{waiting} samples of earlier are to be sent"
            );
        }
        let line = Arc::new(Line::new(
            queue,
            receiver,
            self.clock.clone(),
            Manner::default(),
        ));
        let end = stop.child_token();
        let describe = Arc::clone(&self.describe);
        let sending = sender::run(Arc::clone(&line), name.to_owned(), describe, end.clone());
        tasks.spawn(sending);
        Ok(Arc::new(Running {
            name: name.to_owned(),
            folder,
            url: RemoteWrite {
                name: None,
                ..wanted.clone()
            }
            .told(),
            line,
            _end: end.drop_guard(),
        }))
    }

    /// Removes what waited for receivers that are not named any more, once it is too old.
    fn tidy(&self, receivers: &[Arc<Running>]) {
        let Some(all) = &self.folder else {
            return;
        };
        let found = std::fs::read_dir(all).into_iter().flatten().flatten();
        for entry in found {
            let name = entry.file_name();
            if receivers.iter().any(|known| *known.folder == *name) {
                continue;
            }
            let used = std::fs::metadata(entry.path().join("samples"))
                .and_then(|samples| samples.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            if used.is_some_and(|used| used > self.limits.age) {
                match std::fs::remove_dir_all(entry.path()) {
                    Ok(()) => tracing::info!(
                        folder = %entry.path().display(),
                        "what waited for a receiver that is not named any more is removed"
                    ),
                    Err(error) => tracing::warn!(%error, "what nobody gets cannot be removed"),
                }
            }
        }
    }

    /// Takes rows in; `refused` are the places of those that were not taken. What outlives the end
    /// of the process when the tickets say so.
    #[must_use]
    pub fn take(&self, batch: &Batch, refused: &[u32], now_ms: i64) -> Vec<Ticket> {
        let receivers = self.receivers.read();
        if receivers.is_empty() {
            return Vec::new();
        }
        let refused = sorted(refused);
        let is_refused = |row: u32| !refused.is_empty() && refused.binary_search(&row).is_ok();
        let queues = receivers.iter().map(|running| &running.line.queue);
        queues
            .filter_map(|queue| queue.take("", batch, is_refused, now_ms))
            .collect()
    }

    /// How it goes, receiver by receiver.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        let receivers = self.receivers.read();
        receivers.iter().map(|running| running.view()).collect()
    }

    /// Writes down what came. Blocks for the disk.
    pub fn close(&self) {
        for running in self.receivers.read().iter() {
            running.line.queue.close();
        }
    }
}

fn sorted(refused: &[u32]) -> Vec<u32> {
    let mut refused = refused.to_vec();
    refused.sort_unstable();
    refused
}

impl Running {
    fn view(&self) -> View {
        View::of(&self.line, &self.name, &self.url)
    }
}

impl View {
    fn of(line: &Line, name: &str, url: &str) -> Self {
        let queue = &line.queue;
        let counts = &queue.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let reasons = Reason::ALL.iter().zip(&counts.refused_for);
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            waiting: queue.waiting(),
            bytes: queue.bytes(),
            chosen: read(&counts.chosen),
            dropped: read(&counts.dropped),
            broken: read(&counts.broken),
            sent: read(&counts.sent),
            refused: read(&counts.refused),
            refused_for: reasons
                .map(|(reason, count)| (reason.name(), read(count)))
                .collect(),
            resent: read(&counts.resent),
            others: read(&counts.others),
            held: queue.held(),
            held_given_up: read(&counts.held_given_up),
            oldest_waiting_ms: queue.oldest_ms(),
            given_up: read(&counts.given_up),
            unwritten: read(&counts.unwritten),
            requests: std::array::from_fn(|at| counts.requests.get(at).map_or(0, read)),
            sent_bytes: read(&counts.bytes),
            newest_ms: counts.newest_ms.load(Ordering::Relaxed),
            newest_sent_ms: counts.newest_sent_ms.load(Ordering::Relaxed),
            began_ms: counts.began_ms.load(Ordering::Relaxed),
            taken_at_ms: counts.taken_at_ms.load(Ordering::Relaxed),
            trouble: line.trouble.lock().clone(),
            refusal: counts.refusal.lock().clone(),
        }
    }
}
