//! The newest samples of one series: packed blocks, and an open head that still changes.
//!
//! ```text
//! blocks  [t1 … t120] [t121 … t240]     head  t241 … t260
//!         packed, shared with readers         plain; late samples find their place here
//! ```
//!
//! Samples are sorted by time and no time is there twice: a second value for a time replaces the
//! first (last write wins).

mod block;

use std::sync::Arc;

use self::block::{BLOCK_SAMPLES_MAX, Block};
use pulseboard_history::sort_last_wins;

pub use self::block::Sample;

/// What a push did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// A new sample.
    New,
    /// The same value was there for this time.
    Same,
    /// Another value was there for this time; it is gone.
    Replaced,
}

/// The newest samples of one series, sorted by time and no time twice: packed blocks, and an open
/// head that still changes.
#[derive(Debug, Default)]
pub struct SeriesWindow {
    blocks: Vec<Arc<Block>>,
    head: Vec<Sample>,
}

/// What a reader takes with it: no lock is held while it unpacks.
#[derive(Clone, Debug, Default)]
pub struct WindowCopy {
    /// What came late and is not in the window, or not only, as it came: of one time the last
    /// holds, and of that and the window's the window's.
    pub(crate) late: Vec<Sample>,
    blocks: Vec<Arc<Block>>,
    head: Vec<Sample>,
}

impl SeriesWindow {
    /// Takes a sample in, at its place in time. O(1) for one newer than all others.
    pub fn push(&mut self, at_ms: i64, value: f64, scratch: &mut Scratch) -> Pushed {
        match self.head.last() {
            Some(&(newest_ms, _)) if at_ms > newest_ms => {
                self.append(at_ms, value, scratch);
                Pushed::New
            }
            None if self.blocks.last().is_none_or(|block| at_ms > block.last_ms) => {
                self.append(at_ms, value, scratch);
                Pushed::New
            }
            _ => self.insert_late(at_ms, value, scratch),
        }
    }

    fn append(&mut self, at_ms: i64, value: f64, scratch: &mut Scratch) {
        if self.head.len() == BLOCK_SAMPLES_MAX {
            self.blocks
                .push(Arc::new(Block::pack(&self.head, &mut scratch.bytes)));
            self.head.clear();
        }
        if self.head.len() == self.head.capacity() {
            // 4, 8, 16 … 120: a series that is seen once stays small.
            let more = self.head.len().clamp(4, 60);
            self.head
                .reserve_exact(more.min(BLOCK_SAMPLES_MAX - self.head.len()));
        }
        self.head.push((at_ms, value));
    }

    #[cold]
    fn insert_late(&mut self, at_ms: i64, value: f64, scratch: &mut Scratch) -> Pushed {
        let is_in_head = self.blocks.last().is_none_or(|block| at_ms > block.last_ms);
        if is_in_head {
            let pushed = insert(&mut self.head, at_ms, value);
            if self.head.len() > BLOCK_SAMPLES_MAX {
                let newest = self.head.pop();
                self.blocks
                    .push(Arc::new(Block::pack(&self.head, &mut scratch.bytes)));
                self.head.clear();
                self.head.extend(newest);
            }
            return pushed;
        }
        // The first block that ends at or after it.
        let index = self
            .blocks
            .partition_point(|block| block.last_ms < at_ms)
            .min(self.blocks.len() - 1);
        let samples = &mut scratch.samples;
        samples.clear();
        self.blocks[index].unpack(samples);
        let pushed = insert(samples, at_ms, value);
        if pushed == Pushed::Same {
            return pushed;
        }
        if samples.len() > 2 * BLOCK_SAMPLES_MAX {
            let (first, second) = samples.split_at(BLOCK_SAMPLES_MAX);
            let second = Arc::new(Block::pack(second, &mut scratch.bytes));
            self.blocks[index] = Arc::new(Block::pack(first, &mut scratch.bytes));
            self.blocks.insert(index + 1, second);
        } else {
            self.blocks[index] = Arc::new(Block::pack(samples, &mut scratch.bytes));
        }
        pushed
    }

