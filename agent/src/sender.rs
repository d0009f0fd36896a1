//! What is sent next: the newest moments first, then the oldest that the hub has not.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use pulseboard_forward::answer::{Backoff, Outcome};
use pulseboard_ingest::remote_write::Writer;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    buffer::{Appended, Buffer},
    external::External,
    frame::{Moment, Table},
    hub::{self, Hub},
    message::{self, Piece},
};

/// Moments that wait to be sent at once, and samples in them; those before them are in the log.
const LIVE_MAX: usize = 256;
const LIVE_SAMPLES_MAX: usize = 20_000;

/// Moments whose outcome on the disk is waited for, at most. What is scraped past it waits in the
/// log alone.
const WRITING_MAX: usize = 4_096;

/// Tables that are remembered as told, at most.
const DESCRIBED_MAX: usize = 64;

/// How long the last requests may take when the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// The newest moments: from who measures to who sends.
#[derive(Debug)]
pub(crate) struct Live {
    moments: Mutex<VecDeque<Moment>>,
    more: Notify,
    /// Moments on their way to the disk.
    writing: mpsc::Sender<Appended>,
    /// Up to this number all are on the disk, or never will be.
    written: AtomicU64,
    /// Samples that the hub has refused for good, or that the agent itself had to leave out.
    refused: AtomicU64,
    /// Labels of all that is sent.
    external: Mutex<Arc<BTreeMap<String, String>>>,
}

impl Live {
    fn new(written: u64) -> (Arc<Self>, mpsc::Receiver<Appended>) {
        let (writing, outcomes) = mpsc::channel(WRITING_MAX);
        let live = Self {
            moments: Mutex::default(),
            more: Notify::new(),
            writing,
            written: AtomicU64::new(written),
            refused: AtomicU64::new(0),
            external: Mutex::default(),
        };
        (Arc::new(live), outcomes)
    }

    /// A moment is on its way to the disk; it is sent when it is there. Called under the lock of
    /// the buffer, so that they come in order.
    pub(crate) fn push(&self, appended: Appended) {
        // Where there is no room it is sent from the log.
        drop(self.writing.try_send(appended));
    }

    fn written(&self, moment: Moment) {
        self.written.store(moment.number + 1, Ordering::Release);
        let mut moments = self.moments.lock();
        moments.push_back(moment);
        let samples = |moments: &VecDeque<Moment>| -> usize {
            moments.iter().map(|moment| moment.values.len()).sum()
        };
        while moments.len() > 1
            && (moments.len() > LIVE_MAX || samples(&moments) > LIVE_SAMPLES_MAX)
        {
            moments.pop_front();
        }
        drop(moments);
        self.more.notify_one();
    }

    fn take(&self) -> Vec<Moment> {
        self.moments.lock().drain(..).collect()
    }

    /// Moments before this one are on the disk and wait for nobody.
    fn backlog_end(&self) -> u64 {
        let written = self.written.load(Ordering::Acquire);
        let first = self.moments.lock().front().map(|moment| moment.number);
        first.unwrap_or(written).min(written)
    }

    /// What is sent from now on has these labels.
    pub(crate) fn set_external(&self, labels: &BTreeMap<String, String>) {
        *self.external.lock() = Arc::new(labels.clone());
    }

