//! One point that becomes several series: the buckets, sum and count of a histogram, the quantiles
//! of a summary. All of them or none are written.

use pulseboard_series::{Batch, Kind, Reason};

/// Name, labels and place of a point.
#[derive(Debug)]
pub(crate) struct Point<'a, L> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a [(L, L)],
    /// Of the sum; counts have none.
    pub(crate) unit: &'a str,
    pub(crate) line: u32,
    pub(crate) at_ms: Option<i64>,
}

impl<L: AsRef<str>> Point<'_, L> {
    /// Writes one of its series.
    pub(crate) fn write(
        &self,
        suffix: &str,
        label: Option<(&str, &str)>,
        kind: Kind,
        unit: &str,
        value: f64,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        batch.begin(&[self.name, suffix])?;
        for (name, value) in self.labels {
            batch.label(name.as_ref(), value.as_ref())?;
        }
        if let Some((name, value)) = label {
            batch.label(name, value)?;
        }
        if (kind, unit) != (Kind::Unknown, "") {
            batch.describe(kind, unit);
        }
        batch.finish(self.line, self.at_ms, value)
    }

    /// `_count` or `_bucket`: a number of observations.
    pub(crate) fn count(
        &self,
        suffix: &str,
        label: Option<(&str, &str)>,
        count: f64,
        batch: &mut Batch,
    ) -> Result<(), Reason> {
        self.write(suffix, label, Kind::Distribution, "", count, batch)
    }

    /// `_sum`: what the observations come to.
    pub(crate) fn sum(&self, sum: f64, batch: &mut Batch) -> Result<(), Reason> {
        self.write("_sum", None, Kind::Distribution, self.unit, sum, batch)
    }
}

/// Writes with `write`, and takes everything back when that fails.
pub(crate) fn whole(
    batch: &mut Batch,
    write: impl FnOnce(&mut Batch) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let before = batch.rows().len();
    let written = write(batch);
    if written.is_err() {
        batch.undo_to(before);
    }
    written
}

/// A bound or quantile as a label's value: `0.5`, `1e30`, `+Inf`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}
