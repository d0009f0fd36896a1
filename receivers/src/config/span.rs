//! Durations as they stand in files: `1h30m` as Prometheus writes them, `1m30.5s` as Go does.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

/// Units in nanoseconds.
const UNITS: [(&str, u64); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
    ("y", 31_536_000_000_000_000),
];

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Reads `1h30m` and `1.5s`; `0` needs no unit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self(0));
        }
        let mut rest = text;
        let mut sum = 0_u128;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let whole: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let mut part = (0_u128, 1_u128);
            if let Some(after) = rest.strip_prefix('.') {
                let digits = after.bytes().take_while(u8::is_ascii_digit).count();
                let text = after.get(..digits.min(9))?;
                part = (
                    text.parse().ok()?,
                    10_u128.pow(u32::try_from(text.len()).ok()?),
                );
                rest = after.get(digits..)?;
            }
            let end = rest
                .find(|next: char| next.is_ascii_digit() || next == '.')
                .unwrap_or(rest.len());
            let (unit, after) = rest.split_at(end);
            let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
            let nanos = u128::from(*nanos);
            sum += u128::from(whole) * nanos + part.0 * nanos / part.1;
            rest = after;
        }
        // As Go: what is longer than 292 years is none.
        let fits = !text.is_empty() && sum <= u128::from(i64::MAX.unsigned_abs());
        fits.then(|| Self(u64::try_from(sum / 1_000_000).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, length) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if left >= length {
                write!(f, "{}{unit}", left / length)?;
                left %= length;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Span;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as 1h30m")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text)
                    .ok_or_else(|| E::custom(format_args!("{text:?} is no duration such as 1h30m")))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_and_go_write_them() {
        for (text, milliseconds, shown) in [
            ("0", 0, "0s"),
            ("1m", 60_000, "1m"),
            ("1h0m0s", 3_600_000, "1h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1.5s", 1500, "1s500ms"),
            ("2d", 172_800_000, "2d"),
            ("100us", 0, "0s"),
        ] {
            let span = Span::parse(text).expect(text);
            assert_eq!(
                (span.as_millis(), span.to_string().as_str()),
                (milliseconds, shown)
            );
            assert_eq!(Span::parse(&span.to_string()), Some(span));
        }
        for text in ["", "1", "m", "-1s", "1x", "300y", "1.s.", "é"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }
}
