//! What waits for one receiver: lanes of records, on disk and as far as there is room in memory.
//! Where its word is not final, what it took is held for a while, and sent again when it may have
//! lost it.
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
    answer::Reason,
    choose::{Chooser, Chosen, Rules},
    lane::Lane,
    limits::Limits,
    progress::{self, Held, Places, Progress},
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
    /// Samples that the receiver refused for good, and of those by [`Reason::ALL`].
    pub(crate) refused: AtomicU64,
    pub(crate) refused_for: [AtomicU64; Reason::ALL.len()],
    /// Samples that were sent and are to be sent again.
    pub(crate) resent: AtomicU64,
    /// Samples that somebody else sends.
    pub(crate) others: AtomicU64,
    /// Samples that were held and given up, as the bytes are needed.
    pub(crate) held_given_up: AtomicU64,
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
    /// Of each record, whether the receiver said once that it has it.
    pub(crate) were_sent: Vec<bool>,
}

/// A sample's place in a parcel: its record, and where in that.
pub(crate) type Spot = (u32, u32);

impl Parcel {
    /// When its newest record came.
    pub(crate) fn arrived_ms(&self) -> i64 {
        let arrivals = self.records.iter().map(|record| record.arrived_ms);
        arrivals.max().unwrap_or(i64::MAX)
    }

    /// Where its samples are.
    pub(crate) fn spots(&self) -> Vec<Spot> {
        let records = (0..).zip(&self.records);
        let spots = records.flat_map(|(number, record)| {
            (0..).zip(&record.samples).map(move |(at, _)| (number, at))
        });
        spots.collect()
    }

    /// The samples at these places.
    pub(crate) fn samples<'a>(&'a self, spots: &'a [Spot]) -> impl Iterator<Item = &'a Sample> {
        spots.iter().filter_map(|spot| self.sample(*spot))
    }

    pub(crate) fn sample(&self, (record, at): Spot) -> Option<&Sample> {
        let record = self.records.get(record as usize)?;
        record.samples.get(at as usize)
    }

    /// Whether the receiver said once that it has all of these.
    pub(crate) fn were_all_sent(&self, spots: &[Spot]) -> bool {
        let mut spots = spots.iter();
        spots.all(|(record, _)| self.were_sent.get(*record as usize) == Some(&true))
    }
}

/// What became of the samples of a parcel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) sent: usize,
    pub(crate) refused: usize,
    pub(crate) given_up: usize,
    /// That somebody else sends.
    pub(crate) others: usize,
}

/// What waits for one receiver.
#[derive(Debug)]
pub(crate) struct Queue {
    log: Option<Log>,
    inner: Mutex<Inner>,
    /// Locked before `inner`, and never while something comes in.
    progress: Mutex<Files>,
    /// How long what is done is held; `None`: not at all.
    hold: Option<Duration>,
    pub(crate) more: Notify,
    pub(crate) counts: Counts,
    pub(crate) limits: Limits,
}

/// What is written of how far it is; nothing where there is no folder.
#[derive(Debug, Default)]
struct Files {
    sent: Option<Progress>,
    held: Option<Held>,
    /// The receiver's run that took what is held, as it is written.
    run: u64,
}

/// How far the lanes were done at a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    places: Places,
}

