//! Prometheus' exposition in protobuf: messages `io.prometheus.client.MetricFamily`, each with its
//! length before it (`application/vnd.google.protobuf;
//! proto=io.prometheus.client.MetricFamily; encoding=delimited`), as clients in Go push by default
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>).
//!
//! | a metric of type | becomes |
//! |---|---|
//! | counter, gauge, untyped | `name` |
//! | summary | `name{quantile}`, `name_count`, `name_sum` |
//! | histogram, gauge histogram | `name_bucket{le}`, `name_count`, `name_sum` |
//!
//! Of a native histogram count and sum are kept, and its classic buckets where it has some.
//! Exemplars are not kept. `line` is the number of the metric, from 1.

use pulseboard_series::{Batch, Kind, Reason};

use crate::{
    BodyError,
    series_parts::{Point, number, whole},
    time::not_now,
    wire::{Fields, Value, WireError, signed, varint},
};

const WHAT: &str = "sequence of MetricFamily messages";

/// Reads a whole body.
///
/// # Errors
/// It is not such a sequence; the batch is empty then.
pub fn parse(body: &[u8], batch: &mut Batch) -> Result<(), BodyError> {
    let read = families(body, batch);
    if read.is_err() {
        batch.clear();
    }
    read.map_err(|error| error.in_body(WHAT))
}

fn families(mut body: &[u8], batch: &mut Batch) -> Result<(), WireError> {
    let mut line = 0_u32;
    while !body.is_empty() {
        let length = usize::try_from(varint(&mut body)?).ok();
        let split = length.and_then(|length| body.split_at_checked(length));
        let (message, rest) = split.ok_or(WireError::End)?;
        body = rest;
        family(message, &mut line, batch)?;
    }
    Ok(())
}

/// What the metrics of a family share.
struct Family<'a> {
    name: &'a str,
    /// Of `MetricType`.
    kind: u64,
    unit: &'a str,
}

/// Name (1), type (3), metrics (4), unit (5).
fn family(message: &[u8], line: &mut u32, batch: &mut Batch) -> Result<(), WireError> {
    let mut family = Family {
        name: "",
        kind: 0,
        unit: "",
    };
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => family.name = field.text(1)?,
            3 => family.kind = field.varint(3)?,
            5 => family.unit = field.text(5)?,
            _ => {}
        }
    }
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 4 {
            *line = line.saturating_add(1);
            metric(&family, *line, field.bytes(4)?, batch)?;
        }
    }
    Ok(())
}

/// Labels (1), the value of the family's type, a time (6).
fn metric(
    family: &Family<'_>,
    line: u32,
    message: &[u8],
    batch: &mut Batch,
) -> Result<(), WireError> {
    // What a counter (3), gauge (2), untyped value (5), summary (4) or histogram (7) is, by type.
    let (wanted, kind) = match family.kind {
        0 => (3, Kind::Counter),
        1 => (2, Kind::Gauge),
        2 => (4, Kind::Distribution),
        4 | 5 => (7, Kind::Distribution),
        _ => (5, Kind::Unknown),
    };
    let mut labels = Vec::new();
    let (mut value, mut at_ms) = (None, None);
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => labels.push(label(field)?),
            6 => at_ms = Some(not_now(signed(field.varint(6)?))),
            _ if number == wanted => value = Some(field.bytes(number)?),
            _ => {}
        }
    }
    let point = Point {
        name: family.name,
        labels: &labels,
        unit: family.unit,
        line,
        at_ms,
    };
    let written = match value {
        None => Err(Reason::Malformed(
            "the metric has no value of its family's type".to_owned(),
        )),
        Some(value) => match wanted {
            4 => summary(&Summary::read(value)?, &point, batch),
            7 => histogram(&Histogram::read(value)?, &point, batch),
            _ => {
                let value = single(value)?;
                point.write("", None, kind, family.unit, value, batch)
            }
        },
    };
    if let Err(reason) = written {
        batch.refuse(line, reason);
    }
    Ok(())
}

/// Name (1) and value (2).
fn label(field: Value<'_>) -> Result<(&str, &str), WireError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields(field.bytes(1)?);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text(1)?,
            2 => value = field.text(2)?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// The value (1) of a counter, gauge or untyped metric.
fn single(message: &[u8]) -> Result<f64, WireError> {
    let mut value = 0.0;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            value = field.double(1)?;
        }
    }
    Ok(value)
}

#[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
fn count(field: Value<'_>, number: u32) -> Result<f64, WireError> {
    Ok(field.varint(number)? as f64)
}

#[derive(Default)]
struct Summary {
    count: f64,
    sum: f64,
    quantiles: Vec<(f64, f64)>,
}

impl Summary {
    /// Count (1), sum (2), quantiles (3) of which quantile (1) and value (2).
    fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut summary = Self::default();
        let mut fields = Fields(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => summary.count = count(field, 1)?,
                2 => summary.sum = field.double(2)?,
                3 => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    let mut fields = Fields(field.bytes(3)?);
                    while let Some((number, field)) = fields.next()? {
                        match number {
                            1 => quantile = field.double(1)?,
                            2 => value = field.double(2)?,
                            _ => {}
                        }
                    }
                    summary.quantiles.push((quantile, value));
                }
                _ => {}
            }
        }
        Ok(summary)
    }
}

fn summary(summary: &Summary, point: &Point<'_, &str>, batch: &mut Batch) -> Result<(), Reason> {
    whole(batch, |batch| {
        for (quantile, value) in &summary.quantiles {
            let quantile = number(*quantile);
            let label = Some(("quantile", quantile.as_str()));
            point.write("", label, Kind::Distribution, point.unit, *value, batch)?;
        }
        point.count("_count", None, summary.count, batch)?;
        point.sum(summary.sum, batch)
    })
}

#[derive(Default)]
struct Histogram {
    count: f64,
    sum: f64,
    /// Upper bounds and how many observations lie at most there.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Count (1, or 4 as a float), sum (2), buckets (3) of which count (1, or 4 as a float) and
    /// upper bound (2).
    fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut histogram = Self::default();
        let mut fields = Fields(message);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => histogram.count = count(field, 1)?,
                2 => histogram.sum = field.double(2)?,
                3 => {
                    let (mut bound, mut below) = (0.0, 0.0);
                    let mut fields = Fields(field.bytes(3)?);
                    while let Some((number, field)) = fields.next()? {
                        match number {
                            1 => below = count(field, 1)?,
                            2 => bound = field.double(2)?,
                            4 => below = field.double(4)?,
                            _ => {}
                        }
                    }
                    histogram.buckets.push((bound, below));
                }
                4 => histogram.count = field.double(4)?,
                _ => {}
            }
        }
        Ok(histogram)
    }
}

fn histogram(
    histogram: &Histogram,
    point: &Point<'_, &str>,
    batch: &mut Batch,
) -> Result<(), Reason> {
    whole(batch, |batch| {
        for (bound, below) in &histogram.buckets {
            let bound = number(*bound);
            point.count("_bucket", Some(("le", &bound)), *below, batch)?;
        }
        // Clients leave the last one away, whose count is that of all.
        let has_last = histogram
            .buckets
            .iter()
            .any(|(bound, _)| *bound == f64::INFINITY);
        if !has_last {
            point.count("_bucket", Some(("le", "+Inf")), histogram.count, batch)?;
        }
        point.count("_count", None, histogram.count, batch)?;
        point.sum(histogram.sum, batch)
    })
}

#[cfg(test)]
mod tests;
