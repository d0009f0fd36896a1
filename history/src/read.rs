//! Reading: one snapshot for a whole query, which no writer disturbs and which disturbs none.

use std::{ops::Range, sync::Arc};

use redb::{Database, ReadOnlyTable, ReadableTable};

use crate::{
    Bucket, Damage, History, HistoryError, RAW_BLOCK_MS, SeriesId, Tier,
    block::BlockCodec,
    chunk::ChunkCodec,
    corruption::{Corruption, quietly},
    error::BlockError,
    order::sort_last_wins,
    parts::Floors,
    state::{DamageLog, LEVELS, Rolled, Stale},
    tables::{BlockKey, RAW, RawKey, tier_table},
    tombstone::{Graves, hide_buckets, hide_samples},
};

/// One moment of the history: any number of reads see the same content. Old pages are kept for
/// it, so hold it for a query, not for minutes.
pub struct Snapshot {
    /// Taken when dropped.
    tables: Option<Tables>,
    rolled: [Rolled; 4],
    present: Arc<[Vec<u32>; LEVELS]>,
    /// What rollups do not have as the samples are.
    stale: Arc<Stale>,
    /// What is deleted.
    graves: Arc<Graves>,
    /// Raw hours below are going.
    raw_floor: u32,
    /// What is going of single tenants.
    floors: Arc<Floors>,
    damage: Arc<DamageLog>,
    broken: Arc<Corruption>,
    chunks: ChunkCodec,
    blocks: BlockCodec,
}

struct Tables {
    raw: ReadOnlyTable<RawKey, &'static [u8]>,
    tiers: [ReadOnlyTable<BlockKey, &'static [u8]>; 4],
    /// Last, so that the tables go first; see [`Store::read_held`](crate::store::Store::read_held).
    _open: Arc<Database>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.broken.what().is_some() {
            // Giving the transaction back would go on with locks that may be poisoned.
            std::mem::forget(self.tables.take());
        } else {
            // With the last of a file that was replaced it is closed, which may meet damage.
            let tables = self.tables.take();
            drop(quietly(|| drop(tables)));
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Snapshot")
            .field("rolled", &self.rolled)
            .finish_non_exhaustive()
    }
}

impl History {
    /// A snapshot of what is sealed and rolled up now. Never waits for a writer.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`], [`HistoryError::Structure`].
    pub fn snapshot(&self) -> Result<Snapshot, HistoryError> {
        // Together, and before the transaction: all that they name is in it, but for what goes by
        // retention in between.
        let (present, rolled, raw_floor, floors, stale, graves) = {
            let state = self.state.lock();
            let floors = Arc::clone(&state.parts.floors);
            (
                Arc::clone(&state.present),
                state.rolled,
                state.raw_floor,
                floors,
                Arc::clone(&state.stale),
                Arc::clone(&state.graves),
            )
        };
        self.store.read_held("begin a read", |open, txn| {
            let [a, b, c, d] = Tier::ALL.map(|tier| txn.open_table(tier_table(tier)));
            Ok(Snapshot {
                tables: Some(Tables {
                    raw: txn.open_table(RAW)?,
                    tiers: [a?, b?, c?, d?],
                    _open: Arc::clone(open),
                }),
                rolled,
                present,
                stale,
                graves,
                raw_floor,
                floors,
                damage: Arc::clone(&self.damage),
                broken: self.store.corruption(),
                chunks: ChunkCodec::default(),
                blocks: BlockCodec::default(),
            })
        })
    }

    /// See [`Snapshot::read_raw`]; for a single read.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn read_raw(
        &self,
        id: SeriesId,
        from_ms: i64,
        to_ms: i64,
        samples: &mut Vec<(i64, f64)>,
    ) -> Result<(), HistoryError> {
        self.snapshot()?.read_raw(id, from_ms, to_ms, samples)
    }

    /// See [`Snapshot::read_rollup`]; for a single read.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn read_rollup(
        &self,
        tier: Tier,
        id: SeriesId,
        from_ms: i64,
        to_ms: i64,
        buckets: &mut Vec<Bucket>,
    ) -> Result<(), HistoryError> {
        self.snapshot()?
            .read_rollup(tier, id, from_ms, to_ms, buckets)
    }
}

