//! Requests and answers: who is asked, how often an answer may lead on, how much may come.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, Error as PoolError},
    rt::{TokioExecutor, TokioTimer},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;

mod address;
mod identity;

pub use self::address::check_address;
use self::{
    address::{credentials, leads_to, proxy, read_url, same_host, shown, without_user},
    identity::Identity,
};
use crate::{
    Bodies, Error, Reader,
    bodies::Seat,
    config::ClientConfig,
    dial::{Dialler, Proxy},
    error::innermost,
    guard,
    gzip::{self, Unpack},
    secret::Stamp,
    tls,
};

/// How long a connection waits for its next request; scrapes are further apart than most.
const IDLE: std::time::Duration = std::time::Duration::from_secs(300);
/// Connections to one host that wait.
const IDLE_PER_HOST: usize = 4;
/// An answer leads on this often, as with Prometheus.
const MAX_REDIRECTS: usize = 10;
/// An answer that is an error may be this large whatever its caller allows: it says why.
const ERROR_BYTES: usize = 64 * 1024;

type Connections = Pool<HttpsConnector<Dialler>, Full<Bytes>>;

/// A client with its connections. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    identity: Identity,
    proxy: Result<Option<Proxy>, Error>,
    /// The connections, or why there can be none, and the state of the files that they were made
    /// with.
    current: Mutex<(Vec<Stamp>, Result<Connections, Error>)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status, such as 200. An answer of any status is an answer.
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, unpacked.
    pub body: Bytes,
    /// Bytes of the body as it came.
    pub wire_bytes: usize,
    /// What the body has of the memory of all, where it was asked for within some.
    pub seat: Option<Arc<Seat>>,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The media type and its parameters, or nothing.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Client {
    /// A client that is `config`. Nothing is asked yet, but all files are read.
    ///
    /// # Errors
    /// A file cannot be read, a certificate is none, or the configuration contradicts itself.
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        let client = Self::patient(config)?;
        match client.problem() {
            None => Ok(client),
            Some(error) => Err(error),
        }
    }

    /// As [`Client::new`], but files of certificates need not be there yet, nor be any: each
    /// request looks for them again, and says what is wrong.
    ///
    /// # Errors
    /// The configuration contradicts itself, or says what cannot be.
    pub fn patient(config: &ClientConfig) -> Result<Self, Error> {
        config.check()?;
        let url = config.proxy_url.as_ref();
        let proxy = url.filter(|url| !url.reveal().is_empty()).map(|url| {
            let without = config.no_proxy.as_deref().unwrap_or_default();
            proxy(url.reveal(), without)
        });
        // One that is not spoken to is told by each request, too.
        let proxy = proxy.transpose();
        let now = tls::stamps(&config.tls_config);
        let current = connections(config, &proxy);
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            identity: Identity::new(config)?,
            proxy,
            current: Mutex::new((now, current)),
        })))
    }

    /// Why nobody could be asked when it was last tried, where that is so.
    #[must_use]
    pub fn problem(&self) -> Option<Error> {
        self.0.current.lock().1.as_ref().err().cloned()
    }

    /// Asks for `url`. `headers` are sent beside those of the client; gzip is unpacked. At most
    /// `max_bytes` of body are taken, as it comes and unpacked.
    ///
    /// # Errors
    /// No whole answer before `deadline`.
    pub async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Answer, Error> {
        let body = Bytes::new();
        self.exchange(Method::GET, url, headers, body, deadline, max_bytes)
            .await
    }

    /// As [`Client::get`]; the body is read into memory that it shares with others' until the
    /// answer is dropped, and waits for it.
    ///
    /// # Errors
    /// No whole answer, or no memory for it, before `deadline`.
    pub async fn get_within(
        &self,
        url: &str,
        headers: &HeaderMap,
        deadline: Instant,
        max_bytes: usize,
        bodies: &Bodies,
    ) -> Result<Answer, Error> {
        let reader = self
            .send(Method::GET, url, headers, Bytes::new(), deadline, true)
            .await?;
        whole(reader, deadline, max_bytes, Some(bodies.seat())).await
    }

    /// Posts `body` to `url`; otherwise as [`Client::get`]. Followed are only answers that keep the
    /// method (307, 308).
    ///
    /// # Errors
    /// No whole answer before `deadline`. What was posted may have arrived all the same.
    pub async fn post(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Answer, Error> {
        self.exchange(Method::POST, url, headers, body, deadline, max_bytes)
            .await
    }

    /// Puts `body` to `url`; otherwise as [`Client::post`].
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn put(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Answer, Error> {
        self.exchange(Method::PUT, url, headers, body, deadline, max_bytes)
            .await
    }

    /// Asks for `url` and returns when the head has come; the body is read by the caller, piece by
    /// piece and as it is sent.
    ///
    /// # Errors
    /// No head before `deadline`.
    pub async fn open(
        &self,
        url: &str,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<Reader, Error> {
        self.send(Method::GET, url, headers, Bytes::new(), deadline, false)
            .await
    }

    /// As [`Client::open`], with `body` posted to `url`.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub async fn open_post(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Reader, Error> {
        self.send(Method::POST, url, headers, body, deadline, false)
            .await
    }

    /// One request and its whole answer.
    async fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Answer, Error> {
        let reader = self
            .send(method, url, headers, body, deadline, true)
            .await?;
        whole(reader, deadline, max_bytes, None).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Instant,
        packed: bool,
    ) -> Result<Reader, Error> {
        let first = read_url(url)?;
        let mut at = first.clone();
        let mut secrets = true;
        for _ in 0..=MAX_REDIRECTS {
            let request = Asked {
                method: &method,
                url: &at,
                headers,
                body: &body,
                secrets,
                packed,
            };
            let answer = self.once(&request, deadline).await?;
            let Some(next) = self
                .0
                .config
                .follow_redirects
                .then(|| leads_to(&method, &at, &answer))
                .flatten()
            else {
                return Ok(Reader::new(answer, shown(&at)));
            };
            // once away from the first host, nobody is trusted again
            secrets = secrets && same_host(&first, &next);
            at = next;
        }
        Err(Error::Redirects {
            to: shown(&first),
            limit: MAX_REDIRECTS,
        })
    }

    async fn once(
        &self,
        asked: &Asked<'_>,
        deadline: Instant,
    ) -> Result<http::Response<hyper::body::Incoming>, Error> {
        let connections = self.connections()?;
        // a connection that waited may be closed by the other side just as it is used again
        let mut tries = if asked.method == Method::GET { 2 } else { 1 };
        loop {
            tries -= 1;
            let request = self.request(asked)?;
            match timeout_at(deadline, connections.request(request)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) if tries > 0 && broke_off(&error) => {}
                Ok(Err(error)) => return Err(told(&error, asked.url)),
                Err(_) => {
                    return Err(Error::TimedOut {
                        to: shown(asked.url),
                    });
                }
            }
        }
    }

    fn request(&self, asked: &Asked<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let uri: Uri = asked.url.as_str().parse().map_err(|error| Error::Url {
            url: shown(asked.url),
            why: innermost(&error),
        })?;
        let mut headers = asked.headers.clone();
        if asked.packed {
            headers
                .entry(header::ACCEPT_ENCODING)
                .or_insert(HeaderValue::from_static("gzip"));
        }
        headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "pulseboard/",
                env!("CARGO_PKG_VERSION")
            )));
        if asked.secrets {
            self.0.identity.add_to(&mut headers)?;
            if let Some(user) = credentials(asked.url) {
                headers.entry(header::AUTHORIZATION).or_insert(user);
            }
        } else {
            headers.remove(header::AUTHORIZATION);
            headers.remove(header::COOKIE);
        }
        let proxy = self.0.proxy.as_ref().ok().and_then(Option::as_ref);
        if let Some(value) = proxy.and_then(|proxy| proxy.header_for(&uri)) {
            headers.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let mut request = Request::new(Full::new(asked.body.clone()));
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = without_user(uri);
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The connections; new ones when a file of the certificates has changed, or could not be used.
    fn connections(&self) -> Result<Connections, Error> {
        let Inner {
            config,
            proxy,
            current,
            ..
        } = &*self.0;
        let now = tls::stamps(&config.tls_config);
        let mut current = current.lock();
        if current.0 != now || current.1.is_err() {
            *current = (now, connections(config, proxy));
        }
        current.1.clone()
    }
}

