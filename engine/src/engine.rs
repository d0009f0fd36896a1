//! The engine: what all its parts share. Samples come in by `append`, are found by `find`, and
//! are told to who watches them by `attach`.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_history::{History, SeriesId};
use pulseboard_series::{KeyRef, Kind};

use crate::{
    maintenance::state::Maintenance,
    onward::Onward,
    query::cache::QueryCache,
    slot::SlotRef,
    table::{Entry, SHARDS, Table},
    tap::{SeriesName, TapSlot},
    tenant::{DEFAULT_TENANT, Named, Tenant},
    tenants::{Tenants, TooManyTenants},
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

/// All tenants with their series in memory, and the history behind them; the only way in for
/// samples.
#[derive(Debug)]
pub struct Engine {
    pub(crate) options: EngineOptions,
    pub(crate) table: Table,
    pub(crate) history: Option<Arc<History>>,
    /// See [`Engine::send_on`].
    pub(crate) onward: OnceLock<Arc<dyn Onward>>,
    pub(crate) tenants: Tenants,
    pub(crate) next_id: AtomicU32,
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
    /// Nothing of those is newer, Unix milliseconds.
    pub(crate) retired_ms: AtomicI64,
    /// When what came late was sealed first, of what waits to be rolled up, and last; Unix
    /// milliseconds. Leaf lock.
    pub(crate) late_sealed: Mutex<Option<(i64, i64)>>,
    /// Held by whoever keeps maintenance; nobody else waits for it.
    pub(crate) maintenance: Mutex<Maintenance>,
    pub(crate) units: Mutex<HashMap<Box<str>, Arc<str>>>,
    no_unit: Arc<str>,
    /// Bytes that all tenants' labels take; see [`crate::labels`].
    pub(crate) label_bytes: Arc<AtomicUsize>,
    /// What queries leave behind for the next one.
    pub(crate) query_cache: QueryCache,
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
            onward: OnceLock::new(),
            tenants: Tenants::default(),
            next_id: AtomicU32::new(1),
            refusals: AtomicU32::default(),
            is_stuck: AtomicBool::default(),
            late_sealed: Mutex::default(),
            retired: Mutex::default(),
            retired_ms: AtomicI64::new(i64::MIN),
            maintenance: Mutex::default(),
            held_bytes: AtomicU64::default(),
            late_samples: AtomicU64::default(),
            shortenings: AtomicU64::default(),
            units: Mutex::default(),
            no_unit: Arc::from(""),
            label_bytes: Arc::default(),
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
        self.tenants.ask(name)
    }

    /// The tenant of this name, if it has or had a series or somebody holds it.
    #[must_use]
    pub fn known_tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.known(name)
    }

    /// Makes a tenant that has a place among all and is not forgotten although nothing was sent in
    /// its name; for those that settings and tokens name, which are few.
    pub fn keep_tenant(&self, name: &str) {
        self.tenants.keep(name);
    }

    /// Forgets tenants of which nothing is stored and that nobody holds; called now and then.
    pub fn forget_unused_tenants(&self) {
        self.tenants.forget_unused();
    }

    /// All tenants that have or had a series, and those that are kept, by name.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.all()
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

    /// Whether a series that memory no longer has may have a sample of this time or later.
    pub(crate) fn may_have_left_since(&self, since_ms: i64) -> bool {
        self.retired_ms.load(Ordering::Acquire) >= since_ms
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
            whole_from_ms: i64::MIN,
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
        let came = tenant.came.load(Ordering::Relaxed) + 1;
        let put = |named: &mut Named| {
            named.places.insert(place);
            named.labels_max = named.labels_max.max(labels);
            named.came = came;
        };
        match names.get_mut(key.name()) {
            Some(named) => put(named),
            None => put(names.entry(key.name().into()).or_default()),
        }
        tenant.labels.tell(place);
        // Whoever sees this finds it.
        tenant.came.store(came, Ordering::Release);
        drop(names);
        for tap in tenant.taps.lock().iter().filter(|tap| tap.is_dear) {
            tap.announce(place);
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
