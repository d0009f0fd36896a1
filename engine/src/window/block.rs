//! Samples packed tightly: what is full is packed once and read often.
//!
//! ```text
//! count u16 │ form u8 │ times │ values
//!
//! times, steady:   first i64 │ step varint                        (a few bytes for any count)
//! times, uneven:   first i64 │ zigzag varint of each step's change
//! values, decimal: power u8 │ zigzag varints of the differences of value × 10^power
//! values, plain:   per value: run of equal ones, or its XOR with the one before, without the
//!                  zero bytes at both ends
//! ```
//!
//! Everything is exact: a value comes back with the same bits (NaN payloads and −0 included).
//! Decimal is taken where multiplying, rounding and dividing gives the very same bits for every
//! value, which holds for whole numbers and for what people write with a few decimals.

/// Samples of one block at most.
pub(crate) const BLOCK_SAMPLES_MAX: usize = 120;

/// A sample: Unix milliseconds and value.
pub type Sample = (i64, f64);

const STEADY: u8 = 1;
const DECIMAL: u8 = 2;

/// Powers of ten that are tried; f64 has them exactly.
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// Decimal beyond this would lose digits in f64.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Packed samples, sorted by time, no time twice.
#[derive(Debug)]
pub(crate) struct Block {
    /// Time of the first.
    pub(crate) first_ms: i64,
    /// Time of the last.
    pub(crate) last_ms: i64,
    bytes: Box<[u8]>,
}

impl Block {
    /// Packs `samples`: sorted, no time twice, 1 to [`BLOCK_SAMPLES_MAX`] of them (a block that
    /// took late ones in may have twice as many).
    pub(crate) fn pack(samples: &[Sample], scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let count = u16::try_from(samples.len()).unwrap_or(u16::MAX);
        scratch.extend_from_slice(&count.to_le_bytes());
        scratch.push(0);
        let mut form = 0;
        if put_times(samples, scratch) {
            form |= STEADY;
        }
        if put_decimals(samples, scratch) {
            form |= DECIMAL;
        } else {
            put_plain(samples, scratch);
        }
        scratch[2] = form;
        Self {
            first_ms: samples.first().map_or(0, |sample| sample.0),
            last_ms: samples.last().map_or(0, |sample| sample.0),
            bytes: scratch.as_slice().into(),
        }
    }

    /// Bytes that it holds in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// How many samples it has.
    pub(crate) fn count(&self) -> usize {
        self.bytes
            .first_chunk::<2>()
            .map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// Appends its samples to `into`.
    pub(crate) fn unpack(&self, into: &mut Vec<Sample>) {
        let count = self.count();
        let form = self.bytes.get(2).copied().unwrap_or_default();
        let mut reader = Reader(self.bytes.get(3..).unwrap_or_default());
        let from = into.len();
        into.reserve(count);
        let mut at_ms = reader.i64();
        into.push((at_ms, 0.0));
        if form & STEADY != 0 {
            let step = reader.zigzag();
            for _ in 1..count {
                at_ms = at_ms.wrapping_add(step);
                into.push((at_ms, 0.0));
            }
        } else {
            let mut step = 0_i64;
            for _ in 1..count {
                step = step.wrapping_add(reader.zigzag());
                at_ms = at_ms.wrapping_add(step);
                into.push((at_ms, 0.0));
            }
        }
        let values = &mut into[from..];
        if form & DECIMAL != 0 {
            let power = POWERS.get(usize::from(reader.u8())).copied().unwrap_or(1.0);
            let mut whole = 0_i64;
            for (_, value) in values {
                whole = whole.wrapping_add(reader.zigzag());
                // Exact: both are whole numbers below 2^53.
                *value = whole as f64 / power;
            }
        } else {
            reader.plain(values);
        }
    }
}

/// Writes the times; whether they are steady.
fn put_times(samples: &[Sample], out: &mut Vec<u8>) -> bool {
    let Some(&(first, _)) = samples.first() else {
        return false;
    };
    out.extend_from_slice(&first.to_le_bytes());
    let step = samples
        .get(1)
        .map_or(0, |second| second.0.wrapping_sub(first));
    let is_steady = samples
        .windows(2)
        .all(|pair| pair[1].0.wrapping_sub(pair[0].0) == step);
    if is_steady {
        put_zigzag(step, out);
        return true;
    }
    let mut before = 0_i64;
    for pair in samples.windows(2) {
        let step = pair[1].0.wrapping_sub(pair[0].0);
        put_zigzag(step.wrapping_sub(before), out);
        before = step;
    }
    false
}

/// The smallest power at which all values are whole, exactly.
fn power_of(samples: &[Sample]) -> Option<usize> {
    let mut power = 0;
    for &(_, value) in samples {
        while whole_at(value, POWERS[power]).is_none() {
            power += 1;
            if power == POWERS.len() {
                return None;
            }
        }
    }
    // A value that was whole at a smaller power must be so at the one that the others need.
    samples
        .iter()
        .all(|&(_, value)| whole_at(value, POWERS[power]).is_some())
        .then_some(power)
}

/// `value × power` where that is a whole number from which the same bits come back (not those of
/// −0, which no whole number has).
fn whole_at(value: f64, power: f64) -> Option<i64> {
    let scaled = (value * power).round();
    if scaled.abs() >= WHOLE_MAX || scaled.is_nan() {
        return None;
    }
    let whole = scaled as i64;
    if (whole as f64 / power).to_bits() == value.to_bits() {
        return Some(whole);
    }
    None
}

/// Writes the values as decimals where that is exact and short.
fn put_decimals(samples: &[Sample], out: &mut Vec<u8>) -> bool {
    let Some(power) = power_of(samples) else {
        return false;
    };
    let start = out.len();
    out.push(u8::try_from(power).unwrap_or_default());
    let mut before = 0_i64;
    for &(_, value) in samples {
        let whole = whole_at(value, POWERS[power]).unwrap_or_default();
        put_zigzag(whole.wrapping_sub(before), out);
        before = whole;
    }
    if out.len() - start > samples.len() * 8 {
        out.truncate(start);
        return false;
    }
    true
}

/// From here on a control byte is a run of equal values.
const RUN: u8 = 64;

fn put_plain(samples: &[Sample], out: &mut Vec<u8>) {
    let mut before = 0_u64;
    let mut run = 0_u8;
    for &(_, value) in samples {
        let bits = value.to_bits();
        let change = bits ^ before;
        before = bits;
        if change == 0 {
            run += 1;
            if run == u8::MAX - RUN {
                out.push(RUN + run);
                run = 0;
            }
            continue;
        }
        if run > 0 {
            out.push(RUN + run);
            run = 0;
        }
        let leading = change.leading_zeros() / 8;
        let trailing = change.trailing_zeros() / 8;
        out.push((leading * 8 + trailing) as u8);
        let bytes = change.to_be_bytes();
        out.extend_from_slice(&bytes[leading as usize..8 - trailing as usize]);
    }
    if run > 0 {
        out.push(RUN + run);
    }
}

fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Reads what `pack` wrote; past the end everything is zero.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn i64(&mut self) -> i64 {
        let Some((bytes, rest)) = self.0.split_first_chunk::<8>() else {
            return 0;
        };
        self.0 = rest;
        i64::from_le_bytes(*bytes)
    }

