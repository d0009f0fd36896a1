//! `/api/tokens`: made, listed and withdrawn while the server runs.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use pulseboard::settings::{DataDir, Settings};
use pulseboard_shared::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem, token},
};

impl TestServer {
    async fn make_token(&self, grant: Value) -> (String, String) {
        let answer = self
            .send_as(
                &bearer(Role::Admin),
                Method::POST,
                "/api/tokens",
                Some(grant.clone()),
            )
            .await;
        assert_eq!(answer.status(), 201);
        let made: Value = answer.json().await.expect("JSON");
        for field in ["role", "tenant"] {
            assert_eq!(made[field], grant[field]);
        }
        let text = |field: &str| made[field].as_str().expect("text").to_owned();
        (text("id"), text("token"))
    }

    async fn withdraw(&self, id: &str) {
        let path = format!("/api/tokens/{id}");
        let answer = self
            .send_as(&bearer(Role::Admin), Method::DELETE, &path, None)
            .await;
        assert_eq!(answer.status(), 204);
    }

    async fn tokens(&self, authorization: &str) -> Vec<Value> {
        let answer = self
            .send_as(authorization, Method::GET, "/api/tokens", None)
            .await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }

    /// The name of the settings' token of this role.
    async fn id_of(&self, role: Role) -> String {
        let tokens = self.tokens(&bearer(Role::Admin)).await;
        let ours = tokens
            .iter()
            .find(|token| token["role"] == role.as_str() && token["source"] == "settings");
        ours.expect("listed")["id"]
            .as_str()
            .expect("text")
            .to_owned()
    }

    async fn status_with(&self, token: &str) -> u16 {
        let answer = self
            .send_as(&format!("Bearer {token}"), Method::GET, "/api/stats", None)
            .await;
        answer.status().as_u16()
    }
}

#[tokio::test]
async fn a_made_token_works_until_it_is_withdrawn() {
    let server = TestServer::start_with(with_tokens).await;
    let (id, token) = server
        .make_token(json!({"role": "viewer", "tenant": "shop"}))
        .await;
    assert!(token.starts_with("pb_") && token.len() > 32, "{token}");
    assert_eq!(server.status_with(&token).await, 200);

    let cookie = server.cookie_of(&token).await;
    let socket = server.try_ws("/ws", &[("cookie", &cookie)]).await;
    assert!(socket.is_ok());
    let tokens = server.tokens(&bearer(Role::Admin)).await;
    assert_eq!(tokens.len(), 6);
    assert_eq!(
        tokens.last(),
        Some(&json!({
            "id": id, "role": "viewer", "tenant": "shop", "source": "api",
            "sessions": 1, "streams": 1,
        }))
    );
    server.withdraw(&id).await;
    assert_eq!(server.status_with(&token).await, 401);
    let again = server
        .send_as(
            &bearer(Role::Admin),
            Method::DELETE,
            &format!("/api/tokens/{id}"),
            None,
        )
        .await;
    problem(again, 404).await;
    assert_eq!(server.tokens(&bearer(Role::Admin)).await.len(), 5);
    server.stop().await;
}

#[tokio::test]
async fn a_withdrawn_tokens_streams_end_at_once_and_no_others() {
    let server = TestServer::start_with(with_tokens).await;
    let (viewer, operator) = (bearer(Role::Viewer), bearer(Role::Operator));
    let open = async |path: &str, header: (&'static str, &str)| {
        server
            .try_ws(path, &[header])
            .await
            .expect("the socket opens")
    };
    let cookie = server.cookie_of("viewer-secret").await;
    let mut ended = [
        open("/ws/metrics", ("authorization", &viewer)).await,
        open("/ws", ("authorization", &viewer)).await,
        open("/ws/chat", ("cookie", &cookie)).await,
    ];
    let mut events = [
        server
            .sse_with("/events/alerts", &[("authorization", &viewer)])
            .await,
        server
            .sse_with("/api/metrics/stream", &[("cookie", &cookie)])
            .await,
    ];
    let mut stays = open("/ws/control", ("authorization", &operator)).await;

    server.withdraw(&server.id_of(Role::Viewer).await).await;
    // The clock stands still: nothing of this waits for a sweep.
    for socket in &mut ended {
        assert_eq!(socket.closed().await, (1008, "token withdrawn".to_owned()));
    }
    for events in &mut events {
        while events.next().await.is_some() {}
    }
    assert_eq!(stays.json().await["message"], "Control channel connected");
    stays.send("{\"command\":\"reset_counters\"}").await;
    assert_eq!(stays.json().await["message"], "Counters reset");
    assert_eq!(server.status_with("viewer-secret").await, 401);
    let session = server
        .request(Method::GET, "/api/session")
        .header("cookie", &cookie)
        .send()
        .await
        .expect("an answer");
    let session: Value = session.json().await.expect("JSON");
    assert_eq!(session["anonymous"], true);
    server.stop().await;
}