impl Snapshot {
    /// Appends the sealed samples of `id` with `from_ms <= time < to_ms`, ascending, each time
    /// once. Damaged chunks are skipped and noted, see [`History::take_damage`]. Cost: a lookup
    /// for each hour that holds anything, and some 6 ns a sample.
    ///
    /// # Errors
    /// [`HistoryError::Blocks`], [`HistoryError::Structure`]; what was read before stays in
    /// `samples`.
    pub fn read_raw(
        &mut self,
        id: SeriesId,
        from_ms: i64,
        to_ms: i64,
        samples: &mut Vec<(i64, f64)>,
    ) -> Result<(), HistoryError> {
        let hours = touched(&self.present[0], RAW_BLOCK_MS, from_ms, to_ms);
        let Some(tables) = &self.tables else {
            return Ok(());
        };
        let (raw, chunks, damage) = (&tables.raw, &mut self.chunks, &self.damage);
        let before = samples.len();
        let read = self.broken.guarded("read samples", || {
            for hour in &self.present[0][hours] {
                read_hour(
                    raw,
                    chunks,
                    *hour,
                    id,
                    from_ms,
                    to_ms,
                    samples,
                    &mut |error| {
                        damage.note(note(id, None, i64::from(*hour) * RAW_BLOCK_MS, error));
                    },
                )?;
            }
            Ok(())
        });
        if let Some(graves) = self.graves.get(&id.0) {
            hide_samples(graves, before, samples);
        }
        read
    }

    /// Appends the buckets of `id` that begin at `from_ms <= start < to_ms`, ascending. Only
    /// what [`Snapshot::covered`] says is complete; beyond it there are none. Damaged blocks are
    /// skipped and noted.
    ///
    /// # Errors
    /// As [`Snapshot::read_raw`].
    pub fn read_rollup(
        &mut self,
        tier: Tier,
        id: SeriesId,
        from_ms: i64,
        to_ms: i64,
        buckets: &mut Vec<Bucket>,
    ) -> Result<(), HistoryError> {
        let present = &self.present[tier.index() + 1];
        let touched = touched(present, tier.block_ms(), from_ms, to_ms);
        let Some(tables) = &self.tables else {
            return Ok(());
        };
        let (table, codec, damage) = (&tables.tiers[tier.index()], &mut self.blocks, &self.damage);
        let before = buckets.len();
        let read = self.broken.guarded("read buckets", || {
            for &block in &present[touched] {
                let Some(value) = table.get((block, id.0))? else {
                    continue;
                };
                let block_ms = i64::from(block) * tier.block_ms();
                let read = codec.decode(tier, block_ms, value.value(), from_ms, to_ms, buckets);
                if let Err(error) = read {
                    damage.note(note(id, Some(tier), block_ms, error));
                }
            }
            Ok(())
        });
        if let Some(graves) = self.graves.get(&id.0) {
            hide_buckets(graves, tier, before, buckets);
        }
        read
    }

    /// The newest sealed sample of a series that is not later than `at_ms`. Cost: a lookup for each
    /// hour that holds anything, back to the first that holds one of it.
    ///
    /// # Errors
    /// As [`Snapshot::read_raw`].
    pub fn newest_raw(
        &mut self,
        id: SeriesId,
        at_ms: i64,
    ) -> Result<Option<(i64, f64)>, HistoryError> {
        let present = Arc::clone(&self.present);
        let mut samples = Vec::new();
        for hour in present[0].iter().rev() {
            let start_ms = i64::from(*hour) * RAW_BLOCK_MS;
            let end_ms = (start_ms + RAW_BLOCK_MS).min(at_ms.saturating_add(1));
            if start_ms < end_ms {
                self.read_raw(id, start_ms, end_ms, &mut samples)?;
            }
            if let Some(newest) = samples.last() {
                return Ok(Some(*newest));
            }
        }
        Ok(None)
    }

    /// The stretch of a series, Unix milliseconds, that rollups may be wrong about, since something
    /// came late into it that has not been rolled up again.
    #[must_use]
    pub fn stale(&self, id: SeriesId) -> Option<Range<i64>> {
        self.stale.get(&id.0).cloned()
    }

