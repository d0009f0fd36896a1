//! `GET /ws/metrics`: the tick over a WebSocket, filtered, resumable.

use std::sync::Arc;

use pulseboard_feed::{
    Subscription,
    wire::{Framing, ws},
};
use pulseboard_shared::protocol::metrics::{ClientMessage, ServerMessage};
use salvo::{Depot, Request, Response, handler};

use crate::{
    app::App,
    base::{error::AppError, telemetry::StreamKind},
    endpoint::stream::open,
    http::{
        self, caller, handshake,
        query::{asked_metrics, check_names, resume_position},
        tenant::borrowed,
    },
    shares::CallerKeys,
    stream::{viewer::Viewer, ws_session::Inbound},
};

/// Names the cursor into the tick feed.
const TICKS: u64 = 0;

/// Opens the stream: `?epoch=E&offset=N` resumes, `?metrics=a,b` subscribes from the start.
#[handler]
pub async fn open_metrics_socket(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let from = resume_position(request)?;
    let names = asked_metrics(request)?;
    let tenant: Arc<str> = borrowed(request, depot)?.into();
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let form = handshake::asked_form(request)?;
    let offered = open::offer(&app, request, depot, StreamKind::WsMetrics).await?;
    let keys = keys.on(offered.id());
    handshake::accept(request, response)?;
    let view = app
        .live
        .view(&keys, &tenant, names, Framing::WebSocket(form));
    let now_ms = app.clock.now_ms();
    let opened = app
        .live
        .open_for(&app.questions, &keys, &view, from, now_ms);
    let (first, next) = opened.await?;
    offered.serve(move |app, taken, admission| {
        let viewer = open::viewer(
            &app,
            StreamKind::WsMetrics,
            Framing::WebSocket(form),
            taken.stream,
            [taken.head, first],
            &admission,
        );
        let seat = app
            .live
            .feed()
            .members()
            .join(Arc::clone(&viewer) as Arc<_>);
        viewer.follow(
            TICKS,
            Subscription::new(Arc::clone(app.live.feed()), next, view, viewer.id),
        );
        let inbound = MetricsInbound {
            app: Arc::clone(&app),
            keys,
            tenant,
            _seat: seat,
        };
        open::serve_web_socket(app, viewer, admission, inbound, taken.read)
    });
    Ok(())
}

struct MetricsInbound {
    app: Arc<App>,
    keys: CallerKeys,
    /// Whose pushed series may be named.
    tenant: Arc<str>,
    /// Leaves the feed when the socket's task ends.
    _seat: pulseboard_feed::MemberGuard,
}

impl Inbound for MetricsInbound {
    fn on_text(&mut self, viewer: &Arc<Viewer>, text: &str) {
        match ClientMessage::parse(text) {
            Ok(Some(ClientMessage::Ping)) => {
                viewer.send_message(&ServerMessage::Pong {
                    timestamp: self.app.clock.now(),
                });
            }
            Ok(Some(ClientMessage::Subscribe { metrics })) => {
                if let Err(text) = check_names(&metrics) {
                    return viewer.send_message(&ServerMessage::Error { text });
                }
                let live = &self.app.live;
                let view = live.view(&self.keys, &self.tenant, metrics.clone(), viewer.wire);
                let reply = ws::message(viewer.form(), &ServerMessage::Subscribed { metrics });
                let (feed, id) = (Arc::clone(live.feed()), viewer.id);
                viewer.refollow(TICKS, reply, |next| Subscription::new(feed, next, view, id));
            }
            Ok(None) => {}
            Err(text) => viewer.send_message(&ServerMessage::Error { text }),
        }
    }
}
