//! Series that memory no longer has: after their time to live, or since before a restart.
//!
//! The numbers of all series that were ever defined are kept by tenant and metric name, four
//! bytes each; they are read from the history when a question first needs them, and from then on
//! only what was defined since. What a number stands for is looked up each time.

use std::collections::{BTreeMap, HashMap};

use pulseboard_history::{Definition, History, HistoryError, SeriesId};
use pulseboard_series::KeyRef;

use super::QueryError;
use crate::{
    cost::Cost,
    engine::Engine,
    selector::Selector,
    tenant::{Named, Tenant},
};

/// Numbers are given out before they are written: as many may still be on their way when a
/// higher one has been seen.
const ON_THEIR_WAY_MAX: u32 = 1_024;

/// Definitions that are read at once.
const DEFINITIONS_AT_ONCE: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// By tenant, then metric name; numbers ascending.
    names: HashMap<Box<str>, BTreeMap<Box<str>, Vec<SeriesId>>>,
    /// The highest number seen.
    newest: u32,
    /// As the engine's when this was read: another one means that definitions were refused and
    /// came later.
    generation: u32,
}

impl Past {
    fn refresh(&mut self, history: &History, generation: u32) -> Result<(), HistoryError> {
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
    fn ids(&self, tenant: &Tenant, selector: &Selector) -> Vec<SeriesId> {
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

impl Engine {
    /// Series of a tenant that the selector names, that are not in memory, and that have anything
    /// sealed on the day of `since_ms` or later; in no order, and some more than `max` at most.
    /// Blocks for the disk.
    pub(super) fn find_past(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        since_ms: i64,
        max: usize,
        cost: &Cost,
    ) -> Result<Vec<Definition>, QueryError> {
        let Some(history) = &self.history else {
            return Ok(Vec::new());
        };
        if self.retired.lock().is_empty() {
            return Ok(Vec::new());
        }
        let generation = self.generation();
        let mut ids = {
            let mut past = self.answers.past.lock();
            past.refresh(history, generation)?;
            past.ids(tenant, selector)
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut in_memory: Vec<SeriesId> = {
            let names = tenant.names.lock();
            let ids = |named: &Named| -> Vec<SeriesId> {
                named.places.iter().map(|place| place.id).collect()
            };
            match selector.name() {
                Some(name) => names.get(name).map(ids).unwrap_or_default(),
                None => names.values().flat_map(ids).collect(),
            }
        };
        in_memory.sort_unstable();
        ids.retain(|id| in_memory.binary_search(id).is_err());
        let mut matching = selector.matching();
        let work = selector.work();
        let mut found = Vec::new();
        for ids in ids.chunks(DEFINITIONS_AT_ONCE) {
            cost.check()?;
            for definition in history.definitions_unsorted(ids, since_ms)? {
                cost.step(work)?;
                let is_one = *definition.tenant == *tenant.name
                    && KeyRef::checked(&definition.key).is_some_and(|key| matching.takes(key));
                if is_one {
                    found.push(definition);
                }
            }
            if found.len() > max.saturating_mul(2) {
                break;
            }
        }
        Ok(found)
    }
}
