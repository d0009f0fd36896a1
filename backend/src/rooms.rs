//! Rooms: feeds that clients join by name, with a least role, typed events and presence.
//!
//! A room comes into being when somebody joins it and goes when the last member has left: at once
//! where nothing was said in it, else after [`EMPTY_ROOM_KEPT_MS`], so that a client whose
//! connection dropped can resume. Each tenant has its own.
//!
//! Rooms are counted for whoever made them, and half of them are for those who have few. Where there
//! is none left for somebody, empty rooms go before their time. Those of the settings, and the three
//! that are always there, are open also to who has no share left, and go at once then.

mod config;
mod payload;

pub use config::{EventError, RoomConfig};
pub use payload::{AskedEvents, RoomPayload, RoomView};

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_feed::{Bounds, Epoch, Fanout, Feed, MemberGuard, Subscriber, Subscription};
use pulseboard_shared::{
    AlertState, Role, Severity, StatsReport,
    protocol::rooms::{DASHBOARD_ROOM, OPERATIONS_ROOM, frames::RoomMessage},
};
use serde_json::{Value, json};

use crate::{
    base::{
        clock::Clock,
        json::json_text,
        telemetry::{Limit, Telemetry},
    },
    settings::RoomSettings,
    shares::{CallerKeys, Refused, Share, ShareLimits, Shares},
};

