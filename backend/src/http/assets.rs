//! The page, out of the binary: the files that `cargo xtask build` left in `dist/`, each with the
//! compressed variants that lay beside it (`x.br`, `x.gz`).
//!
//! | request | answer |
//! |---|---|
//! | a file | 200 in the best variant that the client takes, or 304 |
//! | a path of the page itself, such as `/alerts` | 200 with `index.html`, filled in for whoever asks ([`boot`]) |
//! | anything with an extension, or below an endpoint of the API | 404 |
//!
//! A name with a content hash is kept for ever, everything else is asked for again and mostly
//! answered 304. Paths are only looked up in a map, so none can lead out of it.

mod boot;
mod encoding;

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
};
use sha2::{Digest, Sha256};

use boot::Template;

use crate::{
    base::error::AppError,
    http::{
        error::Render as _,
        routes::{self, Owner},
    },
};
use encoding::Encoding;

const INDEX: &str = "index.html";

/// What stands in for the page where it is not in the binary.
const ABSENT: &str = include_str!("assets/absent.html");

/// A name that changes with its content can be kept for a year, the longest that caches take.
const KEPT: &str = "public, max-age=31536000, immutable";

/// Kept too, and asked for before each use.
const ASKED_FOR: &str = "no-cache";

/// What is of one caller and one moment.
const NOT_KEPT: &str = "no-store";

/// Sent with every file. The page uses no device of the machine.
const PROTECTION: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), \
         gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=(), \
         xr-spatial-tracking=()",
    ),
];

#[cfg(feature = "embed-spa")]
#[derive(rust_embed::Embed)]
#[folder = "../dist/"]
// A server can be built before the page; it then says so.
#[allow_missing = true]
struct Dist;

/// The page's files by their path, without a leading slash. `index.html` is always there.
#[derive(Debug)]
pub struct Assets {
    files: BTreeMap<String, Asset>,
    /// The Content-Security-Policy of `index.html`.
    policy: HeaderValue,
    /// `index.html`, where it can be filled in.
    template: Option<Template>,
}

/// One file.
#[derive(Debug)]
struct Asset {
    content_type: HeaderValue,
    cache_control: HeaderValue,
    is_html: bool,
    plain: Variant,
    brotli: Option<Variant>,
    gzip: Option<Variant>,
}

/// One file in one encoding.
#[derive(Debug)]
struct Variant {
    bytes: Bytes,
    /// Strong: of these very bytes.
    etag: HeaderValue,
}

/// A file as it lies in `dist/`.
struct File {
    path: String,
    bytes: Bytes,
    sha256: [u8; 32],
}

impl File {
    #[cfg(test)]
    fn new(path: &str, bytes: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            bytes: Bytes::from_static(bytes.as_bytes()),
            sha256: Sha256::digest(bytes).into(),
        }
    }
}

/// What a path is answered with.
#[derive(Debug)]
struct Answer<'a> {
    asset: &'a Asset,
    variant: &'a Variant,
    encoding: Encoding,
    /// The client has these bytes already.
    unchanged: bool,
}

impl Assets {
    /// The files in this binary, or a page that says why there are none.
    #[must_use]
    pub fn embedded() -> Self {
        Self::of(embedded_files())
    }

    /// The handler of every path that is nobody else's. It takes GET and HEAD, refuses other
    /// methods with 405, and reads the path from the request and not from a parameter.
    pub fn handler(self) -> impl Handler {
        AssetsHandler(self)
    }

    fn of(files: impl Iterator<Item = File>) -> Self {
        let mut found: BTreeMap<String, File> = files
            // What tools leave for themselves.
            .filter(|file| !file.path.split('/').any(|part| part.starts_with('.')))
            .map(|file| (file.path.clone(), file))
            .collect();
        let policy = match found.get(INDEX) {
            Some(index) => page_policy(&String::from_utf8_lossy(&index.bytes)),
            None => {
                found.insert(
                    INDEX.to_owned(),
                    File {
                        path: INDEX.to_owned(),
                        bytes: Bytes::from_static(ABSENT.as_bytes()),
                        sha256: Sha256::digest(ABSENT).into(),
                    },
                );
                absent_policy()
            }
        };

        let variant = |path: &str| {
            found.get(path).map(|file| Variant {
                bytes: file.bytes.clone(),
                etag: etag(&file.sha256),
            })
        };
        let is_variant = |path: &str| {
            [".br", ".gz"].iter().any(|suffix| {
                path.strip_suffix(suffix)
                    .is_some_and(|plain| found.contains_key(plain))
            })
        };
        let text = |path: &str| {
            let file = found.get(path)?;
            std::str::from_utf8(&file.bytes).ok()
        };
        let template = text(INDEX).and_then(|html| Template::of(html, text("config.json")));
        let files = found
            .keys()
            .filter(|path| !is_variant(path))
            .filter_map(|path| {
                let content_type = content_type(path);
                let asset = Asset {
                    content_type: HeaderValue::from_static(content_type),
                    cache_control: HeaderValue::from_static(if is_hashed(path) {
                        KEPT
                    } else {
                        ASKED_FOR
                    }),
                    is_html: content_type.starts_with("text/html"),
                    plain: variant(path)?,
                    brotli: variant(&format!("{path}.br")),
                    gzip: variant(&format!("{path}.gz")),
                };
                Some((path.clone(), asset))
            })
            .collect();
        Self {
            files,
            policy,
            template,
        }
    }

