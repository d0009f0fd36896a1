//! Counting what is tracked, on all servers together: each item once, whatever becomes of a
//! connection or a primary.
//!
//! Items of a fifth of a second are one batch, which has a number; the totals and the numbers that
//! they have of each server change together, and are lost together.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use redis::{Cmd, Value};

use crate::{
    batch::{Batch, Sum},
    error::BusError,
    hub::Hub,
    outbox::{Job, Lane, Outcome},
    route::Partition,
    scripts::Name,
    sink::{Placed, Refused},
    value,
};

/// Names a tenant may have.
pub const NAMES_MAX: usize = 1_000;
/// Buckets that are kept of a length.
pub const BUCKETS_KEPT: usize = 20;
/// Names that wait in one batch; then it is sent before its time.
const BATCH_NAMES: usize = NAMES_MAX;

/// What came of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    /// Items.
    pub count: u64,
    /// Of their values.
    pub sum: f64,
    /// When the last one came, Unix milliseconds.
    pub last_ms: i64,
}

/// What came of all names in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Where it begins, Unix seconds.
    pub start: i64,
    /// Items.
    pub count: u64,
    /// Of their values.
    pub sum: f64,
}

/// Items that wait to be counted.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<Arc<str>, Batch>>);

impl Waiting {
    pub(crate) fn add(
        &self,
        hub: &Hub,
        tenant: &Arc<str>,
        item: (&str, f64, i64),
        lengths: &[u32],
    ) -> Result<(), Refused> {
        let (name, value, at_ms) = item;
        let full = {
            let mut waiting = self.0.lock();
            let batch = waiting.entry(Arc::clone(tenant)).or_default();
            batch.add(name, value, at_ms, lengths);
            let is_full = batch.items.len() >= BATCH_NAMES;
            is_full.then(|| std::mem::take(batch))
        };
        match full {
            Some(batch) => send(hub, tenant, batch),
            None => Ok(()),
        }
    }

    /// Sends what waits.
    pub(crate) fn flush(&self, hub: &Hub) {
        let waiting = std::mem::take(&mut *self.0.lock());
        for (tenant, batch) in waiting
            .into_iter()
            .filter(|(_, batch)| !batch.items.is_empty())
        {
            if let Err(error) = send(hub, &tenant, batch) {
                tracing::warn!(%error, %tenant, "items are counted on this server alone");
            }
        }
    }
}

fn send(hub: &Hub, tenant: &Arc<str>, batch: Batch) -> Result<(), Refused> {
    let lane = Lane::Counts(Arc::clone(tenant));
    hub.send(
        Partition::of(tenant),
        lane,
        Job::Counts(Arc::new(batch)),
        None,
    )
}

pub(crate) fn command(hub: &Hub, tenant: &str, batch: &Batch, number: u64, before: u64) -> Cmd {
    let mut lengths: Vec<u32> = batch.buckets.keys().map(|(length, _)| *length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut command = Name::Count.command(2 + lengths.len());
    command
        .arg(hub.keys.tenant(tenant, "trk"))
        .arg(hub.keys.tenant(tenant, "seq"));
    for length in &lengths {
        command.arg(bucket_key(hub, tenant, *length));
    }
    command
        .arg(&*hub.member)
        .arg(number)
        .arg(before)
        .arg(NAMES_MAX)
        .arg(BUCKETS_KEPT)
        .arg(batch.items.len());
    for (name, sum) in &batch.items {
        command
            .arg(name)
            .arg(sum.count)
            .arg(finite(sum))
            .arg(sum.last_ms);
    }
    for ((length, start), sum) in &batch.buckets {
        let place = lengths
            .iter()
            .position(|one| one == length)
            .unwrap_or_default();
        command
            .arg(place + 1)
            .arg(*start)
            .arg(sum.count)
            .arg(finite(sum));
    }
    command
}

/// Redis adds no infinities.
fn finite(sum: &Sum) -> String {
    sum.sum.clamp(f64::MIN, f64::MAX).to_string()
}

fn bucket_key(hub: &Hub, tenant: &str, length: u32) -> String {
    hub.keys.item(tenant, "trkb", &length.to_string())
}

pub(crate) fn outcome(mut answer: impl Iterator<Item = Value>) -> Result<Outcome, BusError> {
    let outcome: u8 = value::number(value::next(&mut answer, "a count")?, "a count")?;
    Ok(match outcome {
        0 | 1 => Outcome::Done(Placed::Known),
        _ => Outcome::Again,
    })
}

/// Everything that was counted of a tenant, by name.
pub(crate) async fn totals(hub: &Hub, tenant: &str) -> Result<HashMap<String, Total>, BusError> {
    let of = "totals";
    let command = redis::cmd("HGETALL")
        .arg(hub.keys.tenant(tenant, "trk"))
        .clone();
    let answer = hub.ask(Partition::of(tenant), command).await?;
    let mut totals: HashMap<String, Total> = HashMap::new();
    for (field, figure) in value::pairs(value::list(answer, of)?.into_iter(), of)? {
        let (name, what) = field.rsplit_once('\0').ok_or(BusError::Odd(of))?;
        let total = totals.entry(name.to_owned()).or_default();
        let text = std::str::from_utf8(&figure).map_err(|_error| BusError::Odd(of))?;
        match what {
            "c" => total.count = text.parse().map_err(|_error| BusError::Odd(of))?,
            "s" => total.sum = text.parse().map_err(|_error| BusError::Odd(of))?,
            _ => total.last_ms = text.parse().map_err(|_error| BusError::Odd(of))?,
        }
    }
    Ok(totals)
}

/// The newest buckets of a length, oldest first.
pub(crate) async fn buckets(hub: &Hub, tenant: &str, length: u32) -> Result<Vec<Bucket>, BusError> {
    let of = "buckets";
    let command = redis::cmd("HGETALL")
        .arg(bucket_key(hub, tenant, length))
        .clone();
    let answer = hub.ask(Partition::of(tenant), command).await?;
    let mut buckets: HashMap<i64, Bucket> = HashMap::new();
    for (field, figure) in value::pairs(value::list(answer, of)?.into_iter(), of)? {
        let (start, what) = field.split_once('\0').ok_or(BusError::Odd(of))?;
        let start = start.parse().map_err(|_error| BusError::Odd(of))?;
        let bucket = buckets.entry(start).or_default();
        bucket.start = start;
        let text = std::str::from_utf8(&figure).map_err(|_error| BusError::Odd(of))?;
        match what {
            "c" => bucket.count = text.parse().map_err(|_error| BusError::Odd(of))?,
            _ => bucket.sum = text.parse().map_err(|_error| BusError::Odd(of))?,
        }
    }
    let mut buckets: Vec<Bucket> = buckets.into_values().collect();
    buckets.sort_by_key(|bucket| bucket.start);
    let beyond = buckets.len().saturating_sub(BUCKETS_KEPT);
    Ok(buckets.split_off(beyond))
}

/// Begins anew with nothing; batches that were counted stay counted.
pub(crate) async fn reset(hub: &Hub, tenant: &str, lengths: &[u32]) -> Result<(), BusError> {
    let mut command = redis::cmd("DEL");
    command.arg(hub.keys.tenant(tenant, "trk"));
    for length in lengths {
        command.arg(bucket_key(hub, tenant, *length));
    }
    hub.ask(Partition::of(tenant), command).await.map(drop)
}
