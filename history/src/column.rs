//! Columns of numbers: the one place that chooses how values are packed.
//!
//! ```text
//! floats   = 0 | 8 bytes                                 all equal, bit for bit
//!          | 1 | 8 bytes each                            few, and no short decimals
//!          | 2 | scale u8 | zigzag varint of each step   few short decimals, in units of 10^-scale
//!          | 3 | pco of f64                              no short decimals
//!          | 4 | scale u8 | pco of i64                   short decimals, in units of 10^-scale
//! integers = 0 | zigzag varint first | zigzag varint step      equal steps (all equal: step 0)
//!          | 1 | zigzag varint first | zigzag varint of each step
//!          | 2 | pco of i64
//! ```
//!
//! Short decimals are what people measure with: 12.3 %, 0.125 s, 4096 B. Such a column is stored
//! as integers if, and only if, dividing them by the power of ten gives back every value bit for
//! bit; NaN, infinities, −0 and longer fractions take the other forms. pco alone would find the
//! decimal base of most such columns (its `FloatMult` mode), at more time and space; see the
//! figures in the crate's documentation.

use pco::{
    ChunkConfig, DeltaSpec, ModeSpec, PagingSpec,
    data_types::Number,
    wrapped::{FileCompressor, FileDecompressor},
};

use crate::varint::{Reader, put_zigzag};

/// Columns shorter than this do without pco: its metadata (some 20 to 60 bytes) and set-up (some
/// 5 µs) would outweigh them. Measured: 60 samples of a percentage in steps of 0.1 take 1.0 byte
/// each as plain steps, 1.1 with pco at ten times the time.
const PCO_FROM_COUNT: usize = 64;

/// From here on pco may choose its delta encoding itself. For less, first differences: the
/// choice costs more time than the whole rest, for 7 % of space where differences are wrong.
const DELTA_CHOICE_FROM_COUNT: usize = 512;

/// pco's effort, 0 to 12. Measured on 3 600 samples: 4 costs 2 % more space than 6, 8 costs 50 %
/// more time and saves nothing.
const LEVEL: usize = 6;

/// The powers of ten that are tried.
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Why a column does not decode. It was damaged after its checksum was made, or never ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a column of {count} numbers does not decode: {what}")]
pub(crate) struct ColumnError {
    count: usize,
    what: &'static str,
}

/// Buffers that are reused from column to column.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    integers: Vec<i64>,
}

fn config(count: usize) -> ChunkConfig {
    let delta = if count < DELTA_CHOICE_FROM_COUNT {
        DeltaSpec::TryConsecutive(1)
    } else {
        DeltaSpec::Auto
    };
    ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Auto)
        .with_delta_spec(delta)
        .with_paging_spec(PagingSpec::Exact(vec![count]))
}

/// One pco chunk with one page, without the framing that pco's standalone files have. False if
/// pco refused, with `bytes` as before.
fn put_pco<T: Number>(bytes: &mut Vec<u8>, numbers: &[T]) -> bool {
    let start = bytes.len();
    let file = FileCompressor::default();
    let packed = file
        .chunk_compressor(numbers, &config(numbers.len()))
        .and_then(|mut chunk| {
            file.write_header(&mut *bytes)?;
            chunk.write_meta(&mut *bytes)?;
            chunk.write_page(0, &mut *bytes)?;
            Ok(())
        });
    if packed.is_err() {
        bytes.truncate(start);
    }
    packed.is_ok()
}

fn take_pco<T: Number + Default>(
    reader: &mut Reader<'_>,
    count: usize,
    numbers: &mut Vec<T>,
) -> Result<(), ColumnError> {
    let start = numbers.len();
    numbers.resize(start + count, T::default());
    let mut unpack = || -> pco::errors::PcoResult<bool> {
        let (file, rest) = FileDecompressor::new(reader.rest())?;
        let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest)?;
        let mut page = chunk.page_decompressor(rest, count)?;
        let progress = page.read(&mut numbers[start..])?;
        Ok(progress.n_processed == count && page.into_src().is_empty())
    };
    let whole = unpack();
    if !matches!(whole, Ok(true)) {
        numbers.truncate(start);
        return Err(ColumnError {
            count,
            what: "pco refuses it",
        });
    }
    Ok(())
}

/// The column as integers in units of `10^-scale`, if that is exact.
fn decimals(values: &[f64], integers: &mut Vec<i64>) -> Option<u8> {
    let mut scale = 0;
    'scales: loop {
        let power = *POWERS.get(scale)?;
        integers.clear();
        for &value in values {
            let Some(integer) = decimal(value, power) else {
                scale += 1;
                continue 'scales;
            };
            integers.push(integer);
        }
        return u8::try_from(scale).ok();
    }
}

/// `value` in units of `1 / power`, if the division gives it back bit for bit.
#[inline]
fn decimal(value: f64, power: f64) -> Option<i64> {
    /// Adding and subtracting this rounds to an integer for all below `LIMIT`.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LIMIT: f64 = 2_251_799_813_685_248.0;
    let scaled = value * power;
    let small = scaled.abs() < LIMIT; // false for NaN
    if !small {
        return None;
    }
    let rounded = (scaled + ROUND) - ROUND;
    ((rounded / power).to_bits() == value.to_bits()).then_some(rounded as i64)
}

/// The smallest scale at which all of `values` are short decimals, if there is one.
pub(crate) fn shared_scale(values: impl Iterator<Item = f64> + Clone) -> Option<u8> {
    let fits = |power: &f64| values.clone().all(|value| decimal(value, *power).is_some());
    POWERS
        .iter()
        .position(fits)
        .and_then(|scale| u8::try_from(scale).ok())
}

