//! The primary of a Redis that sentinels watch is killed, and its copy takes its place.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Engine, Redis, Replica, Sentinels, Speaker, eventually};

use crate::SOON;

const VIEWERS: usize = 100;
const MEMBERS: usize = 10;
const ROUNDS: usize = 2;

/// What sentinels need on a machine that is busy, an election or two among it; the rest is ours.
const PROMOTED_WITHIN: Duration = Duration::from_secs(20);

/// From there on everybody has to be back in the epoch of all.
const BACK_WITHIN: Duration = Duration::from_secs(4);

async fn failover(engine: Engine) -> Result<()> {
    let Some(program) = engine.program() else {
        return Ok(());
    };
    let mut primary = Redis::start(&program, &[]).await?;
    let port = primary.port().to_string();
    let mut copy = Redis::start(&program, &["--replicaof", "127.0.0.1", &port]).await?;
    let sentinels = Sentinels::watching(&program, &primary, &copy).await?;
    let mut replicas = Replica::several(2, &[("REDIS_URL", &sentinels.url())]).await?;
    let addresses: Vec<String> = replicas.iter().map(Replica::address).collect();
    let ids: Vec<Option<u32>> = replicas.iter().map(Replica::id).collect();
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    audience.join("lobby", MEMBERS, &addresses);
    audience.hears(SOON).await?;
    audience.agrees(SOON).await?;
    let speaking = tokio::spawn({
        let mut speaker = Speaker::at(&addresses[0], "lobby");
        async move { speaker.go_on(usize::MAX, 50).await }
    });

    for round in 0..ROUNDS {
        audience.hears_in("lobby", SOON).await?;
        let killed = Instant::now();
        primary.kill().await?;
        eventually("the copy is the primary", PROMOTED_WITHIN, async || {
            copy.is_primary().await
        })
        .await?;
        let promoted = killed.elapsed();
        let joined = async {
            for replica in &replicas {
                replica.is_joined_by(2).await?;
            }
            audience.agrees(BACK_WITHIN).await?;
            audience.hears(BACK_WITHIN).await
        };
        let back = tokio::time::timeout(BACK_WITHIN, joined).await;
        eprintln!(
            "round {round}: promoted {promoted:?} after the kill, all {:?}",
            killed.elapsed()
        );
        back??;
        audience.hears_in("lobby", SOON).await?;
        // What was the primary becomes the copy.
        primary.again_as_copy_of(copy.port()).await?;
        std::mem::swap(&mut primary, &mut copy);
        sentinels.know_the_copy().await?;
    }
    speaking.abort();
    for (replica, id) in replicas.iter_mut().zip(ids) {
        ensure!(
            replica.runs()? && replica.id() == id,
            "{} was not restarted",
            replica.name()
        );
    }
    let seen = audience.finish().await?;
    ensure!(seen.reopened == 0, "no socket was closed for it: {seen:?}");
    ensure!(seen.snapshots == 0, "{seen:?}");
    // Those that everybody was in are the service's; while Redis was away each server had its own.
    let all: Vec<BTreeSet<&String>> = seen.epochs.iter().map(|one| one.iter().collect()).collect();
    let shared = all
        .iter()
        .cloned()
        .reduce(|one, other| &one & &other)
        .unwrap_or_default();
    let begun = shared.len();
    ensure!(
        begun == ROUNDS + 1,
        "one epoch more for each failover: {shared:?} of {seen:?}"
    );
    for epochs in &seen.epochs {
        let times = epochs.iter().filter(|epoch| shared.contains(epoch)).count();
        ensure!(times == begun, "none of them comes again: {epochs:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_one_epoch_more() -> Result<()> {
    failover(Engine::Redis).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_one_epoch_more_with_valkey() -> Result<()> {
    failover(Engine::Valkey).await
}
