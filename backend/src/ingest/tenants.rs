//! What is kept with each tenant that something is sent for: its place among all, the running
//! totals of what its senders report as differences, the groups that were pushed to, and whose turn
//! it is to add to them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use pulseboard_engine::{Engine, Tenant, tenant::TENANTS_MAX};
use pulseboard_ingest::{DeltaTotals, push_group::Grouping};
use pulseboard_series::Batch;

use super::groups::{Groups, Pending, Push};
use crate::{
    base::telemetry::{Limit, Telemetry},
    questions::lane::Lane,
    shares::{CallerKeys, Refused, Share, ShareLimits, Shares},
};

/// Series of one tenant whose senders report differences; those of further ones are refused.
const DELTA_SERIES_MAX: usize = 100_000;

/// The same of all tenants; where there are so many, no tenant gets further ones.
const DELTA_SERIES_ALL_MAX: usize = 1_000_000;

/// Bytes of all groups that were pushed to, of which each caller has a share.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// The same of one tenant.
const GROUP_BYTES_TENANT_MAX: usize = 16 << 20;

/// What is kept with all tenants.
#[derive(Debug)]
pub struct Tenants {
    engine: Arc<Engine>,
    /// Tenants that have a place among all, and who made them.
    places: Arc<Shares>,
    /// Series of all tenants whose senders report differences, as last counted.
    delta_series: AtomicUsize,
    /// Bytes of groups, and who has them.
    groups: Arc<Shares>,
}

/// What is kept with one.
#[derive(Debug)]
struct OfTenant {
    /// The place among all tenants, for whoever sent first.
    place: Mutex<Option<Share>>,
    deltas: Mutex<DeltaTotals>,
    /// The turn of the one body that adds to `deltas` or pushes to a group.
    adding: Arc<Lane>,
    groups: Mutex<Groups>,
}

impl Tenants {
    pub(super) fn new(engine: &Arc<Engine>, telemetry: &Arc<Telemetry>) -> Self {
        let limits = ShareLimits::of(TENANTS_MAX);
        let counted_as = |_| Limit::Tenants;
        Self {
            engine: Arc::clone(engine),
            places: Shares::new("tenants made", counted_as, limits, Arc::clone(telemetry)),
            delta_series: AtomicUsize::new(0),
            groups: Shares::new(
                "bytes of groups",
                |_| Limit::PushGroups,
                ShareLimits {
                    client: usize::MAX,
                    tenant: GROUP_BYTES_TENANT_MAX,
                    ..ShareLimits::of(GROUP_BYTES_MAX)
                },
                Arc::clone(telemetry),
            ),
        }
    }

    /// Takes note of a push to a group, whose samples are in the batch, and adds what it ends.
    pub fn push_to_group(
        &self,
        tenant: &Tenant,
        (grouping, push): (&Grouping, Push),
        keys: &CallerKeys,
        batch: &mut Batch,
    ) -> Pending {
        of_tenant(tenant).map_or_else(Pending::default, |of| {
            let mut groups = of.groups.lock();
            groups.push(grouping, push, (&self.groups, keys), batch)
        })
    }

    /// The samples of a push are safe.
    pub fn confirm_push(&self, tenant: &Tenant, grouping: &Grouping, pending: Pending) {
        if let Some(of) = of_tenant(tenant) {
            of.groups.lock().confirm(grouping, pending);
        }
    }

    /// Where bodies wait for their turn to add to a tenant's totals.
    pub(super) fn adding(tenant: &Tenant) -> Option<Arc<Lane>> {
        of_tenant(tenant).map(|of| Arc::clone(&of.adding))
    }

    /// Has `parse` work with a tenant's running totals of what its senders report as differences.
    /// There is room for so many series of each tenant, and no tenant takes more than a quarter of
    /// what is left of the room for all.
    pub fn with_deltas<T>(&self, tenant: &Tenant, parse: impl FnOnce(&mut DeltaTotals) -> T) -> T {
        let Some(of) = of_tenant(tenant) else {
            return parse(&mut DeltaTotals::new(0));
        };
        let mut totals = of.deltas.lock();
        let before = totals.len();
        let left = DELTA_SERIES_ALL_MAX.saturating_sub(self.delta_series.load(Ordering::Relaxed));
        totals.set_series_max(DELTA_SERIES_MAX.min(before + left / 4));
        let parsed = parse(&mut totals);
        let more = totals.len().saturating_sub(before);
        self.delta_series.fetch_add(more, Ordering::Relaxed);
        parsed
    }

    /// Forgets totals that nothing was added to since the last call; called now and then.
    pub fn forget_idle(&self) {
        self.count_deltas(DeltaTotals::forget_idle);
    }

    /// Counts the series of all tenants whose senders report differences anew; called every few
    /// seconds, since those of tenants that were never made or have gone are there no longer.
    pub fn recount(&self) {
        self.count_deltas(|_| 0);
    }

    fn count_deltas(&self, first: impl Fn(&mut DeltaTotals) -> usize) {
        let mut series = 0;
        for tenant in self.engine.tenants() {
            if let Some(of) = of_tenant(&tenant) {
                let mut deltas = of.deltas.lock();
                first(&mut deltas);
                series += deltas.len();
            }
        }
        self.delta_series.store(series, Ordering::Relaxed);
    }

    /// A share of all tenants' places for who sends the first samples of one, kept as long as the
    /// tenant is. A tenant that the caller's token names (`is_bound`) has a place in any case.
    ///
    /// # Errors
    /// The caller made too many.
    pub fn find_place(
        &self,
        tenant: &Tenant,
        keys: &CallerKeys,
        is_bound: bool,
    ) -> Result<(), Refused> {
        if tenant.is_listed() {
            return Ok(());
        }
        if is_bound {
            self.engine.keep_tenant(&tenant.name);
            return Ok(());
        }
        let Some(of) = of_tenant(tenant) else {
            return Ok(());
        };
        let mut place = of.place.lock();
        if place.is_none() {
            // Its own name is new, so there is nothing to share within it.
            let keys = CallerKeys {
                tenant: None,
                ..keys.clone()
            };
            *place = Some(self.places.acquire(&keys, 1)?);
        }
        Ok(())
    }
}

/// What is kept with a tenant; always there, since nobody else keeps anything with one.
fn of_tenant(tenant: &Tenant) -> Option<Arc<OfTenant>> {
    tenant.attached(|| OfTenant {
        place: Mutex::default(),
        deltas: Mutex::new(DeltaTotals::new(DELTA_SERIES_MAX)),
        adding: Lane::new(1),
        groups: Mutex::default(),
    })
}
