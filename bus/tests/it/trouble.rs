//! Redis away, restarted, held and cut off.

use std::time::Duration;

use pulseboard_bus::{Bus as _, ConnectError, State, Unfit};

use crate::{
    proxy::Proxy,
    support::{Recorder, RedisServer, Running, eventually, free_port, has, room, texts},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_lose_nothing_and_double_nothing() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::before(redis.port).await;
    let a = Running::connected(&proxy.url(), "a").await;
    let b = Running::connected(&redis.url(), "b").await;
    let key = room("lobby");
    let (at_a, _keep_a) = a.hears(&key);
    let (at_b, _keep_b) = b.hears(&key);
    for number in 0..240 {
        a.publish(&key, &format!("a{number}"));
        b.publish(&key, &format!("b{number}"));
        if number % 40 == 20 {
            proxy.drop_all();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eventually("all is at both", || {
        at_a.frames().len() == 480 && at_b.frames().len() == 480
    })
    .await;
    assert_eq!(at_a.frames(), at_b.frames());
    assert_eq!(at_a.told().resets.len(), 1, "nobody who watches notices");
    let of_a: Vec<String> = at_b
        .frames()
        .into_iter()
        .filter(|frame| frame.starts_with('a'))
        .collect();
    assert_eq!(of_a, texts("a", 0..240));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_begins_anew_gets_what_was_published_and_everybody_one_new_epoch() {
    if !has("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&[]);
    let (a, b) = Running::two(&redis.url()).await;
    let key = room("lobby");
    let (at_a, _keep_a) = a.hears(&key);
    let (at_b, _keep_b) = b.hears(&key);
    for text in texts("a", 0..10) {
        a.publish(&key, &text);
    }
    eventually("ten are there", || at_b.frames().len() == 10).await;
    redis.kill();
    for text in texts("a", 10..15) {
        a.publish(&key, &text);
    }
    redis.again();
    eventually("all are there", || {
        at_a.frames() == texts("a", 0..15) && at_b.frames() == texts("a", 0..15)
    })
    .await;
    let (told_a, told_b) = (at_a.told(), at_b.told());
    assert_eq!(told_a.epoch, told_b.epoch);
    assert_eq!(told_b.resets.len(), 2, "{:?}", told_b.resets);
    assert!(told_b.resets[0] + 10 < told_b.resets[1], "ids only grow");
    assert!(a.bus.figures().resent.get() >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_starts_without_redis_and_joins_when_it_comes() {
    if !has("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&[]);
    redis.kill();
    let short = |settings: &mut pulseboard_bus::Settings| {
        settings.alone_after = Duration::from_millis(800);
    };
    let (a, b) = (
        Running::with(&redis.url(), "a", short),
        Running::with(&redis.url(), "b", short),
    );
    let key = room("lobby");
    let (at_a, at_b) = (Recorder::new(), Recorder::new());
    let _keep_a = a.bus.subscribe(key.clone(), at_a.clone());
    a.publish(&key, "before");
    a.until(State::is_alone).await;
    b.until(State::is_alone).await;
    let _keep_b = b.bus.subscribe(key.clone(), at_b.clone());
    a.publish(&key, "alone");
    assert_eq!(
        at_a.frames(),
        ["before", "alone"],
        "those who are here get it at once"
    );
    assert_eq!(
        at_b.told().resets.len(),
        1,
        "who comes now begins with nothing"
    );
    let why = match &*a.bus.state().borrow() {
        State::Alone { why, .. } => why.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why.contains(&redis.port.to_string()), "{why}");
    redis.again();
    a.until(|state| *state == State::Connected).await;
    b.until(|state| *state == State::Connected).await;
    eventually("both have what one has published", || {
        at_a.frames() == ["before", "alone"] && at_b.frames() == ["before", "alone"]
    })
    .await;
    assert_eq!(at_a.told().epoch, at_b.told().epoch);
    b.publish(&key, "together");
    eventually("and go on together", || {
        at_a.has("together") && at_b.has("together")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_holds_everything_is_noticed_and_left() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::before(redis.port).await;
    let a = Running::with(&proxy.url(), "a", |settings| {
        settings.alone_after = Duration::from_secs(1);
    });
    a.until(|state| *state == State::Connected).await;
    let b = Running::connected(&redis.url(), "b").await;
    let key = room("lobby");
    let (at_a, _keep) = a.hears(&key);
    b.publish(&key, "b0");
    eventually("the first is there", || at_a.has("b0")).await;
    proxy.hold();
    b.publish(&key, "b1");
    a.until(State::is_alone).await;
    a.publish(&key, "a0");
    assert!(at_a.has("a0"));
    proxy.heal();
    a.until(|state| *state == State::Connected).await;
    eventually("all is there", || at_a.frames() == ["b0", "b1", "a0"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_would_lose_something_is_refused_in_a_line() {
    if !has("redis-server") {
        return;
    }
    let refused = async |url: &str| {
        let settings = pulseboard_bus::Settings::new(url.parse().expect("an address"), "a");
        let bus = pulseboard_bus::Redis::new(settings).expect("a bus");
        bus.check().await.expect_err("it is refused")
    };
    let evicting = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&evicting.url()).await;
    assert!(
        matches!(error, ConnectError::Unfit(Unfit::Eviction { .. })),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("allkeys-lru") && text.contains("noeviction") && !text.contains('\n'),
        "{text}"
    );

    let locked = RedisServer::start(&["--requirepass", "open-sesame"]);
    let error = refused(&format!("redis://:wrong-word@127.0.0.1:{}", locked.port)).await;
    assert!(
        matches!(error, ConnectError::Unfit(Unfit::Denied { .. })),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong-word"), "{error}");
    let error = refused(&locked.url()).await;
    assert!(
        matches!(error, ConnectError::Unfit(Unfit::Denied { .. })),
        "{error}"
    );
    let _open = Running::connected(
        &format!("redis://:open-sesame@127.0.0.1:{}", locked.port),
        "a",
    )
    .await;

    let other = RedisServer::start(&[]);
    let _first = Running::connected(&other.url(), "a").await;
    let keys = other.cli(&["--scan", "--pattern", "*:cfg"]);
    other.cli(&["HSET", &keys, "format", "9"]);
    let error = refused(&other.url()).await;
    assert!(
        matches!(error, ConnectError::Unfit(Unfit::Format { .. })),
        "{error}"
    );

    let nobody = refused(&format!("redis://127.0.0.1:{}", free_port())).await;
    assert!(matches!(nobody, ConnectError::Away(_)), "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_goes_on_alone_says_so_and_comes_back() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::before(redis.port).await;
    let a = Running::connected(&proxy.url(), "a").await;
    let b = Running::connected(&redis.url(), "b").await;
    let key = room("lobby");
    let (at_a, _keep_a) = a.hears(&key);
    let (at_b, _keep_b) = b.hears(&key);
    a.publish(&key, "a0");
    eventually("it is at both", || at_a.has("a0") && at_b.has("a0")).await;
    let cut = std::time::Instant::now();
    proxy.cut();
    a.until(State::is_alone).await;
    let alone = cut.elapsed();
    assert!(alone < Duration::from_secs(4), "{alone:?}");
    for text in texts("a", 1..20) {
        a.publish(&key, &text);
    }
    b.publish(&key, "b0");
    assert!(at_a.has("a19") && !at_a.has("b0"));
    let healed = std::time::Instant::now();
    proxy.heal();
    a.until(|state| *state == State::Connected).await;
    eventually("both have everything", || {
        at_a.frames().len() == 21 && at_a.frames() == at_b.frames()
    })
    .await;
    let back = healed.elapsed();
    assert!(back < Duration::from_secs(3), "{back:?}");
    assert_eq!(at_b.told().resets.len(), 1, "the others notice nothing");
    assert_eq!(
        at_a.told().resets.len(),
        3,
        "one for being alone, one for being back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_is_as_good_as_away_until_it_has_room() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::with(&redis.url(), "a", |settings| {
        settings.alone_after = Duration::from_millis(600);
    });
    a.until(|state| *state == State::Connected).await;
    let key = room("lobby");
    let (sink, _keep) = a.hears(&key);
    a.publish(&key, "before");
    eventually("it is there", || sink.has("before")).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    a.publish(&key, "full");
    a.until(|state| matches!(state, State::Alone { why, .. } if why.contains("OOM")))
        .await;
    eventually("who is here gets it all the same", || sink.has("full")).await;
    assert!(a.bus.figures().refused.get() > 0);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    a.until(|state| *state == State::Connected).await;
    eventually("and then all have it", || {
        sink.frames() == ["before", "full"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_a_feed_and_comes_back_at_once_is_heard() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let key = room("lobby");
    let connections = a.bus.figures().reconnects.get();
    for round in 0..20 {
        let sink = Recorder::new();
        let keep = a.bus.subscribe(key.clone(), sink.clone());
        let text = format!("a{round}");
        a.publish(&key, &text);
        eventually("it is heard", || sink.has(&text)).await;
        drop(keep);
    }
    assert_eq!(
        a.bus.figures().reconnects.get(),
        connections,
        "on the same connection"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_held_are_late_and_not_lost_though_commands_are_answered() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::before(redis.port).await;
    let a = Running::connected(&proxy.url(), "a").await;
    let b = Running::connected(&redis.url(), "b").await;
    let key = room("lobby");
    let (at_a, _keep) = a.hears(&key);
    b.publish(&key, "b0");
    eventually("the first is there", || at_a.has("b0")).await;
    // The first connection is for commands, the second for messages.
    proxy.hold_one(1);
    let held = std::time::Instant::now();
    for text in texts("b", 1..10) {
        b.publish(&key, &text);
    }
    eventually("all are there", || at_a.frames() == texts("b", 0..10)).await;
    let late = held.elapsed();
    assert!(late < Duration::from_secs(5), "{late:?}");
    assert_eq!(at_a.told().resets.len(), 1, "nobody who watches notices");
    assert_eq!(*a.bus.state().borrow(), State::Connected);
}
