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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 480_000 * 3_600_000;

    /// Any bits at all, and what gauges and counters really send.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        let odd = prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::NAN),
            Just(f64::from_bits(0x7ff0_0000_0000_0002)),
            Just(f64::from_bits(0xfff8_dead_beef_0001)),
            Just(f64::MIN_POSITIVE / 4.0),
            Just(f64::MAX),
        ];
        let decimal = (-100_000_i64..100_000, 0..5_u32)
            .prop_map(|(value, scale)| value as f64 / 10_f64.powi(scale as i32));
        let any_bits = any::<u64>().prop_map(f64::from_bits);
        prop_oneof![
            prop::collection::vec(prop_oneof![odd, decimal.clone(), any_bits], 1..400),
            prop::collection::vec(decimal, 1..400),
            prop::collection::vec(Just(12.5), 1..400),
            prop::collection::vec((0..1_000_000_u32).prop_map(f64::from), 1..400),
        ]
    }

    fn check(samples: &[(i64, f64)]) {
        let mut codec = ChunkCodec::default();
        let mut bytes = Vec::new();
        codec.encode(HOUR_MS, samples, &mut bytes);
        let header = peek(HOUR_MS, &bytes).unwrap();
        let ends = (samples[0].0, samples.last().unwrap().0);
        assert_eq!(
            (header.count, header.first_ms, header.last_ms),
            (samples.len(), ends.0, ends.1)
        );
        let mut out = Vec::new();
        codec
            .decode(HOUR_MS, &bytes, i64::MIN, i64::MAX, &mut out)
            .unwrap();
        let bits = |samples: &[(i64, f64)]| -> Vec<_> {
            samples
                .iter()
                .map(|sample| (sample.0, sample.1.to_bits()))
                .collect()
        };
        assert_eq!(bits(&out), bits(samples));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn samples_come_back_bit_for_bit(values in values(), steps in prop::collection::vec(1..9_000_i64, 400)) {
            let steps = steps.iter().scan(HOUR_MS, |at, step| { *at += step; Some(*at) });
            check(&steps.zip(values).collect::<Vec<_>>());
        }

        #[test]
        fn even_paces_come_back(values in values(), step in 1..9_000_i64) {
            let times = (0..).map(|index| HOUR_MS + index * step);
            check(&times.zip(values).collect::<Vec<_>>());
        }

        #[test]
        fn damaged_chunks_are_errors(
            values in values(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let samples: Vec<_> = (0..).map(|index| HOUR_MS + index * 1000).zip(values).collect();
            let mut codec = ChunkCodec::default();
            let mut bytes = Vec::new();
            codec.encode(HOUR_MS, &samples, &mut bytes);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let mut out = Vec::new();
            prop_assert!(codec.decode(HOUR_MS, &bytes, 0, i64::MAX, &mut out).is_err());
            // As if the CRC had been made after the damage: any answer but a panic is right.
            finish(&mut bytes);
            codec.decode(HOUR_MS, &bytes, 0, i64::MAX, &mut out).ok();
        }
    }

    #[test]
    fn host_metrics_take_less_than_a_byte_a_sample() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut percent = 30.0_f64;
        let samples: Vec<_> = (0..3600)
            .map(|second| {
                percent = (percent + (random.f64() - 0.5) * 4.0).clamp(0.0, 100.0);
                (HOUR_MS + second * 1000, (percent * 10.0).round() / 10.0)
            })
            .collect();
        let mut bytes = Vec::new();
        ChunkCodec::default().encode(HOUR_MS, &samples, &mut bytes);
        assert!(bytes.len() < 3000, "{} bytes for 3600 samples", bytes.len());
    }
}
