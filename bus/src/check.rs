//! Whether a server is one that we may rely on.

use std::sync::Arc;

use redis::Value;

use crate::{
    dial::Connection,
    error::{self, BusError, ConnectError, Unfit},
    feeds::bit,
    hub::Hub,
    route::{PARTITIONS, Partition},
    settings::{Server, Servers},
    value,
};

/// Of the keys and what they hold.
const FORMAT: u32 = 1;
/// The oldest that has what we use (sharded channels).
const VERSION: u32 = 7;

/// What is known of a server that will do.
pub(crate) struct Found {
    pub(crate) lineage: Arc<str>,
}

/// Looks at a server, and has it know the scripts.
///
/// # Errors
/// It is no primary, or one that will not do.
pub(crate) async fn check(
    hub: &Hub,
    server: &Server,
    connection: &Connection,
    partitions: u64,
) -> Result<Found, ConnectError> {
    let sections = ["server", "memory", "replication", "cluster"];
    let commands = sections.map(|section| redis::cmd("INFO").arg(section).clone());
    let mut texts = String::new();
    for answer in connection.all(commands.to_vec()).await? {
        texts.push_str(&told(server, answer)?);
        texts.push('\n');
    }
    let info = |name: &str| value::info(&texts, name).unwrap_or_default().to_owned();
    if info("role") != "master" {
        return Err(BusError::away(format!("{server} is a replica and takes no writes")).into());
    }
    judge(hub, server, &info)?;
    let lineage = info("master_replid");
    if lineage.is_empty() {
        return Err(BusError::Odd("INFO replication").into());
    }
    connection
        .load_scripts()
        .await
        .map_err(|error| match error {
            BusError::Refused(why) => ConnectError::Unfit(Unfit::Denied {
                server: server.to_string(),
                why: why.to_string(),
            }),
            error => error.into(),
        })?;
    if partitions & bit(Partition::of("")) != 0 {
        format(hub, server, connection).await?;
    }
    takes_writes(hub, connection, partitions).await?;
    Ok(Found {
        lineage: lineage.into(),
    })
}

fn judge(hub: &Hub, server: &Server, info: &dyn Fn(&str) -> String) -> Result<(), Unfit> {
    let server = server.to_string();
    let version = info("redis_version");
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < VERSION) {
        return Err(Unfit::Version { server, version });
    }
    let policy = info("maxmemory_policy");
    if policy != "noeviction" {
        return Err(Unfit::Eviction { server, policy });
    }
    let is_cluster = info("cluster_enabled") == "1";
    match &hub.settings.address.servers {
        Servers::Cluster(_) if !is_cluster => Err(Unfit::NoCluster { server }),
        Servers::Single(_) | Servers::Sentinel { .. } if is_cluster => {
            Err(Unfit::Cluster { server })
        }
        _ => Ok(()),
    }
}

/// One that is full, or has not the replicas that it should, is as good as away.
async fn takes_writes(hub: &Hub, connection: &Connection, partitions: u64) -> Result<(), BusError> {
    let Some(partition) = Partition::all().find(|one| partitions & bit(*one) != 0) else {
        return Ok(());
    };
    let mut command = redis::cmd("SET");
    command
        .arg(hub.keys.probe(partition, &hub.member))
        .arg(1)
        .arg("PX")
        .arg(1_000);
    connection.one(command).await.map(drop)
}

/// Says of the data which format it has, or learns it.
async fn format(hub: &Hub, server: &Server, connection: &Connection) -> Result<(), ConnectError> {
    let key = hub.keys.own("cfg");
    let set =
        |field: &str, text: String| redis::cmd("HSETNX").arg(&key).arg(field).arg(text).clone();
    let commands = vec![
        set("format", FORMAT.to_string()),
        set("partitions", PARTITIONS.to_string()),
        set("created", crate::hub::now_ms().to_string()),
        redis::cmd("HMGET")
            .arg(&key)
            .arg("format")
            .arg("partitions")
            .clone(),
    ];
    let mut last = Value::Nil;
    for answer in connection.all(commands).await? {
        if let Value::ServerError(error) = &answer {
            return Err(refusal(server, error));
        }
        last = answer;
    }
    let answer = last;
    let mut known = Vec::new();
    for one in value::list(answer, "HMGET")? {
        known.push(value::text(one, "HMGET")?);
    }
    if known == [FORMAT.to_string(), PARTITIONS.to_string()] {
        return Ok(());
    }
    Err(Unfit::Format {
        server: server.to_string(),
        format: known.join("/"),
        ours: FORMAT,
    }
    .into())
}

/// The text of an answer; one who may not ask is told so in a line.
fn told(server: &Server, answer: Value) -> Result<String, ConnectError> {
    match answer {
        Value::ServerError(error) => Err(refusal(server, &error)),
        answer => Ok(value::text(answer, "INFO")?),
    }
}

/// What a refusal means: for want of rights somebody has to change something; for want of memory it
/// may pass.
fn refusal(server: &Server, error: &redis::ServerError) -> ConnectError {
    match error.kind() {
        Some(redis::ServerErrorKind::NoPerm) => ConnectError::Unfit(Unfit::Denied {
            server: server.to_string(),
            why: error::of_server(error).to_string(),
        }),
        _ => match error.code() {
            "NOAUTH" | "WRONGPASS" => ConnectError::Unfit(Unfit::Denied {
                server: server.to_string(),
                why: error.code().to_owned(),
            }),
            _ => ConnectError::Away(error::of_server(error)),
        },
    }
}
