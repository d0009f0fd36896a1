//! What waits for one receiver: lanes of records, on disk and as far as there is room in memory.
//!
//! A record is numbered in its lane and written to the log when it comes. The newest records stay
//! in memory too, so that a receiver that keeps up costs no reading; what it fell behind of is read
//! from the log. A lane is sent in order, by one request at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pulseboard_history::log::{self, Durability, Log, LogError, LogOptions, Ticket};
use pulseboard_series::{Batch, Row};
use tokio::sync::Notify;

use crate::{
    choose::{Chooser, Chosen, Rules},
    lane::Lane,
    limits::Limits,
    progress::{Places, Progress},
    record::{self, Encoder, LANES, RECORD_SAMPLES_MAX, Record, SAMPLES, Sample},
};

/// A file of the log; what waits is given up, and what is sent removed, by files.
const FILE_BYTES: u64 = 8 << 20;

/// Likewise of who keeps little.
const FILE_BYTES_MIN: u64 = 64 << 10;

/// Samples of one lane that stay in memory beside the log.
const RECENT_SAMPLES_MAX: usize = 16_384;

/// Likewise where there is no log: all that waits.
const UNLOGGED_SAMPLES_MAX: usize = 131_072;

/// Samples of one lane that are read from the log at once.
const LOADED_SAMPLES_MAX: usize = 16_384;

/// Bytes towards the disk; past it samples wait in memory alone.
const PENDING_BYTES: usize = 16 << 20;

/// What was counted of one receiver since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Samples that came and that the rules chose.
    pub(crate) chosen: AtomicU64,
    /// Samples that the rules dropped.
    pub(crate) dropped: AtomicU64,
    /// Samples of which the rules make no series.
    pub(crate) broken: AtomicU64,
    /// Samples that the receiver has.
    pub(crate) sent: AtomicU64,
    /// Samples that the receiver refused for good.
    pub(crate) refused: AtomicU64,
    /// Samples that were given up: too old, too many, or not to be read.
    pub(crate) given_up: AtomicU64,
    /// Samples that are not on disk, since that takes nothing.
    pub(crate) unwritten: AtomicU64,
    /// Requests that the receiver took, refused, or that are to be made again.
    pub(crate) requests: [AtomicU64; 3],
    /// Bytes of requests that the receiver took.
    pub(crate) bytes: AtomicU64,
    /// The newest time of a sample that came, and of one that the receiver has, Unix milliseconds;
    /// 0 for none.
    pub(crate) newest_ms: AtomicI64,
    pub(crate) newest_sent_ms: AtomicI64,
    /// The newest time of what came first.
    pub(crate) began_ms: AtomicI64,
    /// When the receiver last took something.
    pub(crate) taken_at_ms: AtomicI64,
    /// Why the receiver refused samples last.
    pub(crate) refusal: Mutex<Option<String>>,
}

/// One request's samples.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Where what is in it ends, of each lane.
    ends: Vec<(usize, u64)>,
    pub(crate) records: Vec<Arc<Record>>,
}

impl Parcel {
    /// When its newest record came.
    pub(crate) fn arrived_ms(&self) -> i64 {
        let arrivals = self.records.iter().map(|record| record.arrived_ms);
        arrivals.max().unwrap_or(i64::MAX)
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.records.iter().flat_map(|record| &record.samples)
    }
}

/// What became of the samples of a parcel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) sent: usize,
    pub(crate) refused: usize,
    pub(crate) given_up: usize,
}

/// What waits for one receiver.
#[derive(Debug)]
pub(crate) struct Queue {
    log: Option<Log>,
    inner: Mutex<Inner>,
    /// Locked before `inner`, and never while something comes in.
    progress: Mutex<Option<Progress>>,
    pub(crate) more: Notify,
    pub(crate) counts: Counts,
    pub(crate) limits: Limits,
}

#[derive(Debug, Default)]
struct Inner {
    chooser: Chooser,
    encoder: Encoder,
    lanes: [Lane; LANES],
    /// Where the lanes end in each segment of the log. A record is in the segment under which it
    /// is noted, or in one behind.
    groups: BTreeMap<u32, Group>,
    /// Samples of a request, which no record is larger than.
    samples_max: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    ends: Places,
    arrived_ms: i64,
}

