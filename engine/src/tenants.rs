//! All tenants by name: those with a place among all, and those that somebody only asked for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use crate::tenant::{TENANTS_MAX, Tenant};

/// Tenants held at once of which nothing is stored: more than there are places for connections.
const ASKED_MAX: usize = 1 << 16;

/// All tenants by name.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    /// Leaf lock.
    by_name: RwLock<ByName>,
    /// The number of the next one.
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct ByName {
    /// Those with a place among all.
    listed: HashMap<Box<str>, Arc<Tenant>>,
    /// Of these, those that are never forgotten.
    kept: usize,
    /// Those that somebody asked for and nobody sent anything to; each lives as long as it is held.
    asked: HashMap<Box<str>, Weak<Tenant>>,
    /// So many asked for are looked through for such as nobody holds any more.
    swept_at: usize,
}

impl ByName {
    fn get(&self, name: &str) -> Option<Arc<Tenant>> {
        let listed = self.listed.get(name).cloned();
        listed.or_else(|| self.asked.get(name)?.upgrade())
    }

    fn list(&mut self, tenant: &Arc<Tenant>) {
        tenant.is_listed.store(true, Ordering::Release);
        self.asked.remove(&tenant.name);
        self.listed.insert(tenant.name.clone(), Arc::clone(tenant));
    }

    /// Room for another that is asked for. Looked through when they are twice as many as were
    /// found to be held, so that asking costs little on average.
    fn make_room(&mut self) -> Result<(), TooManyTenants> {
        if self.asked.len() >= self.swept_at {
            self.asked.retain(|_, tenant| tenant.strong_count() > 0);
            self.swept_at = (2 * self.asked.len()).clamp(64, ASKED_MAX);
        }
        if self.asked.len() >= ASKED_MAX {
            return Err(TooManyTenants);
        }
        Ok(())
    }
}

/// Why there is no tenant of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tenants are asked for at once; try again later")]
pub struct TooManyTenants;

impl Tenants {
    /// See [`crate::Engine::tenant`].
    pub(crate) fn ask(&self, name: &str) -> Result<Arc<Tenant>, TooManyTenants> {
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        let mut tenants = self.by_name.write();
        if let Some(known) = tenants.get(name) {
            return Ok(known);
        }
        tenants.make_room()?;
        let made = self.make(name);
        tenants.asked.insert(name.into(), Arc::downgrade(&made));
        Ok(made)
    }

    fn make(&self, name: &str) -> Arc<Tenant> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::new(Tenant::new(name, number))
    }

    /// See [`crate::Engine::known_tenant`].
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Tenant>> {
        self.by_name.read().get(name)
    }

    /// See [`crate::Engine::keep_tenant`].
    pub(crate) fn keep(&self, name: &str) {
        let tenant = self.listed(name);
        if !tenant.is_kept.swap(true, Ordering::AcqRel) {
            self.by_name.write().kept += 1;
        }
    }

    /// The tenant of this name, made one of all where it is not, however many there are; for what
    /// is stored already.
    pub(crate) fn listed(&self, name: &str) -> Arc<Tenant> {
        let mut tenants = self.by_name.write();
        let tenant = tenants.get(name).unwrap_or_else(|| self.make(name));
        tenants.list(&tenant);
        tenant
    }

    /// Makes a tenant one of all, of which the first sample came; whether there was a place.
    pub(crate) fn list(&self, tenant: &Arc<Tenant>) -> bool {
        if tenant.is_listed() {
            return true;
        }
        let mut tenants = self.by_name.write();
        if tenants.listed.len() - tenants.kept >= TENANTS_MAX {
            return false;
        }
        tenants.list(tenant);
        true
    }

    /// See [`crate::Engine::forget_unused_tenants`].
    pub(crate) fn forget_unused(&self) {
        let mut tenants = self.by_name.write();
        tenants.listed.retain(|_, tenant| {
            // Each series holds it, in memory or not. Nobody gets hold of it meanwhile.
            Arc::strong_count(tenant) > 1 || tenant.is_kept.load(Ordering::Acquire)
        });
        tenants.asked.retain(|_, tenant| tenant.strong_count() > 0);
    }

    /// See [`crate::Engine::tenants`].
    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        let mut tenants: Vec<_> = self.by_name.read().listed.values().cloned().collect();
        tenants.sort_by(|one, other| one.name.cmp(&other.name));
        tenants
    }
}
