//! What the store's answers say, series by series; none of another tenant's.

use std::fmt;

use pulseboard_forward::inner_name;
use pulseboard_ingest::remote_read;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::{
    TENANT_LABEL,
    read::{Body, Kind},
};

/// Bytes of an unpacked answer of remote read.
const UNPACKED_BYTES: usize = 256 << 20;

/// A sample: Unix milliseconds and its value.
pub type Sample = (i64, f64);

/// An answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive's answer cannot be read: {0}")]
pub struct Unreadable(pub String);

/// What came of looking at an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Series that were handed on.
    pub series: usize,
    /// Series that are somebody else's, or nobody's: they were not.
    pub foreign: usize,
}

/// Labels of a series as its tenant knows them, sorted, the name among them.
pub type Labels<'a> = [(&'a str, &'a str)];

impl Body {
    /// Bytes that looking at it takes, beside itself.
    #[must_use]
    pub fn unpacked_bytes(&self) -> usize {
        match self.kind {
            Kind::RemoteRead => snap::raw::decompress_len(&self.bytes).unwrap_or(0),
            // A sample takes as many as its shortest text, about.
            Kind::Query | Kind::Series => self.bytes.len(),
        }
    }

    /// Hands every series of the tenant to `each`, with its samples of the stretch in the order of
    /// time, each time once.
    ///
    /// # Errors
    /// It is no such answer; and those of `each`.
    pub fn each<E: From<Unreadable>>(
        &self,
        tenant: &str,
        mut each: impl FnMut(&Labels<'_>, &mut Vec<Sample>) -> Result<(), E>,
    ) -> Result<Looked, E> {
        let mut looked = Looked::default();
        let stretch = self.stretch;
        let mut one = |labels: &mut Vec<(&str, &str)>, samples: &mut Vec<Sample>| {
            if !is_of(tenant, labels) {
                looked.foreign += 1;
                return Ok(());
            }
            samples.retain(|(at_ms, _)| (stretch.from_ms..=stretch.until_ms).contains(at_ms));
            if !samples.is_sorted_by(|one, next| one.0 < next.0) {
                samples.sort_by_key(|(at_ms, _)| *at_ms);
                samples.dedup_by_key(|(at_ms, _)| *at_ms);
            }
            looked.series += 1;
            each(labels, samples)
        };
        match self.kind {
            Kind::RemoteRead => {
                let unreadable = |error: &dyn fmt::Display| Unreadable(error.to_string());
                let bytes = self.unpacked_bytes();
                if bytes > UNPACKED_BYTES {
                    return Err(Unreadable(format!("it has {bytes} bytes")).into());
                }
                let message = snap::raw::Decoder::new()
                    .decompress_vec(&self.bytes)
                    .map_err(|error| unreadable(&error))?;
                let mut failed = None;
                let read = remote_read::answer(&message, &mut |labels, samples| {
                    let took = one(labels, samples);
                    let is_fine = took.is_ok();
                    failed = took.err();
                    is_fine
                });
                if let Some(error) = failed {
                    return Err(error);
                }
                read.map_err(|error| unreadable(&error))?;
            }
            Kind::Query => {
                let answer: Answer<Matrix<'_>> = parse(&self.bytes)?;
                for series in answer.data.result {
                    let mut labels = series.metric.pairs();
                    let values = series.values.into_iter();
                    let mut samples: Vec<Sample> = values
                        .map(|At(seconds, value)| (milliseconds(seconds), value.0))
                        .collect();
                    one(&mut labels, &mut samples)?;
                }
            }
            Kind::Series => {
                let answer: Answer<Vec<Metric<'_>>> = parse(&self.bytes)?;
                for metric in answer.data {
                    one(&mut metric.pairs(), &mut Vec::new())?;
                }
            }
        }
        Ok(looked)
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(bytes).map_err(|error| Unreadable(error.to_string()))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "times of samples are far below"
)]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// Whether a series is the tenant's: it says so once, and nothing else. Its labels are then as the
/// tenant knows them.
fn is_of(tenant: &str, labels: &mut Vec<(&str, &str)>) -> bool {
    let mut said = labels.iter().filter(|(name, _)| *name == TENANT_LABEL);
    let (first, second) = (said.next(), said.next());
    if first.map(|(_, value)| *value) != Some(tenant) || second.is_some() {
        return false;
    }
    labels.retain_mut(|(name, value)| match inner_name(name, TENANT_LABEL) {
        Some(inner) => {
            *name = inner;
            !value.is_empty()
        }
        None => false,
    });
    labels.sort_unstable();
    // Two of one name are no series.
    labels.is_sorted_by(|one, next| one.0 < next.0)
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Matrix<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: Metric<'a>,
    #[serde(default)]
    values: Vec<At>,
}

#[derive(Deserialize)]
struct At(f64, Number);

/// A value as text.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let value = text.parse().map_err(|_none| {
                    let shown: String = text.chars().take(40).collect();
                    E::custom(format!("{shown:?} is no number"))
                })?;
                Ok(Number(value))
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

