//! Sends what waits for one receiver: some requests at once, each with lanes that no other has.
//! Where little comes one request carries all of them; where much waits each carries one.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pulseboard_scrape::WallClock;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::{Backoff, Outcome},
    message,
    queue::{Next, Parcel, Queue, Results},
    receiver::{Describe, Families, Protocol, Receiver},
    record::{LANES, Sample},
};

/// How often files are looked through for such as are not needed.
const HOUSE_PERIOD: Duration = Duration::from_secs(1);

/// How long what is on its way has to arrive when the server stops.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// What is known of metrics is asked for no more often than this.
const FAMILIES_PERIOD: Duration = Duration::from_secs(30);

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
    clock: WallClock,
}

impl Line {
    pub(crate) fn new(queue: Queue, receiver: Arc<Receiver>, clock: WallClock) -> Self {
        Self {
            queue,
            receiver: Mutex::new(receiver),
            trouble: Mutex::default(),
            pause: Mutex::default(),
            families: Mutex::default(),
            clock,
        }
    }

    /// What is known of metrics, asked for now and then.
    fn families(&self, describe: &Describe) -> Arc<Families> {
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

    fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(&self.receiver.lock())
    }

    /// Until when all wait, since the receiver asked for it or failed.
    pub(crate) fn paused(&self) -> Option<Instant> {
        self.pause.lock().filter(|until| *until > Instant::now())
    }

    fn pause_for(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut paused = self.pause.lock();
        *paused = Some(paused.map_or(until, |known| known.max(until)));
    }

    async fn wait_for_pause(&self) {
        while let Some(until) = self.paused() {
            tokio::time::sleep_until(until).await;
        }
    }

    fn trouble(&self, name: &str, why: String) {
        let mut trouble = self.trouble.lock();
        if trouble.as_ref() != Some(&why) {
            tracing::warn!(receiver = name, "remote_write is tried again: {why}");
        }
        *trouble = Some(why);
    }

    fn well(&self, name: &str) {
        if self.trouble.lock().take().is_some() {
            tracing::info!(receiver = name, "the receiver takes samples again");
        }
    }
}

/// Sends until it is told to stop; what is on its way then may still arrive.
pub(crate) async fn run(
    line: Arc<Line>,
    name: String,
    describe: Describe,
    stopping: CancellationToken,
) {
    let housekeeping = tokio::spawn(keep_house(Arc::clone(&line)));
    let telling = tokio::spawn(tell_families(Arc::clone(&line), describe.clone()));
    let mut sending = JoinSet::new();
    while !stopping.is_cancelled() {
        let receiver = line.receiver();
        let mut wait_until = None;
        let can_send = sending.len() < receiver.at_once.min(LANES);
        if can_send {
            let now_ms = line.clock.now_ms();
            match line
                .queue
                .next(receiver.samples_max, receiver.deadline, now_ms)
            {
                Next::Send(parcel) => {
                    let (line, name) = (Arc::clone(&line), name.clone());
                    let describe = Arc::clone(&describe);
                    sending.spawn(async move { deliver(&line, &name, parcel, &describe).await });
                    continue;
                }
                Next::Load(wanted) => {
                    let line = Arc::clone(&line);
                    let load = tokio::task::spawn_blocking(move || line.queue.load(wanted));
                    if load.await.is_err() {
                        tracing::error!("reading what is to be sent on panicked");
                        tokio::time::sleep(HOUSE_PERIOD).await;
                    }
                    continue;
                }
                Next::Until(at) => wait_until = Some(Instant::from_std(at)),
                Next::Nothing => {}
            }
        }
        let far = Instant::now() + Duration::from_secs(3_600);
        tokio::select! {
            () = line.queue.more.notified(), if can_send => {}
            () = tokio::time::sleep_until(wait_until.unwrap_or(far)) => {}
            Some(_) = sending.join_next() => {}
            () = stopping.cancelled() => {}
        }
    }
    housekeeping.abort();
    telling.abort();
    let all = async { while sending.join_next().await.is_some() {} };
    // What has no answer by then is sent again after the next start.
    drop(tokio::time::timeout(FAREWELL, all).await);
}

async fn keep_house(line: Arc<Line>) {
    loop {
        let keeping = Arc::clone(&line);
        let kept = tokio::task::spawn_blocking(move || {
            keeping.queue.keep_house(keeping.clock.now_ms());
        });
        if kept.await.is_err() {
            tracing::error!("keeping house for what is to be sent on panicked");
        }
        tokio::time::sleep(HOUSE_PERIOD).await;
    }
}

