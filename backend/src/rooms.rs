//! Rooms: feeds that clients join by name, with a least role, typed events and presence.
//!
//! A room comes into being when somebody joins it and goes when the last member has left: at once
//! where nothing was said in it, else after [`EMPTY_ROOM_KEPT_MS`], so that a client whose
//! connection dropped can resume. Each tenant has its own.
//!
//! Rooms are counted for whoever made them, and half of them are for those who have few. Where
//! there is none left for somebody, empty rooms go before their time. Those of the settings, and
//! the three that are always there, are open also to who has no share left, and go at once then.

mod config;
mod operations;
mod payload;
mod room;
mod shared;

pub use config::{EventError, RoomConfig};
pub use payload::{AskedEvents, RoomPayload, RoomView};
pub use room::{Membership, Room, RoomCursor};

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use pulseboard_bus::{Bus, Refused as BusRefused};
use pulseboard_feed::{Fanout, Subscriber};
use pulseboard_shared::{Role, protocol::rooms::frames::RoomMessage};
use serde_json::Value;

use self::{room::Held, shared::Shared};
use crate::{
    base::{
        clock::Clock,
        json::json_text,
        telemetry::{Limit, Telemetry},
    },
    settings::RoomSettings,
    shares::{CallerKeys, Refused, ShareLimits, Shares},
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
    /// Where there are other servers.
    shared: Option<Arc<Shared>>,
}

