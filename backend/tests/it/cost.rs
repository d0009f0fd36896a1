//! What a viewer asks is bounded wherever it asks: the attacks in small, and what others feel.

use std::{io::Read as _, time::Duration};

use pulseboard_shared::Role;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem, ws::WsClient};

/// Whoever has asked and left is not worked for any more: together they would have taken much
/// longer than anybody waits here. Everything but that work has one thread here: were it done
/// there, nobody could see that there are questions.
#[tokio::test]
async fn questions_end_when_their_clients_leave() {
    /// As many as one address may ask at once, nearly.
    const ASKERS: u64 = 28;
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::Operator);
        settings.query_timeout = Duration::from_secs(3_600);
        settings.query_max_samples = usize::MAX;
    })
    .await;
    push_heavy(&server, 8_000).await;
    let asked = async || server.own_metric("pulseboard_questions").await;
    let dear: String = form_urlencoded::byte_serialize(dear_selector(0).as_bytes()).collect();
    for path in [
        "/api/series",
        "/api/windows",
        "/api/range",
        "/api/v1/series",
    ] {
        let address = format!("{path}?match={dear}&match[]={dear}");
        let mut askers = Vec::new();
        for _ in 0..ASKERS {
            askers.push(server.raw(&address, "").await);
        }
        server
            .eventually("many are asked", async || asked().await > ASKERS / 2)
            .await;
        drop(askers);
        server
            .eventually("nobody works on them", async || asked().await == 0)
            .await;
    }
    let mut sockets = Vec::new();
    for number in 0..ASKERS {
        let mut socket = server.ws("/ws").await;
        socket.json_of("init").await;
        let selector = dear_selector(usize::try_from(number).expect("a number"));
        let watch = json!({"action": "watch", "match": selector});
        socket.send(&watch.to_string()).await;
        sockets.push(socket);
    }
    server
        .eventually("many are asked", async || asked().await > ASKERS / 2)
        .await;
    drop(sockets);
    server
        .eventually("nobody works on them", async || asked().await == 0)
        .await;
    server.stop().await;
}

/// The next message of this type; what a watch says meanwhile is passed over.
async fn next_of(socket: &mut WsClient, kind: &str) -> Value {
    loop {
        let message = socket.json().await;
        if message["type"] == kind {
            return message;
        }
        assert_eq!(message["type"], "watched", "{message}");
    }
}

