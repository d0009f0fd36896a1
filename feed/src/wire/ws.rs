//! WebSocket frames as a server writes them (RFC 6455 §5): head and payload in one buffer that all
//! viewers share.

use bytes::{BufMut, Bytes, BytesMut};
use pulseboard_shared::{
    codec::{self, Encoding},
    protocol::metrics::ServerMessage,
};

use super::json::json_text;

/// Why a connection is closed (RFC 6455 §7.4.1, and the IANA registry for 1012 and 1013).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: done.
    Normal,
    /// 1002: the client broke the protocol.
    Protocol,
    /// 1003: binary where text is expected.
    Unsupported,
    /// 1007: text that is not UTF-8.
    InvalidPayload,
    /// 1008: not allowed (any more).
    Policy,
    /// 1009: the message is too large.
    TooBig,
    /// 1012: the server restarts; come back.
    Restart,
    /// 1013: over a limit; come back later.
    TryAgain,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidPayload => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Restart => 1012,
            Self::TryAgain => 1013,
        }
    }
}

const OPCODE_TEXT: u8 = 0x1;

const OPCODE_BINARY: u8 = 0x2;

const OPCODE_CLOSE: u8 = 0x8;

const OPCODE_PING: u8 = 0x9;

/// An unmasked, unfragmented frame (RFC 6455 §5.2).
fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    bytes.put_u8(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => bytes.put_u8(u8::try_from(length).unwrap_or(125)),
        length => match u16::try_from(length) {
            Ok(length) => {
                bytes.put_u8(126);
                bytes.put_u16(length);
            }
            Err(_) => {
                bytes.put_u8(127);
                bytes.put_u64(length as u64);
            }
        },
    }
    bytes.put_slice(payload);
    bytes.freeze()
}

/// A text message in one frame.
#[must_use]
pub fn text(text: &str) -> Bytes {
    frame(OPCODE_TEXT, text.as_bytes())
}

/// A binary message in one frame.
#[must_use]
pub fn binary(payload: &[u8]) -> Bytes {
    frame(OPCODE_BINARY, payload)
}

/// A message whose JSON text is at hand, in one frame, in this form.
#[must_use]
pub fn text_in(form: Encoding, json: &str) -> Bytes {
    match form {
        Encoding::Json => text(json),
        Encoding::Binary => binary(&codec::text_as_other(json)),
    }
}

/// A message in one frame, in this form.
#[must_use]
pub fn message(form: Encoding, message: &impl serde::Serialize) -> Bytes {
    match form {
        Encoding::Json => text(&json_text(message)),
        Encoding::Binary => binary(&codec::encode_other(message)),
    }
}

/// A message of the metrics socket in one frame; ticks and snapshots have a binary form of their
/// own.
#[must_use]
pub fn metrics_message(form: Encoding, message: &ServerMessage) -> Bytes {
    match form {
        Encoding::Json => text(&json_text(message)),
        Encoding::Binary => binary(&codec::encode(message)),
    }
}

/// A ping without payload.
#[must_use]
pub fn ping() -> Bytes {
    frame(OPCODE_PING, b"")
}

/// A close frame; a reason over 123 bytes is cut at a character boundary (RFC 6455 §5.5).
#[must_use]
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    close_with(code.code(), reason)
}

/// A close frame with a code that a client chose.
#[must_use]
pub fn close_with(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(123)]);
    frame(OPCODE_CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_heads_follow_the_payload_length() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let bytes = text(&"x".repeat(length));
            assert_eq!(
                &bytes[..head.len()],
                head,
                "head of a frame of {length} bytes"
            );
            assert_eq!(bytes.len(), head.len() + length);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let bytes = close(CloseCode::Policy, &"ä".repeat(100));
        assert_eq!(&bytes[..4], [0x88, 124, 0x03, 0xF0]);
        assert_eq!(
            std::str::from_utf8(&bytes[4..]).map(|reason| reason.chars().count()),
            Ok(61)
        );
    }
}
