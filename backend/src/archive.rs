//! `ARCHIVE_WRITE_URL` and `ARCHIVE_READ_URL`: a store of Prometheus' kind that gets the samples of
//! all tenants, and that is asked for what the own history has no samples of any more.
//!
//! Of several servers one sends on a partition's samples, the one that holds its lease; what the
//! others have of it counts as sent and is held as that is, so that whoever takes the lease over
//! has it to send again.
//!
//! Where each server has what came in at it alone (`CLUSTER_MODE=sharded`), each sends its own, and
//! the store is asked for all times: it has what others sent.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use pulseboard_archive::{
    Looked, Matcher, Missing, Op, Reader, Stretch, Unreadable,
    read::Body,
    write::{self, Target},
};
use pulseboard_bus::{Partition, Spread, Work};
use pulseboard_engine::{Cost, Engine, Onward, Spent, Tenant, query};
use pulseboard_forward::{IsOurs, Limits, Sending, View};
use pulseboard_history::log::Ticket;
use pulseboard_promql::{
    Labels,
    ast::{MatchOp, Matcher as PromMatcher},
};
use pulseboard_scrape::WallClock;
use pulseboard_series::Batch;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    base::{clock::Clock, telemetry::Telemetry},
    cluster::Cluster,
    settings::{ClusterMode, DataDir, Settings},
};

/// The folder in `DATA_DIR` in which what is to be sent waits, and what is held.
pub(crate) const FOLDER: &str = "archive";

/// In that: since when the own history has what came.
const SINCE: &str = "since";

/// Whoever waits for the store looks so often whether it is to end, and lets others have its turn.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// How often it is looked whose samples are ours to send, and so long that has to stay the same
/// before what is held is sent again: leases are taken over one after the other.
const LEASES_EVERY: Duration = Duration::from_secs(1);
const LEASES_SETTLE: u32 = 2;

/// What a series takes in memory beside labels and samples.
const SERIES_BYTES: usize = 128;

/// The store.
#[derive(Debug)]
pub struct Archive {
    sending: Option<Sending>,
    reader: Option<Reader>,
    leased: Option<Leased>,
    parted: Option<Parted>,
    since_ms: i64,
    clock: Clock,
    foreign: Counter,
    unanswered: Counter,
}

/// Of a service of which this server has a part of the samples.
#[derive(Clone, Debug)]
pub struct Parted {
    /// The others.
    pub cluster: Arc<Cluster>,
    /// Samples of others that somebody here wants.
    pub guests: Arc<Engine>,
}

/// Who sends what, of several servers.
#[derive(Clone, Debug)]
struct Leased {
    cluster: Arc<Cluster>,
    work: Arc<Work>,
}

impl Leased {
    fn is_ours(&self, tenant: &str) -> bool {
        // Where nobody is reached nobody can be relied on.
        self.cluster.is_alone() || self.work.token(Partition::of(tenant)).is_some()
    }

    /// What is ours now; `None`: everything.
    fn ours(&self) -> Option<BTreeSet<Partition>> {
        let is_alone = self.cluster.is_alone();
        (!is_alone).then(|| self.work.held().into_iter().collect())
    }
}

/// Why the store's part of an answer is not there.
#[derive(Debug)]
pub enum Without {
    /// The question is over.
    Spent(Spent),
    /// The store, its answer, or room for that; in words.
    Missing(String),
}

impl From<Unreadable> for Without {
    fn from(error: Unreadable) -> Self {
        Self::Missing(error.to_string())
    }
}

impl From<Missing> for Without {
    fn from(error: Missing) -> Self {
        Self::Missing(error.to_string())
    }
}

/// Series of the store and their samples, each time once and in order.
pub type Found = std::collections::BTreeMap<Labels, Vec<(i64, f64)>>;

/// Whether the settings' addresses can be used.
///
/// # Errors
/// What is wrong, in words.
pub fn check(settings: &Settings) -> Result<(), String> {
    let way = &settings.archive_tenant;
    let parted = settings.cluster_mode == ClusterMode::Sharded;
    if parted && settings.redis_url.is_none() {
        return Err("CLUSTER_MODE=sharded is for several servers, and needs REDIS_URL".to_owned());
    }
    for (name, url) in [
        ("ARCHIVE_WRITE_URL", &settings.archive_write_url),
        ("ARCHIVE_READ_URL", &settings.archive_read_url),
    ] {
        match url {
            Some(url) => way.check(url).map_err(|error| format!("{name}: {error}"))?,
            None if parted => {
                return Err(format!(
                    "CLUSTER_MODE=sharded has each server keep what came in at it, and an archive all: it needs {name}"
                ));
            }
            None => {}
        }
    }
    Ok(())
}

