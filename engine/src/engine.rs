//! The engine: tenants, their series, and who watches them. Samples come in by `append`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    ops::{Bound, Range},
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use pulseboard_history::{History, SeriesId};
use pulseboard_series::{
    Batch, KeyRef, Kind, Row,
    key::{hash_key, write_key, write_stem},
};

use crate::{
    cost::{Cost, Spent},
    maintenance::state::Maintenance,
    query::cache::QueryCache,
    selector::{NameFilter, NamedSeries, Selector, WholeKey},
    slot::SlotRef,
    table::{Entry, SHARDS, Table, shard_of},
    tap::{Catalog, SeriesName, SeriesTap, TapRefused, TapSlot},
    tenant::{DEFAULT_TENANT, Named, TENANTS_MAX, Tenant},
    window::{Sample, WindowCopy},
};

/// How much is kept in memory, and what is accepted.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Samples this far back stay in memory at full resolution, in milliseconds. Longer: more
    /// memory. Also how late a sample may come where there is no history; with one it may be as old
    /// as that keeps raw samples.
    pub window_ms: i64,
    /// A sample may be this far ahead of this server's clock, in milliseconds.
    pub ahead_ms: i64,
    /// A series without a new sample for this long goes, in milliseconds (or after three of its
    /// own intervals, if that is longer).
    pub ttl_ms: i64,
    /// Series of one tenant in memory; a new one past it is refused.
    pub series_max: u64,
    /// Bytes of all series in memory. Near it the windows of tenants that have more than their part
    /// are shortened; new series are refused while that does not suffice, theirs first.
    pub memory_max_bytes: u64,
}

impl Default for EngineOptions {
    /// 15 minutes, 10 minutes ahead, an hour to live, a million series, 1 GiB.
    fn default() -> Self {
        Self {
            window_ms: 15 * 60_000,
            ahead_ms: 10 * 60_000,
            ttl_ms: 3_600_000,
            series_max: 1_000_000,
            memory_max_bytes: 1 << 30,
        }
    }
}

/// Tenants held at once of which nothing is stored: more than there are places for connections.
const ASKED_MAX: usize = 1 << 16;

/// How long a series with a single sample counts as coming in.
pub(crate) const LONE_SAMPLE_LIVES_MS: i64 = 300_000;

/// Bytes of the keys on one page, twice: as they are and as text. A thousand keys of 8 KB.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// What a series of a page takes in memory, with what a tree has beside it.
pub(crate) fn page_bytes(text: &str, found: &Found) -> usize {
    text.len() + found.key.len() + 2 * size_of::<(String, Found)>()
}

/// Series whose places a walk copies at once, about.
const PLACES_AT_ONCE: usize = 8_192;

/// The shortest silence that makes a series a stopped one.
const STOPPED_AFTER_MIN_MS: i64 = 3_000;

/// A clock that is off by more was set.
const CLOCK_SLIPS_MS: i64 = 2_000;

/// All tenants with their series in memory, and the history behind them; the only way in for samples.
#[derive(Debug)]
pub struct Engine {
    pub(crate) options: EngineOptions,
    pub(crate) table: Table,
    pub(crate) history: Option<Arc<History>>,
    tenants: RwLock<Tenants>,
    pub(crate) next_id: AtomicU32,
    next_tenant: AtomicU64,
    /// Grows when the log has refused a definition; see [`Engine::generation`].
    pub(crate) refusals: AtomicU32,
    /// The disk takes nothing, so nothing leaves memory, and that is full: no sample is taken.
    pub(crate) is_stuck: AtomicBool,
    /// Bytes of all series, as the last sweep counted them, and of those made since.
    pub(crate) held_bytes: AtomicU64,
    /// Samples that are older than their windows and in memory.
    pub(crate) late_samples: AtomicU64,
    /// How often a tenant's window was shortened.
    pub(crate) shortenings: AtomicU64,
    /// How far back the shortest of all tenants' windows reaches now; they are shortened where
    /// memory is short.
    pub(crate) window_now_ms: AtomicU64,
    /// Numbers of series that the history knows and memory does not: one that comes back goes on
    /// under its number.
    /// Each holds its tenant, which is not forgotten as long as any of it is stored.
    pub(crate) retired: Mutex<HashMap<Fingerprint, (SeriesId, Arc<Tenant>)>>,
    /// Held by whoever keeps maintenance; nobody else waits for it.
    pub(crate) maintenance: Mutex<Maintenance>,
    pub(crate) units: Mutex<HashMap<Box<str>, Arc<str>>>,
    no_unit: Arc<str>,
    /// What queries leave behind for the next one.
    pub(crate) query_cache: QueryCache,
}

