//! `external_labels` of the scrape configuration: labels of all that is sent, for series that have
//! none of these names. They are added on the way to the hub, as a Prometheus adds them, so that
//! what waits in the log gets those of the newest configuration.

use std::{collections::BTreeMap, sync::Arc};

use pulseboard_scrape::LabelSet;
use pulseboard_series::{Batch, KeyRef, Reason};

/// The labels, and what is needed to make keys of series with them.
#[derive(Debug, Default)]
pub(crate) struct External {
    labels: Arc<BTreeMap<String, String>>,
    scratch: Batch,
    /// Whether the log knows that series are left out.
    is_told: bool,
}

impl External {
    /// Goes on with these.
    pub(crate) fn exchange(&mut self, labels: Arc<BTreeMap<String, String>>) {
        if self.labels != labels {
            self.labels = labels;
            self.is_told = false;
        }
    }

    /// The series with the labels; nothing where it has too many then.
    pub(crate) fn key<'a>(&'a mut self, key: KeyRef<'a>) -> Option<KeyRef<'a>> {
        if self.labels.is_empty() {
            return Some(key);
        }
        if let Err(reason) = self.write(key) {
            if !self.is_told {
                self.is_told = true;
                tracing::warn!(series = %key, %reason, "external_labels: a series cannot have them and is left out; it is not said again");
            }
            return None;
        }
        let row = self.scratch.rows().first()?;
        Some(self.scratch.key(row))
    }

    fn write(&mut self, key: KeyRef<'_>) -> Result<(), Reason> {
        let mut labels: LabelSet = key.labels().collect();
        for (name, value) in self.labels.iter() {
            labels.set_default(name, value);
        }
        self.scratch.clear();
        self.scratch.begin(&[key.name()])?;
        for (name, value) in labels.iter() {
            self.scratch.label(name, value)?;
        }
        self.scratch.finish(1, None, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(labels: &[(&str, &str)]) -> Batch {
        let mut batch = Batch::new();
        batch.begin(&["m"]).expect("a name");
        for (name, value) in labels {
            batch.label(name, value).expect("a label");
        }
        batch.finish(1, None, 1.0).expect("a row");
        batch
    }

    #[test]
    fn labels_are_added_for_who_has_none_of_these_names() {
        let mut external = External::default();
        let batch = batch(&[("b", "own"), ("z", "1")]);
        let key = batch.key(&batch.rows()[0]);
        let same = external.key(key).expect("a series");
        assert_eq!(same.to_string(), key.to_string());
        let labels = [("a", "x"), ("b", "theirs"), ("c", "y"), ("empty", "")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        external.exchange(Arc::new(labels.into()));
        let with = external.key(key).expect("a series");
        assert_eq!(with.to_string(), r#"m{a="x",b="own",c="y",z="1"}"#);
    }

    #[test]
    fn a_series_with_too_many_is_none() {
        let names: Vec<String> = (0..40).map(|at| format!("l{at}")).collect();
        let labels: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let batch = batch(&labels);
        let mut external = External::default();
        external.exchange(Arc::new([("a".to_owned(), "x".to_owned())].into()));
        assert!(external.key(batch.key(&batch.rows()[0])).is_none());
    }
}
