//! Several real servers and a real Redis: who may come in at one may at all, who may no longer is
//! sent away by all, and what callers have at each counts together. What is not to be had here
//! (redis-server) is said and passed over.

#![cfg(unix)]

mod servers;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use servers::{INTERVAL_MS, Redis, Server, Socket, eventually, has_redis};

const ADMIN: &str = "admin-of-all-servers-of-this-test";
const VIEWER: &str = "viewer-of-all-servers-of-this-test";
/// How soon all servers are to know what one does.
const SOON: Duration = Duration::from_secs(1);

fn tokens() -> String {
    format!("{ADMIN}=admin,{VIEWER}=viewer")
}

/// Servers that have found each other.
async fn joined<const N: usize>(
    names: [&'static str; N],
    redis: &Redis,
    more: &[(&str, &str)],
) -> [Server; N] {
    let tokens = tokens();
    let mut all = vec![("AUTH_TOKENS", &*tokens), ("ANONYMOUS_ROLE", "none")];
    all.extend(more);
    let servers = names.map(|name| Server::start(name, redis, &all));
    for server in &servers {
        server.is_joined_by(N as u64).await;
    }
    servers
}

impl Server {
    async fn ask(&self, method: Method, path: &str, header: (&str, &str), body: Value) -> Response {
        let url = format!("http://{}{path}", self.address);
        let request = self.http.request(method, url).header(header.0, header.1);
        request.json(&body).send().await.expect("an answer")
    }

    async fn as_admin(&self, method: Method, path: &str, body: Value) -> Response {
        let bearer = format!("Bearer {ADMIN}");
        self.ask(method, path, ("authorization", &bearer), body)
            .await
    }

    /// Logs in; the header of the session's cookie.
    async fn log_in(&self, token: &str) -> String {
        let answer = self.try_log_in(token).await;
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a first part").to_owned()
    }

    async fn try_log_in(&self, token: &str) -> Response {
        let body = json!({"token": token});
        self.ask(Method::POST, "/api/login", ("x-nothing", ""), body)
            .await
    }

    /// What is answered to somebody with this cookie.
    async fn status_of(&self, cookie: &str) -> u16 {
        let read = self.ask(Method::GET, "/api/stats", ("cookie", cookie), Value::Null);
        read.await.status().as_u16()
    }

    async fn status_with(&self, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        let header = ("authorization", &*bearer);
        let read = self.ask(Method::GET, "/api/stats", header, Value::Null);
        read.await.status().as_u16()
    }

    /// Makes a token; its name and its secret.
    async fn make_token(&self, role: &str) -> (String, String) {
        let body = json!({"role": role});
        let answer = self.as_admin(Method::POST, "/api/tokens", body).await;
        assert_eq!(answer.status(), 201);
        let made: Value = answer.json().await.expect("JSON");
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        (text("id"), text("token"))
    }

    async fn withdraw(&self, id: &str) -> Response {
        let path = format!("/api/tokens/{id}");
        self.as_admin(Method::DELETE, &path, Value::Null).await
    }

    async fn token_ids(&self) -> Vec<String> {
        let answer = self.as_admin(Method::GET, "/api/tokens", Value::Null).await;
        let list: Value = answer.json().await.expect("JSON");
        let list = list.as_array().expect("a list").iter();
        let mut ids: Vec<String> = list
            .map(|token| token["id"].as_str().expect("an id").to_owned())
            .collect();
        ids.sort_unstable();
        ids
    }

    async fn ticket_of(&self, token: &str) -> String {
        let bearer = format!("Bearer {token}");
        let header = ("authorization", &*bearer);
        let answer = self
            .ask(Method::POST, "/api/tickets", header, json!({}))
            .await;
        assert_eq!(answer.status(), 200);
        let made: Value = answer.json().await.expect("JSON");
        made["ticket"].as_str().expect("a ticket").to_owned()
    }

    async fn socket_with(&self, token: &str) -> Result<Socket, (u16, Option<u64>)> {
        let bearer = format!("Bearer {token}");
        self.try_socket("/ws/chat", Some(("authorization", &bearer)))
            .await
    }

    async fn is_alone(&self) {
        eventually("it is alone", async || self.state().await.1 == "alone").await;
    }
}

/// As [`eventually`], within the second that all servers have.
async fn soon(what: &str, condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    eventually(what, condition).await;
    let took = began.elapsed();
    assert!(took < SOON, "{what}: after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_at_one_is_known_at_all_and_logs_out_of_all() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b, c] = joined(["a", "b", "c"], &redis, &[]).await;
    let cookie = a.log_in(VIEWER).await;
    for server in [&a, &b, &c] {
        assert_eq!(server.status_of(&cookie).await, 200, "{}", server.name);
        let other = "pulseboard_session=00";
        assert_eq!(server.status_of(other).await, 401, "{}", server.name);
    }
    let session = ("cookie", &*cookie);
    let mut streams = Vec::new();
    for server in [&a, &b, &c] {
        let opened = server.try_socket("/ws/chat", Some(session)).await;
        streams.push(opened.expect("a stream"));
    }
    let began = Instant::now();
    let gone = b.ask(Method::POST, "/api/logout", session, json!({})).await;
    assert_eq!(gone.status(), 204);
    for stream in &mut streams {
        assert_eq!(stream.closed().await, Some(1008));
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for server in [&a, &b, &c] {
        assert_eq!(server.status_of(&cookie).await, 401, "{}", server.name);
    }

    // A server that comes later knows who is logged in; who made the session may be gone.
    let cookie = b.log_in(VIEWER).await;
    drop(b.kill());
    let all = tokens();
    let more = [("AUTH_TOKENS", &*all), ("ANONYMOUS_ROLE", "none")];
    let d = Server::start("d", &redis, &more);
    eventually("it is ready", async || d.state().await.0 == 200).await;
    assert_eq!(d.status_of(&cookie).await, 200);
    assert_eq!(a.status_of(&cookie).await, 200);
}

impl Server {
    /// Has the command make an admin link for this server; its secret.
    fn admin_link(&self) -> String {
        let made = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .arg("admin-link")
            .env_clear()
            .env("DATA_DIR", self.folder.path())
            .output()
            .expect("it runs");
        assert!(made.status.success(), "{made:?}");
        let url = String::from_utf8(made.stdout).expect("text");
        let (_, secret) = url.trim().split_once("#admin=").expect("a link");
        secret.to_owned()
    }

    async fn show_link(&self, secret: &str) -> Response {
        let body = json!({"admin_link": secret});
        self.ask(Method::POST, "/api/login", ("x-nothing", ""), body)
            .await
    }

    async fn status_of_link(&self, secret: &str) -> u16 {
        self.show_link(secret).await.status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_link_of_one_server_makes_an_admin_at_any_and_once() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let [a, b, c] = joined(["a", "b", "c"], &redis, &[]).await;
    let link = a.admin_link();
    let mut cookie = String::new();
    soon("it works at another server", async || {
        let answer = b.show_link(&link).await;
        let set = answer.headers().get("set-cookie");
        let set = set.map(|set| set.to_str().expect("text").to_owned());
        cookie = set.unwrap_or_default();
        answer.status() == 200
    })
    .await;
    let cookie = cookie.split(';').next().expect("a first part");
    for server in [&a, &b, &c] {
        assert_eq!(server.status_of_link(&link).await, 401, "{}", server.name);
        let header = ("cookie", cookie);
        let list = server.ask(Method::GET, "/api/tokens", header, Value::Null);
        assert_eq!(list.await.status(), 200, "{}", server.name);
    }
    // Shown to all at once, it opens one session.
    for server in [&a, &c, &b] {
        let link = server.admin_link();
        tokio::time::sleep(SOON).await;
        let shown = [&a, &b, &c].map(|server| server.status_of_link(&link));
        let mut statuses = join_all(shown).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401]);
    }
    // A newer one takes the place of an older one, at all of them.
    let older = a.admin_link();
    tokio::time::sleep(SOON).await;
    let newer = a.admin_link();
    tokio::time::sleep(SOON).await;
    for server in [&b, &a] {
        assert_eq!(server.status_of_link(&older).await, 401, "{}", server.name);
    }
    assert_eq!(c.status_of_link(&newer).await, 200);
    // Whoever made it may be gone.
    let link = c.admin_link();
    tokio::time::sleep(SOON).await;
    drop(c.kill());
    assert_eq!(a.status_of_link(&link).await, 200);

    // Without Redis one that the others may have taken is not taken, and one that they cannot know
    // of is, once.
    let told = a.admin_link();
    tokio::time::sleep(SOON).await;
    redis.kill();
    for server in [&a, &b] {
        server.is_alone().await;
        let answer = server.show_link(&told).await;
        assert_eq!(answer.status(), 503, "{}", server.name);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let own = a.admin_link();
    assert_eq!(a.status_of_link(&own).await, 200);
    redis.again();
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    for server in [&a, &b] {
        assert_eq!(server.status_of_link(&own).await, 401, "{}", server.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_has_more_sessions_at_all_servers_than_one_may() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    let first = a.log_in(VIEWER).await;
    let mut cookies = Vec::new();
    for number in 0..100 {
        let server = if number % 2 == 0 { &a } else { &b };
        cookies.push(server.log_in(VIEWER).await);
    }
    for server in [&a, &b] {
        soon("the oldest has gone for a newer one", async || {
            server.status_of(&first).await == 401
        })
        .await;
        for cookie in [&cookies[0], &cookies[1], &cookies[99]] {
            assert_eq!(server.status_of(cookie).await, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_one_opens_one_stream_at_any() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b, c] = joined(["a", "b", "c"], &redis, &[]).await;
    let ticket = a.ticket_of(VIEWER).await;
    let path = format!("/ws/metrics?ticket={ticket}");
    let mut stream = b.socket(&path).await;
    stream.next_of("initial").await;
    for server in [&c, &b, &a] {
        let again = server.try_socket(&path, None).await;
        assert_eq!(again.map(drop), Err((401, None)), "{}", server.name);
    }
    // Shown to all at once, it opens one.
    for _ in 0..5 {
        let ticket = a.ticket_of(VIEWER).await;
        let path = format!("/ws/metrics?ticket={ticket}");
        let shown = [&a, &b, &c].map(|server| server.try_socket(&path, None));
        let opened = join_all(shown).await;
        let count = opened.iter().filter(|opened| opened.is_ok()).count();
        assert_eq!(count, 1);
    }

    // One that was made with a session ends with it, wherever it is shown.
    let cookie = a.log_in(VIEWER).await;
    let session = ("cookie", &*cookie);
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let made = b.ask(Method::POST, "/api/tickets", session, json!({}));
        let made: Value = made.await.json().await.expect("JSON");
        let ticket = made["ticket"].as_str().expect("a ticket");
        tickets.push(format!("/ws/metrics?ticket={ticket}"));
    }
    let mut stream = c.socket(&tickets[0]).await;
    stream.next_of("initial").await;
    let gone = a.ask(Method::POST, "/api/logout", session, json!({}));
    assert_eq!(gone.await.status(), 204);
    assert_eq!(stream.closed().await, Some(1008));
    let ended = b.try_socket(&tickets[1], None).await;
    assert_eq!(ended.map(drop), Err((401, None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_withdrawn_at_all_servers_within_a_second() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b, c] = joined(["a", "b", "c"], &redis, &[]).await;
    let (id, token) = a.make_token("viewer").await;
    for server in [&b, &c] {
        soon("the token works", async || {
            server.status_with(&token).await == 200
        })
        .await;
    }
    let mut stream = b.socket_with(&token).await.expect("a stream");
    let cookie = b.log_in(&token).await;
    assert_eq!(a.status_of(&cookie).await, 200);
    let began = Instant::now();
    assert_eq!(c.withdraw(&id).await.status(), 204);
    assert_eq!(stream.closed().await, Some(1008));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for server in [&a, &b, &c] {
        soon("it works no longer, and no session of it", async || {
            server.status_with(&token).await == 401 && server.status_of(&cookie).await == 401
        })
        .await;
        assert_eq!(server.withdraw(&id).await.status(), 404);
    }

    // A tenant's admin is told of what is not the tenant's that it is not there, and no more.
    let body = json!({"role": "admin", "tenant": "shop"});
    let made = a.as_admin(Method::POST, "/api/tokens", body).await;
    let made: Value = made.json().await.expect("JSON");
    let bearer = format!("Bearer {}", made["token"].as_str().expect("a token"));
    let of_shop = ("authorization", &*bearer);
    soon("the tenant's admin is known", async || {
        let list = b.ask(Method::GET, "/api/tokens", of_shop, Value::Null);
        list.await.status() == 200
    })
    .await;
    for id in a.token_ids().await {
        if id != made["id"] {
            let path = format!("/api/tokens/{id}");
            let refused = b.ask(Method::DELETE, &path, of_shop, Value::Null).await;
            assert_eq!(refused.status(), 404, "{id}");
        }
    }
    let id = made["id"].as_str().expect("an id");
    assert_eq!(a.withdraw(id).await.status(), 204);
    for server in [&a, &b, &c] {
        soon("all know two", async || server.token_ids().await.len() == 2).await;
    }

    // Those of the settings are withdrawn for all, too; and of two who withdraw the last two of
    // admins in one moment, one hears that it is the last.
    let ids = a.token_ids().await;
    assert_eq!(ids.len(), 2);
    let (other, _) = a.make_token("admin").await;
    for server in [&b, &c] {
        soon("both know three", async || {
            server.token_ids().await.len() == 3
        })
        .await;
    }
    let list = a.as_admin(Method::GET, "/api/tokens", Value::Null).await;
    let list: Value = list.json().await.expect("JSON");
    let of_settings = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["role"] == "admin" && token["source"] == "settings")
        .and_then(|token| token["id"].as_str())
        .expect("the admin's")
        .to_owned();
    let (one, two) = tokio::join!(b.withdraw(&other), c.withdraw(&of_settings));
    let mut statuses = [one.status().as_u16(), two.status().as_u16()];
    statuses.sort_unstable();
    // Whoever asks with a token that was withdrawn just before is nobody any more.
    assert!(
        statuses == [204, 409] || statuses == [204, 401],
        "{statuses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_joins_takes_the_services_tokens_and_not_its_files() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    let (kept, _) = a.make_token("viewer").await;
    let (stale, _) = b.make_token("viewer").await;
    soon("both have all", async || {
        b.token_ids().await.len() == 4 && a.token_ids().await.len() == 4
    })
    .await;
    // One that is away while a token is withdrawn does not bring it back.
    let folder = b.kill();
    a.is_joined_by(1).await;
    assert_eq!(a.withdraw(&stale).await.status(), 204);
    let all = tokens();
    let more = [("AUTH_TOKENS", &*all), ("ANONYMOUS_ROLE", "none")];
    let b = Server::start_in(folder, "b", &redis, &more);
    for server in [&a, &b] {
        server.is_joined_by(2).await;
        eventually("the withdrawal holds", async || {
            let ids = server.token_ids().await;
            ids.contains(&kept) && !ids.contains(&stale)
        })
        .await;
    }

    // Redis loses everything while both run: they put it back.
    let (_, token) = b.make_token("viewer").await;
    redis.kill();
    redis.again();
    for server in [&a, &b] {
        server.is_joined_by(2).await;
        eventually("what one had is put back", async || {
            server.status_with(&token).await == 200
        })
        .await;
    }
    let c = Server::start("c", &redis, &more);
    c.is_joined_by(3).await;
    eventually("a new one has all of it", async || {
        c.status_with(&token).await == 200 && !c.token_ids().await.contains(&stale)
    })
    .await;

    // All are stopped and Redis is empty: the service is new, and begins with a file.
    drop((b, c));
    let folder = a.kill();
    redis.kill();
    redis.again();
    let a = Server::start_in(folder, "a", &redis, &more);
    let b = Server::start("b", &redis, &more);
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    // Whichever comes first begins it; the one with the file has it to bring in either way only
    // while it is the first, so it is waited for what both agree on.
    eventually("both agree", async || {
        a.token_ids().await == b.token_ids().await
    })
    .await;
    assert!(!a.token_ids().await.contains(&stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_what_was_known_goes_on_and_what_needs_all_says_so() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    let cookie = a.log_in(VIEWER).await;
    let unseen = a.log_in(VIEWER).await;
    assert_eq!(b.status_of(&cookie).await, 200);
    let ticket = a.ticket_of(VIEWER).await;
    let (id, token) = a.make_token("viewer").await;
    soon("b knows it", async || b.status_with(&token).await == 200).await;

    redis.kill();
    for server in [&a, &b] {
        server.is_alone().await;
        assert_eq!(server.status_of(&cookie).await, 200, "from memory");
        assert_eq!(server.status_with(&token).await, 200);
        let refused = server
            .as_admin(Method::POST, "/api/tokens", json!({"role": "viewer"}))
            .await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        let refused = server.withdraw(&id).await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
    }
    assert_eq!(b.status_of(&unseen).await, 503, "it may be somebody's");
    let path = format!("/ws/metrics?ticket={ticket}");
    let (status, retry) = b.try_socket(&path, None).await.map(drop).expect_err("away");
    assert_eq!((status, retry.is_some()), (503, true));
    // One of its own opens its stream, once.
    let own = b.ticket_of(VIEWER).await;
    let path = format!("/ws/metrics?ticket={own}");
    let mut stream = b.socket(&path).await;
    stream.next_of("initial").await;
    assert!(b.try_socket(&path, None).await.is_err());
    let login = b.try_log_in(VIEWER).await;
    assert_eq!(login.status(), 200);
    assert_eq!(login.headers()["pulseboard-degraded"], "bus");
    let own = login.headers()["set-cookie"].to_str().expect("text");
    let own = own.split(';').next().expect("a first part").to_owned();
    assert_eq!(b.status_of(&own).await, 200);
    // Whoever logs out meanwhile is logged out of all when they meet again.
    let gone = b.ask(Method::POST, "/api/logout", ("cookie", &unseen), json!({}));
    assert_eq!(gone.await.status(), 204);

    // It comes back with nothing in it, and who was logged in still is.
    redis.again();
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    for server in [&a, &b] {
        eventually(
            "sessions are put back, but for who logged out",
            async || {
                server.status_of(&cookie).await == 200 && server.status_of(&unseen).await == 401
            },
        )
        .await;
        assert_eq!(server.status_with(&token).await, 200);
    }
    eventually("it is of the other alone", async || {
        a.status_of(&own).await == 401
    })
    .await;
    assert_eq!(b.status_of(&own).await, 200);
    let c = Server::start(
        "c",
        &redis,
        &[("AUTH_TOKENS", &*tokens()), ("ANONYMOUS_ROLE", "none")],
    );
    c.is_joined_by(3).await;
    eventually("a new one knows who is logged in", async || {
        c.status_of(&cookie).await == 200
    })
    .await;
    eventually("tokens can be withdrawn again", async || {
        c.withdraw(&id).await.status() == 204
    })
    .await;
    soon("everywhere", async || a.status_with(&token).await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_holds_nobody_up() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    let cookie = a.log_in(VIEWER).await;
    assert_eq!(b.status_of(&cookie).await, 200);
    let ticket = a.ticket_of(VIEWER).await;
    redis.signal("STOP");
    let began = Instant::now();
    let path = format!("/ws/metrics?ticket={ticket}");
    let (ticket, login, known, stranger, token) = tokio::join!(
        b.try_socket(&path, None),
        b.try_log_in(VIEWER),
        b.status_of(&cookie),
        b.status_of("pulseboard_session=00"),
        b.status_with(VIEWER),
    );
    let took = began.elapsed();
    let status = ticket.map(drop).expect_err("nobody answers").0;
    assert_eq!((status, login.status().as_u16()), (503, 200));
    assert_eq!((known, stranger, token), (200, 503, 200));
    assert!(took < Duration::from_millis(2_000), "{took:?}");
    redis.signal("CONT");
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    assert_eq!(a.status_of(&cookie).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_has_so_many_streams_at_all_servers_together() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let limit = [("MAX_CONNECTIONS_PER_TOKEN", "100")];
    let [a, b, c] = joined(["a", "b", "c"], &redis, &limit).await;
    // They have told each other once.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let servers = [&a, &b, &c];
    let opened = join_all((0..150).map(async |number: usize| {
        let server = servers[number % 3];
        (number % 3, server.socket_with(VIEWER).await)
    }))
    .await;
    let mut open: [Vec<Socket>; 3] = Default::default();
    for (at, opened) in opened {
        match opened {
            Ok(socket) => open[at].push(socket),
            Err((status, retry)) => assert_eq!((status, retry.is_some()), (429, true)),
        }
    }
    let count = open.iter().map(Vec::len).sum::<usize>();
    assert!((90..=110).contains(&count), "{count}");
    for server in servers {
        let other = server.socket_with(ADMIN).await;
        assert!(other.is_ok(), "others have their own");
    }

    // Who is killed has none any more.
    let fill = async |held: &mut Vec<Socket>| {
        while let Ok(socket) = a.socket_with(VIEWER).await {
            held.push(socket);
        }
    };
    let mut held = Vec::new();
    fill(&mut held).await;
    let of_c = open[2].len();
    assert!(of_c > 10, "{of_c}");
    drop(c.kill());
    let began = Instant::now();
    let room = 100 - open[0].len() - open[1].len();
    while held.len() < room {
        let before = held.len();
        fill(&mut held).await;
        let is_free = held.len() > before;
        let took = began.elapsed();
        assert!(is_free || took < Duration::from_secs(7), "{took:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // And who goes leaves room at the others.
    drop(std::mem::take(&mut open[1]));
    let mut other = Err((0, None));
    let began = Instant::now();
    while other.is_err() {
        other = a.socket_with(VIEWER).await;
        assert!(began.elapsed() < Duration::from_secs(4));
        tokio::time::sleep(Duration::from_millis(INTERVAL_MS)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_at_one_waits_at_all_and_who_is_known_there_does_not() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    // Seen at one before.
    assert_eq!(a.status_with(VIEWER).await, 200);
    for number in 0..6 {
        assert_eq!(a.status_with(&format!("guess-{number}")).await, 401);
    }
    for number in 0..4 {
        assert_eq!(b.status_with(&format!("other-{number}")).await, 401);
    }
    for server in [&a, &b] {
        let began = Instant::now();
        let mut number = 0;
        while server.status_with(&format!("more-{number}")).await != 429 {
            number += 1;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(began.elapsed() < Duration::from_millis(2_500));
        }
    }
    for server in [&a, &b] {
        eventually("who was right before is let in", async || {
            server.status_with(VIEWER).await == 200
        })
        .await;
        assert_eq!(server.status_with(ADMIN).await, 429, "nobody has seen it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_settings_that_differ_are_told_of() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a] = joined(["a"], &redis, &[]).await;
    let unlike = async |server: &Server| {
        let bearer = format!("Bearer {ADMIN}");
        let header = ("authorization", &*bearer);
        let told = server.ask(Method::GET, "/metrics", header, Value::Null);
        let text = told.await.text().await.expect("text");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("pulseboard_cluster_tokens_unlike "));
        line.expect("it is told").to_owned()
    };
    assert_eq!(unlike(&a).await, "0.0");
    let other = format!("{ADMIN}=admin");
    let b = Server::start("b", &redis, &[("AUTH_TOKENS", &*other)]);
    b.is_joined_by(2).await;
    for server in [&a, &b] {
        eventually("it says so", async || unlike(server).await == "1.0").await;
    }
}

impl Server {
    /// Tracks an item as somebody who may write.
    async fn track(&self, name: &str, value: f64) -> u16 {
        let item = json!({"type": name, "value": value});
        let tracked = self.as_admin(Method::POST, "/metrics/track", item).await;
        tracked.status().as_u16()
    }

    /// What a stream is told when it opens: how everything that was tracked stands.
    async fn dashboard(&self, name: &str) -> Value {
        let url = format!("http://{}/dashboard/stream?type={name}", self.address);
        let bearer = format!("Bearer {ADMIN}");
        let request = self.http.get(url).header("authorization", bearer);
        let mut stream = request.send().await.expect("an answer");
        let mut text = String::new();
        while !text.contains("\n\n") {
            let chunk = stream.chunk().await.expect("it is open");
            text.push_str(&String::from_utf8_lossy(&chunk.expect("it goes on")));
        }
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        serde_json::from_str(data.expect("data")).expect("JSON")
    }

    /// How often this was tracked, the sum of it, and the same of its buckets.
    async fn tracked(&self, name: &str) -> (u64, f64, u64, f64) {
        let told = self.dashboard(name).await;
        let totals = &told["metrics"][name];
        let buckets = told["timeSeries"].as_array().expect("buckets").iter();
        let buckets = buckets.fold((0, 0.0), |(count, sum), bucket| {
            let more = bucket["count"].as_u64().expect("a count");
            (count + more, sum + bucket["sum"].as_f64().expect("a sum"))
        });
        (
            totals["count"].as_u64().unwrap_or_default(),
            totals["total"].as_f64().unwrap_or_default(),
            buckets.0,
            buckets.1,
        )
    }
}

/// Has each server track 300 items a second for so long.
async fn track_at_all(servers: &[&Server], seconds: u32) {
    join_all(servers.iter().map(async |server| {
        let mut rounds = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..seconds * 10 {
            rounds.tick().await;
            let statuses = join_all((0..30).map(|_| server.track("page_view", 0.5))).await;
            assert!(statuses.iter().all(|status| *status == 200));
        }
    }))
    .await;
}

async fn all_count(servers: &[&Server], count: u32) {
    let sum = f64::from(count) * 0.5;
    let expected = (u64::from(count), sum, u64::from(count), sum);
    for server in servers {
        let mut last = (0, 0.0, 0, 0.0);
        eventually(&format!("{} has {expected:?}", server.name), async || {
            last = server.tracked("page_view").await;
            assert!(last.0 <= expected.0, "{last:?} of {expected:?}");
            last == expected
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tracked_anywhere_is_counted_once_everywhere() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let [a, b, c] = joined(["a", "b", "c"], &redis, &[]).await;
    track_at_all(&[&a, &b, &c], 5).await;
    all_count(&[&a, &b, &c], 4_500).await;

    // Redis is killed in between and comes back with nothing.
    let all = [&a, &b, &c];
    let (_, ()) = tokio::join!(track_at_all(&all, 5), async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        redis.kill();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        redis.again();
    });
    for server in [&a, &b, &c] {
        server.is_joined_by(3).await;
    }
    all_count(&[&a, &b, &c], 9_000).await;

    // Who is killed and comes back counts on, as do the others meanwhile.
    let folder = c.kill();
    track_at_all(&[&a, &b], 1).await;
    all_count(&[&a, &b], 9_600).await;
    let all = tokens();
    let more = [("AUTH_TOKENS", &*all), ("ANONYMOUS_ROLE", "none")];
    let c = Server::start_in(folder, "c", &redis, &more);
    c.is_joined_by(3).await;
    track_at_all(&[&c], 1).await;
    all_count(&[&a, &b, &c], 9_900).await;

    // One that keeps nothing is not forgotten by the others.
    let memory = [more[0], more[1], ("DATA_DIR", "memory")];
    let d = Server::start("d", &redis, &memory);
    d.is_joined_by(4).await;
    track_at_all(&[&d], 1).await;
    all_count(&[&a, &d], 10_200).await;
    drop(d.kill());
    let d = Server::start("d", &redis, &memory);
    eventually("it is ready", async || d.state().await.0 == 200).await;
    track_at_all(&[&d], 1).await;
    all_count(&[&a, &b, &c, &d], 10_500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_all_servers_are_one_alert() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b] = joined(["a", "b"], &redis, &[]).await;
    let mut streams = Vec::new();
    for server in [&a, &b] {
        let url = format!("http://{}/events/alerts", server.address);
        let bearer = format!("Bearer {ADMIN}");
        let request = server.http.get(url).header("authorization", bearer);
        streams.push(request.send().await.expect("an answer"));
    }
    for server in [&a, &b] {
        // No server has too many by itself.
        let tracked = join_all((0..60).map(|_| server.track("error", 1.0))).await;
        assert!(tracked.iter().all(|status| *status == 200));
    }
    let mut heard = [String::new(), String::new()];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        for (stream, heard) in streams.iter_mut().zip(&mut heard) {
            let chunk = tokio::time::timeout(Duration::from_millis(200), stream.chunk()).await;
            if let Ok(chunk) = chunk {
                let chunk = chunk.expect("it is open").expect("it goes on");
                heard.push_str(&String::from_utf8_lossy(&chunk));
            }
        }
    }
    for heard in &heard {
        let told = heard.matches("Error rate exceeded threshold").count();
        assert_eq!(told, 1, "{heard}");
    }
}
