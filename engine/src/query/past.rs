//! Series that memory no longer has: after their time to live, or since before a restart.
//!
//! The numbers of all series that were ever defined are kept by tenant and metric name, four
//! bytes each; they are read from the history when a question first needs them, and from then on
//! only what was defined since, when series have left memory. So are, of a name that was asked for,
//! those that memory does not have. What a number stands for is looked up each time.

pub(super) mod numbers;

use pulseboard_history::Definition;
use pulseboard_series::{KeyRef, key::hash_key};

use super::error::QueryError;
use crate::{cost::Cost, engine::Engine, selector::Selector, table::shard_of, tenant::Tenant};

/// Definitions that are read at once.
const DEFINITIONS_AT_ONCE: usize = 1_024;

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
        let ids = {
            let mut past = self.query_cache.past.lock();
            past.absent(tenant, selector, history, generation)?
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut matching = selector.matching();
        let work = selector.work();
        let mut found = Vec::new();
        for ids in ids.chunks(DEFINITIONS_AT_ONCE) {
            cost.check()?;
            for definition in history.definitions_unsorted(ids, since_ms)? {
                cost.step(work)?;
                let is_one = *definition.tenant == *tenant.name
                    && KeyRef::checked(&definition.key).is_some_and(|key| matching.takes(key));
                if is_one && !self.has_in_memory(tenant, &definition) {
                    found.push(definition);
                }
            }
            if found.len() > max.saturating_mul(2) {
                break;
            }
        }
        Ok(found)
    }

    /// Whether a series is there, or there again, under this number.
    fn has_in_memory(&self, tenant: &Tenant, definition: &Definition) -> bool {
        let hash = tenant.place(hash_key(&definition.key));
        let mut shard = self.table.shard(shard_of(hash)).lock();
        let slot = shard.find(tenant.number, hash, &definition.key);
        let entry = slot.and_then(|slot| shard.get_mut(slot));
        entry.is_some_and(|entry| entry.id == definition.id)
    }
}
