//! Points in time, in UTC or in a place's own time.

/// A point in time, and the zone that it is shown in.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Since 1970, UTC.
    nanoseconds: i128,
}

impl Moment {
    /// Unix milliseconds, in UTC.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self {
            nanoseconds: i128::from(ms) * 1_000_000,
        }
    }
}
