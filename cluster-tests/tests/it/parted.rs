//! Servers and Redis are parted: connections end, or nothing comes over them, or nothing comes
//! over the one for messages.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Engine, Link, Redis, Replica, authorized, eventually};
use reqwest::Method;
use tokio::{sync::watch, task::JoinHandle};

use crate::SOON;

const VIEWERS: usize = 100;
const PARTED_FOR: Duration = Duration::from_secs(5);
const ALONE_WITHIN: Duration = Duration::from_secs(4);
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// Pushes samples to a server until it is told to stop; how many were taken.
fn pushing(address: &str) -> (watch::Sender<bool>, JoinHandle<Result<u64>>) {
    let url = format!("http://{address}/push");
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut due = tokio::time::interval(Duration::from_millis(100));
        let (mut sent, mut taken) = (0_u64, 0_u64);
        while !*stopped.borrow() {
            due.tick().await;
            // A hundred series, a sample each, ten times a second.
            sent += 1;
            let lines = (0..100).map(|series| format!("parted{{series=\"{series}\"}} {sent}\n"));
            let lines: String = lines.collect();
            let answer = authorized(Method::POST, &url).body(lines).send().await?;
            let answer = answer.error_for_status()?;
            ensure!(answer.status().is_success());
            taken += 100;
        }
        Ok(taken)
    });
    (stop, task)
}

async fn parted(engine: Engine) -> Result<()> {
    let Some(program) = engine.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    let links = [
        Link::before(redis.port()).await?,
        Link::before(redis.port()).await?,
    ];
    let a = Replica::start("a", &[("REDIS_URL", &links[0].url())]).await?;
    let b = Replica::start("b", &[("REDIS_URL", &links[1].url())]).await?;
    let replicas = [a, b];
    for replica in &replicas {
        replica.is_joined_by(2).await?;
    }
    let addresses: Vec<String> = replicas.iter().map(Replica::address).collect();
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    audience.hears(SOON).await?;
    audience.agrees(SOON).await?;
    let (stop, pushed) = pushing(&addresses[0]);

    for how in [Link::cut, Link::hold] {
        links.iter().for_each(how);
        let began = Instant::now();
        for replica in &replicas {
            let left = ALONE_WITHIN.saturating_sub(began.elapsed());
            let alone = tokio::time::timeout(left, replica.is_alone()).await;
            ensure!(
                alone.is_ok(),
                "{} is not alone within {ALONE_WITHIN:?}",
                replica.name()
            );
            let answer = replica.ask("/api/stats").await?;
            let degraded = answer.headers().get("pulseboard-degraded");
            ensure!(
                degraded.is_some_and(|of| of == "bus"),
                "{} says so",
                replica.name()
            );
        }
        let alone = began.elapsed();
        tokio::time::sleep(PARTED_FOR.saturating_sub(began.elapsed())).await;
        ensure!(
            audience.epochs().len() == 2,
            "each has its own: {:?}",
            audience.epochs()
        );
        links.iter().for_each(Link::mend);
        let began = Instant::now();
        for replica in &replicas {
            replica.is_joined_by(2).await?;
        }
        audience.agrees(BACK_WITHIN).await?;
        let back = began.elapsed();
        eprintln!("alone after {alone:?}, and back after {back:?}");
        ensure!(back < BACK_WITHIN, "back after {back:?}");
        audience.hears(SOON).await?;
    }

    // Of one server the connection for messages says nothing any more: its frames are read from
    // the stream, late and all of them.
    audience.forgets_silence();
    let before = audience.epochs();
    links[1].hold_newest();
    tokio::time::sleep(PARTED_FOR).await;
    audience.hears(Duration::from_secs(2)).await?;
    links[1].mend();
    audience.hears(SOON).await?;
    let silence = audience.silence_p99();
    eprintln!("messages held: without ticks for {silence:?}");
    ensure!(silence < Duration::from_secs(2), "{silence:?}");
    ensure!(audience.epochs() == before, "the epoch is the same");

    stop.send_replace(true);
    let taken = pushed.await??;
    ensure!(taken > 10_000, "samples were taken all the time: {taken}");
    let found = "/api/v1/query?query=sum(count_over_time(parted[10m]))";
    eventually("what was taken is found at any server", SOON, async || {
        for replica in &replicas {
            let answer = replica.json(found).await?;
            let value = answer["data"]["result"][0]["value"][1].as_str();
            if value.and_then(|value| value.parse().ok()) != Some(taken) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await?;
    let seen = audience.finish().await?;
    ensure!(seen.reopened == 0, "no socket was closed for it: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_parted_goes_on_alone_and_comes_back() -> Result<()> {
    parted(Engine::Redis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_parted_goes_on_alone_and_comes_back_with_valkey() -> Result<()> {
    parted(Engine::Valkey).await
}
