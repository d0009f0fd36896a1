//! Numbers in text: floats to the last bit, integers with their overflow seen.
//!
//! Most samples are short decimals. One whose digits fit 53 bits and whose power of ten is at most
//! 22 is exact as one multiplication or division of two exact doubles (Clinger 1990, "How to read
//! floating point numbers accurately", section 4); all others go to the standard library, which
//! rounds correctly too.

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The largest mantissa of which each smaller integer is a double.
const EXACT_MAX: u64 = 1 << 53;

/// A float as text formats write it: digits with an optional point, exponent and sign, `NaN`,
/// `Inf`, `Infinity` in any case. `None`: no number, or one past the largest double.
/// Correctly rounded; cost some 5 ns for short decimals.
#[must_use]
pub fn float(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let (is_negative, digits) = match bytes.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, bytes),
    };
    let mut mantissa: u64 = 0;
    let mut point_at = usize::MAX;
    // 19 digits are below 2^64; one more byte for the point.
    if digits.len() <= 20 {
        let mut count = 0;
        let mut is_plain = true;
        for (at, byte) in digits.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                count += 1;
            } else if *byte == b'.' && point_at == usize::MAX {
                point_at = at;
            } else {
                is_plain = false;
                break;
            }
        }
        if is_plain && (1..=19).contains(&count) && mantissa <= EXACT_MAX {
            let behind = match point_at {
                usize::MAX => 0,
                at => digits.len() - at - 1,
            };
            #[expect(
                clippy::cast_precision_loss,
                reason = "at most 2^53, so each bit is kept"
            )]
            let whole = mantissa as f64;
            let value = if behind == 0 {
                whole
            } else {
                whole / POWERS[behind]
            };
            return Some(if is_negative { -value } else { value });
        }
    }
    slow(text)
}

/// All that is not a short plain decimal.
#[cold]
fn slow(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    // The library reads 1e999 as an infinity; only the word is one.
    if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(value)
}

/// A signed whole number in decimal; `None` when it is none or does not fit.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // Times in milliseconds and nanoseconds: no sign, and 19 digits are below 2^64.
    if !matches!(bytes.len(), 1..=19) {
        return text.parse().ok();
    }
    let (chunks, rest) = bytes.as_chunks();
    let mut sum: u64 = 0;
    for chunk in chunks {
        let Some(digits) = eight_digits(*chunk) else {
            return text.parse().ok();
        };
        sum = sum * 100_000_000 + digits;
    }
    for byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return text.parse().ok();
        }
        sum = sum * 10 + u64::from(digit);
    }
    i64::try_from(sum).ok()
}

/// The number that eight digits write, all at once: neighbours become two digits, then four, then
/// eight (Lemire, "Quickly parsing eight digits", 2022).
fn eight_digits(digits: [u8; 8]) -> Option<u64> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let text = u64::from_le_bytes(digits);
    let low = text.wrapping_sub(ONES * b'0' as u64);
    // Above `9` the first sets a high bit, below `0` the second.
    if (text.wrapping_add(ONES * (0x7f - b'9') as u64) | low) & HIGHS != 0 {
        return None;
    }
    let twos = low.wrapping_mul(10).wrapping_add(low >> 8);
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let fours = (twos & PAIRS).wrapping_mul(0x000f_4240_0000_0064);
    let others = (twos >> 16 & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    Some(fours.wrapping_add(others) >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        let expected = text.parse::<f64>().ok();
        assert_eq!(
            float(text).map(f64::to_bits),
            expected.map(f64::to_bits),
            "{text:?}"
        );
    }

    #[test]
    fn agrees_with_the_library() {
        for text in [
            "0",
            "-0",
            "+0",
            "-0.0",
            "1",
            "1.",
            ".5",
            "-.5",
            ".",
            "",
            "+",
            "-",
            "1.5",
            "0.1",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.0",
            "0.30000000000000004",
            "123456789012345678901234567890",
            "1e22",
            "1e23",
            "4.9e-324",
            "2.2250738585072014e-308",
            "NaN",
            "+Inf",
            "-Inf",
            "inf",
            "Infinity",
            "1.2.3",
            "1_000",
            "0x10",
            "1e",
            "e5",
            " 1",
            "0000000000000000001",
            "00000000000000000001",
            "0.0000000000000000001",
            "99999999999999999999",
            "18446744073709551616",
            "٣",
        ] {
            same(text);
        }
    }

    #[test]
    fn only_the_word_is_infinite() {
        assert_eq!(float("1e999"), None);
        assert_eq!(float("-1e999"), None);
        assert_eq!(float("+Inf"), Some(f64::INFINITY));
        assert_eq!(float("-infinity"), Some(f64::NEG_INFINITY));
    }

    proptest! {
        #[test]
        fn decimals_agree(text in r"[+-]?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?") {
            same(&text);
        }

        #[test]
        fn every_double_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                prop_assert_eq!(float(&format!("{value:?}")).map(f64::to_bits), Some(bits));
                prop_assert_eq!(float(&format!("{value}")).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn integers_agree(text in "[+-]?[0-9]{0,20}([0-9]|\\PC)?[0-9]{0,7}") {
            prop_assert_eq!(integer(&text), text.parse().ok());
        }
    }
}
