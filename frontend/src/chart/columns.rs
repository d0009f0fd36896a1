//! From a line to what it covers in each column of pixels, from its least to its greatest there.
//!
//! Of however many points, a column is painted once, as an upright bar; that is what a line of all
//! points would cover (M4, Jugel et al., VLDB 2014), at a cost that does not grow with them. A long
//! zigzag painted as one path costs a processor a hundred times as much.
//!
//! ```text
//! points   ·  ·       ·        columns    │
//!            ·    ·                       ││ │      each reaches to where the line goes on
//!               ·                          ││
//! ```

use super::{layout::Plot, scale::within};

/// A line of one colour, in pixels; kept between frames so that drawing allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    left: f64,
    width: f64,
    /// Top and bottom of each column; the top of an empty one is below its bottom.
    cells: Vec<(f64, f64)>,
    /// Where the line is; `None` before it begins and where it is broken.
    at: Option<(f64, f64)>,
    /// The line's points, as long as they are not more than there are columns.
    points: Vec<(f64, f64)>,
    /// Where in `points` each unbroken piece begins.
    starts: Vec<usize>,
    is_dense: bool,
}

/// No part of a line is in this column.
pub(super) const EMPTY: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);

/// How wide a column is where there are so many device pixels a CSS pixel.
#[must_use]
pub fn column_px(ratio: f64) -> f64 {
    ratio.round().max(1.0) / ratio
}

