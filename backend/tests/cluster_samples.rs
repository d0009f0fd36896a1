//! Several real servers and a real Redis: samples that are pushed to one are on all of them,
//! whoever is killed or away meanwhile. What is not to be had here (redis-server) is said and
//! passed over.

#![cfg(unix)]

mod servers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

use servers::{PATIENCE, Redis, Server, eventually, has_redis};

const TENANTS: [&str; 2] = ["red", "blue"];
const SERIES: usize = 20;
/// Everybody here is admin.
const TOKEN: &str = "cluster-samples-0123456789";
const TOKENS: &str = "cluster-samples-0123456789=admin";
/// Pushes of one sender a second.
const RATE: u32 = 25;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// A sample of each series of both tenants; values are whole, so that sums are exact.
fn lines(number: u64, at_ms: i64) -> String {
    (0..SERIES)
        .map(|series| {
            let value = number.wrapping_mul(31) % 1_000 + series as u64;
            format!("load{{host=\"h{series}\"}} {value} {at_ms}\n")
        })
        .collect()
}

/// Pushes; whether it was acknowledged.
async fn push(server: &Server, tenant: &str, lines: String) -> bool {
    let url = format!("http://{}/push", server.address);
    let sent = server.http.post(url).bearer_auth(TOKEN);
    let sent = sent.header("x-tenant-id", tenant);
    match sent.body(lines).send().await {
        Ok(answer) => {
            let is_taken = answer.status().is_success();
            // Whoever died while it answered has not answered.
            is_taken && answer.text().await.is_ok()
        }
        Err(_) => false,
    }
}

async fn text(server: &Server, tenant: &str, path: &str) -> String {
    let url = format!("http://{}{path}", server.address);
    let asked = server.http.get(url).bearer_auth(TOKEN);
    let asked = asked.header("x-tenant-id", tenant);
    let answer = asked.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a text");
    assert!(status.is_success(), "{path}: {status} {text}");
    text
}

async fn json(server: &Server, tenant: &str, path: &str) -> Value {
    serde_json::from_str(&text(server, tenant, path).await).expect("JSON")
}

/// Series and their samples by time.
type Exported = BTreeMap<String, BTreeMap<i64, f64>>;

async fn exported(server: &Server, tenant: &str) -> Exported {
    let path = "/api/v1/export?match[]={__name__=~\"load|queue\"}";
    let mut all = Exported::new();
    for line in text(server, tenant, path).await.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let series = all.entry(line["metric"].to_string()).or_default();
        let times = line["timestamps"].as_array().expect("times");
        let values = line["values"].as_array().expect("values");
        for (at_ms, value) in times.iter().zip(values) {
            let at_ms = at_ms.as_i64().expect("a time");
            let before = series.insert(at_ms, value.as_f64().expect("a value"));
            assert_eq!(before, None, "once each");
        }
    }
    all
}

/// What a server answers of a tenant, but for what depends on the moment.
async fn answers(server: &Server, tenant: &str, (from_ms, to_ms): (i64, i64)) -> Vec<Value> {
    let (from, to) = (from_ms / 1_000 - 1, to_ms / 1_000 + 1);
    let range =
        |query: &str| format!("/api/v1/query_range?query={query}&start={from}&end={to}&step=1");
    let sorted = |mut answer: Value| {
        if let Some(series) = answer["data"]["result"].as_array_mut() {
            series.sort_by_key(|one| one["metric"].to_string());
        }
        answer
    };
    let mut all = Vec::new();
    for query in ["load", "sum(count_over_time(load[5s]))"] {
        all.push(sorted(json(server, tenant, &range(query)).await));
    }
    let mut windows = json(server, tenant, "/api/windows?match=load").await;
    let windows = windows.as_array_mut().expect("a list");
    windows.sort_by_key(|one| one["labels"].to_string());
    for series in windows {
        for window in series["windows"].as_array().expect("windows") {
            let of = ["count", "sum", "avg", "min", "max"].map(|name| window[name].clone());
            all.push(Value::from(of.to_vec()));
        }
    }
    all
}

