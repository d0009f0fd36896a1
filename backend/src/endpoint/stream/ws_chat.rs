//! `GET /ws/chat`: the talk beside the dashboard, on the same rooms.

use std::sync::Arc;

use pulseboard_feed::wire::{Framing, ws};
use pulseboard_shared::{
    Role,
    protocol::{
        chat::{ClientMessage, ServerMessage, USER_JOINED, USER_LEFT, WELCOME},
        rooms::GENERAL_ROOM,
    },
};
use salvo::{Depot, Request, Response, handler};

use crate::{
    app::App,
    base::{error::AppError, json::json_text, telemetry::StreamKind},
    endpoint::stream::open,
    http::{self, caller, handshake, tenant::tenant},
    rooms::{Membership, RoomPayload, RoomView},
    shares::CallerKeys,
    stream::{viewer::Viewer, ws_session::Inbound},
};

/// Opens the socket, in `general`.
#[handler]
pub async fn open_chat_socket(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let role = caller::caller(depot)?.role;
    let tenant = tenant(request, depot)?;
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let form = handshake::asked_form(request)?;
    let offered = open::offer(&app, request, depot, StreamKind::WsChat).await?;
    handshake::accept(request, response)?;
    offered.serve(move |app, taken, admission| {
        let viewer = open::viewer(
            &app,
            StreamKind::WsChat,
            Framing::WebSocket(form),
            taken.stream,
            [taken.head],
            &admission,
        );
        let mut inbound = ChatInbound {
            app: Arc::clone(&app),
            role,
            tenant,
            keys: keys.on(viewer.id),
            viewer: viewer.id,
            place: None,
        };
        match inbound.join(&viewer, GENERAL_ROOM, &system(WELCOME)) {
            Ok(()) => inbound.mention(USER_JOINED),
            Err(text) => viewer.send_message(&ServerMessage::Error { text }),
        }
        open::serve_web_socket(app, viewer, admission, inbound, taken.read)
    });
    Ok(())
}

fn system(text: &str) -> ServerMessage {
    ServerMessage::System {
        text: text.to_owned(),
    }
}

struct ChatInbound {
    app: Arc<App>,
    role: Role,
    tenant: String,
    keys: CallerKeys,
    viewer: u64,
    /// The one room that the client is in.
    place: Option<Membership>,
}

impl ChatInbound {
    /// `said` comes before whatever the others in the room say.
    fn join(
        &mut self,
        viewer: &Arc<Viewer>,
        name: &str,
        said: &ServerMessage,
    ) -> Result<(), String> {
        let room = self
            .app
            .rooms
            .enter(&self.tenant, name, self.role, &self.keys)
            .map_err(|error| error.to_string())?;
        // What somebody says fits no event's schema.
        if room.config.event_names().next().is_some() {
            return Err(format!(
                "Forbidden: room {name} has typed events, and nobody chats there"
            ));
        }
        if let Some(old) = self.place.take() {
            viewer.unfollow(old.room().id);
        }
        let id = room.id;
        let cursor = room.cursor(
            RoomView {
                form: viewer.form(),
                ..RoomView::default()
            },
            viewer.id,
            None,
        );
        self.place = Some(
            self.app
                .rooms
                .seat(room, Arc::clone(viewer) as Arc<_>, None, false),
        );
        open::enter_room(viewer, id, cursor, ws::message(viewer.form(), said));
        Ok(())
    }

    fn tell_others(&self, message: &ServerMessage) -> Result<(), String> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        let payload = RoomPayload::message(json_text(message), self.viewer);
        let sent = place.room().send(payload);
        sent.map_err(|refused| format!("{refused}; nothing was sent"))
    }

    /// What nobody waits for.
    fn mention(&self, text: &str) {
        if let Err(refused) = self.tell_others(&system(text)) {
            tracing::debug!(refused, "a chat was not told who came or went");
        }
    }
}

impl Inbound for ChatInbound {
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str) {
        let done = ClientMessage::parse(text).and_then(|message| match message {
            ClientMessage::Chat { .. } if !self.role.operates() => {
                Err("Forbidden: to speak here needs the role operator".to_owned())
            }
            ClientMessage::Chat { user, text } => {
                let role = self.role;
                self.tell_others(&ServerMessage::Chat { user, text, role })
            }
            ClientMessage::JoinRoom { room } => {
                let said = system(&format!("Joined room: {room}"));
                self.join(viewer, &room, &said)
            }
        });
        if let Err(text) = done {
            viewer.send_message(&ServerMessage::Error { text });
        }
    }
}

impl Drop for ChatInbound {
    fn drop(&mut self) {
        self.mention(USER_LEFT);
    }
}
