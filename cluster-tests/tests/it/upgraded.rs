//! One server after the other is stopped and started again, behind a balancer.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use pulseboard_cluster_tests::{Audience, Balancer, Engine, Redis, Replica, ask};
use tokio::{sync::watch, task::JoinHandle};

use crate::SOON;

const VIEWERS: usize = 120;

/// The close code of a server that is about to stop.
const RESTARTING: u16 = 1012;

/// Tries that a client makes before it tells its user.
const TRIES: usize = 3;

/// nginx leaves one that did not answer alone for two seconds; where all of them are left alone at
/// once nobody is let in.
const BEHIND_NGINX: Duration = Duration::from_secs(3);

/// Asks all the time; what was answered in the end, by status (0: nothing).
fn asking(address: String) -> (watch::Sender<bool>, JoinHandle<BTreeMap<u16, usize>>) {
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        let mut due = tokio::time::interval(Duration::from_millis(20));
        while !*stopped.borrow() {
            due.tick().await;
            let mut status = 0;
            for attempt in 0..TRIES {
                tokio::time::sleep(Duration::from_millis(100) * attempt as u32).await;
                let answer = ask(&address, "/api/stats").await;
                status = answer.map_or(0, |answer| answer.status().as_u16());
                if status == 200 {
                    break;
                }
            }
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    });
    (stop, task)
}

/// Has one after the other stopped and started again, so long after the one before it was ready.
async fn upgraded(replicas: &mut [Replica], front: &Balancer, apart: Duration) -> Result<()> {
    let addresses = [front.address()];
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &addresses);
    audience.hears(SOON).await?;
    audience.forgets_silence();
    let (stop, asked) = asking(front.address());
    for place in 0..replicas.len() {
        tokio::time::sleep(apart).await;
        let ended = replicas[place].stop().await?;
        ensure!(
            ended.success(),
            "{} ended with {ended}",
            replicas[place].name()
        );
        replicas[place].again().await?;
        for replica in &*replicas {
            replica.is_joined_by(3).await?;
        }
    }
    audience.hears(Duration::from_secs(3)).await?;
    let silence = audience.silence_p99();
    stop.send_replace(true);
    let statuses = asked.await?;
    let seen = audience.finish().await?;
    eprintln!("without ticks for {silence:?}; answers {statuses:?}");
    ensure!(statuses.keys().all(|status| *status == 200), "{statuses:?}");
    ensure!(seen.epochs.len() == 1 && seen.snapshots == 0, "{seen:?}");
    ensure!(
        seen.epochs.iter().all(|epochs| epochs.len() == 1),
        "{seen:?}"
    );
    ensure!(silence < Duration::from_secs(3), "{silence:?}");
    let without_word = seen.closes.iter().filter(|(code, _)| **code != RESTARTING);
    ensure!(without_word.count() == 0, "{:?}", seen.closes);
    ensure!(seen.reopened >= VIEWERS, "each had to come back: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_behind_haproxy_costs_nothing() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    // haproxy asks each second, and believes the second answer.
    let url = redis.url();
    let settings = [("REDIS_URL", &*url)];
    let mut replicas = Replica::several(3, &settings).await?;
    match Balancer::haproxy(&replicas, false).await? {
        Some(front) => upgraded(&mut replicas, &front, Duration::ZERO).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_behind_nginx_costs_nothing() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let redis = Redis::start(&program, &[]).await?;
    // As `deploy/nginx.conf` says: nginx cannot be told that a server is about to stop.
    let url = redis.url();
    let settings = [("REDIS_URL", &*url), ("DRAIN_SEC", "0")];
    let mut replicas = Replica::several(3, &settings).await?;
    match Balancer::nginx(&replicas, false).await? {
        Some(front) => upgraded(&mut replicas, &front, BEHIND_NGINX).await,
        None => Ok(()),
    }
}
