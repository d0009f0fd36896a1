//! Times on the wire, all brought to Unix milliseconds. Finer ones are cut towards the past, so
//! that a sample never moves into the next millisecond.

/// What one step of a timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 1 ns, the default of Influx line protocol.
    Nanoseconds,
    /// 1 µs.
    Microseconds,
    /// 1 ms.
    Milliseconds,
    /// 1 s.
    Seconds,
    /// 1 min (Influx v1).
    Minutes,
    /// 1 h (Influx v1).
    Hours,
    /// Nobody said: by magnitude, see [`guess_ms`].
    Guess,
}

impl Precision {
    /// From the query parameter `precision` of `/write` and `/api/v2/write`: `n`, `ns`, `u`, `us`,
    /// `µ`, `µs`, `ms`, `s`, `m`, `h`, and nothing for nanoseconds; `None` for another word.
    #[must_use]
    pub fn from_query(word: &str) -> Option<Self> {
        Some(match word {
            "" | "n" | "ns" => Self::Nanoseconds,
            "u" | "us" | "\u{b5}" | "\u{b5}s" | "\u{3bc}" | "\u{3bc}s" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    /// A time of this precision as Unix milliseconds; at the ends of the range it stays there
    /// (and is refused later, being out of any window).
    #[must_use]
    pub fn to_ms(self, time: i64) -> i64 {
        match self {
            Self::Nanoseconds => time.div_euclid(1_000_000),
            Self::Microseconds => time.div_euclid(1_000),
            Self::Milliseconds => not_now(time),
            Self::Seconds => not_now(time.saturating_mul(1_000)),
            Self::Minutes => not_now(time.saturating_mul(60_000)),
            Self::Hours => not_now(time.saturating_mul(3_600_000)),
            Self::Guess => guess_ms(time),
        }
    }
}

/// `i64::MIN` stands for the moment of arrival in a row; as a time it is one millisecond later,
/// which nobody will miss 292 million years ago.
pub(crate) fn not_now(ms: i64) -> i64 {
    ms.max(i64::MIN + 1)
}

/// A time of unknown precision by its magnitude: up to 10^11 are seconds (until the year 5138), up
/// to 10^14 milliseconds (from March 1973 on), up to 10^17 microseconds, beyond nanoseconds.
#[must_use]
pub fn guess_ms(time: i64) -> i64 {
    match time.unsigned_abs() {
        0..100_000_000_000 => time * 1_000,
        100_000_000_000..100_000_000_000_000 => time,
        100_000_000_000_000..100_000_000_000_000_000 => time.div_euclid(1_000),
        _ => time.div_euclid(1_000_000),
    }
}

/// Seconds with a fraction, as OpenMetrics writes them, in milliseconds (cut); `None` when they
/// are no number or out of range.
#[must_use]
pub fn seconds_to_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let plain = !fraction.is_empty() || !text.contains(['e', 'E']);
    if plain && fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = crate::number::integer(whole)?;
        let mut ms = 0;
        for place in 0..3 {
            let digit = fraction.as_bytes().get(place).map_or(0, |byte| byte - b'0');
            ms = ms * 10 + i64::from(digit);
        }
        let ms = if is_negative { -ms } else { ms };
        return Some(not_now(seconds.checked_mul(1_000)?.checked_add(ms)?));
    }
    let ms = (crate::number::float(text)? * 1_000.0).floor();
    // The bounds of i64 as doubles; NaN is in no range.
    (-9.2e18..9.2e18).contains(&ms).then(|| {
        #[expect(clippy::cast_possible_truncation, reason = "in range, a line above")]
        let ms = ms as i64;
        ms
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_precision_is_milliseconds() {
        for (word, time, ms) in [
            ("", 1_795_204_862_345_999_999, 1_795_204_862_345),
            ("ns", -1, -1),
            ("us", 1_795_204_862_345_999, 1_795_204_862_345),
            ("µ", 1_999, 1),
            ("ms", 1_795_204_862_345, 1_795_204_862_345),
            ("s", 1_795_204_862, 1_795_204_862_000),
            ("m", 2, 120_000),
            ("h", 2, 7_200_000),
            ("s", i64::MAX, i64::MAX),
            ("ms", i64::MIN, i64::MIN + 1),
        ] {
            assert_eq!(
                Precision::from_query(word).map(|precision| precision.to_ms(time)),
                Some(ms),
                "{word} {time}"
            );
        }
        assert_eq!(Precision::from_query("d"), None);
    }

    #[test]
    fn magnitude_tells_the_precision() {
        let ms = 1_795_204_862_345;
        assert_eq!(guess_ms(1_795_204_862), 1_795_204_862_000);
        assert_eq!(guess_ms(ms), ms);
        assert_eq!(guess_ms(ms * 1_000 + 999), ms);
        assert_eq!(guess_ms(ms * 1_000_000 + 999), ms);
        assert_eq!(guess_ms(i64::MIN), i64::MIN / 1_000_000 - 1);
    }

    #[test]
    fn seconds_have_fractions() {
        assert_eq!(seconds_to_ms("1520879607.789"), Some(1_520_879_607_789));
        assert_eq!(seconds_to_ms("1520879607.7899"), Some(1_520_879_607_789));
        assert_eq!(seconds_to_ms("1520879607.7"), Some(1_520_879_607_700));
        assert_eq!(seconds_to_ms("-0.5"), Some(-500));
        assert_eq!(seconds_to_ms("1.520879607e9"), Some(1_520_879_607_000));
        assert_eq!(seconds_to_ms("12"), Some(12_000));
        for bad in [
            "",
            "x",
            "1.2.3",
            "NaN",
            "1e300",
            "1.x",
            "99999999999999999999",
        ] {
            assert_eq!(seconds_to_ms(bad), None, "{bad:?}");
        }
    }
}
