//! Who watches: taps at the series that a selector names, and catalogs at all of a tenant's.

use std::sync::Arc;

use pulseboard_series::{KeyRef, key::hash_key};

use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    selector::WholeKey,
    tap::{Catalog, SeriesTap, TapRefused},
    tenant::Tenant,
};

impl Engine {
    /// Watches a selector: everything appended to its series from now on is gathered by `tap`.
    /// Returns how many series it has now.
    ///
    /// # Errors
    /// It names more than [`crate::tap::TAPPED_SERIES_MAX`] series, or finding them cost too
    /// much; nothing is watched.
    pub fn tap(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<u64, TapRefused> {
        // First, so that series that appear meanwhile are not missed; those are seated once by
        // the check below.
        tenant.taps.lock().push(Arc::clone(tap));
        let seated = self.attach_all(tenant, tap, cost);
        if seated.is_err() {
            self.untap(tenant, tap);
        }
        seated
    }

    fn attach_all(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<u64, TapRefused> {
        let max = crate::tap::TAPPED_SERIES_MAX;
        let all = |_: KeyRef<'_>| true;
        let (found, matched) = self.find(tenant, &tap.selector, all, (None, max + 1), 0, cost)?;
        if found.len() > max || matched > found.len() as u64 {
            return Err(TapRefused::Series(matched));
        }
        for one in found {
            self.table.with(one.place, |entry| entry.attach(tap, false));
        }
        Ok(matched)
    }

    /// Compares a tap with the series that appeared since it was last done, where that was too
    /// dear to be done as they appeared; what came of those that it names is gathered. To be called
    /// on a thread that may block, when [`SeriesTap::has_newcomers`].
    ///
    /// # Errors
    /// It cost too much; what is left is looked at the next time.
    pub fn attach_newcomers(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<(), Spent> {
        let (newcomers, is_behind) = tap.take_newcomers();
        if is_behind {
            let max = crate::tap::TAPPED_SERIES_MAX;
            let all = |_: KeyRef<'_>| true;
            let found = self.find(tenant, &tap.selector, all, (None, max), 0, cost);
            let (found, _) = found.inspect_err(|_spent| tap.stay_behind())?;
            for one in found {
                self.table.with(one.place, |entry| entry.attach(tap, true));
            }
            return Ok(());
        }
        let mut matching = tap.selector.matching();
        let work = tap.selector.work();
        let mut copy: Vec<u8> = Vec::new();
        for place in newcomers {
            cost.step(work).inspect_err(|_spent| tap.stay_behind())?;
            let copied = self.table.with(place, |entry| {
                copy.clear();
                copy.extend_from_slice(&entry.key);
            });
            if copied.is_some() && matching.takes(KeyRef::new(&copy)) {
                self.table.with(place, |entry| entry.attach(tap, true));
            }
        }
        Ok(())
    }

    /// Ends a tap; cost is that of its own series alone.
    pub fn untap(&self, tenant: &Tenant, tap: &Arc<SeriesTap>) {
        tenant.taps.lock().retain(|known| !Arc::ptr_eq(known, tap));
        for key in tap.end() {
            let key = WholeKey {
                hash: hash_key(&key),
                labels: 0,
                bytes: key,
            };
            let Some(place) = self.place_of(tenant, &key) else {
                continue;
            };
            self.table.with(place, |entry| {
                if let Some(taps) = &mut entry.taps {
                    taps.retain(|slot| !Arc::ptr_eq(&slot.tap, tap));
                    if taps.is_empty() {
                        entry.taps = None;
                    }
                }
            });
        }
    }

    /// Who is told of the tenant's series that come and go; the one before is told no more.
    pub fn tell_catalog(&self, tenant: &Tenant, catalog: Arc<Catalog>) {
        *tenant.catalog.lock() = Some(catalog);
    }

    /// Ends `catalog`, unless another has taken its place.
    pub fn end_catalog(&self, tenant: &Tenant, catalog: &Arc<Catalog>) {
        let mut told = tenant.catalog.lock();
        if told.as_ref().is_some_and(|told| Arc::ptr_eq(told, catalog)) {
            *told = None;
        }
    }
}
