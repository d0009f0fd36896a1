//! Why nothing of a body is taken.

use crate::shares::Refused;

/// Why nothing of a body was taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    /// It is not what it is sent as.
    #[error("{0}")]
    Malformed(String),
    /// It is packed in a way that is not known.
    #[error("{0}")]
    UnknownCoding(String),
    /// It is too large, packed or unpacked.
    #[error("{0}")]
    TooLarge(String),
    /// There is no memory left for bodies, for all or for this caller.
    #[error("there is no memory left for bodies now; try again ({0})")]
    NoMemory(Refused),
    /// The same while it was unpacked.
    #[error("{0}")]
    Budget(String),
    /// It waited too long for its turn.
    #[error("too many bodies wait; try again")]
    Busy,
    /// Ours to mend; the log says what.
    #[error("something went wrong here; the server's log says what")]
    Panicked,
}
