//! `datadog.agentpayload.MetricPayload`: series (1).

use std::borrow::Cow;

use pulseboard_series::Batch;

use super::submitted::{Series, Type, Writer};
use crate::{
    delta::{DeltaTotals, Known},
    wire::{Fields, WireError, signed},
};

pub(super) fn series(
    message: &[u8],
    totals: &mut DeltaTotals,
    known: Known<'_>,
    batch: &mut Batch,
) -> Result<(), WireError> {
    let mut writer = Writer {
        totals,
        known,
        batch,
        line: 0,
    };
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            writer.write(one(field.bytes(1)?)?);
        }
    }
    Ok(())
}

/// Resources (1), metric (2), tags (3), points (4), type (5), unit (6), interval (8).
fn one(message: &[u8]) -> Result<Series<'_>, WireError> {
    let mut series = Series::default();
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                let (kind, name) = resource(field.bytes(1)?)?;
                let place = match kind {
                    "host" => &mut series.labels.host,
                    "device" => &mut series.labels.device,
                    _ => continue,
                };
                *place = Some(Cow::Borrowed(name));
            }
            2 => series.name = Cow::Borrowed(field.text(2)?),
            3 => series.labels.tags.push(Cow::Borrowed(field.text(3)?)),
            4 => series.points.push(point(field.bytes(4)?)?),
            5 => series.kind = kind(field.varint(5)?),
            6 => series.unit = Cow::Borrowed(field.text(6)?),
            8 => series.interval = as_seconds(signed(field.varint(8)?)),
            _ => {}
        }
    }
    Ok(series)
}

/// Of `MetricType`: 0 unspecified, 1 count, 2 rate, 3 gauge.
pub(super) fn kind(number: u64) -> Type {
    match number {
        1 => Type::Count,
        2 => Type::Rate,
        _ => Type::Gauge,
    }
}

/// Type (1) and name (2).
fn resource(message: &[u8]) -> Result<(&str, &str), WireError> {
    let (mut kind, mut name) = ("", "");
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => kind = field.text(1)?,
            2 => name = field.text(2)?,
            _ => {}
        }
    }
    Ok((kind, name))
}

/// Value (1) and time (2).
fn point(message: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut value, mut seconds) = (0.0, 0);
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => value = field.double(1)?,
            2 => seconds = signed(field.varint(2)?),
            _ => {}
        }
    }
    Ok((as_seconds(seconds), value))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for any time that is taken"
)]
fn as_seconds(seconds: i64) -> f64 {
    seconds as f64
}
