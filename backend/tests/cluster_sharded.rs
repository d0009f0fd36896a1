//! Several real servers each of which keeps what came in at it (`CLUSTER_MODE=sharded`), with one
//! archive that has all: who watches at one sees at once what is sent to another, and whoever asks
//! any of them gets the answer of all. The archive is a Pulseboard of its own. Without redis-server
//! this is said and passed over.

#![cfg(unix)]

mod servers;

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::servers::{Redis, Server, Socket, eventually, has_redis};

const SERIES: usize = 200;
/// Samples of each series a second, and how many of them.
const RATE: u32 = 10;
const ROUNDS: usize = 50;
/// What a sample sent to one server may take until it is seen at another, for 99 of 100 of them in
/// a second in which the machine does nothing else; and in all of them.
const SEEN_WITHIN_MS: i64 = 150;
const SEEN_AT_WORST_MS: i64 = 1_000;

/// Everybody is admin where this is so.
const TOKEN: &str = "cluster-sharded-0123456789";
const TOKENS: (&str, &str) = ("AUTH_TOKENS", "cluster-sharded-0123456789=admin");

/// An archive and two servers that share it.
struct Service {
    _store: Server,
    pair: [Server; 2],
}

impl Service {
    async fn start(redis: &Redis, more: &[(&str, &str)]) -> Self {
        let store = Server::start("store", redis, &[("REDIS_PREFIX", "store")]);
        store.is_joined_by(1).await;
        let url = format!("http://{}", store.address);
        let write = format!("{url}/api/v1/write");
        let all = [
            ("CLUSTER_MODE", "sharded"),
            ("ARCHIVE_WRITE_URL", &*write),
            ("ARCHIVE_READ_URL", &*url),
            ("METRIC_SOURCE", "none"),
        ];
        let all = [&all, more].concat();
        let pair = ["a", "b"].map(|name| {
            let server = Server::start(name, redis, &all);
            match more.contains(&TOKENS) {
                true => server.with_token(TOKEN),
                false => server,
            }
        });
        for server in &pair {
            server.is_joined_by(2).await;
        }
        Self {
            _store: store,
            pair,
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("small")
}

async fn push(server: &Server, lines: String) {
    let url = format!("http://{}/push?tenant=t", server.address);
    let sent = server.http.post(url).body(lines).send().await;
    assert_eq!(sent.expect("an answer").status(), 200);
}

/// A sample of each series.
fn lines(name: &str, value: usize, at_ms: i64) -> String {
    (0..SERIES)
        .map(|one| format!("{name}{{series=\"{one}\"}} {value} {at_ms}\n"))
        .collect()
}

async fn ask(server: &Server, path: &str) -> Value {
    server.json(&format!("{path}&tenant=t")).await
}

/// The one value of a question, 0 where there is none.
async fn value(server: &Server, query: &str) -> f64 {
    let answer = ask(server, &format!("/api/v1/query?query={query}")).await;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

async fn watching(server: &Server, what: Value) -> Socket {
    let mut socket = server.socket("/ws?tenant=t").await;
    let mut asked = what;
    asked["action"] = "watch".into();
    socket.say(asked).await;
    socket.next_of("watched").await;
    socket
}

/// Waits until a server sends on what others want.
async fn sends_on(server: &Server, selectors: f64) {
    let what = format!("{} sends {selectors} selectors on", server.name);
    eventually(&what, async || {
        let text = server.get("/metrics").await.text().await.expect("text");
        let name = "pulseboard_elsewhere_relayed ";
        let count = text.lines().find_map(|line| line.strip_prefix(name));
        count.and_then(|count| count.parse::<f64>().ok()) == Some(selectors)
    })
    .await;
}

#[tokio::test]
async fn who_watches_at_one_server_sees_what_is_sent_to_another_once_and_soon() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let service = Service::start(&redis, &[]).await;
    let [a, b] = &service.pair;
    let mut socket = watching(b, json!({"match": "load"})).await;
    sends_on(a, 1.0).await;
    // The first samples of series, which others are not measured by.
    let first_ms = now_ms();
    push(a, lines("load", 0, first_ms)).await;
    let mut seen = BTreeSet::new();
    let mut delays = Vec::new();
    let read = async {
        while seen.len() < SERIES * (ROUNDS + 1) {
            let message = socket.next_of("samples").await;
            let came_ms = now_ms();
            for run in message["series"].as_array().expect("series") {
                let key = run["key"].as_str().expect("a key");
                for point in run["points"].as_array().expect("points") {
                    let at_ms = point[0].as_i64().expect("a time");
                    assert!(seen.insert((key.to_owned(), at_ms)), "{key} {at_ms} twice");
                    if at_ms > first_ms {
                        delays.push(came_ms - at_ms);
                    }
                }
            }
        }
    };
    let send = async {
        let mut moments = tokio::time::interval(Duration::from_secs(1) / RATE);
        for round in 1..=ROUNDS {
            moments.tick().await;
            push(a, lines("load", round, now_ms())).await;
        }
    };
    tokio::join!(read, send);
    let seconds = delays.chunks(SERIES * RATE as usize).map(|second| {
        let mut sorted = second.to_vec();
        sorted.sort_unstable();
        (sorted[sorted.len() / 2], sorted[sorted.len() * 99 / 100])
    });
    let seconds: Vec<(i64, i64)> = seconds.collect();
    eprintln!("from one server to another, second by second, p50 and p99 in ms: {seconds:?}");
    let p99 = || seconds.iter().map(|(_, p99)| *p99);
    assert!(p99().any(|p99| p99 <= SEEN_WITHIN_MS), "{seconds:?}");
    assert!(p99().all(|p99| p99 <= SEEN_AT_WORST_MS), "{seconds:?}");
    // It went no other way.
    let own = "pulseboard_ingest_log_backlog ";
    let text = a.get("/metrics").await.text().await.expect("text");
    assert!(!text.lines().any(|line| line.starts_with(own)));
}

#[tokio::test]
async fn each_server_answers_as_if_it_had_all_and_says_what_several_have() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let service = Service::start(&redis, &[TOKENS]).await;
    let [a, b] = &service.pair;
    let at_ms = now_ms();
    for step in 0..5 {
        push(a, lines("left", step, at_ms - 5_000 + step as i64 * 1_000)).await;
        push(b, lines("right", step, at_ms - 5_000 + step as i64 * 1_000)).await;
    }
    let all = 2.0 * 5.0 * SERIES as f64;
    let both = "sum(count_over_time(left%5B1h%5D))%2Bsum(count_over_time(right%5B1h%5D))";
    for server in [a, b] {
        let what = format!("{} has what came at both", server.name);
        eventually(&what, async || {
            (value(server, both).await - all).abs() < 0.5
        })
        .await;
    }
    // Each keeps its own alone.
    let exported = b.get("/api/v1/export?match[]=left&tenant=t").await;
    assert_eq!(exported.text().await.expect("text"), "");
    // The newest may lack what the archive shows later, which is said.
    let answer = ask(b, &format!("/api/v1/query?query={both}")).await;
    let warning = answer["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("partial: newest samples of series sent elsewhere"));
    let past = ask(
        b,
        &format!("/api/v1/query?query={both}&time={}", at_ms / 1_000 - 900),
    )
    .await;
    assert!(past.get("warnings").is_none(), "{past}");
    // A range, windows, names and the list of series.
    let span = format!("start={}&end={}&step=1s", at_ms - 10_000, at_ms + 1_000);
    let range = ask(
        b,
        &format!("/api/range?match=left&agg=count&limit=1000&{span}"),
    )
    .await;
    let series = range["series"].as_array().expect("series");
    assert_eq!(series.len(), SERIES);
    for one in series {
        let points = one["points"].as_array().expect("points");
        let count: f64 = points.iter().filter_map(|point| point[1].as_f64()).sum();
        assert!((count - 5.0).abs() < 1e-9, "{one}");
    }
    let windows = ask(b, "/api/windows?match=left").await;
    assert_eq!(windows.as_array().map(Vec::len), Some(SERIES), "{windows}");
    assert_eq!(windows[0]["windows"][2]["count"], 5, "{windows}");
    let named = ask(b, "/api/v1/label/__name__/values?limit=100").await;
    let names = named["data"].as_array().expect("names");
    assert!(names.contains(&json!("left")) && names.contains(&json!("right")));
    let mut listed = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = ask(b, &format!("/api/series?limit=150{after}")).await;
        for one in page["series"].as_array().expect("series") {
            let key = one["key"].as_str().expect("a key").to_owned();
            assert!(listed.insert(key), "each once");
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        let next: String = url_encoded(next);
        after = format!("&after={next}");
    }
    assert_eq!(listed.len(), 2 * SERIES);
    let several = async |server: &Server| {
        let service = server.json("/api/cluster").await;
        assert_eq!(service["mode"], "sharded");
        service["series_at_several"].as_u64()
    };
    eventually("no series is at both", async || several(a).await == Some(0)).await;
    // Some senders go to both.
    eventually("what is at both is said", async || {
        for server in [a, b] {
            push(server, lines("left", 9, now_ms())).await;
        }
        several(a).await == Some(SERIES as u64) && several(b).await == Some(SERIES as u64)
    })
    .await;
    // Only the archive could delete.
    let url = format!(
        "http://{}/api/v1/admin/tsdb/delete_series?match[]=left&tenant=t",
        b.address
    );
    let refused = b.http.post(url).send().await.expect("an answer");
    assert_eq!(refused.status(), 501);
}

fn url_encoded(text: &str) -> String {
    let bytes = text.bytes();
    bytes.map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn rules_and_watched_expressions_are_of_what_came_in_anywhere() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yml");
    let rules = "groups:\n- name: g\n  interval: 1s\n  query_offset: 1s\n  rules:\n  - record: whole\n    expr: sum(load)\n  - alert: Much\n    expr: sum(load) > 2\n";
    std::fs::write(&file, rules).expect("written");
    let file = file.to_str().expect("a path");
    let service = Service::start(&redis, &[("RULE_FILES", file)]).await;
    let [a, b] = &service.pair;
    let mut watched = watching(b, json!({"query": "sum(load)", "step_ms": 500})).await;
    let push_one = async |server: &Server, host: &str| {
        let url = format!("http://{}/push", server.address);
        let line = format!("load{{host=\"{host}\"}} 2 {}\n", now_ms());
        let sent = server.http.post(url).body(line).send().await;
        assert_eq!(sent.expect("an answer").status(), 200);
    };
    // Watched of another tenant, which has none of it.
    let began = Instant::now();
    let mut own = b.socket("/ws").await;
    own.say(json!({"action": "watch", "query": "sum(load)", "step_ms": 500}))
        .await;
    own.next_of("watched").await;
    sends_on(a, 2.0).await;
    push_one(a, "a").await;
    push_one(b, "b").await;
    let whole = loop {
        let message = own.next_of("samples").await;
        let whole = message["series"][0]["points"][0][1].as_f64();
        if whole == Some(4.0) {
            break whole;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{message}");
    };
    assert_eq!(whole, Some(4.0));
    for server in [a, b] {
        eventually("the rule's samples are of both", async || {
            let answer = server.json("/api/v1/query?query=whole").await;
            answer["data"]["result"][0]["value"][1] == "4"
        })
        .await;
        eventually("the alert fires", async || {
            let answer = server
                .json("/api/v1/query?query=ALERTS%7Balertname=%22Much%22%7D")
                .await;
            answer["data"]["result"][0]["metric"]["alertstate"] == "firing"
        })
        .await;
    }
    // Nothing of another tenant's came there.
    watched
        .say(json!({"action": "unwatch", "query": "sum(load)"}))
        .await;
    loop {
        let message = watched.next().await.expect("it is open");
        assert_ne!(message["type"], "samples", "{message}");
        if message["type"] == "unwatched" {
            break;
        }
    }
}

#[tokio::test]
async fn without_redis_a_server_shows_its_own_and_with_it_again_all() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::start();
    let service = Service::start(&redis, &[]).await;
    let [a, b] = &service.pair;
    let mut socket = watching(b, json!({"match": "load"})).await;
    sends_on(a, 1.0).await;
    let until = async |socket: &mut Socket, key: &str| {
        loop {
            let message = socket.next_of("samples").await;
            if message["series"][0]["key"] == *key {
                return;
            }
        }
    };
    push(a, format!("load{{of=\"a\"}} 1 {}\n", now_ms())).await;
    until(&mut socket, "load{of=\"a\"}").await;
    redis.kill();
    for server in [a, b] {
        eventually("it goes on alone", async || {
            server.state().await.1 == "alone"
        })
        .await;
    }
    push(b, format!("load{{of=\"b\"}} 1 {}\n", now_ms())).await;
    until(&mut socket, "load{of=\"b\"}").await;
    redis.again();
    for server in [a, b] {
        server.is_joined_by(2).await;
    }
    eventually("what comes to the other is seen again", async || {
        push(a, format!("load{{of=\"again\"}} 1 {}\n", now_ms())).await;
        let next = tokio::time::timeout(Duration::from_millis(300), socket.next_of("samples"));
        next.await
            .is_ok_and(|message| message["series"][0]["key"] == "load{of=\"again\"}")
    })
    .await;
}

#[tokio::test]
async fn one_that_keeps_samples_in_another_way_does_not_become_ready() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let service = Service::start(&redis, &[]).await;
    let odd = Server::start("odd", &redis, &[("METRIC_SOURCE", "none")]);
    let mut said = String::new();
    eventually("it says that it keeps samples in another way", async || {
        let answer = odd.get("/readyz").await;
        let status = answer.status();
        said = answer.text().await.expect("text");
        status == 503 && said.contains("CLUSTER_MODE=sharded")
    })
    .await;
    assert_eq!(service.pair[0].state().await.0, 200, "{said}");
}

#[test]
fn a_start_says_what_is_missing() {
    for (more, said) in [
        (
            &[][..],
            "CLUSTER_MODE=sharded is for several servers, and needs REDIS_URL",
        ),
        (
            &[("REDIS_URL", "redis://127.0.0.1:1")][..],
            "it needs ARCHIVE_WRITE_URL",
        ),
        (
            &[
                ("REDIS_URL", "redis://127.0.0.1:1"),
                ("ARCHIVE_WRITE_URL", "http://127.0.0.1:1/api/v1/write"),
            ][..],
            "it needs ARCHIVE_READ_URL",
        ),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_pulseboard"))
            .env_clear()
            .env("CLUSTER_MODE", "sharded")
            .env("DATA_DIR", "memory")
            .envs(more.iter().copied())
            .output()
            .expect("it runs");
        let words = String::from_utf8(ended.stderr).expect("text");
        assert_eq!(ended.status.code(), Some(2), "{words}");
        assert!(words.contains(said), "{words}");
    }
}
