//! Samples that came in at other servers, where each keeps what came in at it
//! (`CLUSTER_MODE=sharded`).
//!
//! ```text
//! who watches ──▶ Want ──every 10 s──▶ Redis ──▶ Relay on every other server
//!      ▲            │                                │ (what comes in there of the selector,
//!      │            ▼                                │  50 ms apart)
//!   guests ◀── feed `watch` of the selector ◀────────┘
//! ```
//!
//! Guests are samples of others that somebody here wants: in memory alone, for a quarter of an
//! hour, in an engine of their own, so that they are neither kept, nor archived, nor sent on again.
//! What reads a tenant's series reads both engines, and the archive, which has all.
//!
//! A want is said at once (a frame on the partition's feed), and again and again in Redis, which
//! who joins later reads. It ends half a minute after whoever wanted it.

mod frame;
mod relay;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use pulseboard_bus::{
    FeedKey, FeedSink, Kind, Partition, Subscription,
    wanted::{self, WANTED_FOR},
};
use pulseboard_engine::{
    Engine, EngineOptions, Selector,
    census::{Census, at_several},
    selector::SELECTOR_BYTES_MAX,
};
use pulseboard_feed::{Epoch, portable};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, mpsc},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::relay::Relay;
use crate::{
    base::{clock::Clock, telemetry::Telemetry},
    cluster::Cluster,
    live_query::flush::{Due, Flushable},
};

/// Selectors that this server may want at once.
pub const WANTS_MAX: usize = 4_096;

/// Selectors that it sends to others at once, and bytes of their compiled patterns.
pub const RELAYS_MAX: usize = 4_096;
const PATTERN_BYTES_MAX: usize = 16 << 20;

/// What is wanted is said again this often.
const REFRESH: Duration = Duration::from_secs(10);

/// Guests that are too old go this often.
const MAINTAINED: Duration = Duration::from_secs(5);

/// Which series there are is told this often, by so many hashes.
const CENSUS: Duration = Duration::from_secs(10);
const CENSUS_MAX: usize = 1_024;

/// Frames of others that wait to be taken in; those beyond are counted, and in the archive.
const INCOMING_MAX: usize = 1_024;

/// The first byte of what is said of wants, and about so many bytes of one such frame.
const VERSION: u8 = 1;
const SAID_BYTES: usize = 32 << 10;

/// Memory of guests.
const GUEST_BYTES_MAX: u64 = 256 << 20;
const GUEST_SERIES_MAX: u64 = 250_000;

/// A tenant and a canonical selector.
type Name = (Arc<str>, Arc<str>);

/// Samples of other servers.
pub struct Elsewhere {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    guests: Arc<Engine>,
    clock: Clock,
    due: mpsc::Sender<Due>,
    /// What is wanted here. Leaf lock; no want is dropped under it.
    wants: Mutex<HashMap<Name, Weak<Want>>>,
    /// What of it is not said yet. Leaf lock.
    unsaid: Mutex<BTreeSet<Name>>,
    more: Notify,
    /// What others want. Leaf lock.
    relays: Mutex<HashMap<Name, Arc<Relay>>>,
    incoming: mpsc::Sender<Came>,
    /// Taken by [`Self::hear`].
    came: Mutex<Option<mpsc::Receiver<Came>>>,
    refused: Counter,
    dropped: Counter,
}

/// As long as somebody has it, samples of a selector that come in elsewhere are among the guests.
pub struct Want {
    name: Name,
    of: Weak<Elsewhere>,
    _subscription: Subscription,
}

/// What other servers said.
enum Came {
    /// Samples of a tenant.
    Samples(Arc<str>, Bytes),
    /// What they want.
    Wants(Bytes),
}

/// Puts what comes where it is taken in.
struct Sink {
    tenant: Option<Arc<str>>,
    incoming: mpsc::Sender<Came>,
    dropped: Counter,
}

/// What is said of wants.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    from: Arc<str>,
    tenant: Arc<str>,
    selectors: Vec<Arc<str>>,
}

/// An engine for guests.
#[must_use]
pub fn guests() -> Arc<Engine> {
    let defaults = EngineOptions::default();
    let options = EngineOptions {
        ttl_ms: defaults.window_ms,
        series_max: GUEST_SERIES_MAX,
        memory_max_bytes: GUEST_BYTES_MAX,
        ..defaults
    };
    Arc::new(Engine::new(options, None))
}

