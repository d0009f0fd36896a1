//! What applications track item by item (`POST /metrics/track`): counts, sums and buckets of time
//! per tenant and name, and the feed that `GET /dashboard/stream` follows.
//!
//! Pure but for locks; times are the caller's. What is here outlives a restart by the journal,
//! which keeps every item and, now and then, a [`Snapshot`] of everything.

pub mod hearing;
pub mod items;
pub mod together;
pub mod track;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pulseboard_shared::protocol::{
    dashboard::{Init, ItemTotals, Opening, Update},
    follow::FeedName,
};

pub use self::items::{BucketLength, Items, NAMES_MAX, TooManyNames};
use self::together::Together;
use crate::base::json::json_text;
use pulseboard_feed::{
    At, Bounds, Epoch, Fanout, Feed, Frame, NotPortable, Payload, Portable, portable,
    wire::{self, Framing},
};

/// An update replaces the one before: a slow stream needs the newest only.
const UPDATE_LOG: Bounds = Bounds {
    frames: 4,
    bytes: usize::MAX,
    lag: 2,
};

/// All tenants' tracked items.
pub struct TrackedItems {
    tenants: RwLock<HashMap<Box<str>, Arc<TenantItems>>>,
    epoch: Epoch,
    fanout: Fanout,
    /// Other servers count, too.
    is_shared: bool,
}

/// One tenant's tracked items.
pub struct TenantItems {
    /// Leaf lock.
    items: Mutex<Items>,
    /// Streams that other servers have open.
    elsewhere: AtomicU64,
    /// What the others counted, where there are some; a leaf lock.
    together: Option<Mutex<Together>>,
    feed: Arc<Feed<UpdatePayload>>,
}

/// Tenants and what they tracked.
pub type Snapshot = BTreeMap<String, Items>;

impl TrackedItems {
    /// Nothing tracked yet.
    #[must_use]
    pub fn new(epoch: Epoch, fanout: &Fanout) -> Self {
        Self {
            tenants: RwLock::default(),
            epoch,
            fanout: fanout.clone(),
            is_shared: false,
        }
    }

    /// The same where other servers count, too.
    #[must_use]
    pub fn together(self) -> Self {
        Self {
            is_shared: true,
            ..self
        }
    }

    /// Takes over what was kept.
    pub fn restore(&self, snapshot: Snapshot) {
        for (tenant, items) in snapshot {
            let tenant = self.tenant(&tenant);
            if let Some(together) = &tenant.together {
                *together.lock() = Together::going_on(&items);
            }
            *tenant.items.lock() = items;
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
                together: self.is_shared.then(Mutex::default),
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
                let items = tenant.with_others(items);
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
        let totals = self.items.lock().add(name, value, at_ms)?;
        if let Some(together) = &self.together {
            together.lock().has_changed(name);
        }
        Ok(totals)
    }

    /// These with what other servers counted.
    fn with_others(&self, mut items: Items) -> Items {
        if let Some(together) = &self.together {
            items.add_all(&together.lock().all_others());
        }
        items
    }

    /// What everybody counted, all of it here where there is one server, as `look` sees it.
    fn look<T>(&self, look: impl FnOnce(&Items) -> T) -> T {
        if self.together.is_none() {
            return look(&self.items.lock());
        }
        let items = self.items.lock().clone();
        look(&self.with_others(items))
    }

    /// What is to be told to other servers, and what is known of them; `None` where there are none.
    #[must_use]
    pub fn together(&self) -> Option<&Mutex<Together>> {
        self.together.as_ref()
    }

    /// What was counted here under these names, as others are told of it.
    #[must_use]
    pub fn as_told(&self, names: &[String]) -> Vec<(String, Vec<u8>)> {
        let Some(together) = &self.together else {
            return Vec::new();
        };
        let own = {
            let items = self.items.lock();
            let own = names.iter().filter_map(|name| {
                let item = items.0.get(name)?;
                Some((name.clone(), item.clone()))
            });
            Items(own.collect())
        };
        together.lock().as_told(names, own)
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
            metrics: self.look(Items::table),
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
                time_series: self.look(|items| items.series(&view.name, view.length)),
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
    use pulseboard_shared::protocol::dashboard::Bucket;

    use super::{items::BUCKETS_KEPT, *};

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
