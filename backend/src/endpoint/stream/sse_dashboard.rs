//! `GET /dashboard/stream`: what a tenant tracks, every two seconds.

use std::sync::Arc;

use pulseboard_feed::wire::{Framing, sse};
use salvo::{Depot, Request, Response, handler};

use crate::{
    base::{error::AppError, json::json_text, telemetry::StreamKind},
    endpoint::stream::{
        follow,
        open::{self, Following},
    },
    http::{self, caller, event_stream, ingest::engine_tenant},
    tracking::{UpdateView, hearing::hear},
};

/// Opens the stream: `init` at once, `update` every two seconds. `?type=` chooses whose buckets,
/// `?window=` their length in seconds.
#[handler]
pub async fn open_dashboard_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    // What is no number is a length that there is not.
    let seconds = request
        .query::<&str>("window")
        .map(|seconds| seconds.parse().unwrap_or(0));
    let name = request.query::<String>("type");
    let view = follow::update_view(name.as_deref(), seconds, Framing::SseChunked)
        .map_err(|(field, why)| AppError::bad_query(field, why))?;
    let offered = open::offer(&app, request, depot, StreamKind::SseDashboard).await?;
    if let Some(cluster) = app.cluster.as_ref().filter(|cluster| !cluster.is_alone()) {
        let tracked = app.tracked.tenant(&tenant.name);
        if let Err(error) = hear(cluster, &tenant.name, &tracked).await {
            tracing::debug!(%error, "what others counted comes with an update");
        }
    }
    let wire = event_stream::accept(request, response);
    offered.follow(move |app| {
        let tracked = app.tracked.tenant(&tenant.name);
        let init = json_text(&tracked.opening(&view, app.clock.now_ms()));
        let init = sse::event(Some("init"), None, &init);
        let feed = Arc::clone(tracked.feed());
        let next = feed.resume(None);
        Following {
            kind: StreamKind::SseDashboard,
            wire,
            first: vec![sse::frame(&init, wire)],
            feed,
            next,
            view: UpdateView { wire, ..view },
        }
    });
    Ok(())
}
