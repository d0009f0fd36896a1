//! Several servers as one service: the bus between them, who is there, how this one stands, and
//! what all of them have `alike`.
//!
//! Without `REDIS_URL` there is nothing of it, and everything is as it is on one server. Whoever
//! has something that all servers are to have alike is given the bus where there is one; whoever
//! asks how things stand asks here.

pub mod alike;
pub mod report;
pub mod voice;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_bus::{
    Address, Bus, BusError, Cluster as Common, ConnectError, Figures, Kind, Redis, State, View,
    key::KeptByKind,
};
use pulseboard_outbound::Secret;
use tokio_util::sync::CancellationToken;

use crate::settings::{self, Settings};

/// Ticks that Redis keeps at least, whatever the window.
const TICKS_KEPT_MIN: usize = 300;

/// Without Redis for so many intervals a server goes on alone; within these bounds.
const TICKS_MISSED: u32 = 3;
const ALONE_AFTER: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1_500)..=Duration::from_secs(3);

/// How long any one question to the others may take where somebody waits for the answer.
const WITHIN: Duration = Duration::from_millis(500);

/// This server among those that are one service.
#[derive(Debug)]
pub struct Cluster {
    redis: Arc<Redis>,
    /// The same as everybody else sees it.
    bus: Arc<dyn Bus>,
    instance: String,
    /// See [`Self::say_behind`]. Leaf lock.
    behind: Mutex<Option<String>>,
    /// See [`Self::say_broken`].
    broken: OnceLock<&'static str>,
}

/// How this server stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It has not been found out yet.
    Joining,
    /// The others are reached.
    Joined,
    /// They are not, and it goes on by itself.
    Alone,
}