/// Waits until all answer the same of both tenants; what they export.
async fn all_agree(servers: &[&Server], span: (i64, i64)) -> [Exported; 2] {
    let began = Instant::now();
    loop {
        let mut exports = Vec::new();
        let mut differ = String::new();
        for tenant in TENANTS {
            let mut known: Option<(Exported, Vec<Value>)> = None;
            for server in servers {
                let this = (
                    exported(server, tenant).await,
                    answers(server, tenant, span).await,
                );
                match &known {
                    Some(known) if *known != this => {
                        differ = format!("{tenant}: {} and {}", servers[0].name, server.name);
                        differ += &difference(&known.0, &this.0);
                    }
                    Some(_) => {}
                    None => known = Some(this),
                }
            }
            exports.extend(known.map(|(export, _)| export));
        }
        if differ.is_empty() {
            return exports.try_into().expect("both");
        }
        assert!(began.elapsed() < PATIENCE, "they do not agree: {differ}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn difference(one: &Exported, other: &Exported) -> String {
    let mut said = String::new();
    for series in one.keys().chain(other.keys()) {
        let (one, other) = (one.get(series), other.get(series));
        if one != other {
            let count = |of: Option<&BTreeMap<i64, f64>>| of.map_or(0, BTreeMap::len);
            let first = one
                .into_iter()
                .flatten()
                .find(|(at_ms, value)| other.and_then(|other| other.get(at_ms)) != Some(value));
            said = format!("; {series}: {} and {}, {first:?}", count(one), count(other));
        }
    }
    said
}

/// Who pushes to several servers in turns, and knows what was acknowledged.
#[derive(Default)]
struct Sender {
    number: u64,
    acknowledged: Vec<(usize, u64, i64)>,
}

impl Sender {
    async fn push(&mut self, servers: &[&Server]) {
        self.number += 1;
        let server = servers[self.number as usize % servers.len()];
        for (of, tenant) in TENANTS.iter().enumerate() {
            let at_ms = now_ms();
            if push(server, tenant, lines(self.number, at_ms)).await {
                self.acknowledged.push((of, self.number, at_ms));
            }
        }
    }

    async fn push_for(&mut self, time: Duration, servers: &[&Server]) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.push(servers).await;
            tokio::time::sleep(Duration::from_secs(1) / RATE).await;
        }
    }

    fn is_all_in(&self, exports: &[Exported; 2]) {
        for (of, number, at_ms) in &self.acknowledged {
            assert_eq!(exports[*of].len(), SERIES);
            for series in exports[*of].values() {
                assert!(series.contains_key(at_ms), "{number} of {}", TENANTS[*of]);
            }
        }
    }
}

/// A server whose folder outlives it.
fn start_in(folder: &TempDir, name: &'static str, redis: &Redis, more: &[(&str, &str)]) -> Server {
    let path = folder.path().to_str().expect("a path");
    let all = [&[("DATA_DIR", path), ("AUTH_TOKENS", TOKENS)], more].concat();
    Server::start(name, redis, &all)
}

async fn three_here(redis: &Redis) -> [Server; 3] {
    let servers =
        ["a", "b", "c"].map(|name| Server::start(name, redis, &[("AUTH_TOKENS", TOKENS)]));
    for server in &servers {
        server.is_joined_by(3).await;
    }
    servers
}

#[tokio::test]
async fn what_one_takes_is_on_all_and_one_that_was_killed_has_it_too() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let mut servers: Vec<Server> = ["a", "b", "c"]
        .iter()
        .zip(&folders)
        .map(|(name, folder)| start_in(folder, name, &redis, &[]))
        .collect();
    for server in &servers {
        server.is_joined_by(3).await;
    }
    let from_ms = now_ms();
    let mut sender = Sender::default();
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(2), &all).await;
    // One dies while it is sent something.
    let dying = servers.pop().expect("three");
    let address = dying.address.clone();
    let to_dying = tokio::spawn(async move {
        let http = reqwest::Client::new();
        for number in 1_000..2_000 {
            let sent = http.post(format!("http://{address}/push"));
            let sent = sent.bearer_auth(TOKEN).header("x-tenant-id", TENANTS[0]);
            if sent.body(lines(number, now_ms())).send().await.is_err() {
                return;
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(dying);
    to_dying.await.expect("it ended");
    let left: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(2), &left).await;
    servers.push(start_in(&folders[2], "c", &redis, &[]));
    servers[2].is_joined_by(3).await;
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(1), &all).await;
    let exports = all_agree(&all, (from_ms, now_ms())).await;
    assert!(
        sender.acknowledged.len() > 60,
        "{}",
        sender.acknowledged.len()
    );
    sender.is_all_in(&exports);
}

#[tokio::test]
async fn what_two_push_to_two_servers_counts_as_from_one() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let servers = three_here(&redis).await;
    let from_ms = now_ms();
    // The same, at once; and for each moment of another series two values, in any order.
    for number in 0..50_u64 {
        let at_ms = from_ms + number as i64;
        let pushes = TENANTS.iter().flat_map(|tenant| {
            servers.iter().take(2).enumerate().map(move |(of, server)| {
                let odd = format!("queue {} {at_ms}\n", number * 10 + of as u64);
                push(server, tenant, lines(number, at_ms) + &odd)
            })
        });
        for is_taken in futures_util::future::join_all(pushes).await {
            assert!(is_taken);
        }
    }
    let all: Vec<&Server> = servers.iter().collect();
    let exports = all_agree(&all, (from_ms, now_ms())).await;
    for export in &exports {
        assert_eq!(export.len(), SERIES + 1);
        for series in export.values() {
            assert_eq!(series.len(), 50);
        }
    }
    let counted = "/api/v1/query?query=sum(count_over_time(load[1m]))";
    for (tenant, server) in TENANTS.iter().zip(&servers) {
        let answer = json(server, tenant, counted).await;
        let count = (SERIES * 50).to_string();
        assert_eq!(answer["data"]["result"][0]["value"][1], *count, "{answer}");
    }
}

