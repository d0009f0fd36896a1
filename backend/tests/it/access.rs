//! Who may do what.

use pulseboard::settings::{Origins, Settings, Token};
use pulseboard_shared::Role;
use reqwest::Method;

use crate::support::{TestServer, problem};

/// Nobody gets in without a token; there is one for each role, called after it.
pub(crate) fn with_tokens(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::None);
    settings.tokens = Role::ALL.into_iter().map(token).collect();
}

fn token(role: Role) -> Token {
    Token {
        secret: format!("{role}-secret"),
        role,
        tenant: None,
    }
}

/// The header value that shows the token of this role.
pub(crate) fn bearer(role: Role) -> String {
    format!("Bearer {role}-secret")
}

impl TestServer {
    /// Sends a request with this `Authorization` and, where there is one, a JSON body.
    pub(crate) async fn send_as(
        &self,
        authorization: &str,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> reqwest::Response {
        let mut request = self
            .request(method, path)
            .header("authorization", authorization);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    }
}

#[tokio::test]
async fn reading_needs_a_token_that_reads() {
    let server = TestServer::start_with(with_tokens).await;
    for path in [
        "/api/stats",
        "/api/metrics",
        "/api/metrics/recent",
        "/api/metrics/stream",
        "/api/metrics/since?epoch=0&offset=0",
        "/api/alerts",
        "/api/rooms",
        "/metrics",
        "/events/alerts",
        "/events/metrics",
    ] {
        let anonymous = server.get(path).await;
        assert!(
            anonymous.headers().contains_key("www-authenticate"),
            "{path}"
        );
        problem(anonymous, 401).await;
        for (authorization, status) in [
            ("Bearer viewer-secret", 200),
            ("bearer viewer-secret", 200),
            ("Bearer operator-secret", 200),
            ("Bearer admin-secret", 200),
            ("Bearer writer-secret", 403),
            ("Bearer none-secret", 403),
            ("Bearer nobody", 401),
            ("Basic viewer-secret", 401),
        ] {
            let answer = server.send_as(authorization, Method::GET, path, None).await;
            assert_eq!(answer.status(), status, "{path} with {authorization}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn each_action_needs_its_role() {
    let server = TestServer::start_with(with_tokens).await;
    let event = serde_json::json!({"event": "done", "data": 1});
    let made = serde_json::json!({"role": "viewer"});
    for (method, path, body, least) in [
        (
            Method::POST,
            "/api/rooms/x/events",
            Some(event),
            Role::Operator,
        ),
        (Method::POST, "/api/tickets", None, Role::Viewer),
        (Method::GET, "/api/tokens", None, Role::Admin),
        (Method::POST, "/api/tokens", Some(made), Role::Admin),
        (
            Method::DELETE,
            "/api/tokens/000000000000",
            None,
            Role::Admin,
        ),
    ] {
        let anonymous = server
            .request(method.clone(), path)
            .send()
            .await
            .expect("an answer");
        problem(anonymous, 401).await;
        for role in Role::ALL {
            let may = match least {
                Role::Viewer => role.reads(),
                Role::Operator => role.operates(),
                _ => role.administers(),
            };
            let answer = server
                .send_as(&bearer(role), method.clone(), path, body.clone())
                .await;
            let refused = answer.status() == 403;
            assert_eq!(refused, !may, "{method} {path} as {role}");
            assert_ne!(answer.status(), 401, "{method} {path} as {role}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn some_doors_are_open_to_all() {
    let server = TestServer::start_with(with_tokens).await;
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/docs",
        "/api/openapi.json",
        "/api/session",
    ] {
        for authorization in ["", "Bearer nobody", "Basic cHJveHk6cHJveHk="] {
            let answer = server.send_as(authorization, Method::GET, path, None).await;
            assert!(
                ![401, 403, 429].contains(&answer.status().as_u16()),
                "{path} with {authorization:?}: {}",
                answer.status()
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn sockets_ask_for_the_same() {
    let server = TestServer::start_with(with_tokens).await;
    let status = async |path: &str, headers: &[(&'static str, &str)]| match server
        .try_ws(path, headers)
        .await
    {
        Ok(_) => 101,
        Err(answer) => answer.status().as_u16(),
    };
    for path in ["/ws", "/ws/chat", "/ws/metrics", "/ws/control"] {
        assert_eq!(status(path, &[]).await, 401, "{path}");
        for role in Role::ALL {
            let may = match path {
                "/ws/control" => role.operates(),
                _ => role.reads(),
            };
            let answer = status(path, &[("authorization", &bearer(role))]).await;
            assert_eq!(answer, if may { 101 } else { 403 }, "{path} as {role}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait_and_who_has_one_does_not() {
    let server = TestServer::start_with(with_tokens).await;
    let guess = async || {
        server
            .send_as("Bearer guess", Method::GET, "/api/stats", None)
            .await
    };
    for _ in 0..10 {
        problem(guess().await, 401).await;
    }
    let blocked = guess().await;
    assert_eq!(blocked.headers()["retry-after"], "60");
    problem(blocked, 429).await;
    // Tickets are guesses too, and so is a login, even with a token that is right.
    problem(server.get("/events/alerts?ticket=guess").await, 429).await;
    let login = async |token: &str| {
        server
            .request(Method::POST, "/api/login")
            .json(&serde_json::json!({"token": token}))
            .send()
            .await
            .expect("an answer")
    };
    problem(login("viewer-secret").await, 429).await;
    let known = server
        .send_as(&bearer(Role::Viewer), Method::GET, "/metrics", None)
        .await;
    assert_eq!(known.status(), 200);
    assert!(
        known
            .text()
            .await
            .is_ok_and(|text| text.contains("limit=\"login_rate\"} 3\n"))
    );

    server.clock.advance(std::time::Duration::from_secs(60));
    problem(guess().await, 401).await;
    assert_eq!(login("viewer-secret").await.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn refusals_can_be_read_by_an_allowed_page() {
    let page = "https://app.example.org";
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.allowed_origins = Origins::List(vec![page.to_owned()]);
    })
    .await;
    for (authorization, status) in [("Bearer nobody", 401), ("Bearer writer-secret", 403)] {
        let answer = server
            .request(Method::GET, "/api/stats")
            .header("origin", page)
            .header("authorization", authorization)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.headers()["access-control-allow-origin"], page);
        problem(answer, status).await;
    }
    server.stop().await;
}