/// Sends one parcel until the receiver has it, refuses it, or it is too old. What is too large for
/// one request goes as halves, one after the other, so that samples of a series keep their order.
async fn deliver(line: &Arc<Line>, name: &str, parcel: Parcel, describe: &Describe) {
    let parcel = Arc::new(parcel);
    let mut results = Results::default();
    let mut backoff = None;
    // Whether the receiver took anything since it last found a sample alone too large.
    let mut is_taking = true;
    let mut parts: Vec<Range<usize>> = std::iter::once(0..parcel.samples().count()).collect();
    let mut packed: Option<(usize, Bytes)> = None;
    while let Some(part) = parts.pop() {
        line.wait_for_pause().await;
        let receiver = line.receiver();
        let (samples, message) = match packed.take() {
            Some(known) => known,
            None => match pack(line, &receiver, &parcel, part.clone(), describe).await {
                Ok((samples, message)) => {
                    results.given_up += part.len() - samples;
                    (samples, message)
                }
                Err(why) => {
                    tracing::error!(receiver = name, "samples cannot be packed: {why}");
                    results.given_up += part.len();
                    continue;
                }
            },
        };
        if samples == 0 {
            continue;
        }
        let is_old = parcel.arrived_ms()
            < line
                .clock
                .now_ms()
                .saturating_sub(line.queue.limits.age_ms());
        if is_old {
            results.given_up += samples;
            continue;
        }
        let bytes = message.len() as u64;
        let counts = &line.queue.counts;
        let mut wait = |asked| {
            let (shortest, longest) = receiver.pauses;
            let backoff = backoff.get_or_insert_with(|| Backoff::new(shortest, longest));
            line.pause_for(backoff.pause(asked));
        };
        let outcome = receiver.send(message.clone()).await;
        let is_too_large = matches!(outcome, Outcome::TooLarge(_));
        match outcome {
            Outcome::Taken => {
                counts.requests[0].fetch_add(1, Ordering::Relaxed);
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                let sent = parcel.samples().skip(part.start).take(part.len());
                let newest = sent.map(|sample| sample.at_ms).max();
                let newest_ms = newest.unwrap_or_default();
                counts
                    .newest_sent_ms
                    .fetch_max(newest_ms, Ordering::Relaxed);
                let now_ms = line.clock.now_ms();
                counts.taken_at_ms.store(now_ms, Ordering::Relaxed);
                results.sent += samples;
                is_taking = true;
                line.well(name);
            }
            Outcome::TooLarge(_) if samples > 1 => {
                counts.requests[1].fetch_add(1, Ordering::Relaxed);
                // Samples that are too old by now are passed over when their half is packed.
                results.given_up -= part.len() - samples;
                let middle = part.start + part.len() / 2;
                parts.push(middle..part.end);
                parts.push(part.start..middle);
            }
            Outcome::Refused(why) | Outcome::TooLarge(why) => {
                counts.requests[1].fetch_add(1, Ordering::Relaxed);
                results.refused += samples;
                tracing::warn!(
                    receiver = name,
                    samples.refused = samples,
                    "the receiver does not take {samples} samples, which are dropped: {why}"
                );
                line.well(name);
                *line.queue.counts.refusal.lock() = Some(why);
                // One that finds everything too large loses little until somebody looks.
                if is_too_large && !std::mem::take(&mut is_taking) {
                    wait(None);
                }
            }
            Outcome::Later(why, asked) => {
                counts.requests[2].fetch_add(1, Ordering::Relaxed);
                line.trouble(name, why);
                wait(asked);
                packed = Some((samples, message));
                parts.push(part);
            }
        }
    }
    let done = Arc::clone(line);
    let written = tokio::task::spawn_blocking(move || done.queue.done(&parcel, results));
    if written.await.is_err() {
        tracing::error!("writing down what was sent on panicked");
    }
}

/// Packs a part of a parcel without what is too old by its own time; how many samples are left.
async fn pack(
    line: &Arc<Line>,
    receiver: &Arc<Receiver>,
    parcel: &Arc<Parcel>,
    part: Range<usize>,
    describe: &Describe,
) -> Result<(usize, Bytes), String> {
    let age = receiver.sample_age;
    let age_ms = age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let oldest_ms = age_ms.map_or(i64::MIN, |age_ms| {
        line.clock.now_ms().saturating_sub(age_ms)
    });
    let protocol = receiver.protocol;
    let (line, parcel, describe) = (Arc::clone(line), Arc::clone(parcel), Arc::clone(describe));
    let packing = tokio::task::spawn_blocking(move || {
        let families = match protocol {
            Protocol::V1 => Arc::default(),
            Protocol::V2 => line.families(&describe),
        };
        let is_young = |sample: &&Sample| sample.at_ms >= oldest_ms;
        let chosen = || {
            let part = parcel.samples().skip(part.start).take(part.len());
            part.filter(is_young)
        };
        let samples = chosen().count();
        let packed = message::pack(protocol, chosen(), &families)?;
        Ok((samples, Bytes::from(packed)))
    });
    packing.await.map_err(|error| error.to_string())?
}

/// Tells the receiver what metrics are, as often as the file says. What does not arrive is told
/// again anyway.
async fn tell_families(line: Arc<Line>, describe: Describe) {
    loop {
        let receiver = line.receiver();
        let Some((period, at_once)) = receiver.families else {
            tokio::time::sleep(FAMILIES_PERIOD).await;
            continue;
        };
        tokio::time::sleep(period).await;
        let describe = Arc::clone(&describe);
        let packing =
            tokio::task::spawn_blocking(move || message::pack_families(&describe(), at_once));
        let Ok(Ok(messages)) = packing.await else {
            continue;
        };
        for message in messages {
            line.wait_for_pause().await;
            if let Outcome::Later(..) = receiver.send(Bytes::from(message)).await {
                break;
            }
        }
    }
}