    /// Begin of the tier's oldest block of which nothing of the tenant's was given up, and how far
    /// all series have been rolled up into it: within that the tier is complete (but for what
    /// retention has deleted of single blocks at the moment). Empty, at the end, if it holds
    /// nothing.
    #[must_use]
    pub fn covered(&self, tier: Tier, tenant: &str) -> Range<i64> {
        let end = self.rolled_through(tier);
        let floor = self.floor_of(tenant, tier.index() + 1);
        let mut present = self.present[tier.index() + 1].iter();
        let oldest = present.find(|&&block| block >= floor);
        let start = oldest.map_or(end, |&block| i64::from(block) * tier.block_ms());
        start.min(end)..end
    }

    /// Everything before this moment, Unix milliseconds, has been rolled up into the tier.
    #[must_use]
    pub fn rolled_through(&self, tier: Tier) -> i64 {
        i64::from(self.rolled[tier.index()].blocks) * tier.block_ms()
    }

    /// End of the newest hour that has raw samples.
    #[must_use]
    pub fn raw_until(&self) -> Option<i64> {
        let newest = self.present[0].last();
        newest.map(|&hour| (i64::from(hour) + 1) * RAW_BLOCK_MS)
    }

    /// Begin of the oldest hour of which a tenant has all its raw samples.
    #[must_use]
    pub fn raw_since(&self, tenant: &str) -> Option<i64> {
        let floor_ms = self.raw_floor_ms(tenant);
        let mut starts_ms = self.present[0]
            .iter()
            .map(|&hour| i64::from(hour) * RAW_BLOCK_MS);
        starts_ms.find(|start_ms| *start_ms >= floor_ms)
    }

    /// From this moment on nothing of a tenant's raw samples was given up, Unix milliseconds:
    /// where there are none sealed, there were none.
    #[must_use]
    pub fn raw_floor_ms(&self, tenant: &str) -> i64 {
        i64::from(self.raw_floor.max(self.floor_of(tenant, 0))) * RAW_BLOCK_MS
    }

    fn floor_of(&self, tenant: &str, level: usize) -> u32 {
        let floors = self.floors.get(tenant);
        floors.map_or(0, |floors| floors[level.min(LEVELS - 1)])
    }
}

pub(crate) fn note(id: SeriesId, tier: Option<Tier>, block_ms: i64, error: BlockError) -> Damage {
    Damage {
        series: id,
        tier,
        block_ms,
        reason: error.to_string(),
    }
}

/// Which of the ascending `present` blocks have a part in `from_ms..to_ms`.
fn touched(present: &[u32], block_ms: i64, from_ms: i64, to_ms: i64) -> Range<usize> {
    let ends_by = |&block: &u32| (i64::from(block) + 1) * block_ms <= from_ms;
    let begins_before = |&block: &u32| i64::from(block) * block_ms < to_ms;
    let start = present.partition_point(ends_by);
    start..present.partition_point(begins_before).max(start)
}

/// Appends one hour's samples within the bounds, merged over its chunks. Returns how many chunks
/// there were and whether all were readable.
#[allow(
    clippy::too_many_arguments,
    reason = "one loop's state, shared with the rollup"
)]
pub(crate) fn read_hour(
    raw: &impl ReadableTable<RawKey, &'static [u8]>,
    chunks: &mut ChunkCodec,
    hour: u32,
    id: SeriesId,
    from_ms: i64,
    to_ms: i64,
    samples: &mut Vec<(i64, f64)>,
    damaged: &mut dyn FnMut(BlockError),
) -> Result<usize, redb::Error> {
    let start = samples.len();
    let mut count = 0;
    for row in raw.range((hour, id.0, 0)..=(hour, id.0, u32::MAX))? {
        let (_, value) = row?;
        count += 1;
        let hour_ms = i64::from(hour) * RAW_BLOCK_MS;
        // Chunks in the order of sealing: the stable sort below keeps the latest of equal times.
        if let Err(error) = chunks.decode(hour_ms, value.value(), from_ms, to_ms, samples) {
            damaged(error);
        }
    }
    if count > 1 && !samples[start..].is_sorted_by(|a, b| a.0 < b.0) {
        let mut merged = samples.split_off(start);
        sort_last_wins(&mut merged);
        samples.append(&mut merged);
    }
    Ok(count)
}
