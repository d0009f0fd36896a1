//! What can still be read of a blocks' file whose structure is damaged goes into the new one.
//!
//! Each table is read from its beginning up to the damage, then from its end down to it. Values
//! are copied as they are: those that are damaged are found by their own checksum later.

use std::{ops::Bound, path::Path};

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::{
    HistoryError, Tier, block, chunk,
    corruption::quietly,
    state::TierUsageChange,
    store::Store,
    tables::{
        BlockKey, META, META_ANEW, META_RAW_FLOOR, PROGRESS, RAW, RawKey, SEEN, SERIES, tier_table,
    },
};

/// Rows of one transaction.
const STEP_ROWS: usize = 2_000;

type Rows<K> = Vec<(K, Vec<u8>)>;

/// Copies what can be read of the file at `from`. Answers how many rows that were; none if it
/// cannot even be opened.
///
/// # Errors
/// Those of writing the new file.
pub(crate) fn repair(from: &Path, cache_bytes: usize, into: &Store) -> Result<u64, HistoryError> {
    let opened = quietly(|| Builder::new().set_cache_size(cache_bytes).open(from));
    let Ok(Ok(old)) = opened else { return Ok(0) };
    // Its blocks may be of an earlier version.
    into.write("save figures", |txn| {
        txn.open_table(META)?.insert(META_ANEW, 0)?;
        Ok(())
    })?;
    let figures = small_tables(&old, into)?;
    let mut count = figures.unwrap_or_default();
    let mut raw_floor = None;
    count += copy(&old, SERIES, |rows: Rows<u32>| {
        into.write("save series", |txn| {
            let mut table = txn.open_table(SERIES)?;
            for (key, value) in rows {
                table.insert(key, value.as_slice())?;
            }
            Ok(())
        })
    })?;
    count += copy(&old, RAW, |rows: Rows<RawKey>| {
        into.write("save chunks", |txn| {
            let (mut table, mut usage) = (txn.open_table(RAW)?, TierUsageChange::default());
            for (key, value) in rows {
                let samples = chunk::peek(0, &value).map_or(0, |header| header.count);
                usage.add((0, key.0, key.1), value.len(), samples);
                raw_floor = Some(raw_floor.map_or(key.0, |floor: u32| floor.min(key.0)));
                table.insert(key, value.as_slice())?;
            }
            usage.write(txn).map(drop)
        })
    })?;
    for tier in Tier::ALL {
        let mut newest = None;
        count += copy(&old, tier_table(tier), |rows: Rows<BlockKey>| {
            into.write("save blocks", |txn| {
                let (mut table, mut usage) = (
                    txn.open_table(tier_table(tier))?,
                    TierUsageChange::default(),
                );
                for (key, value) in rows {
                    let buckets = block::count(&value).unwrap_or_default();
                    usage.add((tier.index() + 1, key.0, key.1), value.len(), buckets);
                    newest = newest.max(Some(key.0));
                    table.insert(key, value.as_slice())?;
                }
                usage.write(txn).map(drop)
            })
        })?;
        if let (None, Some(newest)) = (figures, newest) {
            // Older blocks are not built again: what they were built from may be deleted.
            into.write("save figures", |txn| {
                txn.open_table(PROGRESS)?
                    .insert(tier.index() as u8, (newest, 0))?;
                Ok(())
            })?;
        }
    }
    if let (None, Some(floor)) = (figures, raw_floor) {
        into.write("save figures", |txn| {
            txn.open_table(META)?
                .insert(META_RAW_FLOOR, u64::from(floor))?;
            Ok(())
        })?;
    }
    // A panic here is of a file that is set aside, and that nobody opens again.
    drop(quietly(|| drop(old)));
    Ok(count)
}

/// Progress, floor and days: all, or `None`.
fn small_tables(old: &Database, into: &Store) -> Result<Option<u64>, HistoryError> {
    let read = || -> Result<_, redb::Error> {
        let txn = old.begin_read()?;
        let mut progress = Vec::new();
        for row in txn.open_table(PROGRESS)?.iter()? {
            let (key, value) = row?;
            progress.push((key.value(), value.value()));
        }
        let floor = txn
            .open_table(META)?
            .get(META_RAW_FLOOR)?
            .map(|guard| guard.value());
        let mut seen = Vec::new();
        for row in txn.open_table(SEEN)?.iter()? {
            let (key, value) = row?;
            seen.push((key.value(), value.value()));
        }
        Ok((progress, floor, seen))
    };
    let Ok(Ok((progress, floor, seen))) = quietly(read) else {
        return Ok(None);
    };
    into.write("save figures", |txn| {
        let mut table = txn.open_table(PROGRESS)?;
        for (tier, rolled) in progress {
            table.insert(tier, rolled)?;
        }
        if let Some(floor) = floor {
            txn.open_table(META)?.insert(META_RAW_FLOOR, floor)?;
        }
        let mut table = txn.open_table(SEEN)?;
        for &(series, day) in &seen {
            table.insert(series, day)?;
        }
        Ok(Some(seen.len() as u64))
    })
}

/// Hands out a table's rows in steps, from both ends up to what cannot be read.
fn copy<K>(
    old: &Database,
    table: TableDefinition<'static, K, &'static [u8]>,
    mut put: impl FnMut(Rows<K>) -> Result<(), HistoryError>,
) -> Result<u64, HistoryError>
where
    K: for<'a> redb::Key<SelfType<'a> = K> + Copy + Ord + 'static,
{
    let mut count = 0;
    let (mut low, mut high) = (None::<K>, None::<K>);
    for forward in [true, false] {
        loop {
            let mut rows = Rows::new();
            let whole = quietly(|| -> Result<(), redb::Error> {
                let table = old.begin_read()?.open_table(table)?;
                let from = low.map_or(Bound::Unbounded, Bound::Excluded);
                let to = high.map_or(Bound::Unbounded, Bound::Excluded);
                let mut range = table.range::<K>((from, to))?;
                while rows.len() < STEP_ROWS {
                    let row = if forward {
                        range.next()
                    } else {
                        range.next_back()
                    };
                    let Some((key, value)) = row.transpose()? else {
                        break;
                    };
                    rows.push((key.value(), value.value().to_vec()));
                }
                Ok(())
            });
            let more = matches!(whole, Ok(Ok(()))) && rows.len() == STEP_ROWS;
            if let Some(&(key, _)) = rows.last() {
                if forward {
                    low = Some(key)
                } else {
                    high = Some(key)
                }
                count += rows.len() as u64;
                put(rows)?;
            }
            if !more {
                break;
            }
        }
    }
    Ok(count)
}
