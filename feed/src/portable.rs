//! Payloads that travel: what one server appends, others append as well
//! ([`Feed::append_at`](crate::Feed::append_at)).
//!
//! Frames are encoded by whoever has viewers, each once per view; so what travels is the payload
//! and not its frames. The rule: what was read back encodes to the same bytes as what was written,
//! for every view. Hence MessagePack, whose floating point numbers are those that went in, NaN
//! included; JSON has neither.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::log::Payload;

/// A payload that can be written as bytes and read back.
pub trait Portable: Payload + Sized {
    /// Itself as bytes, for [`Self::from_bytes`]. Cost: a copy of what it holds; only who sends
    /// it away pays for that.
    fn to_bytes(&self) -> Vec<u8>;

    /// What [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// These bytes are no such payload.
    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable>;
}

/// Bytes that are no payload of the kind that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are not a payload of this feed: {0}")]
pub struct NotPortable(String);

/// Writes the form in which a payload travels, fields by name, so that a later version can have
/// more of them.
#[must_use]
pub fn write(form: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(form).unwrap_or_else(|error| {
        // Our own forms are of known lengths, which is all that it asks for.
        tracing::error!(%error, "a payload could not be written");
        Vec::new()
    })
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// These bytes are no such form, or more than one.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotPortable> {
    let mut rest = bytes;
    let form = rmp_serde::from_read(&mut rest).map_err(|error| NotPortable(error.to_string()))?;
    match rest.is_empty() {
        true => Ok(form),
        false => Err(NotPortable("something follows it".to_owned())),
    }
}

/// What travels between servers: a form behind its version, so that a server knows what it cannot
/// read.
#[must_use]
pub fn versioned(version: u8, form: &[u8]) -> Bytes {
    [&[version], form].concat().into()
}

/// The form of this version; `None` where it is of another one.
#[must_use]
pub fn of_version(version: u8, frame: &[u8]) -> Option<&[u8]> {
    let (first, form) = frame.split_first()?;
    (*first == version).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_another_version_is_known_as_one() {
        let frame = versioned(2, b"form");
        assert_eq!(of_version(2, &frame), Some(&b"form"[..]));
        assert_eq!(of_version(1, &frame), None);
        assert_eq!(of_version(2, b""), None);
    }

    #[test]
    fn numbers_come_back_as_they_went() {
        for bits in [
            f64::NAN.to_bits(),
            // Says that a series has ended.
            0x7ff0_0000_0000_0002,
            (-0.0_f64).to_bits(),
            f64::NEG_INFINITY.to_bits(),
            0.1_f64.to_bits() + 1,
        ] {
            let read = read::<f64>(&write(&f64::from_bits(bits))).expect("a number");
            assert_eq!(read.to_bits(), bits);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let whole = write(&("text", 7_u64));
        assert!(read::<(String, u64)>(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(read::<(String, u64)>(&whole[..end]).is_err());
        }
        assert!(read::<(String, u64)>(&[&*whole, &[0]].concat()).is_err());
        // A length of four thousand million, and nothing of it.
        assert!(read::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
