//! What applications track item by item (`POST /metrics/track`): counts, sums and buckets of time
//! per tenant and name, and the feed that `GET /dashboard/stream` follows.
//!
//! Pure but for locks; times are the caller's. What is here outlives a restart by the journal,
//! which keeps every item and, now and then, a [`Snapshot`] of everything.

pub mod track;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pulseboard_shared::protocol::{
    dashboard::{Bucket, Init, ItemTotals, Opening, TotalsByName, Update},
    follow::FeedName,
};
use serde::{Deserialize, Serialize};

use crate::base::json::json_text;
use pulseboard_feed::{
    At, Bounds, Epoch, Fanout, Feed, Frame, NotPortable, Payload, Portable, portable,
    wire::{self, Framing},
};

/// Names of one tenant; an item of a further one is refused.
pub const NAMES_MAX: usize = 1_000;

/// Buckets with data that an update carries, and that are kept per length.
const BUCKETS_KEPT: usize = 10;

/// An update replaces the one before: a slow stream needs the newest only.
const UPDATE_LOG: Bounds = Bounds {
    frames: 4,
    bytes: usize::MAX,
    lag: 2,
};

/// Length of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLength {
    /// A minute.
    #[default]
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
}

impl BucketLength {
    const ALL: [Self; 3] = [Self::Minute, Self::FiveMinutes, Self::Hour];

    /// From `?window=`.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|length| length.seconds() == seconds)
    }

    const fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
        }
    }
}

/// All tenants' tracked items.
pub struct TrackedItems {
    tenants: RwLock<HashMap<Box<str>, Arc<TenantItems>>>,
    epoch: Epoch,
    fanout: Fanout,
}

/// One tenant's tracked items.
pub struct TenantItems {
    /// Leaf lock.
    items: Mutex<Items>,
    /// Streams that other servers have open.
    elsewhere: AtomicU64,
    feed: Arc<Feed<UpdatePayload>>,
}

/// Everything that was tracked by one tenant; also the form in which it is kept on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Items(BTreeMap<String, Item>);

/// What was tracked under one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Item {
    /// Kept by the name that it has had since the first journal.
    #[serde(rename = "tally")]
    totals: ItemTotals,
    /// The newest buckets that hold data, oldest first, in the order of [`BucketLength::ALL`].
    buckets: [VecDeque<Bucket>; 3],
}

/// Tenants and what they tracked.
pub type Snapshot = BTreeMap<String, Items>;

/// The tenant has [`NAMES_MAX`] names already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this type would be new, and the tenant has {NAMES_MAX} types already")]
pub struct TooManyNames;

impl Items {
    /// The same in parts of at most `names` each.
    pub(crate) fn in_parts(self, names: usize) -> impl Iterator<Item = Self> {
        let mut items = self.0.into_iter();
        std::iter::from_fn(move || {
            let part: BTreeMap<String, Item> = items.by_ref().take(names.max(1)).collect();
            (!part.is_empty()).then_some(Self(part))
        })
    }

    /// Puts a part back; of a name that is there, too, the part's counts.
    pub(crate) fn take_in(&mut self, part: Self) {
        self.0.extend(part.0);
    }

    /// Counts one item.
    ///
    /// # Errors
    /// It would be a name too many.
    pub fn add(&mut self, name: &str, value: f64, at_ms: i64) -> Result<ItemTotals, TooManyNames> {
        if !self.0.contains_key(name) && self.0.len() >= NAMES_MAX {
            return Err(TooManyNames);
        }
        let item = match self.0.get_mut(name) {
            Some(item) => item,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        item.totals.count += 1;
        item.totals.total = sum(item.totals.total, value);
        // Not the greatest: the clock may have been set back.
        item.totals.last_update_ms = at_ms;
        for (length, buckets) in BucketLength::ALL.into_iter().zip(&mut item.buckets) {
            let length_ms = i64::from(length.seconds()) * 1000;
            let start_ms = at_ms.div_euclid(length_ms) * length_ms;
            let known = buckets
                .iter()
                .rposition(|bucket| bucket.start_ms <= start_ms);
            match known {
                Some(index) if buckets[index].start_ms == start_ms => {
                    buckets[index].count += 1;
                    buckets[index].sum = sum(buckets[index].sum, value);
                    continue;
                }
                // Older than all that is kept: it would go at once.
                None if buckets.len() == BUCKETS_KEPT => continue,
                _ => {}
            }
            let bucket = Bucket {
                count: 1,
                sum: value,
                start_ms,
            };
            buckets.insert(known.map_or(0, |index| index + 1), bucket);
            if buckets.len() > BUCKETS_KEPT {
                buckets.pop_front();
            }
        }
        Ok(item.totals)
    }

    /// Lets buckets go that have not begun yet: the clock has been set back since they were made.
    fn forget_after(&mut self, now_ms: i64) {
        let all = self.0.values_mut().flat_map(|item| &mut item.buckets);
        for buckets in all {
            while buckets
                .back()
                .is_some_and(|newest| newest.start_ms > now_ms)
            {
                buckets.pop_back();
            }
        }
    }

    fn table(&self) -> TotalsByName {
        let totals = |(name, item): (&String, &Item)| (name.clone(), item.totals);
        self.0.iter().map(totals).collect()
    }

    /// Newest first.
    fn series(&self, name: &str, length: BucketLength) -> Vec<Bucket> {
        let item = self.0.get(name);
        item.map(|item| {
            item.buckets[length as usize]
                .iter()
                .rev()
                .copied()
                .collect()
        })
        .unwrap_or_default()
    }
}

/// A sum that stays a number that JSON has, whatever finite values come.
fn sum(so_far: f64, value: f64) -> f64 {
    (so_far + value).clamp(f64::MIN, f64::MAX)
}

impl TrackedItems {
    /// Nothing tracked yet.
    #[must_use]
    pub fn new(epoch: Epoch, fanout: &Fanout) -> Self {
        Self {
            tenants: RwLock::default(),
            epoch,
            fanout: fanout.clone(),
        }
    }

