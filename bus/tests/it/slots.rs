//! Redis Cluster: partitions on several servers, that die and move.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use pulseboard_bus::{Bus as _, FeedKey, Kind};

use crate::support::{Recorder, RedisServer, Running, eventually, free_port, has, program};

struct RedisCluster(Vec<RedisServer>);

/// A server at a port whose neighbour 10 000 above is free, too, for the cluster's own connections.
fn member() -> RedisServer {
    let more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let ports = std::iter::repeat_with(free_port).filter(|port| *port < 50_000);
    let mut started = ports
        .take(20)
        .filter_map(|port| RedisServer::try_at(port, &more));
    started.next().expect("a member of a cluster")
}

impl RedisCluster {
    async fn start(replicas: usize) -> Self {
        let count = 3 * (replicas + 1);
        let servers: Vec<RedisServer> = (0..count).map(|_| member()).collect();
        let hosts = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port));
        let made = Command::new(program("redis-cli"))
            .args(["--cluster", "create"])
            .args(hosts)
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .stdout(Stdio::null())
            .status()
            .expect("redis-cli");
        assert!(made.success());
        let cluster = Self(servers);
        eventually("the cluster is well", || {
            cluster.0.iter().all(|server| {
                let info = server.cli(&["INFO", "replication"]);
                server
                    .cli(&["CLUSTER", "INFO"])
                    .contains("cluster_state:ok")
                    && (info.contains("role:master") || info.contains("master_link_status:up"))
            }) && cluster.primaries().len() == 3
        })
        .await;
        cluster
    }

    fn url(&self) -> String {
        format!(
            "redis-cluster://127.0.0.1:{},127.0.0.1:{}",
            self.0[0].port, self.0[1].port
        )
    }

    fn primaries(&self) -> Vec<usize> {
        let is_primary = |index: &usize| {
            self.0[*index]
                .cli(&["INFO", "replication"])
                .contains("role:master")
        };
        (0..self.0.len()).filter(is_primary).collect()
    }

    fn id(&self, index: usize) -> String {
        self.0[index].cli(&["CLUSTER", "MYID"])
    }

    /// Moves a slot with everything in it.
    fn move_slot(&self, slot: &str, from: usize, to: usize) {
        let (source, target) = (self.id(from), self.id(to));
        self.0[to].cli(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source]);
        self.0[from].cli(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target]);
        let port = self.0[to].port.to_string();
        loop {
            let keys = self.0[from].cli(&["CLUSTER", "GETKEYSINSLOT", slot, "50"]);
            let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys);
            self.0[from].cli(&command);
        }
        for index in [to, from] {
            self.0[index].cli(&["CLUSTER", "SETSLOT", slot, "NODE", &target]);
        }
    }
}

/// Rooms of many tenants, so that all partitions have some.
fn rooms() -> Vec<FeedKey> {
    (0..128)
        .map(|number| FeedKey::new(Kind::Room, format!("t{number}"), "lobby"))
        .collect()
}

/// Publishes to all rooms until each has heard a frame of this round; how long that took.
async fn heard(a: &Running, sinks: &HashMap<FeedKey, Arc<Recorder>>, round: &str) -> Duration {
    let began = Instant::now();
    for key in sinks.keys() {
        a.publish(key, round);
    }
    eventually("every room has heard it", || {
        sinks.values().all(|sink| sink.has(round))
    })
    .await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_go_on_when_a_primary_of_a_cluster_dies() {
    if !has("redis-server") {
        return;
    }
    let mut cluster = RedisCluster::start(1).await;
    let a = Running::connected(&cluster.url(), "a").await;
    let b = Running::connected(&cluster.url(), "b").await;
    let mut sinks = HashMap::new();
    let mut kept = Vec::new();
    for key in rooms() {
        let sink = Recorder::new();
        kept.push(b.bus.subscribe(key.clone(), sink.clone()));
        sinks.insert(key, sink);
    }
    heard(&a, &sinks, "before").await;
    let dies = cluster.primaries()[0];
    cluster.0[dies].kill();
    let took = heard(&a, &sinks, "during").await;
    eprintln!("every room was heard {took:?} after a primary was killed");
    for sink in sinks.values() {
        assert_eq!(sink.frames(), ["before", "during"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_deaf_after_a_slot_has_moved() {
    if !has("redis-server") {
        return;
    }
    let cluster = RedisCluster::start(0).await;
    let a = Running::connected(&cluster.url(), "a").await;
    let b = Running::connected(&cluster.url(), "b").await;
    let mut sinks = HashMap::new();
    let mut kept = Vec::new();
    for key in rooms() {
        let sink = Recorder::new();
        kept.push(b.bus.subscribe(key.clone(), sink.clone()));
        sinks.insert(key, sink);
    }
    heard(&a, &sinks, "before").await;
    // Each primary's first room gives its slot to the next primary.
    let primaries = cluster.primaries();
    for (place, from) in primaries.iter().enumerate() {
        let to = primaries[(place + 1) % primaries.len()];
        let keys = cluster.0[*from].cli(&["--scan", "--pattern", "*:f:room:t*"]);
        let key = keys.lines().next().expect("a room");
        let slot = cluster.0[*from].cli(&["CLUSTER", "KEYSLOT", key]);
        cluster.move_slot(&slot, *from, to);
        let took = heard(&a, &sinks, &format!("after {place}")).await;
        eprintln!("every room was heard {took:?} after a slot had moved");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    for sink in sinks.values() {
        assert_eq!(sink.frames(), ["before", "after 0", "after 1", "after 2"]);
    }
}
