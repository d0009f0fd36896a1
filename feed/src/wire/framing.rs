//! How a stream is framed.

use pulseboard_shared::codec::Encoding;

/// How the stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// WebSocket frames, their messages in this form.
    WebSocket(Encoding),
    /// Server-sent events in HTTP/1.1 chunks.
    SseChunked,
    /// Server-sent events to an HTTP/1.0 client, ended by closing.
    SsePlain,
}
