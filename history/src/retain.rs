//! Retention: by age for each resolution, then by total size. What the next coarser tier has not
//! been built from yet stays.
//!
//! Past the total size only those give who have more than their part of it ([`part_of`]): the one
//! that has most first, of it the oldest of the finest. So a tenant that stores much shortens its
//! own history and nobody else's, and what the others do not use is not lost to it.
//!
//! [`part_of`]: crate::part_of

use std::sync::Arc;

use redb::{ReadableTable, WriteTransaction};

use crate::{
    History, HistoryError, Tier, block, chunk,
    history::Workshop,
    maintain::Progress,
    state::{LEVELS, State, TierUsageChange, block_ms},
    sweep::{Going, Sweep},
    tables::{FLOOR_OF, META, META_RAW_FLOOR, RAW, tier_table},
};

/// One step deletes at most this many values, which bounds its transaction.
const STEP_VALUES: usize = 8_192;

/// And looks at so many, of others, too.
const STEP_LOOKED: usize = 65_536;

/// What a step did.
#[derive(Default)]
struct Removed {
    values: u64,
    bytes: u64,
    /// Where to go on; `None` at the block's end.
    from: Option<(u32, u32)>,
}

impl History {
    /// Deletes some of the oldest block that can and must go. False if there is none.
    pub(crate) fn retain_step(
        &self,
        workshop: &mut Workshop,
        now_ms: i64,
        progress: &mut Progress,
    ) -> Result<bool, HistoryError> {
        let Some(going) = self.next_to_go(now_ms) else {
            workshop.sweep = None;
            return Ok(false);
        };
        let sweep = workshop.sweep.take().filter(|sweep| sweep.going == going);
        let begun = sweep.as_ref().map_or((0, 0), |sweep| sweep.from);
        let (level, block) = (going.level, going.block);
        let next = block.saturating_add(1);
        let (removed, changed) = self.change("delete old samples", |txn| {
            let mut usage = TierUsageChange::of(&self.owners);
            let removed = match &going.tenant {
                None => remove_some(txn, level, block, &mut usage)?,
                Some(tenant) => {
                    let is_its = |series| self.owners.is_of(series, tenant);
                    let removed = remove_of(txn, (level, block), begun, is_its, &mut usage)?;
                    txn.open_table(FLOOR_OF)?
                        .insert((&**tenant, level as u8), next)?;
                    removed
                }
            };
            if level == 0 && going.tenant.is_none() {
                // From now on late samples of this hour are refused: they would be rolled up
                // alone, and the rollup of the deleted ones would be lost by that.
                txn.open_table(META)?
                    .insert(META_RAW_FLOOR, u64::from(next))?;
            }
            Ok((removed, usage.write(txn)?))
        })?;
        let mut state = self.state.lock();
        state.mirror(changed);
        match &going.tenant {
            None => {
                if level == 0 {
                    state.raw_floor = state.raw_floor.max(next);
                }
                if removed.values == 0 {
                    // The counts were wrong: nothing is there. It must not be looked for for ever.
                    state.forget_tally(level, block);
                }
            }
            Some(tenant) => {
                state.parts.raise_floor(tenant, level, next);
                match removed.from {
                    Some(from) => workshop.sweep = Some(Sweep { going, from }),
                    // As above; by the next start all is counted anew.
                    None => state.parts.forget(tenant, level, block),
                }
            }
        }
        progress.removed += removed.values;
        progress.removed_bytes += removed.bytes;
        Ok(true)
    }

    /// The oldest block that is beyond its age; else, beyond the total size, of the tenant that is
    /// furthest over its part the oldest of the finest level that has one to give.
    fn next_to_go(&self, now_ms: i64) -> Option<Going> {
        let state = self.state.lock();
        let oldest = |oldest: &dyn Fn(usize) -> Option<u32>,
                      is_due: &dyn Fn(usize, u32) -> bool| {
            (0..LEVELS).find_map(|level| {
                let block = oldest(level)?;
                (can_go(&state, level, block) && is_due(level, block)).then_some((level, block))
            })
        };
        let too_old = |level: usize, block: u32| {
            let end_ms = (i64::from(block) + 1) * block_ms(level);
            end_ms <= now_ms.saturating_sub(self.options.retention.keep_ms(level))
        };
        if let Some((level, block)) = oldest(&|level| state.oldest(level), &too_old) {
            return Some(Going {
                level,
                block,
                tenant: None,
            });
        }
        let bytes_max = self.options.retention.bytes_max?;
        if state.bytes() <= bytes_max {
            return None;
        }
        let mut over = state.parts.over(bytes_max).into_iter();
        over.find_map(|(tenant, part)| {
            let (level, block) = oldest(&|level| part.oldest(level), &|_, _| true)?;
            Some(Going {
                level,
                block,
                tenant: Some(Arc::clone(tenant)),
            })
        })
    }

