//! The largest or least of several numbers, as `topk` and `bottomk` keep them.
//!
//! Which of equal ones stay is not said anywhere, and people see it: so the same heap as in
//! Prometheus (Go's `container/heap`) decides.

use std::cmp::Ordering;

/// A number and whose it is.
pub(super) type Ranked = (f64, usize);

/// Whether one goes before the other does. NaN goes first.
fn goes_first(one: Ranked, other: Ranked, is_top: bool) -> bool {
    one.0.is_nan()
        || match is_top {
            true => one.0 < other.0,
            false => one.0 > other.0,
        }
}

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// There is one more than before.
    More,
    /// It is there, and another one has gone.
    Instead,
    /// There are better ones.
    Refused,
}

/// The largest of those that came so far, or the least. The root is what goes next.
#[derive(Clone, Debug, Default)]
pub(super) struct Best(Vec<Ranked>);

impl Best {
    /// Takes one in, if it is among the `count` best; NaN is among them only where there are too
    /// few numbers.
    pub(super) fn offer(&mut self, one: Ranked, count: usize, is_top: bool) -> Offered {
        let heap = &mut self.0;
        if heap.len() < count {
            heap.push(one);
            up(heap, is_top);
            return Offered::More;
        }
        if let Some(root) = heap.first_mut() {
            let is_better = match is_top {
                true => root.0 < one.0,
                false => root.0 > one.0,
            };
            if is_better || root.0.is_nan() && !one.0.is_nan() {
                *root = one;
                down(heap, is_top);
                return Offered::Instead;
            }
        }
        Offered::Refused
    }

    /// Whose they are, in no order.
    pub(super) fn whose(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(_, whose)| *whose)
    }

    /// Those that stay longest first.
    pub(super) fn into_ranked(self, is_top: bool) -> Vec<Ranked> {
        let mut all = self.0;
        all.sort_by(|one, other| match (one.0.is_nan(), other.0.is_nan()) {
            (false, false) => {
                let order = one.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal);
                if is_top { order.reverse() } else { order }
            }
            (one, other) => one.cmp(&other),
        });
        all
    }
}

/// The last one to its place.
fn up(heap: &mut [Ranked], is_top: bool) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        let (Some(one), Some(above)) = (heap.get(at), heap.get(parent)) else {
            return;
        };
        if !goes_first(*one, *above, is_top) {
            return;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

/// The first one to its place.
fn down(heap: &mut [Ranked], is_top: bool) {
    let mut at = 0;
    loop {
        let (left, right) = (2 * at + 1, 2 * at + 2);
        let Some(mut below) = heap.get(left).copied() else {
            return;
        };
        let mut child = left;
        if let Some(other) = heap.get(right).copied()
            && goes_first(other, below, is_top)
        {
            (below, child) = (other, right);
        }
        let Some(one) = heap.get(at) else {
            return;
        };
        if !goes_first(below, *one, is_top) {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(values: &[f64], count: usize, is_top: bool) -> Vec<usize> {
        let mut best = Best::default();
        for one in values.iter().copied().zip(0..) {
            best.offer(one, count, is_top);
        }
        best.into_ranked(is_top)
            .into_iter()
            .map(|(_, at)| at)
            .collect()
    }

    #[test]
    fn the_best_stay() {
        assert_eq!(places(&[1.0, 3.0, 2.0], 2, true), [1, 2]);
        assert_eq!(places(&[1.0, 3.0, 2.0], 2, false), [0, 2]);
        assert_eq!(places(&[1.0, 3.0], 9, true), [1, 0]);
        assert_eq!(places(&[1.0, 3.0], 0, true), [0; 0]);
        assert_eq!(places(&[f64::NAN, 3.0, 4.0], 2, false), [1, 2]);
        assert_eq!(places(&[f64::NAN, 3.0], 2, true), [1, 0]);
    }

    /// Of equal ones the first goes where a better one comes.
    #[test]
    fn equal_ones_go_as_in_prometheus() {
        assert_eq!(places(&[1.0, 1.0, 1.0], 2, true), [0, 1]);
        assert_eq!(places(&[1.0, 1.0, 2.0], 2, true), [2, 1]);
        assert_eq!(places(&[2.0, 2.0, 1.0], 2, false), [2, 1]);
    }
}
