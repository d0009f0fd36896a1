//! Numbers in the JSON of protobuf messages: 64-bit ones are strings or numbers, doubles may be
//! `"NaN"`, `"Infinity"` and `"-Infinity"`, `null` is the default
//! (<https://protobuf.dev/programming-guides/json/>).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::huge;

/// Any number, as it was written.
enum Number {
    Null,
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    /// Past the largest double.
    Huge(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl<'de> Visitor<'de> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a number in quotes")
            }

            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number::Null)
            }

            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number::Signed(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                Ok(Number::Unsigned(number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number::Double(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Number, E> {
                Ok(Number::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Number, A::Error> {
                huge::of_array(array).map(Number::Huge)
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

impl Number {
    fn double<E: Error>(self) -> Result<Option<f64>, E> {
        #[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
        Ok(Some(match self {
            Self::Null => return Ok(None),
            Self::Signed(number) => number as f64,
            Self::Unsigned(number) => number as f64,
            Self::Double(number) | Self::Huge(number) => number,
            Self::Text(text) => crate::number::float(&text)
                .or_else(|| huge::in_quotes(&text))
                .ok_or_else(|| E::custom(format_args!("{text:?} is no number")))?,
        }))
    }

    fn integer<E: Error>(self) -> Result<Option<i128>, E> {
        Ok(Some(match self {
            Self::Null => return Ok(None),
            Self::Signed(number) => number.into(),
            Self::Unsigned(number) => number.into(),
            // Whole ones are allowed to have a point or an exponent.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates; checked by callers"
            )]
            Self::Double(number) if number.fract() == 0.0 => number as i128,
            Self::Double(number) => {
                return Err(E::custom(format_args!("{number} is no whole number")));
            }
            Self::Huge(_) => return Err(E::custom(huge::WHY)),
            Self::Text(text) => text
                .parse()
                .map_err(|error| E::custom(format_args!("{text:?}: {error}")))?,
        }))
    }

    fn fitting<T: TryFrom<i128>, E: Error>(self) -> Result<Option<T>, E> {
        let Some(number) = self.integer::<E>()? else {
            return Ok(None);
        };
        match T::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(E::custom(format_args!("{number} is out of range"))),
        }
    }
}

/// A field for which `null` is as if it were not there.
pub(super) fn nullable<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn small_unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Number::deserialize(deserializer)?
        .fitting()?
        .unwrap_or_default())
}

pub(super) fn unsigned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Number::deserialize(deserializer)?
        .fitting()?
        .unwrap_or_default())
}

pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(Number::deserialize(deserializer)?
        .fitting()?
        .unwrap_or_default())
}

pub(super) fn optional_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Number::deserialize(deserializer)?.fitting()
}

pub(super) fn double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Number::deserialize(deserializer)?
        .double()?
        .unwrap_or_default())
}

pub(super) fn optional_double<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    Number::deserialize(deserializer)?.double()
}

/// A double of an attribute, which is text in the end: past the largest is an infinity.
pub(super) fn attribute_double<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    let double = optional_double(deserializer)?;
    Ok(double.map(|double| match huge::is_huge(double) {
        true => f64::INFINITY,
        false => double,
    }))
}

/// A wrapper, so that a list's items are read as single ones are.
#[derive(Deserialize)]
struct Unsigned(#[serde(deserialize_with = "unsigned")] u64);

#[derive(Deserialize)]
struct Double(#[serde(deserialize_with = "double")] f64);

pub(super) fn unsigneds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let numbers = Option::<Vec<Unsigned>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(numbers.into_iter().map(|Unsigned(number)| number).collect())
}

pub(super) fn doubles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Option::<Vec<Double>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(numbers.into_iter().map(|Double(number)| number).collect())
}

pub(super) fn base64_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(D::Error::custom))
        .transpose()
}

/// Bytes as protobuf's JSON has them.
pub(super) fn base64_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
