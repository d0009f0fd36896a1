//! Rolling up: each tier's blocks from the next finer one's, the finest from raw chunks.
//!
//! Blocks are built once, when nothing of their stretch can come any more; where something came
//! all the same, sealing has marked the block dirty and it is built again, and so are the
//! coarser ones above it. Progress is stored in the same transaction as the blocks.

use std::time::Instant;

use redb::{ReadableTable, Table, WriteTransaction};

use crate::{
    Bucket, History, HistoryError, RAW_BLOCK_MS, SeriesId, Tier,
    block::{self, BlockCodec},
    chunk,
    column::{decimal_scale, to_decimal},
    error::BlockError,
    history::Workshop,
    maintain::Progress,
    read::{note, read_hour},
    state::{DamageLog, Rolled, TallyChange},
    tables::{BlockKey, DIRTY, PROGRESS, RAW, RawKey, tier_table},
};

/// One step's transaction changes at most this many series, which bounds its dirty pages.
const STEP_SERIES: usize = 4_096;

type RawTable<'txn> = Table<'txn, RawKey, &'static [u8]>;
type TierTable<'txn> = Table<'txn, BlockKey, &'static [u8]>;

/// What a tier is built from.
enum Source<'txn> {
    Raw(RawTable<'txn>),
    Tier(Tier, TierTable<'txn>),
}

impl<'txn> Source<'txn> {
    fn open(txn: &'txn WriteTransaction, tier: Tier) -> Result<Self, redb::Error> {
        Ok(match tier.finer() {
            None => Self::Raw(txn.open_table(RAW)?),
            Some(finer) => Self::Tier(finer, txn.open_table(tier_table(finer))?),
        })
    }

    fn block_ms(&self) -> i64 {
        match self {
            Self::Raw(_) => RAW_BLOCK_MS,
            Self::Tier(tier, _) => tier.block_ms(),
        }
    }

    /// The first block from `block` on that holds anything.
    fn next_block(&self, block: u32) -> Result<Option<u32>, redb::Error> {
        Ok(match self {
            Self::Raw(raw) => {
                let row = raw.range((block, 0, 0)..)?.next().transpose()?;
                row.map(|(key, _)| key.value().0)
            }
            Self::Tier(_, table) => {
                let row = table.range((block, 0)..)?.next().transpose()?;
                row.map(|(key, _)| key.value().0)
            }
        })
    }

    /// The first series from `series` on that `block` holds.
    fn next_series(&self, block: u32, series: u32) -> Result<Option<u32>, redb::Error> {
        Ok(match self {
            Self::Raw(raw) => {
                let range = (block, series, 0)..=(block, u32::MAX, u32::MAX);
                raw.range(range)?
                    .next()
                    .transpose()?
                    .map(|(key, _)| key.value().1)
            }
            Self::Tier(_, table) => {
                let range = (block, series)..=(block, u32::MAX);
                table
                    .range(range)?
                    .next()
                    .transpose()?
                    .map(|(key, _)| key.value().1)
            }
        })
    }
}

/// One step: tables of one transaction, and what it changed.
struct Rolling<'a, 'txn> {
    tier: Tier,
    source: Source<'txn>,
    target: TierTable<'txn>,
    workshop: &'a mut Workshop,
    damage: &'a DamageLog,
    tally: TallyChange,
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
                let mut rolling = Rolling::open(txn, tier, workshop, &self.damage)?;
                let reached = rolling.advance(from, limit, until)?;
                txn.open_table(PROGRESS)?
                    .insert(tier.index() as u8, (reached.blocks, reached.series))?;
                let step = (rolling.rolled, rolling.merged);
                let changed = std::mem::take(&mut rolling.tally).write(txn)?;
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
            return Ok(false);
        };
        let tier = Tier::ALL[usize::from(index).min(3)];
        let above = tier
            .coarser()
            .map(|tier| (tier, self.state.lock().rolled[tier.index()]));
        let (changed, step) = self.change("roll up late samples", |txn| {
            let mut rolling = Rolling::open(txn, tier, workshop, &self.damage)?;
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
            Ok((std::mem::take(&mut rolling.tally).write(txn)?, step))
        })?;
        self.state.lock().mirror(changed);
        progress.rolled += step.0;
        progress.merged += step.1;
        Ok(true)
    }
}

