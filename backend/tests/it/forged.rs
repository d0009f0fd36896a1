//! What an adversary, or a broken agent, sends to where agents write: forged, replayed, cut off,
//! huge, of wrong times, and under a name that another has.

use pulseboard_shared::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    access::{bearer, with_tokens},
    agents::{message, varint, write_request, write_requests},
    support::{START_MS, TestServer, problem, token},
};

const WRITE: &str = "/api/v1/write";
const MINUTE_MS: i64 = 60_000;

/// Sends a packed message with these headers beside those of the protocol.
async fn send(server: &TestServer, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
    let mut request = server
        .request(Method::POST, WRITE)
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.expect("an answer")
}

fn of_host(host: &str, value: f64, at_ms: i64) -> Vec<u8> {
    write_request(
        &[("__name__", "node_load1"), ("instance", host)],
        value,
        at_ms,
    )
}

/// Values of an instant query.
async fn values(server: &TestServer, authorization: &str, tenant: &str, query: &str) -> Vec<Value> {
    let at_s = (START_MS + 10 * MINUTE_MS) / 1_000;
    let mut request = server
        .request(Method::GET, "/api/v1/query")
        .query(&[("tenant", tenant), ("query", query)])
        .query(&[("time", at_s)]);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let series = answer["data"]["result"].as_array().expect("a list");
    series.iter().map(|one| one["value"][1].clone()).collect()
}

fn pack(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(message)
        .expect("packs")
}

