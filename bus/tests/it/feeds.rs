//! Feeds: the same on every server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pulseboard_bus::{Bus as _, FeedKey, Kind, Partition, Placed, Refused, State, key::KeptByKind};
use pulseboard_feed::Epoch;

use crate::support::{Recorder, RedisServer, Running, eventually, has, room, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_has_the_same_frames_in_the_same_order() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let (a, b) = Running::two(&redis.url()).await;
    let key = room("lobby");
    let (at_a, _keep_a) = a.hears(&key);
    let (at_b, _keep_b) = b.hears(&key);
    // What is published before that is read in pages, and a room keeps no 600 frames.
    eventually("both hear", || {
        at_a.told().resets.len() == 1 && at_b.told().resets.len() == 1
    })
    .await;
    for number in 0..300 {
        a.publish(&key, &format!("a{number}"));
        b.publish(&key, &format!("b{number}"));
    }
    eventually("all frames are at both", || {
        at_a.frames().len() == 600 && at_b.frames().len() == 600
    })
    .await;
    let (told_a, told_b) = (at_a.told(), at_b.told());
    assert_eq!(
        (told_a.epoch, &told_a.frames),
        (told_b.epoch, &told_b.frames)
    );
    // Those of one server are in its order.
    let of_a: Vec<String> = told_a
        .frames
        .iter()
        .filter(|frame| frame.starts_with('a'))
        .cloned()
        .collect();
    assert_eq!(of_a, texts("a", 0..300));
    assert_eq!(told_a.resets.len(), 1, "{:?}", told_a.resets);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_gets_what_is_held_and_who_comes_back_goes_on() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let key = room("lobby");
    for number in 0..5 {
        let frame = Bytes::from(format!("a{number}"));
        let told = a.bus.publish_told(&key, None, frame).expect("room for it");
        let placed = told.await.expect("it is there");
        assert!(
            matches!(placed, Placed::At { offset, .. } if offset == number + 1),
            "{placed:?}"
        );
    }
    let late = Running::connected(&redis.url(), "late").await;
    let (at_late, subscription) = late.hears(&key);
    eventually("all five are there", || {
        at_late.frames() == texts("a", 0..5)
    })
    .await;
    drop(subscription);
    a.publish(&key, "a5");
    let epoch = at_late.told().epoch;
    let after = Some((pulseboard_feed::Epoch(epoch), 3));
    let again = Recorder::new();
    // As a sink that knows 1 to 3 already.
    pulseboard_bus::FeedSink::reset(&*again, pulseboard_feed::Epoch(epoch), 4, Vec::new());
    let _keep = late.bus.subscribe_after(key, after, again.clone());
    eventually("it goes on behind the third", || {
        again.frames() == texts("a", 3..6)
    })
    .await;
    assert_eq!(again.told().resets.len(), 1);
    assert_eq!(
        at_late.frames(),
        texts("a", 0..5),
        "who left is told nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_moment_the_first_tick_is_the_only_one() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let b = Running::connected(&redis.url(), "b").await;
    let key = FeedKey::own(Kind::Tick);
    let publish = async |bus: &Running, moment, text: &'static str| {
        let frame = Bytes::from_static(text.as_bytes());
        let told = bus.bus.publish_told(&key, Some(moment), frame);
        told.expect("room").await.expect("an answer")
    };
    assert!(matches!(
        publish(&a, 1_000, "a1").await,
        Placed::At { offset: 1, .. }
    ));
    assert_eq!(publish(&b, 1_000, "b1").await, Placed::Late);
    assert_eq!(publish(&b, 500, "b0").await, Placed::Late);
    assert!(matches!(
        publish(&b, 2_000, "b2").await,
        Placed::At { offset: 2, .. }
    ));
    assert_eq!(publish(&a, 2_000, "a2").await, Placed::Late);
    assert!(matches!(
        publish(&a, 3_000, "a3").await,
        Placed::At { offset: 3, .. }
    ));
    let (sink, _keep) = a.hears(&key);
    eventually("three ticks", || sink.frames() == ["a1", "b2", "a3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_with_its_size() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let refused = a
        .bus
        .publish(&room("lobby"), None, Bytes::from(vec![0; 65_537]));
    let (bytes, max) = (65_537, 65_536);
    assert_eq!(refused, Err(Refused::TooLarge { bytes, max }));
    assert_eq!(
        a.bus
            .publish(&room("lobby"), None, Bytes::from(vec![0; 65_536])),
        Ok(())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_is_told_nothing_as_new_however_much_there_is() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    for (key, count) in [(room("lobby"), 200), (FeedKey::own(Kind::Alert), 900)] {
        let mut last = None;
        for number in 0..count {
            let frame = Bytes::from(format!("a{number}"));
            last = Some(a.bus.publish_told(&key, None, frame).expect("room for it"));
        }
        last.expect("some").await.expect("it is there");
        let late = Running::connected(&redis.url(), &format!("late{count}")).await;
        let at_late = Recorder::new();
        let _keep = late.bus.subscribe(key, at_late.clone());
        eventually("all are there", || at_late.frames() == texts("a", 0..count)).await;
        assert_eq!((at_late.told().news, at_late.told().resets.len()), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ingest_log_holds_so_many_bytes_and_who_comes_later_is_told_what_is_gone() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let server = Running::connected(&redis.url(), "a").await;
    let common = server.bus.common();
    common.bound_ingest(10_000);
    let key = Partition::of("a tenant").feed(Kind::Ingest);
    let text = "x".repeat(900);
    for number in 0..50 {
        server.publish(&key, &format!("{number} {text}"));
    }
    eventually("all are sent", || server.bus.is_flushed()).await;
    let tops = common.tops(std::slice::from_ref(&key)).await.expect("tops");
    let (epoch, top) = tops[0].expect("it has begun");
    assert_eq!(top, 50);
    let sink = Recorder::new();
    let _subscription = server
        .bus
        .subscribe_after(key, Some((epoch, 10)), sink.clone());
    eventually("it is told", || sink.frames().len() >= 5).await;
    let frames = sink.frames();
    assert!((5..=10).contains(&frames.len()), "{}", frames.len());
    assert!(frames.last().is_some_and(|last| last.starts_with("49 ")));
}

/// What is held by the count is what is held: also of what came before there was a bound, and where
/// there are more entries than may be.
#[tokio::test]
async fn what_the_ingest_log_holds_is_counted_byte_by_byte() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let server = Running::with(&redis.url(), "a", |settings| {
        let mut kept = Kind::Ingest.kept();
        kept.frames = 150;
        settings.kept = KeptByKind::default().with(Kind::Ingest, kept);
    });
    server.until(|state| *state == State::Connected).await;
    let common = server.bus.common();
    let key = Partition::of("a tenant").feed(Kind::Ingest);
    let text = "x".repeat(400);
    let publish = |count: usize| {
        for number in 0..count {
            server.publish(&key, &text[..100 + number % 300]);
        }
    };
    let look = async || {
        eventually("all are sent", || server.bus.is_flushed()).await;
        let stream = redis.cli(&["--scan", "--pattern", "*:in:*"]);
        let names: Vec<&str> = stream.lines().collect();
        let is_stream = |name: &&&str| redis.cli(&["type", name]) == "stream";
        let stream = names.iter().find(is_stream).expect("a stream");
        let meta = names.iter().find(|name| !is_stream(name)).expect("a meta");
        let counted: usize = redis.cli(&["hget", meta, "y"]).parse().expect("a count");
        let held = redis.cli(&["xrange", stream, "-", "+"]);
        let held: Vec<usize> = held
            .lines()
            .filter(|line| line.starts_with('x'))
            .map(|line| line.len() + 100)
            .collect();
        assert_eq!(counted, held.iter().sum::<usize>());
        (held.len(), counted)
    };
    publish(100);
    assert_eq!(look().await.0, 100);
    publish(600);
    assert_eq!(look().await.0, 150, "no more entries than may be");
    common.bound_ingest(10_000);
    publish(20);
    let (entries, bytes) = look().await;
    assert!(bytes <= 10_000 && entries > 10, "{entries} of {bytes}");
}

/// A feed that goes on after a failover is told from one that began anew, however much it has.
#[tokio::test]
async fn a_feed_says_with_which_epoch_it_began() {
    if !has("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&["--enable-debug-command", "yes"]);
    let server = Running::connected(&redis.url(), "a").await;
    let common = server.bus.common();
    let key = Partition::of("a tenant").feed(Kind::Ingest);
    assert_eq!(common.born(&key).await, Ok(None));
    // What it began with, and its epoch; that one is not told while another is about to begin.
    let place = async || {
        server.publish(&key, "one");
        eventually("all are sent", || server.bus.is_flushed()).await;
        let tops = common.tops(std::slice::from_ref(&key)).await.ok()?;
        let born = common.born(&key).await.ok()??;
        tops[0].map(|(epoch, _)| (born, epoch))
    };
    let other_than = async |before: Option<Epoch>| {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match place().await {
                Some((born, epoch)) if Some(epoch) != before => return (born, epoch),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(Instant::now() < until, "it has no other epoch");
        }
    };
    let (born, epoch) = other_than(None).await;
    assert_eq!(born, epoch);
    // Another lineage over the same data, as a replica that takes over has.
    redis.cli(&["debug", "change-repl-id"]);
    let (still, next) = other_than(Some(epoch)).await;
    assert_eq!(still, born);
    redis.kill();
    server.until(|state| *state != State::Connected).await;
    redis.again();
    server.until(|state| *state == State::Connected).await;
    let (anew, now) = other_than(Some(next)).await;
    assert!(anew.0 > born.0 && now.0 >= anew.0, "{born} {anew} {now}");
}
