//! Server-sent events (WHATWG HTML §9.2) in HTTP/1.1 chunks (RFC 9112 §7.1).

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pulseboard_shared::{Timestamp, protocol::alerts::Heartbeat};
use salvo::http::{HeaderValue, StatusCode, Version, header};

use super::{
    open,
    registry::Admission,
    takeover::Taken,
    viewer::{Viewer, Wire, Woken},
    ws::discard,
};
use crate::{
    app::App,
    base::telemetry::StreamKind,
    feed::{EventId, Feed, Payload, Subscription},
};

/// Writes one event. `data` may span lines; `event` and `id` are ours and hold no line breaks.
#[must_use]
pub fn event(event: Option<&str>, id: Option<&str>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + 64);
    for (field, value) in [("event", event), ("id", id)] {
        if let Some(value) = value {
            text.push_str(field);
            text.push_str(": ");
            text.push_str(value);
            text.push('\n');
        }
    }
    for line in data.split('\n') {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

/// Tells the client how long to wait before it reconnects.
#[must_use]
pub fn retry(retry_ms: u64) -> Bytes {
    Bytes::from(format!("retry: {retry_ms}\n\n"))
}

/// The heartbeat of the alert stream.
#[must_use]
pub fn heartbeat(now_ms: i64) -> Bytes {
    event(
        None,
        None,
        &crate::base::json::json_text(&Heartbeat {
            timestamp: Timestamp::from_millis(now_ms),
        }),
    )
}

/// Puts encoded events on the wire of a viewer.
#[must_use]
pub fn frame(events: &Bytes, wire: Wire) -> Bytes {
    if wire == Wire::SseChunked {
        chunk(events)
    } else {
        events.clone()
    }
}

fn chunk(payload: &[u8]) -> Bytes {
    let mut bytes = format!("{:x}\r\n", payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    Bytes::from(bytes)
}

/// The last bytes of a stream: when to come back, and the end of the body.
#[must_use]
pub fn last(retry_ms: u64, wire: Wire) -> Bytes {
    let mut bytes = frame(&retry(retry_ms), wire).to_vec();
    if wire == Wire::SseChunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    Bytes::from(bytes)
}

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
pub fn accept(request: &salvo::Request, response: &mut salvo::Response) -> Wire {
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
    if request.version() == Version::HTTP_11 {
        headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
        Wire::SseChunked
    } else {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Wire::SsePlain
    }
}

/// What an event stream is made of once its socket is there.
pub struct Following<P: Payload> {
    /// The door that it came through.
    pub kind: StreamKind,
    /// How it is framed.
    pub wire: Wire,
    /// What it is sent at once, framed.
    pub first: Vec<Bytes>,
    /// What it follows,
    pub feed: Arc<Feed<P>>,
    /// from this offset on,
    pub next: u64,
    /// encoded for this view.
    pub view: P::View,
}

impl<P: Payload> fmt::Debug for Following<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following")
            .field("kind", &self.kind)
            .field("wire", &self.wire)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// Makes a viewer that follows one feed; the future serves it.
pub fn follow<P: Payload>(
    app: &App,
    taken: Taken,
    admission: Admission,
    following: Following<P>,
) -> impl Future<Output = ()> + Send + use<P> {
    let Following {
        kind,
        wire,
        first,
        feed,
        next,
        view,
    } = following;
    let first = std::iter::once(taken.head).chain(first);
    let viewer = open::viewer(app, kind, wire, taken.stream, first, &admission);
    let seat = feed.roster().join(Arc::clone(&viewer) as Arc<_>);
    viewer.follow(ONLY, Subscription::new(feed, next, view, viewer.id));
    async move {
        run(viewer, admission).await;
        drop(seat);
    }
}

/// Names the one cursor of an event stream.
const ONLY: u64 = 0;

/// Serves one event stream until it ends; the viewer's task. The client has nothing to say.
async fn run(viewer: Arc<Viewer>, admission: Admission) {
    let mut left = false;
    let why = loop {
        if let Some(why) = viewer.over() {
            break why;
        }
        if left {
            tokio::task::yield_now().await;
        } else {
            left = viewer.woken().await == Woken::Readable;
        }
        left = left && discard(&viewer);
    };
    admission.end(&viewer, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_line_by_line() {
        assert_eq!(
            event(Some("resolved"), Some("e:1"), "a\nb"),
            "event: resolved\nid: e:1\ndata: a\ndata: b\n\n"
        );
        assert_eq!(
            frame(&Bytes::from("data: x\n\n"), Wire::SseChunked),
            "9\r\ndata: x\n\n\r\n"
        );
        assert_eq!(last(5, Wire::SseChunked), "a\r\nretry: 5\n\n\r\n0\r\n\r\n");
        assert_eq!(last(5, Wire::SsePlain), "retry: 5\n\n");
    }
}
