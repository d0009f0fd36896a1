//! Who has how much of the blocks' file: whose each series is, what each tenant has in each block,
//! and what has been given up of it for others.
//!
//! Kept on disk beside the usage of all (`tally_of`, `floor_of`), changed in the same
//! transactions, and mirrored in memory. A file that an earlier version wrote has none, or the
//! wrong ones: their sums are not those of all then, and everything is counted once at the start.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::RwLock;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use crate::{
    Definition, Tier,
    tables::{FLOOR_OF, KEY_BYTES, LEVELS, RAW, TALLY, TALLY_OF, tier_table},
};

/// What each of those who have `bytes` may have of `full`: what those who need less leave is the
/// others', in equal parts. Nobody has more than it where all fit.
#[must_use]
pub fn part_of(full: u64, bytes: impl Iterator<Item = u64>) -> u64 {
    let mut bytes: Vec<u64> = bytes.filter(|bytes| *bytes > 0).collect();
    bytes.sort_unstable();
    let mut left = full;
    let mut sharers = bytes.len() as u64;
    for bytes in bytes {
        let part = left / sharers.max(1);
        if bytes > part {
            return part;
        }
        left -= bytes;
        sharers -= 1;
    }
    full
}

/// Whose each series is. Whose definition is lost is nobody's, who has a part as everybody else.
#[derive(Debug, Default)]
pub(crate) struct Owners(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Each name once.
    names: HashSet<Arc<str>>,
    of: HashMap<u32, Arc<str>>,
    nobody: Arc<str>,
}

impl Owners {
    pub(crate) fn learn(&self, definition: &Definition) {
        let mut known = self.0.write();
        let name = match known.names.get(&*definition.tenant) {
            Some(name) => Arc::clone(name),
            None => {
                let name: Arc<str> = Arc::from(&*definition.tenant);
                known.names.insert(Arc::clone(&name));
                name
            }
        };
        known.of.insert(definition.id.0, name);
    }

    pub(crate) fn forget(&self, series: impl Iterator<Item = u32>) {
        let mut known = self.0.write();
        for id in series {
            known.of.remove(&id);
        }
        // Those that nobody else has.
        known.names.retain(|name| Arc::strong_count(name) > 1);
    }

    pub(crate) fn of(&self, series: u32) -> Arc<str> {
        let known = self.0.read();
        Arc::clone(known.of.get(&series).unwrap_or(&known.nobody))
    }

    pub(crate) fn is_of(&self, series: u32, tenant: &str) -> bool {
        let known = self.0.read();
        **known.of.get(&series).unwrap_or(&known.nobody) == *tenant
    }
}

/// What one tenant has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) bytes: u64,
    /// Bytes by level and block.
    blocks: BTreeMap<(u8, u32), u64>,
}

impl Part {
    /// The oldest block of a level.
    pub(crate) fn oldest(&self, level: usize) -> Option<u32> {
        let level = u8::try_from(level).ok()?;
        let mut blocks = self.blocks.range((level, 0)..=(level, u32::MAX));
        blocks.next().map(|(&(_, block), _)| block)
    }
}

#[cfg(test)]
impl Part {
    /// Level, block and bytes of each.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (usize, u32, u64)> {
        let blocks = self.blocks.iter();
        blocks.map(|(&(level, block), &bytes)| (usize::from(level), block, bytes))
    }
}

/// By tenant and level: blocks below have been given up, so that others have their part.
pub(crate) type Floors = HashMap<Arc<str>, [u32; LEVELS]>;

/// Bytes as they are after a transaction, by tenant, level and block.
pub(crate) type NewParts = Vec<((Arc<str>, u8, u32), u64)>;

/// The mirror.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) of: HashMap<Arc<str>, Part>,
    /// Shared with snapshots.
    pub(crate) floors: Arc<Floors>,
}

impl Parts {
    pub(crate) fn load(txn: &ReadTransaction) -> Result<Self, redb::Error> {
        let mut parts = Self::default();
        for row in txn.open_table(TALLY_OF)?.iter()? {
            let (key, bytes) = row?;
            let (tenant, level, block) = key.value();
            parts.set(&Arc::from(tenant), level, block, bytes.value());
        }
        let mut floors = Floors::default();
        for row in txn.open_table(FLOOR_OF)?.iter()? {
            let (key, block) = row?;
            let (tenant, level) = key.value();
            // Of whom nothing is left there is nothing to be told.
            let Some((tenant, _)) = parts.of.get_key_value(tenant) else {
                continue;
            };
            let floors = floors.entry(Arc::clone(tenant)).or_default();
            if let Some(floor) = floors.get_mut(usize::from(level)) {
                *floor = block.value();
            }
        }
        parts.floors = Arc::new(floors);
        Ok(parts)
    }

    pub(crate) fn mirror(&mut self, changed: NewParts) {
        for ((tenant, level, block), bytes) in changed {
            self.set(&tenant, level, block, bytes);
        }
    }

