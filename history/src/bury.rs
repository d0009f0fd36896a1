//! Takes what is deleted out of the blocks: chunks and buckets are written anew without it, finest
//! level first, so that a bucket that is deleted in part is put together from what is left below
//! it. Where nothing is there below it any more, such a bucket goes as a whole.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use redb::{ReadableTable, WriteTransaction};

use crate::{
    Bucket, History, HistoryError, RAW_BLOCK_MS, SeriesId, Tier,
    block::{self, BlockCodec},
    bucket::{bucket_buckets, bucket_samples, settle_sums},
    chunk,
    history::Workshop,
    read::read_hour,
    state::{LEVELS, TierUsageChange, block_ms},
    tables::{RAW, RawTable, SERIES, TOMBSTONES, TierTable, tier_table},
    tombstone::{self, Grave, Tombstone},
    write::RECORD_TOMBSTONES,
};

/// Tombstones of one record and one transaction.
const ROWS_AT_ONCE: usize = 8_192;

/// One step's transaction changes at most this many values.
const STEP_VALUES: usize = 4_096;

/// What a step came to, for the mirror.
struct Step {
    series: u32,
    grave: Grave,
    is_done: bool,
}

impl History {
    /// Obeys some of the tombstones. False if there is none.
    pub(crate) fn bury_next(
        &self,
        workshop: &mut Workshop,
        until: Instant,
    ) -> Result<bool, HistoryError> {
        let (graves, present) = {
            let state = self.state.lock();
            if state.graves.is_empty() {
                return Ok(false);
            }
            (Arc::clone(&state.graves), Arc::clone(&state.present))
        };
        let (steps, changed) = self.change("delete from blocks", |txn| {
            let mut burying = Burying {
                txn,
                workshop,
                usage: TierUsageChange::of(&self.owners),
            };
            let mut raw = txn.open_table(RAW)?;
            let mut steps: Vec<Step> = Vec::new();
            let mut left = STEP_VALUES;
            let all = graves
                .iter()
                .flat_map(|(series, of_series)| of_series.iter().map(|grave| (*series, *grave)));
            for (series, mut grave) in all {
                let is_done = loop {
                    let level = usize::from(grave.level);
                    if level >= LEVELS {
                        break true;
                    }
                    let length_ms = block_ms(level);
                    let from = grave.from_ms.div_euclid(length_ms);
                    let to = grave.to_ms.div_euclid(length_ms);
                    let next = present[level].iter().copied().find(|&block| {
                        block >= grave.block && i64::from(block) >= from && i64::from(block) <= to
                    });
                    let Some(block) = next else {
                        (grave.level, grave.block) = (grave.level + 1, 0);
                        continue;
                    };
                    burying.value(&mut raw, level, block, SeriesId(series), &grave)?;
                    grave.block = block.saturating_add(1);
                    left -= 1;
                    if left == 0 || Instant::now() >= until {
                        break false;
                    }
                };
                steps.push(Step {
                    series,
                    grave,
                    is_done,
                });
                left = left.saturating_sub(1);
                if left == 0 || Instant::now() >= until {
                    break;
                }
            }
            drop(raw);
            let usage = std::mem::take(&mut burying.usage).write(txn)?;
            let mut table = txn.open_table(TOMBSTONES)?;
            let mut definitions = txn.open_table(SERIES)?;
            for step in &steps {
                let key = (step.series, step.grave.from_ms, step.grave.to_ms);
                if step.is_done {
                    table.remove(key)?;
                    if step.grave.is_whole {
                        definitions.remove(step.series)?;
                    }
                } else {
                    table.insert(key, step.grave.row())?;
                }
            }
            Ok((steps, usage))
        })?;
        let mut forgotten = Vec::new();
        let mut state = self.state.lock();
        state.mirror(changed);
        for step in steps {
            let all = Arc::make_mut(&mut state.graves);
            let Some(of_series) = all.get_mut(&step.series) else {
                continue;
            };
            let is_it = |grave: &Grave| {
                (grave.from_ms, grave.to_ms) == (step.grave.from_ms, step.grave.to_ms)
            };
            if step.is_done {
                of_series.retain(|grave| !is_it(grave));
                if of_series.is_empty() {
                    all.remove(&step.series);
                }
                if step.grave.is_whole {
                    forgotten.push(step.series);
                }
            } else if let Some(known) = of_series.iter_mut().find(|grave| is_it(grave)) {
                *known = step.grave;
            }
        }
        drop(state);
        self.owners.forget(forgotten.into_iter());
        Ok(true)
    }

