//! One series of a message, whichever version it is of.

use pulseboard_series::{Batch, Kind, Reason, limits::LABELS_MAX};

use super::histogram::Histogram;
use crate::{
    series_parts::{Point, whole},
    wire::{Fields, WireError, signed},
};

/// The labels of one series; kept from series to series for its memory.
#[derive(Debug, Default)]
pub(super) struct Labels<'a> {
    name: Option<&'a str>,
    others: Vec<(&'a str, &'a str)>,
    /// The first thing that is wrong with them.
    wrong: Option<Reason>,
}

impl<'a> Labels<'a> {
    pub(super) fn clear(&mut self) {
        self.name = None;
        self.others.clear();
        self.wrong = None;
    }

    pub(super) fn add(&mut self, name: &'a str, value: &'a str) {
        if name == "__name__" {
            if self.name.replace(value).is_some() {
                self.fail(Reason::LabelTwice(name.to_owned()));
            }
        } else if self.others.len() >= LABELS_MAX {
            self.fail(Reason::Labels);
        } else {
            self.others.push((name, value));
        }
    }

    pub(super) fn fail(&mut self, reason: Reason) {
        self.wrong.get_or_insert(reason);
    }
}

/// One series of a message: the fields that both versions share, written as they come.
pub(super) struct Series<'a, 'b> {
    pub(super) labels: &'b Labels<'a>,
    pub(super) line: u32,
    pub(super) kind: Kind,
    pub(super) unit: &'a str,
    /// Whether the newest row of the batch is one of its samples.
    pub(super) is_begun: bool,
}

impl<'a> Series<'a, '_> {
    /// Whether it may be written at all; a refusal is noted.
    pub(super) fn is_accepted(&self, batch: &mut Batch) -> bool {
        if batch.is_hopeless() {
            batch.refuse_unread(1);
            return false;
        }
        let reason = match (&self.labels.wrong, self.labels.name) {
            (Some(reason), _) => reason.clone(),
            (None, None) => Reason::Malformed("the label `__name__` is missing".to_owned()),
            (None, Some(_)) => return true,
        };
        batch.refuse(self.line, reason);
        false
    }

    /// Fields 1 and 2 of a sample; a later field 3 of 2.0 means nothing to us. `false`: the
    /// series is refused.
    pub(super) fn sample(
        &mut self,
        message: &'a [u8],
        batch: &mut Batch,
    ) -> Result<bool, WireError> {
        let (mut value, mut at_ms) = (0.0, 0);
        let mut fields = Fields(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => value = field.double(1)?,
                2 => at_ms = signed(field.varint(2)?),
                _ => {}
            }
        }
        let at_ms = Some(crate::time::not_now(at_ms));
        let written = if self.is_begun {
            batch.push_sample(self.line, at_ms, value)
        } else {
            self.begin(batch)
                .and_then(|()| batch.finish(self.line, at_ms, value))
        };
        self.is_begun = written.is_ok();
        if let Err(reason) = written {
            batch.refuse(self.line, reason);
        }
        Ok(self.is_begun)
    }

    fn begin(&self, batch: &mut Batch) -> Result<(), Reason> {
        let name = self.labels.name.unwrap_or_default();
        batch.begin(&[name])?;
        for (name, value) in &self.labels.others {
            batch.label(name, value)?;
        }
        if (self.kind, self.unit) != (Kind::Unknown, "") {
            batch.describe(self.kind, self.unit);
        } else if name.ends_with("_total") {
            batch.describe(Kind::Counter, "");
        }
        Ok(())
    }

    /// A native histogram. `false`: it is refused.
    pub(super) fn histogram(
        &mut self,
        message: &[u8],
        batch: &mut Batch,
    ) -> Result<bool, WireError> {
        let histogram = Histogram::read(message)?;
        self.is_begun = false;
        let point = Point {
            name: self.labels.name.unwrap_or_default(),
            labels: &self.labels.others,
            unit: self.unit,
            line: self.line,
            at_ms: Some(crate::time::not_now(histogram.at_ms)),
        };
        let written = whole(batch, |batch| histogram.write(&point, batch));
        if let Err(reason) = written {
            batch.refuse(self.line, reason);
            return Ok(false);
        }
        Ok(true)
    }
}

/// What the numbers of `MetricType` are called, the same in both versions.
pub(super) fn type_name(metric_type: u64) -> &'static str {
    match metric_type {
        1 => "counter",
        2 => "gauge",
        3 => "histogram",
        4 => "gaugehistogram",
        5 => "summary",
        6 => "info",
        7 => "stateset",
        _ => "unknown",
    }
}

/// What they mean for a series.
pub(super) fn kind(metric_type: u64) -> Kind {
    match metric_type {
        1 => Kind::Counter,
        2 | 6 | 7 => Kind::Gauge,
        3..=5 => Kind::Distribution,
        _ => Kind::Unknown,
    }
}
