//! A primary that dies with what its replica does not have.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pulseboard_bus::{Bus as _, FeedKey, Kind, State};
use tempfile::TempDir;

use crate::{
    proxy::Proxy,
    support::{
        Recorder, RedisServer, Running, eventually, eventually_asked, free_port, has, program,
        room, texts,
    },
};

/// A replica that hears its primary through a proxy.
async fn with_replica(primary: &RedisServer) -> (RedisServer, Proxy) {
    let link = Proxy::before(primary.port).await;
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &link.port.to_string()]);
    eventually("the replica hears its primary", || {
        replica
            .cli(&["INFO", "replication"])
            .contains("master_link_status:up")
    })
    .await;
    (replica, link)
}

/// Until the replica has everything.
async fn copied(primary: &RedisServer, replica: &RedisServer) {
    let offset = |server: &RedisServer, name: &str| {
        let info = server.cli(&["INFO", "replication"]);
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_default().trim().to_owned()
    };
    eventually("the replica has everything", || {
        offset(primary, "master_repl_offset:") == offset(replica, "slave_repl_offset:")
    })
    .await;
}

/// No place has two contents, whoever was told.
fn assert_one_history(sinks: &[&Arc<Recorder>]) {
    let mut known: BTreeMap<(u64, u64), String> = BTreeMap::new();
    for (epoch, offset, frame) in sinks.iter().flat_map(|sink| sink.told().all) {
        let before = known.insert((epoch, offset), frame.clone());
        assert!(
            before.is_none_or(|before| before == frame),
            "{epoch} {offset}: two contents"
        );
    }
}