    /// Takes over what was kept.
    pub fn restore(&self, snapshot: Snapshot) {
        for (tenant, items) in snapshot {
            *self.tenant(&tenant).items.lock() = items;
        }
    }

    /// Everything, to be kept.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let tenants = self.tenants.read();
        tenants
            .iter()
            .map(|(name, tenant)| (name.to_string(), tenant.items.lock().clone()))
            .filter(|(_, items)| !items.0.is_empty())
            .collect()
    }

    /// All tenants that something was tracked for, or is looked at.
    #[must_use]
    pub fn tenants(&self) -> Vec<(Box<str>, Arc<TenantItems>)> {
        let tenants = self.tenants.read();
        let all = tenants.iter();
        all.map(|(name, tracked)| (name.clone(), Arc::clone(tracked)))
            .collect()
    }

    /// A tenant's tracked items, none where nothing was tracked. The engine bounds how many
    /// tenants there are.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Arc<TenantItems> {
        if let Some(known) = self.tenants.read().get(name) {
            return Arc::clone(known);
        }
        let mut tenants = self.tenants.write();
        let made = tenants.entry(name.into()).or_insert_with(|| {
            Arc::new(TenantItems {
                items: Mutex::default(),
                elsewhere: AtomicU64::new(0),
                feed: Feed::new(self.epoch, UPDATE_LOG, &self.fanout),
            })
        });
        Arc::clone(made)
    }

    /// Sends every tenant's streams how things stand; called every two seconds.
    pub fn tell(&self, now_ms: i64) {
        // Those that somebody only looked at go; whoever holds one is about to look.
        self.tenants.write().retain(|_, tenant| {
            Arc::strong_count(tenant) > 1
                || tenant.clients() > 0
                || !tenant.items.lock().0.is_empty()
        });
        let tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        for tenant in tenants {
            if tenant.clients() > 0 {
                let items = {
                    let mut items = tenant.items.lock();
                    items.forget_after(now_ms);
                    items.clone()
                };
                let clients = tenant.clients_everywhere();
                tenant.feed.append(UpdatePayload {
                    items,
                    clients,
                    now_ms,
                });
            }
        }
    }
}

impl TenantItems {
    /// Whether something was tracked under this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.items.lock().0.contains_key(name)
    }

    /// The names that something was tracked under.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.items.lock().0.keys().cloned().collect()
    }

    /// Whether there is room for a further name.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.items.lock().0.len() < NAMES_MAX
    }

    /// Counts one item; see [`Items::add`].
    ///
    /// # Errors
    /// It would be a name too many.
    pub fn add(&self, name: &str, value: f64, at_ms: i64) -> Result<ItemTotals, TooManyNames> {
        self.items.lock().add(name, value, at_ms)
    }

    /// Streams of this tenant that are open on this server now.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.feed.members().len()
    }

    /// The same with those on other servers.
    #[must_use]
    pub fn clients_everywhere(&self) -> u64 {
        self.clients() as u64 + self.elsewhere.load(Ordering::Relaxed)
    }

    /// How many streams of this tenant other servers have open.
    pub fn set_elsewhere(&self, count: u64) {
        self.elsewhere.store(count, Ordering::Relaxed);
    }

    /// What a stream gets on opening; it is not among the clients yet.
    #[must_use]
    pub fn init(&self) -> Init {
        Init {
            metrics: self.items.lock().table(),
            connected_clients: self.clients_everywhere() + 1,
        }
    }

    /// The same for an event stream, with what its updates have.
    #[must_use]
    pub fn opening(&self, view: &UpdateView, now_ms: i64) -> Opening {
        let init = self.init();
        Opening {
            update: Update {
                stats: init.clone(),
                time_series: self.items.lock().series(&view.name, view.length),
                now_ms,
            },
            init,
        }
    }

    /// The feed of updates.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed<UpdatePayload>> {
        &self.feed
    }
}

