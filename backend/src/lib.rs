//! Pulseboard's server: figures in, a rolling window, feeds, and viewers that follow them.
//!
//! | task or thread | state it owns | what wakes it | inbound bound, and what happens at it |
//! |---|---|---|---|
//! | `scheduler::Ticker` | source, appends to window and tick feed, rules | the clock | late ticks are skipped and counted |
//! | `scheduler::sweep_streams` | nothing | the clock, each second | – |
//! | `fan-out-N` (threads) | nothing; writes to sockets under each viewer's outbox lock | a feed that grew | dirty rosters, one entry a feed (coalesce) |
//! | `scheduler::keep_tallies` | nothing | the clock, each second | – |
//! | `scheduler::keep_house` | nothing; blocks for the disk on a thread for that | the clock, every 5 s | a round that is late comes later, never beside another |
//! | `log-writer` (threads) | the files of history and journal | a record | 64 MiB wait at most: refused (reject) |
//! | `watching::flush` | nothing | a watched series that grew | one entry a feed (coalesce) |
//! | `statsd::run` | nothing | datagrams | 4 096 datagrams and 4 MiB wait: dropped and counted (reject) |
//! | `statsd` (thread) | sums between flushes | a datagram, the clock | 100 000 metrics: refused and counted (reject) |
//! | `scheduler::gleaner` | names that ticks have pushed samples of; on a thread that may block | a tick | one look-up at a time: the next tick has the newest there is (coalesce) |
//! | `serve::accept` | listener | a connection | files in all: closed; each address's connections: 429; both counted (reject) |
//! | a connection | hyper's state until a stream takes the socket | the socket | one request at a time, head ≤ 64 KiB |
//! | a stream (`stream::ws::run`, `stream::sse::run`) | inbound protocol state | the socket, its viewer | replies ≤ 32: not read from meanwhile |
//!
//! **Invariants**: no viewer has a queue of its own; no handler awaits a slow client; the feeds
//! know nothing of HTTP; time comes from [`clock::Clock`] alone.

pub mod alerting;
pub mod app;
pub mod clock;
pub mod data_dir;
pub mod endpoint;
pub mod error;
pub mod feed;
pub mod http;
pub mod ingest;
pub mod journal;
mod lane;
pub mod live;
pub mod operator;
pub mod own;
pub mod questions;
pub mod refusals;
pub mod rooms;
pub mod scheduler;
pub mod serve;
pub mod settings;
pub mod shares;
pub mod source;
pub mod statsd;
pub mod storage;
pub mod stream;
pub mod tallies;
pub mod telemetry;
pub mod watching;
pub mod window;

pub use app::{App, run, run_with};

/// A message as JSON text. Our own types always serialise: they have text keys only, and numbers
/// that JSON lacks become `null`.
#[must_use]
pub fn json_text(message: &impl serde::Serialize) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written as JSON");
        "null".to_owned()
    })
}