/// Primary and replica agree on 100 frames, five more are lost with the primary.
async fn fork(publisher_dies: bool) {
    let mut primary = RedisServer::start(&[]);
    let (replica, link) = with_replica(&primary).await;
    let front = Proxy::before(primary.port).await;
    let a = Running::connected(&front.url(), "a").await;
    let b = Running::connected(&front.url(), "b").await;
    let key = room("lobby");
    let (viewer, _keep) = b.hears(&key);
    let (_ticks, _keep_ticks) = b.hears(&FeedKey::own(Kind::Tick));
    let generation = |server: &Running| server.bus.figures().generation.get();
    eventually("the first generation", || generation(&b) == 1).await;
    for text in texts("old", 0..100) {
        a.publish(&key, &text);
    }
    eventually("a hundred are seen", || viewer.frames().len() == 100).await;
    copied(&primary, &replica).await;
    link.hold();
    for text in texts("old", 100..105) {
        a.publish(&key, &text);
    }
    eventually("all are seen", || viewer.frames() == texts("old", 0..105)).await;
    let before = viewer.told();
    let rest = match publisher_dies {
        true => {
            a.kill();
            None
        }
        false => Some(a),
    };
    primary.kill();
    drop(link);
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    front.point_to(replica.port);
    front.drop_all();
    for text in texts("new", 0..8) {
        b.publish(&key, &text);
    }
    let wanted = if publisher_dies { 108 } else { 113 };
    eventually("everything is there again", || {
        viewer.frames().len() == wanted
    })
    .await;
    let after = viewer.told();
    assert_eq!(after.resets.len(), 2, "one snapshot, and only one");
    assert!(after.epoch > before.epoch + 105, "ids only grow");
    let kept: Vec<String> = after
        .frames
        .iter()
        .filter(|frame| frame.starts_with("old"))
        .cloned()
        .collect();
    let old = if publisher_dies { 100 } else { 105 };
    assert_eq!(kept, texts("old", 0..old));
    let new: Vec<String> = after
        .frames
        .iter()
        .filter(|frame| frame.starts_with("new"))
        .cloned()
        .collect();
    assert_eq!(new, texts("new", 0..8));
    eventually("another generation", || generation(&b) == 2).await;
    let late = Recorder::new();
    let c = Running::connected(&front.url(), "c").await;
    let _keep = c.bus.subscribe(key.clone(), late.clone());
    eventually("who comes now has the same", || {
        late.frames() == after.frames
    })
    .await;
    assert_one_history(&[&viewer, &late]);
    drop(rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_one_snapshot_and_what_was_lost_is_sent_again() {
    if has("redis-server") {
        fork(false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_whose_publisher_died_too_is_one_snapshot_without_what_nobody_has() {
    if has("redis-server") {
        fork(true).await;
    }
}

/// What others do, kept as the reason for lineages: an epoch that lies in the data survives a
/// failover that loses frames, and offsets are given a second time under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_lineages_a_place_has_two_contents() {
    if !has("redis-server") {
        return;
    }
    const NAIVE: &str = "local e = redis.call('HGET', KEYS[1], 'e') \
        if not e then e = ARGV[1] redis.call('HSET', KEYS[1], 'e', e) end \
        local o = redis.call('HINCRBY', KEYS[1], 'o', 1) \
        redis.call('XADD', KEYS[2], o .. '-0', 'd', ARGV[1]) \
        return e .. ':' .. o";
    let mut primary = RedisServer::start(&[]);
    let (replica, link) = with_replica(&primary).await;
    let append =
        |server: &RedisServer, text: &str| server.cli(&["EVAL", NAIVE, "2", "m", "f", text]);
    append(&primary, "first");
    copied(&primary, &replica).await;
    link.hold();
    let seen = append(&primary, "lost");
    primary.kill();
    drop(link);
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(
        append(&replica, "other"),
        seen,
        "the same place, and another frame"
    );
}

/// Sentinels with files of their own.
struct Sentinels {
    ports: Vec<u16>,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Sentinels {
    fn watching(primary: &RedisServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut children = Vec::new();
        for port in &ports {
            let file = folder.path().join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n",
                folder.path().display(),
                primary.port
            );
            std::fs::write(&file, text).expect("a file");
            let child = Command::new(program("redis-sentinel"))
                .arg(&file)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-sentinel starts");
            children.push(child);
        }
        Self {
            ports,
            children,
            _folder: folder,
        }
    }

    fn url(&self) -> String {
        let hosts: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis-sentinel://{}/main", hosts.join(","))
    }

    fn cli(&self, arguments: &[&str]) -> Vec<String> {
        let ask = |port: &u16| {
            let output = Command::new(program("redis-cli"))
                .args(["-p", &port.to_string()])
                .args(arguments)
                .output();
            let output = output.expect("redis-cli");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        self.ports.iter().map(ask).collect()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().expect("it was there");
            child.wait().expect("it ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_another_primary_and_everything_goes_on_there() {
    if !has("redis-server") || !has("redis-sentinel") {
        return;
    }
    let mut primary = RedisServer::start(&[]);
    let port = primary.port.to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinels = Sentinels::watching(&primary);
    eventually("the sentinels know each other and the replica", || {
        let known = sentinels.cli(&["SENTINEL", "MASTER", "main"]);
        let has =
            |text: &str, name: &str, value: &str| text.contains(&format!("{name}\n{value}\n"));
        let is_known =
            |text: &String| has(text, "num-slaves", "1") && has(text, "num-other-sentinels", "2");
        known.iter().all(is_known)
            && replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
    })
    .await;
    let a = Running::connected(&sentinels.url(), "a").await;
    let b = Running::connected(&sentinels.url(), "b").await;
    let key = room("lobby");
    let (at_a, _keep_a) = a.hears(&key);
    let (at_b, _keep_b) = b.hears(&key);
    let tenant: Arc<str> = "tenant".into();
    let mut killed = None;
    for number in 0..250_usize {
        a.publish(&key, &format!("a{number}"));
        let counted = b
            .bus
            .cluster()
            .expect("shared")
            .count(&tenant, "sale", 1.0, 1, &[]);
        assert_eq!(counted, Ok(()));
        if number == 50 {
            primary.kill();
            killed = Some(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The sentinels may need more than one election on a machine that is busy.
    eventually("the replica is the primary", || {
        replica
            .cli(&["INFO", "replication"])
            .contains("role:master")
    })
    .await;
    eventually("all frames are at both", || {
        at_a.has("a249") && at_b.has("a249") && at_a.frames() == at_b.frames()
    })
    .await;
    a.until(|state| *state == State::Connected).await;
    let took = killed.map(|killed| killed.elapsed());
    eprintln!("everything was there {took:?} after the kill");
    // A room keeps 256 and some.
    let of_a = at_b.frames();
    assert_eq!(of_a, texts("a", 0..250));
    assert_one_history(&[&at_a, &at_b]);
    eventually_asked("everything is counted, once", || async {
        let totals = a.bus.cluster().expect("shared").totals(&tenant).await;
        totals.is_ok_and(|totals| totals.get("sale").is_some_and(|sale| sale.count == 250))
    })
    .await;
    let told = b
        .bus
        .publish_told(&key, None, Bytes::from_static(b"last"))
        .expect("room");
    assert!(told.await.is_some());
}
