//! `GET /dashboard/stream`: what a tenant tracks, every two seconds (CONTRACT section 7).

use std::sync::Arc;

use pulseboard_series::key::check_name;
use salvo::{Depot, Request, Response, handler};

use super::{
    open,
    sse::{self, Following},
};
use crate::{
    app::App,
    error::AppError,
    http::access,
    ingest::engine_tenant,
    tallies::{BucketLength, UpdateView},
    telemetry::StreamKind,
};

/// The type whose buckets are sent when none is named.
const DEFAULT_TYPE: &str = "page_view";

/// Opens the stream: `init` at once, `update` every two seconds. `?type=` chooses whose buckets,
/// `?window=` their length in seconds.
#[handler]
pub async fn open_dashboard_stream(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), AppError> {
    let app = App::of(depot)?;
    access::require_read(depot)?;
    let tenant = engine_tenant(&app, request, depot)?;
    let name = request.query::<&str>("type").unwrap_or(DEFAULT_TYPE);
    check_name(name).map_err(|reason| AppError::bad_query("type", reason.to_string()))?;
    let name: Arc<str> = name.into();
    let length = match request.query::<&str>("window") {
        None => BucketLength::default(),
        Some(seconds) => seconds
            .parse()
            .ok()
            .and_then(BucketLength::from_seconds)
            .ok_or_else(|| AppError::bad_query("window", "accepted are 60, 300 and 3600"))?,
    };
    let offered = open::offer(&app, request, depot, StreamKind::SseDashboard)?;
    let wire = sse::accept(request, response);
    offered.serve(move |app, taken, admission| {
        let tallies = app.tallies.tenant(&tenant.name);
        let init = crate::json_text(&tallies.init());
        let init = sse::event(Some("init"), None, &init);
        let feed = Arc::clone(tallies.feed());
        let next = feed.resume(None);
        let following = Following {
            kind: StreamKind::SseDashboard,
            wire,
            first: vec![sse::frame(&init, wire)],
            feed,
            next,
            view: UpdateView { name, length, wire },
        };
        sse::follow(&app, taken, admission, following)
    });
    Ok(())
}
