//! What outlives a restart: samples, tracked items, ticks, alerts, and the streams' positions.

use std::{path::Path, time::Duration};

use pulseboard::settings::{DataDir, Settings, SourceKind};
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer};

async fn start(folder: &Path) -> TestServer {
    let folder = folder.to_path_buf();
    TestServer::start_with(move |settings: &mut Settings| {
        settings.data_dir = DataDir::Path(folder);
    })
    .await
}

/// A server on the same folder whose clock goes on where the other's stood.
async fn restarted(server: TestServer, folder: &Path, down: Duration) -> TestServer {
    let now_ms = server.clock.now_ms();
    server.stop().await;
    let folder = folder.to_path_buf();
    TestServer::start_at(
        now_ms + i64::try_from(down.as_millis()).expect("short"),
        move |settings| {
            settings.data_dir = DataDir::Path(folder);
        },
    )
    .await
}

#[tokio::test]
async fn a_viewer_resumes_across_a_restart_without_a_tick_lost_or_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path()).await;
    for cpu in 1..=5 {
        server.tick(f64::from(cpu)).await;
    }
    let mut viewer = server.ws("/ws/metrics").await;
    let initial = viewer.json().await;
    assert_eq!(initial["offset"], 5);
    for cpu in 6..=8 {
        server.tick(f64::from(cpu)).await;
    }
    let epoch = initial["epoch"].as_str().expect("a text").to_owned();
    let mut server = restarted(server, folder.path(), Duration::from_secs(60)).await;
    server.tick(9.0).await;
    let mut viewer = server
        .ws(&format!("/ws/metrics?epoch={epoch}&offset=5"))
        .await;
    let resumed = viewer.json().await;
    assert_eq!(resumed["type"], "resumed");
    assert_eq!(resumed["offset"], 9);
    let cpus: Vec<f64> = resumed["data"]
        .as_array()
        .expect("samples")
        .iter()
        .filter(|sample| sample["name"] == "cpu_usage")
        .map(|sample| sample["value"].as_f64().expect("a number"))
        .collect();
    assert_eq!(cpus, [6.0, 7.0, 8.0, 9.0]);
    assert_eq!(server.json("/api/stats").await["cpu"]["count"], 9);
    server.stop().await;
}

#[tokio::test]
async fn alerts_go_on_as_the_same_incident_and_are_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path()).await;
    let mut stream = server.sse("/events/alerts").await;
    server.tick(95.0).await;
    let (event, fired) = stream.json().await;
    let before: u64 = event.id.parse().expect("a number");
    server.tick(96.0).await;
    let mut server = restarted(server, folder.path(), Duration::from_secs(3)).await;
    assert_eq!(
        server.json("/api/alerts").await[0]["incident"],
        fired["incident"],
        "the incident goes on"
    );
    server.tick(10.0).await;
    let last_seen = (before - 1).to_string();
    let mut stream = server
        .sse_with("/events/alerts", &[("last-event-id", &last_seen)])
        .await;
    let (event, replayed) = stream.json().await;
    assert_eq!((event.id, &replayed), (before.to_string(), &fired));
    let (event, ended) = stream.json().await;
    assert_eq!(
        (event.event.as_str(), &ended["incident"]),
        ("resolved", &fired["incident"])
    );
    server.stop().await;
}

#[tokio::test]
async fn what_was_tracked_and_pushed_is_there_again_for_its_tenant() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    for value in [1, 2] {
        let answer = server
            .request(reqwest::Method::POST, "/metrics/track")
            .header("x-tenant-id", "red")
            .json(&json!({"type": "sale", "value": value}))
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    let answer = server
        .request(reqwest::Method::POST, "/push?tenant=red")
        .body("queue_depth{host=\"a\"} 42")
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), 200);
    let totals = |init: Value| init["metrics"].clone();
    let before = totals(
        server
            .sse("/dashboard/stream?tenant=red")
            .await
            .json()
            .await
            .1,
    );
    let series = server
        .json("/api/series?tenant=red&match=queue_depth")
        .await;
    assert_eq!(series["series"][0]["last"], 42.0);
    let server = restarted(server, folder.path(), Duration::from_secs(1)).await;
    let after = totals(
        server
            .sse("/dashboard/stream?tenant=red")
            .await
            .json()
            .await
            .1,
    );
    assert_eq!(before, after);
    assert_eq!(after["sale"]["count"], 2);
    let series = server
        .json("/api/series?tenant=red&match=queue_depth")
        .await;
    assert_eq!(series["series"][0]["last"], 42.0);
    let other = server.json("/api/series?tenant=blue").await;
    assert_eq!(other["total"], 0);
    server.stop().await;
}

