//! Numbers as JSON says them that has neither NaN nor infinities: `"NaN"`, `"+Inf"` and `"-Inf"`,
//! the words of Prometheus' own answers. `null` is no value at all.
//!
//! The functions are for `#[serde(with = "…")]`; the types that are sent stay plain numbers.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// A number as the wire has it.
struct Figure(f64);

/// The word for a number that JSON has not.
#[must_use]
pub fn word(value: f64) -> Option<&'static str> {
    if value.is_finite() {
        None
    } else if value.is_nan() {
        Some("NaN")
    } else if value > 0.0 {
        Some("+Inf")
    } else {
        Some("-Inf")
    }
}

/// A number in words or digits, for people.
#[must_use]
pub fn text(value: f64) -> String {
    word(value).map_or_else(|| value.to_string(), str::to_owned)
}

/// The number that a word stands for.
#[must_use]
pub fn from_word(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match word(self.0) {
            None => serializer.serialize_f64(self.0),
            Some(word) => serializer.serialize_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FigureVisitor;

        impl Visitor<'_> for FigureVisitor {
            type Value = Figure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"+Inf\" or \"-Inf\"")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Figure, E> {
                Ok(Figure(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            fn visit_i64<E: Error>(self, value: i64) -> Result<Figure, E> {
                Ok(Figure(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            fn visit_u64<E: Error>(self, value: u64) -> Result<Figure, E> {
                Ok(Figure(value as f64))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Figure, E> {
                let wrong = || E::custom(format!("{text:?} is no number"));
                from_word(text).map(Figure).ok_or_else(wrong)
            }
        }

        deserializer.deserialize_any(FigureVisitor)
    }
}

/// `Option<f64>`; `None` is `null`.
pub mod option {
    use super::{Deserialize, Deserializer, Figure, Serialize, Serializer};

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Figure).serialize(serializer)
    }

    /// For serde.
    ///
    /// # Errors
    /// It is neither a number nor `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        let value = Option::<Figure>::deserialize(deserializer)?;
        Ok(value.map(|figure| figure.0))
    }
}

/// `f64` that is always there; `null`, as older records have it, is read as NaN.
pub mod there {
    use super::{Deserializer, Figure, Serialize, Serializer, option};

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Figure(*value).serialize(serializer)
    }

    /// For serde.
    ///
    /// # Errors
    /// It is neither a number nor `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// `f64` of which NaN is `null`: a figure that could not be measured.
pub mod or_null {
    use super::{Deserializer, Serializer, option};

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        option::serialize(&Some(*value).filter(|value| !value.is_nan()), serializer)
    }

    /// For serde.
    ///
    /// # Errors
    /// It is neither a number nor `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// A list of `(i64, Option<f64>)`.
pub mod samples {
    use super::{Deserialize, Deserializer, Figure, Serializer};

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(
        samples: &[(i64, Option<f64>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let samples = samples.iter();
        serializer.collect_seq(samples.map(|&(at_ms, value)| (at_ms, value.map(Figure))))
    }

    /// For serde.
    ///
    /// # Errors
    /// It is no such list.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(i64, Option<f64>)>, D::Error> {
        let samples = Vec::<(i64, Option<Figure>)>::deserialize(deserializer)?;
        let samples = samples.into_iter();
        Ok(samples
            .map(|(at_ms, value)| (at_ms, value.map(|figure| figure.0)))
            .collect())
    }
}

/// A list of [`crate::protocol::series::RangePoint`]s.
pub mod points {
    use super::{Deserialize, Deserializer, Figure, Serializer};
    use crate::protocol::series::RangePoint;

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(
        points: &[RangePoint],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let points = points.iter().map(|&(at_ms, value, min, max)| {
            let [value, min, max] = [value, min, max].map(|value| value.map(Figure));
            (at_ms, value, min, max)
        });
        serializer.collect_seq(points)
    }

    /// For serde.
    ///
    /// # Errors
    /// It is no such list.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<RangePoint>, D::Error> {
        type Point = (i64, Option<Figure>, Option<Figure>, Option<Figure>);
        let points = Vec::<Point>::deserialize(deserializer)?.into_iter();
        Ok(points
            .map(|(at_ms, value, min, max)| {
                let [value, min, max] = [value, min, max].map(|value| value.map(|figure| figure.0));
                (at_ms, value, min, max)
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Metric, Timestamp,
        protocol::{series::RangeSeries, watch::SampleRun},
    };

    #[test]
    fn what_json_has_not_is_said_in_words() {
        let run = SampleRun {
            points: vec![
                (1, Some(1.5)),
                (2, Some(f64::INFINITY)),
                (3, Some(f64::NEG_INFINITY)),
                (4, Some(f64::NAN)),
                (5, None),
            ],
            ..SampleRun::default()
        };
        let text = serde_json::to_string(&run).expect("JSON");
        assert!(
            text.ends_with(r#""points":[[1,1.5],[2,"+Inf"],[3,"-Inf"],[4,"NaN"],[5,null]]}"#),
            "{text}"
        );
        let back: SampleRun = serde_json::from_str(&text).expect("JSON");
        assert_eq!(back.points[..3], run.points[..3]);
        assert!(back.points[3].1.is_some_and(f64::is_nan));
        let range = RangeSeries {
            points: vec![(1, Some(f64::INFINITY), Some(2.0), None)],
            ..RangeSeries::default()
        };
        let text = serde_json::to_string(&range).expect("JSON");
        assert!(
            text.ends_with(r#""points":[[1,"+Inf",2.0,null]]}"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<RangeSeries>(&text).ok(), Some(range));
        assert!(serde_json::from_str::<SampleRun>(r#"{"key":"a","points":[[1,"Inf"]]}"#).is_err());
        assert!(serde_json::from_str::<SampleRun>(r#"{"key":"a","points":[[1,2]]}"#).is_ok());
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let metric = |value| Metric {
            name: "a".to_owned(),
            value,
            unit: String::new(),
            timestamp: Timestamp::from_millis(0),
            labels: Default::default(),
        };
        for (value, text) in [
            (f64::NAN, "null"),
            (f64::INFINITY, "\"+Inf\""),
            (2.0, "2.0"),
        ] {
            let json = serde_json::to_string(&metric(value)).expect("JSON");
            assert!(json.contains(&format!("\"value\":{text},")), "{json}");
            let back: Metric = serde_json::from_str(&json).expect("JSON");
            assert!(back.value == value || back.value.is_nan() && value.is_nan());
        }
    }
}
