//! A start: series and samples come back from the history.

use std::{collections::HashMap, sync::Arc};

use pulseboard_history::{
    Definition, History, HistoryError, HistoryOptions, RecoverSink, RecoveryReport, SeriesId,
    Tombstone,
};
use pulseboard_series::{KeyRef, Kind, is_stale_marker, key::hash_key};

use crate::{
    engine::{Engine, EngineOptions, fingerprint},
    slot::SlotRef,
    table::shard_of,
    window::{Sample, Scratch},
};

/// What comes from the log counts as being in its oldest segment, until it has been sealed again.
const OLDEST_SEGMENT: u32 = 1;

/// A series' interval is learnt from so many of its newest samples.
const INTERVALS_LEARNT: usize = 16;

/// Where the history's series went.
struct Recovering<'a> {
    engine: &'a Engine,
    definitions: HashMap<SeriesId, Known>,
    scratch: Scratch,
    now_ms: i64,
    /// Samples kept apart from their windows.
    late: u64,
    /// Samples whose series nobody defined, or that are too old for the window.
    passed_over: u64,
}

enum Known {
    /// Nothing of it is in memory yet.
    Definition(Box<Definition>),
    Entry(SlotRef),
}

impl Engine {
    /// Opens the history in `dir` and takes the newest samples of it into memory.
    ///
    /// # Errors
    /// As [`History::open`].
    pub fn open(
        dir: &std::path::Path,
        options: EngineOptions,
        history: HistoryOptions,
        now_ms: i64,
    ) -> Result<(Self, RecoveryReport), HistoryError> {
        let mut engine = Self::new(options, None);
        let mut recovering = Recovering {
            engine: &engine,
            definitions: HashMap::new(),
            scratch: Scratch::default(),
            now_ms,
            late: 0,
            passed_over: 0,
        };
        let (history, report) = History::open(dir, history, &mut recovering)?;
        recovering.read_sealed(&history)?;
        if recovering.passed_over > 0 {
            tracing::debug!(
                samples = recovering.passed_over,
                "the log has samples that the window does not take"
            );
        }
        recovering.retire();
        let late = recovering.late;
        drop(recovering);
        *engine.late_samples.get_mut() = late;
        engine.history = Some(Arc::new(history));
        Ok((engine, report))
    }
}

impl Recovering<'_> {
    /// Fills the window with what has been sealed of its time.
    fn read_sealed(&mut self, history: &History) -> Result<(), HistoryError> {
        let from_ms = self.now_ms - self.engine.options.window_ms;
        let mut snapshot = history.snapshot()?;
        let mut samples = Vec::new();
        for id in history.sealed_since(from_ms) {
            samples.clear();
            snapshot.read_raw(id, from_ms, i64::MAX, &mut samples)?;
            if !samples.is_empty() {
                self.put_sealed(id, &samples);
            }
        }
        for known in self.definitions.values() {
            if let Known::Entry(place) = known {
                let table = &self.engine.table;
                table.with(*place, |entry| entry.lacks(from_ms.saturating_sub(1)));
            }
        }
        Ok(())
    }

    /// Remembers the numbers of series of which nothing is young enough for memory.
    fn retire(&mut self) {
        // Of what is sealed since then all is in memory, and of what is in the log alone all is.
        let window_from_ms = self.now_ms - self.engine.options.window_ms;
        self.engine
            .retired_ms
            .store(window_from_ms, std::sync::atomic::Ordering::Release);
        let mut retired = self.engine.retired.lock();
        for known in self.definitions.values() {
            let Known::Definition(definition) = known else {
                continue;
            };
            let tenant = self.engine.tenants.listed(&definition.tenant);
            let hash = tenant.place(hash_key(&definition.key));
            let fingerprint = fingerprint(hash, &definition.key);
            retired.insert(fingerprint, (definition.id, tenant));
        }
    }

    /// Sealed samples, behind those of the log: of two values for one time the log's is the newer.
    fn put_sealed(&mut self, id: SeriesId, samples: &[Sample]) {
        let Some(place) = self.place(id) else {
            self.passed_over += samples.len() as u64;
            return;
        };
        let (scratch, now_ms) = (&mut self.scratch, self.now_ms);
        self.engine.table.with(place, |entry| {
            if entry.unsealed_segment == 0 {
                for &(at_ms, value) in samples {
                    entry.arrived(at_ms.min(now_ms), now_ms);
                    entry.take_in(at_ms, value, now_ms, scratch);
                    entry.sealed_ms = entry.sealed_ms.max(at_ms);
                }
                return;
            }
            // What is unsealed stays so.
            entry.window.fill(samples, scratch);
            let of_age = samples.partition_point(|sealed| sealed.0 <= now_ms);
            if let Some(ahead) = samples.get(of_age..).and_then(<[Sample]>::last) {
                entry.ahead_ms = entry.ahead_ms.max(ahead.0);
            }
            let newest_sealed = samples[..of_age].last().filter(|sealed| {
                let last = entry.last.map(|last| last.0);
                last.is_none_or(|last_ms| sealed.0 > last_ms)
            });
            if let Some(&(at_ms, value)) = newest_sealed {
                entry.last = Some((at_ms, value));
                entry.is_ended = is_stale_marker(value);
                entry.arrived(at_ms, now_ms);
            }
            if entry.interval_ms == 0 {
                let mut newest = Vec::new();
                entry
                    .window
                    .copy(i64::MIN, i64::MAX)
                    .read(i64::MIN, i64::MAX, &mut newest);
                let newest = &newest[newest.len().saturating_sub(INTERVALS_LEARNT)..];
                for pair in newest.windows(2) {
                    entry.learn_interval(pair[1].0 - pair[0].0);
                }
            }
        });
    }

    /// Where the series is, made now if this is its first sample.
    fn place(&mut self, id: SeriesId) -> Option<SlotRef> {
        let known = self.definitions.get_mut(&id)?;
        let definition = match known {
            Known::Entry(place) => return Some(*place),
            Known::Definition(definition) => definition,
        };
        let place = make(self.engine, definition)?;
        *known = Known::Entry(place);
        Some(place)
    }
}

