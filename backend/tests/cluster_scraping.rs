//! Several real servers that scrape by one file: each target is scraped by one of them, all have
//! its samples and say how it is, and another goes on when that one is gone. Without redis-server
//! this is said and passed over.

#![cfg(unix)]

mod servers;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::servers::{Redis, Server, eventually, has_redis};

/// So many that each of two servers has some.
const TARGETS: usize = 16;
/// Everybody here is admin.
const TOKEN: &str = "cluster-scraping-0123456789";
const TOKENS: (&str, &str) = ("AUTH_TOKENS", "cluster-scraping-0123456789=admin");
const INTERVAL: Duration = Duration::from_secs(1);

/// Targets, each at a path of its own, and how often each was asked.
struct Exporter {
    port: u16,
    asked: Arc<[AtomicU32; TARGETS]>,
}

impl Exporter {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::<[AtomicU32; TARGETS]>::default();
        let counts = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&counts)));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> [u32; TARGETS] {
        std::array::from_fn(|target| self.asked[target].load(Ordering::Relaxed))
    }

    /// Waits until each target was asked so often more.
    async fn is_asked(&self, more: u32, what: &str) {
        let before = self.asked();
        eventually(what, async || {
            let now = self.asked().into_iter();
            now.zip(before).all(|(now, before)| now >= before + more)
        })
        .await;
    }

    fn file(&self) -> String {
        let mut file = format!(
            "global: {{scrape_interval: {}s}}\nscrape_configs:\n- job_name: many\n  static_configs:\n",
            INTERVAL.as_secs()
        );
        for target in 0..TARGETS {
            let port = self.port;
            let labels = format!("{{__metrics_path__: /{target}, number: \"{target}\"}}");
            let group = format!("  - {{targets: [\"127.0.0.1:{port}\"], labels: {labels}}}\n");
            file.push_str(&group);
        }
        file
    }
}

/// Answers request after request.
async fn answer(mut stream: TcpStream, asked: Arc<[AtomicU32; TARGETS]>) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        read.extend_from_slice(&buffer[..length]);
        while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = read.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("text");
            let path = head.split(' ').nth(1).expect("a path");
            let target: usize = path[1..].parse().expect("a target");
            let count = asked[target].fetch_add(1, Ordering::Relaxed) + 1;
            let body = format!("asked_total {count}\n");
            let mut answer = String::from("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n");
            write!(answer, "content-length: {}\r\n\r\n{body}", body.len()).expect("room");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// What a server has of the targets: times and values, by target.
async fn samples(server: &Server) -> BTreeMap<String, Vec<(i64, f64)>> {
    let answer = server.get("/api/v1/export?match[]=asked_total").await;
    let text = answer.text().await.expect("text");
    let series = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let times = line["timestamps"].as_array().expect("times").iter();
        let values = line["values"].as_array().expect("values").iter();
        let samples = times.zip(values).map(|(at_ms, value)| {
            let at_ms = at_ms.as_i64().expect("a time");
            (at_ms, value.as_f64().expect("a value"))
        });
        (line["metric"]["number"].to_string(), samples.collect())
    });
    series.collect()
}

/// How many targets a server says are up.
async fn up(server: &Server) -> usize {
    let answer = server.json("/api/v1/targets").await;
    let targets = answer["data"]["activeTargets"].as_array().expect("targets");
    assert_eq!(targets.len(), TARGETS, "all of them are shown");
    targets.iter().filter(|one| one["health"] == "up").count()
}

/// How many leases each server holds of a work.
async fn leases(server: &Server, work: &str) -> Vec<u64> {
    let service = server.json("/api/cluster").await;
    let members = service["members"].as_array().expect("members").iter();
    members
        .map(|member| member["leases"][work].as_u64().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn each_target_is_scraped_by_one_server_and_another_goes_on() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let exporter = Exporter::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, exporter.file()).expect("written");
    let file = file.to_str().expect("a path");
    let more = [("PROMETHEUS_CONFIG", file), TOKENS];
    let a = Server::start("a", &redis, &more).with_token(TOKEN);
    let b = Server::start("b", &redis, &more).with_token(TOKEN);
    // It does not scrape, and nothing is left to it.
    let c = Server::start("c", &redis, &[TOKENS]).with_token(TOKEN);
    for server in [&a, &b, &c] {
        server.is_joined_by(3).await;
    }
    eventually("two share the work", async || {
        let mut held = leases(&c, "scrape").await;
        held.sort_unstable();
        held == [0, 32, 32]
    })
    .await;
    exporter.is_asked(1, "all are scraped").await;
    // Once each interval, and not once by each.
    let (before, began) = (exporter.asked(), Instant::now());
    exporter.is_asked(6, "they go on").await;
    let moments = began.elapsed().as_millis().div_ceil(INTERVAL.as_millis()) as u32;
    for (now, before) in exporter.asked().into_iter().zip(before) {
        assert!(now - before <= moments + 1, "{} in {moments}", now - before);
    }
    // All have the same samples, and each scrape is one.
    eventually("all have the same", async || {
        let (of_a, of_b) = (samples(&a).await, samples(&b).await);
        of_a.len() == TARGETS && of_a == of_b && of_a == samples(&c).await
    })
    .await;
    for (target, samples) in samples(&a).await {
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        assert!(
            values.is_sorted_by(|one, next| one < next),
            "{target}: {values:?}"
        );
    }
    for server in [&a, &b] {
        eventually("each knows how all targets are", async || {
            up(server).await == TARGETS
        })
        .await;
    }
    // One of the two goes without a word.
    drop(a.kill());
    exporter.is_asked(2, "the other scrapes all").await;
    let newest = |all: &BTreeMap<String, Vec<(i64, f64)>>| -> Vec<i64> {
        let last = all.values().map(|samples| samples.last());
        last.map(|last| last.expect("a sample").0).collect()
    };
    let before = newest(&samples(&c).await);
    eventually("their samples come to all", async || {
        let now = newest(&samples(&c).await).into_iter();
        now.zip(&before).all(|(now, before)| now > *before)
    })
    .await;
    assert_eq!(up(&b).await, TARGETS);
}
