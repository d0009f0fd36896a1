//! What is kept: the engine with its history, the journal, and the periodic work on them.
//!
//! With `DATA_DIR=memory` or `DURABILITY=memory` there is an engine in memory and nothing else.

pub mod journal;
mod record;
pub mod replay;
pub mod snapshot;

use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pulseboard_alerting::ALERTS_KEPT;
use pulseboard_engine::{Engine, EngineOptions};
use pulseboard_feed::Epoch;
use pulseboard_history::{
    HistoryOptions, Retention,
    log::{self, Health, LogOptions},
};

use crate::{
    base::{
        clock::millis,
        data_dir::{HISTORY, JOURNAL},
        telemetry::{Limit, Telemetry},
    },
    settings::{DataDir, Durability, Settings},
    storage::{
        journal::{Journal, State},
        replay::{Kept, Restored},
    },
    tracking::TrackedItems,
};

/// How often engine, history and journal are maintained.
pub const MAINTENANCE_MS: i64 = 5_000;

/// Time that one round may take for rolling up and deleting.
const MAINTENANCE: Duration = Duration::from_millis(500);

/// Sentences about damage that are kept for `/readyz` and the page.
const COMPLAINTS_MAX: usize = 20;

/// The engine with its history, the journal, and what was found damaged.
#[derive(Debug)]
pub struct Storage {
    /// Series of all tenants.
    pub engine: Arc<Engine>,
    /// What the server itself remembers; `None` in memory.
    pub journal: Option<Arc<Journal>>,
    /// What was found damaged at the start.
    complaints: Vec<String>,
    /// Why the last maintenance failed; `None` once it has succeeded again.
    maintenance_error: Mutex<Option<String>>,
    /// Held while a copy is made.
    copying: Mutex<()>,
}

impl Storage {
    /// Opens what the settings name. Blocks: it reads what the run before left.
    ///
    /// # Errors
    /// A folder that cannot be used, or files of a later version.
    pub fn open(settings: &Settings, epoch: Epoch, now_ms: i64) -> io::Result<(Self, Restored)> {
        let options = EngineOptions {
            window_ms: millis(settings.series_window),
            ttl_ms: millis(settings.series_ttl),
            series_max: settings.max_series as u64,
            memory_max_bytes: settings.series_memory_bytes as u64,
            ..EngineOptions::default()
        };
        let durability = match settings.durability {
            Durability::Fsync => Some(log::Durability::Fsync),
            Durability::Write => Some(log::Durability::Write),
            Durability::Memory => None,
        };
        let (DataDir::Path(folder), Some(durability)) = (&settings.data_dir, durability) else {
            let storage = Self {
                engine: Arc::new(Engine::new(options, None)),
                journal: None,
                complaints: Vec::new(),
                maintenance_error: Mutex::default(),
                copying: Mutex::default(),
            };
            return Ok((storage, Restored::default()));
        };
        let log = LogOptions {
            durability,
            ..LogOptions::default()
        };
        let history = HistoryOptions {
            log: log.clone(),
            retention: Retention {
                raw: settings.keep_raw,
                tiers: [
                    settings.keep_10s,
                    settings.keep_1m,
                    settings.keep_5m,
                    settings.keep_1h,
                ],
                bytes_max: Some(settings.history_max_bytes as u64),
            },
            ..HistoryOptions::default()
        };
        let opened = Engine::open(&folder.join(HISTORY), options, history, now_ms);
        let (engine, report) = opened.map_err(io::Error::other)?;
        let mut complaints = report.complaints();
        let kept = Kept {
            ticks: settings.window_size,
            alerts: ALERTS_KEPT,
        };
        let (journal, restored) =
            Journal::open(&folder.join(JOURNAL), log, kept, epoch).map_err(io::Error::other)?;
        let skipped = &restored.report.skipped;
        complaints.extend(skipped.iter().map(|skipped| {
            format!(
                "{:?} is damaged at offset {}: {}; {} bytes were passed over",
                skipped.file, skipped.offset, skipped.reason, skipped.bytes
            )
        }));
        if restored.unreadable > 0 {
            complaints.push(format!(
                "{} snapshots in {:?} cannot be read: what was tracked before them is missing; nothing there is removed",
                restored.unreadable,
                folder.join(JOURNAL)
            ));
        }
        for complaint in &complaints {
            tracing::warn!("{complaint}");
        }
        complaints.truncate(COMPLAINTS_MAX);
        tracing::info!(
            series = engine.series(),
            ticks = restored.ticks.len(),
            alerts = restored.alerts.len(),
            "the history is open: {} series are back",
            engine.series()
        );
        let storage = Self {
            engine: Arc::new(engine),
            journal: Some(Arc::new(journal)),
            complaints,
            maintenance_error: Mutex::default(),
            copying: Mutex::default(),
        };
        Ok((storage, restored))
    }