    /// No level holds anything from before this moment, Unix milliseconds.
    pub(crate) fn horizon_ms(&self, now_ms: i64) -> i64 {
        let state = self.state.lock();
        let begins =
            (0..LEVELS).filter_map(|level| Some(i64::from(state.oldest(level)?) * block_ms(level)));
        let raw_ms = now_ms.saturating_sub(self.options.retention.keep_ms(0));
        begins.chain([raw_ms]).min().unwrap_or(raw_ms)
    }
}

/// Whether the next coarser tier has all that is in the block.
fn can_go(state: &State, level: usize, block: u32) -> bool {
    let Some(&coarser) = Tier::ALL.get(level) else {
        return true;
    };
    let end_ms = (i64::from(block) + 1) * block_ms(level);
    end_ms <= i64::from(state.rolled[coarser.index()].blocks) * coarser.block_ms()
}

fn remove_some(
    txn: &WriteTransaction,
    level: usize,
    block: u32,
    usage: &mut TierUsageChange,
) -> Result<Removed, redb::Error> {
    let mut removed = Removed::default();
    match level.checked_sub(1) {
        None => {
            let mut raw = txn.open_table(RAW)?;
            let range = (block, 0, 0)..=(block, u32::MAX, u32::MAX);
            for row in raw.extract_from_if(range, |_, _| true)?.take(STEP_VALUES) {
                let (key, value) = row?;
                removed.note((level, block, key.value().1), value.value(), usage);
            }
        }
        Some(tier) => {
            let mut table = txn.open_table(tier_table(Tier::ALL[tier.min(3)]))?;
            let range = (block, 0)..=(block, u32::MAX);
            for row in table.extract_from_if(range, |_, _| true)?.take(STEP_VALUES) {
                let (key, value) = row?;
                removed.note((level, block, key.value().1), value.value(), usage);
            }
        }
    }
    Ok(removed)
}

/// Removes what `is_its`, from a value on; the block holds those of others, too.
fn remove_of(
    txn: &WriteTransaction,
    (level, block): (usize, u32),
    from: (u32, u32),
    is_its: impl Fn(u32) -> bool,
    usage: &mut TierUsageChange,
) -> Result<Removed, redb::Error> {
    let mut removed = Removed::default();
    let mut keys = Vec::new();
    let mut looked = 0;
    let mut look = |series: u32, sequence: u32, value: &[u8]| {
        if is_its(series) {
            removed.note((level, block, series), value, usage);
            keys.push((series, sequence));
        }
        looked += 1;
        let is_enough = looked == STEP_LOOKED || keys.len() == STEP_VALUES;
        if is_enough {
            removed.from = after(series, sequence);
        }
        is_enough
    };
    match level.checked_sub(1) {
        None => {
            let mut raw = txn.open_table(RAW)?;
            for row in raw.range((block, from.0, from.1)..=(block, u32::MAX, u32::MAX))? {
                let (key, value) = row?;
                let (_, series, sequence) = key.value();
                if look(series, sequence, value.value()) {
                    break;
                }
            }
            for (series, sequence) in keys {
                raw.remove((block, series, sequence))?;
            }
        }
        Some(tier) => {
            let mut table = txn.open_table(tier_table(Tier::ALL[tier.min(3)]))?;
            for row in table.range((block, from.0)..=(block, u32::MAX))? {
                let (key, value) = row?;
                // One value a series: the next is the next series'.
                if look(key.value().1, u32::MAX, value.value()) {
                    break;
                }
            }
            for (series, _) in keys {
                table.remove((block, series))?;
            }
        }
    }
    Ok(removed)
}

/// What comes after a value in a block.
fn after(series: u32, sequence: u32) -> Option<(u32, u32)> {
    match sequence.checked_add(1) {
        Some(sequence) => Some((series, sequence)),
        None => Some((series.checked_add(1)?, 0)),
    }
}

impl Removed {
    fn note(&mut self, at: (usize, u32, u32), value: &[u8], usage: &mut TierUsageChange) {
        self.values += 1;
        self.bytes += value.len() as u64;
        let count = match at.0 {
            0 => chunk::peek(0, value).map(|header| header.count),
            _ => block::count(value),
        };
        usage.remove(at, value.len(), count.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