    /// Takes in what was there before: sorted by time, no time twice. Where a time has a sample
    /// already, that one came later and stays. O(all of it).
    pub fn fill(&mut self, before: &[Sample], scratch: &mut Scratch) {
        if self.is_empty() {
            before
                .iter()
                .for_each(|&(at_ms, value)| self.append(at_ms, value, scratch));
            return;
        }
        let mut there = Vec::new();
        self.copy(i64::MIN, i64::MAX)
            .read(i64::MIN, i64::MAX, &mut there);
        *self = Self::default();
        let mut before = before.iter().peekable();
        for (at_ms, value) in there {
            while let Some(&(older_ms, older)) = before.next_if(|sample| sample.0 < at_ms) {
                self.append(older_ms, older, scratch);
            }
            before.next_if(|sample| sample.0 == at_ms);
            self.append(at_ms, value, scratch);
        }
        before.for_each(|&(at_ms, value)| self.append(at_ms, value, scratch));
    }

    /// Lets the samples of a stretch go, both ends included. O(all of it) where there are any.
    pub fn remove(&mut self, (from_ms, to_ms): (i64, i64), scratch: &mut Scratch) {
        let is_met = self.oldest_ms().is_some_and(|oldest_ms| oldest_ms <= to_ms)
            && self
                .newest_ms()
                .is_some_and(|newest_ms| newest_ms >= from_ms);
        if !is_met {
            return;
        }
        let mut kept = Vec::new();
        self.copy(i64::MIN, i64::MAX)
            .read(i64::MIN, i64::MAX, &mut kept);
        kept.retain(|sample| !(from_ms..=to_ms).contains(&sample.0));
        *self = Self::default();
        kept.iter()
            .for_each(|&(at_ms, value)| self.append(at_ms, value, scratch));
    }

    /// Packs the head where that is worth it: for a window that is short of memory.
    pub fn pack_head(&mut self, scratch: &mut Scratch) {
        /// With fewer, what a block takes besides its samples is as much as they are.
        const WORTH_IT: usize = 12;
        if self.head.len() >= WORTH_IT {
            let packed = Block::pack(&self.head, &mut scratch.bytes);
            self.blocks.push(Arc::new(packed));
            self.head = Vec::new();
        }
    }

    /// Lets whole blocks go that end before `before_ms`, and the head where all of it is older;
    /// so up to one block more than asked is kept. Returns the time of the newest sample that has
    /// gone.
    pub fn evict(&mut self, before_ms: i64) -> Option<i64> {
        let gone = self
            .blocks
            .partition_point(|block| block.last_ms < before_ms);
        let mut newest_ms = self
            .blocks
            .drain(..gone)
            .next_back()
            .map(|block| block.last_ms);
        if self.blocks.is_empty() && self.head.last().is_some_and(|newest| newest.0 < before_ms) {
            newest_ms = self.head.last().map(|newest| newest.0);
            self.head = Vec::new();
        }
        if self.blocks.capacity() > 4 * (self.blocks.len() + 1) {
            self.blocks.shrink_to_fit();
        }
        newest_ms
    }

    /// Reads where the next sample will be written, so that it is on its way from memory; what it
    /// returns means nothing.
    pub(crate) fn touch(&self) -> i64 {
        self.head.last().map_or(0, |newest| newest.0)
    }

    /// Newest sample held.
    #[must_use]
    pub fn newest(&self) -> Option<Sample> {
        self.head.last().copied().or_else(|| {
            let mut samples = Vec::new();
            self.blocks.last()?.unpack(&mut samples);
            samples.pop()
        })
    }

    /// Time of the newest sample held, Unix milliseconds.
    #[must_use]
    pub fn newest_ms(&self) -> Option<i64> {
        let in_head = self.head.last().map(|sample| sample.0);
        in_head.or_else(|| self.blocks.last().map(|block| block.last_ms))
    }