    /// Takes everything that is deleted out of the blocks now, for about `budget`; whether that is
    /// done. Blocks.
    ///
    /// # Errors
    /// As [`History::maintain`].
    pub fn clean_tombstones(&self, budget: Duration) -> Result<bool, HistoryError> {
        let end = Instant::now() + budget;
        loop {
            let mut workshop = self.writing.lock();
            let until = (Instant::now() + crate::maintain::STEP).min(end);
            if !self.bury_next(&mut workshop, until)? {
                return Ok(true);
            }
            drop(workshop);
            if Instant::now() >= end {
                return Ok(self.tombstones() == 0);
            }
        }
    }
}

impl History {
    /// Deletes stretches of series: safe when this answers, hidden from every read from then on,
    /// and gone from the disk when [`History::maintain`] has been there. Samples in the caller's
    /// memory are the caller's to delete, and nothing of these series may be on its way into
    /// [`History::seal`]. Blocks.
    ///
    /// # Errors
    /// [`HistoryError::Log`], [`HistoryError::Blocks`]: some of it may be deleted, also after a
    /// restart.
    pub fn entomb(&self, rows: &[Tombstone]) -> Result<(), HistoryError> {
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let ticket = self
                .log
                .append(RECORD_TOMBSTONES, &tombstone::encode(rows))?;
            ticket.wait_blocking()?;
            let writing = self.writing.lock();
            let gone = rows.iter().filter(|row| row.is_whole);
            let gone: HashSet<SeriesId> = gone.map(|row| row.series).collect();
            self.unsaved
                .lock()
                .retain(|definition| !gone.contains(&definition.id));
            self.change("delete", |txn| tombstone::put(txn, rows))?;
            self.state.lock().entomb(rows);
            drop(writing);
        }
        Ok(())
    }

    /// How many stretches of series are deleted and still on the disk.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.state.lock().graves.values().map(Vec::len).sum()
    }
}

/// One transaction that takes things out.
pub(crate) struct Burying<'a, 'txn> {
    pub(crate) txn: &'txn WriteTransaction,
    pub(crate) workshop: &'a mut Workshop,
    pub(crate) usage: TierUsageChange,
}

impl Burying<'_, '_> {
    /// Takes one hour of the graves out of all levels, for samples that come there anew.
    pub(crate) fn hour(
        &mut self,
        raw: &mut RawTable<'_>,
        hour: u32,
        id: SeriesId,
        grave: &Grave,
    ) -> Result<(), redb::Error> {
        let start_ms = i64::from(hour) * RAW_BLOCK_MS;
        let part = Grave {
            from_ms: grave.from_ms.max(start_ms),
            to_ms: grave.to_ms.min(start_ms + RAW_BLOCK_MS - 1),
            ..*grave
        };
        for level in 0..LEVELS {
            let block = start_ms.div_euclid(block_ms(level));
            let block = u32::try_from(block).unwrap_or(u32::MAX);
            self.value(raw, level, block, id, &part)?;
        }
        Ok(())
    }

    /// Takes what is deleted out of one block of a level.
    fn value(
        &mut self,
        raw: &mut RawTable<'_>,
        level: usize,
        block: u32,
        id: SeriesId,
        grave: &Grave,
    ) -> Result<(), redb::Error> {
        match level.checked_sub(1).and_then(|tier| Tier::ALL.get(tier)) {
            None => self.chunks(raw, block, id, grave),
            Some(tier) => self.buckets(raw, *tier, block, id, grave),
        }
    }

    fn chunks(
        &mut self,
        raw: &mut RawTable<'_>,
        hour: u32,
        id: SeriesId,
        grave: &Grave,
    ) -> Result<(), redb::Error> {
        let hour_ms = i64::from(hour) * RAW_BLOCK_MS;
        let is_all = grave.from_ms <= hour_ms && grave.to_ms >= hour_ms + RAW_BLOCK_MS - 1;
        let mut changed = Vec::new();
        for row in raw.range((hour, id.0, 0)..=(hour, id.0, u32::MAX))? {
            let (key, value) = row?;
            let count = chunk::peek(0, value.value()).map_or(0, |header| header.count);
            let before = (value.value().len(), count);
            if is_all {
                changed.push((key.value(), before, None));
                continue;
            }
            let samples = &mut self.workshop.samples;
            samples.clear();
            let codec = &mut self.workshop.chunks;
            let decoded = codec.decode(hour_ms, value.value(), i64::MIN, i64::MAX, samples);
            let length = samples.len();
            samples.retain(|sample| !grave.has(sample.0));
            // What cannot be read is nobody's any more, and stays for who looks into the damage.
            if decoded.is_err() || samples.len() == length {
                continue;
            }
            let mut bytes = Vec::new();
            if !samples.is_empty() {
                codec.encode(hour_ms, samples, &mut bytes);
            }
            let after = (!bytes.is_empty()).then_some((bytes, samples.len()));
            changed.push((key.value(), before, after));
        }
        let at = (0, hour, id.0);
        for (key, (length, count), after) in changed {
            self.usage.remove(at, length, count);
            match after {
                Some((bytes, count)) => {
                    raw.insert(key, bytes.as_slice())?;
                    self.usage.add(at, bytes.len(), count);
                }
                None => {
                    raw.remove(key)?;
                }
            }
        }
        Ok(())
    }

