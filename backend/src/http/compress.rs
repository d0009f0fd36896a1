//! Answers compressed, where a client asks for it (RFC 9110 §12.5.3) and there is enough to gain:
//! every text and JSON answer of the API, whichever endpoint it comes from.
//!
//! An answer that is at hand is compressed on a thread that may block unless it is short, and each
//! of its pieces is let go when it has been read, so that both forms together take little more than
//! the longer one; one that is made piece by piece goes through an [`Encoder`] where it is made.
//! Levels are the cheap ones: what is asked for is sent once. Event streams are never compressed,
//! nor what comes with an `ETag`, which names bytes as they are.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use salvo::{
    Request, Response,
    http::{HeaderMap, HeaderValue, Method, ResBody, header},
};
use tokio::sync::Semaphore;

use crate::shares::Refused;

/// Shorter answers fit into a packet or two anyway.
const LEAST_BYTES: usize = 1_024;

/// Longer ones are compressed on a thread that may block: this takes about a millisecond.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// What is compressed at once of a long answer, and about how long a piece of what comes of it is.
const PIECE_BYTES: usize = 64 * 1024;

/// What an encoder has in memory as long as it works, about.
pub const ENCODER_BYTES: usize = 1 << 20;

/// How much of what was written is looked at for repetitions: 256 KiB, since each answer under way
/// has that much in memory.
const BROTLI_WINDOW_BITS: u32 = 18;
const BROTLI_QUALITY: u32 = 3;
const ZSTD_LEVEL: i32 = 1;

/// Long answers that are compressed at once.
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores))
});

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `zstd`.
    Zstd,
    /// `br`.
    Brotli,
    /// `gzip`.
    Gzip,
}

/// Of equal ones the first is taken: the cheapest for what it gains.
const CODINGS: [(Coding, &str, &[&str]); 3] = [
    (Coding::Zstd, "zstd", &["zstd"]),
    (Coding::Brotli, "br", &["br"]),
    (Coding::Gzip, "gzip", &["gzip", "x-gzip"]),
];

