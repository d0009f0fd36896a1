//! What OTLP/HTTP answers, in the encoding of the request: `ExportMetricsServiceResponse` for 200,
//! `google.rpc.Status` for errors (OTLP 1.x, "OTLP/HTTP Response").

use std::collections::HashSet;

use prost::Message;
use pulseboard_series::{Batch, batch::Refused};
use serde_json::json;

use super::encoding::Encoding;

/// How many data points a request had, for [`response`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// Written to the batch.
    pub accepted: u64,
    /// Refused, with their reasons in the batch.
    pub rejected: u64,
    /// Attributes without a key, of points and resources, that were left out.
    pub nameless: u64,
}

impl Points {
    /// These rows of the batch, in no order, were not taken after all; a data point of which one
    /// is missing counts as rejected.
    pub fn reject_rows(&mut self, batch: &Batch, rows: &[u32]) {
        let rows = rows
            .iter()
            .filter_map(|row| batch.rows().get(*row as usize));
        let lost = rows.map(|row| row.line).collect::<HashSet<_>>().len() as u64;
        self.accepted = self.accepted.saturating_sub(lost);
        self.rejected += lost;
    }

    /// The message that a sender is told: of the first point that was refused, else of what was
    /// left out, else nothing.
    #[must_use]
    pub fn message(&self, refused: &[Refused]) -> String {
        match (refused.first(), self.nameless) {
            (Some(first), _) => format!("data point {}: {}", first.line, first.reason),
            (None, 0) => String::new(),
            (None, count) => format!("{count} attributes without a key were left out"),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_data_points: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`, by which a sender knows that it may send the same again.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

/// `google.protobuf.Duration` of whole seconds.
#[derive(Clone, PartialEq, Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// The body of a 200: everything was taken (`rejected` is 0 and there is no message), or all but
/// `rejected` data points. With a message alone it is a warning.
#[must_use]
pub fn response(encoding: Encoding, rejected: u64, message: &str) -> Vec<u8> {
    let is_whole = rejected == 0 && message.is_empty();
    match encoding {
        Encoding::Protobuf => Response {
            partial_success: (!is_whole).then(|| PartialSuccess {
                rejected_data_points: i64::try_from(rejected).unwrap_or(i64::MAX),
                error_message: message.to_owned(),
            }),
        }
        .encode_to_vec(),
        Encoding::Json if is_whole => b"{}".to_vec(),
        // Numbers of 64 bits are strings in protobuf's JSON.
        Encoding::Json => json!({"partialSuccess": {
            "rejectedDataPoints": rejected.to_string(),
            "errorMessage": message,
        }})
        .to_string()
        .into_bytes(),
    }
}

/// The body of an error: a `google.rpc.Status` with a code of gRPC (3 for a request that is wrong,
/// 8 for limits, 14 for try again later).
#[must_use]
pub fn status(encoding: Encoding, code: i32, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => Status {
            code,
            message: message.to_owned(),
            details: Vec::new(),
        }
        .encode_to_vec(),
        Encoding::Json => json!({"code": code, "message": message})
            .to_string()
            .into_bytes(),
    }
}

/// A `google.rpc.Status` that says after how many seconds the same may be sent again.
#[must_use]
pub fn retry_status(code: i32, message: &str, after_s: u32) -> Vec<u8> {
    let info = RetryInfo {
        retry_delay: Some(Seconds {
            seconds: after_s.into(),
        }),
    };
    Status {
        code,
        message: message.to_owned(),
        details: vec![Detail {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
    }
    .encode_to_vec()
}
