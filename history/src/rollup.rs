//! Rolling up: each tier's blocks from the next finer one's, the finest from raw chunks.
//!
//! Blocks are built once, when nothing of their stretch can come any more; where something came
//! all the same, sealing has marked the block dirty and it is built again, and so are the
//! coarser ones above it. Progress is stored in the same transaction as the blocks.

use std::time::Instant;

use redb::{ReadableTable, WriteTransaction};

use crate::{
    Bucket, History, HistoryError, RAW_BLOCK_MS, SeriesId, Tier,
    block::{self, BlockCodec},
    bucket::{bucket_buckets, bucket_samples, settle_sums},
    chunk,
    error::BlockError,
    history::Workshop,
    maintain::Progress,
    read::{note, read_hour},
    state::{DamageLog, Rolled, TierUsageChange},
    tables::{ALL_ANEW, DIRTY, META, META_ANEW, PROGRESS, RAW, RawTable, TierTable, tier_table},
};

/// One step's transaction changes at most this many series, which bounds its dirty pages.
const STEP_SERIES: usize = 4_096;

mod source;

use source::Source;

/// One step: tables of one transaction, and what it changed.
struct Rolling<'a, 'txn> {
    tier: Tier,
    source: Source<'txn>,
    target: TierTable<'txn>,
    workshop: &'a mut Workshop,
    damage: &'a DamageLog,
    usage: TierUsageChange,
    rolled: u64,
    merged: u64,
}

impl History {
    /// Rolls up some of the next unfinished block, the finest tier first. False if there is none.
    pub(crate) fn roll_next(
        &self,
        workshop: &mut Workshop,
        final_before_ms: i64,
        until: Instant,
        progress: &mut Progress,
    ) -> Result<bool, HistoryError> {
        let rolled = self.state.lock().rolled;
        for tier in Tier::ALL {
            let final_ms = match tier.finer() {
                None => final_before_ms,
                Some(finer) => i64::from(rolled[finer.index()].blocks) * finer.block_ms(),
            };
            let limit =
                u32::try_from(final_ms.div_euclid(tier.block_ms()).max(0)).unwrap_or(u32::MAX);
            let from = rolled[tier.index()];
            if from.blocks >= limit {
                continue;
            }
            let (reached, changed, step) = self.change("roll up", |txn| {
                let mut rolling = Rolling::open(self, txn, tier, workshop)?;
                let reached = rolling.advance(from, limit, until)?;
                txn.open_table(PROGRESS)?
                    .insert(tier.index() as u8, (reached.blocks, reached.series))?;
                let step = (rolling.rolled, rolling.merged);
                let changed = std::mem::take(&mut rolling.usage).write(txn)?;
                Ok((reached, changed, step))
            })?;
            let mut state = self.state.lock();
            state.rolled[tier.index()] = reached;
            state.mirror(changed);
            progress.rolled += step.0;
            progress.merged += step.1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Marks blocks that an earlier version wrote, of which the samples are still there, to be
    /// rolled up again. False if there is none, and for ever from then on.
    pub(crate) fn list_old(&self, until: Instant) -> Result<bool, HistoryError> {
        let (at, rolled) = {
            let state = self.state.lock();
            (state.anew, state.rolled[0])
        };
        if at == ALL_ANEW {
            return Ok(false);
        }
        let reached = self.change("look for old blocks", |txn| {
            let raw = txn.open_table(RAW)?;
            let tier = txn.open_table(tier_table(Tier::TenSeconds))?;
            let mut dirty = txn.open_table(DIRTY)?;
            let mut next = ((at >> 32) as u32, at as u32);
            let mut reached = None;
            for _ in 0..STEP_SERIES {
                let row = raw.range((next.0, next.1, 0)..)?.next().transpose()?;
                let key = row.map(|(key, _)| key.value());
                let key = key.filter(|&(hour, series, _)| rolled.has_passed(hour, series));
                let Some((hour, series, _)) = key else {
                    reached = Some(ALL_ANEW);
                    break;
                };
                let block = tier.get((hour, series))?;
                if block.is_some_and(|block| block::is_old(block.value())) {
                    dirty.insert((0, hour, series), ())?;
                }
                next = match series.checked_add(1) {
                    Some(series) => (hour, series),
                    None => (hour + 1, 0),
                };
                if Instant::now() >= until {
                    break;
                }
            }
            let reached = reached.unwrap_or(u64::from(next.0) << 32 | u64::from(next.1));
            txn.open_table(META)?.insert(META_ANEW, reached)?;
            Ok(reached)
        })?;
        self.state.lock().anew = reached;
        Ok(true)
    }

    /// Rolls up again what got late samples. False if there is none.
    pub(crate) fn roll_dirty(
        &self,
        workshop: &mut Workshop,
        until: Instant,
        progress: &mut Progress,
    ) -> Result<bool, HistoryError> {
        let dirty = self.store.read("look for late samples", |txn| {
            let table = txn.open_table(DIRTY)?;
            let rows = table.iter()?.take(STEP_SERIES);
            rows.map(|row| Ok(row?.0.value()))
                .collect::<Result<Vec<_>, redb::Error>>()
        })?;
        // One tier a step: those of the finest come first, and may add some of the coarser.
        let Some(&(index, ..)) = dirty.first() else {
            let mut state = self.state.lock();
            state.late_blocks = 0;
            if !state.stale.is_empty() {
                state.stale = Default::default();
            }
            return Ok(false);
        };
        let tier = Tier::ALL[usize::from(index).min(3)];
        let above = tier
            .coarser()
            .map(|tier| (tier, self.state.lock().rolled[tier.index()]));
        let (changed, step) = self.change("roll up late samples", |txn| {
            let mut rolling = Rolling::open(self, txn, tier, workshop)?;
            let mut table = txn.open_table(DIRTY)?;
            for key in dirty.into_iter().take_while(|key| key.0 == index) {
                let (_, block, series) = key;
                rolling.roll(block, SeriesId(series))?;
                table.remove(key)?;
                if let Some((above, rolled)) = above {
                    let ratio = above.block_ms() / tier.block_ms();
                    let block = (i64::from(block) / ratio) as u32;
                    if rolled.has_passed(block, series) {
                        table.insert((above.index() as u8, block, series), ())?;
                    }
                }
                if Instant::now() >= until {
                    break;
                }
            }
            let step = (rolling.rolled, rolling.merged);
            Ok((std::mem::take(&mut rolling.usage).write(txn)?, step))
        })?;
        self.state.lock().mirror(changed);
        progress.rolled += step.0;
        progress.merged += step.1;
        Ok(true)
    }
}

impl<'a, 'txn> Rolling<'a, 'txn> {
    fn open(
        history: &'a History,
        txn: &'txn WriteTransaction,
        tier: Tier,
        workshop: &'a mut Workshop,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            tier,
            source: Source::open(txn, tier)?,
            target: txn.open_table(tier_table(tier))?,
            workshop,
            damage: &history.damage,
            usage: TierUsageChange::of(&history.owners),
            rolled: 0,
            merged: 0,
        })
    }

