//! `GET /events/metrics`: the ticks of `/ws/metrics` as server-sent events, for where a proxy lets
//! no WebSocket through. The same messages, the same cursor.

use std::sync::Arc;

use pulseboard_feed::{Position, wire::sse};
use salvo::{Depot, Request, Response, handler};

use crate::{
    base::{error::AppError, telemetry::StreamKind},
    endpoint::stream::open::{self, Following},
    http::{
        self, caller, event_stream,
        query::{asked_metrics, resume_position},
        tenant::borrowed,
    },
};

/// Milliseconds that a browser waits before it reconnects by itself.
const RETRY_MS: u64 = 2_000;

/// Opens the stream: `Last-Event-ID`, or `?epoch=E&offset=N`, resumes; `?metrics=a,b` filters.
#[handler]
pub async fn open_metrics_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let asked = resume_position(request)?;
    let epoch = app.live.feed().epoch();
    let seen = event_stream::last_event_id(request).and_then(|id| id.offset_in(epoch));
    // A browser that reconnects by itself repeats its address: what it saw last is the newer one.
    let from = seen
        .map(|offset| Position {
            epoch: epoch.to_string(),
            offset,
        })
        .or(asked);
    let names = asked_metrics(request)?;
    let tenant: Arc<str> = borrowed(request, depot)?.into();
    let keys = caller::caller_keys(request, depot, Some(&tenant));
    let offered = open::offer(&app, request, depot, StreamKind::SseMetrics).await?;
    let keys = keys.on(offered.id());
    let wire = event_stream::accept(request, response);
    let view = app.live.view(&keys, &tenant, names, wire);
    let now_ms = app.clock.now_ms();
    let opened = app
        .live
        .open_for(&app.questions, &keys, &view, from, now_ms);
    let (snapshot, next) = opened.await?;
    offered.follow(move |app| {
        let first = vec![sse::frame(&sse::retry(RETRY_MS), wire), snapshot];
        let (kind, feed) = (StreamKind::SseMetrics, Arc::clone(app.live.feed()));
        Following {
            kind,
            wire,
            first,
            feed,
            next,
            view,
        }
    });
    Ok(())
}
