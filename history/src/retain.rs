//! Retention: by age for each resolution, then by total size, the oldest of the finest first.
//! What the next coarser tier has not been built from yet stays.

use redb::WriteTransaction;

use crate::{
    History, HistoryError, Tier, block, chunk,
    maintain::Progress,
    state::{LEVELS, State, TallyChange, block_ms},
    tables::{META, META_RAW_FLOOR, RAW, tier_table},
};

/// One step deletes at most this many values, which bounds its transaction.
const STEP_VALUES: usize = 8_192;

impl History {
    /// Deletes some of the oldest block that can and must go. False if there is none.
    pub(crate) fn retain_step(
        &self,
        now_ms: i64,
        progress: &mut Progress,
    ) -> Result<bool, HistoryError> {
        let Some((level, block)) = self.next_to_go(now_ms) else {
            return Ok(false);
        };
        let (removed, bytes, changed, floor) = self.change("delete old samples", |txn| {
            let mut tally = TallyChange::default();
            let (removed, bytes) = remove_some(txn, level, block, &mut tally)?;
            let mut floor = None;
            if level == 0 {
                // From now on late samples of this hour are refused: they would be rolled up
                // alone, and the rollup of the deleted ones would be lost by that.
                floor = Some(block.saturating_add(1));
                txn.open_table(META)?
                    .insert(META_RAW_FLOOR, u64::from(block) + 1)?;
            }
            Ok((removed, bytes, tally.write(txn)?, floor))
        })?;
        let mut state = self.state.lock();
        state.mirror(changed);
        state.raw_floor = state.raw_floor.max(floor.unwrap_or_default());
        if removed == 0 {
            // The tally was wrong: nothing is there. It must not be looked for for ever.
            state.forget_tally(level, block);
        }
        progress.removed += removed;
        progress.removed_bytes += bytes;
        Ok(true)
    }

    /// The oldest block that is beyond its age; else, beyond the total size, the oldest of the
    /// finest level that has one to give.
    fn next_to_go(&self, now_ms: i64) -> Option<(usize, u32)> {
        let state = self.state.lock();
        let candidates = || {
            (0..LEVELS).filter_map(|level| {
                let block = state.oldest(level)?;
                can_go(&state, level, block).then_some((level, block))
            })
        };
        let too_old = |&(level, block): &(usize, u32)| {
            let end_ms = (i64::from(block) + 1) * block_ms(level);
            end_ms <= now_ms.saturating_sub(self.options.retention.keep_ms(level))
        };
        let aged = candidates().find(too_old);
        aged.or_else(|| {
            let bytes_max = self.options.retention.bytes_max?;
            (state.bytes() > bytes_max)
                .then(|| candidates().next())
                .flatten()
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
    tally: &mut TallyChange,
) -> Result<(u64, u64), redb::Error> {
    let (mut removed, mut bytes) = (0, 0);
    let mut note = |length: usize, count: Option<usize>| {
        removed += 1;
        bytes += length as u64;
        tally.remove(level, block, length, count.unwrap_or_default());
    };
    match level.checked_sub(1) {
        None => {
            let mut raw = txn.open_table(RAW)?;
            let range = (block, 0, 0)..=(block, u32::MAX, u32::MAX);
            for row in raw.extract_from_if(range, |_, _| true)?.take(STEP_VALUES) {
                let (_, value) = row?;
                let count = chunk::peek(0, value.value()).map(|header| header.count);
                note(value.value().len(), count);
            }
        }
        Some(tier) => {
            let mut table = txn.open_table(tier_table(Tier::ALL[tier.min(3)]))?;
            let range = (block, 0)..=(block, u32::MAX);
            for row in table.extract_from_if(range, |_, _| true)?.take(STEP_VALUES) {
                let (_, value) = row?;
                note(value.value().len(), block::count(value.value()));
            }
        }
    }
    Ok((removed, bytes))
}
