//! How messages are framed on a stream: what a feed encodes once for all who watch it in the same
//! way. Pure: no socket, no runtime, no web framework.

mod framing;
mod json;
pub mod sse;
pub mod ws;

pub use framing::Framing;
pub use json::json_text;

use bytes::Bytes;
use pulseboard_shared::protocol::follow::{self, FeedName};

/// One event on the wire of whoever follows `feed`; `json` is its data.
#[must_use]
pub fn event(
    wire: Framing,
    feed: FeedName,
    event: Option<&str>,
    id: Option<&str>,
    json: &str,
) -> Bytes {
    match wire {
        Framing::WebSocket(form) => ws::text_in(form, &follow::event_text(feed, event, id, json)),
        Framing::SseChunked | Framing::SsePlain => sse::frame(&sse::event(event, id, json), wire),
    }
}