impl Cluster {
    /// That of the settings; `None` where there is one server. Nothing is connected yet.
    ///
    /// # Errors
    /// The file with the password cannot be read, or this machine has no random numbers.
    pub fn new(settings: &Settings) -> io::Result<Option<Arc<Self>>> {
        let Some(address) = settings.redis_url.clone() else {
            return Ok(None);
        };
        let password = match &settings.redis_password_file {
            None => None,
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    let words = format!(
                        "REDIS_PASSWORD_FILE={}: it cannot be read: {error}",
                        path.display()
                    );
                    io::Error::new(error.kind(), words)
                })?;
                Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
        };
        let mut kept = Kind::Tick.kept();
        kept.frames = TICKS_KEPT_MIN.max(settings.window_size.saturating_mul(5));
        let alone_after = settings.metric_interval * TICKS_MISSED;
        let redis = Redis::new(pulseboard_bus::Settings {
            password,
            prefix: settings.redis_prefix.clone(),
            address_shown: settings.external_address(),
            version: settings::version(),
            kept: KeptByKind::default().with(Kind::Tick, kept),
            alone_after: alone_after.clamp(*ALONE_AFTER.start(), *ALONE_AFTER.end()),
            ..pulseboard_bus::Settings::new(address, settings.instance.clone())
        })?;
        let redis = Arc::new(redis);
        redis.common().say(|member| {
            member.mode = settings.cluster_mode.name().to_owned();
        });
        Ok(Some(Arc::new(Self {
            bus: Arc::clone(&redis) as Arc<dyn Bus>,
            redis,
            instance: settings.instance.clone(),
            behind: Mutex::default(),
            broken: OnceLock::new(),
        })))
    }

    /// Looks whether this Redis will do. One that is away may come: this server then begins alone.
    ///
    /// # Errors
    /// It will never do; says why.
    pub async fn check(&self) -> io::Result<()> {
        match self.redis.check().await {
            Ok(()) => Ok(()),
            Err(ConnectError::Away(error)) => {
                tracing::warn!(%error, "Redis is not there; this server begins alone, and joins the others when it is");
                Ok(())
            }
            Err(ConnectError::Unfit(unfit)) => Err(io::Error::other(format!(
                "REDIS_URL: this Redis will not do: {unfit}"
            ))),
        }
    }

    /// Keeps the servers connected until [`Self::leave`], or until `ended`.
    pub async fn run(self: Arc<Self>, ended: CancellationToken) {
        tokio::select! {
            () = self.redis.run() => {}
            () = ended.cancelled() => {}
        }
    }

    /// Leaves in order; the others know at once.
    pub async fn leave(&self) {
        self.redis.leave().await;
    }

    /// What feeds go over.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// The bus with all that it has.
    #[must_use]
    pub fn redis(&self) -> &Arc<Redis> {
        &self.redis
    }

    /// What the servers share beside feeds; each question to it is a round trip.
    #[must_use]
    pub fn common(&self) -> &Common {
        self.redis.common()
    }

    /// What this server is called.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// This run of this server: nobody else ever was called so.
    #[must_use]
    pub fn member(&self) -> &Arc<str> {
        self.common().member()
    }

    /// Whether the others cannot be reached, and this server goes on by itself.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.bus.state().borrow().is_alone()
    }

    /// How this server stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match *self.bus.state().borrow() {
            State::Joining => Standing::Joining,
            State::Connected => Standing::Joined,
            State::Alone { .. } => Standing::Alone,
        }
    }

    /// Since when it is alone, Unix milliseconds, and why.
    #[must_use]
    pub fn alone_since(&self) -> Option<(i64, Arc<str>)> {
        match &*self.bus.state().borrow() {
            State::Alone { since_ms, why } => Some((*since_ms, Arc::clone(why))),
            State::Joining | State::Connected => None,
        }
    }

    /// Who lives.
    #[must_use]
    pub fn view(&self) -> View {
        self.common().view()
    }

    /// Whether viewers and senders may be sent to this server; one that is alone serves on, or
    /// there would be none.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn readiness(&self) -> Result<(), String> {
        let standing = self.standing();
        if let Some(why) = self.broken.get().filter(|_| standing != Standing::Alone) {
            return Err((*why).to_owned());
        }
        match standing {
            Standing::Alone => Ok(()),
            Standing::Joining => Err("the other servers have not been heard yet".to_owned()),
            Standing::Joined => self
                .common()
                .readiness()
                .map_err(|reason| reason.to_string())
                .and_then(|()| self.behind.lock().clone().map_or(Ok(()), Err)),
        }
    }

    /// This server has not got yet what the others have, and how far that goes, for people; `None`
    /// once it has.
    pub fn say_behind(&self, how_far: Option<String>) {
        *self.behind.lock() = how_far;
    }

    /// This server no longer does what all do, and will not until it begins anew: it is not ready,
    /// whatever else is said, but for one that is alone.
    pub fn say_broken(&self, why: &'static str) {
        // The first one is the cause.
        let _later = self.broken.set(why);
    }

    /// Where other members reach this server itself. One that listens at all addresses says that
    /// from which it speaks to Redis.
    #[must_use]
    pub fn peer_address(&self, settings: &Settings) -> String {
        let mut address = settings.bind_addr;
        if address.ip().is_unspecified() {
            let own = settings.redis_url.as_ref().and_then(own_address);
            address.set_ip(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        format!("{}://{address}", settings.scheme())
    }

    /// What is counted.
    #[must_use]
    pub fn figures(&self) -> &Arc<Figures> {
        self.bus.figures()
    }
}

/// The answer to a question to the others, if it comes in time.
///
/// # Errors
/// As the question, or there was no answer.
pub async fn within<T>(question: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
    let answer = tokio::time::timeout(WITHIN, question).await;
    answer.unwrap_or_else(|_elapsed| Err(BusError::Away("no answer within half a second".into())))
}

/// The address of this machine that a Redis would see.
fn own_address(redis: &Address) -> Option<IpAddr> {
    let (host, port) = redis.first()?;
    // Nothing is sent by this.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((host, port)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
