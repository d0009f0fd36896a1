//! The log of moments: what is measured is on the disk before it is sent, and stays there until
//! the hub has it or it is too old.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pulseboard_history::log::{self, Durability, Log, LogError, LogOptions, Ticket};
use pulseboard_series::{Batch, Row};

use crate::{
    frame::{self, Decoder, Encoder, Framer, MOMENT, Moment, Tables},
    sent::Sent,
};

/// A file is ended after so many samples: one is read at once when it is to be sent.
const FILE_SAMPLES: usize = 50_000;

/// A file is ended after this long, so that what is sent does not stay for the sake of what came
/// much later.
const FILE_AGE: Duration = Duration::from_secs(60);

/// What is sent is said in a file of its own no more often than this: what is not said is sent
/// again after a kill, and is no new sample then.
const SAVE_PERIOD: Duration = Duration::from_secs(2);

/// How much is kept for a hub that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Moments older than this are given up.
    pub age: Duration,
    /// Past so many bytes of log the oldest are given up.
    pub bytes: u64,
}

impl Default for Limits {
    /// A day, and a gibibyte.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(24 * 3_600),
            bytes: 1 << 30,
        }
    }
}

/// The moments of one file of the log.
#[derive(Clone, Copy, Debug)]
struct File {
    first: u64,
    /// One past the last.
    end: u64,
    newest_ms: i64,
}

/// A moment on its way to the disk.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) moment: Moment,
    pub(crate) written: Result<Ticket, LogError>,
}

/// The log, and what of it the hub has.
#[derive(Debug)]
pub(crate) struct Buffer {
    log: Log,
    folder: PathBuf,
    limits: Limits,
    framer: Framer,
    tables: Tables,
    encoder: Encoder,
    /// By number of the log's segment.
    files: BTreeMap<u32, File>,
    /// The one that is written, since when, and how many samples are in it.
    open: Option<(u32, Instant, usize)>,
    failures: u32,
    next: u64,
    sent: Sent,
    /// Whether the file says less than `sent`, and when it was written.
    unsaved: bool,
    saved_at: Instant,
    /// Moments that were given up.
    given_up: u64,
}

impl Buffer {
    /// Opens the log in `folder`.
    pub(crate) fn open(folder: &Path, limits: Limits) -> Result<Self, LogError> {
        let options = LogOptions {
            // A sync a second would wear out small disks; what a power cut takes is some seconds.
            durability: Durability::Write,
            segment_bytes: u64::MAX,
            pending_bytes: 4 << 20,
            ..LogOptions::default()
        };
        let mut files: BTreeMap<u32, File> = BTreeMap::new();
        let (log, report) = Log::open(
            &folder.join("moments"),
            options,
            |kind, payload, segment| {
                if kind == MOMENT
                    && let Some((number, at_ms)) = frame::number_of(payload)
                {
                    let file = files.entry(segment).or_insert(File {
                        first: number,
                        end: number + 1,
                        newest_ms: at_ms,
                    });
                    file.end = file.end.max(number + 1);
                    file.newest_ms = at_ms;
                }
            },
        )?;
        if report.skipped_bytes > 0 {
            tracing::warn!(
                bytes = report.skipped_bytes,
                "a part of what was to be sent cannot be read and is passed over"
            );
        }
        let sent = Sent::load(folder);
        // A power cut may have taken moments from the log that the hub has.
        let next = files.values().map(|file| file.end).max().unwrap_or(1);
        Ok(Self {
            failures: log.failures(),
            log,
            folder: folder.to_owned(),
            limits,
            framer: Framer::default(),
            tables: Tables::default(),
            encoder: Encoder::default(),
            files,
            open: None,
            next: next.max(sent.end()).max(1),
            sent,
            unsaved: false,
            saved_at: Instant::now(),
            given_up: 0,
        })
    }

    /// The number that the next moment gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes in what this machine is at one moment. It is on the disk when the ticket says so;
    /// where the disk does not take it, it can be sent all the same.
    pub(crate) fn measured(&mut self, batch: &Batch, at_ms: i64) -> Appended {
        let moment = self.framer.moment(self.next, at_ms, batch);
        self.forget(at_ms);
        self.append(moment)
    }

    /// As [`Buffer::measured`] for samples of any times: a moment for each time.
    pub(crate) fn scraped(&mut self, batch: &Batch) -> Vec<Appended> {
        let mut times: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
        for row in batch.rows() {
            times.entry(row.at_ms).or_default().push(row);
        }
        let each = times.into_iter().map(|(at_ms, rows)| {
            let moment = Moment {
                number: self.next,
                at_ms,
                table: self.tables.of(batch, &rows),
                values: rows.iter().map(|row| row.value.to_bits()).collect(),
            };
            self.append(moment)
        });
        each.collect()
    }

    fn append(&mut self, moment: Moment) -> Appended {
        self.next = moment.number + 1;
        let written = self.write(&moment);
        Appended { moment, written }
    }

