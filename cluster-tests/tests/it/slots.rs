//! A Redis Cluster: a primary is killed, and slots move, under rooms of many tenants.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Engine, RedisCluster, Replica, Speaker};

use crate::SOON;

const VIEWERS: usize = 60;
const ROOMS: usize = 32;

/// What the cluster itself needs until a copy has taken its primary's place, on a busy machine.
const PROMOTED_WITHIN: Duration = Duration::from_secs(25);

/// All rooms hear somebody from now on; how long that took.
async fn all_hear(audience: &Audience, address: &str, within: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut hearing = Vec::new();
    for number in 0..ROOMS {
        let room = format!("t{number}@lobby");
        let mut speaker = Speaker::at(address, &room);
        hearing.push(async move {
            let heard = audience.hears_in(&room, within);
            let speaks = async {
                // Said until it was heard: what was said while nobody could is said again.
                speaker.go_on(usize::MAX, 2).await;
                anyhow::Ok(Duration::ZERO)
            };
            tokio::select! {
                heard = heard => heard,
                never = speaks => never,
            }
        });
    }
    for heard in futures_util::future::join_all(hearing).await {
        heard?;
    }
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask test-cluster --all"]
async fn nobody_is_deaf_after_a_primary_died_and_slots_moved() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let mut cluster = RedisCluster::start(&program).await?;
    let mut replicas = Replica::several(2, &[("REDIS_URL", &cluster.url())]).await?;
    let addresses: Vec<String> = replicas.iter().map(Replica::address).collect();
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    for number in 0..ROOMS {
        audience.join(&format!("t{number}@lobby"), 2, &addresses);
    }
    audience.hears(SOON).await?;
    all_hear(&audience, &addresses[0], SOON).await?;

    for _ in 0..2 {
        let primary = cluster.primaries().await?[0];
        cluster.kill(primary).await?;
        let took = all_hear(&audience, &addresses[0], PROMOTED_WITHIN).await?;
        eprintln!("all rooms were heard {took:?} after a primary was killed");
        cluster.again(primary).await?;
        cluster.is_well().await?;
        audience.hears(SOON).await?;
    }
    let primaries = cluster.primaries().await?;
    for (place, from) in primaries.iter().enumerate() {
        let to = primaries[(place + 1) % primaries.len()];
        let slot = cluster.move_a_room(*from, to).await?;
        let took = all_hear(&audience, &addresses[1], SOON).await?;
        eprintln!("all rooms were heard {took:?} after slot {slot:?} had moved");
        ensure!(took < Duration::from_secs(8), "{took:?}");
    }
    for replica in &mut replicas {
        ensure!(replica.runs()?, "{} was not restarted", replica.name());
    }
    audience.finish().await?;
    Ok(())
}