impl Columns {
    /// Forgets all, for a plot with so many device pixels a CSS pixel. Columns are about a CSS
    /// pixel wide and begin and end with device pixels.
    pub fn clear(&mut self, plot: &Plot, ratio: f64) {
        let width = column_px(ratio);
        self.left = (plot.left * ratio).floor() / ratio;
        self.width = width;
        self.cells.clear();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a screen's pixels"
        )]
        let count = within((plot.width / width).ceil(), 0.0, 20_000.0) as usize;
        self.cells.resize(count, EMPTY);
        self.points.clear();
        self.starts.clear();
        self.is_dense = false;
        self.at = None;
    }

    /// The line ends here.
    pub const fn lift(&mut self) {
        self.at = None;
    }

    /// The line goes on (or begins) at this point, right of the one before.
    pub fn to(&mut self, x: f64, y: f64) {
        match self.at.replace((x, y)) {
            Some(before) => self.cover(before, (x, y)),
            None => {
                if !self.is_dense {
                    self.starts.push(self.points.len());
                }
                self.reach(x, y, y);
            }
        }
        if self.points.len() < self.cells.len() {
            self.points.push((x, y));
        } else {
            self.is_dense = true;
        }
    }

    /// An upright stroke, besides the line.
    pub fn reach(&mut self, x: f64, one: f64, other: f64) {
        let cell = usize::try_from(self.column(x)).ok();
        if let Some(cell) = cell.and_then(|column| self.cells.get_mut(column)) {
            cell.0 = cell.0.min(one.min(other));
            cell.1 = cell.1.max(one.max(other));
        }
    }

    fn column(&self, x: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
        let column = ((x - self.left) / self.width + 1e-6).floor() as i64;
        column
    }

    /// All columns that the line from `one` to `other` goes through.
    fn cover(&mut self, one: (f64, f64), other: (f64, f64)) {
        let slope = (other.1 - one.1) / (other.0 - one.0);
        let ends = (one.1.min(other.1), one.1.max(other.1));
        let (from, to) = (self.column(one.0), self.column(other.0));
        let last = i64::try_from(self.cells.len()).unwrap_or(i64::MAX) - 1;
        for column in from.max(0)..=to.min(last) {
            #[expect(clippy::cast_precision_loss, reason = "a screen's pixels")]
            let left = self.left + column as f64 * self.width;
            // Never beyond its ends, where a column's edge is a hair behind one of them.
            let height = |x: f64| within(one.1 + (x - one.0) * slope, ends.0, ends.1);
            let start = if column == from { one.1 } else { height(left) };
            let end = if column == to {
                other.1
            } else {
                height(left + self.width)
            };
            self.reach(left, start, end);
        }
    }

    /// Where the line ends, unless it is broken there.
    #[must_use]
    pub const fn end(&self) -> Option<(f64, f64)> {
        self.at
    }

    /// There are more points than columns: it is to be painted by columns.
    #[must_use]
    pub const fn is_dense(&self) -> bool {
        self.is_dense
    }

    /// Each column that something is in: its left edge, top and bottom.
    pub fn bars(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let cells = self.cells.iter().enumerate();
        cells
            .filter(|(_, (top, bottom))| top <= bottom)
            .map(|(index, (top, bottom))| {
                #[expect(clippy::cast_precision_loss, reason = "a screen's pixels")]
                let left = self.left + index as f64 * self.width;
                (left, *top, *bottom)
            })
    }

    /// Each unbroken piece of a line that is not dense.
    pub fn pieces(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let ends = self.starts.iter().skip(1).copied();
        let ends = ends.chain([self.points.len()]);
        let starts = self.starts.iter().zip(ends);
        starts.map(|(start, end)| &self.points[*start..end])
    }

    /// Top and bottom of each column, of those that nothing is in too.
    pub(super) fn cells(&self) -> &[(f64, f64)] {
        &self.cells
    }

    /// Where the first column begins.
    pub(super) const fn left(&self) -> f64 {
        self.left
    }

    /// How wide a column is.
    #[must_use]
    pub const fn width(&self) -> f64 {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plot(width: f64) -> Plot {
        Plot {
            left: 0.0,
            top: 0.0,
            width,
            height: 100.0,
        }
    }

    #[test]
    fn what_is_missing_ends_a_piece() {
        let mut columns = Columns::default();
        columns.clear(&plot(10.0), 1.0);
        for (x, y) in [(0.5, 1.0), (1.5, 5.0)] {
            columns.to(x, y);
        }
        columns.lift();
        columns.to(7.5, 3.0);
        let pieces: Vec<usize> = columns.pieces().map(<[_]>::len).collect();
        assert_eq!(pieces, [2, 1]);
        let bars: Vec<_> = columns.bars().collect();
        assert_eq!(bars, [(0.0, 1.0, 3.0), (1.0, 3.0, 5.0), (7.0, 3.0, 3.0)]);
    }

    proptest! {
        /// However many points in however many columns: each column reaches from the least to the
        /// greatest point in it, and no further than to where the line leaves it; all together
        /// reach exactly as far as all points; and a line that is not broken has no holes.
        #[test]
        fn every_extreme_is_drawn(
            points in proptest::collection::vec((0.0..1.0_f64, -1e6..1e6_f64), 1..900),
            width in 3.0..400.0_f64,
            ratio in 0.5..4.0_f64,
        ) {
            let mut points: Vec<(f64, f64)> =
                points.into_iter().map(|(x, y)| (x * width, y)).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            let mut columns = Columns::default();
            columns.clear(&plot(width), ratio);
            let column = columns.width();
            for (x, y) in &points {
                columns.to(*x, *y);
            }
            let ends = |of: &mut dyn Iterator<Item = f64>| {
                of.fold(EMPTY, |ends, y| (ends.0.min(y), ends.1.max(y)))
            };
            let drawn: Vec<_> = columns.bars().collect();
            let all = ends(&mut points.iter().map(|point| point.1));
            prop_assert_eq!(ends(&mut drawn.iter().map(|bar| bar.1)).0, all.0);
            prop_assert_eq!(ends(&mut drawn.iter().map(|bar| bar.2)).1, all.1);
            for pair in drawn.windows(2) {
                prop_assert!((pair[1].0 - pair[0].0 - column).abs() < 1e-6, "a hole");
                let (slack, one, other) = (1e-3, pair[0], pair[1]);
                prop_assert!(one.1 <= other.2 + slack && other.1 <= one.2 + slack, "torn apart");
            }
            for (index, cell) in columns.cells.iter().enumerate() {
                let inside = |point: &&(f64, f64)| columns.column(point.0) == index as i64;
                let (least, greatest) = ends(&mut points.iter().filter(inside).map(|point| point.1));
                prop_assert!(cell.0 <= least && cell.1 >= greatest);
                // Beyond its own points a column goes at most towards its neighbours'.
                let first = points.partition_point(|point| columns.column(point.0) < index as i64);
                let end = points.partition_point(|point| columns.column(point.0) <= index as i64);
                let near = &points[first.saturating_sub(1)..(end + 1).min(points.len())];
                let (least, greatest) = ends(&mut near.iter().map(|point| point.1));
                prop_assert!(*cell == EMPTY || cell.0 >= least - 1e-3 && cell.1 <= greatest + 1e-3);
            }
        }
    }
}
