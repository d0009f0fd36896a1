//! What Datadog's agent and its libraries submit: series of API 1 (JSON) and 2 (JSON and protobuf),
//! and checks.
//!
//! | a metric of type | becomes |
//! |---|---|
//! | gauge, or none | `name` |
//! | rate | `name`, per second as it was sent |
//! | count | `name`, a counter: the running total that [`DeltaTotals`] keeps |
//! | a check | `name`, its status: 0 OK, 1 warning, 2 critical, 3 unknown |
//!
//! - Names are kept as they were sent. A tag `k:v` is a label; one without a value has `true`, and
//!   one without a name is its value's (`:x` is `x`), as in DogStatsD; values of one that is there
//!   several times are joined by `,`.
//! - The host (`host`, or the resource of that type) is the label `host`, the device `device`; both
//!   beat tags of these names.
//! - A count is of the `interval` (seconds) before its time: one that is sent again counts once.
//! - A point that is `null`, or whose time or value is, is refused alone.
//! - Times are Unix seconds. `line` is the number of the series, from 1.
//!
//! Memory beside the batch is that of one series at a time, asked for beforehand where a body is
//! not short.
//!
//! Specifications: <https://docs.datadoghq.com/api/latest/metrics/>,
//! <https://docs.datadoghq.com/api/latest/service-checks/>, and the agent's
//! `agent_payload.proto` (`datadog.agentpayload.MetricPayload`).

mod json;
mod payload;
mod submitted;

use pulseboard_series::Batch;

use crate::{
    BodyError,
    delta::{DeltaTotals, Known},
    wire::WireError,
};

/// Bytes that a byte of a body may become while it is read: a tag, in a list that has room for
/// twice as many, takes three in JSON and two in protobuf.
const READ_RATIO: usize = size_of::<&str>() * 2;

/// A body of so many bytes is read without asking for memory.
const BODY_BYTES_FREE: usize = 64 * 1024;

/// How series are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`: both versions, whose fields have each their own names.
    Json,
    /// `application/x-protobuf`: version 2 alone.
    Protobuf,
}

impl Encoding {
    /// From `Content-Type`; whatever is not protobuf is JSON, which some clients do not name.
    #[must_use]
    pub fn from_content_type(value: &str) -> Self {
        let kind = value.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/x-protobuf") {
            Self::Protobuf
        } else {
            Self::Json
        }
    }
}

/// Reads series. `known` says where a count's series stands that `totals` does not know.
///
/// # Errors
/// It is no such body; the batch is empty then. Totals may have grown by the series before the
/// break.
pub fn series(
    encoding: Encoding,
    body: &[u8],
    totals: &mut DeltaTotals,
    known: Known<'_>,
    batch: &mut Batch,
) -> Result<(), BodyError> {
    read(body, batch, |batch| match encoding {
        Encoding::Json => json::series(body, totals, known, batch).map_err(json_error),
        Encoding::Protobuf => {
            let read = payload::series(body, totals, known, batch);
            read.map_err(|error: WireError| error.in_body("Datadog MetricPayload"))
        }
    })
}

/// Reads checks: one, or an array of them.
///
/// # Errors
/// It is no such body; the batch is empty then.
pub fn checks(body: &[u8], batch: &mut Batch) -> Result<(), BodyError> {
    read(body, batch, |batch| {
        json::checks(body, batch).map_err(json_error)
    })
}

fn read(
    body: &[u8],
    batch: &mut Batch,
    read: impl FnOnce(&mut Batch) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    if body.len() > BODY_BYTES_FREE && !batch.hold(body.len() * READ_RATIO) {
        return Ok(());
    }
    let read = read(batch);
    if read.is_err() {
        batch.clear();
    }
    read
}

fn json_error(error: serde_json::Error) -> BodyError {
    BodyError::Json {
        line: error.line(),
        column: error.column(),
        message: crate::json::without_place(&error),
    }
}

#[cfg(test)]
mod tests;
