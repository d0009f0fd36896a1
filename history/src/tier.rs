//! The resolutions: raw samples, and buckets of 10 s, 1 min, 5 min and 1 h.

/// A rollup's resolution. Each is built from the one before it, the first from raw chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Buckets of 10 s, in blocks of an hour.
    TenSeconds,
    /// Buckets of a minute, in blocks of 6 hours.
    Minute,
    /// Buckets of 5 minutes, in blocks of a day.
    FiveMinutes,
    /// Buckets of an hour, in blocks of 10 days.
    Hour,
}

/// Length of the stretch of time that one raw chunk lies in.
pub const RAW_BLOCK_MS: i64 = 3_600_000;

impl Tier {
    /// Finest first.
    pub const ALL: [Self; 4] = [
        Self::TenSeconds,
        Self::Minute,
        Self::FiveMinutes,
        Self::Hour,
    ];

    /// Length of a bucket.
    #[must_use]
    pub const fn bucket_ms(self) -> i64 {
        match self {
            Self::TenSeconds => 10_000,
            Self::Minute => 60_000,
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
        }
    }

    /// Length of the stretch that is rolled up and stored as one block: 240 to 360 buckets.
    #[must_use]
    pub const fn block_ms(self) -> i64 {
        match self {
            Self::TenSeconds => RAW_BLOCK_MS,
            Self::Minute => 6 * RAW_BLOCK_MS,
            Self::FiveMinutes => 24 * RAW_BLOCK_MS,
            Self::Hour => 240 * RAW_BLOCK_MS,
        }
    }

    /// The next finer tier; `None` means raw chunks.
    #[must_use]
    pub const fn finer(self) -> Option<Self> {
        match self {
            Self::TenSeconds => None,
            Self::Minute => Some(Self::TenSeconds),
            Self::FiveMinutes => Some(Self::Minute),
            Self::Hour => Some(Self::FiveMinutes),
        }
    }

    /// The next coarser tier.
    #[must_use]
    pub const fn coarser(self) -> Option<Self> {
        match self {
            Self::TenSeconds => Some(Self::Minute),
            Self::Minute => Some(Self::FiveMinutes),
            Self::FiveMinutes => Some(Self::Hour),
            Self::Hour => None,
        }
    }

    /// 0 for the finest.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Statistics of the samples in one bucket. NaN (staleness markers among them) is no value: a
/// bucket without any other sample does not exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Begin, Unix milliseconds, a multiple of the tier's bucket length.
    pub start_ms: i64,
    /// Samples, at least 1.
    pub count: u64,
    /// Their sum; where it differs from a decimal of the samples' own resolution by rounding
    /// errors alone, that decimal.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// The earliest.
    pub first: f64,
    /// The latest.
    pub last: f64,
    /// The sum of those that the next one is less than: what a counter showed before it began again
    /// at zero. In blocks that were written before this was kept, what follows from the others; see
    /// [`Bucket::least_resets`].
    pub resets: f64,
}

impl Bucket {
    /// What a counter grew by from the first to the last sample, wherever it began again at zero in
    /// between.
    #[must_use]
    pub fn increase(&self) -> f64 {
        self.last - self.first + self.resets
    }

    /// The resets as far as they follow from the other figures: exact for one or two samples, and
    /// where a counter began again once and had grown further by then than it shows at the end;
    /// else the least that they can have been.
    #[must_use]
    pub fn least_resets(&self) -> f64 {
        if self.max > self.last {
            self.max
        } else if self.min < self.first {
            self.first
        } else {
            0.0
        }
    }
}
