//! The endpoints of agents: remote write, OTLP and StatsD.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem};

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn message(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    varint(out, u64::from(field << 3 | 2));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// `prometheus.WriteRequest` of one sample, packed.
pub(crate) fn write_request(labels: &[(&str, &str)], value: f64, at_ms: i64) -> Vec<u8> {
    let mut request = Vec::new();
    message(&mut request, 1, &time_series(labels, value, at_ms));
    pack(&request)
}

/// The same of several samples of a series without labels.
pub(crate) fn write_requests(name: &str, samples: &[(f64, i64)]) -> Vec<u8> {
    let mut series = labels_of(&[("__name__", name)]);
    for (value, at_ms) in samples {
        message(&mut series, 2, &sample(*value, *at_ms));
    }
    let mut request = Vec::new();
    message(&mut request, 1, &series);
    pack(&request)
}

/// `io.prometheus.write.v2.Request` of one sample of a series without labels, packed.
pub(crate) fn write_request_v2(name: &str, value: f64, at_ms: i64) -> Vec<u8> {
    write_requests_v2(name, &[(value, at_ms)])
}

/// The same of several samples.
pub(crate) fn write_requests_v2(name: &str, samples: &[(f64, i64)]) -> Vec<u8> {
    let mut request = Vec::new();
    for symbol in ["", "__name__", name] {
        message(&mut request, 4, symbol.as_bytes());
    }
    let mut series = Vec::new();
    message(&mut series, 1, &[1, 2]);
    for (value, at_ms) in samples {
        message(&mut series, 2, &sample(*value, *at_ms));
    }
    message(&mut request, 5, &series);
    pack(&request)
}

/// A value (1) at a time (2).
fn sample(value: f64, at_ms: i64) -> Vec<u8> {
    let mut sample = vec![1 << 3 | 1];
    sample.extend_from_slice(&value.to_le_bytes());
    sample.push(2 << 3);
    varint(&mut sample, at_ms as u64);
    sample
}

fn pack(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(request)
        .expect("packs")
}

fn labels_of(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        message(&mut label, 1, name.as_bytes());
        message(&mut label, 2, value.as_bytes());
        message(&mut series, 1, &label);
    }
    series
}

/// A native histogram without buckets.
fn histogram_series(name: &str, at_ms: i64) -> Vec<u8> {
    let mut series = labels_of(&[("__name__", name)]);
    // Count 2, at this time.
    let mut histogram = vec![1 << 3, 2, 15 << 3];
    varint(&mut histogram, at_ms as u64);
    message(&mut series, 4, &histogram);
    series
}

fn time_series(labels: &[(&str, &str)], value: f64, at_ms: i64) -> Vec<u8> {
    let mut series = labels_of(labels);
    message(&mut series, 2, &sample(value, at_ms));
    series
}

pub(crate) async fn last(server: &TestServer, tenant: &str, selector: &str) -> Value {
    let list = server
        .request(reqwest::Method::GET, "/api/series")
        .query(&[("tenant", tenant), ("match", selector)])
        .send()
        .await
        .expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    list["series"][0]["last"].clone()
}

