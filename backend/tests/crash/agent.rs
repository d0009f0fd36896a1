//! Agents and their hub, each of them killed: every moment that was measured arrives, once.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

#[cfg(unix)]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Server, rounds};

/// Time between two moments of these agents.
const INTERVAL_MS: u64 = 50;

/// An agent's process; killed when dropped.
struct Agent(Child);

impl Agent {
    fn start(folder: &Path, hub: &str, tenant: &str) -> Self {
        Self::start_with(folder, hub, tenant, &[])
    }

    fn start_with(folder: &Path, hub: &str, tenant: &str, more: &[&str]) -> Self {
        Self::start_logging(folder, hub, tenant, more, Stdio::null())
    }

    fn start_logging(
        folder: &Path,
        hub: &str,
        tenant: &str,
        more: &[&str],
        log: impl Into<Stdio>,
    ) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .env_clear()
            .args([
                "agent",
                "--to",
                hub,
                "--instance",
                tenant,
                "--tenant",
                tenant,
            ])
            .args(["--metric-interval-ms", &INTERVAL_MS.to_string()])
            .arg("--data-dir")
            .arg(folder)
            .args(more)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(child.expect("starts"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().expect("it ran");
        self.0.wait().expect("it has ended");
    }
}

/// The numbers of the moments of this tenant's agent that the hub has, in order of their times;
/// nothing while the hub does not answer.
async fn moments(hub: &Server, tenant: &str) -> Vec<u64> {
    let query = "pulseboard_agent_moments_total[1h]";
    let (status, answer) = hub
        .get(&format!("/api/v1/query?tenant={tenant}&query={query}"))
        .await;
    assert_eq!(status, 200, "{answer}");
    let series = answer["data"]["result"].as_array().expect("a list");
    assert!(series.len() <= 1, "{series:?}");
    let values = series.iter().flat_map(|one| one["values"].as_array());
    values
        .flatten()
        .map(|value| {
            value[1]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        })
        .collect()
}

/// Waits until the hub has every moment up to `least` and some more, each once and in order.
async fn all_arrive(hub: &Server, tenant: &str, least: usize) {
    hub.eventually("every moment arrives", async || {
        let numbers = moments(hub, tenant).await;
        let expected = 1..=numbers.len() as u64;
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "one is there twice: {numbers:?}"
        );
        numbers.len() >= least && numbers.iter().copied().eq(expected)
    })
    .await;
}

#[tokio::test]
async fn every_moment_arrives_once_whoever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub_folder = folder.path().join("hub");
    let mut hub = Server::start(&hub_folder);
    let url = hub.url.clone();
    let address = url.trim_start_matches("http://").to_owned();
    let tenants = ["red", "blue"];
    let start = |tenant: &str| Agent::start(&folder.path().join(tenant), &url, tenant);
    let mut agents = tenants.map(start);
    for round in 0..rounds() {
        tokio::time::sleep(Duration::from_millis(100 + fastrand::u64(..400))).await;
        match round % 3 {
            2 => {
                hub.kill();
                // Away for some moments.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
                hub = Server::start_at(&hub_folder, &address);
            }
            which => {
                let which = which as usize;
                // The old one is dead before the new one starts.
                agents[which].0.kill().expect("it ran");
                agents[which].0.wait().expect("it has ended");
                agents[which] = start(tenants[which]);
            }
        }
    }
    for tenant in tenants {
        let before = moments(&hub, tenant).await.len();
        all_arrive(&hub, tenant, before + 20).await;
    }
}

#[tokio::test]
async fn what_was_measured_while_the_hub_was_away_arrives_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub_folder = folder.path().join("hub");
    let mut hub = Server::start(&hub_folder);
    let url = hub.url.clone();
    hub.kill();
    let agent = Agent::start(&folder.path().join("agent"), &url, "red");
    tokio::time::sleep(Duration::from_millis(60 * INTERVAL_MS)).await;
    // It waits for the hub across a restart of its own, too.
    drop(agent);
    let _agent = Agent::start(&folder.path().join("agent"), &url, "red");
    let hub = Server::start_at(&hub_folder, url.trim_start_matches("http://"));
    all_arrive(&hub, "red", 60).await;
}

/// A hub that takes little at once gets every moment in parts, each figure of it.
#[tokio::test]
async fn a_hub_that_takes_little_at_once_has_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub_folder = folder.path().join("hub");
    let hub = Server::start_with(&hub_folder, &[("MAX_BODY_BYTES", "16000")]);
    let _agent = Agent::start(&folder.path().join("agent"), &hub.url, "red");
    all_arrive(&hub, "red", 20).await;
    let query = "node_boot_time_seconds";
    let (_, answer) = hub
        .get(&format!("/api/v1/query?tenant=red&query={query}"))
        .await;
    let series = answer["data"]["result"].as_array().expect("a list");
    assert_eq!(series.len(), 1, "{answer}");
    let query = "pulseboard_agent_samples_refused_total";
    let (_, answer) = hub
        .get(&format!("/api/v1/query?tenant=red&query={query}"))
        .await;
    let refused = &answer["data"]["result"][0]["value"][1];
    assert_eq!(refused, "0", "{answer}");
}

