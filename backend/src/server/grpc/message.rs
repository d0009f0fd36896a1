//! Answers of gRPC: a message, and a status in headers or trailers.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pulseboard_ingest::otlp;
use salvo::http::StatusCode;

use crate::base::error::AppError;

/// What is sent as an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

const CONTENT: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// What a message says of itself must not be of a header: everything but what prints, and `%`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Codes of gRPC (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// What an error is to a sender: it sends again after `Unavailable` and `DeadlineExceeded`, and
    /// after `ResourceExhausted` where it is told when.
    pub(super) fn of(error: &AppError) -> Self {
        match error.status() {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::PermissionDenied,
            StatusCode::REQUEST_TIMEOUT => Self::DeadlineExceeded,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => {
                Self::ResourceExhausted
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::NOT_FOUND => Self::Unimplemented,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => Self::Unavailable,
            status if status.is_client_error() => Self::InvalidArgument,
            _ => Self::Internal,
        }
    }
}

/// A message, and that all is well.
pub(super) fn answer(message: &[u8]) -> Response<Body> {
    let framed = otlp::grpc::frame(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(Code::Ok as u16));
    let body = Full::new(Bytes::from(framed));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    with_content_type(Response::new(body.boxed_unsync()))
}

/// A status alone.
pub(super) fn failure(error: &AppError) -> Response<Body> {
    let code = Code::of(error);
    let text = error.detail();
    let mut response = with_content_type(Response::new(Full::default().boxed_unsync()));
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(code as u16));
    let message = utf8_percent_encode(text, ESCAPED).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert(MESSAGE, message);
    }
    if let Some(seconds) = error.retry_after_s() {
        let details = otlp::retry_status(code as i32, text, seconds);
        if let Ok(details) = HeaderValue::from_str(&BASE64_STANDARD_NO_PAD.encode(details)) {
            headers.insert(DETAILS, details);
        }
    }
    response
}

fn with_content_type(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_to_send_again() {
        for (error, code, tells_when) in [
            (AppError::bad_request("100 % \u{e4}\n"), "3", false),
            (AppError::unauthorized("no"), "16", false),
            (AppError::forbidden("no"), "7", false),
            (AppError::too_many("later", 60), "8", true),
            (AppError::unavailable("later", 2), "14", true),
            (
                AppError::new(StatusCode::PAYLOAD_TOO_LARGE, "long"),
                "8",
                false,
            ),
            (
                AppError::new(StatusCode::INSUFFICIENT_STORAGE, "full"),
                "14",
                false,
            ),
            (
                AppError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "what"),
                "12",
                false,
            ),
            (
                AppError::new(StatusCode::REQUEST_TIMEOUT, "slow"),
                "4",
                false,
            ),
            (AppError::internal(), "13", false),
        ] {
            let response = failure(&error);
            assert_eq!(response.status(), 200);
            let headers = response.headers();
            assert_eq!(headers[STATUS], code, "{error}");
            assert_eq!(headers.contains_key(DETAILS), tells_when, "{error}");
            let message = headers[MESSAGE].to_str().expect("text");
            let message = percent_encoding::percent_decode_str(message).decode_utf8();
            assert_eq!(message.expect("text"), error.detail());
        }
    }
}