    /// So many samples were left out.
    pub(crate) fn count_refused(&self, samples: u64) {
        self.refused.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Waits for the disk, moment by moment, and hands each on. Ends with the last who measures.
async fn hand_on(live: Weak<Live>, mut outcomes: mpsc::Receiver<Appended>) {
    let mut trouble = false;
    while let Some(Appended { moment, written }) = outcomes.recv().await {
        let written = match written {
            Ok(ticket) => ticket.wait().await,
            Err(error) => Err(error),
        };
        match written {
            Err(error) if !trouble => {
                trouble = true;
                tracing::warn!(%error, "the log takes nothing; what the hub does not take at once is lost");
            }
            Ok(()) if trouble => {
                trouble = false;
                tracing::info!("the log takes moments again");
            }
            _ => {}
        }
        let Some(live) = live.upgrade() else {
            return;
        };
        live.written(moment);
    }
}

/// The newest moments that nobody sent, else the oldest.
async fn next(live: &Arc<Live>, buffer: &Arc<Mutex<Buffer>>) -> Vec<Moment> {
    let newest = live.take();
    if !newest.is_empty() {
        return newest;
    }
    let (buffer, live) = (Arc::clone(buffer), Arc::clone(live));
    let read = tokio::task::spawn_blocking(move || {
        let before = live.backlog_end();
        buffer.lock().oldest(before)
    });
    read.await.unwrap_or_default()
}

/// Sends until it is told to stop.
#[derive(Debug)]
pub(crate) struct Sender {
    hub: Hub,
    buffer: Arc<Mutex<Buffer>>,
    live: Arc<Live>,
    backoff: Backoff,
    writer: Writer,
    external: External,
    /// Taken by [`Sender::run`].
    outcomes: mpsc::Receiver<Appended>,
    /// Tables whose metrics the hub was told of, by where they are; held, so that no other gets
    /// their place.
    described: HashMap<usize, Table>,
    /// How many samples a message may have, as far as the hub's answers tell.
    largest: Option<usize>,
    /// Whether the hub took anything since it last found one sample alone too large.
    is_taking: bool,
    /// What the last failure said, so that each is said once.
    trouble: Option<String>,
}

impl Sender {
    pub(crate) fn new(hub: Hub, buffer: Arc<Mutex<Buffer>>) -> Self {
        let (live, outcomes) = Live::new(buffer.lock().next());
        Self {
            hub,
            buffer,
            live,
            outcomes,
            backoff: Backoff::new(hub::PAUSE.0, hub::PAUSE.1),
            writer: Writer::default(),
            external: External::default(),
            described: HashMap::new(),
            largest: None,
            is_taking: true,
            trouble: None,
        }
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let live = self.live();
        let (_, none) = mpsc::channel(1);
        let outcomes = std::mem::replace(&mut self.outcomes, none);
        let handing_on = tokio::spawn(hand_on(Arc::downgrade(&live), outcomes));
        while !stopping.is_cancelled() {
            let moments = next(&self.live, &self.buffer).await;
            if moments.is_empty() {
                tokio::select! {
                    () = live.more.notified() => {}
                    () = stopping.cancelled() => {}
                }
                continue;
            }
            let pause = tokio::select! {
                pause = self.send(&moments) => pause,
                () = stopping.cancelled() => {
                    // What is on its way may still arrive; it is sent again if not.
                    break;
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopping.cancelled() => {}
                }
            }
        }
        handing_on.abort();
        // The last moment is the one that somebody looks for.
        let last = live.take();
        if !last.is_empty() {
            drop(tokio::time::timeout(FAREWELL, self.send(&last)).await);
        }
    }

    /// Sends these; how long to wait before the next try where the hub is away. What is too large
    /// for one message goes as halves, in order; a moment counts as sent when its last part has
    /// arrived.
    async fn send(&mut self, moments: &[Moment]) -> Option<Duration> {
        let mut pieces = vec![Piece::Whole(moments)];
        while let Some(piece) = pieces.pop() {
            let is_larger = self.largest.is_some_and(|largest| piece.len() > largest);
            if is_larger && let Some([first, rest]) = piece.halves() {
                pieces.extend([rest, first]);
                continue;
            }
            let told = &self.described;
            let is_new = |table: &Table| !told.contains_key(&place(table));
            let labels = Arc::clone(&self.live.external.lock());
            self.external.exchange(labels);
            let packed = message::pack(&piece, is_new, &mut self.external, &mut self.writer);
            let (packed, left_out) = match packed {
                Ok(packed) => packed,
                Err(why) => {
                    let mut buffer = self.buffer.lock();
                    for moment in piece.moments() {
                        buffer.give_up(moment.number..moment.number + 1, &why);
                    }
                    continue;
                }
            };
            match self.hub.send(packed).await {
                Outcome::Taken => {
                    self.live.count_refused(left_out);
                    self.taken(&piece);
                }
                Outcome::TooLarge(why) => match piece.halves() {
                    Some([first, rest]) => {
                        self.largest = Some(first.len().max(rest.len()));
                        pieces.extend([rest, first]);
                    }
                    None => {
                        self.refused(&piece, &why);
                        // A hub that finds everything too large loses little until somebody looks.
                        if !std::mem::take(&mut self.is_taking) {
                            tokio::time::sleep(self.backoff.pause(None)).await;
                        }
                    }
                },
                Outcome::Refused(why) => {
                    self.refused(&piece, &why);
                    self.backoff.reset();
                }
                Outcome::Later(why, asked) => {
                    if self.trouble.as_ref() != Some(&why) {
                        tracing::warn!("the hub takes nothing; everything is kept: {why}");
                        self.trouble = Some(why);
                    }
                    return Some(self.backoff.pause(asked));
                }
            }
        }
        None
    }

    fn taken(&mut self, piece: &Piece<'_>) {
        if self.described.len() > DESCRIBED_MAX {
            self.described.clear();
        }
        for moment in piece.ends() {
            let table = Arc::clone(&moment.table);
            self.described.entry(place(&table)).or_insert(table);
        }
        self.ended(piece);
        // It may have been one odd sample, or the limit may be another by now.
        self.largest = self.largest.map(|largest| largest + largest / 16 + 1);
        self.is_taking = true;
        self.backoff.reset();
        if self.trouble.take().is_some() {
            tracing::info!("the hub takes samples again");
        }
    }

    fn refused(&mut self, piece: &Piece<'_>, why: &str) {
        let samples = piece.samples() as u64;
        let refused = &self.live.refused;
        let before = refused.fetch_add(samples, Ordering::Relaxed);
        tracing::warn!(
            samples.refused = before + samples,
            "the hub does not take some of {samples} samples: {why}"
        );
        self.ended(piece);
    }

    fn ended(&self, piece: &Piece<'_>) {
        let numbers = piece.ends().iter().map(|moment| moment.number);
        self.buffer.lock().sent(numbers);
    }
}

/// Where a table is in memory.
fn place(table: &Table) -> usize {
    table.as_ptr() as usize
}

#[cfg(test)]
mod tests;