/// Tenants by name.
#[derive(Debug, Default)]
struct Tenants {
    /// Those with a place among all.
    listed: HashMap<Box<str>, Arc<Tenant>>,
    /// Of these, those that are never forgotten.
    kept: usize,
    /// Those that somebody asked for and nobody sent anything to; each lives as long as it is held.
    asked: HashMap<Box<str>, Weak<Tenant>>,
    /// So many asked for are looked through for such as nobody holds any more.
    swept_at: usize,
}

impl Tenants {
    fn get(&self, name: &str) -> Option<Arc<Tenant>> {
        let listed = self.listed.get(name).cloned();
        listed.or_else(|| self.asked.get(name)?.upgrade())
    }

    fn list(&mut self, tenant: &Arc<Tenant>) {
        tenant.is_listed.store(true, Ordering::Release);
        self.asked.remove(&tenant.name);
        self.listed.insert(tenant.name.clone(), Arc::clone(tenant));
    }

    /// Room for another that is asked for. Looked through when they are twice as many as were
    /// found to be held, so that asking costs little on average.
    fn make_room(&mut self) -> Result<(), TooManyTenants> {
        if self.asked.len() >= self.swept_at {
            self.asked.retain(|_, tenant| tenant.strong_count() > 0);
            self.swept_at = (2 * self.asked.len()).clamp(64, ASKED_MAX);
        }
        if self.asked.len() >= ASKED_MAX {
            return Err(TooManyTenants);
        }
        Ok(())
    }
}

/// Why there is no tenant of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tenants are asked for at once; no further one is taken")]
pub struct TooManyTenants;

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

/// Tells a series from all others in a few bytes: 128 bits of hashes that nobody outside knows.
pub(crate) type Fingerprint = (u64, u64);

/// The fingerprint of a key whose placed hash is `hash`.
pub(crate) fn fingerprint(hash: u64, key: &[u8]) -> Fingerprint {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (hash, STATE.hash_one(key))
}

impl Engine {
    /// An engine without series.
    #[must_use]
    pub fn new(options: EngineOptions, history: Option<Arc<History>>) -> Self {
        let engine = Self {
            window_now_ms: AtomicU64::new(options.window_ms.unsigned_abs()),
            options,
            table: Table::default(),
            history,
            tenants: RwLock::default(),
            next_id: AtomicU32::new(1),
            next_tenant: AtomicU64::default(),
            refusals: AtomicU32::default(),
            is_stuck: AtomicBool::default(),
            retired: Mutex::default(),
            maintenance: Mutex::default(),
            held_bytes: AtomicU64::default(),
            late_samples: AtomicU64::default(),
            shortenings: AtomicU64::default(),
            units: Mutex::default(),
            no_unit: Arc::from(""),
            query_cache: QueryCache::default(),
        };
        engine.keep_tenant(DEFAULT_TENANT);
        engine
    }

    /// The tenant of this name. Where there is none it is made for whoever holds it, and is one of
    /// [`Engine::tenants`] when its first series is made: asking for names uses none up. The caller
    /// has checked the name's form.
    ///
    /// # Errors
    /// More names than there can be callers are held.
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>, TooManyTenants> {
        if let Some(known) = self.known_tenant(name) {
            return Ok(known);
        }
        let mut tenants = self.tenants.write();
        if let Some(known) = tenants.get(name) {
            return Ok(known);
        }
        tenants.make_room()?;
        let made = self.new_tenant(name);
        tenants.asked.insert(name.into(), Arc::downgrade(&made));
        Ok(made)
    }

    fn new_tenant(&self, name: &str) -> Arc<Tenant> {
        let number = self.next_tenant.fetch_add(1, Ordering::Relaxed);
        Arc::new(Tenant::new(name, number))
    }

