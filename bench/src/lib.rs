//! What the load clients and the floor share: how streams are framed, what is ingested, how a
//! server's processor time and memory are read, and how latencies are summed up.
//!
//! The programs are started by `cargo xtask bench fan-out` and `cargo xtask bench ingest`, which
//! pin each to a core, and by `cargo xtask bench hostile`. They read
//! `/proc` and wait with epoll, so they measure on Linux only.

#[cfg(target_os = "linux")]
pub mod hostile;
pub mod http;
pub mod latency;
#[cfg(target_os = "linux")]
pub mod process;
pub mod samples;
pub mod wire;

/// Which way a viewer watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// A WebSocket.
    Ws,
    /// Server-sent events.
    Sse,
}

/// Microseconds since the Unix epoch: the one clock that the two processes share.
#[must_use]
pub fn now_us() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}
