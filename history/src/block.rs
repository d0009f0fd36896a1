//! Rollup blocks: the buckets of one series and tier within one block's stretch of time, packed.
//!
//! ```text
//! block  = version u8 (3) | crc32 u32 of all that follows | varint buckets
//!        | index of the bucket within the block | count | form u8 | columns of the form
//!
//! form 1, short decimals: scale u8 | is chained u8, and integers in units of 10^-scale:
//!          first, of all          less the last of the bucket before, where chained
//!          last − first           of 2 samples and more; of 2 the rest follows
//!          max − the greater of first and last, the lesser of both − min, and
//!          sum − count × the mean of these four, resets       of 3 samples and more
//! form 2, other numbers, floats:  first of all | last and sum of 2 and more
//!          | min, max and resets of 3 and more
//! form 0: sum, min, max, first, last, resets of all, floats     where a bucket is not what follows
//! ```
//!
//! Each column is its length as a varint and what `column` makes of it; one without rows is not
//! there. A bucket of one sample costs what that sample does; so a tier whose buckets are shorter
//! than a series' interval costs no more than its samples. Buckets without samples are not stored.
//! An even pace makes index and count cost 4 bytes each.
//!
//! Version 2 had no resets, and version 1 was form 0 of that without saying so. Both are read, with
//! resets as far as they follow from the rest.

use crate::{
    Bucket, Tier,
    bucket::reset,
    chunk::{begin, checked, finish},
    column::{
        Scratch, from_decimal, put_floats, put_integers, shared_scale, take_floats, take_integers,
        to_integer,
    },
    error::BlockError,
    varint::{Reader, put_varint},
};

const VERSION: u8 = 3;
/// Without resets.
const VERSION_WITHOUT_RESETS: u8 = 2;
/// All buckets in full, and without resets.
const VERSION_PLAIN: u8 = 1;
/// The most buckets of a block, over all tiers.
const BUCKETS_MAX: usize = 360;
const FLOAT_COLUMNS: usize = 6;
/// The last of the columns.
const RESETS: usize = 5;

const PLAIN: u8 = 0;
const DECIMAL: u8 = 1;
const FLOAT: u8 = 2;

/// Packs and unpacks blocks; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct BlockCodec {
    indices: Vec<i64>,
    counts: Vec<i64>,
    /// sum, min, max, first, last, resets.
    floats: [Vec<f64>; FLOAT_COLUMNS],
    integers: Vec<i64>,
    column: Vec<u8>,
    scratch: Scratch,
}

/// Figures of a bucket in units of a power of ten.
#[derive(Clone, Copy, Debug, Default)]
struct Whole {
    sum: i64,
    min: i64,
    max: i64,
    first: i64,
    last: i64,
    resets: i64,
}

impl Whole {
    /// What the sum would be if its samples lay evenly between the four others.
    fn likely_sum(self, count: i64) -> i64 {
        let four = self.min.wrapping_add(self.max);
        let four = four.wrapping_add(self.first).wrapping_add(self.last);
        count.wrapping_mul(four) / 4
    }
}

/// What min and max of two samples are.
fn extremes<T: PartialOrd + Copy>(first: T, last: T) -> (T, T) {
    if first <= last {
        (first, last)
    } else {
        (last, first)
    }
}

/// Whether all that is left out for buckets of one and two samples follows from the rest, bit
/// for bit.
fn follows(bucket: &Bucket) -> bool {
    let is = |one: f64, other: f64| one.to_bits() == other.to_bits();
    let (min, max) = extremes(bucket.first, bucket.last);
    let has_its_resets = is(bucket.resets, reset(bucket.first, bucket.last));
    match bucket.count {
        1 | 2 if !has_its_resets => false,
        1 => [bucket.sum, bucket.min, bucket.max, bucket.last]
            .iter()
            .all(|&figure| is(figure, bucket.first)),
        2 => is(bucket.min, min) && is(bucket.max, max),
        _ => true,
    }
}

