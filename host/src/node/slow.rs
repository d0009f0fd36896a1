//! A thread for what may hang. It asks again and again while somebody wants to know; what it found
//! last is given until it is too old to be true.

use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::metric::{Kept, Sink};

/// Nothing is asked more often than this.
const PERIOD_MIN: Duration = Duration::from_millis(900);

/// What was found is told this long: a file system that hangs must not look well.
const FRESH: Duration = Duration::from_secs(30);

/// The end of the thread that asks. Dropping it ends the thread after what it is doing.
#[derive(Debug)]
pub(super) struct Slow {
    /// One question may wait: a thread that hangs is not asked again and again.
    ask: SyncSender<()>,
    /// What was found, and when.
    found: Arc<Mutex<Option<(Kept, Instant)>>>,
    asked: Option<Instant>,
}

impl Slow {
    /// Starts a thread that asks by `read`, once right away. Where no thread can be had, nothing is
    /// found.
    pub(super) fn start(mut read: impl FnMut(&mut Kept) + Send + 'static) -> Self {
        let (ask, questions) = sync_channel(1);
        let found = Arc::default();
        let results: Arc<Mutex<Option<(Kept, Instant)>>> = Arc::clone(&found);
        let started = thread::Builder::new()
            .name("node-slow".to_owned())
            .spawn(move || {
                while questions.recv().is_ok() {
                    let mut kept = Kept::default();
                    read(&mut kept);
                    *results.lock() = Some((kept, Instant::now()));
                }
            });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to ask file systems and sensors with");
        }
        let mut slow = Self {
            ask,
            found,
            asked: None,
        };
        slow.ask();
        slow
    }

    /// Gives what was found last, and asks for more. Never waits for a device.
    pub(super) fn give(&mut self, sink: &mut impl Sink) {
        if let Some((found, at)) = &*self.found.lock()
            && at.elapsed() < FRESH
        {
            found.give(sink);
        }
        self.ask();
    }

    fn ask(&mut self) {
        let now = Instant::now();
        let is_due = self
            .asked
            .is_none_or(|asked| now.duration_since(asked) >= PERIOD_MIN);
        // Refused while the thread is busy, or gone: then there is nothing to wait for either.
        if is_due && self.ask.try_send(()).is_ok() {
            self.asked = Some(now);
        }
    }
}
