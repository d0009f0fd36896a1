//! Incidents on disk: lines of JSON in one file, added at its end, and written anew now and then.
//!
//! A line that cannot be read costs itself: the last one after a power cut, as a rule.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    book::{Book, Change},
    entry::{Entry, Incident, Saying},
};

/// A longer line is none of ours.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// The file is written anew when it is so much larger than when it last was, beside half as much
/// again as that: with what the book may hold, a hundred MiB at most.
const REWRITE_PAST_BYTES: u64 = 4 << 20;

/// One line.
#[derive(Deserialize)]
struct Line {
    tenant: Arc<str>,
    #[serde(default)]
    whole: Option<Incident>,
    #[serde(default)]
    id: Option<Uuid>,
    #[serde(default)]
    entry: Option<Entry>,
    #[serde(default)]
    saying: Option<Saying>,
}

/// A line that is written.
#[derive(Serialize)]
struct NewLine<'a> {
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<&'a Incident>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saying: Option<&'a Saying>,
}

/// Writes a change as a line.
pub(super) fn write_line(into: &mut Vec<u8>, tenant: &str, change: &Change) {
    let line = match change {
        Change::Began(incident) => NewLine {
            tenant,
            whole: Some(incident),
            id: None,
            entry: None,
            saying: None,
        },
        Change::Added { id, entry, saying } => NewLine {
            tenant,
            whole: None,
            id: Some(*id),
            entry: Some(entry),
            saying: saying.as_ref(),
        },
    };
    // Nothing in it can fail to be JSON.
    if serde_json::to_writer(&mut *into, &line).is_ok() {
        into.push(b'\n');
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Open at its end, once something is to be written.
    file: Option<File>,
    bytes: u64,
    bytes_rewritten: u64,
}

impl Journal {
    /// Reads what lies there. Lines that cannot be read are counted and passed over.
    pub(super) fn open(path: &Path, book: &mut Book) -> io::Result<(Self, u64)> {
        let mut unreadable = 0;
        let bytes = match File::open(path) {
            Ok(file) => {
                let bytes = file.metadata()?.len();
                unreadable = read(BufReader::new(file), book)?;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let journal = Self {
            path: path.to_owned(),
            file: None,
            bytes,
            bytes_rewritten: bytes / 3 * 2,
        };
        Ok((journal, unreadable))
    }

    /// Adds lines, and has them on disk when it returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.try_append(lines);
        if written.is_err() {
            // How much of it is there is not known.
            self.file = None;
        }
        written
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.open_at_end()?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(lines)?;
            file.sync_data()?;
            self.bytes += lines.len() as u64;
        }
        Ok(())
    }

    /// Behind whatever was left of a line that was cut off.
    fn open_at_end(&self) -> io::Result<File> {
        let mut options = File::options();
        options.create(true).read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }

    /// Whether most of it says again what is said elsewhere in it.
    pub(super) fn is_wasteful(&self) -> bool {
        self.bytes > self.bytes_rewritten + self.bytes_rewritten / 2 + REWRITE_PAST_BYTES
    }

    /// Writes it anew with these incidents alone: after a crash it is the old file or the new one.
    pub(super) fn rewrite<'a>(
        &mut self,
        all: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Incident>)>,
    ) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut options = File::options();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = BufWriter::new(options.open(&beside)?);
        let mut line = Vec::new();
        let mut bytes = 0;
        for (tenant, incident) in all {
            line.clear();
            write_line(&mut line, tenant, &Change::Began(Arc::clone(incident)));
            file.write_all(&line)?;
            bytes += line.len() as u64;
        }
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.file = None;
        self.bytes = bytes;
        self.bytes_rewritten = bytes;
        Ok(())
    }
}

fn read(mut file: impl io::BufRead, book: &mut Book) -> io::Result<u64> {
    let mut unreadable = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(unreadable);
        }
        if line == b"\n" {
            continue;
        }
        let Ok(line) = serde_json::from_slice::<Line>(&line) else {
            unreadable += 1;
            continue;
        };
        match (line.whole, line.id, line.entry) {
            (Some(incident), _, _) => book.put(&line.tenant, Arc::new(incident)),
            (None, Some(id), Some(entry)) => {
                // Of one that went since there were too many: nothing is lost by that.
                book.add(&line.tenant, id, entry, line.saying);
            }
            _ => unreadable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use pulseboard_alerting::new_id;
    use pulseboard_shared::AlertState;

    use super::{super::entry::tests::event, *};

    fn all(book: &Book) -> Vec<Incident> {
        let mut all: Vec<Incident> = book.all().map(|(_, one)| (**one).clone()).collect();
        all.sort_by_key(|incident| incident.id);
        all
    }

    #[test]
    fn a_torn_end_costs_itself_and_what_comes_behind_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("incidents.jsonl");
        let mut book = Book::default();
        let (mut journal, _) = Journal::open(&path, &mut book).expect("opened");
        let ids = [new_id(1), new_id(2)];
        let tell = |book: &mut Book, id, at_ms, state| {
            let change = book.take(&event(Some("a"), id, at_ms, state)).expect("new");
            let mut lines = Vec::new();
            write_line(&mut lines, "a", &change);
            lines
        };
        let lines = tell(&mut book, ids[0], 1, AlertState::Firing);
        journal.append(&lines).expect("written");
        // the machine stops in the middle of one
        journal.append(b"{\"tenant\":\"a\",\"wh").expect("written");

        let mut again = Book::default();
        let (mut journal, unreadable) = Journal::open(&path, &mut again).expect("opened");
        assert_eq!(unreadable, 1);
        assert_eq!(all(&again), all(&book));
        let mut lines = tell(&mut again, ids[1], 2, AlertState::Firing);
        lines.extend(tell(&mut again, ids[0], 3, AlertState::Resolved));
        journal.append(&lines).expect("written");

        let mut third = Book::default();
        let (mut journal, unreadable) = Journal::open(&path, &mut third).expect("opened");
        assert_eq!(unreadable, 1);
        assert_eq!(all(&third), all(&again));
        journal.rewrite(third.all()).expect("written");
        let mut fourth = Book::default();
        let (_, unreadable) = Journal::open(&path, &mut fourth).expect("opened");
        assert_eq!((unreadable, all(&fourth)), (0, all(&again)));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
