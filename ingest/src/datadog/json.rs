//! Series and checks in JSON, one after the other as they are read. Version 1 has points as pairs,
//! the type as a word and the host by its name; version 2 has objects, a number and resources.

use std::{borrow::Cow, fmt, marker::PhantomData};

use pulseboard_series::Batch;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    payload,
    submitted::{LabelSource, Series, Type, Writer, write_check},
};
use crate::{
    delta::{DeltaTotals, Known},
    huge::{self, Double},
};

pub(super) fn series(
    body: &[u8],
    totals: &mut DeltaTotals,
    known: Known<'_>,
    batch: &mut Batch,
) -> Result<(), serde_json::Error> {
    let mut writer = Writer {
        totals,
        known,
        batch,
        line: 0,
    };
    let mut document = serde_json::Deserializer::from_slice(body);
    let mut write = |series: JsonSeries<'_>| writer.write(series.into());
    let read = Request(&mut write).deserialize(&mut document);
    match read.and_then(|()| document.end()) {
        Err(error) if huge::is_cause(&error) => {}
        read => return read,
    }
    if !writer.batch.hold(body.len()) {
        return Ok(());
    }
    // What has been written is counted in its totals already.
    let mut known = writer.line;
    let tame = huge::without_huge(body);
    let mut document = serde_json::Deserializer::from_slice(&tame);
    let mut write = |series: JsonSeries<'_>| match known.checked_sub(1) {
        Some(fewer) => known = fewer,
        None => writer.write(series.into()),
    };
    Request(&mut write).deserialize(&mut document)?;
    document.end()
}

pub(super) fn checks(body: &[u8], batch: &mut Batch) -> Result<(), serde_json::Error> {
    let read = try_checks(body, batch);
    if !read.as_ref().is_err_and(huge::is_cause) {
        return read;
    }
    batch.clear();
    if !batch.hold(body.len()) {
        return Ok(());
    }
    try_checks(&huge::without_huge(body), batch)
}

fn try_checks(body: &[u8], batch: &mut Batch) -> Result<(), serde_json::Error> {
    let mut line = 0_u32;
    let mut write = |check: Check<'_>| {
        line = line.saturating_add(1);
        if batch.is_hopeless() {
            batch.refuse_unread(1);
            return;
        }
        let before = batch.rows().len();
        let labels = LabelSource {
            host: check.host_name,
            device: None,
            tags: check.tags.into_iter().flatten().flatten().collect(),
        };
        let (name, status) = (&check.check, check.status);
        let seconds = check.timestamp.map(|seconds| seconds.0);
        if let Err(reason) = write_check(line, name, status, seconds, &labels, batch) {
            batch.undo_to(before);
            batch.refuse(line, reason);
        }
    };
    if !body.trim_ascii_start().starts_with(b"[") {
        write(serde_json::from_slice(body)?);
        return Ok(());
    }
    let mut document = serde_json::Deserializer::from_slice(body);
    Items::new(&mut write).deserialize(&mut document)?;
    document.end()
}

#[derive(Deserialize)]
struct Check<'a> {
    #[serde(borrow)]
    check: Cow<'a, str>,
    #[serde(borrow, default)]
    host_name: Option<Cow<'a, str>>,
    #[serde(default)]
    timestamp: Option<Double>,
    status: u8,
    #[serde(borrow, default)]
    tags: Option<Vec<Option<Cow<'a, str>>>>,
}

#[derive(Deserialize)]
struct JsonSeries<'a> {
    #[serde(borrow)]
    metric: Cow<'a, str>,
    points: Vec<Option<Point>>,
    #[serde(default, rename = "type", deserialize_with = "kind")]
    kind: Type,
    #[serde(borrow, default)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    device: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tags: Option<Vec<Option<Cow<'a, str>>>>,
    #[serde(borrow, default)]
    resources: Option<Vec<Resource<'a>>>,
    #[serde(borrow, default)]
    unit: Option<Cow<'a, str>>,
    #[serde(default)]
    interval: Option<Double>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

