//! Reading back what a run before this one wrote into the journal.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use pulseboard_alerting::AlertEvent;
use pulseboard_feed::Epoch;
use pulseboard_history::log::ReplayReport;
use pulseboard_shared::AlertState;

use crate::{
    storage::record::{AlertRecord, ItemRecord, Run, SeriesRecord, SnapshotRecord, kind},
    ticks::window::{Series, Tick},
    tracking::{Items, Snapshot},
};

/// What a restart finds.
#[derive(Debug, Default)]
pub struct Restored {
    /// Names the streams; `None` at a first start or after a power cut.
    pub epoch: Option<Epoch>,
    /// The newest ticks with their offsets, oldest first, without gaps.
    pub ticks: VecDeque<(u64, Arc<Tick>)>,
    /// The newest sendings with their offsets, oldest first, without gaps.
    pub alerts: VecDeque<(u64, AlertEvent)>,
    /// Incidents that had not ended, newest sending of each.
    pub active: Vec<AlertEvent>,
    /// What was tracked.
    pub tracked: Snapshot,
    /// Requests and errors in all.
    pub totals: (u64, u64),
    /// What could not be read.
    pub report: ReplayReport,
    /// Records that were whole and could not be understood.
    pub unreadable: u64,
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Ticks.
    pub ticks: usize,
    /// Sendings of alerts.
    pub alerts: usize,
}

/// Reading what a run before this one wrote.
pub(super) struct Reading {
    kept: Kept,
    pub(super) restored: Restored,
    series: Arc<[Series]>,
    pub(super) run: Option<Run>,
    pub(super) is_closed: bool,
    pub(super) active: BTreeMap<uuid::Uuid, AlertEvent>,
    /// Of a snapshot that is still to come.
    tracked: Snapshot,
}

impl Reading {
    /// Nothing read yet.
    pub(super) fn new(kept: Kept) -> Self {
        Self {
            kept,
            restored: Restored::default(),
            series: [].into(),
            run: None,
            is_closed: false,
            active: BTreeMap::new(),
            tracked: Snapshot::new(),
        }
    }

    /// What cannot be read is passed over: it is a record of a later version or damage that the
    /// log's checksums let through.
    pub(super) fn take(&mut self, kind: u8, payload: &[u8]) {
        self.is_closed = kind == kind::CLOSED;
        match kind {
            kind::RUN => {
                // One that ended in the middle of a snapshot has left the segments before it.
                self.tracked.clear();
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
            kind::SNAPSHOT => match serde_json::from_slice::<SnapshotRecord>(payload) {
                Ok(snapshot) => {
                    self.restored.tracked = std::mem::take(&mut self.tracked);
                    // As an earlier version wrote it.
                    self.restored.tracked.extend(snapshot.tracked);
                    self.active = snapshot
                        .active
                        .into_iter()
                        .map(|kept| (kept.alert.incident, kept))
                        .collect();
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot in the journal cannot be read");
                    self.restored.unreadable += 1;
                }
            },
            kind::TALLIES => match serde_json::from_slice::<Snapshot>(payload) {
                Ok(part) => {
                    for (tenant, items) in part {
                        self.tracked.entry(tenant).or_default().take_in(items);
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "a part of a snapshot in the journal cannot be read");
                    self.restored.unreadable += 1;
                }
            },
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
                    // What goes on is in the snapshot, and in what was said live.
                    match record.kept.alert.state {
                        _ if record.is_held => {}
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
                        .tracked
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
            pushed: Arc::default(),
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
