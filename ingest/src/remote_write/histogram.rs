//! Native histograms, the same message in both versions: an exponential one (schemas −4 to 8) or
//! one with bounds of its own (schema −53, `custom_values`).

use pulseboard_series::{Batch, Reason, STALE_MARKER_BITS, is_stale_marker};

use crate::{
    exponential::{BUCKETS_READ_MAX, Buckets, Cumulative, Exponential},
    series_parts::Point,
    wire::{Fields, Value, WireError, signed, zigzag},
};

/// The schema of histograms with bounds of their own.
const CUSTOM: i64 = -53;

#[derive(Debug, Default)]
pub(super) struct Histogram {
    count: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: f64,
    negative: Side,
    positive: Side,
    pub(super) at_ms: i64,
    bounds: Vec<f64>,
    is_too_large: bool,
}

/// Where the buckets of one side are and what they hold.
#[derive(Debug, Default)]
struct Side {
    /// Offset from the end of the span before (or from 0) and length.
    spans: Vec<(i64, u64)>,
    /// Integer counts as differences from the bucket before.
    deltas: Vec<i64>,
    /// Counts of a float histogram.
    counts: Vec<f64>,
}

impl Histogram {
    pub(super) fn read(message: &[u8]) -> Result<Self, WireError> {
        let mut histogram = Self::default();
        let mut fields = Fields(message);
        while let Some((number, field)) = fields.next()? {
            histogram.field(number, field)?;
        }
        Ok(histogram)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "samples are doubles; counts past 2^53 become the nearest"
    )]
    fn field(&mut self, number: u32, field: Value<'_>) -> Result<(), WireError> {
        let is_too_large = &mut self.is_too_large;
        match number {
            1 => self.count = field.varint(1)? as f64,
            2 => self.count = field.double(2)?,
            3 => self.sum = field.double(3)?,
            4 => self.schema = zigzag(field.varint(4)?),
            5 => self.zero_threshold = field.double(5)?,
            6 => self.zero_count = field.varint(6)? as f64,
            7 => self.zero_count = field.double(7)?,
            8 => push(
                &mut self.negative.spans,
                span(field.bytes(8)?)?,
                is_too_large,
            ),
            11 => push(
                &mut self.positive.spans,
                span(field.bytes(11)?)?,
                is_too_large,
            ),
            9 => field.each_varint(9, |code| {
                push(&mut self.negative.deltas, zigzag(code), is_too_large);
                Ok(())
            })?,
            12 => field.each_varint(12, |code| {
                push(&mut self.positive.deltas, zigzag(code), is_too_large);
                Ok(())
            })?,
            10 => field.each_double(10, |count| {
                push(&mut self.negative.counts, count, is_too_large);
            })?,
            13 => field.each_double(13, |count| {
                push(&mut self.positive.counts, count, is_too_large);
            })?,
            15 => self.at_ms = signed(field.varint(15)?),
            16 => field.each_double(16, |bound| push(&mut self.bounds, bound, is_too_large))?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn write(self, point: &Point<'_, &str>, batch: &mut Batch) -> Result<(), Reason> {
        if is_stale_marker(self.sum) {
            point.count("_count", None, f64::from_bits(STALE_MARKER_BITS), batch)?;
            return point.sum(self.sum, batch);
        }
        if self.is_too_large {
            return Err(Reason::Unsupported(format!(
                "the histogram has more than {BUCKETS_READ_MAX} buckets"
            )));
        }
        let (positive, negative) = (self.positive.buckets()?, self.negative.buckets()?);
        match self.schema {
            CUSTOM => {
                let mut written = Cumulative::default();
                for (index, count) in positive {
                    let at = usize::try_from(index).ok();
                    let bound = |at: usize| self.bounds.get(at).copied();
                    let lower = at.and_then(|at| at.checked_sub(1)).and_then(bound);
                    // The bucket behind the last bound is that of `+Inf`.
                    let upper = at.and_then(bound).unwrap_or(f64::INFINITY);
                    written.bucket(lower, upper, count, point, batch)?;
                }
            }
            -4..=8 => Exponential {
                #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
                scale: self.schema as i32,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count,
                positive,
                negative,
            }
            .write(point, batch)?,
            other => {
                return Err(Reason::Unsupported(format!(
                    "histograms of schema {other} are not known; -4 to 8 and -53 are"
                )));
            }
        }
        point.count("_bucket", Some(("le", "+Inf")), self.count, batch)?;
        point.count("_count", None, self.count, batch)?;
        point.sum(self.sum, batch)
    }
}

impl Side {
    /// Index and count of each bucket; fails when the spans do not fit the counts.
    fn buckets(&self) -> Result<Buckets, Reason> {
        let mut sum = 0_i64;
        let from_deltas = self.deltas.iter().map(|delta| {
            sum = sum.saturating_add(*delta);
            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            let count = sum as f64;
            count
        });
        let mut counts = from_deltas.chain(self.counts.iter().copied());
        let mut buckets = Buckets::new();
        let mut index = 0_i64;
        let unfit = || Reason::Malformed("the histogram's spans do not fit its buckets".to_owned());
        for (offset, length) in &self.spans {
            index = index.saturating_add(*offset);
            // As many as there are counts, whatever the span claims.
            for _ in 0..*length {
                buckets.push((index, counts.next().ok_or_else(unfit)?));
                index = index.saturating_add(1);
            }
        }
        if counts.next().is_some() || buckets.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(unfit());
        }
        Ok(buckets)
    }
}

/// Offset (1) and length (2).
fn span(message: &[u8]) -> Result<(i64, u64), WireError> {
    let (mut offset, mut length) = (0, 0);
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => offset = zigzag(field.varint(1)?),
            2 => length = field.varint(2)?,
            _ => {}
        }
    }
    Ok((offset, length))
}

fn push<T>(list: &mut Vec<T>, item: T, is_too_large: &mut bool) {
    if list.len() < BUCKETS_READ_MAX {
        list.push(item);
    } else {
        *is_too_large = true;
    }
}