/// Rooms at once; a join that would make another is refused, and each maker has a share of them.
/// An empty one has some 2 KB, so this is as many as cost little.
pub const ROOMS_MAX: usize = 4_096;
/// Rooms that one connection may make.
const ROOMS_OF_CLIENT: usize = 128;
/// Of these the last half is for those who have few: hundreds of addresses with a few rooms each
/// leave some for who has none.
const ROOM_SHARES: ShareLimits = ShareLimits {
    kept_sixteenths: 8,
    ..ShareLimits::of(ROOMS_MAX).each_client(ROOMS_OF_CLIENT)
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
/// How long an empty room is kept.
const EMPTY_ROOM_KEPT_MS: i64 = 60_000;

/// All rooms.
pub struct Rooms {
    /// Leaf lock but for that of shares, held to look up, make or remove a room.
    rooms: Arc<Mutex<Held>>,
    shares: Arc<Shares>,
    configs: BTreeMap<String, Arc<RoomConfig>>,
    open: Arc<RoomConfig>,
    next_id: AtomicU64,
    clock: Clock,
    fanout: Fanout,
}

/// Rooms by tenant and name: a name is a room of its own for each tenant.
#[derive(Default)]
struct Held {
    tenants: HashMap<Box<str>, HashMap<String, Arc<Room>>>,
    count: usize,
}

impl Held {
    fn get(&self, tenant: &str, name: &str) -> Option<&Arc<Room>> {
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
    fn remove_all_empty(&mut self) -> bool {
        let before = self.count;
        self.retain(|room| room.members() > 0);
        self.count < before
    }

    fn retain(&mut self, keep: impl Fn(&Room) -> bool) {
        self.tenants.retain(|_, rooms| {
            rooms.retain(|_, room| keep(room));
            !rooms.is_empty()
        });
        self.count = self.tenants.values().map(HashMap::len).sum();
    }

    fn all_unsorted(&self) -> impl Iterator<Item = &Arc<Room>> {
        self.tenants.values().flat_map(HashMap::values)
    }
}

/// One room.
pub struct Room {
    /// Names its cursors among those of a viewer.
    pub id: u64,
    /// Its name.
    pub name: String,
    tenant: Box<str>,
    /// What it allows.
    pub config: Arc<RoomConfig>,
    /// Of whoever made it; without one it is there for its members alone.
    share: Option<Share>,
    feed: Arc<Feed<RoomPayload>>,
    /// See [`PRESENCE_LOG`]; its members has the members that asked for it.
    presence: Arc<Feed<RoomPayload>>,
    members: AtomicUsize,
    /// By membership, the events that its member gets. Leaf lock.
    asked: Mutex<HashMap<u64, AskedEvents>>,
    /// When the last member left, Unix milliseconds.
    empty_since_ms: AtomicI64,
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

/// Why a room cannot be joined or sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The caller's role is too weak.
    #[error("Forbidden: room {room} is for role {needed}")]
    Forbidden { room: String, needed: Role },
    /// There are too many rooms already, or too many that this caller made.
    #[error(transparent)]
    TooMany(#[from] Refused),
}

/// A room as `GET /api/rooms` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RoomInfo {
    /// Its name.
    pub name: String,
    /// Members now.
    pub members: usize,
    /// What it is for; empty where nobody said.
    pub description: String,
    /// The least role of its members.
    pub min_role: Role,
    /// Its typed events.
    pub events: Vec<String>,
    /// Those of them that a member gets without asking.
    pub default_subscriptions: Vec<String>,
}

impl Rooms {
    /// The rooms of the settings, `dashboard` and `operations` among them.
    ///
    /// # Errors
    /// An event schema that is none; says which.
    pub fn new(
        settings: &BTreeMap<String, RoomSettings>,
        clock: Clock,
        fanout: &Fanout,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self, EventError> {
        let configs = config::build(settings)?
            .into_iter()
            .map(|(name, config)| (name, Arc::new(config)))
            .collect();
        Ok(Self {
            rooms: Arc::default(),
            shares: Shares::new(
                "rooms",
                |_| Limit::Rooms,
                ROOM_SHARES,
                Arc::clone(telemetry),
            ),
            configs,
            open: Arc::new(RoomConfig::default()),
            next_id: AtomicU64::new(1),
            clock,
            fanout: fanout.clone(),
        })
    }

    /// What a room allows, whether it exists or not.
    #[must_use]
    pub fn config(&self, name: &str) -> &Arc<RoomConfig> {
        self.configs.get(name).unwrap_or(&self.open)
    }

    /// Checks that `role` may be in the room.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`].
    pub fn check_role(&self, name: &str, role: Role) -> Result<(), RoomError> {
        let needed = self.config(name).min_role;
        if may_join(role, needed) {
            Ok(())
        } else {
            Err(RoomError::Forbidden {
                room: name.to_owned(),
                needed,
            })
        }
    }

    /// The room of this name, made where needed.
    ///
    /// # Errors
    /// The role is too weak, or there are too many rooms.
    pub fn enter(
        &self,
        tenant: &str,
        name: &str,
        role: Role,
        keys: &CallerKeys,
    ) -> Result<Arc<Room>, RoomError> {
        self.check_role(name, role)?;
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get(tenant, name) {
            room.members.fetch_add(1, Ordering::SeqCst);
            return Ok(Arc::clone(room));
        }
        let mut share = self.shares.acquire(keys, 1);
        if share.is_err() && rooms.remove_all_empty() {
            share = self.shares.acquire(keys, 1);
        }
        let share = match share {
            Ok(share) => Some(share),
            Err(_) if self.configs.contains_key(name) => None,
            Err(refused) => return Err(refused.into()),
        };
        let now_ms = self.clock.now_ms();
        let epoch = Epoch::at(now_ms);
        let room = Arc::new(Room {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            name: name.to_owned(),
            tenant: tenant.into(),
            config: Arc::clone(self.config(name)),
            share,
            feed: Feed::of_tenant(tenant, epoch, ROOM_LOG, &self.fanout),
            presence: Feed::new(epoch, PRESENCE_LOG, &self.fanout),
            members: AtomicUsize::new(1),
            asked: Mutex::default(),
            empty_since_ms: AtomicI64::new(self.clock.steady_ms()),
        });
        rooms.count += 1;
        rooms
            .tenants
            .entry(tenant.into())
            .or_default()
            .insert(name.to_owned(), Arc::clone(&room));
        Ok(room)
    }

    /// The room of this name, if it exists.
    #[must_use]
    pub fn get(&self, tenant: &str, name: &str) -> Option<Arc<Room>> {
        self.rooms.lock().get(tenant, name).cloned()
    }

    /// Turns an entered room into a membership; `events` are those that the member gets, `presence`
    /// says whether it is told who else comes and goes.
    #[must_use]
    pub fn seat(
        &self,
        room: Arc<Room>,
        member: Arc<dyn Subscriber>,
        events: AskedEvents,
        presence: bool,
    ) -> Membership {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        room.asked.lock().insert(number, events);
        let presence_seat = presence.then(|| room.presence.members().join(Arc::clone(&member)));
        let seat = room.feed.members().join(member);
        room.tell_presence();
        Membership {
            room,
            number,
            rooms: Arc::clone(&self.rooms),
            clock: self.clock.clone(),
            _seat: seat,
            _presence_seat: presence_seat,
        }
    }

    /// Sends to a room; nobody is there to hear it where it does not exist.
    pub fn send(&self, tenant: &str, name: &str, payload: RoomPayload) {
        // Also where nobody is in it: a member whose connection dropped comes back for it.
        if let Some(room) = self.get(tenant, name) {
            room.send(payload);
        }
    }

    /// A typed event for a room: checked against its schema, then sent. Returns the members that
    /// get it.
    ///
    /// # Errors
    /// The event is none of the room's, or its data does not fit; nothing is sent.
    pub fn trigger(
        &self,
        tenant: &str,
        name: &str,
        event: &str,
        data: &Value,
    ) -> Result<usize, EventError> {
        let text = self.event_text(name, event, data)?;
        let Some(room) = self.get(tenant, name) else {
            return Ok(0);
        };
        room.send(RoomPayload::event(event, text));
        Ok(room.members_asking_for(event))
    }

    fn event_text(&self, name: &str, event: &str, data: &Value) -> Result<String, EventError> {
        self.config(name).check(name, event, data)?;
        Ok(json_text(&RoomMessage::Event {
            room: name,
            event,
            data,
        }))
    }

    /// The rooms of this name that have members: of one tenant, or of all.
    fn inhabited(&self, tenant: Option<&str>, name: &str) -> Vec<Arc<Room>> {
        let rooms = self.rooms.lock();
        let is_wanted = |room: &&Arc<Room>| room.name == name && room.members() > 0;
        match tenant {
            Some(tenant) => rooms
                .get(tenant, name)
                .filter(is_wanted)
                .cloned()
                .into_iter()
                .collect(),
            None => rooms.all_unsorted().filter(is_wanted).cloned().collect(),
        }
    }

    /// What every tick says: `update` to the dashboard, `metrics:update` to the operators.
    pub fn tell_tick(&self, stats: StatsReport, operations: impl FnOnce() -> Value) {
        let dashboards = self.inhabited(None, DASHBOARD_ROOM);
        if !dashboards.is_empty() {
            let text = json_text(&RoomMessage::Update { data: stats });
            for room in dashboards {
                room.send(RoomPayload::update(text.clone()));
            }
        }
        let rooms = self.inhabited(None, OPERATIONS_ROOM);
        if !rooms.is_empty() {
            self.trigger_own(rooms, "metrics:update", &operations());
        }
    }

    fn trigger_own(&self, rooms: Vec<Arc<Room>>, event: &str, data: &Value) {
        match self.event_text(OPERATIONS_ROOM, event, data) {
            Ok(text) => {
                for room in rooms {
                    room.send(RoomPayload::event(event, text.clone()));
                }
            }
            Err(error) => {
                tracing::error!(room.name = OPERATIONS_ROOM, %error, "an event of our own does not fit its schema");
            }
        }
    }

    /// Lets rooms go that have been empty for a while; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        self.rooms.lock().retain(|room| {
            room.members() > 0
                || room.outlives_members()
                    && now_ms - room.empty_since_ms.load(Ordering::SeqCst) < EMPTY_ROOM_KEPT_MS
        });
    }

    /// All rooms of a tenant that this role may join, by name.
    #[must_use]
    pub fn list(&self, tenant: &str, role: Role) -> Vec<RoomInfo> {
        let existing: BTreeMap<String, Arc<Room>> = self
            .rooms
            .lock()
            .tenants
            .get(tenant)
            .into_iter()
            .flatten()
            .map(|(name, room)| (name.clone(), Arc::clone(room)))
            .collect();
        let names: std::collections::BTreeSet<&String> =
            existing.keys().chain(self.configs.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.check_role(name, role).is_ok())
            .map(|name| {
                let config = self.config(name);
                RoomInfo {
                    name: name.clone(),
                    members: existing.get(name).map_or(0, |room| room.members()),
                    description: config.description.clone(),
                    min_role: config.min_role,
                    events: config.event_names().map(str::to_owned).collect(),
                    default_subscriptions: config
                        .default_events
                        .as_deref()
                        .unwrap_or_default()
                        .to_vec(),
                }
            })
            .collect()
    }
}

