//! Samples as they came, series by series, and the keys of series: what expressions are evaluated
//! over and what clients of Prometheus look for. Expressions get rollups where samples are gone.
//!
//! Each series is read from memory alone where memory has all of the stretch; only where that is
//! not so for some is a view of the history opened.

use std::{collections::BTreeMap, ops::Range};

use pulseboard_history::{Bucket, Definition, SeriesId, Tier, sort_last_wins};
use pulseboard_series::{KeyRef, Kind};

use super::{
    error::QueryError,
    held::{Held, HeldReader},
    kept::KeptSelector,
    ordered::{each_by_place, each_in_order},
    plan::Past,
    reader::{Counting, Fold, Reader, take},
    reading::{Order, Reading, Wanted},
    request::TIME_MAX_MS,
    target::Target,
};
use crate::{
    cost::Cost, engine::Engine, find::Found, selector::Selector, slot::SlotRef, table::Entry,
    tenant::Tenant, window::Sample,
};

/// Samples of one piece of a series.
const PIECE_SAMPLES: usize = 65_536;

/// Series that memory no longer has and one question may read; their definitions are there all at
/// once.
const PAST_SERIES_MAX: usize = 100_000;

/// In memory some samples are about as dear as looking at one series.
const SAMPLES_A_STEP: usize = 64;

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
    (cost, counting): (&Cost, Counting),
    each: &mut impl FnMut(KeyRef<'_>, &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let mut each = |key: KeyRef<'_>, _: &[(Tier, Bucket)], samples: &[Sample]| each(key, samples);
    let reading = Reading {
        cost,
        counting,
        order: Order::Key,
        wanted: Wanted::All,
    };
    let walk = Walk::new((engine, tenant), (from_ms, to_ms), reading);
    walk.read_all(Selected::Once(selector), &mut each)
}

/// As [`raw`], but a series of many samples comes in several pieces, one after the other: memory is
/// that of one of them, and of what is read at once. For answers that are sent while they are made.
///
/// # Errors
/// As [`raw`].
pub fn raw_in_pieces<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (from_ms, to_ms): (i64, i64),
    cost: &Cost,
    each: &mut impl FnMut(KeyRef<'_>, &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let mut each = |key: KeyRef<'_>, _: &[(Tier, Bucket)], samples: &[Sample]| each(key, samples);
    let reading = Reading {
        cost,
        counting: Counting::Read,
        order: Order::Key,
        wanted: Wanted::All,
    };
    let mut walk = Walk::new((engine, tenant), (from_ms, to_ms), reading);
    walk.series.most = PIECE_SAMPLES;
    walk.read_all(Selected::Once(selector), &mut each)
}

/// As [`raw`], and before its samples the finest rollups that there are of the time of which
/// samples were given up: see [`rolled`]. Series come in the order that is asked for, those that
/// memory no longer has behind the others.
///
/// # Errors
/// As [`raw`].
pub fn finest<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selected: Selected<'_>,
    stretch: (i64, i64),
    reading: Reading<'_>,
    each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = Walk::new((engine, tenant), stretch, reading);
    walk.is_finest = true;
    walk.read_all(selected, each)
}

/// From this moment on all of a tenant's samples that were taken are there, Unix milliseconds: in
/// the history, or, where there is none, in memory.
#[must_use]
pub fn raw_since(engine: &Engine, tenant: &Tenant, now_ms: i64) -> i64 {
    match &engine.history {
        Some(history) => history.raw_floor_ms(&tenant.name),
        None => now_ms.saturating_sub(engine.window_ms()),
    }
}

/// Where in `from_ms..to_ms` samples of a tenant were given up and there are rollups, and which are
/// the finest; oldest first. Cheap where there is no such stretch.
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

