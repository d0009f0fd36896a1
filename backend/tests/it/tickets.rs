//! `POST /api/tickets`: opening streams from where no header can come along.

use std::time::Duration;

use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::Value;

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem},
};

impl TestServer {
    /// A ticket made with the token of this role.
    async fn ticket(&self, role: Role) -> String {
        let answer = self
            .send_as(&bearer(role), Method::POST, "/api/tickets", None)
            .await;
        assert_eq!(answer.status(), 200);
        let made: Value = answer.json().await.expect("JSON");
        assert_eq!(made["expires_in"], 30);
        made["ticket"].as_str().expect("text").to_owned()
    }

    async fn ws_status(&self, path: &str) -> u16 {
        match self.try_ws(path, &[]).await {
            Ok(_) => 101,
            Err(answer) => answer.status().as_u16(),
        }
    }
}

#[tokio::test]
async fn a_ticket_opens_one_stream_with_its_makers_role() {
    let server = TestServer::start_with(with_tokens).await;
    let path = format!("/ws/metrics?ticket={}", server.ticket(Role::Viewer).await);
    assert_eq!(server.ws_status(&path).await, 101);
    assert_eq!(server.ws_status(&path).await, 401, "a second time");

    let path = format!("/ws/control?ticket={}", server.ticket(Role::Viewer).await);
    assert_eq!(server.ws_status(&path).await, 403);
    let path = format!("/ws/control?ticket={}", server.ticket(Role::Operator).await);
    assert_eq!(server.ws_status(&path).await, 101);

    for endpoint in ["/events/alerts", "/events/metrics", "/api/metrics/stream"] {
        let path = format!("{endpoint}?ticket={}", server.ticket(Role::Viewer).await);
        drop(server.sse(&path).await);
        problem(server.get(&path).await, 401).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_ticket_ends_after_thirty_seconds() {
    let server = TestServer::start_with(with_tokens).await;
    let (one, other) = (
        server.ticket(Role::Viewer).await,
        server.ticket(Role::Viewer).await,
    );
    server.clock.advance(Duration::from_millis(29_999));
    assert_eq!(server.ws_status(&format!("/ws?ticket={one}")).await, 101);
    server.clock.advance(Duration::from_millis(1));
    assert_eq!(server.ws_status(&format!("/ws?ticket={other}")).await, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_ticket_opens_nothing_but_streams_and_is_not_used_up_there() {
    let server = TestServer::start_with(with_tokens).await;
    let ticket = server.ticket(Role::Admin).await;
    for path in ["/api/stats", "/api/tokens", "/metrics", "/ws/metrics"] {
        let answer = server.get(&format!("{path}?ticket={ticket}")).await;
        problem(answer, 401).await;
    }
    let path = format!("/ws/metrics?ticket={ticket}");
    assert_eq!(server.ws_status(&path).await, 101);
    server.stop().await;
}

#[tokio::test]
async fn a_ticket_ends_with_its_session_and_so_does_its_stream() {
    let server = TestServer::start_with(with_tokens).await;
    let cookie = server.cookie_of("viewer-secret").await;
    let post = async |path: &str| {
        server
            .request(Method::POST, path)
            .header("cookie", &cookie)
            .header("content-type", "application/json")
            .send()
            .await
            .expect("an answer")
    };
    let ticket = async || {
        let made: Value = post("/api/tickets").await.json().await.expect("JSON");
        made["ticket"].as_str().expect("text").to_owned()
    };
    let mut socket = server.ws(&format!("/ws?ticket={}", ticket().await)).await;
    let unused = ticket().await;
    assert_eq!(post("/api/logout").await.status(), 204);
    assert_eq!(socket.closed().await.0, 1008);
    assert_eq!(server.ws_status(&format!("/ws?ticket={unused}")).await, 401);
    server.stop().await;
}

#[tokio::test]
async fn anonymous_readers_have_tickets_too_but_not_without_end() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::Viewer);
    })
    .await;
    let ask = async || {
        server
            .request(Method::POST, "/api/tickets")
            .send()
            .await
            .expect("an answer")
    };
    let made: Value = ask().await.json().await.expect("JSON");
    let ticket = made["ticket"].as_str().expect("text");
    assert_eq!(server.ws_status(&format!("/ws?ticket={ticket}")).await, 101);
    for _ in 0..1_000 {
        assert_eq!(ask().await.status(), 200);
    }
    let flood = ask().await;
    assert_eq!(flood.headers()["retry-after"], "30");
    problem(flood, 429).await;
    assert_eq!(
        server
            .own_metric("pulseboard_limit_hits_total{limit=\"tickets\"}")
            .await,
        1
    );
    server.clock.advance(Duration::from_secs(30));
    assert_eq!(ask().await.status(), 200);
    server.stop().await;
}
