//! An event stream within a connection of HTTP/2, where no socket is its own: what the viewer
//! writes waits here until hyper takes it as the answer's body, which it does as fast as the client
//! reads.
//!
//! ```text
//!   viewer ──send──▶ 64 KiB ──Body──▶ hyper ──the client's window──▶ the connection's socket
//!       ◀── full: WouldBlock, as of a socket; writable once something was taken
//! ```

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    mem::take,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::io::{Interest, Ready};

/// What may wait; beyond it the viewer is full, as one whose socket is.
const ROOM_BYTES: usize = 64 * 1024;

/// The viewer's end; dropping it ends the answer as broken, unless it was closed.
#[derive(Debug)]
pub struct Pipe {
    shared: Arc<Mutex<Shared>>,
    peer: SocketAddr,
}

/// hyper's end: the body of the answer. Dropping it tells the viewer that its client is gone.
#[derive(Debug)]
pub struct PipeBody(Arc<Mutex<Shared>>);

/// A leaf lock.
#[derive(Default)]
struct Shared {
    waiting: BytesMut,
    /// The viewer writes nothing more.
    closed: bool,
    /// The viewer went without a word.
    broken: bool,
    /// Nobody takes anything more.
    gone: bool,
    viewer: Option<Waker>,
    body: Option<Waker>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("waiting", &self.waiting.len())
            .field("closed", &self.closed)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// Both ends of a stream of the client at `peer`.
#[must_use]
pub fn pipe(peer: SocketAddr) -> (Pipe, PipeBody) {
    let shared = Arc::<Mutex<Shared>>::default();
    let body = PipeBody(Arc::clone(&shared));
    (Pipe { shared, peer }, body)
}

impl Pipe {
    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn send(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut shared = self.shared.lock();
        if shared.gone || shared.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut room = ROOM_BYTES.saturating_sub(shared.waiting.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for piece in pieces {
            let piece = piece.get(..piece.len().min(room)).unwrap_or_default();
            shared.waiting.extend_from_slice(piece);
            room -= piece.len();
            taken += piece.len();
        }
        let waker = shared.body.take();
        drop(shared);
        wake(waker);
        Ok(taken)
    }

    /// The client has nothing to say, but it may go.
    pub(super) fn read(&self) -> io::Result<usize> {
        match self.shared.lock().gone {
            true => Ok(0),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> Ready {
        poll_fn(|context| {
            let mut shared = self.shared.lock();
            if shared.gone {
                return Poll::Ready(Ready::READABLE | Ready::READ_CLOSED);
            }
            if interest.is_writable() && shared.waiting.len() < ROOM_BYTES {
                return Poll::Ready(Ready::WRITABLE);
            }
            shared.viewer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(super) fn close(&self) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        let waker = shared.body.take();
        drop(shared);
        wake(waker);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.broken = !shared.closed;
        let waker = shared.body.take();
        drop(shared);
        wake(waker);
    }
}

impl Body for PipeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut shared = self.0.lock();
        if shared.broken {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if shared.waiting.is_empty() {
            if shared.closed {
                return Poll::Ready(None);
            }
            shared.body = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = take(&mut shared.waiting).freeze();
        let waker = shared.viewer.take();
        drop(shared);
        wake(waker);
        Poll::Ready(Some(Ok(Frame::data(taken))))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.0.lock();
        shared.closed && !shared.broken && shared.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.gone = true;
        shared.waiting = BytesMut::new();
        let waker = shared.viewer.take();
        drop(shared);
        wake(waker);
    }
}

/// Never under the lock: a waker may run whatever it likes.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn ends() -> (Pipe, PipeBody) {
        pipe(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn send(pipe: &Pipe, bytes: &[u8]) -> io::Result<usize> {
        pipe.send(&[IoSlice::new(bytes)])
    }

    #[tokio::test]
    async fn what_is_written_is_the_body_and_it_ends() {
        let (pipe, body) = ends();
        assert_eq!(
            pipe.send(&[IoSlice::new(b"a"), IoSlice::new(b"bc")]).ok(),
            Some(3)
        );
        let reading = tokio::spawn(body.collect());
        tokio::task::yield_now().await;
        assert_eq!(send(&pipe, b"d").ok(), Some(1));
        pipe.close();
        let whole = reading.await.expect("no panic").expect("whole");
        assert_eq!(whole.to_bytes(), "abcd");
    }

    #[tokio::test]
    async fn a_full_one_blocks_until_something_is_taken() {
        let (pipe, mut body) = ends();
        let much = vec![0; ROOM_BYTES + 1];
        assert_eq!(send(&pipe, &much).ok(), Some(ROOM_BYTES));
        let full = send(&pipe, &much).expect_err("full");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let waiting = async {
            let ready = pipe.ready(Interest::READABLE | Interest::WRITABLE).await;
            assert!(ready.is_writable() && !ready.is_readable());
        };
        let taking = async {
            tokio::task::yield_now().await;
            let frame = body.frame().await.expect("a frame").expect("whole");
            assert_eq!(frame.into_data().expect("data").len(), ROOM_BYTES);
        };
        tokio::join!(waiting, taking);
        assert_eq!(send(&pipe, b"x").ok(), Some(1));
    }

    #[tokio::test]
    async fn each_end_hears_that_the_other_is_gone() {
        let (pipe, body) = ends();
        assert!(pipe.read().is_err());
        drop(body);
        assert!(pipe.ready(Interest::READABLE).await.is_read_closed());
        assert_eq!(pipe.read().ok(), Some(0));
        assert!(send(&pipe, b"x").is_err());

        let (pipe, mut body) = ends();
        drop(pipe);
        let broken = body.frame().await.expect("a word");
        assert!(broken.is_err(), "an answer that was cut does not end well");
    }
}
