//! When a rule would have fired.
use pulseboard_promql::Labels;
use serde::Serialize;

use crate::{group::Env, rule::Rule, state::State};

/// How much one rehearsal may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Evaluations.
    pub steps: usize,
    /// Alerts whose spans are told; of the others only the notifications are counted.
    pub series: usize,
    /// Spans of all of them.
    pub spans: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            steps: 50_000,
            series: 200,
            spans: 20_000,
        }
    }
}

/// A stretch during which an alert was one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    /// `pending` or `firing`.
    pub state: State,
    /// Unix milliseconds.
    pub start: i64,
    /// When it became something else, or the end of the rehearsal.
    pub end: i64,
    /// At its beginning; none where it is no finite number.
    pub value: Option<f64>,
}

/// The spans of one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Spans {
    /// Its labels.
    pub labels: Labels,
    /// In order.
    pub spans: Vec<Span>,
}

/// What a rule would have done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rehearsal {
    /// Alerts in the order of their labels.
    pub series: Vec<Spans>,
    /// Messages that would have been sent.
    pub notifications: u64,
    /// Whether there is more than `bounds` lets be told.
    pub truncated: bool,
    /// How many evaluations would have failed (the limit, series of the same labels), and the first
    /// error.
    pub failed: u64,
    /// The first of those errors.
    pub error: Option<String>,
}

/// Rehearses an alerting rule at `start_ms` and every `interval_ms` up to `end_ms`; `query_offset_ms`
/// and `limit` are its group's.
///
/// # Errors
/// It is no alerting rule, there are too many steps, or the expression fails as a whole; in words.
pub fn rehearse(
    rule: &Rule,
    (start_ms, end_ms, interval_ms): (i64, i64, i64),
    (query_offset_ms, limit): (i64, usize),
    env: &Env<'_>,
    bounds: Bounds,
) -> Result<Rehearsal, String> {
    let _ = (rule, start_ms, end_ms, interval_ms, query_offset_ms, limit, env, bounds);
    todo!()
}
