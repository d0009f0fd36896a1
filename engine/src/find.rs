//! Series by selector, by name and by key: what every question begins with.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, atomic::Ordering},
};

use pulseboard_history::SeriesId;
use pulseboard_series::{
    KeyRef, Kind,
    key::{hash_key, write_key, write_stem},
};

use crate::{
    cost::{Cost, Spent},
    engine::Engine,
    selector::{NameFilter, NamedSeries, Selector, WholeKey},
    slot::SlotRef,
    table::{Entry, shard_of},
    tenant::Tenant,
    window::{Sample, WindowCopy},
};

/// Bytes of the keys on one page, twice: as they are and as text. A thousand keys of 8 KB.
pub(crate) const PAGE_BYTES_MAX: usize = 16 << 20;

/// What a series of a page takes in memory, with what a tree has beside it.
pub(crate) fn page_bytes(text: &str, found: &Found) -> usize {
    text.len() + found.key.len() + 2 * size_of::<(String, Found)>()
}

/// Series whose places a walk copies at once, about.
const PLACES_AT_ONCE: usize = 8_192;

/// The series that a question finds.
#[derive(Debug)]
pub(crate) struct Page {
    /// Sorted by key, each with its key as text.
    pub(crate) found: Vec<(String, Found)>,
    /// All that match.
    pub(crate) matched: u64,
    /// Whether there are fewer than were asked for since their keys are so long.
    pub(crate) is_cut: bool,
}

/// A series as a question finds it.
#[derive(Clone, Debug)]
pub struct Found {
    pub(crate) place: SlotRef,
    /// Its number in the history.
    pub id: SeriesId,
    /// Its key, see [`KeyRef`].
    pub key: Box<[u8]>,
    /// Unit of its values; empty where nobody said.
    pub unit: Arc<str>,
    /// How it grows.
    pub kind: Kind,
    /// Newest sample by time.
    pub last: Option<Sample>,
    /// Typical distance of two samples in milliseconds; 0 before the second.
    pub interval_ms: u32,
    /// Whether it has stopped.
    pub is_stopped: bool,
    /// By how many milliseconds its latest sample is ahead of the clock, where there is such.
    pub ahead_ms: Option<i64>,
    /// Everything older is sealed, and has been for as long as a view of the history lasts: time of
    /// its oldest sample of which that is not so.
    pub(crate) unsealed_ms: i64,
    /// How often a sample came that was not its newest.
    pub(crate) late_count: u32,
}

impl Found {
    /// Name and labels.
    #[must_use]
    pub fn key(&self) -> KeyRef<'_> {
        KeyRef::new(&self.key)
    }
}