#[tokio::test]
async fn what_is_taken_while_redis_is_away_is_on_all_afterwards() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let mut servers: Vec<Server> = ["a", "b"]
        .iter()
        .zip(&folders)
        .map(|(name, folder)| start_in(folder, name, &redis, &[]))
        .collect();
    for server in &servers {
        server.is_joined_by(2).await;
    }
    let from_ms = now_ms();
    let mut sender = Sender::default();
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(1), &all).await;
    redis.kill();
    let before = sender.acknowledged.len();
    sender.push_for(Duration::from_secs(4), &all).await;
    assert!(sender.acknowledged.len() > before + 20, "they answer alone");
    for server in &servers {
        eventually("alone", async || server.state().await.1 == "alone").await;
        let answer = server.get("/api/stats").await;
        assert_eq!(answer.headers()["pulseboard-degraded"], "bus");
    }
    // One is killed meanwhile: what it took then is in its log alone.
    let killed = servers.pop().expect("two");
    drop(killed);
    servers.push(start_in(&folders[1], "b", &redis, &[]));
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(1), &all).await;
    redis.again();
    for server in &servers {
        server.is_joined_by(2).await;
    }
    sender.push_for(Duration::from_secs(1), &all).await;
    let exports = all_agree(&all, (from_ms, now_ms())).await;
    sender.is_all_in(&exports);
}

#[tokio::test]
async fn what_is_deleted_at_one_is_deleted_at_all() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let servers = three_here(&redis).await;
    let from_ms = now_ms();
    let mut sender = Sender::default();
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_secs(1), &all).await;
    all_agree(&all, (from_ms, now_ms())).await;
    let path = "/api/v1/admin/tsdb/delete_series?match[]=load{host=\"h3\"}";
    let url = format!("http://{}{path}", servers[1].address);
    let asked = servers[1].http.post(url).bearer_auth(TOKEN);
    let asked = asked.header("x-tenant-id", TENANTS[0]);
    let answer = asked.send().await.expect("an answer");
    assert_eq!(answer.status(), 204);
    let [red, blue] = all_agree(&all, (from_ms, now_ms())).await;
    assert_eq!((red.len(), blue.len()), (SERIES - 1, SERIES));
}

