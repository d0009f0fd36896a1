//! Sends what waits for one receiver: some requests at once, each with lanes that no other has.
//! Where little comes one request carries all of them; where much waits each carries one.

mod hold;
mod line;

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use pulseboard_series::KeyRef;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::line::FAMILIES_PERIOD;
pub(crate) use self::line::Line;
use crate::{
    answer::{Backoff, Outcome, Reason},
    manner::Manner,
    message,
    queue::{Next, Parcel, Results, Spot},
    receiver::{Describe, Protocol, Receiver, Whose},
    record::{LANES, Sample},
};

/// How often files are looked through for such as are not needed.
const HOUSE_PERIOD: Duration = Duration::from_secs(1);

/// How long what is on its way has to arrive when the server stops.
const FAREWELL: Duration = Duration::from_millis(1_500);

/// Requests in halves of one parcel that the receiver took before; what it refuses then as known to
/// it is taken for sent. One that takes samples of a series in their order alone refuses all of it.
const AGAIN_HALVES: usize = 32;

/// Sends until it is told to stop; what is on its way then may still arrive.
pub(crate) async fn run(
    line: Arc<Line>,
    name: String,
    describe: Describe,
    stopping: CancellationToken,
) {
    if line.queue.held() > 0 {
        // It may have been started anew while nobody looked.
        line.be_in_doubt();
    }
    let housekeeping = tokio::spawn(keep_house(Arc::clone(&line)));
    let telling = tokio::spawn(tell_families(Arc::clone(&line), describe.clone()));
    let watching = tokio::spawn(hold::watch(Arc::clone(&line), name.clone()));
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
    watching.abort();
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

/// A part of a parcel that is sent by one request: places among those that are ordered.
#[derive(Clone, Debug)]
struct Part {
    range: Range<usize>,
    /// Whose it is, where the request says so.
    tenant: Option<Arc<str>>,
}

impl Part {
    /// Its halves, the first of which is to be sent first.
    fn halves(&self) -> (Self, Self) {
        let middle = self.range.start + self.range.len() / 2;
        let half = |range| Self {
            range,
            tenant: self.tenant.clone(),
        };
        (half(self.range.start..middle), half(middle..self.range.end))
    }
}

/// In which order samples of a parcel are sent, in which requests to begin with, the last of them
/// first; without those that somebody else sends.
fn plan(parcel: &Parcel, manner: &Manner) -> (Vec<Spot>, Vec<Part>) {
    let mut spots = parcel.spots();
    let Some(label) = manner.tenant_label else {
        let all = Part {
            range: 0..spots.len(),
            tenant: None,
        };
        return (spots, vec![all]);
    };
    let tenant = |spot: &Spot| {
        let sample = parcel.sample(*spot);
        sample.map_or("", |sample| {
            KeyRef::new(&sample.key).label(label).unwrap_or_default()
        })
    };
    if let Some(is_ours) = &manner.is_ours {
        let (mut last, mut is_last_ours) = ("", false);
        spots.retain(|spot| {
            let tenant = tenant(spot);
            if tenant != last || last.is_empty() {
                (last, is_last_ours) = (tenant, is_ours(tenant));
            }
            is_last_ours
        });
    }
    // Series by series, so that halves tell the bad from the good, and in the order of time.
    spots.sort_by_cached_key(|spot| {
        let tenant: Arc<str> = tenant(spot).into();
        let sample = parcel.sample(*spot);
        (
            tenant,
            sample.map(|sample| (Arc::clone(&sample.key), sample.at_ms)),
        )
    });
    if manner.said.is_none() {
        let all = Part {
            range: 0..spots.len(),
            tenant: None,
        };
        return (spots, vec![all]);
    }
    let mut parts: Vec<Part> = Vec::new();
    for (at, spot) in spots.iter().enumerate() {
        let tenant = tenant(spot);
        match parts.last_mut() {
            Some(part) if part.tenant.as_deref() == Some(tenant) => part.range.end = at + 1,
            _ => parts.push(Part {
                range: at..at + 1,
                tenant: Some(tenant.into()),
            }),
        }
    }
    parts.reverse();
    (spots, parts)
}

/// Sends one parcel until the receiver has it, refuses it, or it is too old. What is too large for
/// one request goes as halves, one after the other, so that samples of a series keep their order;
/// likewise what is refused, where the receiver is one to be careful with.
async fn deliver(line: &Arc<Line>, name: &str, parcel: Parcel, describe: &Describe) {
    let parcel = Arc::new(parcel);
    let mut results = Results::default();
    let mut backoff = None;
    // Whether the receiver took anything since it last found a sample alone too large.
    let mut is_taking = true;
    let (spots, mut parts) = plan(&parcel, &line.manner);
    results.others = parcel.spots().len() - spots.len();
    let spots = Arc::new(spots);
    let mut halves_again = AGAIN_HALVES;
    let mut refusal: Option<(usize, String)> = None;
    let mut packed: Option<(usize, Bytes)> = None;
    while let Some(part) = parts.pop() {
        line.wait_for_pause().await;
        if line.manner.hold.is_some() && line.queue.takes_back(&parcel) {
            return;
        }
        let receiver = line.receiver();
        let length = part.range.len();
        let (samples, message) = match packed.take() {
            Some(known) => known,
            None => {
                let wanted = (Arc::clone(&spots), part.range.clone());
                match pack(line, &receiver, &parcel, wanted, describe).await {
                    Ok((samples, message)) => {
                        results.given_up += length - samples;
                        (samples, message)
                    }
                    Err(why) => {
                        tracing::error!(receiver = name, "samples cannot be packed: {why}");
                        results.given_up += length;
                        continue;
                    }
                }
            }
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
        let said = line.manner.said.as_ref();
        let whose = said.zip(part.tenant.as_deref());
        let whose = whose.map(|(said, tenant)| Whose { tenant, said });
        let these = spots.get(part.range.clone()).unwrap_or_default();
        let sent = receiver.send(message.clone(), whose.as_ref()).await;
        if sent.is_in_doubt {
            line.be_in_doubt();
        }
        let is_too_large = matches!(sent.outcome, Outcome::TooLarge(_));
        let outcome = match sent.outcome {
            Outcome::Refused(why) if line.manner.is_careful => {
                let was_sent = parcel.were_all_sent(these);
                let reason = Reason::of(&why);
                let is_there = (was_sent && reason.is_of_known()) || reason == Reason::Duplicate;
                if samples > 1 && (!was_sent || halves_again > 0) {
                    halves_again -= usize::from(was_sent);
                    counts.requests[1].fetch_add(1, Ordering::Relaxed);
                    let (first, second) = part.halves();
                    parts.push(second);
                    parts.push(first);
                    line.well(name);
                    continue;
                }
                match is_there {
                    true => Outcome::Taken,
                    false => Outcome::Refused(why),
                }
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Taken => {
                counts.requests[0].fetch_add(1, Ordering::Relaxed);
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                let newest = parcel.samples(these).map(|sample| sample.at_ms).max();
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
                results.given_up -= length - samples;
                let (first, second) = part.halves();
                parts.push(second);
                parts.push(first);
            }
            Outcome::Refused(why) | Outcome::TooLarge(why) => {
                counts.requests[1].fetch_add(1, Ordering::Relaxed);
                results.refused += samples;
                if let Some(count) = counts.refused_for.get(Reason::of(&why) as usize) {
                    count.fetch_add(samples as u64, Ordering::Relaxed);
                }
                refusal.get_or_insert((0, why.clone())).0 += samples;
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
    if let Some((samples, why)) = refusal {
        tracing::warn!(
            receiver = name,
            samples.refused = samples,
            "the receiver does not take {samples} samples, which are dropped: {why}"
        );
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
    (spots, part): (Arc<Vec<Spot>>, Range<usize>),
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
        let part = spots.get(part).unwrap_or_default();
        let chosen = || parcel.samples(part).filter(is_young);
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
            let sent = receiver.send(Bytes::from(message), None).await;
            if let Outcome::Later(..) = sent.outcome {
                break;
            }
        }
    }
}
