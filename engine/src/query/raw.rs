//! Samples as they came, series by series, and the keys of series: what expressions are evaluated
//! over and what clients of Prometheus look for. Expressions get rollups where samples are gone.

use std::{collections::BTreeMap, ops::Range};

use pulseboard_history::{Bucket, Definition, SeriesId, Tier, sort_last_wins};
use pulseboard_series::KeyRef;

use super::{
    error::QueryError,
    ordered::each_in_order,
    plan::Past,
    reader::{Fold, Reader},
    request::TIME_MAX_MS,
    target::Target,
};
use crate::{cost::Cost, engine::Engine, selector::Selector, tenant::Tenant, window::Sample};

/// Series that memory no longer has and one question may read; their definitions are there all at
/// once.
const PAST_SERIES_MAX: usize = 100_000;

/// Hands the samples of `from_ms..to_ms` of every series that the selector names to `each`, oldest
/// first, no time twice, stale markers among them; series in the order of their keys, those that
/// memory no longer has behind the others. A series without samples there is left out. Memory: the
/// samples of one series, which `cost` is asked for. Blocks for the disk.
///
/// # Errors
/// See [`QueryError`]: too many series that memory no longer has, or the cost; and those of `each`.
pub fn raw<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (from_ms, to_ms): (i64, i64),
    cost: &Cost,
    each: &mut impl FnMut(KeyRef<'_>, &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::open(engine, tenant, cost)?;
    reader.read_raw_of(from_ms.max(0), to_ms.min(TIME_MAX_MS));
    let mut each = |key: KeyRef<'_>, _: &[(Tier, Bucket)], samples: &[Sample]| each(key, samples);
    read_all(reader, tenant, selector, (from_ms, to_ms), &mut each)
}

/// As [`raw`], and before its samples the finest rollups that there are of the time of which samples
/// were given up: see [`rolled`].
///
/// # Errors
/// As [`raw`].
pub fn finest<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (from_ms, to_ms): (i64, i64),
    cost: &Cost,
    each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::open(engine, tenant, cost)?;
    reader.read_finest_of(from_ms.max(0), to_ms.min(TIME_MAX_MS));
    read_all(reader, tenant, selector, (from_ms, to_ms), each)
}

/// Where in `from_ms..to_ms` samples of a tenant were given up and there are rollups, and which are the
/// finest; oldest first. Cheap where there is no such stretch.
///
/// # Errors
/// The history cannot be read.
pub fn rolled(
    engine: &Engine,
    tenant: &Tenant,
    (from_ms, to_ms): (i64, i64),
) -> Result<Vec<(Range<i64>, Tier)>, QueryError> {
    let (from_ms, to_ms) = (from_ms.max(0), to_ms.min(TIME_MAX_MS));
    let floor_ms = engine
        .history
        .as_ref()
        .map(|history| history.raw_floor_ms(&tenant.name));
    if floor_ms.is_none_or(|floor_ms| from_ms >= floor_ms) || from_ms >= to_ms {
        return Ok(Vec::new());
    }
    let Some(snapshot) = engine.snapshot()? else {
        return Ok(Vec::new());
    };
    let pieces = Past::of(&snapshot, &tenant.name).finest(from_ms, to_ms);
    let rolled = pieces.into_iter();
    Ok(rolled
        .filter_map(|piece| Some((piece.from_ms..piece.to_ms, piece.tier?)))
        .collect())
}

