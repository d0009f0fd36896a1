//! The memory of label names: rows of one body have nearly always the same ones, and need not be
//! looked at again. And how short texts are compared and looked at without a call of the library.

use crate::limits::LABELS_MAX;

/// By place, the newest label names that were looked at.
#[derive(Debug)]
pub(super) struct KnownNames([KnownName; LABELS_MAX]);

/// A label's name that was found to be one.
#[derive(Clone, Copy, Debug)]
struct KnownName {
    /// See [`prefix`].
    prefix: u64,
    /// Where it stands in `keys`; only looked at when the prefix is not all of it.
    at: u32,
    /// 255, which no name has: there is none yet.
    length: u8,
}

impl KnownName {
    const NONE: Self = Self {
        prefix: 0,
        at: 0,
        length: u8::MAX,
    };
}

impl KnownNames {
    /// None is known.
    pub(super) const NONE: Self = Self([KnownName::NONE; LABELS_MAX]);

    /// Whether `name`, with its `prefix`, is the one that was found to be a name at `place` last;
    /// `keys` is where that one stands.
    #[inline]
    pub(super) fn has(&self, place: usize, name: &[u8], prefix: u64, keys: &[u8]) -> bool {
        let Some(known) = self.0.get(place) else {
            return false;
        };
        if known.prefix != prefix || usize::from(known.length) != name.len() {
            return false;
        }
        let at = known.at as usize;
        name.len() <= size_of::<u64>() || keys.get(at..at + name.len()) == Some(name)
    }

    /// The name at `place`, which will stand at `from` in the keys, is one.
    pub(super) fn remember(&mut self, place: usize, name: &[u8], from: usize) {
        if let Some(known) = self.0.get_mut(place) {
            *known = KnownName {
                prefix: prefix(name),
                at: u32::try_from(from).unwrap_or(u32::MAX),
                length: u8::try_from(name.len()).unwrap_or(u8::MAX),
            };
        }
    }
}

/// The first eight bytes of a name, zeros behind a shorter one: in the order of the names, as far
/// as they differ.
#[inline]
pub(super) fn prefix(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    // Pieces that overlap where the name is shorter than both: they agree there.
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << 32 | u64::from(last) << (8 * (8 - name.len()));
    }
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return 0;
    };
    let middle = name[name.len() / 2];
    u64::from(*first) << 56
        | u64::from(middle) << (8 * (7 - name.len() / 2))
        | u64::from(*last) << (8 * (8 - name.len()))
}

/// Whether all bytes are ASCII. Eight at a time, the last ones twice: what is looked at is short,
/// and a call of the library takes longer.
#[inline]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(0, |sum, byte| sum | byte) < 0x80;
    };
    let (chunks, _) = bytes.as_chunks();
    let sum = chunks.iter().fold(u64::from_le_bytes(*last), |sum, chunk| {
        sum | u64::from_le_bytes(*chunk)
    });
    sum & HIGHS == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_compare_as_their_prefixes(one in "[a-z.é]{1,10}", other in "[a-z.é]{1,10}") {
            let (first, second) = (prefix(one.as_bytes()), prefix(other.as_bytes()));
            prop_assert!(first == second || (first < second) == (one < other));
        }

        #[test]
        fn bytes_are_ascii_where_the_library_says_so(bytes in prop::collection::vec(0_u8..130, 0..20)) {
            prop_assert_eq!(is_ascii(&bytes), bytes.is_ascii());
        }
    }
}