/// Labels as they come, one that comes twice among them.
struct Metric<'a>(Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>);

impl Metric<'_> {
    fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (&**name, &**value)).collect()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Metric<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Metric<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    all.push((name, value));
                }
                Ok(Metric(all))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Stretch;

    type Told = Vec<(String, Vec<Sample>)>;

    fn look(kind: Kind, bytes: impl Into<Bytes>) -> Result<(Told, Looked), Unreadable> {
        let body = Body {
            bytes: bytes.into(),
            kind,
            stretch: Stretch {
                from_ms: 1_000,
                until_ms: 3_000,
            },
        };
        let mut told = Told::new();
        let looked = body.each("a", |labels, samples| -> Result<(), Unreadable> {
            let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
            told.push((labels.collect::<Vec<_>>().join(","), samples.clone()));
            Ok(())
        })?;
        Ok((told, looked))
    }

    #[test]
    fn a_query_tells_the_tenants_samples_of_the_stretch_and_nobody_elses() {
        let (told, looked) = look(
            Kind::Query,
            r#"{"status":"success","data":{"resultType":"matrix","result":[
              {"metric":{"__name__":"up","tenant":"a","exported_tenant":"z","job":"\u0061b"},
               "values":[[0.999,"1"],[1,"2.5"],[2.123,"NaN"],[2.5,"+Inf"],[3,"-Inf"],[3.001,"9"]]},
              {"metric":{"__name__":"up","tenant":"b"},"values":[[1,"7"]]},
              {"metric":{"__name__":"up"},"values":[[1,"7"]]},
              {"metric":{"__name__":"up","tenant":"a","tenant":"b"},"values":[[1,"7"]]}
            ]}}"#,
        )
        .expect("an answer");
        assert_eq!(
            looked,
            Looked {
                series: 1,
                foreign: 3
            }
        );
        let [(labels, samples)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(labels, "__name__=up,job=ab,tenant=z");
        assert_eq!(
            format!("{samples:?}"),
            "[(1000, 2.5), (2123, NaN), (2500, inf), (3000, -inf)]"
        );
    }

    #[test]
    fn series_are_told_by_their_names() {
        let (told, looked) = look(
            Kind::Series,
            r#"{"status":"success","data":[{"__name__":"a","tenant":"a"},{"__name__":"b","tenant":"c"}]}"#,
        )
        .expect("an answer");
        assert_eq!(told, [("__name__=a".to_owned(), Vec::new())]);
        assert_eq!(looked.foreign, 1);
    }

    #[test]
    fn remote_read_tells_stale_markers_too() {
        let stale = f64::from_bits(pulseboard_series::STALE_MARKER_BITS);
        let mut result = Vec::new();
        let labels = [("__name__", "up"), ("tenant", "a")];
        let samples = [(1_000, 1.0), (2_000, stale), (4_000, 1.0)];
        remote_read::series_samples(labels.into_iter(), &samples, &mut result);
        let labels = [("__name__", "up"), ("tenant", "b")];
        remote_read::series_samples(labels.into_iter(), &samples, &mut result);
        let mut message = Vec::new();
        remote_read::result(&result, &mut message);
        let packed = snap::raw::Encoder::new()
            .compress_vec(&message)
            .expect("packed");
        let (told, looked) = look(Kind::RemoteRead, packed).expect("an answer");
        assert_eq!((looked.series, looked.foreign), (1, 1));
        assert_eq!(told[0].1.len(), 2);
        assert_eq!(told[0].1[1].1.to_bits(), stale.to_bits());
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        for (kind, bytes) in [
            (Kind::Query, &b"{}"[..]),
            (Kind::Query, b"<html>"),
            (
                Kind::Query,
                br#"{"data":{"result":[{"metric":{},"values":[[1,"x"]]}]}}"#,
            ),
            (Kind::Series, br#"{"data":[3]}"#),
            (Kind::RemoteRead, b"\xff\xff\xff\xff\xff"),
        ] {
            assert!(look(kind, bytes).is_err());
        }
    }
}
