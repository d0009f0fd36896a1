//! The series that are ours to tell of a target: whether it answers, and how much.

use std::time::Duration;

use pulseboard_series::{Batch, Kind};

use crate::{exposition::Counts, labels::LabelSet};

/// What a scrape came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) is_up: bool,
    pub(crate) duration: Duration,
    pub(crate) counts: Counts,
    pub(crate) added: usize,
}

/// Name, unit and value.
pub(crate) type Own = (&'static str, &'static str, f64);

/// The series that are ours to tell of a target.
pub(crate) fn own(outcome: &Outcome) -> [Own; 5] {
    [
        ("up", "", f64::from(u8::from(outcome.is_up))),
        (
            "scrape_duration_seconds",
            "s",
            outcome.duration.as_secs_f64(),
        ),
        ("scrape_samples_scraped", "", outcome.counts.scraped as f64),
        (
            "scrape_samples_post_metric_relabeling",
            "",
            outcome.counts.kept as f64,
        ),
        ("scrape_series_added", "", outcome.added as f64),
    ]
}

/// Writes one of them.
pub(crate) fn push_own(batch: &mut Batch, (name, unit, value): Own, labels: &LabelSet, at_ms: i64) {
    let row = batch
        .begin(&[name])
        .and_then(|()| {
            labels
                .iter()
                .try_for_each(|(name, value)| batch.label(name, value))
        })
        .and_then(|()| {
            batch.describe(Kind::Gauge, unit);
            batch.finish(1, Some(at_ms), value)
        });
    if let Err(reason) = row {
        batch.refuse(1, reason);
    }
}
