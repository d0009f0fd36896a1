//! Answers whose bytes are counted while they wait to be sent.

use salvo::{
    Response,
    http::{HeaderValue, ResBody, header},
};

use crate::questions::{Counted, Finished};

/// Answers with JSON.
pub fn send_text(response: &mut Response, text: Finished) {
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    send(response, text);
}

/// The body of an answer, of whatever kind.
pub fn send(response: &mut Response, body: Finished) {
    match body {
        Finished::Counted(pieces) => {
            response.body(ResBody::Chunks(pieces));
            response.extensions.insert(Counted);
        }
        // What goes around every request counts it.
        Finished::Uncounted(whole) => {
            response.body(ResBody::Once(whole));
        }
    }
}