/// Makes the entry of a series that the history knows; `None` where its definition is damaged.
fn make(engine: &Engine, definition: &Definition) -> Option<SlotRef> {
    let key = KeyRef::checked(&definition.key)?;
    let tenant = engine.tenants.listed(&definition.tenant);
    let hash = tenant.place(hash_key(key.as_bytes()));
    let number = shard_of(hash);
    let mut shard = engine.table.shard(number).lock();
    if let Some(slot) = shard.find(tenant.number, hash, key.as_bytes()) {
        // A file from before numbers were kept may know it twice.
        return Some(SlotRef {
            shard: number as u8,
            slot: u32::try_from(slot).ok()?,
            id: shard.get_mut(slot)?.id,
        });
    }
    let described = (Kind::from_u8(definition.kind), &*definition.unit);
    let entry = engine.make_entry(&tenant, definition.id, key.as_bytes(), hash, described);
    let slot = shard.insert(entry);
    let place = SlotRef {
        shard: number as u8,
        slot: u32::try_from(slot).ok()?,
        id: definition.id,
    };
    tenant
        .series
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Engine::enlist(&tenant, key, place);
    Some(place)
}

impl RecoverSink for Recovering<'_> {
    fn definition(&mut self, definition: Definition) {
        self.engine.take_id(definition.id);
        match self.definitions.get(&definition.id) {
            // Kind or unit were said later than the first samples.
            Some(Known::Entry(place)) => {
                let unit = self.engine.unit(&definition.unit);
                self.engine.table.with(*place, |entry| {
                    entry.kind = Kind::from_u8(definition.kind);
                    entry.unit = unit;
                });
            }
            _ => {
                let id = definition.id;
                self.definitions
                    .insert(id, Known::Definition(Box::new(definition)));
            }
        }
    }

    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64) {
        let Some(place) = self.place(id) else {
            self.passed_over += 1;
            return;
        };
        let (scratch, now_ms) = (&mut self.scratch, self.now_ms);
        let (late, oldest_ms) = (&mut self.late, now_ms - self.engine.options.window_ms);
        self.engine.table.with(place, |entry| {
            // What came in order is packed as it was; a window that is empty begins anywhere.
            if !entry.window.is_empty() && entry.is_before_window(at_ms, oldest_ms) {
                entry.take_late(at_ms, value, now_ms, OLDEST_SEGMENT);
                *late += 1;
                return;
            }
            entry.arrived(at_ms.min(now_ms), now_ms);
            entry.take_in(at_ms, value, now_ms, scratch);
            *late += u64::from(entry.note_unsealed(at_ms, value, now_ms, OLDEST_SEGMENT));
        });
    }

    fn tombstone(&mut self, tombstone: Tombstone) {
        // Its definition may be gone from the blocks by now; a series that got its number would be
        // deleted with it.
        self.engine.take_id(tombstone.series);
        let Some(known) = self.definitions.get(&tombstone.series) else {
            return;
        };
        if let Known::Entry(place) = known {
            let place = *place;
            if tombstone.is_whole {
                let mut shard = self.engine.table.shard(usize::from(place.shard)).lock();
                let entry = shard.get_mut(place.slot as usize);
                let is_it = entry.is_some_and(|entry| entry.id == place.id);
                let removed = is_it.then(|| shard.remove(place.slot as usize)).flatten();
                drop(shard);
                if let Some(entry) = removed {
                    self.late -= entry.late.as_ref().map_or(0, |late| late.len() as u64);
                    Engine::delist(place, entry);
                }
            } else {
                let stretch = (tombstone.from_ms, tombstone.to_ms);
                let (scratch, now_ms) = (&mut self.scratch, self.now_ms);
                let gone = self
                    .engine
                    .table
                    .with(place, |entry| entry.forget(stretch, now_ms, scratch));
                self.late -= gone.unwrap_or_default();
            }
        }
        if tombstone.is_whole {
            self.definitions.remove(&tombstone.series);
        }
    }
}
