//! Words that the tests of all forms share.

use pulseboard_series::{Batch, Kind, Row};

/// `line key value[ @at_ms]` of each row.
pub(crate) fn rows(batch: &Batch) -> Vec<String> {
    batch
        .rows()
        .iter()
        .map(|row| {
            let at = match row.at_ms {
                Row::NOW => String::new(),
                at_ms => format!(" @{at_ms}"),
            };
            format!("{} {} {}{at}", row.line, batch.key(row), row.value)
        })
        .collect()
}

/// `line reason` of each refusal.
pub(crate) fn refusals(batch: &Batch) -> Vec<String> {
    batch
        .refused()
        .iter()
        .map(|refused| format!("{} {}", refused.line, refused.reason))
        .collect()
}

/// Kind and unit of each row.
pub(crate) fn described(batch: &Batch) -> Vec<(Kind, String)> {
    batch
        .rows()
        .iter()
        .map(|row| {
            let (kind, unit) = batch.description(row);
            (kind, unit.to_owned())
        })
        .collect()
}
