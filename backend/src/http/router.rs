//! Which URL is whose: one line a door.

use std::sync::Arc;

use salvo::{Response, Router, Service, handler, http::StatusCode};

use super::{assets::Assets, docs, frame::Frame};
use crate::{
    app::App,
    endpoint::{alerts, health, login, metrics, prometheus, rooms, stats, tickets, tokens},
    stream::{sse_alerts, sse_metrics, sse_operator, ws_chat, ws_control, ws_metrics, ws_rooms},
};

/// All doors of the server.
#[must_use]
pub fn service(app: Arc<App>) -> Service {
    let router = Router::new()
        .push(Router::with_path("api/stats").get(stats::get_stats))
        .push(Router::with_path("api/metrics/since").get(metrics::poll_metrics))
        .push(Router::with_path("api/metrics/recent").get(metrics::list_recent_metrics))
        .push(Router::with_path("api/metrics").get(metrics::get_figures))
        .push(Router::with_path("api/metrics/stream").get(sse_operator::open_operator_stream))
        .push(Router::with_path("api/rooms").get(rooms::list_rooms))
        .push(Router::with_path("api/rooms/{room}/events").post(rooms::trigger_event))
        .push(Router::with_path("api/alerts").get(alerts::list_active_alerts))
        .push(Router::with_path("api/login").post(login::login))
        .push(Router::with_path("api/logout").post(login::logout))
        .push(Router::with_path("api/session").get(login::get_session))
        .push(Router::with_path("api/tickets").post(tickets::make_ticket))
        .push(
            Router::with_path("api/tokens")
                .get(tokens::list_tokens)
                .post(tokens::make_token),
        )
        .push(Router::with_path("api/tokens/{id}").delete(tokens::withdraw_token))
        .push(Router::with_path("api/openapi.json").get(docs::get_openapi))
        .push(docs::router())
        .push(Router::with_path("ws").get(ws_rooms::open_rooms_socket))
        .push(Router::with_path("ws/chat").get(ws_chat::open_chat_socket))
        .push(Router::with_path("ws/control").get(ws_control::open_control_socket))
        .push(Router::with_path("ws/metrics").get(ws_metrics::open_metrics_socket))
        .push(Router::with_path("events/metrics").get(sse_metrics::open_metrics_stream))
        .push(Router::with_path("events/alerts").get(sse_alerts::open_alert_stream))
        .push(Router::with_path("metrics").get(prometheus::get_own_metrics))
        .push(Router::with_path("healthz").get(health::get_health))
        .push(Router::with_path("readyz").get(health::get_readiness))
        .push(nothing_under("api"))
        .push(nothing_under("ws"))
        .push(nothing_under("events"))
        .push(nothing_under("metrics"))
        .push(Router::with_path("{**path}").goal(Assets::embedded().handler()));
    Service::new(router).hoop(Frame::new(app))
}

/// What is under these is never a place of the page's: an unknown one is 404, not the page.
fn nothing_under(prefix: &str) -> Router {
    Router::with_path(format!("{prefix}/{{**rest}}")).goal(answer_not_found)
}

#[handler]
async fn answer_not_found(response: &mut Response) {
    response.status_code(StatusCode::NOT_FOUND);
}
