//! What the server itself has to remember across a restart and what is no series: the ticks of
//! the window, sendings of alerts, tracked items, totals, and the epoch that names the streams.
//!
//! One log with group commit (see [`pulseboard_history::log`]). Now and then everything is written
//! again as a snapshot into a new segment, and the segments before it go; so a start reads little,
//! however long the server ran.
//!
//! ```text
//! segment 7:  RUN  TALLIES …  SNAPSHOT  SERIES TICK TICK …  ALERT …   ITEM TICK ITEM …   CLOSED
//!             └────────────── written at once ─────────────┘
//! ```
//!
//! **Epoch.** Streams go on under the epoch and offsets of the run before, so that a viewer that
//! comes back resumes across the restart. After a power cut the last ticks may not be on the disk
//! although viewers have seen them; their offsets would be given out twice. So where the machine
//! was started anew and the run before did not end in order, there is a new epoch. Where several
//! servers are one service, ticks may go on under another epoch at any time: what is held of it is
//! written again behind its name ([`Journal::restart`]).

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use pulseboard_alerting::{AlertEvent, AlertSink};
use pulseboard_feed::Epoch;
use pulseboard_history::log::{Health, Log, LogError, LogOptions, LogStats, Ticket};
use pulseboard_shared::protocol::dashboard::ItemTotals;

use crate::{
    base::json::json_text,
    storage::{
        record::{AlertRecord, ItemRecord, Run, SeriesRecord, SnapshotRecord, kind},
        replay::{Kept, Reading, Restored},
    },
    ticks::window::{Series, Tick},
    tracking::{Snapshot, TooManyNames, TrackedItems, track::ItemLog},
};

/// A new snapshot is written when so many bytes have come since the last one, or as many as that
/// took where it took more. More: a start reads more. Fewer: the window is written more often.
const SNAPSHOT_EVERY_BYTES: u64 = 4 << 20;

/// Tracked names in one record of a snapshot. One takes up to 2 KB, and a record may have 16 MiB.
const NAMES_A_RECORD: usize = 500;

/// What a snapshot leaves waiting for the disk at once, in records: far from what the log bears.
const RECORDS_WAITING_MAX: usize = 16;

/// As that, in ticks.
const TICKS_WAITING_MAX: u64 = 4_096;

/// The running log.
#[derive(Debug)]
pub struct Journal {
    log: Log,
    /// Held while an item is counted and written, and while a snapshot is taken and written: an
    /// item is either in the snapshot or behind it.
    order: Mutex<Written>,
    /// Something in it could not be read: nothing is removed, so that a person can look.
    keeps_all: bool,
}

