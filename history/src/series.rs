//! What the history knows of a series: its number, and a definition it never looks into.

use crate::varint::{Reader, put_varint, put_zigzag};

/// The number of a series, given out by the caller and stable across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What a series is. Opaque here: kept in the log, then in the blocks' file, and handed back on
/// start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its number; a later definition of the same number replaces an earlier one.
    pub id: SeriesId,
    /// Whose it is.
    pub tenant: Box<str>,
    /// Name and labels in the caller's canonical form.
    pub key: Box<[u8]>,
    /// The unit of its values.
    pub unit: Box<str>,
    /// Gauge, counter, …: the caller's number.
    pub kind: u8,
    /// When it was first seen, Unix milliseconds.
    pub created_ms: i64,
}

impl Definition {
    /// Appends the stored form to `bytes`: varints for id, created and the three lengths.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        put_varint(bytes, u64::from(self.id.0));
        bytes.push(self.kind);
        put_zigzag(bytes, self.created_ms);
        for part in [self.tenant.as_bytes(), self.unit.as_bytes(), &self.key] {
            put_varint(bytes, part.len() as u64);
            bytes.extend_from_slice(part);
        }
    }

    /// The inverse; `None` for anything else, trailing bytes included.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let id = SeriesId(u32::try_from(reader.varint()?).ok()?);
        let kind = reader.byte()?;
        let created_ms = reader.zigzag()?;
        let mut part = || {
            let length = usize::try_from(reader.varint()?).ok()?;
            reader.bytes(length)
        };
        let tenant = std::str::from_utf8(part()?).ok()?.into();
        let unit = std::str::from_utf8(part()?).ok()?.into();
        let key = part()?.into();
        reader.is_empty().then_some(Self {
            id,
            tenant,
            key,
            unit,
            kind,
            created_ms,
        })
    }
}
