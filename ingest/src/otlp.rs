//! OpenTelemetry metrics over HTTP (OTLP 1.x, `POST /v1/metrics`), protobuf and JSON.
//!
//! | a data point of | becomes |
//! |---|---|
//! | gauge | `name` |
//! | sum, cumulative | `name`, a counter when monotonic |
//! | sum, delta | `name` with the running total that [`DeltaTotals`] keeps |
//! | histogram | `name_bucket{le}` (cumulative), `name_count`, `name_sum`; `name_min`, `name_max` |
//! | exponential histogram | the same, with bounds computed and at most 160 buckets |
//! | summary | `name{quantile}`, `name_count`, `name_sum` |
//!
//! Delta histograms add up as delta sums do (minimum and maximum stay those of the interval),
//! exponential ones at the coarsest resolution that came so far. Differences follow one another in
//! time: one that was counted is not counted again, and one that comes too late is rejected.
//! Attributes are labels (see `labels.rs`). Units go to the series' description; times are cut to
//! milliseconds and 0 is the moment of arrival; a point with the flag "no recorded value" becomes
//! the stale marker. Exemplars are not kept. A refused point loses only itself; `line` is its
//! number in the request, from 1.
//!
//! Memory beside the batch: protobuf is read point by point, each at most [`POINT_BYTES_MAX`];
//! JSON is read as a whole, at most [`JSON_OBJECTS_MAX`] objects.

mod answer;
mod delta;
mod json;
mod labels;
mod model;
mod points;

use std::{collections::HashSet, fmt};

use prost::Message;
use pulseboard_series::Batch;

pub use answer::{response, status};
pub use delta::{DeltaTotals, Known};

use crate::{
    BodyError,
    wire::{Fields, WireError},
};
use model::{Data, ExponentialPoint, HistogramPoint, NumberPoint, Resource, Scope, SummaryPoint};
use points::{Metric, Writer};

/// Bytes of one data point (or one resource) in protobuf; what it decodes to is at most some eighty
/// times larger.
pub const POINT_BYTES_MAX: usize = 1 << 20;

/// Objects (`{`) in one JSON body; each takes up to 300 bytes once it is read.
pub const JSON_OBJECTS_MAX: usize = 300_000;

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// From `Content-Type`; `None` for another one, which is answered with 415.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let kind = value.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Self::Protobuf)
        } else if kind.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The content type of answers.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// How many data points a request had, for [`response`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// Written to the batch.
    pub accepted: u64,
    /// Refused, with their reasons in the batch.
    pub rejected: u64,
}

impl Points {
    /// These rows of the batch, in no order, were not taken after all; a data point of which one
    /// is missing counts as rejected.
    pub fn lose(&mut self, batch: &Batch, rows: &[u32]) {
        let rows = rows
            .iter()
            .filter_map(|row| batch.rows().get(*row as usize));
        let lost = rows.map(|row| row.line).collect::<HashSet<_>>().len() as u64;
        self.accepted = self.accepted.saturating_sub(lost);
        self.rejected += lost;
    }
}

/// Reads an unpacked request. `known` says where a delta series stands that `totals` does not know.
///
/// # Errors
/// It is not such a request; the batch is empty then. Totals may have grown by the points before
/// the break.
pub fn parse(
    encoding: Encoding,
    body: &[u8],
    totals: &mut DeltaTotals,
    known: Known<'_>,
    batch: &mut Batch,
) -> Result<Points, BodyError> {
    let mut writer = Writer::new(totals, known, batch);
    let read = match encoding {
        Encoding::Protobuf => protobuf(body, &mut writer).map_err(|error| BodyError::Protobuf {
            what: WHAT,
            why: error.to_string(),
        }),
        Encoding::Json => whole_json(body, &mut writer),
    };
    let points = writer.points();
    match read {
        Ok(()) => Ok(points),
        Err(error) => {
            batch.clear();
            Err(error)
        }
    }
}

const WHAT: &str = "OTLP metrics request";

/// What is wrong with a protobuf request.
enum Wrong {
    Wire(WireError),
    Decode(prost::DecodeError),
    TooLarge,
}

impl From<WireError> for Wrong {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::TooLarge => write!(
                f,
                "one data point or resource has more than {POINT_BYTES_MAX} bytes"
            ),
        }
    }
}

fn decode<M: Message + Default>(message: &[u8]) -> Result<M, Wrong> {
    if message.len() > POINT_BYTES_MAX {
        return Err(Wrong::TooLarge);
    }
    M::decode(message).map_err(Wrong::Decode)
}