/// Marks in the time that what is done is held.
const MARKS: u32 = 64;

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first.
    marks: VecDeque<Mark>,
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

    fn is_released(&self, group: &Group) -> bool {
        let mut lanes = self.lanes.iter().zip(group.ends);
        lanes.all(|(lane, end)| lane.released() >= end)
    }

    fn places(&self, of: fn(&Lane) -> u64) -> Places {
        std::array::from_fn(|at| self.lanes.get(at).map_or(0, of))
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
    /// Opens the queue in `folder`, or one in memory. What is done is held for so long.
    ///
    /// # Errors
    /// The folder cannot be made, listed or written.
    pub(crate) fn open(
        folder: Option<&Path>,
        limits: Limits,
        hold: Option<Duration>,
    ) -> Result<Self, LogError> {
        let mut inner = Inner {
            samples_max: RECORD_SAMPLES_MAX,
            ..Inner::default()
        };
        if hold.is_some() {
            inner.lanes.iter_mut().for_each(Lane::hold);
        }
        let (mut log, mut progress) = (None, Files::default());
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
            let (file, places) = Progress::open(folder, progress::SENT).map_err(failed)?;
            progress.sent = Some(file);
            let mut released = places;
            if hold.is_some() {
                let (file, held) = Held::open(folder, progress::HELD).map_err(failed)?;
                progress.held = Some(file);
                let [places @ .., run] = held;
                (released, progress.run) = (places, run);
            }
            let begin = places.into_iter().zip(released);
            for (lane, (place, released)) in inner.lanes.iter_mut().zip(begin) {
                lane.begin(released, place);
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
            log = Some(opened);
            inner.lanes.iter_mut().for_each(Lane::found_all);
            if hold.is_some() {
                let places = inner.places(Lane::done);
                let at = Instant::now();
                inner.marks.push_back(Mark { at, places });
            }
        }
        Ok(Self {
            log,
            inner: Mutex::new(inner),
            progress: Mutex::new(progress),
            hold,
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

    /// Takes a tenant's rows in. They have outlived the end of the process when the ticket says so.
    pub(crate) fn take(
        &self,
        tenant: &str,
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
            match inner.chooser.choose(tenant, row.hash, batch.key(row)) {
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
        let mut were_sent = Vec::new();
        for number in order {
            if let Some(lane) = inner.lanes.get_mut(number)
                && !lane.is_under_way()
                && let Some(end) = lane.give(&mut records, &mut samples, samples_max)
            {
                let given = records.get(were_sent.len()..).unwrap_or_default();
                were_sent.extend(given.iter().map(|record| lane.was_done(record.number)));
                ends.push((number, end));
            }
        }
        if records.is_empty() {
            return Next::Nothing;
        }
        Next::Send(Parcel {
            ends,
            records,
            were_sent,
        })
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
        add(&self.counts.others, results.others as u64);
        let mut files = self.progress.lock();
        let mut inner = self.inner.lock();
        for (number, end) in &parcel.ends {
            if let Some(lane) = inner.lanes.get_mut(*number) {
                let (lost, again) = lane.arrived(*end);
                add(&self.counts.given_up, lost);
                add(&self.counts.resent, again);
            }
        }
        let places = inner.places(Lane::begins_at);
        drop(inner);
        files.save_sent(&places);
    }

    /// Whether what is on its way in this parcel is to be sent once more, with what was before it;
    /// then it is on its way no more.
    pub(crate) fn takes_back(&self, parcel: &Parcel) -> bool {
        let mut inner = self.inner.lock();
        let goes_back = |(number, _): &(usize, u64)| {
            let lane = inner.lanes.get(*number);
            lane.is_some_and(Lane::goes_back)
        };
        if !parcel.ends.iter().any(goes_back) {
            return false;
        }
        for (number, _) in &parcel.ends {
            if let Some(lane) = inner.lanes.get_mut(*number) {
                let (lost, again) = lane.take_back();
                add(&self.counts.given_up, lost);
                add(&self.counts.resent, again);
            }
        }
        drop(inner);
        self.more.notify_one();
        true
    }

    /// The receiver's run that took what is held, as it was written last; 0 for none.
    pub(crate) fn run(&self) -> u64 {
        self.progress.lock().run
    }

    /// The receiver may have lost what is held, which is sent again; it runs as `run` now. Blocks
    /// for the disk.
    pub(crate) fn send_again(&self, run: u64) {
        let mut files = self.progress.lock();
        let mut inner = self.inner.lock();
        let again: u64 = inner.lanes.iter_mut().map(Lane::go_back).sum();
        add(&self.counts.resent, again);
        // What was done at those times is not any more.
        inner.marks.clear();
        let (sent, released) = (inner.places(Lane::begins_at), inner.places(Lane::released));
        drop(inner);
        // In this order: after an end between the two it is sent again for the run that was known.
        files.save_sent(&sent);
        files.run = run;
        files.save_held(&released);
        self.more.notify_one();
    }

    /// The receiver still ran at `at` as when it took what is held, and runs as `run`: what it has
    /// had for long enough is held no more. Blocks for the disk.
    pub(crate) fn is_well(&self, at: Instant, run: u64) {
        let Some(hold) = self.hold else {
            return;
        };
        let mut files = self.progress.lock();
        let mut inner = self.inner.lock();
        let mut released = None;
        while let Some(mark) = inner.marks.front()
            && at.saturating_duration_since(mark.at) >= hold
        {
            released = Some(mark.places);
            inner.marks.pop_front();
        }
        if let Some(places) = released {
            for (lane, place) in inner.lanes.iter_mut().zip(places) {
                lane.release(place);
            }
        }
        let is_next = inner
            .marks
            .back()
            .is_none_or(|mark| mark.at.elapsed() >= hold / MARKS);
        if is_next && !inner.lanes.iter().any(Lane::goes_back) {
            let places = inner.places(Lane::done);
            let at = Instant::now();
            inner.marks.push_back(Mark { at, places });
        }
        let places = inner.places(Lane::released);
        drop(inner);
        if released.is_some() || files.run != run {
            files.run = run;
            files.save_held(&places);
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
            if !inner.is_released(&group) {
                let why = match (group.arrived_ms < oldest_ms, bytes > self.limits.bytes) {
                    (true, _) => "too old",
                    (_, true) => "the buffer is full",
                    _ => break,
                };
                let held = |inner: &Inner| inner.lanes.iter().map(Lane::held).sum::<u64>();
                let held_before = held(&inner);
                let mut lanes = inner.lanes.iter_mut().zip(group.ends);
                let lost: u64 = lanes.by_ref().map(|(lane, end)| lane.lose(end)).sum();
                let held_lost = held_before.saturating_sub(held(&inner));
                add(&self.counts.given_up, lost);
                add(&self.counts.held_given_up, held_lost);
                if lost > 0 {
                    tracing::warn!(
                        samples.given_up = lost,
                        "{lost} samples that were to be sent on are given up: {why}"
                    );
                } else if held_lost > 0 {
                    tracing::warn!(
                        samples.given_up = held_lost,
                        "{held_lost} samples that were sent are held no more: {why}"
                    );
                }
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

    /// Samples that are sent and held.
    pub(crate) fn held(&self) -> u64 {
        let inner = self.inner.lock();
        inner.lanes.iter().map(Lane::held).sum()
    }

    /// When the oldest that waits came, Unix milliseconds; `None` where nothing waits.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        let inner = self.inner.lock();
        inner.lanes.iter().filter_map(Lane::oldest_ms).min()
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

impl Files {
    fn save_sent(&mut self, places: &Places) {
        if let Some(file) = &mut self.sent
            && let Err(error) = file.save(places)
        {
            tracing::warn!(%error, "what was sent on cannot be written down");
        }
    }

    fn save_held(&mut self, released: &Places) {
        let mut all = [self.run; LANES + 1];
        for (place, released) in all.iter_mut().zip(released) {
            *place = *released;
        }
        if let Some(file) = &mut self.held
            && let Err(error) = file.save(&all)
        {
            tracing::warn!(%error, "what is held of what was sent on cannot be written down");
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
