//! An alert storm, killed at random: everybody who is to be told is told, of nothing more than twice,
//! and of no end before its beginning. Two tenants.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    recorder::Recorder,
    server::{PATIENCE, Server, rounds},
};

/// Alerts of one receiver: with their ends fewer than it may be told of in an hour.
const OF_ONE: usize = 10;

/// A receiver for each ten alerts, which all lead to the same place.
fn file_of(folder: &Path, url: &str, alerts: usize) -> String {
    let file = folder.join("alertmanager.yml");
    let numbers = 0..=alerts / OF_ONE;
    let routes: Vec<String> = numbers
        .clone()
        .map(|number| format!("{{receiver: r{number}, matchers: ['part=\"{number}\"']}}"))
        .collect();
    let receivers: Vec<String> = numbers
        .map(|number| format!("{{name: r{number}, webhook_configs: [{{url: '{url}'}}]}}"))
        .collect();
    let yaml = format!(
        "route:\n  receiver: r0\n  group_by: [alertname]\n  group_wait: 100ms\n  group_interval: 200ms\n  repeat_interval: 1h\n  routes: [{}]\nreceivers: [{}]\n",
        routes.join(", "),
        receivers.join(", "),
    );
    fs::write(&file, yaml).expect("written");
    file.to_str().expect("text").to_owned()
}

/// The alert of this number.
fn alert(number: usize) -> Value {
    json!({"labels": {
        "alertname": format!("a{number}"), "severity": "critical",
        "part": (number / OF_ONE).to_string(),
    }})
}

async fn post(server: &Server, tenant: &str, alerts: &[Value]) {
    let asked = server.http.post(format!("{}/api/v2/alerts", server.url));
    let asked = asked.header("x-tenant-id", tenant).json(alerts);
    let answer = asked.timeout(PATIENCE).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_told_whoever_is_killed() {
    let recorder = Recorder::start();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let count = usize::try_from(rounds()).expect("few");
    let file = file_of(folder.path(), &recorder.url, count);
    let settings = [
        ("NOTIFY_PRIVATE", "on"),
        ("ALERTMANAGER_CONFIG", file.as_str()),
    ];
    let mut server = Server::start_with(&data, &settings);
    for round in 0..count {
        // As a Prometheus does: whatever fires is said again and again.
        let firing: Vec<Value> = (0..=round).map(alert).collect();
        post(&server, "default", &firing).await;
        // another tenant's go nowhere near that receiver
        let others = [json!({"labels": {"alertname": "of_shop"}})];
        post(&server, "shop", &others).await;
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
        server.kill();
        server = Server::start_with(&data, &settings);
    }
    let names: Vec<String> = (0..count).map(|number| format!("a{number}")).collect();
    let all_said = |status: &str| {
        let heard = recorder.heard();
        let alerts = heard.iter().flat_map(|one| one.told("alertname"));
        let told: Vec<&str> = alerts
            .filter(|(_, said)| *said == status)
            .map(|(name, _)| name)
            .collect();
        names.iter().all(|name| told.contains(&name.as_str()))
    };
    let until = |what: &'static str, status: &'static str| {
        let began = Instant::now();
        while !all_said(status) {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let firing: Vec<Value> = (0..count).map(alert).collect();
    post(&server, "default", &firing).await;
    until("all are told", "firing");
    let over: Vec<Value> = firing
        .into_iter()
        .map(|mut alert| {
            alert["startsAt"] = "2020-01-01T00:00:00Z".into();
            alert["endsAt"] = "2020-01-01T00:00:01Z".into();
            alert
        })
        .collect();
    post(&server, "default", &over).await;
    server.kill();
    server = Server::start_with(&data, &settings);
    post(&server, "default", &over).await;
    until("all are over", "resolved");

    let heard = recorder.heard();
    let mut times: HashMap<(&str, &str), (usize, Vec<&str>)> = HashMap::new();
    let mut begun: HashMap<&str, bool> = HashMap::new();
    for one in &heard {
        for (name, status) in one.told("alertname") {
            assert_ne!(name, "of_shop");
            let (count, keys) = times.entry((name, status)).or_default();
            *count += 1;
            if !keys.contains(&one.key.as_str()) {
                keys.push(&one.key);
            }
            if status == "resolved" {
                assert!(begun.contains_key(name), "{name} ends before it began");
            } else {
                begun.insert(name, true);
            }
        }
    }
    for ((name, status), (count, keys)) in times {
        assert!(count <= 2, "{name} {status}: {count} times");
        assert_eq!(
            keys.len(),
            1,
            "{name} {status}: what came twice has one key"
        );
    }
    let kept = server.json("/api/incidents?limit=1000").await;
    let kept = kept["incidents"].as_array().expect("a list").len();
    assert!(kept >= names.len(), "{kept} incidents of {}", names.len());
    server.kill();
}
