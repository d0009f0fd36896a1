//! What local applications send is in the log, once, and is theirs.

use std::time::Duration;

use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use pulseboard_scrape::{Handed, LabelSet, Sink as _};
use pulseboard_series::{Batch, Reason};
use tempfile::TempDir;

use super::*;
use crate::{
    buffer::{Buffer, Limits},
    hub::Hub,
    options::Options,
    sender::Sender,
};

/// An agent's log with its doors, and no hub.
struct Opened {
    buffer: Arc<Mutex<Buffer>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _folder: TempDir,
}

fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

fn options(folder: &TempDir, local: Local) -> Options {
    Options {
        to: "http://127.0.0.1:1".to_owned(),
        token: None,
        token_file: None,
        ca_file: None,
        tenant: None,
        instance: "me".to_owned(),
        interval: Duration::from_secs(1),
        scrape: None,
        local,
        folder: folder.path().to_owned(),
        limits: Limits::default(),
    }
}

impl Opened {
    fn start(local: Local) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(&folder, local);
        let buffer = Buffer::open(&options.folder, options.limits).expect("opens");
        let buffer = Arc::new(Mutex::new(buffer));
        let sender = Sender::new(Hub::new(&options).expect("a hub"), Arc::clone(&buffer));
        let sink = Arc::new(Scraped {
            instance: options.instance.clone(),
            buffer: Arc::clone(&buffer),
            live: sender.live(),
        });
        let opened = Self {
            buffer,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            _folder: folder,
        };
        let doors = Doors::open(options.local).expect("they open");
        doors.serve(&sink, &opened.tasks, &opened.stop);
        opened
    }

    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // What was appended is written when this returns.
        self.buffer.lock().close();
    }

    /// Every sample in the log: series and value.
    fn samples(&self) -> Vec<(String, f64)> {
        let mut buffer = self.buffer.lock();
        let next = buffer.next();
        let moments = buffer.oldest(next);
        let mut samples = Vec::new();
        for moment in &moments {
            for (series, bits) in moment.table.iter().zip(&moment.values) {
                let key = pulseboard_series::KeyRef::new(&series.key).to_string();
                samples.push((key, f64::from_bits(*bits)));
            }
        }
        samples
    }
}

fn json(name: &str, value: f64) -> String {
    let now_ns = crate::measure::now_ms() * 1_000_000;
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"{name}","gauge":{{"dataPoints":[{{"asDouble":{value},"timeUnixNano":"{now_ns}","attributes":[{{"key":"instance","value":{{"stringValue":"own"}}}}]}}]}}}}]}}]}}]}}"#
    )
}

