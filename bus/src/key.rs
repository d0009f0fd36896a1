//! What a feed is called on the bus, and what bounds it there.

use std::{fmt, sync::Arc, time::Duration};

/// The largest frame: what is larger is refused, so that nobody holds up everybody.
pub const FRAME_MAX: usize = 64 * 1024;
/// The largest entry of the ingest log, which is read in pages of few.
pub const ENTRY_MAX: usize = 256 * 1024;

/// What kind of feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Ticks of the built-in metrics.
    Tick,
    /// What alerts become of.
    Alert,
    /// The operator's figures and threshold.
    Operator,
    /// What is said in a room.
    Room,
    /// Gains of a watched selector.
    Watch,
    /// Changes of tokens and sessions.
    Token,
    /// Samples on their way to every replica: one a partition.
    Ingest,
}

/// All kinds.
pub const KINDS: [Kind; 7] = [
    Kind::Tick,
    Kind::Alert,
    Kind::Operator,
    Kind::Room,
    Kind::Watch,
    Kind::Token,
    Kind::Ingest,
];

impl Kind {
    /// As it is written in keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Alert => "alert",
            Self::Operator => "op",
            Self::Room => "room",
            Self::Watch => "watch",
            Self::Token => "tok",
            Self::Ingest => "in",
        }
    }

    /// Frames that Redis keeps of such a feed, and for how long after the newest one, unless the
    /// settings say otherwise.
    #[must_use]
    pub const fn kept(self) -> Kept {
        let (frames, seconds) = match self {
            Self::Tick => (300, 3_600),
            Self::Alert => (1_000, 86_400),
            Self::Operator => (300, 3_600),
            Self::Room => (256, 600),
            Self::Watch => (64, 120),
            Self::Token => (64, 3_600),
            // By bytes; see `Cluster::bound_ingest`.
            Self::Ingest => (1_000_000, 21_600),
        };
        Kept {
            frames,
            time: Duration::from_secs(seconds),
        }
    }

    /// The largest frame of such a feed, in bytes.
    #[must_use]
    pub const fn frame_max(self) -> usize {
        match self {
            Self::Ingest => ENTRY_MAX,
            _ => FRAME_MAX,
        }
    }

    /// Entries that are read at a time: all that are kept of what somebody watches, so that who
    /// begins anew has them at once and is told none of them as new. An answer is a few megabytes
    /// at most.
    pub(crate) const fn page(self) -> usize {
        match self {
            Self::Ingest => 8,
            Self::Watch => 64,
            Self::Room | Self::Token => 256,
            Self::Operator => 300,
            Self::Tick | Self::Alert => 1_024,
        }
    }

    /// Whether who begins anew is to have all that there is, and not the newest page of it.
    pub(crate) const fn is_whole(self) -> bool {
        matches!(self, Self::Ingest)
    }

    const fn index(self) -> usize {
        match self {
            Self::Tick => 0,
            Self::Alert => 1,
            Self::Operator => 2,
            Self::Room => 3,
            Self::Watch => 4,
            Self::Token => 5,
            Self::Ingest => 6,
        }
    }
}

/// What Redis keeps of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its newest frames, about so many.
    pub frames: usize,
    /// For so long after the newest one.
    pub time: Duration,
}

/// What Redis keeps of feeds, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptByKind([Kept; KINDS.len()]);

impl Default for KeptByKind {
    fn default() -> Self {
        Self(KINDS.map(Kind::kept))
    }
}

impl KeptByKind {
    /// The same, but for this kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, kept: Kept) -> Self {
        if let Some(known) = self.0.get_mut(kind.index()) {
            *known = kept;
        }
        self
    }

    /// What is kept of feeds of this kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Kept {
        self.0
            .get(kind.index())
            .copied()
            .unwrap_or_else(|| kind.kept())
    }
}

/// Names a feed: the same on every server.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedKey {
    /// What it carries.
    pub kind: Kind,
    /// Whose it is; `""` for the service's own.
    pub tenant: Arc<str>,
    /// Which of them, such as a room's name; may be empty.
    pub id: Arc<str>,
}

impl FeedKey {
    /// A feed of somebody.
    #[must_use]
    pub fn new(kind: Kind, tenant: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            tenant: tenant.into(),
            id: id.into(),
        }
    }

    /// The service's own feed of this kind.
    #[must_use]
    pub fn own(kind: Kind) -> Self {
        Self::new(kind, "", "")
    }
}

impl fmt::Debug for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind.name(), self.tenant, self.id)
    }
}