    fn zigzag(&mut self) -> i64 {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    fn plain(&mut self, values: &mut [Sample]) {
        let mut before = 0_u64;
        let mut run = 0_u8;
        for (_, value) in values {
            if run == 0 {
                let control = self.u8();
                if control >= RUN {
                    run = control - RUN;
                } else {
                    let leading = usize::from(control / 8);
                    let trailing = usize::from(control % 8);
                    let mut bytes = [0; 8];
                    let length = 8_usize.saturating_sub(leading + trailing);
                    let (head, rest) = self.0.split_at(length.min(self.0.len()));
                    bytes[leading..leading + head.len()].copy_from_slice(head);
                    self.0 = rest;
                    before ^= u64::from_be_bytes(bytes);
                }
            }
            run = run.saturating_sub(1);
            *value = f64::from_bits(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
        samples
            .iter()
            .map(|(at_ms, value)| (*at_ms, value.to_bits()))
            .collect()
    }

    fn round_trip(samples: &[Sample]) -> usize {
        let block = Block::pack(samples, &mut Vec::new());
        let mut read = Vec::new();
        block.unpack(&mut read);
        assert_eq!(bits(&read), bits(samples));
        assert_eq!(block.count(), samples.len());
        block.bytes.len()
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_000_i64..1_000_000).prop_map(|whole| whole as f64),
            (-100_000_i64..100_000).prop_map(|tenths| tenths as f64 / 10.0),
            Just(-0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
        ]
    }

    proptest! {
        #[test]
        fn any_samples_come_back(
            start in any::<i32>(),
            steps in prop::collection::vec((1_i64..100_000, value()), 1..130),
        ) {
            let mut at_ms = i64::from(start);
            let samples: Vec<Sample> = steps
                .into_iter()
                .map(|(step, value)| { at_ms += step; (at_ms, value) })
                .collect();
            round_trip(&samples);
        }

        #[test]
        fn runs_and_one_kind_of_value_come_back(
            value in value(),
            count in 1_usize..300,
            kinds in prop::collection::vec(value(), 1..4),
        ) {
            let same: Vec<Sample> = (0..count).map(|index| (index as i64 * 1000, value)).collect();
            round_trip(&same);
            let mixed: Vec<Sample> = (0..count)
                .map(|index| (index as i64 * 1000, kinds[index / 5 % kinds.len()]))
                .collect();
            round_trip(&mixed);
        }
    }

    #[test]
    fn what_people_measure_is_small() {
        let tenths = |index: i64| (index * 37 % 50) as f64 / 10.0 + 40.0;
        let samples: Vec<Sample> = (0..120)
            .map(|index| (index * 1000, tenths(index)))
            .collect();
        assert!(round_trip(&samples) < 120 * 3 / 2, "two decimals a sample");
        let constant: Vec<Sample> = (0..120).map(|index| (index * 1000, 0.1 + 0.2)).collect();
        assert!(round_trip(&constant) < 32);
    }
}
