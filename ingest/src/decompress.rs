//! Bodies unpacked in pieces, never past a limit: gzip (RFC 1952, several members), deflate (zlib,
//! RFC 1950), zstd (RFC 8878, several frames) and snappy's block format.
//!
//! A bomb costs what the limit allows and no more: output grows by [`PIECE_BYTES`] at a time, each
//! piece asked for beforehand, and a length that the body claims is compared with the limit before
//! anything is allocated. Zstd is the C library: the pure Rust decoder writes out a whole block
//! before anyone can stop it, and a block of 128 KB can be made to become gigabytes.

use std::io::{self, BufRead, Read};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// By how much the output grows at most at a time.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of the window that a zstd frame may ask for: 8 MiB, what RFC 8878 (3.1.1.1.2) recommends
/// every decoder to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes that one byte of snappy can become at most, rounded up: a copy of 64 bytes takes three
/// (format description, section 2.2).
const SNAPPY_RATIO_MAX: usize = 22;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as RFC 9110 §8.4.1.2 says what `deflate` is.
    Deflate,
    /// RFC 8878.
    Zstd,
    /// Snappy's block format, as remote write has it.
    Snappy,
}

/// Why a body could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// No such coding, or more than one. Answer: 415.
    #[error(
        "content-encoding {0:?} is not supported; accepted is one of gzip, deflate, zstd, snappy"
    )]
    UnknownCoding(String),
    /// It would be larger than the limit, or says that it would. Answer: 413.
    #[error("the unpacked body is larger than {limit} bytes, the most that is accepted")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller's budget for all bodies is used up. Answer: 503.
    #[error("there is no memory left for unpacking bodies now; try again")]
    Budget,
    /// The packed bytes are wrong. Answer: 400.
    #[error("the body is not valid {coding}: {why}")]
    Broken {
        /// What it should have been.
        coding: &'static str,
        /// What the decoder said.
        why: String,
    },
}

impl Coding {
    /// From the value of `Content-Encoding`; `None` or blanks are no coding. Case does not matter,
    /// `x-gzip` is gzip.
    ///
    /// # Errors
    /// [`UnpackError::UnknownCoding`], also for a list of several.
    pub fn from_header(value: Option<&str>) -> Result<Self, UnpackError> {
        let value = value.unwrap_or_default().trim();
        Ok(match value.to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "zstd" => Self::Zstd,
            "snappy" => Self::Snappy,
            _ => {
                return Err(UnpackError::UnknownCoding(crate::excerpt::excerpt(value)));
            }
        })
    }

    /// What a body is packed with whose sender did not say: gzip (RFC 1952, 2.3.1) and zstd (RFC
    /// 8878, 3.1.1) begin with bytes that no text and no message of ours begins with.
    #[must_use]
    pub fn or_by_content(self, body: &[u8]) -> Self {
        match (self, body) {
            (Self::Identity, [0x1f, 0x8b, 0x08, ..]) => Self::Gzip,
            (Self::Identity, [0x28, 0xb5, 0x2f, 0xfd, ..]) => Self::Zstd,
            (said, _) => said,
        }
    }

    /// The word in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }

    fn broken(self, why: impl ToString) -> UnpackError {
        UnpackError::Broken {
            coding: self.name(),
            why: why.to_string(),
        }
    }
}

