//! Several servers that have the same samples and one archive: one of them sends a tenant's, and
//! another goes on when that one is gone. The archive is a Pulseboard of its own. Without
//! redis-server this is said and passed over.

#![cfg(unix)]

mod servers;

use serde_json::Value;

use crate::servers::{Redis, Server, eventually, has_redis};

const SERIES: usize = 50;

/// A counter or gauge of the server itself; 0 where it is not there.
async fn own(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.text().await.expect("text");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse::<f64>().expect("a number") as u64)
}

/// Gives one of them samples, which all have then.
async fn push(server: &Server, at_ms: i64) {
    let lines = (0..SERIES).map(|one| format!("m{{series=\"{one}\"}} 1 {at_ms}\n"));
    let body: String = lines.collect();
    let url = format!("http://{}/push?tenant=t", server.address);
    let sent = server.http.post(url).body(body).send().await;
    assert_eq!(sent.expect("an answer").status(), 200);
}

async fn archived(store: &Server) -> f64 {
    let query = "/api/v1/query?query=sum(count_over_time(m%7Btenant=%22t%22%7D%5B1h%5D))";
    let answer: Value = store.json(query).await;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("small")
}

#[tokio::test]
async fn one_server_sends_a_tenants_samples_and_another_goes_on_when_it_is_gone() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let store = Server::start("store", &redis, &[("REDIS_PREFIX", "store")]);
    store.is_joined_by(1).await;
    let url = format!("http://{}/api/v1/write", store.address);
    let more = [("ARCHIVE_WRITE_URL", &*url), ("METRIC_SOURCE", "none")];
    let mut pair = ["a", "b"].map(|name| Server::start(name, &redis, &more));
    for server in &pair {
        server.is_joined_by(2).await;
    }
    eventually("both hold about half of the leases", async || {
        let [a, b] = &pair;
        let held = "pulseboard_leases_held";
        let (a, b) = (own(a, held).await, own(b, held).await);
        a >= 20 && b >= 20 && a + b >= 64
    })
    .await;
    let begin_ms = now_ms();
    for step in 0..4 {
        push(&pair[step as usize % 2], begin_ms + step).await;
    }
    let all = 4 * SERIES as u64;
    let left = "pulseboard_archive_left_to_others_total";
    let sent = "pulseboard_archive_sent_total";
    // Each has a few figures of its own besides, and sends again what it may have to.
    eventually("one sends, and the other does not", async || {
        let [a, b] = &pair;
        let sent = [own(a, sent).await, own(b, sent).await];
        let left = [own(a, left).await, own(b, left).await];
        let sends = |one: usize, other: usize| {
            sent[one] >= all && left[other] >= all && sent[other] < all && left[one] < all
        };
        sends(0, 1) || sends(1, 0)
    })
    .await;
    eventually("the archive has all", async || {
        (archived(&store).await - all as f64).abs() < 0.5
    })
    .await;
    // The one that sends goes without a word.
    let is_a = own(&pair[0], sent).await >= all;
    let sender = &mut pair[usize::from(!is_a)];
    sender.child.kill().expect("it runs");
    sender.child.wait().expect("it ended");
    let other = &pair[usize::from(is_a)];
    push(other, begin_ms + 4).await;
    eventually("the other sends, and again what it held", async || {
        own(other, sent).await >= all + SERIES as u64
    })
    .await;
    eventually("the archive has all of it once", async || {
        (archived(&store).await - (all + SERIES as u64) as f64).abs() < 0.5
    })
    .await;
}