/// How a tenant's items stand at one moment.
#[derive(Debug)]
pub struct UpdatePayload {
    items: Items,
    /// Streams that are open.
    clients: u64,
    now_ms: i64,
}

/// What a stream asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateView {
    /// Whose buckets.
    pub name: Arc<str>,
    /// Of which length.
    pub length: BucketLength,
    /// How it is framed.
    pub wire: Framing,
}

impl Payload for UpdatePayload {
    type View = UpdateView;

    fn encode(&self, _at: At, view: &UpdateView) -> Bytes {
        let update = Update {
            stats: Init {
                metrics: self.items.table(),
                connected_clients: self.clients,
            },
            time_series: self.items.series(&view.name, view.length),
            now_ms: self.now_ms,
        };
        let (feed, json) = (FeedName::Aggregate, json_text(&update));
        wire::event(view.wire, feed, Some("update"), None, &json)
    }

    fn merge(held: &[Arc<Frame<Self>>], _first: u64, _last: u64, view: &UpdateView) -> Bytes {
        held.last()
            .map(|frame| frame.encoded(view))
            .unwrap_or_default()
    }
}

impl Portable for UpdatePayload {
    fn to_bytes(&self) -> Vec<u8> {
        portable::write(&(&self.items, self.clients, self.now_ms))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, NotPortable> {
        let (items, clients, now_ms) = portable::read(bytes)?;
        Ok(Self {
            items,
            clients,
            now_ms,
        })
    }
}

impl fmt::Debug for TrackedItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedItems")
            .field("tenants", &self.tenants.read().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TenantItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantItems")
            .field("clients", &self.clients())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_read_back_looks_the_same(
            added in prop::collection::vec(("[a-c]", -1e9..1e9, 0..400_000_000_i64), 0..40),
            (clients, now_ms) in (any::<u64>(), 0..400_000_000_i64),
        ) {
            let mut items = Items::default();
            for (name, value, at_ms) in &added {
                items.add(name, *value, *at_ms).expect("few names");
            }
            let payload = UpdatePayload { items, clients, now_ms };
            let read = UpdatePayload::from_bytes(&payload.to_bytes()).expect("it is one");
            for name in ["a", "b", "none"] {
                for length in BucketLength::ALL {
                    for wire in [
                        Framing::WebSocket(pulseboard_shared::codec::Encoding::Json),
                        Framing::WebSocket(pulseboard_shared::codec::Encoding::Binary),
                        Framing::SseChunked,
                        Framing::SsePlain,
                    ] {
                        let view = UpdateView { name: name.into(), length, wire };
                        let at = At { epoch: Epoch(1), offset: 1 };
                        prop_assert_eq!(read.encode(at, &view), payload.encode(at, &view));
                    }
                }
            }
        }

        /// Buckets are what grouping all items says, whatever order they come in.
        #[test]
        fn buckets_equal_naive(items in prop::collection::vec((0_i64..30, -5_i32..5), 0..200)) {
            let mut tracked = Items::default();
            let mut naive: BTreeMap<i64, (u64, f64)> = BTreeMap::new();
            let mut forgotten = i64::MIN;
            for (minute, value) in items {
                let (at_ms, value) = (minute * 60_000 + 17, f64::from(value));
                prop_assert!(tracked.add("a", value, at_ms).is_ok());
                let start_ms = minute * 60_000;
                if start_ms <= forgotten {
                    continue;
                }
                let bucket = naive.entry(start_ms).or_default();
                bucket.0 += 1;
                bucket.1 += value;
                if naive.len() > BUCKETS_KEPT
                    && let Some((oldest, _)) = naive.pop_first()
                {
                    forgotten = forgotten.max(oldest);
                }
            }
            let expected: Vec<Bucket> = naive
                .into_iter()
                .rev()
                .map(|(start_ms, (count, sum))| Bucket { count, sum, start_ms })
                .collect();
            prop_assert_eq!(tracked.series("a", BucketLength::Minute), expected);
        }
    }

    #[test]
    fn names_are_bounded_and_known_ones_go_on() {
        let mut items = Items::default();
        for number in 0..NAMES_MAX {
            assert!(items.add(&format!("n{number}"), 1.0, 0).is_ok());
        }
        assert_eq!(items.add("one_more", 1.0, 0), Err(TooManyNames));
        assert_eq!(items.add("n0", 2.0, 5).map(|totals| totals.total), Ok(3.0));
    }

    #[test]
    fn what_was_kept_comes_back_however_large() {
        let mut items = Items::default();
        for _ in 0..3 {
            assert!(items.add("big", 1e308, 61_000).is_ok());
            assert!(items.add("small", -1e308, 61_000).is_ok());
        }
        assert!(
            items
                .table()
                .values()
                .all(|totals| totals.total.is_finite())
        );
        assert!(items.add("error", 1.5, 61_000).is_ok());
        let text = json_text(&items);
        assert_eq!(serde_json::from_str::<Items>(&text).ok(), Some(items));
    }
}
