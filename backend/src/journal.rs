//! What the server itself has to remember across a restart and what is no series: the ticks of
//! the window, sendings of alerts, tracked items, totals, and the epoch that names the streams.
//!
//! One log with group commit (see [`pulseboard_history::log`]). Now and then everything is written
//! again as a snapshot into a new segment, and the segments before it go; so a start reads little,
//! however long the server ran.
//!
//! ```text
//! segment 7:  RUN  SNAPSHOT  SERIES TICK TICK …  ALERT …   ITEM TICK ITEM ITEM TICK …   CLOSED
//!             └──────── written at once ─────────┘
//! ```
//!
//! **Epoch.** Streams go on under the epoch and offsets of the run before, so that a viewer that
//! comes back resumes across the restart. After a power cut the last ticks may not be on the disk
//! although viewers have seen them; their offsets would be given out twice. So where the machine
//! was started anew and the run before did not end in order, there is a new epoch.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use pulseboard_history::log::{Health, Log, LogError, LogOptions, LogStats, ReplayReport, Ticket};
use pulseboard_shared::{Alert, AlertState, Labels};
use serde::{Deserialize, Serialize};

use crate::{
    feed::Epoch,
    tallies::{Items, Snapshot, Tallies},
    window::{Series, Tick},
};

/// A new snapshot is written when so many bytes have come since the last one. More: a start reads
/// more. Fewer: the window is written more often.
const SNAPSHOT_EVERY_BYTES: u64 = 4 << 20;

/// Record types.
mod kind {
    pub(super) const RUN: u8 = 1;
    pub(super) const CLOSED: u8 = 2;
    pub(super) const SNAPSHOT: u8 = 3;
    pub(super) const SERIES: u8 = 4;
    pub(super) const TICK: u8 = 5;
    pub(super) const ALERT: u8 = 6;
    pub(super) const ITEM: u8 = 7;
}

/// The running log.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    run: Run,
    /// Held while an item is counted and written, and while a snapshot is taken and written: an
    /// item is either in the snapshot or behind it.
    order: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// The series of the tick that was written last.
    series: Option<Arc<[Series]>>,
    bytes_at_snapshot: u64,
}

/// What a restart finds.
#[derive(Debug, Default)]
pub struct Restored {
    /// Names the streams; `None` at a first start or after a power cut.
    pub epoch: Option<Epoch>,
    /// The newest ticks with their offsets, oldest first, without gaps.
    pub ticks: VecDeque<(u64, Arc<Tick>)>,
    /// The newest sendings with their offsets, oldest first, without gaps.
    pub alerts: VecDeque<(u64, KeptAlert)>,
    /// Incidents that had not ended, newest sending of each.
    pub active: Vec<KeptAlert>,
    /// What was tracked.
    pub tallies: Snapshot,
    /// Requests and errors in all.
    pub totals: (u64, u64),
    /// What could not be read.
    pub report: ReplayReport,
}

/// A sending of an alert and whose it is (`None`: the server's own, everybody's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptAlert {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Arc<str>>,
    /// What was sent.
    pub alert: Alert,
}

