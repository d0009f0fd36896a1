//! Text lines: `name value [timestamp]`, the Prometheus text format 0.0.4 and OpenMetrics 1.0.
//!
//! ```text
//! queue_depth 42
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",code="200"} 1027 1395066363000
//! {"my.metric", "a.b"="c"} 1.5
//! ```
//!
//! - Values are floats with `NaN`, `+Inf` and `-Inf`; a finite one past the largest double is
//!   refused.
//! - Timestamps are whole milliseconds, or seconds with a fraction in OpenMetrics ([`Times`]).
//! - In label values `\\`, `\"` and `\n` are escapes; another backslash stays as it stands.
//! - Blanks are spaces and tabs, as many as one likes; lines end with `\n` or `\r\n`.
//! - `# TYPE` and `# UNIT` describe the samples of their family that follow; a family's samples
//!   stand together, as both formats demand. Other comments, `# HELP`, `# EOF` and exemplars
//!   (`# {…}` behind a sample) are passed over.
//! - A quoted name between the braces is the metric's (UTF-8 names of Prometheus 3); a quoted
//!   label name is accepted too. Any text is a name there; without quotes a plain word is.
//! - A line break inside a quoted text is part of it, as Prometheus reads it.

use pulseboard_series::{
    Batch, Kind, Reason,
    key::{is_plain_label, name_bytes},
};

use crate::{
    excerpt::{expected, not_a_number},
    lines::{
        Ends, blanks_end, braces_end, first_of, for_each_line, is_blank, quoted_end, skip_blanks,
        token,
    },
    number, time,
};

/// What the timestamps of a body are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Whole Unix milliseconds: Prometheus text and simple lines.
    #[default]
    Milliseconds,
    /// Unix seconds with a fraction: OpenMetrics.
    Seconds,
}

impl Times {
    /// Seconds when the content type is OpenMetrics' or the body ends with `# EOF`.
    #[must_use]
    pub fn of(body: &[u8], content_type: &str) -> Self {
        if content_type.contains("openmetrics") || body.trim_ascii_end().ends_with(b"\n# EOF") {
            return Self::Seconds;
        }
        Self::Milliseconds
    }
}

/// Reads a whole body of text lines.
pub fn parse(body: &[u8], times: Times, batch: &mut Batch) {
    let mut reader = Reader::new(times);
    for_each_line(body, batch, |number, line, batch| {
        reader.line(number, line, batch)
    });
}

/// The family that comments were last about.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: FamilyKind,
    unit: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FamilyKind {
    #[default]
    Unknown,
    Gauge,
    Counter,
    Distribution,
}

impl Family {
    /// What a sample of this name is; `None` when it is not of this family.
    fn describe(&self, sample: &str) -> Option<(Kind, &str)> {
        let suffix = sample.strip_prefix(self.name.as_str())?;
        let unit = self.unit.as_str();
        Some(match (self.kind, suffix) {
            (FamilyKind::Unknown, "") => (Kind::Unknown, unit),
            (FamilyKind::Gauge, "" | "_info") => (Kind::Gauge, unit),
            (FamilyKind::Counter, "" | "_total") => (Kind::Counter, unit),
            (FamilyKind::Distribution, "" | "_sum" | "_gsum") => (Kind::Distribution, unit),
            // Counts of observations, whatever the observations are measured in.
            (FamilyKind::Distribution, "_bucket" | "_count" | "_gcount") => {
                (Kind::Distribution, "")
            }
            (FamilyKind::Counter | FamilyKind::Distribution, "_created") => (Kind::Gauge, "s"),
            _ => return None,
        })
    }
}

/// Reads one line after the other and remembers what the comments said.
#[derive(Debug, Default)]
pub struct Reader {
    times: Times,
    family: Option<Family>,
    /// A comment said something of a metric.
    has_comments: bool,
    scratch: String,
}

