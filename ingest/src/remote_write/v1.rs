//! `prometheus.WriteRequest`: time series (1) and metadata (3).

use pulseboard_series::{Batch, Kind};

use super::{Labels, Series, Written, kind};
use crate::{
    BodyError,
    wire::{Fields, WireError},
};

pub(super) fn parse(message: &[u8], batch: &mut Batch) -> Result<Written, WireError> {
    let mut written = Written::default();
    let mut labels = Labels::default();
    let mut line = 0_u32;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 1 {
            line = line.saturating_add(1);
            series(line, field.bytes(1)?, &mut labels, &mut written, batch)?;
        }
    }
    Ok(written)
}

/// Labels (1), samples (2), exemplars (3), histograms (4).
fn series<'a>(
    line: u32,
    message: &'a [u8],
    labels: &mut Labels<'a>,
    written: &mut Written,
    batch: &mut Batch,
) -> Result<(), WireError> {
    labels.clear();
    // Where the first field that is no label begins; nearly always all labels stand before it.
    let mut others = None;
    let mut fields = Fields(message);
    loop {
        let here = fields;
        let Some((number, field)) = fields.next()? else {
            break;
        };
        match number {
            1 => label(field.bytes(1)?, labels)?,
            _ if others.is_none() => others = Some(here),
            _ => {}
        }
    }
    let Some(mut others) = others else {
        return Ok(());
    };
    let mut series = Series {
        labels,
        line,
        kind: Kind::Unknown,
        unit: "",
        is_begun: false,
    };
    let mut accepted = series.is_accepted(batch);
    while let Some((number, field)) = others.next()? {
        match number {
            2 if accepted => {
                accepted = series.sample(field.bytes(2)?, batch)?;
                written.samples += u64::from(accepted);
            }
            4 if accepted => {
                let is_written = series.histogram(field.bytes(4)?, batch)?;
                written.histograms += u64::from(is_written);
            }
            2..=4 => drop(field.bytes(number)?),
            _ => {}
        }
    }
    Ok(())
}

/// Name (1) and value (2).
fn label<'a>(message: &'a [u8], labels: &mut Labels<'a>) -> Result<(), WireError> {
    let (mut name, mut value) = ("", "");
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => name = field.text(1)?,
            2 => value = field.text(2)?,
            _ => {}
        }
    }
    labels.add(name, value);
    Ok(())
}

/// Hands the metadata of a 1.0 message to `take`: family name, kind, unit. Prometheus sends it
/// once a minute in messages without samples. A family's name is that of its samples without
/// `_bucket`, `_sum`, `_count`; a counter's has its `_total`.
///
/// # Errors
/// It is not such a message.
pub fn metadata(message: &[u8], take: impl FnMut(&str, Kind, &str)) -> Result<(), BodyError> {
    try_metadata(message, take).map_err(|error| error.in_body("remote write 1.0 request"))
}

/// Type (1), family name (2), help (4), unit (5).
fn try_metadata(message: &[u8], mut take: impl FnMut(&str, Kind, &str)) -> Result<(), WireError> {
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number != 3 {
            continue;
        }
        let (mut metric_type, mut name, mut unit) = (0, "", "");
        let mut fields = Fields(field.bytes(3)?);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => metric_type = field.varint(1)?,
                2 => name = field.text(2)?,
                5 => unit = field.text(5)?,
                _ => {}
            }
        }
        take(name, kind(metric_type), unit);
    }
    Ok(())
}
