//! What a caller is told when something cannot be done, wherever that is found out.
//!
//! A handler returns [`AppError`] and uses `?`; it becomes an answer in `http::error`, once. Inside
//! modules small error enums of their own are used; `main` reports what stops the start. On a
//! socket that is already open there is no status: a bad message is answered with an `error`
//! message and an ended connection with a close code (see `pulseboard_feed::wire::ws`).

use http::StatusCode;
use pulseboard_shared::{FieldError, Problem};

/// What a client is told when something cannot be done (RFC 9457).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status}: {detail}")]
pub struct AppError {
    status: StatusCode,
    /// What was wrong, where, and what is accepted.
    detail: String,
    errors: Vec<FieldError>,
    retry_after_s: Option<u32>,
}

impl AppError {
    /// Any status with its detail.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// 400: the request says something that cannot be.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400 for one query parameter.
    #[must_use]
    pub fn bad_query(name: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let errors = vec![FieldError {
            pointer: format!("?{name}"),
            detail: detail.clone(),
        }];
        Self {
            errors,
            ..Self::bad_request(format!("query parameter \"{name}\": {detail}"))
        }
    }

    /// 401: a token is needed.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the token, or the origin, is not enough.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 426: this path is a WebSocket.
    #[must_use]
    pub fn upgrade_required(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, detail)
    }

    /// 503: come back after some seconds.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// 429: come back after some seconds.
    #[must_use]
    pub fn too_many(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// 500: ours to mend; the client gets no inner text.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something went wrong here; the server's log says what",
        )
    }

    /// Names every offending field.
    #[must_use]
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Seconds after which the caller may come back, where that helps.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }

    /// As the body of an answer (RFC 9457).
    #[must_use]
    pub fn into_problem(self) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
            request_id: None,
        }
    }

    /// The offending fields.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What was wrong, where, and what is accepted.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}