impl Reader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(times: Times) -> Self {
        Self {
            times,
            ..Self::default()
        }
    }

    /// Whether a comment said anything of a metric so far.
    #[must_use]
    pub(crate) fn has_comments(&self) -> bool {
        self.has_comments
    }

    /// Reads one line without its end. Empty ones and comments are fine and write nothing.
    pub(crate) fn line(&mut self, number: u32, line: &str, batch: &mut Batch) -> Ends {
        let line = skip_blanks(line);
        match line.as_bytes().first() {
            None => Ends::Here,
            Some(b'#') => self.comment(line),
            Some(_) => {
                let end = name_end(line.as_bytes());
                self.sample(number, line, end, batch)
            }
        }
    }

    /// `# TYPE name kind` and `# UNIT name unit`; all other comments mean nothing.
    pub(crate) fn comment(&mut self, line: &str) -> Ends {
        let (word, rest) = token(skip_blanks(&line[1..]));
        if !matches!(word, "TYPE" | "UNIT" | "HELP") {
            return Ends::Here;
        }
        self.has_comments = true;
        let unescaped;
        let (name, rest) = if rest.starts_with('"') {
            let Some(end) = quoted_end(rest.as_bytes(), 1) else {
                return Ends::Quoted(comment_end);
            };
            let mut name = String::new();
            if unescape(rest, 1, &mut name).is_err() {
                return Ends::Here;
            }
            unescaped = name;
            (unescaped.as_str(), skip_blanks(&rest[end..]))
        } else {
            token(rest)
        };
        if word == "HELP" {
            return Ends::Here;
        }
        let (what, _) = token(rest);
        let family = self.family.get_or_insert_default();
        if family.name != name {
            name.clone_into(&mut family.name);
            family.kind = FamilyKind::Unknown;
            family.unit.clear();
        }
        if word == "UNIT" {
            what.clone_into(&mut family.unit);
            return Ends::Here;
        }
        family.kind = match what {
            "counter" => FamilyKind::Counter,
            "gauge" | "info" | "stateset" => FamilyKind::Gauge,
            "histogram" | "summary" | "gaugehistogram" => FamilyKind::Distribution,
            _ => FamilyKind::Unknown,
        };
        Ends::Here
    }

    /// A line with a sample, whose name ends at `name_end` (0: it begins otherwise).
    pub(crate) fn sample(
        &mut self,
        number: u32,
        line: &str,
        name_end: usize,
        batch: &mut Batch,
    ) -> Ends {
        match self.try_sample(number, line, name_end, batch) {
            Ok(None) => {}
            Ok(Some(exemplar_at)) if ends_quoted(line, exemplar_at) => {
                batch.undo_to(batch.rows().len().saturating_sub(1));
                return Ends::Quoted(braces_end);
            }
            Ok(Some(_)) => {}
            // What is wrong with it may be that it goes on in the next line.
            Err(_) if ends_quoted(line, 0) => return Ends::Quoted(braces_end),
            Err(reason) => batch.refuse(number, reason),
        }
        Ends::Here
    }

    /// Where its exemplar begins, when it has one.
    fn try_sample(
        &mut self,
        number: u32,
        line: &str,
        name_end: usize,
        batch: &mut Batch,
    ) -> Result<Option<usize>, Reason> {
        let bytes = line.as_bytes();
        let at = match bytes.get(name_end) {
            Some(b'{') if name_end > 0 => {
                self.begin(&line[..name_end], batch)?;
                self.labels(line, name_end + 1, batch)?
            }
            Some(b' ' | b'\t') => {
                self.begin(&line[..name_end], batch)?;
                let at = blanks_end(bytes, name_end);
                if bytes.get(at) == Some(&b'{') {
                    self.labels(line, at + 1, batch)?
                } else {
                    at
                }
            }
            Some(b'{') => {
                let name = quoted_name(line, &mut self.scratch)?;
                // Taken and given back, so that its memory is used again.
                let scratch = std::mem::take(&mut self.scratch);
                let name = name.unwrap_or(&scratch);
                let begun = batch.begin(&[name]);
                if begun.is_ok() {
                    self.describe(name, batch);
                }
                self.scratch = scratch;
                begun?;
                self.labels(line, 1, batch)?
            }
            None => {
                // A name and nothing else: say so, unless it is no name at all.
                batch.begin_plain(line)?;
                return Err(Reason::Malformed("there is no value".to_owned()));
            }
            Some(_) => {
                let (word, _) = token(line);
                let word = &word[..word.find('{').unwrap_or(word.len())];
                batch.begin_plain(word)?;
                return Err(expected("a blank or `{`", line, name_end));
            }
        };
        let at = blanks_end(bytes, at);
        let value_end = token_end(bytes, at);
        let value = number::float(&line[at..value_end])
            .ok_or_else(|| missing_or_wrong(&line[at..value_end]))?;
        let (at_ms, exemplar_at) = self.rest(line, value_end)?;
        batch.finish(number, at_ms, value)?;
        Ok(exemplar_at)
    }

    fn begin(&self, name: &str, batch: &mut Batch) -> Result<(), Reason> {
        batch.begin_plain(name)?;
        self.describe(name, batch);
        Ok(())
    }

    fn describe(&self, name: &str, batch: &mut Batch) {
        if let Some(family) = &self.family
            && let Some((kind, unit)) = family.describe(name)
            && (kind, unit) != (Kind::Unknown, "")
        {
            batch.describe(kind, unit);
        }
    }

    /// What follows the value: a timestamp, an exemplar (and where it begins), nothing.
    fn rest(&self, line: &str, value_end: usize) -> Result<(Option<i64>, Option<usize>), Reason> {
        let bytes = line.as_bytes();
        let at = blanks_end(bytes, value_end);
        match bytes.get(at) {
            None => return Ok((None, None)),
            Some(b'#') => return Ok((None, Some(at))),
            Some(_) => {}
        }
        let end = token_end(bytes, at);
        let stamp = &line[at..end];
        let at_ms = match self.times {
            Times::Milliseconds => number::integer(stamp).map(time::not_now),
            Times::Seconds => time::seconds_to_ms(stamp),
        };
        let Some(at_ms) = at_ms else {
            let what = match self.times {
                Times::Milliseconds => "a timestamp in whole Unix milliseconds",
                Times::Seconds => "a timestamp in Unix seconds",
            };
            return Err(expected(what, line, at));
        };
        let behind = blanks_end(bytes, end);
        match bytes.get(behind) {
            None => Ok((Some(at_ms), None)),
            Some(b'#') => Ok((Some(at_ms), Some(behind))),
            Some(_) => Err(expected("the end of the line", line, behind)),
        }
    }

    /// The labels from behind the `{` on; returns where the text behind the `}` begins. A quoted
    /// text without a value is the metric's name, read before.
    fn labels(&mut self, line: &str, mut at: usize, batch: &mut Batch) -> Result<usize, Reason> {
        let bytes = line.as_bytes();
        loop {
            let name_at = at;
            while at < bytes.len() && LABEL[usize::from(bytes[at])] {
                at += 1;
            }
            // The way of nearly all labels: `name="value",` without a blank or an escape.
            if at > name_at
                && let Some([b'=', b'"', ..]) = bytes.get(at..)
            {
                let name_length = at - name_at;
                let end = first_of(bytes, at + 2, b'"', b'\\');
                if bytes.get(end) == Some(&b'"') {
                    batch.label_in_place(&line[name_at..end], name_length)?;
                    at = end + 1;
                } else {
                    let name = &line[name_at..at];
                    at = self.value(line, at + 2, |value| batch.label(name, value))?;
                }
            } else {
                at = self.unusual_label(line, name_at, batch)?;
            }
            match bytes.get(at) {
                Some(b',') => at += 1,
                Some(b'}') => return Ok(at + 1),
                _ => {
                    at = blanks_end(bytes, at);
                    match bytes.get(at) {
                        Some(b',') => at += 1,
                        Some(b'}') => return Ok(at + 1),
                        _ => return Err(expected("`,` or `}`", line, at)),
                    }
                }
            }
        }
    }

    /// A label with blanks around it or a quoted name, the metric's quoted name, or the end after
    /// a comma. Returns the place behind it.
    #[cold]
    fn unusual_label(
        &mut self,
        line: &str,
        from: usize,
        batch: &mut Batch,
    ) -> Result<usize, Reason> {
        let bytes = line.as_bytes();
        let start = blanks_end(bytes, from);
        let quoted;
        let (name, at) = match bytes.get(start) {
            Some(b'}') => return Ok(start),
            Some(b'"') => {
                let mut name = String::new();
                let end = self.value(line, start + 1, |text| {
                    text.clone_into(&mut name);
                    Ok(())
                })?;
                let at = blanks_end(bytes, end);
                if bytes.get(at) != Some(&b'=') {
                    return Ok(at);
                }
                quoted = name;
                (quoted.as_str(), at)
            }
            _ => {
                let end = bytes[start..]
                    .iter()
                    .position(|byte| matches!(byte, b'=' | b' ' | b'\t' | b',' | b'}' | b'"'))
                    .map_or(bytes.len(), |length| start + length);
                if end == start {
                    return Err(expected("a label's name", line, start));
                }
                let name = &line[start..end];
                if !is_plain_label(name) {
                    return Err(expected("a label's name", line, start));
                }
                (name, blanks_end(bytes, end))
            }
        };
        if bytes.get(at) != Some(&b'=') {
            return Err(expected("`=`", line, at));
        }
        let at = blanks_end(bytes, at + 1);
        if bytes.get(at) != Some(&b'"') {
            return Err(expected("`\"`", line, at));
        }
        self.value(line, at + 1, |value| batch.label(name, value))
    }

    /// A quoted text from behind its `"` on, handed to `take`; returns the place behind its end.
    fn value(
        &mut self,
        line: &str,
        from: usize,
        take: impl FnOnce(&str) -> Result<(), Reason>,
    ) -> Result<usize, Reason> {
        let end = first_of(line.as_bytes(), from, b'"', b'\\');
        if line.as_bytes().get(end) == Some(&b'"') {
            take(&line[from..end])?;
            return Ok(end + 1);
        }
        let mut text = std::mem::take(&mut self.scratch);
        let end = unescape(line, from, &mut text);
        let taken = end.and_then(|end| take(&text).map(|()| end));
        self.scratch = text;
        taken
    }
}