impl Archive {
    /// The store of the settings; `None` where they name none. Nothing is sent yet. Blocks for the
    /// disk.
    ///
    /// # Errors
    /// An address or the folder cannot be used.
    pub fn open(
        settings: &Settings,
        engine: &Engine,
        (cluster, parted): (Option<&Arc<Cluster>>, Option<Parted>),
        clock: &Clock,
        telemetry: &Telemetry,
    ) -> io::Result<Option<Arc<Self>>> {
        let (write_url, read_url) = (&settings.archive_write_url, &settings.archive_read_url);
        if write_url.is_none() && read_url.is_none() {
            return Ok(None);
        }
        let folder = match &settings.data_dir {
            DataDir::Memory => None,
            DataDir::Path(path) => Some(path.join(FOLDER)),
        };
        let since_ms = since(folder.as_deref(), engine, clock.now_ms())?;
        let shared = cluster.filter(|_| parted.is_none());
        let leased = shared.map(|cluster| Leased {
            cluster: Arc::clone(cluster),
            work: cluster.bus().leases().work("arch", Spread::Partitions),
        });
        let sending = write_url.as_ref().map(|url| {
            let limits = Limits {
                age: settings.remote_write_buffer_age,
                bytes: settings.remote_write_buffer_bytes as u64,
            };
            let target = Target {
                url: url.clone(),
                way: settings.archive_tenant.clone(),
                hold: settings.archive_hold,
            };
            let is_ours = leased
                .clone()
                .map(|leased| -> IsOurs { Arc::new(move |tenant| leased.is_ours(tenant)) });
            let now = clock.clone();
            let now = WallClock::new(move || now.now_ms());
            let opened = write::open(&target, folder.as_deref(), limits, is_ours, now);
            opened.map_err(|error| io::Error::other(format!("ARCHIVE_WRITE_URL: {error}")))
        });
        let reader = read_url.as_ref().map(|url| {
            let reader = Reader::new(url, settings.archive_tenant.clone());
            reader.map_err(|error| io::Error::other(format!("ARCHIVE_READ_URL: {error}")))
        });
        Ok(Some(Arc::new(Self {
            sending: sending.transpose()?,
            reader: reader.transpose()?,
            leased,
            parted,
            since_ms,
            clock: clock.clone(),
            foreign: telemetry.counter(
                "pulseboard_archive_foreign_series",
                "Series in answers of the archive that are another tenant's, and were dropped.",
            ),
            unanswered: telemetry.counter(
                "pulseboard_archive_unanswered",
                "Questions to the archive that it did not answer, or not so that it could be used.",
            ),
        })))
    }

