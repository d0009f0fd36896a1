//! The Pushgateway's paths: `PUT|POST|DELETE /metrics/job/JOB{/LABEL/VALUE}`.

use std::{fs, sync::Arc, time::Duration};

use pulseboard::settings::DataDir;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    agents::{last, message, varint},
    support::{START_MS, TestServer, problem},
};

async fn push(
    server: &TestServer,
    method: Method,
    tenant: &str,
    group: &str,
    body: &str,
) -> Response {
    let path = format!("/metrics/{group}");
    let request = server.request(method, &path).header("x-tenant-id", tenant);
    let request = request.body(body.to_owned());
    request.send().await.expect("an answer")
}

async fn put(server: &TestServer, tenant: &str, group: &str, body: &str) {
    let answer = push(server, Method::PUT, tenant, group, body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.expect("nothing").len(), 0);
}

/// `live` or `stopped`; `None` where there is no such series.
async fn state(server: &TestServer, tenant: &str, selector: &str) -> Option<String> {
    let request = server.request(Method::GET, "/api/series");
    let request = request.query(&[("tenant", tenant), ("match", selector)]);
    let list: Value = request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    list["series"][0]["state"].as_str().map(str::to_owned)
}

async fn is_stopped(server: &TestServer, tenant: &str, selector: &str) -> bool {
    let state = state(server, tenant, selector).await;
    state.expect("there is one") == "stopped"
}

/// What agents do each few seconds is not worth a warning each time.
#[tokio::test]
async fn a_push_is_no_warning_in_the_log() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let collector = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().expect("again")))
        .finish();
    let collecting = tracing::subscriber::set_default(collector);
    let server = TestServer::start().await;
    put(&server, "red", "job/batch", "a 1\n").await;
    let answer = push(&server, Method::POST, "red", "job/batch", "b 1\n").await;
    assert_eq!(answer.status(), 200);
    server.stop().await;
    drop(collecting);
    let log = fs::read_to_string(log.path()).expect("text");
    assert!(!log.contains("content type"), "{log}");
}

#[tokio::test]
async fn each_way_to_push_ends_its_own_and_no_others() {
    let server = TestServer::start().await;
    let group = "job/batch/instance/a%2Fb";
    put(
        &server,
        "red",
        group,
        "kept 1\ngone{x=\"1\"} 2\ngone{x=\"2\"} 3\nother 4\n",
    )
    .await;
    for tenant in ["red", "blue"] {
        put(&server, tenant, "job/batch", "kept 5\ngone{x=\"1\"} 6\n").await;
    }
    let of = |name: &str| format!("{name}{{job=\"batch\",instance=\"a/b\"}}");
    assert_eq!(last(&server, "red", &of("kept")).await, 1.0);
    assert_eq!(
        last(&server, "red", &of("push_time_seconds")).await,
        START_MS as f64 / 1000.0
    );
    assert_eq!(last(&server, "blue", &of("kept")).await, Value::Null);
    // POST: of the metrics that it names.
    server.clock.advance(Duration::from_secs(1));
    let answer = push(&server, Method::POST, "red", group, "gone{x=\"2\"} 3\n").await;
    assert_eq!(answer.status(), 200);
    let gone = |number: u32| format!("gone{{job=\"batch\",instance=\"a/b\",x=\"{number}\"}}");
    assert!(is_stopped(&server, "red", &gone(1)).await);
    assert!(!is_stopped(&server, "red", &gone(2)).await);
    assert!(!is_stopped(&server, "red", &of("other")).await);
    // PUT: all that it does not name.
    server.clock.advance(Duration::from_secs(1));
    put(&server, "red", group, "kept 7\n").await;
    assert!(is_stopped(&server, "red", &gone(2)).await);
    assert!(is_stopped(&server, "red", &of("other")).await);
    assert!(!is_stopped(&server, "red", &of("kept")).await);
    // DELETE: all.
    server.clock.advance(Duration::from_secs(1));
    let answer = push(&server, Method::DELETE, "red", group, "").await;
    assert_eq!(answer.status(), 202);
    assert!(is_stopped(&server, "red", &of("kept")).await);
    assert!(is_stopped(&server, "red", &of("push_time_seconds")).await);
    // Groups whose labels are among them, and those of other tenants, go on.
    for tenant in ["red", "blue"] {
        assert!(!is_stopped(&server, tenant, "gone{job=\"batch\",instance=\"\",x=\"1\"}").await);
    }
    server.stop().await;
}