/// Which series are read.
#[derive(Clone, Copy, Debug)]
pub enum Selected<'a> {
    /// Those of a question.
    Once(&'a Selector),
    /// Those that somebody asks for again and again.
    Kept(&'a KeptSelector),
}

/// All series of a selector, one after the other.
struct Walk<'a> {
    engine: &'a Engine,
    tenant: &'a Tenant,
    from_ms: i64,
    to_ms: i64,
    reading: Reading<'a>,
    /// Whether rollups are read where samples were given up.
    is_finest: bool,
    /// Whether memory alone may have all of the stretch.
    can_be_held: bool,
    held: HeldReader,
    /// Opened when something is not in memory.
    reader: Option<Reader<'a>>,
    /// Numbers of series that memory does not know them by.
    past: BTreeMap<Box<[u8]>, Vec<SeriesId>>,
    series: Series<'a>,
}

impl<'a> Walk<'a> {
    fn new(
        (engine, tenant): (&'a Engine, &'a Tenant),
        (from_ms, to_ms): (i64, i64),
        reading: Reading<'a>,
    ) -> Self {
        Self {
            engine,
            tenant,
            from_ms: from_ms.max(0),
            to_ms: to_ms.min(TIME_MAX_MS),
            reading,
            is_finest: false,
            can_be_held: true,
            held: HeldReader::default(),
            reader: None,
            past: BTreeMap::new(),
            series: Series {
                cost: reading.cost,
                most: usize::MAX,
                samples: Vec::new(),
                buckets: Vec::new(),
            },
        }
    }

    /// Hands every series that is selected to `each`.
    fn read_all<E: From<QueryError>>(
        mut self,
        selected: Selected<'_>,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.from_ms >= self.to_ms {
            return Ok(());
        }
        let (engine, tenant) = (self.engine, self.tenant);
        let Reading { cost, order, .. } = self.reading;
        cost.check().map_err(QueryError::from)?;
        let floor_ms = engine.history.as_ref().filter(|_| self.is_finest);
        let floor_ms = floor_ms.map(|history| history.raw_floor_ms(&tenant.name));
        self.can_be_held = self.series.most == usize::MAX
            && floor_ms.is_none_or(|floor_ms| floor_ms <= self.from_ms);
        let selector = match selected {
            Selected::Once(selector) => selector,
            Selected::Kept(kept) => &kept.selector,
        };
        if engine.may_have_left_since(self.from_ms) {
            for definition in find_past(engine, tenant, selector, self.from_ms, cost)? {
                let ids = self.past.entry(definition.key).or_default();
                ids.push(definition.id);
            }
        }
        let kept = match selected {
            Selected::Once(_) => None,
            Selected::Kept(kept) => kept.places(engine, tenant, order, cost)?,
        };
        match (kept, order) {
            (Some(places), _) => {
                for place in &*places {
                    cost.step(1).map_err(QueryError::from)?;
                    self.one(*place, each)?;
                }
            }
            (None, Order::Key) => each_in_order(engine, tenant, selector, cost, &mut |place| {
                self.one(place, each)
            })?,
            (None, Order::Any) => each_by_place(engine, tenant, selector, cost, &mut |place| {
                self.one(place, each)
            })?,
        }
        for (key, ids) in std::mem::take(&mut self.past) {
            let target = Target {
                text: String::new(),
                found: None,
                past: ids,
                key,
                unit: engine.unit(""),
            };
            self.read(&target, each)?;
        }
        Ok(())
    }

    /// A series that memory had a moment ago.
    fn one<E: From<QueryError>>(
        &mut self,
        place: SlotRef,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.can_be_held {
            let (stretch, wanted) = ((self.from_ms, self.to_ms), self.reading.wanted);
            match self.held.read(self.engine, place, stretch, wanted) {
                Held::Gone => return Ok(()),
                Held::All if !self.past.contains_key(&*self.held.key) => return self.hand(each),
                Held::All | Held::Part => {}
            }
        }
        let found = |entry: &mut Entry| Found::of(entry, place, self.to_ms);
        let Some(found) = self.engine.table.with(place, found) else {
            return Ok(());
        };
        let target = Target {
            text: String::new(),
            past: self.past.remove(&found.key).unwrap_or_default(),
            key: found.key.clone(),
            unit: found.unit.clone(),
            found: Some(found),
        };
        self.read(&target, each)
    }

    /// Hands on what memory has of a series.
    fn hand<E: From<QueryError>>(
        &mut self,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        let samples = &*self.held.samples;
        if samples.is_empty() {
            return Ok(());
        }
        let Reading { cost, counting, .. } = self.reading;
        take(samples.len(), counting, cost)?;
        let work = samples.len() / SAMPLES_A_STEP;
        if work > 0 {
            let work = u32::try_from(work).unwrap_or(u32::MAX);
            cost.step(work).map_err(QueryError::from)?;
        }
        cost.hold(size_of_val(samples)).map_err(QueryError::from)?;
        let taken = each(KeyRef::new(&self.held.key), &[], samples);
        cost.let_go(size_of_val(samples));
        taken
    }

    /// Reads a series from wherever it is.
    fn read<E: From<QueryError>>(
        &mut self,
        target: &Target,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let mut reader = Reader::open(self.engine, self.tenant, self.reading.cost)?;
                reader.counting = self.reading.counting;
                match self.is_finest {
                    true => reader.read_finest_of(self.from_ms, self.to_ms),
                    false => reader.read_raw_of(self.from_ms, self.to_ms),
                }
                none.insert(reader)
            }
        };
        self.series.read(reader, target, each)
    }
}