    fn write(&mut self, moment: &Moment) -> Result<Ticket, LogError> {
        let failures = self.log.failures();
        let goes_on = self.open.is_some_and(|(_, since, samples)| {
            failures == self.failures
                && samples < FILE_SAMPLES
                && since.elapsed() < FILE_AGE
                && !self.encoder.is_full()
        });
        if !goes_on {
            self.open = Some((self.log.rotate()?, Instant::now(), 0));
            self.failures = failures;
            self.encoder.restart();
        }
        if let Some(series) = self.encoder.series(moment) {
            // Its outcome is that of what follows it.
            drop(self.log.append(frame::SERIES, series)?);
        }
        let ticket = self.log.append(MOMENT, self.encoder.moment(moment))?;
        if let Some((number, _, samples)) = &mut self.open {
            *samples += moment.values.len();
            let file = self.files.entry(*number).or_insert(File {
                first: moment.number,
                end: moment.number,
                newest_ms: moment.at_ms,
            });
            file.end = moment.number + 1;
            file.newest_ms = moment.at_ms;
        }
        Ok(ticket)
    }

    /// The oldest moments before `before` that the hub has not: those of one file at most. Reads
    /// that file.
    pub(crate) fn oldest(&mut self, before: u64) -> Vec<Moment> {
        loop {
            let wanted = |file: &File| {
                let range = file.first..file.end.min(before.max(file.first));
                !self.sent.has_all(range)
            };
            let found = self.files.iter().find(|(_, file)| wanted(file));
            let Some((&segment, &file)) = found else {
                return Vec::new();
            };
            let mut decoder = Decoder::default();
            let mut moments = Vec::new();
            let read = log::read_segment(self.log.dir(), segment, |kind, payload| {
                if let Some(moment) = decoder.take(kind, payload)
                    && moment.number < before
                    && !self.sent.has(moment.number)
                {
                    moments.push(moment);
                }
            });
            if let Err(error) = &read {
                tracing::warn!(%error, "a file of what is to be sent cannot be read");
            }
            if !moments.is_empty() {
                return moments;
            }
            // What is not there can never be sent.
            let range = file.first..file.end.min(before);
            self.give_up(range, "cannot be read from the log");
        }
    }

    /// The hub has these.
    pub(crate) fn sent(&mut self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            self.sent.add(number..number + 1);
        }
        self.unsaved = true;
    }

    /// These can be sent no more.
    pub(crate) fn give_up(&mut self, numbers: std::ops::Range<u64>, why: &str) {
        let missing = self.sent.missing(numbers.clone());
        if missing > 0 {
            self.given_up += missing;
            tracing::warn!(
                moments.given_up = self.given_up,
                "{missing} moments are given up: {why}"
            );
        }
        self.sent.add(numbers);
        self.unsaved = true;
    }

    /// Removes files that are not needed any more, and says in the other file what is sent.
    fn forget(&mut self, now_ms: i64) {
        let oldest_ms = now_ms - i64::try_from(self.limits.age.as_millis()).unwrap_or(i64::MAX);
        let mut bytes = self.log.stats().bytes;
        let sizes = self.log.segments();
        let mut keep_from = None;
        for info in &sizes {
            if self.open.is_some_and(|(open, ..)| info.number >= open) {
                break;
            }
            if let Some(file) = self.files.get(&info.number).copied() {
                let range = file.first..file.end;
                let is_sent = self.sent.has_all(range.clone());
                let why = match (file.newest_ms < oldest_ms, bytes > self.limits.bytes) {
                    (true, _) => "too old",
                    (_, true) => "the log is full",
                    _ => "",
                };
                if !is_sent && why.is_empty() {
                    break;
                }
                self.give_up(range, why);
                self.files.remove(&info.number);
            }
            bytes = bytes.saturating_sub(info.bytes);
            keep_from = Some(info.number + 1);
        }
        if let Some(from) = keep_from
            && let Err(error) = self.log.remove_before(from)
        {
            tracing::warn!(%error, "a file that was sent cannot be removed");
        }
        if self.saved_at.elapsed() >= SAVE_PERIOD {
            self.save();
        }
    }

    fn save(&mut self) {
        self.saved_at = Instant::now();
        if !self.unsaved {
            return;
        }
        match self.sent.save(&self.folder) {
            Ok(()) => self.unsaved = false,
            Err(error) => tracing::warn!(%error, "what is sent cannot be written down"),
        }
    }

    /// How many moments the hub has not.
    pub(crate) fn waiting(&self) -> u64 {
        let files = self.files.values();
        files
            .map(|file| self.sent.missing(file.first..file.end))
            .sum()
    }

    /// Moments that were given up since the start.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Bytes of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.log.stats().bytes
    }

    /// Writes everything down; how many moments the hub has not.
    pub(crate) fn close(&mut self) -> u64 {
        self.save();
        self.log.close();
        self.waiting()
    }
}

#[cfg(test)]
mod tests;
