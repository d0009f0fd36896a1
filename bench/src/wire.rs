//! How streams are framed, as far as counting deliveries needs it: the handshakes, frames taken
//! apart as they come, and the time of sending inside them.

use std::fmt::Write as _;

use memchr::memmem;

use crate::Transport;

/// What a peer's payloads say before the Unix microseconds at which they were sent.
pub const SENT_US: &str = "\"sent_us\":";
/// What Pulseboard's say before the milliseconds.
const SENT_MS: &str = "\"sent_ms\":";
/// Longest frame that counts as a delivery where the server stamps it; a snapshot on opening is
/// longer. What a publisher of ours stamped counts whatever its length.
const STAMPED_BYTES_MAX: usize = 8 * 1024;
/// A pong without payload, masked by zeros (RFC 6455 §5.5.3).
pub const PONG: [u8; 6] = [0x8A, 0x80, 0, 0, 0, 0];

const OPCODE_PING: u8 = 0x9;

/// The request that opens a stream.
#[must_use]
pub fn request(transport: Transport, path: &str) -> String {
    match transport {
        Transport::Ws => format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        Transport::Sse => {
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        }
    }
}

/// A payload of `bytes` bytes that says when it is sent.
#[must_use]
pub fn payload(bytes: usize, sent_us: u64) -> String {
    let mut text = String::with_capacity(bytes);
    // Writing to a string cannot fail.
    write!(text, "{{{SENT_US}{sent_us},\"pad\":\"").ok();
    let left = bytes.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', left));
    text.push_str("\"}");
    text
}

/// A payload as one frame (RFC 6455 §5.2) or one event in one chunk (RFC 9112 §7.1).
#[must_use]
pub fn frame(transport: Transport, payload: &str) -> Vec<u8> {
    match transport {
        Transport::Ws => {
            let mut bytes = vec![0x81];
            match u16::try_from(payload.len()) {
                Ok(length @ 0..=125) => bytes.push(length.to_be_bytes()[1]),
                Ok(length) => {
                    bytes.push(126);
                    bytes.extend(length.to_be_bytes());
                }
                Err(_) => {
                    bytes.push(127);
                    bytes.extend((payload.len() as u64).to_be_bytes());
                }
            }
            bytes.extend(payload.as_bytes());
            bytes
        }
        Transport::Sse => {
            let event = format!("data: {payload}\n\n");
            format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
        }
    }
}

/// What was found in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame that says when it was sent, in Unix microseconds.
    Delivery(u64),
    /// The server asks whether we are there.
    Ping,
}

/// Takes whole frames off the front of `bytes`; returns how many bytes they were.
pub fn take_apart(transport: Transport, bytes: &[u8], mut found: impl FnMut(Found)) -> usize {
    let mut taken = 0;
    while let Some((content, length, opcode)) = match transport {
        Transport::Ws => ws_frame(&bytes[taken..]),
        Transport::Sse => sse_event(&bytes[taken..]),
    } {
        if opcode == OPCODE_PING {
            found(Found::Ping);
        } else if let Some(sent_us) = sent_us(content) {
            found(Found::Delivery(sent_us));
        }
        taken += length;
    }
    taken
}

/// The first frame: its payload, its whole length, its opcode.
fn ws_frame(bytes: &[u8]) -> Option<(&[u8], usize, u8)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (head, length) = match second & 0x7F {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(head..head + length)?;
    Some((payload, head + length, first & 0x0F))
}

/// The first event with whatever chunk framing precedes it.
fn sse_event(bytes: &[u8]) -> Option<(&[u8], usize, u8)> {
    let end = memmem::find(bytes, b"\n\n")?;
    Some((&bytes[..end], end + 2, 0))
}

fn sent_us(content: &[u8]) -> Option<u64> {
    // Searched many bytes at a time: at 200 000 frames a second a search byte by byte took the
    // client's core, and longer where the label that is looked for first is not there.
    let after = |label: &str| {
        let at = memmem::find(content, label.as_bytes())?;
        let digits = content[at + label.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0_u64, |number, digit| {
            number
                .wrapping_mul(10)
                .wrapping_add(u64::from(*digit - b'0'))
        }))
    };
    after(SENT_US).or_else(|| {
        let stamped = content.len() <= STAMPED_BYTES_MAX;
        stamped.then(|| after(SENT_MS).map(|ms| ms * 1_000))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_say_when_they_were_sent() {
        let text = payload(400, 1_700_000_000_000_001);
        assert_eq!(text.len(), 400);
        assert_eq!(sent_us(text.as_bytes()), Some(1_700_000_000_000_001));
        assert_eq!(
            sent_us(br#"{"type":"metrics","sent_ms":1700000000000,"data":[]}"#),
            Some(1_700_000_000_000_000)
        );
    }

    #[test]
    fn streams_are_taken_apart_wherever_they_are_cut() {
        for transport in [Transport::Ws, Transport::Sse] {
            let mut stream = frame(transport, &payload(400, 5));
            stream.extend(frame(transport, &payload(60, 6)));
            for cut in 0..=stream.len() {
                let mut found = Vec::new();
                let taken = take_apart(transport, &stream[..cut], |one| found.push(one));
                take_apart(transport, &stream[taken..], |one| found.push(one));
                assert_eq!(
                    found,
                    [Found::Delivery(5), Found::Delivery(6)],
                    "{transport:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn pings_are_noticed() {
        let mut found = Vec::new();
        assert_eq!(
            take_apart(Transport::Ws, &[0x89, 0], |one| found.push(one)),
            2
        );
        assert_eq!(found, [Found::Ping]);
    }
}
