//! Server-sent events (WHATWG HTML §9.2) in HTTP/1.1 chunks (RFC 9112 §7.1).

use bytes::Bytes;
use pulseboard_shared::{Timestamp, protocol::alerts::Heartbeat};

use super::{framing::Framing, json::json_text};

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
        &json_text(&Heartbeat {
            timestamp: Timestamp::from_millis(now_ms),
        }),
    )
}

/// Puts encoded events on the wire of a viewer.
#[must_use]
pub fn frame(events: &Bytes, wire: Framing) -> Bytes {
    if wire == Framing::SseChunked {
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
pub fn last(retry_ms: u64, wire: Framing) -> Bytes {
    let mut bytes = frame(&retry(retry_ms), wire).to_vec();
    if wire == Framing::SseChunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    Bytes::from(bytes)
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
            frame(&Bytes::from("data: x\n\n"), Framing::SseChunked),
            "9\r\ndata: x\n\n\r\n"
        );
        assert_eq!(
            last(5, Framing::SseChunked),
            "a\r\nretry: 5\n\n\r\n0\r\n\r\n"
        );
        assert_eq!(last(5, Framing::SsePlain), "retry: 5\n\n");
    }
}