/// Unpacks bodies; keeps its zstd decoder for the next one.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<Decoder<'static>>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// An unpacker that has unpacked nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Unpacks a whole body into `out` (emptied first, its memory used again), at most `limit`
    /// bytes. Before the output grows, `charge` is asked for that many bytes more; when it says
    /// `false`, unpacking ends there. What was charged is the caller's to give back, also after an
    /// error; at the end it is at least `out.len()`.
    ///
    /// # Errors
    /// See [`UnpackError`]; `out` then holds a beginning that means nothing.
    pub fn unpack(
        &mut self,
        coding: Coding,
        body: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
        charge: impl FnMut(usize) -> bool,
    ) -> Result<(), UnpackError> {
        out.clear();
        let mut growth = Growth {
            limit,
            out,
            charged: 0,
            charge,
        };
        match coding {
            Coding::Identity => {
                growth.claim(body.len())?;
                growth.out.extend_from_slice(body);
                Ok(())
            }
            Coding::Gzip => read_all(coding, &mut MultiGzDecoder::new(body), growth),
            Coding::Deflate => {
                let mut decoder = ZlibDecoder::new(body);
                read_all(coding, &mut decoder, growth)?;
                let rest = decoder.into_inner().fill_buf().map_or(0, <[u8]>::len);
                if rest > 0 {
                    return Err(coding.broken(format!("{rest} bytes follow its end")));
                }
                Ok(())
            }
            Coding::Snappy => snappy(body, growth),
            Coding::Zstd => self.zstd(body, growth),
        }
    }

    fn zstd(
        &mut self,
        body: &[u8],
        mut growth: Growth<'_, impl FnMut(usize) -> bool>,
    ) -> Result<(), UnpackError> {
        let broken = |error: io::Error| Coding::Zstd.broken(error);
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            empty => {
                let mut decoder = Decoder::new().map_err(broken)?;
                decoder
                    .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(
                        ZSTD_WINDOW_LOG_MAX,
                    ))
                    .map_err(broken)?;
                empty.insert(decoder)
            }
        };
        decoder.reinit().map_err(broken)?;
        let mut input = InBuffer::around(body);
        let mut is_between_frames = false;
        loop {
            let is_read = input.pos() == body.len();
            if is_read && is_between_frames {
                return Ok(());
            }
            let before = input.pos();
            let written = growth.piece(|room| {
                let mut output = OutBuffer::around(room);
                let hint = decoder.run(&mut input, &mut output).map_err(broken)?;
                is_between_frames = hint == 0;
                Ok(output.pos())
            })?;
            if written == 0 && input.pos() == before && !is_between_frames {
                return Err(Coding::Zstd.broken("it ends in the middle"));
            }
        }
    }
}

/// Grows an output piece by piece.
struct Growth<'a, F> {
    limit: usize,
    out: &'a mut Vec<u8>,
    /// What `charge` was asked for so far.
    charged: usize,
    charge: F,
}

impl<F: FnMut(usize) -> bool> Growth<'_, F> {
    /// Asks for an output whose length is known beforehand.
    fn claim(&mut self, length: usize) -> Result<(), UnpackError> {
        if length > self.limit {
            return Err(UnpackError::TooLarge { limit: self.limit });
        }
        if !(self.charge)(length) {
            return Err(UnpackError::Budget);
        }
        self.charged = length;
        Ok(())
    }

    /// Makes room for one piece more, has it filled, and keeps what was written. The last byte of
    /// the room may be one past the limit: that is how a body too large is noticed.
    fn piece(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, UnpackError>,
    ) -> Result<usize, UnpackError> {
        let start = self.out.len();
        let end = start + (self.limit.saturating_add(1) - start).min(PIECE_BYTES);
        if end > self.charged {
            if !(self.charge)(end - self.charged) {
                return Err(UnpackError::Budget);
            }
            self.charged = end;
        }
        self.out.resize(end, 0);
        let count = fill(&mut self.out[start..])?;
        self.out.truncate(start + count);
        if self.out.len() > self.limit {
            return Err(UnpackError::TooLarge { limit: self.limit });
        }
        Ok(count)
    }
}

fn read_all(
    coding: Coding,
    decoder: &mut impl Read,
    mut growth: Growth<'_, impl FnMut(usize) -> bool>,
) -> Result<(), UnpackError> {
    let mut read = |room: &mut [u8]| decoder.read(room).map_err(|error| coding.broken(error));
    while growth.piece(&mut read)? > 0 {}
    Ok(())
}

fn snappy(
    body: &[u8],
    mut growth: Growth<'_, impl FnMut(usize) -> bool>,
) -> Result<(), UnpackError> {
    let broken = |error: snap::Error| Coding::Snappy.broken(error);
    // The claim stands in the first bytes; the decoder holds the body to it.
    let claimed = snap::raw::decompress_len(body).map_err(broken)?;
    growth.claim(claimed)?;
    if claimed / SNAPPY_RATIO_MAX > body.len() {
        return Err(Coding::Snappy.broken("it claims to be longer than it can be"));
    }
    growth.out.resize(claimed, 0);
    let written = snap::raw::Decoder::new()
        .decompress(body, growth.out)
        .map_err(broken)?;
    growth.out.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests;
