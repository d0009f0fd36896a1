//! Durations as rule files write them: `1h30m`.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// A duration in milliseconds, never negative. As text `1h30m`, in files and in JSON: of a number
/// nobody knows whether it is meant as seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(i64);

impl Period {
    /// So many milliseconds; a negative number is none.
    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(if milliseconds < 0 { 0 } else { milliseconds })
    }

    /// Milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Reads `1h30m`; `0` needs no unit.
    ///
    /// # Errors
    /// It is none, in Prometheus' words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self(0)),
            "" => Err("empty duration string".to_owned()),
            text => pulseboard_promql::parse_duration(text)
                .map(Self)
                .ok_or_else(|| {
                    let is_shaped = text
                        .bytes()
                        .next()
                        .is_some_and(|byte| byte.is_ascii_digit())
                        && text
                            .bytes()
                            .last()
                            .is_some_and(|byte| byte.is_ascii_alphabetic())
                        && text.bytes().any(|byte| byte.is_ascii_digit())
                        && text.len() > 15;
                    match is_shaped {
                        true => "duration out of range".to_owned(),
                        false => format!("not a valid duration string: {text:?}"),
                    }
                }),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&pulseboard_promql::print::duration(self.0))
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
                formatter.write_str("a duration such as \"15s\" or \"1h30m\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).map_err(E::custom)
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
        for (text, ms, written) in [
            ("0", 0, "0s"),
            ("0m", 0, "0s"),
            ("5m", 300_000, "5m"),
            ("1m0s", 60_000, "1m"),
            ("90s", 90_000, "1m30s"),
            ("14d", 14 * 86_400_000, "2w"),
            ("1h30m500ms", 5_400_500, "1h30m500ms"),
        ] {
            let read = Period::parse(text).expect(text);
            assert_eq!((read.as_millis(), read.to_string().as_str()), (ms, written));
        }
        for (text, what) in [
            ("", "empty duration string"),
            ("5", "not a valid duration string: \"5\""),
            ("5 m", "not a valid duration string: \"5 m\""),
            ("-5m", "not a valid duration string: \"-5m\""),
            ("1m1h", "not a valid duration string: \"1m1h\""),
        ] {
            assert_eq!(Period::parse(text).expect_err(text), what);
        }
        let json: Vec<Period> = serde_json::from_str("[\"1m\", \"0\"]").expect("read");
        assert_eq!(
            json.iter().map(|one| one.0).collect::<Vec<_>>(),
            [60_000, 0]
        );
        for bad in [
            "5", "0", "-1", "\"x\"", "\"5\"", "1.5", "true", "null", "[\"1m\"]",
        ] {
            serde_json::from_str::<Period>(bad).expect_err(bad);
        }
    }
}
