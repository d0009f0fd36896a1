//! Which series a target had at its last scrape, so that those that are gone are marked as ended.
//!
//! Keys are kept in the order in which the target tells them, each as what it does not share with
//! the one before: neighbours differ in a label's value, so a key of a hundred bytes takes some
//! twenty. A target that tells the same series in the same order, as nearly all do, costs one
//! comparison a series.

use pulseboard_series::{Batch, KeyRef, Row};
use std::collections::HashSet;

/// The series of one target.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    hashes: Vec<u64>,
    /// For each: how many bytes it shares with the key before, how many follow, and these.
    keys: Vec<u8>,
}

/// What came and went between two scrapes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Series that were not there at the last scrape.
    pub(crate) added: usize,
    /// Keys of those that are there no longer.
    pub(crate) ended: Vec<Box<[u8]>>,
}

impl Tracked {
    /// Takes the rows of a scrape in place of those of the last one.
    pub(crate) fn replace(
        &mut self,
        batch: &Batch,
        rows: impl Iterator<Item = Row> + Clone,
    ) -> Change {
        let hashes = rows.clone().map(|row| row.hash);
        if hashes.clone().eq(self.hashes.iter().copied()) {
            return Change::default();
        }
        let before: HashSet<u64> = self.hashes.iter().copied().collect();
        let now: HashSet<u64> = hashes.clone().collect();
        let change = Change {
            added: now.difference(&before).count(),
            ended: self.keys_without(&now),
        };
        self.hashes.clear();
        self.keys.clear();
        let mut last: &[u8] = &[];
        for row in rows {
            let key = batch.key(&row).as_bytes();
            push_key(&mut self.keys, last, key);
            self.hashes.push(row.hash);
            last = key;
        }
        self.hashes.shrink_to_fit();
        self.keys.shrink_to_fit();
        change
    }

    /// Forgets all and says which they were.
    pub(crate) fn take_all(&mut self) -> Vec<Box<[u8]>> {
        let all = self.keys_without(&HashSet::new());
        *self = Self::default();
        all
    }

    /// Keys, each once, whose hashes are not among `now`.
    fn keys_without(&self, now: &HashSet<u64>) -> Vec<Box<[u8]>> {
        let mut told = HashSet::new();
        let mut ended = Vec::new();
        let mut key = Vec::new();
        let mut rest = self.keys.as_slice();
        for hash in &self.hashes {
            let Some(after) = next_key(rest, &mut key) else {
                break;
            };
            rest = after;
            if !now.contains(hash) && told.insert(*hash) {
                ended.push(key.clone().into_boxed_slice());
            }
        }
        ended
    }
}

/// Writes the end of a series to a batch.
pub(crate) fn push_key_row(batch: &mut Batch, key: &[u8], at_ms: i64, value: f64) {
    let key = KeyRef::new(key);
    let row = batch
        .begin(&[key.name()])
        .and_then(|()| {
            key.labels()
                .try_for_each(|(name, value)| batch.label(name, value))
        })
        .and_then(|()| batch.finish(1, Some(at_ms), value));
    if let Err(reason) = row {
        batch.refuse(1, reason);
    }
}

fn push_key(into: &mut Vec<u8>, last: &[u8], key: &[u8]) {
    let shared = last.iter().zip(key).take_while(|(a, b)| a == b).count();
    // a key is shorter than 64 KiB: names and labels have their lengths
    let shared = u16::try_from(shared).unwrap_or(u16::MAX);
    let rest = &key[usize::from(shared)..];
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    into.extend_from_slice(&shared.to_le_bytes());
    into.extend_from_slice(&length.to_le_bytes());
    into.extend_from_slice(rest);
}

/// Makes the next key of the last one; what follows it.
fn next_key<'a>(bytes: &'a [u8], key: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (shared, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (own, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    key.truncate(usize::from(u16::from_le_bytes(*shared)));
    key.extend_from_slice(own);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(names: &[&str]) -> Batch {
        let mut batch = Batch::new();
        for name in names {
            let row = batch
                .begin(&["requests_total"])
                .and_then(|()| batch.label("code", name))
                .and_then(|()| batch.label("instance", "a:9100"))
                .and_then(|()| batch.finish(1, Some(0), 1.0));
            row.expect("a row");
        }
        batch
    }

    fn replace(tracked: &mut Tracked, names: &[&str]) -> (usize, Vec<String>) {
        let batch = batch(names);
        let change = tracked.replace(&batch, batch.rows().iter().copied());
        let told = |key: &[u8]| KeyRef::new(key).label("code").expect("a code").to_owned();
        (
            change.added,
            change.ended.iter().map(|key| told(key)).collect(),
        )
    }

    #[test]
    fn what_comes_and_goes_is_told_once() {
        let mut tracked = Tracked::default();
        let nobody: Vec<String> = Vec::new();
        assert_eq!(
            replace(&mut tracked, &["200", "404", "500"]),
            (3, nobody.clone())
        );
        assert_eq!(
            replace(&mut tracked, &["200", "404", "500"]),
            (0, nobody.clone())
        );
        // another order is no change
        assert_eq!(
            replace(&mut tracked, &["500", "200", "404"]),
            (0, nobody.clone())
        );
        assert_eq!(
            replace(&mut tracked, &["200", "302"]),
            (1, vec!["500".to_owned(), "404".to_owned()])
        );
        // told twice by the target, and once by us
        assert_eq!(replace(&mut tracked, &["1", "1"]).0, 1);
        let all = tracked.take_all();
        assert_eq!(all.len(), 1);
        assert_eq!(
            KeyRef::new(&all[0]).to_string(),
            r#"requests_total{code="1",instance="a:9100"}"#
        );
        assert!(tracked.take_all().is_empty());
    }
}
