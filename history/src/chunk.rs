//! Chunks: the samples of one series within one hour, packed.
//!
//! ```text
//! chunk = version u8 (1) | crc32 u32 of all that follows
//!       | varint count | varint first time − begin of the hour | varint last − first time
//!       | varint length of the times | times: integers | values: floats      (see `column`)
//! ```
//!
//! Times are stored relative to the hour; at an even pace they cost 5 bytes in all.

use crate::{
    column::{Scratch, put_floats, put_integers, take_floats, take_integers},
    error::BlockError,
    varint::{Reader, put_varint},
};

/// The most samples of one chunk; more are split. Bounds what a reader allocates at once.
pub(crate) const CHUNK_SAMPLES_MAX: usize = 1 << 17;
const VERSION: u8 = 1;

/// What stands before the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) count: usize,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

/// Packs and unpacks chunks; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct ChunkCodec {
    times: Vec<i64>,
    values: Vec<f64>,
    column: Vec<u8>,
    scratch: Scratch,
}

/// Begins a checked value: the version, and room for the CRC.
pub(crate) fn begin(bytes: &mut Vec<u8>, version: u8) {
    bytes.clear();
    bytes.extend_from_slice(&[version, 0, 0, 0, 0]);
}

/// Fills in the CRC of what follows it.
pub(crate) fn finish(bytes: &mut [u8]) {
    if let Some((head, body)) = bytes.split_at_mut_checked(5) {
        head[1..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    }
}

/// What follows version and CRC, both checked.
pub(crate) fn checked(bytes: &[u8], version: u8) -> Result<Reader<'_>, BlockError> {
    let mut reader = unchecked(bytes, version)?;
    let crc = u32::from_le_bytes(reader.array().ok_or(BlockError::Short)?);
    if crc32fast::hash(reader.rest()) != crc {
        return Err(BlockError::Checksum);
    }
    Ok(reader)
}

/// What follows the version, with the CRC still to come.
fn unchecked(bytes: &[u8], version: u8) -> Result<Reader<'_>, BlockError> {
    let mut reader = Reader::new(bytes);
    match reader.byte() {
        None => Err(BlockError::Short),
        Some(found) if found != version => Err(BlockError::Version {
            found,
            supported: version,
        }),
        Some(_) => Ok(reader),
    }
}

impl ChunkCodec {
    /// Replaces `bytes` by the chunk of `samples`: 1 to [`CHUNK_SAMPLES_MAX`], ascending in
    /// time, all within the hour that begins at `hour_ms`.
    pub(crate) fn encode(&mut self, hour_ms: i64, samples: &[(i64, f64)], bytes: &mut Vec<u8>) {
        debug_assert!(!samples.is_empty() && samples.len() <= CHUNK_SAMPLES_MAX);
        self.times.clear();
        self.times
            .extend(samples.iter().map(|&(at_ms, _)| at_ms - hour_ms));
        self.values.clear();
        self.values.extend(samples.iter().map(|&(_, value)| value));
        let first = self.times.first().copied().unwrap_or_default();
        let last = self.times.last().copied().unwrap_or_default();

        begin(bytes, VERSION);
        put_varint(bytes, samples.len() as u64);
        put_varint(bytes, first as u64);
        put_varint(bytes, (last - first) as u64);
        self.column.clear();
        put_integers(&mut self.column, &self.times);
        put_varint(bytes, self.column.len() as u64);
        bytes.extend_from_slice(&self.column);
        put_floats(bytes, &self.values, &mut self.scratch);
        finish(bytes);
    }

    /// Appends the chunk's samples with `from_ms <= time < to_ms` to `samples`, ascending.
    pub(crate) fn decode(
        &mut self,
        hour_ms: i64,
        bytes: &[u8],
        from_ms: i64,
        to_ms: i64,
        samples: &mut Vec<(i64, f64)>,
    ) -> Result<(), BlockError> {
        let mut reader = checked(bytes, VERSION)?;
        let header = read_header(&mut reader, hour_ms).ok_or(BlockError::Short)?;
        if header.last_ms < from_ms || header.first_ms >= to_ms {
            return Ok(());
        }
        let length = reader
            .varint()
            .and_then(|length| usize::try_from(length).ok());
        let times = length
            .and_then(|length| reader.bytes(length))
            .ok_or(BlockError::Short)?;
        self.times.clear();
        self.values.clear();
        take_integers(times, header.count, &mut self.times)?;
        take_floats(
            reader.rest(),
            header.count,
            &mut self.values,
            &mut self.scratch,
        )?;
        let rows = self.times.iter().map(|&time| hour_ms.saturating_add(time));
        let rows = rows.zip(self.values.iter().copied());
        if header.first_ms >= from_ms && header.last_ms < to_ms {
            samples.extend(rows);
        } else {
            samples.extend(rows.filter(|&(at_ms, _)| from_ms <= at_ms && at_ms < to_ms));
        }
        Ok(())
    }
}

/// Count and times of a chunk without a look at its columns, nor at its CRC.
pub(crate) fn peek(hour_ms: i64, bytes: &[u8]) -> Option<ChunkHeader> {
    let mut reader = unchecked(bytes, VERSION).ok()?;
    reader.array::<4>()?;
    read_header(&mut reader, hour_ms)
}

fn read_header(reader: &mut Reader<'_>, hour_ms: i64) -> Option<ChunkHeader> {
    let count = usize::try_from(reader.varint()?).ok()?;
    let first_ms = hour_ms.checked_add(i64::try_from(reader.varint()?).ok()?)?;
    let last_ms = first_ms.checked_add(i64::try_from(reader.varint()?).ok()?)?;
    (1..=CHUNK_SAMPLES_MAX)
        .contains(&count)
        .then_some(ChunkHeader {
            count,
            first_ms,
            last_ms,
        })
}
