//! What goes around every request: who is calling, origins, panics, problem answers, counting.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderMap, HeaderValue, Method, ResBody, StatusCode, Version, header},
};

use crate::{
    access::peer::Arrival,
    app::App,
    base::{address::split_host, error::AppError, telemetry::Limit},
    http::{
        body,
        caller::{self, peer_address},
        compress::{self, Unpacked},
        direct,
        error::Render as _,
        identify::identify,
        origin::{self, Verdict},
        path, shown,
        via::Via,
    },
    questions::{ANSWERS_RETRY_S, Counted},
    settings::Hosts,
    shares::Refused,
    stream::takeover::Takeover,
};

/// Of a request's head; a longer one is answered 431. The buffer that it is read into is larger.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The outermost hoop.
#[derive(Debug)]
pub struct Middleware {
    app: Arc<App>,
}

impl Middleware {
    /// A frame over `app`, which handlers then find in the depot.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Handler for Middleware {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        ctrl: &mut FlowCtrl,
    ) {
        let began = Instant::now();
        depot.insert_typed(Arc::clone(&self.app));
        let settings = &self.app.settings;
        let peer = peer_address(request);
        let tls = request
            .extensions()
            .get::<Arrival>()
            .is_some_and(|arrival| arrival.tls);
        let via = Via::of(peer, tls, request.headers(), &settings.trusted_proxies);
        let verdict = origin::judge(request.headers(), &via, &settings.allowed_origins);
        request.extensions_mut().insert(via.clone());

        let answered =
            AssertUnwindSafe(self.answer(request, depot, response, ctrl, (&via, &verdict)))
                .catch_unwind()
                .await;
        if answered.is_err() {
            self.app.telemetry.panics.inc();
            tracing::error!(http.method = %request.method(), http.path = request.uri().path(), "a request's handler panicked");
            AppError::internal().render(response);
            ctrl.skip_rest();
        }

        let status = response.status_code.unwrap_or(StatusCode::OK);
        if (status.is_client_error() || status.is_server_error()) && response.body.is_none() {
            explain(status, request).render(response);
        }
        self.hold_answer(request, depot, response).await;
        if request.method() == Method::HEAD {
            say_length(response);
        }
        if is_early(status) && may_have_body(request) {
            // Its body may not have been read: the connection ends, and its client should know.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        add_headers(response.headers_mut(), &verdict);
        if self.app.is_alone() {
            let degraded = HeaderValue::from_static("bus");
            response
                .headers_mut()
                .insert("pulseboard-degraded", degraded);
        }
        if tls && !settings.tls_hsts.is_zero() {
            let held = format!("max-age={}", settings.tls_hsts.as_secs());
            if let Ok(held) = HeaderValue::try_from(held) {
                let headers = response.headers_mut();
                headers.insert(header::STRICT_TRANSPORT_SECURITY, held);
            }
        }
        let takeover = request.extensions().get::<Takeover>();
        if status.is_client_error() || status.is_server_error() {
            takeover.inspect(|takeover| takeover.release());
        }
        let streams = takeover.is_some_and(Takeover::claimed);
        if !streams {
            if response.status_code == Some(StatusCode::OK) && response.body.is_none() {
                // An answer that says nothing means it: without a body each is a warning in the
                // log.
                response.body(ResBody::Once(Bytes::new()));
            }
            self.app
                .telemetry
                .count_request(status.as_u16(), began.elapsed());
        }
    }
}

impl Middleware {
    /// Compresses an answer that is at hand, and counts its bytes until its client has read them.
    async fn hold_answer(&self, request: &Request, depot: &Depot, response: &mut Response) {
        let keys = caller::caller_keys(request, depot, None);
        let questions = Arc::clone(&self.app.questions);
        let hold = {
            let keys = keys.clone();
            move |bytes| questions.hold(&keys, bytes)
        };
        let is_packed = match compress::apply(request, response, hold).await {
            Ok(is_packed) => is_packed,
            Err(Unpacked::Refused(refused)) => return no_memory(response, &refused),
            Err(Unpacked::Failed(error)) => {
                tracing::error!(%error, "an answer could not be compressed");
                return AppError::internal().render(response);
            }
        };
        // The page's files are in memory anyway, once for all.
        if is_packed
            || response.extensions.get::<Counted>().is_some()
            || response.headers().contains_key(header::ETAG)
        {
            return;
        }
        let ResBody::Once(body) = &response.body else {
            return;
        };
        match self.app.questions.hold(&keys, body.clone()) {
            Ok(held) => {
                response.body(ResBody::Once(held));
            }
            Err(refused) => no_memory(response, &refused),
        }
    }