#[tokio::test]
async fn labels_of_the_path_beat_those_of_the_body() {
    let server = TestServer::start().await;
    let body = "# TYPE hits counter\nhits{job=\"x\",code=\"200\"} 3\n";
    put(
        &server,
        "default",
        "job@base64/YS9i/path@base64/L3RtcA==",
        body,
    )
    .await;
    let selector = "hits{job=\"a/b\",path=\"/tmp\",code=\"200\"}";
    assert_eq!(last(&server, "default", selector).await, 3.0);
    server.stop().await;
}

/// As clients in Go push by default.
#[tokio::test]
async fn protobuf_is_pushed() {
    let server = TestServer::start().await;
    let mut gauge = vec![1 << 3 | 1];
    gauge.extend_from_slice(&21.5_f64.to_le_bytes());
    let mut metric = Vec::new();
    message(&mut metric, 2, &gauge);
    let mut family = Vec::new();
    message(&mut family, 1, b"temp");
    family.extend_from_slice(&[3 << 3, 1]);
    message(&mut family, 4, &metric);
    let mut body = Vec::new();
    varint(&mut body, family.len() as u64);
    body.extend_from_slice(&family);
    let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                encoding=delimited";
    let answer = server
        .request(Method::PUT, "/metrics/job/go")
        .header("content-type", kind)
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(last(&server, "default", "temp{job=\"go\"}").await, 21.5);
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_takes_nothing() {
    let server = TestServer::start().await;
    for (group, body, why) in [
        ("job/a", "fine 1\nbroken x\n", "line 2"),
        ("job/a", "fine 1 1795204800000\n", "no timestamp"),
        ("job/a/b", "fine 1\n", "a label without a value"),
        ("job/a/0b/c", "fine 1\n", "no name of a label"),
        ("job@base64/*", "fine 1\n", "base64"),
        ("job@base64/%3D", "fine 1\n", "job's name is empty"),
    ] {
        let answer = push(&server, Method::PUT, "default", group, body).await;
        let problem = problem(answer, 400).await;
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(why), "{detail}");
    }
    assert_eq!(last(&server, "default", "fine").await, Value::Null);
    // The paths beside it are what they were.
    let own = server.get("/metrics").await.text().await.expect("text");
    assert!(own.contains("pulseboard_uptime_seconds"));
    for (method, path) in [
        (Method::GET, "/metrics/job/a"),
        (Method::PUT, "/metrics"),
        (Method::DELETE, "/metrics/track"),
    ] {
        let answer = server
            .request(method, path)
            .send()
            .await
            .expect("an answer");
        assert!(matches!(answer.status().as_u16(), 404 | 405), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = DataDir::Path(folder.path().to_owned());
    let server = TestServer::start_with(|settings| settings.data_dir = data.clone()).await;
    put(&server, "red", "job/batch", "kept 1\nended 2\n").await;
    server.clock.advance(Duration::from_secs(1));
    put(&server, "red", "job/batch", "kept 3\n").await;
    let now_ms = server.clock.now_ms();
    server.stop().await;
    let server = TestServer::start_at(now_ms, |settings| settings.data_dir = data).await;
    assert_eq!(last(&server, "red", "kept{job=\"batch\"}").await, 3.0);
    assert!(is_stopped(&server, "red", "ended{job=\"batch\"}").await);
    server.stop().await;
}
