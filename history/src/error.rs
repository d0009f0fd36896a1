//! Why the history cannot do what was asked, and what was found damaged on the way.

use std::path::PathBuf;

use crate::{SeriesId, Tier, column::ColumnError, log::LogError};

/// Why the history cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The write-ahead log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The blocks' file. What was being written is not there; the log still has the samples.
    #[error("{action} in the blocks' file: {source}")]
    Blocks {
        /// What was being done.
        action: &'static str,
        /// The store's answer.
        source: Box<redb::Error>,
    },
    /// The blocks' file is damaged inside in a way that its store cannot bear.
    #[error("{action} in the blocks' file: its structure is damaged: {what}")]
    Structure {
        /// What was being done.
        action: &'static str,
        /// What the store said.
        what: String,
    },
    /// The blocks' file was written by another version. Nothing was changed.
    #[error("{file:?} has format version {found}; this build reads version {supported}")]
    Version {
        /// The file.
        file: PathBuf,
        /// The version it says.
        found: u32,
        /// What this build reads.
        supported: u32,
    },
    /// A file or folder.
    #[error("{action} {path:?}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl HistoryError {
    pub(crate) fn blocks(action: &'static str, error: impl Into<redb::Error>) -> Self {
        Self::Blocks {
            action,
            source: Box::new(error.into()),
        }
    }
}

/// What is wrong with one chunk or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlockError {
    #[error("it is too short, or a length in it is wrong")]
    Short,
    #[error("its checksum does not match")]
    Checksum,
    #[error("it has version {found}; this build reads version {supported}")]
    Version { found: u8, supported: u8 },
    #[error(transparent)]
    Column(#[from] ColumnError),
}

/// A chunk or block that cannot be read. It was skipped; everything else is readable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Whose it is.
    pub series: SeriesId,
    /// `None` for raw samples.
    pub tier: Option<Tier>,
    /// Begin of its stretch of time, Unix milliseconds.
    pub block_ms: i64,
    /// What is wrong.
    pub reason: String,
}
