//! What is known of the blocks' file without reading it: sizes, progress, days, damage.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use parking_lot::Mutex;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

pub(crate) use crate::tables::{KEY_BYTES, LEVELS};
use crate::{
    Damage, RAW_BLOCK_MS, Tier,
    parts::{NewParts, Owners, Parts, write_parts},
    tables::{DIRTY, META, META_ANEW, META_RAW_FLOOR, PROGRESS, SEEN, TALLY, TOMBSTONES},
    tombstone::{self, Grave, Graves, Tombstone},
};

pub(crate) const DAY_MS: i64 = 86_400_000;

/// More are counted only.
const DAMAGE_LISTED_MAX: usize = 100;

/// By series: from the first to the last moment that its rollups are wrong about.
pub(crate) type Stale = HashMap<u32, Range<i64>>;

/// What one block of one level holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierUsage {
    /// Chunks or blocks, over all series.
    pub(crate) values: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// Samples, or buckets.
    pub(crate) samples: u64,
}

/// How far a tier has been rolled up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rolled {
    /// All blocks below are complete.
    pub(crate) blocks: u32,
    /// Of block `blocks`, all series below have been rolled up.
    pub(crate) series: u32,
}

impl Rolled {
    /// Whether a late sample of this series and block comes too late for the regular pass.
    pub(crate) fn has_passed(self, block: u32, series: u32) -> bool {
        block < self.blocks || (block == self.blocks && series < self.series)
    }
}

/// The mirror of the small tables; changed after each commit, under the writer's lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// By level and block.
    pub(crate) usage: BTreeMap<(u8, u32), TierUsage>,
    /// The same of each tenant.
    pub(crate) parts: Parts,
    /// By [`Tier::index`].
    pub(crate) rolled: [Rolled; 4],
    /// Day of the newest sealed sample, by series.
    pub(crate) seen: HashMap<u32, u32>,
    /// Stretches of series, Unix milliseconds, that rollups do not have as the samples are:
    /// something came late, and [`History::maintain`](crate::History::maintain) has not rolled it
    /// up again.
    pub(crate) stale: Arc<Stale>,
    /// Blocks that something came late to, since none of them was left; one may be counted again.
    pub(crate) late_blocks: u64,
    /// What is deleted and still in the blocks.
    pub(crate) graves: Arc<Graves>,
    /// As [`META_ANEW`] says.
    pub(crate) anew: u64,
    /// Hours below are given up by retention and take no samples any more.
    pub(crate) raw_floor: u32,
    /// Blocks that exist, by level, ascending; shared with snapshots.
    pub(crate) present: Arc<[Vec<u32>; LEVELS]>,
}

impl State {
    pub(crate) fn load(txn: &ReadTransaction) -> Result<Self, redb::Error> {
        let mut state = Self::default();
        for row in txn.open_table(TALLY)?.iter()? {
            let (key, value) = row?;
            let (values, bytes, samples) = value.value();
            state.usage.insert(
                key.value(),
                TierUsage {
                    values,
                    bytes,
                    samples,
                },
            );
        }
        state.parts = Parts::load(txn)?;
        for row in txn.open_table(PROGRESS)?.iter()? {
            let (tier, value) = row?;
            let (blocks, series) = value.value();
            if let Some(rolled) = state.rolled.get_mut(usize::from(tier.value())) {
                *rolled = Rolled { blocks, series };
            }
        }
        for row in txn.open_table(SEEN)?.iter()? {
            let (series, day) = row?;
            state.seen.insert(series.value(), day.value());
        }
        let meta = txn.open_table(META)?;
        let floor = meta.get(META_RAW_FLOOR)?.map(|guard| guard.value());
        let anew = meta.get(META_ANEW)?.map(|guard| guard.value());
        state.anew = anew.unwrap_or_default();
        state.raw_floor = floor
            .and_then(|floor| u32::try_from(floor).ok())
            .unwrap_or_default();
        for row in txn.open_table(DIRTY)?.iter()? {
            state.late_blocks += 1;
            let (level, block, series) = row?.0.value();
            let length_ms = block_ms(usize::from(level) + 1);
            let start_ms = i64::from(block) * length_ms;
            state.note_stale(series, start_ms..start_ms + length_ms);
        }
        // An earlier version has no such table.
        state.graves = match txn.open_table(TOMBSTONES) {
            Ok(table) => Arc::new(tombstone::load(&table)?),
            Err(redb::TableError::TableDoesNotExist(_)) => Arc::default(),
            Err(error) => return Err(error.into()),
        };
        state.list_present();
        Ok(state)
    }

