//! `GET /api/metrics/stream`: the operator's six figures each tick.

use std::sync::Arc;

use bytes::Bytes;
use pulseboard_feed::wire::sse;
use pulseboard_shared::protocol::operator::StreamConfig;
use salvo::{Depot, Request, Response, handler};

use crate::{
    base::{error::AppError, json::json_text, telemetry::StreamKind},
    endpoint::stream::open::{self, Following},
    http::{self, caller, event_stream},
    operator::OperatorView,
};

/// Milliseconds that a browser waits before it reconnects by itself.
const RETRY_MS: u64 = 5_000;

/// Opens the stream; `Last-Event-ID` replays the ticks that were missed, as far as held.
#[handler]
pub async fn open_operator_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = http::app::app(depot)?;
    caller::require_read(depot)?;
    let offered = open::offer(&app, request, depot, StreamKind::SseOperator).await?;
    let last_seen = event_stream::last_event_id(request);
    let wire = event_stream::accept(request, response);
    offered.follow(move |app| {
        let config = json_text(&StreamConfig {
            interval_ms: app.live.interval_ms(),
        });
        let config = Bytes::from(format!(
            "event: config\nretry: {RETRY_MS}\ndata: {config}\n\n"
        ));
        let feed = Arc::clone(app.operator.feed());
        let next = feed.resume(last_seen);
        let first = vec![sse::frame(&config, wire)];
        let (kind, view) = (StreamKind::SseOperator, OperatorView(wire));
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
