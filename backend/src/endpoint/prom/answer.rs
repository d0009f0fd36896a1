//! The envelope of all answers: `{"status":"success","data":…}`, or what went wrong.

use pulseboard_engine::query::QueryError;
use pulseboard_promql::{EvalError, Labels};
use salvo::{
    Response,
    http::{HeaderValue, StatusCode, header},
};
use serde_json::json;

use crate::{
    base::{error::AppError, json::json_text},
    expressions::read_error,
    http::{counted::send_text, error::Render, pieces::Ended},
    questions::{ANSWERS_RETRY_S, Finished, Text},
};

/// What Prometheus says of its answers: JSON is UTF-8 anyway.
const JSON: &str = "application/json";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ApiError {
    /// What is asked for cannot be read.
    BadData(String),
    /// It cannot be answered.
    Eval(EvalError),
    /// Who asks may not, or everything is busy: as everywhere else.
    App(AppError),
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error.status() {
            StatusCode::BAD_REQUEST => Self::BadData(error.detail().to_owned()),
            _ => Self::App(error),
        }
    }
}

impl From<EvalError> for ApiError {
    fn from(error: EvalError) -> Self {
        Self::Eval(error)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::Eval(read_error(error))
    }
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Self::Failed(error.into_app_error())
    }
}

impl ApiError {
    /// As it is told where an answer is written piece by piece, and errors are as everywhere else.
    fn into_app_error(self) -> AppError {
        match self {
            Self::App(error) => error,
            Self::BadData(error) => AppError::bad_request(error),
            Self::Eval(error) => {
                let (status, _) = kind_of(&error);
                match status {
                    StatusCode::SERVICE_UNAVAILABLE => {
                        AppError::unavailable(error.to_string(), ANSWERS_RETRY_S)
                    }
                    status => AppError::new(status, error.to_string()),
                }
            }
        }
    }
}

/// The status of what could not be evaluated, and what Prometheus calls it.
fn kind_of(error: &EvalError) -> (StatusCode, &'static str) {
    match error {
        EvalError::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
        EvalError::Canceled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
        EvalError::NoMemory(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        EvalError::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        EvalError::TooManySamples | EvalError::Execution(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "execution")
        }
    }
}

/// The time of what has never been, as Go writes it.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Writes what was answered.
pub(super) fn send(response: &mut Response, answered: Result<Finished, ApiError>) {
    let (status, kind, error) = match answered {
        Ok(text) => {
            send_text(response, text);
            let json = HeaderValue::from_static(JSON);
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return;
        }
        Err(ApiError::App(error)) => return error.render(response),
        Err(ApiError::BadData(error)) => (StatusCode::BAD_REQUEST, "bad_data", error),
        Err(ApiError::Eval(error)) => {
            let (status, kind) = kind_of(&error);
            (status, kind, error.to_string())
        }
    };
    response.status_code(status);
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    let body = json!({"status": "error", "errorType": kind, "error": error});
    response.body(body.to_string());
}

/// A small answer that is made at once.
pub(super) fn success(data: &serde_json::Value) -> Finished {
    let text = json!({"status": "success", "data": data}).to_string();
    Finished::Uncounted(text.into())
}

/// One label of a series.
pub(super) fn push_label(name: &str, value: &str, text: &mut String) {
    text.push_str(&json_text(&name));
    text.push(':');
    text.push_str(&json_text(&value));
}

/// `"metric":{…}` of a series.
pub(super) fn push_labels(text: &mut Text<'_>, labels: &Labels) -> Result<(), QueryError> {
    text.push("{")?;
    let mut comma = "";
    for (name, value) in labels.iter() {
        text.push(comma)?;
        text.push_json(&name)?;
        text.push(":")?;
        text.push_json(&value)?;
        comma = ",";
    }
    text.push("}")
}

/// A time in seconds, as Prometheus writes it: with milliseconds where there are any.
pub(super) fn seconds(at_ms: i64) -> String {
    let (whole, rest) = (at_ms / 1000, at_ms % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    let sign = if at_ms < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:03}", whole.abs(), rest.abs());
    text.trim_end_matches('0').to_owned()
}

/// A value of a series, as Prometheus writes it: very large and very small ones with an exponent.
pub(super) fn point(value: f64) -> String {
    let is_plain = value == 0.0 || (1e-6..1e21).contains(&value.abs());
    match is_plain {
        true => number(value),
        false => exponential(value),
    }
}

/// A number as Go writes it with an exponent: `9.34e+01`.
pub(super) fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return number(value);
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A scalar, as Prometheus writes it: without an exponent.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_values_are_as_prometheus_writes_them() {
        for (at_ms, text) in [
            (0, "0"),
            (1_500, "1.5"),
            (1_435_781_430_781, "1435781430.781"),
            (-500, "-0.5"),
            (10_010, "10.01"),
        ] {
            assert_eq!(seconds(at_ms), text);
        }
        for (value, text) in [
            (1e21, "1000000000000000000000"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (1e-7, "0.0000001"),
        ] {
            assert_eq!(number(value), text);
        }
        for (value, text) in [
            (1e21, "1e+21"),
            (-1.5e21, "-1.5e+21"),
            (999_999_999_999_999_900_000.0, "999999999999999900000"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(point(value), text);
        }
        for (value, text) in [
            (93.4, "9.34e+01"),
            (0.0, "0e+00"),
            (-0.005, "-5e-03"),
            (1e123, "1e+123"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(exponential(value), text);
        }
    }
}
