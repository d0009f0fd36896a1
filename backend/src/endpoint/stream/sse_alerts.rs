//! `GET /events/alerts`: what fires and what ends, replayable.

use std::sync::Arc;

use pulseboard_feed::wire::sse;
use salvo::{Depot, Request, Response, handler};

use crate::{
    alerts::AlertView,
    base::{error::AppError, telemetry::StreamKind},
    endpoint::stream::open::{self, Following},
    http::{self, caller, event_stream, tenant::borrowed},
};

/// Milliseconds that a browser waits before it reconnects by itself.
const RETRY_MS: u64 = 2_000;

/// Opens the stream: `Last-Event-ID`, or `?last-event-id=`, replays what was missed.
#[handler]
pub async fn open_alert_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let tenant: Arc<str> = borrowed(request, depot)?.into();
    let offered = open::offer(&app, request, depot, StreamKind::SseAlerts).await?;
    let last_seen = event_stream::last_event_id(request);
    let wire = event_stream::accept(request, response);
    offered.follow(move |app| {
        let feed = Arc::clone(app.alerts.feed());
        let next = feed.resume(last_seen);
        let first = vec![sse::frame(&sse::retry(RETRY_MS), wire)];
        let (kind, view) = (StreamKind::SseAlerts, AlertView { tenant, wire });
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