/// One request of perhaps several.
struct Asked<'a> {
    method: &'a Method,
    url: &'a Url,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    /// Whether this host may see who asks.
    secrets: bool,
    /// Whether the answer may come packed.
    packed: bool,
}

fn connections(
    config: &ClientConfig,
    proxy: &Result<Option<Proxy>, Error>,
) -> Result<Connections, Error> {
    let proxy = proxy.clone()?;
    let mut builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(&config.tls_config)?)
        .https_or_http();
    if let Some(name) = config.tls_config.expected_name()? {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let connector = builder.enable_http1().wrap_connector(Dialler::new(
        proxy,
        config.unix_socket.clone(),
        config.guard,
    ));
    Ok(Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector))
}

async fn whole(
    mut reader: Reader,
    deadline: Instant,
    max_bytes: usize,
    mut seat: Option<Seat>,
) -> Result<Answer, Error> {
    let success = (200..300).contains(&reader.status);
    let limit = if success {
        max_bytes
    } else {
        max_bytes.max(ERROR_BYTES)
    };
    let packed = reader.rest(deadline, limit, &mut seat).await?;
    let wire_bytes = packed.len();
    let is_gzip = reader
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let body = match is_gzip && wire_bytes > 0 {
        true => unpacked(&reader, &packed, deadline, limit, &mut seat).await?,
        false => packed,
    };
    Ok(Answer {
        status: reader.status,
        headers: reader.headers,
        body,
        wire_bytes,
        seat: seat.map(Arc::new),
    })
}

