//! Answers whose bytes are counted while they wait to be sent.

use bytes::Bytes;
use salvo::{
    Response,
    http::{HeaderValue, ResBody, header},
};

use crate::questions::Counted;

/// Answers with JSON that is counted already.
pub fn send_text(response: &mut Response, text: Bytes) {
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response.body(ResBody::Once(text));
    response.extensions.insert(Counted);
}
