//! What labels and annotations of all alerts of rules take together: a template can make long texts
//! of every series, and whoever is told of them holds them, too.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

/// Bytes of one tenant's. Ten thousand alerts with a kilobyte of text each take ten MiB.
const TENANT_MAX: usize = 32 << 20;

/// Bytes of all tenants'.
const ALL_MAX: usize = 64 << 20;

/// Who has how much.
#[derive(Debug, Default)]
pub(super) struct AlertBytes {
    /// A leaf lock.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    tenants: HashMap<Arc<str>, usize>,
}

/// What one group has of it; gone with the group.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<AlertBytes>,
    tenant: Arc<str>,
    /// Changed with `held` locked.
    bytes: AtomicUsize,
}

impl AlertBytes {
    /// Of a group that has no alerts yet.
    pub(super) fn share(self: &Arc<Self>, tenant: &Arc<str>) -> Share {
        Share {
            of: Arc::clone(self),
            tenant: Arc::clone(tenant),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Share {
    /// How much its group may have.
    pub(super) fn room(&self) -> usize {
        let held = self.of.held.lock();
        let own = self.bytes.load(Ordering::Relaxed);
        let tenant = held.tenants.get(&self.tenant).copied().unwrap_or_default();
        let of_tenant = TENANT_MAX.saturating_sub(tenant - own);
        of_tenant.min(ALL_MAX.saturating_sub(held.all - own))
    }

    /// Its group has so much.
    pub(super) fn set(&self, bytes: usize) {
        let mut held = self.of.held.lock();
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        held.all = held.all - before + bytes;
        let tenant = held.tenants.entry(Arc::clone(&self.tenant)).or_default();
        *tenant = *tenant - before + bytes;
        if *tenant == 0 {
            held.tenants.remove(&self.tenant);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_others_have_not_and_it_comes_back() {
        let all = Arc::<AlertBytes>::default();
        let [a, b] = ["a", "b"].map(Arc::<str>::from);
        let first = all.share(&a);
        let second = all.share(&a);
        let other = all.share(&b);
        assert_eq!(first.room(), TENANT_MAX);
        first.set(TENANT_MAX - 10);
        assert_eq!(first.room(), TENANT_MAX, "what it has is its own");
        assert_eq!(second.room(), 10);
        assert_eq!(other.room(), TENANT_MAX, "another tenant's is another's");
        other.set(TENANT_MAX);
        assert_eq!(all.share(&"c".into()).room(), 10);
        drop(first);
        assert_eq!(second.room(), TENANT_MAX);
        second.set(5);
        second.set(0);
        drop(other);
        assert!(all.held.lock().tenants.is_empty());
    }
}
