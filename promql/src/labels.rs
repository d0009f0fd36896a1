//! What names a series: labels sorted by name, the metric's own among them.

use std::{fmt, sync::Arc};

pub use pulseboard_series::key::NAME_LABEL as NAME;

/// A label and its value.
pub type Label = (Arc<str>, Arc<str>);

/// Labels by name, each at most once and none empty. Cheap to copy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl FromIterator<Label> for Labels {
    /// In any order; of two with one name the last one stays, empty ones go.
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut all: Vec<Label> = labels.into_iter().collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        if are_labels(&all) {
            return Self(all.into());
        }
        all.reverse();
        all.dedup_by(|one, other| one.0 == other.0);
        all.reverse();
        all.retain(|(_, value)| !value.is_empty());
        Self(all.into())
    }
}

/// Whether they are in order, each once and none empty.
fn are_labels(all: &[Label]) -> bool {
    all.is_sorted_by(|one, other| one.0 < other.0) && all.iter().all(|(_, value)| !value.is_empty())
}

impl Labels {
    /// All by name, as texts that may be shared.
    #[must_use]
    pub fn shared(&self) -> &[Label] {
        &self.0
    }

    /// All by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// One's value; empty where it is not there.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()
            .and_then(|at| self.0.get(at))
            .map_or("", |(_, value)| value)
    }

    /// Of labels in any order, which are taken away; nothing is copied where they come in order,
    /// each once and none empty.
    pub(crate) fn take(labels: &mut Vec<Label>) -> Self {
        if are_labels(labels) {
            return Self(labels.drain(..).collect());
        }
        labels.drain(..).collect()
    }

    /// What they take in memory beside their texts, which many have in common.
    #[must_use]
    pub fn bytes(&self) -> usize {
        80 + size_of::<Label>() * self.0.len()
    }

    /// What their texts alone take there.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let texts = self.0.iter().map(|(name, value)| name.len() + value.len());
        64 * self.0.len() + texts.sum::<usize>()
    }

    /// What they take where nobody shares their texts.
    #[must_use]
    pub fn whole_bytes(&self) -> usize {
        self.bytes() + self.text_bytes()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of these names.
    #[must_use]
    pub fn only(&self, names: &[Arc<str>]) -> Self {
        self.filtered(|name| names.iter().any(|one| **one == *name))
    }

    /// Those of other names; the metric's goes too.
    #[must_use]
    pub fn without(&self, names: &[Arc<str>]) -> Self {
        self.filtered(|name| name != NAME && !names.iter().any(|one| **one == *name))
    }

    /// Without the metric's name.
    #[must_use]
    pub fn nameless(&self) -> Self {
        match self.get(NAME) {
            "" => self.clone(),
            _ => self.filtered(|name| name != NAME),
        }
    }

    /// Those that `keeps` names.
    #[must_use]
    pub fn filtered(&self, keeps: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(name, _)| keeps(name)).cloned();
        Self(kept.collect())
    }

    /// With one set; an empty value takes it away.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let place = self.0.binary_search_by(|(known, _)| (**known).cmp(name));
        let (before, after) = match place {
            Ok(at) => (self.0.get(..at), self.0.get(at + 1..)),
            Err(at) => (self.0.get(..at), self.0.get(at..)),
        };
        let set = (!value.is_empty()).then(|| (Arc::from(name), Arc::from(value)));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let all = before.iter().cloned().chain(set);
        Self(all.chain(after.iter().cloned()).collect())
    }
}

impl fmt::Display for Labels {
    /// `name{label="value", …}`, as Prometheus says a series in an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let mut others = self.iter().filter(|(name, _)| *name != NAME).peekable();
        if others.peek().is_none() && !self.get(NAME).is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (index, (name, value)) in others.enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={}", crate::print::quoted(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
