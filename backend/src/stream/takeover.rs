//! Takes a connection's socket from hyper once its handler has answered.
//!
//! A viewer behind hyper would cost its read and write buffers, a connection state machine and a
//! task wake-up per frame. So a stream handler answers as usual (status and headers, through all
//! the middleware) and leaves a [`Claim`] in the request's extensions; the connection task then
//! takes the socket out of hyper before a byte of that answer is written, encodes the head, and
//! hands both over.

use std::{fmt, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use super::socket::Socket;

/// A socket that left HTTP.
#[derive(Debug)]
pub struct TakenSocket {
    /// The socket, with nothing of the answer written yet.
    pub stream: Socket,
    /// What the client sent after its request head.
    pub read: Bytes,
    /// The encoded head of the handler's answer: the first bytes to write.
    pub head: Bytes,
    /// The socket's place among the open files.
    pub file: Option<OwnedSemaphorePermit>,
}

type Claim = Box<dyn FnOnce(TakenSocket) + Send>;

/// Put into each request's extensions by the connection task.
#[derive(Clone, Default)]
pub struct Takeover(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    claim: Option<Claim>,
    head: Option<Bytes>,
}

impl Takeover {
    /// Asks for the connection's socket; `then` runs in the connection's task once the answer's
    /// head is known.
    pub fn claim(&self, then: impl FnOnce(TakenSocket) + Send + 'static) {
        self.0.lock().claim = Some(Box::new(then));
    }

    /// Whether the handler claimed the socket.
    #[must_use]
    pub fn claimed(&self) -> bool {
        self.0.lock().claim.is_some()
    }

    /// The handler's answer is known.
    pub(crate) fn set_head(&self, head: Bytes) {
        self.0.lock().head = Some(head);
    }

    /// The claim and the head, once both are there.
    pub(crate) fn take(&self) -> Option<(Claim, Bytes)> {
        let mut state = self.0.lock();
        let head = state.head.take()?;
        Some((state.claim.take()?, head))
    }

    /// Gives the claim up: the handler's answer turned out not to be a stream.
    pub(crate) fn release(&self) {
        let claim = self.0.lock().claim.take();
        drop(claim);
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover")
            .field("claimed", &self.claimed())
            .finish()
    }
}

/// Writes a response head (RFC 9112 §4, §5).
#[must_use]
pub fn encode_head(status: http::StatusCode, headers: &http::HeaderMap) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.put_slice(b"HTTP/1.1 ");
    head.put_slice(status.as_str().as_bytes());
    head.put_u8(b' ');
    head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.put_slice(b"\r\n");
    for (name, value) in headers {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head.freeze()
}