/// `value` in units of `10^-scale`, at which it is a short decimal.
pub(crate) fn to_integer(value: f64, scale: u8) -> i64 {
    let power = POWERS.get(usize::from(scale)).copied().unwrap_or(1.0);
    decimal(value, power).unwrap_or_default()
}

/// What [`to_integer`] was given; `None` for no scale of ours.
pub(crate) fn from_decimal(integer: i64, scale: u8) -> Option<f64> {
    let power = POWERS.get(usize::from(scale))?;
    Some(integer as f64 / power)
}

/// The smallest scale at which `value` is a short decimal, if it is one.
pub(crate) fn decimal_scale(value: f64) -> Option<usize> {
    POWERS
        .iter()
        .position(|&power| decimal(value, power).is_some())
}

/// `value` rounded to `scale` places after the point.
pub(crate) fn to_decimal(value: f64, scale: usize) -> f64 {
    POWERS
        .get(scale)
        .map_or(value, |power| (value * power).round() / power)
}

/// Appends `values`, bit for bit. The count is not stored.
pub(crate) fn put_floats(bytes: &mut Vec<u8>, values: &[f64], scratch: &mut Scratch) {
    let first = values.first().copied().unwrap_or_default();
    if values
        .iter()
        .all(|value| value.to_bits() == first.to_bits())
    {
        bytes.push(0);
        bytes.extend_from_slice(&first.to_le_bytes());
        return;
    }
    let start = bytes.len();
    if let Some(scale) = decimals(values, &mut scratch.integers) {
        if values.len() < PCO_FROM_COUNT {
            bytes.extend_from_slice(&[2, scale]);
            put_steps(bytes, &scratch.integers);
            return;
        }
        bytes.extend_from_slice(&[4, scale]);
        if put_pco(bytes, &scratch.integers) {
            return;
        }
        bytes.truncate(start);
    } else if values.len() >= PCO_FROM_COUNT {
        bytes.push(3);
        if put_pco(bytes, values) {
            return;
        }
        bytes.truncate(start);
    }
    bytes.push(1);
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_steps(bytes: &mut Vec<u8>, integers: &[i64]) {
    let mut before = 0_i64;
    for &integer in integers {
        put_zigzag(bytes, integer.wrapping_sub(before));
        before = integer;
    }
}

fn take_steps(reader: &mut Reader<'_>, count: usize, integers: &mut Vec<i64>) -> Option<()> {
    let mut value = 0_i64;
    for _ in 0..count {
        value = value.wrapping_add(reader.zigzag()?);
        integers.push(value);
    }
    Some(())
}

/// Appends to `values` the `count` numbers that are all of `bytes`.
pub(crate) fn take_floats(
    bytes: &[u8],
    count: usize,
    values: &mut Vec<f64>,
    scratch: &mut Scratch,
) -> Result<(), ColumnError> {
    let ends = ColumnError {
        count,
        what: "it ends early",
    };
    let mut reader = Reader::new(bytes);
    match reader.byte().ok_or(ends)? {
        0 => {
            let value = f64::from_le_bytes(reader.array().ok_or(ends)?);
            values.resize(values.len() + count, value);
        }
        1 => {
            for _ in 0..count {
                values.push(f64::from_le_bytes(reader.array().ok_or(ends)?));
            }
        }
        3 => return take_pco(&mut reader, count, values),
        form @ (2 | 4) => {
            let scale = usize::from(reader.byte().ok_or(ends)?);
            let power = *POWERS.get(scale).ok_or(ColumnError {
                count,
                what: "unknown scale",
            })?;
            scratch.integers.clear();
            if form == 2 {
                take_steps(&mut reader, count, &mut scratch.integers).ok_or(ends)?;
            } else {
                take_pco(&mut reader, count, &mut scratch.integers)?;
            }
            values.extend(
                scratch
                    .integers
                    .iter()
                    .map(|&integer| integer as f64 / power),
            );
        }
        _ => {
            return Err(ColumnError {
                count,
                what: "unknown form",
            });
        }
    }
    Ok(())
}

/// Appends `integers`. The count is not stored.
pub(crate) fn put_integers(bytes: &mut Vec<u8>, integers: &[i64]) {
    let first = integers.first().copied().unwrap_or_default();
    let step = integers
        .get(1)
        .map_or(0, |second| second.wrapping_sub(first));
    if integers
        .windows(2)
        .all(|pair| pair[1].wrapping_sub(pair[0]) == step)
    {
        bytes.push(0);
        put_zigzag(bytes, first);
        put_zigzag(bytes, step);
        return;
    }
    let start = bytes.len();
    if integers.len() >= PCO_FROM_COUNT {
        bytes.push(2);
        if put_pco(bytes, integers) {
            return;
        }
        bytes.truncate(start);
    }
    bytes.push(1);
    put_steps(bytes, integers);
}

/// Appends to `integers` the `count` numbers that are all of `bytes`.
pub(crate) fn take_integers(
    bytes: &[u8],
    count: usize,
    integers: &mut Vec<i64>,
) -> Result<(), ColumnError> {
    let ends = ColumnError {
        count,
        what: "it ends early",
    };
    let mut reader = Reader::new(bytes);
    match reader.byte().ok_or(ends)? {
        0 => {
            let mut value = reader.zigzag().ok_or(ends)?;
            let step = reader.zigzag().ok_or(ends)?;
            for _ in 0..count {
                integers.push(value);
                value = value.wrapping_add(step);
            }
            Ok(())
        }
        1 => take_steps(&mut reader, count, integers).ok_or(ends),
        2 => take_pco(&mut reader, count, integers),
        _ => Err(ColumnError {
            count,
            what: "unknown form",
        }),
    }
}
