//! Samples as one record of the log.
//!
//! ```text
//! row    = zigzag varint: id − id of the row before      (first row: − 0)
//!          zigzag varint: time − time of the row before  (first row: − 0)
//!          value, 8 bytes little-endian, bit for bit
//! ```
//!
//! A scrape of ascending series at one time costs 10 bytes a sample.

use crate::{
    SeriesId,
    varint::{Reader, put_zigzag},
};

/// Builds one log record of samples. Reused with [`SampleRecord::clear`], it allocates nothing
/// once it has grown.
#[derive(Clone, Debug, Default)]
pub struct SampleRecord {
    bytes: Vec<u8>,
    count: usize,
    last_id: u32,
    last_at_ms: i64,
}

impl SampleRecord {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.last_id = 0;
        self.last_at_ms = 0;
    }

    /// Adds a row. Any order of ids and times works; neighbours cost least. The value is kept
    /// bit for bit, NaN and −0 included.
    #[inline]
    pub fn push(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        put_zigzag(&mut self.bytes, i64::from(id.0) - i64::from(self.last_id));
        put_zigzag(&mut self.bytes, at_ms.wrapping_sub(self.last_at_ms));
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.last_id = id.0;
        self.last_at_ms = at_ms;
        self.count += 1;
    }

    /// The record's payload. At most [`crate::log::MAX_PAYLOAD_BYTES`] can be appended: some
    /// 800 000 rows in the worst case, 1.6 million usually.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// No rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Calls `each` for every row, and answers how many there were, or `None` if the bytes do not
/// decode to their end (rows before the fault have been handed out).
pub(crate) fn decode(bytes: &[u8], mut each: impl FnMut(SeriesId, i64, f64)) -> Option<u64> {
    let mut reader = Reader::new(bytes);
    let (mut id, mut at_ms, mut count) = (0_i64, 0_i64, 0);
    while !reader.is_empty() {
        id = id.checked_add(reader.zigzag()?)?;
        at_ms = at_ms.wrapping_add(reader.zigzag()?);
        let value = f64::from_le_bytes(reader.array()?);
        each(SeriesId(u32::try_from(id).ok()?), at_ms, value);
        count += 1;
    }
    Some(count)
}
