//! Samples that servers want from each other, where each has what came in at it: who watches a
//! selector says so for a while, again and again, and whoever has samples of it sends them on.
//!
//! | key | what it holds |
//! |---|---|
//! | `w:TENANT` | selector's hash and member → until when, selector |
//! | `wt` | the partition's tenants of which something is wanted |
//! | `census:MEMBER` | the smallest hashes of a member's series |

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    cluster::Cluster,
    error::BusError,
    key::{FeedKey, Kind},
    route::Partition,
    scripts::Name,
    value,
};

/// What is wanted goes after this where nobody says it again.
pub const WANTED_FOR: Duration = Duration::from_secs(30);

/// Selectors of one tenant that all servers together may want.
pub const WANTED_MAX: usize = 1_024;

/// A member's census goes after this.
const CENSUS_FOR: Duration = Duration::from_secs(120);

/// The feed of what comes to a tenant's selector.
#[must_use]
pub fn feed_of(tenant: &str, selector: &str) -> FeedKey {
    FeedKey::new(Kind::Watch, tenant, hash_of(selector))
}

fn hash_of(selector: &str) -> String {
    format!("{:016x}", xxh3_64(selector.as_bytes()))
}

impl Cluster {
    /// Says that this server wants samples of these selectors of a tenant; for how many of them
    /// there is no room.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn want(&self, tenant: &str, selectors: &[&str]) -> Result<usize, BusError> {
        let hub = &self.hub;
        let mut command = Name::Want.command(2);
        command
            .arg(hub.keys.tenant(tenant, "w"))
            .arg(hub.keys.of_partition(Partition::of(tenant), "wt"))
            .arg(tenant)
            .arg(&*hub.member)
            .arg(WANTED_FOR.as_millis().to_string())
            .arg(WANTED_MAX);
        for selector in selectors {
            command.arg(hash_of(selector)).arg(*selector);
        }
        let answer = hub.ask(Partition::of(tenant), command).await?;
        value::number(answer, "what is wanted")
    }

    /// Tenants of a partition of which something is wanted.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn tenants_wanted(&self, partition: Partition) -> Result<Vec<String>, BusError> {
        let mut command = Name::Wanting.command(1);
        command.arg(self.hub.keys.of_partition(partition, "wt"));
        let answer = self.hub.ask(partition, command).await?;
        texts(answer, "tenants")
    }

    /// Selectors of a tenant of which other servers want samples.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn wanted(&self, tenant: &str) -> Result<Vec<String>, BusError> {
        let hub = &self.hub;
        let mut command = Name::Wanted.command(1);
        command.arg(hub.keys.tenant(tenant, "w")).arg(&*hub.member);
        let answer = hub.ask(Partition::of(tenant), command).await?;
        texts(answer, "what is wanted")
    }

    /// Says for a while which series this server has, in a few bytes.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn tell_census(&self, census: &[u8]) -> Result<(), BusError> {
        let hub = &self.hub;
        let mut command = redis::cmd("SET");
        command
            .arg(hub.keys.own(&format!("census:{}", hub.member)))
            .arg(census)
            .arg("PX")
            .arg(CENSUS_FOR.as_millis().to_string());
        hub.ask(Partition::of(""), command).await.map(drop)
    }

    /// What live members have said of theirs.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn censuses(&self) -> Result<Vec<Bytes>, BusError> {
        let hub = &self.hub;
        let of = "censuses";
        let mut command = redis::cmd("MGET");
        let view = self.view();
        for member in view.live.iter() {
            command.arg(hub.keys.own(&format!("census:{}", member.id)));
        }
        if view.live.is_empty() {
            return Ok(Vec::new());
        }
        let answer = hub.ask(Partition::of(""), command).await?;
        let told = value::list(answer, of)?.into_iter();
        let told: Result<Vec<Option<Bytes>>, BusError> =
            told.map(|one| value::maybe_bytes(one, of)).collect();
        Ok(told?.into_iter().flatten().collect())
    }
}

fn texts(answer: redis::Value, of: &'static str) -> Result<Vec<String>, BusError> {
    let all = value::list(answer, of)?.into_iter();
    all.map(|one| value::text(one, of)).collect()
}