    /// Sends from now on.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(sending) = &self.sending {
            sending.start(tasks, stop);
            if let Some(leased) = self.leased.clone() {
                tasks.spawn(Arc::clone(self).follow(leased, stop.clone()));
            }
        }
    }

    /// Sends again what is held when more is ours than before.
    async fn follow(self: Arc<Self>, leased: Leased, stop: CancellationToken) {
        let mut ours = leased.ours();
        let (mut has_more, mut since) = (false, 0);
        while stop
            .run_until_cancelled(tokio::time::sleep(LEASES_EVERY))
            .await
            .is_some()
        {
            let now = leased.ours();
            if now != ours {
                has_more |= match (&ours, &now) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(before), Some(now)) => !now.is_subset(before),
                };
                (ours, since) = (now, 0);
                continue;
            }
            since += 1;
            if has_more && since >= LEASES_SETTLE {
                has_more = false;
                let archive = Arc::clone(&self);
                let again = tokio::task::spawn_blocking(move || {
                    if let Some(sending) = &archive.sending {
                        sending.send_again();
                    }
                });
                if again.await.is_err() {
                    tracing::error!("sending to the archive again panicked");
                }
            }
        }
    }

    /// How sending goes; `None` where nothing is sent.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.sending.as_ref().map(Sending::view)
    }

    /// Writes down what came. Blocks for the disk.
    pub fn close(&self) {
        if let Some(sending) = &self.sending {
            sending.close();
        }
    }

    /// From this moment on the own history has all of a tenant's samples, and the store is not
    /// asked; never, where this server has a part of them.
    #[must_use]
    pub fn floor_ms(&self, engine: &Engine, tenant: &Tenant) -> i64 {
        if self.parted.is_some() {
            return i64::MAX;
        }
        let now_ms = self.clock.now_ms();
        query::raw_since(engine, tenant, now_ms).max(self.since_ms)
    }

    /// Whether this server has only a part of what the store has, at any time.
    #[must_use]
    pub fn has_what_others_have(&self) -> bool {
        self.parted.is_some()
    }

    /// A tenant's samples of other servers that somebody here wants.
    #[must_use]
    pub fn guests_of(&self, tenant: &str) -> Option<(&Engine, Arc<Tenant>)> {
        let guests = &*self.parted.as_ref()?.guests;
        Some((guests, guests.known_tenant(tenant)?))
    }

    /// How long the oldest sample has waited here that the store does not have yet, in
    /// milliseconds.
    #[must_use]
    pub fn lag_ms(&self) -> i64 {
        let oldest_ms = self.view().and_then(|view| view.oldest_waiting_ms);
        oldest_ms.map_or(0, |at_ms| (self.clock.now_ms() - at_ms).max(0))
    }

    /// What is to be said of an answer that reaches up to `until_ms`, where it may lack the newest
    /// samples that came in at other servers.
    #[must_use]
    pub fn may_lack(&self, until_ms: i64) -> Option<String> {
        let view = self.parted.as_ref()?.cluster.view();
        let others = view.count() > 1;
        let lags = view.live.iter().map(|member| member.archive_lag_ms);
        let lag_ms = lags.max().unwrap_or_default().max(self.lag_ms());
        let lag_s = (lag_ms.saturating_add(999) / 1_000).max(1);
        (others && until_ms > self.clock.now_ms() - lag_s * 1_000).then(|| {
            format!("partial: newest samples of series sent elsewhere may lag by {lag_s} s")
        })
    }

    /// Whether the store can be asked.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.reader.is_some()
    }

    /// A tenant's samples in `from_ms..to_ms` that the store has. Blocks until it answers; others
    /// have their turn meanwhile. What is found is held by `cost`; the bytes are returned, too.
    ///
    /// # Errors
    /// See [`Without`]; nothing is held then.
    pub fn samples(
        &self,
        tenant: &str,
        matchers: &[PromMatcher],
        (from_ms, to_ms): (i64, i64),
        cost: &Cost,
        counts: bool,
    ) -> Result<(Found, usize), Without> {
        let (Some(reader), true) = (&self.reader, from_ms < to_ms) else {
            return Ok((Found::new(), 0));
        };
        let held_before = cost.held_bytes();
        let found = self.look(reader, tenant, matchers, (from_ms, to_ms), (cost, counts));
        self.told(found, cost, held_before)
    }

    fn look(
        &self,
        reader: &Reader,
        tenant: &str,
        matchers: &[PromMatcher],
        (from_ms, to_ms): (i64, i64),
        (cost, counts): (&Cost, bool),
    ) -> Result<(Found, usize), Without> {
        let (matchers, stretch) = (asked(matchers), stretch(from_ms, to_ms));
        let seen = AtomicUsize::new(0);
        let asking = reader.samples(tenant, &matchers, stretch, &seen);
        let body = wait(asking, &seen, cost)?;
        room(cost, body.unpacked_bytes())?;
        let (mut found, mut bytes) = (Found::new(), 0);
        let looked = body.each(tenant, |labels, samples| -> Result<(), Without> {
            if samples.is_empty() {
                return Ok(());
            }
            if counts && !cost.take_samples(samples.len()) {
                return Err(Without::Missing(
                    "the archive has more samples of it than a question may read".to_owned(),
                ));
            }
            cost.step(u32::try_from(samples.len() / 64).unwrap_or(u32::MAX))
                .map_err(Without::Spent)?;
            let texts: usize = labels.iter().map(|(a, b)| a.len() + b.len() + 64).sum();
            let more = texts + size_of_val(&**samples) + SERIES_BYTES;
            room(cost, more)?;
            bytes += more;
            let known = found.entry(labels_of(labels)).or_default();
            known.extend_from_slice(samples);
            Ok(())
        })?;
        self.note(tenant, looked);
        for samples in found.values_mut() {
            // A store may tell of one series in several parts.
            if !samples.is_sorted_by(|one, next| one.0 < next.0) {
                samples.sort_by_key(|(at_ms, _)| *at_ms);
                samples.dedup_by_key(|(at_ms, _)| *at_ms);
            }
        }
        Ok((found, bytes))
    }

    /// Which of a tenant's series the store had samples of in `from_ms..to_ms`. Blocks, and holds,
    /// as [`Archive::samples`]; some ten thousand are told at most.
    ///
    /// # Errors
    /// See [`Without`]; nothing is held then.
    pub fn series(
        &self,
        tenant: &str,
        matchers: &[PromMatcher],
        (from_ms, to_ms): (i64, i64),
        cost: &Cost,
    ) -> Result<(BTreeSet<Labels>, usize), Without> {
        let (Some(reader), true) = (&self.reader, from_ms < to_ms) else {
            return Ok((BTreeSet::new(), 0));
        };
        let held_before = cost.held_bytes();
        let found = self.look_for_series(reader, tenant, matchers, (from_ms, to_ms), cost);
        self.told(found, cost, held_before)
    }

    fn look_for_series(
        &self,
        reader: &Reader,
        tenant: &str,
        matchers: &[PromMatcher],
        (from_ms, to_ms): (i64, i64),
        cost: &Cost,
    ) -> Result<(BTreeSet<Labels>, usize), Without> {
        let (matchers, stretch) = (asked(matchers), stretch(from_ms, to_ms));
        let seen = AtomicUsize::new(0);
        let asking = reader.series(tenant, &matchers, stretch, &seen);
        let body = wait(asking, &seen, cost)?;
        room(cost, body.unpacked_bytes())?;
        let (mut found, mut bytes) = (BTreeSet::new(), 0);
        let looked = body.each(tenant, |labels, _| -> Result<(), Without> {
            let texts: usize = labels.iter().map(|(a, b)| a.len() + b.len() + 64).sum();
            room(cost, texts + SERIES_BYTES)?;
            bytes += texts + SERIES_BYTES;
            found.insert(labels_of(labels));
            Ok(())
        })?;
        self.note(tenant, looked);
        Ok((found, bytes))
    }

    /// Of what was held on the way only what was found stays held.
    fn told<T>(
        &self,
        found: Result<(T, usize), Without>,
        cost: &Cost,
        held_before: usize,
    ) -> Result<(T, usize), Without> {
        let stays = found.as_ref().map_or(0, |(_, bytes)| *bytes);
        let held = cost.held_bytes();
        cost.let_go(held.saturating_sub(held_before.saturating_add(stays)));
        if let Err(Without::Missing(_)) = &found {
            self.unanswered.inc();
        }
        found
    }

    fn note(&self, tenant: &str, looked: Looked) {
        if looked.foreign > 0 {
            self.foreign.inc_by(looked.foreign as u64);
            tracing::warn!(
                tenant,
                "the archive answered with {} series that are not this tenant's; they are dropped",
                looked.foreign
            );
        }
    }
}

