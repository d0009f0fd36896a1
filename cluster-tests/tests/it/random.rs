//! Half an hour in which anything happens, in an order that a seed gives: `CLUSTER_SEED` repeats
//! one, `CLUSTER_MINUTES` makes it longer or shorter.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use pulseboard_cluster_tests::{Audience, Balancer, Engine, Link, Redis, Replica, Speaker};

const VIEWERS: usize = 80;
const STREAMS: usize = 20;
const MEMBERS: usize = 20;
const REPLICAS: usize = 3;

/// After anything that happened everybody has ticks again within this: what balancers, members
/// that count as dead and a failed opening take together.
const WELL_AGAIN_WITHIN: Duration = Duration::from_secs(12);

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A server is killed and started again.
    Kill,
    /// A server is asked to stop, and started again.
    Stop,
    /// A server stands still.
    Pause,
    /// A server's connections to Redis end, and no new one can be made.
    Cut,
    /// Nothing comes over them.
    Hold,
    /// Nothing comes over the one for messages.
    Deafen,
    /// Redis is killed, and starts with nothing.
    Restart,
    /// Redis is killed, and starts a while later.
    Away,
}

const EVENTS: [Event; 8] = [
    Event::Kill,
    Event::Stop,
    Event::Pause,
    Event::Cut,
    Event::Hold,
    Event::Deafen,
    Event::Restart,
    Event::Away,
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: cargo xtask test-cluster --all"]
async fn whatever_happens_no_place_has_two_contents() -> Result<()> {
    let Some(program) = Engine::Redis.program() else {
        return Ok(());
    };
    let seed = number("CLUSTER_SEED", fastrand::u64(..));
    let until = Instant::now() + Duration::from_secs(60 * number("CLUSTER_MINUTES", 30));
    eprintln!("CLUSTER_SEED={seed}");
    let mut chance = Rng::with_seed(seed);
    let mut redis = Redis::start(&program, &[]).await?;
    let mut links = Vec::new();
    let mut replicas = Vec::new();
    for name in ["a", "b", "c"].iter().take(REPLICAS) {
        let link = Link::before(redis.port()).await?;
        let url = link.url();
        let settings = [("REDIS_URL", &*url), ("DRAIN_SEC", "2")];
        replicas.push(Replica::start(name, &settings).await?);
        links.push(link);
    }
    for replica in &replicas {
        replica.is_joined_by(REPLICAS as u64).await?;
    }
    let Some(front) = Balancer::haproxy(&replicas, false).await? else {
        return Ok(());
    };
    let mut audience = Audience::default();
    audience.watch(VIEWERS, &[front.address()]);
    audience.watch_events(STREAMS, &[front.address()]);
    audience.join("lobby", MEMBERS, &[front.address()]);
    audience.hears(WELL_AGAIN_WITHIN).await?;
    let speaking = tokio::spawn({
        let mut speaker = Speaker::at(&front.address(), "lobby");
        async move { speaker.go_on(usize::MAX, 20).await }
    });

    let mut happened = 0;
    while Instant::now() < until {
        let event = EVENTS[chance.usize(..EVENTS.len())];
        let place = chance.usize(..REPLICAS);
        let lasts = Duration::from_millis(chance.u64(300..7_000));
        let what = format!(
            "{happened}: {event:?} of {} for {lasts:?}",
            replicas[place].name()
        );
        eprintln!("{what}");
        let (replica, link) = (&mut replicas[place], &links[place]);
        match event {
            Event::Kill => {
                replica.kill().await?;
                tokio::time::sleep(lasts).await;
                replica.again().await?;
            }
            Event::Stop => {
                let ended = replica.stop().await?;
                ensure!(ended.success(), "{what}: {ended}");
                replica.again().await?;
            }
            Event::Pause => {
                replica.pause()?;
                tokio::time::sleep(lasts).await;
                replica.go_on()?;
            }
            Event::Cut | Event::Hold | Event::Deafen => {
                match event {
                    Event::Cut => link.cut(),
                    Event::Hold => link.hold(),
                    _ => link.hold_newest(),
                }
                tokio::time::sleep(lasts).await;
                link.mend();
            }
            Event::Restart => redis.again().await?,
            Event::Away => {
                redis.kill().await?;
                tokio::time::sleep(lasts).await;
                redis.again().await?;
            }
        }
        happened += 1;
        // Sometimes the next one comes before this one is over.
        if chance.u8(..4) == 0 {
            continue;
        }
        for replica in &replicas {
            replica
                .is_joined_by(REPLICAS as u64)
                .await
                .with_context(|| what.clone())?;
        }
        audience
            .hears(WELL_AGAIN_WITHIN)
            .await
            .with_context(|| what.clone())?;
        audience
            .agrees(WELL_AGAIN_WITHIN)
            .await
            .with_context(|| what.clone())?;
    }
    speaking.abort();
    for replica in &replicas {
        replica.is_joined_by(REPLICAS as u64).await?;
    }
    audience.agrees(WELL_AGAIN_WITHIN).await?;
    let seen = audience.finish().await?;
    eprintln!("{happened} events: {} places compared", seen.places);
    Ok(())
}
