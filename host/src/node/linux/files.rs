//! Reads the small files in which Linux says how it is, into buffers that are used again.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of one file that are read at most. The longest that are read here (`/proc/net/udp` with
/// ten thousand sockets) stay below it; of a longer one the end is not looked at.
const FILE_BYTES_MAX: u64 = 2 << 20;

/// Entries of a folder that are looked at, at most.
const ENTRIES_MAX: usize = 4_096;

/// Where the kernel's files are, and the buffer for them.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    buffer: Vec<u8>,
    /// Of the last file that was not UTF-8, which few are.
    mended: String,
}

impl Files {
    /// Below `root`, which is `/` but in tests.
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            buffer: Vec::new(),
            mended: String::new(),
        }
    }

    /// A path such as `proc/stat` as the system has it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file; `None` where there is none that can be read.
    pub(super) fn read(&mut self, path: &str) -> Option<&str> {
        self.buffer.clear();
        File::open(self.root.join(path))
            .ok()?
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut self.buffer)
            .ok()?;
        if std::str::from_utf8(&self.buffer).is_err() {
            self.mended.clear();
            self.mended.push_str(&String::from_utf8_lossy(&self.buffer));
            return Some(&self.mended);
        }
        std::str::from_utf8(&self.buffer).ok()
    }

    /// As [`Files::read`], for a file of one line.
    pub(super) fn line(&mut self, path: &str) -> Option<&str> {
        self.read(path).map(str::trim)
    }

    /// The number that a file consists of.
    pub(super) fn number(&mut self, path: &str) -> Option<f64> {
        self.line(path)?
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
    }

    /// The whole number that a file consists of, which may be written as `0x1003`.
    pub(super) fn integer(&mut self, path: &str) -> Option<f64> {
        let text = self.line(path)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok().map(|n| n as f64),
            None => text.parse::<i64>().ok().map(|n| n as f64),
        }
    }

    /// The names in a folder, sorted.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .take(ENTRIES_MAX)
            .collect();
        names.sort_unstable();
        names
    }
}
