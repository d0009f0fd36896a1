//! Finds the primaries and keeps a session with each.
//!
//! A single Redis is where it is. Sentinels are asked anew before each connection. A cluster is a
//! table of our 64 partitions, read from any of its servers when something has moved, a connection
//! has ended, and each half minute.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::Value;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    check,
    dial::{self, Purpose},
    error::{self, BusError, ConnectError},
    feeds::bit,
    hub::{ALL, Hub, Node},
    route::Partition,
    session,
    settings::{Server, Servers, server},
    value,
};

/// Between two tries to connect, at first and at most.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(2);
/// A connection that lasted for so long was a good one, and the next try is soon. Longer: who is
/// parted again right after it came back waits as if it had never been back, and viewers with it.
/// Shorter: one that is always cut at once is made anew too often.
const GOOD: Duration = Duration::from_secs(1);
/// The table of a cluster is looked at again after so long in any case, and sooner where somebody
/// is missing.
const TABLE: Duration = Duration::from_secs(30);
const TABLE_IN_PARTS: Duration = Duration::from_secs(1);
/// Servers of a cluster that are remembered, beside those that are named.
const SERVERS_MAX: usize = 256;

/// Waits longer each time, and never as long as another server does.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(SOONEST)
    }

    async fn wait(&mut self) {
        let most = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let least = u64::try_from(SOONEST.as_millis()).unwrap_or_default();
        sleep(Duration::from_millis(fastrand::u64(
            least..=most.max(least),
        )))
        .await;
        self.0 = (self.0 * 2).min(LATEST);
    }
}

/// Says why there is no connection, once for each reason.
#[derive(Default)]
struct Telling(String);

impl Telling {
    fn tell(&mut self, why: String) {
        if why != self.0 {
            tracing::warn!(reason = %why, "not connected to Redis; this server goes on alone where it is not");
            self.0 = why;
        }
    }
}

/// Looks whether the Redis that is named will do, once.
///
/// # Errors
/// It will not, or cannot be reached.
pub(crate) async fn try_once(hub: &Hub) -> Result<(), ConnectError> {
    let mut tasks = JoinSet::new();
    let (server, owned) = match &hub.settings.address.servers {
        Servers::Cluster(seeds) => {
            let table = table(hub, seeds.iter()).await?;
            let own = table
                .into_iter()
                .find(|(_, owned)| owned & bit(Partition::of("")) != 0);
            let nobody = || BusError::away("nobody in the cluster has the slots that are needed");
            own.ok_or_else(nobody)?
        }
        _ => (primary(hub).await?, ALL),
    };
    let connection = dial::connect(&hub.settings, &server, Purpose::Ask, &mut tasks).await?;
    check::check(hub, &server, &connection, owned)
        .await
        .map(drop)
}

/// Keeps connected, for ever.
pub(crate) async fn keep(hub: &Arc<Hub>) -> Infallible {
    match &hub.settings.address.servers {
        Servers::Cluster(seeds) => keep_cluster(hub, seeds).await,
        _ => keep_one(hub).await,
    }
}

async fn keep_one(hub: &Arc<Hub>) -> Infallible {
    let node = Arc::new(Node::new(ALL));
    let mut backoff = Backoff::new();
    let mut telling = Telling::default();
    loop {
        let began = Instant::now();
        let ended = match primary(hub).await {
            Ok(server) => session::run(hub, &node, &server).await,
            Err(error) => error,
        };
        hub.look(Some(ended.to_string().into()));
        hub.figures.reconnects.add(1);
        if began.elapsed() > GOOD {
            backoff = Backoff::new();
            telling = Telling::default();
        }
        telling.tell(ended.to_string());
        backoff.wait().await;
    }
}

/// Where the primary is.
async fn primary(hub: &Hub) -> Result<Server, ConnectError> {
    match &hub.settings.address.servers {
        Servers::Single(server) => Ok(server.clone()),
        Servers::Sentinel { sentinels, name } => Ok(by_sentinels(hub, sentinels, name).await?),
        Servers::Cluster(_) => Err(BusError::away("a cluster has several primaries").into()),
    }
}