impl Group {
    fn note(&mut self, lane: usize, number: u64, arrived_ms: i64) {
        if let Some(end) = self.ends.get_mut(lane) {
            *end = (*end).max(number + 1);
        }
        self.arrived_ms = self.arrived_ms.max(arrived_ms);
    }
}

impl Inner {
    /// What may be in this segment or in one before.
    fn up_to(&self, segment: u32) -> Group {
        let mut all = Group::default();
        for (_, group) in self.groups.range(..=segment) {
            for (end, more) in all.ends.iter_mut().zip(group.ends) {
                *end = (*end).max(more);
            }
            all.arrived_ms = all.arrived_ms.max(group.arrived_ms);
        }
        all
    }

    fn is_done(&self, group: &Group) -> bool {
        let mut lanes = self.lanes.iter().zip(group.ends);
        lanes.all(|(lane, end)| lane.done() >= end)
    }
}

/// What is to be read before more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    lane: usize,
    from: u64,
    /// From here on it is in memory.
    before: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Next {
    /// This is to be sent.
    Send(Parcel),
    /// This is to be read.
    Load(Wanted),
    /// Something waits, and may wait until then.
    Until(Instant),
    /// Nothing waits that is not on its way.
    Nothing,
}

impl Queue {
    /// Opens the queue in `folder`, or one in memory.
    ///
    /// # Errors
    /// The folder cannot be made, listed or written.
    pub(crate) fn open(folder: Option<&Path>, limits: Limits) -> Result<Self, LogError> {
        let mut inner = Inner {
            samples_max: RECORD_SAMPLES_MAX,
            ..Inner::default()
        };
        let (mut log, mut progress) = (None, None);
        if let Some(folder) = folder {
            let failed = |source: io::Error| LogError::Io {
                action: "open what is sent in",
                path: PathBuf::from(folder),
                source: Arc::new(source),
            };
            // The log makes its folders readable for nobody else.
            let options = LogOptions {
                // A sync for each batch would hold up what comes in; what a power cut takes is
                // some seconds.
                durability: Durability::Write,
                segment_bytes: FILE_BYTES.min(limits.bytes / 4).max(FILE_BYTES_MIN),
                pending_bytes: PENDING_BYTES,
                ..LogOptions::default()
            };
            std::fs::create_dir_all(folder).map_err(failed)?;
            let (file, places) = Progress::open(folder).map_err(failed)?;
            for (lane, place) in inner.lanes.iter_mut().zip(places) {
                lane.begin(place);
            }
            let (lanes, groups) = (&mut inner.lanes, &mut inner.groups);
            let sink = |kind: u8, payload: &[u8], segment: u32| {
                if kind == SAMPLES
                    && let Some((head, _)) = record::head(payload)
                    && let Some(lane) = lanes.get_mut(head.lane)
                {
                    lane.found(head.number, head.samples);
                    let group = groups.entry(segment).or_default();
                    group.note(head.lane, head.number, head.arrived_ms);
                }
            };
            let (opened, report) = Log::open(&folder.join("samples"), options, sink)?;
            if report.skipped_bytes > 0 {
                tracing::warn!(
                    bytes = report.skipped_bytes,
                    "a part of what was to be sent on cannot be read and is passed over"
                );
            }
            (log, progress) = (Some(opened), Some(file));
        }
        Ok(Self {
            log,
            inner: Mutex::new(inner),
            progress: Mutex::new(progress),
            more: Notify::new(),
            counts: Counts::default(),
            limits,
        })
    }

    /// Goes on by other rules; requests have so many samples at most.
    pub(crate) fn exchange(&self, rules: Rules, samples_max: usize) {
        let mut inner = self.inner.lock();
        inner.chooser.exchange(rules);
        inner.samples_max = samples_max;
    }

