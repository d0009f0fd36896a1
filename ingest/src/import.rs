//! What `GET /api/v1/export` writes, read back: lines of JSON, each one series or a part of one.
//!
//! ```json
//! {"metric":{"__name__":"queue_depth","job":"mail"},"values":[3],"timestamps":[1795204862345]}
//! ```
//!
//! - Times are whole Unix milliseconds. Values are numbers, `null` for a staleness marker, or the
//!   texts `"NaN"`, `"+Inf"` and `"-Inf"` (also `"Infinity"` and `"-Infinity"`, as others write
//!   them).
//! - A label stands once in `metric`, and so does each list in its line.
//! - A line that is broken, or whose lists are not of one length, is refused alone and as a whole.

use std::{borrow::Cow, fmt};

use pulseboard_series::{Batch, Kind, Reason, STALE_MARKER_BITS, limits::LABELS_MAX};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Unexpected, Visitor},
};

use crate::{
    huge,
    lines::{Ends, for_each_line},
};

/// Samples of one line; the export writes fewer. More would be too much memory for a line.
pub const LINE_SAMPLES_MAX: usize = 1_000_000;

/// Reads a whole body of lines.
pub fn parse(body: &[u8], batch: &mut Batch) {
    for_each_line(body, batch, |number, text, batch| {
        if !text.trim_ascii().is_empty() {
            line(number, text, batch);
        }
        Ends::Here
    });
}

fn line(number: u32, text: &str, batch: &mut Batch) {
    let count = batch.rows().len();
    let written = serde_json::from_str::<Line<'_>>(text)
        .map_err(|error| {
            let said = error.to_string();
            let what = match huge::is_cause(&error) {
                true => huge::WHY,
                // The library's own place is of this line alone, which it calls the first.
                false => said
                    .rsplit_once(" at line 1 ")
                    .map_or(&*said, |(what, _)| what),
            };
            Reason::Malformed(format!("column {}: {what}", error.column()))
        })
        .and_then(|line| write(number, &line, batch));
    if let Err(reason) = written {
        batch.undo_to(count);
        batch.refuse(number, reason);
    }
}

