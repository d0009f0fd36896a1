//! A server is killed, and started again, under viewers who come through haproxy.

use std::time::Duration;

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Balancer, Engine, Redis, Replica, Speaker};

use crate::SOON;

const VIEWERS: usize = 120;
const STREAMS: usize = 30;
const MEMBERS: usize = 30;

async fn killed(engine: Engine) -> Result<()> {
    let Some(program) = engine.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    let mut replicas = Replica::several(3, &[("REDIS_URL", &redis.url())]).await?;
    let Some(front) = Balancer::haproxy(&replicas, false).await? else {
        return Ok(());
    };
    let addresses = [front.address()];
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    audience.watch_events(STREAMS, &addresses);
    audience.join("lobby", MEMBERS, &addresses);
    audience.hears(SOON).await?;
    audience.count_in("lobby", MEMBERS as u64, SOON).await?;
    audience.forgets_silence();

    for round in 0..3 {
        replicas[round].kill().await?;
        // Its viewers are elsewhere, and counted there.
        audience.hears(Duration::from_secs(3)).await?;
        let counted = audience
            .count_in("lobby", MEMBERS as u64, Duration::from_secs(7))
            .await?;
        let silence = audience.silence_p99();
        eprintln!("round {round}: without ticks for {silence:?}, counted after {counted:?}");
        ensure!(
            silence < Duration::from_secs(3),
            "round {round}: {silence:?}"
        );
        // Whoever speaks now is heard by all.
        let mut speaker = Speaker::at(&replicas[(round + 1) % 3].address(), "lobby");
        let (heard, said) = tokio::join!(audience.hears_in("lobby", SOON), speaker.go_on(5, 20));
        heard?;
        let () = said;
        replicas[round].again().await?;
        for replica in &replicas {
            replica.is_joined_by(3).await?;
        }
    }
    let seen = audience.finish().await?;
    ensure!(seen.epochs.len() == 1, "one epoch for all: {seen:?}");
    let epochs = seen.epochs.iter().next().map_or(0, Vec::len);
    ensure!(epochs == 1, "and all the time: {seen:?}");
    ensure!(seen.snapshots == 0, "nobody began anew: {seen:?}");
    ensure!(
        seen.reopened > VIEWERS / 2,
        "viewers had to come back: {seen:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_no_tick() -> Result<()> {
    killed(Engine::Redis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_no_tick_with_valkey() -> Result<()> {
    killed(Engine::Valkey).await
}