    /// Something came late into this stretch of a series.
    pub(crate) fn note_stale(&mut self, series: u32, stretch: Range<i64>) {
        let stale = Arc::make_mut(&mut self.stale);
        let known = stale.entry(series).or_insert_with(|| stretch.clone());
        *known = known.start.min(stretch.start)..known.end.max(stretch.end);
    }

    /// Takes over what [`tombstone::put`] wrote.
    pub(crate) fn entomb(&mut self, rows: &[Tombstone]) {
        let raw_floor_ms = i64::from(self.raw_floor) * RAW_BLOCK_MS;
        for row in rows {
            let graves = Arc::make_mut(&mut self.graves);
            let graves = graves.entry(row.series.0).or_default();
            graves.retain(|grave| (grave.from_ms, grave.to_ms) != (row.from_ms, row.to_ms));
            graves.push(Grave {
                from_ms: row.from_ms,
                to_ms: row.to_ms,
                is_whole: row.is_whole,
                level: 0,
                block: 0,
            });
            if row.is_whole {
                self.seen.remove(&row.series.0);
            } else if row.to_ms >= raw_floor_ms {
                // What is left of a bucket is in the samples.
                let from_ms = row.from_ms.max(raw_floor_ms);
                self.note_stale(row.series.0, from_ms..row.to_ms.saturating_add(1));
            }
        }
    }

    /// Whether a series is gone as such.
    pub(crate) fn is_gone(&self, series: u32) -> bool {
        let graves = self.graves.get(&series);
        graves.is_some_and(|graves| graves.iter().any(|grave| grave.is_whole))
    }

    /// Takes over what [`TierUsageChange::write`] wrote, after the commit.
    pub(crate) fn mirror(&mut self, changed: NewUsage) {
        self.parts.mirror(changed.parts);
        for (key, usage) in changed.all {
            if usage.values == 0 {
                self.usage.remove(&key);
            } else {
                self.usage.insert(key, usage);
            }
        }
        self.list_present();
    }

    /// Usage without anything behind it, which only damage can leave.
    pub(crate) fn forget_tally(&mut self, level: usize, block: u32) {
        self.usage
            .remove(&(u8::try_from(level).unwrap_or(u8::MAX), block));
        self.list_present();
    }

    fn list_present(&mut self) {
        let mut present: [Vec<u32>; LEVELS] = Default::default();
        for &(level, block) in self.usage.keys() {
            if let Some(blocks) = present.get_mut(usize::from(level)) {
                blocks.push(block);
            }
        }
        if *self.present != present {
            self.present = Arc::new(present);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.usage.values().map(|usage| usage.bytes).sum()
    }

    /// The oldest block of a level.
    pub(crate) fn oldest(&self, level: usize) -> Option<u32> {
        self.present.get(level)?.first().copied()
    }
}

/// Tallies as they are after a transaction.
#[derive(Debug, Default)]
pub(crate) struct NewUsage {
    /// By level and block.
    all: Vec<((u8, u32), TierUsage)>,
    parts: NewParts,
}

/// Changes to the usage, gathered over one transaction.
#[derive(Debug, Default)]
pub(crate) struct TierUsageChange {
    changes: BTreeMap<(u8, u32), [i64; 3]>,
    /// Bytes by tenant, level and block; none without `owners`.
    parts: BTreeMap<(Arc<str>, u8, u32), i64>,
    owners: Option<Arc<Owners>>,
}

impl TierUsageChange {
    /// Counts for whoever the series are of, too.
    pub(crate) fn of(owners: &Arc<Owners>) -> Self {
        Self {
            owners: Some(Arc::clone(owners)),
            ..Self::default()
        }
    }