/// A bucket's figures in the order of the columns.
fn figures(bucket: &Bucket) -> [f64; FLOAT_COLUMNS] {
    [
        bucket.sum,
        bucket.min,
        bucket.max,
        bucket.first,
        bucket.last,
        bucket.resets,
    ]
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
        }
        begin(bytes, VERSION);
        put_varint(bytes, buckets.len() as u64);
        for integers in [&self.indices, &self.counts] {
            put_column(bytes, &mut self.column, |column| {
                put_integers(column, integers)
            });
        }
        if !buckets.iter().all(follows) {
            bytes.push(PLAIN);
            self.put_floats(bytes, buckets, [0; FLOAT_COLUMNS]);
        } else if !self.put_decimals(bytes, buckets) {
            bytes.push(FLOAT);
            self.put_floats(bytes, buckets, FLOATS_FROM_COUNT);
        }
        finish(bytes);
    }

    /// The columns of the buckets with as many samples as each asks for.
    fn put_floats(
        &mut self,
        bytes: &mut Vec<u8>,
        buckets: &[Bucket],
        from_count: [u64; FLOAT_COLUMNS],
    ) {
        for bucket in buckets {
            let row = figures(bucket);
            for ((column, value), from) in self.floats.iter_mut().zip(row).zip(from_count) {
                if bucket.count >= from {
                    column.push(value);
                }
            }
        }
        for floats in self.floats.iter().filter(|floats| !floats.is_empty()) {
            put_column(bytes, &mut self.column, |column| {
                put_floats(column, floats, &mut self.scratch);
            });
        }
    }

    /// False, and nothing put, where the figures are no short decimals.
    fn put_decimals(&mut self, bytes: &mut Vec<u8>, buckets: &[Bucket]) -> bool {
        let Some(scale) = shared_scale(buckets.iter().flat_map(figures)) else {
            return false;
        };
        let mut rows = Vec::with_capacity(buckets.len());
        for (bucket, &count) in buckets.iter().zip(&self.counts) {
            let whole = |value| to_integer(value, scale);
            let row = Whole {
                sum: whole(bucket.sum),
                min: whole(bucket.min),
                max: whole(bucket.max),
                first: whole(bucket.first),
                last: whole(bucket.last),
                resets: whole(bucket.resets),
            };
            if count == 2 && row.sum != row.first + row.last {
                return false;
            }
            rows.push((count, row));
        }
        // A random walk goes on where it was; what jumps about is better taken as it is.
        let chained = |index: usize| match index.checked_sub(1) {
            Some(before) => rows[index].1.first - rows[before].1.last,
            None => rows[index].1.first,
        };
        let middle = rows.iter().map(|(_, row)| row.first).sum::<i64>() / rows.len() as i64;
        let size = |value: i64| u64::from(64 - value.unsigned_abs().leading_zeros());
        let (chained_size, plain_size) = (1..rows.len()).fold((0, 0), |sizes, index| {
            let plain = rows[index].1.first - middle;
            (sizes.0 + size(chained(index)), sizes.1 + size(plain))
        });
        let is_chained = chained_size < plain_size;
        bytes.extend_from_slice(&[DECIMAL, scale, u8::from(is_chained)]);

        let integers = &mut self.integers;
        let mut put = |integers: &[i64]| {
            if !integers.is_empty() {
                put_column(bytes, &mut self.column, |column| {
                    put_integers(column, integers)
                });
            }
        };
        integers.clear();
        integers.extend((0..rows.len()).map(|index| match is_chained {
            true => chained(index),
            false => rows[index].1.first,
        }));
        put(integers);
        type Figure = fn(i64, &Whole) -> i64;
        let columns: [(i64, Figure); 5] = [
            (2, |_, row| row.last - row.first),
            (3, |_, row| row.max - row.first.max(row.last)),
            (3, |_, row| row.first.min(row.last) - row.min),
            (3, |count, row| row.sum.wrapping_sub(row.likely_sum(count))),
            (3, |_, row| row.resets),
        ];
        for (from, figure) in columns {
            integers.clear();
            let long = rows.iter().filter(|(count, _)| *count >= from);
            integers.extend(long.map(|(count, row)| figure(*count, row)));
            put(integers);
        }
        true
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
        let version = match bytes.first() {
            Some(&known @ (VERSION_PLAIN | VERSION_WITHOUT_RESETS)) => known,
            _ => VERSION,
        };
        let has_resets = version == VERSION;
        let mut reader = checked(bytes, version)?;
        let count = reader
            .varint()
            .and_then(|count| usize::try_from(count).ok());
        let count = count
            .filter(|count| (1..=BUCKETS_MAX).contains(count))
            .ok_or(BlockError::Short)?;
        self.clear();
        take_integers(column(&mut reader)?, count, &mut self.indices)?;
        take_integers(column(&mut reader)?, count, &mut self.counts)?;
        let form = match version {
            VERSION_PLAIN => PLAIN,
            _ => reader.byte().ok_or(BlockError::Short)?,
        };
        match form {
            PLAIN => self.take_floats(&mut reader, [0; FLOAT_COLUMNS], has_resets)?,
            DECIMAL => self.take_decimals(&mut reader, has_resets)?,
            FLOAT => {
                self.take_floats(&mut reader, FLOATS_FROM_COUNT, has_resets)?;
                self.complete();
            }
            _ => return Err(BlockError::Short),
        }
        let [sums, mins, maxs, firsts, lasts, resets] = &self.floats;
        for (row, &index) in self.indices.iter().enumerate() {
            let start_ms = block_ms.saturating_add(index.saturating_mul(tier.bucket_ms()));
            if (from_ms..to_ms).contains(&start_ms) {
                let mut bucket = Bucket {
                    start_ms,
                    count: u64::try_from(self.counts[row]).unwrap_or_default(),
                    sum: sums[row],
                    min: mins[row],
                    max: maxs[row],
                    first: firsts[row],
                    last: lasts[row],
                    resets: 0.0,
                };
                bucket.resets = match resets.get(row) {
                    Some(known) => *known,
                    None => bucket.least_resets(),
                };
                buckets.push(bucket);
            }
        }
        Ok(())
    }

    fn rows_from(&self, from_count: u64) -> usize {
        if from_count == 0 {
            return self.counts.len();
        }
        let from = i64::try_from(from_count).unwrap_or(i64::MAX);
        self.counts.iter().filter(|&&count| count >= from).count()
    }

    fn take_floats(
        &mut self,
        reader: &mut Reader<'_>,
        from_count: [u64; FLOAT_COLUMNS],
        has_resets: bool,
    ) -> Result<(), BlockError> {
        let rows = from_count.map(|from| self.rows_from(from));
        let columns = if has_resets { FLOAT_COLUMNS } else { RESETS };
        for (floats, rows) in self.floats.iter_mut().zip(rows).take(columns) {
            if rows > 0 {
                take_floats(column(reader)?, rows, floats, &mut self.scratch)?;
            }
        }
        Ok(())
    }

    /// Fills in what follows, so that all columns have all rows.
    fn complete(&mut self) {
        let [sums, mins, maxs, firsts, lasts, resets] = std::mem::take(&mut self.floats);
        // Where there is none of a longer bucket, there is none at all.
        let mut resets = (!resets.is_empty()).then(|| resets.into_iter());
        let (mut sums, mut mins) = (sums.into_iter(), mins.into_iter());
        let (mut maxs, mut lasts) = (maxs.into_iter(), lasts.into_iter());
        for (&count, first) in self.counts.iter().zip(firsts) {
            let (mut last, mut sum) = (first, first);
            if count >= 2 {
                last = lasts.next().unwrap_or_default();
                sum = sums.next().unwrap_or_default();
            }
            let (mut min, mut max) = extremes(first, last);
            if count >= 3 {
                min = mins.next().unwrap_or_default();
                max = maxs.next().unwrap_or_default();
            }
            for (column, value) in self.floats.iter_mut().zip([sum, min, max, first, last]) {
                column.push(value);
            }
            if let Some(resets) = &mut resets {
                self.floats[RESETS].push(match count {
                    ..=2 => reset(first, last),
                    _ => resets.next().unwrap_or_default(),
                });
            }
        }
    }

    fn take_decimals(
        &mut self,
        reader: &mut Reader<'_>,
        has_resets: bool,
    ) -> Result<(), BlockError> {
        let scale = reader.byte().ok_or(BlockError::Short)?;
        let is_chained = reader.byte().ok_or(BlockError::Short)? != 0;
        let starts = [1, 2, 3, 3, 3, 3].map(|from| match from {
            1 => self.counts.len(),
            from => self.rows_from(from),
        });
        let mut columns: [std::vec::IntoIter<i64>; 6] = Default::default();
        let there = if has_resets { starts.len() } else { RESETS };
        for (taken, rows) in columns.iter_mut().zip(starts).take(there) {
            if rows > 0 {
                let mut integers = Vec::with_capacity(rows);
                take_integers(column(reader)?, rows, &mut integers)?;
                *taken = integers.into_iter();
            }
        }
        let [
            mut firsts,
            mut spans,
            mut above,
            mut below,
            mut sums,
            mut resets,
        ] = columns;
        let mut before = 0_i64;
        for &count in &self.counts {
            let next = |from: i64, column: &mut std::vec::IntoIter<i64>| match count >= from {
                true => column.next().unwrap_or_default(),
                false => 0,
            };
            let mut row = Whole {
                first: next(i64::MIN, &mut firsts),
                ..Whole::default()
            };
            if is_chained {
                row.first = row.first.wrapping_add(before);
            }
            row.last = row.first.wrapping_add(next(2, &mut spans));
            before = row.last;
            let (min, max) = extremes(row.first, row.last);
            row.max = max.wrapping_add(next(3, &mut above));
            row.min = min.wrapping_sub(next(3, &mut below));
            row.sum = match count {
                ..=1 => row.first,
                2 => row.first.wrapping_add(row.last),
                _ => row.likely_sum(count).wrapping_add(next(3, &mut sums)),
            };
            row.resets = match count {
                ..=2 if row.last < row.first => row.first,
                ..=2 => 0,
                _ => next(3, &mut resets),
            };
            let figures = [row.sum, row.min, row.max, row.first, row.last, row.resets];
            for (column, figure) in self.floats.iter_mut().zip(figures).take(there) {
                column.push(from_decimal(figure, scale).ok_or(BlockError::Short)?);
            }
        }
        Ok(())
    }
}

