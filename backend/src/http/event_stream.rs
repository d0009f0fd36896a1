//! How an event stream is asked for and answered (WHATWG HTML §9.2).

use bytes::Bytes;
use salvo::http::{HeaderValue, StatusCode, Version, header};

use pulseboard_feed::{EventId, wire::Framing};

/// What the client saw last: `Last-Event-ID`, or `?last-event-id=`, since a browser cannot set the
/// header on a first connection. A text that is no id of ours is as good as none.
#[must_use]
pub fn last_event_id(request: &salvo::Request) -> Option<EventId> {
    let header = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    header.or_else(|| request.query::<String>("last-event-id")?.parse().ok())
}

/// Fills in the answer's head and says how the body is framed.
pub fn accept(request: &salvo::Request, response: &mut salvo::Response) -> Framing {
    response.status_code(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx as packaged would keep the first events back until its buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    // The body is ours to write once the socket is; salvo warns of answers that have none.
    response.body(salvo::http::ResBody::Once(Bytes::new()));
    let headers = response.headers_mut();
    if request.version() == Version::HTTP_2 {
        // Its frames say where the body ends.
        Framing::SsePlain
    } else if request.version() == Version::HTTP_11 {
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
        Framing::SseChunked
    } else {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Framing::SsePlain
    }
}
