//! How a WebSocket is asked for (RFC 6455 §4.2), and in which form its messages are to be.

use pulseboard_shared::codec::Encoding;
use salvo::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::base::error::AppError;

/// The form that the client asks for by `?encoding=`.
///
/// # Errors
/// 400 for a name that is none of ours.
pub fn asked_form(request: &salvo::Request) -> Result<Encoding, AppError> {
    match request.query::<String>("encoding") {
        None => Ok(Encoding::Json),
        Some(name) => Encoding::from_name(&name).ok_or_else(|| {
            AppError::bad_query(
                "encoding",
                format!("{name:?} is neither \"bin\" nor \"json\""),
            )
        }),
    }
}

/// Checks an upgrade request and fills in the answer's head (RFC 6455 §4.2). The last thing that
/// an endpoint checks: the head is not one of a refusal.
///
/// # Errors
/// 426 that says which part of the handshake is missing.
pub fn accept(request: &salvo::Request, response: &mut salvo::Response) -> Result<(), AppError> {
    let headers = request.headers();
    let refuse = |detail: &str| {
        Err(AppError::upgrade_required(format!(
            "{} is a WebSocket: {detail}",
            request.uri().path()
        )))
    };
    if request.method() != Method::GET || request.version() != salvo::http::Version::HTTP_11 {
        return refuse("open it by an HTTP/1.1 GET request");
    }
    if !has_token(headers, header::CONNECTION, "upgrade")
        || !has_token(headers, header::UPGRADE, "websocket")
    {
        return refuse("the headers \"Connection: Upgrade\" and \"Upgrade: websocket\" are needed");
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return refuse("\"Sec-WebSocket-Version\" must be 13");
    }
    let Some(key) = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24)
    else {
        return refuse("\"Sec-WebSocket-Key\" must be 16 bytes in base64");
    };
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    response.status_code(StatusCode::SWITCHING_PROTOCOLS);
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(token))
        })
}