    /// How many of the source's blocks make one of ours.
    fn ratio(&self) -> u32 {
        u32::try_from(self.tier.block_ms() / self.source.block_ms()).unwrap_or(1)
    }

    fn source_blocks(&self, block: u32) -> std::ops::Range<u32> {
        let first = block.saturating_mul(self.ratio());
        first..first.saturating_add(self.ratio())
    }

    /// Goes on from `from`, over blocks below `limit`, until the time or the step is used up.
    fn advance(&mut self, from: Rolled, limit: u32, until: Instant) -> Result<Rolled, redb::Error> {
        let mut at = from;
        for _ in 0..STEP_SERIES {
            if at.blocks >= limit || Instant::now() >= until && at != from {
                break;
            }
            if at.series == 0 {
                // Empty stretches are passed in one go.
                let next = self
                    .source
                    .next_block(at.blocks.saturating_mul(self.ratio()))?;
                let next = next.map_or(limit, |block| block / self.ratio());
                at.blocks = next.clamp(at.blocks, limit);
                if at.blocks == limit {
                    break;
                }
            }
            let mut next = None;
            for block in self.source_blocks(at.blocks) {
                let series = self.source.next_series(block, at.series)?;
                next = next.into_iter().chain(series).min();
            }
            let Some(series) = next else {
                at = Rolled {
                    blocks: at.blocks + 1,
                    series: 0,
                };
                continue;
            };
            self.roll(at.blocks, SeriesId(series))?;
            at = match series.checked_add(1) {
                Some(series) => Rolled {
                    blocks: at.blocks,
                    series,
                },
                None => Rolled {
                    blocks: at.blocks + 1,
                    series: 0,
                },
            };
        }
        Ok(at)
    }

