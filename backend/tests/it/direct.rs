//! Who is direct, and so may do more than read without a token; and how one becomes admin.

use pulseboard::settings::Origins;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN_LINK, PATIENCE, TestServer, problem};

impl TestServer {
    /// The role that the server sees in a request that begins with this line, sent as it is.
    async fn role_of(&self, line: &str, headers: &str) -> String {
        let mut raw = self.raw_connection().await;
        raw.send(format!("{line}\r\n{headers}Connection: close\r\n\r\n").as_bytes())
            .await;
        let answer = String::from_utf8(raw.rest().await).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        if !head.contains(" 200 ") {
            return head.lines().next().unwrap_or_default().to_owned();
        }
        let session: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(session["anonymous"], true);
        session["role"].as_str().expect("a role").to_owned()
    }

    async fn role_with(&self, headers: &str) -> String {
        let host = format!("Host: {}\r\n{headers}", self.address);
        self.role_of("GET /api/session HTTP/1.1", &host).await
    }

    async fn make_admin(&self, link: &str) -> reqwest::Response {
        self.request(Method::POST, "/api/login")
            .json(&json!({"admin_link": link}))
            .send()
            .await
            .expect("an answer")
    }
}

#[tokio::test]
async fn nobody_is_admin_without_a_token() {
    let server = TestServer::start().await;
    assert_eq!(server.role_with("").await, "operator");
    for (method, path) in [
        (Method::GET, "/api/tokens"),
        (Method::POST, "/api/tokens"),
        (Method::DELETE, "/api/tokens/000000000000"),
    ] {
        let answer = server
            .request(method, path)
            .json(&json!({"role": "admin"}))
            .send()
            .await
            .expect("an answer");
        problem(answer, 401).await;
    }
    // Not even where somebody finds a way to say so.
    let set = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(pulseboard_shared::Role::Admin);
    })
    .await;
    assert_eq!(set.role_with("").await, "operator");
    set.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_does_not_come_directly_is_a_viewer() {
    let server = TestServer::start().await;
    let port = server.address.port();
    for headers in [
        "X-Forwarded-For: 127.0.0.1\r\n",
        "x-fOrWaRdEd: 1\r\n",
        "X_Forwarded_For: 1\r\n",
        "Forwarded: for=192.0.2.1\r\n",
        "X-Original-Forwarded-For: 1\r\n",
        "Via: 1.1 proxy\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "True-Client-IP: 127.0.0.1\r\n",
        "X-Client-IP: 127.0.0.1\r\n",
        "CF-Connecting-IP: 127.0.0.1\r\n",
        "CF-Ray: 1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
        "Origin: null\r\n",
        "Origin: https://evil.test\r\n",
    ] {
        assert_eq!(server.role_with(headers).await, "viewer", "{headers:?}");
    }
    for host in [
        format!("rebound.test:{port}"),
        "localhost".to_owned(),
        "127.0.0.1:1".to_owned(),
        format!("127.0.0.1.evil.test:{port}"),
        format!("10.0.0.1:{port}"),
    ] {
        let role = server
            .role_of("GET /api/session HTTP/1.1", &format!("Host: {host}\r\n"))
            .await;
        assert_eq!(role, "viewer", "{host}");
    }
    for host in [
        format!("localhost:{port}"),
        format!("localhost.:{port}"),
        format!("LocalHost:{port}"),
        format!("[::1]:{port}"),
    ] {
        let role = server
            .role_of("GET /api/session HTTP/1.1", &format!("hOsT: {host}\r\n"))
            .await;
        assert_eq!(role, "operator", "{host}");
    }
    let host = format!("Host: {}\r\n", server.address);
    let old = server.role_of("GET /api/session HTTP/1.0", &host).await;
    assert_eq!(old, "viewer");
    let absolute = format!("GET http://{}/api/session HTTP/1.1", server.address);
    assert_eq!(server.role_of(&absolute, &host).await, "viewer");
    // A target of another host is none of ours (RFC 9112 §3.2.2 has it count more than Host).
    let refused = server
        .role_of("GET http://evil.test/api/session HTTP/1.1", &host)
        .await;
    assert!(refused.contains("400"), "{refused}");
    // A header that goes on in the next line is none (RFC 9112 §5.2).
    let folded = server.role_with("X-A: b\r\n X-Forwarded-For: 1\r\n").await;
    assert!(folded.contains("400"), "{folded}");
    server.stop().await;
}

#[tokio::test]
async fn who_listens_to_all_has_no_direct_callers() {
    let server = TestServer::start_with(|settings| {
        settings.bind_addr = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    })
    .await;
    assert_eq!(server.role_with("").await, "viewer");
    server.stop().await;
}

#[tokio::test]
async fn any_page_that_may_come_is_a_viewer() {
    let server = TestServer::start_with(|settings| settings.allowed_origins = Origins::Any).await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1"] {
        let role = server.role_with(&format!("Origin: {origin}\r\n")).await;
        assert_eq!(role, "viewer", "{origin}");
        let made = server
            .request(Method::POST, "/api/tokens")
            .header("origin", origin)
            .header("content-type", "text/plain")
            .body("{\"role\":\"admin\"}")
            .send()
            .await
            .expect("an answer");
        problem(made, 401).await;
        let control = server.try_ws("/ws/control", &[("origin", origin)]).await;
        assert_eq!(
            control.err().map(|answer| answer.status().as_u16()),
            Some(401)
        );
    }
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(server.role_with(&own).await, "operator");
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_is_listed_by_name_is_as_direct_as_ours() {
    let page = "https://app.example.org";
    let server = TestServer::start_with(|settings| {
        settings.allowed_origins = Origins::List(vec![page.to_owned()]);
    })
    .await;
    let role = server.role_with(&format!("Origin: {page}\r\n")).await;
    assert_eq!(role, "operator");
    server.stop().await;
}

#[tokio::test]
async fn the_starts_link_makes_one_browser_admin() {
    let server = TestServer::start().await;
    problem(server.make_admin("guess").await, 401).await;
    let answer = server.make_admin(ADMIN_LINK).await;
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body, json!({"role": "admin", "tenant": null}));
    let made = server
        .request(Method::POST, "/api/tokens")
        .header("cookie", &cookie)
        .json(&json!({"role": "admin"}))
        .send()
        .await
        .expect("an answer");
    assert_eq!(made.status(), 201);
    problem(server.make_admin(ADMIN_LINK).await, 401).await;
    server.stop().await;

    let late = TestServer::start().await;
    late.clock
        .advance(std::time::Duration::from_millis(600_001));
    problem(late.make_admin(ADMIN_LINK).await, 401).await;
    late.stop().await;
}

#[tokio::test]
async fn a_link_of_the_data_folder_works_while_the_server_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = TestServer::start_with(|settings| {
        settings.data_dir = pulseboard::settings::DataDir::Path(folder.path().to_owned());
    })
    .await;
    let leave =
        || pulseboard::access::link::leave(folder.path(), server.clock.now_ms()).expect("a link");
    let link = leave();
    problem(server.make_admin("guess").await, 401).await;
    // Whoever comes first, of many at once.
    let tries = futures_util::future::join_all((0..20).map(|_| server.make_admin(&link))).await;
    let taken = tries.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(taken, 1);
    let link = leave();
    server.clock.advance(PATIENCE * 61);
    problem(server.make_admin(&link).await, 401).await;
    server.stop().await;
}
