//! Rules of two tenants, in a storm of critical alerts, killed at random: each firing is one
//! incident, whoever is to be told of it is, once or twice, and of no end before its beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    recorder::Recorder,
    server::{PATIENCE, Server, rounds},
};

/// Of an admin, who makes rules and receivers.
pub(crate) const ADMIN: &str = "a-token-of-an-admin-for-tests";

/// Alerts of the tenant whose receivers group as it is without configuration: all of them at once.
const OF_SHOP: usize = 8;

/// Its receiver waits half a minute for what belongs together.
const GROUP_WAIT: Duration = Duration::from_secs(60);

/// `ALERTMANAGER_CONFIG`, which is the default tenant's: each alert by itself, soon.
pub(crate) fn one_by_one(folder: &Path, url: &str) -> String {
    let file = folder.join("alertmanager.yml");
    let yaml = format!(
        "route: {{receiver: ops, group_by: [i], group_wait: 100ms, group_interval: 200ms, repeat_interval: 24h}}\n\
         receivers: [{{name: ops, webhook_configs: [{{url: '{url}'}}]}}]\n"
    );
    fs::write(&file, yaml).expect("written");
    file.to_str().expect("text").to_owned()
}

/// As an admin of a tenant.
pub(crate) async fn make(server: &Server, tenant: &str, path: &str, body: &Value) {
    let asked = server.http.post(format!("{}{path}", server.url));
    let asked = asked.bearer_auth(ADMIN).header("x-tenant-id", tenant);
    let answer = asked.json(body).timeout(PATIENCE).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status().as_u16();
    assert_eq!(status, 201, "{}", answer.text().await.unwrap_or_default());
}

/// Fires for each series `load{i}` above 1.
pub(crate) fn rule() -> Value {
    json!({
        "alert": "Load", "expr": "load > 1", "every": "200ms",
        "labels": {"severity": "critical"},
        "annotations": {"summary": "load of {{ $labels.i }} is {{ $value }}"},
    })
}

/// Series with these numbers at a value.
async fn push(server: &Server, tenant: &str, numbers: &[usize], value: u32) {
    let lines = numbers
        .iter()
        .map(|number| format!("load{{i=\"{number}\"}} {value}\n"));
    let (status, answer) = server.push(tenant, lines.collect()).await;
    assert_eq!(status, 200, "{answer}");
}

/// Numbers of which this was said.
fn told(recorder: &Recorder, status: &str) -> BTreeSet<usize> {
    let heard = recorder.heard();
    let alerts = heard.iter().flat_map(|one| one.told("i"));
    alerts
        .filter(|(_, said)| *said == status)
        .map(|(number, _)| number.parse().expect("a number"))
        .collect()
}

/// What a user of a receiver would complain about.
fn assert_told_well(recorder: &Recorder) {
    let mut times: BTreeMap<(String, String), (usize, BTreeSet<String>)> = BTreeMap::new();
    for one in recorder.heard() {
        for (number, status) in one.told("i") {
            let is_begun = times.contains_key(&(number.to_owned(), "firing".to_owned()));
            assert!(
                status == "firing" || is_begun,
                "{number} ends before it began"
            );
            let (count, keys) = times
                .entry((number.to_owned(), status.to_owned()))
                .or_default();
            *count += 1;
            keys.insert(one.key.clone());
        }
    }
    for ((number, status), (count, keys)) in times {
        assert!(count <= 2, "{number} {status}: {count} times");
        let what = "what came twice has one key";
        assert_eq!(keys.len(), 1, "{number} {status}: {what}: {keys:?}");
    }
}

/// A tenant's incidents of the rule by the number of their series.
async fn incidents(server: &Server, tenant: &str) -> BTreeMap<usize, Vec<Value>> {
    let path = format!("/api/incidents?rule=Load&limit=1000&tenant={tenant}");
    let listed = server.json(&path).await;
    let mut by_number: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for incident in listed["incidents"].as_array().expect("a list") {
        let number = incident["labels"]["i"].as_str().expect("a label");
        let number = number.parse().expect("a number");
        by_number.entry(number).or_default().push(incident.clone());
    }
    by_number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_find_in_a_storm_is_told_whoever_is_killed() {
    let [recorder, of_shop] = [(); 2].map(|()| Recorder::start());
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let file = one_by_one(folder.path(), &recorder.url);
    let tokens = format!("{ADMIN}=admin");
    let settings = [
        ("NOTIFY_PRIVATE", "on"),
        ("ALERTMANAGER_CONFIG", file.as_str()),
        ("AUTH_TOKENS", tokens.as_str()),
        ("METRIC_INTERVAL_MS", "200"),
    ];
    let mut server = Server::start_with(&data, &settings);
    let hook = json!({"name": "shop", "webhook_configs": [{"url": of_shop.url}]});
    make(&server, "shop", "/api/receivers", &hook).await;
    for tenant in ["default", "shop"] {
        make(&server, tenant, "/api/rules", &rule()).await;
    }
    let shop: Vec<usize> = (0..OF_SHOP).collect();
    push(&server, "shop", &shop, 5).await;

    let count = usize::try_from(rounds()).expect("few");
    let mut calmed = BTreeSet::new();
    for round in 0..count {
        push(&server, "default", &[round], 5).await;
        // One that was told of is over again; what nobody heard of goes on until somebody has.
        if let Some(over) = told(&recorder, "firing")
            .difference(&calmed)
            .next()
            .copied()
            && round % 2 == 1
        {
            push(&server, "default", &[over], 0).await;
            calmed.insert(over);
        }
        // The moment of death is what is by chance here.
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..600)));
        server.kill();
        server = Server::start_with(&data, &settings);
    }
    let all: BTreeSet<usize> = (0..count).collect();
    server
        .eventually("all are told", async || told(&recorder, "firing") == all)
        .await;
    assert_eq!(
        told(&recorder, "resolved").difference(&calmed).next(),
        None,
        "nobody hears an end of what goes on"
    );
    let still: Vec<usize> = all.difference(&calmed).copied().collect();
    push(&server, "default", &still, 0).await;
    std::thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
    server.kill();
    server = Server::start_with(&data, &settings);
    server
        .eventually("all are over", async || told(&recorder, "resolved") == all)
        .await;
    server
        .within(GROUP_WAIT, "the other tenant is told", async || {
            told(&of_shop, "firing").len() == OF_SHOP
        })
        .await;

    // Whatever a life left half done would be told now.
    std::thread::sleep(Duration::from_millis(500));
    // What a receiver has answered is noted a moment later.
    for tenant in ["default", "shop"] {
        server
            .eventually("all incidents say that they were told", async || {
                let found = incidents(&server, tenant).await;
                let mut all = found.values().flatten();
                all.all(|one| one["notified"].as_u64() > Some(0))
            })
            .await;
    }
    assert_told_well(&recorder);
    assert_told_well(&of_shop);
    assert_eq!(told(&of_shop, "resolved"), BTreeSet::new());
    for (tenant, numbers, state) in [
        ("default", all, "resolved"),
        ("shop", shop.into_iter().collect(), "firing"),
    ] {
        let found = incidents(&server, tenant).await;
        assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), numbers);
        for (number, incidents) in found {
            let [incident] = &incidents[..] else {
                panic!("one firing of {number} is {} incidents", incidents.len());
            };
            assert_eq!(incident["state"], state, "{tenant}: {incident}");
        }
    }
    server.kill();
}