    /// Newest sample held that is not later than a moment.
    #[must_use]
    pub fn newest_at(&self, at_ms: i64) -> Option<Sample> {
        let count = self.head.partition_point(|sample| sample.0 <= at_ms);
        if let Some(found) = count.checked_sub(1).and_then(|index| self.head.get(index)) {
            return Some(*found);
        }
        let count = self.blocks.partition_point(|block| block.first_ms <= at_ms);
        let block = self.blocks.get(count.checked_sub(1)?)?;
        let mut samples = Vec::new();
        block.unpack(&mut samples);
        let count = samples.partition_point(|sample| sample.0 <= at_ms);
        samples.get(count.checked_sub(1)?).copied()
    }

    /// Time of the oldest sample held, Unix milliseconds.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        let in_block = self.blocks.first().map(|block| block.first_ms);
        in_block.or_else(|| self.head.first().map(|sample| sample.0))
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.head.is_empty()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| block.held_bytes()).sum();
        blocks
            + self.blocks.capacity() * size_of::<Arc<Block>>()
            + self.head.capacity() * size_of::<Sample>()
    }

    /// What a reader needs of `from_ms..to_ms`, copied; blocks are shared.
    #[must_use]
    pub fn copy(&self, from_ms: i64, to_ms: i64) -> WindowCopy {
        let mut copy = WindowCopy::default();
        self.copy_into(from_ms, to_ms, &mut copy);
        copy
    }

    /// As [`SeriesWindow::copy`], in the place of what was copied before.
    pub(crate) fn copy_into(&self, from_ms: i64, to_ms: i64, copy: &mut WindowCopy) {
        copy.clear();
        let first = self.blocks.partition_point(|block| block.last_ms < from_ms);
        let last = self.blocks.partition_point(|block| block.first_ms < to_ms);
        let blocks = self.blocks.get(first..last).unwrap_or_default();
        copy.blocks.extend_from_slice(blocks);
        let head_from = self.head.partition_point(|sample| sample.0 < from_ms);
        let head_to = self.before(to_ms);
        let head = self.head.get(head_from..head_to).unwrap_or_default();
        copy.head.extend_from_slice(head);
    }

    /// As [`SeriesWindow::copy_into`], of no more than the newest sample of the stretch needs.
    pub(crate) fn copy_newest_into(&self, from_ms: i64, to_ms: i64, copy: &mut WindowCopy) {
        copy.clear();
        if let Some(newest) = self.before(to_ms).checked_sub(1) {
            let newest = self.head.get(newest);
            copy.head
                .extend(newest.filter(|newest| newest.0 >= from_ms));
            return;
        }
        let count = self.blocks.partition_point(|block| block.first_ms < to_ms);
        let block = count.checked_sub(1).and_then(|at| self.blocks.get(at));
        copy.blocks
            .extend(block.filter(|block| block.last_ms >= from_ms).cloned());
    }

    /// How many samples of the head are older than a moment; all of them, mostly.
    fn before(&self, to_ms: i64) -> usize {
        match self.head.last() {
            Some(newest) if newest.0 >= to_ms => {
                self.head.partition_point(|sample| sample.0 < to_ms)
            }
            _ => self.head.len(),
        }
    }
}

impl WindowCopy {
    /// Without anything, for the next series.
    fn clear(&mut self) {
        self.late.clear();
        self.blocks.clear();
        self.head.clear();
    }

    /// How many samples it has, at most.
    #[must_use]
    pub fn count(&self) -> usize {
        let packed: usize = self.blocks.iter().map(|block| block.count()).sum();
        packed + self.head.len() + self.late.len()
    }

    /// Appends the samples of `from_ms..to_ms` to `into`, oldest first.
    pub fn read(&self, from_ms: i64, to_ms: i64, into: &mut Vec<Sample>) {
        if !self.late.is_empty() {
            let mut all = self.late.clone();
            self.unpack(&mut all);
            sort_last_wins(&mut all);
            let end = all.partition_point(|sample| sample.0 < to_ms);
            let start = all[..end].partition_point(|sample| sample.0 < from_ms);
            into.extend_from_slice(&all[start..end]);
            return;
        }
        let start = into.len();
        self.unpack(into);
        let end = into[start..].partition_point(|sample| sample.0 < to_ms);
        into.truncate(start + end);
        let before = into[start..].partition_point(|sample| sample.0 < from_ms);
        into.drain(start..start + before);
    }