/// Quantiles are looked for where the observations are, and not from 0 on.
#[tokio::test]
async fn a_native_histogram_has_the_quantiles_of_its_buckets() {
    let server = TestServer::start().await;
    // A hundred observations in the bucket from 1 024 to 2 048.
    let mut histogram = vec![1 << 3, 100];
    message(&mut histogram, 11, &[1 << 3, 2 * 11, 2 << 3, 1]);
    message(&mut histogram, 12, &[0xc8, 0x01]);
    histogram.push(15 << 3);
    varint(&mut histogram, START_MS as u64);
    let mut series = labels_of(&[("__name__", "took")]);
    message(&mut series, 4, &histogram);
    let mut request = Vec::new();
    message(&mut request, 1, &series);
    let answer = server
        .request(reqwest::Method::POST, "/api/v1/write")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .body(pack(&request))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 204);
    let time = (START_MS / 1_000).to_string();
    for (quantile, value) in [("0.01", "1034.24"), ("1", "2048")] {
        let query = format!("histogram_quantile({quantile}, took_bucket)");
        let answer = server
            .request(reqwest::Method::GET, "/api/v1/query")
            .query(&[("query", &query), ("time", &time)])
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["data"]["result"][0]["value"][1], value, "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn prometheus_writes_and_its_stale_marker_stops_a_series() {
    let server = TestServer::start().await;
    let send = |body: Vec<u8>| {
        server
            .request(reqwest::Method::POST, "/api/v1/write")
            .header("x-tenant-id", "red")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .body(body)
            .send()
    };
    let labels = [("__name__", "up"), ("job", "node")];
    let answer = send(write_request(&labels, 1.0, START_MS))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.headers()["x-prometheus-remote-write-samples-written"],
        "1"
    );
    assert_eq!(last(&server, "red", "up{job=\"node\"}").await, 1.0);
    assert_eq!(last(&server, "blue", "up").await, Value::Null);
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    assert_eq!(
        send(write_request(&labels, stale, START_MS + 1))
            .await
            .expect("an answer")
            .status(),
        204
    );
    let list = server.json("/api/series?tenant=red&match=up").await;
    assert_eq!(list["series"][0]["state"], "stopped");
    let old = send(write_request(&labels, 1.0, 0))
        .await
        .expect("an answer");
    assert_eq!(old.status(), 400);
    assert_eq!(
        old.headers()["x-prometheus-remote-write-samples-written"],
        "0"
    );
    assert!(
        problem(old, 400).await["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("timestamp 0 ms"))
    );
    let broken = send(b"no snappy".to_vec()).await.expect("an answer");
    assert_eq!(
        broken.headers()["x-prometheus-remote-write-samples-written"],
        "0"
    );
    problem(broken, 400).await;
    server.stop().await;
}

#[tokio::test]
async fn what_a_remote_write_wrote_is_told_exactly() {
    let server = TestServer::start().await;
    let one = |name: &str, at_ms| time_series(&[("__name__", name)], 1.0, at_ms);
    for (series, status, samples, histograms) in [
        (
            vec![one("a", START_MS), histogram_series("h", START_MS)],
            204,
            1,
            1,
        ),
        (
            vec![one("a", 0), histogram_series("h", START_MS)],
            400,
            0,
            1,
        ),
        (
            vec![one("a", START_MS), histogram_series("h", 0)],
            400,
            1,
            0,
        ),
        (
            vec![
                histogram_series("h", 0),
                one("a", 0),
                one("b", START_MS),
                histogram_series("i", START_MS),
            ],
            400,
            1,
            1,
        ),
    ] {
        let mut request = Vec::new();
        for series in &series {
            message(&mut request, 1, series);
        }
        let answer = server
            .request(reqwest::Method::POST, "/api/v1/write")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .body(pack(&request))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), status);
        let written = |what: &str| {
            answer.headers()[format!("x-prometheus-remote-write-{what}-written")].clone()
        };
        assert_eq!(written("samples"), samples.to_string().as_str());
        assert_eq!(written("histograms"), histograms.to_string().as_str());
    }
    server.stop().await;
}

