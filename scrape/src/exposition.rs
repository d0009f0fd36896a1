//! From the body of a scrape to rows with the target's labels, within the job's limits. Pure.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use pulseboard_ingest::text::{self, Times};
use pulseboard_series::{Batch, KeyRef, Reason, Row};

use crate::{
    labels::LabelSet,
    relabel::{self, Rule},
};

/// What is made of a target's samples; zero is no limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    /// Whether series whose samples bring their own times are marked when they end.
    pub(crate) track_timestamps: bool,
    pub(crate) rules: Vec<Rule>,
    pub(crate) sample_limit: u64,
    pub(crate) label_limit: u64,
    pub(crate) name_length_limit: u64,
    pub(crate) value_length_limit: u64,
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples in the body, those among them that are longer than anything that is stored.
    pub(crate) scraped: usize,
    /// Of these, what relabelling left.
    pub(crate) kept: usize,
}

/// Buffers of one scrape, used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// As the target told it.
    raw: Batch,
    /// With the target's labels: what is handed on.
    pub(crate) rows: Batch,
    labels: LabelSet,
    told: Told,
}

/// Which series were told at which times, by their hashes, and in which row first. There are no
/// more than rows, whose memory is bounded.
type Told = HashMap<(u64, i64), usize, RandomState>;

impl Buffers {
    pub(crate) fn clear(&mut self) {
        self.raw.clear();
        self.rows.clear();
        self.told.clear();
    }

    /// Bytes that are held for the next scrape.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.raw.capacity_bytes()
            + self.rows.capacity_bytes()
            + self.told.capacity() * size_of::<((u64, i64), usize)>()
    }
}

/// Reads a body into `buffers.rows`. `at_ms` is the time of samples that have none.
///
/// # Errors
/// Why nothing of it is taken, in words; how much was read and kept all the same.
pub(crate) fn read(
    body: &[u8],
    content_type: &str,
    target: &LabelSet,
    shape: &Shape,
    at_ms: i64,
    buffers: &mut Buffers,
) -> Result<Counts, (Counts, String)> {
    buffers.clear();
    let times = if is_openmetrics(content_type) {
        if !body.ends_with(b"# EOF\n") && !body.ends_with(b"# EOF") {
            let why = "the body is OpenMetrics and does not end with # EOF; it seems to be cut off";
            return Err((Counts::default(), why.to_owned()));
        }
        Times::Seconds
    } else {
        Times::Milliseconds
    };
    // With honor_labels an empty label of the target's is its own way to say that there is none, so
    // that ours is not added: what is federated or pushed elsewhere says `instance=""` for this.
    let ours = target.iter().filter(|_| shape.honor_labels);
    buffers.raw.watch_empty(ours.map(|(name, _)| name));
    text::parse(body, times, &mut buffers.raw);
    let mut counts = Counts {
        scraped: buffers.raw.rows().len(),
        ..Counts::default()
    };
    for refused in buffers.raw.refused() {
        if !is_too_long(&refused.reason) {
            let why = format!("line {}: {}", refused.line, refused.reason);
            return Err((counts, why));
        }
    }
    // What is left out is a sample of the target's all the same.
    let left_out = usize::try_from(buffers.raw.refused_total()).unwrap_or(usize::MAX);
    counts.scraped = counts.scraped.saturating_add(left_out);
    buffers.rows.refuse_those_of(&buffers.raw);
    let is_simple = shape.rules.is_empty();
    for (at, row) in buffers.raw.rows().iter().enumerate() {
        let key = buffers.raw.key(row);
        let (kind, unit) = buffers.raw.description(row);
        let row_at = if shape.honor_timestamps && row.at_ms != Row::NOW {
            row.at_ms
        } else {
            at_ms
        };
        let mut declined = buffers.raw.empty_labels(at).peekable();
        let is_simple = is_simple && declined.peek().is_none() && !clashes(key, target);
        if !is_simple {
            merge(key, target, shape.honor_labels, &mut buffers.labels);
            for name in declined {
                buffers.labels.set(name, "");
            }
            match relabel::apply(&shape.rules, &mut buffers.labels) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(why) => return Err((counts, format!("line {}: {why}", row.line))),
            }
        }
        counts.kept += 1;
        if shape.sample_limit > 0 && counts.kept as u64 > shape.sample_limit {
            // Nothing is taken, and the rest is counted.
            continue;
        }
        let written = match is_simple {
            true => simple(&mut buffers.rows, key, target, shape),
            false => labelled(&mut buffers.rows, &buffers.labels, shape),
        };
        let written = written.and_then(|()| {
            buffers.rows.describe(kind, unit);
            let finished = buffers.rows.finish(row.line, Some(row_at), row.value);
            finished.map_err(Wrong::Sample)
        });
        match written {
            Ok(()) if is_repeated(&buffers.rows, &mut buffers.told) => {
                buffers.rows.undo_to(buffers.rows.rows().len() - 1);
            }
            Ok(()) => {}
            Err(Wrong::Sample(reason)) => buffers.rows.refuse(row.line, reason),
            Err(Wrong::Scrape(why)) => return Err((counts, why)),
        }
    }
    if shape.sample_limit > 0 && counts.kept as u64 > shape.sample_limit {
        let why = format!("more than {} samples (sample_limit)", shape.sample_limit);
        return Err((counts, why));
    }
    Ok(counts)
}

