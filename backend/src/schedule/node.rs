//! What this machine tells beside ticks, as series that only this server writes: its figures under
//! node_exporter's names and its containers' under cadvisor's, once a tick and at most once a
//! second, in the default tenant. They are no part of ticks: who wants them asks for them or
//! watches them. And the processes that use most.

use std::{collections::HashSet, sync::Arc};

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_host::{
    containers::Containers,
    node::Node,
    processes::{self, Processes},
};
use pulseboard_series::Batch;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::app::App;

/// Read no more often than this: what asks for them looks at seconds.
const PERIOD_MIN_MS: i64 = 1_000;

/// Series that are kept from others' hands, at most. What a machine has comes to some thousand;
/// mounts with random names, over months, could come to more than memory is good for.
const RESERVED_MAX: usize = 50_000;

/// Reads and keeps them until the server stops.
pub async fn keep_node(app: Arc<App>, node: Node, stopping: CancellationToken) {
    let interval_ms = i64::try_from(app.live.interval_ms()).unwrap_or(i64::MAX);
    let clock = app.clock.clone();
    let mut pace = Pace::new(&clock, interval_ms.max(PERIOD_MIN_MS), &stopping);
    let containers = Containers::new(&app.settings.instance);
    let naming = pulseboard_agent::keep_names(containers.names(), stopping.clone());
    app.tasks.spawn(naming);
    let mut keeper = Keeper {
        app,
        node,
        containers,
        batch: Batch::new(),
        reserved: HashSet::new(),
    };
    while let Some((due_ms, _)) = pace.next().await {
        // Some dozen files of the kernel, a few of which may wait for its locks.
        let read = tokio::task::spawn_blocking(move || {
            keeper.keep(due_ms);
            keeper
        });
        keeper = match read.await {
            Ok(keeper) => keeper,
            Err(error) => {
                tracing::error!(%error, "this machine's figures are not read any more");
                return;
            }
        };
    }
}

/// Reads the processes that use most until the server stops.
pub async fn keep_processes(app: Arc<App>, mut processes: Processes, stopping: CancellationToken) {
    let interval_ms = i64::try_from(processes::PERIOD.as_millis()).unwrap_or(i64::MAX);
    let clock = app.clock.clone();
    let mut pace = Pace::new(&clock, interval_ms, &stopping);
    while let Some((due_ms, _)) = pace.next().await {
        // A file of the kernel for each.
        let read = tokio::task::spawn_blocking(move || {
            let top = processes.read(due_ms);
            (processes, top)
        });
        match read.await {
            Ok((reader, top)) => {
                processes = reader;
                app.processes.lock().push(top);
            }
            Err(error) => {
                tracing::error!(%error, "processes are not read any more");
                return;
            }
        }
    }
}

struct Keeper {
    app: Arc<App>,
    node: Node,
    containers: Containers,
    batch: Batch,
    /// Hashes of the keys of what is reserved.
    reserved: HashSet<u64>,
}

impl Keeper {
    fn keep(&mut self, at_ms: i64) {
        let engine = &self.app.storage.engine;
        let Ok(tenant) = engine.tenant(DEFAULT_TENANT) else {
            return;
        };
        self.batch.clear();
        self.node.read(&mut self.batch, at_ms);
        self.containers.read(&mut self.batch, at_ms);
        let rows = self.batch.rows();
        let is_new = rows.iter().any(|row| !self.reserved.contains(&row.hash));
        if is_new && self.reserved.len() < RESERVED_MAX {
            self.reserved.extend(rows.iter().map(|row| row.hash));
            self.app.own.take_over(engine, &tenant, &self.batch, at_ms);
        }
        let appended = engine.append_own(&tenant, &self.batch, self.app.clock.now_ms());
        if appended.refused_total > 0 {
            tracing::debug!(refused = ?appended.refused, "figures of this machine were refused");
        }
    }
}