impl Elsewhere {
    /// Nothing is wanted yet. What comes in at `engine` is sent to who wants it; what comes in
    /// elsewhere becomes a guest. Frames are made by whoever has the receiver of `due`.
    #[must_use]
    pub fn new(
        cluster: &Arc<Cluster>,
        (engine, guests): (&Arc<Engine>, Arc<Engine>),
        clock: Clock,
        due: mpsc::Sender<Due>,
        telemetry: &Telemetry,
    ) -> Arc<Self> {
        let (incoming, came) = mpsc::channel(INCOMING_MAX);
        Arc::new(Self {
            cluster: Arc::clone(cluster),
            engine: Arc::clone(engine),
            guests,
            clock,
            due,
            wants: Mutex::default(),
            unsaid: Mutex::default(),
            more: Notify::new(),
            relays: Mutex::default(),
            incoming,
            came: Mutex::new(Some(came)),
            refused: telemetry.counter(
                "pulseboard_elsewhere_refused",
                "Selectors of which samples of other servers are wanted and there was no room for.",
            ),
            dropped: telemetry.counter(
                "pulseboard_elsewhere_dropped_frames",
                "Frames of samples of other servers that came faster than they were taken in, or could not be read.",
            ),
        })
    }

    /// Samples of others that somebody here wants.
    #[must_use]
    pub fn guests(&self) -> &Arc<Engine> {
        &self.guests
    }

    /// Has a tenant's samples of this selector that come in elsewhere be guests from soon on, as
    /// long as somebody has what is returned. `None`: there is no room for more.
    #[must_use]
    pub fn want(self: &Arc<Self>, tenant: &str, selector: &Selector) -> Option<Arc<Want>> {
        let text = selector.to_string();
        if text.len() > SELECTOR_BYTES_MAX {
            return None;
        }
        let name: Name = (tenant.into(), text.into());
        let mut wants = self.wants.lock();
        if let Some(known) = wants.get(&name).and_then(Weak::upgrade) {
            return Some(known);
        }
        if wants.len() >= WANTS_MAX {
            self.refused.inc();
            return None;
        }
        let sink = Sink {
            tenant: Some(Arc::clone(&name.0)),
            incoming: self.incoming.clone(),
            dropped: self.dropped.clone(),
        };
        let key = wanted::feed_of(&name.0, &name.1);
        let want = Arc::new(Want {
            name: name.clone(),
            of: Arc::downgrade(self),
            _subscription: self.subscribe(key, sink),
        });
        wants.insert(name.clone(), Arc::downgrade(&want));
        drop(wants);
        self.unsaid.lock().insert(name);
        self.more.notify_one();
        Some(want)
    }

    fn subscribe(&self, key: FeedKey, sink: Sink) -> Subscription {
        self.cluster.bus().subscribe(key, Arc::new(sink))
    }

