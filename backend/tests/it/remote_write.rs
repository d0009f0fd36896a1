//! `remote_write` of `PROMETHEUS_CONFIG`: what comes in from anywhere reaches another server, of
//! one tenant alone, and is told of.

use std::{fs, path::Path};

use pulseboard::settings::{DataDir, Settings};
use reqwest::Method;
use serde_json::Value;

use crate::support::TestServer;

/// A server that sends on by a file of this text.
async fn sender(folder: &Path, yaml: &str, change: impl FnOnce(&mut Settings)) -> TestServer {
    let file = folder.join("prometheus.yml");
    fs::write(&file, yaml).expect("written");
    let data = folder.join("data");
    TestServer::start_with(move |settings| {
        settings.prometheus_config = Some(file);
        settings.data_dir = DataDir::Path(data);
        change(settings);
    })
    .await
}

/// Names of a tenant's series.
async fn series(server: &TestServer, tenant: &str) -> Vec<String> {
    let list = server.json(&format!("/api/series?tenant={tenant}")).await;
    let all = list["series"].as_array().expect("a list").iter();
    let mut all: Vec<String> = all
        .map(|one| one["key"].as_str().unwrap_or_default().to_owned())
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn what_comes_in_reaches_the_other_server_of_one_tenant_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = TestServer::start().await;
    let yaml = format!(
        "global: {{external_labels: {{site: here}}}}\nremote_write:\n- url: http://me:hunter2@{}/api/v1/write?token=hidden\n  name: far\n  headers: {{X-Tenant-Id: far}}\n  queue_config: {{batch_send_deadline: 10ms}}\n  write_relabel_configs: [{{source_labels: [__name__], regex: queue_.*|sale.*, action: keep}}]\n",
        receiver.address
    );
    let server = sender(folder.path(), &yaml, |_| {}).await;
    server
        .push("default", "queue_depth{host=\"a\"} 42\nother 1\n")
        .await;
    server.push("red", "queue_depth{host=\"red\"} 7\n").await;
    let tracked = server
        .request(Method::POST, "/metrics/track")
        .json(&serde_json::json!({"type": "sale", "value": 3}))
        .send()
        .await;
    assert_eq!(tracked.expect("an answer").status(), 200);
    receiver
        .eventually("it arrives", async || {
            let names = series(&receiver, "far").await;
            names.contains(&r#"queue_depth{host="a",site="here"}"#.to_owned())
                && names.iter().any(|name| name.starts_with("sale"))
        })
        .await;
    let names = series(&receiver, "far").await;
    assert!(
        names
            .iter()
            .all(|name| name.contains("site=\"here\"") && !name.contains("red")),
        "{names:?}"
    );
    assert_eq!(series(&receiver, "default").await, Vec::<String>::new());

    server
        .eventually("it is told", async || {
            let told = server.json("/api/v1/status/remote_write").await;
            told["data"]["receivers"][0]["waitingSamples"] == 0
        })
        .await;
    let told = server.json("/api/v1/status/remote_write").await;
    let one = &told["data"]["receivers"][0];
    assert_eq!(
        (&one["name"], &one["state"]),
        (&Value::from("far"), &Value::from("ok"))
    );
    assert!(one["sentSamples"].as_u64() >= Some(2) && one["droppedSamples"].as_u64() >= Some(1));
    let text = told.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("hidden"),
        "{text}"
    );
    let others = server.json("/api/v1/status/remote_write?tenant=red").await;
    assert_eq!(
        others["data"]["receivers"],
        Value::from(Vec::<Value>::new())
    );
    let metrics = server.get("/metrics").await.text().await.expect("text");
    let line = |name: &str| format!("pulseboard_remote_write_{name}{{receiver=\"far\"}}");
    for name in [
        "sent_total",
        "relabelled_away_total",
        "waiting",
        "behind_seconds",
    ] {
        assert!(metrics.contains(&line(name)), "{name}: {metrics}");
    }
}

/// A receiver that is away holds up nobody, and the tenant is the one that is set.
#[tokio::test]
async fn another_tenant_can_be_sent_and_a_receiver_that_is_away_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "remote_write: [{url: 'http://127.0.0.1:1/write', queue_config: {batch_send_deadline: 10ms}}]";
    let of_red = |settings: &mut Settings| settings.remote_write_tenant = "red".to_owned();
    let server = sender(folder.path(), yaml, of_red).await;
    server.push("default", "queue_depth 1\n").await;
    server
        .push("red", "queue_depth 2\nqueue_depth{host=\"a\"} 2\n")
        .await;
    server
        .eventually("it is said why", async || {
            let told = server.json("/api/v1/status/remote_write?tenant=red").await;
            let one = &told["data"]["receivers"][0];
            one["state"] == "retrying"
                && one["lastError"]
                    .as_str()
                    .is_some_and(|why| why.contains("127.0.0.1:1"))
        })
        .await;
    let told = server.json("/api/v1/status/remote_write?tenant=red").await;
    assert_eq!(told["data"]["receivers"][0]["waitingSamples"], 2);
    let nobodys = server.json("/api/v1/status/remote_write").await;
    assert_eq!(
        nobodys["data"]["receivers"],
        Value::from(Vec::<Value>::new())
    );
}
