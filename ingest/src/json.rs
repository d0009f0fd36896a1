//! JSON: an object, an array of objects, or objects one after the other (as lines or not).
//!
//! ```json
//! {"name": "queue_depth", "value": 42}
//! {"name": "temperature", "value": 21.5, "unit": "°C", "labels": {"room": "a"},
//!     "timestamp": 1795204862345}
//! {"name": "load", "value": 0.5, "timestamp": "2026-11-20T20:01:02.345Z"}
//! {"queue_depth": 42, "cpu": 1.5}
//! ```
//!
//! - `value` is a number, or one of the strings `"NaN"`, `"+Inf"` and `"-Inf"`, as this server's
//!   own answers have them; any other number in quotes is refused, not guessed at. `timestamp` is
//!   whole Unix milliseconds or an RFC 3339 time, `labels` an object of strings, `unit` a string;
//!   `null` is as if the field were not there. Other fields are ignored.
//! - An object with neither `name` nor `value` is a sample for each of its fields.
//! - A refused item names the field and what is accepted there; the others are taken. Items are
//!   numbered from 1, in lines by their line.
//! - A number past the largest double (`1e400`) is no value; what it is the value of is refused.
//! - Memory beyond the batch is that of the largest single object, which has at most
//!   [`ITEM_FIELDS_MAX`] fields; objects and arrays nest at most 128 deep.

use std::{borrow::Cow, cell::Cell, marker::PhantomData};

use pulseboard_series::{Batch, Reason};
use pulseboard_shared::Timestamp;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    BodyError,
    excerpt::{excerpt, not_a_number},
    huge,
    lines::{Ends, quoted_end},
    time::not_now,
};

/// Fields of one object, with those of the objects in it; each takes some sixty bytes while it is
/// read. An object of more is not JSON that is accepted here.
pub const ITEM_FIELDS_MAX: usize = 500_000;

/// A line that is no longer is copied without asking for memory.
const LINE_BYTES_FREE: usize = 64 * 1024;

/// Reads a body that is one document: an array, or objects with nothing but blanks between them.
///
/// # Errors
/// It is not JSON; the batch is empty then.
pub fn parse(body: &[u8], batch: &mut Batch) -> Result<(), BodyError> {
    let mut read = try_parse::<Shallow<'_>>(body, batch);
    if read.as_ref().is_err_and(huge::is_cause) {
        batch.clear();
        if !batch.hold(body.len()) {
            return Ok(());
        }
        read = try_parse::<Tame<'_>>(&huge::without_huge(body), batch);
    }
    if read.is_err() {
        batch.clear();
    }
    read.map_err(|error| BodyError::Json {
        line: error.line(),
        column: error.column(),
        message: without_place(&error),
    })
}

fn try_parse<'a, I: Deserialize<'a> + Into<Shallow<'a>>>(
    body: &'a [u8],
    batch: &mut Batch,
) -> Result<(), serde_json::Error> {
    if body.trim_ascii_start().starts_with(b"[") {
        let mut document = serde_json::Deserializer::from_slice(body);
        let items: Items<'_, I> = Items(batch, PhantomData);
        items.deserialize(&mut document)?;
        return document.end();
    }
    let items = serde_json::Deserializer::from_slice(body).into_iter::<I>();
    for (item, number) in items.zip(1_u32..) {
        let item = item?;
        if batch.is_hopeless() {
            batch.refuse_unread(1);
        } else {
            write(number, item.into(), batch);
        }
    }
    Ok(())
}

/// Reads one line that is one object; a broken one is refused alone. One that ends in a string is
/// broken, too, since no string of JSON has a line break; what follows up to the string's end
/// belongs to it all the same.
pub(crate) fn line(number: u32, line: &str, batch: &mut Batch) -> Ends {
    match serde_json::from_str::<Shallow<'_>>(line) {
        Ok(item) => write(number, item, batch),
        Err(error) if huge::is_cause(&error) => tame_line(number, line, batch),
        Err(error) => {
            if error.is_eof() && !line.contains('\n') && string_end(line.as_bytes()).is_none() {
                return Ends::Quoted(string_end);
            }
            batch.refuse(number, not_json(&error));
        }
    }
    Ends::Here
}

fn not_json(error: &serde_json::Error) -> Reason {
    let (column, message) = (error.column(), without_place(error));
    Reason::Malformed(format!("column {column}: not JSON: {message}"))
}

