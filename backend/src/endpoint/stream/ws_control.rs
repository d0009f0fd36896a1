//! `GET /ws/control`: the operator's commands.

use std::sync::Arc;

use pulseboard_feed::wire::{Framing, ws};
use pulseboard_shared::protocol::operator::{ControlCommand, ControlReply};
use salvo::{Depot, Request, Response, handler};

use crate::{
    app::App,
    base::{error::AppError, telemetry::StreamKind},
    endpoint::stream::open,
    http::{self, caller, handshake},
    stream::{viewer::Viewer, ws_session::Inbound},
};

/// Opens the channel for those who may operate.
#[handler]
pub async fn open_control_socket(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_operate(depot)?;
    // The threshold and the totals are the server's, and so is the count of those who may change
    // them: nothing here is one tenant's.
    caller::require_server(depot, "the threshold and the totals are the whole server's")?;
    let form = handshake::asked_form(request)?;
    let offered = open::offer(&app, request, depot, StreamKind::WsControl).await?;
    handshake::accept(request, response)?;
    offered.serve(move |app, taken, admission| {
        let first = [
            taken.head,
            ws::message(form, &reply("Control channel connected")),
        ];
        let viewer = open::viewer(
            &app,
            StreamKind::WsControl,
            Framing::WebSocket(form),
            taken.stream,
            first,
            &admission,
        );
        viewer.deliver();
        let inbound = ControlInbound {
            app: Arc::clone(&app),
        };
        open::serve_web_socket(app, viewer, admission, inbound, taken.read)
    });
    Ok(())
}

fn reply(message: &str) -> ControlReply {
    ControlReply {
        message: message.to_owned(),
    }
}

struct ControlInbound {
    app: Arc<App>,
}

impl Inbound for ControlInbound {
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str) {
        let message = match ControlCommand::parse(text) {
            Ok(ControlCommand::ResetCounters) => {
                self.app.operator.reset();
                "Counters reset".to_owned()
            }
            Ok(ControlCommand::SetThreshold(percent)) => {
                match self
                    .app
                    .operator
                    .set_threshold(percent, self.app.clock.now_ms())
                {
                    Ok(()) => format!("Threshold set to {percent:?}%"),
                    Err(error) => {
                        tracing::error!(%error, "the threshold could not be stored");
                        "Error: the threshold could not be stored; nothing was changed".to_owned()
                    }
                }
            }
            Err(message) => message,
        };
        viewer.send_message(&reply(&message));
    }
}
