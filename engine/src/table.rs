//! All series of all tenants: a hash table in shards, so that cores append beside each other.
//!
//! ```text
//! key ──hash──▶ shard (upper bits) ──▶ index ──▶ slot: entry with its window
//! ```
//!
//! The index has some bits of each hash beside the slot, so that nearly always only the entry that
//! is looked for is read at all.
//!
//! A shard's lock is held for the rows of one body that fall into it, or to copy what a reader
//! needs; nobody unpacks or waits under it.

use std::sync::Arc;

use hashbrown::{HashTable, hash_table::Entry as Bucket};
use parking_lot::Mutex;
use pulseboard_history::SeriesId;
use pulseboard_series::{KeyRef, Kind};
use slab::Slab;

use crate::{
    late::{LATE_SAMPLE_BYTES, Late},
    slot::SlotRef,
    tap::{SeriesName, SeriesTap, TapSlot},
    tenant::Tenant,
    window::{Sample, SeriesWindow},
};

/// A power of two; more than cores that could meet.
pub(crate) const SHARDS: usize = 16;

/// One series.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: SeriesId,
    pub(crate) tenant: Arc<Tenant>,
    /// As [`Tenant::place`] says.
    pub(crate) hash: u64,
    pub(crate) key: Box<[u8]>,
    pub(crate) unit: Arc<str>,
    pub(crate) kind: Kind,
    /// Whether it is kept for who embeds the engine: see [`crate::Engine::reserve`].
    pub(crate) is_reserved: bool,
    /// Its sender said that it has ended; the next sample revives it.
    pub(crate) is_ended: bool,
    pub(crate) window: SeriesWindow,
    /// All that was taken of this time and later is in the window, but for what was deleted.
    pub(crate) whole_from_ms: i64,
    /// The newest that came and was not ahead of the clock; `None` before the first.
    pub(crate) last: Option<Sample>,
    /// The latest time of those that came and were ahead of the clock; the least number when none
    /// was.
    pub(crate) ahead_ms: i64,
    /// Whether the newest that came was one of those: its sender's clock is ahead. Then what has
    /// come of age since counts, too.
    pub(crate) is_ahead: bool,
    /// When the newest came, by this server's clock.
    pub(crate) arrived_ms: i64,
    /// Typical distance of two samples; 0 before the second.
    pub(crate) interval_ms: u32,
    /// How often a sample came that was not the newest: what was made of its past is void then.
    pub(crate) late_count: u32,
    /// The history's log segment that the oldest unsealed sample may be in; 0 when all are
    /// sealed.
    pub(crate) unsealed_segment: u32,
    /// Time of the oldest unsealed sample that is newer than `sealed_ms`; meaningless when all
    /// are sealed.
    pub(crate) unsealed_ms: i64,
    /// Up to this time the window's samples are sealed.
    pub(crate) sealed_ms: i64,
    /// On its way into the history: nothing of it leaves memory before that is known to be there.
    pub(crate) is_sealing: bool,
    /// Samples older than the window, and those at or before `sealed_ms` that came afterwards;
    /// rarely there.
    pub(crate) late: Option<Box<Late>>,
    /// The log's generation in which its definition was written.
    pub(crate) defined_in: u32,
    /// Who watches it.
    #[expect(
        clippy::box_collection,
        reason = "rarely there: 8 bytes in each entry, not 24"
    )]
    pub(crate) taps: Option<Box<Vec<TapSlot>>>,
}

impl Entry {
    pub(crate) fn key(&self) -> KeyRef<'_> {
        KeyRef::new(&self.key)
    }

    /// Bytes that it costs, besides its place in the index.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.key.len()
            + self.window.held_bytes()
            + self.late.as_ref().map_or(0, |late| {
                size_of::<Late>() + late.len() * LATE_SAMPLE_BYTES as usize
            })
    }

    /// Gives it a slot in a tap, if it has none yet; under the lock of its shard. With what memory
    /// has of it where it is new, so that nothing falls between its coming and this.
    pub(crate) fn attach(&mut self, tap: &Arc<SeriesTap>, is_new: bool) {
        let taps = self.taps.as_ref();
        if taps.is_some_and(|taps| taps.iter().any(|slot| Arc::ptr_eq(&slot.tap, tap))) {
            return;
        }
        let name = SeriesName {
            key: self.key.clone(),
            unit: Arc::clone(&self.unit),
            kind: self.kind,
        };
        let Some(number) = tap.admit(name) else {
            return;
        };
        let taps = self.taps.get_or_insert_default();
        taps.push(TapSlot {
            tap: Arc::clone(tap),
            number,
        });
        if is_new {
            let mut samples = Vec::new();
            let copy = self.window.copy(i64::MIN, i64::MAX);
            copy.read(i64::MIN, i64::MAX, &mut samples);
            for sample in samples {
                tap.gather(number, sample);
            }
        }
    }

    /// Follows the distance of samples: quickly at first, then steadily; a gap of many intervals
    /// is an outage and moves it little.
    pub(crate) fn learn_interval(&mut self, step_ms: i64) {
        let step = u32::try_from(step_ms).unwrap_or(u32::MAX).max(1);
        self.interval_ms = match self.interval_ms {
            0 => step,
            known => {
                let bounded = step.min(known.saturating_mul(2));
                let mean = (u64::from(known) * 3 + u64::from(bounded)).div_ceil(4);
                u32::try_from(mean).unwrap_or(u32::MAX)
            }
        };
    }
}

