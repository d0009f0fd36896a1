//! What the charts draw: times and the four figures in columns that turn round in place.
//!
//! All four series share one column of times, since they are sampled together; the crosshair
//! finds its place once for all charts. A figure that is missing is NaN; a tick that came so
//! late that something is missing before it is marked, and a line is never drawn across. Nor is
//! it across ticks that came merged: of those only the extremes are known.
//!
//! ```text
//! capacity 4 after six pushes      slot  0 1 2 3
//! start = 2, len = 4               t     4 5 2 3        index 0 is slot 2: the oldest
//! ```

use crate::net::feed::Row;

/// Series held, in the order of [`pulseboard_shared::BUILT_IN`].
pub const COLUMNS: usize = 4;

/// What is known of the time before a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Before {
    /// The row before it, as usual.
    #[default]
    Nothing,
    /// At least one tick is missing.
    Missing,
    /// So many ticks came merged; this row and the next have their least and greatest figures.
    Merged(u16),
}

impl Before {
    /// `ticks` came merged.
    #[must_use]
    pub fn merged(ticks: u64) -> Self {
        Self::Merged(u16::try_from(ticks).unwrap_or(u16::MAX))
    }

    /// The line ends before the row and begins anew at it.
    #[must_use]
    pub const fn breaks(self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// A ring of rows, oldest first, times never falling.
#[derive(Clone, Debug)]
pub struct Ring {
    times: Vec<f64>,
    values: [Vec<f64>; COLUMNS],
    before: Vec<Before>,
    capacity: usize,
    start: usize,
    /// Rows ever pushed and kept; tells apart rings that look alike.
    pushed: u64,
}

impl Ring {
    /// Empty; memory is taken as it fills, 44 bytes a row.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            times: Vec::new(),
            values: [const { Vec::new() }; COLUMNS],
            before: Vec::new(),
            capacity: capacity.max(1),
            start: 0,
            pushed: 0,
        }
    }

    /// Rows held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Nothing has been pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Rows pushed since the beginning.
    #[must_use]
    pub const fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Appends a row and lets the oldest go when full.
    /// A row older than the newest is not taken, and false is returned.
    pub fn push(&mut self, row: Row, before: Before) -> bool {
        if self.last_time().is_some_and(|newest| row.t_ms < newest) || !row.t_ms.is_finite() {
            return false;
        }
        self.pushed += 1;
        if self.times.len() < self.capacity {
            self.times.push(row.t_ms);
            self.before.push(before);
            for (column, value) in self.values.iter_mut().zip(row.values) {
                column.push(value);
            }
        } else {
            let slot = self.start;
            self.times[slot] = row.t_ms;
            self.before[slot] = before;
            for (column, value) in self.values.iter_mut().zip(row.values) {
                column[slot] = value;
            }
            self.start = (slot + 1) % self.capacity;
        }
        true
    }

    /// Changes how much is kept; the newest stay.
    pub fn set_capacity(&mut self, capacity: usize) {
        let capacity = capacity.max(1);
        if capacity == self.capacity {
            return;
        }
        let keep = self.len().min(capacity);
        self.rebuild(self.len() - keep, self.len(), capacity);
    }

    /// Forgets every row at or after `t_ms`: a server whose clock was set back begins there.
    pub fn truncate_from(&mut self, t_ms: f64) {
        let end = self.lower_bound(t_ms);
        if end < self.len() {
            self.rebuild(0, end, self.capacity);
        }
    }

