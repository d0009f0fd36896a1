//! What goes around every request: who is calling, origins, panics, problem answers, counting.

use std::{panic::AssertUnwindSafe, sync::Arc, sync::atomic::Ordering, time::Instant};

use futures_util::FutureExt;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
};

use super::origin::{self, Verdict};
use crate::{app::App, error::AppError, stream::takeover::Takeover, telemetry::Limit};

/// The outermost hoop.
#[derive(Debug)]
pub struct Frame {
    app: Arc<App>,
}

impl Frame {
    /// A frame over `app`, which handlers then find in the depot.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait]
impl Handler for Frame {
    async fn handle(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        ctrl: &mut FlowCtrl,
    ) {
        let began = Instant::now();
        depot.insert_typed(Arc::clone(&self.app));
        let verdict = origin::judge(request.headers(), &self.app.settings.allowed_origins);

        let answered = AssertUnwindSafe(self.answer(request, depot, response, ctrl, &verdict))
            .catch_unwind()
            .await;
        if answered.is_err() {
            self.app.telemetry.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(http.method = %request.method(), http.path = request.uri().path(), "a request's handler panicked");
            AppError::internal().render(response);
            ctrl.skip_rest();
        }

        let status = response.status_code.unwrap_or(StatusCode::OK);
        if (status.is_client_error() || status.is_server_error()) && response.body.is_none() {
            explain(status, request).render(response);
        }
        if request.method() == Method::HEAD {
            say_length(response);
        }
        if is_early(status) && *request.method() == Method::POST {
            // Its body may not have been read: the connection ends, and its client should know.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        add_headers(response.headers_mut(), &verdict, request.uri().path());
        let takeover = request.extensions().get::<Takeover>();
        if status.is_client_error() || status.is_server_error() {
            takeover.inspect(|takeover| takeover.release());
        }
        let streams = takeover.is_some_and(Takeover::claimed);
        if !streams {
            self.app
                .telemetry
                .count_request(status.as_u16(), began.elapsed());
        }
    }
}

impl Frame {
    async fn answer(
        &self,
        request: &mut Request,
        depot: &mut Depot,
        response: &mut Response,
        ctrl: &mut FlowCtrl,
        verdict: &Verdict,
    ) {
        // Proxies along the way and we would else answer for different hosts (RFC 9112 §3.2).
        let hosts = request.headers().get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            AppError::bad_request("a request of HTTP/1.1 has one Host header").render(response);
            return ctrl.skip_rest();
        }
        if !target_is_ours(request) {
            AppError::bad_request("the target names another host than the Host header")
                .render(response);
            return ctrl.skip_rest();
        }
        if request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            preflight(response, verdict);
            return ctrl.skip_rest();
        }
        // A foreign page cannot read our answers without CORS headers, but what it sends would
        // still take effect, and a WebSocket knows no CORS at all.
        let reads = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let upgrades = request.headers().contains_key(header::UPGRADE);
        if *verdict == Verdict::Foreign && (!reads || upgrades) {
            self.app.telemetry.count_limit(Limit::Origin);
            AppError::forbidden(
                "pages of this origin may not use this server; ALLOWED_ORIGINS lists who may",
            )
            .render(response);
            return ctrl.skip_rest();
        }
        if let Err(error) = self.app.access.identify(request, depot, verdict) {
            error.render(response);
            return ctrl.skip_rest();
        }
        ctrl.call_next(request, depot, response).await;
    }
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
        401 | 403 | 404 | 405 | 408 | 413 | 415 | 429 | 503
    )
}

fn preflight(response: &mut Response, verdict: &Verdict) {
    if *verdict == Verdict::Foreign {
        return AppError::forbidden(
            "pages of this origin may not use this server; ALLOWED_ORIGINS lists who may",
        )
        .render(response);
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
            "authorization, content-type, content-encoding, last-event-id, x-tenant-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn add_headers(headers: &mut HeaderMap, verdict: &Verdict, path: &str) {
    if let Verdict::Allowed {
        answer,
        credentials,
    } = verdict
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, answer.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after"),
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
    if path.starts_with("/api/") && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
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
