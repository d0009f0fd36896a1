//! What one server does for all: leases with tokens that only grow.
//!
//! A holder acts until two and a half seconds after it *began* its last renewal, by its own steady
//! clock; the lease ends after three. Whatever it changes is changed by a script that refuses a
//! token smaller than one it has seen, so that a holder that slept does no harm.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use parking_lot::Mutex;

use crate::{
    error::BusError,
    hub::{Hub, now_ms},
    members::View,
    route::{PARTITIONS, Partition},
    scripts::Name,
    value,
};

const LASTS: Duration = Duration::from_secs(3);
const ACTS: Duration = Duration::from_millis(2_500);
/// Who was not heard for so long is not waited for; members say each second that they are there.
const SILENT_MS: i64 = 2_500;

/// Who does a kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each partition has somebody; live members have about as many.
    Partitions,
    /// One member does all of it.
    One,
}

impl Spread {
    fn partitions(self) -> Vec<Partition> {
        match self {
            Self::Partitions => Partition::all().collect(),
            Self::One => vec![Partition::of("")],
        }
    }
}

/// All kinds of work that are leased.
#[derive(Debug)]
pub struct Leases {
    has_all: bool,
    works: Mutex<Vec<Arc<Work>>>,
}

/// A kind of work, and what of it is ours.
#[derive(Debug)]
pub struct Work {
    name: &'static str,
    spread: Spread,
    has_all: bool,
    /// Where it is looked for first: another place on each server.
    first: usize,
    held: Mutex<BTreeMap<Partition, Held>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: u64,
    acts_until: Instant,
}

impl Leases {
    /// Of a server that is the only one: it holds everything.
    pub(crate) fn of_all() -> Self {
        Self {
            has_all: true,
            works: Mutex::default(),
        }
    }

    pub(crate) fn shared() -> Self {
        Self {
            has_all: false,
            works: Mutex::default(),
        }
    }

    /// Has this work done by one member each from now on. Asked for again, it is the same.
    pub fn work(&self, name: &'static str, spread: Spread) -> Arc<Work> {
        let mut works = self.works.lock();
        if let Some(known) = works.iter().find(|work| work.name == name) {
            return Arc::clone(known);
        }
        let work = Arc::new(Work {
            name,
            spread,
            has_all: self.has_all,
            first: fastrand::usize(..PARTITIONS),
            held: Mutex::default(),
        });
        works.push(Arc::clone(&work));
        work
    }

    fn works(&self) -> Vec<Arc<Work>> {
        self.works.lock().clone()
    }

    /// How many leases we hold.
    pub fn held(&self) -> usize {
        self.works().iter().map(|work| work.held().len()).sum()
    }

    /// The kinds of work of which we hold something, and how many leases of each.
    pub fn by_work(&self) -> BTreeMap<String, usize> {
        let held = self.works().into_iter();
        let held = held.map(|work| (work.name.to_owned(), work.held().len()));
        held.filter(|(_, count)| *count > 0).collect()
    }

    /// Renews what we hold, takes up to our share of the rest, and lets go of what is beyond it.
    pub(crate) async fn renew(&self, hub: &Hub, view: &View) {
        let works = self.works();
        if works.is_empty() {
            return;
        }
        let heard = heard(hub).await.unwrap_or(view.count());
        for work in works {
            // Not all of them may have the settings by which it is done.
            let live = view.count_of(work.name);
            work.renew(hub, heard.clamp(1, live)).await;
        }
    }

    /// The kinds of work that are done here, whether or not we hold something of them.
    pub(crate) fn names(&self) -> Vec<String> {
        let works = self.works.lock();
        works.iter().map(|work| work.name.to_owned()).collect()
    }

    /// Gives everything back.
    pub(crate) async fn release(&self, hub: &Hub) {
        for work in self.works() {
            let held = std::mem::take(&mut *work.held.lock());
            work.let_go(hub, held.into_keys()).await;
        }
    }
}

/// Members that were heard lately: one that was not keeps what it has as long as its leases last,
/// and what is free by then is taken before it is known to be dead.
async fn heard(hub: &Hub) -> Option<usize> {
    let since_ms = now_ms() - hub.figures.skew_ms.get() - SILENT_MS;
    let mut command = redis::cmd("ZCOUNT");
    command.arg(hub.keys.own("members"));
    command.arg(since_ms).arg("+inf");
    let answer = hub.ask(Partition::of(""), command).await.ok()?;
    value::number(answer, "members").ok()
}

impl Work {
    /// The token with which what this partition needs may be done now; `None`: it is somebody
    /// else's.
    #[must_use]
    pub fn token(&self, partition: Partition) -> Option<u64> {
        if self.has_all {
            return Some(0);
        }
        let held = self.held.lock();
        let held = held.get(&partition)?;
        (Instant::now() < held.acts_until).then_some(held.token)
    }

    /// As [`Self::token`] for what one member does.
    #[must_use]
    pub fn token_of_one(&self) -> Option<u64> {
        self.token(Partition::of(""))
    }

    /// The partitions whose work is ours now.
    #[must_use]
    pub fn held(&self) -> Vec<Partition> {
        let all = self.spread.partitions().into_iter();
        all.filter(|one| self.token(*one).is_some()).collect()
    }

    async fn renew(&self, hub: &Hub, live: usize) {
        let mut all = self.spread.partitions();
        let share = all.len().div_ceil(live);
        let known: Vec<Partition> = self.held.lock().keys().copied().collect();
        let (kept, beyond) = known.split_at(share.min(known.len()));
        self.held
            .lock()
            .retain(|partition, _| !beyond.contains(partition));
        self.let_go(hub, beyond.iter().copied()).await;
        join_all(kept.iter().map(|one| self.take(hub, *one))).await;
        let length = all.len().max(1);
        all.rotate_left(self.first % length);
        for partition in all {
            if self.held.lock().len() >= share {
                break;
            }
            if !known.contains(&partition) {
                self.take(hub, partition).await;
            }
        }
    }

    /// Takes or renews one; forgets it where it is somebody else's.
    async fn take(&self, hub: &Hub, partition: Partition) {
        let began = Instant::now();
        match self.ask(hub, partition).await {
            Ok(Some(token)) => {
                let acts_until = began + ACTS;
                self.held
                    .lock()
                    .insert(partition, Held { token, acts_until });
            }
            Ok(None) => {
                self.held.lock().remove(&partition);
            }
            // It ends by itself.
            Err(error) => tracing::debug!(%error, work = self.name, "a lease was not renewed"),
        }
    }

    async fn ask(&self, hub: &Hub, partition: Partition) -> Result<Option<u64>, BusError> {
        let of = "a lease";
        let mut command = Name::Lease.command(1);
        command
            .arg(hub.keys.lease(partition, self.name))
            .arg(&*hub.member)
            .arg(LASTS.as_millis().to_string());
        let answer = hub.ask(partition, command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let token: u64 = value::number(value::next(&mut answer, of)?, of)?;
        Ok((token != 0).then_some(token))
    }

    async fn let_go(&self, hub: &Hub, partitions: impl Iterator<Item = Partition>) {
        let released = partitions.map(|partition| {
            let mut command = Name::Release.command(1);
            command
                .arg(hub.keys.lease(partition, self.name))
                .arg(&*hub.member);
            hub.ask(partition, command)
        });
        for error in join_all(released).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, work = self.name, "a lease was not given back; it ends by itself");
        }
    }
}
