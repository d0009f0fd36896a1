//! Reads a log's folder back: every intact record in order, and a report of what was not.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{
    LogError, SegmentInfo,
    record::{FORMAT_VERSION, Header, SEGMENT_HEADER_BYTES, SYNC_TYPE, Salt, read_header},
    scanner::{Found, Scanner},
};

/// More stretches than this are counted in [`ReplayReport::skipped_bytes`] only.
const SKIPPED_LISTED_MAX: usize = 64;

/// What reading a log's folder found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Segments that were there.
    pub segments: usize,
    /// Records handed out.
    pub records: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// The end of the last segment, where a write had not been completed. Normal after a crash:
    /// nothing in it was ever acknowledged by a log with [`super::Durability::Fsync`].
    pub torn: Option<TornTail>,
    /// Damage elsewhere, oldest first, at most 64 stretches: acknowledged records may be lost.
    pub skipped: Vec<Skipped>,
    /// Bytes of all skipped stretches, also of those not listed.
    pub skipped_bytes: u64,
}

/// See [`ReplayReport::torn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where its last whole record ends.
    pub offset: u64,
    /// What stood after it and was cut off.
    pub bytes: u64,
}

/// A stretch that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The segment.
    pub file: PathBuf,
    /// Where the damage begins.
    pub offset: u64,
    /// Bytes until the next readable record, or to the end of the file.
    pub bytes: u64,
    /// What was wrong.
    pub reason: String,
}

impl ReplayReport {
    fn skip(&mut self, file: &Path, offset: u64, bytes: u64, reason: impl Into<String>) {
        self.skipped_bytes += bytes;
        if self.skipped.len() < SKIPPED_LISTED_MAX {
            let (file, reason) = (file.to_path_buf(), reason.into());
            self.skipped.push(Skipped {
                file,
                offset,
                bytes,
                reason,
            });
        }
    }
}

pub(super) fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// Reads all segments in `dir`, hands `sink` each record (type, payload, segment) and returns
/// the segments that are kept: those with records, or with damage that a person may want to see.
pub(super) fn replay(
    dir: &Path,
    sink: &mut dyn FnMut(u8, &[u8], u32),
) -> Result<(Vec<SegmentInfo>, ReplayReport), LogError> {
    let numbers = list(dir)?;
    // All versions before the first change: a refused folder stays as it is.
    for &number in &numbers {
        let file = segment_path(dir, number);
        if let Some(Header::Version(found)) = peek(&file, number) {
            return Err(LogError::Version {
                file,
                found,
                supported: FORMAT_VERSION,
            });
        }
    }
    let mut report = ReplayReport {
        segments: numbers.len(),
        ..ReplayReport::default()
    };
    let mut kept = Vec::with_capacity(numbers.len());
    for (index, &number) in numbers.iter().enumerate() {
        let path = segment_path(dir, number);
        let last = index + 1 == numbers.len();
        let outcome = Segment {
            path: &path,
            number,
            last,
        }
        .read(&mut report, sink);
        match outcome {
            Ok(0) => {
                fs::remove_file(&path)
                    .map_err(|error| LogError::io("remove the empty segment", &path, error))?;
            }
            Ok(bytes) => kept.push(SegmentInfo { number, bytes }),
            Err(error) => {
                let bytes = fs::metadata(&path).map_or(0, |data| data.len());
                report.skip(&path, 0, bytes, format!("cannot be read: {error}"));
                kept.push(SegmentInfo { number, bytes });
            }
        }
    }
    Ok((kept, report))
}

/// How much of a segment [`read_segment`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSegment {
    /// All of it.
    Whole,
    /// All but something at its end, behind which there is nothing: in the segment that is written
    /// this is a record that is not there yet.
    Torn,
    /// Something between records, or its head, is damaged: what was there is lost.
    Damaged,
}

