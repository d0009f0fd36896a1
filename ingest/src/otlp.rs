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
//! time: those of one request are put in order, one that was counted is not counted again, and one
//! that comes too late is rejected.
//! Attributes are labels (see `labels.rs`). Units go to the series' description; times are cut to
//! milliseconds and 0 is the moment of arrival; a point with the flag "no recorded value" becomes
//! the stale marker. Exemplars are not kept. A refused point loses only itself; `line` is its
//! number in the request, from 1.
//!
//! Memory beside the batch: protobuf is read point by point, each at most [`POINT_BYTES_MAX`], and
//! for a long one memory is asked for before it is decoded ([`Batch::hold`]); JSON is read as a
//! whole, at most [`JSON_OBJECTS_MAX`] objects.

mod answer;
mod encoding;
pub mod grpc;
mod json;
mod labels;
mod model;
mod order;
mod points;

use std::{fmt, rc::Rc};

use prost::Message;
use pulseboard_series::Batch;

pub use crate::delta::{DeltaTotals, Known};
pub use answer::{Points, response, retry_status, status};
pub use encoding::Encoding;

use crate::{
    BodyError,
    huge::{self, is_huge},
    wire::{Fields, WireError},
};
use labels::Labels;
use model::{Data, ExponentialPoint, HistogramPoint, NumberPoint, Resource, Scope, SummaryPoint};
use order::{Later, Order};
use points::{Metric, Writer};

/// Bytes of one data point (or one resource) in protobuf.
pub const POINT_BYTES_MAX: usize = 1 << 20;

/// A shorter one is decoded without asking for memory.
const POINT_BYTES_FREE: usize = 8 * 1024;

/// Bytes that a byte of one may become: an empty attribute takes two of them and becomes this, in a
/// list that has room for up to twice as many, and then a label.
const DECODED_RATIO: usize = size_of::<model::KeyValue>() + size_of::<(String, String)>();

/// Objects (`{`) in one JSON body.
pub const JSON_OBJECTS_MAX: usize = 300_000;

/// Of so many nobody is asked for memory; any small body has fewer.
const JSON_OBJECTS_FREE: usize = 4_096;

/// What each takes once it is read, at most, in bytes.
const JSON_OBJECT_BYTES: usize = 300;

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

/// `None`: there is no memory for it, which the batch remembers.
fn decode<M: Message + Default>(
    message: &[u8],
    writer: &mut Writer<'_>,
) -> Result<Option<M>, Wrong> {
    if message.len() > POINT_BYTES_MAX {
        return Err(Wrong::TooLarge);
    }
    if message.len() > POINT_BYTES_FREE && !writer.hold_once(message.len() * DECODED_RATIO) {
        return Ok(None);
    }
    M::decode(message).map(Some).map_err(Wrong::Decode)
}

