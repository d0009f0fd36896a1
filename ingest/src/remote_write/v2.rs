//! `io.prometheus.write.v2.Request`: symbols (4), which all texts are numbers of, and time series
//! (5).

use pulseboard_series::{Batch, Reason};

use super::{
    series::{Labels, Series, kind},
    written::Written,
};
use crate::wire::{Fields, WireError};

/// Symbols of one message; each costs 16 bytes beside its text.
const SYMBOLS_MAX: usize = 1_000_000;

pub(super) fn parse(message: &[u8], batch: &mut Batch) -> Result<Written, WireError> {
    // Symbols may stand behind the series that use them.
    let mut symbols = Vec::new();
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 4 {
            if symbols.len() == SYMBOLS_MAX {
                return Err(WireError::Symbols(SYMBOLS_MAX));
            }
            symbols.push(field.text(4)?);
        }
    }
    let mut written = Written::default();
    let mut labels = Labels::default();
    let mut line = 0_u32;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        if number == 5 {
            line = line.saturating_add(1);
            let message = field.bytes(5)?;
            series(line, message, &symbols, &mut labels, &mut written, batch)?;
        }
    }
    Ok(written)
}

/// Label numbers (1), samples (2), histograms (3), exemplars (4), metadata (5).
fn series<'a>(
    line: u32,
    message: &'a [u8],
    symbols: &[&'a str],
    labels: &mut Labels<'a>,
    written: &mut Written,
    batch: &mut Batch,
) -> Result<(), WireError> {
    labels.clear();
    let (mut metric_type, mut unit) = (0, "");
    let mut name = None;
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            1 => field.each_varint(1, |reference| {
                let Some(text) = symbol(symbols, reference) else {
                    labels.fail(out_of_range(reference, symbols));
                    return Ok(());
                };
                match name.take() {
                    None => name = Some(text),
                    Some(name) => labels.add(name, text),
                }
                Ok(())
            })?,
            5 => {
                let mut fields = Fields(field.bytes(5)?);
                while let Some((number, field)) = fields.next()? {
                    match number {
                        1 => metric_type = field.varint(1)?,
                        4 => {
                            let reference = field.varint(4)?;
                            match symbol(symbols, reference) {
                                Some(text) => unit = text,
                                None => labels.fail(out_of_range(reference, symbols)),
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if name.is_some() {
        labels.fail(Reason::Malformed("a label has no value".to_owned()));
    }
    let mut series = Series {
        labels,
        line,
        kind: kind(metric_type),
        unit,
        is_begun: false,
    };
    // Also without samples: a sender that names no symbols is told so.
    let mut accepted = series.is_accepted(batch);
    let mut fields = Fields(message);
    while let Some((number, field)) = fields.next()? {
        match number {
            2 if accepted => {
                accepted = series.sample(field.bytes(2)?, batch)?;
                written.samples += u64::from(accepted);
            }
            3 if accepted => {
                let first = batch.rows().len();
                if series.histogram(field.bytes(3)?, batch)? {
                    written.count_histogram(first, batch);
                }
            }
            2..=4 => drop(field.bytes(number)?),
            _ => {}
        }
    }
    Ok(())
}

fn symbol<'a>(symbols: &[&'a str], reference: u64) -> Option<&'a str> {
    symbols.get(usize::try_from(reference).ok()?).copied()
}

fn out_of_range(reference: u64, symbols: &[&str]) -> Reason {
    Reason::Malformed(format!(
        "symbol {reference} is named, but there are {}",
        symbols.len()
    ))
}
