//! Rollup blocks: the buckets of one series and tier within one block's stretch of time, packed.
//!
//! ```text
//! block  = version u8 (1) | crc32 u32 of all that follows | varint buckets
//!        | 7 × (varint length | column):
//!          index of the bucket within the block, count    integers (see `column`)
//!          sum, min, max, first, last                     floats
//! ```
//!
//! Buckets without samples are not stored. An even pace makes index and count cost 4 bytes each;
//! a constant series costs some 70 bytes a block.

use crate::{
    Bucket, Tier,
    chunk::{begin, checked, finish},
    column::{Scratch, put_floats, put_integers, take_floats, take_integers},
    error::BlockError,
    varint::{Reader, put_varint},
};

const VERSION: u8 = 1;
/// The most buckets of a block, over all tiers.
const BUCKETS_MAX: usize = 360;
const FLOAT_COLUMNS: usize = 5;

/// Packs and unpacks blocks; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct BlockCodec {
    indices: Vec<i64>,
    counts: Vec<i64>,
    /// sum, min, max, first, last.
    floats: [Vec<f64>; FLOAT_COLUMNS],
    column: Vec<u8>,
    scratch: Scratch,
}

impl BlockCodec {
    fn clear(&mut self) {
        self.indices.clear();
        self.counts.clear();
        self.floats.iter_mut().for_each(Vec::clear);
    }

    /// Replaces `bytes` by the block of `buckets`: at least one, ascending, all of the block
    /// that begins at `block_ms`.
    pub(crate) fn encode(
        &mut self,
        tier: Tier,
        block_ms: i64,
        buckets: &[Bucket],
        bytes: &mut Vec<u8>,
    ) {
        debug_assert!(!buckets.is_empty() && buckets.len() <= BUCKETS_MAX);
        self.clear();
        for bucket in buckets {
            self.indices
                .push((bucket.start_ms - block_ms) / tier.bucket_ms());
            self.counts
                .push(i64::try_from(bucket.count).unwrap_or(i64::MAX));
            let row = [
                bucket.sum,
                bucket.min,
                bucket.max,
                bucket.first,
                bucket.last,
            ];
            for (column, value) in self.floats.iter_mut().zip(row) {
                column.push(value);
            }
        }
        begin(bytes, VERSION);
        put_varint(bytes, buckets.len() as u64);
        for integers in [&self.indices, &self.counts] {
            self.column.clear();
            put_integers(&mut self.column, integers);
            put_varint(bytes, self.column.len() as u64);
            bytes.extend_from_slice(&self.column);
        }
        for floats in &self.floats {
            self.column.clear();
            put_floats(&mut self.column, floats, &mut self.scratch);
            put_varint(bytes, self.column.len() as u64);
            bytes.extend_from_slice(&self.column);
        }
        finish(bytes);
    }

    /// Appends the block's buckets that begin at `from_ms <= start < to_ms`, ascending.
    pub(crate) fn decode(
        &mut self,
        tier: Tier,
        block_ms: i64,
        bytes: &[u8],
        from_ms: i64,
        to_ms: i64,
        buckets: &mut Vec<Bucket>,
    ) -> Result<(), BlockError> {
        let mut reader = checked(bytes, VERSION)?;
        let count = reader
            .varint()
            .and_then(|count| usize::try_from(count).ok());
        let count = count
            .filter(|count| (1..=BUCKETS_MAX).contains(count))
            .ok_or(BlockError::Short)?;
        self.clear();
        take_integers(column(&mut reader)?, count, &mut self.indices)?;
        take_integers(column(&mut reader)?, count, &mut self.counts)?;
        for floats in &mut self.floats {
            take_floats(column(&mut reader)?, count, floats, &mut self.scratch)?;
        }
        let [sums, mins, maxs, firsts, lasts] = &self.floats;
        for (row, &index) in self.indices.iter().enumerate() {
            let start_ms = block_ms.saturating_add(index.saturating_mul(tier.bucket_ms()));
            if (from_ms..to_ms).contains(&start_ms) {
                buckets.push(Bucket {
                    start_ms,
                    count: u64::try_from(self.counts[row]).unwrap_or_default(),
                    sum: sums[row],
                    min: mins[row],
                    max: maxs[row],
                    first: firsts[row],
                    last: lasts[row],
                });
            }
        }
        Ok(())
    }
}

fn column<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], BlockError> {
    let length = reader
        .varint()
        .and_then(|length| usize::try_from(length).ok());
    length
        .and_then(|length| reader.bytes(length))
        .ok_or(BlockError::Short)
}

/// How many buckets a block holds, without a look at its columns, nor at its CRC.
pub(crate) fn count(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes.get(5..)?);
    usize::try_from(reader.varint()?)
        .ok()
        .filter(|&count| count <= BUCKETS_MAX)
}