#[tokio::test]
async fn nobody_writes_without_the_right_to_or_for_another_tenant() {
    let server = TestServer::start_with(|settings| {
        with_tokens(settings);
        let bound = token("red-writer-secret", Role::Writer, Some("red"));
        settings.tokens.push(bound);
    })
    .await;
    let red = "Bearer red-writer-secret";
    for (headers, status) in [
        (vec![], 401),
        (vec![("authorization", "Bearer wrong")], 401),
        (vec![("authorization", "Bearer viewer-secret")], 403),
        // Bound to red, it says that it is blue's.
        (vec![("authorization", red), ("x-tenant-id", "blue")], 403),
        (vec![("authorization", red), ("x-scope-orgid", "blue")], 403),
    ] {
        // Also with a body that nobody should look at before.
        for body in [of_host("a", 1.0, START_MS), b"no snappy".to_vec()] {
            let answer = send(&server, &headers, body).await;
            assert_eq!(answer.status(), status, "{headers:?}");
        }
    }
    let reader = bearer(Role::Admin);
    for tenant in ["default", "red", "blue"] {
        let found = values(&server, &reader, tenant, "count_over_time(node_load1[1h])").await;
        assert!(found.is_empty(), "{tenant}: {found:?}");
    }
    let mine = send(
        &server,
        &[("authorization", red)],
        of_host("a", 1.0, START_MS),
    )
    .await;
    assert_eq!(mine.status(), 204);
    for (tenant, count) in [("red", 1), ("blue", 0), ("default", 0)] {
        let found = values(&server, &reader, tenant, "count_over_time(node_load1[1h])").await;
        assert_eq!(found.len(), count, "{tenant}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_replayed_batch_counts_once() {
    let server = TestServer::start().await;
    let samples: Vec<(f64, i64)> = (0..60_u32)
        .map(|second| {
            (
                f64::from(second),
                START_MS - 60_000 + i64::from(second) * 1_000,
            )
        })
        .collect();
    let body = write_requests("jobs_total", &samples);
    for _ in 0..5 {
        let answer = send(&server, &[], body.clone()).await;
        assert_eq!(answer.status(), 204);
        let written = &answer.headers()["x-prometheus-remote-write-samples-written"];
        assert_eq!(written, "60");
    }
    // Reversed, and one by one, it is the same again.
    for (value, at_ms) in samples.iter().rev() {
        let one = write_requests("jobs_total", &[(*value, *at_ms)]);
        assert_eq!(send(&server, &[], one).await.status(), 204);
    }
    for (query, expected) in [
        ("count_over_time(jobs_total[1h])", "60"),
        ("resets(jobs_total[1h])", "0"),
        (
            "max_over_time(jobs_total[1h])-min_over_time(jobs_total[1h])",
            "59",
        ),
    ] {
        assert_eq!(
            values(&server, "", "default", query).await,
            [expected],
            "{query}"
        );
    }
    server.stop().await;
}

/// Their figures are mixed and cannot be told apart afterwards, so it is said while it is so.
#[tokio::test]
async fn two_agents_of_one_name_are_told_of() {
    let server = TestServer::start().await;
    let runs = ["00000000000000aa", "00000000000000bb"];
    let warnings = async |tenant: &str| {
        let told = server.json(&format!("/api/ingest?tenant={tenant}")).await;
        told["warnings"].clone()
    };
    let mut second = 0;
    let mut turn = async |tenant: &'static str, host: &str, run: &str| {
        second += 1;
        let headers = [("x-tenant-id", tenant), ("x-pulseboard-agent", run)];
        let body = of_host(host, 1.0, START_MS + second * 1_000);
        assert_eq!(send(&server, &headers, body).await.status(), 204);
    };
    // A restart is none, two hosts are none, and what is no agent's number is passed over.
    for run in runs {
        turn("blue", "a", run).await;
        turn("blue", "a", run).await;
    }
    for step in 0..6 {
        turn("green", ["a", "b"][step % 2], runs[step % 2]).await;
        turn("green", "c", ["x", "00000000000000aa1"][step % 2]).await;
    }
    assert_eq!(warnings("blue").await, Value::Null);
    assert_eq!(warnings("green").await, Value::Null);
    for step in 0..6 {
        turn("red", "a", runs[step % 2]).await;
    }
    let told = warnings("red").await;
    let text = told[0].as_str().unwrap_or_default();
    assert!(
        text.starts_with("two agents send as host \"a\" (from 127.0.0.1, both)"),
        "{told}"
    );
    assert_eq!(warnings("blue").await, Value::Null);
    server.stop().await;
}

/// Whatever is cut off, or says that it is huge, is refused as a whole, at once and without memory.
#[tokio::test]
async fn messages_that_are_cut_or_say_that_they_are_huge_are_refused() {
    let server = TestServer::start_with(|settings| settings.max_body_bytes = 1 << 20).await;
    let whole = write_requests("cut", &[(1.0, START_MS), (2.0, START_MS + 1)]);
    let plain = snap::raw::Decoder::new()
        .decompress_vec(&whole)
        .expect("snappy");
    for end in 0..whole.len() {
        let answer = send(&server, &[], whole[..end].to_vec()).await;
        // No bytes at all are no message, which is nothing to refuse.
        let status = answer.status();
        assert!(
            status == 400 || (end == 0 && status == 204),
            "{end}: {status}"
        );
    }
    for end in 1..plain.len() {
        let answer = send(&server, &[], pack(&plain[..end])).await;
        assert_eq!(answer.status(), 400, "{end}");
    }
    let huge = |exponent: u32| {
        let mut bytes = Vec::new();
        varint(&mut bytes, 1 << exponent);
        bytes
    };
    for exponent in [31, 32, 40, 60, 63] {
        // The length that snappy says of what is to come out.
        let mut length = huge(exponent);
        length.extend_from_slice(&whole);
        let answer = send(&server, &[], length).await;
        assert!(
            [400, 413].contains(&answer.status().as_u16()),
            "2^{exponent}"
        );
        // The length of a series, of a label in it, and of a packed field.
        let mut outer = vec![0x0a];
        outer.extend(huge(exponent));
        let mut inner = Vec::new();
        let mut label = vec![0x0a];
        label.extend(huge(exponent));
        message(&mut inner, 1, &label);
        let mut field = vec![0x3a];
        field.extend(huge(exponent));
        for body in [outer, inner, field] {
            let answer = send(&server, &[], pack(&body)).await;
            assert_eq!(answer.status(), 400, "2^{exponent}");
        }
    }
    // Little that becomes much.
    let bomb = pack(&vec![0; 64 << 20]);
    let length = bomb.len();
    let mut answers = Vec::new();
    answers.push(send(&server, &[], bomb).await);
    // Copies of copies, of which snappy's own length says too little.
    let mut lying = vec![8];
    lying.extend(
        [0x00, b'x']
            .into_iter()
            .chain([0xfe, 0x01, 0x00].repeat(300_000)),
    );
    answers.push(send(&server, &[], lying).await);
    for answer in answers {
        let status = answer.status().as_u16();
        assert!([400, 413].contains(&status), "{length}: {status}");
        problem(answer, status).await;
    }
    let series = server.json("/api/series").await;
    let names = series["series"].as_array().expect("a list").iter();
    let names: Vec<&Value> = names.map(|one| &one["name"]).collect();
    assert!(!names.contains(&&json!("cut")), "{names:?}");
    assert_eq!(server.own_metric("pulseboard_panics_total").await, 0);
    assert_eq!(send(&server, &[], whole).await.status(), 204);
    server.stop().await;
}

/// A clock that is wrong loses what nobody can place, and says both times; all else goes where it
/// belongs, in any order.
#[tokio::test]
async fn samples_of_wrong_clocks_and_in_any_order_go_where_they_belong() {
    let server = TestServer::start().await;
    let hour_ms = 60 * MINUTE_MS;
    for (name, at_ms, status) in [
        ("ahead_little", START_MS + 9 * MINUTE_MS, 204),
        ("ahead", START_MS + 11 * MINUTE_MS, 400),
        ("far_ahead", START_MS * 1_000, 400),
        ("never", i64::MAX, 400),
        ("before_all", i64::MIN, 400),
        ("negative", -1, 400),
        ("behind_little", START_MS - 5 * MINUTE_MS, 204),
        ("far_behind", START_MS - 100 * 365 * 24 * hour_ms, 400),
    ] {
        let answer = send(&server, &[], write_requests(name, &[(1.0, at_ms)])).await;
        assert_eq!(answer.status(), status, "{name}");
        if status == 400 {
            let detail = problem(answer, 400).await["detail"].clone();
            let detail = detail.as_str().unwrap_or_default().to_owned();
            // The ends of the range are told by the nearest time that there is.
            let is_told = detail.contains(&at_ms.to_string()) || at_ms.unsigned_abs() > 1 << 60;
            assert!(is_told && detail.contains("timestamp"), "{name}: {detail}");
        }
    }
    // One that cannot be placed takes none of its neighbours with it.
    let order = [5, 1, 3, 2, 4, 0].map(|second: i32| {
        let at_ms = START_MS - MINUTE_MS + i64::from(second) * 1_000;
        (f64::from(second), at_ms)
    });
    let mut samples = order.to_vec();
    samples.insert(3, (9.0, START_MS + hour_ms));
    let answer = send(&server, &[], write_requests("mixed", &samples)).await;
    let written = answer.headers()["x-prometheus-remote-write-samples-written"].clone();
    assert_eq!(
        (answer.status().as_u16(), written.to_str().ok()),
        (400, Some("6"))
    );
    for (query, expected) in [
        ("count_over_time(mixed[1h])", "6"),
        ("resets(mixed[1h])", "0"),
        ("last_over_time(mixed[1h])", "5"),
    ] {
        assert_eq!(
            values(&server, "", "default", query).await,
            [expected],
            "{query}"
        );
    }
    server.stop().await;
}
