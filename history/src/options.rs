//! How a history is kept.

use std::time::Duration;

use crate::log::{Durability, LogOptions};

const DAY: u64 = 86_400;

/// How a history is kept. The defaults are those of the server's settings.
#[derive(Clone, Debug)]
pub struct HistoryOptions {
    /// The write-ahead log: durability, segment size, bounds.
    pub log: LogOptions,
    /// Memory for pages of the blocks' file (default 8 MiB): more makes wide queries and
    /// sealing faster, less keeps the process small.
    pub cache_bytes: usize,
    /// Free pages of the blocks' file that are not given back before they take so much (default 64
    /// MiB), see [`crate::History::compact`].
    pub spare_bytes: u64,
    /// What is deleted, and when.
    pub retention: Retention,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            log: LogOptions::default(),
            cache_bytes: 8 << 20,
            spare_bytes: 64 << 20,
            retention: Retention::default(),
        }
    }
}

impl HistoryOptions {
    /// The defaults with this durability.
    #[must_use]
    pub fn with_durability(durability: Durability) -> Self {
        let mut options = Self::default();
        options.log.durability = durability;
        options
    }
}

/// How long each resolution is kept, and how much in all. What the next coarser tier has not
/// been built from yet is never deleted, whatever is set here.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Raw samples (default 48 h).
    pub raw: Duration,
    /// Rollups, indexed as [`crate::Tier::ALL`] (defaults 7, 30, 180 and 730 days).
    pub tiers: [Duration; 4],
    /// Once the stored values take more, the tenant that has most beyond its part of this gives the
    /// oldest block of the finest resolution that can go (default: no limit). The file itself can
    /// be larger by free pages, which are used again before it grows.
    pub bytes_max: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days| Duration::from_secs(days * DAY);
        Self {
            raw: days(2),
            tiers: [days(7), days(30), days(180), days(730)],
            bytes_max: None,
        }
    }
}

impl Retention {
    /// Of a level: 0 raw, then the tiers. In milliseconds.
    pub(crate) fn keep_ms(&self, level: usize) -> i64 {
        let keep = match level.checked_sub(1) {
            None => self.raw,
            Some(tier) => self.tiers.get(tier).copied().unwrap_or(Duration::MAX),
        };
        i64::try_from(keep.as_millis()).unwrap_or(i64::MAX)
    }
}