    /// The file at `path`, which begins with a slash and is as the client wrote it: names in
    /// `dist/` need no percent-encoding. `None` for 404.
    fn find(&self, path: &str) -> Option<&Asset> {
        let name = path.trim_start_matches('/');
        let index = || self.files.get(INDEX);
        match self.files.get(name) {
            Some(asset) => Some(asset),
            None if is_page_path(path) => index(),
            None => None,
        }
    }

    /// What to answer; `None` for 404.
    fn answer(
        &self,
        path: &str,
        accept_encoding: &str,
        if_none_match: Option<&str>,
    ) -> Option<Answer<'_>> {
        let asset = self.find(path)?;
        let encoding = choose_encoding(
            accept_encoding,
            asset.brotli.is_some(),
            asset.gzip.is_some(),
        );
        let variant = match encoding {
            Encoding::Brotli => asset.brotli.as_ref(),
            Encoding::Gzip => asset.gzip.as_ref(),
            Encoding::Identity => None,
        }
        .unwrap_or(&asset.plain);
        let unchanged = if_none_match.is_some_and(|tags| {
            variant
                .etag
                .to_str()
                .is_ok_and(|etag| matches_etag(tags, etag))
        });
        Some(Answer {
            asset,
            variant,
            encoding,
            unchanged,
        })
    }
}

impl Answer<'_> {
    /// Writes the headers of this answer, all but the length.
    fn write_headers(&self, headers: &mut HeaderMap, policy: &HeaderValue) {
        let asset = self.asset;
        headers.insert(header::ETAG, self.variant.etag.clone());
        headers.insert(header::CACHE_CONTROL, asset.cache_control.clone());
        // Also where there is one variant: the next build may have more.
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        for (name, value) in PROTECTION {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
        if asset.is_html {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        if self.unchanged {
            return;
        }
        headers.insert(header::CONTENT_TYPE, asset.content_type.clone());
        if let Some(encoding) = self.encoding.name() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
    }
}

/// Sends [`Assets`].
struct AssetsHandler(Assets);

#[async_trait]
impl Handler for AssetsHandler {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        _ctrl: &mut FlowCtrl,
    ) {
        let path = request.uri().path();
        let method = request.method();
        if *method != Method::GET && *method != Method::HEAD {
            AppError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{path} does not take {method}; it takes GET and HEAD"),
            )
            .render(response);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return;
        }
        let accept_encoding = listed(request.headers(), header::ACCEPT_ENCODING);
        let if_none_match = listed(request.headers(), header::IF_NONE_MATCH);
        let answer = self.0.answer(
            path,
            accept_encoding.as_deref().unwrap_or_default(),
            if_none_match.as_deref(),
        );
        let Some(answer) = answer else {
            return AppError::not_found(format!(
                "there is nothing at {path}; /docs lists what there is"
            ))
            .render(response);
        };

        if let Some(template) = self.0.template.as_ref().filter(|_| answer.asset.is_html) {
            // What the page has room for need not be there packed.
            let encoding =
                choose_encoding(accept_encoding.as_deref().unwrap_or_default(), true, true);
            if let Ok(page) = template.fill(request, depot, encoding) {
                let answer = Answer {
                    encoding,
                    unchanged: false,
                    ..answer
                };
                let headers = response.headers_mut();
                answer.write_headers(headers, &self.0.policy);
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NOT_KEPT));
                headers.remove(header::ETAG);
                return send(response, method, page);
            }
        }

        answer.write_headers(response.headers_mut(), &self.0.policy);
        if answer.unchanged {
            response.status_code(StatusCode::NOT_MODIFIED);
            return;
        }
        send(response, method, answer.variant.bytes.clone());
    }
}

fn send(response: &mut Response, method: &Method, bytes: Bytes) {
    response.status_code(StatusCode::OK);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if *method == Method::GET {
        response.body(bytes);
    }
}

/// A header that is a list, its lines joined; `None` when it is not there.
fn listed(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// What is in this binary; a debug build reads it anew from where it was built.
#[cfg(feature = "embed-spa")]
fn embedded_files() -> impl Iterator<Item = File> {
    use std::borrow::Cow;

    <Dist as rust_embed::Embed>::iter().filter_map(|path| {
        let file = <Dist as rust_embed::Embed>::get(&path)?;
        Some(File {
            path: path.into_owned(),
            bytes: match file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            },
            sha256: file.metadata.sha256_hash(),
        })
    })
}

