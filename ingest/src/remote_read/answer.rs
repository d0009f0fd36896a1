//! Both forms of the answer, series by series.

use prost::encoding::encode_varint;

use super::xor;

/// Samples of one chunk, as Prometheus has them.
const CHUNK_SAMPLES: usize = 120;

/// Bytes of one frame's chunks, about, as Prometheus has them.
const FRAME_BYTES: usize = 1 << 20;

/// A field's tag: its number and wire type 2.
pub(super) fn bytes_field(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.push(number << 3 | 2);
    encode_varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

pub(super) fn varint_field(number: u8, value: i64, into: &mut Vec<u8>) {
    into.push(number << 3);
    encode_varint(value.cast_unsigned(), into);
}

fn labels_field<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, into: &mut Vec<u8>) {
    let mut label = Vec::new();
    for (name, value) in labels {
        label.clear();
        bytes_field(1, name.as_bytes(), &mut label);
        bytes_field(2, value.as_bytes(), &mut label);
        bytes_field(1, &label, into);
    }
}

/// Appends one series with its samples to a `prometheus.QueryResult`; labels sorted, the name among
/// them.
pub fn series_samples<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    samples: &[(i64, f64)],
    into: &mut Vec<u8>,
) {
    let mut series = Vec::with_capacity(64 + samples.len() * 18);
    labels_field(labels, &mut series);
    let mut sample = Vec::with_capacity(20);
    for (at_ms, value) in samples {
        sample.clear();
        sample.push(1 << 3 | 1);
        sample.extend_from_slice(&value.to_le_bytes());
        varint_field(2, *at_ms, &mut sample);
        bytes_field(2, &sample, &mut series);
    }
    bytes_field(1, &series, into);
}

/// Appends a whole `prometheus.QueryResult` to a `prometheus.ReadResponse`.
pub fn result(result: &[u8], into: &mut Vec<u8>) {
    bytes_field(1, result, into);
}

/// One series as `prometheus.ChunkedReadResponse` messages of about a megabyte, each handed to
/// `each`.
///
/// # Errors
/// Those of `each`.
pub fn series_chunks<'a, E>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    samples: &[(i64, f64)],
    question: i64,
    each: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut named = Vec::new();
    labels_field(labels, &mut named);
    let mut series = named.clone();
    let mut chunks = samples.chunks(CHUNK_SAMPLES).peekable();
    let mut message = Vec::new();
    while let Some(chunk) = chunks.next() {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else {
            continue;
        };
        let mut one = Vec::new();
        varint_field(1, first.0, &mut one);
        varint_field(2, last.0, &mut one);
        varint_field(3, 1, &mut one);
        bytes_field(4, &xor::encode(chunk), &mut one);
        bytes_field(2, &one, &mut series);
        if series.len() >= FRAME_BYTES || chunks.peek().is_none() {
            message.clear();
            bytes_field(1, &series, &mut message);
            varint_field(2, question, &mut message);
            each(&message)?;
            series.clone_from(&named);
        }
    }
    Ok(())
}

/// Appends a message of a stream with its length and its CRC-32C (Castagnoli).
pub fn frame(message: &[u8], into: &mut Vec<u8>) {
    encode_varint(message.len() as u64, into);
    into.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    into.extend_from_slice(message);
}