impl KeptAlert {
    /// Whether a caller of this tenant may see it.
    #[must_use]
    pub fn is_for(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Ticks.
    pub ticks: usize,
    /// Sendings of alerts.
    pub alerts: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Run {
    epoch: u64,
    /// Changes when the machine starts.
    boot: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SeriesRecord {
    name: String,
    unit: String,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
}

#[derive(Debug, Serialize, Deserialize)]
struct AlertRecord {
    offset: u64,
    #[serde(flatten)]
    kept: KeptAlert,
}

#[derive(Debug, Serialize, Deserialize)]
struct ItemRecord<'a> {
    tenant: &'a str,
    name: &'a str,
    value: f64,
    at_ms: i64,
}

/// Everything that a snapshot needs; taken by [`Journal::write_snapshot`]'s caller.
#[derive(Debug)]
pub struct State {
    /// The ticks of the window with the newest one's offset.
    pub ticks: Vec<Arc<Tick>>,
    /// Offset of the newest tick.
    pub newest_offset: u64,
    /// Requests and errors in all.
    pub totals: (u64, u64),
    /// The newest sendings with their offsets, oldest first.
    pub alerts: Vec<(u64, KeptAlert)>,
    /// Incidents that go on.
    pub active: Vec<KeptAlert>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotRecord {
    tallies: Snapshot,
    active: Vec<KeptAlert>,
}

impl Journal {
    /// Reads what is kept in `folder` and goes on writing there. `epoch` names the streams where
    /// nothing is kept that could.
    ///
    /// # Errors
    /// The folder cannot be read or written, or is of a later version.
    pub fn open(
        folder: &Path,
        options: LogOptions,
        kept: Kept,
        epoch: Epoch,
    ) -> Result<(Self, Restored), LogError> {
        let mut reading = Reading {
            kept,
            restored: Restored::default(),
            series: [].into(),
            run: None,
            is_closed: false,
            active: BTreeMap::new(),
        };
        let (log, report) = Log::open(folder, options, |kind, payload, _| {
            reading.take(kind, payload);
        })?;
        let boot = boot_id();
        let mut restored = reading.restored;
        restored.report = report;
        restored.active = reading.active.into_values().collect();
        // Whatever is amiss, the same offset must not be given out twice.
        let goes_on = reading
            .run
            .filter(|run| reading.is_closed || run.boot == boot);
        restored.epoch = goes_on.map(|run| Epoch(run.epoch));
        let run = Run {
            epoch: restored.epoch.unwrap_or(epoch).0,
            boot,
        };
        let journal = Self {
            log,
            run,
            order: Mutex::default(),
        };
        Ok((journal, restored))
    }

    /// Keeps a tick; call it before the tick is published.
    pub fn tick(&self, offset: u64, tick: &Tick, totals: (u64, u64)) {
        let mut order = self.order.lock();
        self.put_tick(&mut order, offset, tick, totals);
    }

    fn put_tick(&self, order: &mut Written, offset: u64, tick: &Tick, totals: (u64, u64)) {
        let is_known = order
            .series
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &tick.series));
        if !is_known {
            let series: Vec<SeriesRecord> = tick
                .series
                .iter()
                .map(|series| SeriesRecord {
                    name: series.name.to_string(),
                    unit: series.unit.to_string(),
                    labels: series.labels.clone(),
                })
                .collect();
            self.put(kind::SERIES, crate::json_text(&series).as_bytes());
            order.series = Some(Arc::clone(&tick.series));
        }
        let mut bytes = Vec::with_capacity(40 + 8 * tick.values.len());
        for number in [offset, totals.0, totals.1] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for time in [tick.sampled_ms, tick.sent_ms] {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        for value in &tick.values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        self.put(kind::TICK, &bytes);
    }

    /// Keeps a sending of an alert; call it before it is published.
    pub fn alert(&self, offset: u64, kept: KeptAlert) {
        let record = AlertRecord { offset, kept };
        self.put(kind::ALERT, crate::json_text(&record).as_bytes());
    }

    /// Counts an item by `count` and keeps it, in one step.
    ///
    /// # Errors
    /// Those of `count`; nothing is kept then. The inner ones are the log's: the item was counted
    /// and is in memory alone.
    pub fn item<T, E>(
        &self,
        (tenant, name): (&str, &str),
        value: f64,
        at_ms: i64,
        count: impl FnOnce() -> Result<T, E>,
    ) -> Result<(T, Result<Ticket, LogError>), E> {
        let record = crate::json_text(&ItemRecord {
            tenant,
            name,
            value,
            at_ms,
        });
        let _order = self.order.lock();
        let counted = count()?;
        Ok((counted, self.log.append(kind::ITEM, record.as_bytes())))
    }

    /// Writes everything again where enough has been written since the last time. Blocks for the
    /// disk; `state` is asked for under the lock that keeps items out.
    ///
    /// # Errors
    /// The log is closed, or old segments cannot be removed.
    pub fn write_snapshot(
        &self,
        tallies: &Tallies,
        at_once: bool,
        state: impl FnOnce() -> State,
    ) -> Result<(), LogError> {
        let mut order = self.order.lock();
        let bytes = self.log.stats().bytes;
        if !at_once && bytes.saturating_sub(order.bytes_at_snapshot) < SNAPSHOT_EVERY_BYTES {
            return Ok(());
        }
        let segment = self.log.rotate()?;
        let state = state();
        self.put(kind::RUN, crate::json_text(&self.run).as_bytes());
        let snapshot = SnapshotRecord {
            tallies: tallies.snapshot(),
            active: state.active,
        };
        self.put(kind::SNAPSHOT, crate::json_text(&snapshot).as_bytes());
        order.series = None;
        let first = (state.newest_offset + 1).saturating_sub(state.ticks.len() as u64);
        for (offset, tick) in (first..).zip(&state.ticks) {
            self.put_tick(&mut order, offset, tick, state.totals);
        }
        let mut last = None;
        for (offset, kept) in state.alerts {
            let record = AlertRecord { offset, kept };
            last = Some(
                self.log
                    .append(kind::ALERT, crate::json_text(&record).as_bytes()),
            );
        }
        // The old ones go when the new one is safe, and not before.
        let last = match last {
            Some(last) => last,
            None => self
                .log
                .append(kind::RUN, crate::json_text(&self.run).as_bytes()),
        };
        last?.wait_blocking()?;
        self.log.remove_before(segment)?;
        order.bytes_at_snapshot = self.log.stats().bytes;
        Ok(())
    }

    /// Says that this run ends in order, and closes the log.
    pub fn close(&self) {
        self.put(kind::CLOSED, &[]);
        self.log.close();
    }

    /// Whether it can be written to.
    #[must_use]
    pub fn health(&self) -> Health {
        self.log.health()
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.log.stats()
    }

    /// What nobody waits for; that the disk refuses is said by its health.
    fn put(&self, kind: u8, payload: &[u8]) {
        if let Err(error) = self.log.append(kind, payload) {
            tracing::debug!(%error, record.kind = kind, "the journal did not take a record");
        }
    }
}

/// Reading what a run before this one wrote.
struct Reading {
    kept: Kept,
    restored: Restored,
    series: Arc<[Series]>,
    run: Option<Run>,
    is_closed: bool,
    active: BTreeMap<uuid::Uuid, KeptAlert>,
}

impl Reading {
    /// What cannot be read is passed over: it is a record of a later version or damage that the
    /// log's checksums let through.
    fn take(&mut self, kind: u8, payload: &[u8]) {
        self.is_closed = kind == kind::CLOSED;
        match kind {
            kind::RUN => {
                if let Ok(run) = serde_json::from_slice::<Run>(payload) {
                    if self
                        .run
                        .as_ref()
                        .is_none_or(|known| known.epoch != run.epoch)
                    {
                        self.restored.ticks.clear();
                        self.restored.alerts.clear();
                    }
                    self.run = Some(run);
                }
            }
            kind::SNAPSHOT => {
                if let Ok(snapshot) = serde_json::from_slice::<SnapshotRecord>(payload) {
                    self.restored.tallies = snapshot.tallies;
                    self.active = snapshot
                        .active
                        .into_iter()
                        .map(|kept| (kept.alert.incident, kept))
                        .collect();
                }
            }
            kind::SERIES => {
                if let Ok(series) = serde_json::from_slice::<Vec<SeriesRecord>>(payload) {
                    self.series = series
                        .into_iter()
                        .map(|series| Series::new(&series.name, &series.unit, series.labels))
                        .collect();
                }
            }
            kind::TICK => self.take_tick(payload),
            kind::ALERT => {
                if let Ok(record) = serde_json::from_slice::<AlertRecord>(payload) {
                    let incident = record.kept.alert.incident;
                    match record.kept.alert.state {
                        AlertState::Firing => {
                            self.active.insert(incident, record.kept.clone());
                        }
                        AlertState::Resolved => {
                            self.active.remove(&incident);
                        }
                    }
                    let max = self.kept.alerts;
                    put_in_order(&mut self.restored.alerts, record.offset, record.kept, max);
                }
            }
            kind::ITEM => {
                if let Ok(item) = serde_json::from_slice::<ItemRecord<'_>>(payload) {
                    let items: &mut Items = self
                        .restored
                        .tallies
                        .entry(item.tenant.to_owned())
                        .or_default();
                    // It was taken then; a bound that was lowered since is no reason to stop.
                    if items.add(item.name, item.value, item.at_ms).is_err() {
                        tracing::debug!(name = item.name, "a tracked name is past the bound now");
                    }
                }
            }
            _ => {}
        }
    }

    fn take_tick(&mut self, payload: &[u8]) {
        let mut numbers = payload
            .chunks_exact(8)
            .filter_map(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let mut unsigned = || numbers.next().map(u64::from_le_bytes);
        let (Some(offset), Some(requests), Some(errors)) = (unsigned(), unsigned(), unsigned())
        else {
            return;
        };
        let (Some(sampled), Some(sent)) = (unsigned(), unsigned()) else {
            return;
        };
        let values: Box<[f64]> = numbers.map(f64::from_le_bytes).collect();
        if values.len() != self.series.len() {
            return;
        }
        self.restored.totals = (requests, errors);
        let tick = Tick {
            sampled_ms: sampled.cast_signed(),
            sent_ms: sent.cast_signed(),
            series: Arc::clone(&self.series),
            values,
        };
        let max = self.kept.ticks;
        put_in_order(&mut self.restored.ticks, offset, Arc::new(tick), max);
    }
}

/// Appends what follows on the newest, passes over what is there already, and starts anew behind a
/// gap: what is held has none.
fn put_in_order<T>(held: &mut VecDeque<(u64, T)>, offset: u64, value: T, max: usize) {
    if let Some((newest, _)) = held.back() {
        if offset <= *newest {
            return;
        }
        if offset > newest + 1 {
            held.clear();
        }
    }
    held.push_back((offset, value));
    while held.len() > max {
        held.pop_front();
    }
}

/// Changes when the machine starts; empty where the system has none, which then counts as the same
/// machine run.
fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|text| text.trim().to_owned()).unwrap_or_default()
}
