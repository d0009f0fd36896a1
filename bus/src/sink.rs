//! Who is told what feeds carry, and what who publishes is told.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use pulseboard_feed::Epoch;
use tokio::sync::oneshot;

/// Who is told what a feed carries. It is called with a lock of this feed held, in the feed's
/// order: it puts what it is given somewhere and returns, and calls nothing of the bus.
pub trait FeedSink: Send + Sync {
    /// The next frame of an epoch; its offset is one more than that of the one before.
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes);

    /// Another epoch, or one of which frames are missing: everything that is held from
    /// `first_offset` on, which may be nothing. What came before is no longer true: whoever watches
    /// gets one snapshot.
    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>);

    /// An epoch that is this server's alone, while the others cannot be reached; frames come from
    /// `first_offset` on. Who keeps what it has may: nobody else is to have the same there.
    fn reset_alone(&self, epoch: Epoch, first_offset: u64) {
        self.reset(epoch, first_offset, Vec::new());
    }
}

/// Where a frame was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Here.
    At {
        /// The epoch.
        epoch: Epoch,
        /// Its offset there.
        offset: u64,
    },
    /// It was there already, since it had been sent before.
    Known,
    /// Somebody else was first.
    Late,
}

/// Says what became of a frame.
#[derive(Debug)]
pub struct Told(pub(crate) oneshot::Receiver<Placed>);

impl Future for Told {
    /// `None`: it waited for too long, and is no longer tried.
    type Output = Option<Placed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Placed>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No feed of its kind may have one of this size.
    #[error("a frame of {bytes} bytes is too large; {max} is the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// What waits for Redis takes all the memory that it may have.
    #[error("{0} bytes wait to be sent to the other servers, which is the most that may")]
    Full(usize),
}

/// Whether the other servers can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not been found out yet: the first seconds of a server.
    Joining,
    /// They can.
    Connected,
    /// They cannot: feeds are this server's own, under an epoch of their own.
    Alone {
        /// Since when, Unix milliseconds.
        since_ms: i64,
        /// Why, in words.
        why: Arc<str>,
    },
}

impl State {
    /// Whether this server goes on by itself though it is not meant to.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        matches!(self, Self::Alone { .. })
    }
}

/// Keeps a sink subscribed as long as it lives.
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Subscription {
    pub(crate) fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
