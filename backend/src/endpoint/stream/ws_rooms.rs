//! `GET /ws`: join, leave, publish, and typed events; live queries; and what
//! event streams carry ([`crate::endpoint::stream::follow`]).

use std::{collections::HashMap, sync::Arc};

use pulseboard_engine::Tenant;
use pulseboard_feed::{
    Subscription,
    wire::{Framing, ws},
};
use pulseboard_shared::{
    Role,
    codec::Encoding,
    protocol::{
        rooms::{
            ClientAction, DASHBOARD_ROOM, OPERATIONS_ROOM, ServerMessage, Subscribe,
            frames::RoomMessage,
        },
        watch::WatchMessage,
    },
};
use salvo::{Depot, Request, Response, handler};

use crate::{
    app::App,
    base::{
        error::AppError,
        json::json_text,
        telemetry::{Limit, StreamKind},
    },
    endpoint::stream::{follow::Followed, open, ws_watch::Watches},
    http::{self, caller, handshake, ingest::engine_tenant},
    live_query::catalog::CatalogFeed,
    rooms::{AskedEvents, Membership, Room, RoomCursor, RoomPayload, RoomView},
    shares::CallerKeys,
    stream::{viewer::Viewer, ws_session::Inbound},
    watchable::Place,
};

/// Bytes of the events that one client names in all its rooms.
const EVENT_NAMES_BYTES_MAX: usize = 64 * 1024;

/// Opens the socket: in `dashboard`, and for admins in `operations`.
#[handler]
pub async fn open_rooms_socket(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let caller = caller::caller(depot)?.clone();
    let tenant = engine_tenant(&app, request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant.name));
    let form = handshake::asked_form(request)?;
    let offered = open::offer(&app, request, depot, StreamKind::WsRooms).await?;
    handshake::accept(request, response)?;
    offered.serve(move |app, taken, admission| {
        let viewer = open::viewer(
            &app,
            StreamKind::WsRooms,
            Framing::WebSocket(form),
            taken.stream,
            [taken.head],
            &admission,
        );
        let mut inbound = RoomsInbound {
            app: Arc::clone(&app),
            role: caller.role,
            form,
            memberships: HashMap::new(),
            keys: keys.clone().on(viewer.id),
            event_names: HashMap::new(),
            watches: Watches::new(
                Arc::clone(&app),
                Arc::clone(&tenant),
                keys.on(viewer.id),
                form,
            ),
            tenant,
            catalog: None,
            followed: Followed::default(),
        };
        inbound.join_at_opening(&viewer);
        open::serve_web_socket(app, viewer, admission, inbound, taken.read)
    });
    Ok(())
}

struct RoomsInbound {
    app: Arc<App>,
    role: Role,
    form: Encoding,
    /// By room; the client leaves them all when this is dropped.
    memberships: HashMap<String, Membership>,
    keys: CallerKeys,
    /// By room, the bytes of the events that the client named.
    event_names: HashMap<String, usize>,
    tenant: Arc<Tenant>,
    watches: Watches,
    catalog: Option<Place<CatalogFeed>>,
    followed: Followed,
}

impl RoomsInbound {
    fn join_at_opening(&mut self, viewer: &Arc<Viewer>) {
        let app = Arc::clone(&self.app);
        match app
            .rooms
            .enter(&self.tenant.name, DASHBOARD_ROOM, self.role, &self.keys)
        {
            Ok(room) => {
                // The cursor is placed before the figures are read: an update that falls between
                // is sent after them, never lost.
                let begun = self.begin(viewer, &room);
                let data = self.app.live.with_window(|window| window.stats());
                viewer.send_message(&RoomMessage::Init { data });
                self.seat(viewer, room, begun, None, None);
            }
            Err(error) => viewer.send_message(&ServerMessage::Error {
                text: error.to_string(),
            }),
        }
        if self.role.administers()
            && let Ok(room) =
                app.rooms
                    .enter(&self.tenant.name, OPERATIONS_ROOM, self.role, &self.keys)
        {
            let begun = self.begin(viewer, &room);
            self.seat(viewer, room, begun, None, None);
        }
    }

