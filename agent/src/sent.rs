//! Which moments the hub has: ranges of their numbers, in a small file beside the log.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Ranges that are kept. Each is an outage whose moments are not sent yet; past it the shortest
/// one is forgotten and its moments are sent again, which changes nothing at the hub.
const RANGES_MAX: usize = 1_000;

const FILE: &str = "sent.json";

/// Numbers of moments, as ranges that do not touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Sent {
    ranges: Vec<Range<u64>>,
}

impl Sent {
    /// What the file in `folder` says; nothing where there is none, or none that can be read:
    /// everything is then sent again.
    pub(crate) fn load(folder: &Path) -> Self {
        let read = fs::read(folder.join(FILE)).ok();
        let mut all = Self::default();
        if let Some(read) = read.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok()) {
            for range in read.ranges {
                all.add(range);
            }
        }
        all
    }

    /// Replaces the file as a whole. It is not synced: after a power cut some moments are sent
    /// again.
    pub(crate) fn save(&self, folder: &Path) -> io::Result<()> {
        let path: PathBuf = folder.join(FILE);
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(self)?)?;
        fs::rename(beside, path)
    }

    /// These are there.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|known| known.end < range.start);
        let to = self
            .ranges
            .partition_point(|known| known.start <= range.end);
        let touching = &self.ranges[from..to];
        let start = touching
            .first()
            .map_or(range.start, |first| first.start.min(range.start));
        let end = touching
            .last()
            .map_or(range.end, |last| last.end.max(range.end));
        self.ranges.splice(from..to, std::iter::once(start..end));
        if self.ranges.len() > RANGES_MAX {
            let lengths = self.ranges.iter().map(|range| range.end - range.start);
            if let Some((shortest, _)) = lengths.enumerate().min_by_key(|(_, length)| *length) {
                self.ranges.remove(shortest);
            }
        }
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        let at = self.ranges.partition_point(|known| known.end <= number);
        self.ranges
            .get(at)
            .is_some_and(|known| known.contains(&number))
    }

    /// Whether all of these are there.
    pub(crate) fn has_all(&self, range: Range<u64>) -> bool {
        let at = self
            .ranges
            .partition_point(|known| known.end <= range.start);
        range.is_empty()
            || (self.ranges.get(at))
                .is_some_and(|known| known.start <= range.start && known.end >= range.end)
    }

    /// How many of these are not.
    pub(crate) fn missing(&self, range: Range<u64>) -> u64 {
        let there = self.ranges.iter().map(|known| {
            let (from, to) = (known.start.max(range.start), known.end.min(range.end));
            to.saturating_sub(from)
        });
        (range.end - range.start).saturating_sub(there.sum())
    }

    /// One past the greatest number that is there.
    pub(crate) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |last| last.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut sent = Sent::default();
        for range in [5..7, 1..2, 9..10, 2..3, 7..9, 20..20] {
            sent.add(range);
        }
        assert_eq!(sent.ranges, [1..3, 5..10]);
        assert!(sent.has(9) && !sent.has(10) && !sent.has(4));
        assert!(sent.has_all(5..10) && !sent.has_all(2..6) && sent.has_all(3..3));
        assert_eq!((sent.missing(0..12), sent.end()), (5, 10));
        sent.add(0..30);
        assert!(sent.has_all(0..30) && sent.ranges.len() == 1);
    }

    #[test]
    fn they_are_bounded_and_outlive_a_restart() {
        let mut sent = Sent::default();
        for number in 0..3_000 {
            sent.add(number * 2..number * 2 + 1);
        }
        assert_eq!(sent.ranges.len(), RANGES_MAX);
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Sent::load(folder.path()), Sent::default());
        sent.save(folder.path()).expect("written");
        assert_eq!(Sent::load(folder.path()), sent);
        fs::write(
            folder.path().join(FILE),
            "{\"ranges\":[{\"start\":9,\"end\":1}]}",
        )
        .expect("written");
        assert_eq!(Sent::load(folder.path()), Sent::default());
    }
}