impl<'a, 'txn> Rolling<'a, 'txn> {
    fn open(
        txn: &'txn WriteTransaction,
        tier: Tier,
        workshop: &'a mut Workshop,
        damage: &'a DamageLog,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            tier,
            source: Source::open(txn, tier)?,
            target: txn.open_table(tier_table(tier))?,
            workshop,
            damage,
            tally: TallyChange::default(),
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
                        tally: &mut self.tally,
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
        buckets.iter_mut().for_each(settle_sum);
        let bytes = &mut self.workshop.bytes;
        let block_ms = i64::from(block) * self.tier.block_ms();
        self.workshop
            .blocks
            .encode(self.tier, block_ms, &buckets, bytes);
        let before = self.target.insert((block, id.0), bytes.as_slice())?;
        let level = self.tier.index() + 1;
        if let Some(before) = before {
            let count = block::count(before.value()).unwrap_or_default();
            self.tally.remove(level, block, before.value().len(), count);
        }
        self.tally.add(level, block, bytes.len(), buckets.len());
        self.rolled += 1;
        Ok(())
    }
}

/// One series' raw hour, being rolled up.
struct Hour<'a, 'txn> {
    raw: &'a mut RawTable<'txn>,
    workshop: &'a mut Workshop,
    tally: &'a mut TallyChange,
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
            self.tally.remove(0, hour, value.value().len(), count);
        }
        self.raw.insert((hour, id.0, 0), bytes.as_slice())?;
        self.tally.add(0, hour, bytes.len(), samples.len());
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

/// Appends the buckets of ascending samples; NaN is no value.
pub(crate) fn bucket_samples(tier: Tier, samples: &[(i64, f64)], buckets: &mut Vec<Bucket>) {
    let mut sum = Sum::default();
    for &(at_ms, value) in samples.iter().filter(|(_, value)| !value.is_nan()) {
        let start_ms = at_ms - at_ms.rem_euclid(tier.bucket_ms());
        match buckets
            .last_mut()
            .filter(|bucket| bucket.start_ms == start_ms)
        {
            Some(bucket) => {
                bucket.count += 1;
                sum.add(value);
                bucket.sum = sum.total();
                bucket.min = bucket.min.min(value);
                bucket.max = bucket.max.max(value);
                bucket.last = value;
            }
            None => {
                sum = Sum::default();
                sum.add(value);
                let [sum, min, max, first, last] = [value; 5];
                buckets.push(Bucket {
                    start_ms,
                    count: 1,
                    sum,
                    min,
                    max,
                    first,
                    last,
                });
            }
        }
    }
}

/// Appends the buckets of ascending finer buckets.
pub(crate) fn bucket_buckets(tier: Tier, finer: &[Bucket], buckets: &mut Vec<Bucket>) {
    let mut sum = Sum::default();
    for part in finer {
        let start_ms = part.start_ms - part.start_ms.rem_euclid(tier.bucket_ms());
        match buckets
            .last_mut()
            .filter(|bucket| bucket.start_ms == start_ms)
        {
            Some(bucket) => {
                bucket.count = bucket.count.saturating_add(part.count);
                sum.add(part.sum);
                bucket.sum = sum.total();
                bucket.min = bucket.min.min(part.min);
                bucket.max = bucket.max.max(part.max);
                bucket.last = part.last;
            }
            None => {
                sum = Sum::default();
                sum.add(part.sum);
                buckets.push(Bucket { start_ms, ..*part });
            }
        }
    }
}

/// A sum that carries its rounding errors along (Neumaier 1974).
#[derive(Debug, Default)]
struct Sum {
    plain: f64,
    lost: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        let total = self.plain + value;
        self.lost += if self.plain.abs() >= value.abs() {
            (self.plain - total) + value
        } else {
            (value - total) + self.plain
        };
        self.plain = total;
    }

    fn total(&self) -> f64 {
        let total = self.plain + self.lost;
        // Infinities make the carried errors NaN.
        if total.is_finite() { total } else { self.plain }
    }
}

/// Short decimals have a sum that is one as well, but for the last bits. With them gone the
/// column of sums takes 1 to 2 bytes a bucket instead of 7, and is nearer the truth.
fn settle_sum(bucket: &mut Bucket) {
    /// Relative; some hundred times the rounding of a sum that carries its errors.
    const TOLERANCE: f64 = 1.0 / (1_u64 << 46) as f64;
    let parts = [bucket.min, bucket.max, bucket.first, bucket.last];
    let scales = parts.map(decimal_scale);
    let scale = scales
        .into_iter()
        .try_fold(0, |scale, next| next.map(|next| scale.max(next)));
    if let Some(scale) = scale {
        let settled = to_decimal(bucket.sum, scale);
        if (settled - bucket.sum).abs() <= bucket.sum.abs() * TOLERANCE {
            bucket.sum = settled;
        }
    }
}
