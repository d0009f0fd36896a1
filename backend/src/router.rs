//! Which URL is whose: one line a door.

use std::sync::Arc;

use salvo::{
    Handler, Router, Service,
    routing::{Filter, filters},
};

use crate::{
    app::App,
    endpoint::{
        alerts, health, influx, ingest_stats, login, metrics, otlp, own_metrics, push, rooms,
        series, stats,
        stream::{
            sse_alerts, sse_dashboard, sse_metrics, sse_operator, ws_chat, ws_control, ws_metrics,
            ws_rooms,
        },
        tickets, tokens, track,
    },
};
use crate::{
    http::{assets::Assets, docs},
    server::middleware::Frame,
};

/// All doors of the server.
#[must_use]
pub fn service(app: Arc<App>) -> Service {
    let router = Router::new()
        .push(Router::with_path("api/stats").reads(stats::get_stats))
        .push(Router::with_path("api/metrics/since").reads(metrics::poll_metrics))
        .push(Router::with_path("api/metrics/recent").reads(metrics::list_recent_metrics))
        .push(Router::with_path("api/metrics").reads(metrics::get_figures))
        .push(Router::with_path("api/metrics/stream").get(sse_operator::open_operator_stream))
        .push(Router::with_path("api/rooms").reads(rooms::list_rooms))
        .push(Router::with_path("api/rooms/{room}/events").post(rooms::trigger_event))
        .push(Router::with_path("api/alerts").reads(alerts::list_active_alerts))
        .push(Router::with_path("api/login").post(login::login))
        .push(Router::with_path("api/logout").post(login::logout))
        .push(Router::with_path("api/session").reads(login::get_session))
        .push(Router::with_path("api/tickets").post(tickets::make_ticket))
        .push(
            Router::with_path("api/tokens")
                .reads(tokens::list_tokens)
                .post(tokens::make_token),
        )
        .push(Router::with_path("api/tokens/{id}").delete(tokens::withdraw_token))
        .push(Router::with_path("api/series").reads(series::list_series))
        .push(Router::with_path("api/range").reads(series::get_range))
        .push(Router::with_path("api/windows").reads(series::get_windows))
        .push(Router::with_path("api/ingest").reads(ingest_stats::get_ingested))
        .push(Router::with_path("api/v1/write").post(push::write_remote))
        .push(Router::with_path("api/v2/write").post(push::write_influx_v2))
        .push(Router::with_path("write").post(push::write_influx_v1))
        .push(Router::with_path("v1/metrics").post(otlp::write_otlp))
        .push(Router::with_path("ping").reads(influx::ping))
        .push(Router::with_path("health").reads(influx::get_health))
        .push(Router::with_path("ready").reads(influx::get_ready))
        .push(
            Router::with_path("query")
                .reads(influx::query)
                .post(influx::query),
        )
        .push(Router::with_path("api/v2/ping").reads(influx::ping))
        .push(Router::with_path("api/v2/ready").reads(influx::get_ready))
        .push(Router::with_path("api/v2/setup").reads(influx::get_setup))
        .push(Router::with_path("api/v2/orgs").reads(influx::list_orgs))
        .push(
            Router::with_path("api/v2/buckets")
                .reads(influx::list_buckets)
                .post(influx::make_bucket),
        )
        .push(Router::with_path("push").post(push::push_samples))
        .push(Router::with_path("metrics/track").post(track::track_item))
        .push(Router::with_path("dashboard/stream").get(sse_dashboard::open_dashboard_stream))
        .push(Router::with_path("api/openapi.json").reads(docs::get_openapi))
        .push(docs::router())
        .push(Router::with_path("ws").get(ws_rooms::open_rooms_socket))
        .push(Router::with_path("ws/chat").get(ws_chat::open_chat_socket))
        .push(Router::with_path("ws/control").get(ws_control::open_control_socket))
        .push(Router::with_path("ws/metrics").get(ws_metrics::open_metrics_socket))
        .push(Router::with_path("events/metrics").get(sse_metrics::open_metrics_stream))
        .push(Router::with_path("events/alerts").get(sse_alerts::open_alert_stream))
        .push(Router::with_path("metrics").reads(own_metrics::get_own_metrics))
        .push(Router::with_path("healthz").reads(health::get_health))
        .push(Router::with_path("readyz").reads(health::get_readiness))
        .push(
            Router::with_path("{**path}")
                .filter_fn(|request, _| is_of_the_page(request.uri().path()))
                .goal(Assets::embedded().handler()),
        );
    Service::new(router).hoop(Frame::new(app))
}

/// Whether a path that is no door can be one of the page's. What is under these never is: an
/// unknown one is 404, not the page, and a door that does not take a method is 405 and says what
/// it takes.
fn is_of_the_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    !matches!(first, Some(first) if is_door(first))
}

/// Whether what begins with this segment is a door's and never the page's.
pub(super) fn is_door(first: &str) -> bool {
    matches!(
        first,
        "api"
            | "ws"
            | "events"
            | "metrics"
            | "push"
            | "write"
            | "v1"
            | "dashboard"
            | "ping"
            | "query"
            | "health"
            | "ready"
            | "healthz"
            | "readyz"
            | "datadog"
    )
}

trait Reads {
    /// What is answered to GET, and without its body to HEAD (RFC 9110 §9.3.2). Streams are GET
    /// alone.
    fn reads<H: Handler>(self, goal: H) -> Self;
}

impl Reads for Router {
    fn reads<H: Handler>(self, goal: H) -> Self {
        self.push(Self::with_filter(filters::get().or(filters::head())).goal(goal))
    }
}
