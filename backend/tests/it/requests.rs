//! HTTP itself, at every endpoint: methods, heads, bodies and paths that nobody should send.

use std::time::{Duration, Instant};

use pulseboard_shared::Role;
use reqwest::Method;

use crate::{
    access::{bearer, with_tokens},
    support::{PATIENCE, TestServer, problem, raw::Raw},
};

/// Doors that are read, by an address of each that answers 200.
const READ: [&str; 13] = [
    "/api/stats",
    "/api/metrics",
    "/api/metrics/recent",
    "/api/metrics/since?epoch=0&offset=0",
    "/api/rooms",
    "/api/alerts",
    "/api/session",
    "/api/tokens",
    "/api/openapi.json",
    "/metrics",
    "/healthz",
    "/readyz",
    "/",
];
const STREAMS: [&str; 3] = ["/events/alerts", "/events/metrics", "/api/metrics/stream"];
const SOCKETS: [&str; 4] = ["/ws", "/ws/chat", "/ws/control", "/ws/metrics"];
const WRITTEN: [&str; 5] = [
    "/api/login",
    "/api/logout",
    "/api/tickets",
    "/api/tokens",
    "/api/rooms/x/events",
];
/// An endpoint's deadline for a whole head or body.
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn head_is_get_without_a_body() {
    let mut server = TestServer::start_with(|settings| {
        with_tokens(settings);
        settings.anonymous_role = Some(Role::Viewer);
    })
    .await;
    server.tick(1.0).await;
    let admin = bearer(Role::Admin);
    for path in READ {
        let get = server.send_as(&admin, Method::GET, path, None).await;
        assert_eq!(get.status(), 200, "{path}");
        let head = server.send_as(&admin, Method::HEAD, path, None).await;
        assert_eq!(head.status(), 200, "HEAD {path}");
        for name in [
            "content-type",
            "cache-control",
            "vary",
            "x-content-type-options",
        ] {
            assert_eq!(
                head.headers().get(name),
                get.headers().get(name),
                "{name} of {path}"
            );
        }
        assert!(
            head.headers().contains_key("content-length"),
            "HEAD {path} says how long the body would be"
        );
        assert!(head.bytes().await.expect("a body").is_empty(), "{path}");
    }
    // The next answer on the same connection is not mistaken for the body.
    let mut raw = server.raw_connection().await;
    for _ in 0..2 {
        raw.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200 "));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_method_that_a_door_does_not_take_is_405_and_says_what_it_takes() {
    let server = TestServer::start().await;
    let endpoints = STREAMS
        .iter()
        .chain(&SOCKETS)
        .map(|path| (*path, "GET"))
        .chain(
            READ.iter()
                .filter(|path| **path != "/api/tokens")
                .map(|path| (*path, "GET, HEAD")),
        )
        .chain(
            WRITTEN
                .iter()
                .filter(|path| **path != "/api/tokens")
                .map(|path| (*path, "POST")),
        )
        .chain([
            ("/api/tokens", "GET, HEAD, POST"),
            ("/api/tokens/x", "DELETE"),
        ]);
    for (path, takes) in endpoints {
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "DANCE",
        ] {
            if takes.split(", ").any(|taken| taken == method) {
                continue;
            }
            let known = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = server.request(known, path).send().await.expect("an answer");
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.headers()["allow"], takes, "{method} {path}");
            if method != "HEAD" {
                problem(answer, 405).await;
            }
        }
    }
    for path in [
        "/api",
        "/api/nothing",
        "/ws/nothing",
        "/events",
        "/metrics/nothing",
    ] {
        problem(server.get(path).await, 404).await;
    }
    server.stop().await;
}

/// Doors that take a body, with the method.
const BODIES: [&str; 19] = [
    "POST /push",
    "POST /api/v1/write",
    "POST /write",
    "POST /api/v2/write",
    "POST /v1/metrics",
    "POST /api/v1/import",
    "PUT /metrics/job/x",
    "POST /metrics/job/x",
    "POST /datadog/api/v1/series",
    "POST /datadog/api/v2/series",
    "POST /datadog/api/v1/check_run",
    "POST /datadog/intake",
    "POST /metrics/track",
    "POST /query",
    "POST /api/v1/query",
    "POST /api/v1/read",
    "POST /api/login",
    "POST /api/tokens",
    "POST /api/rooms/x/events",
];

