//! The history of one server on its way to another: files of a folder, one after the other.
//!
//! ```text
//! copy = { length of the name u16 LE, not 0 │ name │ bytes u64 LE │ the bytes }* │ 0 u16
//! ```
//!
//! It is made where it is asked for ([`send`]), unpacked beside the history of who asked
//! ([`Unpacking`]), and takes that one's place between two runs ([`adopt`]): nothing has the files
//! open then. What was there before is kept for a week, unless another one takes its place or a
//! copy needs the room.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::places::Places;
use crate::base::data_dir::{HISTORY, INGEST_LOG};

/// In the data folder: what is unpacked.
const JOINING: &str = "joining";
/// In that: what is not whole yet, what is, and what is taking its place.
const PART: &str = "part";
const WHOLE: &str = "whole";
const ADOPTING: &str = "adopting";
/// In the data folder: the history that was there before.
const REPLACED: &str = "history.replaced";

/// In that: when it was replaced, by the file's own time.
const SINCE: &str = "replaced";
/// It is kept for so long: it has what the server measured itself, which is nowhere else.
const REPLACED_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The disk is to have so much left, beside a copy: what comes in meanwhile needs it.
const LEFT_FREE: u64 = 256 << 20;
/// While a copy is unpacked it is looked at that after each so many bytes.
const LOOKED_EVERY: u64 = 16 << 20;

const BLOCKS: &str = "history/blocks.redb";
const SEGMENTS: &str = "history/wal/";

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Hands a copy that lies in `folder` to `sink`, piece by piece, as long as that takes them.
/// Blocks.
///
/// # Errors
/// The folder cannot be read.
pub fn send(folder: &Path, mut sink: impl FnMut(Vec<u8>) -> bool) -> io::Result<()> {
    let mut names = Vec::new();
    if folder.join(INGEST_LOG).is_file() {
        names.push(INGEST_LOG.to_owned());
    }
    names.push(BLOCKS.to_owned());
    for entry in fs::read_dir(folder.join(SEGMENTS))? {
        let name = entry?.file_name();
        names.extend(name.to_str().map(|name| format!("{SEGMENTS}{name}")));
    }
    for name in names {
        let mut file = File::open(folder.join(&name))?;
        let bytes = file.metadata()?.len();
        let mut head = Vec::new();
        let length = u16::try_from(name.len()).map_err(io::Error::other)?;
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(&bytes.to_le_bytes());
        if !sink(head) {
            return Ok(());
        }
        let mut left = bytes;
        while left > 0 {
            let most = left.min(PIECE_BYTES as u64);
            let mut piece = vec![0; usize::try_from(most).map_err(io::Error::other)?];
            file.read_exact(&mut piece)?;
            if !sink(piece) {
                return Ok(());
            }
            left -= most;
        }
    }
    sink(vec![0, 0]);
    Ok(())
}

/// What the blocks of a data folder's history take on the disk.
pub(super) fn blocks_bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join(BLOCKS)).map_or(0, |data| data.len())
}

/// Bytes that the disk has free; `None` where that cannot be told.
fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        return Some(disk.f_bavail.saturating_mul(disk.f_frsize));
    }
    let _ = folder;
    None
}

/// Looks whether the disk takes so much more, with something left.
///
/// # Errors
/// It does not.
pub(super) fn check_room(folder: &Path, bytes: u64) -> io::Result<()> {
    check_room_of(folder, bytes, free_bytes)
}

/// As [`check_room`]; what a copy took the place of gives way first.
fn check_room_of(folder: &Path, bytes: u64, free: FreeBytes) -> io::Result<()> {
    let is_there = || {
        let needed = bytes.saturating_add(LEFT_FREE);
        free(folder).is_none_or(|free| free >= needed)
    };
    if !is_there() && folder.join(REPLACED).is_dir() {
        tracing::warn!("the disk is nearly full: what a copy took the place of is removed");
        remove(&folder.join(REPLACED))?;
    }
    match is_there() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the disk has too little room for a copy",
        )),
    }
}

type FreeBytes = fn(&Path) -> Option<u64>;

