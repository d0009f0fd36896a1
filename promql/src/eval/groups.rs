//! Groups of series by some of their labels, found without making those labels of each series.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::{HashMap, fast::RandomState};

use crate::{ast::Aggregate, labels::Labels, labels::NAME};

/// Groups in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Groups {
    hashes: RandomState,
    /// Places in `labels`.
    by_hash: HashMap<u64, Vec<usize>>,
    labels: Vec<Labels>,
}

/// A group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: usize,
    /// Nothing was of it before.
    pub(super) is_new: bool,
}

impl Groups {
    /// The group of a series.
    pub(super) fn place(&mut self, aggregate: &Aggregate, labels: &Labels) -> Place {
        let is_grouped = |name: &str| aggregate.grouping.iter().any(|one| **one == *name);
        let keeps = |name: &str| match aggregate.without {
            true => name != NAME && !is_grouped(name),
            false => is_grouped(name),
        };
        let kept = || labels.iter().filter(|(name, _)| keeps(name));
        let mut hasher = self.hashes.build_hasher();
        kept().for_each(|label| label.hash(&mut hasher));
        let places = self.by_hash.entry(hasher.finish()).or_default();
        let is_it = |at: &&usize| {
            let known = self.labels.get(**at);
            known.is_some_and(|known| known.iter().eq(kept()))
        };
        if let Some(at) = places.iter().find(is_it) {
            return Place {
                at: *at,
                is_new: false,
            };
        }
        let at = self.labels.len();
        places.push(at);
        self.labels.push(labels.filtered(keeps));
        Place { at, is_new: true }
    }

    /// What names them.
    pub(super) fn into_labels(self) -> Vec<Labels> {
        self.labels
    }
}