/// The first answer to a head, whatever else would follow.
async fn head_after(server: &TestServer, door: &str, headers: &str) -> String {
    let mut raw = server.raw_connection().await;
    let admin = bearer(Role::Admin);
    let media_type = match door {
        "POST /api/v1/write" | "POST /api/v1/read" => "application/x-protobuf",
        "POST /query" | "POST /api/v1/query" => "application/x-www-form-urlencoded",
        _ => "application/json",
    };
    let head = format!(
        "{door} HTTP/1.1\r\nHost: x\r\nAuthorization: {admin}\r\nContent-Type: {media_type}\r\n\
         {headers}\r\n"
    );
    raw.send(head.as_bytes()).await;
    raw.head().await
}

#[tokio::test]
async fn who_waits_to_send_a_body_is_told_to_only_where_it_would_be_taken() {
    let server = TestServer::start_with(with_tokens).await;
    for door in BODIES {
        let ask = |length: u64| format!("Expect: 100-Continue\r\nContent-Length: {length}\r\n");
        for length in [(32 << 20) + 1, 99_999_999_999] {
            let head = head_after(&server, door, &ask(length)).await;
            assert!(head.starts_with("HTTP/1.1 413 "), "{door} {length}: {head}");
            // What is not read is not waited for either.
            assert!(head.contains("connection: close\r\n"), "{door}: {head}");
        }
        let head = head_after(&server, door, &ask(5)).await;
        assert!(head.starts_with("HTTP/1.1 100 "), "{door}: {head}");
        for unknown in ["200-maybe", "100-continue, 200-maybe", "\u{e9}"] {
            let headers = format!("Expect: {unknown}\r\nContent-Length: 5\r\n");
            let head = head_after(&server, door, &headers).await;
            assert!(
                head.starts_with("HTTP/1.1 417 "),
                "{door} {unknown}: {head}"
            );
        }
    }
    // HTTP/1.0 knows of no expectations.
    let old = "GET /healthz HTTP/1.0\r\nExpect: 200-maybe\r\n\r\n";
    let mut raw = server.raw_connection().await;
    raw.send(old.as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    server.stop().await;
}

/// Sends these bytes on a connection of their own; the status of the answer, `None` where the
/// connection is closed without one.
async fn status_of(server: &TestServer, bytes: &[u8]) -> Option<u16> {
    let mut raw = server.raw_connection().await;
    raw.send(bytes).await;
    // No more will come: the server need not wait for it.
    drop(tokio::io::AsyncWriteExt::shutdown(&mut raw.0).await);
    status(&raw.rest().await)
}

fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn no_path_leads_out_of_the_page_or_to_an_error_of_ours() {
    let server = TestServer::start().await;
    for path in [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/.%2e/Cargo.toml",
        "/assets/../../Cargo.toml",
        "/%00",
        "/index.html%00.js",
        "/%",
        "/%zz",
        "/%ff%fe",
        "/a//b///c",
        "//etc/passwd",
        "/\\..\\..\\etc\\passwd",
        "/docs/../../Cargo.toml",
        "/docs/%2e%2e/%2e%2e/Cargo.toml",
        "/api/../healthz",
        "/api/rooms/%00/events",
        "/api/rooms/%2e%2e%2f/events",
        "/api/tokens/%00",
        "/api/metrics/recent?count=-1",
        "/api/metrics/recent?count=1e9",
        "/api/metrics/recent?count=99999999999999999999999",
        "/api/metrics/recent?count=18446744073709551615",
        "/api/metrics/recent?%00=%ff&count",
        "/api/metrics/since?epoch=%00&offset=18446744073709551615",
        "/events/nothing?last-event-id=%00",
        "/ws/metrics?epoch=&offset=-1",
        "/?ticket=%00",
        "*",
        "http://elsewhere.test/healthz",
        "elsewhere.test:443",
    ] {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut raw = server.raw_connection().await;
            raw.send(request.as_bytes()).await;
            let answer = String::from_utf8_lossy(&raw.rest().await).into_owned();
            let status = status(answer.as_bytes());
            assert!(
                status.is_some_and(|status| status < 500),
                "{method} {path}: {answer}"
            );
            assert!(
                !answer.contains("root:") && !answer.contains("[package]"),
                "{path}"
            );
        }
    }
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    server.stop().await;
}