    /// The tenant of this name, if it has or had a series or somebody holds it.
    #[must_use]
    pub fn known_tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.read().get(name)
    }

    /// Makes a tenant that has a place among all and is not forgotten although nothing was sent in
    /// its name; for those that settings and tokens name, which are few.
    pub fn keep_tenant(&self, name: &str) {
        let tenant = self.listed_tenant(name);
        if !tenant.is_kept.swap(true, Ordering::AcqRel) {
            self.tenants.write().kept += 1;
        }
    }

    /// The tenant of this name, made one of all where it is not, however many there are; for what
    /// is stored already.
    pub(crate) fn listed_tenant(&self, name: &str) -> Arc<Tenant> {
        let mut tenants = self.tenants.write();
        let tenant = tenants.get(name).unwrap_or_else(|| self.new_tenant(name));
        tenants.list(&tenant);
        tenant
    }

    /// Makes a tenant one of all, of which the first sample came; whether there was a place.
    pub(crate) fn list(&self, tenant: &Arc<Tenant>) -> bool {
        if tenant.is_listed.load(Ordering::Acquire) {
            return true;
        }
        let mut tenants = self.tenants.write();
        if tenants.listed.len() - tenants.kept >= TENANTS_MAX {
            return false;
        }
        tenants.list(tenant);
        true
    }

    /// Forgets tenants of which nothing is stored and that nobody holds; called now and then.
    pub fn forget_unused_tenants(&self) {
        let mut tenants = self.tenants.write();
        tenants.listed.retain(|_, tenant| {
            // Each series holds it, in memory or not. Nobody gets hold of it meanwhile.
            Arc::strong_count(tenant) > 1 || tenant.is_kept.load(Ordering::Acquire)
        });
        tenants.asked.retain(|_, tenant| tenant.strong_count() > 0);
    }

    /// All tenants that have or had a series, and those that are kept, by name.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        let mut tenants: Vec<_> = self.tenants.read().listed.values().cloned().collect();
        tenants.sort_by(|one, other| one.name.cmp(&other.name));
        tenants
    }

    /// A unit's text, shared by all that have it.
    pub(crate) fn unit(&self, unit: &str) -> Arc<str> {
        if unit.is_empty() {
            return Arc::clone(&self.no_unit);
        }
        let mut units = self.units.lock();
        if let Some(known) = units.get(unit) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = unit.into();
        if units.len() < pulseboard_series::limits::DESCRIPTIONS_MAX {
            units.insert(unit.into(), Arc::clone(&shared));
        }
        shared
    }

    /// Changes when the log has failed or refused a definition: what it was told before may not be
    /// on the disk, so every series says again what it is.
    pub(crate) fn generation(&self) -> u32 {
        let failures = self.history.as_ref().map(|history| history.log_failures());
        let refusals = self.refusals.load(Ordering::Relaxed);
        refusals.wrapping_add(failures.unwrap_or_default())
    }

    /// No series made from now on has this number.
    pub(crate) fn take_id(&self, id: SeriesId) {
        self.next_id
            .fetch_max(id.0.saturating_add(1), Ordering::Relaxed);
    }

    /// Makes the entry of a new series and lets everybody know who waits for such.
    pub(crate) fn make_entry(
        &self,
        tenant: &Arc<Tenant>,
        id: SeriesId,
        key: &[u8],
        hash: u64,
        (kind, unit): (Kind, &str),
    ) -> Entry {
        let name = SeriesName {
            key: key.into(),
            unit: self.unit(unit),
            kind,
        };
        let mut taps = Vec::new();
        for tap in tenant.taps.lock().iter() {
            if !tap.is_dear
                && tap.selector.takes(name.key())
                && let Some(number) = tap.admit(name.clone())
            {
                let tap = Arc::clone(tap);
                taps.push(TapSlot { tap, number });
            }
        }
        if let Some(catalog) = &*tenant.catalog.lock() {
            catalog.tell(name.clone(), true);
        }
        Entry {
            id,
            tenant: Arc::clone(tenant),
            hash,
            key: name.key,
            unit: name.unit,
            kind,
            is_ended: false,
            window: Default::default(),
            last: None,
            is_reserved: tenant.reserved.lock().contains(key),
            ahead_ms: i64::MIN,
            is_ahead: false,
            arrived_ms: i64::MIN,
            interval_ms: 0,
            late_count: 0,
            unsealed_segment: 0,
            unsealed_ms: i64::MAX,
            sealed_ms: i64::MIN,
            is_sealing: false,
            late: None,
            taps: (!taps.is_empty()).then(|| Box::new(taps)),
            defined_in: u32::MAX,
        }
    }

    pub(crate) fn enlist(tenant: &Tenant, key: KeyRef<'_>, place: SlotRef) {
        let mut names = tenant.names.lock();
        let labels = key.labels().count();
        let put = |named: &mut Named| {
            named.places.insert(place);
            named.labels_max = named.labels_max.max(labels);
        };
        match names.get_mut(key.name()) {
            Some(named) => put(named),
            None => put(names.entry(key.name().into()).or_default()),
        }
        drop(names);
        for tap in tenant.taps.lock().iter().filter(|tap| tap.is_dear) {
            tap.announce(place);
        }
    }

    /// The series of a tenant that a selector names and `also` lets through, sorted by key; at
    /// most `max` of those behind `after`. With the count of all that match.
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

    /// As [`Engine::find`], each with its key as text; `name_filter` says of a metric's name whether
    /// `also` lets all series of this name through. Those are then not looked at, unless they are
    /// among the first: cost is a few nanoseconds for each such series, else about 0.3 µs.
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
        let (mut held_bytes, mut is_cut) = (0, false);
        let whole = selector.name().zip(selector.whole_key());
        let alone = whole.filter(|(name, key)| Self::has_no_longer(tenant, name, key.labels));
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
            None => Self::groups(tenant, selector, None),
        };
        while let Some((last_name, _)) = groups.last() {
            let last_name: Box<str> = last_name.clone();
            for (name, places) in std::mem::take(&mut groups) {
                // All texts of this name begin so, and one that does not is before or behind all.
                stem.clear();
                write_stem(&name, &mut stem);
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
            if selector.name().is_some() {
                break;
            }
            groups = Self::groups(tenant, selector, Some(&last_name));
        }
        Ok(Page {
            found: first.into_iter().collect(),
            matched,
            is_cut,
        })
    }

    /// Series by metric name, of the names that a selector asks for behind `after`: some
    /// thousands of them, so that few are in memory and nobody waits long for the names' lock.
    fn groups(
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
        groups
    }

    /// Whether no series of the name has more labels: then all of a series' labels name it alone,
    /// and the others need not be looked at.
    fn has_no_longer(tenant: &Tenant, name: &str, labels: usize) -> bool {
        let names = tenant.names.lock();
        names
            .get(name)
            .is_some_and(|named| named.labels_max <= labels)
    }

    fn place_of(&self, tenant: &Tenant, key: &WholeKey) -> Option<SlotRef> {
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

    /// Keeps the series of a batch's rows for [`Engine::append_own`]: what others send under these
    /// keys is refused from now on. Values and times are not looked at.
    pub fn reserve(&self, tenant: &Tenant, batch: &Batch) {
        for row in batch.rows() {
            if tenant.reserve_key(batch.key(row).as_bytes()) {
                self.mark_reserved(tenant, batch, row);
            }
        }
    }

    /// Tells the series of a row whose key has just been kept, if there is one; one that is made
    /// from now on is made so.
    fn mark_reserved(&self, tenant: &Tenant, batch: &Batch, row: &Row) {
        let hash = tenant.place(row.hash);
        let mut shard = self.table.shard(shard_of(hash)).lock();
        let slot = shard.find(tenant.number, hash, batch.key(row).as_bytes());
        if let Some(entry) = slot.and_then(|slot| shard.get_mut(slot)) {
            entry.is_reserved = true;
        }
    }

    /// As [`Engine::reserve`], unless somebody else sends samples of one of these series now.
    ///
    /// # Errors
    /// The key of that one; nothing is kept then.
    pub fn claim(&self, tenant: &Tenant, batch: &Batch, now_ms: i64) -> Result<(), String> {
        // From here on nobody else makes them.
        let rows = batch.rows().iter();
        let new: Vec<&Row> = rows
            .filter(|row| tenant.reserve_key(batch.key(row).as_bytes()))
            .collect();
        for row in &new {
            let key = batch.key(row);
            let hash = tenant.place(row.hash);
            let mut shard = self.table.shard(shard_of(hash)).lock();
            let slot = shard.find(tenant.number, hash, key.as_bytes());
            let entry = slot.and_then(|slot| shard.get_mut(slot));
            if entry.is_some_and(|entry| !is_stopped(entry, now_ms)) {
                drop(shard);
                let mut reserved = tenant.reserved.lock();
                for row in &new {
                    reserved.remove(batch.key(row).as_bytes());
                }
                return Err(key.to_string());
            }
        }
        for row in new {
            self.mark_reserved(tenant, batch, row);
        }
        Ok(())
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

    /// Watches a selector: everything appended to its series from now on is gathered by `tap`.
    /// Returns how many series it has now.
    ///
    /// # Errors
    /// It names more than [`crate::tap::TAPPED_SERIES_MAX`] series, or finding them cost too
    /// much; nothing is watched.
    pub fn tap(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<u64, TapRefused> {
        // First, so that series that appear meanwhile are not missed; those are seated once by
        // the check below.
        tenant.taps.lock().push(Arc::clone(tap));
        let seated = self.attach_all(tenant, tap, cost);
        if seated.is_err() {
            self.untap(tenant, tap);
        }
        seated
    }

    fn attach_all(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<u64, TapRefused> {
        let max = crate::tap::TAPPED_SERIES_MAX;
        let all = |_: KeyRef<'_>| true;
        let (found, matched) = self.find(tenant, &tap.selector, all, (None, max + 1), 0, cost)?;
        if found.len() > max || matched > found.len() as u64 {
            return Err(TapRefused::Series(matched));
        }
        for one in found {
            self.table.with(one.place, |entry| entry.attach(tap, false));
        }
        Ok(matched)
    }

    /// Compares a tap with the series that appeared since it was last done, where that was too
    /// dear to be done as they appeared; what came of those that it names is gathered. To be called
    /// on a thread that may block, when [`SeriesTap::has_newcomers`].
    ///
    /// # Errors
    /// It cost too much; what is left is looked at the next time.
    pub fn attach_newcomers(
        &self,
        tenant: &Tenant,
        tap: &Arc<SeriesTap>,
        cost: &Cost,
    ) -> Result<(), Spent> {
        let (newcomers, is_behind) = tap.take_newcomers();
        if is_behind {
            let max = crate::tap::TAPPED_SERIES_MAX;
            let all = |_: KeyRef<'_>| true;
            let found = self.find(tenant, &tap.selector, all, (None, max), 0, cost);
            let (found, _) = found.inspect_err(|_spent| tap.stay_behind())?;
            for one in found {
                self.table.with(one.place, |entry| entry.attach(tap, true));
            }
            return Ok(());
        }
        let mut matching = tap.selector.matching();
        let work = tap.selector.work();
        let mut copy: Vec<u8> = Vec::new();
        for place in newcomers {
            cost.step(work).inspect_err(|_spent| tap.stay_behind())?;
            let copied = self.table.with(place, |entry| {
                copy.clear();
                copy.extend_from_slice(&entry.key);
            });
            if copied.is_some() && matching.takes(KeyRef::new(&copy)) {
                self.table.with(place, |entry| entry.attach(tap, true));
            }
        }
        Ok(())
    }

    /// Ends a tap; cost is that of its own series alone.
    pub fn untap(&self, tenant: &Tenant, tap: &Arc<SeriesTap>) {
        tenant.taps.lock().retain(|known| !Arc::ptr_eq(known, tap));
        for key in tap.end() {
            let key = WholeKey {
                hash: hash_key(&key),
                labels: 0,
                bytes: key,
            };
            let Some(place) = self.place_of(tenant, &key) else {
                continue;
            };
            self.table.with(place, |entry| {
                if let Some(taps) = &mut entry.taps {
                    taps.retain(|slot| !Arc::ptr_eq(&slot.tap, tap));
                    if taps.is_empty() {
                        entry.taps = None;
                    }
                }
            });
        }
    }

    /// Who is told of the tenant's series that come and go; the one before is told no more.
    pub fn tell_catalog(&self, tenant: &Tenant, catalog: Arc<Catalog>) {
        *tenant.catalog.lock() = Some(catalog);
    }

    /// Ends `catalog`, unless another has taken its place.
    pub fn end_catalog(&self, tenant: &Tenant, catalog: &Arc<Catalog>) {
        let mut told = tenant.catalog.lock();
        if told.as_ref().is_some_and(|told| Arc::ptr_eq(told, catalog)) {
            *told = None;
        }
    }

    /// Series in memory, of all tenants.
    #[must_use]
    pub fn series(&self) -> u64 {
        (0..SHARDS)
            .map(|number| self.table.shard(number).lock().len() as u64)
            .sum()
    }

    /// Bytes that all series take, as last counted.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// How often a tenant's window was shortened, since memory was short and it had more than its
    /// part.
    #[must_use]
    pub fn shortenings(&self) -> u64 {
        self.shortenings.load(Ordering::Relaxed)
    }

    /// How far back the window reaches now, in milliseconds: of the tenant with the shortest.
    #[must_use]
    pub fn window_ms(&self) -> i64 {
        i64::try_from(self.window_now_ms.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }
}

impl Found {
    fn of(entry: &Entry, place: SlotRef, now_ms: i64) -> Self {
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
            is_stopped: is_stopped(entry, now_ms),
            unsealed_ms: entry.oldest_unknown_ms(),
            late_count: entry.late_count,
        }
    }
}

/// Whether nothing came for three of a series' own intervals, or its sender ended it.
pub(crate) fn is_stopped(entry: &Entry, now_ms: i64) -> bool {
    let patience = match entry.interval_ms {
        0 => LONE_SAMPLE_LIVES_MS,
        interval_ms => (3 * i64::from(interval_ms)).max(STOPPED_AFTER_MIN_MS),
    };
    // What came before the clock was set back came we do not know when; what lives comes again.
    let since_ms = now_ms.saturating_sub(entry.arrived_ms);
    entry.is_ended || since_ms > patience || since_ms < -CLOCK_SLIPS_MS
}