/// Unpacks a body where it has room for both forms.
async fn unpacked(
    reader: &Reader,
    packed: &[u8],
    deadline: Instant,
    limit: usize,
    seat: &mut Option<Seat>,
) -> Result<Bytes, Error> {
    let mut wanted = gzip::told_bytes(packed).min(limit);
    loop {
        reader
            .find_room(seat, packed.len().saturating_add(wanted), deadline)
            .await?;
        let room = seat.as_ref().map_or(usize::MAX, Seat::bytes);
        let fits = limit.min(room.saturating_sub(packed.len()));
        match gzip::unpack(packed, fits) {
            Ok(body) => return Ok(body),
            // It said that it is shorter than it is.
            Err(Unpack::TooLarge) if fits < limit => wanted = fits.saturating_add(1),
            Err(Unpack::TooLarge) => {
                return Err(Error::TooLarge {
                    to: reader.from.clone(),
                    limit,
                });
            }
            Err(Unpack::Broken(why)) => {
                return Err(Error::Packed {
                    to: reader.from.clone(),
                    why: why.to_string(),
                });
            }
        }
    }
}

/// Whether the other side closed the connection before it answered anything.
fn broke_off(error: &PoolError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(hyper) = inner.downcast_ref::<hyper::Error>() {
            return hyper.is_incomplete_message() || hyper.is_canceled();
        }
        source = inner.source();
    }
    false
}

fn told(error: &PoolError, url: &Url) -> Error {
    let (to, why) = (shown(url), innermost(error));
    if guard::refused(error) {
        return Error::Forbidden { to, why };
    }
    if error.is_connect() {
        Error::Connect { to, why }
    } else {
        Error::Broken { to, why }
    }
}
