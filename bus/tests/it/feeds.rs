//! Feeds: the same on every server.

use bytes::Bytes;
use pulseboard_bus::{Bus as _, FeedKey, Kind, Placed, Refused};

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