    /// Builds one block of one series.
    fn roll(&mut self, block: u32, id: SeriesId) -> Result<(), redb::Error> {
        let mut buckets = Vec::new();
        for source in self.source_blocks(block) {
            match &mut self.source {
                Source::Raw(raw) => {
                    let mut hour = Hour {
                        raw,
                        workshop: self.workshop,
                        usage: &mut self.usage,
                    };
                    let (merged, damaged) = hour.read_and_merge(source, id)?;
                    self.merged += u64::from(merged);
                    for error in damaged {
                        self.damage
                            .note(note(id, None, i64::from(source) * RAW_BLOCK_MS, error));
                    }
                    bucket_samples(self.tier, &self.workshop.samples, &mut buckets);
                }
                Source::Tier(finer, table) => {
                    let codec = &mut self.workshop.blocks;
                    let found = read_block(table, codec, *finer, source, id)?;
                    match found {
                        Ok(found) => bucket_buckets(self.tier, &found, &mut buckets),
                        Err(error) => {
                            let block_ms = i64::from(source) * finer.block_ms();
                            self.damage.note(note(id, Some(*finer), block_ms, error));
                        }
                    }
                }
            }
        }
        if buckets.is_empty() {
            // Staleness markers alone, or nothing readable: what was there before stays.
            return Ok(());
        }
        buckets.iter_mut().for_each(settle_sums);
        let bytes = &mut self.workshop.bytes;
        let block_ms = i64::from(block) * self.tier.block_ms();
        self.workshop
            .blocks
            .encode(self.tier, block_ms, &buckets, bytes);
        let before = self.target.insert((block, id.0), bytes.as_slice())?;
        let level = self.tier.index() + 1;
        if let Some(before) = before {
            let count = block::count(before.value()).unwrap_or_default();
            let at = (level, block, id.0);
            self.usage.remove(at, before.value().len(), count);
        }
        let at = (level, block, id.0);
        self.usage.add(at, bytes.len(), buckets.len());
        self.rolled += 1;
        Ok(())
    }
}

/// One series' raw hour, being rolled up.
struct Hour<'a, 'txn> {
    raw: &'a mut RawTable<'txn>,
    workshop: &'a mut Workshop,
    usage: &'a mut TierUsageChange,
}

impl Hour<'_, '_> {
    /// Leaves the hour's samples in the workshop. Several chunks that are all readable and fit
    /// into one are replaced by it: it is smaller, and quicker to read.
    fn read_and_merge(
        &mut self,
        hour: u32,
        id: SeriesId,
    ) -> Result<(bool, Vec<BlockError>), redb::Error> {
        let Workshop {
            chunks,
            samples,
            bytes,
            ..
        } = &mut *self.workshop;
        samples.clear();
        let mut damaged = Vec::new();
        let mut note = |error| damaged.push(error);
        let count = read_hour(
            self.raw,
            chunks,
            hour,
            id,
            i64::MIN,
            i64::MAX,
            samples,
            &mut note,
        )?;
        let fits = (1..=chunk::CHUNK_SAMPLES_MAX).contains(&samples.len());
        if count < 2 || !damaged.is_empty() || !fits {
            return Ok((false, damaged));
        }
        chunks.encode(i64::from(hour) * RAW_BLOCK_MS, samples, bytes);
        let range = (hour, id.0, 0)..=(hour, id.0, u32::MAX);
        for row in self.raw.extract_from_if(range, |_, _| true)? {
            let (_, value) = row?;
            let header = chunk::peek(0, value.value());
            let count = header.map_or(0, |header| header.count);
            let at = (0, hour, id.0);
            self.usage.remove(at, value.value().len(), count);
        }
        self.raw.insert((hour, id.0, 0), bytes.as_slice())?;
        self.usage.add((0, hour, id.0), bytes.len(), samples.len());
        Ok((true, damaged))
    }
}

fn read_block(
    table: &TierTable<'_>,
    codec: &mut BlockCodec,
    tier: Tier,
    block: u32,
    id: SeriesId,
) -> Result<Result<Vec<Bucket>, BlockError>, redb::Error> {
    let mut buckets = Vec::new();
    let Some(value) = table.get((block, id.0))? else {
        return Ok(Ok(buckets));
    };
    let block_ms = i64::from(block) * tier.block_ms();
    let read = codec.decode(
        tier,
        block_ms,
        value.value(),
        i64::MIN,
        i64::MAX,
        &mut buckets,
    );
    Ok(read.map(|()| buckets))
}
