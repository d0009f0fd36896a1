//! A viewer's place in a feed, as it travels (`epoch:offset`) and as the fan-out uses it.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;

use super::{
    Feed,
    log::{Payload, Read},
};

/// `epoch:offset`: the last frame a client saw. The one cursor format of WebSockets (as two query
/// parameters) and event streams (`id:` and `Last-Event-ID`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names the log.
    pub epoch: String,
    /// The newest offset seen in it.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(())?;
        let offset = offset.parse().or(Err(()))?;
        Ok(Self {
            epoch: epoch.to_owned(),
            offset,
        })
    }
}

/// What the fan-out asks of a cursor, whatever its feed carries.
pub trait Member: Send {
    /// The next bytes to write, or `None` when the cursor is at the end.
    fn next(&mut self) -> Option<Bytes>;
    /// The offset of the next frame wanted.
    fn next_offset(&self) -> u64;
    /// How many frames were skipped so far because the viewer was too slow.
    fn skipped(&self) -> u64;
}

/// A cursor into a feed with the view that its frames are encoded for.
#[derive(Debug)]
pub struct Subscription<P: Payload> {
    feed: Arc<Feed<P>>,
    /// The next offset wanted.
    next: u64,
    view: P::View,
    skipped: u64,
}

impl<P: Payload> Subscription<P> {
    /// A cursor that gets the frames from `next` on.
    #[must_use]
    pub fn new(feed: Arc<Feed<P>>, next: u64, view: P::View) -> Self {
        Self {
            feed,
            next,
            view,
            skipped: 0,
        }
    }
}

impl<P: Payload> Member for Subscription<P> {
    fn next(&mut self) -> Option<Bytes> {
        loop {
            // The lock is released before anything is encoded.
            let bytes = match self.feed.with_log(|log| log.read(self.next)) {
                Read::UpToDate => return None,
                Read::Frame(frame) => {
                    self.next = frame.offset() + 1;
                    frame.encoded(&self.view)
                }
                Read::Behind { first, last, held } => {
                    self.next = last + 1;
                    self.skipped += last - first + 1;
                    P::merge(&held, first, last, &self.view)
                }
            };
            if !bytes.is_empty() {
                return Some(bytes);
            }
        }
    }

    fn next_offset(&self) -> u64 {
        self.next
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}