#[tokio::test]
async fn opentelemetry_metrics_come_in_as_json_with_partial_success() {
    let server = TestServer::start().await;
    let nanos = (START_MS * 1_000_000).to_string();
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeMetrics": [{"metrics": [
            {"name": "orders", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true,
                "dataPoints": [{"timeUnixNano": nanos, "asInt": "12"}]}},
            {"name": "temp", "gauge": {"dataPoints": [
                {"timeUnixNano": nanos, "asDouble": 20.5},
                {"timeUnixNano": "1000000000", "asDouble": 1.0},
            ]}},
        ]}],
    }]});
    let send = |body: String, kind: &'static str| {
        server
            .request(reqwest::Method::POST, "/v1/metrics")
            .header("x-tenant-id", "red")
            .header("content-type", kind)
            .body(body)
            .send()
    };
    let answer = send(body.to_string(), "application/json")
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    assert_eq!(last(&server, "red", "orders{job=\"shop\"}").await, 12.0);
    assert_eq!(last(&server, "red", "temp").await, 20.5);
    assert_eq!(last(&server, "blue", "temp").await, Value::Null);
    // A histogram is one data point, however many series it is; null is as if it were not there.
    let body = json!({"resourceMetrics": [{"resource": null, "scopeMetrics": [{"metrics": [
        {"name": "took", "unit": null, "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": "1000000000", "count": "3", "bucketCounts": ["1", "1", "1"], "explicitBounds": [1, 2]},
            {"timeUnixNano": nanos, "count": "1", "bucketCounts": ["1"], "attributes": null, "flags": "0"},
        ]}},
        {"name": "temp", "gauge": {"dataPoints": [
            {"timeUnixNano": nanos, "asDouble": 20.5},
            {"timeUnixNano": nanos, "asDouble": 20.5},
        ]}},
    ]}]}]});
    let answer = send(body.to_string(), "application/json").await;
    let answer: Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    let wrong = send("{".to_owned(), "application/json")
        .await
        .expect("an answer");
    assert_eq!(wrong.status(), 400);
    let status: Value = wrong.json().await.expect("JSON");
    assert_eq!(status["code"], 3);
    assert_eq!(
        send(String::new(), "text/plain")
            .await
            .expect("an answer")
            .status(),
        415
    );
    server.stop().await;
}

#[tokio::test]
async fn statsd_datagrams_are_added_up_and_flushed_every_ten_seconds() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let server = TestServer::start_with(|settings| settings.statsd_addr = Some(address)).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for datagram in [
        "page.views:1|c\npage.views:2|c|@0.5\n",
        "queue:7|g|#env:prod\nbroken\n",
    ] {
        socket.send_to(datagram.as_bytes(), address).expect("sent");
    }
    server
        .eventually("all lines are read", async || {
            server.own_metric("pulseboard_statsd_lines_total").await == 3
        })
        .await;
    server.clock.advance(Duration::from_secs(10));
    server
        .eventually("the sums are flushed", async || {
            last(&server, "default", "page.views").await == json!(5.0)
        })
        .await;
    assert_eq!(last(&server, "default", "queue{env=\"prod\"}").await, 7.0);
    let counts = server.json("/api/ingest").await;
    assert_eq!(counts["refused"], json!({"malformed": 1}));
    server.stop().await;
}

/// Prometheus sends what it knows of metrics by itself, and of those that have series it is told.
#[tokio::test]
async fn what_prometheus_says_of_its_metrics_is_told() {
    let server = TestServer::start().await;
    let mut request = Vec::new();
    let bucket = [("__name__", "took_seconds_bucket"), ("le", "1")];
    message(&mut request, 1, &time_series(&bucket, 1.0, START_MS));
    for family in ["took_seconds", "elsewhere"] {
        let mut metadata = vec![1 << 3, 3];
        message(&mut metadata, 2, family.as_bytes());
        message(&mut metadata, 4, b"How long it took.");
        message(&mut metadata, 5, b"s");
        message(&mut request, 3, &metadata);
    }
    let answer = server
        .request(reqwest::Method::POST, "/api/v1/write")
        .header("x-tenant-id", "red")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .body(pack(&request))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 204);
    let told = serde_json::json!({"took_seconds": [
        {"type": "histogram", "help": "How long it took.", "unit": "s"},
    ]});
    for asked in ["", "&metric=took_seconds"] {
        let path = format!("/api/v1/metadata?tenant=red{asked}");
        assert_eq!(server.json(&path).await["data"], told, "{asked}");
    }
    let others = server.json("/api/v1/metadata?tenant=blue").await;
    assert_eq!(others["data"], serde_json::json!({}));
    server.stop().await;
}
