//! The durable history.
pub mod log;

mod block;
mod broken;
mod bucket;
mod chunk;
mod column;
mod error;
mod history;
mod maintain;
mod options;
mod read;
mod recover;
mod retain;
mod rollup;
mod sample_record;
mod seal;
mod series;
mod state;
mod store;
mod tables;
mod tier;
mod varint;
mod write;

pub use error::{Damage, HistoryError};
pub use history::{History, HistoryStats, LevelStats};
pub use maintain::Progress;
pub use options::{HistoryOptions, Retention};
pub use read::Snapshot;
pub use recover::{RecoverSink, RecoveryReport};
pub use sample_record::SampleRecord;
pub use seal::{SealBatch, SealReport};
pub use series::{Definition, SeriesId};
pub use tier::{Bucket, RAW_BLOCK_MS, Tier};