    async fn answer(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        ctrl: &mut FlowCtrl,
        (via, verdict): (&Via, &Verdict),
    ) {
        if head_bytes(request) > HEAD_BYTES_MAX {
            AppError::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "a request's head has at most 64 KiB",
            )
            .render(response);
            return ctrl.skip_rest();
        }
        // Proxies along the way and we would else answer for different hosts (RFC 9112 §3.2).
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            AppError::bad_request("a request of HTTP/1.1 must have exactly one Host header")
                .render(response);
            return ctrl.skip_rest();
        }
        if expects_the_unknown(request) {
            AppError::new(
                StatusCode::EXPECTATION_FAILED,
                "a client can expect 100-continue and nothing else",
            )
            .render(response);
            return ctrl.skip_rest();
        }
        if !target_is_ours(request) {
            AppError::bad_request("the target names another host than the Host header")
                .render(response);
            return ctrl.skip_rest();
        }
        if !host_is_allowed(request.headers(), &self.app.settings.allowed_hosts) {
            AppError::new(
                StatusCode::MISDIRECTED_REQUEST,
                "this server does not go by this name; ALLOWED_HOSTS lists those that it has",
            )
            .render(response);
            return ctrl.skip_rest();
        }
        if !path::is_plain(request.uri().path()) {
            explain(StatusCode::NOT_FOUND, request).render(response);
            return ctrl.skip_rest();
        }
        if request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            preflight(request, response, (via, verdict));
            return ctrl.skip_rest();
        }
        // A foreign page cannot read our answers without CORS headers, but what it sends would
        // still take effect, and a WebSocket knows no CORS at all.
        let reads = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let upgrades = request.headers().contains_key(header::UPGRADE);
        let foreign = *verdict == Verdict::Foreign;
        // A stream that nobody can read still takes a place, and images know no CORS either.
        let holds = shown::opens_stream(request)
            && (foreign || *verdict == Verdict::Same && is_of_another_site(request.headers()));
        if foreign && (!reads || upgrades) || holds {
            self.app.telemetry.count_limit(Limit::Origin);
            AppError::forbidden(origin::refusal(request.headers(), via)).render(response);
            return ctrl.skip_rest();
        }
        if let Err(error) = identify(&self.app.access, request, depot, verdict).await {
            error.render(response);
            return ctrl.skip_rest();
        }
        ctrl.call_next(request, depot, response).await;
    }
}

/// What is answered in place of an answer that its client, or others with it, would not read.
fn no_memory(response: &mut Response, refused: &Refused) {
    response.headers_mut().remove(header::CONTENT_ENCODING);
    AppError::unavailable(refused.to_string(), ANSWERS_RETRY_S).render(response);
}

/// Bytes of a request's line and headers, as they were sent but for white space.
fn head_bytes(request: &Request) -> usize {
    const LINE: usize = "OPTIONS  HTTP/1.1\r\n\r\n".len();
    const HEADER: usize = ": \r\n".len();
    let target = request.uri().path_and_query();
    let headers = request.headers().iter();
    LINE + target.map_or(0, |target| target.as_str().len())
        + headers
            .map(|(name, value)| name.as_str().len() + value.len() + HEADER)
            .sum::<usize>()
}

/// Whether the request comes by a name that this server has.
fn host_is_allowed(headers: &HeaderMap, hosts: &Hosts) -> bool {
    let Hosts::List(list) = hosts else {
        return true;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some((name, port)) = host.and_then(split_host) else {
        return false;
    };
    let plain = name.strip_suffix('.').unwrap_or(name);
    direct::is_loopback_name(name)
        || list.iter().any(|known| {
            known.name.eq_ignore_ascii_case(plain)
                && known.port.is_none_or(|known| port == Some(known))
        })
}

/// Whether a page of another site made this, as its browser says.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"))
}

/// A target may be a whole URL, whose host then counts and not the header (RFC 9112 §3.2.2); only
/// where both say the same is there nothing to be mistaken about.
fn target_is_ours(request: &Request) -> bool {
    let Some(authority) = request.uri().authority() else {
        return true;
    };
    let host = request.headers().get(header::HOST);
    host.is_none_or(|host| {
        host.as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    })
}

/// Whether a request can have been refused before its body was read.
fn is_early(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        401 | 403 | 404 | 405 | 408 | 413 | 415 | 417 | 429 | 503
    )
}

fn may_have_body(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::POST
        || headers.contains_key(header::TRANSFER_ENCODING)
        || body::said_length(request) > 0
}

/// Whether a client expects something that nobody knows of before it sends its body (RFC 9110
/// §10.1.1). What one of HTTP/1.0 expects does not count.
fn expects_the_unknown(request: &Request) -> bool {
    let expected = request.headers().get_all(header::EXPECT).iter();
    let mut expected = expected.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    request.version() >= Version::HTTP_11
        && expected.any(|one| {
            let one = one.trim_ascii();
            !one.is_empty() && !one.eq_ignore_ascii_case(b"100-continue")
        })
}

fn preflight(request: &Request, response: &mut Response, (via, verdict): (&Via, &Verdict)) {
    if *verdict == Verdict::Foreign {
        return AppError::forbidden(origin::refusal(request.headers(), via)).render(response);
    }
    response.status_code(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PUT, PATCH, DELETE",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, content-encoding, last-event-id, if-match, x-tenant-id, x-scope-orgid",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn add_headers(headers: &mut HeaderMap, verdict: &Verdict) {
    if let Verdict::Allowed {
        answer,
        credentials,
    } = verdict
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, answer.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after, etag"),
        );
        if *credentials {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    // No other site's page takes an answer into its process, whoever may read it.
    headers
        .entry("cross-origin-resource-policy")
        .or_insert(HeaderValue::from_static("same-origin"));
    // The page's files say themselves how long they hold; nothing else is to be kept.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// The length of the body that a HEAD request is not sent (RFC 9110 §8.6).
fn say_length(response: &mut Response) {
    if let Some(length) = response.body.size()
        && length > 0
    {
        response
            .headers_mut()
            .entry(header::CONTENT_LENGTH)
            .or_insert(HeaderValue::from(length));
    }
}

fn explain(status: StatusCode, request: &Request) -> AppError {
    let (method, path) = (request.method(), request.uri().path());
    let detail = match status {
        StatusCode::NOT_FOUND => format!("there is nothing at {path}; /docs lists what there is"),
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("{path} does not take {method}; /docs lists what it takes")
        }
        _ => format!("{method} {path} was refused"),
    };
    AppError::new(status, detail)
}
