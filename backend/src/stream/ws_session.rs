//! A WebSocket's session (RFC 6455): the messages of one client, in turns.
//!
//! Messages in are read by tungstenite's sans-socket context, which knows fragmentation, masking,
//! control frames, UTF-8 and limits; what it answers by itself (pongs, the echo of a close) goes
//! through the viewer's replies, so that nobody writes into the middle of a frame.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use pulseboard_feed::wire::ws::{CloseCode, close, close_with};
use pulseboard_shared::{
    codec::{self, Encoding},
    protocol::metrics::ServerMessage,
};
use tungstenite::{
    Error, Message,
    error::CapacityError,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::{
    registry::Admission,
    viewer::{Viewer, Woken},
};
use crate::{
    base::{
        clock::Clock,
        telemetry::{Limit, Telemetry},
    },
    settings::Settings,
};

/// Bytes of a client's message that are read at a time. Clients say little, and each viewer has
/// a buffer of this size for as long as it is connected.
const READ_BUFFER_BYTES: usize = 512;
/// Bytes read from one client before the others have their turn: one that sends faster than it is
/// read would else keep a worker for ever.
const TURN_BYTES: usize = 64 * 1024;
/// How much longer than the longest message its frames may be on the wire: single bytes in
/// fragments are seven times as long. Past it the socket is closed with 1009.
const WIRE_OVERHEAD_MAX: usize = 8;

/// The reason where the client gave none.
const CLOSED_ON_REQUEST: &str = "closed on request";

/// What an endpoint does with its clients' messages.
pub trait Inbound: Send {
    /// One text message.
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str);

    /// One binary message: the same as text in the binary form, refused elsewhere.
    fn on_binary(&mut self, viewer: &Arc<Viewer>, bytes: Bytes) {
        if viewer.form() == Encoding::Json {
            return viewer.finish(close(
                CloseCode::Unsupported,
                "binary message; this socket reads JSON text",
            ));
        }
        match codec::decode_other(&bytes) {
            Ok(text) => self.on_text(viewer, text),
            Err(error) => viewer.send_message(&ServerMessage::Error {
                text: format!("The message is not readable: {error}"),
            }),
        }
    }
}

/// What one client may send.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimits {
    /// Of one message; past it the socket is closed with 1009.
    pub bytes: usize,
    /// Messages a second, over some seconds; past it the socket is closed with 1013.
    pub per_second: u32,
}

impl MessageLimits {
    /// Those of the settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            bytes: settings.max_message_bytes,
            per_second: settings.max_messages_per_sec,
        }
    }
}

/// Seconds over which a client may send its messages all at once.
const BURST_SECONDS: i64 = 5;

/// A token bucket in milli-messages; pure, time is told.
#[derive(Clone, Copy, Debug)]
struct MessageRate {
    per_second: i64,
    /// What may still be sent, in thousandths of a message.
    left: i64,
    seen_ms: i64,
}

impl MessageRate {
    fn new(per_second: u32, now_ms: i64) -> Self {
        let per_second = i64::from(per_second);
        Self {
            per_second,
            left: per_second * BURST_SECONDS * 1000,
            seen_ms: now_ms,
        }
    }

    /// Whether one more message is within the rate.
    fn allows(&mut self, now_ms: i64) -> bool {
        let refill = now_ms
            .saturating_sub(self.seen_ms)
            .saturating_mul(self.per_second);
        self.left = self
            .left
            .saturating_add(refill)
            .min(self.per_second * BURST_SECONDS * 1000);
        self.seen_ms = now_ms;
        if self.left < 1000 {
            return false;
        }
        self.left -= 1000;
        true
    }
}

/// Serves one WebSocket until it ends; the viewer's task.
pub async fn run(
    viewer: Arc<Viewer>,
    admission: Admission,
    mut inbound: impl Inbound,
    read_before: Bytes,
    limits: MessageLimits,
    telemetry: Arc<Telemetry>,
    clock: Clock,
) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(usize::MAX)
        .max_message_size(Some(limits.bytes))
        .max_frame_size(Some(limits.bytes));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut port = Port {
        viewer: Arc::clone(&viewer),
        read_before,
        replies: Vec::new(),
        turn_left: 0,
        unfinished: 0,
        unfinished_max: limits.bytes.saturating_mul(WIRE_OVERHEAD_MAX),
    };
    let mut rate = MessageRate::new(limits.per_second, clock.steady_ms());
    // Whether something may be left to read that the socket does not announce (again).
    let mut left = true;
    let why = loop {
        if left && !viewer.holds_back() {
            port.turn_left = TURN_BYTES;
            left = read_messages(
                &mut context,
                &mut port,
                &mut inbound,
                &mut || rate.allows(clock.steady_ms()),
                &telemetry,
            );
        }
        if let Some(why) = viewer.end_reason() {
            break why;
        }
        if left && !viewer.holds_back() {
            tokio::task::yield_now().await;
        } else {
            left |= viewer.woken().await == Woken::Readable;
        }
    };
    drop(inbound);
    admission.end(&viewer, why);
}

