//! States that one server moves on for all, such as those of alerts: each step is compared with
//! what is there, told on a feed and noted for whoever is notified, in one script. A holder of a
//! lease that slept through its end changes nothing, since its token is smaller than one that has
//! been seen.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    cluster::Cluster, error::BusError, key::FeedKey, route::Partition, scripts::Name, value,
};

/// What is to be sent is kept for so many notifications of a tenant; the oldest go.
pub const OUTGOING_KEPT: usize = 10_000;
/// States of a tenant.
pub const STATES_MAX: usize = 20_000;

/// A state and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// A word, such as `firing`.
    pub state: String,
    /// Whatever else is known.
    pub bytes: Bytes,
}

/// A step from one state to the next. States are words without spaces; `""` is none.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// With which token of a lease.
    pub token: u64,
    /// Which: `RULE/SERIES`.
    pub key: &'a str,
    /// The state that the caller knows.
    pub from: &'a str,
    /// The next one; `""` forgets it.
    pub to: &'a str,
    /// What is known of it then.
    pub bytes: &'a [u8],
    /// What is appended to this feed of the same tenant.
    pub tell: Option<(&'a FeedKey, &'a [u8])>,
    /// What is to be sent to somebody.
    pub send: Option<&'a [u8]>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It is done.
    Done,
    /// It is in another state, this one; nothing was done.
    Other(String),
    /// Somebody with a newer token is at work; nothing was done.
    Outdated,
    /// The tenant has [`STATES_MAX`].
    Full,
}

impl Cluster {
    /// Takes a step, at once with what tells of it.
    ///
    /// # Errors
    /// Redis is away or refuses; whether it was done is seen by taking it again, which does it
    /// once.
    pub async fn step(&self, tenant: &str, step: Step<'_>) -> Result<Stepped, BusError> {
        let of = "a step";
        let (hub, partition) = (&self.hub, Partition::of(tenant));
        // Without a frame its feed's keys are not looked at.
        let own = FeedKey::new(crate::key::Kind::Alert, tenant, "");
        let (feed, frame) = step.tell.unwrap_or((&own, b""));
        if *feed.tenant != *tenant {
            return Err(BusError::Refused(
                "a step is told on a feed of its own tenant".into(),
            ));
        }
        let (keys, kept) = (hub.keys.feed(feed), hub.settings.kept.of(feed.kind));
        let mut command = Name::Step.command(5);
        command
            .arg(hub.keys.tenant(tenant, "al"))
            .arg(hub.keys.tenant(tenant, "out"))
            .arg(keys.stream)
            .arg(keys.meta)
            .arg(hub.keys.generation(partition))
            .arg(hub.lineage(partition).as_deref().unwrap_or_default())
            .arg(step.token)
            .arg(step.key)
            .arg(step.from)
            .arg(step.to)
            .arg(step.bytes)
            .arg(frame)
            .arg(kept.frames)
            .arg(kept.time.as_secs().max(1))
            .arg(step.send.unwrap_or_default())
            .arg(OUTGOING_KEPT)
            .arg(STATES_MAX);
        let answer = hub.ask(partition, command).await?;
        let mut answer = value::list(answer, of)?.into_iter();
        let outcome: u8 = value::number(value::next(&mut answer, of)?, of)?;
        let state = value::text(value::next(&mut answer, of)?, of)?;
        Ok(match outcome {
            0 => Stepped::Other(state),
            1 => Stepped::Done,
            2 => Stepped::Outdated,
            _ => Stepped::Full,
        })
    }

    /// All states of a tenant: what a new holder of its partition begins with.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn incidents(&self, tenant: &str) -> Result<HashMap<String, Incident>, BusError> {
        let of = "states";
        let command = redis::cmd("HGETALL")
            .arg(self.hub.keys.tenant(tenant, "al"))
            .clone();
        let answer = self.hub.ask(Partition::of(tenant), command).await?;
        let mut all = HashMap::new();
        for (key, known) in value::pairs(value::list(answer, of)?.into_iter(), of)? {
            let Some(end) = known.iter().position(|byte| *byte == b' ') else {
                // The token, which has no state.
                continue;
            };
            let state = String::from_utf8_lossy(known.get(..end).unwrap_or_default()).into_owned();
            let bytes = known.slice(end + 1..);
            all.insert(key, Incident { state, bytes });
        }
        Ok(all)
    }

    /// The oldest notifications of a tenant that are to be sent, with their ids.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn outgoing(
        &self,
        tenant: &str,
        count: usize,
    ) -> Result<Vec<(String, Bytes)>, BusError> {
        let of = "notifications";
        let mut command = redis::cmd("XRANGE");
        command
            .arg(self.hub.keys.tenant(tenant, "out"))
            .arg("-")
            .arg("+");
        command.arg("COUNT").arg(count.max(1));
        let answer = self.hub.ask(Partition::of(tenant), command).await?;
        let mut all = Vec::new();
        for entry in value::list(answer, of)? {
            let mut entry = value::list(entry, of)?.into_iter();
            let id = value::text(value::next(&mut entry, of)?, of)?;
            let mut fields = value::list(value::next(&mut entry, of)?, of)?.into_iter();
            let _name = value::next(&mut fields, of)?;
            all.push((id, value::bytes(value::next(&mut fields, of)?, of)?));
        }
        Ok(all)
    }

    /// These have been sent.
    ///
    /// # Errors
    /// Redis is away or refuses.
    pub async fn sent(&self, tenant: &str, ids: &[String]) -> Result<(), BusError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("XDEL");
        command.arg(self.hub.keys.tenant(tenant, "out")).arg(ids);
        self.hub.ask(Partition::of(tenant), command).await.map(drop)
    }
}
