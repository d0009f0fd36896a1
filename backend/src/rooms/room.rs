//! One room, a member's place in it, and where rooms are found.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_bus::Refused;
use pulseboard_feed::{Bounds, Epoch, Fanout, Feed, MemberGuard, Spot, Subscriber, Subscription};
use pulseboard_shared::protocol::rooms::frames::RoomMessage;

use super::{
    config::RoomConfig,
    payload::{self, AskedEvents, RoomPayload, RoomView},
    shared::{self, Shared, SharedRoom},
};
use crate::{
    base::{clock::Clock, json::json_text},
    shares::Share,
};

/// A room's log: what a member that reads slowly, or comes back, can still get.
const ROOM_LOG: Bounds = Bounds {
    frames: 4_096,
    bytes: 2 * 1024 * 1024,
    lag: 4_096,
};
/// Who came and went is told beside that log: only the newest count matters, and a room that many
/// enter and leave would else let its messages go for it.
const PRESENCE_LOG: Bounds = Bounds {
    frames: 16,
    bytes: usize::MAX,
    lag: 16,
};
/// One room.
pub struct Room {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    /// Its name.
    pub name: String,
    pub(super) tenant: Box<str>,
    /// What it allows.
    pub config: Arc<RoomConfig>,
    /// Of whoever made it; without one it is there for its members alone.
    share: Option<Share>,
    feed: Arc<Feed<RoomPayload>>,
    /// Where other servers have it, too.
    shared: Option<SharedRoom>,
    /// See [`PRESENCE_LOG`]; its members has the members that asked for it.
    presence: Arc<Feed<RoomPayload>>,
    members: AtomicUsize,
    /// By membership, the events that its member gets. Leaf lock.
    asked: Mutex<HashMap<u64, AskedEvents>>,
    /// When the last member left, Unix milliseconds.
    empty_since_ms: AtomicI64,
}

/// A member's cursor into what is said.
pub struct RoomCursor {
    /// Where it begins.
    pub cursor: Subscription<RoomPayload>,
    /// It waits until it is known what the other servers have; with what the member saw last.
    pub waits: Option<Option<(String, u64)>>,
}

/// A member's place in a room; leaving is dropping it.
pub struct Membership {
    room: Arc<Room>,
    /// Tells it from the room's others.
    number: u64,
    rooms: Arc<Mutex<Held>>,
    clock: Clock,
    _seat: MemberGuard,
    _presence_seat: Option<MemberGuard>,
}

/// Rooms by tenant and name: a name is a room of its own for each tenant.
#[derive(Default)]
pub(super) struct Held {
    tenants: HashMap<Box<str>, HashMap<String, Arc<Room>>>,
    count: usize,
}

impl Held {
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Takes in one that is not there yet.
    pub(super) fn insert(&mut self, room: Arc<Room>) {
        self.count += 1;
        let rooms = self.tenants.entry(room.tenant.clone()).or_default();
        rooms.insert(room.name.clone(), room);
    }

    /// A tenant's, by name.
    pub(super) fn of_tenant(&self, tenant: &str) -> BTreeMap<String, Arc<Room>> {
        let rooms = self.tenants.get(tenant).into_iter().flatten();
        rooms
            .map(|(name, room)| (name.clone(), Arc::clone(room)))
            .collect()
    }

    pub(super) fn get(&self, tenant: &str, name: &str) -> Option<&Arc<Room>> {
        self.tenants.get(tenant)?.get(name)
    }

    /// Lets a room go that nobody is in and that need not be kept, at this moment.
    fn remove_empty(&mut self, room: &Arc<Room>) {
        let Some(rooms) = self.tenants.get_mut(&room.tenant) else {
            return;
        };
        // One of the same name may have been made since.
        let is_it = rooms
            .get(&room.name)
            .is_some_and(|known| Arc::ptr_eq(known, room));
        if is_it && room.members() == 0 && !room.outlives_members() {
            rooms.remove(&room.name);
            self.count -= 1;
            if rooms.is_empty() {
                self.tenants.remove(&room.tenant);
            }
        }
    }

    /// Lets all rooms go that nobody is in, whatever was said in them; whether there were any.
    pub(super) fn remove_all_empty(&mut self) -> bool {
        let before = self.count;
        self.retain(|room| room.members() > 0);
        self.count < before
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Room) -> bool) {
        self.tenants.retain(|_, rooms| {
            rooms.retain(|_, room| keep(room));
            !rooms.is_empty()
        });
        self.count = self.tenants.values().map(HashMap::len).sum();
    }

    pub(super) fn all_unsorted(&self) -> impl Iterator<Item = &Arc<Room>> {
        self.tenants.values().flat_map(HashMap::values)
    }
}

impl Room {
    /// One that somebody enters at this moment, by wall and steady time.
    pub(super) fn new(
        id: u64,
        (tenant, name): (&str, &str),
        config: Arc<RoomConfig>,
        share: Option<Share>,
        (now_ms, steady_ms): (i64, i64),
        (fanout, shared): (&Fanout, Option<&Arc<Shared>>),
    ) -> Self {
        let epoch = Epoch::at(now_ms);
        let first = if shared.is_some() {
            shared::UNKNOWN
        } else {
            epoch
        };
        let feed = Feed::of_tenant(tenant, first, ROOM_LOG, fanout);
        let shared = shared.map(|shared| SharedRoom::begin(shared, (tenant, name), &feed));
        Self {
            id,
            name: name.to_owned(),
            tenant: tenant.into(),
            config,
            share,
            feed,
            shared,
            presence: Feed::new(epoch, PRESENCE_LOG, fanout),
            members: AtomicUsize::new(1),
            asked: Mutex::default(),
            empty_since_ms: AtomicI64::new(steady_ms),
        }
    }

