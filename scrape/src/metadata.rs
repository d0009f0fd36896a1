//! Types and helps of metrics. Targets of a job mostly say the same; each text is kept once.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _},
    sync::{Arc, Weak},
};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use serde::Serialize;

/// Metrics of one target that are remembered; a node has some three hundred.
const METRICS_MAX: usize = 10_000;
/// Of a help so many bytes are kept.
const HELP_BYTES_MAX: usize = 1024;
/// A longer name, type or unit is none.
const WORD_BYTES_MAX: usize = 256;
/// All texts together; of a target whose text comes past it nothing is known.
const TEXTS_BYTES_MAX: usize = 64 << 20;

/// What a target says of one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metric {
    pub metric: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub help: String,
    pub unit: String,
}

/// What a target says of its metrics, in its order.
pub type Metadata = Arc<Vec<Metric>>;

impl Metric {
    /// Of texts that others wrote: `None` where a word is longer than anything that is kept, and a
    /// long help is cut.
    #[must_use]
    pub fn of(name: &str, kind: &str, help: &str, unit: &str) -> Option<Self> {
        let words = [name, kind, unit];
        let end = (0..=help.len().min(HELP_BYTES_MAX)).rfind(|at| help.is_char_boundary(*at));
        words
            .iter()
            .all(|word| word.len() <= WORD_BYTES_MAX)
            .then(|| Self {
                metric: name.to_owned(),
                kind: kind.to_owned(),
                help: help
                    .get(..end.unwrap_or_default())
                    .unwrap_or_default()
                    .to_owned(),
                unit: unit.to_owned(),
            })
    }

    /// What it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [&self.metric, &self.kind, &self.help, &self.unit];
        size_of::<Self>() + texts.into_iter().map(String::len).sum::<usize>()
    }
}

/// All texts that are in use, each with its bytes.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<HashMap<u64, Held>>);

/// A text, as long as a target has it, and its bytes.
type Held = (Weak<Vec<Metric>>, usize);

impl Texts {
    /// What the comments of a body say; that of another target where they are the same. `known` is
    /// the hash of the comments that the target had.
    pub(crate) fn read(&self, body: &[u8], known: Option<u64>) -> Option<(u64, Metadata)> {
        let mut hasher = FixedState::default().build_hasher();
        for line in comments(body) {
            hasher.write(line);
        }
        let hash = hasher.finish();
        if known == Some(hash) {
            return None;
        }
        let mut texts = self.0.lock();
        if let Some(text) = texts.get(&hash).and_then(|(text, _)| text.upgrade()) {
            return Some((hash, text));
        }
        let mut held = 0;
        texts.retain(|_, (text, bytes)| {
            let is_used = text.strong_count() > 0;
            held += if is_used { *bytes } else { 0 };
            is_used
        });
        let metadata = Arc::new(parse(body));
        let bytes = metadata.iter().map(Metric::bytes).sum();
        if held + bytes > TEXTS_BYTES_MAX {
            return Some((hash, Metadata::default()));
        }
        texts.insert(hash, (Arc::downgrade(&metadata), bytes));
        Some((hash, metadata))
    }
}

fn comments(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < body.len() {
            let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |at| start + at);
            let line = &body[start..end];
            start = end + 1;
            if line.first() == Some(&b'#') {
                return Some(line);
            }
        }
        None
    })
}

fn parse(body: &[u8]) -> Vec<Metric> {
    let mut metrics = Vec::new();
    each(body, |metric| metrics.push(metric));
    metrics
}

/// Hands what the comments of a body say to `take`, metric by metric; of so many as are remembered
/// of one target.
pub fn each(body: &[u8], mut take: impl FnMut(Metric)) {
    // Many bodies have none, and are looked through in one go.
    if !body.starts_with(b"#") && memchr::memmem::find(body, b"\n#").is_none() {
        return;
    }
    let mut count = 0;
    let mut newest: Option<Metric> = None;
    for line in comments(body) {
        let line = String::from_utf8_lossy(line);
        let mut words = line.trim_end().splitn(4, ' ');
        let (Some("#"), Some(what), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let text = words.next().unwrap_or_default();
        let is_long = name.len() > WORD_BYTES_MAX || what != "HELP" && text.len() > WORD_BYTES_MAX;
        if is_long || !matches!(what, "HELP" | "TYPE" | "UNIT") {
            continue;
        }
        if newest.as_ref().is_none_or(|newest| newest.metric != name) {
            if count == METRICS_MAX {
                break;
            }
            count += 1;
            let next = Metric {
                metric: name.to_owned(),
                kind: "unknown".to_owned(),
                ..Metric::default()
            };
            if let Some(done) = newest.replace(next) {
                take(done);
            }
        }
        let Some(metric) = &mut newest else {
            continue;
        };
        match what {
            // the older formats say `untyped` for what nobody knows
            "TYPE" if text != "untyped" => text.clone_into(&mut metric.kind),
            "HELP" => metric.help = unescape(text),
            "UNIT" => text.clone_into(&mut metric.unit),
            _ => {}
        }
    }
    if let Some(done) = newest {
        take(done);
    }
}

fn unescape(text: &str) -> String {
    let mut help = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if help.len() >= HELP_BYTES_MAX {
            break;
        }
        match character {
            '\\' => match characters.next() {
                Some('n') => help.push('\n'),
                Some(other @ ('\\' | '"')) => help.push(other),
                Some(other) => help.extend(['\\', other]),
                None => help.push('\\'),
            },
            other => help.push(other),
        }
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_comments_are_kept_once() {
        let texts = Texts::default();
        let one = b"# HELP a_total Counts a\\\\n.\n# TYPE a_total counter\na_total 1\n# TYPE b untyped\nb 2\n";
        let two = one.map(|byte| if byte == b'1' { b'9' } else { byte });
        let (hash, first) = texts.read(one, None).expect("new");
        let (_, second) = texts.read(&two, None).expect("new for this target");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(texts.read(one, Some(hash)), None);
        let told: Vec<_> = first
            .iter()
            .map(|m| (&*m.metric, &*m.kind, &*m.help))
            .collect();
        assert_eq!(
            told,
            [("a_total", "counter", "Counts a\\n."), ("b", "unknown", "")]
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let texts = Texts::default();
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        let body = format!(
            "# TYPE {long} gauge\n# UNIT a {long}\n# TYPE b {long}\n# HELP c {}\n",
            "h".repeat(5_000)
        );
        let (_, told) = texts.read(body.as_bytes(), None).expect("new");
        let told: Vec<_> = told.iter().map(|m| (&*m.metric, m.help.len())).collect();
        assert_eq!(told, [("c", HELP_BYTES_MAX)]);
        // Many targets that all say something else.
        let help = "h".repeat(HELP_BYTES_MAX);
        let mut held = Vec::new();
        for target in 0..20 {
            let lines = (0..METRICS_MAX).map(|at| format!("# HELP m{target}_{at} {help}\n"));
            let body: String = lines.collect();
            held.push(texts.read(body.as_bytes(), None).expect("new").1);
        }
        let bytes: usize = held
            .iter()
            .flat_map(|text| text.iter())
            .map(Metric::bytes)
            .sum();
        assert!(bytes <= TEXTS_BYTES_MAX && !held[0].is_empty() && held[19].is_empty());
        drop(held);
        let again = texts.read(b"# TYPE late gauge\n", None).expect("new").1;
        assert_eq!(again.len(), 1, "what nobody uses any more takes no room");
    }
}