/// What a client asks before it asks: which methods there are.
#[tokio::test]
async fn which_methods_a_path_takes_is_no_mistake_to_ask() {
    let server = TestServer::start().await;
    let asked = |path: &'static str| server.request(Method::OPTIONS, path).send();
    for (path, methods) in [
        ("/api/v1/query", "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/label/job/values", "GET, HEAD, OPTIONS"),
        ("/api/v1/write", "POST, OPTIONS"),
        ("/api/v1/admin/tsdb/clean_tombstones", "POST, PUT, OPTIONS"),
    ] {
        let answer = asked(path).await.expect("an answer");
        assert_eq!(answer.status(), 204, "{path}");
        let mut told: Vec<_> = answer.headers()["allow"]
            .to_str()
            .expect("text")
            .split(", ")
            .collect();
        let mut methods: Vec<_> = methods.split(", ").collect();
        told.sort_unstable();
        methods.sort_unstable();
        assert_eq!(told, methods, "{path}");
        assert!(!answer.headers().contains_key("content-type"), "{path}");
        assert_eq!(answer.text().await.expect("a body"), "");
    }
    problem(asked("/api/v1/nothing").await.expect("an answer"), 404).await;
    problem(asked("/api/stats").await.expect("an answer"), 405).await;
    server.stop().await;
}

/// A clock that is set back is followed, by streams' heads as well.
#[tokio::test]
async fn every_answer_says_when_it_was_made() {
    let server = TestServer::start().await;
    for (moved_ms, date) in [
        (0, "Fri, 20 Nov 2026 20:00:00 GMT"),
        (-3_600_000, "Fri, 20 Nov 2026 19:00:00 GMT"),
        (7_200_000, "Fri, 20 Nov 2026 21:00:00 GMT"),
    ] {
        server.clock.set_by(moved_ms);
        for path in ["/healthz", "/", "/api/nothing", "/events/alerts"] {
            let mut raw = server.raw(path, "").await;
            let head = raw.head().await.to_ascii_lowercase();
            let dates: Vec<_> = head
                .lines()
                .filter_map(|line| line.strip_prefix("date: "))
                .collect();
            assert_eq!(dates, [date.to_ascii_lowercase()], "{path}: {head}");
        }
    }
    server.stop().await;
}