fn write(number: u32, line: &Line<'_>, batch: &mut Batch) -> Result<(), Reason> {
    let malformed = |text: String| Err(Reason::Malformed(text));
    let (values, times) = (line.values.len(), line.timestamps.len());
    if values != times {
        return malformed(format!("{values} values and {times} timestamps"));
    }
    if values > LINE_SAMPLES_MAX {
        return malformed(format!("more than {LINE_SAMPLES_MAX} samples in one line"));
    }
    let mut labels = line.metric.0.iter();
    let Some((_, name)) = labels.find(|(name, _)| name == "__name__") else {
        return malformed("the label `__name__` is missing".to_owned());
    };
    let mut is_begun = false;
    for (value, at_ms) in line.values.iter().zip(&line.timestamps) {
        let at_ms = Some(crate::time::not_now(*at_ms));
        if is_begun {
            batch.push_sample(number, at_ms, value.0)?;
            continue;
        }
        batch.begin(&[name])?;
        for (label, value) in line
            .metric
            .0
            .iter()
            .filter(|(label, _)| label != "__name__")
        {
            batch.label(label, value)?;
        }
        if name.ends_with("_total") {
            batch.describe(Kind::Counter, "");
        }
        batch.finish(number, at_ms, value.0)?;
        is_begun = true;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    metric: Labels<'a>,
    values: Vec<Value>,
    timestamps: Vec<i64>,
}

struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A text that is borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Labels<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels<'de>, A::Error> {
                let mut labels = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if labels.len() > LABELS_MAX {
                        return Err(A::Error::custom(format!("more than {LABELS_MAX} labels")));
                    }
                    // There are few.
                    if labels.iter().any(|(known, _)| *known == name.0) {
                        let name: String = name.0.chars().take(64).collect();
                        return Err(A::Error::custom(format!(
                            "the label {name:?} is there twice"
                        )));
                    }
                    labels.push((name.0, value.0));
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Value;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, null, \"NaN\", \"+Inf\" or \"-Inf\" as a value")
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value(number))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value(number as f64))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
                Ok(Value(number as f64))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
                Ok(Value(f64::from_bits(STALE_MARKER_BITS)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                match text {
                    "NaN" => Ok(Value(f64::NAN)),
                    "+Inf" | "Inf" | "Infinity" | "+Infinity" => Ok(Value(f64::INFINITY)),
                    "-Inf" | "-Infinity" => Ok(Value(f64::NEG_INFINITY)),
                    text => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, time and the bits of the value of each row; line and reason of what was refused.
    type Read = (Vec<(String, i64, u64)>, Vec<(u32, String)>);

    fn read(body: &str) -> Read {
        let mut batch = Batch::new();
        parse(body.as_bytes(), &mut batch);
        let rows = batch.rows().iter();
        let rows = rows.map(|row| {
            let key = batch.key(row).to_string();
            (key, row.at_ms, row.value.to_bits())
        });
        let refused = batch.refused().iter();
        let refused = refused.map(|refused| (refused.line, refused.reason.to_string()));
        (rows.collect(), refused.collect())
    }

    /// The line is the body's, and the place in it is told once.
    #[test]
    fn what_is_wrong_is_told_with_one_place() {
        let (_, refused) = read("\n{\"metric\":{},\"values\":[x\n{\n");
        assert_eq!(
            refused,
            [
                (2, "column 24: expected value".to_owned()),
                (3, "column 1: EOF while parsing an object".to_owned()),
            ]
        );
    }

    #[test]
    fn lines_are_series_with_their_samples() {
        let (rows, refused) = read(concat!(
            "{\"metric\":{\"__name__\":\"a\",\"x\":\"y\\n\"},\"values\":[1,null,\"NaN\",\"-Inf\"],\"timestamps\":[1,2,3,-4]}\n",
            "\n",
            "{\"timestamps\":[5],\"metric\":{\"__name__\":\"b\"},\"values\":[2.5],\"more\":1}\n",
        ));
        assert_eq!(refused, []);
        let key = "a{x=\"y\\n\"}".to_owned();
        assert_eq!(
            rows,
            [
                (key.clone(), 1, 1_f64.to_bits()),
                (key.clone(), 2, STALE_MARKER_BITS),
                (key.clone(), 3, f64::NAN.to_bits()),
                (key, -4, f64::NEG_INFINITY.to_bits()),
                ("b".to_owned(), 5, 2.5_f64.to_bits()),
            ]
        );
    }

    #[test]
    fn a_broken_line_is_refused_alone_and_as_a_whole() {
        let good = "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1]}";
        for (line, why) in [
            ("{", "EOF"),
            (
                "{\"metric\":{\"x\":\"y\"},\"values\":[1],\"timestamps\":[1]}",
                "__name__",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[1,2],\"timestamps\":[1]}",
                "2 values and 1 timestamps",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[1,\"x\"],\"timestamps\":[1,2]}",
                "expected a number, null",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[true],\"timestamps\":[1]}",
                "column 41: invalid type: boolean `true`, expected a number, null, \"NaN\", \"+Inf\" or \"-Inf\" as a value",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\",\"__name__\":\"b\"},\"values\":[1],\"timestamps\":[1]}",
                "the label \"__name__\" is there twice",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\",\"x\":\"1\",\"\\u0078\":\"1\"},\"values\":[1],\"timestamps\":[1]}",
                "the label \"x\" is there twice",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"values\":[2],\"timestamps\":[1]}",
                "duplicate field `values`",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[1,1e400],\"timestamps\":[1,2]}",
                "column 44: a number is past the largest double",
            ),
            (
                "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1.5]}",
                "1.5",
            ),
        ] {
            let (rows, refused) = read(&format!("{good}\n{line}\n{good}\n"));
            assert_eq!(rows.len(), 2, "{line}");
            assert_eq!(refused.len(), 1, "{line}");
            assert_eq!(refused[0].0, 2);
            assert!(refused[0].1.contains(why), "{line}: {}", refused[0].1);
        }
    }
}
