//! A set of labels while it is being made: of a target before and after relabelling, of a series.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

/// Labels sorted by name. A label without a value is no label, as in Prometheus' data model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelSet(Vec<(String, String)>);

impl LabelSet {
    /// No labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a label; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.find(name)
            .ok()
            .and_then(|at| self.0.get(at))
            .map_or("", |(_, value)| value)
    }

    /// Whether there is such a label.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.find(name), value.is_empty()) {
            (Ok(at), false) => value.clone_into(&mut self.0[at].1),
            (Ok(at), true) => {
                self.0.remove(at);
            }
            (Err(at), false) => self.0.insert(at, (name.to_owned(), value.to_owned())),
            (Err(_), true) => {}
        }
    }

    /// Sets a label that is not there yet.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if !self.has(name) {
            self.set(name, value);
        }
    }

    /// Keeps labels by their name.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Forgets all labels and keeps their room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Of all names and values together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let mut set = Self::new();
        for (name, value) in labels {
            set.set(name.as_ref(), value.as_ref());
        }
        set
    }
}

impl Serialize for LabelSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
