//! What waits, as bytes in the log. Each record stands for itself, so that files of the log can end
//! anywhere and be removed one by one.
//!
//! ```text
//! record = lane u8 │ number varint │ arrived varint │ samples varint │ packed u8 │ body
//! body   = { shared varint │ length varint │ key bytes │ kind u8 │ time zigzag │ value f64 LE }*
//! ```
//!
//! A key is what it does not share with the one before, a time is what it differs by from the
//! arrival. A body that snappy makes shorter is packed (1).

use std::sync::Arc;

use pulseboard_history::varint::{Reader, put_varint, put_zigzag};
use pulseboard_series::{KeyRef, Kind};

/// Type of a record in the log.
pub(crate) const SAMPLES: u8 = 1;

/// Series whose samples wait in one order. Which of them a series is in follows from its key alone,
/// so that its samples never pass each other, whatever is restarted or set anew between them.
pub(crate) const LANES: usize = 8;

/// Samples of one record.
pub(crate) const RECORD_SAMPLES_MAX: usize = 1_000;

/// Of a body that is read; the largest that is written has a thousand of the longest keys.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A sample that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) key: Arc<[u8]>,
    pub(crate) kind: Kind,
    pub(crate) at_ms: i64,
    /// Bits of the value: a stale marker is a NaN of its own.
    pub(crate) bits: u64,
}

/// Samples of one lane that came together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Its place in the lane.
    pub(crate) number: u64,
    /// When they came, Unix milliseconds.
    pub(crate) arrived_ms: i64,
    pub(crate) samples: Vec<Sample>,
}

/// What a record says before its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lane: usize,
    pub(crate) number: u64,
    pub(crate) arrived_ms: i64,
    pub(crate) samples: u64,
}

/// The lane of a series.
pub(crate) fn lane_of(key: &[u8]) -> usize {
    crc32fast::hash(key) as usize % LANES
}

/// Writes records; its buffers are used again.
#[derive(Debug)]
pub(crate) struct Encoder {
    body: Vec<u8>,
    packed: Vec<u8>,
    record: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            body: Vec::new(),
            packed: Vec::new(),
            record: Vec::new(),
            snappy: snap::raw::Encoder::new(),
        }
    }
}

impl Encoder {
    pub(crate) fn encode(&mut self, lane: usize, record: &Record) -> &[u8] {
        let body = &mut self.body;
        body.clear();
        let mut last: &[u8] = &[];
        for sample in &record.samples {
            let shared = last
                .iter()
                .zip(&*sample.key)
                .take_while(|(a, b)| a == b)
                .count();
            let own = sample.key.get(shared..).unwrap_or_default();
            put_varint(body, shared as u64);
            put_varint(body, own.len() as u64);
            body.extend_from_slice(own);
            body.push(sample.kind as u8);
            put_zigzag(body, sample.at_ms.wrapping_sub(record.arrived_ms));
            body.extend_from_slice(&sample.bits.to_le_bytes());
            last = &sample.key;
        }
        let into = &mut self.record;
        into.clear();
        into.push(lane as u8);
        put_varint(into, record.number);
        put_varint(into, record.arrived_ms.cast_unsigned());
        put_varint(into, record.samples.len() as u64);
        self.packed
            .resize(snap::raw::max_compress_len(body.len()), 0);
        let packed = self.snappy.compress(body, &mut self.packed);
        match packed {
            Ok(length) if length < body.len() => {
                into.push(1);
                into.extend_from_slice(self.packed.get(..length).unwrap_or_default());
            }
            _ => {
                into.push(0);
                into.extend_from_slice(body);
            }
        }
        into
    }
}

/// What a record says first; nothing where it cannot be read.
pub(crate) fn head(record: &[u8]) -> Option<(Head, &[u8])> {
    let mut reader = Reader::new(record);
    let head = Head {
        lane: usize::from(reader.byte()?),
        number: reader.varint()?,
        arrived_ms: reader.varint()?.cast_signed(),
        samples: reader.varint()?,
    };
    (head.lane < LANES).then_some((head, reader.rest()))
}

