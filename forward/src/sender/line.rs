//! What those share who send to one receiver: the queue, who it is, and how it stands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_scrape::WallClock;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    manner::Manner,
    queue::Queue,
    receiver::{Describe, Families, Receiver},
};

/// What is known of metrics is asked for no more often than this.
pub(super) const FAMILIES_PERIOD: Duration = Duration::from_secs(30);

/// What those share who send to one receiver.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) queue: Queue,
    /// Exchanged by a reload.
    pub(crate) receiver: Mutex<Arc<Receiver>>,
    /// What went wrong last, while it does.
    pub(crate) trouble: Mutex<Option<String>>,
    /// Nothing is sent before.
    pause: Mutex<Option<Instant>>,
    /// What is known of metrics, and since when.
    families: Mutex<Option<(Instant, Arc<Families>)>>,
    pub(super) clock: WallClock,
    pub(crate) manner: Manner,
    pub(crate) doubt: Doubt,
}

/// Whether the receiver that answers is the one that took what is held.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// It was not there.
    pub(crate) was_away: AtomicBool,
    /// Asks for its run at once.
    pub(crate) asks: Notify,
    /// How often that was begun, and has ended.
    pub(crate) begun: AtomicU64,
    pub(crate) ended: watch::Sender<u64>,
    /// Nothing is sent before so many have ended.
    needed: AtomicU64,
}

impl Default for Doubt {
    fn default() -> Self {
        Self {
            was_away: AtomicBool::new(false),
            asks: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            needed: AtomicU64::new(0),
        }
    }
}

impl Line {
    pub(crate) fn new(
        queue: Queue,
        receiver: Arc<Receiver>,
        clock: WallClock,
        manner: Manner,
    ) -> Self {
        Self {
            manner,
            doubt: Doubt::default(),
            queue,
            receiver: Mutex::new(receiver),
            trouble: Mutex::default(),
            pause: Mutex::default(),
            families: Mutex::default(),
            clock,
        }
    }

    /// What is known of metrics, asked for now and then.
    pub(super) fn families(&self, describe: &Describe) -> Arc<Families> {
        let mut known = self.families.lock();
        if let Some((at, families)) = &*known
            && at.elapsed() < FAMILIES_PERIOD
        {
            return Arc::clone(families);
        }
        let families = Arc::new(describe());
        *known = Some((Instant::now(), Arc::clone(&families)));
        families
    }

    pub(super) fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver.lock())
    }

    /// Until when all wait, since the receiver asked for it or failed.
    pub(crate) fn paused(&self) -> Option<Instant> {
        self.pause.lock().filter(|until| *until > Instant::now())
    }

    pub(super) fn pause_for(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self.pause.lock();
        *paused = Some(paused.map_or(until, |known| known.max(until)));
    }

    pub(super) async fn wait_for_pause(&self) {
        while let Some(until) = self.paused() {
            tokio::time::sleep_until(until).await;
        }
        let needed = self.doubt.needed.load(Ordering::Relaxed);
        if needed > 0 {
            let mut ended = self.doubt.ended.subscribe();
            // The sender is this line's.
            drop(ended.wait_for(|ended| *ended >= needed).await);
        }
    }

    /// The receiver was not there: before more is sent it is asked which run of it answers.
    pub(super) fn be_in_doubt(&self) {
        if self.manner.hold.is_some() {
            self.doubt.was_away.store(true, Ordering::Relaxed);
            let next = self.doubt.begun.load(Ordering::Relaxed) + 1;
            self.doubt.needed.fetch_max(next, Ordering::Relaxed);
            self.doubt.asks.notify_one();
        }
    }

    pub(crate) fn trouble(&self, name: &str, why: String) {
        let mut trouble = self.trouble.lock();
        if trouble.as_ref() != Some(&why) {
            tracing::warn!(receiver = name, "sending on is tried again: {why}");
        }
        *trouble = Some(why);
    }

    pub(super) fn well(&self, name: &str) {
        if self.trouble.lock().take().is_some() {
            tracing::info!(receiver = name, "the receiver takes samples again");
        }
    }
}
