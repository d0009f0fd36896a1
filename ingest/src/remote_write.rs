//! Prometheus remote write 1.0 and 2.0: the protobuf message behind snappy (which is
//! [`crate::decompress`]'s), read in place; and written ([`Writer`], [`WriterV2`]).
//!
//! - `__name__` is the metric's name. A refused series loses only itself; `line` is its number in
//!   the message, from 1.
//! - The stale marker passes as the value's bits.
//! - Native histograms become `_count`, `_sum` and cumulative `_bucket{le}` series. Exemplars are
//!   not kept, which the answer's header says.
//! - 1.0 brings types, helps and units in messages of their own ([`metadata`]), 2.0 with each
//!   series. Without them a name that ends in `_total` is a counter's.
//!
//! Specifications: <https://prometheus.io/docs/specs/prw/remote_write_spec/> and
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

mod encode;
mod histogram;
mod series;
mod v1;
mod v2;
mod written;

use pulseboard_series::Batch;

pub use encode::{Writer, WriterV2};
pub use v1::{Metadata, metadata};
pub use written::Written;

use crate::BodyError;

/// Which message a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// From `Content-Type`: `application/x-protobuf`, with `proto=prometheus.WriteRequest`,
    /// `proto=io.prometheus.write.v2.Request` or neither (1.0). `None` for anything else, which
    /// 2.0 wants answered with 415.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        if !kind.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut version = Self::V1;
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if !name.trim().eq_ignore_ascii_case("proto") {
                continue;
            }
            version = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Self::V1,
                "io.prometheus.write.v2.Request" => Self::V2,
                _ => return None,
            };
        }
        Some(version)
    }
}

/// Reads an unpacked message.
///
/// # Errors
/// It is not such a message; the batch is empty then.
pub fn parse(version: Version, message: &[u8], batch: &mut Batch) -> Result<Written, BodyError> {
    let (what, read) = match version {
        Version::V1 => ("remote write 1.0 request", v1::parse(message, batch)),
        Version::V2 => ("remote write 2.0 request", v2::parse(message, batch)),
    };
    read.map_err(|error| {
        batch.clear();
        error.in_body(what)
    })
}

#[cfg(test)]
mod tests;
