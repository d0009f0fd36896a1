//! Prometheus remote write 1.0 and 2.0: the protobuf message behind snappy (which is
//! [`crate::decompress`]'s), read in place.
//!
//! - `__name__` is the metric's name. A refused series loses only itself; `line` is its number in
//!   the message, from 1.
//! - The stale marker passes as the value's bits.
//! - Native histograms become `_count`, `_sum` and cumulative `_bucket{le}` series. Exemplars are
//!   not kept, which the answer's header says.
//! - 1.0 brings types and units in messages of their own ([`metadata`]), 2.0 with each series.
//!   Without them a name that ends in `_total` is a counter's.
//!
//! Specifications: <https://prometheus.io/docs/specs/prw/remote_write_spec/> and
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

mod histogram;
mod v1;
mod v2;

use std::{collections::BTreeSet, ops::Range};

use pulseboard_series::{Batch, Kind, Reason, limits::LABELS_MAX};

pub use v1::metadata;

use crate::{
    BodyError,
    series_parts::{Point, whole},
    wire::{Fields, WireError, signed},
};

/// Which message a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// From `Content-Type`: `application/x-protobuf`, with `proto=prometheus.WriteRequest`,
    /// `proto=io.prometheus.write.v2.Request` or neither (1.0). `None` for anything else, which
    /// 2.0 wants answered with 415.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        if !kind.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut version = Self::V1;
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if !name.trim().eq_ignore_ascii_case("proto") {
                continue;
            }
            version = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Self::V1,
                "io.prometheus.write.v2.Request" => Self::V2,
                _ => return None,
            };
        }
        Some(version)
    }
}

/// What was written, for the answer's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples; of a sender's view, so a histogram is none.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Always 0: exemplars are not kept.
    pub exemplars: u64,
    /// The rows of each histogram in the batch, in their order.
    histogram_rows: Vec<Range<u32>>,
}

impl Written {
    /// Names and values of the headers that 2.0 wants in every answer ("Required Written Response
    /// Headers").
    #[must_use]
    pub fn headers(&self) -> [(&'static str, u64); 3] {
        [
            ("X-Prometheus-Remote-Write-Samples-Written", self.samples),
            (
                "X-Prometheus-Remote-Write-Histograms-Written",
                self.histograms,
            ),
            (
                "X-Prometheus-Remote-Write-Exemplars-Written",
                self.exemplars,
            ),
        ]
    }
}

impl Written {
    /// These rows of the batch, in no order, were not taken after all; a histogram of which one is
    /// missing was not written.
    pub fn lose(&mut self, rows: &[u32]) {
        let mut lost = BTreeSet::new();
        for row in rows {
            let at = self
                .histogram_rows
                .partition_point(|range| range.end <= *row);
            match self.histogram_rows.get(at) {
                Some(range) if range.contains(row) => drop(lost.insert(at)),
                _ => self.samples = self.samples.saturating_sub(1),
            }
        }
        self.histograms = self.histograms.saturating_sub(lost.len() as u64);
    }

    /// Rows from `first` on are those of one histogram.
    fn count_histogram(&mut self, first: usize, batch: &Batch) {
        self.histograms += 1;
        let place = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        self.histogram_rows
            .push(place(first)..place(batch.rows().len()));
    }
}

/// Reads an unpacked message.
///
/// # Errors
/// It is not such a message; the batch is empty then.
pub fn parse(version: Version, message: &[u8], batch: &mut Batch) -> Result<Written, BodyError> {
    let (what, read) = match version {
        Version::V1 => ("remote write 1.0 request", v1::parse(message, batch)),
        Version::V2 => ("remote write 2.0 request", v2::parse(message, batch)),
    };
    read.map_err(|error| {
        batch.clear();
        error.in_body(what)
    })
}

/// The labels of one series; kept from series to series for its memory.
#[derive(Debug, Default)]
struct Labels<'a> {
    name: Option<&'a str>,
    others: Vec<(&'a str, &'a str)>,
    /// The first thing that is wrong with them.
    wrong: Option<Reason>,
}

impl<'a> Labels<'a> {
    fn clear(&mut self) {
        self.name = None;
        self.others.clear();
        self.wrong = None;
    }

    fn add(&mut self, name: &'a str, value: &'a str) {
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

    fn fail(&mut self, reason: Reason) {
        self.wrong.get_or_insert(reason);
    }
}

/// One series of a message: the fields that both versions share, written as they come.
struct Series<'a, 'b> {
    labels: &'b Labels<'a>,
    line: u32,
    kind: Kind,
    unit: &'a str,
    /// Whether the newest row of the batch is one of its samples.
    is_begun: bool,
}

impl<'a> Series<'a, '_> {
    /// Whether it may be written at all; a refusal is noted.
    fn is_accepted(&self, batch: &mut Batch) -> bool {
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
    fn sample(&mut self, message: &'a [u8], batch: &mut Batch) -> Result<bool, WireError> {
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
            batch.repeat(self.line, at_ms, value)
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
    fn histogram(&mut self, message: &[u8], batch: &mut Batch) -> Result<bool, WireError> {
        let histogram = histogram::Histogram::read(message)?;
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

/// What the numbers of `MetricType` mean, the same in both versions.
fn kind(metric_type: u64) -> Kind {
    match metric_type {
        1 => Kind::Counter,
        2 | 6 | 7 => Kind::Gauge,
        3..=5 => Kind::Distribution,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests;
