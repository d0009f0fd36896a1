//! StatsD and DogStatsD: datagrams of lines that an [`Aggregator`] adds up.
//!
//! ```text
//! page.views:1|c
//! queue:+3|g
//! request.time:12.5:14:9|ms|@0.5|#env:prod,canary
//! users:alice|s
//! ```
//!
//! - Types: `c` counter, `g` gauge (`+3` and `-3` change it), `ms`, `h` and `d` timers, `s` sets.
//!   Several values in one line are DogStatsD 1.1 (not for sets, whose members may have colons).
//! - `@rate` (above 0, at most 1) scales counters and timers.
//! - Tags are labels; one without a value has `true`. Characters that names may not have become
//!   `_`.
//! - The fields `c:` (container), `T` (time), `e:`, `card:` and unknown ones are passed over: a
//!   value counts at the flush after its arrival.
//! - Events (`_e{`) and service checks (`_sc`) are refused as not supported.
//!
//! Specifications: <https://github.com/statsd/statsd/blob/master/docs/metric_types.md> and
//! <https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>.

mod aggregator;
mod sketch;

use pulseboard_series::{Batch, Reason};

pub use aggregator::{Aggregator, IDLE_FLUSHES};

use crate::{
    excerpt::{excerpt, not_a_number},
    lines::for_each_line,
    names::sanitise,
    number,
};

/// Reads a datagram into an aggregator; refused lines go to `batch`, which gets no samples here.
/// Returns how many lines were accepted.
pub fn datagram(bytes: &[u8], aggregator: &mut Aggregator, batch: &mut Batch) -> u64 {
    let mut accepted = 0;
    for_each_line(bytes, batch, |number, line, batch| {
        let line = line.trim_matches([' ', '\t', '\0']);
        if line.is_empty() {
            return;
        }
        match parse(line).and_then(|parsed| aggregator.take(&parsed)) {
            Ok(()) => accepted += 1,
            Err(reason) => batch.refuse(number, reason),
        }
    });
    accepted
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
    pub(crate) name: String,
    pub(crate) values: &'a str,
    pub(crate) metric_type: Type,
    /// What one value stands for: 1 / rate.
    pub(crate) weight: f64,
    /// Behind the `#`; empty without tags.
    pub(crate) tags: &'a str,
}

fn parse(line: &str) -> Result<Line<'_>, Reason> {
    if line.starts_with("_e{") || line.starts_with("_sc|") {
        return Err(Reason::Unsupported(
            "events and service checks are not kept".to_owned(),
        ));
    }
    let malformed = |what: &str| Reason::Malformed(format!("{:?}: {what}", excerpt(line)));
    let mut fields = line.split('|');
    let (name, values) = fields
        .next()
        .and_then(|first| first.split_once(':'))
        .ok_or_else(|| malformed("`name:value|type` expected"))?;
    let metric_type = match fields.next() {
        Some("c") => Type::Counter,
        Some("g") => Type::Gauge,
        Some("ms") => Type::Timer,
        Some("h" | "d") => Type::Histogram,
        Some("s") => Type::Set,
        Some(_) => return Err(malformed("the type is none of c, g, ms, h, d, s")),
        None => return Err(malformed("`|` and a type expected")),
    };
    let (mut weight, mut tags) = (1.0, "");
    for field in fields {
        if let Some(rate) = field.strip_prefix('@') {
            let rate = number::float(rate).filter(|rate| *rate > 0.0 && *rate <= 1.0);
            weight =
                1.0 / rate.ok_or_else(|| malformed("the rate is not above 0 and at most 1"))?;
        } else if let Some(list) = field.strip_prefix('#') {
            tags = list;
        }
    }
    Ok(Line {
        name: sanitise(name, true),
        values,
        metric_type,
        weight,
        tags,
    })
}

impl<'a> Line<'a> {
    /// Names and values of its tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (String, &'a str)> + use<'a> {
        self.tags
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(|tag| {
                let (name, value) = tag.split_once(':').unwrap_or((tag, "true"));
                (sanitise(name, true), value)
            })
    }

    /// Its values as numbers; all or none.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>, Reason> {
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
