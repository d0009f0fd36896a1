//! Data points as rows.

use std::{ops::RangeInclusive, rc::Rc};

use pulseboard_series::{Batch, Kind, Reason, STALE_MARKER_BITS};

use super::{
    answer::Points,
    labels::{self, Labels},
    model::{
        Buckets, ExponentialPoint, HistogramPoint, KeyValue, NumberPoint, Resource, Scope,
        SummaryPoint,
    },
};
use crate::{
    delta::{DeltaTotals, Known, Span},
    exponential::{BUCKETS_READ_MAX, Buckets as Counts, Exponential},
    series_parts::{Point, number, whole},
};

/// Bit of `flags`: the series has no value at this time (`NO_RECORDED_VALUE_MASK`).
const NO_VALUE: u32 = 1;

/// Explicit bounds of one histogram that are accepted.
const BOUNDS_MAX: usize = 1_000;

/// Scales of histograms that are added up, which the data model recommends as bounds.
const SCALES: RangeInclusive<i32> = -10..=20;

/// The row of `_count` among those of [`count_and_sum`].
const COUNT_AT: usize = 1;

/// What all points of one metric share.
#[derive(Clone, Copy)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
    /// 1 is delta, 2 cumulative; anything else nobody said.
    pub(super) temporality: u64,
    pub(super) is_monotonic: bool,
}

impl Metric<'_> {
    /// Whether its points follow one another.
    pub(super) fn is_in_steps(&self) -> bool {
        self.temporality == 1
    }

    /// Whether its points are differences.
    fn is_delta(&self) -> Result<bool, Reason> {
        match self.temporality {
            1 => Ok(true),
            2 => Ok(false),
            other => Err(Reason::Malformed(format!(
                "aggregation temporality {other}; accepted are 1 (delta) and 2 (cumulative)"
            ))),
        }
    }
}

