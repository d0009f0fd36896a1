//! The durable history: what was acknowledged survives, and answers questions for two years.
//!
//! ```text
//! append ──▶ wal/00000001.log …  (group commit: one fsync for all that wait)
//!                │ restart: replayed into the caller's window
//! seal  ───▶ blocks.redb: raw chunks, an hour a series          kept 48 h
//!                │ maintain, once an hour is final
//!                ├──▶ 10 s buckets ──▶ 1 min ──▶ 5 min ──▶ 1 h   7 d, 30 d, 180 d, 2 y
//!                └──▶ deleted by age, then by total size
//! read  ◀─── snapshots of blocks.redb
//! ```
//!
//! It knows numbers of series, definitions that it never looks into, and samples: no names, no
//! HTTP, no clock, no runtime. The newest samples live in the caller's memory; this crate makes
//! them durable at once (the log) and compact later (the blocks). Each [`log::Log`] runs one
//! thread; everything else happens on the thread of the caller, and blocks it. What has a
//! lifetime of its own (alerts, chat) takes a [`log::Log`] of its own in another folder: the one
//! in here is given up as sealing goes on.
//!
//! # How a caller drives it
//!
//! 1. [`History::open`] hands back definitions, then the log's samples, for the window.
//! 2. A batch arrives: [`History::append_definition`] for new series, then
//!    [`History::append_samples`]; the batch is acknowledged when its [`log::Ticket`] says so.
//! 3. Every some minutes: `n = rotate_wal()`. What was appended before is in segments before `n`.
//! 4. Once the window has taken in all of that, [`History::seal`] what is not sealed yet, in
//!    batches of some thousand series, and set [`SealBatch::safe_segment`] to `n - 1` in the last.
//! 5. [`History::maintain`] with a small budget, again while it says that there is more.
//! 6. [`History::entomb`] deletes stretches of series while nothing of them is being sealed; the
//!    caller deletes them from the window, and does so again when opening says it.
//!
//! A crash at any point loses nothing: samples are in the log, in a chunk, or in both, and
//! sealing something twice stores the same.
//!
//! # When something is wrong
//!
//! - The disk fails or is full: appends are refused, [`History::health`] says why and since when,
//!   and both files come back by themselves; see [`log`].
//! - A torn or damaged log: see [`log`]; [`RecoveryReport::complaints`] puts it in sentences.
//! - A damaged chunk or block: its checksum says so; it is skipped, counted and listed by
//!   [`History::take_damage`].
//! - A blocks' file whose structure is damaged: every use of it is [`HistoryError::Structure`],
//!   and the next start checks it whole. If it must be set aside, a new one is begun and gets
//!   what can still be read. redb
//!   asserts its structure; its panics end here, except that about one damaged structure in
//!   4 000 tried made it panic twice at once, which ends the process. So the start after two
//!   ends that were not clean checks the file as well (see `broken.rs`), at half a second a
//!   gigabyte.
//! - Another version of either format is refused by name, before anything is changed.
//!
//! # Why a log in front of redb
//!
//! Measured by `examples/measure.rs` on a virtual machine with two noisy cores and an fsync of
//! 0.15 to 3 ms; ranges are of several runs. The alternative, newest samples as rows of redb with
//! one durable commit a second, costs 70 ms a second at 100 000 series, and each row some 60
//! bytes written twice; above all, a writer of a single sample would wait for a commit of its
//! own, two fsyncs long.
//!
//! | one durable tick of | rows of redb | log |
//! |---|---|---|
//! | 1 000 series | 2.6–5.6 ms, 54 bytes a sample | 0.16–0.25 ms, 10 bytes |
//! | 100 000 series | 71 ms, 67 bytes a sample | 2.2–4.4 ms, 10 bytes |
//!
//! | what | measured |
//! |---|---|
//! | fsynced acknowledgements a second, 1 / 8 / 64 / 256 writers of 12 bytes | 340–6 400 / 14 000–26 000 / 66 000–161 000 / 71 000–218 000 |
//! | a sample in a record of 500: building, appending | 8–17 ns, 4–6 ns |
//! | replay of 10 million samples (100 MB), with a sink that counts | 27–37 ms |
//! | sealing 900 samples each of 1 000 / 100 000 series | 35–68 ms / 3.5–4.3 s: 39–75 ns a sample, half a percent of one core |
//! | rolling up and merging one series and hour of 3 600 samples | 87–120 µs |
//! | 24 h of one series by the minute | 0.1 ms |
//! | 30 d of 100 series by 5 minutes (864 000 buckets) | 40–58 ms |
//! | 48 h of one series raw at 10 s (17 280 samples) | 0.4 ms |
//! | resident memory: open and empty, and after 48 h of 100 series at 1 s | + 1.6 MB, + 10 MB with a cache of 8 MB |
//!
//! Bytes a sample, time included, at an even pace of 1 s; encoding takes 15–50 ns (a quiet run),
//! decoding 4–10 ns. Chunks of less than an hour become one when the hour is rolled up.
//!
//! | samples a chunk | 3 600 | 900 | 60 | 15 |
//! |---|---|---|---|---|
//! | percentage in steps of 0.1, random walk | 0.69 | 0.74 | 1.28 | 2.07 |
//! | percentage in steps of 0.1, spikes | 0.80 | 0.87 | 1.41 | 2.20 |
//! | memory in pages | 0.77 | 0.82 | 3.24 | 4.12 |
//! | counter of bytes, random to 20 000 a second | 1.81 | 1.85 | 2.87 | 3.65 |
//! | mostly constant | 0.24 | 0.22 | 0.62 | 1.57 |
//! | random walk with all bits of an f64 | 6.52 | 6.73 | 8.27 | 9.00 |
//!
//! A bucket of one sample takes what the sample takes: 1.1 bytes. One of ten samples takes 5 bytes,
//! and up to 8 at 1 h, where sums and extremes have more digits. All resolutions together take
//! 1.14 bytes for each sample at 1 s, and 2.98 at 15 s (see `docs/BENCHMARKS.md` for the data).

pub mod log;

mod block;
mod bucket;
mod bury;
mod chunk;
mod column;
mod compact;
mod compacted;
mod copy;
mod corruption;
mod definitions;
mod error;
mod history;
mod maintain;
mod options;
mod order;
mod parts;
mod private;
mod read;
mod recover;
mod repair;
mod retain;
mod rollup;
mod sample_record;
mod seal;
mod series;
mod state;
mod store;
mod sweep;
mod tables;
mod tier;
mod tombstone;
pub mod varint;
mod write;

pub use error::{Damage, HistoryError};
pub use history::{History, HistoryStats, LevelStats};
pub use maintain::Progress;
pub use options::{HistoryOptions, Retention};
pub use order::sort_last_wins;
pub use parts::part_of;
pub use read::Snapshot;
pub use recover::{RecoverSink, RecoveryReport};
pub use sample_record::SampleRecord;
pub use seal::{SealBatch, SealReport};
pub use series::{Definition, SeriesId};
pub use tier::{Bucket, RAW_BLOCK_MS, Tier};
pub use tombstone::Tombstone;
