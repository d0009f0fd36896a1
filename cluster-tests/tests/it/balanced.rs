//! Every request and every stream comes to any of the servers, in turn.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use pulseboard_cluster_tests::{
    Audience, Balancer, Engine, Redis, Replica, Speaker, ask, eventually,
};
use serde_json::Value;

use crate::SOON;

const BROWSERS: usize = 50;

async fn json_of(front: &Balancer, path: &str) -> Result<Value> {
    Ok(ask(&front.address(), path)
        .await?
        .error_for_status()?
        .json()
        .await?)
}

/// Where somebody who asks finds the newest ticks: places and contents.
async fn newest(front: &Balancer) -> Result<Vec<Value>> {
    let answer = json_of(front, "/api/metrics/recent?count=40").await?;
    answer.as_array().cloned().context("a list")
}

async fn balanced(replicas: &[Replica], front: &Balancer) -> Result<()> {
    let addresses = [front.address()];
    let mut audience = Audience::default();
    audience.watch(BROWSERS, &addresses);
    audience.watch_events(BROWSERS / 5, &addresses);
    audience.join("lobby", BROWSERS, &addresses);
    audience.hears(SOON).await?;
    audience.agrees(SOON).await?;
    audience.count_in("lobby", BROWSERS as u64, SOON).await?;
    for replica in replicas {
        let open = replica.json("/readyz").await?["streams"]
            .as_u64()
            .unwrap_or_default();
        ensure!(
            open >= BROWSERS as u64 / 4,
            "{} has {open} of the streams",
            replica.name()
        );
    }

    // Whoever says something at any server is heard at all.
    let mut speaker = Speaker::at(&front.address(), "lobby");
    let (heard, ()) = tokio::join!(audience.hears_in("lobby", SOON), speaker.go_on(20, 50));
    heard?;

    // Two questions in a row come to two servers, which say the same of the same moments.
    let mut compared = 0;
    for _ in 0..10 {
        let (one, other) = (newest(front).await?, newest(front).await?);
        let texts = |of: &[Value]| of.iter().map(Value::to_string).collect::<BTreeSet<_>>();
        let (one, other) = (texts(&one), texts(&other));
        let common = one.intersection(&other).count();
        // Between them a tick may have come.
        ensure!(
            common + 8 >= one.len(),
            "{common} of {} are the same",
            one.len()
        );
        compared += common;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(compared > 0, "something was compared");

    // Totals are those of all servers.
    let mut totals = Vec::new();
    for replica in replicas {
        let figures = replica.json("/api/metrics").await?;
        totals.push(figures["requests_total"].as_u64().context("a total")?);
    }
    eventually("totals are of all servers", SOON, async || {
        let mut now = Vec::new();
        for replica in replicas {
            now.push(replica.json("/api/metrics").await?["requests_total"].clone());
        }
        let now: Vec<u64> = now.iter().filter_map(Value::as_u64).collect();
        let spread = now
            .iter()
            .max()
            .zip(now.iter().min())
            .map_or(0, |(max, min)| max - min);
        let has_grown = now.iter().zip(&totals).all(|(now, before)| now >= before);
        Ok(now.len() == replicas.len() && spread < 50 && has_grown)
    })
    .await?;

    let seen = audience.finish().await?;
    ensure!(seen.epochs.len() == 1 && seen.reopened == 0, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_will_do_behind_haproxy() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    let replicas = Replica::several(2, &[("REDIS_URL", &redis.url())]).await?;
    match Balancer::haproxy(&replicas, true).await? {
        Some(front) => balanced(&replicas, &front).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_will_do_behind_nginx() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    let replicas = Replica::several(2, &[("REDIS_URL", &redis.url())]).await?;
    match Balancer::nginx(&replicas, true).await? {
        Some(front) => balanced(&replicas, &front).await,
        None => Ok(()),
    }
}