/// Whether a line ends in a quoted text between braces that begin at `from` or behind it.
#[cold]
fn ends_quoted(line: &str, from: usize) -> bool {
    // An exemplar has its braces right behind its mark; any other remark has no quotes that count.
    let part = &line[from..];
    let is_remark = part
        .strip_prefix('#')
        .is_some_and(|rest| !skip_blanks(rest).starts_with('{'));
    !is_remark && braces_end(part.as_bytes()).is_none()
}

/// Where a comment that begins with a quoted name ends, as [`braces_end`].
fn comment_end(bytes: &[u8]) -> Option<usize> {
    let name_at = memchr::memchr(b'"', bytes)?;
    let name_end = quoted_end(bytes, name_at + 1)?;
    let end = memchr::memchr(b'\n', &bytes[name_end..]);
    Some(end.map_or(bytes.len(), |length| name_end + length))
}

/// Reads a quoted text with escapes; returns the place behind its closing quote.
#[cold]
fn unescape(line: &str, from: usize, text: &mut String) -> Result<usize, Reason> {
    let bytes = line.as_bytes();
    text.clear();
    let mut at = from;
    loop {
        let stop = first_of(bytes, at, b'"', b'\\');
        text.push_str(&line[at..stop]);
        match (bytes.get(stop), bytes.get(stop + 1)) {
            (None, _) => return Err(expected("`\"` at the end of a value", line, stop)),
            (Some(b'"'), _) => return Ok(stop + 1),
            (Some(_), Some(b'n')) => text.push('\n'),
            (Some(_), Some(b'\\')) => text.push('\\'),
            (Some(_), Some(b'"')) => text.push('"'),
            (Some(_), _) => {
                text.push('\\');
                at = stop + 1;
                continue;
            }
        }
        at = stop + 2;
    }
}

