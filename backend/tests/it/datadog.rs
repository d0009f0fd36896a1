//! What Datadog's agent sends, below `/datadog`.

use std::io::Write;

use pulseboard_shared::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    agents::{last, message, varint},
    support::{START_MS, TestServer, token},
};

const SECOND: i64 = START_MS / 1000;

async fn send(server: &TestServer, path: &str, body: &Value) -> Response {
    let request = server.request(Method::POST, path);
    let request = request.header("x-tenant-id", "red").json(body);
    request.send().await.expect("an answer")
}

async fn answered(answer: Response, status: u16) -> Value {
    assert_eq!(answer.status(), status);
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn both_versions_are_taken() {
    let server = TestServer::start().await;
    let body = json!({"series": [{
        "metric": "system.load.1", "points": [[SECOND, 0.5]], "type": "gauge",
        "host": "web1", "tags": ["env:prod"],
    }]});
    let answer = send(&server, "/datadog/api/v1/series", &body).await;
    assert_eq!(answered(answer, 202).await, json!({"status": "ok"}));
    let load = "{\"system.load.1\",env=\"prod\",host=\"web1\"}";
    assert_eq!(last(&server, "red", load).await, 0.5);
    assert_eq!(last(&server, "blue", load).await, Value::Null);
    let count = |at: i64| {
        json!({"series": [{
            "metric": "hits", "type": 1, "interval": 10, "unit": "request",
            "points": [{"timestamp": at, "value": 3}],
            "resources": [{"type": "host", "name": "web1"}],
        }]})
    };
    for (at, total) in [(SECOND - 10, 3.0), (SECOND, 6.0), (SECOND, 6.0)] {
        let answer = send(&server, "/datadog/api/v2/series", &count(at)).await;
        assert_eq!(answered(answer, 202).await, json!({"errors": []}));
        assert_eq!(last(&server, "red", "hits{host=\"web1\"}").await, total);
    }
    server.stop().await;
}

/// As the agent packs it: zlib under the name of deflate, zstd, gzip.
#[tokio::test]
async fn packed_protobuf_is_taken() {
    let server = TestServer::start().await;
    let payload = |name: &str| {
        let mut point = vec![1 << 3 | 1];
        point.extend_from_slice(&1.5_f64.to_le_bytes());
        point.push(2 << 3);
        varint(&mut point, SECOND as u64);
        let mut series = Vec::new();
        message(&mut series, 2, name.as_bytes());
        message(&mut series, 3, b"env:prod");
        message(&mut series, 4, &point);
        let mut payload = Vec::new();
        message(&mut payload, 1, &series);
        payload
    };
    let zlib = |bytes: &[u8]| {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).expect("packs");
        packed.finish().expect("packs")
    };
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).expect("packs");
        packed.finish().expect("packs")
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("packs");
    for (coding, body) in [
        ("identity", payload("identity")),
        ("deflate", zlib(&payload("deflate"))),
        ("gzip", gzip(&payload("gzip"))),
        ("zstd", zstd(&payload("zstd"))),
    ] {
        let answer = server
            .request(Method::POST, "/datadog/api/v2/series")
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", coding)
            .body(body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(
            answered(answer, 202).await,
            json!({"errors": []}),
            "{coding}"
        );
        let selector = format!("{coding}{{env=\"prod\"}}");
        assert_eq!(last(&server, "default", &selector).await, 1.5);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told() {
    let server = TestServer::start().await;
    let old = json!({"metric": "old", "points": [[1000, 1]]});
    let fine = json!({"metric": "fine", "points": [[SECOND, 1]]});
    let some = json!({"series": [fine, old]});
    let answer = send(&server, "/datadog/api/v1/series", &some).await;
    let errors = answered(answer, 202).await;
    assert!(
        errors["errors"][0]
            .as_str()
            .is_some_and(|text| text.starts_with("series 2: timestamp"))
    );
    assert_eq!(last(&server, "red", "fine").await, 1.0);
    for path in ["/datadog/api/v1/series", "/datadog/api/v2/series"] {
        let none = json!({"series": [old]});
        let errors = answered(send(&server, path, &none).await, 400).await;
        assert_eq!(errors["errors"].as_array().map(Vec::len), Some(1));
        let wrong = answered(send(&server, path, &json!([])).await, 400).await;
        assert!(
            wrong["errors"][0]
                .as_str()
                .is_some_and(|text| text.contains("not JSON"))
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn checks_and_what_the_agent_tells_are_taken() {
    let server = TestServer::start().await;
    let check = json!({"check": "app.ok", "host_name": "web1", "status": 2, "timestamp": SECOND,
        "tags": ["env:prod"]});
    let answer = send(&server, "/datadog/api/v1/check_run", &json!([check])).await;
    assert_eq!(answered(answer, 202).await, json!({"status": "ok"}));
    let selector = "{\"app.ok\",env=\"prod\",host=\"web1\"}";
    assert_eq!(last(&server, "red", selector).await, 2.0);
    for path in ["/datadog/intake", "/datadog/intake/"] {
        let answer = send(&server, path, &json!({"events": {}})).await;
        assert_eq!(
            answered(answer, 202).await,
            json!({"status": "ok"}),
            "{path}"
        );
    }
    server.stop().await;
}

/// The key is a token, in a header or in the address.
#[tokio::test]
async fn the_key_is_the_token() {
    let server = TestServer::start_with(|settings| {
        settings.anonymous_role = Some(Role::None);
        settings.tokens = vec![
            token("writer-of-red-1", Role::Writer, Some("red")),
            token("viewer-of-all-1", Role::Viewer, None),
            token("admin-of-all-01", Role::Admin, None),
        ];
    })
    .await;
    let body = json!({"series": [{"metric": "a", "points": [[SECOND, 1]]}]});
    for (key, status) in [
        ("writer-of-red-1", 202),
        ("viewer-of-all-1", 403),
        ("unknown", 401),
    ] {
        let in_header = server
            .request(Method::POST, "/datadog/api/v1/series")
            .header("dd-api-key", key)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(in_header.status(), status, "{key}");
        let path = format!("/datadog/api/v1/validate?api_key={key}");
        let valid = server.get(&path).await;
        if status == 202 {
            assert_eq!(answered(valid, 200).await, json!({"valid": true}));
        } else {
            let errors = answered(valid, 403).await;
            assert!(!errors.to_string().contains(key), "{errors}");
        }
    }
    let list = server
        .request(Method::GET, "/api/series?tenant=red&match=a")
        .bearer_auth("admin-of-all-01")
        .send()
        .await
        .expect("an answer");
    let list: Value = list.json().await.expect("JSON");
    assert_eq!(list["series"][0]["last"], 1.0, "{list}");
    server.stop().await;
}
