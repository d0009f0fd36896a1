//! Who may do what.

use pulseboard::settings::{Origins, Settings, Token};
use pulseboard_shared::Role;
use reqwest::Method;

use crate::support::{TestServer, problem, token};

/// Nobody gets in without a token; there is one for each role, called after it.
pub(crate) fn with_tokens(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::None);
    settings.tokens = Role::ALL.into_iter().map(named_after).collect();
}

fn named_after(role: Role) -> Token {
    token(&format!("{role}-secret"), role, None)
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
    let before = server
        .send_as(&bearer(Role::Operator), Method::GET, "/api/stats", None)
        .await;
    assert_eq!(before.status(), 200);
    // Tickets that do not work count for nothing.
    for _ in 0..20 {
        problem(server.get("/events/alerts?ticket=used").await, 401).await;
    }
    for _ in 0..10 {
        problem(guess().await, 401).await;
    }
    let blocked = guess().await;
    assert_eq!(blocked.headers()["retry-after"], "60");
    problem(blocked, 429).await;
    // A ticket is no guess; a login is one, even with a token that is right.
    problem(server.get("/events/alerts?ticket=guess").await, 401).await;
    let login = async |token: &str| {
        server
            .request(Method::POST, "/api/login")
            .json(&serde_json::json!({"token": token}))
            .send()
            .await
            .expect("an answer")
    };
    problem(login("viewer-secret").await, 429).await;
    // By a header, too: the eleventh guess must not be told from the others by being right.
    let viewer = server
        .send_as(&bearer(Role::Viewer), Method::GET, "/api/stats", None)
        .await;
    problem(viewer, 429).await;
    // Who was right from here before goes on.
    let known = server
        .send_as(&bearer(Role::Operator), Method::GET, "/metrics", None)
        .await;
    assert_eq!(known.status(), 200);
    assert!(
        known
            .text()
            .await
            .is_ok_and(|text| text.contains("limit=\"login_rate\"} 3\n"))
    );
    assert_eq!(login("operator-secret").await.status(), 200);

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

#[tokio::test]
async fn behind_a_trusted_proxy_a_guesser_locks_nobody_out() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.trusted_proxies = vec![std::net::IpAddr::from([127, 0, 0, 1]).into()];
    })
    .await;
    let stats = async |token: &str, from: &str| {
        let request = server
            .request(Method::GET, "/api/stats")
            .header("authorization", format!("Bearer {token}"))
            .header("x-forwarded-for", from);
        request.send().await.expect("an answer").status().as_u16()
    };
    for number in 0..10 {
        // What a client writes itself stands left of where it comes from.
        let from = format!("10.0.0.{number}, 192.0.2.66");
        assert_eq!(stats("guess", &from).await, 401);
    }
    assert_eq!(stats("guess", "192.0.2.66").await, 429);
    assert_eq!(stats("viewer-secret", "192.0.2.66").await, 429);
    assert_eq!(stats("viewer-secret", "192.0.2.66, 192.0.2.7").await, 200);
    let login = server
        .request(Method::POST, "/api/login")
        .header("x-forwarded-for", "192.0.2.7")
        .json(&serde_json::json!({"token": "viewer-secret"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(login.status(), 200);
    server.stop().await;
}

/// Tokens for the tenant `shop`, and nothing for anybody else.
fn with_bound_tokens(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::Operator);
    settings.tokens = vec![
        token("shop-secret", Role::Operator, Some("shop")),
        named_after(Role::Operator),
    ];
}

#[tokio::test]
async fn who_has_no_token_speaks_for_the_default_tenant_alone() {
    let server = TestServer::start_with(with_bound_tokens).await;
    for path in [
        "/api/series?",
        "/api/range?match={}&",
        "/api/windows?match={}&",
        "/api/ingest?",
        "/api/alerts?",
        "/api/rooms?",
        "/api/metrics/since?epoch=0&offset=0&",
        "/events/alerts?",
        "/events/metrics?",
        "/dashboard/stream?",
    ] {
        let status = async |authorization: Option<&str>, tenant: &str| {
            let request = server.request(Method::GET, &format!("{path}tenant={tenant}"));
            let request = match authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            request.send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(status(None, "bank").await, 401, "{path}");
        assert_eq!(status(None, "default").await, 200, "{path}");
        assert_eq!(
            status(Some("Bearer shop-secret"), "bank").await,
            403,
            "{path}"
        );
        assert_eq!(
            status(Some("Bearer shop-secret"), "shop").await,
            200,
            "{path}"
        );
        assert_eq!(
            status(Some("Bearer operator-secret"), "bank").await,
            200,
            "{path}"
        );
    }
    for path in ["/ws", "/ws/chat", "/ws/metrics"] {
        let refused = server
            .try_ws(&format!("{path}?tenant=bank"), &[])
            .await
            .err();
        assert_eq!(
            refused.map(|answer| answer.status().as_u16()),
            Some(401),
            "{path}"
        );
        assert!(server.try_ws(path, &[]).await.is_ok(), "{path}");
    }
    for path in [
        "/push",
        "/write",
        "/api/v2/write",
        "/v1/metrics",
        "/metrics/track",
        "/api/v1/write",
    ] {
        let answer = server
            .request(Method::POST, path)
            .header("x-tenant-id", "bank")
            .header("content-type", "application/json")
            .body("{}")
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 401, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_token_made_for_a_tenant_confines_the_others_and_a_setting_names_theirs() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.anonymous_role = Some(Role::Viewer);
        settings.anonymous_tenants = vec!["open".to_owned(), "more".to_owned()];
    })
    .await;
    let series = async |tenant: &str| {
        let answer = server.get(&format!("/api/series{tenant}")).await;
        let status = answer.status().as_u16();
        (
            status,
            answer.json::<serde_json::Value>().await.expect("JSON")["tenant"].clone(),
        )
    };
    assert_eq!(series("?tenant=bank").await.0, 200, "nobody is bound yet");
    let made = server
        .send_as(
            &bearer(Role::Admin),
            Method::POST,
            "/api/tokens",
            Some(serde_json::json!({"role": "viewer", "tenant": "bank"})),
        )
        .await;
    assert_eq!(made.status(), 201);
    assert_eq!(series("?tenant=bank").await.0, 401);
    assert_eq!(series("?tenant=default").await.0, 401);
    assert_eq!(series("?tenant=more").await, (200, "more".into()));
    assert_eq!(series("").await, (200, "open".into()));
    server.stop().await;
}

#[tokio::test]
async fn what_is_the_servers_is_nobodys_who_is_bound_to_a_tenant() {
    let server = TestServer::start_with(with_bound_tokens).await;
    let status = async |authorization: &str| match server
        .try_ws("/ws/control", &[("authorization", authorization)])
        .await
    {
        Ok(_) => 101,
        Err(answer) => answer.status().as_u16(),
    };
    assert_eq!(status("Bearer shop-secret").await, 403);
    assert_eq!(status("Bearer operator-secret").await, 101);
    server.stop().await;
}

#[tokio::test]
async fn where_no_token_is_needed_what_clients_send_by_default_is_passed_over() {
    let server = TestServer::start().await;
    let ways = [
        ("Basic cm9vdDpyb290", ""),
        ("Basic Og==", ""),
        ("Token root:root", ""),
        ("Bearer any", ""),
        ("nonsense", ""),
        ("", "?u=root&p=root"),
    ];
    // Some of these are what the guard against guessing would count.
    for _ in 0..3 {
        for (authorization, query) in ways {
            for (method, path, body) in [
                (Method::POST, "/write", "a value=1"),
                (Method::POST, "/api/v2/write", "a value=1"),
                (Method::POST, "/push", "a 1"),
                (Method::POST, "/metrics/job/a", "a 1\n"),
                (Method::POST, "/query", "q=SHOW+DATABASES"),
                (Method::GET, "/api/stats", ""),
                (Method::GET, "/api/series", ""),
                (Method::GET, "/api/v1/labels", ""),
                (Method::GET, "/metrics", ""),
            ] {
                let request = server.request(method, &format!("{path}{query}"));
                let request = match authorization {
                    "" => request,
                    value => request.header("authorization", value),
                };
                let answer = request.body(body).send().await.expect("an answer");
                let status = answer.status();
                assert!(
                    status.is_success(),
                    "{path} with {authorization:?} {query:?}: {status}"
                );
            }
            if !authorization.is_empty() {
                let header = [("authorization", authorization)];
                let socket = server.try_ws("/ws/metrics", &header).await;
                assert!(socket.is_ok(), "a socket with {authorization:?}");
            }
        }
    }
    server.stop().await;

    let closed =
        TestServer::start_with(|settings| settings.anonymous_role = Some(Role::Viewer)).await;
    let answer = closed
        .request(Method::POST, "/write?u=root&p=root")
        .body("a value=1")
        .send()
        .await
        .expect("an answer");
    problem(answer, 401).await;
    closed.stop().await;
}

#[tokio::test]
async fn a_token_comes_in_each_way_that_agents_send_it() {
    let server = TestServer::start_with(with_tokens).await;
    let write = async |path: &str, authorization: &str| {
        let request = server.request(Method::POST, path).body("a value=1");
        let request = match authorization {
            "" => request,
            value => request.header("authorization", value),
        };
        request.send().await.expect("an answer").status().as_u16()
    };
    for authorization in [
        "Bearer writer-secret",
        "Token writer-secret",
        "Token any:writer-secret",
        "Basic YW55OndyaXRlci1zZWNyZXQ=",
    ] {
        assert_eq!(write("/write", authorization).await, 204, "{authorization}");
        assert_eq!(
            write("/api/v2/write", authorization).await,
            204,
            "{authorization}"
        );
    }
    assert_eq!(write("/write?u=any&p=writer-secret", "").await, 204);
    assert_eq!(write("/write?u=any&p=wrong", "").await, 401);
    assert_eq!(write("/write?p=writer-secret", "Bearer wrong").await, 401);
    // Elsewhere a token in an address is none.
    assert_eq!(write("/push?p=writer-secret", "").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn who_may_not_is_told_so_before_anything_else() {
    let server = TestServer::start_with(with_tokens).await;
    for path in [
        "/api/v1/write",
        "/v1/metrics",
        "/push",
        "/write",
        "/api/v2/write",
        "/metrics/track",
    ] {
        for kind in ["image/png", "application/json"] {
            let answer = server
                .request(Method::POST, &format!("{path}?tenant=a%20b"))
                .header("content-type", kind)
                .header("content-encoding", "br")
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), 401, "{path} as {kind}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn asking_makes_no_tenant() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::Operator);
    })
    .await;
    let names = async || {
        let text = server.get("/metrics").await.text().await.expect("text");
        text.lines()
            .filter(|line| line.contains("tenant=\"seen"))
            .count()
    };
    for path in [
        "/api/series",
        "/api/ingest",
        "/api/alerts",
        "/api/range?match={}",
    ] {
        let joined = if path.contains('?') { '&' } else { '?' };
        let answer = server
            .get(&format!("{path}{joined}tenant=seen-{}", path.len()))
            .await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    let mut live_queries = server.ws("/ws?tenant=seen-later").await;
    live_queries.json_of("init").await;
    live_queries.send(r#"{"action":"watch","match":"a"}"#).await;
    live_queries.json_of("watched").await;
    let push = async |path: &str, body: &'static str, kind: &str| {
        let request = server
            .request(Method::POST, path)
            .header("content-type", kind);
        request
            .body(body)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(
        push("/push?tenant=seen-refused", "!", "text/plain").await,
        400
    );
    assert_eq!(
        push("/v1/metrics?tenant=seen-otlp", "{}", "application/json").await,
        200
    );
    assert_eq!(
        push("/metrics/track?tenant=seen-track", "{}", "application/json").await,
        400
    );
    assert_eq!(names().await, 0);
    // The first sample makes it, also for who watched before there was one.
    assert_eq!(
        push("/push?tenant=seen-later", "a 1", "text/plain").await,
        200
    );
    assert!(names().await > 0);
    server.clock.advance(std::time::Duration::from_secs(1));
    // A tick may come before.
    while live_queries.json().await["type"] != "samples" {}
    server.stop().await;
}