/// Unpacks a copy as it comes.
#[derive(Debug)]
pub(super) struct Unpacking {
    folder: PathBuf,
    joining: PathBuf,
    head: Vec<u8>,
    file: Option<(File, u64)>,
    is_whole: bool,
    bytes: u64,
    bytes_max: u64,
    /// So many it had when it was looked at the disk last.
    looked_at: u64,
    free: FreeBytes,
}

impl Unpacking {
    /// Into a data folder; of so many bytes at most.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn begin(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        Self::begin_on(folder, bytes_max, free_bytes)
    }

    fn begin_on(folder: &Path, bytes_max: u64, free: FreeBytes) -> io::Result<Self> {
        let joining = folder.join(JOINING);
        remove(&joining)?;
        check_room_of(folder, LOOKED_EVERY, free)?;
        fs::create_dir_all(joining.join(PART).join(SEGMENTS))?;
        Ok(Self {
            folder: folder.to_owned(),
            joining,
            head: Vec::new(),
            file: None,
            is_whole: false,
            bytes: 0,
            bytes_max,
            looked_at: 0,
            free,
        })
    }

    /// What has come so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece. Blocks.
    ///
    /// # Errors
    /// It is none of a copy, or cannot be written.
    pub(super) fn take(&mut self, mut piece: &[u8]) -> io::Result<()> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(wrong("it is larger than HISTORY_MAX_BYTES allows"));
        }
        if self.bytes - self.looked_at >= LOOKED_EVERY {
            self.looked_at = self.bytes;
            check_room_of(&self.folder, LOOKED_EVERY, self.free)?;
        }
        while let Some((&first, rest)) = piece.split_first() {
            if let Some((file, left)) = &mut self.file {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let (now, later) = piece.split_at(most.min(piece.len()));
                file.write_all(now)?;
                *left -= now.len() as u64;
                if *left == 0 {
                    file.sync_all()?;
                    self.file = None;
                }
                piece = later;
                continue;
            }
            if self.is_whole {
                return Err(wrong("something follows its end"));
            }
            self.head.push(first);
            piece = rest;
            self.look_at_head()?;
        }
        Ok(())
    }

    fn look_at_head(&mut self) -> io::Result<()> {
        let Some((length, rest)) = self.head.split_first_chunk::<2>() else {
            return Ok(());
        };
        let length = usize::from(u16::from_le_bytes(*length));
        if length == 0 {
            self.is_whole = true;
            return Ok(());
        }
        let Some((name, bytes)) = rest.split_at_checked(length) else {
            return Ok(());
        };
        let Some((bytes, _)) = bytes.split_first_chunk::<8>() else {
            return Ok(());
        };
        let name = std::str::from_utf8(name).map_err(|error| wrong(&error.to_string()))?;
        let is_segment = name.strip_prefix(SEGMENTS).is_some_and(|segment| {
            let digits = segment.strip_suffix(".log").unwrap_or_default();
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        if !is_segment && name != BLOCKS && name != INGEST_LOG {
            return Err(wrong("it has a file that is none of a history"));
        }
        let file = File::create(self.joining.join(PART).join(name))?;
        let bytes = u64::from_le_bytes(*bytes);
        self.file = (bytes > 0).then_some((file, bytes));
        self.head.clear();
        Ok(())
    }

    /// Has it ready for [`adopt`]; it was asked for then, Unix milliseconds.
    ///
    /// # Errors
    /// It is not whole, or the folder cannot be written to.
    pub(super) fn end(self, asked_ms: i64) -> io::Result<()> {
        if !self.is_whole {
            return Err(wrong("it ends before its end"));
        }
        let part = self.joining.join(PART);
        let places = Places {
            copied_ms: asked_ms,
            ..Places::read(&part).unwrap_or_default()
        };
        places.write(&part)?;
        fs::rename(self.joining.join(PART), self.joining.join(WHOLE))
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Has the copy that lies ready take the place of the history of a data folder that nobody has
/// open; whether there was one. Blocks.
///
/// # Errors
/// A file cannot be moved. It is gone on with at the next start.
pub fn adopt(folder: &Path) -> io::Result<bool> {
    let joining = folder.join(JOINING);
    let whole = joining.join(WHOLE);
    if !whole.is_dir() {
        return Ok(false);
    }
    let own = Places::read(folder).unwrap_or_default();
    let copied = Places::read(&whole).unwrap_or_default();
    let places = Places {
        sent: own.sent,
        own_from: newest_segment(&whole)?.saturating_add(1),
        ..copied
    };
    places.write(&whole)?;
    fs::rename(&whole, joining.join(ADOPTING))?;
    finish(folder)?;
    Ok(true)
}

/// Ends what [`adopt`] has begun, and removes what is of no use. Blocks.
///
/// # Errors
/// As [`adopt`].
pub fn finish(folder: &Path) -> io::Result<()> {
    let joining = folder.join(JOINING);
    let adopting = joining.join(ADOPTING);
    let history = folder.join(HISTORY);
    if adopting.join(HISTORY).is_dir() {
        if history.is_dir() {
            let replaced = folder.join(REPLACED);
            remove(&replaced)?;
            fs::rename(&history, &replaced)?;
            // Else it counts from when it is looked at next.
            drop(note_replaced(&replaced));
        }
        fs::rename(adopting.join(HISTORY), &history)?;
    }
    if adopting.join(INGEST_LOG).is_file() {
        fs::rename(adopting.join(INGEST_LOG), folder.join(INGEST_LOG))?;
    }
    remove(&joining)?;
    if let Err(error) = forget_replaced(folder) {
        // No reason not to start.
        tracing::warn!(%error, "the history that a copy took the place of cannot be removed");
    }
    Ok(())
}

fn note_replaced(replaced: &Path) -> io::Result<()> {
    fs::write(replaced.join(SINCE), "")
}

/// Removes what a copy took the place of, where that is long ago. Blocks.
///
/// # Errors
/// It cannot be removed.
pub(super) fn forget_replaced(folder: &Path) -> io::Result<()> {
    let replaced = folder.join(REPLACED);
    if !replaced.is_dir() {
        return Ok(());
    }
    let Ok(since) = fs::metadata(replaced.join(SINCE)).and_then(|data| data.modified()) else {
        return note_replaced(&replaced);
    };
    // A clock that was put back says that it is new.
    if since.elapsed().is_ok_and(|age| age > REPLACED_KEPT) {
        remove(&replaced)?;
    }
    Ok(())
}

fn newest_segment(folder: &Path) -> io::Result<u32> {
    let mut newest = 0;
    for entry in fs::read_dir(folder.join(SEGMENTS))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        newest = newest.max(number.and_then(|number| number.parse().ok()).unwrap_or(0));
    }
    Ok(newest)
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// It cannot be removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, bytes).expect("written");
    }

    fn read(folder: &Path, name: &str) -> Vec<u8> {
        fs::read(folder.join(name)).expect("it is there")
    }

    fn sent(folder: &Path) -> Vec<u8> {
        let mut all = Vec::new();
        send(folder, |piece| {
            all.extend(piece);
            true
        })
        .expect("sent");
        all
    }

    #[test]
    fn a_copy_takes_the_place_of_what_was_there() {
        let (from, to) = (tempfile::tempdir(), tempfile::tempdir());
        let (from, to) = (from.expect("a folder"), to.expect("a folder"));
        write(from.path(), BLOCKS, &vec![7; PIECE_BYTES + 3]);
        write(from.path(), "history/wal/00000004.log", b"four");
        write(from.path(), "history/wal/00000005.log", b"");
        let copied = Places {
            sent: 99,
            own_from: 1,
            taken: [(3, (9, 12))].into(),
            ..Places::default()
        };
        copied.write(from.path()).expect("written");
        write(to.path(), BLOCKS, b"old");
        write(to.path(), "history/wal/00000001.log", b"one");
        let own = Places {
            sent: 8,
            ..Places::default()
        };
        own.write(to.path()).expect("written");

        let copy = sent(from.path());
        let mut unpacking = Unpacking::begin(to.path(), 1 << 30).expect("begun");
        for piece in copy.chunks(1_000) {
            unpacking.take(piece).expect("taken");
        }
        unpacking.end(77).expect("whole");
        assert_eq!(read(to.path(), BLOCKS), b"old");
        assert!(adopt(to.path()).expect("adopted"));
        assert_eq!(read(to.path(), BLOCKS), vec![7; PIECE_BYTES + 3]);
        assert_eq!(read(to.path(), "history/wal/00000004.log"), b"four");
        assert!(!to.path().join("history/wal/00000001.log").exists());
        assert_eq!(read(to.path(), "history.replaced/blocks.redb"), b"old");
        let places = Places::read(to.path()).expect("places");
        assert_eq!(
            (places.sent, places.own_from, places.taken),
            (8, 6, copied.taken)
        );
        assert_eq!(places.copied_ms, 77, "when it was asked for");
        assert!(!to.path().join(JOINING).exists());
        assert!(!adopt(to.path()).expect("nothing"));
        // A week later it goes.
        finish(to.path()).expect("a start");
        assert!(to.path().join(REPLACED).exists());
        let since = File::options()
            .write(true)
            .open(to.path().join(REPLACED).join(SINCE));
        let then = SystemTime::now() - REPLACED_KEPT - Duration::from_secs(60);
        let put_back = since.and_then(|since| since.set_modified(then));
        put_back.expect("its time is set");
        finish(to.path()).expect("a start");
        assert!(!to.path().join(REPLACED).exists());
        assert_eq!(read(to.path(), BLOCKS), vec![7; PIECE_BYTES + 3]);
    }

    /// A disk on which there is room as long as nothing was unpacked, or what was replaced is gone.
    #[test]
    fn a_copy_that_the_disk_has_no_room_for_ends_before_the_disk_is_full() {
        let (from, to) = (tempfile::tempdir(), tempfile::tempdir());
        let (from, to) = (from.expect("a folder"), to.expect("a folder"));
        write(from.path(), BLOCKS, &vec![7; LOOKED_EVERY as usize + 3]);
        write(from.path(), "history/wal/00000004.log", b"four");
        let copy = sent(from.path());
        let unpack = |free: FreeBytes| {
            let mut unpacking = Unpacking::begin_on(to.path(), 1 << 30, free)?;
            for piece in copy.chunks(1 << 20) {
                unpacking.take(piece)?;
            }
            unpacking.end(77)
        };
        let full = |_: &Path| Some(LEFT_FREE);
        let filling = |folder: &Path| {
            let part = folder.join(JOINING).join(PART).join(BLOCKS);
            let left = LEFT_FREE + LOOKED_EVERY + 9;
            Some(left - fs::metadata(part).map_or(0, |data| data.len()))
        };
        for free in [full as FreeBytes, filling] {
            let error = unpack(free).expect_err("there is no room");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        write(to.path(), "history.replaced/blocks.redb", b"old");
        unpack(|folder| match folder.join(REPLACED).exists() {
            true => Some(0),
            false => Some(u64::MAX),
        })
        .expect("what was replaced gives way");
        assert!(!to.path().join(REPLACED).exists());
    }

    #[test]
    fn what_is_no_copy_is_refused_and_changes_nothing() {
        let (from, to) = (tempfile::tempdir(), tempfile::tempdir());
        let (from, to) = (from.expect("a folder"), to.expect("a folder"));
        write(from.path(), BLOCKS, b"blocks");
        write(from.path(), "history/wal/00000004.log", b"four");
        let copy = sent(from.path());
        for cut in 0..copy.len() {
            let mut unpacking = Unpacking::begin(to.path(), 1 << 30).expect("begun");
            drop(unpacking.take(&copy[..cut]));
            assert!(unpacking.end(77).is_err(), "{cut}");
        }
        let mut odd = vec![9, 0];
        odd.extend_from_slice(b"../secret");
        odd.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 5]);
        let mut unpacking = Unpacking::begin(to.path(), 1 << 30).expect("begun");
        assert!(unpacking.take(&odd).is_err());
        let mut unpacking = Unpacking::begin(to.path(), 10).expect("begun");
        assert!(unpacking.take(&copy).is_err());
        assert!(!adopt(to.path()).expect("nothing"));
    }

    #[test]
    fn a_start_ends_what_was_begun() {
        let to = tempfile::tempdir().expect("a folder");
        write(to.path(), "joining/adopting/history/blocks.redb", b"new");
        write(to.path(), "history.replaced/blocks.redb", b"old");
        write(to.path(), "joining/adopting/ingest_log.json", b"{}");
        finish(to.path()).expect("ended");
        assert_eq!(read(to.path(), BLOCKS), b"new");
        assert_eq!(read(to.path(), "history.replaced/blocks.redb"), b"old");
        assert_eq!(read(to.path(), INGEST_LOG), b"{}");
    }
}
