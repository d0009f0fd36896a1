//! How the bytes of the page's files are packed.

use std::io::Write as _;

use bytes::Bytes;

/// Packing a page that is made for its reader: higher takes longer than it saves.
const BROTLI_QUALITY: i32 = 5;

/// How the bytes of an answer are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
    Identity,
}

impl Encoding {
    /// As in `Content-Encoding`.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// Packs a page that was made just now.
    pub(super) fn pack(self, page: Vec<u8>) -> Bytes {
        let mut packed = Vec::with_capacity(page.len() / 2);
        let done = match self {
            Self::Identity => return page.into(),
            Self::Brotli => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: 16,
                    size_hint: page.len(),
                    ..Default::default()
                };
                brotli::BrotliCompress(&mut &*page, &mut packed, &parameters).map(drop)
            }
            Self::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(&mut packed, level);
                encoder.write_all(&page).and_then(|()| encoder.try_finish())
            }
        };
        debug_assert!(done.is_ok(), "memory takes what is written to it");
        packed.into()
    }
}
