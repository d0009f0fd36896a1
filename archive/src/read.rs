//! What the store is asked: samples of a selector, by remote read where it has that, and by a query
//! of the selector where not; and which series there are.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_forward::{TENANT_IN_URL, outer_name};
use pulseboard_ingest::remote_read::{self, MatchKind, Question};
use pulseboard_outbound::{Client, ClientConfig, HeaderMap, HeaderName, HeaderValue, header};
use pulseboard_series::key::write_quoted;
use tokio::{sync::Semaphore, time::Instant};

use crate::{TENANT_LABEL, Way};

/// So long the store has for one answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of one answer, as it comes.
const ANSWER_BYTES: usize = 64 << 20;

/// Of an answer that is an error; it says why in words.
const ERROR_BYTES: usize = 64 << 10;

/// Characters of such words.
const SAID_CHARS: usize = 300;

/// Questions to the store at once; more of them wait.
const AT_ONCE: usize = 16;

/// A store that has no remote read is asked for it again after this.
const WITHOUT_REMOTE_READ: Duration = Duration::from_secs(600);

/// Series of which the store is asked for the names.
pub const SERIES_MAX: usize = 10_000;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

/// What a label is to be, in the terms of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How it is compared.
    pub op: Op,
    /// With what; patterns are RE2's.
    pub value: String,
}

/// `from_ms <= time <= until_ms`, Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first moment.
    pub from_ms: i64,
    /// The last one.
    pub until_ms: i64,
}

/// Why the store did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It cannot be asked, or not be understood.
    #[error("the archive cannot be read: {0}")]
    Away(String),
    /// It says no.
    #[error("the archive answers {0}")]
    Refused(String),
}

/// An answer that is to be looked at, by [`crate::Looked`].
#[derive(Clone, Debug)]
pub struct Body {
    /// As it came.
    pub bytes: Bytes,
    pub(crate) kind: Kind,
    pub(crate) stretch: Stretch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A `prometheus.ReadResponse` behind snappy.
    RemoteRead,
    /// JSON of `/api/v1/query`.
    Query,
    /// JSON of `/api/v1/series`.
    Series,
}