/// `ExportMetricsServiceRequest`: resource metrics (1), of which resource (1) and scope metrics
/// (2), of which scope (1) and metrics (2).
fn protobuf(body: &[u8], writer: &mut Writer<'_>) -> Result<(), Wrong> {
    each(body, 1, |resource_metrics| {
        let mut resource: Option<Resource> = None;
        each(resource_metrics, 1, |message| {
            resource = Some(decode(message)?);
            Ok(())
        })?;
        each(resource_metrics, 2, |scope_metrics| {
            let mut scope: Option<Scope> = None;
            each(scope_metrics, 1, |message| {
                scope = Some(decode(message)?);
                Ok(())
            })?;
            writer.scope(resource.as_ref(), scope.as_ref());
            each(scope_metrics, 2, |message| metric(message, writer))
        })
    })
}

/// Calls `take` with each message in field `wanted`.
fn each<'a>(
    message: &'a [u8],
    wanted: u32,
    mut take: impl FnMut(&'a [u8]) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == wanted {
            take(field.bytes(wanted)?)?;
        }
    }
    Ok(())
}

/// Name (1), unit (3) and one of gauge (5), sum (7), histogram (9), exponential histogram (10),
/// summary (11).
fn metric(message: &[u8], writer: &mut Writer<'_>) -> Result<(), Wrong> {
    let (mut name, mut unit) = ("", "");
    let mut data = None;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text(1)?,
            3 => unit = field.text(3)?,
            5 | 7 | 9 | 10 | 11 => data = Some((number, field.bytes(number)?)),
            _ => {}
        }
    }
    let Some((number, data)) = data else {
        return Ok(());
    };
    // Temporality (2) and monotony (3) may stand behind the points (1).
    let (mut temporality, mut is_monotonic) = (0, false);
    let mut fields = Fields(data);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 => temporality = field.varint(2)?,
            3 => is_monotonic = field.varint(3)? != 0,
            _ => {}
        }
    }
    let metric = Metric {
        name,
        unit,
        temporality,
        is_monotonic,
    };
    each(data, 1, |message| {
        match number {
            5 => writer.gauge(&metric, &decode::<NumberPoint>(message)?),
            7 => writer.sum(&metric, &decode::<NumberPoint>(message)?),
            9 => writer.histogram(&metric, &decode::<HistogramPoint>(message)?),
            10 => writer.exponential(&metric, decode::<ExponentialPoint>(message)?),
            _ => writer.summary(&metric, &decode::<SummaryPoint>(message)?),
        }
        Ok(())
    })
}

fn whole_json(body: &[u8], writer: &mut Writer<'_>) -> Result<(), BodyError> {
    let objects = memchr::memchr_iter(b'{', body).count();
    if objects > JSON_OBJECTS_MAX {
        return Err(BodyError::Json {
            line: 1,
            column: 1,
            message: format!(
                "{objects} objects are more than {JSON_OBJECTS_MAX}; send several requests"
            ),
        });
    }
    let request: model::Request =
        serde_json::from_slice(body).map_err(|error| BodyError::Json {
            line: error.line(),
            column: error.column(),
            message: crate::json::without_place(&error),
        })?;
    for resource_metrics in request.resource_metrics {
        for scope_metrics in resource_metrics.scope_metrics {
            writer.scope(
                resource_metrics.resource.as_ref(),
                scope_metrics.scope.as_ref(),
            );
            for metric in scope_metrics.metrics {
                json_metric(metric, writer);
            }
        }
    }
    Ok(())
}

fn json_metric(metric: model::Metric, writer: &mut Writer<'_>) {
    let (name, unit) = (metric.name.as_str(), metric.unit.as_str());
    fn of<'a, P>(name: &'a str, unit: &'a str, data: &Data<P>) -> Metric<'a> {
        Metric {
            name,
            unit,
            temporality: data.aggregation_temporality,
            is_monotonic: data.is_monotonic,
        }
    }
    if let Some(data) = metric.gauge {
        for point in &data.data_points {
            writer.gauge(&of(name, unit, &data), point);
        }
    }
    if let Some(data) = metric.sum {
        for point in &data.data_points {
            writer.sum(&of(name, unit, &data), point);
        }
    }
    if let Some(data) = metric.histogram {
        for point in &data.data_points {
            writer.histogram(&of(name, unit, &data), point);
        }
    }
    if let Some(mut data) = metric.exponential_histogram {
        let points = std::mem::take(&mut data.data_points);
        for point in points {
            writer.exponential(&of(name, unit, &data), point);
        }
    }
    if let Some(data) = metric.summary {
        for point in &data.data_points {
            writer.summary(&of(name, unit, &data), point);
        }
    }
}

#[cfg(test)]
mod tests;