#[tokio::test]
async fn totals_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path()).await;
    server.get("/api/stats").await;
    server.tick(1.0).await;
    let before = server.json("/api/metrics").await["requests_total"].as_u64();
    assert!(before > Some(0));
    let server = restarted(server, folder.path(), Duration::from_secs(1)).await;
    // With what was answered since: the question above, and what asked whether the new one is
    // there.
    let after = server.json("/api/metrics").await["requests_total"].as_u64();
    let grown = after.zip(before).map(|(after, before)| after - before);
    assert!(
        grown.is_some_and(|grown| (1..5).contains(&grown)),
        "{grown:?}"
    );
    server.stop().await;
}

/// What is wrong with the disk is told to whoever can do something about it: paths and the system's
/// own words are the server's, and no business of viewers or of those who are bound to a tenant.
#[tokio::test]
async fn what_is_damaged_is_told_to_the_servers_operators_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    server.push("red", "depth 1").await;
    server.stop().await;
    let blocks = folder.path().join("history/blocks.redb");
    assert!(blocks.is_file());
    std::fs::write(&blocks, [0x55; 8_192]).expect("written");
    let data_dir = DataDir::Path(folder.path().to_owned());
    let server = TestServer::start_with(move |settings| {
        crate::access::with_tokens(settings);
        settings.data_dir = data_dir;
        settings.tokens.push(pulseboard::settings::Token {
            secret: "operator-of-red".to_owned(),
            role: pulseboard_shared::Role::Operator,
            tenant: Some("red".to_owned()),
        });
    })
    .await;
    let told = async |secret: &str| {
        let authorization = format!("Bearer {secret}");
        let path = "/api/ingest?tenant=red";
        let answer = server
            .send_as(&authorization, reqwest::Method::GET, path, None)
            .await;
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.expect("JSON")
    };
    let all = told("operator-secret").await;
    let complaints = all["complaints"].to_string();
    assert!(complaints.contains("blocks.redb"), "{all}");
    for secret in ["viewer-secret", "operator-of-red"] {
        let text = told(secret).await.to_string();
        let place = folder.path().display().to_string();
        assert!(
            !text.contains("blocks.redb") && !text.contains(&place),
            "{secret}: {text}"
        );
    }
    server.stop().await;
}

/// Values and times of a series as it was pushed and measured; `null` is the end of what came
/// before.
async fn samples_of(server: &TestServer, tenant: &str, selector: &str) -> (Value, Value) {
    let path = format!("/api/v1/export?match[]={selector}&tenant={tenant}");
    let text = server.get(&path).await.text().await.expect("text");
    let line: Value = serde_json::from_str(text.trim()).expect("one line");
    (line["values"].clone(), line["timestamps"].clone())
}

/// What was pushed while the server measured nothing is not continued by what it measures later: it
/// ends, and who goes on pushing is told so. Another tenant's is nobody's business.
#[tokio::test]
async fn what_was_pushed_ends_where_the_server_measures_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = "cpu_core_usage{core=\"0\"}";
    let push = async |server: &TestServer, tenant: &str| {
        let push = server.request(reqwest::Method::POST, "/push");
        let push = push.header("x-tenant-id", tenant).body(format!("{own} 5"));
        push.send().await.expect("an answer")
    };
    let start = async |now_ms: i64, source: SourceKind| {
        let folder = folder.path().to_path_buf();
        TestServer::start_at(now_ms, move |settings| {
            settings.data_dir = DataDir::Path(folder);
            settings.metric_source = source;
        })
        .await
    };
    let server = start(START_MS, SourceKind::None).await;
    for tenant in ["default", "red"] {
        assert_eq!(
            push(&server, tenant).await.status(),
            200,
            "nobody measures it"
        );
    }
    server.stop().await;

    let mut server = start(START_MS + 60_000, SourceKind::Host).await;
    server.tick(50.0).await;
    let refused: Value = {
        let answer = push(&server, "default").await;
        assert_eq!(answer.status(), 400);
        answer.json().await.expect("JSON")
    };
    let reason = refused["refused"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("this server"), "{reason}");
    let (values, times) = samples_of(&server, "default", own).await;
    assert_eq!(values, json!([5, null, 50]), "{times}");
    assert_eq!(push(&server, "red").await.status(), 200);
    let (values, _) = samples_of(&server, "red", own).await;
    assert_eq!(values, json!([5, 5]));
    server.stop().await;

    // The next run goes on with what is its own.
    let mut server = start(START_MS + 120_000, SourceKind::Host).await;
    server.tick(60.0).await;
    let (values, times) = samples_of(&server, "default", own).await;
    assert_eq!(values, json!([5, null, 50, 60]), "{times}");
    server.stop().await;
}