/// The quoted name between the braces of a line that begins with `{`: in place, or unescaped into
/// `scratch` (`None`).
fn quoted_name<'a>(line: &'a str, scratch: &mut String) -> Result<Option<&'a str>, Reason> {
    let bytes = line.as_bytes();
    let mut at = 1;
    loop {
        // To the next quoted text; it is the name when no `=` stands before or behind it.
        let start = at;
        at = memchr::memchr(b'"', &bytes[at..]).map_or(bytes.len(), |length| at + length);
        if at == bytes.len() {
            return Err(Reason::Malformed(
                "there is no metric name, neither before `{` nor quoted behind it".to_owned(),
            ));
        }
        let is_value = line[start..at].contains('=');
        let from = at + 1;
        at = unescape(line, from, scratch)?;
        let is_label = bytes.get(blanks_end(bytes, at)) == Some(&b'=');
        if is_value || is_label {
            continue;
        }
        let raw = &line[from..at - 1];
        return Ok((!raw.contains('\\')).then_some(raw));
    }
}

fn missing_or_wrong(value: &str) -> Reason {
    if value.is_empty() {
        return Reason::Malformed("there is no value".to_owned());
    }
    not_a_number(value)
}

fn token_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !is_blank(bytes[at]) {
        at += 1;
    }
    at
}

/// Where a metric's name at the beginning of a line ends: at the first byte that is no part of
/// one.
pub(crate) fn name_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() && NAME[usize::from(bytes[at])] {
        at += 1;
    }
    at
}

/// Bytes that may stand in a name; those of other scripts are looked at later.
const NAME: [bool; 256] = name_bytes(true);

/// Bytes that may stand in a label's name.
const LABEL: [bool; 256] = NAME;

#[cfg(test)]
mod tests;
