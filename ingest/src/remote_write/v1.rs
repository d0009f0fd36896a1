//! `prometheus.WriteRequest`: time series (1) and metadata (3).

use pulseboard_series::{Batch, Kind};

use super::{
    series::{Labels, Series, type_name},
    written::Written,
};
use crate::{
    BodyError,
    time::not_now,
    wire::{Fields, WireError, signed, varint},
};

pub(super) fn parse(message: &[u8], batch: &mut Batch) -> Result<Written, WireError> {
    let mut written = Written::default();
    let mut labels = Labels::default();
    let mut line = 0_u32;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => {
                line = line.saturating_add(1);
                series(line, field.bytes(1)?, &mut labels, &mut written, batch)?;
            }
            3 => written.has_metadata = true,
            _ => {}
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
    let before = batch.rows().len();
    if let Some(samples) = plain_series(line, message, batch) {
        written.samples += samples;
        return Ok(());
    }
    batch.undo_to(before);
    any_series(line, message, labels, written, batch)
}

/// The way of nearly all series: `__name__` first, short labels, and nothing but samples behind
/// them, all written as Prometheus and its kin write them. A label stands in such a message as a
/// key has it but for two bytes, and goes over in one piece. How many samples were written; `None`
/// where there is anything else, or anything to refuse.
pub(super) fn plain_series(line: u32, message: &[u8], batch: &mut Batch) -> Option<u64> {
    let (label, mut rest) = plain_label(message)?;
    if label.name() != b"__name__" || !batch.begin_bytes(label.value()) {
        return None;
    }
    let is_counter = label.value().ends_with(b"_total");
    while let Some((label, behind)) = plain_label(rest) {
        if !batch.label_of_bytes(label.piece, label.name_length) {
            return None;
        }
        rest = behind;
    }
    if is_counter {
        batch.describe(Kind::Counter, "");
    }
    let mut samples = 0;
    while let [0x12, length, behind @ ..] = rest {
        // One byte says the length: samples are shorter than 128.
        let (sample, behind) = behind.split_at_checked(usize::from(*length))?;
        let (value, at_ms) = plain_sample(sample)?;
        let taken = match samples {
            0 => batch.finish(line, Some(at_ms), value),
            _ => batch.push_sample(line, Some(at_ms), value),
        };
        taken.ok()?;
        samples += 1;
        rest = behind;
    }
    (rest.is_empty() && samples > 0).then_some(samples)
}

/// A label as it stands in a message: name, two bytes, value.
struct PlainLabel<'a> {
    piece: &'a [u8],
    name_length: usize,
}

impl<'a> PlainLabel<'a> {
    fn name(&self) -> &'a [u8] {
        &self.piece[..self.name_length]
    }

    fn value(&self) -> &'a [u8] {
        &self.piece[self.name_length + 2..]
    }
}

/// The label that a series begins with, and what is behind it; `None` where it is not name and
/// value in this order, each shorter than 128 bytes.
#[inline]
fn plain_label(series: &[u8]) -> Option<(PlainLabel<'_>, &[u8])> {
    let [0x0a, length @ ..0x80, rest @ ..] = series else {
        return None;
    };
    let (label, behind) = rest.split_at_checked(usize::from(*length))?;
    let [0x0a, name_length @ ..0x80, piece @ ..] = label else {
        return None;
    };
    let name_length = usize::from(*name_length);
    let [0x12, value_length] = piece.get(name_length..)?.first_chunk::<2>()? else {
        return None;
    };
    let is_whole = piece.len() == name_length + 2 + usize::from(*value_length);
    is_whole.then_some((PlainLabel { piece, name_length }, behind))
}

/// Value and time of a sample that has both, in this order.
#[inline]
fn plain_sample(sample: &[u8]) -> Option<(f64, i64)> {
    let [0x09, rest @ ..] = sample else {
        return None;
    };
    let (value, rest) = rest.split_first_chunk()?;
    let [0x10, at_ms @ ..] = rest else {
        return None;
    };
    let mut at_ms = at_ms;
    let time = signed(varint(&mut at_ms).ok()?);
    let value = f64::from_le_bytes(*value);
    at_ms.is_empty().then(|| (value, not_now(time)))
}

/// Any series that the protocol allows.
pub(super) fn any_series<'a>(
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
                let first = batch.rows().len();
                if series.histogram(field.bytes(4)?, batch)? {
                    written.count_histogram(first, batch);
                }
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

/// What a 1.0 message says of one family of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// Its name.
    pub family: &'a str,
    /// `counter`, `histogram` and so on; `unknown`.
    pub kind: &'static str,
    /// What it is, in words.
    pub help: &'a str,
    /// What it is counted in.
    pub unit: &'a str,
}

/// Hands the metadata of a 1.0 message to `take`. Prometheus sends it once a minute in messages
/// without samples. A family's name is that of its samples without
/// `_bucket`, `_sum`, `_count`; a counter's has its `_total`.
///
/// # Errors
/// It is not such a message.
pub fn metadata(message: &[u8], take: impl FnMut(Metadata<'_>)) -> Result<(), BodyError> {
    try_metadata(message, take).map_err(|error| error.in_body("remote write 1.0 request"))
}

/// Type (1), family name (2), help (4), unit (5).
fn try_metadata(message: &[u8], mut take: impl FnMut(Metadata<'_>)) -> Result<(), WireError> {
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number != 3 {
            continue;
        }
        let mut found = Metadata {
            kind: type_name(0),
            ..Metadata::default()
        };
        let mut fields = Fields(field.bytes(3)?);
        while let Some((number, field)) = fields.next()? {
            match number {
                1 => found.kind = type_name(field.varint(1)?),
                2 => found.family = field.text(2)?,
                4 => found.help = field.text(4)?,
                5 => found.unit = field.text(5)?,
                _ => {}
            }
        }
        take(found);
    }
    Ok(())
}
