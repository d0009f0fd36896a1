//! How much is kept for receivers.

use std::time::Duration;

/// How much is kept for a receiver that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What came longer ago is given up.
    pub age: Duration,
    /// Past so many bytes of log the oldest is given up.
    pub bytes: u64,
}

impl Limits {
    pub(crate) fn age_ms(self) -> i64 {
        i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Default for Limits {
    /// A day, and a gibibyte.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(24 * 3_600),
            bytes: 1 << 30,
        }
    }
}
