//! Opening: the definitions and figures of the blocks' file, then everything in the log.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU32},
};

use parking_lot::Mutex;
use redb::{ReadableTable, ReadableTableMetadata};

use crate::{
    Definition, History, HistoryError, HistoryOptions, SeriesId, compact,
    corruption::Corruption,
    log::{Log, ReplayReport, sync_parent},
    parts::{self, Owners},
    private,
    repair::repair,
    sample_record,
    state::State,
    store::{OpenError, Store},
    tables::SERIES,
    tombstone::{self, Tombstone},
    write::{RECORD_DEFINITION, RECORD_NOTE, RECORD_SAMPLES, RECORD_TOMBSTONES},
};

/// Takes what a restart brings back.
pub trait RecoverSink {
    /// A series. All that sealing has saved come first, then those of the log, in the order of
    /// their appending and before their samples. A later one replaces an earlier of the same id.
    fn definition(&mut self, definition: Definition);

    /// A sample of the log, in the order of appending. Some are in sealed chunks already;
    /// sealing them again is right and harmless. Its series can be unknown if damage took the
    /// definition.
    fn sample(&mut self, id: SeriesId, at_ms: i64, value: f64);

    /// What came before and is deleted; of the log, in the order of appending.
    fn tombstone(&mut self, tombstone: Tombstone);
}

/// What opening found. [`RecoveryReport::complaints`] says what a person should hear.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// The log's own report.
    pub log: ReplayReport,
    /// Definitions in the blocks' file.
    pub series: u64,
    /// Definitions in the log.
    pub log_definitions: u64,
    /// Samples in the log.
    pub log_samples: u64,
    /// Records of the log that were intact and not understood.
    pub log_unreadable: u64,
    /// Stored definitions that do not decode.
    pub series_unreadable: u64,
    /// The blocks' file was damaged: where it is now, and what was wrong. A new one was begun.
    pub blocks_set_aside: Option<(PathBuf, String)>,
    /// Rows of the damaged blocks' file that could still be read and are in the new one.
    pub blocks_salvaged: u64,
}

impl RecoveryReport {
    /// What was lost or set aside, a sentence each; empty after a clean end. A torn tail is
    /// among them although it is normal after a crash: nothing in it was acknowledged.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some((path, why)) = &self.blocks_set_aside {
            said.push(format!(
                "the blocks' file is damaged ({why}); it was set aside as {path:?}, and {} rows of it \
                 were saved into a new one",
                self.blocks_salvaged
            ));
        }
        if let Some(torn) = &self.log.torn {
            let (bytes, offset, file) = (torn.bytes, torn.offset, &torn.file);
            said.push(format!(
                "{file:?} ends with {bytes} bytes of an unfinished write at offset {offset}; they were cut off"
            ));
        }
        for skipped in &self.log.skipped {
            let (bytes, offset, file) = (skipped.bytes, skipped.offset, &skipped.file);
            let why = &skipped.reason;
            said.push(format!(
                "{file:?} is damaged at offset {offset}: {why}; {bytes} bytes skipped"
            ));
        }
        if self.log_unreadable > 0 {
            said.push(format!(
                "{} records of the log were not understood",
                self.log_unreadable
            ));
        }
        if self.series_unreadable > 0 {
            said.push(format!(
                "{} stored series cannot be read",
                self.series_unreadable
            ));
        }
        said
    }
}

