//! The bus of several servers, on Redis.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use pulseboard_feed::Epoch;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    bus::Bus,
    cluster::Cluster,
    error::ConnectError,
    figures::Figures,
    hub::Hub,
    key::FeedKey,
    lease::Leases,
    link,
    outbox::{Job, Lane},
    route::Partition,
    settings::Settings,
    sink::{FeedSink, Refused, State, Subscription, Told},
};

/// How often it is looked whether this server is alone.
const LOOK: Duration = Duration::from_millis(100);
/// How often counts are sent.
const COUNTS: Duration = Duration::from_millis(200);
const BEAT: Duration = Duration::from_secs(1);
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(2);

/// The bus of several servers, on Redis.
pub struct Redis {
    hub: Arc<Hub>,
    cluster: Cluster,
    leases: Arc<Leases>,
    leave: Notify,
    has_left: AtomicBool,
}

impl Redis {
    /// One that is not connected yet: [`Self::check`] tells whether that would do, [`Self::run`]
    /// keeps it connected.
    ///
    /// # Errors
    /// This machine has no random numbers.
    pub fn new(settings: Settings) -> Result<Self, std::io::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(std::io::Error::other)?;
        let mut member = format!("{}.", settings.instance);
        for byte in bits {
            // Writing into a text does not fail.
            let _always = write!(member, "{byte:02x}");
        }
        let hub = Arc::new(Hub::new(settings, member.into()));
        Ok(Self {
            cluster: Cluster::new(&hub),
            leases: Arc::new(Leases::shared()),
            leave: Notify::new(),
            has_left: AtomicBool::new(false),
            hub,
        })
    }

    /// What servers share beside feeds.
    #[must_use]
    pub fn common(&self) -> &Cluster {
        &self.cluster
    }

    /// Looks once whether this Redis will do. One that is [`ConnectError::Away`] may come back, and
    /// is no reason not to start; one that is [`ConnectError::Unfit`] is.
    ///
    /// # Errors
    /// It will not do, or cannot be reached.
    pub async fn check(&self) -> Result<(), ConnectError> {
        link::try_once(&self.hub).await
    }

    /// Keeps connected and does what is to be done, until [`Self::leave`].
    pub async fn run(&self) {
        tokio::select! {
            never = link::keep(&self.hub) => match never {},
            never = self.look() => match never {},
            never = self.count() => match never {},
            never = self.beat() => match never {},
            () = self.depart() => {}
        }
    }

    /// Leaves in order: what waits is sent, leases are given back, the others know at once. Returns
    /// when [`Self::run`] has ended, or would not within two seconds.
    pub async fn leave(&self) {
        self.leave.notify_one();
        let ended = async {
            while !self.has_left.load(Ordering::Acquire) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(LEAVING + LOOK, ended).await.is_err() {
            tracing::warn!(
                "the other servers were not told that this one leaves; they will notice"
            );
        }
    }

    async fn depart(&self) {
        self.leave.notified().await;
        let orderly = async {
            self.cluster.counts.flush(&self.hub);
            self.leases.release(&self.hub).await;
            while !self.is_flushed() {
                sleep(Duration::from_millis(5)).await;
            }
            self.cluster.members.leave(&self.hub).await
        };
        match timeout(LEAVING, orderly).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "leaving was not told"),
            Err(_) => tracing::warn!("not everything could be sent to the other servers"),
        }
        self.has_left.store(true, Ordering::Release);
    }

    /// Whether everything that was published has been taken.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let mut outboxes = Partition::all().filter_map(|one| self.hub.outbox(one));
        outboxes.all(|outbox| outbox.lock().is_flushed())
    }

    async fn look(&self) -> std::convert::Infallible {
        let mut moments = interval(LOOK);
        moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            moments.tick().await;
            self.hub.look(None);
        }
    }

    async fn count(&self) -> std::convert::Infallible {
        let mut moments = interval(COUNTS);
        moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            moments.tick().await;
            self.cluster.counts.flush(&self.hub);
        }
    }

    async fn beat(&self) -> std::convert::Infallible {
        let mut state = self.hub.state.subscribe();
        let mut seconds = interval(BEAT);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                // At once when there is somebody to tell.
                _ = state.changed() => seconds.reset(),
            }
            let members = &self.cluster.members;
            let works = self.leases.names();
            members.change(|own| own.works = works);
            match members.beat(&self.hub).await {
                Ok(()) => self.leases.renew(&self.hub, &members.view()).await,
                Err(error) => tracing::debug!(%error, "the others were not told that we are there"),
            }
            let figures = &self.hub.figures;
            let held = self.leases.held();
            figures.leases.set(i64::try_from(held).unwrap_or(i64::MAX));
            let held = self.leases.by_work();
            members.change(|own| own.leases = held);
            self.expire();
        }
    }

    fn expire(&self) {
        let now = Instant::now();
        let lost: u64 = Partition::all()
            .filter_map(|one| self.hub.outbox(one))
            .map(|outbox| outbox.lock().expire(now))
            .sum();
        let figures = &self.hub.figures;
        figures.dropped_unsent.add(lost);
        let held = i64::try_from(self.hub.held_bytes());
        figures.held_bytes.set(held.unwrap_or(i64::MAX));
    }

    fn send(
        &self,
        key: &FeedKey,
        once: Option<u64>,
        frame: Bytes,
        told: Option<oneshot::Sender<crate::sink::Placed>>,
    ) -> Result<(), Refused> {
        let (bytes, max) = (frame.len(), key.kind.frame_max());
        if bytes > max {
            self.hub.figures.refused.add(1);
            return Err(Refused::TooLarge { bytes, max });
        }
        let lane = Lane::Feed(key.clone());
        let job = Job::Frame { once, frame };
        self.hub.send(Partition::of(&key.tenant), lane, job, told)
    }
}

impl Bus for Redis {
    fn subscribe_after(
        &self,
        key: FeedKey,
        after: Option<(Epoch, u64)>,
        sink: Arc<dyn FeedSink>,
    ) -> Subscription {
        let entry = self.hub.watch(key, after, sink);
        let hub = Arc::clone(&self.hub);
        Subscription::new(move || hub.unwatch(&entry))
    }

    fn publish(&self, key: &FeedKey, once: Option<u64>, frame: Bytes) -> Result<(), Refused> {
        self.send(key, once, frame, None)
    }

    fn publish_told(
        &self,
        key: &FeedKey,
        once: Option<u64>,
        frame: Bytes,
    ) -> Result<Told, Refused> {
        let (done, told) = oneshot::channel();
        self.send(key, once, frame, Some(done))?;
        Ok(Told(told))
    }

    fn cluster(&self) -> Option<&Cluster> {
        Some(&self.cluster)
    }

    fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    fn state(&self) -> watch::Receiver<State> {
        self.hub.state.subscribe()
    }

    fn figures(&self) -> &Arc<Figures> {
        &self.hub.figures
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("member", &self.hub.member)
            .finish_non_exhaustive()
    }
}