    /// Selectors that are wanted here, and those that are sent to others.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let wants = self.wants.lock().len();
        (wants, self.relays.lock().len())
    }

    /// How many series several of the servers have; `None` while nobody can be asked.
    pub async fn at_several(&self) -> Option<u64> {
        let told = self.cluster.common().censuses().await.ok()?;
        let all: Vec<Census> = told.iter().filter_map(|one| read_census(one)).collect();
        Some(at_several(&all, CENSUS_MAX))
    }

    /// Takes in what others say, until `stop`.
    pub async fn hear(self: Arc<Self>, stop: CancellationToken) {
        let Some(mut came) = self.came.lock().take() else {
            return;
        };
        let sink = || Sink {
            tenant: None,
            incoming: self.incoming.clone(),
            dropped: self.dropped.clone(),
        };
        let all = Partition::all();
        let _subscriptions: Vec<Subscription> = all
            .map(|partition| self.subscribe(partition.feed(Kind::Watch), sink()))
            .collect();
        while let Some(Some(next)) = stop.run_until_cancelled(came.recv()).await {
            match next {
                Came::Samples(tenant, frame) => self.take(&tenant, &frame),
                Came::Wants(frame) => {
                    for relay in self.relays_of(&frame) {
                        // Finding its series takes a while, and others' samples do not wait.
                        drop(spawn_blocking(move || relay.seat()));
                    }
                }
            }
        }
    }

    /// Says what is wanted here, and hears what others want, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let every = |period| {
            let mut moments = interval(period);
            moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
            moments
        };
        let (mut refresh, mut maintain) = (every(REFRESH), every(MAINTAINED));
        let mut census = every(CENSUS);
        let mut state = self.cluster.bus().state();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.more.notified() => self.say_new().await,
                Ok(()) = state.changed() => refresh.reset_immediately(),
                _ = refresh.tick() => self.refresh().await,
                _ = maintain.tick() => self.maintain().await,
                _ = census.tick() => self.tell_census().await,
            }
        }
    }

    fn take(&self, tenant: &str, frame: &[u8]) {
        let me = self.cluster.member();
        // Its own come back, too.
        let Some(batch) = frame::read(frame, me) else {
            return;
        };
        if let Ok(tenant) = self.guests.tenant(tenant) {
            let now_ms = self.clock.now_ms();
            self.guests.append(&tenant, &batch, now_ms);
        }
    }

    /// Relays that are to be seated: of what others have just said.
    fn relays_of(&self, frame: &[u8]) -> Vec<Arc<Relay>> {
        let form = portable::of_version(VERSION, frame);
        let Some(said) = form.and_then(|form| portable::read::<Said>(form).ok()) else {
            self.dropped.inc();
            return Vec::new();
        };
        if said.from == *self.cluster.member() {
            return Vec::new();
        }
        let names = said.selectors.into_iter();
        let names = names.map(|selector| (Arc::clone(&said.tenant), selector));
        names.filter_map(|name| self.relay(name)).collect()
    }

    /// The relay of what others want from now on; `None` where there is no room for one.
    fn relay(&self, name: Name) -> Option<Arc<Relay>> {
        let until_ms = self.clock.steady_ms() + millis(WANTED_FOR);
        let mut relays = self.relays.lock();
        if let Some(known) = relays.get(&name) {
            known.is_wanted_until(until_ms);
            return Some(Arc::clone(known));
        }
        let made = Selector::parse(&name.1).ok().and_then(|selector| {
            let others = relays.values().map(|relay| relay.pattern_bytes());
            let bytes = others.sum::<usize>() + selector.compiled_bytes();
            let has_room = relays.len() < RELAYS_MAX && bytes <= PATTERN_BYTES_MAX;
            let tenant = self.engine.tenant(&name.0).ok()?;
            has_room.then(|| self.make(tenant, selector))
        });
        let Some(relay) = made else {
            self.refused.inc();
            return None;
        };
        relay.is_wanted_until(until_ms);
        relays.insert(name, Arc::clone(&relay));
        Some(relay)
    }

    fn make(&self, tenant: Arc<pulseboard_engine::Tenant>, selector: Selector) -> Arc<Relay> {
        let bus = Arc::clone(self.cluster.bus());
        let me = Arc::clone(self.cluster.member());
        Arc::new_cyclic(|weak: &Weak<Relay>| {
            let due = Due(Weak::clone(weak) as Weak<dyn Flushable>);
            let dues = self.due.clone();
            // There is room for all feeds; without a flusher the server is stopping.
            let wake = Box::new(move || drop(dues.try_send(due.clone())));
            Relay::new((bus, me), &self.engine, tenant, selector, wake)
        })
    }

    /// Says what is wanted since a moment ago, to those who are there now.
    async fn say_new(&self) {
        let names = std::mem::take(&mut *self.unsaid.lock());
        if self.cluster.is_alone() {
            return;
        }
        for (tenant, selectors) in by_tenant(names) {
            // Who begins meanwhile reads it there.
            self.want_of(&tenant, &selectors).await;
            for part in parts(&selectors) {
                let said = Said {
                    from: Arc::clone(self.cluster.member()),
                    tenant: Arc::clone(&tenant),
                    selectors: part.to_vec(),
                };
                let key = Partition::of(&tenant).feed(Kind::Watch);
                let frame = portable::versioned(VERSION, &portable::write(&said));
                if let Err(error) = self.cluster.bus().publish(&key, None, frame) {
                    tracing::debug!(%error, "the others hear later what is wanted here");
                }
            }
        }
    }

    async fn want_of(&self, tenant: &str, selectors: &[Arc<str>]) {
        let texts: Vec<&str> = selectors.iter().map(|selector| &**selector).collect();
        match self.cluster.common().want(tenant, &texts).await {
            Ok(0) => {}
            Ok(refused) => {
                self.refused.inc_by(refused as u64);
                tracing::warn!(
                    tenant,
                    refused,
                    "so much is watched of this tenant that some of it shows what comes in at this server alone"
                );
            }
            Err(error) => tracing::debug!(%error, "what is wanted here is said again later"),
        }
    }

    /// Says all again that is wanted here, and looks what others want.
    async fn refresh(self: &Arc<Self>) {
        if self.cluster.is_alone() {
            return;
        }
        let names: Vec<Name> = self.wants.lock().keys().cloned().collect();
        for (tenant, selectors) in by_tenant(names) {
            self.want_of(&tenant, &selectors).await;
        }
        let common = self.cluster.common();
        let asked = Partition::all().map(|partition| common.tenants_wanted(partition));
        let tenants = join_all(asked).await.into_iter().filter_map(Result::ok);
        let mut relays = Vec::new();
        for tenant in tenants.flatten() {
            let Ok(selectors) = common.wanted(&tenant).await else {
                continue;
            };
            let tenant: Arc<str> = tenant.into();
            let names = selectors.into_iter();
            let names = names.map(|selector| (Arc::clone(&tenant), Arc::from(selector)));
            relays.extend(names.filter_map(|name| self.relay(name)));
        }
        let now_ms = self.clock.steady_ms();
        let mut over = Vec::new();
        self.relays.lock().retain(|_, relay| {
            let is_over = relay.is_over(now_ms);
            if is_over {
                over.push(Arc::clone(relay));
            }
            !is_over
        });
        let seated = spawn_blocking(move || {
            over.iter().for_each(|relay| relay.close());
            relays.iter().for_each(|relay| relay.seat());
        });
        if seated.await.is_err() {
            tracing::error!("finding series that other servers want panicked");
        }
    }

    async fn maintain(&self) {
        let (guests, now_ms) = (Arc::clone(&self.guests), self.clock.now_ms());
        let maintained = spawn_blocking(move || guests.maintain(now_ms, false).map(drop));
        if !matches!(maintained.await, Ok(Ok(()))) {
            tracing::error!("samples of other servers could not be let go");
        }
    }

    async fn tell_census(&self) {
        if self.cluster.is_alone() {
            return;
        }
        let (engine, now_ms) = (Arc::clone(&self.engine), self.clock.now_ms());
        let Ok(census) = spawn_blocking(move || engine.census(CENSUS_MAX, now_ms)).await else {
            tracing::error!("counting series panicked");
            return;
        };
        let written = write_census(&census);
        let told = self.cluster.common().tell_census(&written).await;
        if let Err(error) = told {
            tracing::debug!(%error, "the others do not know which series are here");
        }
    }
}

