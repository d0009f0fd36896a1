//! Bounds: places for streams, and clients that do not read.

use std::time::Duration;

use pulseboard_shared::Role;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{TestServer, problem, raw, reading};

#[tokio::test]
async fn past_the_last_place_a_stream_is_told_to_come_back() {
    let server = TestServer::start_with(|settings| settings.max_connections = 1).await;
    let first = server.ws("/ws/metrics").await;
    let refused = server
        .try_ws("/ws/metrics", &[])
        .await
        .err()
        .expect("no place");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(
        !refused.headers().contains_key("upgrade")
            && !refused.headers().contains_key("sec-websocket-accept"),
        "a refusal is no handshake: {refused:?}"
    );
    problem(server.get("/events/alerts").await, 503).await;
    assert_eq!(
        server.get("/api/stats").await.status(),
        200,
        "requests are not streams"
    );
    assert_eq!(
        server
            .own_metric("pulseboard_limit_hits_total{limit=\"connections\"}")
            .await,
        2
    );
    drop(first);
    server
        .eventually("the place is free again", async || {
            server.try_ws("/ws/metrics", &[]).await.is_ok()
        })
        .await;
    server.stop().await;
}

/// Opens a stream and never reads from it.
async fn never_reading(server: &TestServer, path: &str, headers: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(server.address).await.expect("connected");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_viewer_that_never_reads_slows_nobody_and_is_ended_after_the_deadline() {
    let mut server =
        TestServer::start_with(|settings| settings.alert_check = Duration::from_secs(1)).await;
    let mut reader = server.ws("/ws/metrics").await;
    reader.json_of("initial").await;
    let stuck = never_reading(&server, "/events/alerts", "").await;
    let open = "pulseboard_streams_open{kind=\"sse_alerts\"}";
    server
        .eventually("it is there", async || server.own_metric(open).await == 1)
        .await;

    // An alert a tick, until the kernel's buffers are full and the deadline is over.
    let ended = "pulseboard_limit_hits_total{limit=\"write_deadline\"}";
    let mut offset = 0;
    while server.own_metric(ended).await == 0 {
        server.tick(95.0).await;
        offset += 1;
        assert_eq!(
            reader.json_of("metrics").await["offset"],
            offset,
            "the reader misses nothing meanwhile"
        );
        assert!(
            offset < 5_000,
            "a client that never reads was kept for {offset} s"
        );
    }
    server
        .eventually("its place is free", async || {
            server.own_metric(open).await == 0
        })
        .await;
    drop(stuck);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_peer_is_asked_and_then_given_up() {
    let mut server = TestServer::start().await;
    let silent = never_reading(&server, "/ws/metrics", UPGRADE).await;
    let open = "pulseboard_streams_open{kind=\"ws_metrics\"}";
    server
        .eventually("it is there", async || server.own_metric(open).await == 1)
        .await;
    server.clock.advance(Duration::from_secs(61));
    server.tick_with(reading(1.0)).await;
    let given_up = "pulseboard_limit_hits_total{limit=\"idle_deadline\"}";
    server
        .eventually("it is given up", async || {
            server.own_metric(given_up).await == 1
        })
        .await;
    // It is told why, and has a moment to take that.
    server.clock.advance(Duration::from_secs(4));
    server
        .eventually("it is gone", async || server.own_metric(open).await == 0)
        .await;
    assert_eq!(server.own_metric(given_up).await, 1, "counted once");
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn one_address_and_one_token_have_bounds_of_their_own() {
    let server = TestServer::start_with(|settings| {
        crate::access::with_tokens(settings);
        settings.max_connections_per_address = 3;
        settings.max_connections_per_token = 2;
    })
    .await;
    let open = async |role| {
        let authorization = crate::access::bearer(role);
        server
            .try_ws("/ws/metrics", &[("authorization", &authorization)])
            .await
    };
    let first = open(Role::Viewer).await.expect("a place");
    let _second = open(Role::Viewer).await.expect("a place");
    let refused = open(Role::Viewer).await.err().expect("no place");
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let _third = open(Role::Operator).await.expect("a place");
    let refused = open(Role::Operator).await.err().expect("no place");
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));

    let metrics = server
        .send_as(
            &crate::access::bearer(Role::Viewer),
            reqwest::Method::GET,
            "/metrics",
            None,
        )
        .await;
    let metrics = metrics.text().await.expect("text");
    for limit in ["connections_per_address", "connections_per_token"] {
        let line = format!("pulseboard_limit_hits_total{{limit=\"{limit}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}");
    }
    drop(first);
    server
        .eventually("the place is free again", async || {
            open(Role::Viewer).await.is_ok()
        })
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_ended_after_the_idle_timeout() {
    let server = TestServer::start_with(|settings| {
        settings.idle_timeout = Duration::from_secs(10);
    })
    .await;
    let mut silent = server.raw_ws("/ws/metrics").await;
    let open = async || {
        server
            .own_metric("pulseboard_streams_opened_total{kind=\"ws_metrics\"}")
            .await
    };
    server
        .eventually("the stream is open", async || open().await == 1)
        .await;
    server.clock.advance(Duration::from_secs(12));
    server
        .eventually("it is ended", async || {
            server
                .own_metric("pulseboard_limit_hits_total{limit=\"idle_deadline\"}")
                .await
                == 1
        })
        .await;
    // It was only slow to answer, and is told.
    let last = loop {
        match silent.message().await.expect("a close frame") {
            (head, payload) if head == raw::FIN | raw::CLOSE => break payload,
            _ => {}
        }
    };
    assert_eq!(
        last,
        [
            &1013_u16.to_be_bytes()[..],
            b"no ping was answered for 10 s"
        ]
        .concat()
    );
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_opens_connections_without_end_is_told_and_takes_none_from_streams() {
    let server = TestServer::start_with(|settings| settings.max_connections_per_address = 2).await;
    let mut stream = server.ws("/ws/metrics").await;
    stream.json_of("initial").await;
    // Nothing is asked on them; 32 is what an address has at least.
    let mut idle = Vec::new();
    for _ in 0..31 {
        idle.push(server.raw_connection().await);
    }
    // The test's own client may hold the last place.
    idle.push(server.raw_connection().await);
    let mut refused = server.raw("/healthz", "").await;
    let head = refused.head().await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(head.to_lowercase().contains("retry-after: 5"), "{head}");
    assert!(head.contains("application/problem+json"), "{head}");
    drop((idle, refused));
    server
        .eventually("there is room again", async || {
            let mut raw = server.raw("/healthz", "Connection: close\r\n").await;
            raw.head().await.starts_with("HTTP/1.1 200")
        })
        .await;
    let hits = "pulseboard_limit_hits_total{limit=\"connections_per_address\"}";
    assert!(server.own_metric(hits).await >= 1);
    drop(stream);
    server.stop().await;
}
