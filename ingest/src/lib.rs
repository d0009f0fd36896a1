//! Wire formats of metrics: bytes in, a [`Batch`] of samples out. No I/O, no clock, no state but
//! what a caller hands in ([`DeltaTotals`], [`statsd::Aggregator`]); a time that the sender left
//! out is [`pulseboard_series::Row::NOW`].
//!
//! | module | what it reads |
//! |---|---|
//! | [`detect`] | `POST /push`: any of the text forms, recognised by content |
//! | [`text`] | `name value [ms]`, Prometheus text 0.0.4, OpenMetrics 1.0 |
//! | [`influx`] | Influx line protocol, v1 and v2 |
//! | [`json`] | objects, arrays and lines of them |
//! | [`remote_write`] | Prometheus remote write 1.0 and 2.0 |
//! | [`remote_read`] | questions of Prometheus remote read, and both forms of their answers |
//! | [`import`] | lines of series with their samples, as `GET /api/v1/export` writes them |
//! | [`otlp`] | OpenTelemetry metrics, protobuf and JSON |
//! | [`datadog`] | what Datadog's agent submits: series of API 1 and 2, checks |
//! | [`graphite`] | Graphite's plaintext, with tags |
//! | [`metric_family`] | Prometheus' exposition in protobuf |
//! | [`push_group`] | what is pushed to a group, as to the Pushgateway |
//! | [`statsd`] | StatsD and DogStatsD datagrams, added up between flushes |
//! | [`decompress`] | gzip, zlib, zstd and snappy, never past a limit |
//! | [`number`], [`time`] | floats to the last bit, times to milliseconds |
//!
//! A line or item that is not accepted goes to [`Batch::refuse`] with its number and its reason
//! and loses only itself. A body that is broken as a whole is a [`BodyError`]; the batch is then
//! empty.

pub mod datadog;
pub mod decompress;
pub mod detect;
pub mod graphite;
pub mod huge;
pub mod import;
pub mod influx;
pub mod json;
pub mod metric_family;
pub mod number;
pub mod otlp;
pub mod push_group;
pub mod remote_read;
pub mod remote_write;
pub mod statsd;
pub mod text;
pub mod time;

mod delta;
mod excerpt;
mod exponential;
mod lines;
mod series_parts;
#[cfg(test)]
mod testing;
mod wire;

pub use delta::{DeltaTotals, Known};
pub use pulseboard_series::Batch;

/// A body of which nothing can be taken; the text says what is wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// There is nothing but blanks in it.
    #[error(
        "the body is empty; accepted are `name value` lines, Prometheus text, Influx line protocol and JSON"
    )]
    Empty,
    /// It begins as JSON and breaks off or goes wrong.
    #[error("the body is not JSON at line {line}, column {column}: {message}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// It is not the protobuf message that it should be.
    #[error("the body is not a {what}: {why}")]
    Protobuf {
        /// Which message.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// One line of it is wrong, in a format that is taken as a whole.
    #[error("line {line}: {reason}")]
    Line {
        /// Line or item, from 1.
        line: u32,
        /// What is wrong with it.
        reason: pulseboard_series::Reason,
    },
}

impl BodyError {
    /// The line where it breaks, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        match self {
            Self::Json { line, .. } => u32::try_from(*line).unwrap_or(u32::MAX),
            Self::Line { line, .. } => *line,
            Self::Empty | Self::Protobuf { .. } => 1,
        }
    }
}