/// The samples of one series on their way.
struct Series<'a> {
    cost: &'a Cost,
    /// With so many samples it is handed on.
    most: usize,
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
        let key = KeyRef::new(&target.key);
        let mut handing = Handing {
            series: self,
            key,
            each: &mut *each,
            failed: None,
        };
        let read = reader.read(target, &mut handing);
        let failed = handing.failed;
        match read {
            Ok(()) => self.hand(key, each),
            Err(error) => {
                self.let_go();
                Err(failed.unwrap_or_else(|| error.into()))
            }
        }
    }

    /// Hands on what there is.
    fn hand<E: From<QueryError>>(
        &mut self,
        key: KeyRef<'_>,
        each: &mut impl FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
    ) -> Result<(), E> {
        let held_bytes = self.held_bytes();
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
        let taken = match is_empty {
            true => Ok(()),
            false => each(key, &self.buckets, &self.samples),
        };
        self.forget(held_bytes);
        taken
    }

    fn let_go(&mut self) {
        let held_bytes = self.held_bytes();
        self.forget(held_bytes);
    }

    fn held_bytes(&self) -> usize {
        size_of_val(&*self.samples) + size_of_val(&*self.buckets)
    }

    fn forget(&mut self, held_bytes: usize) {
        self.samples.clear();
        self.buckets.clear();
        self.cost.let_go(held_bytes);
    }
}

/// A series on its way to whoever takes it. What is read at once is all that there is of a stretch
/// of time, and stretches come one after the other.
struct Handing<'s, 'a, E, F> {
    series: &'s mut Series<'a>,
    key: KeyRef<'s>,
    each: &'s mut F,
    /// Why `each` takes no more.
    failed: Option<E>,
}