impl Onward for Archive {
    fn take(&self, tenant: &str, batch: &Batch, refused: &[u32], now_ms: i64) -> Vec<Ticket> {
        let sending = self.sending.iter();
        sending
            .filter_map(|sending| sending.take(tenant, batch, refused, now_ms))
            .collect()
    }
}

/// Waits for the store, looks now and then whether the question is over, and holds what has come.
fn wait(
    asking: impl Future<Output = Result<Body, Missing>>,
    seen: &AtomicUsize,
    cost: &Cost,
) -> Result<Body, Without> {
    let runtime = Handle::current();
    let mut asking = pin!(asking);
    let mut held = 0;
    loop {
        let waited =
            runtime.block_on(async { tokio::time::timeout(LOOKS_EVERY, asking.as_mut()).await });
        let came = seen.load(Ordering::Relaxed);
        room(cost, came.saturating_sub(held))?;
        held = held.max(came);
        match waited {
            Ok(answered) => return Ok(answered?),
            Err(_not_yet) => cost.check().map_err(Without::Spent)?,
        }
    }
}

fn room(cost: &Cost, bytes: usize) -> Result<(), Without> {
    cost.hold(bytes).map_err(|spent| match spent {
        Spent::Memory | Spent::TooLarge { .. } => {
            Without::Missing(format!("what the archive has of it finds no room: {spent}"))
        }
        Spent::Time | Spent::Cancelled => Without::Spent(spent),
    })
}

fn stretch(from_ms: i64, to_ms: i64) -> Stretch {
    Stretch {
        from_ms,
        until_ms: to_ms - 1,
    }
}

fn asked(matchers: &[PromMatcher]) -> Vec<Matcher> {
    let matchers = matchers.iter().map(|matcher| Matcher {
        name: matcher.name.to_string(),
        op: match matcher.op {
            MatchOp::Equal => Op::Equal,
            MatchOp::NotEqual => Op::NotEqual,
            MatchOp::Regex => Op::Regex,
            MatchOp::NotRegex => Op::NotRegex,
        },
        value: matcher.value.to_string(),
    });
    matchers.collect()
}

fn labels_of(labels: &[(&str, &str)]) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(name, value)| (Arc::from(*name), Arc::from(*value)))
        .collect()
}

/// Since when the own history has what came: since it was begun with a store beside it, or since
/// ever, where it was there before.
fn since(folder: Option<&Path>, engine: &Engine, now_ms: i64) -> io::Result<i64> {
    let Some(folder) = folder else {
        return Ok(now_ms);
    };
    fs::create_dir_all(folder)?;
    let file = folder.join(SINCE);
    match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|error| {
            let what = format!("{} is no time: {error}", file.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let history = engine.history();
            let is_new = engine.series() == 0
                && history.is_none_or(|history| history.bytes_by_tenant().is_empty());
            let since_ms = if is_new { now_ms } else { 0 };
            fs::write(&file, since_ms.to_string())?;
            Ok(since_ms)
        }
        Err(error) => Err(error),
    }
}
