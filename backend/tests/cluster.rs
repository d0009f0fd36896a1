//! Several real servers and a real Redis: what viewers see while servers and Redis come and go.
//! Every viewer notes epoch, offset and content of what it gets, and all notes are compared. What
//! is not to be had here (redis-server) is said and passed over.

#![cfg(unix)]

mod servers;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use servers::{PATIENCE, Redis, Server, Socket, eventually, has_redis, three};

/// What all viewers got: of one epoch and offset there is one content.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<HashMap<(String, u64), Content>>>);

/// What somebody got, and who.
type Content = (String, &'static str);

impl Notes {
    fn note(&self, (epoch, offset): (&str, u64), data: &[Value], by: &'static str) {
        let content = Value::from(data).to_string();
        let mut notes = self.0.lock();
        let known = notes
            .entry((epoch.to_owned(), offset))
            .or_insert_with(|| (content.clone(), by));
        assert_eq!(
            known.0, content,
            "{by} and {} have another tick {offset} of {epoch}",
            known.1
        );
    }
}

/// Somebody who watches ticks.
struct Viewer {
    socket: Socket,
    notes: Notes,
    by: &'static str,
    epoch: String,
    seen: u64,
    /// Messages that began an epoch.
    initials: usize,
    cpus: Vec<f64>,
}

impl Viewer {
    async fn open(server: &Server, notes: &Notes) -> Self {
        Self::open_at(server, notes, "/ws/metrics", ("", 0)).await
    }

    async fn open_at(
        server: &Server,
        notes: &Notes,
        path: &str,
        (epoch, seen): (&str, u64),
    ) -> Self {
        Self {
            socket: server.socket(path).await,
            notes: notes.clone(),
            by: server.name,
            epoch: epoch.to_owned(),
            seen,
            initials: 0,
            cpus: Vec::new(),
        }
    }

    /// Comes back at a server with what it has seen, which may be another one.
    async fn resume(&self, server: &Server) -> Self {
        let path = format!("/ws/metrics?epoch={}&offset={}", self.epoch, self.seen);
        Self::open_at(server, &self.notes, &path, (&self.epoch, self.seen)).await
    }

    /// Takes the next message, and checks that it follows; what kind it was.
    async fn step(&mut self) -> String {
        let message = self.socket.next().await.expect("it is open");
        let kind = message["type"].as_str().expect("a type").to_owned();
        let epoch = message["epoch"].as_str().expect("an epoch");
        let offset = message["offset"].as_u64().expect("an offset");
        let data = message["data"].as_array().expect("data");
        let ticks = data.chunks(4);
        let first = offset + 1 - ticks.len() as u64;
        for (offset, tick) in (first..).zip(ticks) {
            self.notes.note((epoch, offset), tick, self.by);
        }
        match &*kind {
            "initial" => {
                assert_ne!(epoch, self.epoch, "{}: once for each epoch", self.by);
                self.initials += 1;
            }
            "resumed" => {
                assert_eq!((epoch, first), (&*self.epoch, self.seen + 1), "{}", self.by);
            }
            "metrics" => {
                assert_eq!(
                    (epoch, offset),
                    (&*self.epoch, self.seen + 1),
                    "{}",
                    self.by
                );
                self.cpus
                    .push(data[0]["value"].as_f64().unwrap_or(f64::NAN));
            }
            other => panic!("{}: {other}", self.by),
        }
        (self.epoch, self.seen) = (epoch.to_owned(), offset);
        kind
    }

    async fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step().await;
        }
    }

    async fn until_initial(&mut self) {
        while self.step().await != "initial" {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_all_servers_see_the_same_ticks_and_a_kill_costs_none() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b, c] = three(&redis).await;
    let notes = Notes::default();
    let mut viewers = Vec::new();
    for server in [&a, &b, &c] {
        viewers.push(Viewer::open(server, &notes).await);
    }
    for viewer in &mut viewers {
        viewer.steps(10).await;
    }
    let epochs: Vec<&str> = viewers.iter().map(|viewer| &*viewer.epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]), "{epochs:?}");

    // Each host's own figures are series of their own; the four are the service's.
    let own = b.json("/api/series?match=cpu_usage").await;
    assert!(own.to_string().contains("instance=\\\"b\\\""), "{own}");

    c.signal("KILL");
    let mut of_c = viewers.pop().expect("three");
    while of_c.socket.next().await.is_ok() {}
    let mut back = of_c.resume(&a).await;
    let kind = back.step().await;
    assert_eq!(kind, "resumed");
    for viewer in viewers.iter_mut().chain([&mut back]) {
        // Longer than it takes until the others know that it is gone.
        viewer.steps(35).await;
        assert!(viewer.initials < 2, "the epoch is the same");
    }
    a.is_joined_by(2).await;

    // Another begins with what is there, and its viewers go on with what they have.
    let c = Server::start("c", &redis, &[]);
    c.is_joined_by(3).await;
    let mut again = back.resume(&c).await;
    assert_eq!(again.step().await, "resumed");
    again.steps(5).await;
    let members = a.json("/readyz").await;
    assert_eq!(members["cluster"]["members"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_goes_on_alone_and_says_so_and_joins_again() {
    if !has_redis() {
        return;
    }
    let mut redis = Redis::away();
    let [a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &[]));
    let notes = Notes::default();
    for server in [&a, &b] {
        eventually("it begins alone", async || {
            server.state().await == (200, "alone".to_owned(), 1)
        })
        .await;
        let answer = server.get("/api/stats").await;
        assert_eq!(answer.headers()["pulseboard-degraded"], "bus");
        let ready = server.json("/readyz").await;
        let since = ready["cluster"]["alone_since_ms"].as_i64();
        assert!(since.is_some_and(|since| since > 0), "since when: {ready}");
    }
    let mut viewers = vec![
        Viewer::open(&a, &notes).await,
        Viewer::open(&b, &notes).await,
    ];
    for viewer in &mut viewers {
        viewer.steps(4).await;
    }
    assert_ne!(viewers[0].epoch, viewers[1].epoch, "each has its own");

    for round in 0..2 {
        redis.again();
        let began = Instant::now();
        for viewer in &mut viewers {
            viewer.until_initial().await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "round {round}: {:?}",
            began.elapsed()
        );
        for server in [&a, &b] {
            server.is_joined_by(2).await;
            let answer = server.get("/api/stats").await;
            assert!(!answer.headers().contains_key("pulseboard-degraded"));
            let ready = server.json("/readyz").await;
            assert_eq!(ready["cluster"].get("alone_since_ms"), None, "{ready}");
        }
        for viewer in &mut viewers {
            viewer.steps(5).await;
        }
        assert_eq!(viewers[0].epoch, viewers[1].epoch, "one for both");

        redis.kill();
        let began = Instant::now();
        for viewer in &mut viewers {
            viewer.until_initial().await;
            viewer.steps(3).await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "round {round}: {:?}",
            began.elapsed()
        );
        assert_ne!(viewers[0].epoch, viewers[1].epoch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_the_same_on_all_servers() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &[]));
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    let join = json!({"action": "subscribe", "channel": "news", "cursor": true, "presence": true});
    let (mut of_a, mut of_b) = (a.socket("/ws").await, b.socket("/ws").await);
    for socket in [&mut of_a, &mut of_b] {
        socket.say(join.clone()).await;
        socket.next_of("subscribed").await;
    }
    // Both are counted, wherever they are.
    for socket in [&mut of_a, &mut of_b] {
        while socket.next_of("presence").await["members"] != 2 {}
    }
    let listed = async |server: &Server| {
        let rooms = server.json("/api/rooms").await;
        let rooms = rooms.as_array().expect("a list").clone();
        let news = rooms.into_iter().find(|room| room["name"] == "news");
        news.map_or(Value::Null, |room| room["members"].clone())
    };
    eventually("the list counts both", async || {
        listed(&a).await == 2 && listed(&b).await == 2
    })
    .await;

    // Both speak at once: everybody hears all but its own, in one order.
    for number in 0..50 {
        for (socket, from) in [(&mut of_a, "a"), (&mut of_b, "b")] {
            let data = json!({"from": from, "number": number});
            let said = json!({"action": "publish", "channel": "news", "data": data});
            socket.say(said).await;
        }
    }
    let mut heard = Vec::new();
    for (socket, other) in [(&mut of_a, "b"), (&mut of_b, "a")] {
        for number in 0..50 {
            let message = socket.next_of("message").await;
            assert_eq!(message["data"], json!({"from": other, "number": number}));
            heard.push(message);
        }
    }
    let offsets: std::collections::BTreeSet<u64> = heard
        .iter()
        .map(|message| message["offset"].as_u64().expect("an offset"))
        .collect();
    assert_eq!(offsets.len(), 100, "each has its own place");
    assert!(
        heard
            .iter()
            .all(|message| message["epoch"] == heard[0]["epoch"])
    );

    // Whoever comes back at the other server goes on behind what it has.
    let last = &heard[49];
    let mut back = b.socket("/ws").await;
    let before = last["offset"].as_u64().map(|at| at - 3);
    back.say(json!({
        "action": "subscribe", "channel": "news", "epoch": last["epoch"], "offset": before
    }))
    .await;
    back.next_of("subscribed").await;
    let next = back.next_of("message").await;
    assert_eq!(
        next["offset"].as_u64(),
        last["offset"].as_u64().map(|at| at - 2)
    );

    // Somebody speaks where nobody else is, and is heard at the other server.
    let mut listener = b.socket("/ws").await;
    listener
        .say(json!({"action": "subscribe", "channel": "far"}))
        .await;
    listener.next_of("subscribed").await;
    of_a.say(json!({"action": "publish", "channel": "far", "data": 1}))
        .await;
    assert_eq!(listener.next_of("message").await["data"], 1);

    let mut talk = [a.socket("/ws/chat").await, b.socket("/ws/chat").await];
    for socket in &mut talk {
        socket.next_of("system").await;
    }
    talk[0]
        .say(json!({"type": "chat", "user": "one", "text": "hello"}))
        .await;
    assert_eq!(talk[1].next_of("chat").await["text"], "hello");

    // Who is killed is gone from the count soon.
    drop(of_a);
    b.signal("KILL");
    eventually("the dead are not counted", async || {
        let members = listed(&a).await;
        members == 0 || members == Value::Null
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_state_and_alerts_are_the_services() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let simulated = [("METRIC_SOURCE", "simulator"), ("ALERT_CHECK_SEC", "1")];
    let [a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &simulated));
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    let mut control = a.socket("/ws/control").await;
    control.next().await.expect("a greeting");
    control
        .say(json!({"command": "set_threshold", "value": 33}))
        .await;
    let said = control.next().await.expect("an answer");
    assert_eq!(said["message"], "Threshold set to 33.0%");
    eventually("the other knows threshold and socket", async || {
        let figures = b.json("/api/metrics").await;
        figures["alert_threshold"] == 33.0 && figures["active_connections"] == 1
    })
    .await;
    let total = async |server: &Server| {
        let figures = server.json("/api/metrics").await;
        figures["requests_total"].as_u64().expect("a number")
    };
    eventually("both count the same", async || {
        let (one, other) = (total(&a).await, total(&b).await);
        one > 0 && other > 0 && one.abs_diff(other) < 1_000
    })
    .await;

    // One machine makes the figures up; what fires is heard on both, with the same ids.
    let mut streams = Vec::new();
    for server in [&a, &b] {
        streams.push(server.get("/events/alerts").await);
    }
    let mut ids: Vec<Vec<String>> = vec![Vec::new(), Vec::new()];
    for (stream, ids) in streams.iter_mut().zip(&mut ids) {
        let mut text = String::new();
        while ids.len() < 4 {
            let chunk = tokio::time::timeout(PATIENCE, stream.chunk()).await;
            let chunk = chunk
                .expect("in time")
                .expect("it is open")
                .expect("it goes on");
            text.push_str(&String::from_utf8_lossy(&chunk));
            *ids = text
                .lines()
                .filter_map(|line| line.strip_prefix("id: "))
                .map(str::to_owned)
                .collect();
        }
    }
    let common = ids[0].iter().filter(|id| ids[1].contains(id)).count();
    assert!(common >= 2, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_sends_its_viewers_to_the_others_in_parts() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let drain = [("DRAIN_SEC", "2")];
    let [mut a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &drain));
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    let notes = Notes::default();
    let mut viewers = Vec::new();
    for _ in 0..20 {
        let mut viewer = Viewer::open(&a, &notes).await;
        viewer.steps(2).await;
        viewers.push(viewer);
    }
    let began = Instant::now();
    a.signal("TERM");
    eventually("no viewers are sent there any more", async || {
        a.state().await.0 == 503
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        a.get("/api/stats").await.status(),
        200,
        "all else is served"
    );
    let moving = viewers.into_iter().map(async |mut viewer: Viewer| {
        let code = loop {
            match viewer.socket.next().await {
                Ok(message) => {
                    viewer.seen = message["offset"].as_u64().expect("an offset");
                }
                Err(code) => break code,
            }
        };
        let after = began.elapsed();
        let mut back = viewer.resume(&b).await;
        assert_eq!(back.step().await, "resumed");
        (code, after)
    });
    let moved = futures_util::future::join_all(moving).await;
    assert!(
        moved.iter().all(|(code, _)| *code == Some(1012)),
        "{moved:?}"
    );
    let late = moved
        .iter()
        .filter(|(_, after)| *after > Duration::from_secs(1));
    assert!(
        (5..=15).contains(&late.count()),
        "in equal parts: {moved:?}"
    );
    let ended = loop {
        if let Some(ended) = a.child.try_wait().expect("asked") {
            break ended;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it ends in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.code(), Some(0));
    // It said so: nobody waits until it is dead.
    b.is_joined_by(1).await;
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_sees_who_is_there_and_who_does_what_for_all() {
    if !has_redis() {
        return;
    }
    let redis = Redis::start();
    let settings = [
        ("METRIC_SOURCE", "simulator"),
        ("AUTH_TOKENS", "the-token-of-an-admin=admin"),
    ];
    let [a, b] = ["a", "b"].map(|name| Server::start(name, &redis, &settings));
    for server in [&a, &b] {
        server.is_joined_by(2).await;
    }
    let members = async |server: &Server| -> Vec<Value> {
        let asked = server
            .http
            .get(format!("http://{}/api/cluster", server.address));
        let asked = asked.header("authorization", "Bearer the-token-of-an-admin");
        let answer = asked.send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["members"].as_array().cloned().unwrap_or_default()
    };
    for server in [&a, &b] {
        eventually("one of the two makes figures up", async || {
            let members = members(server).await;
            let makers = members.iter().filter(|one| one["leases"]["sim"] == 1);
            members.len() == 2 && makers.count() == 1
        })
        .await;
        let members = members(server).await;
        let own = members.iter().filter(|one| one["this"] == true);
        let own: Vec<&Value> = own.map(|one| &one["instance"]).collect();
        assert_eq!(own, [server.name]);
    }
    assert_eq!(a.get("/api/cluster").await.status(), 401);
}
