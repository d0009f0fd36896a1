//! Which frames of this server every other one can get, by their numbers: those that are on their
//! way, and those that have to be sent again from where they wait. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Past so many stretches, and twice what is under way, those are joined between which nothing is.
const STRETCHES_MAX: usize = 4_096;

/// Numbers, as stretches that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretches(BTreeMap<u64, u64>);

impl Stretches {
    /// Each from its first number up to one that is no longer in it, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back();
        before.is_some_and(|(_, to)| number < *to)
    }

    fn first(&self) -> Option<u64> {
        self.0.keys().next().copied()
    }

    fn count(&self) -> u64 {
        self.iter().map(|(from, to)| to - from).sum()
    }

    fn put(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let (mut from, mut to) = (number, number.saturating_add(1));
        if let Some((before, end)) = self.0.range(..number).next_back()
            && *end == number
        {
            from = *before;
        }
        if let Some(end) = self.0.remove(&to) {
            to = end;
        }
        self.0.insert(from, to);
    }

    fn cut(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        if let Some((before, end)) = self.0.range(..from).next_back()
            && *end > from
        {
            let (before, end) = (*before, *end);
            self.0.insert(before, from);
            self.put_stretch(to, end);
        }
        while let Some((first, end)) = self.0.range(from..to).next() {
            let (first, end) = (*first, *end);
            self.0.remove(&first);
            self.put_stretch(to, end);
        }
    }

    fn put_stretch(&mut self, from: u64, to: u64) {
        if from < to {
            self.0.insert(from, to);
        }
    }

    /// Joins those that have nothing of `others` between them.
    fn join(&mut self, others: &BTreeSet<u64>) {
        let mut joined = BTreeMap::new();
        let mut open: Option<(u64, u64)> = None;
        for (from, to) in self.iter() {
            open = Some(match open {
                Some((first, end)) if others.range(end..from).next().is_none() => (first, to),
                Some((first, end)) => {
                    joined.insert(first, end);
                    (from, to)
                }
                None => (from, to),
            });
        }
        joined.extend(open);
        self.0 = joined;
    }
}

/// Which frames are where.
#[derive(Debug)]
pub(super) struct Book {
    /// The next frame's.
    next: u64,
    /// Taken, and not known to be with Redis.
    under_way: BTreeSet<u64>,
    /// These are to be sent again; none that is under way is among them.
    missed: Stretches,
    /// From such a number on, frames lie in such a segment of the log or a later one; ascending.
    segments: VecDeque<(u64, u32)>,
}

impl Book {
    /// Goes on behind what an earlier run has written, of which `sent` is known to be with Redis.
    pub(super) fn new(newest: u64, sent: u64, first_segment: u32) -> Self {
        let mut missed = Stretches::default();
        missed.put_stretch(sent.saturating_add(1), newest.saturating_add(1));
        Self {
            next: newest.max(sent).saturating_add(1),
            under_way: BTreeSet::new(),
            missed,
            segments: VecDeque::from([(0, first_segment)]),
        }
    }

