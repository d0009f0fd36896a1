//! One series or check as it was submitted, and how it becomes rows.

use std::borrow::Cow;

use pulseboard_series::{Batch, Kind, Reason};

use crate::{
    delta::{DeltaTotals, Known},
    huge::{self, is_huge},
    statsd::{join_tags, read_tag},
    time::not_now,
};

const NS_PER_S: f64 = 1e9;

/// What the values of a series are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Type {
    /// What is now; also where nobody said.
    #[default]
    Gauge,
    /// How many there were in the interval.
    Count,
    /// How many a second there were in it.
    Rate,
}

/// One series with its points: time in Unix seconds, value.
#[derive(Debug, Default)]
pub(super) struct Series<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) kind: Type,
    pub(super) points: Vec<(f64, f64)>,
    /// Points without a time or a value, which JSON may have.
    pub(super) empty_points: u32,
    pub(super) labels: LabelSource<'a>,
    pub(super) unit: Cow<'a, str>,
    /// Seconds; 0 where nobody said.
    pub(super) interval: f64,
}

/// What becomes labels.
#[derive(Debug, Default)]
pub(super) struct LabelSource<'a> {
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) device: Option<Cow<'a, str>>,
    pub(super) tags: Vec<Cow<'a, str>>,
}

impl LabelSource<'_> {
    /// Names and values, sorted by name, each name once.
    fn labels(&self) -> Vec<(&str, Cow<'_, str>)> {
        let own = [("host", &self.host), ("device", &self.device)];
        let own = own.map(|(name, value)| (name, value.as_deref().unwrap_or_default()));
        let tags = self.tags.iter().filter_map(|tag| read_tag(tag));
        let tags = tags.filter(|(tag, _)| {
            own.iter()
                .all(|(name, value)| name != tag || value.is_empty())
        });
        join_tags(own.into_iter().chain(tags))
    }

    fn write(&self, batch: &mut Batch) -> Result<(), Reason> {
        for (name, value) in self.labels() {
            batch.label(name, &value)?;
        }
        Ok(())
    }
}

/// Adds what is submitted to a batch.
pub(super) struct Writer<'a> {
    pub(super) totals: &'a mut DeltaTotals,
    pub(super) known: Known<'a>,
    pub(super) batch: &'a mut Batch,
    /// Series so far.
    pub(super) line: u32,
}

impl Writer<'_> {
    pub(super) fn write(&mut self, mut series: Series<'_>) {
        self.line = self.line.saturating_add(1);
        if self.batch.is_hopeless() {
            self.batch.refuse_unread(1);
            return;
        }
        for _ in 0..series.empty_points {
            let why = "a point has no value".to_owned();
            self.batch.refuse(self.line, Reason::Malformed(why));
        }
        if series.points.is_empty() && series.empty_points == 0 {
            let why = "the series has no points".to_owned();
            self.batch.refuse(self.line, Reason::Malformed(why));
        }
        // Counts follow one another in time.
        series
            .points
            .sort_by(|one, other| one.0.total_cmp(&other.0));
        let points = std::mem::take(&mut series.points);
        for (seconds, value) in points {
            let before = self.batch.rows().len();
            if let Err(reason) = self.point(&series, seconds, value) {
                self.batch.undo_to(before);
                self.batch.refuse(self.line, reason);
            }
        }
    }

    fn point(&mut self, series: &Series<'_>, seconds: f64, value: f64) -> Result<(), Reason> {
        if is_huge(value) || is_huge(series.interval) {
            return Err(Reason::Malformed(huge::WHY.to_owned()));
        }
        let at_ms = millis(seconds)?;
        self.batch.begin(&[&*series.name])?;
        series.labels.write(self.batch)?;
        let kind = match series.kind {
            Type::Count => Kind::Counter,
            Type::Gauge | Type::Rate => Kind::Gauge,
        };
        self.batch.describe(kind, &series.unit);
        self.batch.finish(self.line, Some(at_ms), value)?;
        if series.kind == Type::Count
            && let Some(row) = self.batch.rows().last()
        {
            if value < 0.0 {
                let why = format!("a count of {value}; a count is never less than 0");
                return Err(Reason::Malformed(why));
            }
            // Where no interval is given, only the order of the times counts.
            let from = match series.interval > 0.0 {
                true => nanos(seconds - series.interval),
                false => 0,
            };
            let span = (from, nanos(seconds));
            let key = self.batch.key(row).as_bytes();
            let total = self.totals.add(key, span, value, self.known)?;
            self.batch.replace_newest_value(total);
        }
        Ok(())
    }
}

/// A check's status as a row.
pub(super) fn write_check(
    line: u32,
    name: &str,
    status: u8,
    seconds: Option<f64>,
    labels: &LabelSource<'_>,
    batch: &mut Batch,
) -> Result<(), Reason> {
    if status > 3 {
        return Err(Reason::Malformed(format!(
            "status {status}; a check has 0, 1, 2 or 3"
        )));
    }
    let at_ms = seconds.map(millis).transpose()?;
    batch.begin(&[name])?;
    labels.write(batch)?;
    batch.describe(Kind::Gauge, "");
    batch.finish(line, at_ms, f64::from(status))
}

/// Unix milliseconds, the nearest: a double says seconds to some 200 ns, on either side. At the
/// ends of the range it stays there, and is refused later.
fn millis(seconds: f64) -> Result<i64, Reason> {
    if is_huge(seconds) {
        return Err(Reason::Malformed(huge::WHY.to_owned()));
    }
    if !seconds.is_finite() {
        return Err(Reason::Malformed(format!("{seconds} is no time")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let ms = (seconds * 1000.0).round() as i64;
    Ok(not_now(ms))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and there is no time before 1970"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * NS_PER_S) as u64
}
