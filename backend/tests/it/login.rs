//! `POST /api/login`, `POST /api/logout`, `GET /api/session`: sessions of browsers.

use std::time::Duration;

use pulseboard::settings::Origins;
use pulseboard_shared::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem},
};

impl TestServer {
    async fn login(&self, token: &str) -> Response {
        self.request(Method::POST, "/api/login")
            .json(&json!({"token": token}))
            .send()
            .await
            .expect("an answer")
    }

    /// Logs in and returns the `Cookie` header of the session.
    pub(crate) async fn cookie_of(&self, token: &str) -> String {
        let answer = self.login(token).await;
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a first part").to_owned()
    }

    /// Sends a request with this cookie and these headers.
    async fn with_cookie(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Response {
        let request = self.request(method, path).header("cookie", cookie);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.expect("an answer")
    }

    async fn session(&self, cookie: &str) -> Value {
        let answer = self
            .with_cookie(cookie, Method::GET, "/api/session", &[])
            .await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let server = TestServer::start_with(with_tokens).await;
    let answer = server.login("viewer-secret").await;
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"]
        .to_str()
        .expect("text")
        .to_owned();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body, json!({"role": "viewer", "tenant": null}));
    let (pair, flags) = cookie.split_once("; ").expect("flags");
    let (name, secret) = pair.split_once('=').expect("a value");
    assert_eq!(name, "pulseboard_session");
    assert_eq!(secret.len(), 64);
    assert!(secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(flags, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");

    let trusting = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.trusted_proxies = vec![server.address.ip().into()];
    })
    .await;
    for (header, value) in [
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.1;proto=https"),
    ] {
        let login = async |server: &TestServer| {
            let answer = server
                .request(Method::POST, "/api/login")
                .header(header, value)
                .json(&json!({"token": "viewer-secret"}))
                .send()
                .await
                .expect("an answer");
            let cookie = answer.headers()["set-cookie"].to_str().expect("text");
            cookie.to_owned()
        };
        let cookie = login(&trusting).await;
        assert!(cookie.starts_with("__Host-pulseboard_session="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"));
        let cookie = cookie.split(';').next().expect("a pair");
        let role = async |headers: &[(&'static str, &str)]| {
            let answer = trusting
                .with_cookie(cookie, Method::GET, "/api/session", headers)
                .await;
            let session: Value = answer.json().await.expect("JSON");
            session["role"].clone()
        };
        assert_eq!(role(&[(header, value)]).await, "viewer");
        assert_eq!(role(&[]).await, "none", "without TLS it is none of ours");
        // Whoever is not named as a proxy says nothing about TLS.
        assert!(login(&server).await.starts_with("pulseboard_session="));
    }
    trusting.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_planted_session_beside_ones_own_counts_no_more_than_it() {
    let server = TestServer::start_with(with_tokens).await;
    let (ours, planted) = (
        server.cookie_of("operator-secret").await,
        server.cookie_of("viewer-secret").await,
    );
    for both in [format!("{ours}; {planted}"), format!("{planted}; {ours}")] {
        assert_eq!(server.session(&both).await["anonymous"], true);
    }
    let twice = format!("{ours}; {ours}");
    assert_eq!(server.session(&twice).await["role"], "operator");
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_logins_ends_nobody_elses_session() {
    let server = TestServer::start_with(with_tokens).await;
    let admin = server.cookie_of("admin-secret").await;
    let first = server.cookie_of("viewer-secret").await;
    for _ in 0..100 {
        server.cookie_of("viewer-secret").await;
    }
    assert_eq!(server.session(&first).await["anonymous"], true);
    assert_eq!(server.session(&admin).await["role"], "admin");
    problem(server.login("none-secret").await, 403).await;
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_token_and_a_wrong_body_are_refused() {
    let server = TestServer::start_with(with_tokens).await;
    for token in ["", " ", "viewer", "viewer-secret-"] {
        let answer = server.login(token).await;
        assert!(!answer.headers().contains_key("set-cookie"));
        let status = if token.trim().is_empty() { 400 } else { 401 };
        problem(answer, status).await;
    }
    for body in ["", "{", "[]", "{\"token\":1}", "{\"tokn\":\"x\"}"] {
        let answer = server
            .request(Method::POST, "/api/login")
            .body(body)
            .send()
            .await
            .expect("an answer");
        problem(answer, 400).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_session_says_who_one_is() {
    let server = TestServer::start_with(with_tokens).await;
    let nobody = json!({"role": "none", "tenant": null, "anonymous": true, "login_needed": true});
    assert_eq!(server.session("").await, nobody);
    assert_eq!(server.session("pulseboard_session=0").await, nobody);
    let cookie = server.cookie_of("operator-secret").await;
    let operator =
        json!({"role": "operator", "tenant": null, "anonymous": false, "login_needed": false});
    assert_eq!(server.session(&cookie).await, operator);
    // One that some other server on this host has set does not hide ours.
    let both = format!("pulseboard_session=0; {cookie}");
    assert_eq!(server.session(&both).await, operator);
    let read = server
        .with_cookie(&cookie, Method::GET, "/api/stats", &[])
        .await;
    assert_eq!(read.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_logout_ends_the_session_and_closes_its_streams() {
    let server = TestServer::start_with(with_tokens).await;
    let cookie = server.cookie_of("viewer-secret").await;
    let other = server.cookie_of("viewer-secret").await;
    let open = async |cookie: &str| {
        server
            .try_ws("/ws", &[("cookie", cookie)])
            .await
            .expect("the socket opens")
    };
    let (mut socket, mut stays) = (open(&cookie).await, open(&other).await);
    let mut events = server
        .sse_with("/events/alerts", &[("cookie", &cookie)])
        .await;

    let origin = format!("http://{}", server.address);
    let answer = server
        .with_cookie(&cookie, Method::POST, "/api/logout", &[("origin", &origin)])
        .await;
    assert_eq!(answer.status(), 204);
    let cleared = answer.headers()["set-cookie"].to_str().expect("text");
    assert!(
        cleared.starts_with("pulseboard_session=; ") && cleared.contains("Max-Age=0"),
        "{cleared}"
    );

    // The clock stands still: this happens at once.
    assert_eq!(socket.closed().await, (1008, "logged out".to_owned()));
    while events.next().await.is_some() {}
    let after = server
        .with_cookie(&cookie, Method::GET, "/api/stats", &[])
        .await;
    problem(after, 401).await;
    assert_eq!(server.session(&other).await["role"], "viewer");
    stays.json_of("init").await;
    stays
        .send("{\"action\":\"subscribe\",\"channel\":\"x\"}")
        .await;
    stays.json_of("subscribed").await;
    // Again, and without any: nothing to end, and no error.
    for cookie in [&*cookie, ""] {
        let headers = [("content-type", "application/json")];
        let answer = server
            .with_cookie(cookie, Method::POST, "/api/logout", &headers)
            .await;
        assert_eq!(answer.status(), 204);
    }
    server.stop().await;
}

#[tokio::test]
async fn another_login_in_the_same_browser_ends_what_the_first_one_opened() {
    let server = TestServer::start_with(with_tokens).await;
    let cookie = server.cookie_of("admin-secret").await;
    let mut socket = server
        .try_ws("/ws/control", &[("cookie", &cookie)])
        .await
        .expect("the socket opens");
    let answer = server
        .request(Method::POST, "/api/login")
        .header("cookie", &cookie)
        .json(&json!({"token": "viewer-secret"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(socket.closed().await.0, 1008);
    assert_eq!(server.session(&cookie).await["anonymous"], true);
    server.stop().await;
}

#[tokio::test]
async fn a_session_expires_and_its_sockets_with_it() {
    let server = TestServer::start_with(with_tokens).await;
    let cookie = server.cookie_of("viewer-secret").await;
    let mut socket = server
        .try_ws("/ws/chat", &[("cookie", &cookie)])
        .await
        .expect("the socket opens");
    server.clock.advance(Duration::from_secs(12 * 60 * 60));
    assert_eq!(server.session(&cookie).await["role"], "none");
    assert_eq!(socket.closed().await, (1008, "session expired".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn with_a_cookie_a_change_must_come_from_a_page_of_ours() {
    let listed = "https://app.example.org";
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.allowed_origins = Origins::List(vec![listed.to_owned()]);
    })
    .await;
    let cookie = server.cookie_of("admin-secret").await;
    let own = format!("http://{}", server.address);
    let path = "/api/tickets";
    for (headers, status) in [
        (vec![], 403),
        (vec![("content-type", "text/plain")], 403),
        (
            vec![("content-type", "application/x-www-form-urlencoded")],
            403,
        ),
        (vec![("content-type", "application/json")], 200),
        (vec![("origin", &*own)], 200),
        (
            vec![("origin", listed), ("content-type", "text/plain")],
            200,
        ),
        (vec![("origin", "https://evil.test")], 403),
        (
            vec![
                ("origin", "https://evil.test"),
                ("content-type", "application/json"),
            ],
            403,
        ),
        (vec![("origin", "null")], 403),
    ] {
        let answer = server
            .with_cookie(&cookie, Method::POST, path, &headers)
            .await;
        assert_eq!(answer.status(), status, "{headers:?}");
    }
    let deleting = server
        .with_cookie(&cookie, Method::DELETE, "/api/tokens/000000000000", &[])
        .await;
    problem(deleting, 403).await;
    // A token in a header is sent by nobody unasked.
    let by_token = server
        .send_as(&bearer(Role::Admin), Method::POST, path, None)
        .await;
    assert_eq!(by_token.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn where_any_page_may_cookies_do_not_count() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.allowed_origins = Origins::Any;
    })
    .await;
    let cookie = server.cookie_of("viewer-secret").await;
    let foreign = [("origin", "https://a.test"), ("cookie", &*cookie)];
    let refused = server.try_ws("/ws/metrics", &foreign).await.err();
    assert_eq!(refused.map(|answer| answer.status().as_u16()), Some(401));
    let own = format!("http://{}", server.address);
    let from_own = [("origin", &*own), ("cookie", &*cookie)];
    assert!(server.try_ws("/ws/metrics", &from_own).await.is_ok());
    server.stop().await;
}
