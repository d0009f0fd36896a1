//! How a series grows.

/// How a series grows, as far as its sender said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Nobody said.
    #[default]
    Unknown = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Only grows, or starts again from zero.
    Counter = 2,
    /// A part of a histogram or summary (`_bucket`, `_sum`, `_count`, a quantile).
    Distribution = 3,
}

impl Kind {
    /// From what a disk holds; anything else is `Unknown`.
    #[must_use]
    pub fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Gauge,
            2 => Self::Counter,
            3 => Self::Distribution,
            _ => Self::Unknown,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Distribution => "distribution",
        }
    }
}
