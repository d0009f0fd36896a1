//! Who the servers are that are one service.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    error::BusError,
    hub::{Hub, now_ms},
    route::Partition,
    scripts::Name,
    value,
};

/// Versions of the frames on the bus that this server reads; it writes the newest that all read.
pub const BUS_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

/// A member that was not heard for so long is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(5);
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);
/// A clock that is further away than this is told of.
pub const SKEW_TOLD: Duration = Duration::from_millis(250);
/// With one that is further away than this, a server is not ready.
pub const SKEW_MAX: Duration = Duration::from_secs(5);

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// `INSTANCE.INCARNATION`.
    #[serde(skip)]
    pub id: String,
    /// What it is called.
    pub instance: String,
    /// Where it is reached, if it says so.
    pub address: String,
    /// Where other members reach it itself, and nobody in its place; may be empty.
    pub peer: String,
    /// How far it was in the ingest log when Redis last lost that, as a digest; empty where that
    /// was not so.
    pub reached: String,
    /// Whether it has samples that the ingest log of today never had.
    pub more: bool,
    /// Its version.
    pub version: String,
    /// The oldest frames that it reads.
    pub bus_min: u32,
    /// The newest.
    pub bus_max: u32,
    /// How many watch there.
    pub viewers: u64,
    /// When it joined, by the clock of Redis; 0 in its first second.
    pub joined_ms: i64,
    /// How long a message to itself takes, in microseconds.
    pub lag_us: i64,
    /// Whether it would answer `/readyz` with 200.
    pub ready: bool,
    /// What it does for all: kinds of work, and how many leases of each it holds.
    pub leases: BTreeMap<String, usize>,
    /// The kinds of work that it would do; one of before there was this says none.
    pub works: Vec<String>,
    /// How servers share samples where it is; one of before there was this has all of them.
    pub mode: String,
    /// How long the oldest sample has waited there that the archive does not have yet.
    pub archive_lag_ms: i64,
    /// Digest of what has to be alike everywhere, such as the tokens that are given as a setting.
    pub alike: String,
}

impl Member {
    fn mode(&self) -> &str {
        match &*self.mode {
            "" => "replicated",
            mode => mode,
        }
    }
}

/// Why a server is not to be sent anybody yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It has not been heard yet by the others.
    #[error("the other servers have not been heard yet")]
    NotHeard,
    /// Another live one is called so.
    #[error("another live server is called {0}, too; give this one its own INSTANCE")]
    NameTaken(String),
    /// It would not understand what is written.
    #[error(
        "the other servers write frames of version {written}, and this one reads {min} to {max}"
    )]
    Version {
        /// What is written.
        written: u32,
        /// The oldest that we read.
        min: u32,
        /// The newest.
        max: u32,
    },
    /// It keeps samples in another way.
    #[error(
        "the other servers keep samples as CLUSTER_MODE={theirs} has it, and this one as {own}"
    )]
    Mode {
        /// As those that were there before.
        theirs: String,
        /// As this one.
        own: String,
    },
    /// The clocks differ.
    #[error("the clock differs from that of Redis by {0} ms")]
    Clock(i64),
}

/// What is known of the members.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Those that live, this one among them, by when they joined.
    pub live: Arc<[Member]>,
    /// When that was heard.
    pub heard: Option<Instant>,
}

impl View {
    /// How many live; 1 where nobody was heard.
    #[must_use]
    pub fn count(&self) -> usize {
        self.live.len().max(1)
    }

    /// How many of those that live take part in a kind of work; 1 where nobody was heard.
    pub(crate) fn count_of(&self, work: &str) -> usize {
        let takes_part = |member: &&Member| {
            member.works.is_empty() || member.works.iter().any(|known| known == work)
        };
        self.live.iter().filter(takes_part).count().max(1)
    }

    /// Whether a member of this id lives.
    #[must_use]
    pub fn is_live(&self, id: &str) -> bool {
        self.live.iter().any(|member| member.id == id)
    }

    /// The newest version of frames that all live members read.
    #[must_use]
    pub fn written(&self) -> u32 {
        let newest = self.live.iter().map(|member| member.bus_max).min();
        newest.map_or(*BUS_VERSIONS.end(), |newest| {
            newest.min(*BUS_VERSIONS.end())
        })
    }
}

/// Ourselves among the members.
#[derive(Debug)]
pub(crate) struct Members {
    own: Mutex<Member>,
    view: Mutex<View>,
}