/// In [`FLOAT`] blocks: sum, min, max, first, last and resets are there for buckets of so many
/// samples.
const FLOATS_FROM_COUNT: [u64; FLOAT_COLUMNS] = [2, 3, 3, 0, 2, 3];

fn put_column(bytes: &mut Vec<u8>, column: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    column.clear();
    put(column);
    put_varint(bytes, column.len() as u64);
    bytes.extend_from_slice(column);
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

/// Whether the block is of a version that kept less of its samples than today's.
pub(crate) fn is_old(bytes: &[u8]) -> bool {
    matches!(
        bytes.first(),
        Some(&(VERSION_PLAIN | VERSION_WITHOUT_RESETS))
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bucket::{bucket_samples, settle_sums};

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1_000_i64..1_000).prop_map(|tenths| tenths as f64 / 10.0),
            1 => any::<i32>().prop_map(f64::from),
            1 => any::<u64>().prop_map(f64::from_bits).prop_filter("a value", |value| !value.is_nan()),
            1 => prop_oneof![Just(-0.0), Just(0.0), Just(0.1 + 0.2), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
        ]
    }

    fn bits(bucket: &Bucket) -> [u64; 8] {
        let [sum, min, max, first, last, resets] = figures(bucket).map(f64::to_bits);
        let start = bucket.start_ms.cast_unsigned();
        [start, bucket.count, sum, min, max, first, last, resets]
    }

    fn round_trip(buckets: &[Bucket]) -> usize {
        let mut codec = BlockCodec::default();
        let mut bytes = Vec::new();
        codec.encode(Tier::TenSeconds, 0, buckets, &mut bytes);
        let mut read = Vec::new();
        let decoded = codec.decode(Tier::TenSeconds, 0, &bytes, i64::MIN, i64::MAX, &mut read);
        assert_eq!(decoded, Ok(()));
        let expected: Vec<_> = buckets.iter().map(bits).collect();
        let read: Vec<_> = read.iter().map(bits).collect();
        assert_eq!(read, expected);
        assert_eq!(count(&bytes), Some(buckets.len()));
        bytes.len()
    }

    fn buckets_of(samples: &[(i64, f64)]) -> Vec<Bucket> {
        let mut buckets = Vec::new();
        bucket_samples(Tier::TenSeconds, samples, &mut buckets);
        buckets.iter_mut().for_each(settle_sums);
        buckets
    }

    proptest! {
        /// Whatever samples come at whatever pace, their buckets come back bit for bit.
        #[test]
        fn any_buckets_come_back(
            steps in prop::collection::vec((1_i64..30_000, value()), 1..300),
            pace in prop_oneof![Just(None), (1_i64..30_000).prop_map(Some)],
        ) {
            let mut at_ms = 0;
            let samples: Vec<(i64, f64)> = steps
                .into_iter()
                .map(|(step, value)| { at_ms += pace.unwrap_or(step); (at_ms, value) })
                .take_while(|(at_ms, _)| *at_ms < 3_600_000)
                .collect();
            if !samples.is_empty() {
                round_trip(&buckets_of(&samples));
            }
        }

        /// Damage that the checksum lets through (it was made before) is an error or other
        /// numbers, and no panic.
        #[test]
        fn damage_does_not_panic(place in 5_usize..400, flip in 1_u8..=255) {
            let samples: Vec<(i64, f64)> = (0..200)
                .map(|number| (number * 4_000, (number * 37 % 101) as f64 / 10.0))
                .collect();
            let mut codec = BlockCodec::default();
            let mut bytes = Vec::new();
            codec.encode(Tier::TenSeconds, 0, &buckets_of(&samples), &mut bytes);
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= flip;
                finish(&mut bytes);
                let mut read = Vec::new();
                let decoded =
                    codec.decode(Tier::TenSeconds, 0, &bytes, i64::MIN, i64::MAX, &mut read);
                prop_assert!(decoded.is_err() || read.len() <= BUCKETS_MAX);
            }
        }
    }

    /// At a pace of 15 s a bucket of 10 s is one sample, and costs what it does.
    #[test]
    fn a_bucket_of_one_sample_costs_one_sample() {
        let mut value = 500_i64;
        let samples: Vec<(i64, f64)> = (0..240)
            .map(|number| {
                value += (number * 7_919 % 21) - 10;
                (number * 15_000, value as f64 / 10.0)
            })
            .collect();
        let mut chunk = Vec::new();
        crate::chunk::ChunkCodec::default().encode(0, &samples, &mut chunk);
        let block = round_trip(&buckets_of(&samples));
        assert!(
            block < chunk.len() + chunk.len() / 3,
            "{block} bytes, and {} of samples",
            chunk.len()
        );
    }

    /// What an earlier version wrote is read.
    #[test]
    fn blocks_of_version_1_are_read() {
        let buckets = buckets_of(&[(0, 1.5), (1_000, 2.5), (20_000, -7.0)]);
        let mut bytes = Vec::new();
        begin(&mut bytes, VERSION_PLAIN);
        put_varint(&mut bytes, buckets.len() as u64);
        let mut put = |column: &mut dyn FnMut(&mut Vec<u8>)| {
            put_column(&mut bytes, &mut Vec::new(), column);
        };
        put(&mut |column| put_integers(column, &[0, 2]));
        put(&mut |column| put_integers(column, &[2, 1]));
        for figure in [
            |bucket: &Bucket| bucket.sum,
            |bucket: &Bucket| bucket.min,
            |bucket: &Bucket| bucket.max,
            |bucket: &Bucket| bucket.first,
            |bucket: &Bucket| bucket.last,
        ] {
            let floats: Vec<f64> = buckets.iter().map(figure).collect();
            put(&mut |column| put_floats(column, &floats, &mut Scratch::default()));
        }
        finish(&mut bytes);
        let mut read = Vec::new();
        let decoded = BlockCodec::default().decode(
            Tier::TenSeconds,
            0,
            &bytes,
            i64::MIN,
            i64::MAX,
            &mut read,
        );
        assert_eq!((decoded, read), (Ok(()), buckets));
    }
}
