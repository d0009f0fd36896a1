//! Series that only the server itself may write to: what it measures, and counts of what is
//! tracked.

use pulseboard_series::{Batch, Row};

use crate::{engine::Engine, table::shard_of, tenant::Tenant};

impl Engine {
    /// Keeps the series of a batch's rows for [`Engine::append_own`]: what others send under these
    /// keys is refused from now on. Values and times are not looked at. Returns the rows whose
    /// series were not kept before.
    pub fn reserve(&self, tenant: &Tenant, batch: &Batch) -> Vec<Row> {
        let rows = batch.rows().iter();
        let new = rows.filter(|row| tenant.reserve_key(batch.key(row).as_bytes()));
        new.inspect(|row| self.mark_reserved(tenant, batch, row))
            .copied()
            .collect()
    }

    /// Tells the series of a row whose key has just been kept, if there is one; one that is made
    /// from now on is made so.
    fn mark_reserved(&self, tenant: &Tenant, batch: &Batch, row: &Row) {
        let hash = tenant.place(row.hash);
        let mut shard = self.table.shard(shard_of(hash)).lock();
        let slot = shard.find(tenant.number, hash, batch.key(row).as_bytes());
        if let Some(entry) = slot.and_then(|slot| shard.get_mut(slot)) {
            entry.is_reserved = true;
        }
    }

    /// As [`Engine::reserve`], unless somebody else sends samples of one of these series now.
    ///
    /// # Errors
    /// The key of that one; nothing is kept then.
    pub fn claim(&self, tenant: &Tenant, batch: &Batch, now_ms: i64) -> Result<(), String> {
        // From here on nobody else makes them.
        let rows = batch.rows().iter();
        let new: Vec<&Row> = rows
            .filter(|row| tenant.reserve_key(batch.key(row).as_bytes()))
            .collect();
        for row in &new {
            let key = batch.key(row);
            let hash = tenant.place(row.hash);
            let mut shard = self.table.shard(shard_of(hash)).lock();
            let slot = shard.find(tenant.number, hash, key.as_bytes());
            let entry = slot.and_then(|slot| shard.get_mut(slot));
            if entry.is_some_and(|entry| !entry.is_stopped(now_ms)) {
                drop(shard);
                let mut reserved = tenant.reserved.lock();
                for row in &new {
                    reserved.remove(batch.key(row).as_bytes());
                }
                return Err(key.to_string());
            }
        }
        for row in new {
            self.mark_reserved(tenant, batch, row);
        }
        Ok(())
    }
}