/// What rooms are shared over, and as what this run of this server is known there.
pub type OnBus = (Arc<dyn Bus>, Arc<str>);

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
    /// The rooms of the settings, `dashboard` and `operations` among them; `shared` with other
    /// servers over a bus, on which this run is called so.
    ///
    /// # Errors
    /// An event's schema is not a JSON Schema; says which.
    pub fn new(
        settings: &BTreeMap<String, RoomSettings>,
        clock: Clock,
        (fanout, shared): (&Fanout, Option<OnBus>),
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self, EventError> {
        let mut rooms = Self::within(ROOM_SHARES, settings, clock, fanout, telemetry)?;
        rooms.shared = shared.map(|(bus, me)| Arc::new(Shared::new(bus, me)));
        Ok(rooms)
    }

    fn within(
        limits: ShareLimits,
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
            shares: Shares::new("rooms", |_| Limit::Rooms, limits, Arc::clone(telemetry)),
            configs,
            open: Arc::new(RoomConfig::default()),
            next_id: AtomicU64::new(1),
            clock,
            fanout: fanout.clone(),
            shared: None,
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
            room.enter();
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
        let room = Arc::new(Room::new(
            self.next_id.fetch_add(1, Ordering::Relaxed),
            (tenant, name),
            Arc::clone(self.config(name)),
            share,
            (self.clock.now_ms(), self.clock.steady_ms()),
            (&self.fanout, self.shared.as_ref()),
        ));
        rooms.insert(Arc::clone(&room));
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
        let home = (&self.rooms, &self.clock);
        Membership::new(room, number, home, member, events, presence)
    }

    /// Sends to a room; nobody is there to hear it where it does not exist.
    ///
    /// # Errors
    /// As [`Room::send`].
    pub fn send(&self, tenant: &str, name: &str, payload: RoomPayload) -> Result<(), BusRefused> {
        // Also where nobody is in it: a member whose connection dropped comes back for it.
        match (self.get(tenant, name), &self.shared) {
            (Some(room), _) => room.send(payload),
            (None, Some(shared)) => shared.send(&Shared::key(tenant, name), None, payload),
            (None, None) => Ok(()),
        }
    }

    /// A typed event for a room: checked against its schema, then sent. Returns the members that
    /// get it: those on other servers are counted whatever events they asked for.
    ///
    /// # Errors
    /// The room has no such event, or its data does not fit; nothing is sent.
    pub fn trigger(
        &self,
        tenant: &str,
        name: &str,
        event: &str,
        data: &Value,
    ) -> Result<Result<usize, BusRefused>, EventError> {
        let text = self.event_text(name, event, data)?;
        let room = self.get(tenant, name);
        let asking = room.map_or(0, |room| room.members_asking_for(event));
        let elsewhere = self.elsewhere(tenant, name);
        let sent = self.send(tenant, name, RoomPayload::event(event, text));
        Ok(sent.map(|()| asking + elsewhere))
    }

    fn elsewhere(&self, tenant: &str, name: &str) -> usize {
        let shared = self.shared.as_ref();
        shared.map_or(0, |shared| shared.elsewhere(tenant, name))
    }

    /// Members on this server, of every room that has some.
    #[must_use]
    pub fn members_here(&self) -> Vec<(Box<str>, Box<str>, usize)> {
        let rooms = self.rooms.lock();
        let all = rooms.all_unsorted().filter(|room| room.members() > 0);
        all.map(|room| {
            (
                room.tenant.clone(),
                room.name.as_str().into(),
                room.members(),
            )
        })
        .collect()
    }

    /// Takes in how many members rooms have on other servers; who asked for presence is told.
    pub fn set_elsewhere(&self, counts: HashMap<(Box<str>, Box<str>), usize>) {
        let Some(shared) = &self.shared else {
            return;
        };
        for (tenant, name) in shared.set_elsewhere(counts) {
            if let Some(room) = self.get(&tenant, &name) {
                room.tell_presence();
            }
        }
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

    /// Lets rooms go that have been empty for a while; called about once a second.
    pub fn sweep(&self, now_ms: i64) {
        self.rooms.lock().retain(|room| {
            room.members() > 0
                || room.outlives_members() && room.empty_ms(now_ms) < EMPTY_ROOM_KEPT_MS
        });
    }

    /// All rooms of a tenant that this role may join, by name.
    #[must_use]
    pub fn list(&self, tenant: &str, role: Role) -> Vec<RoomInfo> {
        let existing = self.rooms.lock().of_tenant(tenant);
        let shared = self.shared.as_ref();
        let elsewhere = shared.map_or_else(Vec::new, |shared| shared.rooms_elsewhere(tenant));
        let names: BTreeSet<&String> = existing
            .keys()
            .chain(self.configs.keys())
            .chain(&elsewhere)
            .collect();
        names
            .into_iter()
            .filter(|name| self.check_role(name, role).is_ok())
            .map(|name| {
                let config = self.config(name);
                RoomInfo {
                    name: name.clone(),
                    members: existing.get(name).map_or(0, |room| room.members())
                        + self.elsewhere(tenant, name),
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

/// Checks that the rooms of the settings can be made, without making them.
///
/// # Errors
/// An event's schema is not a JSON Schema; says which.
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

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms")
            .field("rooms", &self.rooms.lock().count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::LazyLock, time::Duration};

    use proptest::prelude::*;
    use pulseboard_feed::FanoutPass;

    use super::*;

    fn rooms() -> Rooms {
        rooms_within(ROOM_SHARES)
    }

    fn rooms_within(limits: ShareLimits) -> Rooms {
        static FANOUT: LazyLock<(Arc<Telemetry>, Fanout)> = LazyLock::new(|| {
            let telemetry = Arc::new(Telemetry::default());
            let fanout = Fanout::start(1, &telemetry.feed).expect("a thread");
            (telemetry, fanout)
        });
        let (telemetry, fanout) = &*FANOUT;
        let clock = Clock::manual(0);
        Rooms::within(limits, &BTreeMap::new(), clock, fanout, telemetry).expect("rooms")
    }

    /// A member that is told nothing.
    struct Silent;

    impl Subscriber for Silent {
        fn deliver(&self, _: &mut FanoutPass) {}

        fn end_panicked(&self) {}

        fn fetch(&self) -> usize {
            0
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Doing {
        /// A client of an address and a tenant, and which room.
        Join(u8, u8),
        Leave(prop::sample::Index),
        Say(u8, u8),
        Sweep,
    }

    fn doing() -> impl Strategy<Value = Doing> {
        prop_oneof![
            6 => (0..6_u8, 0..6_u8).prop_map(|(client, room)| Doing::Join(client, room)),
            5 => any::<prop::sample::Index>().prop_map(Doing::Leave),
            2 => (0..2_u8, 0..6_u8).prop_map(|(tenant, room)| Doing::Say(tenant, room)),
            2 => Just(Doing::Sweep),
        ]
    }

    /// The last two names are of rooms that are always open.
    fn name_of(room: u8) -> String {
        match room {
            4 => "dashboard".to_owned(),
            5 => "general".to_owned(),
            other => format!("room-{other}"),
        }
    }

    const TENANTS: [&str; 2] = ["red", "blue"];

    proptest! {
        /// In whatever order clients come and go: there are never too many rooms, in all, of a
        /// tenant or of one who made them; rooms that are always open are; who is in one is
        /// counted; and when all have gone nothing is left.
        #[test]
        fn no_order_of_joining_and_leaving_gets_past_a_bound_or_leaves_anything_behind(
            doings in prop::collection::vec((0..EMPTY_ROOM_KEPT_MS / 4, doing()), 0..80),
        ) {
            let limits = ShareLimits {
                client: 2,
                token: 3,
                address: 3,
                tenant: 4,
                all: 5,
                kept_sixteenths: 0,
            };
            let rooms = rooms_within(limits);
            let mut members: Vec<(u8, String, Membership)> = Vec::new();
            for (step_ms, doing) in doings {
                rooms.clock.advance(Duration::from_millis(step_ms.unsigned_abs()));
                match doing {
                    Doing::Join(client, room) => {
                        let (tenant, name) = (TENANTS[usize::from(client % 2)], name_of(room));
                        let keys = keys((client / 2).into(), tenant).on(client.into());
                        match rooms.enter(tenant, &name, Role::Viewer, &keys) {
                            Ok(room) => {
                                let place = rooms.seat(room, Arc::new(Silent), None, false);
                                members.push((client % 2, name, place));
                            }
                            Err(error) => {
                                prop_assert!(matches!(error, RoomError::TooMany(_)), "{error}");
                                prop_assert!(room < 4, "{name} is always open");
                                prop_assert!(rooms.get(tenant, &name).is_none());
                            }
                        }
                    }
                    Doing::Leave(_) if members.is_empty() => {}
                    Doing::Leave(index) => drop(members.swap_remove(index.index(members.len()))),
                    Doing::Say(tenant, room) => {
                        let payload = RoomPayload::update("{}".to_owned());
                        rooms.send(TENANTS[usize::from(tenant)], &name_of(room), payload).expect("sent");
                    }
                    Doing::Sweep => rooms.sweep(rooms.clock.steady_ms()),
                }
                let held = rooms.rooms.lock();
                let all: Vec<&Arc<Room>> = held.all_unsorted().collect();
                prop_assert_eq!(held.count(), all.len());
                prop_assert!(!held.keeps_a_tenant_without_rooms());
                let shared = || all.iter().filter(|room| room.is_shared());
                prop_assert_eq!(rooms.shares.taken(), shared().count());
                prop_assert!(shared().count() <= limits.all);
                for (number, tenant) in TENANTS.into_iter().enumerate() {
                    let of = shared().filter(|room| &*room.tenant == tenant);
                    prop_assert!(of.count() <= limits.tenant);
                    for name in (0..6).map(name_of) {
                        let there = members.iter().filter(|(of, named, _)| {
                            usize::from(*of) == number && *named == name
                        });
                        let there = there.count();
                        let room = held.get(tenant, &name);
                        prop_assert_eq!(room.map_or(0, |room| room.members()), there);
                        let asked = room.map_or(0, |room| room.asking());
                        prop_assert_eq!(asked, there);
                    }
                }
            }
            members.clear();
            rooms.clock.advance(Duration::from_millis(EMPTY_ROOM_KEPT_MS.unsigned_abs()));
            rooms.sweep(rooms.clock.steady_ms());
            prop_assert_eq!((rooms.rooms.lock().count(), rooms.shares.taken()), (0, 0));
        }
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
            let sent = room.send(RoomPayload::update("{}".to_owned()));
            sent.expect("there are no other servers");
            room.leave();
        }
    }
}