/// Hands `sink` each record (type, payload) of one segment, also of the one that is written, as far
/// as it is there; what is damaged is passed over. Nothing is changed.
///
/// # Errors
/// The file cannot be read.
pub fn read_segment(
    dir: &Path,
    number: u32,
    mut sink: impl FnMut(u8, &[u8]),
) -> Result<ReadSegment, LogError> {
    let path = segment_path(dir, number);
    let failed = |error| LogError::io("read", &path, error);
    let mut scanner = Scanner::new(File::open(&path).map_err(failed)?);
    let head = scanner.fill(SEGMENT_HEADER_BYTES).map_err(failed)?;
    let is_begun = head.len() >= SEGMENT_HEADER_BYTES;
    let Header::Known(salt) = read_header(head, number) else {
        return Ok(match is_begun {
            true => ReadSegment::Damaged,
            false => ReadSegment::Torn,
        });
    };
    scanner.advance(SEGMENT_HEADER_BYTES);
    let mut found = ReadSegment::Whole;
    loop {
        match scanner.look(&salt).map_err(failed)? {
            Found::End => return Ok(found),
            Found::Record { record_type, bytes } => {
                if record_type != SYNC_TYPE {
                    sink(record_type, scanner.payload(bytes));
                }
                scanner.advance(bytes);
            }
            Found::Damage(_) => {
                if !scanner.resynchronise(&salt).map_err(failed)? {
                    return Ok(match found {
                        ReadSegment::Whole => ReadSegment::Torn,
                        found => found,
                    });
                }
                found = ReadSegment::Damaged;
            }
        }
    }
}

/// Segment numbers in `dir`, ascending. Other files are none of ours.
fn list(dir: &Path) -> Result<Vec<u32>, LogError> {
    let failed = |error| LogError::io("list the log's folder", dir, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log")?.parse().ok());
        // Only names exactly as they are written here, so that no number comes twice.
        let number = number.filter(|&number| segment_path(dir, number).file_name() == Some(&name));
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn peek(path: &Path, number: u32) -> Option<Header> {
    let mut scanner = Scanner::new(File::open(path).ok()?);
    let bytes = scanner.fill(SEGMENT_HEADER_BYTES).ok()?;
    Some(read_header(bytes, number))
}

struct Segment<'a> {
    path: &'a Path,
    number: u32,
    last: bool,
}

impl Segment<'_> {
    /// The file's size afterwards; 0 if it holds nothing and may go.
    fn read(
        &self,
        report: &mut ReplayReport,
        sink: &mut dyn FnMut(u8, &[u8], u32),
    ) -> io::Result<u64> {
        let file = File::open(self.path)?;
        let size = file.metadata()?.len();
        report.bytes += size;
        let mut scanner = Scanner::new(file);
        let salt = match read_header(scanner.fill(SEGMENT_HEADER_BYTES)?, self.number) {
            Header::Known(salt) => salt,
            // Torn while it was begun: no record can have been in it.
            Header::Damaged if self.last && size < SEGMENT_HEADER_BYTES as u64 => return Ok(0),
            Header::Damaged | Header::Version(_) => {
                report.skip(self.path, 0, size, "the segment's header is damaged");
                return Ok(size);
            }
        };
        scanner.advance(SEGMENT_HEADER_BYTES);
        let intact = self.records(&mut scanner, &salt, size, report, sink)?;
        Ok(if intact <= SEGMENT_HEADER_BYTES as u64 {
            0
        } else {
            intact
        })
    }

    /// Reads records until the end of what can be read, and returns the size that is kept.
    fn records(
        &self,
        scanner: &mut Scanner,
        salt: &Salt,
        size: u64,
        report: &mut ReplayReport,
        sink: &mut dyn FnMut(u8, &[u8], u32),
    ) -> io::Result<u64> {
        loop {
            let reason = match scanner.look(salt)? {
                Found::End => {
                    if self.last {
                        self.sync();
                    }
                    return Ok(size);
                }
                Found::Record { record_type, bytes } => {
                    if record_type != SYNC_TYPE {
                        report.records += 1;
                        sink(record_type, scanner.payload(bytes), self.number);
                    }
                    scanner.advance(bytes);
                    continue;
                }
                Found::Damage(reason) => reason,
            };
            let offset = scanner.offset();
            if scanner.resynchronise(salt)? {
                report.skip(self.path, offset, scanner.offset() - offset, reason);
                continue;
            }
            let bytes = size.saturating_sub(offset);
            if !self.last {
                report.skip(self.path, offset, bytes, reason);
                return Ok(size);
            }
            report.torn = Some(TornTail {
                file: self.path.to_path_buf(),
                offset,
                bytes,
            });
            return Ok(match self.cut(offset) {
                Ok(()) => offset,
                // A folder that cannot be written is the writer's to report; reading goes on.
                Err(_) => size,
            });
        }
    }

    /// What was written before a kill and never synced is built upon from now on. Where this
    /// fails the writer's own files will fail, too, and say so.
    fn sync(&self) {
        drop(File::open(self.path).and_then(|file| file.sync_all()));
    }

    fn cut(&self, offset: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path)?;
        file.set_len(offset)?;
        file.sync_all()
    }
}