fn write_census(census: &Census) -> Vec<u8> {
    let smallest = census.smallest.iter().copied();
    let numbers = std::iter::once(census.series).chain(smallest);
    numbers.flat_map(u64::to_le_bytes).collect()
}

fn read_census(bytes: &[u8]) -> Option<Census> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    let series = numbers.next()?;
    let smallest: Vec<u64> = numbers.collect();
    let is_whole = rest.is_empty() && smallest.len() <= CENSUS_MAX;
    is_whole.then_some(Census { series, smallest })
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn by_tenant(names: impl IntoIterator<Item = Name>) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut all: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    for (tenant, selector) in names {
        all.entry(tenant).or_default().push(selector);
    }
    all
}

/// Selectors in parts that fit into a frame each.
fn parts(selectors: &[Arc<str>]) -> impl Iterator<Item = &[Arc<str>]> {
    // None is longer than this leaves room for.
    selectors.chunks((SAID_BYTES / SELECTOR_BYTES_MAX).max(1))
}

impl FeedSink for Sink {
    fn append(&self, _epoch: Epoch, _offset: u64, frame: Bytes) {
        let came = match &self.tenant {
            Some(tenant) => Came::Samples(Arc::clone(tenant), frame),
            None => Came::Wants(frame),
        };
        if self.incoming.try_send(came).is_err() {
            self.dropped.inc();
        }
    }

    /// What is there twice is taken in once.
    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
        for (offset, frame) in (first_offset..).zip(frames) {
            self.append(epoch, offset, frame);
        }
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        let Some(all) = self.of.upgrade() else {
            return;
        };
        let mut wants = all.wants.lock();
        // Another one may be there by now.
        let is_over = |known: &Weak<Want>| known.strong_count() == 0;
        if wants.get(&self.name).is_some_and(is_over) {
            wants.remove(&self.name);
        }
    }
}

impl fmt::Debug for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Want({}, {})", self.name.0, self.name.1)
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wants, relays) = self.counts();
        f.debug_struct("Elsewhere")
            .field("wants", &wants)
            .field("relays", &relays)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_that_was_told_is_read() {
        let census = Census {
            series: 7,
            smallest: vec![1, 5, u64::MAX],
        };
        assert_eq!(read_census(&write_census(&census)), Some(census));
        assert_eq!(read_census(&[1, 2, 3]), None);
        assert_eq!(read_census(&[0; 8 * (CENSUS_MAX + 2)]), None);
    }

    #[test]
    fn what_is_said_of_wants_fits_into_frames() {
        let long: Arc<str> = "x".repeat(SELECTOR_BYTES_MAX).into();
        let all = vec![long; 20];
        let parts: Vec<_> = parts(&all).collect();
        assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 20);
        let bytes = |part: &&[Arc<str>]| part.iter().map(|one| one.len()).sum::<usize>();
        assert!(parts.iter().all(|part| bytes(part) <= SAID_BYTES));
    }
}