/// Thirty patterns that near misses take longest for, all together below the bound.
fn dear_selector(number: usize) -> String {
    let patterns = (0..2).map(|index| format!(r#"p=~".*a.{{{}}}.*""#, 40 + index + number % 3));
    format!(
        "{{x{number}!=\"1\",{}}}",
        patterns.collect::<Vec<_>>().join(",")
    )
}

async fn push_heavy(server: &TestServer, series: usize) {
    let lines = (0..series).map(|number| {
        let filler = "a".repeat(1_000);
        format!("heavy{{p=\"{filler}{number:06}\"}} 1 {START_MS}\n")
    });
    let answer = server
        .request(reqwest::Method::POST, "/push")
        .body(lines.collect::<String>())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

async fn server() -> TestServer {
    TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::Operator);
        settings.query_timeout = Duration::from_secs(1);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dear_questions_end_in_time_and_others_are_answered_meanwhile() {
    let server = server().await;
    push_heavy(&server, 4_000).await;
    let dear = dear_selector(0);
    let asks = ["/api/series", "/api/windows", "/api/range"].map(|path| {
        server
            .request(reqwest::Method::GET, path)
            .query(&[("match", &*dear), ("limit", "1")])
            .send()
    });
    let mut sockets = Vec::new();
    for number in 0..3 {
        let mut socket = server.ws("/ws").await;
        socket.json_of("init").await;
        let watch = json!({"action": "watch", "match": dear_selector(number)});
        socket.send(&watch.to_string()).await;
        // The same socket answers while its question is worked on, and not behind it.
        socket.send(&json!({"action": "ping"}).to_string()).await;
        assert_eq!(socket.json().await["type"], "pong");
        sockets.push(socket);
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
    for asked in asks {
        let answer = asked.await.expect("an answer");
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 422 | 503), "{status}");
    }
    drop(sockets);
    server
        .eventually("nothing is worked on for nobody", async || {
            server.own_metric("pulseboard_questions").await == 0
        })
        .await;
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    server.stop().await;
}

#[tokio::test]
async fn watching_and_leaving_in_turn_takes_no_memory() {
    let server = server().await;
    let mut socket = server.ws("/ws").await;
    socket.json_of("init").await;
    for number in 0..50 {
        let selector = format!("{{x{number}!=\"1\",p=~\"[^a]{{150}}\"}}");
        let watch = json!({"action": "watch", "match": selector});
        socket.send(&watch.to_string()).await;
        socket.json_of("watched").await;
        let unwatch = json!({"action": "unwatch", "match": selector});
        socket.send(&unwatch.to_string()).await;
        socket.json_of("unwatched").await;
    }
    // Nothing ever came of them, so nothing is kept for who comes back.
    assert_eq!(server.own_metric("pulseboard_watched_selectors").await, 0);
    assert_eq!(
        server.own_metric("pulseboard_watched_pattern_bytes").await,
        0
    );
    let thirty = format!("{{{}}}", vec![r#"p=~"[^a]{150}""#; 30].join(","));
    let watch = json!({"action": "watch", "match": thirty});
    socket.send(&watch.to_string()).await;
    let refused = socket.json_of("error").await;
    let text = refused["text"].as_str().unwrap_or_default();
    assert!(text.contains("too large"), "{text}");
    for number in 0..33 {
        let watch = json!({"action": "watch", "match": format!("m{number}")});
        socket.send(&watch.to_string()).await;
    }
    let refused = next_of(&mut socket, "error").await;
    let text = refused["text"].as_str().unwrap_or_default();
    assert!(text.contains("at most 32"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_name_is_no_selector() {
    let server = server().await;
    let mut socket = server.ws("/ws/metrics").await;
    socket.json_of("initial").await;
    let subscribe = json!({"type": "subscribe", "metrics": ["x{p=~\"[^a]{150}\"}"]});
    socket.send(&subscribe.to_string()).await;
    let refused = socket.json_of("error").await;
    let text = refused["text"].as_str().unwrap_or_default();
    assert!(text.contains("`=` alone"), "{text}");
    for path in ["/api/metrics/since", "/events/metrics"] {
        let path = format!("{path}?metrics=x%7Bp%3D~%22a%22%7D");
        problem(server.get(&path).await, 400).await;
    }
    let two = "/api/metrics/since?metrics=x%7Ba%3D%221%22%2Cb%3D%222%22%7D,cpu_usage";
    assert_eq!(
        server.get(two).await.status(),
        200,
        "a comma between labels"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_search_has_few_words() {
    let server = server().await;
    let many = format!("/api/series?search={}", "o+".repeat(17));
    problem(server.get(&many).await, 400).await;
    let few = format!("/api/series?search={}", "o+".repeat(16));
    assert_eq!(server.get(&few).await.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let server = server().await;
    push_heavy(&server, 50).await;
    let ask = async |path: &str, coding: &str| {
        let request = server.request(reqwest::Method::GET, path);
        let request = request.header("accept-encoding", coding);
        request.send().await.expect("an answer")
    };
    for path in [
        "/api/series?limit=50",
        "/api/range?match=heavy&start=-1m",
        "/api/windows?match=heavy",
        "/api/openapi.json",
        "/metrics",
    ] {
        let plain = ask(path, "identity").await;
        assert!(plain.headers().get("content-encoding").is_none(), "{path}");
        let plain = plain.bytes().await.expect("a body");
        for coding in ["gzip", "br", "zstd"] {
            let packed = ask(path, coding).await;
            assert_eq!(packed.headers()["content-encoding"], coding, "{path}");
            let vary = packed.headers().get_all("vary").iter();
            assert!(vary.into_iter().any(|value| value == "Accept-Encoding"));
            let packed = packed.bytes().await.expect("a body");
            assert!(packed.len() < plain.len() / 2, "{path} by {coding}");
            let mut unpacked = Vec::new();
            match coding {
                "gzip" => flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked),
                "br" => brotli::Decompressor::new(&packed[..], 4_096).read_to_end(&mut unpacked),
                _ => zstd::Decoder::new(&packed[..])
                    .and_then(|mut reader| reader.read_to_end(&mut unpacked)),
            }
            .unwrap_or_else(|error| panic!("{path} by {coding}: {error}"));
            if path.starts_with("/api") {
                let parsed: Result<Value, _> = serde_json::from_slice(&unpacked);
                assert!(parsed.is_ok(), "{path} by {coding}");
            }
        }
    }
    let small = ask("/api/stats", "gzip").await;
    assert!(small.headers().get("content-encoding").is_none());
    server.stop().await;
}
