//! A Redis that has no room for anything more.

use std::time::Duration;

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Engine, Redis, Replica, eventually};

use crate::SOON;

const VIEWERS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask test-cluster --all"]
async fn where_redis_is_full_it_is_said_and_ticks_come_all_the_same() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    let replicas = Replica::several(2, &[("REDIS_URL", &redis.url())]).await?;
    let addresses: Vec<String> = replicas.iter().map(Replica::address).collect();
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    audience.hears(SOON).await?;
    for round in 0..3 {
        // Less than it has already.
        redis.ask("CONFIG SET maxmemory 100kb").await?;
        for replica in &replicas {
            let took = replica.is_alone().await?;
            eprintln!("round {round}: {} is alone after {took:?}", replica.name());
        }
        // As long as it lasts there are ticks.
        for _ in 0..10 {
            audience.hears(Duration::from_secs(3)).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        redis.ask("CONFIG SET maxmemory 0").await?;
        let back = eventually("all are joined again", SOON, async || {
            for replica in &replicas {
                if replica.standing().await?.1 != "joined" {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
        audience.agrees(SOON).await?;
        eprintln!("round {round}: joined again {back:?} after there was room");
    }
    let seen = audience.finish().await?;
    ensure!(seen.reopened == 0, "{seen:?}");
    Ok(())
}
