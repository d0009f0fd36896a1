//! Who back-fills faster than the history takes it waits: what came late is in memory until it is
//! sealed, and that is bounded for all.
//!
//! Maintenance is told as soon as there is some of it, and tells when a round is over. Tenants that
//! brought nothing late lately wait for nothing.

use std::{sync::Arc, time::Duration};

use pulseboard_engine::{Engine, Tenant};
use tokio::sync::Notify;

/// Bytes of late samples in memory: four million samples. Larger: more memory while somebody
/// back-fills. Smaller: more rounds of maintenance.
const LATE_BYTES_MAX: u64 = 64 << 20;

/// Maintenance is told from so many on.
const WANTED_FROM_BYTES: u64 = LATE_BYTES_MAX / 4;

/// A body waits so long; then it is to be sent again.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where bodies of tenants that back-fill wait, and maintenance hears of it.
#[derive(Debug)]
pub struct LateRoom {
    engine: Arc<Engine>,
    wanted: Notify,
    done: Notify,
}

impl LateRoom {
    /// That of an engine.
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
            wanted: Notify::new(),
            done: Notify::new(),
        }
    }

    /// Has maintenance come soon where there is much.
    pub(crate) fn look(&self) {
        if self.engine.late_bytes() >= WANTED_FROM_BYTES {
            self.wanted.notify_one();
        }
    }

    /// Waits until there is room for what a tenant may bring; whether there is.
    pub(crate) async fn wait(&self, tenant: &Tenant, now_ms: i64) -> bool {
        let is_full = || self.engine.late_bytes() >= LATE_BYTES_MAX;
        if !is_full() || !tenant.brings_late(now_ms) {
            return true;
        }
        let waited = tokio::time::timeout(DEADLINE, async {
            loop {
                let done = self.done.notified();
                if !is_full() {
                    return;
                }
                self.wanted.notify_one();
                done.await;
            }
        });
        waited.await.is_ok()
    }

    /// Resolves when maintenance should come before its time.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A round of maintenance is over.
    pub fn done(&self) {
        self.done.notify_waiters();
    }
}