impl Engine {
    /// The series of a tenant that a selector names and `also` lets through, sorted by key; at
    /// most `max` of those behind `after`. With the count of all that match.
    ///
    /// Costs about 0.3 µs for each series that the selector names, however few are wanted: all are
    /// counted, and `also` looks at each.
    ///
    /// # Errors
    /// It cost too much.
    pub fn find(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        also: impl Fn(KeyRef<'_>) -> bool,
        (after, max): (Option<&str>, usize),
        now_ms: i64,
        cost: &Cost,
    ) -> Result<(Vec<Found>, u64), Spent> {
        let look = |_: &str| NameFilter::PerSeries;
        let page = self.page(tenant, selector, (look, also), (after, max), now_ms, cost)?;
        let found = page.found.into_iter().map(|(_, found)| found).collect();
        Ok((found, page.matched))
    }

    /// As [`Engine::find`], each with its key as text; `name_filter` says of a metric's name
    /// whether `also` lets all series of this name through. Those are then not looked at, unless
    /// they are among the first: cost is a few nanoseconds for each such series, else about 0.3 µs.
    ///
    /// Fewer than `max` come where their keys are longer than [`PAGE_BYTES_MAX`] together.
    ///
    /// Patterns are tested on a copy of the key: no shard waits for them.
    pub(crate) fn page(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        (name_filter, also): (impl Fn(&str) -> NameFilter, impl Fn(KeyRef<'_>) -> bool),
        (after, mut max): (Option<&str>, usize),
        now_ms: i64,
        cost: &Cost,
    ) -> Result<Page, Spent> {
        cost.check()?;
        let (mut held_bytes, mut is_cut, mut labelled_bytes) = (0, false, 0);
        let alone = selector.name().zip(Self::alone(tenant, selector));
        let (has_patterns, work) = (selector.has_patterns(), selector.work());
        let mut matching = selector.matching();
        let mut matched = 0;
        // The first ones so far. Keys do not come in order: `a.b` is before `a{}`.
        let mut first: BTreeMap<String, Found> = BTreeMap::new();
        let (mut stem, mut text) = (String::new(), String::new());
        let mut copy: Vec<u8> = Vec::new();
        let mut groups = match alone {
            Some((name, key)) => {
                let place = self.place_of(tenant, &key);
                vec![(name.into(), Vec::from_iter(place))]
            }
            None => match self.labelled(tenant, selector, cost)? {
                Some(places) => {
                    labelled_bytes = size_of_val(&*places);
                    vec![(Box::default(), places)]
                }
                None => Self::groups(tenant, selector, None),
            },
        };
        while let Some((last_name, _)) = groups.last() {
            let last_name: Box<str> = last_name.clone();
            for (name, places) in std::mem::take(&mut groups) {
                // All texts of this name begin so, and one that does not is before or behind all.
                stem.clear();
                // Those that were found by a label have names of any kind.
                if !name.is_empty() {
                    write_stem(&name, &mut stem);
                }
                let is_before = |text: &str| !text.starts_with(&*stem) && *text < *stem;
                let last = first.last_key_value().filter(|_| first.len() >= max);
                let is_passed = max == 0
                    || last.is_some_and(|(last, _)| is_before(last))
                    || after.is_some_and(|after| !after.starts_with(&*stem) && *after > *stem);
                if is_passed && selector.is_name_alone() && name_filter(&name) == NameFilter::All {
                    cost.step(1)?;
                    matched += places.len() as u64;
                    continue;
                }
                for place in places {
                    cost.step(work)?;
                    if has_patterns {
                        let copied = self.table.with(place, |entry| {
                            copy.clear();
                            copy.extend_from_slice(&entry.key);
                        });
                        let key = KeyRef::new(&copy);
                        if copied.is_none() || !matching.takes(key) {
                            continue;
                        }
                    }
                    let is_one = |entry: &mut Entry| {
                        let key = entry.key();
                        if (!has_patterns && !matching.takes(key)) || !also(key) {
                            return None;
                        }
                        if is_passed {
                            return Some(None);
                        }
                        text.clear();
                        write_key(key, &mut text);
                        let is_behind = after.is_none_or(|after| *text > *after);
                        let is_early = first.len() < max
                            || first.last_key_value().is_some_and(|last| text < *last.0);
                        Some((is_behind && is_early).then(|| Found::of(entry, place, now_ms)))
                    };
                    let Some(one) = self.table.with(place, is_one).flatten() else {
                        continue;
                    };
                    matched += 1;
                    if let Some(one) = one {
                        held_bytes += text.len() + one.key.len();
                        cost.hold(page_bytes(&text, &one))?;
                        first.insert(text.clone(), one);
                        if held_bytes > PAGE_BYTES_MAX && first.len() > 1 {
                            max = max.min(first.len() - 1);
                            is_cut = true;
                        }
                        if first.len() > max
                            && let Some((text, one)) = first.pop_last()
                        {
                            held_bytes -= text.len() + one.key.len();
                            cost.let_go(page_bytes(&text, &one));
                        }
                    }
                }
            }
            if selector.name().is_some() || last_name.is_empty() {
                break;
            }
            groups = Self::groups(tenant, selector, Some(&last_name));
        }
        cost.let_go(labelled_bytes);
        Ok(Page {
            found: first.into_iter().collect(),
            matched,
            is_cut,
        })
    }

    /// Places of all series that a selector names, in no order, in one walk over them.
    ///
    /// # Errors
    /// The cost, and the memory for the places.
    pub(crate) fn places(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        cost: &Cost,
    ) -> Result<Vec<SlotRef>, Spent> {
        cost.check()?;
        if let Some(key) = Self::alone(tenant, selector) {
            return Ok(Vec::from_iter(self.place_of(tenant, &key)));
        }
        let (has_patterns, work) = (selector.has_patterns(), selector.work());
        let mut matching = selector.matching();
        let mut copy: Vec<u8> = Vec::new();
        let mut matched: Vec<SlotRef> = Vec::new();
        let mut labelled_bytes = 0;
        let mut groups = match self.labelled(tenant, selector, cost)? {
            Some(places) => {
                labelled_bytes = size_of_val(&*places);
                vec![(Box::default(), places)]
            }
            None => Self::groups(tenant, selector, None),
        };
        while let Some((last_name, _)) = groups.last() {
            let last_name: Box<str> = last_name.clone();
            let before = matched.len();
            for (_, places) in std::mem::take(&mut groups) {
                if selector.is_name_alone() {
                    cost.step(1)?;
                    matched.extend(places);
                    continue;
                }
                for place in places {
                    cost.step(work)?;
                    // A pattern is not tested under the shard's lock.
                    let takes = self.table.with(place, |entry| match has_patterns {
                        true => {
                            copy.clear();
                            copy.extend_from_slice(&entry.key);
                            true
                        }
                        false => matching.takes(entry.key()),
                    });
                    if takes == Some(true) && (!has_patterns || matching.takes(KeyRef::new(&copy)))
                    {
                        matched.push(place);
                    }
                }
            }
            cost.hold((matched.len() - before) * size_of::<SlotRef>())?;
            if selector.name().is_some() || last_name.is_empty() {
                break;
            }
            groups = Self::groups(tenant, selector, Some(&last_name));
        }
        cost.let_go(labelled_bytes);
        Ok(matched)
    }

    /// See [`Engine::candidates`]; their memory is held.
    fn labelled(
        &self,
        tenant: &Tenant,
        selector: &Selector,
        cost: &Cost,
    ) -> Result<Option<Vec<SlotRef>>, Spent> {
        let walked = match selector.name() {
            Some(name) => {
                let names = tenant.names.lock();
                names.get(name).map_or(0, |named| named.places.len()) as u64
            }
            None => tenant.series.load(Ordering::Relaxed),
        };
        let places = self.candidates(tenant, selector, walked, cost)?;
        if let Some(places) = &places {
            cost.hold(size_of_val(&**places))?;
        }
        Ok(places)
    }

    /// Series by metric name, of the names that a selector asks for behind `after`: some
    /// thousands of them, so that few are in memory and nobody waits long for the names' lock.
    pub(crate) fn groups(
        tenant: &Tenant,
        selector: &Selector,
        after: Option<&str>,
    ) -> Vec<(Box<str>, Vec<SlotRef>)> {
        let names = tenant.names.lock();
        let bounds = match (selector.name(), after) {
            (Some(name), _) => (Bound::Included(name), Bound::Included(name)),
            (None, Some(after)) => (Bound::Excluded(after), Bound::Unbounded),
            (None, None) => (Bound::Unbounded, Bound::Unbounded),
        };
        let mut groups = Vec::new();
        let mut count = 0;
        for (name, named) in names.range::<str, _>(bounds) {
            count += named.places.len();
            groups.push((name.clone(), named.places.iter().copied().collect()));
            if count >= PLACES_AT_ONCE {
                break;
            }
        }
        drop(names);
        // Neighbours in memory are looked at one after the other.
        for (_, places) in &mut groups {
            let places: &mut Vec<SlotRef> = places;
            places.sort_unstable();
        }
        groups
    }

    /// The key of the one series that a selector names, where it names all labels of one and there
    /// are none with more.
    fn alone(tenant: &Tenant, selector: &Selector) -> Option<WholeKey> {
        let name = selector.name()?;
        // Before the key is made, which costs more.
        if !Self::has_no_longer(tenant, name, selector.matchers()) {
            return None;
        }
        let key = selector.whole_key()?;
        Self::has_no_longer(tenant, name, key.labels).then_some(key)
    }

    /// Whether no series of the name has more labels: then all of a series' labels name it alone,
    /// and the others need not be looked at.
    fn has_no_longer(tenant: &Tenant, name: &str, labels: usize) -> bool {
        let names = tenant.names.lock();
        names
            .get(name)
            .is_some_and(|named| named.labels_max <= labels)
    }

    pub(crate) fn place_of(&self, tenant: &Tenant, key: &WholeKey) -> Option<SlotRef> {
        let hash = tenant.place(key.hash);
        let number = shard_of(hash);
        let mut shard = self.table.shard(number).lock();
        let slot = shard.find(tenant.number, hash, &key.bytes)?;
        Some(SlotRef {
            shard: number as u8,
            slot: u32::try_from(slot).ok()?,
            id: shard.get_mut(slot)?.id,
        })
    }

    /// Time and value of the newest sample of the series with this key; `None` where it is not in
    /// memory.
    #[must_use]
    pub fn last_of(&self, tenant: &Tenant, key: &[u8]) -> Option<Sample> {
        let hash = tenant.place(hash_key(key));
        let mut shard = self.table.shard(shard_of(hash)).lock();
        let slot = shard.find(tenant.number, hash, key)?;
        let entry = shard.get_mut(slot)?;
        entry.window.newest().or(entry.last)
    }

    /// The series of a metric's name, or the one of a whole key; at most `max`, in no order. Costs
    /// no more than those.
    #[must_use]
    pub fn named(
        &self,
        tenant: &Tenant,
        named: &NamedSeries,
        max: usize,
        now_ms: i64,
    ) -> Vec<Found> {
        let places: Vec<SlotRef> = match &named.whole {
            Some(key) => Vec::from_iter(self.place_of(tenant, key)),
            None => {
                let names = tenant.names.lock();
                let places = names.get(&*named.name).map(|named| named.places.iter());
                places.into_iter().flatten().take(max).copied().collect()
            }
        };
        let found = places.into_iter().filter_map(|place| {
            self.table
                .with(place, |entry| Found::of(entry, place, now_ms))
        });
        found.collect()
    }

    /// The tenant's newest series, newest first; at most `max`. Numbers are given out in order, so
    /// the greatest are the newest (one that came back after its time to live has its old one).
    pub(crate) fn newest(
        &self,
        tenant: &Tenant,
        max: usize,
        now_ms: i64,
        cost: &Cost,
    ) -> Result<Vec<(String, Found)>, Spent> {
        // All of them are looked at, in one go.
        let series = usize::try_from(tenant.counts().series).unwrap_or(usize::MAX);
        let all_bytes = series.saturating_mul(size_of::<SlotRef>());
        cost.hold(all_bytes)?;
        let mut places: Vec<SlotRef> = {
            let names = tenant.names.lock();
            let places = names.values().flat_map(|named| &named.places);
            places.copied().collect()
        };
        if places.len() > max && max > 0 {
            places.select_nth_unstable_by_key(max - 1, |place| Reverse(place.id));
            places.truncate(max);
            places.shrink_to_fit();
            cost.let_go(all_bytes);
        }
        places.sort_unstable_by_key(|place| Reverse(place.id));
        let mut all = Vec::with_capacity(places.len());
        for place in places {
            cost.step(1)?;
            let found = self.table.with(place, |entry| {
                let mut text = String::new();
                write_key(entry.key(), &mut text);
                (text, Found::of(entry, place, now_ms))
            });
            if let Some((text, found)) = found {
                cost.hold(page_bytes(&text, &found))?;
                all.push((text, found));
            }
        }
        Ok(all)
    }

    /// The samples of `from_ms..to_ms` that are in memory, copied; `None` when the series has
    /// gone.
    #[must_use]
    pub fn copy(&self, found: &Found, from_ms: i64, to_ms: i64) -> Option<WindowCopy> {
        self.table
            .with(found.place, |entry| entry.copy(from_ms, to_ms))
    }

    /// As [`Engine::copy`], and whether that is all that there is of the stretch, in the history,
    /// too.
    pub(crate) fn copy_known(
        &self,
        found: &Found,
        from_ms: i64,
        to_ms: i64,
    ) -> Option<(WindowCopy, bool)> {
        self.table.with(found.place, |entry| {
            (entry.copy(from_ms, to_ms), entry.whole_from_ms <= from_ms)
        })
    }

    /// The time that samples in memory span; `None` when there are none.
    pub(crate) fn held(&self, found: &Found) -> Option<Range<i64>> {
        let held = self.table.with(found.place, |entry| {
            let late = entry.late.as_ref();
            let of_late = late.map(|late| (late.oldest_ms(), late.newest().0));
            let of_window = entry.window.oldest_ms().zip(entry.window.newest_ms());
            let (oldest_ms, newest_ms) = match (of_late, of_window) {
                (Some(late), Some(window)) => (late.0.min(window.0), late.1.max(window.1)),
                (one, other) => one.or(other)?,
            };
            Some(oldest_ms..newest_ms.saturating_add(1))
        });
        held.flatten()
    }
}

impl Found {
    pub(crate) fn of(entry: &Entry, place: SlotRef, now_ms: i64) -> Self {
        Self {
            place,
            id: entry.id,
            key: entry.key.clone(),
            unit: Arc::clone(&entry.unit),
            kind: entry.kind,
            // What came late alone, of a series that memory has nothing else of, is its newest
            // until maintenance has asked the history.
            last: entry
                .newest_at(now_ms)
                .or_else(|| Some(entry.late.as_ref()?.newest())),
            // Also what was not ahead when it came: the clock may have been set back since.
            ahead_ms: entry
                .window
                .newest_ms()
                .filter(|newest_ms| *newest_ms > now_ms)
                .map(|newest_ms| newest_ms - now_ms),
            interval_ms: entry.interval_ms,
            is_stopped: entry.is_stopped(now_ms),
            unsealed_ms: entry.oldest_unknown_ms(),
            late_count: entry.late_count,
        }
    }
}
