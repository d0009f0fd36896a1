//! How records and headers look in bytes; pure. See [`crate::log`] for the drawing.

use crc32fast::Hasher;

/// The largest payload of one record: 16 MiB. Bounds what a damaged length field can make the
/// reader allocate.
pub const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Length, CRC and type before each payload.
pub(super) const RECORD_HEADER_BYTES: usize = 9;
/// See the drawing in [`crate::log`].
pub(super) const SEGMENT_HEADER_BYTES: usize = 28;
/// The type of sync records; callers cannot append it.
pub(super) const SYNC_TYPE: u8 = 0xff;
/// A sync record stands at the first write after this many bytes.
pub(super) const SYNC_EVERY_BYTES: u64 = 64 << 10;
pub(super) const SYNC_RECORD_BYTES: usize = RECORD_HEADER_BYTES + 16;
pub(super) const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"PBLOGSEG";

/// The CRC that all records of one run start from.
#[derive(Clone, Debug)]
pub(super) struct Salt {
    pub(super) value: u64,
    seed: Hasher,
}

impl Salt {
    pub(super) fn new(value: u64) -> Self {
        let mut seed = Hasher::new();
        seed.update(&value.to_le_bytes());
        Self { value, seed }
    }

    pub(super) fn crc(&self, record_type: u8, payload: &[u8]) -> u32 {
        let mut hasher = self.seed.clone();
        let [a, b, c, d] = length_of(payload).to_le_bytes();
        hasher.update(&[a, b, c, d, record_type]);
        hasher.update(payload);
        hasher.finalize()
    }
}

/// A payload's length as stored; callers have refused what is longer than the limit.
fn length_of(payload: &[u8]) -> u32 {
    u32::try_from(payload.len()).unwrap_or(u32::MAX)
}

/// Appends one record to `buffer`. `crc` is [`Salt::crc`] of the same type and payload, computed
/// before the caller took its lock.
pub(super) fn put_record(buffer: &mut Vec<u8>, crc: u32, record_type: u8, payload: &[u8]) {
    buffer.reserve(RECORD_HEADER_BYTES + payload.len());
    buffer.extend_from_slice(&length_of(payload).to_le_bytes());
    buffer.extend_from_slice(&crc.to_le_bytes());
    buffer.push(record_type);
    buffer.extend_from_slice(payload);
}

/// The sync record that stands at `offset` of its segment.
pub(super) fn sync_record(salt: &Salt, offset: u64) -> Vec<u8> {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&salt.value.to_le_bytes());
    payload[8..].copy_from_slice(&offset.to_le_bytes());
    let mut record = Vec::with_capacity(SYNC_RECORD_BYTES);
    put_record(
        &mut record,
        salt.crc(SYNC_TYPE, &payload),
        SYNC_TYPE,
        &payload,
    );
    record
}

/// What the first bytes of a segment say.
#[derive(Debug)]
pub(super) enum Header {
    /// Records follow, checked with this salt.
    Known(Salt),
    /// Intact, and of a version that this build does not read.
    Version(u32),
    /// Not ours, or damaged.
    Damaged,
}

pub(super) fn segment_header(number: u32, salt: &Salt) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&salt.value.to_le_bytes());
    let crc = crc32fast::hash(&header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Every version keeps the first 28 bytes as they are, so that an unknown one can be told from
/// damage.
pub(super) fn read_header(bytes: &[u8], number: u32) -> Header {
    if bytes.len() < SEGMENT_HEADER_BYTES
        || &bytes[..8] != MAGIC
        || u32_at(bytes, 24) != crc32fast::hash(&bytes[..24])
    {
        return Header::Damaged;
    }
    match u32_at(bytes, 8) {
        FORMAT_VERSION if u32_at(bytes, 12) == number => {
            Header::Known(Salt::new(u64_at(bytes, 16)))
        }
        FORMAT_VERSION => Header::Damaged,
        version => Header::Version(version),
    }
}

/// Little-endian at `at`, or 0 past the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|tail| tail.first_chunk())
        .map_or(0, |raw| u32::from_le_bytes(*raw))
}

/// Little-endian at `at`, or 0 past the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..)
        .and_then(|tail| tail.first_chunk())
        .map_or(0, |raw| u64::from_le_bytes(*raw))
}
