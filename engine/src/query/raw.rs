//! Samples as they came, series by series: what expressions are evaluated over.

use std::{collections::BTreeMap, ops::Range, time::Instant};

use pulseboard_history::{SeriesId, Snapshot};
use pulseboard_series::KeyRef;

use super::{
    error::QueryError,
    plan::Past,
    range::{SNAPSHOT_LASTS, TIME_MAX_MS},
};
use crate::{
    cost::Cost,
    engine::{Engine, Found},
    selector::{NameFilter, Selector},
    tenant::Tenant,
    window::Sample,
};

/// Series that are looked up at once.
const PAGE_SERIES: usize = 512;

/// Hands the samples of `from_ms..to_ms` of every series that the selector names to `each`, oldest
/// first, stale markers among them; series in the order of their keys, those that memory no longer
/// has behind the others. A series without samples there is left out. Blocks for the disk.
///
/// # Errors
/// See [`QueryError`]: more than `series_max` series, or the cost; and those of `each`.
#[expect(
    clippy::type_complexity,
    reason = "what takes a series is said where it is taken"
)]
pub fn raw<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (from_ms, to_ms): (i64, i64),
    series_max: usize,
    cost: &Cost,
    each: &mut dyn FnMut(KeyRef<'_>, &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let (from_ms, to_ms) = (from_ms.max(0), to_ms.min(TIME_MAX_MS));
    if from_ms >= to_ms {
        return Ok(());
    }
    // Before memory is looked at: what is sealed meanwhile is in memory still.
    let mut reader = Reader::open(engine, tenant, cost)?;
    let mut past: BTreeMap<Box<[u8]>, Vec<SeriesId>> = BTreeMap::new();
    for definition in engine.find_past(tenant, selector, from_ms, series_max, cost)? {
        cost.hold(definition.key.len() + size_of::<(Box<[u8]>, Vec<SeriesId>)>())
            .map_err(QueryError::from)?;
        past.entry(definition.key).or_default().push(definition.id);
    }
    let mut count = 0;
    let mut after: Option<String> = None;
    loop {
        let all = (|_: &str| NameFilter::All, |_: KeyRef<'_>| true);
        let from = (after.as_deref(), PAGE_SERIES);
        let page = engine
            .page(tenant, selector, all, from, to_ms, cost)
            .map_err(QueryError::from)?;
        let Some((last, _)) = page.found.last() else {
            break;
        };
        after = Some(last.clone());
        count += page.found.len();
        if count > series_max {
            return Err(refused(page.matched, series_max).into());
        }
        for (_, found) in &page.found {
            let before = past.remove(&found.key).unwrap_or_default();
            let samples = reader.read(Some(found), &before, (from_ms, to_ms))?;
            if !samples.is_empty() {
                each(found.key(), samples)?;
            }
        }
        // What the page held is let go with it.
        let bytes: usize = page
            .found
            .iter()
            .map(|(text, found)| crate::engine::page_bytes(text, found))
            .sum();
        cost.let_go(bytes);
        if page.found.len() < PAGE_SERIES && !page.is_cut {
            break;
        }
    }
    if count + past.len() > series_max {
        return Err(refused((count + past.len()) as u64, series_max).into());
    }
    for (key, ids) in past {
        let samples = reader.read(None, &ids, (from_ms, to_ms))?;
        if !samples.is_empty() {
            each(KeyRef::new(&key), samples)?;
        }
    }
    Ok(())
}

fn refused(series: u64, series_max: usize) -> QueryError {
    QueryError::Series {
        series,
        series_max,
        is_grouped: true,
    }
}

/// Reads one series after the other.
struct Reader<'a> {
    engine: &'a Engine,
    cost: &'a Cost,
    snapshot: Option<Snapshot>,
    taken: Instant,
    /// Where raw samples are sealed.
    sealed: Option<Range<i64>>,
    samples: Vec<Sample>,
}

impl<'a> Reader<'a> {
    fn open(engine: &'a Engine, tenant: &Tenant, cost: &'a Cost) -> Result<Self, QueryError> {
        let snapshot = engine.snapshot()?;
        let sealed = snapshot
            .as_ref()
            .and_then(|snapshot| Past::of(snapshot, &tenant.name).raw);
        Ok(Self {
            engine,
            cost,
            snapshot,
            taken: Instant::now(),
            sealed,
            samples: Vec::new(),
        })
    }

    fn read(
        &mut self,
        found: Option<&Found>,
        past: &[SeriesId],
        (from_ms, to_ms): (i64, i64),
    ) -> Result<&[Sample], QueryError> {
        self.cost.check()?;
        self.samples.clear();
        if self.snapshot.is_some() && self.taken.elapsed() >= SNAPSHOT_LASTS {
            // The old one first, so that its pages are free.
            self.snapshot = None;
            self.snapshot = self.engine.snapshot()?;
            self.taken = Instant::now();
        }
        // However long the range is, nothing is looked for where nothing can be.
        let held = found.and_then(|found| self.engine.held(found));
        let there = match (self.sealed.clone(), held) {
            (Some(one), Some(other)) => one.start.min(other.start)..one.end.max(other.end),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        let (from_ms, to_ms) = (from_ms.max(there.start), to_ms.min(there.end));
        if from_ms >= to_ms {
            return Ok(&self.samples);
        }
        for id in past {
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.read_raw(*id, from_ms, to_ms, &mut self.samples)?;
            }
        }
        if let Some(found) = found {
            let snapshot = self.snapshot.as_mut();
            self.engine
                .read(found, snapshot, from_ms, to_ms, &mut self.samples)?;
        }
        if !self.samples.is_sorted_by_key(|sample| sample.0) {
            self.samples.sort_by_key(|sample| sample.0);
        }
        self.samples.dedup_by_key(|sample| sample.0);
        if !self.cost.take_samples(self.samples.len()) {
            return Err(QueryError::Samples {
                samples_max: self.cost.samples_max(),
            });
        }
        Ok(&self.samples)
    }
}

/// Hands the key and unit of every series that the selector names to `each`, those of memory and
/// those that have anything sealed on the day of `since_ms` or later; a key may come twice.
///
/// # Errors
/// The cost, the history, and those of `each`.
pub fn keys<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (since_ms, now_ms): (i64, i64),
    cost: &Cost,
    each: &mut dyn FnMut(KeyRef<'_>, &str) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<String> = None;
    loop {
        let all = (|_: &str| NameFilter::All, |_: KeyRef<'_>| true);
        let from = (after.as_deref(), PAGE_SERIES);
        let page = engine
            .page(tenant, selector, all, from, now_ms, cost)
            .map_err(QueryError::from)?;
        let Some((last, _)) = page.found.last() else {
            break;
        };
        after = Some(last.clone());
        let mut bytes = 0;
        for (text, found) in &page.found {
            bytes += crate::engine::page_bytes(text, found);
            if found.last.is_none_or(|(at_ms, _)| at_ms >= since_ms) {
                each(found.key(), &found.unit)?;
            }
        }
        cost.let_go(bytes);
        if page.found.len() < PAGE_SERIES && !page.is_cut {
            break;
        }
    }
    for definition in engine.find_past(tenant, selector, since_ms, usize::MAX / 4, cost)? {
        each(KeyRef::new(&definition.key), &definition.unit)?;
    }
    Ok(())
}
