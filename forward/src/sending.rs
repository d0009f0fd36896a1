//! One receiver that gets the samples of all tenants, in a manner that no section of a file says.

use std::{fmt, path::Path, sync::Arc};

use parking_lot::Mutex;
use pulseboard_history::log::Ticket;
use pulseboard_scrape::{WallClock, config::RemoteWrite};
use pulseboard_series::Batch;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Describe, Families, Limits, Manner, View,
    choose::Rules,
    queue::Queue,
    receiver::Receiver,
    sender::{self, Line},
    sorted,
};

/// One receiver of all tenants' samples. What waits for it, and what is held of what it took,
/// outlives the process where it has a folder.
pub struct Sending {
    name: String,
    url: String,
    line: Arc<Line>,
    /// Dropped, the task ends.
    end: Mutex<Option<DropGuard>>,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Sending {
    /// Takes samples for whoever `config` names; nothing is sent before [`Sending::start`]. What
    /// waits is kept in `folder`, or in memory where there is none. Blocks for the disk.
    ///
    /// # Errors
    /// What cannot be done, in words.
    pub fn open(
        folder: Option<&Path>,
        limits: Limits,
        config: &RemoteWrite,
        manner: Manner,
        clock: WallClock,
    ) -> Result<Self, String> {
        let files = folder.unwrap_or(Path::new("."));
        let receiver = Receiver::new(config, files, manner.is_careful)?;
        let samples_max = receiver.samples_max;
        let hold = manner.hold.as_ref().map(|(hold, _)| *hold);
        let queue = Queue::open(folder, limits, hold).map_err(|error| error.to_string())?;
        let rules = Rules {
            relabel: config.write_relabel_configs.clone(),
            tenant_label: manner.tenant_label,
            ..Rules::default()
        };
        queue.exchange(rules, samples_max);
        let url = RemoteWrite {
            name: None,
            ..config.clone()
        };
        Ok(Self {
            name: config.told(),
            url: url.told(),
            line: Arc::new(Line::new(queue, Arc::new(receiver), clock, manner)),
            end: Mutex::default(),
        })
    }

    /// Sends from now on; the task goes into `tasks` and ends with `stop`.
    pub fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let end = stop.child_token();
        let waiting = self.line.queue.waiting();
        if waiting > 0 {
            tracing::info!(
                receiver = self.name,
                "{waiting} samples of earlier are to be sent"
            );
        }
        let describe: Describe = Arc::new(Families::new);
        tasks.spawn(sender::run(
            Arc::clone(&self.line),
            self.name.clone(),
            describe,
            end.clone(),
        ));
        *self.end.lock() = Some(end.drop_guard());
    }

    /// Takes a tenant's rows in; `refused` are the places of those that were not taken. They have
    /// outlived the end of the process when the ticket says so.
    #[must_use]
    pub fn take(
        &self,
        tenant: &str,
        batch: &Batch,
        refused: &[u32],
        now_ms: i64,
    ) -> Option<Ticket> {
        let refused = sorted(refused);
        let is_refused = |row: u32| !refused.is_empty() && refused.binary_search(&row).is_ok();
        self.line.queue.take(tenant, batch, is_refused, now_ms)
    }

    /// Sends again what is held: whoever else was to send some of it may not have. Blocks for the
    /// disk.
    pub fn send_again(&self) {
        let queue = &self.line.queue;
        queue.send_again(queue.run());
    }

    /// How it goes.
    #[must_use]
    pub fn view(&self) -> View {
        View::of(&self.line, &self.name, &self.url)
    }

    /// Writes down what came. Blocks for the disk.
    pub fn close(&self) {
        self.line.queue.close();
    }
}