impl<'a> From<JsonSeries<'a>> for Series<'a> {
    fn from(json: JsonSeries<'a>) -> Self {
        let mut labels = LabelSource {
            host: json.host,
            device: json.device,
            tags: json.tags.into_iter().flatten().flatten().collect(),
        };
        for resource in json.resources.into_iter().flatten() {
            match &*resource.kind {
                "host" => labels.host = Some(resource.name),
                "device" => labels.device = Some(resource.name),
                _ => {}
            }
        }
        let count = json.points.len();
        let points = json.points.into_iter();
        let points = points.filter_map(|point| point?.0);
        let points: Vec<(f64, f64)> = points.collect();
        Self {
            name: json.metric,
            kind: json.kind,
            empty_points: u32::try_from(count - points.len()).unwrap_or(u32::MAX),
            points,
            labels,
            unit: json.unit.unwrap_or_default(),
            interval: json.interval.map_or(0.0, |interval| interval.0),
        }
    }
}

/// `[seconds, value]` or `{"timestamp", "value"}`; nothing where one of them is `null`.
struct Point(Option<(f64, f64)>);

impl Point {
    fn of(seconds: Option<Double>, value: Option<Double>) -> Self {
        Self(
            seconds
                .zip(value)
                .map(|(seconds, value)| (seconds.0, value.0)),
        )
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PointVisitor)
    }
}

struct PointVisitor;

impl<'de> Visitor<'de> for PointVisitor {
    type Value = Point;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point: [seconds, value] or {\"timestamp\", \"value\"}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Point, A::Error> {
        let seconds = pair.next_element::<Option<Double>>()?;
        let value = pair.next_element::<Option<Double>>()?;
        let more = pair.next_element::<IgnoredAny>()?;
        match (seconds, value, more) {
            (Some(seconds), Some(value), None) => Ok(Point::of(seconds, value)),
            _ => Err(A::Error::custom("a point has a time and one value")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Point, A::Error> {
        let (mut seconds, mut value) = (None, None);
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            match &*name {
                "timestamp" => seconds = Some(fields.next_value::<Option<Double>>()?),
                "value" => value = Some(fields.next_value::<Option<Double>>()?),
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (seconds, value) {
            (Some(seconds), Some(value)) => Ok(Point::of(seconds, value)),
            _ => Err(A::Error::custom("a point has a timestamp and a value")),
        }
    }
}

fn kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Type, D::Error> {
    deserializer.deserialize_any(KindVisitor)
}

struct KindVisitor;

impl Visitor<'_> for KindVisitor {
    type Value = Type;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type: gauge, count, rate, or its number")
    }

    fn visit_unit<E: Error>(self) -> Result<Type, E> {
        Ok(Type::Gauge)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Type, E> {
        match word {
            "" | "gauge" => Ok(Type::Gauge),
            // What DogStatsD calls a counter.
            "count" | "counter" => Ok(Type::Count),
            "rate" => Ok(Type::Rate),
            _ => Err(E::custom("accepted types are gauge, count and rate")),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Type, E> {
        Ok(payload::kind(number))
    }
}

/// `{"series": […]}`, each of which is handed on when it was read.
struct Request<'a, F>(&'a mut F);

impl<'de, F: FnMut(JsonSeries<'de>)> DeserializeSeed<'de> for Request<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(JsonSeries<'de>)> Visitor<'de> for Request<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `series`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut has_series = false;
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            if name == "series" {
                has_series = true;
                fields.next_value_seed(Items::new(&mut *self.0))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        has_series
            .then_some(())
            .ok_or_else(|| A::Error::missing_field("series"))
    }
}

/// An array whose items are handed on one by one.
struct Items<'a, F, T>(&'a mut F, PhantomData<T>);

impl<'a, F, T> Items<'a, F, T> {
    fn new(each: &'a mut F) -> Self {
        Self(each, PhantomData)
    }
}

impl<'de, F: FnMut(T), T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, F, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(T), T: Deserialize<'de>> Visitor<'de> for Items<'_, F, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}