impl Members {
    pub(crate) fn new(hub: &Hub) -> Self {
        let settings = &hub.settings;
        Self {
            own: Mutex::new(Member {
                id: hub.member.to_string(),
                instance: settings.instance.clone(),
                address: settings.address_shown.clone(),
                version: settings.version.clone(),
                bus_min: *BUS_VERSIONS.start(),
                bus_max: *BUS_VERSIONS.end(),
                ..Member::default()
            }),
            view: Mutex::default(),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Member)) {
        change(&mut self.own.lock());
    }

    pub(crate) fn view(&self) -> View {
        self.view.lock().clone()
    }

    /// Says that we are there, and hears who else is.
    pub(crate) async fn beat(&self, hub: &Hub) -> Result<(), BusError> {
        let of = "a heartbeat";
        let own = {
            let mut own = self.own.lock();
            own.lag_us = hub.figures.lag_us.get();
            own.clone()
        };
        let said = serde_json::to_string(&own).map_err(|_error| BusError::Odd(of))?;
        let mut command = Name::Beat.command(2);
        command
            .arg(hub.keys.own("members"))
            .arg(hub.keys.own("member"))
            .arg(&*hub.member)
            .arg(said)
            .arg(DEAD_AFTER.as_millis().to_string())
            .arg(FORGOTTEN_AFTER.as_millis().to_string());
        let (asked, asked_ms) = (Instant::now(), now_ms());
        let answer = hub.ask(Partition::of(""), command).await?;
        let half = i64::try_from(asked.elapsed().as_millis() / 2).unwrap_or(0);
        let mut answer = value::list(answer, of)?.into_iter();
        let now: i64 = value::number(value::next(&mut answer, of)?, of)?;
        hub.figures.skew_ms.set(asked_ms + half - now);
        let mut live = Vec::new();
        for (id, said) in value::pairs(answer, of)? {
            // One that says what we do not understand lives all the same.
            let member: Member = serde_json::from_slice(&said).unwrap_or_default();
            live.push(Member { id, ..member });
        }
        if own.joined_ms == 0 {
            self.own.lock().joined_ms = now;
        }
        live.sort_by(|one, other| age(one).cmp(&age(other)));
        hub.figures
            .members
            .set(i64::try_from(live.len()).unwrap_or(0));
        *self.view.lock() = View {
            live: live.into(),
            heard: Some(Instant::now()),
        };
        Ok(())
    }

    /// Goes in order, so that the others need not wait until we are dead.
    pub(crate) async fn leave(&self, hub: &Hub) -> Result<(), BusError> {
        let mut command = Name::Leave.command(2);
        command
            .arg(hub.keys.own("members"))
            .arg(hub.keys.own("member"))
            .arg(&*hub.member);
        hub.ask(Partition::of(""), command).await.map(drop)
    }

    /// Whether we may be sent viewers and senders.
    pub(crate) fn readiness(&self, hub: &Hub) -> Result<(), NotReady> {
        let view = self.view();
        let own = self.own.lock().clone();
        if view.heard.is_none() || own.joined_ms == 0 {
            return Err(NotReady::NotHeard);
        }
        let others = || view.live.iter().filter(|other| other.id != own.id);
        // The one that joined later gives way.
        let is_taken = |other: &Member| other.instance == own.instance && age(other) < age(&own);
        if others().any(is_taken) {
            return Err(NotReady::NameTaken(own.instance));
        }
        let written = others().map(|other| other.bus_max).min();
        let needed = others().map(|other| other.bus_min).max();
        let (min, max) = (own.bus_min, own.bus_max);
        if let Some(written) = written
            .filter(|written| *written < min)
            .or(needed.filter(|needed| *needed > max))
        {
            return Err(NotReady::Version { written, min, max });
        }
        // What one shares with all would be kept by some alone.
        let is_before = |other: &&Member| age(other) < age(&own);
        let differs = |other: &&Member| other.mode() != own.mode();
        if let Some(other) = others().filter(is_before).find(differs) {
            return Err(NotReady::Mode {
                theirs: other.mode().to_owned(),
                own: own.mode().to_owned(),
            });
        }
        let skew = hub.figures.skew_ms.get();
        if skew.unsigned_abs() > u64::try_from(SKEW_MAX.as_millis()).unwrap_or(u64::MAX) {
            return Err(NotReady::Clock(skew));
        }
        Ok(())
    }
}

/// Who joined first; those in their first second joined last.
fn age(member: &Member) -> (i64, &str) {
    let joined = match member.joined_ms {
        0 => i64::MAX,
        joined => joined,
    };
    (joined, &member.id)
}
