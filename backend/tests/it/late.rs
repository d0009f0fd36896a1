//! Samples of any time within retention: where they belong, at once, and across restarts.

use std::time::Duration;

use serde_json::Value;

use crate::support::{START_MS, TestServer};

const HOUR_MS: i64 = 3_600_000;

async fn push(server: &TestServer, tenant: &str, body: String) -> Value {
    server.pushed(tenant, body).await.1
}

/// Times (hours before the start) and values of a series, asked for as `/api/range` and as a client
/// of Prometheus does.
async fn hours(server: &TestServer, tenant: &str, name: &str) -> Vec<(i64, f64)> {
    let (start_ms, end_ms) = (START_MS - 48 * HOUR_MS, START_MS + 1);
    let path =
        format!("/api/range?match={name}&start={start_ms}&end={end_ms}&step=1000s&tenant={tenant}");
    let ours = server.json(&path).await;
    let ours: Vec<(i64, f64)> = ours["series"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|series| series["points"].as_array().cloned().unwrap_or_default())
        .map(|point| {
            let (at_ms, value) = (point[0].as_i64(), point[1].as_f64());
            let hours = (START_MS - at_ms.expect("a time") + HOUR_MS / 2) / HOUR_MS;
            (hours, value.expect("a value"))
        })
        .collect();
    let at_s = START_MS / 1000;
    let path = format!("/api/v1/query?query={name}[48h]&time={at_s}&tenant={tenant}");
    let theirs = server.json(&path).await;
    let theirs: Vec<(i64, f64)> = theirs["data"]["result"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|series| series["values"].as_array().cloned().unwrap_or_default())
        .map(|sample| {
            let at_ms = (sample[0].as_f64().expect("a time") * 1000.0) as i64;
            let value = sample[1].as_str().expect("a text").parse();
            ((START_MS - at_ms) / HOUR_MS, value.expect("a number"))
        })
        .collect();
    assert_eq!(ours, theirs, "{name} of {tenant}");
    ours
}

#[tokio::test]
async fn late_samples_go_where_they_belong_and_are_found_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(START_MS, folder.path()).await;
    let at = |hours: i64| START_MS - hours * HOUR_MS;
    server.push("red", format!("live 0 {START_MS}\n")).await;
    // In no order, into a series that lives and into one that nobody knew.
    for back in [30, 3, 47, 5] {
        let body = format!("live {back} {}\nold {back} {}\n", at(back), at(back));
        assert_eq!(push(&server, "red", body).await["accepted"], 2);
    }
    let expected = [(47, 47.0), (30, 30.0), (5, 5.0), (3, 3.0)];
    let live = [&expected[..], &[(0, 0.0)]].concat();
    assert_eq!(hours(&server, "red", "old").await, expected);
    assert_eq!(hours(&server, "red", "live").await, live);
    assert!(hours(&server, "blue", "old").await.is_empty());

    // Older than raw samples are kept: refused, and both times are said.
    let oldest_ms = at(48);
    let refused = push(&server, "red", format!("old 1 {}\n", oldest_ms - 1)).await;
    let reason = refused["refused"][0]["reason"].as_str().expect("a reason");
    for time_ms in [oldest_ms - 1, oldest_ms] {
        assert!(reason.contains(&time_ms.to_string()), "{reason}");
    }

    // Once sealed and rolled up they are the same, and the last value of a time holds.
    for _ in 0..14 {
        server.clock.advance(Duration::from_secs(5));
        tokio::task::yield_now().await;
    }
    server
        .eventually("what came late is in the history", async || {
            server.clock.advance(Duration::from_secs(5));
            server.own_metric("pulseboard_late_samples").await == 0
        })
        .await;
    assert_eq!(hours(&server, "red", "live").await, live);
    push(&server, "red", format!("live 31 {}\n", at(30))).await;
    let live: Vec<(i64, f64)> = live
        .iter()
        .map(|&(back, value)| (back, if back == 30 { 31.0 } else { value }))
        .collect();
    assert_eq!(hours(&server, "red", "live").await, live);

    // Acknowledged is safe.
    let now_ms = server.clock.now_ms();
    server.stop().await;
    let server = TestServer::start_in(now_ms, folder.path()).await;
    assert_eq!(hours(&server, "red", "old").await, expected);
    assert_eq!(hours(&server, "red", "live").await, live);
    server.stop().await;
}