/// What every firing alert says to `operations`.
impl AlertSink for Rooms {
    fn publish(&self, _offset: u64, event: &AlertEvent) {
        let alert = &event.alert;
        if alert.state != AlertState::Firing {
            return;
        }
        let rooms = self.inhabited(event.tenant.as_deref(), OPERATIONS_ROOM);
        if rooms.is_empty() {
            return;
        }
        let severity = match alert.severity {
            Severity::Warning => Severity::Medium,
            severity => severity,
        };
        self.trigger_own(
            rooms,
            "alert:triggered",
            &json!({
                "alertId": alert.id,
                "severity": severity,
                "message": alert.message,
                "timestamp": alert.timestamp.as_millis(),
            }),
        );
    }
}

/// Checks that the rooms of the settings can be made, without making them.
///
/// # Errors
/// An event schema that is none; says which.
pub fn check(settings: &BTreeMap<String, RoomSettings>) -> Result<(), EventError> {
    config::build(settings).map(drop)
}

/// Whether a role is at least another. A writer reads nothing, so it is in no room.
fn may_join(role: Role, needed: Role) -> bool {
    role.reads()
        && match needed {
            Role::None | Role::Viewer => true,
            Role::Writer => role.writes(),
            Role::Operator => role.operates(),
            Role::Admin => role.administers(),
        }
}