    /// A cursor at the end of a room, and the events that come to who asks for none in particular.
    fn begin(&self, viewer: &Viewer, room: &Arc<Room>) -> (RoomCursor, AskedEvents) {
        let view = self.view(room, &Subscribe::default());
        let events = view.events.clone();
        (room.cursor(view, viewer.id, None), events)
    }

    /// Seats a member and has it follow the room; `reply` is said in between, so that whoever has
    /// read it is a member.
    fn seat(
        &mut self,
        viewer: &Arc<Viewer>,
        room: Arc<Room>,
        (cursor, events): (RoomCursor, AskedEvents),
        presence: Option<Subscription<RoomPayload>>,
        reply: Option<&ServerMessage<'_>>,
    ) {
        let (name, id, presence_id) = (room.name.clone(), room.id, room.presence_id());
        let member = Arc::clone(viewer) as Arc<_>;
        let membership = self
            .app
            .rooms
            .seat(room, member, events, presence.is_some());
        self.memberships.insert(name, membership);
        let reply = reply.map(|reply| ws::message(self.form, reply));
        open::enter_room(viewer, id, cursor, reply.unwrap_or_default());
        if let Some(presence) = presence {
            viewer.follow(presence_id, presence);
        }
    }

    fn view(&self, room: &Room, asked: &Subscribe) -> RoomView {
        let events = asked
            .events
            .clone()
            .map(Into::into)
            .or_else(|| room.config.default_events.clone());
        let cursor = asked.cursor || asked.after.is_some();
        RoomView {
            events,
            presence: asked.presence,
            cursor,
            form: self.form,
        }
    }

    fn subscribe(&mut self, viewer: &Arc<Viewer>, asked: &Subscribe) -> Result<(), String> {
        let name = &asked.channel;
        if !self.memberships.contains_key(name)
            && self.memberships.len() >= self.app.settings.max_rooms_per_client
        {
            self.app.telemetry.count_limit(Limit::Rooms);
            return Err(format!(
                "Too many rooms: at most {} at once",
                self.app.settings.max_rooms_per_client
            ));
        }
        let named_bytes = self.check_event_names(asked)?;
        let room = self
            .app
            .rooms
            .enter(&self.tenant.name, name, self.role, &self.keys)
            .map_err(|error| error.to_string())?;
        self.event_names.insert(name.clone(), named_bytes);
        let view = self.view(&room, asked);
        // At the end, and before the member is seated: it is told of its own coming.
        let presence = asked
            .presence
            .then(|| room.presence_cursor(&view, viewer.id));
        viewer.unfollow(room.presence_id());
        let events = view.events.clone();
        if asked.after.is_none() && self.memberships.contains_key(name) {
            // A member changes what it asks for and stays: what is on its way to it is not lost.
            // The new place first: the room is not empty in between.
            let (member, presence_id) = (Arc::clone(viewer) as Arc<_>, room.presence_id());
            let place = Arc::clone(&room);
            let membership = self
                .app
                .rooms
                .seat(room, member, events, presence.is_some());
            self.memberships.insert(name.clone(), membership);
            let reply = ws::message(self.form, &ServerMessage::Subscribed { channel: name });
            let id = viewer.id;
            viewer.refollow(place.id, reply, |next| place.cursor_at(next, view, id));
            if let Some(presence) = presence {
                viewer.follow(presence_id, presence);
            }
            return Ok(());
        }
        let cursor = room.cursor(view, viewer.id, asked.after.as_ref());
        // The old place goes first, so that nothing comes twice.
        viewer.unfollow(room.id);
        self.memberships.remove(name);
        let reply = ServerMessage::Subscribed { channel: name };
        self.seat(viewer, room, (cursor, events), presence, Some(&reply));
        Ok(())
    }