#[tokio::test]
async fn wrong_grants_and_names_are_refused() {
    let server = TestServer::start_with(with_tokens).await;
    let admin = bearer(Role::Admin);
    let answer = server
        .send_as(
            &admin,
            Method::POST,
            "/api/tokens",
            Some(json!({"role": "boss", "tenant": "a b"})),
        )
        .await;
    let said = problem(answer, 400).await;
    assert_eq!(said["errors"][0]["pointer"], "/role");
    assert_eq!(said["errors"][1]["pointer"], "/tenant");
    for name in ["x", "000000000000", "0000000000000", "%F0%9F%8E%AB"] {
        let path = format!("/api/tokens/{name}");
        let answer = server.send_as(&admin, Method::DELETE, &path, None).await;
        problem(answer, 404).await;
    }
    server.stop().await;
}

/// An admin of one tenant beside the others.
fn with_shop_admin(settings: &mut Settings) {
    with_tokens(settings);
    let admin = token("shop-admin", Role::Admin, Some("shop"));
    settings.tokens.push(admin);
}

#[tokio::test]
async fn an_admin_of_one_tenant_has_nothing_to_do_with_others() {
    let server = TestServer::start_with(with_shop_admin).await;
    let shop = "Bearer shop-admin";
    let (other, _) = server
        .make_token(json!({"role": "viewer", "tenant": "mill"}))
        .await;
    let make = async |grant: Value| {
        server
            .send_as(shop, Method::POST, "/api/tokens", Some(grant))
            .await
    };
    problem(make(json!({"role": "viewer", "tenant": "mill"})).await, 403).await;
    let own: Value = make(json!({"role": "viewer"}))
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(own["tenant"], "shop");
    let seen = server.tokens(shop).await;
    assert_eq!(seen.len(), 2, "itself and the one it made");
    assert!(seen.iter().all(|token| token["tenant"] == "shop"));
    let path = format!("/api/tokens/{other}");
    problem(server.send_as(shop, Method::DELETE, &path, None).await, 404).await;
    server.stop().await;
}

#[tokio::test]
async fn the_last_admin_goes_only_by_force() {
    let server = TestServer::start_with(with_shop_admin).await;
    let id = server.id_of(Role::Admin).await;
    let delete = async |query: &str| {
        let path = format!("/api/tokens/{id}{query}");
        server
            .send_as(&bearer(Role::Admin), Method::DELETE, &path, None)
            .await
    };
    for query in ["", "?force=0", "?force=false"] {
        let said = problem(delete(query).await, 409).await;
        assert!(
            said["detail"]
                .as_str()
                .is_some_and(|text| text.contains("?force"))
        );
    }
    assert_eq!(server.status_with("admin-secret").await, 200);
    let (second, _) = server
        .make_token(json!({"role": "admin", "tenant": null}))
        .await;
    server.withdraw(&second).await;
    assert_eq!(delete("?force").await.status(), 204);
    assert_eq!(server.status_with("admin-secret").await, 401);
    server.stop().await;
}

