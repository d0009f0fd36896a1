//! What has been deleted and is still in the blocks: it is hidden from every read at once, and
//! taken out of the blocks by [`History::maintain`](crate::History::maintain) (`bury.rs`).
//!
//! ```text
//! log record  = rows: series u32 | from i64 | to i64 | whole u8       21 bytes each
//! tombstones  (series, from, to) -> whole, level, block               a row each, until it is done
//! ```
//!
//! The record in the log takes its place among samples: a restart deletes what was appended before
//! it, and nothing of what came after. So whatever the log still has is right although the blocks
//! lose the same stretch once more.

use std::collections::HashMap;

use redb::{ReadableTable, WriteTransaction};

use crate::{
    Bucket, SeriesId, Tier,
    tables::{SEEN, TOMBSTONES},
    varint::Reader,
};

/// A stretch of time of which nothing is left of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Whose samples they were.
    pub series: SeriesId,
    /// The first moment, Unix milliseconds.
    pub from_ms: i64,
    /// The last one, included.
    pub to_ms: i64,
    /// Whether the series as such is gone: its number does not come again, and its definition goes
    /// with its samples.
    pub is_whole: bool,
}

/// A tombstone and how far it has been obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grave {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) is_whole: bool,
    /// Levels below are done.
    pub(crate) level: u8,
    /// Of that level, blocks below.
    pub(crate) block: u32,
}

impl Grave {
    pub(crate) fn has(&self, at_ms: i64) -> bool {
        (self.from_ms..=self.to_ms).contains(&at_ms)
    }

    /// Whether any of a stretch, its end not included, is in it.
    pub(crate) fn meets(&self, from_ms: i64, to_ms: i64) -> bool {
        self.from_ms < to_ms && self.to_ms >= from_ms
    }

    pub(crate) fn row(&self) -> (bool, u8, u32) {
        (self.is_whole, self.level, self.block)
    }
}

/// By series; shared with snapshots.
pub(crate) type Graves = HashMap<u32, Vec<Grave>>;

/// Takes what is deleted out of what was read of a series.
pub(crate) fn hide_samples(graves: &[Grave], from: usize, samples: &mut Vec<(i64, f64)>) {
    let is_there = |at_ms: i64| !graves.iter().any(|grave| grave.has(at_ms));
    if samples[from..].iter().all(|sample| is_there(sample.0)) {
        return;
    }
    let mut kept = samples.split_off(from);
    kept.retain(|sample| is_there(sample.0));
    samples.append(&mut kept);
}

/// Takes buckets out that have anything deleted in them, until they have been put together anew.
pub(crate) fn hide_buckets(graves: &[Grave], tier: Tier, from: usize, buckets: &mut Vec<Bucket>) {
    let is_there = |bucket: &Bucket| {
        let end_ms = bucket.start_ms.saturating_add(tier.bucket_ms());
        !graves
            .iter()
            .any(|grave| grave.meets(bucket.start_ms, end_ms))
    };
    let mut kept = buckets.split_off(from);
    kept.retain(is_there);
    buckets.append(&mut kept);
}

pub(crate) fn encode(rows: &[Tombstone]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * 21);
    for row in rows {
        bytes.extend_from_slice(&row.series.0.to_le_bytes());
        bytes.extend_from_slice(&row.from_ms.to_le_bytes());
        bytes.extend_from_slice(&row.to_ms.to_le_bytes());
        bytes.push(u8::from(row.is_whole));
    }
    bytes
}

/// `None` for what is no such record.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Tombstone>> {
    let mut reader = Reader::new(bytes);
    let mut rows = Vec::with_capacity(bytes.len() / 21);
    while !reader.is_empty() {
        rows.push(Tombstone {
            series: SeriesId(u32::from_le_bytes(reader.array()?)),
            from_ms: i64::from_le_bytes(reader.array()?),
            to_ms: i64::from_le_bytes(reader.array()?),
            is_whole: reader.byte()? != 0,
        });
    }
    Some(rows)
}

/// Writes new ones; a series that is gone as a whole has nothing sealed any more.
pub(crate) fn put(txn: &WriteTransaction, rows: &[Tombstone]) -> Result<(), redb::Error> {
    let mut table = txn.open_table(TOMBSTONES)?;
    let mut seen = txn.open_table(SEEN)?;
    for row in rows {
        let key = (row.series.0, row.from_ms, row.to_ms);
        table.insert(key, (row.is_whole, 0, 0))?;
        if row.is_whole {
            seen.remove(row.series.0)?;
        }
    }
    Ok(())
}

/// All that are not done yet.
pub(crate) fn load(
    table: &impl ReadableTable<(u32, i64, i64), (bool, u8, u32)>,
) -> Result<Graves, redb::Error> {
    let mut graves = Graves::default();
    for row in table.iter()? {
        let (key, value) = row?;
        let ((series, from_ms, to_ms), (is_whole, level, block)) = (key.value(), value.value());
        graves.entry(series).or_default().push(Grave {
            from_ms,
            to_ms,
            is_whole,
            level,
            block,
        });
    }
    Ok(graves)
}
