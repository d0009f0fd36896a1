//! Numbers as Go's `strconv` and `fmt` write them.

/// The digits of a finite number, without zeros at the end, and where its point stands:
/// `0.DIGITS × 10^point`. Zero has no digits.
struct Digits {
    digits: Vec<u8>,
    point: i32,
}

/// All digits that are needed to read the same number again, or so many of them.
fn digits(number: f64, count: Option<usize>) -> Digits {
    let text = match count {
        None => format!("{:e}", number.abs()),
        Some(count) => format!("{:.*e}", count.saturating_sub(1), number.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let point = if digits.is_empty() {
        0
    } else {
        exponent.parse::<i32>().unwrap_or(0) + 1
    };
    Digits { digits, point }
}

impl Digits {
    fn at(&self, index: usize) -> char {
        self.digits
            .get(index)
            .map_or('0', |digit| char::from(*digit))
    }

    /// `-d.dddde±dd`, with so many digits after the point.
    fn scientific(&self, after: usize, letter: char, out: &mut String) {
        out.push(self.at(0));
        if after > 0 {
            out.push('.');
            out.extend((1..=after).map(|index| self.at(index)));
        }
        out.push(letter);
        let exponent = if self.digits.is_empty() {
            0
        } else {
            self.point - 1
        };
        out.push(if exponent < 0 { '-' } else { '+' });
        let exponent = exponent.abs();
        if exponent < 10 {
            out.push('0');
        }
        out.push_str(&exponent.to_string());
    }

    /// `ddd.ddd`, with so many digits after the point.
    fn plain(&self, after: usize, out: &mut String) {
        let before = usize::try_from(self.point).unwrap_or(0);
        if before == 0 {
            out.push('0');
        }
        out.extend((0..before).map(|index| self.at(index)));
        if after > 0 {
            out.push('.');
            for index in 0..after {
                let index = i64::from(self.point) + i64::try_from(index).unwrap_or(i64::MAX);
                out.push(usize::try_from(index).map_or('0', |index| self.at(index)));
            }
        }
    }
}

/// `strconv.FormatFloat` of `e E f F g G x X` for 64 bits; without a precision, as many digits as
/// are needed to read the same number again.
pub(crate) fn float(number: f64, verb: char, precision: Option<usize>) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let mut out = String::new();
    if number.is_sign_negative() {
        out.push('-');
    }
    match verb {
        'e' | 'E' => {
            let found = digits(number, precision.map(|precision| precision + 1));
            let after = precision.unwrap_or_else(|| found.digits.len().saturating_sub(1));
            found.scientific(after, verb, &mut out);
        }
        'f' | 'F' => match precision {
            Some(precision) => out.push_str(&format!("{:.precision$}", number.abs())),
            None => out.push_str(&number.abs().to_string()),
        },
        'x' | 'X' => hexadecimal(number, precision, verb == 'X', &mut out),
        _ => general(number, precision, verb == 'G', &mut out),
    }
    out
}

/// `%g`: the shorter of both forms.
fn general(number: f64, precision: Option<usize>, upper: bool, out: &mut String) {
    let wanted = precision.map(|precision| precision.max(1));
    let found = digits(number, wanted);
    let count = found.digits.len();
    let signed = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let most = match wanted {
        None => 6,
        Some(wanted) if wanted > count && signed(count) >= found.point => signed(count),
        Some(wanted) => signed(wanted),
    };
    let exponent = found.point - 1;
    if exponent < -4 || exponent >= most {
        // Zero has no digits, and its exponent is none.
        if !found.digits.is_empty() {
            let after = wanted.unwrap_or(count).min(count).saturating_sub(1);
            found.scientific(after, if upper { 'E' } else { 'e' }, out);
            return;
        }
    }
    let after = signed(count).saturating_sub(found.point).max(0);
    found.plain(usize::try_from(after).unwrap_or(0), out);
}

/// `%x`: `0x1.8p+01`.
fn hexadecimal(number: f64, precision: Option<usize>, upper: bool, out: &mut String) {
    let bits = number.to_bits();
    let mut exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let mut mantissa = bits & ((1 << 52) - 1);
    if exponent == 0 && mantissa == 0 {
        exponent = 0;
    } else if exponent == 0 {
        // A number that is too small for its exponent: its first bit goes to the front.
        let shift = mantissa.leading_zeros() - 11;
        mantissa <<= shift;
        exponent = -1022 - i32::try_from(shift).unwrap_or(0);
    } else {
        mantissa |= 1 << 52;
        exponent -= 1023;
    }
    if let Some(kept) = precision.filter(|kept| *kept < 13) {
        let dropped = u32::try_from(52 - kept * 4).unwrap_or(0);
        let rest = mantissa & ((1 << dropped) - 1);
        mantissa >>= dropped;
        let half = 1u64 << (dropped - 1);
        if rest > half || (rest == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= dropped;
        if mantissa >> 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let first = mantissa >> 52;
    let mut after = format!("{:013x}", mantissa & ((1 << 52) - 1));
    match precision {
        None => after.truncate(after.trim_end_matches('0').len()),
        Some(kept) => {
            after.truncate(kept);
            while after.len() < kept {
                after.push('0');
            }
        }
    }
    let mut text = format!("0x{first}");
    if !after.is_empty() {
        text.push('.');
        text.push_str(&after);
    }
    text.push_str(&format!(
        "p{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    ));
    out.push_str(&if upper { text.to_uppercase() } else { text });
}

/// `strconv.ParseFloat`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, "inf" | "infinity") {
        return Some(if lower.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    if lower == "nan" {
        return Some(f64::NAN);
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Some(hexadecimal) = unsigned.strip_prefix("0x") {
        let number = parse_hexadecimal(hexadecimal)?;
        return Some(if lower.starts_with('-') {
            -number
        } else {
            number
        });
    }
    let number: f64 = lower.parse().ok()?;
    // What is too large is an error in Go.
    number.is_finite().then_some(number)
}

fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let mut number = 0.0;
    for digit in before.chars().chain(after.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(after.len()).ok()?.checked_mul(4)?;
    let number = number * 2f64.powi(exponent.checked_sub(shift)?);
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, verb, precision, text) in [
            (0.0, 'g', None, "0"),
            (-0.0, 'g', None, "-0"),
            (1.0, 'g', None, "1"),
            (100_000.0, 'g', None, "100000"),
            (1_000_000.0, 'g', None, "1e+06"),
            (1_234_567.0, 'g', None, "1.234567e+06"),
            (123_456_789.0, 'g', None, "1.23456789e+08"),
            (0.0001, 'g', None, "0.0001"),
            (0.00001, 'g', None, "1e-05"),
            (0.1, 'g', None, "0.1"),
            (1e21, 'g', None, "1e+21"),
            (5e-324, 'g', None, "5e-324"),
            (f64::MAX, 'g', None, "1.7976931348623157e+308"),
            (f64::NAN, 'f', Some(2), "NaN"),
            (f64::INFINITY, 'g', None, "+Inf"),
            (f64::NEG_INFINITY, 'e', None, "-Inf"),
            (123_456.0, 'g', Some(4), "1.235e+05"),
            (1234.5, 'g', Some(4), "1234"),
            (1235.5, 'g', Some(4), "1236"),
            (100.0, 'g', Some(4), "100"),
            (1000.0, 'g', Some(4), "1000"),
            (10_000.0, 'g', Some(4), "1e+04"),
            (0.5, 'g', Some(0), "0.5"),
            (99.99, 'g', Some(3), "100"),
            (0.0, 'g', Some(4), "0"),
            (12.0, 'e', None, "1.2e+01"),
            (12.0, 'e', Some(6), "1.200000e+01"),
            (0.0, 'e', Some(2), "0.00e+00"),
            (1e-200, 'E', Some(0), "1E-200"),
            (0.5, 'f', Some(0), "0"),
            (1.5, 'f', Some(0), "2"),
            (2.675, 'f', Some(2), "2.67"),
            (-1.005, 'f', Some(2), "-1.00"),
            (1e21, 'f', None, "1000000000000000000000"),
            (3.0, 'x', None, "0x1.8p+01"),
            (1.0, 'x', None, "0x1p+00"),
            (0.0, 'x', None, "0x0p+00"),
            (1.999, 'x', Some(0), "0x1p+01"),
            (-0.1, 'X', Some(3), "-0X1.99AP-04"),
        ] {
            assert_eq!(float(number, verb, precision), text, "{number} %{verb}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_does() {
        for (text, number) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (".5", Some(0.5)),
            ("+Inf", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("0x1.8p1", Some(3.0)),
            ("1e400", None),
            ("", None),
            ("x", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_float(text), number, "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }
}
