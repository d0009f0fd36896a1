//! What is pushed to a group, as to Prometheus' Pushgateway: `/metrics/job/JOB{/LABEL/VALUE}`.
//!
//! The path names the group ([`Grouping`]), and its labels beat those of the body. A body is the
//! text format or `metric_family`'s protobuf, and is taken as a whole or not at all: one line
//! that is wrong, or a sample with a time of its own, refuses it, as there.
//!
//! Specification: <https://github.com/prometheus/pushgateway/blob/master/README.md>.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use pulseboard_series::{
    Batch, Kind, Reason, Row,
    key::{check_label_name, is_plain_label},
    limits::{LABEL_VALUE_BYTES_MAX, LABELS_MAX},
};

use crate::{
    BodyError, metric_family,
    text::{self, Times},
};

/// The metric that says when a group was pushed to last.
pub const PUSH_TIME: &str = "push_time_seconds";

/// Behind the name of a label whose value is in base64.
const IN_BASE64: &str = "@base64";

/// Bytes of samples that a byte of a body may become before its group's labels are put in: those of
/// the shortest lines.
const READ_RATIO: usize = 16;

/// A body of so many bytes is read without asking for memory.
const BODY_BYTES_FREE: usize = 64 * 1024;

/// The labels that name a group, sorted by name; `job` is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grouping(Vec<(String, String)>);

impl Grouping {
    /// From what stands behind `/metrics/` in a path, with its escapes.
    ///
    /// # Errors
    /// It names no group; the text says why.
    pub fn of_path(path: &str) -> Result<Self, String> {
        let mut segments = path.split('/');
        let mut labels: Vec<(String, String)> = Vec::new();
        while let Some(name) = segments.next() {
            let value = segments.next();
            let value = value.ok_or("the path has a label without a value")?;
            let (name, value) = (decoded(name)?, decoded(value)?);
            let (name, value) = match name.strip_suffix(IN_BASE64) {
                Some(name) => (name.to_owned(), of_base64(&value)?),
                None => (name, value),
            };
            if labels.is_empty() && name != "job" {
                return Err("the path's first label must be `job`".to_owned());
            }
            check_label_name(&name).map_err(|reason| reason.to_string())?;
            if !is_plain_label(&name) || name.starts_with("__") {
                return Err(format!("{name:?} is no name of a label"));
            }
            if value.len() > LABEL_VALUE_BYTES_MAX {
                let reason = Reason::LabelValueLength {
                    name,
                    bytes: value.len(),
                };
                return Err(reason.to_string());
            }
            if labels.iter().any(|(known, _)| *known == name) {
                return Err(Reason::LabelTwice(name).to_string());
            }
            if labels.len() == LABELS_MAX {
                return Err(Reason::Labels.to_string());
            }
            labels.push((name, value));
        }
        if labels.first().is_none_or(|(_, job)| job.is_empty()) {
            return Err("the job's name is empty".to_owned());
        }
        labels.sort();
        Ok(Self(labels))
    }

    /// Names and values, sorted by name.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.0.iter();
        labels.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = self.labels().map(|(name, value)| name.len() + value.len());
        bytes.sum::<usize>() + self.0.len() * size_of::<(String, String)>()
    }
}

fn decoded(segment: &str) -> Result<String, String> {
    let text = percent_decode_str(segment).decode_utf8().ok();
    let text = text.ok_or("the path is not UTF-8")?;
    Ok(text.into_owned())
}

/// URL-safe base64 (RFC 4648 §5) with or without its padding; `=` stands for nothing.
fn of_base64(value: &str) -> Result<String, String> {
    let bytes = URL_SAFE_NO_PAD.decode(value.trim_end_matches('='));
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| "a value is not base64 of UTF-8".to_owned())
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Prometheus text 0.0.4, or OpenMetrics.
    Text(Times),
    /// Messages with their lengths.
    Protobuf,
}

impl Encoding {
    /// From `Content-Type`; whatever is not the protobuf is text, as there.
    #[must_use]
    pub fn from_content_type(value: &str) -> Self {
        let kind = value.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            Self::Protobuf
        } else {
            Self::Text(Times::of(&[], value))
        }
    }
}

/// Reads a body, each of its series with the group's labels.
///
/// # Errors
/// Anything of it is not accepted; the batch is empty then.
pub fn parse(
    encoding: Encoding,
    body: &[u8],
    grouping: &Grouping,
    batch: &mut Batch,
) -> Result<(), BodyError> {
    let bytes_max = READ_RATIO * body.len().max(BODY_BYTES_FREE);
    if body.len() > BODY_BYTES_FREE && !batch.hold(bytes_max) {
        return Ok(());
    }
    let mut read = Batch::new();
    read.set_bytes_max(bytes_max);
    match encoding {
        Encoding::Protobuf => metric_family::parse(body, &mut read)?,
        Encoding::Text(times) => text::parse(body, times, &mut read),
    }
    let written = wrong_line(&read).map_or_else(|| regroup(&read, grouping, batch), Err);
    if written.is_err() {
        batch.clear();
    }
    written.map_err(|(line, reason)| BodyError::Line { line, reason })
}

/// What refuses the whole body.
fn wrong_line(read: &Batch) -> Option<(u32, Reason)> {
    let refused = read.refused().first();
    let refused = refused.map(|refused| (refused.line, refused.reason.clone()));
    refused.or_else(|| {
        let stamped = read.rows().iter().find(|row| row.at_ms != Row::NOW)?;
        let why = "what is pushed must have no timestamp: it is of the moment of its arrival";
        Some((stamped.line, Reason::Malformed(why.to_owned())))
    })
}

fn regroup(read: &Batch, grouping: &Grouping, batch: &mut Batch) -> Result<(), (u32, Reason)> {
    for row in read.rows() {
        let key = read.key(row);
        // Ours to say.
        if key.name() == PUSH_TIME {
            continue;
        }
        let own = key.labels();
        let own = own.filter(|(name, _)| grouping.labels().all(|(of_group, _)| of_group != *name));
        let (kind, unit) = read.description(row);
        write(batch, key.name(), own.chain(grouping.labels()), |batch| {
            batch.describe(kind, unit);
            batch.finish(row.line, None, row.value)
        })
        .map_err(|reason| (row.line, reason))?;
    }
    Ok(())
}

/// Writes when the group was pushed to, Unix milliseconds.
///
/// # Errors
/// There is no room in the batch.
pub fn write_push_time(grouping: &Grouping, now_ms: i64, batch: &mut Batch) -> Result<(), Reason> {
    #[expect(clippy::cast_precision_loss, reason = "exact for some 280 000 years")]
    let seconds = now_ms as f64 / 1000.0;
    write(batch, PUSH_TIME, grouping.labels(), |batch| {
        batch.describe(Kind::Gauge, "s");
        batch.finish(1, None, seconds)
    })
}

fn write<'a>(
    batch: &mut Batch,
    name: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    end: impl FnOnce(&mut Batch) -> Result<(), Reason>,
) -> Result<(), Reason> {
    batch.begin(&[name])?;
    for (name, value) in labels {
        batch.label(name, value)?;
    }
    end(batch)
}

#[cfg(test)]
mod tests;