    /// Counts somebody who comes in.
    pub(super) fn enter(&self) {
        self.members.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts somebody who has left; how many there are now.
    pub(super) fn leave(&self) -> usize {
        self.members.fetch_sub(1, Ordering::SeqCst) - 1
    }

    /// How long nobody has been in it, at this steady time.
    pub(super) fn empty_ms(&self, steady_ms: i64) -> i64 {
        steady_ms - self.empty_since_ms.load(Ordering::SeqCst)
    }

    /// Members now, those on other servers included.
    #[must_use]
    pub fn members_everywhere(&self) -> usize {
        let shared = self.shared.as_ref();
        self.members() + shared.map_or(0, |shared| shared.elsewhere(&self.tenant, &self.name))
    }

    /// Members on this server now.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.load(Ordering::SeqCst)
    }

    /// Members now that get an event of this name.
    pub(super) fn members_asking_for(&self, event: &str) -> usize {
        let asked = self.asked.lock();
        asked
            .values()
            .filter(|asked| payload::asks_for(asked, event))
            .count()
    }

    /// Whether somebody may come back for what was said in it.
    pub(super) fn outlives_members(&self) -> bool {
        let is_silent = || {
            self.feed
                .with_log(|log| log.first_offset() == log.next_offset())
        };
        self.share.is_some() && !is_silent()
    }

    /// Sends to the members, wherever they are.
    ///
    /// # Errors
    /// It is too large for the other servers, or too much waits for them; nothing is sent.
    pub fn send(&self, payload: RoomPayload) -> Result<(), Refused> {
        self.send_once(None, payload)
    }

    /// The same for what every server says at a moment: the first is heard.
    pub(super) fn send_once(&self, once: Option<u64>, payload: RoomPayload) -> Result<(), Refused> {
        match &self.shared {
            Some(shared) => shared.send(once, payload),
            None => {
                self.feed.append(payload);
                Ok(())
            }
        }
    }

    /// Begins to tell a member what is said: after the message it saw last, where it says so and
    /// that is held.
    #[must_use]
    pub fn cursor(&self, view: RoomView, viewer: u64, seen: Option<&(String, u64)>) -> RoomCursor {
        let end = self.feed.with_log(|log| {
            let is_known = self.shared.is_none() || shared::is_known(log.epoch());
            (!is_known).then(|| log.end())
        });
        let next = end.unwrap_or_else(|| {
            let seen = seen.map(|(epoch, offset)| (epoch.as_str(), *offset));
            self.feed.after_or_end(seen)
        });
        RoomCursor {
            cursor: Subscription::new(Arc::clone(&self.feed), next, view, viewer),
            waits: end.is_some().then(|| seen.cloned()),
        }
    }

    /// Names the presence cursor of this room among those of a viewer.
    #[must_use]
    pub fn presence_id(&self) -> u64 {
        // Ids count from 1 and never come this far.
        self.id | 1 << 63
    }

    /// A cursor for a member that is to be told of presence from now on. It has no place in what
    /// the member resumes from.
    #[must_use]
    pub fn presence_cursor(&self, view: &RoomView, viewer: u64) -> Subscription<RoomPayload> {
        let next = self.presence.end();
        let view = RoomView {
            cursor: false,
            ..view.clone()
        };
        Subscription::new(Arc::clone(&self.presence), next, view, viewer)
    }

    /// A cursor for a member that is there already, from the place it wants next.
    #[must_use]
    pub fn cursor_at(&self, next: Spot, view: RoomView, viewer: u64) -> Subscription<RoomPayload> {
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
    }

    pub(super) fn tell_presence(&self) {
        let message = RoomMessage::Presence {
            channel: &self.name,
            members: self.members_everywhere(),
        };
        self.presence
            .append(RoomPayload::presence(json_text(&message)));
    }
}

impl Membership {
    /// Of somebody who entered `room`; its home is all rooms and their clock.
    pub(super) fn new(
        room: Arc<Room>,
        number: u64,
        (rooms, clock): (&Arc<Mutex<Held>>, &Clock),
        member: Arc<dyn Subscriber>,
        events: AskedEvents,
        presence: bool,
    ) -> Self {
        room.asked.lock().insert(number, events);
        let presence_seat = presence.then(|| room.presence.members().join(Arc::clone(&member)));
        let seat = room.feed.members().join(member);
        room.tell_presence();
        Self {
            room,
            number,
            rooms: Arc::clone(rooms),
            clock: clock.clone(),
            _seat: seat,
            _presence_seat: presence_seat,
        }
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.room
            .empty_since_ms
            .store(self.clock.steady_ms(), Ordering::SeqCst);
        self.room.asked.lock().remove(&self.number);
        let left = self.room.leave();
        self.room.tell_presence();
        if left == 0 {
            self.rooms.lock().remove_empty(&self.room);
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .field("members", &self.members())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RoomCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomCursor")
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("room", &self.room.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Held {
    /// Whether a tenant without rooms is still remembered.
    pub(super) fn keeps_a_tenant_without_rooms(&self) -> bool {
        self.tenants.values().any(HashMap::is_empty)
    }
}

#[cfg(test)]
impl Room {
    /// Whether it counts for whoever made it.
    pub(super) fn is_shared(&self) -> bool {
        self.share.is_some()
    }

    /// Members whose events are known.
    pub(super) fn asking(&self) -> usize {
        self.asked.lock().len()
    }
}
