//! The numbers of all series that were ever defined, read from the history once and kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
};

use pulseboard_history::{Definition, History, HistoryError, SeriesId};
use pulseboard_series::KeyRef;

use crate::{selector::Selector, tenant::Tenant};

/// Numbers are given out before they are written: as many may still be on their way when a
/// higher one has been seen.
const ON_THEIR_WAY_MAX: u32 = 1_024;

/// Numbers of series by tenant and metric name.
#[derive(Debug, Default)]
pub(in crate::query) struct Past {
    /// By tenant.
    tenants: HashMap<Box<str>, OfTenant>,
    /// The highest number seen.
    newest: u32,
    /// As the engine's when this was read: another one means that definitions were refused and
    /// came later.
    generation: u32,
}

#[derive(Debug, Default)]
struct OfTenant {
    /// By metric name.
    names: BTreeMap<Box<str>, OfName>,
    /// When definitions were read for it.
    read_at: Option<State>,
}

/// Numbers, ascending.
#[derive(Debug, Default)]
struct OfName {
    all: Vec<SeriesId>,
    /// Those that memory had not at a moment.
    absent: Option<(State, Vec<SeriesId>)>,
}

/// Which series of a tenant have left memory: another one means that some have since.
type State = (u64, u64);

impl Past {
    /// Numbers of series that the selector may mean and that memory does not have, and of some that
    /// came back to it; ascending.
    pub(in crate::query) fn absent(
        &mut self,
        tenant: &Tenant,
        selector: &Selector,
        history: &History,
        generation: u32,
    ) -> Result<Vec<SeriesId>, HistoryError> {
        // Before anything is looked at: what goes meanwhile is seen next time.
        let state: State = (tenant.number, tenant.vanished.load(Ordering::Acquire));
        let known = self.tenants.get(&*tenant.name);
        let is_read = known.is_some_and(|known| known.read_at == Some(state));
        if !is_read || self.generation != generation {
            self.refresh(history, generation)?;
            let known = self.tenants.entry(tenant.name.clone()).or_default();
            known.read_at = Some(state);
        }
        let Some(known) = self.tenants.get_mut(&*tenant.name) else {
            return Ok(Vec::new());
        };
        if let Some(name) = selector.name() {
            let of_name = known.names.get_mut(name);
            return Ok(of_name.map_or_else(Vec::new, |of| of.absent(tenant, name, state).to_vec()));
        }
        let mut absent = Vec::new();
        for (name, of) in &mut known.names {
            absent.extend_from_slice(of.absent(tenant, name, state));
        }
        absent.sort_unstable();
        Ok(absent)
    }

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
        if !self.tenants.contains_key(&*definition.tenant) {
            self.tenants
                .insert(definition.tenant.clone(), OfTenant::default());
        }
        let Some(OfTenant { names, .. }) = self.tenants.get_mut(&*definition.tenant) else {
            return;
        };
        if !names.contains_key(key.name()) {
            names.insert(key.name().into(), OfName::default());
        }
        let Some(of) = names.get_mut(key.name()) else {
            return;
        };
        match of.all.last() {
            Some(last) if *last >= definition.id => {
                if let Err(place) = of.all.binary_search(&definition.id) {
                    of.all.insert(place, definition.id);
                    of.absent = None;
                }
            }
            _ => of.all.push(definition.id),
        }
    }
}

impl OfName {
    /// Those that memory has not; looked for when some have left it since.
    fn absent(&mut self, tenant: &Tenant, name: &str, state: State) -> &[SeriesId] {
        if self.absent.as_ref().is_none_or(|(at, _)| *at != state) {
            let mut in_memory: Vec<SeriesId> = {
                let names = tenant.names.lock();
                let named = names.get(name).into_iter();
                let places = named.flat_map(|named| &named.places);
                places.map(|place| place.id).collect()
            };
            in_memory.sort_unstable();
            let all = self.all.iter().copied();
            let absent = all.filter(|id| in_memory.binary_search(id).is_err());
            self.absent = Some((state, absent.collect()));
        }
        self.absent.as_ref().map_or(&[], |(_, absent)| absent)
    }
}
