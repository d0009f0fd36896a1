//! Counting one item, whoever tracks it.
//!
//! An item is counted in the tenant's tracked items and kept in the journal; the engine gets the
//! running count and sum as two counters (`NAME_count`, `NAME_sum`), which lose nothing when many
//! items come in one millisecond. An item whose metadata names a `metric` is also a sample of
//! `NAME{metric="…"}`, but for what the host itself tracks so: that is counted with the type, and
//! the series is the host's alone.
//!
//! The two counters are nobody else's: a type whose counters somebody pushes is refused, and what
//! is pushed onto those of a type that is tracked is.

use std::{fmt, sync::Arc};

use pulseboard_engine::{Engine, Tenant};
use pulseboard_history::log::{LogError, Ticket};
use pulseboard_series::{Batch, Kind, Reason};
use pulseboard_shared::{Labels, protocol::dashboard::ItemTotals};

use super::{TenantItems, TooManyNames, TrackedItems};
use crate::{
    alerts::Alerts,
    ingest::Ingest,
    ticks::{
        builtin_series::{self, BuiltInSeries},
        window::series_key,
    },
};

/// The type whose rate is watched.
const ERROR: &str = "error";

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its type.
    pub name: String,
    /// Its value; any finite number.
    pub value: f64,
    /// What its metadata says that it is a measure of.
    pub metric: Option<String>,
    /// Whether the server tracks it itself.
    pub is_own: bool,
}

/// Why an item is not counted.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The tenant has too many types.
    #[error(transparent)]
    TooManyNames(#[from] TooManyNames),
    /// One of its counters is a series that somebody pushes.
    #[error(
        "{0} is pushed as a series at the moment, and items of this type would be counted in it; rename the type or the series"
    )]
    Pushed(String),
}

/// What an item is counted in.
#[derive(Clone, Copy)]
pub struct Tracking<'a> {
    /// Counts and sums.
    pub tracked: &'a TrackedItems,
    /// `None` keeps them in memory.
    pub journal: Option<&'a dyn ItemLog>,
    /// Series.
    pub engine: &'a Engine,
    /// Says when a series' record is safe.
    pub ingest: &'a Ingest,
    /// Hear of errors.
    pub alerts: &'a Alerts,
    /// Which series are the server's own.
    pub own: &'a BuiltInSeries,
}

/// What became of an item that was counted.
#[derive(Debug)]
pub struct Counted {
    /// Why it is not safe, where it is not.
    pub not_durable: Option<LogError>,
    /// Why its series did not take it, in words.
    pub refused: Vec<String>,
}

/// Keeps items across a restart.
pub trait ItemLog: Send + Sync {
    /// Counts an item by `count` and keeps it, in one step.
    ///
    /// # Errors
    /// Those of `count`; nothing is kept then. The inner ones are the log's: the item was counted
    /// and is in memory alone.
    fn item(
        &self,
        name: (&str, &str),
        value: f64,
        at_ms: i64,
        count: &dyn Fn() -> Result<ItemTotals, TooManyNames>,
    ) -> Result<(ItemTotals, Result<Ticket, LogError>), TooManyNames>;
}

impl Tracking<'_> {
    /// Counts an item and waits until it is safe.
    ///
    /// # Errors
    /// The tenant has too many types, or somebody pushes its counters; nothing was counted.
    pub async fn track(
        &self,
        tenant: &Arc<Tenant>,
        item: Item,
        now_ms: i64,
    ) -> Result<Counted, TrackError> {
        let tracked = self.tracked.tenant(&tenant.name);
        let name = item.name.as_str();
        claim_counts(self.engine, tenant, &tracked, name, now_ms)?;
        let count = || tracked.add(name, item.value, now_ms);
        let (totals, kept) = match self.journal {
            Some(journal) => {
                let (totals, kept) =
                    journal.item((&tenant.name, name), item.value, now_ms, &count)?;
                (totals, Some(kept))
            }
            None => (count()?, None),
        };
        let mut batch = Batch::new();
        let counts = (totals.count as f64, totals.total);
        let written = builtin_series::write_counts(&mut batch, name, counts, now_ms)
            .and_then(|()| write_measure(&mut batch, self.own, tenant, &item, now_ms));
        let appended = self.engine.append_own(tenant, &batch, now_ms);
        let refused = appended.refused.iter().map(|one| one.reason.to_string());
        let refused = refused.chain(written.err().map(|reason| reason.to_string()));
        let refused: Vec<String> = refused.collect();
        if name == ERROR {
            self.alerts.count_error(&tenant.name, now_ms);
        }
        let kept = match kept {
            None => None,
            Some(Err(error)) => Some(error),
            Some(Ok(ticket)) => ticket.wait().await.err(),
        };
        let not_durable = self.ingest.wait(appended.persistence, &appended.onward);
        Ok(Counted {
            not_durable: kept.or(not_durable.await),
            refused,
        })
    }
}

/// Keeps a type's counters for it. One that was tracked before has them; a new one gets them unless
/// somebody pushes them.
fn claim_counts(
    engine: &Engine,
    tenant: &Tenant,
    tracked: &TenantItems,
    name: &str,
    now_ms: i64,
) -> Result<(), TrackError> {
    let mut batch = Batch::new();
    if builtin_series::write_counts(&mut batch, name, (0.0, 0.0), now_ms).is_err() {
        // Its counters' names are too long; then there are none.
        return Ok(());
    }
    if tracked.knows(name) {
        engine.reserve(tenant, &batch);
        return Ok(());
    }
    if !tracked.has_room() {
        return Err(TooManyNames.into());
    }
    let claimed = engine.claim(tenant, &batch, now_ms);
    claimed.map_err(TrackError::Pushed)
}

/// The sample that an item is which says of what it is a measure.
fn write_measure(
    batch: &mut Batch,
    own: &BuiltInSeries,
    tenant: &Tenant,
    item: &Item,
    now_ms: i64,
) -> Result<(), Reason> {
    let Some(metric) = &item.metric else {
        return Ok(());
    };
    let labels = Labels::from([("metric".to_owned(), metric.clone())]);
    if !item.is_own && own.has(&tenant.name, &series_key(&item.name, &labels)) {
        return Ok(());
    }
    batch.begin(&[&item.name])?;
    batch.label("metric", metric)?;
    batch.describe(Kind::Gauge, "");
    batch.finish(1, Some(now_ms), item.value)
}

impl fmt::Debug for Tracking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracking")
            .field("tracked", self.tracked)
            .finish_non_exhaustive()
    }
}