/// A target of a few lines: everybody who asks gets this sample.
async fn target() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nscraped 1";
                while stream.read(&mut request).await.is_ok_and(|read| read > 0)
                    && stream.write_all(answer).await.is_ok()
                {}
            });
        }
    });
    address
}

/// SIGHUP has the scrape configuration read again; one with a mistake is named and changes nothing.
/// Its external labels are on all that is sent, the machine's own figures among it.
#[cfg(unix)]
#[tokio::test]
async fn the_scrape_configuration_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = Server::start(&folder.path().join("hub"));
    let address = target().await;
    let file = folder.path().join("prometheus.yml");
    let write = |job: &str, site: &str| {
        let text = format!(
            "global: {{scrape_interval: 100ms, external_labels: {{site: {site}, job: nobody}}}}\nscrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}]\nrule_files: [a.yml]\nremote_write: [{{url: 'http://127.0.0.1:1/'}}]\n"
        );
        std::fs::write(&file, text).expect("written");
    };
    write("first", "east");
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = file.display().to_string();
    let agent = Agent::start_logging(
        &folder.path().join("agent"),
        &hub.url,
        "red",
        &["--scrape-config", &path],
        log.reopen().expect("again"),
    );
    let hang_up = || {
        let pid = i32::try_from(agent.0.id()).ok();
        let pid = pid
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    };
    let is_there = async |query: &str| {
        let (status, answer) = hub
            .get(&format!("/api/v1/query?tenant=red&query={query}"))
            .await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    };
    for query in [
        "scraped{job=\"first\",site=\"east\",instance=\"red\"}",
        "node_boot_time_seconds{site=\"east\",job!=\"nobody\"}",
    ] {
        hub.eventually(query, async || is_there(query).await).await;
    }
    let logged = async |words: &str| {
        let is_said = async || {
            let log = std::fs::read_to_string(log.path()).expect("text");
            log.contains(words)
        };
        hub.eventually(words, is_said).await;
    };
    logged("remote_write is not used by an agent").await;
    logged("rule_files are not evaluated by an agent").await;
    std::fs::write(&file, "scrape_configs: [{job_name: a, no_such_field: 1}]").expect("written");
    hang_up();
    logged("unknown field `no_such_field`").await;
    write("second", "west");
    hang_up();
    for query in [
        "scraped{job=\"second\",site=\"west\"}",
        "node_boot_time_seconds{site=\"west\"}",
    ] {
        hub.eventually(query, async || is_there(query).await).await;
    }
    let up = "count_over_time(scraped{job=\"first\",site=\"east\"}[1h])";
    assert!(
        is_there(up).await,
        "what was scraped before the mistake and after it"
    );
}

/// What a local application was answered for arrives, however often the agent is killed.
#[tokio::test]
async fn what_applications_sent_to_an_agent_arrives_whoever_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let hub = Server::start(&folder.path().join("hub"));
    let url = hub.url.clone();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .to_string();
    let start = || {
        let more = ["--local-otlp", &port];
        Agent::start_with(&folder.path().join("agent"), &url, "red", &more)
    };
    let mut agent = start();
    let http = reqwest::Client::new();
    let mut answered: Vec<u64> = Vec::new();
    let mut number = 0;
    for _ in 0..rounds() {
        let until = std::time::Instant::now() + Duration::from_millis(100 + fastrand::u64(..300));
        while std::time::Instant::now() < until {
            number += 1;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now_ns = now.expect("later").as_nanos();
            let body = format!(
                r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"numbers","gauge":{{"dataPoints":[{{"asDouble":{number},"timeUnixNano":"{now_ns}"}}]}}}}]}}]}}]}}"#
            );
            let sent = http
                .post(format!("http://{port}/v1/metrics"))
                .header("content-type", "application/json")
                .body(body)
                .send();
            match sent.await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    answered.push(number);
                }
                // It is not up yet.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            // Each has a millisecond of its own.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        agent.0.kill().expect("it ran");
        agent.0.wait().expect("it has ended");
        agent = start();
    }
    assert!(answered.len() > 20, "{answered:?}");
    hub.eventually("everything arrives", async || {
        let query = "numbers[1h]";
        let (status, answer) = hub
            .get(&format!("/api/v1/query?tenant=red&query={query}"))
            .await;
        assert_eq!(status, 200, "{answer}");
        let series = answer["data"]["result"].as_array().expect("a list");
        let values = series
            .iter()
            .flat_map(|one| one["values"].as_array())
            .flatten();
        let there: std::collections::HashSet<u64> = values
            .filter_map(|value| value[1].as_str()?.parse().ok())
            .collect();
        answered.iter().all(|number| there.contains(number))
    })
    .await;
    let (_, others) = hub.get("/api/v1/query?tenant=blue&query=numbers").await;
    assert_eq!(others["data"]["result"].as_array().map(Vec::len), Some(0));
}
