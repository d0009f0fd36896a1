//! What is shown of the feed's connection.

use crate::net::{probe::Diagnosis, transport::Transport};

/// How the connection stands, in words that the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Connection {
    /// The first attempt is under way; nothing has arrived yet.
    #[default]
    Connecting,
    /// Connected to a server that has no figures yet.
    Waiting,
    /// The newest figure is fresh.
    Live,
    /// Connected, but the newest figure is this old.
    Stale {
        /// Whole seconds.
        age_s: u64,
    },
    /// Not connected.
    Lost {
        /// Attempts since it was.
        attempt: u32,
        /// Whole seconds until the next attempt; `None` while one is under way.
        retry_in_s: Option<u64>,
        /// Whole seconds since it was lost, or since the first attempt.
        lost_s: u64,
    },
}

impl Connection {
    /// Figures on the screen are of now.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// There is no working connection.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

/// Everything about the connection that is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// How it stands.
    pub connection: Connection,
    /// Whether the browser says there is a network.
    pub online: bool,
    /// Why the server cannot be reached, once that is known.
    pub diagnosis: Option<Diagnosis>,
    /// The last recovery, until the next loss.
    pub recovery: Option<Recovery>,
    /// The server has no source of figures of its own.
    pub sourceless: bool,
    /// How the ticks come.
    pub transport: Transport,
    /// What arrived and what did not.
    pub counts: Counts,
}

impl Default for View {
    fn default() -> Self {
        Self {
            connection: Connection::default(),
            online: true,
            diagnosis: None,
            recovery: None,
            sourceless: false,
            transport: Transport::default(),
            counts: Counts::default(),
        }
    }
}

/// What the page counted itself, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ticks that arrived, each once.
    pub ticks: u64,
    /// Of these, the ones that came after a reconnect in place of being missed.
    pub recovered: u64,
    /// Ticks that never came, by the gaps in their offsets.
    pub lost: u64,
    /// Ticks that came again and were left out.
    pub repeated: u64,
    /// Ticks that arrived merged, because this page was too slow for them.
    pub merged: u64,
    /// Frames that could not be read.
    pub unreadable: u64,
}

/// How one reconnect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Ticks that were missed and came after all.
    pub ticks: u64,
    /// Ticks that were missed for good.
    pub lost: u64,
    /// From opening the socket until all of them were here.
    pub took_ms: u64,
    /// From the loss until then.
    pub away_ms: u64,
    /// Of that time, how long nothing was measured (or is no longer held).
    pub hole_ms: u64,
}
