//! Unpacking gzip within a bound.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

/// Why a body was not unpacked.
#[derive(Debug)]
pub(crate) enum Unpack {
    TooLarge,
    Broken(io::Error),
}

/// How long what is packed says that it is (RFC 1952, ISIZE): true where it is one stream of less
/// than 4 GiB.
pub(crate) fn told_bytes(packed: &[u8]) -> usize {
    let told = packed.last_chunk().copied();
    told.map_or(0, u32::from_le_bytes) as usize
}

/// The bytes of a gzip stream, `limit` at most.
pub(crate) fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Unpack> {
    // what is packed mostly grows to five or ten times its size
    let mut bytes = Vec::with_capacity(packed.len().saturating_mul(6).min(limit));
    MultiGzDecoder::new(packed)
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Unpack::Broken)?;
    if bytes.len() > limit {
        return Err(Unpack::TooLarge);
    }
    Ok(bytes.into())
}