/// A line with a number past the largest double, of which the rest may be taken.
#[cold]
fn tame_line(number: u32, line: &str, batch: &mut Batch) {
    if line.len() > LINE_BYTES_FREE && !batch.hold(line.len()) {
        return;
    }
    let tame = huge::without_huge(line.as_bytes());
    match serde_json::from_slice::<Tame<'_>>(&tame) {
        Ok(item) => write(number, item.into(), batch),
        Err(error) => batch.refuse(number, not_json(&error)),
    }
}

/// The first line break outside of strings, or the end of all bytes; `None` where a string does
/// not end.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..)
        && let Some(found) = memchr::memchr2(b'"', b'\n', rest)
    {
        at += found;
        if bytes[at] == b'\n' {
            return Some(at);
        }
        at = quoted_end(bytes, at + 1)?;
    }
    Some(bytes.len())
}

/// Whether a text is JSON from its beginning to its end.
pub(crate) fn is_whole(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// What the parser says, without the place that it puts behind.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Any JSON value, of which only what an item may consist of is kept.
enum Shallow<'a> {
    Null,
    Number(f64),
    /// One that no double is large enough for.
    Huge,
    /// A whole number, kept for timestamps.
    Integer(i64),
    Text(Cow<'a, str>),
    Object(Vec<(Cow<'a, str>, Shallow<'a>)>),
    Boolean,
    Array,
}

impl Shallow<'_> {
    /// What it is, in words.
    fn what(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Number(number) => number.to_string(),
            Self::Huge => "a number past the largest double".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => format!("the string {:?}", excerpt(text)),
            Self::Object(_) => "an object".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Array => "an array".to_owned(),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
            Self::Integer(number) => Some(*number as f64),
            Self::Text(text) => match &**text {
                "NaN" => Some(f64::NAN),
                "+Inf" => Some(f64::INFINITY),
                "-Inf" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads a value of an item that may have so many fields more, at whatever depth.
#[derive(Clone, Copy)]
struct ShallowSeed<'c> {
    fields_left: &'c Cell<usize>,
    /// Whether an empty array stands for a number past the largest double.
    is_tame: bool,
}

/// The same of a document that [`huge::without_huge`] made.
struct Tame<'a>(Shallow<'a>);

impl<'de> DeserializeSeed<'de> for ShallowSeed<'_> {
    type Value = Shallow<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ShallowSeed<'_> {
    type Value = Shallow<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Shallow::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Shallow::Boolean)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Shallow::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
        Ok(i64::try_from(number).map_or(Shallow::Number(number as f64), Shallow::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Shallow::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Shallow::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Shallow::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            let Some(left) = self.fields_left.get().checked_sub(1) else {
                return Err(A::Error::custom(format_args!(
                    "one object has more than {ITEM_FIELDS_MAX} fields; send them as several"
                )));
            };
            self.fields_left.set(left);
            fields.push((key, map.next_value_seed(self)?));
        }
        Ok(Shallow::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut is_empty = true;
        while items.next_element::<IgnoredAny>()?.is_some() {
            is_empty = false;
        }
        Ok(match is_empty && self.is_tame {
            true => Shallow::Huge,
            false => Shallow::Array,
        })
    }
}

impl<'de> Deserialize<'de> for Shallow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ShallowSeed {
            fields_left: &Cell::new(ITEM_FIELDS_MAX),
            is_tame: false,
        }
        .deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for Tame<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seed = ShallowSeed {
            fields_left: &Cell::new(ITEM_FIELDS_MAX),
            is_tame: true,
        };
        seed.deserialize(deserializer).map(Self)
    }
}

impl<'a> From<Tame<'a>> for Shallow<'a> {
    fn from(tame: Tame<'a>) -> Self {
        tame.0
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// An array whose items are written one by one as they are read.
struct Items<'a, I>(&'a mut Batch, PhantomData<I>);

impl<'de, I: Deserialize<'de> + Into<Shallow<'de>>> DeserializeSeed<'de> for Items<'_, I> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, I: Deserialize<'de> + Into<Shallow<'de>>> Visitor<'de> for Items<'_, I> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut number = 1;
        while !self.0.is_hopeless() {
            let Some(item) = items.next_element::<I>()? else {
                return Ok(());
            };
            write(number, item.into(), self.0);
            number = number.saturating_add(1);
        }
        let mut unread = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            unread += 1;
        }
        self.0.refuse_unread(unread);
        Ok(())
    }
}