/// This binary was asked to carry no page.
#[cfg(not(feature = "embed-spa"))]
fn embedded_files() -> impl Iterator<Item = File> {
    std::iter::empty()
}

/// Whether `path` can be one that the page shows by itself: it names no file, no endpoint of the
/// API, and goes nowhere by dots, encoded ones included.
fn is_page_path(path: &str) -> bool {
    let names_file = path
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains('.'));
    let has_dots = path.split('/').any(|part| part.starts_with('.'))
        || path.to_ascii_lowercase().contains("%2e");
    let is_ours = routes::owner(path) != Owner::Page;
    !names_file && !has_dots && !is_ours
}

/// Whether a file's name changes with its content: it has a `-` or `.` and then the hexadecimal
/// digits of 64 bits, as Trunk writes them: without zeros in front, so one name in sixteen has 15
/// or fewer. One in 65 536 has fewer than 13, and is asked for again.
fn is_hashed(path: &str) -> bool {
    const DIGITS: std::ops::RangeInclusive<usize> = 13..=16;
    let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.iter().enumerate().any(|(at, byte)| {
        let rest = &name[at + 1..];
        let digits = rest.iter().take_while(|byte| is_digit(byte)).count();
        matches!(byte, b'-' | b'.')
            && DIGITS.contains(&digits)
            && !rest.get(digits).is_some_and(u8::is_ascii_alphanumeric)
    })
}

/// The media type by a file's extension.
fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        // JSON is always UTF-8 and its media types have no charset (RFC 8259 §11).
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "gif" => "image/gif",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "ttf" => "font/ttf",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// The strong validator of bytes with this hash (RFC 9110 §8.8.3). Half of it is plenty.
fn etag(sha256: &[u8; 32]) -> HeaderValue {
    let text: String = sha256[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::from_str(&format!("\"{text}\"")).expect("hexadecimal digits can stand in a header")
}

/// Whether `If-None-Match` names `etag`. The comparison is weak (RFC 9110 §13.1.2): a proxy may
/// have marked ours so.
fn matches_etag(if_none_match: &str, etag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag == etag
    })
}

/// The encoding that the client likes best among those there are (RFC 9110 §12.5.3); of equal
/// ones the smallest. Without the header, and where the client refuses all, it is identity: better
/// a page than a 406.
fn choose_encoding(accept_encoding: &str, has_brotli: bool, has_gzip: bool) -> Encoding {
    let mut brotli = None;
    let mut gzip = None;
    let mut identity = None;
    let mut any = None;
    for item in accept_encoding.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(Some(1.0), |text| text.trim().parse::<f32>().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))
            // What cannot be understood is not asked for.
            .unwrap_or(0.0);
        match name.as_str() {
            "br" => brotli = Some(quality),
            "gzip" | "x-gzip" => gzip = Some(quality),
            "identity" => identity = Some(quality),
            "*" => any = Some(quality),
            _ => {}
        }
    }
    // Identity is taken unless it is refused, though everything that is asked for goes before it.
    let least = f32::MIN_POSITIVE;
    let mut best = (identity.or(any).unwrap_or(least), Encoding::Identity);
    for (there, quality, encoding) in [
        (has_gzip, gzip, Encoding::Gzip),
        (has_brotli, brotli, Encoding::Brotli),
    ] {
        let quality = quality.or(any).unwrap_or(0.0);
        if there && quality > 0.0 && quality >= best.0 {
            best = (quality, encoding);
        }
    }
    best.1
}

/// The policy of our page: its own files, its own inline scripts by their hash, WebAssembly, and
/// this server; no text becomes a script.
fn page_policy(html: &str) -> HeaderValue {
    policy(&format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{}; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
         base-uri 'self'; form-action 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
        hashes(html, "script")
    ))
}

/// The policy of the page that stands in for ours: nothing but its own style.
fn absent_policy() -> HeaderValue {
    policy(&format!(
        "default-src 'none'; style-src{}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hashes(ABSENT, "style")
    ))
}

fn policy(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("fixed words and Base64 can stand in a header")
}

/// ` 'sha256-…'` for each inline element called `tag`.
fn hashes(html: &str, tag: &str) -> String {
    inline(html, tag)
        .map(|text| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text))))
        .collect()
}

/// The text of each element called `tag` that has no `src` and is no data, byte for byte: that is
/// what browsers hash. `html` is what Trunk wrote, in lower case and closed as it should be.
fn inline<'a>(html: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
    let mut rest = html;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once(open.as_str())?;
            let (attributes, after) = after.split_once('>')?;
            let (text, after) = after.split_once(close.as_str())?;
            rest = after;
            let has_source = attributes
                .split_ascii_whitespace()
                .any(|attribute| attribute == "src" || attribute.starts_with("src="));
            // Data is not run, so the policy has nothing to say of it.
            let is_data = attributes.contains("type=\"application/json\"");
            if !has_source && !is_data {
                return Some(text);
            }
        }
    })
}

#[cfg(test)]
mod tests;