/// Why a row is not written, and what that costs.
enum Wrong {
    Sample(Reason),
    Scrape(String),
}

impl From<Reason> for Wrong {
    fn from(reason: Reason) -> Self {
        match is_too_long(&reason) {
            true => Self::Sample(reason),
            false => Self::Scrape(reason.to_string()),
        }
    }
}

/// Whether the newest row tells a series a second time for one time: what was told first holds, as
/// with Prometheus.
fn is_repeated(rows: &Batch, told: &mut Told) -> bool {
    let Some((row, before)) = rows.rows().split_last() else {
        return false;
    };
    let first = *told.entry((row.hash, row.at_ms)).or_insert(before.len());
    let first = before.get(first);
    first.is_some_and(|first| rows.key(first) == rows.key(row))
}

/// Whether a row is watched for its end: one that comes with its own time is not.
pub(crate) fn is_tracked(row: &Row, shape: &Shape, at_ms: i64) -> bool {
    shape.track_timestamps || !shape.honor_timestamps || row.at_ms == at_ms
}

fn is_openmetrics(content_type: &str) -> bool {
    content_type
        .trim_start()
        .starts_with("application/openmetrics-text")
}

/// What the format allows and nobody stores: it costs the sample and not the scrape.
fn is_too_long(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::NameLength(_)
            | Reason::Labels
            | Reason::LabelNameLength(_)
            | Reason::LabelValueLength { .. }
    )
}

/// Whether the target tells a label that we have for it.
fn clashes(key: KeyRef<'_>, target: &LabelSet) -> bool {
    let mut ours = target.iter().map(|(name, _)| name).peekable();
    for (name, _) in key.labels() {
        // both are sorted
        while ours.next_if(|our| *our < name).is_some() {}
        if ours.peek() == Some(&name) {
            return true;
        }
    }
    false
}

/// Labels of target and sample, neither of which has one of the other's, in one pass.
fn simple(
    rows: &mut Batch,
    key: KeyRef<'_>,
    target: &LabelSet,
    shape: &Shape,
) -> Result<(), Wrong> {
    rows.begin(&[key.name()])?;
    let mut count = 1;
    let mut ours = target.iter().peekable();
    for (name, value) in key.labels() {
        while let Some((name, value)) = ours.next_if(|(our, _)| *our < name) {
            count += 1;
            push(rows, name, value, shape)?;
        }
        count += 1;
        push(rows, name, value, shape)?;
    }
    for (name, value) in ours {
        count += 1;
        push(rows, name, value, shape)?;
    }
    check_count(count, shape)
}

fn labelled(rows: &mut Batch, labels: &LabelSet, shape: &Shape) -> Result<(), Wrong> {
    let name = labels.get("__name__");
    if name.is_empty() {
        let why = "a sample has no name after relabelling";
        return Err(Wrong::Scrape(why.to_owned()));
    }
    rows.begin(&[name])?;
    for (name, value) in labels.iter() {
        if name != "__name__" {
            push(rows, name, value, shape)?;
        }
    }
    check_count(labels.len(), shape)
}

/// The name counts as a label, as with Prometheus.
fn check_count(count: usize, shape: &Shape) -> Result<(), Wrong> {
    if shape.label_limit > 0 && count as u64 > shape.label_limit {
        return Err(Wrong::Scrape(format!(
            "a series has {count} labels, more than {} (label_limit)",
            shape.label_limit
        )));
    }
    Ok(())
}

fn push(rows: &mut Batch, name: &str, value: &str, shape: &Shape) -> Result<(), Wrong> {
    let over = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
    if over(name.len(), shape.name_length_limit) {
        return Err(Wrong::Scrape(format!(
            "the label's name {name:?} is longer than {} bytes (label_name_length_limit)",
            shape.name_length_limit
        )));
    }
    if over(value.len(), shape.value_length_limit) {
        return Err(Wrong::Scrape(format!(
            "the value of label {name:?} is longer than {} bytes (label_value_length_limit)",
            shape.value_length_limit
        )));
    }
    Ok(rows.label(name, value)?)
}

/// The target's labels and the sample's, as `honor_labels` has it where both name one.
fn merge(key: KeyRef<'_>, target: &LabelSet, honor: bool, labels: &mut LabelSet) {
    labels.clear();
    labels.set("__name__", key.name());
    if honor {
        for (name, value) in key.labels() {
            labels.set(name, value);
        }
        for (name, value) in target.iter() {
            labels.set_default(name, value);
        }
        return;
    }
    for (name, value) in target.iter() {
        labels.set(name, value);
    }
    let mut moved = Vec::new();
    for (name, value) in key.labels() {
        if target.has(name) {
            moved.push((name, value));
        } else {
            labels.set(name, value);
        }
    }
    for (name, value) in moved {
        let mut other = format!("exported_{name}");
        while labels.has(&other) {
            other.insert_str(0, "exported_");
        }
        labels.set(&other, value);
    }
}

#[cfg(test)]
mod tests;