    /// The bytes of the events that are named, where there is room for them.
    fn check_event_names(&self, asked: &Subscribe) -> Result<usize, String> {
        let names = asked.events.iter().flatten();
        let bytes = names.map(|name| name.len() + size_of::<String>()).sum();
        let others = self.event_names.iter();
        let others = others.filter(|(room, _)| **room != asked.channel);
        let held: usize = others.map(|(_, bytes)| bytes).sum();
        if held + bytes <= EVENT_NAMES_BYTES_MAX {
            return Ok(bytes);
        }
        self.app.telemetry.count_limit(Limit::Rooms);
        Err(format!(
            "Too many event names: at most {EVENT_NAMES_BYTES_MAX} bytes of them in all rooms of one connection"
        ))
    }

    fn follow_catalog(&mut self, viewer: &Arc<Viewer>) -> Result<(), String> {
        let total = || WatchMessage::Catalog {
            total: self.tenant.counts().series,
        };
        if self.catalog.is_some() {
            viewer.send_message(&total());
            return Ok(());
        }
        let live_queries = &self.app.live_queries;
        let mut place = live_queries
            .enter_catalog(&self.tenant, &self.keys)
            .map_err(|refused| refused.to_string())?;
        let id = place.watched.id;
        // Before the total is counted: a change between the two is told again, and not missed.
        let cursor = place.watched.cursor_of(self.form, viewer.id);
        viewer.send_message(&total());
        place.sit(Arc::clone(viewer) as Arc<_>);
        viewer.follow(id, cursor);
        self.catalog = Some(place);
        Ok(())
    }

    fn act(&mut self, viewer: &Arc<Viewer>, action: ClientAction) -> Result<(), String> {
        match action {
            ClientAction::Subscribe(asked) => self.subscribe(viewer, &asked),
            ClientAction::Unsubscribe { channel } => {
                self.event_names.remove(&channel);
                if let Some(membership) = self.memberships.remove(&channel) {
                    viewer.unfollow(membership.room().id);
                    viewer.unfollow(membership.room().presence_id());
                }
                viewer.send_message(&ServerMessage::Unsubscribed { channel: &channel });
                Ok(())
            }
            ClientAction::Publish { channel, data } => {
                if !self.role.operates() {
                    return Err(format!(
                        "Forbidden: publishing needs the role operator; this is {}",
                        self.role
                    ));
                }
                self.app
                    .rooms
                    .check_role(&channel, self.role)
                    .map_err(|error| error.to_string())?;
                self.app
                    .rooms
                    .config(&channel)
                    .check_message(&channel, &data)
                    .map_err(|error| format!("{error}; nothing was sent"))?;
                let text = json_text(&RoomMessage::Message {
                    channel: &channel,
                    data: &data,
                });
                let payload = RoomPayload::message(text, viewer.id);
                let sent = self.app.rooms.send(&self.tenant.name, &channel, payload);
                sent.map_err(|refused| format!("{refused}; nothing was sent"))
            }
            ClientAction::Watch(asked) => self.watches.watch(viewer, asked),
            ClientAction::Unwatch { watched } => {
                self.watches.unwatch(viewer, watched);
                Ok(())
            }
            ClientAction::Catalog => self.follow_catalog(viewer),
            ClientAction::Follow(asked) => {
                self.followed
                    .follow(&self.app, &self.tenant.name, viewer, &asked)
            }
            ClientAction::Unfollow { feed } => {
                self.followed.unfollow(viewer, feed);
                Ok(())
            }
            ClientAction::Ping => {
                viewer.send_message(&ServerMessage::Pong {
                    timestamp: self.app.clock.now(),
                });
                Ok(())
            }
        }
    }
}

impl Inbound for RoomsInbound {
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str) {
        let done = ClientAction::parse(text).and_then(|action| self.act(viewer, action));
        if let Err(text) = done {
            viewer.send_message(&ServerMessage::Error { text });
        }
    }
}
