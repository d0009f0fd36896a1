//! What this machine tells beside ticks: its figures under node_exporter's names, its processes.

use std::time::Duration;

use pulseboard::settings::Settings;
use serde_json::Value;

use crate::support::{START_MS, TestServer};

/// A server that measures this machine, which is called `here`.
async fn measuring(change: impl FnOnce(&mut Settings)) -> TestServer {
    TestServer::start_measuring(|settings| {
        settings.instance = "here".to_owned();
        change(settings);
    })
    .await
}

async fn value_of(server: &TestServer, query: &str) -> Vec<Value> {
    let now = server.clock.now_ms() as f64 / 1000.0;
    let path = format!("/api/v1/query?time={now}&query={query}");
    let answer: Value = server.get(&path).await.json().await.expect("JSON");
    let found = answer["data"]["result"].as_array().cloned();
    found.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_there_under_node_exporters_names() {
    let server = measuring(|_| {}).await;
    let query = "node_memory_MemTotal_bytes";
    server
        .eventually("memory is told", async || {
            server.clock.advance(Duration::from_secs(1));
            !value_of(&server, query).await.is_empty()
        })
        .await;
    let found = value_of(&server, query).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["metric"]["instance"], "here");
    assert_eq!(found[0]["metric"]["job"], "node");

    let metadata: Value = server
        .get("/api/v1/metadata")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(metadata["data"][query][0]["type"], "gauge");
    let help = metadata["data"][query][0]["help"]
        .as_str()
        .unwrap_or_default();
    assert!(!help.is_empty());

    // Nobody else writes onto them; another machine's are another series.
    for (instance, is_taken) in [("here", false), ("there", true)] {
        let line = format!("{query}{{instance=\"{instance}\",job=\"node\"}} 1");
        let push = server.request(reqwest::Method::POST, "/push").body(line);
        let answer = push.send().await.expect("an answer");
        assert_eq!(answer.status() == 200, is_taken, "{instance}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_can_be_switched_off() {
    let server = measuring(|settings| settings.node_metrics = false).await;
    // What is read after them says when they would have been there.
    processes_are_read(&server).await;
    assert!(
        value_of(&server, "node_memory_MemTotal_bytes")
            .await
            .is_empty()
    );
    server.stop().await;
}

async fn processes_are_read(server: &TestServer) {
    server
        .eventually("processes are read", async || {
            server.clock.advance(Duration::from_secs(5));
            !readings(server).await.is_empty()
        })
        .await;
}

async fn readings(server: &TestServer) -> Vec<Value> {
    let answer: Value = server
        .get("/api/processes")
        .await
        .json()
        .await
        .expect("JSON");
    answer["readings"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_processes_that_use_most_are_the_default_tenants_to_see() {
    let server = measuring(|_| {}).await;
    processes_are_read(&server).await;
    let reading = &readings(&server).await[0];
    let memory = reading["memory"].as_array().expect("a list");
    assert!((1..=10).contains(&memory.len()));
    let bytes = |process: &Value| process["memory_bytes"].as_u64().expect("bytes");
    assert!(memory.is_sorted_by_key(|process| std::cmp::Reverse(bytes(process))));
    let (ms, now_ms) = (
        reading["ms"].as_i64().expect("a moment"),
        server.clock.now_ms(),
    );
    assert!((START_MS..=now_ms).contains(&ms), "{ms}");
    let answer = server.get(&format!("/api/processes?since={now_ms}")).await;
    let later: Value = answer.json().await.expect("JSON");
    assert_eq!(later["readings"].as_array().map(Vec::len), Some(0));
    assert_eq!(server.get("/api/processes?since=x").await.status(), 400);
    assert_eq!(server.get("/api/processes?tenant=red").await.status(), 403);
    server.stop().await;
}