/// Writes points to a batch, one after the other.
pub(super) struct Writer<'a> {
    totals: &'a mut DeltaTotals,
    known: Known<'a>,
    batch: &'a mut Batch,
    /// Of the resource and scope whose points are being written.
    shared: Rc<Labels>,
    points: Points,
    /// Bytes of the largest piece that memory was reserved for.
    held: usize,
    /// Points numbered so far, from 1.
    numbered: u64,
    /// The number of the next point, where that was given before.
    number: Option<u64>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(totals: &'a mut DeltaTotals, known: Known<'a>, batch: &'a mut Batch) -> Self {
        Self {
            totals,
            known,
            batch,
            shared: Rc::default(),
            points: Points::default(),
            held: 0,
            numbered: 0,
            number: None,
        }
    }

    pub(super) fn points(&self) -> Points {
        self.points
    }

    /// The points that follow are of this resource and scope.
    pub(super) fn scope(&mut self, resource: Option<&Resource>, scope: Option<&Scope>) {
        self.shared = Rc::new(labels::shared(resource, scope));
        self.count_nameless(resource.map_or(&[][..], |resource| &resource.attributes));
    }

    fn count_nameless(&mut self, attributes: &[KeyValue]) {
        let nameless = attributes.iter().filter(|one| labels::is_nameless(one));
        self.points.nameless += nameless.count() as u64;
    }

    /// The labels that all points of the resource and scope share.
    pub(super) fn shared(&self) -> Rc<Labels> {
        Rc::clone(&self.shared)
    }

    /// Reserves memory for what is made of the request on the way; see [`Batch::hold`].
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        self.batch.hold(bytes)
    }

    /// The same for what is made of one piece of the request at a time: room for the largest is
    /// room for all.
    pub(super) fn hold_once(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held);
        if more > 0 && !self.batch.hold(more) {
            return false;
        }
        self.held += more;
        true
    }

    /// Gives the next point of the request its number, for [`Writer::go_back_to`].
    pub(super) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// The next point that is written is one that came before.
    pub(super) fn go_back_to(&mut self, shared: &Rc<Labels>, number: u64) {
        self.shared = Rc::clone(shared);
        self.number = Some(number);
    }

    /// The number of the point that comes now; `None` where it is not worth looking at.
    fn begin(&mut self) -> Option<u32> {
        let number = self.number.take();
        let number = number.unwrap_or_else(|| self.number());
        if self.batch.is_hopeless() {
            self.points.rejected += 1;
            self.batch.refuse_unread(1);
            return None;
        }
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Refuses a point as a whole.
    pub(super) fn refuse(&mut self, why: &str) {
        if let Some(line) = self.begin() {
            self.points.rejected += 1;
            self.batch.refuse(line, Reason::Malformed(why.to_owned()));
        }
    }

    /// Writes all rows of one point or refuses it. After `write` the rows that are `Distribution`
    /// or a sum's are made totals when `delta` is the point's span.
    fn point(
        &mut self,
        metric: &Metric<'_>,
        attributes: &[KeyValue],
        time_ns: u64,
        write: impl FnOnce(&Point<'_, String>, &mut Rows<'_>) -> Result<(), Reason>,
    ) {
        let Some(line) = self.begin() else {
            return;
        };
        let labels = labels::of_point(attributes, &self.shared);
        self.count_nameless(attributes);
        let point = Point {
            name: metric.name,
            labels: &labels,
            unit: metric.unit,
            line,
            at_ms: i64::try_from(time_ns / 1_000_000).ok().filter(|ms| *ms > 0),
        };
        let (totals, known) = (&mut *self.totals, self.known);
        let written = whole(self.batch, |batch| {
            let mut rows = Rows {
                batch,
                totals,
                known,
            };
            write(&point, &mut rows)
        });
        match written {
            Ok(()) => self.points.accepted += 1,
            Err(reason) => {
                self.points.rejected += 1;
                self.batch.refuse(line, reason);
            }
        }
    }

    pub(super) fn gauge(&mut self, metric: &Metric<'_>, point: &NumberPoint) {
        self.point(
            metric,
            &point.attributes,
            point.time_unix_nano,
            |out, rows| {
                let value = value(point)?;
                out.write("", None, Kind::Gauge, out.unit, value, rows.batch)
            },
        );
    }

    pub(super) fn sum(&mut self, metric: &Metric<'_>, point: &NumberPoint) {
        self.point(
            metric,
            &point.attributes,
            point.time_unix_nano,
            |out, rows| {
                let value = value(point)?;
                let is_delta = metric.is_delta()? && point.flags & NO_VALUE == 0;
                let kind = if metric.is_monotonic {
                    Kind::Counter
                } else {
                    Kind::Gauge
                };
                if is_delta && metric.is_monotonic && value < 0.0 {
                    return Err(Reason::Malformed(format!(
                        "a monotonic sum that fell by {}",
                        -value
                    )));
                }
                out.write("", None, kind, out.unit, value, rows.batch)?;
                rows.total(is_delta.then_some((point.start_time_unix_nano, point.time_unix_nano)))
            },
        );
    }

    pub(super) fn histogram(&mut self, metric: &Metric<'_>, point: &HistogramPoint) {
        self.point(
            metric,
            &point.attributes,
            point.time_unix_nano,
            |out, rows| {
                if point.flags & NO_VALUE != 0 {
                    return stale(out, rows);
                }
                let span = (point.start_time_unix_nano, point.time_unix_nano);
                let delta = metric.is_delta()?.then_some(span);
                check_bounds(point)?;
                let mut cumulative = 0.0;
                for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
                    cumulative += as_double(*count);
                    out.count(
                        "_bucket",
                        Some(("le", &number(*bound))),
                        cumulative,
                        rows.batch,
                    )?;
                    rows.total(delta)?;
                }
                count_and_sum(out, rows, delta, as_double(point.count), point.sum)?;
                extremes(out, rows, point.min, point.max)
            },
        );
    }

    pub(super) fn exponential(&mut self, metric: &Metric<'_>, mut point: ExponentialPoint) {
        let attributes = std::mem::take(&mut point.attributes);
        self.point(metric, &attributes, point.time_unix_nano, |out, rows| {
            if point.flags & NO_VALUE != 0 {
                return stale(out, rows);
            }
            let span = (point.start_time_unix_nano, point.time_unix_nano);
            let delta = metric.is_delta()?.then_some(span);
            let exponential = Exponential {
                scale: point.scale,
                zero_threshold: point.zero_threshold,
                zero_count: as_double(point.zero_count),
                positive: counts(point.positive.as_ref())?,
                negative: counts(point.negative.as_ref())?,
            };
            let (count, sum) = (as_double(point.count), point.sum);
            match delta {
                None => {
                    exponential.write(out, rows.batch)?;
                    count_and_sum(out, rows, None, count, sum)?;
                }
                Some(span) => {
                    check_scale(point.scale)?;
                    // First the count, whose key is the one that the buckets' total is known by.
                    // Where the buckets stood is known to nobody but us, so none of it goes on.
                    rows.known = &|_| None;
                    let first = rows.batch.rows().len();
                    count_and_sum(out, rows, delta, count, sum)?;
                    if let Some(total) = rows.total_of(first + COUNT_AT, span, exponential)? {
                        total.write(out, rows.batch)?;
                    }
                }
            }
            extremes(out, rows, point.min, point.max)
        });
    }

    pub(super) fn summary(&mut self, metric: &Metric<'_>, point: &SummaryPoint) {
        self.point(
            metric,
            &point.attributes,
            point.time_unix_nano,
            |out, rows| {
                if point.flags & NO_VALUE != 0 {
                    return stale(out, rows);
                }
                if point.quantile_values.len() > BOUNDS_MAX {
                    return Err(too_many("quantiles"));
                }
                for quantile in &point.quantile_values {
                    let label = ("quantile", number(quantile.quantile));
                    let label = Some((label.0, label.1.as_str()));
                    let kind = Kind::Distribution;
                    out.write("", label, kind, out.unit, quantile.value, rows.batch)?;
                }
                out.count("_count", None, as_double(point.count), rows.batch)?;
                out.sum(point.sum, rows.batch)
            },
        );
    }
}

