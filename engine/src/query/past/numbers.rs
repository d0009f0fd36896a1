//! The numbers of all series that were ever defined, read from the history once and kept.

use std::collections::{BTreeMap, HashMap};

use pulseboard_history::{Definition, History, HistoryError, SeriesId};
use pulseboard_series::KeyRef;

use crate::{selector::Selector, tenant::Tenant};

/// Numbers are given out before they are written: as many may still be on their way when a
/// higher one has been seen.
const ON_THEIR_WAY_MAX: u32 = 1_024;

/// Numbers of series by tenant and metric name.
#[derive(Debug, Default)]
pub(in crate::query) struct Past {
    /// By tenant, then metric name; numbers ascending.
    names: HashMap<Box<str>, BTreeMap<Box<str>, Vec<SeriesId>>>,
    /// The highest number seen.
    newest: u32,
    /// As the engine's when this was read: another one means that definitions were refused and
    /// came later.
    generation: u32,
}

impl Past {
    pub(in crate::query) fn refresh(
        &mut self,
        history: &History,
        generation: u32,
    ) -> Result<(), HistoryError> {
        if self.generation != generation {
            *self = Self {
                generation,
                ..Self::default()
            };
        }
        let from = SeriesId(self.newest.saturating_sub(ON_THEIR_WAY_MAX));
        history.each_definition(from, |definition| self.add(definition))
    }

    fn add(&mut self, definition: &Definition) {
        let Some(key) = KeyRef::checked(&definition.key) else {
            return;
        };
        self.newest = self.newest.max(definition.id.0);
        if !self.names.contains_key(&*definition.tenant) {
            self.names
                .insert(definition.tenant.clone(), BTreeMap::new());
        }
        let Some(names) = self.names.get_mut(&*definition.tenant) else {
            return;
        };
        if !names.contains_key(key.name()) {
            names.insert(key.name().into(), Vec::new());
        }
        let Some(ids) = names.get_mut(key.name()) else {
            return;
        };
        match ids.last() {
            Some(last) if *last >= definition.id => {
                if let Err(place) = ids.binary_search(&definition.id) {
                    ids.insert(place, definition.id);
                }
            }
            _ => ids.push(definition.id),
        }
    }

    /// Numbers that the selector may mean, ascending.
    pub(in crate::query) fn ids(&self, tenant: &Tenant, selector: &Selector) -> Vec<SeriesId> {
        let Some(names) = self.names.get(&*tenant.name) else {
            return Vec::new();
        };
        match selector.name() {
            Some(name) => names.get(name).cloned().unwrap_or_default(),
            None => {
                let mut ids: Vec<_> = names.values().flatten().copied().collect();
                ids.sort_unstable();
                ids
            }
        }
    }
}