/// Asks the store.
pub struct Reader {
    client: Client,
    base: String,
    way: Way,
    places: Semaphore,
    /// Since when it is known to have no remote read.
    no_remote_read: Mutex<Option<Instant>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Asks the store whose API is below `base`, such as `http://127.0.0.1:8428`.
    ///
    /// # Errors
    /// What is wrong with the address; in words.
    pub fn new(base: &str, way: Way) -> Result<Self, String> {
        way.check(base)?;
        let client =
            Client::patient(&ClientConfig::default()).map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
            way,
            places: Semaphore::new(AT_ONCE),
            no_remote_read: Mutex::default(),
        })
    }

    /// A tenant's samples in a stretch of time. `seen` says how much has come so far.
    ///
    /// # Errors
    /// See [`Missing`].
    pub async fn samples(
        &self,
        tenant: &str,
        matchers: &[Matcher],
        stretch: Stretch,
        seen: &AtomicUsize,
    ) -> Result<Body, Missing> {
        let deadline = Instant::now() + PATIENCE;
        let _place = self.place(deadline).await?;
        let matchers = asked(tenant, matchers);
        let known = *self.no_remote_read.lock();
        if known.is_none_or(|since| since.elapsed() > WITHOUT_REMOTE_READ) {
            let read = self
                .remote_read(tenant, &matchers, stretch, (deadline, seen))
                .await?;
            if let Some(body) = read {
                *self.no_remote_read.lock() = None;
                return Ok(body);
            }
            *self.no_remote_read.lock() = Some(Instant::now());
        }
        // Some take what is as old as the range is long, and some do not: it is looked at.
        let length_ms = stretch.until_ms.saturating_sub(stretch.from_ms).max(0) + 1;
        let form = [
            ("query", format!("{}[{length_ms}ms]", text(&matchers))),
            ("time", seconds(stretch.until_ms)),
            ("timeout", format!("{}s", PATIENCE.as_secs())),
            // VictoriaMetrics leaves out the newest half minute otherwise.
            ("nocache", "1".to_owned()),
            ("latency_offset", "1ms".to_owned()),
        ];
        let bytes = self
            .form("/api/v1/query", tenant, &form, (deadline, seen))
            .await?;
        Ok(Body {
            bytes,
            kind: Kind::Query,
            stretch,
        })
    }

    /// Which of a tenant's series had samples in a stretch of time, some [`SERIES_MAX`] at most.
    ///
    /// # Errors
    /// See [`Missing`].
    pub async fn series(
        &self,
        tenant: &str,
        matchers: &[Matcher],
        stretch: Stretch,
        seen: &AtomicUsize,
    ) -> Result<Body, Missing> {
        let deadline = Instant::now() + PATIENCE;
        let _place = self.place(deadline).await?;
        let form = [
            ("match[]", text(&asked(tenant, matchers))),
            ("start", seconds(stretch.from_ms)),
            ("end", seconds(stretch.until_ms)),
            ("limit", SERIES_MAX.to_string()),
        ];
        let bytes = self
            .form("/api/v1/series", tenant, &form, (deadline, seen))
            .await?;
        Ok(Body {
            bytes,
            kind: Kind::Series,
            stretch,
        })
    }

    async fn place(&self, deadline: Instant) -> Result<tokio::sync::SemaphorePermit<'_>, Missing> {
        let place = tokio::time::timeout_at(deadline, self.places.acquire()).await;
        match place {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Missing::Away("too many others ask it".to_owned())),
        }
    }

    /// `None` where the store has no remote read.
    async fn remote_read(
        &self,
        tenant: &str,
        matchers: &[Matcher],
        stretch: Stretch,
        how: (Instant, &AtomicUsize),
    ) -> Result<Option<Body>, Missing> {
        let question = Question {
            start_ms: stretch.from_ms,
            end_ms: stretch.until_ms,
            matchers: matchers.iter().map(wire).collect(),
        };
        let packed = snap::raw::Encoder::new()
            .compress_vec(&remote_read::ask(&question))
            .map_err(|error| Missing::Away(error.to_string()))?;
        let headers = [
            (header::CONTENT_TYPE, "application/x-protobuf"),
            (header::CONTENT_ENCODING, "snappy"),
            (
                HeaderName::from_static("x-prometheus-remote-read-version"),
                "0.1.0",
            ),
        ];
        let asked = self
            .post("/api/v1/read", tenant, &headers, packed.into(), how)
            .await?;
        let (status, bytes, content_type) = asked;
        match status {
            200..=299 if content_type.contains("protobuf") => Ok(Some(Body {
                bytes,
                kind: Kind::RemoteRead,
                stretch,
            })),
            // It has none, or answers in a way that was not asked for.
            200..=299 | 400 | 404 | 405 | 415 | 501 => Ok(None),
            status => Err(refused(status, &bytes)),
        }
    }

    async fn form(
        &self,
        path: &str,
        tenant: &str,
        form: &[(&str, String)],
        how: (Instant, &AtomicUsize),
    ) -> Result<Bytes, Missing> {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let headers = [(header::CONTENT_TYPE, "application/x-www-form-urlencoded")];
        let (status, bytes, _) = self.post(path, tenant, &headers, body.into(), how).await?;
        match status {
            200..=299 => Ok(bytes),
            status => Err(refused(status, &bytes)),
        }
    }

    /// Status, body and media type of an answer.
    async fn post(
        &self,
        path: &str,
        tenant: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
        (deadline, seen): (Instant, &AtomicUsize),
    ) -> Result<(u16, Bytes, String), Missing> {
        let away = |error: pulseboard_outbound::Error| Missing::Away(error.to_string());
        let mut all: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        let mut url = format!("{}{path}", self.base);
        match &self.way {
            Way::Label => {}
            Way::Header(name) => {
                let value = HeaderValue::from_str(tenant)
                    .map_err(|error| Missing::Away(format!("the tenant's header: {error}")))?;
                all.insert(name.clone(), value);
            }
            Way::Path if tenant.bytes().all(|byte| byte == b'.') => {
                return Err(Missing::Away("the tenant is no part of a path".to_owned()));
            }
            Way::Path => url = url.replace(TENANT_IN_URL, tenant),
        }
        let mut reader = self
            .client
            .open_post(&url, &all, body, deadline)
            .await
            .map_err(away)?;
        let limit = match reader.status {
            200..=299 => ANSWER_BYTES,
            _ => ERROR_BYTES,
        };
        let mut bytes = Vec::new();
        while let Some(piece) = reader.chunk(deadline).await.map_err(away)? {
            if bytes.len() + piece.len() > limit {
                if limit == ANSWER_BYTES {
                    let what = format!("it answers with more than {limit} bytes");
                    return Err(Missing::Away(what));
                }
                break;
            }
            seen.fetch_add(piece.len(), Ordering::Relaxed);
            bytes.extend_from_slice(&piece);
        }
        let content_type = reader.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        Ok((reader.status, bytes.into(), content_type))
    }
}