/// Where the rows of one point go.
struct Rows<'a> {
    batch: &'a mut Batch,
    totals: &'a mut DeltaTotals,
    known: Known<'a>,
}

impl Rows<'_> {
    /// Makes the newest row's value the total of its series, when it is a difference.
    fn total(&mut self, delta: Option<Span>) -> Result<(), Reason> {
        let (Some(span), Some(row)) = (delta, self.batch.rows().last()) else {
            return Ok(());
        };
        let key = self.batch.key(row).as_bytes();
        let total = self.totals.add(key, span, row.value, self.known)?;
        self.batch.replace_newest_value(total);
        Ok(())
    }

    /// The total of the buckets of the histogram whose count is in row `at`; see
    /// [`DeltaTotals::add_histogram`].
    fn total_of(
        &mut self,
        at: usize,
        span: Span,
        delta: Exponential,
    ) -> Result<Option<Exponential>, Reason> {
        let row = self.batch.rows().get(at);
        let key = row.map_or(&[][..], |row| self.batch.key(row).as_bytes());
        self.totals.add_histogram(key, span, delta)
    }
}

fn value(point: &NumberPoint) -> Result<f64, Reason> {
    if point.flags & NO_VALUE != 0 {
        return Ok(f64::from_bits(STALE_MARKER_BITS));
    }
    #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
    let integer = point.as_int.map(|integer| integer as f64);
    point
        .as_double
        .or(integer)
        .ok_or_else(|| Reason::Malformed("the data point has no value".to_owned()))
}

#[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
fn as_double(count: u64) -> f64 {
    count as f64
}

fn stale(out: &Point<'_, String>, rows: &mut Rows<'_>) -> Result<(), Reason> {
    let marker = f64::from_bits(STALE_MARKER_BITS);
    out.count("_count", None, marker, rows.batch)?;
    out.sum(marker, rows.batch)
}

/// The bucket of `+Inf`, `_count` and `_sum`.
fn count_and_sum(
    out: &Point<'_, String>,
    rows: &mut Rows<'_>,
    delta: Option<Span>,
    count: f64,
    sum: Option<f64>,
) -> Result<(), Reason> {
    out.count("_bucket", Some(("le", "+Inf")), count, rows.batch)?;
    rows.total(delta)?;
    out.count("_count", None, count, rows.batch)?;
    rows.total(delta)?;
    if let Some(sum) = sum {
        out.sum(sum, rows.batch)?;
        rows.total(delta)?;
    }
    Ok(())
}

fn extremes(
    out: &Point<'_, String>,
    rows: &mut Rows<'_>,
    min: Option<f64>,
    max: Option<f64>,
) -> Result<(), Reason> {
    for (suffix, value) in [("_min", min), ("_max", max)] {
        if let Some(value) = value {
            out.write(suffix, None, Kind::Gauge, out.unit, value, rows.batch)?;
        }
    }
    Ok(())
}

/// One count more than there are bounds, or neither; bounds are finite and grow.
fn check_bounds(point: &HistogramPoint) -> Result<(), Reason> {
    let (bounds, counts) = (point.explicit_bounds.len(), point.bucket_counts.len());
    if bounds > BOUNDS_MAX {
        return Err(too_many("bounds"));
    }
    if counts != bounds + 1 && (bounds, counts) != (0, 0) {
        return Err(Reason::Malformed(format!(
            "{counts} bucket counts do not fit {bounds} bounds; there must be one more"
        )));
    }
    let grow = point
        .explicit_bounds
        .windows(2)
        .all(|pair| pair[0] < pair[1]);
    if !grow || !point.explicit_bounds.iter().all(|bound| bound.is_finite()) {
        return Err(Reason::Malformed(
            "the bounds are not finite or do not grow".to_owned(),
        ));
    }
    Ok(())
}

/// Whether a histogram of this scale can be added to others in some steps.
fn check_scale(scale: i32) -> Result<(), Reason> {
    if SCALES.contains(&scale) {
        return Ok(());
    }
    let (least, most) = (SCALES.start(), SCALES.end());
    Err(Reason::Malformed(format!(
        "scale {scale}; accepted with delta temporality are {least} to {most}"
    )))
}

fn too_many(what: &str) -> Reason {
    Reason::Unsupported(format!("the point has more than {BOUNDS_MAX} {what}"))
}

/// Populated buckets with indexes as Prometheus counts them: one more than here.
fn counts(buckets: Option<&Buckets>) -> Result<Counts, Reason> {
    let Some(buckets) = buckets else {
        return Ok(Counts::new());
    };
    if buckets.bucket_counts.len() > BUCKETS_READ_MAX {
        return Err(Reason::Unsupported(format!(
            "the histogram has more than {BUCKETS_READ_MAX} buckets"
        )));
    }
    let indexes = i64::from(buckets.offset) + 1..;
    Ok(indexes
        .zip(&buckets.bucket_counts)
        .map(|(index, count)| (index, as_double(*count)))
        .collect())
}