    fn unpack(&self, into: &mut Vec<Sample>) {
        for block in &self.blocks {
            block.unpack(into);
        }
        into.extend_from_slice(&self.head);
    }
}

/// Buffers that packing uses again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    samples: Vec<Sample>,
}

/// Puts a sample into a sorted list.
fn insert(samples: &mut Vec<Sample>, at_ms: i64, value: f64) -> Pushed {
    let place = samples.partition_point(|sample| sample.0 < at_ms);
    match samples.get_mut(place) {
        Some(there) if there.0 == at_ms => {
            if there.1.to_bits() == value.to_bits() {
                return Pushed::Same;
            }
            there.1 = value;
            Pushed::Replaced
        }
        _ => {
            samples.insert(place, (at_ms, value));
            Pushed::New
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever order samples come in, the window is what a sorted map says, and eviction
        /// takes only what is old enough.
        #[test]
        fn a_window_is_a_sorted_map(
            pushes in prop::collection::vec((0_i64..600, 0_u8..3), 0..900),
            evict_before in 0_i64..600,
            filling in prop::collection::vec(0_i64..600, 0..200),
            is_packed in any::<bool>(),
            from in 0_i64..600,
            length in 0_i64..600,
        ) {
            let mut window = SeriesWindow::default();
            let mut scratch = Scratch::default();
            let mut naive: BTreeMap<i64, f64> = BTreeMap::new();
            for (at_ms, value) in pushes {
                let value = f64::from(value);
                let expected = match naive.insert(at_ms, value) {
                    None => Pushed::New,
                    Some(before) if before == value => Pushed::Same,
                    Some(_) => Pushed::Replaced,
                };
                prop_assert_eq!(window.push(at_ms, value, &mut scratch), expected);
            }
            let mut read = Vec::new();
            window.copy(from, from + length).read(from, from + length, &mut read);
            let expected: Vec<Sample> = naive.range(from..from + length).map(|(at, value)| (*at, *value)).collect();
            prop_assert_eq!(&read, &expected);
            let mut newest = WindowCopy::default();
            window.copy_newest_into(from, from + length, &mut newest);
            let mut last = Vec::new();
            newest.read(from, from + length, &mut last);
            prop_assert_eq!(last.last(), expected.last());
            prop_assert_eq!(window.newest(), naive.last_key_value().map(|(at, value)| (*at, *value)));
            prop_assert_eq!(window.newest_ms(), naive.last_key_value().map(|(at, _)| *at));
            prop_assert_eq!(window.newest_at(from), naive.range(..=from).next_back().map(|(at, value)| (*at, *value)));
            prop_assert_eq!(window.oldest_ms(), naive.first_key_value().map(|(at, _)| *at));
            if is_packed {
                window.pack_head(&mut scratch);
            }
            // What was there before stands back.
            let filling: BTreeMap<i64, f64> = filling.into_iter().map(|at_ms| (at_ms, 9.0)).collect();
            let before: Vec<Sample> = filling.iter().map(|(at, value)| (*at, *value)).collect();
            window.fill(&before, &mut scratch);
            for (at_ms, value) in before {
                naive.entry(at_ms).or_insert(value);
            }

            window.evict(evict_before);
            let mut kept = Vec::new();
            window.copy(i64::MIN, i64::MAX).read(i64::MIN, i64::MAX, &mut kept);
            let young: Vec<Sample> = naive.range(evict_before..).map(|(at, value)| (*at, *value)).collect();
            prop_assert!(kept.ends_with(&young));
            prop_assert!(kept.len() <= young.len() + 2 * BLOCK_SAMPLES_MAX);
        }
    }

    #[test]
    fn a_series_seen_once_stays_small() {
        let mut window = SeriesWindow::default();
        window.push(1, 1.0, &mut Scratch::default());
        assert!(window.held_bytes() <= 64);
    }
}