/// `ExportMetricsServiceRequest` with one gauge.
fn protobuf(name: &str, value: f64) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length][..], bytes].concat()
    };
    let now_ns = (crate::measure::now_ms() * 1_000_000).to_le_bytes();
    let point = [
        &[3 << 3 | 1][..],
        &now_ns,
        &[4 << 3 | 1],
        &value.to_le_bytes(),
    ]
    .concat();
    let metric = [field(1, name.as_bytes()), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

async fn post(address: SocketAddr, path: &str, content_type: &'static str, body: Vec<u8>) -> u16 {
    let config = pulseboard_outbound::ClientConfig::default();
    let client = pulseboard_outbound::Client::new(&config).expect("a client");
    let mut headers = pulseboard_outbound::HeaderMap::new();
    headers.insert(
        pulseboard_outbound::header::CONTENT_TYPE,
        pulseboard_outbound::HeaderValue::from_static(content_type),
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let url = format!("http://{address}{path}");
    let answer = client.post(&url, &headers, body.into(), deadline, 1 << 20);
    answer.await.expect("an answer").status
}

#[tokio::test]
async fn opentelemetry_over_http_is_in_the_log_when_it_is_answered() {
    let address = free_port();
    let local = Local {
        otlp: Some(address),
        ..Local::default()
    };
    let opened = Opened::start(local);
    let json_type = "application/json";
    let status = post(address, "/v1/metrics", json_type, json("queue", 4.5).into()).await;
    assert_eq!(status, 200);
    let protobuf_type = "application/x-protobuf";
    let status = post(
        address,
        "/v1/metrics",
        protobuf_type,
        protobuf("depth", 2.0),
    )
    .await;
    assert_eq!(status, 200);
    for (path, content_type, body, expected) in [
        ("/v1/traces", json_type, b"{}".to_vec(), 404),
        ("/v1/metrics", "text/plain", b"{}".to_vec(), 415),
        ("/v1/metrics", json_type, b"{".to_vec(), 400),
    ] {
        assert_eq!(
            post(address, path, content_type, body).await,
            expected,
            "{path} {content_type}"
        );
    }
    let samples = opened.samples();
    assert_eq!(
        samples,
        [
            (
                r#"queue{exported_instance="own",instance="me"}"#.to_owned(),
                4.5
            ),
            (r#"depth{instance="me"}"#.to_owned(), 2.0),
        ]
    );
    opened.stop().await;
}

#[tokio::test]
async fn opentelemetry_over_grpc_is_in_the_log_when_it_is_answered() {
    use http_body_util::{BodyExt as _, Full};
    let address = free_port();
    let local = Local {
        otlp_grpc: Some(address),
        ..Local::default()
    };
    let opened = Opened::start(local);
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    for (path, message, expected) in [
        (
            pulseboard_ingest::otlp::grpc::PATH,
            protobuf("depth", 3.0),
            "0",
        ),
        (pulseboard_ingest::otlp::grpc::PATH, vec![0xff; 9], "3"),
        ("/other", protobuf("depth", 4.0), "12"),
    ] {
        let body = Full::new(bytes::Bytes::from(pulseboard_ingest::otlp::grpc::frame(
            &message,
        )));
        let request = hyper::Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .body(body)
            .expect("a request");
        let answer = client.send_request(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let whole = body.collect().await.expect("a body");
        let trailers = whole.trailers().cloned().unwrap_or_default();
        let status = trailers
            .get("grpc-status")
            .or(head.headers.get("grpc-status"));
        assert_eq!(status.expect("a status"), expected, "{path}");
    }
    assert_eq!(
        opened.samples(),
        [(r#"depth{instance="me"}"#.to_owned(), 3.0)]
    );
    drop(client);
    opened.stop().await;
}

#[tokio::test]
async fn datagrams_are_added_up_and_in_the_log_when_the_agent_has_stopped() {
    let address = free_port();
    let local = Local {
        statsd: Some(address),
        ..Local::default()
    };
    let opened = Opened::start(local);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a socket");
    for _ in 0..5 {
        socket
            .send_to(b"jobs:2|c\nqueue:7|g", address)
            .await
            .expect("sent");
    }
    opened.stop().await;
    let samples = opened.samples();
    let value = |name: &str| {
        samples
            .iter()
            .find(|(key, _)| key.starts_with(name))
            .map(|(_, value)| *value)
    };
    assert_eq!(value("queue"), Some(7.0), "{samples:?}");
    assert_eq!(value("jobs"), Some(10.0), "{samples:?}");
}

#[tokio::test]
async fn doors_are_open_to_this_machine_alone() {
    let local = Local {
        otlp: Some(SocketAddr::from(([0, 0, 0, 0], 0))),
        ..Local::default()
    };
    let error = Doors::open(local).expect_err("refused").to_string();
    assert!(
        error.contains("--local-otlp") && error.contains("loopback"),
        "{error}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let local = Local {
        otlp_grpc: Some(taken.local_addr().expect("an address")),
        ..Local::default()
    };
    let error = Doors::open(local).expect_err("refused").to_string();
    assert!(error.contains("--local-otlp-grpc"), "{error}");
}

/// What cannot be kept is counted, whoever it is from: also what was left out before it came here.
#[test]
fn what_is_left_out_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(&folder, Local::default());
    let buffer = Buffer::open(&options.folder, options.limits).expect("opens");
    let buffer = Arc::new(Mutex::new(buffer));
    let sender = Sender::new(Hub::new(&options).expect("a hub"), Arc::clone(&buffer));
    let sink = Scraped {
        instance: options.instance.clone(),
        buffer,
        live: sender.live(),
    };
    let mut batch = Batch::new();
    // With the machine's name it has a label too many.
    let row = batch.begin(&["many"]);
    row.expect("a name");
    for at in 0..40 {
        batch.label(&format!("l{at}"), "v").expect("a label");
    }
    batch.finish(1, Some(1), 1.0).expect("a row");
    batch.refuse(2, Reason::NameLength(201));
    let handed = Handed {
        batch: &batch,
        own_from: 1,
        target: &LabelSet::new(),
    };
    let refused = sink.append(handed);
    let lines: Vec<_> = refused.first.iter().map(|one| one.line).collect();
    assert_eq!((refused.total, lines), (2, vec![2, 1]));
    assert_eq!(sink.live.refused(), 2);
    sink.take(&batch, 1);
    assert_eq!(sink.live.refused(), 4);
}