/// Where an entry is, as the index has it.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// See [`tag`].
    tag: u32,
    slot: u32,
}

/// Bits of a hash that tell nearly all entries of a bucket apart; the index uses the lower ones.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    index: HashTable<Place>,
    entries: Slab<Entry>,
}

/// All series of all tenants: a hash table in shards, so that cores append beside each other.
#[derive(Debug)]
pub(crate) struct Table {
    shards: [Mutex<Shard>; SHARDS],
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

/// Which shard a placed hash falls into.
pub(crate) fn shard_of(hash: u64) -> usize {
    // The index uses the lower bits and the seven highest; these are in between.
    (hash >> 32) as usize % SHARDS
}

impl Table {
    pub(crate) fn shard(&self, number: usize) -> &Mutex<Shard> {
        &self.shards[number % SHARDS]
    }

    /// Reads one entry under its shard's lock, if it is still there.
    pub(crate) fn with<T>(&self, place: SlotRef, read: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut shard = self.shard(usize::from(place.shard)).lock();
        let entry = shard.entries.get_mut(place.slot as usize)?;
        (entry.id == place.id).then(|| read(entry))
    }
}

impl Shard {
    /// The entry of this tenant and key, if it is there.
    pub(crate) fn find(&self, tenant: u64, hash: u64, key: &[u8]) -> Option<usize> {
        let place = self.index.find(hash, |place| {
            place.tag == tag(hash)
                && self
                    .entries
                    .get(place.slot as usize)
                    .is_some_and(|entry| is_it(entry, tenant, hash, key))
        });
        place.map(|place| place.slot as usize)
    }

    /// The slot that [`Shard::find`] will very probably find for this hash. Reads no entry.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        let place = self.index.find(hash, |place| place.tag == tag(hash));
        place.map(|place| place.slot)
    }

    /// Reads a little of all that appending to an entry reads, so that it is on its way from
    /// memory; what it returns means nothing.
    pub(crate) fn touch(&self, slot: u32) -> u64 {
        let Some(entry) = self.entries.get(slot as usize) else {
            return 0;
        };
        let key = entry.key.first().copied().unwrap_or_default()
            ^ entry.key.last().copied().unwrap_or_default();
        let newest_ms = entry.window.touch() ^ entry.last.map_or(0, |last| last.0) ^ entry.ahead_ms;
        let own = entry.hash ^ u64::from(entry.id.0) ^ entry.unit.len() as u64;
        own ^ u64::from(key)
            ^ u64::from(entry.defined_in ^ entry.unsealed_segment)
            ^ (newest_ms ^ entry.sealed_ms ^ entry.arrived_ms).cast_unsigned()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.get_mut(slot)
    }

    /// Puts a new entry in; its slot.
    pub(crate) fn insert(&mut self, entry: Entry) -> usize {
        let hash = entry.hash;
        let slot = self.entries.insert(entry);
        let entries = &self.entries;
        let rehash = |place: &Place| {
            let entry = entries.get(place.slot as usize);
            entry.map_or(0, |entry| entry.hash)
        };
        // It is known not to be there: nothing is compared.
        if let Bucket::Vacant(bucket) = self.index.entry(hash, |_| false, rehash) {
            bucket.insert(Place {
                tag: tag(hash),
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
            });
        }
        slot
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, slot: usize) -> Option<Entry> {
        let entry = self.entries.try_remove(slot)?;
        let found = self
            .index
            .find_entry(entry.hash, |known| known.slot as usize == slot);
        if let Ok(bucket) = found {
            bucket.remove();
        }
        Some(entry)
    }

    /// The entries of at most `max` slots from `from` on, with their slots; and whether that was
    /// all.
    pub(crate) fn slice(&mut self, from: usize, max: usize) -> (Vec<usize>, bool) {
        let end = (from + max).min(self.entries.capacity());
        let slots = (from..end).filter(|slot| self.entries.contains(*slot));
        (slots.collect(), end == self.entries.capacity())
    }

    /// The segment that the oldest unsealed sample may be in; the greatest number when all are
    /// sealed.
    pub(crate) fn oldest_unsealed_segment(&self) -> u32 {
        let segments = self.entries.iter().map(|(_, entry)| entry.unsealed_segment);
        segments
            .filter(|segment| *segment > 0)
            .min()
            .unwrap_or(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of index and slots that hold no entry.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.index.capacity() * (size_of::<Place>() + 1)
            + (self.entries.capacity() - self.entries.len()) * size_of::<Entry>()
    }
}

fn is_it(entry: &Entry, tenant: u64, hash: u64, key: &[u8]) -> bool {
    entry.hash == hash && entry.tenant.number == tenant && *entry.key == *key
}
