//! XOR chunks: times as differences of differences, values as what changed of their bits.
//!
//! As `tsdb/chunkenc/xor.go` of Prometheus writes them, after "Gorilla: A Fast, Scalable, In-Memory
//! Time Series Database" (Pelkonen et al., VLDB 2015), section 4.1.

use prost::encoding::encode_varint;

/// Packs at most 65 535 samples, ascending in time.
pub(super) fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let samples = &samples[..samples.len().min(usize::from(u16::MAX))];
    let mut bits = Bits {
        bytes: (samples.len() as u16).to_be_bytes().to_vec(),
        free: 0,
    };
    let (mut before, mut delta) = ((0_i64, 0_f64), 0_i64);
    let mut values = Values::default();
    for (index, &(at_ms, value)) in samples.iter().enumerate() {
        match index {
            0 => {
                bits.varint(zigzag(at_ms));
                bits.push(value.to_bits(), 64);
            }
            1 => {
                delta = at_ms.wrapping_sub(before.0);
                bits.varint(delta.cast_unsigned());
                values.push(before.1, value, &mut bits);
            }
            _ => {
                let next = at_ms.wrapping_sub(before.0);
                time(next.wrapping_sub(delta), &mut bits);
                delta = next;
                values.push(before.1, value, &mut bits);
            }
        }
        before = (at_ms, value);
    }
    bits.bytes
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// How many bits, what stands in front, and how many bits that is.
const SIZES: [(u32, u64, u32); 3] = [(14, 0b10, 2), (17, 0b110, 3), (20, 0b1110, 4)];

fn time(difference: i64, bits: &mut Bits) {
    if difference == 0 {
        return bits.push(0, 1);
    }
    for (size, mark, length) in SIZES {
        let most = 1_i64 << (size - 1);
        if (-(most - 1)..=most).contains(&difference) {
            bits.push(mark, length);
            return bits.push(difference.cast_unsigned(), size);
        }
    }
    bits.push(0b1111, 4);
    bits.push(difference.cast_unsigned(), 64);
}

/// Which bits of the value changed last.
#[derive(Default)]
struct Values {
    window: Option<(u32, u32)>,
}

impl Values {
    fn push(&mut self, before: f64, value: f64, bits: &mut Bits) {
        let changed = before.to_bits() ^ value.to_bits();
        if changed == 0 {
            return bits.push(0, 1);
        }
        bits.push(1, 1);
        // Five bits say it.
        let leading = changed.leading_zeros().min(31);
        let trailing = changed.trailing_zeros();
        if let Some((known_leading, known_trailing)) = self.window
            && leading >= known_leading
            && trailing >= known_trailing
        {
            bits.push(0, 1);
            return bits.push(
                changed >> known_trailing,
                64 - known_leading - known_trailing,
            );
        }
        self.window = Some((leading, trailing));
        let size = 64 - leading - trailing;
        bits.push(1, 1);
        bits.push(u64::from(leading), 5);
        // 64 does not fit into six bits, and 0 cannot be.
        bits.push(u64::from(size) & 0x3f, 6);
        bits.push(changed >> trailing, size);
    }
}

/// Bits, the highest of a byte first.
struct Bits {
    bytes: Vec<u8>,
    /// Of the last byte.
    free: u32,
}

impl Bits {
    fn push(&mut self, value: u64, mut count: u32) {
        while count > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let taken = count.min(self.free);
            count -= taken;
            let part = (value >> count) as u8 & (0xff_u16 >> (8 - taken)) as u8;
            self.free -= taken;
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << self.free;
            }
        }
    }

    fn varint(&mut self, value: u64) {
        let mut bytes = Vec::with_capacity(10);
        encode_varint(value, &mut bytes);
        for byte in bytes {
            self.push(u64::from(byte), 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads bits back, as slowly as it is simple.
    struct Read<'a>(&'a [u8], usize);

    impl Read<'_> {
        fn take(&mut self, count: u32) -> u64 {
            (0..count).fold(0, |value, _| {
                let bit = self.0[self.1 / 8] >> (7 - self.1 % 8) & 1;
                self.1 += 1;
                value << 1 | u64::from(bit)
            })
        }

        fn varint(&mut self) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = self.take(8);
                value |= (byte & 0x7f) << shift;
                if byte < 0x80 {
                    return value;
                }
                shift += 7;
            }
        }
    }

    fn decode(bytes: &[u8]) -> Vec<(i64, u64)> {
        let count = u16::from_be_bytes([bytes[0], bytes[1]]);
        let mut read = Read(&bytes[2..], 0);
        let (mut samples, mut delta, mut window) = (Vec::new(), 0_i64, (0, 0));
        for index in 0..count {
            if index == 0 {
                let raw = read.varint();
                let at_ms = (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed());
                samples.push((at_ms, read.take(64)));
                continue;
            }
            let (before_ms, before) = samples[samples.len() - 1];
            if index == 1 {
                delta = read.varint().cast_signed();
            } else {
                let mut ones = 0;
                while ones < 4 && read.take(1) == 1 {
                    ones += 1;
                }
                let size = [0, 14, 17, 20, 64][ones];
                let raw = read.take(size);
                let is_negative = size < 64 && size > 0 && raw > 1 << (size - 1);
                let extended = if is_negative {
                    raw | u64::MAX << size
                } else {
                    raw
                };
                delta = delta.wrapping_add(extended.cast_signed());
            }
            let mut value = before;
            if read.take(1) == 1 {
                if read.take(1) == 1 {
                    let leading = read.take(5) as u32;
                    let size = match read.take(6) as u32 {
                        0 => 64,
                        size => size,
                    };
                    window = (leading, 64 - leading - size);
                }
                let size = 64 - window.0 - window.1;
                value ^= read.take(size) << window.1;
            }
            samples.push((before_ms.wrapping_add(delta), value));
        }
        samples
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(
            start_ms in -1_000_000_i64..2_000_000_000_000,
            steps in prop::collection::vec(
                (prop_oneof![Just(1_000_i64), 1_i64..30_000, 1_i64..10_000_000_000], prop_oneof![
                    Just(1.0_f64), any::<f64>(), (0_i32..1000).prop_map(|n| f64::from(n) / 10.0),
                ]),
                0..150,
            ),
        ) {
            let mut at_ms = start_ms;
            let samples: Vec<(i64, f64)> = steps
                .into_iter()
                .map(|(step, value)| {
                    at_ms += step;
                    (at_ms, value)
                })
                .collect();
            let expected: Vec<(i64, u64)> =
                samples.iter().map(|(at_ms, value)| (*at_ms, value.to_bits())).collect();
            prop_assert_eq!(decode(&encode(&samples)), expected);
        }
    }
}
