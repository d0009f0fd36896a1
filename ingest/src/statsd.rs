//! StatsD and DogStatsD: datagrams of lines that an [`Aggregator`] adds up.
//!
//! ```text
//! page.views:1|c
//! queue:+3|g
//! request.time:12.5:14:9|ms|@0.5|#env:prod,canary
//! users:alice|s
//! ```
//!
//! Two dialects share a port. A bare line is StatsD's; one with tags or any of the fields `c:`
//! (container), `T` (time), `e:` and `card:` is DogStatsD's.
//!
//! - Types: `c` and `m` counter, `g` gauge, `ms`, `h` and `d` timers, `s` sets.
//! - A gauge's value with a sign changes it in StatsD (`queue:-5|g` takes 5 away) and is its value
//!   in DogStatsD (`temp:-5|g|#room:a` is minus five).
//! - Several values in one line are `a:1:2:3|c` in DogStatsD 1.1 (not for sets, whose members may
//!   have colons) and `a:1|c:2|c|@0.1:320|ms` in StatsD.
//! - `@rate` (above 0, at most 1) scales counters and timers.
//! - `T` (Unix seconds) is the time of a gauge or counter: it becomes a sample of that time at
//!   once. A counter whose time lies before its newest sample counts with the next one, so it never
//!   falls. Other types have no time, there and here.
//! - Tags are labels; one without a value has `true`, and so has the value of one without a name,
//!   whose name it is then; values of one that is there several times are joined by `,`. All names
//!   are kept as they were sent.
//! - Events (`_e{`, whose lengths say how far their text goes, line breaks and all) and service
//!   checks (`_sc`) are refused as not supported.
//!
//! Specifications: <https://github.com/statsd/statsd/blob/master/docs/metric_types.md> and
//! <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>.

mod aggregator;
mod sketch;

use std::borrow::Cow;

use pulseboard_series::{Batch, Reason};

pub use aggregator::{Aggregator, IDLE_FLUSHES};

use crate::{
    excerpt::{excerpt, not_a_number},
    lines::{Ends, for_each_line},
    number,
};

/// What stands around a line and is no part of it.
const AROUND: [char; 3] = [' ', '\t', '\0'];

/// Reads a datagram into an aggregator. Refused lines go to `batch`, and so do samples of lines
/// that have a time of their own. Returns how many lines were accepted.
pub fn datagram(bytes: &[u8], aggregator: &mut Aggregator, batch: &mut Batch) -> u64 {
    let mut accepted = 0;
    for_each_line(bytes, batch, |number, line, batch| {
        // An event whose lengths say that it goes on.
        if event_end(line.as_bytes()).is_some_and(|end| end > line.len()) && !line.contains('\n') {
            return Ends::Quoted(event_line_end);
        }
        let line = line.trim_matches(AROUND);
        if line.is_empty() {
            return Ends::Here;
        }
        match parse(line).and_then(|parsed| aggregator.take(&parsed, number, batch)) {
            Ok(()) => accepted += 1,
            Err(reason) => batch.refuse(number, reason),
        }
        Ends::Here
    });
    accepted
}

fn unsupported() -> Reason {
    Reason::Unsupported("events and service checks are not kept".to_owned())
}

/// Where the text of an event ends whose line begins the bytes: behind as many bytes as
/// `_e{title,text}:` says. `None` where it says nothing that can be read.
fn event_end(bytes: &[u8]) -> Option<usize> {
    let around = bytes
        .iter()
        .take_while(|byte| b" \t\0".contains(byte))
        .count();
    let lengths = bytes.get(around..)?.strip_prefix(b"_e{")?;
    let length = memchr::memchr(b'}', lengths.get(..lengths.len().min(42))?)?;
    let (title, text) = std::str::from_utf8(&lengths[..length])
        .ok()?
        .split_once(',')?;
    let (title, text): (usize, usize) = (title.parse().ok()?, text.parse().ok()?);
    // `_e{`, `}:` and the `|` between title and text.
    (around + length + 6).checked_add(title)?.checked_add(text)
}

/// The first line break behind an event's text, or the end of all bytes.
fn event_line_end(bytes: &[u8]) -> Option<usize> {
    let behind = event_end(bytes)?.min(bytes.len());
    let length = memchr::memchr(b'\n', &bytes[behind..]);
    Some(length.map_or(bytes.len(), |length| behind + length))
}

/// What a line's value does to its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Counter,
    Gauge,
    /// Durations, `ms`.
    Timer,
    /// Histograms and distributions: as timers, of no known unit.
    Histogram,
    Set,
}