    /// Whether what comes now gets to the disk; `false` where there is none.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let journal = self.journal.as_ref().map(|journal| journal.health());
        let history = self.engine.history().map(|history| history.health());
        journal == Some(Health::Ready) && history == Some(Health::Ready)
    }

    /// What a person should know about the disk now; `None` when all is well.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let journal = self.journal.as_ref().map(|journal| journal.health());
        let history = self.engine.history().map(|history| history.health());
        for health in [history, journal].into_iter().flatten() {
            if let Health::Degraded { reason, .. } = health {
                return Some(format!(
                    "the history cannot be written ({reason}); what comes is kept in memory alone"
                ));
            }
        }
        self.maintenance_error.lock().clone()
    }

    /// What was found damaged at the start.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// One round of maintenance. Blocks for the disk.
    /// `state` is asked for where the journal is written anew; what takes long ends when `goes_on`
    /// says so.
    pub fn maintain(
        &self,
        now_ms: i64,
        telemetry: &Telemetry,
        tracked: &TrackedItems,
        state: impl FnOnce() -> State,
        goes_on: &dyn Fn() -> bool,
    ) {
        self.engine.forget_unused_tenants();
        let shortened = self.engine.shortenings();
        let kept = self
            .engine
            .maintain(now_ms, false)
            .and_then(|_| self.engine.maintain_history(now_ms, MAINTENANCE));
        for _ in shortened..self.engine.shortenings() {
            telemetry.count_limit(Limit::TenantMemory);
        }
        if let Ok(false) = kept {
            self.compact(goes_on);
        }
        let error = kept.err().map(|error| error.to_string());
        let mut known = self.maintenance_error.lock();
        if let Some(error) = &error
            && known.is_none()
        {
            tracing::error!(%error, "maintenance of the history failed; it is tried again");
        }
        *known = error;
        drop(known);
        if let Some(journal) = &self.journal
            && let Err(error) = journal.write_snapshot(tracked, false, state)
        {
            tracing::debug!(%error, "the journal was not written anew");
        }
    }

    /// Gives back what the history has deleted.
    fn compact(&self, goes_on: &dyn Fn() -> bool) {
        match self.engine.compact_history(goes_on) {
            Ok(None) => {}
            Ok(Some(bytes)) => tracing::info!(bytes, "the history's file was written anew"),
            Err(error) => tracing::warn!(
                %error,
                "the history's file was not written anew; its free space is used again all the same"
            ),
        }
    }

    /// The end: what is not on the disk gets there. Blocks.
    pub fn close(&self, tracked: &TrackedItems, state: impl FnOnce() -> State) {
        if let Some(journal) = &self.journal {
            if let Err(error) = journal.write_snapshot(tracked, true, state) {
                tracing::warn!(%error, "the journal was not written anew");
            }
            journal.close();
        }
        if let Some(history) = self.engine.history() {
            history.close();
        }
    }
}
