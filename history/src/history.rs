//! [`History`]: the log in front, the blocks behind, and what both say about themselves. The
//! verbs are in `recover`, `write`, `seal`, `maintain`, `rollup`, `retain` and `read`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU32},
};

use parking_lot::Mutex;

use crate::{
    Damage, Definition, HistoryOptions, Tier,
    block::BlockCodec,
    chunk::ChunkCodec,
    compacted::Compacted,
    log::{Health, Log, LogStats},
    parts::Owners,
    state::{DamageLog, LEVELS, State, block_ms},
    store::Store,
    sweep::Sweep,
};

/// The durable history of all series; see the crate's documentation. All methods take `&self`
/// and may be called from any thread; those that touch the disk block, and say so.
#[derive(Debug)]
pub struct History {
    pub(crate) options: HistoryOptions,
    pub(crate) log: Log,
    /// See [`History::hold_wal`].
    pub(crate) held_from: AtomicU32,
    pub(crate) store: Store,
    /// Who holds it may change the blocks' file. Held over disk work.
    pub(crate) writing: Mutex<Workshop>,
    /// Held for a look only.
    pub(crate) state: Mutex<State>,
    /// Whose each series is.
    pub(crate) owners: Arc<Owners>,
    /// Definitions that are in the log and not in the blocks' file yet: filled by
    /// `append_definition` and recovery, emptied by the next seal or release.
    pub(crate) unsaved: Mutex<Vec<Definition>>,
    pub(crate) damage: Arc<DamageLog>,
    /// The newest failure of the blocks' file; emptied by the next transaction that succeeds.
    pub(crate) blocks_error: Mutex<Option<Arc<str>>>,
}

/// Buffers of whoever writes blocks.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    pub(crate) chunks: ChunkCodec,
    pub(crate) blocks: BlockCodec,
    pub(crate) bytes: Vec<u8>,
    pub(crate) samples: Vec<(i64, f64)>,
    /// Where taking from one tenant goes on.
    pub(crate) sweep: Option<Sweep>,
    /// The day for which expired series have been looked for.
    pub(crate) expired_day: Option<i64>,
    /// When space was given back, or was to be, and what there was after it.
    pub(crate) compacted: Option<Compacted>,
}

/// What one resolution holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelStats {
    /// `None` for raw samples.
    pub tier: Option<Tier>,
    /// Begin of the oldest block, Unix milliseconds; `None` if there is none.
    pub oldest_ms: Option<i64>,
    /// Chunks or blocks.
    pub values: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Samples, or buckets.
    pub samples: u64,
}

/// Sizes, counters and health of a history.
#[derive(Clone, Debug)]
pub struct HistoryStats {
    /// The write-ahead log.
    pub log: LogStats,
    /// Whether samples can become durable now.
    pub log_health: Health,
    /// Raw first, then the tiers, finest first.
    pub levels: [LevelStats; LEVELS],
    /// Series that the blocks' file knows.
    pub series: usize,
    /// Bytes of all stored keys and values.
    pub blocks_bytes: u64,
    /// Size of the blocks' file, free pages included.
    pub file_bytes: u64,
    /// Chunks and blocks found damaged since the start.
    pub damaged: u64,
    /// Why the last change of the blocks' file failed; `None` once one has succeeded again.
    pub blocks_error: Option<Arc<str>>,
}

impl History {
    /// Whether appended samples can become durable now. No system call.
    #[must_use]
    pub fn health(&self) -> Health {
        self.log.health()
    }

    /// Sizes, counters and health. One system call, for the file's size.
    #[must_use]
    pub fn stats(&self) -> HistoryStats {
        let state = self.state.lock();
        let levels = std::array::from_fn(|level| {
            let key = u8::try_from(level).unwrap_or(u8::MAX);
            let mut stats = LevelStats {
                tier: level.checked_sub(1).map(|tier| Tier::ALL[tier]),
                oldest_ms: state
                    .oldest(level)
                    .map(|block| i64::from(block) * block_ms(level)),
                values: 0,
                bytes: 0,
                samples: 0,
            };
            for usage in state
                .usage
                .range((key, 0)..=(key, u32::MAX))
                .map(|(_, usage)| usage)
            {
                stats.values += usage.values;
                stats.bytes += usage.bytes;
                stats.samples += usage.samples;
            }
            stats
        });
        let series = state.seen.len();
        let blocks_bytes = state.bytes();
        drop(state);
        HistoryStats {
            log: self.log.stats(),
            log_health: self.log.health(),
            levels,
            series,
            blocks_bytes,
            file_bytes: self.store.file_bytes(),
            damaged: self.damage.count(),
            blocks_error: self.blocks_error.lock().clone(),
        }
    }

    /// Bytes of stored keys and values, by tenant.
    #[must_use]
    pub fn bytes_by_tenant(&self) -> BTreeMap<Arc<str>, u64> {
        let state = self.state.lock();
        let parts = state.parts.of.iter();
        parts
            .map(|(tenant, part)| (Arc::clone(tenant), part.bytes))
            .collect()
    }

    /// Damaged values found since the last call, each once, at most 100. They have been skipped;
    /// whoever takes them logs them.
    #[must_use]
    pub fn take_damage(&self) -> Vec<Damage> {
        self.damage.take()
    }

    /// Refuses further appends, makes what is pending durable and ends the log's thread. Blocks.
    pub fn close(&self) {
        self.log.close();
    }
}

#[cfg(test)]
mod tests {
    use crate::{History, Snapshot, log::Ticket};

    #[test]
    fn handles_go_between_threads() {
        fn shared<T: Send + Sync>() {}
        fn sent<T: Send>(_: impl FnOnce(Ticket) -> T) {}
        shared::<History>();
        shared::<Ticket>();
        sent(|ticket| async move { ticket.wait().await });
        fn snapshot<T: Send>() {}
        snapshot::<Snapshot>();
    }
}
