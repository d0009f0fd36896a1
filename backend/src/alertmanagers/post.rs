//! What an Alertmanager is sent: alerts under the labels that the file makes of theirs. Pure.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_alerting::AlertEvent;
use pulseboard_scrape::{
    LabelSet,
    alertmanagers::{Found, Section},
    relabel,
};
use pulseboard_shared::{AlertState, Labels, Timestamp};
use serde::Serialize;

/// One that is not said again is over after so long: four times the time between two sayings.
const HOLDS_MS: i64 = 4 * super::book::AGAIN_MS;

/// Bytes of one request, past its first alert.
const BODY_BYTES_MAX: usize = 4 << 20;

/// An alert on its way, by its number.
pub(super) type Numbered = (u64, Arc<AlertEvent>, Arc<Labels>);

/// A request, and what stands in it.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) body: Bytes,
    pub(super) sent: Vec<(u64, AlertState)>,
    /// What a rule dropped.
    pub(super) dropped: Vec<(u64, AlertState)>,
    /// What found no room in this one.
    pub(super) left: Vec<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a LabelSet,
    annotations: Labels,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL")]
    generator_url: String,
}

/// Writes alerts as they are now. `generator` says where the page shows an expression.
pub(super) fn make(
    alerts: Vec<Numbered>,
    (found, section): (&Found, &Section),
    now_ms: i64,
    generator: impl Fn(&str) -> String,
) -> Made {
    let mut made = Made::default();
    let mut body = Vec::from(*b"[");
    for (number, event, labels) in alerts {
        if body.len() > BODY_BYTES_MAX {
            made.left.push(number);
            continue;
        }
        let state = event.alert.state;
        let rules = [found.rules.as_slice(), section.rules.as_slice()];
        let told = relabel::told(&*labels, &found.external_labels, &rules);
        let Some(labels) = told else {
            made.dropped.push((number, state));
            continue;
        };
        let expr = event.detail.as_deref().map_or("", |detail| &detail.expr);
        let starts_at = event.alert.started;
        let posted = Posted {
            labels: &labels,
            annotations: event.annotations(),
            starts_at,
            ends_at: match state {
                AlertState::Firing => Timestamp::from_millis(now_ms + HOLDS_MS),
                // A clock that was set back ends nothing before it began, which would be refused.
                AlertState::Resolved => event.alert.timestamp.max(starts_at),
            },
            generator_url: generator(expr),
        };
        if !made.sent.is_empty() {
            body.push(b',');
        }
        // Into memory, and of texts and times alone.
        if serde_json::to_writer(&mut body, &posted).is_ok() {
            made.sent.push((number, state));
        }
    }
    body.push(b']');
    made.body = body.into();
    made
}