/// What most sentinels say.
async fn by_sentinels(hub: &Hub, sentinels: &[Server], name: &str) -> Result<Server, BusError> {
    let answers = join_all(sentinels.iter().map(|one| ask_sentinel(hub, one, name))).await;
    let mut votes: BTreeMap<Server, usize> = BTreeMap::new();
    let mut why = BusError::away("no sentinel answers");
    for answer in answers {
        match answer {
            Ok(server) => *votes.entry(server).or_default() += 1,
            Err(error) => why = error,
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.map(|(server, _)| server).ok_or(why)
}

async fn ask_sentinel(hub: &Hub, sentinel: &Server, name: &str) -> Result<Server, BusError> {
    let of = "a sentinel's answer";
    let mut tasks = JoinSet::new();
    let away = |error: ConnectError| match error {
        ConnectError::Away(error) => error,
        ConnectError::Unfit(why) => BusError::away(why.to_string()),
    };
    // Most sentinels have no password, and refuse one.
    let greeted = dial::connect(&hub.settings, sentinel, Purpose::Sentinel, &mut tasks).await;
    let connection = match greeted {
        Err(ConnectError::Unfit(_)) if hub.settings.password().is_some() => {
            dial::connect(&hub.settings, sentinel, Purpose::Ask, &mut tasks).await
        }
        greeted => greeted,
    };
    let connection = connection.map_err(away)?;
    let command = redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name)
        .clone();
    let mut answer = value::list(connection.one(command).await?, of)?.into_iter();
    let Some(host) = answer.next() else {
        return Err(BusError::away(format!(
            "{sentinel}: this sentinel knows no {name}"
        )));
    };
    Ok(Server {
        host: value::text(host, of)?,
        port: value::number(value::next(&mut answer, of)?, of)?,
    })
}

// A cluster.

/// Servers with partitions of ours.
type Table = BTreeMap<Server, u64>;

async fn keep_cluster(hub: &Arc<Hub>, seeds: &[Server]) -> Infallible {
    let mut known: BTreeSet<Server> = seeds.iter().cloned().collect();
    let mut nodes: BTreeMap<Server, Arc<Node>> = BTreeMap::new();
    let ended = Arc::new(Notify::new());
    let mut sessions = JoinSet::new();
    let mut backoff = Backoff::new();
    let mut telling = Telling::default();
    loop {
        // Whoever is connected knows best; the others are asked in any order.
        let mut asked: Vec<&Server> = known.iter().collect();
        fastrand::shuffle(&mut asked);
        asked.sort_by_key(|one| nodes.get(*one).is_none_or(|node| node.line().is_none()));
        match table(hub, asked.into_iter()).await {
            Ok(table) => {
                for server in table.keys().filter(|one| !nodes.contains_key(*one)) {
                    if known.len() < SERVERS_MAX {
                        known.insert(server.clone());
                    }
                }
                follow(hub, &table, &mut nodes, &ended, &mut sessions);
                backoff = Backoff::new();
                telling = Telling::default();
            }
            Err(error) => {
                hub.look(Some(error.to_string().into()));
                telling.tell(error.to_string());
                backoff.wait().await;
                continue;
            }
        }
        while sessions.try_join_next().is_some() {}
        let wait = match hub.figures.connected.get() {
            0 => TABLE_IN_PARTS,
            _ => TABLE,
        };
        tokio::select! {
            () = hub.moved.notified() => {}
            () = ended.notified() => {}
            () = sleep(wait) => {}
        }
        // Many find the same out at once.
        sleep(SOONEST).await;
    }
}

/// Has each server's session serve what the table says.
fn follow(
    hub: &Arc<Hub>,
    table: &Table,
    nodes: &mut BTreeMap<Server, Arc<Node>>,
    ended: &Arc<Notify>,
    sessions: &mut JoinSet<()>,
) {
    let _serving = hub.serving.lock();
    // Who loses something loses it before another gets it.
    nodes.retain(|server, node| {
        let owned = table.get(server).copied().unwrap_or(0);
        node.want(owned & node.wanted());
        if node.owned() & !owned != 0
            && let Some(line) = node.line()
        {
            hub.serve_now(node, &line);
        }
        if owned == 0
            && let Some(line) = node.line()
        {
            line.broken.notify_one();
        }
        owned != 0
    });
    for (server, owned) in table {
        match nodes.get(server) {
            Some(node) => {
                node.want(*owned);
                if node.owned() != *owned
                    && let Some(line) = node.line()
                {
                    hub.serve_now(node, &line);
                }
            }
            None => {
                let node = Arc::new(Node::new(*owned));
                nodes.insert(server.clone(), Arc::clone(&node));
                let (hub, server, ended) = (Arc::clone(hub), server.clone(), Arc::clone(ended));
                sessions.spawn(async move { keep_server(&hub, &node, &server, &ended).await });
            }
        }
    }
}

/// Keeps connected to one server of a cluster as long as it has something.
async fn keep_server(hub: &Arc<Hub>, node: &Arc<Node>, server: &Server, ended: &Notify) {
    let mut backoff = Backoff::new();
    let mut telling = Telling::default();
    while node.wanted() != 0 {
        let began = Instant::now();
        let why = session::run(hub, node, server).await;
        hub.figures.reconnects.add(1);
        if began.elapsed() > GOOD {
            backoff = Backoff::new();
        }
        if node.wanted() != 0 {
            telling.tell(why.to_string());
        }
        ended.notify_one();
        backoff.wait().await;
    }
}

/// The table, from the first that knows it.
async fn table(hub: &Hub, servers: impl Iterator<Item = &Server>) -> Result<Table, ConnectError> {
    let mut why = ConnectError::Away(BusError::away("nobody in the cluster answers"));
    for server in servers {
        let mut tasks = JoinSet::new();
        let asked = async {
            let connection = dial::connect(&hub.settings, server, Purpose::Ask, &mut tasks).await?;
            let command = redis::cmd("CLUSTER").arg("SLOTS").clone();
            Ok(read_table(server, connection.one(command).await?)?)
        };
        match timeout(LATEST, asked).await {
            Ok(Ok(table)) => return Ok(table),
            Ok(Err(error)) => why = error,
            Err(_) => why = BusError::away(format!("{server}: no answer")).into(),
        }
    }
    Err(why)
}

/// Reads `CLUSTER SLOTS`: for each stretch of slots where it begins and ends, its primary, its
/// replicas.
fn read_table(asked: &Server, answer: Value) -> Result<Table, BusError> {
    let of = "CLUSTER SLOTS";
    if let Value::ServerError(error) = &answer {
        return Err(error::of_server(error));
    }
    let mut table = Table::new();
    for stretch in value::list(answer, of)? {
        let mut stretch = value::list(stretch, of)?.into_iter();
        let first: u16 = value::number(value::next(&mut stretch, of)?, of)?;
        let last: u16 = value::number(value::next(&mut stretch, of)?, of)?;
        let mut primary = value::list(value::next(&mut stretch, of)?, of)?.into_iter();
        let host = value::maybe_bytes(value::next(&mut primary, of)?, of)?.unwrap_or_default();
        let port = value::number(value::next(&mut primary, of)?, of)?;
        let host = std::str::from_utf8(&host).map_err(|_error| BusError::Odd(of))?;
        // One that does not know its own address is where it was asked.
        let host = match host {
            "" | "?" => asked.host.clone(),
            host => server(host, port).map_or_else(|| host.to_owned(), |server| server.host),
        };
        let has = |one: &Partition| (first..=last).contains(&one.slot());
        let owned = Partition::all()
            .filter(has)
            .fold(0, |owned, one| owned | bit(one));
        if owned != 0 {
            *table.entry(Server { host, port }).or_default() |= owned;
        }
    }
    match table.is_empty() {
        true => Err(BusError::away(format!(
            "{asked}: the cluster has no slots yet"
        ))),
        false => Ok(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn stretch(first: i64, last: i64, host: &str, port: i64) -> Value {
        let primary = Value::Array(vec![text(host), Value::Int(port), text("id")]);
        Value::Array(vec![Value::Int(first), Value::Int(last), primary])
    }

    #[test]
    fn a_table_says_who_has_which_partitions() {
        let asked = server("10.0.0.1", 7_000).expect("a server");
        let answer = Value::Array(vec![
            stretch(0, 8_191, "", 7_000),
            stretch(8_192, 8_200, "10.0.0.3", 7_002),
            stretch(8_201, 16_383, "10.0.0.2", 7_001),
        ]);
        let table = read_table(&asked, answer).expect("a table");
        let owned: Vec<(String, u32)> = table
            .iter()
            .map(|(server, owned)| (server.to_string(), owned.count_ones()))
            .collect();
        // One without any of our partitions is not connected to.
        assert_eq!(
            owned,
            [
                ("10.0.0.1:7000".to_owned(), 32),
                ("10.0.0.2:7001".to_owned(), 32)
            ]
        );
        assert_eq!(table.values().fold(0, |all, owned| all | owned), ALL);
    }

    #[test]
    fn what_is_no_table_is_none() {
        let asked = server("10.0.0.1", 7_000).expect("a server");
        for answer in [
            Value::Int(1),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(99_999)])]),
            Value::Array(Vec::new()),
        ] {
            assert!(read_table(&asked, answer).is_err());
        }
    }
}
