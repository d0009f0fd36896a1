//! A Redis Cluster: three primaries, each with a copy, and slots that move.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{Redis, eventually};

/// How soon a member that is silent counts as dead, in milliseconds.
const DEAD_AFTER_MS: &str = "2000";

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
const WELL_WITHIN: Duration = Duration::from_secs(60);

/// Three primaries and three copies.
#[derive(Debug)]
pub struct RedisCluster {
    members: Vec<Redis>,
}

impl RedisCluster {
    /// Starts them, and waits until all of them say that all is well. One that is killed before its
    /// copy has heard it once is never replaced.
    ///
    /// # Errors
    /// They do not find each other.
    pub async fn start(program: &Path) -> Result<Self> {
        let mut members = Vec::new();
        while members.len() < 2 * PRIMARIES {
            let more = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                DEAD_AFTER_MS,
            ];
            let mut member = Redis::away(program, &more)?;
            // Their own connections are at a port 10 000 above, which has to be there.
            if member.port() < 50_000 && member.again().await.is_ok() {
                members.push(member);
            }
        }
        let cluster = Self { members };
        for (number, primary) in cluster.members.iter().take(PRIMARIES).enumerate() {
            let (first, next) = (number * SLOTS / PRIMARIES, (number + 1) * SLOTS / PRIMARIES);
            primary
                .ask(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1))
                .await?;
            primary
                .ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1))
                .await?;
        }
        let first = cluster.members[0].port();
        for member in &cluster.members[1..] {
            member
                .ask(&format!("CLUSTER MEET 127.0.0.1 {first}"))
                .await?;
        }
        for (number, copy) in cluster.members.iter().skip(PRIMARIES).enumerate() {
            let id = cluster.id(number).await?;
            let what = "a copy knows whose it is to be";
            eventually(what, WELL_WITHIN, async || {
                Ok(copy.ask(&format!("CLUSTER REPLICATE {id}")).await.is_ok())
            })
            .await?;
        }
        cluster.is_well().await?;
        Ok(cluster)
    }

    /// What replicas are told.
    #[must_use]
    pub fn url(&self) -> String {
        let two: Vec<String> = self.members[1..3]
            .iter()
            .map(|member| format!("127.0.0.1:{}", member.port()))
            .collect();
        format!("redis-cluster://{}", two.join(","))
    }

    /// Waits until each member that lives says that all slots are served, and copies hear theirs.
    ///
    /// # Errors
    /// They do not say so.
    pub async fn is_well(&self) -> Result<()> {
        eventually("the cluster is well", WELL_WITHIN, async || {
            for member in self.members.iter().filter(|member| member.runs()) {
                let info = member.ask("CLUSTER INFO").await?.concat();
                let heard = member.is_primary().await? || member.is_copying().await?;
                if !info.contains("cluster_state:ok") || !heard {
                    return Ok(false);
                }
            }
            Ok(self.primaries().await?.len() == PRIMARIES)
        })
        .await?;
        Ok(())
    }

    /// The places of those that are primaries.
    ///
    /// # Errors
    /// One that lives does not answer.
    pub async fn primaries(&self) -> Result<Vec<usize>> {
        let mut places = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            if member.runs() && member.is_primary().await? {
                places.push(place);
            }
        }
        Ok(places)
    }

    /// Ends one as a power cut would.
    ///
    /// # Errors
    /// The process was lost.
    pub async fn kill(&mut self, place: usize) -> Result<()> {
        self.members[place].kill().await
    }

    /// Starts it again, empty: its copy is the primary by then, and it becomes the copy.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn again(&mut self, place: usize) -> Result<()> {
        self.members[place].again().await
    }

    async fn id(&self, place: usize) -> Result<String> {
        let id = self.members[place].ask("CLUSTER MYID").await?;
        id.into_iter().next().context("it has an id")
    }

    /// Moves the slot of a room's feed from one primary to another, with all that is in it; `None`
    /// where the primary has no such feed.
    ///
    /// # Errors
    /// It could not be moved.
    pub async fn move_a_room(&self, from: usize, to: usize) -> Result<Option<u64>> {
        let (source, target) = (&self.members[from], &self.members[to]);
        let keys = source.ask("KEYS *:f:room:*").await?;
        let Some(key) = keys.first() else {
            return Ok(None);
        };
        let slot = source.ask(&format!("CLUSTER KEYSLOT {key}")).await?;
        let slot: u64 = slot.first().context("a slot")?.parse()?;
        let (source_id, target_id) = (self.id(from).await?, self.id(to).await?);
        target
            .ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {source_id}"))
            .await?;
        source
            .ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {target_id}"))
            .await?;
        for _ in 0..1_000 {
            let keys = source
                .ask(&format!("CLUSTER GETKEYSINSLOT {slot} 50"))
                .await?;
            if keys.is_empty() {
                for member in [target, source] {
                    member
                        .ask(&format!("CLUSTER SETSLOT {slot} NODE {target_id}"))
                        .await?;
                }
                return Ok(Some(slot));
            }
            let keys = keys.join(" ");
            let port = target.port();
            let moved = format!("MIGRATE 127.0.0.1 {port} \"\" 0 1000 KEYS {keys}");
            ensure!(source.ask(&moved).await.is_ok(), "{moved}");
        }
        bail!("slot {slot} does not become empty")
    }
}
