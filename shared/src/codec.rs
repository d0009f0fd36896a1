//! The two encodings of every WebSocket message: JSON text for everyone, and a compact binary
//! form (`?encoding=bin`) for the page. Both are written from the same types.
//!
//! A binary message begins with one byte that says what follows:
//!
//! | byte | message | form |
//! |---|---|---|
//! | 0 | any other message | its JSON text, UTF-8 |
//! | 1 | [`ServerMessage::Initial`] | snapshot |
//! | 2 | [`ServerMessage::Resumed`] | snapshot |
//! | 3 | [`ServerMessage::Metrics`] | tick |
//!
//! Whole numbers are LEB128 varints, signed ones zigzag first, texts are a length and UTF-8,
//! values are little-endian IEEE 754 doubles (so NaN and infinities survive, unlike in JSON).
//!
//! ```text
//! snapshot   epoch text | offset | window | interval_ms | sent_ms zigzag | samples
//! tick       epoch text | offset | sampled_ms zigzag | sent_ms − sampled_ms zigzag | samples
//! samples    number of series | series… | number of samples | sample…
//! series     0–3: that one of BUILT_IN      4: name text | unit text | labels, their number first
//! sample     index of series | timestamp − that of the sample before, zigzag | value
//! ```
//!
//! In a tick the first timestamp is taken from `sampled_ms`, in a snapshot from `sent_ms`; samples
//! of one tick share theirs, so each costs one byte.

mod error;
mod reader;

use serde::Serialize;

use crate::{
    BUILT_IN, Labels, Metric, Timestamp,
    metric::BuiltIn,
    protocol::metrics::{ServerMessage, Snapshot, Tick},
};
pub use error::DecodeError;
use reader::Reader;

/// How a socket's messages are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON text.
    #[default]
    Json,
    /// The binary form of this module.
    Binary,
}

impl Encoding {
    /// From the value of `?encoding=`; `None` for a name that is none of ours.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "bin" => Some(Self::Binary),
            _ => None,
        }
    }
}

const KIND_JSON: u8 = 0;
const KIND_INITIAL: u8 = 1;
const KIND_RESUMED: u8 = 2;
const KIND_METRICS: u8 = 3;
/// Introduces a series that is not built in; the built-in ones are their index.
const SERIES_NAMED: u8 = 4;
const _: () = assert!(BUILT_IN.len() == SERIES_NAMED as usize);

/// A message as binary.
#[must_use]
pub fn encode(message: &ServerMessage) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(128));
    match message {
        ServerMessage::Initial(snapshot) => writer.snapshot(KIND_INITIAL, snapshot),
        ServerMessage::Resumed(snapshot) => writer.snapshot(KIND_RESUMED, snapshot),
        ServerMessage::Metrics(tick) => writer.tick(tick),
        other => return encode_other(other),
    }
    writer.0
}

/// A message that has no form of its own.
#[must_use]
pub fn encode_other(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![KIND_JSON];
    // Our own types have text keys only and always serialise; writing to a Vec cannot fail.
    if serde_json::to_writer(&mut bytes, message).is_err() {
        debug_assert!(false, "a message did not serialise");
    }
    bytes
}

/// The same for a message whose JSON text is at hand.
#[must_use]
pub fn text_as_other(json: &str) -> Vec<u8> {
    [&[KIND_JSON], json.as_bytes()].concat()
}

/// The JSON text of a message that has no form of its own.
///
/// # Errors
/// The message is of another kind, empty, or not UTF-8.
pub fn decode_other(bytes: &[u8]) -> Result<&str, DecodeError> {
    match bytes.split_first() {
        Some((&KIND_JSON, text)) => std::str::from_utf8(text).map_err(|_error| DecodeError::Text),
        Some((&kind, _)) => Err(DecodeError::Kind(kind)),
        None => Err(DecodeError::Short),
    }
}

/// Reads a message of the server.
///
/// # Errors
/// Bytes that are none; nothing is allocated for counts that the bytes cannot hold.
pub fn decode(bytes: &[u8]) -> Result<ServerMessage, DecodeError> {
    decode_with(bytes, |text| {
        ServerMessage::parse(text).map_err(|error| error.to_string())
    })
}

/// The same with a reader of one's own for messages that have no form of their own; the page has
/// a smaller one.
///
/// # Errors
/// As [`decode`].
pub fn decode_with(
    bytes: &[u8],
    read: impl FnOnce(&str) -> Result<ServerMessage, String>,
) -> Result<ServerMessage, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = match reader.byte()? {
        KIND_INITIAL => ServerMessage::Initial(reader.snapshot()?),
        KIND_RESUMED => ServerMessage::Resumed(reader.snapshot()?),
        KIND_METRICS => ServerMessage::Metrics(reader.tick()?),
        KIND_JSON => {
            let text = decode_other(bytes)?;
            return read(text).map_err(DecodeError::Json);
        }
        kind => return Err(DecodeError::Kind(kind)),
    };
    reader.finish()?;
    Ok(message)
}

struct Writer(Vec<u8>);