/// Reads the samples behind a head; nothing where they cannot be read.
pub(crate) fn read(head: &Head, rest: &[u8]) -> Option<Record> {
    let (&is_packed, body) = rest.split_first()?;
    let unpacked;
    let body = match is_packed {
        0 => body,
        _ => {
            let length = snap::raw::decompress_len(body).ok()?;
            if length > BODY_BYTES_MAX {
                return None;
            }
            unpacked = snap::raw::Decoder::new().decompress_vec(body).ok()?;
            &unpacked
        }
    };
    let mut reader = Reader::new(body);
    let mut key: Vec<u8> = Vec::new();
    let mut samples = Vec::new();
    while !reader.is_empty() {
        let shared = usize::try_from(reader.varint()?).ok()?;
        let length = usize::try_from(reader.varint()?).ok()?;
        let own = reader.bytes(length)?;
        if shared > key.len() {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(own);
        KeyRef::checked(&key)?;
        let kind = Kind::from_u8(reader.byte()?);
        let at_ms = head.arrived_ms.wrapping_add(reader.zigzag()?);
        samples.push(Sample {
            key: Arc::from(key.as_slice()),
            kind,
            at_ms,
            bits: u64::from_le_bytes(reader.array()?),
        });
    }
    let is_whole = samples.len() as u64 == head.samples;
    is_whole.then_some(Record {
        number: head.number,
        arrived_ms: head.arrived_ms,
        samples,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulseboard_series::Batch;

    use super::*;

    fn key(name: &str, label: &str) -> Arc<[u8]> {
        let mut batch = Batch::new();
        let row = batch
            .begin(&[name])
            .and_then(|()| batch.label("host", label))
            .and_then(|()| batch.finish(1, None, 1.0));
        row.expect("a row");
        batch.key(&batch.rows()[0]).as_bytes().into()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(
            rows in prop::collection::vec(("[a-z]{1,9}", "\\PC{1,40}", any::<i64>(), any::<u64>(), 0_u8..4), 0..50),
            number in any::<u64>(), arrived_ms in any::<i64>(), lane in 0..LANES,
        ) {
            let samples = rows.iter().map(|(name, label, at_ms, bits, kind)| Sample {
                key: key(name, label),
                kind: Kind::from_u8(*kind),
                at_ms: *at_ms,
                bits: *bits,
            });
            let record = Record { number, arrived_ms, samples: samples.collect() };
            let mut encoder = Encoder::default();
            let bytes = encoder.encode(lane, &record).to_vec();
            let (told, rest) = head(&bytes).expect("a head");
            prop_assert_eq!((told.lane, told.number), (lane, number));
            prop_assert_eq!(read(&told, rest), Some(record));
            // Damage is seen, or changes what is read; it never ends the reader.
            for cut in 0..bytes.len() {
                if let Some((told, rest)) = head(&bytes[..cut]) {
                    drop(read(&told, rest));
                }
            }
        }
    }

    #[test]
    fn neighbours_take_little_room() {
        let samples = (0..500).map(|at| Sample {
            key: key("http_requests_total", &format!("a-host-of-many-{at}")),
            kind: Kind::Counter,
            at_ms: 1_700_000_000_000,
            bits: 7.0_f64.to_bits(),
        });
        let record = Record {
            number: 9,
            arrived_ms: 1_700_000_000_100,
            samples: samples.collect(),
        };
        let mut encoder = Encoder::default();
        let bytes = encoder.encode(3, &record).len();
        assert!(bytes < 500 * 20, "{bytes}");
    }

    /// The lane of a series is on disk: were it another after an update, samples could pass each
    /// other.
    #[test]
    fn lanes_stay_what_they_are() {
        let lanes: Vec<usize> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| lane_of(name.as_bytes()))
            .collect();
        assert_eq!(lanes, [3, 1, 7, 4]);
    }
}