    /// A value of so many bytes and samples at (level, block, series) is there now.
    pub(crate) fn add(&mut self, at: (usize, u32, u32), bytes: usize, samples: usize) {
        self.change(at, 1, bytes, samples);
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, at: (usize, u32, u32), bytes: usize, samples: usize) {
        self.change(at, -1, bytes, samples);
    }

    fn change(
        &mut self,
        (level, block, series): (usize, u32, u32),
        sign: i64,
        bytes: usize,
        samples: usize,
    ) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let key = (u8::try_from(level).unwrap_or(u8::MAX), block);
        if let Some(owners) = &self.owners {
            let part = (owners.of(series), key.0, block);
            *self.parts.entry(part).or_default() += sign * number(bytes + KEY_BYTES);
        }
        let change = self.changes.entry(key).or_default();
        change[0] += sign;
        change[1] += sign * number(bytes + KEY_BYTES);
        change[2] += sign * number(samples);
    }

    /// Writes the new usage, and answers it for [`State::mirror`].
    pub(crate) fn write(self, txn: &WriteTransaction) -> Result<NewUsage, redb::Error> {
        let mut table = txn.open_table(TALLY)?;
        let mut changed = Vec::with_capacity(self.changes.len());
        for (key, [values, bytes, samples]) in self.changes {
            let before = table
                .get(key)?
                .map(|guard| guard.value())
                .unwrap_or_default();
            let mut usage = TierUsage {
                values: before.0,
                bytes: before.1,
                samples: before.2,
            };
            usage.values = usage.values.saturating_add_signed(values);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
            usage.samples = usage.samples.saturating_add_signed(samples);
            if usage.values == 0 {
                table.remove(key)?;
            } else {
                table.insert(key, (usage.values, usage.bytes, usage.samples))?;
            }
            changed.push((key, usage));
        }
        let parts = write_parts(txn, self.parts)?;
        Ok(NewUsage {
            all: changed,
            parts,
        })
    }
}

/// Damaged values found so far. Shared by the history and its snapshots.
#[derive(Debug, Default)]
pub(crate) struct DamageLog {
    inner: Mutex<Damaged>,
}

#[derive(Debug, Default)]
struct Damaged {
    /// Each value once, so that a chart that is redrawn every second does not fill this.
    fresh: VecDeque<Damage>,
    known: VecDeque<(Option<Tier>, i64, u32)>,
    count: u64,
}

impl DamageLog {
    /// Counts the value once and keeps it for [`DamageLog::take`].
    pub(crate) fn note(&self, damage: Damage) {
        let mut inner = self.inner.lock();
        let key = (damage.tier, damage.block_ms, damage.series.0);
        if inner.known.contains(&key) {
            return;
        }
        if inner.known.len() == DAMAGE_LISTED_MAX {
            inner.known.pop_front();
        }
        inner.known.push_back(key);
        inner.count += 1;
        if inner.fresh.len() < DAMAGE_LISTED_MAX {
            inner.fresh.push_back(damage);
        }
    }

    pub(crate) fn take(&self) -> Vec<Damage> {
        self.inner.lock().fresh.drain(..).collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.inner.lock().count
    }
}

/// Length of a level's blocks.
pub(crate) fn block_ms(level: usize) -> i64 {
    level
        .checked_sub(1)
        .map_or(RAW_BLOCK_MS, |tier| Tier::ALL[tier.min(3)].block_ms())
}

/// The block that a moment lies in, if there is a number for it.
pub(crate) fn block_of(at_ms: i64, block_ms: i64) -> Option<u32> {
    u32::try_from(at_ms.div_euclid(block_ms)).ok()
}