/// One line, its values still text.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) parts: Vec<Part<'a>>,
    /// Behind the `#`; empty without tags.
    pub(crate) tags: &'a str,
    /// Whether the line is DogStatsD's.
    pub(crate) is_dog: bool,
    /// Its own time, Unix milliseconds.
    pub(crate) at_ms: Option<i64>,
}

/// Values of one type in a line.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) values: &'a str,
    pub(crate) metric_type: Type,
    /// What one value stands for: 1 / rate.
    pub(crate) weight: f64,
}

fn parse(line: &str) -> Result<Line<'_>, Reason> {
    if line.starts_with("_e{") || line.starts_with("_sc|") {
        return Err(unsupported());
    }
    let malformed = |what: &str| Reason::Malformed(format!("{:?}: {what}", excerpt(line)));
    let mut fields = line.split('|');
    let (name, values) = fields
        .next()
        .and_then(|first| first.split_once(':'))
        .ok_or_else(|| malformed("`name:value|type` expected"))?;
    let mut parsed = Line {
        name,
        parts: Vec::with_capacity(1),
        tags: "",
        is_dog: false,
        at_ms: None,
    };
    let mut values = Some(values);
    while let Some(of_part) = values.take() {
        let word = fields
            .next()
            .ok_or_else(|| malformed("`|` and a type expected"))?;
        // `1|c:2|c`: a further value stands behind the type, or behind its rate.
        let (word, mut further) = with_further(word);
        let metric_type = match word {
            "c" | "m" => Type::Counter,
            "g" => Type::Gauge,
            "ms" => Type::Timer,
            "h" | "d" => Type::Histogram,
            "s" => Type::Set,
            _ => return Err(malformed("the type is none of c, m, g, ms, h, d, s")),
        };
        let mut weight = 1.0;
        while further.is_none()
            && let Some(field) = fields.next()
        {
            if let Some(rate) = field.strip_prefix('@') {
                let (rate, behind) = with_further(rate);
                further = behind;
                let rate = number::float(rate).filter(|rate| *rate > 0.0 && *rate <= 1.0);
                weight =
                    1.0 / rate.ok_or_else(|| malformed("the rate is not above 0 and at most 1"))?;
            } else if let Some(list) = field.strip_prefix('#') {
                (parsed.tags, parsed.is_dog) = (list, true);
            } else if let Some(seconds) = field.strip_prefix('T') {
                let at_ms = number::integer(seconds).and_then(|seconds| seconds.checked_mul(1_000));
                let at_ms = at_ms.filter(|at_ms| *at_ms > 0);
                parsed.at_ms =
                    Some(at_ms.ok_or_else(|| malformed("the time is not in whole Unix seconds"))?);
                parsed.is_dog = true;
            } else if ["c:", "e:", "card:"]
                .iter()
                .any(|known| field.starts_with(known))
            {
                parsed.is_dog = true;
            }
        }
        parsed.parts.push(Part {
            values: of_part,
            metric_type,
            weight,
        });
        values = further;
    }
    Ok(parsed)
}

/// A word, and the value that stands behind it after a `:`.
fn with_further(word: &str) -> (&str, Option<&str>) {
    match word.split_once(':') {
        Some((word, further)) => (word, Some(further)),
        None => (word, None),
    }
}

impl<'a> Line<'a> {
    /// Names and values of its tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.tags.split(',').filter_map(read_tag)
    }
}

/// Name and value of a tag, `true` where it has none. One whose name is empty (`:x`) is known by
/// its value, as with Datadog, where tags begin with a letter; nothing where nothing is left.
pub(crate) fn read_tag(tag: &str) -> Option<(&str, &str)> {
    let tag = tag.trim_start_matches(':');
    (!tag.is_empty()).then(|| tag.split_once(':').unwrap_or((tag, "true")))
}

/// Names and values, sorted by name, each name once: values of one that is there several times are
/// joined by `,`, and one without a value is none.
pub(crate) fn join_tags<'a>(
    tags: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, Cow<'a, str>)> {
    let mut sorted: Vec<(&str, &str)> = tags.collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut labels: Vec<(&str, Cow<'_, str>)> = Vec::new();
    for (name, value) in sorted {
        match labels.last_mut() {
            Some((last, values)) if *last == name && !values.is_empty() => {
                values.to_mut().push(',');
                values.to_mut().push_str(value);
            }
            _ if value.is_empty() => {}
            _ => labels.push((name, Cow::Borrowed(value))),
        }
    }
    labels
}

impl Part<'_> {
    /// Its values as numbers; all or none.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>, Reason> {
        if self.metric_type == Type::Set {
            return Ok(Vec::new());
        }
        self.values
            .split(':')
            .map(|value| {
                number::float(value)
                    .filter(|number| number.is_finite())
                    .ok_or_else(|| not_a_number(value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
