//! All values of groups at some steps, for what cannot be folded value by value: eight bytes each,
//! and no labels.

use super::{ABSENT, is_absent};

/// Values of one piece: what grows is never much larger than what is in it.
const PIECE: usize = 8_192;

/// Steps that are looked at in one walk over a group: a cache line of each series.
const STEPS_AT_ONCE: usize = 8;

/// A group's values, series by series, each with as many steps.
#[derive(Debug)]
pub(super) struct Gathered {
    steps: usize,
    pieces: Vec<Vec<f64>>,
}

impl Gathered {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            steps,
            pieces: Vec::new(),
        }
    }

    /// Takes the first steps of a series in.
    pub(super) fn push(&mut self, values: &[f64]) {
        let fits = |piece: &&mut Vec<f64>| piece.is_empty() || piece.len() + self.steps <= PIECE;
        let piece = match self.pieces.last_mut().filter(fits) {
            Some(piece) => piece,
            None => self.pieces.push_mut(Vec::new()),
        };
        let known = values.iter().take(self.steps);
        piece.extend(known);
        let missing = self.steps.saturating_sub(values.len());
        piece.extend(std::iter::repeat_n(ABSENT, missing));
    }

    /// Keeps the first steps alone.
    pub(super) fn keep(&mut self, steps: usize) {
        for piece in &mut self.pieces {
            let kept: Vec<f64> = piece
                .chunks(self.steps.max(1))
                .flat_map(|row| row.iter().take(steps).copied())
                .collect();
            *piece = kept;
        }
        self.steps = steps;
    }

    /// Hands the values of each step to `each`, without those that are absent and in any order.
    pub(super) fn each_step(self, mut each: impl FnMut(usize, &mut Vec<f64>)) {
        let mut at_once: [Vec<f64>; STEPS_AT_ONCE] = Default::default();
        for first in (0..self.steps).step_by(STEPS_AT_ONCE) {
            at_once.iter_mut().for_each(Vec::clear);
            for row in self
                .pieces
                .iter()
                .flat_map(|piece| piece.chunks(self.steps))
            {
                let row = row.get(first..).unwrap_or_default();
                for (values, value) in at_once.iter_mut().zip(row) {
                    if !is_absent(*value) {
                        values.push(*value);
                    }
                }
            }
            let steps = at_once.iter_mut().zip(first..self.steps);
            steps.for_each(|(values, step)| each(step, values));
        }
    }

    /// What [`Gathered::each_step`] takes beside this, for so many series.
    pub(super) fn beside(series: usize, steps: usize) -> usize {
        series * steps.min(STEPS_AT_ONCE) * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_was_pushed_of_them() {
        let series = 2_000;
        for (steps, kept) in [(1, 1), (7, 3), (8, 8), (20, 20), (20, 9), (9_000, 2)] {
            let mut gathered = Gathered::new(steps);
            let value = |series: usize, step: usize| match (series + step) % 3 {
                0 => ABSENT,
                _ => (series * 10_000 + step) as f64,
            };
            let series = if steps > 100 { 3 } else { series };
            for one in 0..series {
                let values: Vec<f64> = (0..steps).map(|step| value(one, step)).collect();
                gathered.push(&values);
                if one == series / 2 {
                    gathered.keep(kept);
                }
            }
            let mut seen = 0;
            gathered.each_step(|step, values| {
                let all = (0..series).map(|one| value(one, step));
                let expected: Vec<f64> = all.filter(|value| !is_absent(*value)).collect();
                assert_eq!(*values, expected);
                assert_eq!(step, seen);
                seen += 1;
            });
            assert_eq!(seen, kept);
        }
    }
}