#[tokio::test]
async fn made_and_withdrawn_outlive_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = |settings: &mut Settings| {
        with_tokens(settings);
        settings.data_dir = DataDir::Path(folder.path().to_owned());
    };
    let server = TestServer::start_with(settings).await;
    let (_, kept) = server.make_token(json!({"role": "operator"})).await;
    let (gone_id, gone) = server.make_token(json!({"role": "viewer"})).await;
    server.withdraw(&gone_id).await;
    server.withdraw(&server.id_of(Role::Viewer).await).await;
    server.stop().await;

    let stored = std::fs::read_to_string(folder.path().join("tokens.json")).expect("the file");
    for secret in [&*kept, &*gone, "viewer-secret"] {
        assert!(!stored.contains(secret), "{stored}");
    }
    let server = TestServer::start_with(settings).await;
    assert_eq!(server.status_with(&kept).await, 200);
    assert_eq!(server.status_with("operator-secret").await, 200);
    assert_eq!(server.status_with(&gone).await, 401);
    assert_eq!(server.status_with("viewer-secret").await, 401);
    server.stop().await;
}

/// The server as a process of its own, so that its log can be read; killed when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn no_secret_is_logged_or_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let process = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
        .args(["--bind", "127.0.0.1:0", "--source", "none"])
        .args(["--anonymous-role", "none", "--data-dir", "memory"])
        .env("AUTH_TOKENS", "settings-secret=admin")
        .env("RUST_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).expect("a file"))
        .spawn();
    let mut process = Process(process.expect("the server starts"));
    let mut greeting = Vec::new();
    let mut out = process.0.stdout.take().expect("piped");
    while !greeting.ends_with(b"\n") {
        let mut byte = [0];
        out.read_exact(&mut byte).expect("a greeting");
        greeting.extend(byte);
    }
    let greeting = String::from_utf8(greeting).expect("UTF-8");
    let base = greeting
        .trim()
        .strip_prefix("Pulseboard is at ")
        .and_then(|url| url.strip_suffix('/'))
        .expect("the address")
        .to_owned();

    let http = reqwest::Client::new();
    let send = async |method: Method, path: &str, body: Option<Value>| {
        let mut request = http
            .request(method, format!("{base}{path}"))
            .bearer_auth("settings-secret");
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("an answer")
    };
    let made = send(Method::POST, "/api/tokens", Some(json!({"role": "viewer"}))).await;
    let made: Value = made.json().await.expect("JSON");
    let token = made["token"].as_str().expect("text");
    let login = send(Method::POST, "/api/login", Some(json!({"token": token}))).await;
    let cookie = login.headers()["set-cookie"].to_str().expect("text");
    let session = cookie
        .strip_prefix("pulseboard_session=")
        .and_then(|cookie| cookie.split(';').next())
        .expect("the cookie");
    let ticket = send(Method::POST, "/api/tickets", None).await;
    let ticket: Value = ticket.json().await.expect("JSON");
    let ticket = ticket["ticket"].as_str().expect("text");
    for path in [
        format!("/events/alerts?ticket={ticket}"),
        format!("/events/alerts?ticket={ticket}-guess"),
        format!("/api/nothing?ticket={ticket}"),
    ] {
        drop(http.get(format!("{base}{path}")).send().await);
    }
    drop(
        http.post(format!("{base}/api/login"))
            .json(&json!({"token": "guessed-secret"}))
            .send()
            .await,
    );
    let mut shown = Vec::new();
    for path in ["/metrics", "/api/tokens", "/api/session"] {
        shown.push(
            send(Method::GET, path, None)
                .await
                .text()
                .await
                .expect("text"),
        );
    }
    let id = made["id"].as_str().expect("text");
    let withdrawn = send(Method::DELETE, &format!("/api/tokens/{id}"), None).await;
    assert_eq!(withdrawn.status(), 204);
    drop(process);

    let log = std::fs::read_to_string(log).expect("the log");
    assert!(log.contains(id), "tokens are named in the log: {log}");
    shown.push(log);
    for text in &shown {
        for secret in ["settings-secret", "guessed-secret", token, session, ticket] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
