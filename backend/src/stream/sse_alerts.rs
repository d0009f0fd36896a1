//! `GET /events/alerts`: what fires and what ends, replayable (CONTRACT section 4).

use std::sync::Arc;

use salvo::{Depot, Request, Response, handler};

use super::{open, sse};
use crate::{
    alerting::AlertView,
    app::App,
    error::AppError,
    feed::{EventId, Subscription},
    http::access,
    telemetry::StreamKind,
};

/// Milliseconds that a browser waits before it reconnects by itself.
const RETRY_MS: u64 = 2_000;

const ALERTS: u64 = 0;

/// Opens the stream: `Last-Event-ID`, or `?last-event-id=`, replays what was missed.
#[handler]
pub async fn open_alert_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = App::of(depot)?;
    access::require_read(depot)?;
    let offered = open::offer(&app, request, StreamKind::SseAlerts)?;
    let last_seen = last_event_id(request);
    let wire = sse::accept(request, response);
    offered.serve(move |app, taken, admission| {
        let feed = app.alerts.feed();
        let next = feed.resume(last_seen);
        let first = [taken.head, sse::frame(&sse::retry(RETRY_MS), wire)];
        let viewer = open::viewer(
            &app,
            StreamKind::SseAlerts,
            wire,
            taken.stream,
            first,
            &admission,
        );
        let seat = feed.roster().join(Arc::clone(&viewer) as Arc<_>);
        viewer.follow(
            ALERTS,
            Subscription::new(Arc::clone(feed), next, AlertView(wire), viewer.id),
        );
        async move {
            sse::run(viewer, admission).await;
            drop(seat);
        }
    });
    Ok(())
}

/// What the client saw last. A text that is no id of ours is as good as none.
pub(super) fn last_event_id(request: &Request) -> Option<EventId> {
    let header = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let query = request.query::<String>("last-event-id");
    header.map(str::to_owned).or(query)?.parse().ok()
}
