//! The types that values of settings have.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use pulseboard_shared::Role;

/// Where the built-in figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// This machine's real figures.
    Host,
    /// Made-up ones.
    Simulator,
    /// None are made.
    None,
}

impl SourceKind {
    /// As the setting says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Simulator => "simulator",
            Self::None => "none",
        }
    }
}

/// How several servers share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterMode {
    /// Every server has everything.
    Replicated,
    /// Each server has what came in at it, and the archive has all.
    Sharded,
}

/// Of which alerts people are told by a server that cannot reach the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertsAlone {
    /// Of those of its own host: nobody is told twice.
    #[default]
    Own,
    /// Of all: nothing goes untold, and several servers may tell the same.
    All,
}

impl ClusterMode {
    /// As the setting says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Replicated => "replicated",
            Self::Sharded => "sharded",
        }
    }
}

/// How often one way out of a receiver may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyBudget {
    /// As [`NotifyBudget::PER_HOUR`] for receivers that are made here, and not at all held back for
    /// those of a file: whoever brings one expects what it says.
    Auto,
    /// As often as there is something to say.
    Off,
    /// So many times at once and in an hour.
    PerHour(usize),
}

impl NotifyBudget {
    /// What holds where nothing is said.
    pub const PER_HOUR: usize = 30;

    /// How often in an hour; `None` holds nothing back.
    #[must_use]
    pub fn per_hour(self, is_of_file: bool) -> Option<usize> {
        match self {
            Self::Auto => (!is_of_file).then_some(Self::PER_HOUR),
            Self::Off => None,
            Self::PerHour(count) => Some(count),
        }
    }
}

/// Where the history is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    /// Nothing on disk; gone with the process.
    Memory,
    /// In this folder, relative to the working directory of the process.
    Path(PathBuf),
}

/// What an answer to whoever sends samples promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// They outlive a power cut.
    Fsync,
    /// They outlive the process.
    Write,
    /// They are in memory; there is no history.
    Memory,
}

/// Which web pages may talk to this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Only this server's own.
    SameOrigin,
    /// This server's own, and these, each as [`super::normalise_origin`] writes it; sorted, each
    /// once, never empty.
    List(Vec<String>),
    /// Any, without credentials.
    Any,
}

/// What a request's `Host` may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Anything.
    Any,
    /// One of these or a loopback name; never empty.
    List(Vec<HostName>),
}

/// A name that a request may come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// In lower case, without a dot at its end.
    pub name: String,
    /// `None` for any port.
    pub port: Option<u16>,
}

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A bearer token and what it allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What the caller sends: visible ASCII, never empty, unique among all tokens. Compare in
    /// constant time and never log it.
    pub secret: String,
    /// What it allows.
    pub role: Role,
    /// The tenant it is confined to; `None` for all.
    pub tenant: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("secret", &"(hidden)")
            .field("role", &self.role)
            .field("tenant", &self.tenant)
            .finish()
    }
}

/// What the file says about one room: `[rooms.NAME]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomSettings {
    /// The least role that may join; `None` leaves the room's own rule.
    pub min_role: Option<Role>,
    /// What the room is for, in words.
    pub description: String,
    /// Event names to the JSON Schema that their data must fit; `{}` takes anything.
    pub events: BTreeMap<String, serde_json::Value>,
    /// The events that a member gets without asking for them.
    pub default_subscriptions: Vec<String>,
}