/// Hands what the reader is to read of every series that the selector names to `each`.
fn read_all<E: From<QueryError>>(
    mut reader: Reader<'_>,
    tenant: &Tenant,
    selector: &Selector,
    (from_ms, to_ms): (i64, i64),
    each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let (from_ms, to_ms) = (from_ms.max(0), to_ms.min(TIME_MAX_MS));
    if from_ms >= to_ms {
        return Ok(());
    }
    let (engine, cost) = (reader.engine, reader.cost);
    let mut past: BTreeMap<Box<[u8]>, Vec<SeriesId>> = BTreeMap::new();
    for definition in find_past(engine, tenant, selector, from_ms, cost)? {
        past.entry(definition.key).or_default().push(definition.id);
    }
    let mut series = Series {
        cost,
        samples: Vec::new(),
        buckets: Vec::new(),
    };
    each_in_order(engine, tenant, selector, to_ms, cost, &mut |text, found| {
        let target = Target {
            text: text.to_owned(),
            past: past.remove(&found.key).unwrap_or_default(),
            key: found.key.clone(),
            unit: found.unit.clone(),
            found: Some(found),
        };
        series.read(&mut reader, &target, each)
    })?;
    for (key, ids) in past {
        let target = Target {
            text: String::new(),
            found: None,
            past: ids,
            key,
            unit: engine.unit(""),
        };
        series.read(&mut reader, &target, each)?;
    }
    Ok(())
}

/// The samples of one series on their way.
struct Series<'a> {
    cost: &'a Cost,
    samples: Vec<Sample>,
    buckets: Vec<(Tier, Bucket)>,
}

impl Series<'_> {
    fn read<E: From<QueryError>>(
        &mut self,
        reader: &mut Reader<'_>,
        target: &Target,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.cost.check().map_err(QueryError::from)?;
        let read = reader.read(target, self);
        let held_bytes = size_of_val(&*self.samples) + size_of_val(&*self.buckets);
        // Where a series has two numbers, what has more of it holds.
        self.buckets.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0 && next.1.start_ms == kept.1.start_ms;
            if is_same && next.1.count > kept.1.count {
                *kept = *next;
            }
            is_same
        });
        // Of two values for one time the one that is read later wins: it is the one in memory.
        sort_last_wins(&mut self.samples);
        let is_empty = self.samples.is_empty() && self.buckets.is_empty();
        let taken = match (read, is_empty) {
            (Ok(()), true) => Ok(()),
            (Ok(()), false) => each(KeyRef::new(&target.key), &self.buckets, &self.samples),
            (Err(error), _) => Err(error.into()),
        };
        self.samples.clear();
        self.buckets.clear();
        self.cost.let_go(held_bytes);
        taken
    }
}

impl Fold for Series<'_> {
    fn samples(&mut self, samples: &[Sample]) -> Result<(), QueryError> {
        self.cost.hold(size_of_val(samples))?;
        self.samples.extend_from_slice(samples);
        Ok(())
    }

    fn buckets(&mut self, tier: Tier, buckets: &[Bucket]) -> Result<(), QueryError> {
        self.cost
            .hold(buckets.len() * size_of::<(Tier, Bucket)>())?;
        self.buckets
            .extend(buckets.iter().map(|bucket| (tier, *bucket)));
        Ok(())
    }
}

/// Hands the key and unit of every series that the selector names to `each`, those of memory and
/// those that have anything sealed on the day of `since_ms` or later; a key may come twice.
///
/// # Errors
/// As [`raw`].
pub fn keys<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (since_ms, now_ms): (i64, i64),
    cost: &Cost,
    each: &mut (impl FnMut(KeyRef<'_>, &str) -> Result<(), E> + ?Sized),
) -> Result<(), E> {
    each_in_order(
        engine,
        tenant,
        selector,
        now_ms,
        cost,
        &mut |_, found| match found.last.is_none_or(|(at_ms, _)| at_ms >= since_ms) {
            true => each(found.key(), &found.unit),
            false => Ok(()),
        },
    )?;
    for definition in find_past(engine, tenant, selector, since_ms, cost)? {
        each(KeyRef::new(&definition.key), &definition.unit)?;
    }
    Ok(())
}

/// Series that memory no longer has, their memory asked for.
pub(crate) fn find_past(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    since_ms: i64,
    cost: &Cost,
) -> Result<Vec<Definition>, QueryError> {
    let found = engine.find_past(tenant, selector, since_ms, PAST_SERIES_MAX, cost)?;
    if found.len() > PAST_SERIES_MAX {
        return Err(QueryError::Series {
            series: found.len() as u64,
            series_max: PAST_SERIES_MAX,
            is_grouped: true,
        });
    }
    for definition in &found {
        cost.hold(definition.key.len() + size_of::<Definition>())?;
    }
    Ok(found)
}