/// Reads the messages that are there, for one turn and while their answers find room. Returns
/// whether there may be more.
fn read_messages(
    context: &mut WebSocketContext,
    port: &mut Port,
    inbound: &mut impl Inbound,
    allowed: &mut impl FnMut() -> bool,
    telemetry: &Telemetry,
) -> bool {
    let viewer = Arc::clone(&port.viewer);
    let end = |code: CloseCode, reason: &str| {
        viewer.finish(close(code, reason));
        true
    };
    // Else the socket could be reset with our last bytes under way.
    if viewer.finishing() {
        return discard(&viewer);
    }
    loop {
        let message = context.read(port);
        port.send_replies();
        if message.is_ok() {
            port.unfinished = 0;
        }
        if matches!(
            message,
            Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))
        ) && !allowed()
        {
            telemetry.count_limit(Limit::MessageRate);
            return end(
                CloseCode::TryAgain,
                "too many messages; slow down and come back",
            );
        }
        match message {
            Ok(Message::Text(text)) => {
                telemetry.messages_received.inc();
                inbound.on_text(&viewer, text.as_str());
            }
            Ok(Message::Binary(bytes)) => {
                telemetry.messages_received.inc();
                inbound.on_binary(&viewer, bytes);
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Ok(Message::Close(said)) => {
                // tungstenite has the answer, the same code, at hand and writes it when asked to
                // go on. Where nothing was said, ours says more.
                let answer = match said {
                    Some(said) if !said.reason.is_empty() => {
                        drop(context.flush(port));
                        Bytes::from(std::mem::take(&mut port.replies))
                    }
                    Some(said) => close_with(said.code.into(), CLOSED_ON_REQUEST),
                    None => close(CloseCode::Normal, CLOSED_ON_REQUEST),
                };
                viewer.finish(answer);
                return true;
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if port.unfinished > port.unfinished_max {
                    telemetry.count_limit(Limit::MessageBytes);
                    return end(CloseCode::TooBig, "message in too many fragments");
                }
                return port.turn_left == 0;
            }
            Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size })) => {
                telemetry.count_limit(Limit::MessageBytes);
                let reason =
                    format!("message of at least {size} bytes; at most {max_size} are accepted");
                return end(CloseCode::TooBig, &reason);
            }
            Err(Error::Utf8(_)) => {
                return end(CloseCode::InvalidPayload, "text is not UTF-8");
            }
            Err(Error::Protocol(error)) => {
                return end(CloseCode::Protocol, &error.to_string());
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                viewer.finish(Bytes::new());
                return true;
            }
            Err(_) => {
                viewer.abort("client closed the connection");
                return false;
            }
        }
        if viewer.finishing() || viewer.holds_back() {
            return true;
        }
    }
}

/// Reads what a client sends that has nothing (more) to say, for one turn. Returns whether there
/// may be more.
pub(super) fn discard(viewer: &Viewer) -> bool {
    let mut buffer = [0; 2048];
    let mut left = TURN_BYTES;
    while left > 0 {
        match viewer.read(&mut buffer) {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            _ => return false,
        }
    }
    true
}

/// What tungstenite sees of the socket: reads go to it, writes become replies of the viewer.
struct Port {
    viewer: Arc<Viewer>,
    read_before: Bytes,
    replies: Vec<u8>,
    /// Bytes that may still be read in this turn.
    turn_left: usize,
    /// Bytes read since the last whole message.
    unfinished: usize,
    unfinished_max: usize,
}

impl Port {
    fn send_replies(&mut self) {
        if !self.replies.is_empty() {
            self.viewer
                .reply(Bytes::from(std::mem::take(&mut self.replies)));
        }
    }
}

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(self.turn_left);
        if wanted == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let buffer = &mut buffer[..wanted];
        let count = if self.read_before.is_empty() {
            self.viewer.read(buffer)?
        } else {
            let count = buffer.len().min(self.read_before.len());
            buffer[..count].copy_from_slice(&self.read_before.split_to(count));
            count
        };
        self.turn_left -= count;
        self.unfinished += count;
        Ok(count)
    }
}

impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_burst_and_then_keep_the_rate() {
        let mut rate = MessageRate::new(10, 0);
        assert_eq!(
            (0..100).filter(|_| rate.allows(0)).count(),
            50,
            "five seconds' worth at once"
        );
        assert_eq!(
            (0..100).filter(|_| rate.allows(200)).count(),
            2,
            "two more after 200 ms"
        );
    }
}
