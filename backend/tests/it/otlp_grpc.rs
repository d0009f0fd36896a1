//! OpenTelemetry metrics over gRPC.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use pulseboard::settings::Settings;
use pulseboard_shared::Role;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    agents::{last, message},
    graphite::ended_after,
    support::{START_MS, TestServer, token},
};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// A gauge of one point.
fn request(name: &str, value: f64, at_ms: i64) -> Vec<u8> {
    let mut point = vec![3 << 3 | 1];
    point.extend_from_slice(&(at_ms * 1_000_000).to_le_bytes());
    point.push(4 << 3 | 1);
    point.extend_from_slice(&value.to_le_bytes());
    let wrapped = |field: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        message(&mut out, field, bytes);
        out
    };
    let mut metric = wrapped(1, name.as_bytes());
    metric.extend(wrapped(5, &wrapped(1, &point)));
    wrapped(1, &wrapped(2, &wrapped(2, &metric)))
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// What a call was answered with.
struct Answer {
    /// Headers, and trailers where there were some.
    metadata: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.metadata["grpc-status"].to_str().expect("text")
    }

    fn message(&self) -> &str {
        self.metadata["grpc-message"].to_str().expect("text")
    }
}

struct Client {
    calls: http2::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        let (calls, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Self { calls, address }
    }

    async fn call(&mut self, path: &str, metadata: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let answer = self.calls.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let mut metadata = answer.headers().clone();
        let body = answer.into_body().collect().await.expect("a body");
        metadata.extend(body.trailers().cloned().unwrap_or_default());
        Answer {
            metadata,
            body: body.to_bytes().to_vec(),
        }
    }

    async fn export(&mut self, metadata: &[(&str, &str)], message: &[u8]) -> Answer {
        self.call(EXPORT, metadata, framed(0, message)).await
    }
}

async fn start(change: impl FnOnce(&mut Settings)) -> (TestServer, Client) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let server = TestServer::start_with(|settings| {
        settings.otlp_grpc_addr = Some(address);
        change(settings);
    })
    .await;
    (server, Client::connect(address).await)
}

/// The details that say when the same may be sent again.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// A connection that never becomes one of HTTP/2 is given up as a silent one of HTTP is, and one
/// that rests between two calls is not.
#[tokio::test]
async fn who_does_not_begin_is_cut_off() {
    let (server, mut client) = start(|_| {}).await;
    let address = client.address;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let openings: [&[u8]; 4] = [b"", &preface[..10], preface, b"GET / HTTP/1.1\r\n\r\n"];
    let ended = join_all(openings.map(|opening| ended_after(address, opening))).await;
    for took in ended {
        assert!(took < Duration::from_secs(35), "{took:?}");
    }
    let answer = client.export(&[], &request("rested", 1.0, START_MS)).await;
    assert_eq!(answer.status(), "0");
    server.stop().await;
}

#[tokio::test]
async fn points_come_in_for_their_tenant() {
    let (server, mut client) = start(|_| {}).await;
    for (header, tenant) in [("x-tenant-id", "red"), ("x-scope-orgid", "blue")] {
        let body = request(&format!("of_{tenant}"), 1.5, START_MS);
        let answer = client.export(&[(header, tenant)], &body).await;
        assert_eq!(answer.status(), "0");
        assert_eq!(answer.body, framed(0, &[]), "all of it was taken");
    }
    assert_eq!(last(&server, "red", "of_red").await, 1.5);
    assert_eq!(last(&server, "blue", "of_blue").await, 1.5);
    assert_eq!(last(&server, "red", "of_blue").await, Value::Null);
    assert_eq!(last(&server, "default", "of_red").await, Value::Null);
    server.stop().await;
}

#[tokio::test]
async fn a_message_may_be_packed() {
    let (server, mut client) = start(|settings| settings.max_body_bytes = 100_000).await;
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).expect("packs");
        packed.finish().expect("packs")
    };
    let packed = gzip(&request("packed", 2.0, START_MS));
    let gzipped = [("grpc-encoding", "gzip")];
    let answer = client.call(EXPORT, &gzipped, framed(1, &packed)).await;
    assert_eq!(answer.status(), "0");
    assert_eq!(last(&server, "default", "packed").await, 2.0);
    // Packed though it says that it is not, and the other way round.
    let answer = client.call(EXPORT, &[], framed(1, &packed)).await;
    assert_eq!(answer.status(), "3");
    let plain = request("plain", 3.0, START_MS);
    let answer = client.call(EXPORT, &gzipped, framed(0, &plain)).await;
    assert_eq!(answer.status(), "0");
    // Too large, as it comes and unpacked.
    for (flag, body) in [(0, vec![0; 100_001]), (1, gzip(&vec![0; 100_001]))] {
        let answer = client.call(EXPORT, &gzipped, framed(flag, &body)).await;
        assert_eq!(answer.status(), "8");
        assert!(!answer.metadata.contains_key("grpc-status-details-bin"));
    }
    let answer = client
        .call(EXPORT, &[("grpc-encoding", "br")], framed(1, &packed))
        .await;
    assert_eq!(answer.status(), "12");
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told() {
    let (server, mut client) = start(|_| {}).await;
    let mut body = request("fine", 1.0, START_MS);
    body.extend(request("old", 1.0, 1_000));
    let answer = client.export(&[], &body).await;
    assert_eq!(answer.status(), "0");
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("data point 2: timestamp 1000 ms"), "{text:?}");
    assert_eq!(last(&server, "default", "fine").await, 1.0);
    for (body, path, status) in [
        (framed(0, &[0xff]), EXPORT, "3"),
        (vec![0, 0, 0, 0], EXPORT, "3"),
        (framed(0, &[]).repeat(2), EXPORT, "3"),
        (
            framed(0, &[]),
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "12",
        ),
    ] {
        let answer = client.call(path, &[], body).await;
        assert_eq!(answer.status(), status, "{}", answer.message());
        assert!(answer.body.is_empty());
    }
    let answer = client.export(&[("x-tenant-id", "a b")], &[]).await;
    assert_eq!(answer.status(), "3");
    let counts = server.json("/api/ingest").await;
    assert_eq!(counts["refusals"][0]["endpoint"], EXPORT);
    assert_eq!(counts["refused"], json!({"malformed": 3, "too_old": 1}));
    server.stop().await;
}

