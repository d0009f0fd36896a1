//! Prometheus remote read: the questions of a request, and both forms of the answer; and the other
//! side of it, which asks one question and reads what it is told in samples.
//!
//! - Requests and sampled answers are one protobuf message behind snappy (which is
//!   [`crate::decompress`]'s and the caller's).
//! - Streamed answers are frames, each a length, a CRC-32C and a message, with samples as XOR
//!   chunks.
//!
//! Specification: <https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/>,
//! messages in `prompb/remote.proto` and `prompb/types.proto` of Prometheus.

mod answer;
mod client;
mod question;
mod xor;

pub use client::{Each, answer, ask};

pub use answer::{frame, result, series_chunks, series_samples};
pub use question::{MatchKind, Matcher, Question, Request, parse};