/// `ExportMetricsServiceRequest`: resource metrics (1), of which resource (1) and scope metrics
/// (2), of which scope (1) and metrics (2).
fn protobuf(body: &[u8], writer: &mut Writer<'_>) -> Result<(), Wrong> {
    let mut later = is_out_of_order(body)?.then(Later::new);
    each(body, 1, |resource_metrics| {
        let mut resource: Option<Resource> = None;
        each(resource_metrics, 1, |message| {
            resource = decode(message, writer)?;
            Ok(())
        })?;
        each(resource_metrics, 2, |scope_metrics| {
            let mut scope: Option<Scope> = None;
            each(scope_metrics, 1, |message| {
                scope = decode(message, writer)?;
                Ok(())
            })?;
            writer.scope(resource.as_ref(), scope.as_ref());
            each(scope_metrics, 2, |message| {
                let Some(found) = Found::read(message)? else {
                    return Ok(());
                };
                match &mut later {
                    Some(later) if found.is_in_steps() => {
                        let place = Rc::new((found, writer.shared()));
                        each(found.data, 1, |point| match time_of(point)? {
                            0 => found.write(point, writer),
                            time_ns => {
                                let point = (Rc::clone(&place), point);
                                later.push(time_ns, writer.number(), point);
                                Ok(())
                            }
                        })
                    }
                    _ => each(found.data, 1, |point| found.write(point, writer)),
                }
            })
        })
    })?;
    for waiting in later.into_iter().flat_map(Later::into_order) {
        let (place, point) = waiting.point;
        let (found, shared): &(Found<'_>, Rc<Labels>) = &place;
        writer.go_back_to(shared, waiting.number);
        found.write(point, writer)?;
    }
    Ok(())
}

/// Whether differences are not in the order of time.
fn is_out_of_order(body: &[u8]) -> Result<bool, Wrong> {
    let mut order = Order::default();
    each(body, 1, |resource_metrics| {
        each(resource_metrics, 2, |scope_metrics| {
            each(scope_metrics, 2, |message| match Found::read(message)? {
                Some(found) if found.is_in_steps() => each(found.data, 1, |point| {
                    order.see(time_of(point)?);
                    Ok(())
                }),
                _ => Ok(()),
            })
        })
    })?;
    Ok(order.is_broken())
}

/// Field 3 of all kinds of points.
fn time_of(point: &[u8]) -> Result<u64, Wrong> {
    let mut time_ns = 0;
    let mut fields = Fields(point);
    while let Some((number, field)) = fields.next()? {
        if number == 3 {
            time_ns = field.double(3)?.to_bits();
        }
    }
    Ok(time_ns)
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

/// A metric that was found in a body: which data it has, and where its points are.
#[derive(Clone, Copy)]
struct Found<'a> {
    metric: Metric<'a>,
    /// The field that its data is in.
    kind: u32,
    data: &'a [u8],
}

impl<'a> Found<'a> {
    /// Name (1), unit (3) and one of gauge (5), sum (7), histogram (9), exponential histogram (10),
    /// summary (11).
    fn read(message: &'a [u8]) -> Result<Option<Self>, Wrong> {
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
        let Some((kind, data)) = data else {
            return Ok(None);
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
        Ok(Some(Self {
            metric: Metric {
                name,
                unit,
                temporality,
                is_monotonic,
            },
            kind,
            data,
        }))
    }

    fn is_in_steps(&self) -> bool {
        matches!(self.kind, 7 | 9 | 10) && self.metric.is_in_steps()
    }

    fn write(&self, point: &[u8], writer: &mut Writer<'_>) -> Result<(), Wrong> {
        let metric = &self.metric;
        match self.kind {
            5 => decode(point, writer)?.map(|point| writer.gauge(metric, &point)),
            7 => decode(point, writer)?.map(|point| writer.sum(metric, &point)),
            9 => decode(point, writer)?.map(|point| writer.histogram(metric, &point)),
            10 => decode(point, writer)?.map(|point| writer.exponential(metric, point)),
            _ => decode(point, writer)?.map(|point| writer.summary(metric, &point)),
        };
        Ok(())
    }
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
    if objects > JSON_OBJECTS_FREE && !writer.hold(objects * JSON_OBJECT_BYTES) {
        return Ok(());
    }
    let mut request = serde_json::from_slice(body);
    if request.as_ref().is_err_and(huge::is_cause) {
        if !writer.hold(body.len()) {
            return Ok(());
        }
        request = serde_json::from_slice(&huge::without_huge(body));
    }
    let request: model::Request = request.map_err(|error| BodyError::Json {
        line: error.line(),
        column: error.column(),
        message: crate::json::without_place(&error),
    })?;
    let mut order = Order::default();
    let scopes = request.resource_metrics.iter();
    let scopes = scopes.flat_map(|resource_metrics| &resource_metrics.scope_metrics);
    for metric in scopes.flat_map(|scope_metrics| &scope_metrics.metrics) {
        each_json(metric, |metric, point| {
            if point.is_in_steps(&metric) {
                order.see(point.time_ns());
            }
        });
    }
    let mut later = order.is_broken().then(Later::new);
    for resource_metrics in &request.resource_metrics {
        for scope_metrics in &resource_metrics.scope_metrics {
            writer.scope(
                resource_metrics.resource.as_ref(),
                scope_metrics.scope.as_ref(),
            );
            let shared = writer.shared();
            for metric in &scope_metrics.metrics {
                each_json(metric, |metric, point| match &mut later {
                    Some(later) if point.is_in_steps(&metric) && point.time_ns() > 0 => {
                        let place = (metric, Rc::clone(&shared), point);
                        later.push(point.time_ns(), writer.number(), place);
                    }
                    _ => point.write(&metric, writer),
                });
            }
        }
    }
    for waiting in later.into_iter().flat_map(Later::into_order) {
        let (metric, shared, point) = waiting.point;
        writer.go_back_to(&shared, waiting.number);
        point.write(&metric, writer);
    }
    Ok(())
}

/// A data point of any kind.
#[derive(Clone, Copy)]
enum AnyPoint<'a> {
    Gauge(&'a NumberPoint),
    Sum(&'a NumberPoint),
    Histogram(&'a HistogramPoint),
    Exponential(&'a ExponentialPoint),
    Summary(&'a SummaryPoint),
}

impl AnyPoint<'_> {
    fn is_in_steps(self, metric: &Metric<'_>) -> bool {
        !matches!(self, Self::Gauge(_) | Self::Summary(_)) && metric.is_in_steps()
    }

    fn time_ns(self) -> u64 {
        match self {
            Self::Gauge(point) | Self::Sum(point) => point.time_unix_nano,
            Self::Histogram(point) => point.time_unix_nano,
            Self::Exponential(point) => point.time_unix_nano,
            Self::Summary(point) => point.time_unix_nano,
        }
    }

    /// Whether one of its numbers is past the largest double.
    fn has_huge(self) -> bool {
        let any = |numbers: &[Option<f64>]| numbers.iter().flatten().any(|one| is_huge(*one));
        match self {
            Self::Gauge(point) | Self::Sum(point) => any(&[point.as_double]),
            Self::Histogram(point) => {
                any(&[point.sum, point.min, point.max])
                    || point.explicit_bounds.iter().any(|bound| is_huge(*bound))
            }
            Self::Exponential(point) => {
                any(&[point.sum, point.min, point.max, Some(point.zero_threshold)])
            }
            Self::Summary(point) => {
                let mut quantiles = point.quantile_values.iter();
                is_huge(point.sum)
                    || quantiles.any(|one| is_huge(one.quantile) || is_huge(one.value))
            }
        }
    }

    fn write(self, metric: &Metric<'_>, writer: &mut Writer<'_>) {
        if self.has_huge() {
            return writer.refuse(huge::WHY);
        }
        match self {
            Self::Gauge(point) => writer.gauge(metric, point),
            Self::Sum(point) => writer.sum(metric, point),
            Self::Histogram(point) => writer.histogram(metric, point),
            Self::Exponential(point) => writer.exponential(metric, point.clone()),
            Self::Summary(point) => writer.summary(metric, point),
        }
    }
}

/// Calls `take` with each point of a metric.
fn each_json<'a>(metric: &'a model::Metric, mut take: impl FnMut(Metric<'a>, AnyPoint<'a>)) {
    fn points<'a, P>(
        whole: &'a model::Metric,
        data: Option<&'a Data<P>>,
        kind: fn(&'a P) -> AnyPoint<'a>,
        take: &mut impl FnMut(Metric<'a>, AnyPoint<'a>),
    ) {
        let Some(data) = data else { return };
        let metric = Metric {
            name: &whole.name,
            unit: &whole.unit,
            temporality: data.aggregation_temporality,
            is_monotonic: data.is_monotonic,
        };
        for point in &data.data_points {
            take(metric, kind(point));
        }
    }
    let take = &mut take;
    points(metric, metric.gauge.as_ref(), AnyPoint::Gauge, take);
    points(metric, metric.sum.as_ref(), AnyPoint::Sum, take);
    points(metric, metric.histogram.as_ref(), AnyPoint::Histogram, take);
    let exponential = metric.exponential_histogram.as_ref();
    points(metric, exponential, AnyPoint::Exponential, take);
    points(metric, metric.summary.as_ref(), AnyPoint::Summary, take);
}

#[cfg(test)]
mod tests;