impl Writer {
    fn snapshot(&mut self, kind: u8, snapshot: &Snapshot) {
        self.0.push(kind);
        self.text(&snapshot.epoch);
        self.number(snapshot.offset);
        self.number(snapshot.window);
        self.number(snapshot.interval_ms);
        self.signed(snapshot.sent_ms);
        self.samples(&snapshot.data, snapshot.sent_ms);
    }

    fn tick(&mut self, tick: &Tick) {
        self.0.push(KIND_METRICS);
        self.text(&tick.epoch);
        self.number(tick.offset);
        self.signed(tick.sampled_ms);
        self.signed(tick.sent_ms.wrapping_sub(tick.sampled_ms));
        self.samples(&tick.data, tick.sampled_ms);
    }

    fn samples(&mut self, samples: &[Metric], first_ms: i64) {
        let mut series: Vec<&Metric> = Vec::new();
        let same = |one: &Metric, other: &Metric| {
            one.name == other.name && one.unit == other.unit && one.labels == other.labels
        };
        // Samples come in the same order tick after tick: the next series is nearly always the
        // one after the last, so looking there first makes this linear.
        let mut indices: Vec<usize> = Vec::with_capacity(samples.len());
        let mut next = 0;
        for sample in samples {
            let known = match series.get(next) {
                Some(likely) if same(likely, sample) => Some(next),
                _ => series.iter().position(|known| same(known, sample)),
            };
            let index = known.unwrap_or_else(|| {
                series.push(sample);
                series.len() - 1
            });
            indices.push(index);
            next = if index + 1 < series.len() {
                index + 1
            } else {
                0
            };
        }
        self.number(series.len() as u64);
        for one in series {
            self.series(one);
        }
        self.number(samples.len() as u64);
        let mut before_ms = first_ms;
        for (sample, index) in samples.iter().zip(indices) {
            let ms = sample.timestamp.as_millis();
            self.number(index as u64);
            self.signed(ms.wrapping_sub(before_ms));
            self.0.extend_from_slice(&sample.value.to_le_bytes());
            before_ms = ms;
        }
    }

    fn series(&mut self, sample: &Metric) {
        if let Some(built_in) = BuiltIn::from_name(&sample.name)
            && sample.unit == built_in.unit()
            && sample.labels.is_empty()
        {
            // Fewer than 256 are built in.
            self.0.push(built_in as u8);
            return;
        }
        self.0.push(SERIES_NAMED);
        self.text(&sample.name);
        self.text(&sample.unit);
        self.number(sample.labels.len() as u64);
        for (name, value) in &sample.labels {
            self.text(name);
            self.text(value);
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, mut number: u64) {
        loop {
            let low = (number & 0x7F).to_le_bytes()[0];
            number >>= 7;
            if number == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }
}

impl Reader<'_> {
    fn snapshot(&mut self) -> Result<Snapshot, DecodeError> {
        let epoch = self.text()?;
        let (offset, window, interval_ms) = (self.number()?, self.number()?, self.number()?);
        let sent_ms = self.signed()?;
        let data = self.samples(sent_ms)?;
        Ok(Snapshot {
            epoch,
            offset,
            window,
            interval_ms,
            sent_ms,
            data,
        })
    }

    fn tick(&mut self) -> Result<Tick, DecodeError> {
        let (epoch, offset, sampled_ms) = (self.text()?, self.number()?, self.signed()?);
        let sent_ms = sampled_ms.wrapping_add(self.signed()?);
        let data = self.samples(sampled_ms)?;
        Ok(Tick {
            epoch,
            offset,
            sampled_ms,
            sent_ms,
            data,
        })
    }

    fn samples(&mut self, first_ms: i64) -> Result<Vec<Metric>, DecodeError> {
        let count = self.count(1)?;
        let series: Vec<Series> = (0..count)
            .map(|_| self.series())
            .collect::<Result<_, _>>()?;
        let count = self.count(10)?;
        let mut before_ms = first_ms;
        let samples = (0..count).map(|_| {
            let index = self.number()?;
            let series = usize::try_from(index)
                .ok()
                .and_then(|index| series.get(index))
                .ok_or(DecodeError::Series)?;
            before_ms = before_ms.wrapping_add(self.signed()?);
            Ok(Metric {
                name: series.name.clone(),
                value: self.double()?,
                unit: series.unit.clone(),
                timestamp: Timestamp::from_millis(before_ms),
                labels: series.labels.clone(),
            })
        });
        samples.collect()
    }

    fn series(&mut self) -> Result<Series, DecodeError> {
        let kind = self.byte()?;
        if let Some(built_in) = BUILT_IN.get(usize::from(kind)) {
            return Ok(Series {
                name: built_in.name().to_owned(),
                unit: built_in.unit().to_owned(),
                labels: Labels::new(),
            });
        }
        if kind != SERIES_NAMED {
            return Err(DecodeError::Kind(kind));
        }
        let (name, unit) = (self.text()?, self.text()?);
        let mut labels = Labels::new();
        // One by one: gathering a map brings a general sort along, which the page has no use for.
        for _ in 0..self.count(2)? {
            labels.insert(self.text()?, self.text()?);
        }
        Ok(Series { name, unit, labels })
    }
}

struct Series {
    name: String,
    unit: String,
    labels: Labels,
}

#[cfg(test)]
mod tests;
