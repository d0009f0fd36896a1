//! Which frames of this server every other one can get, by their numbers: those that are on their
//! way, and those that have to be sent again from where they wait. Pure.

use std::collections::{BTreeSet, VecDeque};

/// Which frames are where.
#[derive(Debug)]
pub(super) struct Book {
    /// The next frame's.
    next: u64,
    /// Taken, and not known to be with Redis.
    under_way: BTreeSet<u64>,
    /// From here on up to there (which is no longer among them) they are to be sent again.
    missed: Option<(u64, u64)>,
    /// From such a number on, frames lie in such a segment of the log or a later one; ascending.
    segments: VecDeque<(u64, u32)>,
}

impl Book {
    /// Goes on behind what an earlier run has written, of which `sent` is known to be with Redis.
    pub(super) fn new(newest: u64, sent: u64, first_segment: u32) -> Self {
        Self {
            next: newest.max(sent) + 1,
            under_way: BTreeSet::new(),
            missed: (newest > sent).then_some((sent + 1, newest + 1)),
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

    /// These are with Redis.
    pub(super) fn done(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.under_way.remove(number);
        }
    }

    /// These are to be sent again.
    pub(super) fn missed(&mut self, numbers: &[u64]) {
        self.done(numbers);
        for number in numbers {
            let (from, to) = self.missed.unwrap_or((*number, *number));
            self.missed = Some((from.min(*number), to.max(*number + 1)));
        }
    }

    /// What is to be sent again.
    pub(super) fn to_be_sent(&self) -> Option<(u64, u64)> {
        self.missed
    }

    /// What was missed has been sent up to this number, which is not.
    pub(super) fn sent_again(&mut self, up_to: u64) {
        if let Some((from, to)) = self.missed {
            let from = from.max(up_to);
            self.missed = (from < to).then_some((from, to));
        }
    }

    /// Up to this number all are with Redis.
    pub(super) fn sent(&self) -> u64 {
        let under_way = self.under_way.first().copied();
        let missed = self.missed.map(|(from, _)| from);
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
    use super::*;

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
        assert_eq!((book.sent(), book.to_be_sent()), (2, Some((3, 4))));
        book.sent_again(4);
        assert_eq!((book.sent(), book.to_be_sent()), (3, None));
    }

    #[test]
    fn what_an_earlier_run_left_is_sent_again_and_numbers_go_on() {
        let mut book = Book::new(9, 7, 1);
        assert_eq!(book.to_be_sent(), Some((8, 10)));
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
        book.sent_again(10);
        assert_eq!(book.needs_from(4), 4);
    }
}