impl Coding {
    /// The one that a client would rather have than the bytes as they are.
    #[must_use]
    pub fn wanted(headers: &HeaderMap) -> Option<Self> {
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter();
        let lists: Vec<&str> = lists.filter_map(|list| list.to_str().ok()).collect();
        let asked = |names: &[&str]| -> Option<f32> {
            let mut items = lists.iter().flat_map(|list| list.split(','));
            items.find_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let name = parts.next().unwrap_or_default();
                names
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
                    .then(|| quality(parts))
            })
        };
        let any = asked(&["*"]);
        let identity = asked(&["identity"]).unwrap_or(0.0);
        let mut best: Option<(f32, Self)> = None;
        for (coding, _, names) in CODINGS {
            let quality = asked(names).or(any).unwrap_or(0.0);
            if quality > 0.0 && quality >= identity && best.is_none_or(|(best, _)| quality > best) {
                best = Some((quality, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    fn name(self) -> &'static str {
        let mut all = CODINGS.iter();
        all.find(|(coding, ..)| *coding == self)
            .map_or("", |(_, name, _)| name)
    }
}

/// What cannot be understood is not asked for.
fn quality<'a>(mut parts: impl Iterator<Item = &'a str>) -> f32 {
    let given = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    given
        .map_or(Some(1.0), |text| text.trim().parse::<f32>().ok())
        .filter(|quality| (0.0..=1.0).contains(quality))
        .unwrap_or(0.0)
}

/// Compresses piece by piece.
pub enum Encoder {
    /// Not at all.
    Plain(Vec<u8>),
    /// See [`Coding::Gzip`].
    Gzip(GzEncoder<Vec<u8>>),
    /// See [`Coding::Brotli`].
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// See [`Coding::Zstd`].
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// One that has nothing yet.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(coding: Option<Coding>) -> io::Result<Self> {
        let into = Vec::new();
        Ok(match coding {
            None => Self::Plain(into),
            Some(Coding::Gzip) => Self::Gzip(GzEncoder::new(into, Compression::fast())),
            Some(Coding::Brotli) => {
                let (quality, window) = (BROTLI_QUALITY, BROTLI_WINDOW_BITS);
                let writer = brotli::CompressorWriter::new(into, 4_096, quality, window);
                Self::Brotli(Box::new(writer))
            }
            Some(Coding::Zstd) => Self::Zstd(zstd::stream::write::Encoder::new(into, ZSTD_LEVEL)?),
        })
    }

    /// Takes a piece in.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(into) => into.write_all(piece),
            Self::Gzip(encoder) => encoder.write_all(piece),
            Self::Brotli(encoder) => encoder.write_all(piece),
            Self::Zstd(encoder) => encoder.write_all(piece),
        }
    }

    /// How much has come of it so far.
    fn ready(&self) -> usize {
        match self {
            Self::Plain(into) => into.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// What has come of it so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Plain(into) => into,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// The rest.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(into) => Ok(into),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Says in an answer's head how its body is compressed.
pub fn mark(headers: &mut HeaderMap, coding: Option<Coding>) {
    if let Some(coding) = coding {
        headers.insert(
            header::CONTENT_ENCODING,
            HeaderValue::from_static(coding.name()),
        );
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Why an answer could not be compressed. What there was of it is gone.
#[derive(Debug)]
pub enum Unpacked {
    /// There is no memory for what comes of it.
    Refused(Refused),
    /// The encoder failed.
    Failed(io::Error),
}

impl From<io::Error> for Unpacked {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Compresses an answer that is at hand, where that is asked for and worth it; whether it did.
/// Each piece of what comes of it is `hold`'s before the next one is made.
///
/// # Errors
/// There is no answer any more.
pub async fn apply(
    request: &Request,
    response: &mut Response,
    hold: impl Fn(Bytes) -> Result<Bytes, Refused> + Send + 'static,
) -> Result<bool, Unpacked> {
    let headers = response.headers();
    if headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::ETAG)
        || !is_text(headers)
        || !matches!(&response.body, ResBody::Once(_) | ResBody::Chunks(_))
    {
        return Ok(false);
    }
    let length = response.body.size().unwrap_or_default();
    if length < LEAST_BYTES as u64 {
        return Ok(false);
    }
    // Whoever asks for the head alone is not told the length of another form.
    let coding = Coding::wanted(request.headers());
    let Some(coding) = coding.filter(|_| *request.method() != Method::HEAD) else {
        mark(response.headers_mut(), None);
        return Ok(false);
    };
    let pieces = match response.take_body() {
        ResBody::Once(whole) => VecDeque::from([whole]),
        ResBody::Chunks(pieces) => pieces,
        _ => VecDeque::new(),
    };
    let packed = if length <= INLINE_BYTES_MAX as u64 {
        pack(coding, pieces, hold)?
    } else {
        // Never closed.
        let permit = Arc::clone(&LONG).acquire_owned().await;
        let packing = tokio::task::spawn_blocking(move || {
            let packed = pack(coding, pieces, hold);
            drop(permit);
            packed
        });
        packing.await.map_err(io::Error::from)??
    };
    response.body(ResBody::Chunks(packed));
    mark(response.headers_mut(), Some(coding));
    Ok(true)
}

fn pack(
    coding: Coding,
    pieces: VecDeque<Bytes>,
    hold: impl Fn(Bytes) -> Result<Bytes, Refused>,
) -> Result<VecDeque<Bytes>, Unpacked> {
    let mut packed = VecDeque::new();
    // What was reserved on the way would stay as long as its client does not read.
    let mut keep = |piece: Vec<u8>| {
        let piece = hold(Bytes::from(piece.into_boxed_slice())).map_err(Unpacked::Refused)?;
        packed.push_back(piece);
        Ok::<_, Unpacked>(())
    };
    let mut encoder = Encoder::new(Some(coding))?;
    for piece in pieces {
        for part in piece.chunks(PIECE_BYTES) {
            encoder.write(part)?;
            if encoder.ready() >= PIECE_BYTES {
                keep(encoder.take())?;
            }
        }
    }
    keep(encoder.finish()?)?;
    Ok(packed)
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind != "text/event-stream"
        && (kind.starts_with("text/")
            || kind == "application/json"
            || kind.ends_with("+json")
            || kind == "application/openmetrics-text"
            || kind == "application/yaml")
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn wanted(list: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(list).expect("a value");
        headers.insert(header::ACCEPT_ENCODING, value);
        Coding::wanted(&headers)
    }

    #[test]
    fn a_client_gets_what_it_asks_for() {
        for (list, coding) in [
            ("", None),
            ("identity", None),
            ("gzip", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("GZIP;q=0.5", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, br;q=0.8", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("zstd;q=0, *", Some(Coding::Brotli)),
            ("*;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=nonsense", None),
            ("deflate", None),
        ] {
            assert_eq!(wanted(list), coding, "{list}");
        }
        assert_eq!(Coding::wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn whole_and_in_pieces_it_unpacks_to_what_it_was() {
        let body: Vec<u8> = (0..100_000_u32)
            .flat_map(|number| (number / 7).to_string().into_bytes())
            .collect();
        for (coding, ..) in CODINGS {
            let mut packed = Vec::new();
            let mut encoder = Encoder::new(Some(coding)).expect("an encoder");
            for piece in body.chunks(10_000) {
                encoder.write(piece).expect("taken");
                packed.append(&mut encoder.take());
            }
            packed.append(&mut encoder.finish().expect("an end"));
            let pieces = body.chunks(7_001).map(Bytes::copy_from_slice).collect();
            let whole = pack(coding, pieces, Ok).expect("packed");
            let whole: Vec<u8> = whole.into_iter().flatten().collect();
            for packed in [&packed[..], &whole] {
                assert!(packed.len() < body.len() / 2, "{coding:?}");
                let mut unpacked = Vec::new();
                let read = match coding {
                    Coding::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut unpacked),
                    Coding::Brotli => {
                        brotli::Decompressor::new(packed, 4_096).read_to_end(&mut unpacked)
                    }
                    Coding::Zstd => zstd::stream::read::Decoder::new(packed)
                        .and_then(|mut decoder| decoder.read_to_end(&mut unpacked)),
                };
                assert!(read.is_ok() && unpacked == body, "{coding:?}");
            }
        }
    }
}