impl<E, F> Fold for Handing<'_, '_, E, F>
where
    E: From<QueryError>,
    F: FnMut(KeyRef<'_>, &[(Tier, Bucket)], &[Sample]) -> Result<(), E>,
{
    fn samples(&mut self, samples: &[Sample]) -> Result<(), QueryError> {
        let mut rest = samples;
        loop {
            let room = self.series.most.saturating_sub(self.series.samples.len());
            // Two of one time stay together, the later one last.
            let mut count = rest.len().min(room);
            while count > 0 && count < rest.len() && rest[count].0 == rest[count - 1].0 {
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            self.series.cost.hold(size_of_val(now))?;
            self.series.samples.extend_from_slice(now);
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.series.hand(self.key, self.each) {
                self.failed = Some(error);
                return Err(QueryError::Cancelled);
            }
        }
    }

    fn buckets(&mut self, tier: Tier, buckets: &[Bucket]) -> Result<(), QueryError> {
        self.series
            .cost
            .hold(buckets.len() * size_of::<(Tier, Bucket)>())?;
        self.series
            .buckets
            .extend(buckets.iter().map(|bucket| (tier, *bucket)));
        Ok(())
    }
}

/// Hands the key, kind and unit of every series that the selector names to `each`, those of memory
/// and those that have anything sealed since `since_ms`; a key may come twice. Where samples were
/// given up, and past ten thousand series whose newest ones are of that day, some that ended
/// earlier on it are there.
///
/// # Errors
/// As [`raw`].
pub fn keys<E: From<QueryError>>(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    (since_ms, now_ms): (i64, i64),
    cost: &Cost,
    each: &mut (impl FnMut(KeyRef<'_>, Kind, &str) -> Result<(), E> + ?Sized),
) -> Result<(), E> {
    each_in_order(engine, tenant, selector, cost, &mut |place| {
        let found = |entry: &mut Entry| Found::of(entry, place, now_ms);
        let Some(found) = engine.table.with(place, found) else {
            return Ok(());
        };
        match found.last.is_none_or(|(at_ms, _)| at_ms >= since_ms) {
            true => each(found.key(), found.kind, &found.unit),
            false => Ok(()),
        }
    })?;
    for definition in alive_since(engine, tenant, selector, since_ms, cost)? {
        let kind = Kind::from_u8(definition.kind);
        each(KeyRef::new(&definition.key), kind, &definition.unit)?;
    }
    Ok(())
}

/// Series that memory no longer has and whose newest samples are of one day, of which samples are
/// looked for; more of them are taken for what their day says.
const LOOKED_INTO_MAX: usize = 10_000;

const DAY_MS: i64 = 86_400_000;
/// How dear it is to look for samples of a day, in series that are merely looked at.
const DAY_WORK: u32 = 64;

/// Series that memory no longer has and that have samples since then.
fn alive_since(
    engine: &Engine,
    tenant: &Tenant,
    selector: &Selector,
    since_ms: i64,
    cost: &Cost,
) -> Result<Vec<Definition>, QueryError> {
    let found = find_past(engine, tenant, selector, since_ms, cost)?;
    let day_ends_ms = (since_ms.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS);
    let are_samples_there = engine
        .history
        .as_ref()
        .is_some_and(|history| history.raw_floor_ms(&tenant.name) <= since_ms);
    if found.is_empty() || since_ms <= 0 || since_ms % DAY_MS == 0 || !are_samples_there {
        return Ok(found);
    }
    // Those of a later day are told by it; the newest samples of the others are of this day.
    let later = find_past(engine, tenant, selector, day_ends_ms, cost)?;
    cost.let_go(later.iter().map(held_bytes).sum());
    let mut later: Vec<SeriesId> = later.iter().map(|definition| definition.id).collect();
    later.sort_unstable();
    let Some(mut snapshot) = engine.snapshot()? else {
        return Ok(found);
    };
    let (mut looked_into, mut samples) = (0, Vec::new());
    let mut kept = Vec::with_capacity(found.len());
    for definition in found {
        let is_later = later.binary_search(&definition.id).is_ok();
        if is_later || looked_into == LOOKED_INTO_MAX {
            kept.push(definition);
            continue;
        }
        looked_into += 1;
        cost.step(DAY_WORK)?;
        samples.clear();
        snapshot.read_raw(definition.id, since_ms, day_ends_ms, &mut samples)?;
        if !samples.is_empty() {
            kept.push(definition);
        }
    }
    Ok(kept)
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
        cost.hold(held_bytes(definition))?;
    }
    Ok(found)
}

fn held_bytes(definition: &Definition) -> usize {
    definition.key.len() + size_of::<Definition>()
}