fn write(number: u32, item: Shallow<'_>, batch: &mut Batch) {
    let Shallow::Object(fields) = item else {
        let reason = format!(
            "{} is not a sample; accepted are objects such as {{\"name\":\"queue_depth\",\"value\":42}}",
            item.what()
        );
        return batch.refuse(number, Reason::Malformed(reason));
    };
    let is_sample = fields
        .iter()
        .any(|(key, _)| key == "name" || key == "value");
    if is_sample {
        if let Err(reason) = write_sample(number, &fields, batch) {
            batch.refuse(number, reason);
        }
        return;
    }
    if fields.is_empty() {
        return batch.refuse(
            number,
            Reason::Malformed("the object is empty; `name` and `value` are needed".to_owned()),
        );
    }
    for (name, value) in &fields {
        let written = match value.number() {
            Some(value) => batch
                .begin(&[name])
                .and_then(|()| batch.finish(number, None, value)),
            None => Err(not_a_value(name, value)),
        };
        if let Err(reason) = written {
            batch.refuse(number, reason);
        }
    }
}

fn not_a_value(field: &str, value: &Shallow<'_>) -> Reason {
    match value {
        Shallow::Text(text) => not_a_number(text),
        other => wrong(field, other, "a number"),
    }
}

fn wrong(field: &str, found: &Shallow<'_>, accepted: &str) -> Reason {
    Reason::Malformed(format!(
        "{:?} is {}; accepted is {accepted}",
        excerpt(field),
        found.what()
    ))
}

/// Fields of one sample, each at most once.
#[derive(Default)]
struct Sample<'a> {
    name: Option<&'a Shallow<'a>>,
    value: Option<&'a Shallow<'a>>,
    labels: Option<&'a Shallow<'a>>,
    unit: Option<&'a Shallow<'a>>,
    timestamp: Option<&'a Shallow<'a>>,
}

fn write_sample(
    number: u32,
    fields: &[(Cow<'_, str>, Shallow<'_>)],
    batch: &mut Batch,
) -> Result<(), Reason> {
    let mut sample = Sample::default();
    for (key, value) in fields {
        let place = match &**key {
            "name" => &mut sample.name,
            "value" => &mut sample.value,
            "labels" => &mut sample.labels,
            "unit" => &mut sample.unit,
            "timestamp" => &mut sample.timestamp,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Reason::Malformed(format!("{key:?} is there twice")));
        }
    }
    let missing = |field: &str| Reason::Malformed(format!("{field:?} is missing"));
    let name = match sample.name.ok_or_else(|| missing("name"))? {
        Shallow::Text(name) => name,
        other => return Err(wrong("name", other, "a string")),
    };
    let value = sample.value.ok_or_else(|| missing("value"))?;
    let value = value.number().ok_or_else(|| not_a_value("value", value))?;
    let at_ms = sample.timestamp.map_or(Ok(None), timestamp)?;
    batch.begin(&[name])?;
    match sample.labels {
        None | Some(Shallow::Null) => {}
        Some(Shallow::Object(labels)) => {
            for (label, value) in labels {
                match value {
                    Shallow::Text(value) => batch.label(label, value)?,
                    other => {
                        let field = format!("labels.{}", excerpt(label));
                        return Err(wrong(&field, other, "a string"));
                    }
                }
            }
        }
        Some(other) => return Err(wrong("labels", other, "an object of strings")),
    }
    match sample.unit {
        None | Some(Shallow::Null) => {}
        Some(Shallow::Text(unit)) => batch.describe(pulseboard_series::Kind::Unknown, unit),
        Some(other) => return Err(wrong("unit", other, "a string")),
    }
    batch.finish(number, at_ms, value)
}

fn timestamp(value: &Shallow<'_>) -> Result<Option<i64>, Reason> {
    match value {
        Shallow::Null => return Ok(None),
        Shallow::Integer(ms) => return Ok(Some(not_now(*ms))),
        // JSON makes no difference between 1 and 1.0. The bounds are those of whole doubles.
        Shallow::Number(ms) if ms.fract() == 0.0 && ms.abs() < 9.0e15 => {
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            return Ok(Some(*ms as i64));
        }
        Shallow::Text(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                return Ok(Some(time.as_millis()));
            }
        }
        _ => {}
    }
    Err(wrong(
        "timestamp",
        value,
        "Unix milliseconds as a whole number, or a time such as \"2026-11-20T20:01:02.345Z\"",
    ))
}

#[cfg(test)]
mod tests;