    /// A frame that is on its way from now on.
    pub(super) fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.under_way.insert(number);
        number
    }

    /// These are with Redis, or nobody is to get them any more.
    pub(super) fn done(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.under_way.remove(number);
        }
    }

    /// These are to be sent again.
    pub(super) fn missed(&mut self, numbers: &[u64]) {
        self.done(numbers);
        for number in numbers {
            self.missed.put(*number);
        }
        let most = self.under_way.len().saturating_mul(2) + STRETCHES_MAX;
        if self.missed.0.len() > most {
            self.missed.join(&self.under_way);
        }
    }

    /// What is to be sent again.
    pub(super) fn to_be_sent(&self) -> &Stretches {
        &self.missed
    }

    /// What was missed from `from` on up to `to`, which is not among it, was sent again or is to be
    /// had nowhere; what was missed beside it is still to be sent.
    pub(super) fn sent_again(&mut self, from: u64, to: u64) {
        self.missed.cut(from, to);
    }

    /// How many are to be sent again; a few more where there are very many stretches of them.
    pub(super) fn backlog(&self) -> u64 {
        self.missed.count()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_flushed(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether all that was taken is with Redis.
    pub(super) fn is_all_sent(&self) -> bool {
        self.is_flushed() && self.missed.is_empty()
    }

    /// Up to this number all are with Redis.
    pub(super) fn sent(&self) -> u64 {
        let under_way = self.under_way.first().copied();
        let missed = self.missed.first();
        let first = under_way.into_iter().chain(missed).min();
        first.unwrap_or(self.next).saturating_sub(1)
    }

    /// What is appended from now on goes into this segment of the log or a later one; the first
    /// segment that is still needed.
    pub(super) fn needs_from(&mut self, current: u32) -> u32 {
        let wanted = self.sent() + 1;
        if self
            .segments
            .back()
            .is_none_or(|(_, segment)| *segment != current)
        {
            self.segments.push_back((self.next, current));
        }
        while self
            .segments
            .get(1)
            .is_some_and(|(number, _)| *number <= wanted)
        {
            self.segments.pop_front();
        }
        self.segments
            .front()
            .map_or(current, |(_, segment)| *segment)
    }

    /// Segments before this one are gone, with what was in them.
    pub(super) fn gave_up(&mut self, before: u32) {
        for (_, segment) in &mut self.segments {
            *segment = (*segment).max(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn missed(book: &Book) -> Vec<(u64, u64)> {
        book.to_be_sent().iter().collect()
    }

    #[test]
    fn what_is_sent_is_known_up_to_the_first_that_is_not() {
        let mut book = Book::new(0, 0, 1);
        assert_eq!((book.begin(), book.begin(), book.begin()), (1, 2, 3));
        assert_eq!(book.sent(), 0);
        book.done(&[2]);
        assert_eq!(book.sent(), 0);
        book.done(&[1]);
        assert_eq!(book.sent(), 2);
        book.missed(&[3]);
        assert_eq!((book.sent(), missed(&book)), (2, vec![(3, 4)]));
        book.sent_again(3, 4);
        assert_eq!((book.sent(), missed(&book)), (3, vec![]));
    }

    #[test]
    fn what_was_missed_while_other_frames_were_sent_again_is_still_to_be_sent() {
        let mut book = Book::new(0, 0, 1);
        let numbers: Vec<u64> = (0..9).map(|_| book.begin()).collect();
        assert_eq!(numbers.last(), Some(&9));
        book.missed(&[4, 5]);
        let covered = book.to_be_sent().clone();
        // Meanwhile: some before them, some behind, and one that touches them.
        book.missed(&[2, 6, 9]);
        book.done(&[1, 3, 7, 8]);
        for (from, to) in covered.iter() {
            book.sent_again(from, to);
        }
        assert_eq!(missed(&book), [(2, 3), (6, 7), (9, 10)]);
        assert_eq!((book.sent(), book.backlog()), (1, 3));
        book.sent_again(0, 9);
        assert_eq!((book.sent(), book.backlog()), (8, 1));
        assert!(!book.is_all_sent());
        book.sent_again(9, 10);
        assert!(book.is_all_sent());
        assert_eq!(book.sent(), 9);
    }

    #[test]
    fn what_is_under_way_is_neither_flushed_nor_missed() {
        let mut book = Book::new(0, 0, 1);
        assert!(book.is_flushed() && book.is_all_sent());
        let number = book.begin();
        assert!(!book.is_flushed() && !book.is_all_sent());
        assert_eq!(book.backlog(), 0);
        book.missed(&[number]);
        assert!(book.is_flushed() && !book.is_all_sent());
        assert_eq!(book.backlog(), 1);
    }

    #[test]
    fn many_stretches_are_joined_but_never_over_what_is_under_way() {
        let mut book = Book::new(0, 0, 1);
        let last = 40_000;
        for _ in 0..last {
            book.begin();
        }
        // Every other one arrives, but for one in the middle, which is slow.
        let slow = 20_001;
        for number in 1..=last {
            match number % 2 {
                0 => book.missed(&[number]),
                _ if number == slow => {}
                _ => book.done(&[number]),
            }
        }
        assert!(missed(&book).len() <= STRETCHES_MAX + 2);
        assert!(!book.to_be_sent().contains(slow));
        let covered = book.to_be_sent().clone();
        book.missed(&[slow]);
        for (from, to) in covered.iter() {
            book.sent_again(from, to);
        }
        assert_eq!(missed(&book), [(slow, slow + 1)]);
    }

    proptest! {
        #[test]
        fn stretches_are_a_set(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..12), 0..60)) {
            let (mut stretches, mut set) = (Stretches::default(), BTreeSet::new());
            for (is_put, from, more) in steps {
                if is_put {
                    stretches.put(from);
                    set.insert(from);
                } else {
                    stretches.cut(from, from + more);
                    set.retain(|number| !(from..from + more).contains(number));
                }
                let all: Vec<u64> = stretches.iter().flat_map(|(from, to)| from..to).collect();
                prop_assert_eq!(&all, &set.iter().copied().collect::<Vec<u64>>());
                prop_assert_eq!(stretches.count(), set.len() as u64);
                for number in 0..52 {
                    prop_assert_eq!(stretches.contains(number), set.contains(&number));
                }
                let ends: Vec<(u64, u64)> = stretches.iter().collect();
                prop_assert!(ends.windows(2).all(|two| two[0].1 < two[1].0), "{:?}", ends);
            }
        }
    }

    #[test]
    fn what_an_earlier_run_left_is_sent_again_and_numbers_go_on() {
        let mut book = Book::new(9, 7, 1);
        assert_eq!(missed(&book), [(8, 10)]);
        assert_eq!(book.begin(), 10);
        assert_eq!(book.sent(), 7);
        // None of them is left in the log, and yet their numbers are not given again.
        assert_eq!(Book::new(3, 20, 1).begin(), 21);
    }

    #[test]
    fn segments_are_needed_as_long_as_something_in_them_is_not_sent() {
        let mut book = Book::new(0, 0, 1);
        assert_eq!(book.needs_from(4), 4);
        let first = book.begin();
        assert_eq!(book.needs_from(4), 4);
        assert_eq!(book.needs_from(5), 4);
        let second = book.begin();
        assert_eq!(book.needs_from(6), 4);
        book.done(&[first]);
        assert_eq!(book.needs_from(7), 5);
        book.done(&[second]);
        assert_eq!(book.needs_from(7), 7);
        // What an earlier run left lies anywhere.
        let mut book = Book::new(9, 7, 1);
        assert_eq!(book.needs_from(4), 1);
        book.sent_again(8, 10);
        assert_eq!(book.needs_from(4), 4);
    }
}