/// `curl -g` sends what stands in a manual as it stands there.
#[tokio::test]
async fn addresses_may_have_quotation_marks_in_them() {
    let server = TestServer::start().await;
    server
        .push("default", "depth{queue=\"a\"} 7\ndepth{queue=\"b\"} 5\n")
        .await;
    let mut raw = server.raw_connection().await;
    for query in [
        "depth{queue=\"a\"}",
        "depth>6",
        "6<depth",
        "depth{queue=~\"a|c\"}",
    ] {
        let query = query.replace('>', "%20>").replace('<', "<%20");
        let ask = format!("GET /api/v1/query?query={query} HTTP/1.1\r\nHost: x\r\n\r\n");
        raw.send(ask.as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{query}: {head}");
        read_body(&mut raw, &head).await;
    }
    // Only where a request begins: a body is what it was.
    let body = "query=count(depth{queue=~\"a|b\"})";
    let post = format!(
        "POST /api/v1/query?x=\"|\" HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw.send(post.as_bytes()).await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    read_body(&mut raw, &head).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_closed() {
    let server = TestServer::start().await;
    let long = "x".repeat(300_000);
    for (why, bytes, statuses) in [
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), &[400][..]),
        ("HTTP/0.9", b"GET /healthz\r\n\r\n".to_vec(), &[400]),
        ("no HTTP", b"EHLO example.org\r\n\r\n".to_vec(), &[400]),
        ("a long target", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(), &[414, 431]),
        ("a long header", format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n").into_bytes(), &[431]),
        ("no host", b"GET /api/stats HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("two hosts", b"GET /api/stats HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_vec(), &[400]),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(1_000)).into_bytes(), &[431]),
        ("two lengths", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".to_vec(), &[400]),
        ("a length that is none", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}".to_vec(), &[400]),
        ("a length beyond all", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}".to_vec(), &[400]),
        ("a large length", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{}".to_vec(), &[400, 413]),
        ("less than promised", b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}".to_vec(), &[400]),
        ("a chunk size that is none", b"POST /api/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n".to_vec(), &[400]),
        ("a huge chunk", b"POST /api/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n".to_vec(), &[400, 413]),
        ("a broken line end", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n".to_vec(), &[400]),
    ] {
        let status = status_of(&server, &bytes).await;
        assert!(
            status.is_none_or(|status| statuses.contains(&status)),
            "{why}: {status:?}"
        );
        if !matches!(why, "garbage" | "no HTTP" | "HTTP/0.9") {
            assert!(status.is_some() || why.contains("chunk") || why.contains("less"), "{why} is answered");
        }
    }
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..300 {
        let bytes: Vec<u8> = (0..1_000).map(|_| random.u8(..)).collect();
        let status = status_of(&server, &bytes).await;
        assert!(status.is_none_or(|status| status < 500), "{status:?}");
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_body_with_length_and_chunks_is_answered_once_and_the_connection_closed() {
    let server = TestServer::start().await;
    let smuggled = b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                     0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut raw = server.raw_connection().await;
    raw.send(smuggled).await;
    let answer = String::from_utf8_lossy(&raw.rest().await).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn requests_in_one_packet_before_an_upgrade_are_answered_first() {
    let server = TestServer::start().await;
    let mut raw = server.raw_connection().await;
    let plain = "GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5);
    let ask = crate::support::raw::masked(0x81, br#"{"type":"ping"}"#);
    let upgrade = format!(
        "GET /ws/metrics HTTP/1.1\r\nHost: x\r\n{}\r\n",
        crate::support::raw::UPGRADE
    );
    raw.send(&[plain.as_bytes(), upgrade.as_bytes(), &ask].concat())
        .await;
    for _ in 0..5 {
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        read_body(&mut raw, &head).await;
    }
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_, initial) = raw.message().await.expect("a frame");
    assert!(initial.starts_with(b"{\"type\":\"initial\""));
    let (_, pong) = raw.message().await.expect("a frame");
    assert!(
        pong.starts_with(b"{\"type\":\"pong\""),
        "what came with the request is read"
    );
    server.stop().await;
}

async fn read_body(raw: &mut Raw, head: &str) {
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a length")
        .parse()
        .expect("a number");
    let mut body = vec![0; length];
    tokio::io::AsyncReadExt::read_exact(&mut raw.0, &mut body)
        .await
        .expect("a body");
}

/// Sends `first`, and then a byte a second, until the server ends it; the answer and how long it
/// took.
async fn dribble(server: &TestServer, first: &str) -> (Option<u16>, Duration) {
    let began = Instant::now();
    let mut raw = server.raw_connection().await;
    raw.send(first.as_bytes()).await;
    let (mut reading, mut writing) = raw.0.into_split();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut answer = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        tokio::select! {
            _ = every.tick() => {
                drop(tokio::io::AsyncWriteExt::write_all(&mut writing, b" ").await);
            }
            read = tokio::io::AsyncReadExt::read(&mut reading, &mut buffer) => match read {
                Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
                _ => return (status(&answer), began.elapsed()),
            },
        }
        assert!(
            began.elapsed() < DEADLINE + PATIENCE,
            "never given up: {first:?}"
        );
    }
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_have_a_deadline_in_all() {
    let server = TestServer::start().await;
    let chunked = "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n";
    let sized = "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{";
    let unread = "POST /api/logout HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n";
    let (head, chunked, sized, unread, silent) = tokio::join!(
        dribble(&server, "GET /healthz HTTP/1.1\r\nHost:"),
        dribble(&server, chunked),
        dribble(&server, sized),
        dribble(&server, unread),
        dribble(&server, ""),
    );
    assert_eq!(chunked.0, Some(408));
    assert_eq!(sized.0, Some(408));
    for (what, (_, took)) in [
        ("head", head),
        ("chunked", chunked),
        ("sized", sized),
        ("unread", unread),
        ("silent", silent),
    ] {
        assert!(took < DEADLINE + Duration::from_secs(5), "{what}: {took:?}");
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_door_has_one_spelling() {
    let server = TestServer::start().await;
    let status = async |target: &str| {
        let mut raw = server.raw(target, "Connection: close\r\n").await;
        let head = raw.head().await;
        head.split(' ')
            .nth(1)
            .map(str::to_owned)
            .unwrap_or_default()
    };
    assert_eq!(status("/api/stats").await, "200");
    for target in [
        "//api/stats",
        "///api/stats",
        "/api//stats",
        "/api/stats/",
        "/api/%73tats",
        "/%61pi/stats",
        "/api%2Fstats",
        "/api/./stats",
        "/api/x/../stats",
        "/api/%2e/stats",
        "/api/x/%2e%2e/stats",
        "/api/stats%00",
        "/api/stats%",
        "/api/tokens/",
        "//api/tokens",
        "/metrics/",
        "//metrics",
        "/ws/",
        "/healthz/",
        "/push/",
        "//events/alerts",
    ] {
        assert_eq!(status(target).await, "404", "{target}");
    }
    server.stop().await;
}

#[tokio::test]
async fn no_answer_is_kept_or_taken_by_other_sites() {
    let mut server = TestServer::start().await;
    server.tick(1.0).await;
    for path in [
        "/api/stats",
        "/api/nothing",
        "/api/tokens",
        "/metrics",
        "/healthz",
        "/readyz",
        "/nothing/at/all",
        "/ping",
    ] {
        let answer = server.get(path).await;
        let headers = answer.headers();
        // That something answers, everybody may learn.
        let policy = match path {
            "/healthz" => "cross-origin",
            _ => "same-origin",
        };
        assert_eq!(headers["cross-origin-resource-policy"], policy, "{path}");
        assert!(
            headers["cache-control"]
                .to_str()
                .is_ok_and(|value| value.contains("no-")),
            "{path}: {:?}",
            headers["cache-control"]
        );
    }
    assert!(
        server
            .get("/")
            .await
            .headers()
            .contains_key("cross-origin-resource-policy")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_head_has_64_kib_at_most() {
    let server = TestServer::start().await;
    let status = async |length: usize| {
        let line = format!("X-Long: {}\r\nConnection: close\r\n", "x".repeat(length));
        let mut raw = server.raw("/healthz", &line).await;
        raw.head()
            .await
            .split(' ')
            .nth(1)
            .map(str::to_owned)
            .unwrap_or_default()
    };
    assert_eq!(status(60_000).await, "200");
    for length in [66_000, 80_000, 120_000] {
        assert_eq!(status(length).await, "431", "{length}");
    }
    server.stop().await;
}

#[tokio::test]
async fn another_sites_page_holds_no_stream() {
    let server = TestServer::start().await;
    for path in [
        "/events/alerts",
        "/events/metrics",
        "/api/metrics/stream",
        "/dashboard/stream",
    ] {
        for (name, value) in [
            ("origin", "https://evil.test"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let answer = server
                .request(Method::GET, path)
                .header(name, value)
                .send()
                .await
                .expect("an answer");
            problem(answer, 403).await;
        }
        let own = server
            .request(Method::GET, path)
            .header("sec-fetch-site", "same-origin")
            .send()
            .await
            .expect("an answer");
        assert_eq!(own.status(), 200, "{path}");
    }
    server.stop().await;
}
