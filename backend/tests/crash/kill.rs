//! Kills at random moments; nothing that was acknowledged is lost, and nothing is there twice.

use std::{
    net::UdpSocket,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde_json::Value;

use crate::{
    senders::{ENDPOINTS, Sent, TENANTS, Tracked, send, track, value},
    server::{Server, now_ms, rounds},
};

/// Asserts that what a sender was told is safe is there, and nothing that it did not send.
pub(crate) async fn assert_kept(server: &Server, sent: &Sent) {
    let samples = server.samples(sent.tenant, &sent.name, sent.start_ms).await;
    let there = i64::try_from(samples.len()).expect("few");
    assert!(
        there >= sent.acknowledged,
        "{sent:?}: {there} samples are there"
    );
    assert!(there <= sent.sent, "{sent:?}: {there} samples are there");
    for (number, sample) in (0..).zip(samples) {
        let expected = (sent.start_ms + number, value(sent.tenant, number));
        assert_eq!(sample, expected, "{sent:?}, sample {number}");
    }
}

/// One tenant sees none of another's names.
pub(crate) async fn assert_apart(server: &Server) {
    for (own, other) in [(TENANTS[0], TENANTS[1]), (TENANTS[1], TENANTS[0])] {
        let list = server
            .json(&format!("/api/series?tenant={own}&limit=1000"))
            .await;
        let names: Vec<&str> = list["series"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|series| series["name"].as_str())
            .collect();
        assert!(!names.is_empty());
        for name in names {
            assert!(name.contains(own) && !name.contains(other), "{own}: {name}");
        }
    }
}

/// The first message of a tenant's aggregate stream.
pub(crate) async fn totals(server: &Server, tenant: &str) -> Value {
    let url = format!("{}/dashboard/stream?tenant={tenant}", server.url);
    let mut answer = server.http.get(url).send().await.expect("an answer");
    let mut text = String::new();
    while !text.contains("\n\n") || !text.contains("data:") {
        let chunk = answer.chunk().await.expect("a chunk").expect("not the end");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data:"));
    let init: Value = serde_json::from_str(data.expect("data").trim()).expect("JSON");
    init["metrics"].clone()
}

/// Lets senders of all protocols and both tenants go on until the server is killed.
pub(crate) async fn ingest_and_kill(
    server: &mut Server,
    round: u32,
    after: Duration,
) -> (Vec<Sent>, Vec<Tracked>) {
    let stop = Arc::new(AtomicBool::new(false));
    // Times of several rounds never meet, as each has a name of its own.
    let start_ms = now_ms() - 60_000;
    let mut sending = tokio::task::JoinSet::new();
    let mut tracking = tokio::task::JoinSet::new();
    for tenant in TENANTS {
        for endpoint in ENDPOINTS {
            let (http, url) = (server.http.clone(), server.url.clone());
            sending.spawn(send(
                http,
                url,
                endpoint,
                tenant,
                round,
                start_ms,
                Arc::clone(&stop),
            ));
        }
        let (http, url) = (server.http.clone(), server.url.clone());
        tracking.spawn(track(http, url, tenant, Arc::clone(&stop)));
    }
    tokio::time::sleep(after).await;
    server.kill();
    (sending.join_all().await, tracking.join_all().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_any_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all: Vec<Sent> = Vec::new();
    let mut tracked: Vec<Tracked> = Vec::new();
    let mut server = Server::start(folder.path());
    for round in 0..rounds() {
        let after = Duration::from_millis(fastrand::u64(5..400));
        let (sent, items) = ingest_and_kill(&mut server, round, after).await;
        server = restart(folder.path(), round);
        for sent in &sent {
            assert_kept(&server, sent).await;
        }
        tracked.extend(items);
        all.extend(sent);
        for tenant in TENANTS {
            let of = tracked.iter().filter(|items| items.tenant == tenant);
            let (acknowledged, sent) = of.fold((0, 0), |(acknowledged, sent), items| {
                (acknowledged + items.acknowledged, sent + items.sent)
            });
            let totals = totals(&server, tenant).await;
            let item = &totals[format!("item_{tenant}")];
            let count = item["count"].as_u64().unwrap_or(0);
            assert!(
                (acknowledged..=sent).contains(&count),
                "{tenant}: {acknowledged} acknowledged, {sent} sent, {totals}"
            );
            assert_eq!(item["total"].as_f64().unwrap_or(0.0), count as f64);
            let names = totals.as_object().expect("an object").len();
            assert!(names <= 1, "{tenant}: {totals}");
        }
    }
    for sent in &all {
        assert_kept(&server, sent).await;
    }
    assert_apart(&server).await;
    let acknowledged: i64 = all.iter().map(|sent| sent.acknowledged).sum();
    assert!(acknowledged > 0, "nothing was acknowledged at all");
}

/// Now and then it is killed while it starts, too: on its way, or when it is just there.
fn restart(folder: &Path, round: u32) -> Server {
    match round % 5 {
        2 => Server::start_and_kill(folder, Duration::from_millis(fastrand::u64(1..40))),
        4 => Server::start(folder).kill(),
        _ => {}
    }
    Server::start(folder)
}

#[tokio::test]
async fn what_statsd_flushed_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("bound").port()
    };
    let address = format!("127.0.0.1:{port}");
    let settings = [("STATSD_ADDR", address.as_str())];
    let mut server = Server::start_with(folder.path(), &settings);
    // Nobody listens for datagrams before it answers.
    server.json("/healthz").await;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket
        .send_to(b"statsd_gauge:42|g\nstatsd_hits:3|c\n", &address)
        .expect("sent");
    let flushed = async |server: &Server, name: &str| {
        let list = server.json(&format!("/api/series?match={name}")).await;
        list["series"][0]["last"].as_f64()
    };
    server
        .eventually("it is flushed", async || {
            flushed(&server, "statsd_gauge").await == Some(42.0)
        })
        .await;
    // What is acknowledged later is behind it in the log.
    let (status, answer) = server.push("red", "behind 1".to_owned()).await;
    assert_eq!(status, 200, "{answer}");
    server.kill();
    let server = Server::start(folder.path());
    assert_eq!(flushed(&server, "statsd_gauge").await, Some(42.0));
    let hits = server.json("/api/series?search=statsd_hits").await;
    assert_eq!(hits["matched"], 1, "{hits}");
    let red = server.json("/api/series?tenant=red").await;
    assert_eq!(red["total"], 1, "{red}");
}