    fn buckets(
        &mut self,
        raw: &mut RawTable<'_>,
        tier: Tier,
        block: u32,
        id: SeriesId,
        grave: &Grave,
    ) -> Result<(), redb::Error> {
        let mut table = self.txn.open_table(tier_table(tier))?;
        let Some((buckets, length, count)) =
            read(&table, &mut self.workshop.blocks, tier, block, id)?
        else {
            return Ok(());
        };
        let end_ms = |bucket: &Bucket| bucket.start_ms.saturating_add(tier.bucket_ms());
        let is_met = |bucket: &Bucket| grave.meets(bucket.start_ms, end_ms(bucket));
        if !buckets.iter().any(is_met) {
            return Ok(());
        }
        let mut kept = Vec::with_capacity(buckets.len());
        for bucket in &buckets {
            if !is_met(bucket) {
                kept.push(*bucket);
                continue;
            }
            let is_all = grave.from_ms <= bucket.start_ms && grave.to_ms >= end_ms(bucket) - 1;
            if !is_all {
                let stretch = (bucket.start_ms, end_ms(bucket));
                self.anew(raw, tier, stretch, id, &mut kept)?;
            }
        }
        let (level, key) = (tier.index() + 1, (block, id.0));
        let at = (level, block, id.0);
        self.usage.remove(at, length, count);
        if kept.is_empty() {
            table.remove(key)?;
            return Ok(());
        }
        let bytes = &mut self.workshop.bytes;
        let start_ms = i64::from(block) * tier.block_ms();
        self.workshop.blocks.encode(tier, start_ms, &kept, bytes);
        table.insert(key, bytes.as_slice())?;
        self.usage.add(at, bytes.len(), kept.len());
        Ok(())
    }

    /// Appends the bucket of a stretch as what is below the tier makes it, if anything is there.
    fn anew(
        &mut self,
        raw: &RawTable<'_>,
        tier: Tier,
        (from_ms, to_ms): (i64, i64),
        id: SeriesId,
        kept: &mut Vec<Bucket>,
    ) -> Result<(), redb::Error> {
        let before = kept.len();
        match tier.finer() {
            None => {
                let samples = &mut self.workshop.samples;
                samples.clear();
                let hour = u32::try_from(from_ms.div_euclid(RAW_BLOCK_MS)).unwrap_or(u32::MAX);
                let chunks = &mut self.workshop.chunks;
                let mut damaged = |_| {};
                read_hour(raw, chunks, hour, id, from_ms, to_ms, samples, &mut damaged)?;
                bucket_samples(tier, samples, kept);
            }
            Some(finer) => {
                let table = self.txn.open_table(tier_table(finer))?;
                let block = u32::try_from(from_ms.div_euclid(finer.block_ms())).unwrap_or(u32::MAX);
                let found = read(&table, &mut self.workshop.blocks, finer, block, id)?;
                let mut found = found.map(|found| found.0).unwrap_or_default();
                found.retain(|part| (from_ms..to_ms).contains(&part.start_ms));
                bucket_buckets(tier, &found, kept);
            }
        }
        kept[before..].iter_mut().for_each(settle_sums);
        Ok(())
    }
}

type Found = (Vec<Bucket>, usize, usize);

/// The buckets of a block, with its bytes and how many it says that there are. `None` where there
/// is no block, or one that cannot be read.
fn read(
    table: &TierTable<'_>,
    codec: &mut BlockCodec,
    tier: Tier,
    block: u32,
    id: SeriesId,
) -> Result<Option<Found>, redb::Error> {
    let Some(value) = table.get((block, id.0))? else {
        return Ok(None);
    };
    let mut buckets = Vec::new();
    let start_ms = i64::from(block) * tier.block_ms();
    let bytes = value.value();
    let decoded = codec.decode(tier, start_ms, bytes, i64::MIN, i64::MAX, &mut buckets);
    let count = block::count(bytes).unwrap_or_default();
    Ok(decoded.is_ok().then_some((buckets, bytes.len(), count)))
}