#[tokio::test]
async fn who_was_away_for_longer_than_the_buffer_is_ready_when_it_has_everything() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let more = [("INGEST_BUFFER_BYTES", "1048576")];
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let mut servers: Vec<Server> = ["a", "b", "c"]
        .iter()
        .zip(&folders)
        .map(|(name, folder)| start_in(folder, name, &redis, &more))
        .collect();
    for server in &servers {
        server.is_joined_by(3).await;
    }
    let from_ms = now_ms();
    let mut sender = Sender::default();
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_millis(500), &all).await;
    all_agree(&all, (from_ms, now_ms())).await;
    drop(servers.pop());
    // Three times as much as Redis holds: whole numbers that nobody packs.
    let left: Vec<&Server> = servers.iter().collect();
    for number in 0..120_u64 {
        let at_ms = now_ms();
        let odd: String = (0..2_000_u64)
            .map(|series| {
                let value = (number * 2_000 + series).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                format!("queue{{host=\"h{series}\"}} {value} {at_ms}\n")
            })
            .collect();
        let server = left[number as usize % 2];
        assert!(push(server, TENANTS[number as usize % 2], odd).await);
    }
    sender.push_for(Duration::from_millis(500), &left).await;
    let exports = all_agree(&left, (from_ms, now_ms())).await;

    let again = start_in(&folders[2], "c", &redis, &more);
    let mut reasons = Vec::new();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "never ready: {reasons:?}");
        let url = format!("http://{}/readyz", again.address);
        // It begins anew, and is not there for a moment.
        if let Ok(answer) = again.http.get(url).send().await {
            let is_ready = answer.status().is_success();
            let body: Value = answer.json().await.unwrap_or_default();
            if is_ready && body["cluster"]["state"] == "joined" {
                break;
            }
            reasons.push(body["cluster"]["reason"].to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        reasons.iter().any(|reason| reason.contains("behind")),
        "{reasons:?}"
    );
    // At once: ready means that everything is here.
    for (tenant, export) in TENANTS.iter().zip(&exports) {
        let here = exported(&again, tenant).await;
        assert_eq!(&here, export, "{}", difference(export, &here));
    }
    servers.push(again);
    let all: Vec<&Server> = servers.iter().collect();
    sender.push_for(Duration::from_millis(500), &all).await;
    let exports = all_agree(&all, (from_ms, now_ms())).await;
    for (of, number, at_ms) in &sender.acknowledged {
        let load = exports[*of]
            .iter()
            .filter(|(series, _)| series.contains("load"));
        for (_, samples) in load {
            assert!(samples.contains_key(at_ms), "{number}");
        }
    }
    // Nobody else gets a copy.
    for ticket in ["", "guess"] {
        let url = format!("http://{}/internal/history", servers[0].address);
        let asked = servers[0]
            .http
            .get(url)
            .header("x-pulseboard-ticket", ticket);
        assert_eq!(asked.send().await.expect("an answer").status(), 403);
    }
    // Whoever tries tickets that might be right has to wait before long.
    let mut refused = Vec::new();
    for number in 0..20 {
        let url = format!("http://{}/internal/history", servers[0].address);
        let ticket = format!("{number:064x}");
        let asked = servers[0].http.get(url);
        let asked = asked.header("x-pulseboard-ticket", ticket).send().await;
        refused.push(asked.expect("an answer").status().as_u16());
    }
    assert_eq!((refused[0], refused[19]), (403, 429), "{refused:?}");
}

/// By the time it is back Redis has more than it had when it left: by offsets alone that would be
/// what follows.
#[tokio::test]
async fn who_was_away_while_redis_lost_everything_lacks_nothing() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let first = start_in(&folders[0], "a", &redis, &[]);
    let second = start_in(&folders[1], "b", &redis, &[]);
    for server in [&first, &second] {
        server.is_joined_by(2).await;
    }
    let from_ms = now_ms();
    let mut sender = Sender::default();
    // By the one that goes: nobody is left who would send it again.
    for _ in 0..400 {
        sender.push(&[&second]).await;
    }
    all_agree(&[&first, &second], (from_ms, now_ms())).await;
    drop(second);
    redis.kill();
    eventually("alone", async || first.state().await.1 == "alone").await;
    redis.again();
    first.is_joined_by(1).await;
    for _ in 0..600 {
        sender.push(&[&first]).await;
    }
    let again = start_in(&folders[1], "b", &redis, &[]);
    again.is_joined_by(2).await;
    let exports = all_agree(&[&first, &again], (from_ms, now_ms())).await;
    sender.is_all_in(&exports);
}

#[tokio::test]
async fn who_comes_anew_gets_what_there_was_before() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let first = Server::start("a", &redis, &[("AUTH_TOKENS", TOKENS)]);
    first.is_joined_by(1).await;
    let from_ms = now_ms();
    let mut sender = Sender::default();
    sender.push_for(Duration::from_secs(1), &[&first]).await;
    // Redis forgets it all.
    redis.kill();
    eventually("alone", async || first.state().await.1 == "alone").await;
    redis.again();
    first.is_joined_by(1).await;
    let second = Server::start("b", &redis, &[("AUTH_TOKENS", TOKENS)]);
    second.is_joined_by(2).await;
    sender
        .push_for(Duration::from_secs(1), &[&first, &second])
        .await;
    let exports = all_agree(&[&first, &second], (from_ms, now_ms())).await;
    sender.is_all_in(&exports);
}
