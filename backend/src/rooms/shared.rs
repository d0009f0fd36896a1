//! Rooms that other servers have, too: what is said in one goes to all of them in one order, and
//! comes back to its own members that way.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_bus::{Bus, FeedKey, FeedSink, Kind, Refused, Subscription};
use pulseboard_feed::{At, Epoch, Feed, portable};
use serde::{Deserialize, Serialize};

use super::payload::RoomPayload;

/// The first byte of what is sent: what is of another version is passed over.
const VERSION: u8 = 1;

/// Of a room's log before it is known what the others have.
pub(super) const UNKNOWN: Epoch = Epoch(0);

/// How rooms reach the other servers.
pub(super) struct Shared {
    pub(super) bus: Arc<dyn Bus>,
    /// This run of this server; tells its own messages from those of others.
    pub(super) me: Arc<str>,
    /// Members of rooms on other servers, by tenant and room. Leaf lock.
    elsewhere: Mutex<Elsewhere>,
}

type Elsewhere = HashMap<(Box<str>, Box<str>), usize>;

/// A room's part of it.
pub(super) struct SharedRoom {
    shared: Arc<Shared>,
    key: FeedKey,
    _subscription: Subscription,
}

/// Puts what comes into a room's feed.
struct Sink {
    feed: Arc<Feed<RoomPayload>>,
    me: Arc<str>,
}

/// What travels.
#[derive(Serialize, Deserialize)]
struct Said {
    payload: RoomPayload,
    /// The server and the viewer that said it.
    from: Option<(Arc<str>, u64)>,
}

impl Shared {
    pub(super) fn new(bus: Arc<dyn Bus>, me: Arc<str>) -> Self {
        Self {
            bus,
            me,
            elsewhere: Mutex::default(),
        }
    }

    pub(super) fn key(tenant: &str, name: &str) -> FeedKey {
        FeedKey::new(Kind::Room, tenant, name)
    }

    /// Says something in a room, whether it is here or not; `once`: the first server that says so
    /// much says it for all.
    pub(super) fn send(
        &self,
        key: &FeedKey,
        once: Option<u64>,
        payload: RoomPayload,
    ) -> Result<(), Refused> {
        let from = payload
            .sender()
            .map(|viewer| (Arc::clone(&self.me), viewer));
        let said = portable::write(&Said { payload, from });
        let frame = portable::versioned(VERSION, &said);
        self.bus.publish(key, once, frame)
    }

    /// Rooms of a tenant that have members on other servers.
    pub(super) fn rooms_elsewhere(&self, tenant: &str) -> Vec<String> {
        let elsewhere = self.elsewhere.lock();
        let of = elsewhere.keys().filter(|(of, _)| **of == *tenant);
        of.map(|(_, room)| room.to_string()).collect()
    }

    /// Members of a room on other servers.
    pub(super) fn elsewhere(&self, tenant: &str, name: &str) -> usize {
        let elsewhere = self.elsewhere.lock();
        // Asked for rarely: on coming and going.
        let of = elsewhere
            .iter()
            .filter(|((of, room), _)| **of == *tenant && **room == *name);
        of.map(|(_, count)| *count).sum()
    }

    /// Tenants that have members in this room on other servers.
    pub(super) fn tenants_elsewhere(&self, name: &str) -> Vec<Box<str>> {
        let elsewhere = self.elsewhere.lock();
        let of = elsewhere.keys().filter(|(_, room)| **room == *name);
        of.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Takes in who is elsewhere; the rooms where that has changed.
    pub(super) fn set_elsewhere(
        &self,
        counts: HashMap<(Box<str>, Box<str>), usize>,
    ) -> Vec<(Box<str>, Box<str>)> {
        let mut elsewhere = self.elsewhere.lock();
        let before = std::mem::replace(&mut *elsewhere, counts);
        let changed = |room: &&(Box<str>, Box<str>)| before.get(*room) != elsewhere.get(*room);
        let rooms = before
            .keys()
            .chain(elsewhere.keys().filter(|room| !before.contains_key(*room)));
        rooms.filter(changed).cloned().collect()
    }
}

impl SharedRoom {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        (tenant, name): (&str, &str),
        feed: &Arc<Feed<RoomPayload>>,
    ) -> Self {
        let key = Shared::key(tenant, name);
        let sink = Sink {
            feed: Arc::clone(feed),
            me: Arc::clone(&shared.me),
        };
        Self {
            _subscription: shared.bus.subscribe(key.clone(), Arc::new(sink)),
            shared: Arc::clone(shared),
            key,
        }
    }

    pub(super) fn send(&self, once: Option<u64>, payload: RoomPayload) -> Result<(), Refused> {
        self.shared.send(&self.key, once, payload)
    }

    pub(super) fn elsewhere(&self, tenant: &str, name: &str) -> usize {
        self.shared.elsewhere(tenant, name)
    }
}

/// Whether what the other servers have said is known: before, nobody can be told where it begins.
pub(super) fn is_known(epoch: Epoch) -> bool {
    epoch != UNKNOWN
}

impl Sink {
    fn read(&self, frame: &Bytes) -> RoomPayload {
        let form = portable::of_version(VERSION, frame);
        let said = form.and_then(|form| portable::read::<Said>(form).ok());
        let Some(Said { payload, from }) = said else {
            // It keeps its place, and says nothing to anybody.
            tracing::warn!("what was said in a room on another server cannot be read here");
            return RoomPayload::nothing();
        };
        let own = from.filter(|(server, _)| *server == self.me);
        payload.sent_by(own.map(|(_, viewer)| viewer))
    }
}

impl FeedSink for Sink {
    fn append(&self, epoch: Epoch, offset: u64, frame: Bytes) {
        let payload = self.read(&frame);
        self.feed.append_at(At { epoch, offset }, payload);
    }

    fn reset(&self, epoch: Epoch, first_offset: u64, frames: Vec<Bytes>) {
        let payloads: Vec<RoomPayload> = frames.iter().map(|frame| self.read(frame)).collect();
        self.feed.reset(epoch, first_offset, payloads);
    }
}