fn refused(status: u16, body: &[u8]) -> Missing {
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(SAID_CHARS).collect();
    Missing::Refused(format!("{status} {text}"))
}

/// What is asked of the store: the tenant's series alone, by the names that labels have there.
fn asked(tenant: &str, matchers: &[Matcher]) -> Vec<Matcher> {
    let own = matchers.iter().map(|matcher| Matcher {
        name: outer_name(&matcher.name, TENANT_LABEL).into_owned(),
        ..matcher.clone()
    });
    let tenant = Matcher {
        name: TENANT_LABEL.to_owned(),
        op: Op::Equal,
        value: tenant.to_owned(),
    };
    own.chain([tenant]).collect()
}

fn wire(matcher: &Matcher) -> remote_read::Matcher {
    remote_read::Matcher {
        kind: match matcher.op {
            Op::Equal => MatchKind::Equal,
            Op::NotEqual => MatchKind::NotEqual,
            Op::Regex => MatchKind::Regex,
            Op::NotRegex => MatchKind::NotRegex,
        },
        name: matcher.name.clone(),
        value: matcher.value.clone(),
    }
}

/// A selector as stores read it.
fn text(matchers: &[Matcher]) -> String {
    let mut text = String::from("{");
    for matcher in matchers {
        if text.len() > 1 {
            text.push(',');
        }
        let is_plain = matcher
            .name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match is_plain {
            true => text.push_str(&matcher.name),
            false => write_quoted(&matcher.name, &mut text),
        }
        text.push_str(match matcher.op {
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Regex => "=~",
            Op::NotRegex => "!~",
        });
        write_quoted(&matcher.value, &mut text);
    }
    text.push('}');
    text
}

/// Milliseconds as seconds.
fn seconds(at_ms: i64) -> String {
    format!("{}.{:03}", at_ms.div_euclid(1_000), at_ms.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(name: &str, op: Op, value: &str) -> Matcher {
        Matcher {
            name: name.to_owned(),
            op,
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_store_is_asked_for_one_tenants_series_whatever_is_asked() {
        let all = [
            matcher("__name__", Op::Equal, "up"),
            matcher("tenant", Op::Regex, ".*"),
            matcher("exported_tenant", Op::NotEqual, "x"),
            matcher("a b", Op::NotRegex, "\"}"),
        ];
        assert_eq!(
            text(&asked("a", &all)),
            r#"{__name__="up",exported_tenant=~".*",exported_exported_tenant!="x","a b"!~"\"}",tenant="a"}"#
        );
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds(1_700_000_000_123), "1700000000.123");
        assert_eq!(seconds(-1), "-1.999");
    }
}