impl History {
    /// Opens the history in `dir`, made if missing: `dir/wal` and `dir/blocks.redb`. The caller
    /// has locked the folder against other processes.
    ///
    /// `sink` gets the definitions of the blocks' file, then definitions and samples of the log
    /// in order. Damage is no error: a damaged blocks' file is renamed to
    /// `blocks.redb.damaged-N`, what can be read of it is
    /// copied into a new one (seconds a gigabyte), and the report says what else could not be read.
    /// Blocks; ten million samples in the log take about a second and a half beside the sink's own
    /// work.
    ///
    /// # Errors
    /// [`HistoryError::Version`] and [`crate::log::LogError::Version`] for files of another
    /// version; [`HistoryError::Io`] and [`HistoryError::Blocks`] for a folder that cannot be
    /// used. Nothing was set aside then.
    pub fn open(
        dir: &Path,
        options: HistoryOptions,
        sink: &mut impl RecoverSink,
    ) -> Result<(Self, RecoveryReport), HistoryError> {
        // What is synced into files is there after a power cut only if their names are; opening
        // the log syncs those in here.
        private::make_folder(dir)
            .and_then(|()| sync_parent(dir))
            .map_err(|source| HistoryError::Io {
                action: "create the folder",
                path: dir.to_path_buf(),
                source,
            })?;
        // Where it cannot be removed, it is before another one is written.
        drop(compact::remove_unfinished(dir));
        let mut report = RecoveryReport::default();
        let owners = Arc::new(Owners::default());
        let (store, state) = open_blocks(dir, &options, &owners, &mut report, sink)?;

        let mut unsaved: Vec<Definition> = Vec::new();
        let mut deleted: Vec<Tombstone> = Vec::new();
        let replay = |record_type: u8, payload: &[u8], _segment: u32| match record_type {
            RECORD_SAMPLES => {
                let each = |id, at_ms, value| {
                    report.log_samples += 1;
                    sink.sample(id, at_ms, value);
                };
                if sample_record::decode(payload, each).is_none() {
                    report.log_unreadable += 1;
                }
            }
            RECORD_DEFINITION => match Definition::decode(payload) {
                Some(definition) => {
                    report.log_definitions += 1;
                    owners.learn(&definition);
                    unsaved.push(definition.clone());
                    sink.definition(definition);
                }
                None => report.log_unreadable += 1,
            },
            RECORD_TOMBSTONES => match tombstone::decode(payload) {
                Some(rows) => {
                    for row in &rows {
                        sink.tombstone(*row);
                    }
                    deleted.extend(rows);
                }
                None => report.log_unreadable += 1,
            },
            // Whoever wrote them reads them; see `History::read_notes`.
            RECORD_NOTE => {}
            _ => report.log_unreadable += 1,
        };
        let (log, replayed) = Log::open(&dir.join("wal"), options.log.clone(), replay)?;
        report.log = replayed;
        let mut state = state;
        if !deleted.is_empty() {
            // Also what is done already: the log has all that came since.
            store.write("delete", |txn| tombstone::put(txn, &deleted))?;
            state.entomb(&deleted);
            unsaved.retain(|definition| !state.is_gone(definition.id.0));
        }
        let history = Self {
            options,
            log,
            held_from: AtomicU32::new(u32::MAX),
            store,
            writing: Mutex::default(),
            state: Mutex::new(state),
            owners: Arc::clone(&owners),
            unsaved: Mutex::new(unsaved),
            damage: Arc::default(),
            blocks_error: Mutex::default(),
        };
        Ok((history, report))
    }
}

fn open_blocks(
    dir: &Path,
    options: &HistoryOptions,
    owners: &Owners,
    report: &mut RecoveryReport,
    sink: &mut impl RecoverSink,
) -> Result<(Store, State), HistoryError> {
    let path = dir.join("blocks.redb");
    for attempt in 0..2 {
        let why = match Store::open(&path, options.cache_bytes) {
            Ok(store) => match load(&store, owners) {
                Ok((state, definitions, unreadable)) => {
                    report.series = definitions.len() as u64;
                    report.series_unreadable = unreadable;
                    definitions
                        .into_iter()
                        .filter(|definition| !state.is_gone(definition.id.0))
                        .for_each(|definition| sink.definition(definition));
                    return Ok((store, state));
                }
                Err(error) => error.to_string(),
            },
            Err(OpenError::Damaged(why)) => why,
            Err(OpenError::Other(error)) => return Err(error),
        };
        if attempt > 0 {
            return Err(HistoryError::Structure {
                action: "begin anew",
                what: why,
            });
        }
        let aside = set_aside(&path)?;
        report.blocks_set_aside = Some((aside.clone(), why));
        // Written to the new file before it is opened for good, so that a failure is met there.
        if let Ok(store) = Store::open(&path, options.cache_bytes) {
            report.blocks_salvaged = repair(&aside, options.cache_bytes, &store)?;
        }
    }
    Err(HistoryError::Structure {
        action: "open",
        what: "no attempt succeeded".into(),
    })
}

type Loaded = (State, Vec<Definition>, u64);

fn load(store: &Store, owners: &Owners) -> Result<Loaded, HistoryError> {
    let (definitions, unreadable, add_up) = store.read("load series", |txn| {
        let table = txn.open_table(SERIES)?;
        let mut definitions = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
        let mut unreadable = 0;
        for row in table.iter()? {
            match Definition::decode(row?.1.value()) {
                Some(definition) => {
                    owners.learn(&definition);
                    definitions.push(definition);
                }
                None => unreadable += 1,
            }
        }
        Ok((definitions, unreadable, parts::add_up(txn)?))
    })?;
    if !add_up {
        store.write("count what tenants have", |txn| parts::recount(txn, owners))?;
    }
    let state = store.read("load figures", State::load)?;
    Ok((state, definitions, unreadable))
}

/// Renames the file, which is no longer open, to the first free `…damaged-N`.
fn set_aside(path: &Path) -> Result<PathBuf, HistoryError> {
    let mut number = 1_u32;
    let target = loop {
        let target = path.with_file_name(format!("blocks.redb.damaged-{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    // A mark that it needs a check has been obeyed by that.
    Corruption::beside(path).unmark();
    fs::rename(path, &target).map_err(|source| HistoryError::Io {
        action: "set aside the damaged",
        path: path.to_path_buf(),
        source,
    })?;
    Ok(target)
}
