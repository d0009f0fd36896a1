//! Durations and sizes as Prometheus writes them: `1h30m`, `100ms`, `10MB`.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Units of a duration, longest first, in milliseconds. They come in this order, each once.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

impl Period {
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
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// Whether it is nothing, which stands for "not given".
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads `1h30m`; `0` needs no unit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self(0));
        }
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut sum = 0_u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest.get(..digits)?.parse().ok()?;
            rest = rest.get(digits..)?;
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = rest.get(..letters)?;
            rest = rest.get(letters..)?;
            let (_, length) = units.find(|(name, _)| *name == unit)?;
            sum = sum.checked_add(number.checked_mul(*length)?)?;
        }
        // as Prometheus: what is longer than 292 years is none
        (!text.is_empty() && sum <= i64::MAX.unsigned_abs() / 1_000_000).then_some(Self(sum))
    }
}

impl fmt::Display for Period {
    /// As Prometheus writes it: years, weeks and days only where nothing is left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut left = self.0;
        for (unit, length) in UNITS {
            let is_long = matches!(unit, "y" | "w" | "d");
            if left < length || is_long && !left.is_multiple_of(length) {
                continue;
            }
            write!(f, "{}{unit}", left / length)?;
            left %= length;
        }
        Ok(())
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Period;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as 15s or 1h30m")
            }

            // Here, where the reader knows the place.
            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).ok_or_else(|| {
                    E::custom(format_args!("{text:?} is no duration such as 15s or 1h30m"))
                })
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// A number of bytes; zero stands for "not limited".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Reads `10MB`, `512KiB`; powers of 1024 either way, as Prometheus does.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let power = match unit {
            "" if number == 0 => 0,
            "B" => 0,
            "KB" | "KiB" => 1,
            "MB" | "MiB" => 2,
            "GB" | "GiB" => 3,
            "TB" | "TiB" => 4,
            _ => return None,
        };
        Some(Self(number.checked_mul(1024_u64.pow(power))?))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 0 {
            return serializer.serialize_u64(0);
        }
        let power = (self.0.trailing_zeros() / 10).min(4);
        let unit = ["B", "KB", "MB", "GB", "TB"][power as usize];
        serializer.collect_str(&format_args!("{}{unit}", self.0 >> (10 * power)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as 10MB")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text)
                    .ok_or_else(|| E::custom(format_args!("{text:?} is no size such as 10MB")))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_prometheus_does() {
        for (text, milliseconds, written) in [
            ("0", 0, "0s"),
            ("100ms", 100, "100ms"),
            ("15s", 15_000, "15s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1d", 86_400_000, "1d"),
            ("25h", 90_000_000, "25h"),
            ("2w", 14 * 86_400_000, "2w"),
            ("1y1d", 366 * 86_400_000, "366d"),
        ] {
            let period = Period::parse(text).expect(text);
            assert_eq!(
                (period.as_millis(), period.to_string()),
                (milliseconds, written.to_owned())
            );
        }
        for text in [
            "", "1", "s", "1x", "1m1h", "1s1s", "-1s", "1.5s", " 1s", "400y",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("0", 0), ("7B", 7), ("10MB", 10 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "10", "MB", "10mb", "99999999999TB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