#[tokio::test]
async fn the_token_is_in_the_metadata() {
    let (server, mut client) = start(|settings| {
        settings.anonymous_role = Some(Role::None);
        settings.tokens = vec![
            token("writer-of-red-1", Role::Writer, Some("red")),
            token("viewer-of-all-1", Role::Viewer, None),
        ];
    })
    .await;
    let body = request("a", 1.0, START_MS);
    for (authorization, tenant, status) in [
        ("Bearer writer-of-red-1", "red", "0"),
        ("Bearer writer-of-red-1", "blue", "7"),
        ("Bearer viewer-of-all-1", "red", "7"),
        ("Bearer unknown", "red", "16"),
        ("unknown", "red", "16"),
    ] {
        let metadata = [("authorization", authorization), ("x-tenant-id", tenant)];
        let answer = client.export(&metadata, &body).await;
        assert_eq!(answer.status(), status, "{authorization} {tenant}");
    }
    let answer = client.export(&[("x-tenant-id", "red")], &body).await;
    assert_eq!(answer.status(), "16", "nobody");
    let list = server
        .request(reqwest::Method::GET, "/api/series?tenant=red&match=a")
        .bearer_auth("viewer-of-all-1")
        .send()
        .await
        .expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    assert_eq!(list["series"][0]["last"], 1.0, "{list}");
    server.stop().await;
}

/// Who comes by a proxy, or by another name, is nobody in particular.
#[tokio::test]
async fn who_does_not_come_directly_needs_a_token() {
    let (server, mut client) = start(|_| {}).await;
    let body = request("a", 1.0, START_MS);
    assert_eq!(client.export(&[], &body).await.status(), "0");
    let answer = client
        .export(&[("x-forwarded-for", "192.0.2.1")], &body)
        .await;
    assert_eq!(answer.status(), "16");
    client.address = SocketAddr::from(([192, 0, 2, 1], client.address.port()));
    assert_eq!(client.export(&[], &body).await.status(), "16");
    server.stop().await;
}

/// Where there is no memory a sender is told to come back, by code and by details.
#[tokio::test]
async fn who_finds_no_room_is_told_when_to_come_back() {
    let (server, client) = start(|settings| settings.max_body_bytes = 64 * 1024).await;
    let held = Arc::new(tokio::sync::Notify::new());
    // Bodies that are begun and not ended hold all that one address may have.
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(server.address).await.expect("connects");
        let (held, address) = (Arc::clone(&held), server.address);
        waiting.push(tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let head =
                format!("POST /push HTTP/1.1\r\nHost: {address}\r\nContent-Length: 65536\r\n\r\n");
            socket.write_all(head.as_bytes()).await.ok();
            socket.write_all(&[b' '; 60_000]).await.ok();
            held.notified().await;
        }));
    }
    let mut client = client;
    let message = vec![0; 60_000];
    let mut refused = None;
    server
        .eventually("there is no room", async || {
            let answer = client.export(&[], &message).await;
            let is_refused = answer.status() == "14";
            refused = is_refused.then_some(answer);
            is_refused
        })
        .await;
    let refused = refused.expect("an answer");
    let details = refused.metadata["grpc-status-details-bin"].as_bytes();
    let details = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, details);
    let status = Status::decode(&*details.expect("base64")).expect("a status");
    assert_eq!(status.code, 14);
    assert!(
        status.details[0]
            .type_url
            .ends_with("/google.rpc.RetryInfo")
    );
    // A delay of two seconds.
    assert_eq!(status.details[0].value, [1 << 3 | 2, 2, 1 << 3, 2]);
    for _ in 0..4 {
        held.notify_one();
    }
    for one in waiting {
        one.await.expect("no panic");
    }
    server.stop().await;
}