#[derive(Debug)]
struct Written {
    /// What the streams are called.
    run: Run,
    /// The series of the tick that was written last.
    series: Option<Arc<[Series]>>,
    /// How often the log had failed when that was written, and when the last snapshot was: what
    /// was written before a failure may be missing.
    failures: u32,
    failures_at_snapshot: u32,
    /// Bytes in the log after the last snapshot, and what that took.
    bytes_at_snapshot: u64,
    snapshot_bytes: u64,
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
    pub alerts: Vec<(u64, AlertEvent)>,
    /// Incidents that go on.
    pub active: Vec<AlertEvent>,
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
        let mut reading = Reading::new(kept);
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
        let text = json_text(&run);
        let journal = Self {
            log,
            order: Mutex::new(Written {
                run,
                series: None,
                failures: 0,
                failures_at_snapshot: 0,
                bytes_at_snapshot: 0,
                snapshot_bytes: 0,
            }),
            keeps_all: restored.unreadable > 0,
        };
        // Before the first tick: without it the run after this one would not know how to go on.
        let written = journal
            .log
            .append(kind::RUN, text.as_bytes())
            .and_then(|ticket| ticket.wait_blocking());
        if let Err(error) = written {
            tracing::warn!(%error, "the journal cannot be written; streams will not resume across a restart");
        }
        Ok((journal, restored))
    }

    /// Keeps a tick and has it published, in one step: a snapshot has both or neither.
    pub fn tick<T>(
        &self,
        offset: u64,
        tick: Tick,
        totals: (u64, u64),
        publish: impl FnOnce(Tick) -> T,
    ) -> T {
        let mut order = self.order.lock();
        forget(self.put_tick(&mut order, offset, &tick, totals));
        publish(tick)
    }

    /// The streams go on under `epoch`: keeps what is held of it and has it published, in one step.
    pub fn restart<T>(&self, epoch: Epoch, state: State, publish: impl FnOnce() -> T) -> T {
        let mut order = self.order.lock();
        order.run.epoch = epoch.0;
        let run = json_text(&order.run);
        let written = self
            .log
            .append(kind::RUN, run.as_bytes())
            .and_then(|_| self.put_held(&mut order, state));
        if let Err(error) = written {
            tracing::debug!(%error, "the journal did not take a new epoch");
        }
        publish()
    }

    /// Writes the ticks and alerts of a state.
    fn put_held(&self, order: &mut Written, state: State) -> Result<(), LogError> {
        order.series = None;
        let first = (state.newest_offset + 1).saturating_sub(state.ticks.len() as u64);
        for (offset, tick) in (first..).zip(&state.ticks) {
            let ticket = self.put_tick(order, offset, tick, state.totals)?;
            if offset % TICKS_WAITING_MAX == 0 {
                ticket.wait_blocking()?;
            }
        }
        for (offset, kept) in state.alerts {
            let record = AlertRecord {
                offset,
                is_held: true,
                kept,
            };
            let text = json_text(&record);
            drop(self.log.append(kind::ALERT, text.as_bytes())?);
        }
        Ok(())
    }

    fn put_tick(
        &self,
        order: &mut Written,
        offset: u64,
        tick: &Tick,
        totals: (u64, u64),
    ) -> Result<Ticket, LogError> {
        let failures = self.log.failures();
        let is_known = order
            .series
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &tick.series))
            && order.failures == failures;
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
            let text = json_text(&series);
            drop(self.log.append(kind::SERIES, text.as_bytes())?);
            order.series = Some(Arc::clone(&tick.series));
            order.failures = failures;
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
        self.log.append(kind::TICK, &bytes)
    }

    /// Writes everything again where enough has been written since the last time. Blocks for the
    /// disk, and holds items and ticks up only while it writes into memory; `state` is asked for
    /// under the lock that keeps them out.
    ///
    /// # Errors
    /// The log is closed or cannot be written, or old segments cannot be removed.
    pub fn write_snapshot(
        &self,
        tracked: &TrackedItems,
        at_once: bool,
        state: impl FnOnce() -> State,
    ) -> Result<(), LogError> {
        let stats = self.log.stats();
        let failures = self.log.failures();
        {
            let order = self.order.lock();
            let since = stats.bytes.saturating_sub(order.bytes_at_snapshot);
            let is_due = since >= order.snapshot_bytes.max(SNAPSHOT_EVERY_BYTES)
                || (order.failures_at_snapshot != failures && self.health() == Health::Ready);
            if !at_once && !is_due {
                return Ok(());
            }
        }
        // What comes between this and the snapshot stands before it in the new segment: the
        // snapshot has it, too.
        let segment = self.log.rotate()?;
        let last = self.put_snapshot(tracked, state)?;
        // The old ones go when the new one is safe, and not before.
        last.wait_blocking()?;
        if !self.keeps_all {
            self.log.remove_before(segment)?;
        }
        let bytes = self.log.stats().bytes;
        let mut order = self.order.lock();
        order.bytes_at_snapshot = bytes;
        order.failures_at_snapshot = failures;
        Ok(())
    }

    fn put_snapshot(
        &self,
        tracked: &TrackedItems,
        state: impl FnOnce() -> State,
    ) -> Result<Ticket, LogError> {
        let mut order = self.order.lock();
        let mut state = state();
        // First, since what follows is this run's; and last, to know when all of it is safe.
        let run = json_text(&order.run);
        let mut bytes = 0;
        let mut waiting = Vec::new();
        let mut put = |kind: u8, text: String| -> Result<(), LogError> {
            bytes += text.len() as u64;
            waiting.push(self.log.append(kind, text.as_bytes())?);
            if waiting.len() >= RECORDS_WAITING_MAX {
                waiting
                    .drain(..)
                    .try_for_each(|ticket| ticket.wait_blocking())?;
            }
            Ok(())
        };
        put(kind::RUN, run.clone())?;
        for (tenant, items) in tracked.snapshot() {
            for part in items.in_parts(NAMES_A_RECORD) {
                let part = Snapshot::from([(tenant.clone(), part)]);
                put(kind::TALLIES, json_text(&part))?;
            }
        }
        let snapshot = SnapshotRecord {
            tracked: Snapshot::new(),
            active: std::mem::take(&mut state.active),
        };
        put(kind::SNAPSHOT, json_text(&snapshot))?;
        order.snapshot_bytes = bytes;
        self.put_held(&mut order, state)?;
        self.log.append(kind::RUN, run.as_bytes())
    }

    /// Says that this run ends in order, and closes the log.
    pub fn close(&self) {
        forget(self.log.append(kind::CLOSED, &[]));
        self.log.close();
    }

    /// Makes `folder` a journal that holds everything written before this call. Blocks.
    ///
    /// # Errors
    /// As [`Log::copy_to`].
    pub fn copy_to(&self, folder: &Path) -> Result<(), LogError> {
        self.log.copy_to(folder)
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
}