    /// Puts rows of the past where they belong: what the page was not there for, or too slow for.
    /// `past` is oldest first; a row stands for `width_ms` from its time on, and is left out where
    /// one is held already. Rows further apart than `gap_ms` have something missing between them.
    pub fn fill(&mut self, past: &[Row], width_ms: f64, gap_ms: f64) {
        let mut fresh = Self::new(self.capacity);
        let mut past = past.iter().peekable();
        let mut index = 0;
        let mut filled = false;
        loop {
            let held = (index < self.len()).then(|| self.time(index));
            let news = past.next_if(|row| held.is_none_or(|held| row.t_ms <= held));
            let late = |t_ms: f64| fresh.last_time().is_some_and(|last| t_ms - last > gap_ms);
            let (row, before) = match (news, held) {
                (Some(row), held) => {
                    if held.is_some_and(|held| held < row.t_ms + width_ms) {
                        continue;
                    }
                    filled = true;
                    (*row, late(row.t_ms).then_some(Before::Missing))
                }
                (None, Some(held)) => {
                    // Of merged ticks that came after all, only the newest is still a tick.
                    let merged = matches!(self.before(index), Before::Merged(_));
                    if merged && filled && index + 2 < self.len() && self.time(index + 2) == held {
                        index += 2;
                    }
                    let before = match filled {
                        false => Some(self.before(index)),
                        true => late(held).then_some(Before::Missing),
                    };
                    filled = false;
                    index += 1;
                    (self.row(index - 1), before)
                }
                (None, None) => break,
            };
            fresh.push(row, before.unwrap_or_default());
        }
        fresh.pushed = self.pushed;
        *self = fresh;
    }

    fn row(&self, index: usize) -> Row {
        Row {
            t_ms: self.time(index),
            values: std::array::from_fn(|column| self.value(column, index)),
        }
    }

    fn rebuild(&mut self, from: usize, to: usize, capacity: usize) {
        let mut fresh = Self::new(capacity);
        for index in from..to {
            fresh.push(self.row(index), self.before(index));
        }
        fresh.pushed = self.pushed;
        *self = fresh;
    }

    fn slot(&self, index: usize) -> usize {
        let slot = self.start + index;
        if slot >= self.times.len() {
            slot - self.times.len()
        } else {
            slot
        }
    }

    /// When row `index` was sampled; 0 is the oldest.
    #[must_use]
    pub fn time(&self, index: usize) -> f64 {
        self.times[self.slot(index)]
    }

    /// Figure `column` of row `index`; NaN when there was none.
    #[must_use]
    pub fn value(&self, column: usize, index: usize) -> f64 {
        self.values[column][self.slot(index)]
    }

    /// Something is missing before row `index`.
    #[must_use]
    pub fn starts_after_gap(&self, index: usize) -> bool {
        self.before(index) == Before::Missing
    }

    /// What is known of the time before row `index`.
    #[must_use]
    pub fn before(&self, index: usize) -> Before {
        self.before[self.slot(index)]
    }

