//! Groups of series by some of their labels, found without making those labels of each series.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::{HashMap, fast::RandomState};

use super::Evaluated;
use crate::{ast::Aggregate, labels::Labels, labels::NAME, storage::Named};

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
    pub(super) fn place(&mut self, aggregate: &Aggregate, named: &dyn Named) -> Evaluated<Place> {
        let grouping = &aggregate.grouping;
        let is_grouped = |name: &str| grouping.iter().any(|one| **one == *name);
        let keeps = |name: &str| match aggregate.without {
            true => name != NAME && !is_grouped(name),
            false => is_grouped(name),
        };
        let mut hasher = self.hashes.build_hasher();
        match aggregate.without {
            true => named.each(&mut |name, value| {
                if keeps(name) {
                    (name, value).hash(&mut hasher);
                }
            }),
            false => grouping
                .iter()
                .for_each(|name| named.label(name).hash(&mut hasher)),
        }
        let places = self.by_hash.entry(hasher.finish()).or_default();
        let is_it = |known: &Labels| match aggregate.without {
            true => {
                let (mut rest, mut is_same) = (known.iter(), true);
                named.each(&mut |name, value| {
                    if is_same && keeps(name) {
                        is_same = rest.next() == Some((name, value));
                    }
                });
                is_same && rest.next().is_none()
            }
            false => grouping
                .iter()
                .all(|name| known.get(name) == named.label(name)),
        };
        let known = places.iter().find(|at| {
            let known = self.labels.get(**at);
            known.is_some_and(is_it)
        });
        if let Some(at) = known {
            return Ok(Place {
                at: *at,
                is_new: false,
            });
        }
        let labels = named.only(&keeps)?;
        let at = self.labels.len();
        places.push(at);
        self.labels.push(labels);
        Ok(Place { at, is_new: true })
    }

    /// What names them.
    pub(super) fn into_labels(self) -> Vec<Labels> {
        self.labels
    }
}