    fn set(&mut self, tenant: &Arc<str>, level: u8, block: u32, bytes: u64) {
        let part = self.of.entry(Arc::clone(tenant)).or_default();
        let before = match bytes {
            0 => part.blocks.remove(&(level, block)),
            _ => part.blocks.insert((level, block), bytes),
        };
        part.bytes = part.bytes - before.unwrap_or_default() + bytes;
        if part.blocks.is_empty() {
            self.of.remove(tenant);
        }
    }

    /// A figure without anything behind it, which only damage can leave.
    pub(crate) fn forget(&mut self, tenant: &Arc<str>, level: usize, block: u32) {
        self.set(tenant, u8::try_from(level).unwrap_or(u8::MAX), block, 0);
    }

    /// Of a tenant all below `block` has been given up.
    pub(crate) fn raise_floor(&mut self, tenant: &Arc<str>, level: usize, block: u32) {
        let known = self.floors.get(tenant).and_then(|floors| floors.get(level));
        if known.is_some_and(|floor| *floor >= block) {
            return;
        }
        let floors = Arc::make_mut(&mut self.floors);
        let floors = floors.entry(Arc::clone(tenant)).or_default();
        if let Some(floor) = floors.get_mut(level) {
            *floor = block;
        }
    }

    /// Those who have more than their part of `full`, most first.
    pub(crate) fn over(&self, full: u64) -> Vec<(&Arc<str>, &Part)> {
        let part = part_of(full, self.of.values().map(|part| part.bytes));
        let over = self.of.iter().filter(|(_, has)| has.bytes > part);
        let mut over: Vec<_> = over.collect();
        over.sort_unstable_by(|a, b| (b.1.bytes, a.0).cmp(&(a.1.bytes, b.0)));
        over
    }
}

/// Writes what tenants have more or less.
pub(crate) fn write_parts(
    txn: &WriteTransaction,
    changes: BTreeMap<(Arc<str>, u8, u32), i64>,
) -> Result<NewParts, redb::Error> {
    let mut table = txn.open_table(TALLY_OF)?;
    let mut changed = Vec::with_capacity(changes.len());
    for (key, change) in changes {
        let row = (&*key.0, key.1, key.2);
        let before = table.get(row)?.map_or(0, |guard| guard.value());
        let bytes = before.saturating_add_signed(change);
        if bytes == 0 {
            table.remove(row)?;
        } else {
            table.insert(row, bytes)?;
        }
        changed.push((key, bytes));
    }
    Ok(changed)
}

/// Whether what tenants have is what there is in all.
pub(crate) fn add_up(txn: &ReadTransaction) -> Result<bool, redb::Error> {
    let tally_of = match txn.open_table(TALLY_OF) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut sums = BTreeMap::<(u8, u32), u64>::new();
    for row in tally_of.iter()? {
        let (key, bytes) = row?;
        let (_, level, block) = key.value();
        *sums.entry((level, block)).or_default() += bytes.value();
    }
    for row in txn.open_table(TALLY)?.iter()? {
        let (key, usage) = row?;
        if sums.remove(&key.value()) != Some(usage.value().1) {
            return Ok(false);
        }
    }
    Ok(sums.is_empty())
}

/// Counts everything, at some 100 000 values a second and more; and what all have with it.
pub(crate) fn recount(txn: &WriteTransaction, owners: &Owners) -> Result<(), redb::Error> {
    let mut found = BTreeMap::<(Arc<str>, u8, u32), u64>::new();
    let mut all = BTreeMap::<(u8, u32), (u64, u64)>::new();
    let mut note = |level: u8, block: u32, series: u32, length: usize| {
        let bytes = (length + KEY_BYTES) as u64;
        *found.entry((owners.of(series), level, block)).or_default() += bytes;
        let all = all.entry((level, block)).or_default();
        *all = (all.0 + 1, all.1 + bytes);
    };
    for row in txn.open_table(RAW)?.iter()? {
        let (key, value) = row?;
        let (hour, series, _) = key.value();
        note(0, hour, series, value.value().len());
    }
    for tier in Tier::ALL {
        for row in txn.open_table(tier_table(tier))?.iter()? {
            let (key, value) = row?;
            let (block, series) = key.value();
            let level = u8::try_from(tier.index() + 1).unwrap_or(u8::MAX);
            note(level, block, series, value.value().len());
        }
    }
    txn.open_table(FLOOR_OF)?;
    let mut table = txn.open_table(TALLY_OF)?;
    table.retain(|_, _| false)?;
    for ((tenant, level, block), bytes) in found {
        table.insert((&*tenant, level, block), bytes)?;
    }
    let mut table = txn.open_table(TALLY)?;
    table.retain(|key, _| all.contains_key(&key))?;
    for (key, (values, bytes)) in all {
        let samples = table.get(key)?.map_or(0, |guard| guard.value().2);
        table.insert(key, (values, bytes, samples))?;
    }
    Ok(())
}