    /// The oldest time.
    #[must_use]
    pub fn first_time(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.time(0))
    }

    /// The newest time.
    #[must_use]
    pub fn last_time(&self) -> Option<f64> {
        self.len().checked_sub(1).map(|last| self.time(last))
    }

    /// The first row at or after `t_ms`; `len` when there is none. O(log n).
    #[must_use]
    pub fn lower_bound(&self, t_ms: f64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.time(middle) < t_ms {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The row nearest to `t_ms`, the older of two equally near.
    #[must_use]
    pub fn nearest(&self, t_ms: f64) -> Option<usize> {
        let after = self.lower_bound(t_ms);
        if after == 0 {
            return (!self.is_empty()).then_some(0);
        }
        if after == self.len() || t_ms - self.time(after - 1) <= self.time(after) - t_ms {
            return Some(after - 1);
        }
        // Of several at one moment the last: ticks that came merged end with their newest.
        let last_of = |mut index: usize| {
            while index + 1 < self.len() && self.time(index + 1) == self.time(index) {
                index += 1;
            }
            index
        };
        Some(last_of(after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(t_ms: f64) -> Row {
        Row {
            t_ms,
            values: [t_ms, -t_ms, f64::NAN, 1.0],
        }
    }

    proptest! {
        /// The ring equals the last N of a plain list, whatever is pushed, cut and resized.
        #[test]
        fn equals_a_list(
            capacity in 1_usize..12,
            steps in proptest::collection::vec((0_u8..12, 0_u8..6), 0..80),
        ) {
            let mut ring = Ring::new(capacity);
            let mut capacity = capacity;
            let mut list: Vec<(f64, bool)> = Vec::new();
            let mut now = 0.0;
            for (what, size) in steps {
                match what {
                    0 => {
                        capacity = usize::from(size) + 1;
                        ring.set_capacity(capacity);
                    }
                    1 => {
                        let cut = now - f64::from(size);
                        ring.truncate_from(cut);
                        list.retain(|(t, _)| *t < cut);
                        now = cut;
                    }
                    2 => {
                        let older = list.last().is_some_and(|(newest, _)| now - 1.0 < *newest);
                        prop_assert_eq!(ring.push(row(now - 1.0), Before::Nothing), !older);
                        if !older { list.push((now - 1.0, false)); }
                    }
                    _ => {
                        now += f64::from(size);
                        ring.push(row(now), if size > 3 { Before::Missing } else { Before::Nothing });
                        list.push((now, size > 3));
                    }
                }
                let excess = list.len().saturating_sub(capacity);
                list.drain(..excess);
                let got: Vec<(f64, bool)> =
                    (0..ring.len()).map(|index| (ring.time(index), ring.starts_after_gap(index))).collect();
                prop_assert_eq!(&got, &list);
                for index in 0..ring.len() {
                    prop_assert_eq!(ring.value(1, index), -ring.time(index));
                }
                let wanted = now - 2.5;
                prop_assert_eq!(ring.lower_bound(wanted), list.iter().filter(|(t, _)| *t < wanted).count());
                let nearest = ring.nearest(wanted).map(|index| (ring.time(index) - wanted).abs());
                let best = list.iter().map(|(t, _)| (t - wanted).abs()).min_by(f64::total_cmp);
                prop_assert_eq!(nearest, best);
            }
        }
    }

    #[test]
    fn the_past_is_put_before_and_between() {
        let mut ring = Ring::new(100);
        for (t_ms, before) in [
            (10.0, Before::Nothing),
            (11.0, Before::Nothing),
            (20.0, Before::Missing),
            // Three merged ticks: least, greatest, newest.
            (30.0, Before::merged(3)),
            (30.0, Before::Nothing),
            (30.0, Before::Nothing),
            (40.0, Before::merged(9)),
            (40.0, Before::Nothing),
            (40.0, Before::Nothing),
        ] {
            ring.push(row(t_ms), before);
        }
        // 9.5 stands for the time up to 10.5, in which a row is held already.
        let past: Vec<Row> = [7.0, 8.0, 9.5, 12.0, 15.0, 28.0, 29.0, 30.0]
            .map(row)
            .into();
        ring.fill(&past, 1.0, 2.5);
        let held: Vec<(f64, Before)> = (0..ring.len())
            .map(|index| (ring.time(index), ring.before(index)))
            .collect();
        assert_eq!(
            held,
            [
                (7.0, Before::Nothing),
                (8.0, Before::Nothing),
                (10.0, Before::Nothing),
                (11.0, Before::Nothing),
                (12.0, Before::Nothing),
                (15.0, Before::Missing),
                (20.0, Before::Missing),
                (28.0, Before::Missing),
                (29.0, Before::Nothing),
                (30.0, Before::Nothing),
                (40.0, Before::merged(9)),
                (40.0, Before::Nothing),
                (40.0, Before::Nothing),
            ]
        );
        assert_eq!(ring.pushed(), 9, "what is loaded is not news");
    }

    proptest! {
        /// Whatever is filled in, times never fall, nothing held is lost, and a second time adds
        /// nothing.
        #[test]
        fn filling_in_keeps_the_order(
            held in proptest::collection::btree_set(0_u16..60, 0..30),
            past in proptest::collection::btree_set(0_u16..60, 0..30),
        ) {
            let mut ring = Ring::new(100);
            for t in &held { ring.push(row(f64::from(*t)), Before::Nothing); }
            let rows: Vec<Row> = past.iter().map(|t| row(f64::from(*t))).collect();
            let all: Vec<f64> = held.union(&past).map(|t| f64::from(*t)).collect();
            for _ in 0..2 {
                ring.fill(&rows, 1.0, 1.5);
                let times: Vec<f64> = (0..ring.len()).map(|index| ring.time(index)).collect();
                prop_assert_eq!(&times, &all);
            }
        }
    }
}
