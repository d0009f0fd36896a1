//! What happens to the feed, and what is to be done then.

use pulseboard_shared::protocol::metrics::ClientMessage;

use super::view::View;
use crate::net::{probe::Diagnosis, transport::Transport};

/// One tick: when it was sampled and the four built-in figures, NaN where there was none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Unix milliseconds of the server's clock.
    pub t_ms: f64,
    /// In the order of [`BUILT_IN`](pulseboard_shared::BUILT_IN).
    pub values: [f64; 4],
}

impl Row {
    /// No requests and 0 ms is how a tick says that nobody asked: then there was no latency.
    pub(super) fn without_waiting(&mut self) {
        let [.., requests, latency] = &mut self.values;
        if *requests == 0.0 && *latency == 0.0 {
            *latency = f64::NAN;
        }
    }
}

/// Where this page is in the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log.
    pub epoch: String,
    /// The newest tick that arrived.
    pub offset: u64,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The page wants to be connected.
    Start,
    /// The socket opened; that alone proves nothing (proxies open sockets to dead servers).
    Opened,
    /// A text frame arrived.
    Text(&'a str),
    /// A binary frame arrived.
    Bytes(&'a [u8]),
    /// The transport that [`Action::ProbeBetter`] asked for has brought a frame, which comes next;
    /// the connection that was in use is closed.
    Improved(Transport),
    /// It has not, or not in time.
    ProbeFailed,
    /// An event stream would be one too many for this browser.
    Crowded,
    /// The socket closed or could not be opened.
    Closed {
        /// RFC 6455 §7.4.
        code: u16,
        /// The server's words, often empty.
        reason: &'a str,
    },
    /// The time that [`super::Feed::wake_at`] named has come.
    Wake,
    /// The page came back to the front or the network came back: a good moment to try.
    Nudge,
    /// The browser says whether there is a network.
    Network {
        /// `navigator.onLine`.
        online: bool,
    },
    /// The answer to [`Action::Probe`].
    Probed(Option<Diagnosis>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a connection of this kind, with this cursor in its address.
    Connect(Transport, Option<Cursor>),
    /// Open a connection of this better kind beside the one in use, with this cursor.
    ProbeBetter(Transport, Option<Cursor>),
    /// This was how long a tick took to come here.
    Timed(Timing),
    /// Send this on the open socket.
    Send(ClientMessage),
    /// Close the socket and listen to it no more.
    Close,
    /// Find out by other means what is wrong with the server.
    Probe,
    /// New figures.
    Apply(Update),
    /// The connection is now to be shown like this.
    Show(View),
}

/// How long a tick was on its way; all in Unix milliseconds of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// When it was sampled.
    pub sampled_ms: f64,
    /// When the server handed it to its viewers.
    pub sent_ms: f64,
    /// When it was here.
    pub arrived_ms: f64,
}

/// New figures for the stores.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The server's whole window; the statistics begin anew from it.
    Window {
        /// Oldest first.
        rows: Vec<Row>,
        /// Ticks in a full window.
        window: u64,
        /// Nominal milliseconds between ticks.
        interval_ms: u64,
        /// The server has begun a new log since the page last heard of it.
        restarted: bool,
    },
    /// What came after the newest tick so far, oldest first.
    Rows(Vec<Row>),
    /// Ticks that this page was too slow for, in one piece.
    Merged {
        /// Least, greatest and newest figures, all at the time of the newest.
        rows: [Row; 3],
        /// How many they were.
        ticks: u64,
    },
}