/// Keeps what is sent; told before it is shown.
impl AlertSink for Journal {
    fn publish(&self, offset: u64, event: &AlertEvent) {
        let record = AlertRecord {
            offset,
            is_held: false,
            kept: event.clone(),
        };
        let text = json_text(&record);
        forget(self.log.append(kind::ALERT, text.as_bytes()));
    }

    fn hear(&self, offset: u64, event: &AlertEvent) {
        self.publish(offset, event);
    }
}

impl ItemLog for Journal {
    fn item(
        &self,
        (tenant, name): (&str, &str),
        value: f64,
        at_ms: i64,
        count: &dyn Fn() -> Result<ItemTotals, TooManyNames>,
    ) -> Result<(ItemTotals, Result<Ticket, LogError>), TooManyNames> {
        let record = json_text(&ItemRecord {
            tenant,
            name,
            value,
            at_ms,
        });
        let _order = self.order.lock();
        let counted = count()?;
        Ok((counted, self.log.append(kind::ITEM, record.as_bytes())))
    }
}

/// What nobody waits for; that the disk refuses is said by the journal's health.
fn forget(appended: Result<Ticket, LogError>) {
    if let Err(error) = appended {
        tracing::debug!(%error, "the journal did not take a record");
    }
}

/// Changes when the machine starts; empty where the system has none, which then counts as the same
/// machine run.
fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pulseboard_shared::{Alert, AlertState, Labels, Severity, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::ticks::window::built_in_series;

    fn open(folder: &Path, epoch: u64) -> (Journal, Restored) {
        let kept = Kept {
            ticks: 3,
            alerts: 3,
        };
        Journal::open(folder, LogOptions::default(), kept, Epoch(epoch)).expect("opens")
    }

    fn tick(second: i64, series: &Arc<[Series]>) -> Tick {
        Tick {
            sampled_ms: second * 1000,
            sent_ms: second * 1000 + 3,
            series: Arc::clone(series),
            values: vec![second as f64; series.len()].into(),
            pushed: Arc::default(),
        }
    }

    /// The first run of all ends without a word, and so does the second: each goes on under the
    /// epoch of the first.
    #[test]
    fn a_run_that_was_killed_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let series: Arc<[Series]> = built_in_series().collect();
        let mut offset = 0_u64;
        for run in 0..3 {
            // Dropping writes what is pending and says nothing of an end.
            let (journal, restored) = open(folder.path(), 100 + run);
            let expected = (run > 0).then_some(Epoch(100));
            assert_eq!(restored.epoch, expected, "run {run}");
            let offsets: Vec<u64> = restored.ticks.iter().map(|(offset, _)| *offset).collect();
            let held: Vec<u64> = (offset.saturating_sub(2).max(1)..=offset).collect();
            assert_eq!(offsets, held);
            for _ in 0..2 {
                offset += 1;
                let made = tick(offset.cast_signed(), &series);
                journal.tick(offset, made, (offset, 0), |_| ());
            }
        }
    }

    /// Other servers are joined under an epoch of theirs: that is gone on with, and nothing of the
    /// one before.
    #[test]
    fn an_epoch_that_changed_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let series: Arc<[Series]> = built_in_series().collect();
        let (journal, _) = open(folder.path(), 100);
        for offset in 1..=5 {
            journal.tick(offset, tick(1, &series), (1, 0), |_| ());
        }
        let state = State {
            ticks: vec![Arc::new(tick(7, &series)), Arc::new(tick(8, &series))],
            newest_offset: 3,
            totals: (8, 0),
            ..no_state()
        };
        journal.restart(Epoch(900), state, || ());
        journal.tick(4, tick(9, &series), (9, 0), |_| ());
        drop(journal);
        let (journal, restored) = open(folder.path(), 200);
        assert_eq!(restored.epoch, Some(Epoch(900)));
        let held = restored.ticks.iter();
        let held: Vec<_> = held
            .map(|(offset, tick)| (*offset, tick.sampled_ms))
            .collect();
        assert_eq!(held, [(2, 7_000), (3, 8_000), (4, 9_000)]);
        assert_eq!(restored.totals, (9, 0));
        // A snapshot is of the epoch that it is written in.
        journal.restart(Epoch(950), no_state(), || ());
        let fanout = pulseboard_feed::Fanout::start(1, &Arc::default()).expect("a thread");
        let tracked = TrackedItems::new(Epoch(1), &fanout);
        let written = journal.write_snapshot(&tracked, true, no_state);
        written.expect("the disk is there");
        drop(journal);
        let (_, restored) = open(folder.path(), 200);
        assert_eq!(
            (restored.epoch, restored.ticks.len()),
            (Some(Epoch(950)), 0)
        );
    }

    /// What another server fires is held for viewers and is none of what goes on here; what this
    /// one fires is.
    #[test]
    fn what_others_fire_does_not_go_on_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = open(folder.path(), 100);
        let alert = |number: u128| AlertEvent {
            tenant: None,
            alert: Alert {
                id: Uuid::from_u128(number),
                message: "hot".to_owned(),
                severity: Severity::High,
                timestamp: Timestamp::from_millis(1_000),
                incident: Uuid::from_u128(number),
                rule: "cpu_high".to_owned(),
                state: AlertState::Firing,
                value: 95.0,
                threshold: 90.0,
                started: Timestamp::from_millis(1_000),
                labels: Labels::default(),
            },
            detail: None,
        };
        let (own, other) = (alert(1), alert(2));
        journal.publish(1, &own);
        let state = State {
            alerts: vec![(1, own.clone()), (2, other.clone())],
            ..no_state()
        };
        journal.restart(Epoch(900), state, || ());
        drop(journal);
        let (journal, restored) = open(folder.path(), 200);
        assert_eq!(restored.active, std::slice::from_ref(&own));
        let held: Vec<&AlertEvent> = restored.alerts.iter().map(|(_, event)| event).collect();
        assert_eq!(held, [&own, &other]);
        let fanout = pulseboard_feed::Fanout::start(1, &Arc::default()).expect("a thread");
        let tracked = TrackedItems::new(Epoch(1), &fanout);
        let state = || State {
            alerts: vec![(1, own.clone()), (2, other)],
            active: vec![own.clone()],
            ..no_state()
        };
        let written = journal.write_snapshot(&tracked, true, state);
        written.expect("the disk is there");
        drop(journal);
        assert_eq!(
            open(folder.path(), 200).1.active,
            std::slice::from_ref(&own)
        );
    }

    /// More is tracked than a record of the log may have: all of it comes back.
    /// A snapshot's state where only what was tracked matters.
    fn no_state() -> State {
        State {
            ticks: Vec::new(),
            newest_offset: 0,
            totals: (0, 0),
            alerts: Vec::new(),
            active: Vec::new(),
        }
    }

    #[test]
    fn a_snapshot_of_any_size_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let fanout = pulseboard_feed::Fanout::start(1, &Arc::default()).expect("a thread");
        let tracked = TrackedItems::new(Epoch(1), &fanout);
        let (journal, _) = open(folder.path(), 100);
        for tenant in 0..30 {
            let tracked = tracked.tenant(&format!("tenant_{tenant}"));
            for name in 0..1_000 {
                for bucket in 0..10 {
                    let counted = tracked.add(&format!("name_{name}"), 1.5, bucket * 3_600_000);
                    assert!(counted.is_ok());
                }
            }
        }
        journal
            .write_snapshot(&tracked, true, no_state)
            .expect("the disk is there");
        assert!(journal.stats().bytes > 20 << 20, "{:?}", journal.stats());
        drop(journal);
        let (_, restored) = open(folder.path(), 200);
        assert_eq!(restored.tracked, tracked.snapshot());
        assert_eq!(restored.unreadable, 0);
    }

    #[test]
    fn a_snapshot_has_what_came_before_and_the_old_segments_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let fanout = pulseboard_feed::Fanout::start(1, &Arc::default()).expect("a thread");
        let tracked = TrackedItems::new(Epoch(1), &fanout);
        let (journal, _) = open(folder.path(), 100);
        let count = |name: &str, value: f64| {
            let add = || tracked.tenant("red").add(name, value, 5);
            let counted = journal.item(("red", name), value, 5, &add);
            assert!(counted.is_ok_and(|(_, kept)| kept.is_ok()));
        };
        count("big", 1e308);
        count("big", 1e308);
        journal
            .write_snapshot(&tracked, true, no_state)
            .expect("the disk is there");
        count("after", 1.0);
        assert_eq!(journal.stats().segments, 1);
        let expected = tracked.snapshot();
        drop(journal);
        let (_, restored) = open(folder.path(), 200);
        assert_eq!(restored.tracked, expected);
        assert_eq!((restored.unreadable, restored.epoch), (0, Some(Epoch(100))));
    }
}