    /// Takes rows in. They have outlived the end of the process when the ticket says so.
    pub(crate) fn take(
        &self,
        batch: &Batch,
        is_refused: impl Fn(u32) -> bool,
        now_ms: i64,
    ) -> Option<Ticket> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let (mut chosen, mut dropped, mut broken, mut newest_ms) = (0, 0, 0, 0);
        for (index, row) in (0..).zip(batch.rows()) {
            if is_refused(index) {
                continue;
            }
            match inner.chooser.choose(row.hash, batch.key(row)) {
                Chosen::Sent(lane, key) => {
                    chosen += 1;
                    let sample = sample(batch, row, key, now_ms);
                    newest_ms = newest_ms.max(sample.at_ms);
                    if let Some(lane) = inner.lanes.get_mut(lane) {
                        lane.gathered.push(sample);
                    }
                }
                Chosen::Dropped => dropped += 1,
                Chosen::Broken => broken += 1,
            }
        }
        add(&self.counts.chosen, chosen);
        add(&self.counts.dropped, dropped);
        add(&self.counts.broken, broken);
        if chosen == 0 {
            return None;
        }
        self.counts
            .newest_ms
            .fetch_max(newest_ms, Ordering::Relaxed);
        let size = RECORD_SAMPLES_MAX.min(inner.samples_max);
        let recent_max = match self.log {
            Some(_) => RECENT_SAMPLES_MAX,
            None => UNLOGGED_SAMPLES_MAX,
        };
        let mut ticket = None;
        for (number, lane) in inner.lanes.iter_mut().enumerate() {
            let mut gathered = std::mem::take(&mut lane.gathered);
            let mut rest = gathered.drain(..).peekable();
            while rest.peek().is_some() {
                let record = Record {
                    number: lane.next(),
                    arrived_ms: now_ms,
                    samples: rest.by_ref().take(size).collect(),
                };
                if let Some(log) = &self.log {
                    match log.append(SAMPLES, inner.encoder.encode(number, &record)) {
                        Ok(written) => {
                            let group = inner.groups.entry(written.segment_floor()).or_default();
                            group.note(number, record.number, now_ms);
                            ticket = Some(written);
                        }
                        Err(_full) => add(&self.counts.unwritten, record.samples.len() as u64),
                    }
                }
                lane.push(record);
            }
            drop(rest);
            lane.gathered = gathered;
            let lost = lane.shorten(recent_max, self.log.is_some());
            add(&self.counts.given_up, lost);
        }
        self.more.notify_one();
        ticket
    }

    /// What is to be done next, with requests of so many samples that wait so long for more.
    pub(crate) fn next(&self, samples_max: usize, deadline: Duration, now_ms: i64) -> Next {
        let mut inner = self.inner.lock();
        let oldest_ms = now_ms.saturating_sub(self.limits.age_ms());
        for (number, lane) in inner.lanes.iter_mut().enumerate() {
            if lane.is_under_way() {
                continue;
            }
            add(&self.counts.given_up, lane.pass_over(oldest_ms));
            if lane.needs_log() {
                return Next::Load(Wanted {
                    lane: number,
                    from: lane.taken(),
                    before: lane.recent_from(),
                });
            }
        }
        let idle = inner.lanes.iter().filter(|lane| !lane.is_under_way());
        let waiting: u64 = idle.clone().map(Lane::waiting).sum();
        let Some(since) = idle.filter_map(Lane::since).min() else {
            return Next::Nothing;
        };
        let due = since + deadline;
        if waiting < samples_max as u64 && Instant::now() < due {
            return Next::Until(due);
        }
        let mut order: Vec<usize> = (0..LANES).collect();
        order.sort_by_key(|number| inner.lanes.get(*number).and_then(Lane::since));
        let (mut ends, mut records, mut samples) = (Vec::new(), Vec::new(), 0);
        for number in order {
            if let Some(lane) = inner.lanes.get_mut(number)
                && !lane.is_under_way()
                && let Some(end) = lane.give(&mut records, &mut samples, samples_max)
            {
                ends.push((number, end));
            }
        }
        if records.is_empty() {
            return Next::Nothing;
        }
        Next::Send(Parcel { ends, records })
    }

    /// Reads what is wanted from the log. Blocks for the disk.
    pub(crate) fn load(&self, wanted: Wanted) {
        let Some(log) = &self.log else {
            return;
        };
        let mut from = wanted.from;
        let mut loaded: VecDeque<Arc<Record>> = VecDeque::new();
        let mut samples = 0;
        for info in log.segments() {
            let group = self.inner.lock().up_to(info.number);
            if group.ends.get(wanted.lane).is_none_or(|end| *end <= from) {
                continue;
            }
            let read = log::read_segment(log.dir(), info.number, |kind, payload| {
                if kind == SAMPLES
                    && samples < LOADED_SAMPLES_MAX
                    && let Some((head, rest)) = record::head(payload)
                    && head.lane == wanted.lane
                    && (from..wanted.before).contains(&head.number)
                    && let Some(record) = record::read(&head, rest)
                {
                    from = head.number + 1;
                    samples += record.samples.len();
                    loaded.push_back(Arc::new(record));
                }
            });
            if let Err(error) = read {
                tracing::warn!(%error, "a file of what is to be sent on cannot be read");
            }
            if !loaded.is_empty() {
                break;
            }
        }
        let mut inner = self.inner.lock();
        let Some(lane) = inner.lanes.get_mut(wanted.lane) else {
            return;
        };
        if lane.is_under_way() || lane.taken() != wanted.from {
            return;
        }
        if loaded.is_empty() {
            // Neither in the log nor in memory: it is nowhere.
            add(&self.counts.given_up, lane.lose(wanted.before));
        } else {
            lane.load(loaded);
        }
    }

    /// A parcel is done with. Blocks for the disk.
    pub(crate) fn done(&self, parcel: &Parcel, results: Results) {
        add(&self.counts.sent, results.sent as u64);
        add(&self.counts.refused, results.refused as u64);
        add(&self.counts.given_up, results.given_up as u64);
        let mut progress = self.progress.lock();
        let mut inner = self.inner.lock();
        for (number, end) in &parcel.ends {
            if let Some(lane) = inner.lanes.get_mut(*number) {
                add(&self.counts.given_up, lane.arrived(*end));
            }
        }
        let places: Places = std::array::from_fn(|at| inner.lanes.get(at).map_or(0, Lane::done));
        drop(inner);
        if let Some(file) = &mut *progress
            && let Err(error) = file.save(&places)
        {
            tracing::warn!(%error, "what was sent on cannot be written down");
        }
    }

    /// Removes files that are not needed any more, and gives up what is too old or too much. Blocks
    /// for the disk.
    pub(crate) fn keep_house(&self, now_ms: i64) {
        let Some(log) = &self.log else {
            return;
        };
        let oldest_ms = now_ms.saturating_sub(self.limits.age_ms());
        let mut bytes = log.stats().bytes;
        let current = log.current_segment();
        let mut keep_from = None;
        for info in log.segments() {
            if info.number >= current {
                break;
            }
            let mut inner = self.inner.lock();
            let group = inner.up_to(info.number);
            if !inner.is_done(&group) {
                let why = match (group.arrived_ms < oldest_ms, bytes > self.limits.bytes) {
                    (true, _) => "too old",
                    (_, true) => "the buffer is full",
                    _ => break,
                };
                let mut lanes = inner.lanes.iter_mut().zip(group.ends);
                let lost = lanes.by_ref().map(|(lane, end)| lane.lose(end)).sum();
                add(&self.counts.given_up, lost);
                tracing::warn!(
                    samples.given_up = lost,
                    "{lost} samples that were to be sent on are given up: {why}"
                );
            }
            bytes = bytes.saturating_sub(info.bytes);
            keep_from = Some(info.number + 1);
        }
        let Some(from) = keep_from else {
            return;
        };
        if let Err(error) = log.remove_before(from) {
            tracing::warn!(%error, "a file that was sent on cannot be removed");
        }
        self.inner.lock().groups.retain(|number, _| *number >= from);
    }

    /// Samples that wait, those on their way among them.
    pub(crate) fn waiting(&self) -> u64 {
        let inner = self.inner.lock();
        inner.lanes.iter().map(Lane::waiting).sum()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.stats().bytes)
    }

    /// Writes down what came, and takes nothing more.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }
}

fn sample(batch: &Batch, row: &Row, key: Arc<[u8]>, now_ms: i64) -> Sample {
    Sample {
        key,
        kind: batch.description(row).0,
        at_ms: if row.at_ms == Row::NOW {
            now_ms
        } else {
            row.at_ms
        },
        bits: row.value.to_bits(),
    }
}

fn add(to: &AtomicU64, more: u64) {
    to.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
