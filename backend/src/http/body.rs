//! Reads small JSON bodies: bounded in size and in time, with errors that say where.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pulseboard_shared::FieldError;
use salvo::{
    Request,
    http::{StatusCode, header},
};
use serde::de::DeserializeOwned;

use crate::{
    app::App,
    base::{
        error::AppError,
        telemetry::Limit,
        typed::{self, WrongJson},
    },
};

/// Of a JSON body.
pub const JSON_BYTES_MAX: usize = 64 * 1024;
const NOT_JSON: &str = "the body is not the JSON that is expected here";
/// A body must be there in this time as a whole: a gap between bytes may be short for ever.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// The body as JSON.
///
/// # Errors
/// 413 past [`JSON_BYTES_MAX`], 408 when it does not arrive in time, 400 with line and column, and
/// the field, for what is not the expected JSON.
pub async fn read_json<T: DeserializeOwned>(
    app: &App,
    request: &mut Request,
) -> Result<T, AppError> {
    let bytes = read_bytes(app, request).await?;
    typed::from_slice(&bytes).map_err(wrong_json)
}

/// 400 for what is not the expected JSON, with line and column.
pub fn not_json(error: &serde_json::Error) -> AppError {
    wrong_body(format!("{NOT_JSON}: {error}"))
}

/// The same, with the field that is wrong.
pub fn wrong_json(wrong: WrongJson) -> AppError {
    AppError::bad_request(format!("{NOT_JSON}: {wrong}")).with_errors(vec![FieldError {
        detail: wrong.to_string(),
        pointer: wrong.pointer,
    }])
}

/// 400 for the body as a whole, to which the empty pointer points.
pub fn wrong_body(detail: String) -> AppError {
    let whole = FieldError {
        pointer: String::new(),
        detail: detail.clone(),
    };
    AppError::bad_request(detail).with_errors(vec![whole])
}

/// The body as it came.
///
/// # Errors
/// 413 past [`JSON_BYTES_MAX`], 408 when it does not arrive in time, 400 when it breaks off.
pub async fn read_bytes(app: &App, request: &mut Request) -> Result<Bytes, AppError> {
    if said_length(request) > JSON_BYTES_MAX as u64 {
        return Err(too_large(app));
    }
    let body = Limited::new(request.take_body(), JSON_BYTES_MAX);
    match tokio::time::timeout(BODY_DEADLINE, body.collect()).await {
        Err(_late) => Err(late()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(app)),
        Ok(Err(_)) => Err(broken()),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// How long the body is, as its client says; 0 where it does not. A client that waits for `100
/// Continue` is sent it when its body is first asked for, so what is longer than what is taken is
/// refused by this before that (RFC 9110 §10.1.1).
pub(crate) fn said_length(request: &Request) -> u64 {
    let said = request.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    said.unwrap_or_default()
}

fn too_large(app: &App) -> AppError {
    app.telemetry.count_limit(Limit::BodyBytes);
    larger_than(JSON_BYTES_MAX)
}

pub(crate) fn larger_than(max: usize) -> AppError {
    AppError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {max} bytes"),
    )
}

/// Reads a body of at most `max` bytes and keeps nothing of it.
///
/// # Errors
/// As [`read_bytes`].
pub async fn skip(request: &mut Request, max: usize) -> Result<(), AppError> {
    if said_length(request) > max as u64 {
        return Err(larger_than(max));
    }
    let mut arriving = request.take_body();
    let reading = async {
        let mut left = max;
        while let Some(frame) = arriving.frame().await {
            let length = frame.map_err(|_broken| broken())?.into_data();
            let length = length.map_or(0, |data| data.len());
            left = left.checked_sub(length).ok_or_else(|| larger_than(max))?;
        }
        Ok(())
    };
    let read = tokio::time::timeout(BODY_DEADLINE, reading).await;
    read.map_err(|_late| late())?
}

/// 408: it did not arrive in time.
pub(crate) fn late() -> AppError {
    AppError::new(
        StatusCode::REQUEST_TIMEOUT,
        format!(
            "the body did not arrive within {} s",
            BODY_DEADLINE.as_secs()
        ),
    )
}

/// 400: its client stopped in the middle of it.
pub(crate) fn broken() -> AppError {
    AppError::bad_request("the body broke off")
}

/// Has `work` done on a thread that may block: what waits for the disk, or for a lock that is held
/// for long.
///
/// # Errors
/// 500 when it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work for a request broke off");
        AppError::internal()
    })
}
