//! How messages are framed on a stream: what a feed encodes once for all who watch it in the same
//! way. Pure: no socket, no runtime, no web framework.

pub mod sse;
pub mod ws;

use bytes::Bytes;
use pulseboard_shared::{
    codec::Form,
    protocol::follow::{self, FeedName},
};

/// How the stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// WebSocket frames, their messages in this form.
    WebSocket(Form),
    /// Server-sent events in HTTP/1.1 chunks.
    SseChunked,
    /// Server-sent events to an HTTP/1.0 client, ended by closing.
    SsePlain,
}

/// One event on the wire of whoever follows `feed`; `json` is its data.
#[must_use]
pub fn event(
    wire: Wire,
    feed: FeedName,
    event: Option<&str>,
    id: Option<&str>,
    json: &str,
) -> Bytes {
    match wire {
        Wire::WebSocket(form) => ws::text_in(form, &follow::event_text(feed, event, id, json)),
        Wire::SseChunked | Wire::SsePlain => sse::frame(&sse::event(event, id, json), wire),
    }
}