impl Room {
    /// Members now.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.load(Ordering::SeqCst)
    }

    /// Members now that get an event of this name.
    fn members_asking_for(&self, event: &str) -> usize {
        let asked = self.asked.lock();
        asked
            .values()
            .filter(|asked| payload::asks_for(asked, event))
            .count()
    }

    /// Whether somebody may come back for what was said in it.
    fn outlives_members(&self) -> bool {
        let is_silent = || {
            self.feed
                .with_log(|log| log.first_offset() == log.next_offset())
        };
        self.share.is_some() && !is_silent()
    }

    /// Sends to the members.
    pub fn send(&self, payload: RoomPayload) {
        self.feed.append(payload);
    }

    /// A cursor for a member: after the message it saw last, where it says so and that is held.
    #[must_use]
    pub fn cursor(
        &self,
        view: RoomView,
        viewer: u64,
        after: Option<&(String, u64)>,
    ) -> Subscription<RoomPayload> {
        let epoch = self.feed.epoch();
        let next = self.feed.with_log(|log| match after {
            Some((named, offset)) if *named == epoch.to_string() => offset
                .saturating_add(1)
                .clamp(log.first_offset(), log.next_offset()),
            _ => log.next_offset(),
        });
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
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
        let next = self.presence.next_offset();
        let view = RoomView {
            cursor: None,
            ..view.clone()
        };
        Subscription::new(Arc::clone(&self.presence), next, view, viewer)
    }

    /// A cursor for a member that is there already, from the offset it wants next.
    #[must_use]
    pub fn cursor_at(&self, next: u64, view: RoomView, viewer: u64) -> Subscription<RoomPayload> {
        Subscription::new(Arc::clone(&self.feed), next, view, viewer)
    }

    /// The epoch of its log, as it travels.
    #[must_use]
    pub fn epoch_text(&self) -> Arc<str> {
        self.feed.epoch().to_string().into()
    }

    fn tell_presence(&self) {
        let message = RoomMessage::Presence {
            channel: &self.name,
            members: self.members(),
        };
        self.presence
            .append(RoomPayload::presence(json_text(&message)));
    }
}

impl Membership {
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
        let left = self.room.members.fetch_sub(1, Ordering::SeqCst) - 1;
        self.room.tell_presence();
        if left == 0 {
            self.rooms.lock().remove_empty(&self.room);
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("rooms", &self.rooms.lock().count)
            .finish_non_exhaustive()
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

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("room", &self.room.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn rooms() -> Rooms {
        let telemetry = Arc::new(Telemetry::default());
        let (clock, fanout) = (
            Clock::manual(0),
            Fanout::start(1, &telemetry.feed).expect("a thread"),
        );
        Rooms::new(&BTreeMap::new(), clock, &fanout, &telemetry).expect("rooms")
    }

    fn keys(address: u32, tenant: &str) -> CallerKeys {
        CallerKeys {
            client: None,
            address: Some(IpAddr::from((0xC612_0000 + address).to_be_bytes())),
            token: None,
            tenant: Some(tenant.into()),
        }
    }

    #[test]
    fn hundreds_of_addresses_with_a_few_rooms_each_leave_some_for_who_has_none() {
        let rooms = rooms();
        for address in 0..400 {
            for number in 0..30 {
                let name = format!("r-{address}-{number}");
                // They stay in it for good, as far as they are let in.
                drop(rooms.enter("red", &name, Role::Viewer, &keys(address, "red")));
            }
        }
        for (address, tenant) in [(1_000, "red"), (1_001, "blue")] {
            let keys = keys(address, tenant);
            assert!(rooms.enter(tenant, "mine", Role::Viewer, &keys).is_ok());
        }
        // One that has rooms is refused more of them, and may enter what is there.
        let keys = keys(0, "red");
        let refused = rooms.enter("red", "more", Role::Viewer, &keys);
        assert!(matches!(refused, Err(RoomError::TooMany(_))), "{refused:?}");
        assert!(rooms.enter("red", "mine", Role::Viewer, &keys).is_ok());
    }

    #[test]
    fn empty_rooms_go_when_somebody_needs_one() {
        let rooms = rooms();
        for number in 0..2 * ROOMS_MAX {
            let entered = rooms.enter("red", &format!("r{number}"), Role::Viewer, &keys(1, "red"));
            // What was said in it is kept for who comes back.
            let room = entered.expect("rooms that nobody is in keep nobody out");
            room.send(RoomPayload::update("{}".to_owned()));
            room.members.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
